//! The catalogue as one statement sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tsdb::types::{OWNED_TABLE_PREFIX, TableSchema};
use tsdb::{DbStats, PoolUsage, Snapshot};

use super::answers::Stamp;
use crate::activity::Activity;
use crate::engine::{Caches, Engine};
use crate::error::{QueryError, QueryResult};
use crate::jobs::Jobs;
use crate::plan::PlanContext;
use crate::relational::def::{Relations, TableDef};
use crate::rights::Rights;
use crate::schema::{On, Schemas};
use crate::session::CursorInfo;
use crate::view::{View, Views, stored};
use crate::{Identity, RoleInfo, comment, relational};

/// Tables, roles and settings at one moment.
pub(crate) struct Image {
    /// Tables of users.
    pub(crate) tables: Vec<tsdb::Table>,
    /// All tables, with those that hold the rows of continuous aggregates.
    pub(crate) all_tables: Vec<tsdb::Table>,
    pub(crate) views: Arc<Views>,
    pub(crate) relations: Arc<Relations>,
    pub(crate) rights: Arc<Rights>,
    pub(crate) schemas: Arc<Schemas>,
    /// The schemas of `search_path`.
    pub(crate) path: Vec<On>,
    /// Looked up when they are asked for.
    comments: OnceLock<QueryResult<Vec<comment::Shown>>>,
    pub(crate) roles: Arc<[RoleInfo]>,
    /// Taken when they are asked for: they cost system calls, and wait for syncs.
    stats: OnceLock<DbStats>,
    pub(crate) settings: Arc<crate::settings::Settings>,
    /// Who asks.
    pub(crate) identity: Arc<Identity>,
    live: Live,
    moves: AtomicBool,
    /// Of all but what is live.
    stamp: Option<Stamp>,
}

/// What changes without a definition, role or setting being changed.
pub(crate) struct Live {
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) snapshot: Snapshot,
    /// Channels that the session listens to.
    pub(crate) listening: Vec<String>,
    pub(crate) cursors: Vec<Arc<CursorInfo>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) engine: Arc<Engine>,
    /// For what is looked up only when it is asked for.
    pub(crate) db: Arc<tsdb::Db>,
}

impl Image {
    pub(crate) fn new(context: &PlanContext) -> QueryResult<Image> {
        let snapshot = &context.snapshot;
        let schemas: Vec<Arc<TableSchema>> = snapshot.tables();
        let views = context.views()?;
        let relations = context.relations()?;
        let all_tables: Vec<tsdb::Table> =
            schemas.iter().filter_map(|s| snapshot.table_by_id(s.id)).collect();
        let is_owned = |table: &tsdb::Table| table.schema().name.starts_with(OWNED_TABLE_PREFIX);
        let roles = context.engine.directory().roles()?;
        let stamp = Stamp::of(context, roles.clone())?;
        Ok(Image {
            comments: OnceLock::new(),
            tables: all_tables.iter().filter(|table| !is_owned(table)).cloned().collect(),
            all_tables,
            views,
            relations,
            rights: context.rights()?,
            schemas: context.schemas()?,
            path: context.path(),
            roles,
            stats: OnceLock::new(),
            settings: context.settings.clone(),
            identity: context.identity.clone(),
            live: Live {
                jobs: context.engine.jobs_handle(),
                snapshot: snapshot.clone(),
                listening: context.listening(),
                cursors: context.cursors.clone(),
                activity: context.engine.activity().clone(),
                caches: context.engine.caches().clone(),
                engine: context.engine.clone(),
                db: context.engine.db().clone(),
            },
            moves: AtomicBool::new(false),
            stamp,
        })
    }
}

impl Image {
    /// What is told of it holds for this moment: no answer is kept that was made of it.
    pub(super) fn live(&self) -> &Live {
        self.note_moving();
        &self.live
    }

    /// Notes that something is told that changes with rows and time.
    pub(super) fn note_moving(&self) {
        self.moves.store(true, Ordering::Relaxed);
    }

    /// What it was made of, unless something was told that changes with rows and time.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match self.moves.load(Ordering::Relaxed) {
            true => None,
            false => self.stamp.clone(),
        }
    }

    /// Number of the role that owns everything: the first superuser.
    pub(super) fn owner(&self) -> i64 {
        self.first_superuser().map_or(10, |r| i64::from(r.oid))
    }

    /// Its name.
    pub(super) fn owner_name(&self) -> &str {
        self.first_superuser().map_or("admin", |r| r.name.as_str())
    }

    fn first_superuser(&self) -> Option<&RoleInfo> {
        self.roles.iter().filter(|r| r.superuser).min_by_key(|r| r.oid)
    }

    /// All comments.
    pub(super) fn comments(&self) -> QueryResult<&[comment::Shown]> {
        let look = || {
            let tables = self.all_tables.iter().map(|table| &**table.schema());
            let views = self.views.list.iter().map(|view| &**view);
            comment::all(&self.live.snapshot, tables, views, &self.relations)
        };
        self.comments.get_or_init(look).as_deref().map_err(QueryError::clone)
    }

    /// The comment on a relation, or on the column of it at that place.
    pub(super) fn comment(&self, oid: i64, column: i64) -> QueryResult<Option<&str>> {
        let is_it =
            |shown: &&comment::Shown| super::pg::relation_oid(shown.0) == oid && shown.1 == column;
        Ok(self.comments()?.iter().find(is_it).map(|shown| shown.2.as_str()))
    }

    /// Figures of the engine.
    pub(super) fn stats(&self) -> &DbStats {
        self.note_moving();
        self.stats.get_or_init(|| self.live.db.stats())
    }

    /// What is held in memory under which limit.
    pub(super) fn pools(&self) -> Vec<PoolUsage> {
        self.live.engine.pools().usage(self.stats())
    }

    /// The view of that number.
    pub(super) fn view(&self, oid: i64) -> Option<&Arc<View>> {
        self.views.list.iter().find(|view| super::pg::view_oid(view.number) == oid)
    }

    /// The table of that number.
    pub(super) fn table(&self, oid: i64) -> Option<&tsdb::Table> {
        self.tables.iter().find(|t| super::pg::table_oid(t.schema().id) == oid)
    }

    /// About how many rows a relational table has.
    pub(super) fn rows_of(&self, table: &TableDef) -> u64 {
        let view = relational::View::new(
            self.live.snapshot.rows().clone(),
            relational::Pending::default(),
        );
        self.live.engine.relational().rows_about(table, &view)
    }

    /// About how many rows a view keeps.
    pub(super) fn rows_kept(&self, view: &View) -> u64 {
        stored::rows_about(&self.live.engine, &self.live.snapshot, view)
    }

    /// The relational table of that number.
    pub(super) fn relation(&self, oid: i64) -> Option<&Arc<TableDef>> {
        self.relations.list.iter().find(|table| super::pg::object_oid(table.number) == oid)
    }

    /// Whether there is a relation of that number.
    pub(super) fn has_relation(&self, oid: i64) -> bool {
        self.table(oid).is_some()
            || self.table(oid - 1).is_some()
            || self.view(oid).is_some()
            || self.relation(oid).is_some()
            || super::pg::relational::find_index(self, oid).is_some()
            || super::pg::sequences::find(self, oid).is_some()
            || super::pg::system_tables().any(|(number, ..)| number == oid)
    }

    /// The flat name of the relation or index of that number.
    pub(super) fn flat_name(&self, oid: i64) -> Option<String> {
        if let Some(table) = self.table(oid) {
            return Some(table.schema().name.clone());
        }
        if let Some(table) = self.table(oid - 1) {
            return Some(super::pg::objects::index_name(table.schema()));
        }
        if let Some(view) = self.view(oid) {
            return Some(view.name.clone());
        }
        if let Some(table) = self.relation(oid) {
            return Some(table.name.clone());
        }
        if let Some(sequence) = super::pg::sequences::find(self, oid) {
            return Some(sequence.name.clone());
        }
        super::pg::relational::find_index(self, oid).map(|index| index.name.to_string())
    }

    /// The flat name of a name in a schema; `None` if there is no such schema of users.
    pub(super) fn flat(&self, schema: &str, name: &str) -> Option<String> {
        match self.schemas.find(schema) {
            Some(schema) => Some(self.schemas.flat(schema, name)),
            None => (schema == "public").then(|| name.to_string()),
        }
    }

    /// The flat name of what a name alone means, as `search_path` says.
    pub(super) fn searched(&self, name: &str) -> String {
        let flat = |on: &On| match on {
            On::Public => Some(name.to_string()),
            On::Own(number) => self.schemas.flat_in(*number, name),
        };
        let found = self.path.iter().filter_map(flat).find(|name| self.is_there(name));
        found.unwrap_or_else(|| name.to_string())
    }

    fn is_there(&self, name: &str) -> bool {
        let is_table = |table: &tsdb::Table| {
            let schema = table.schema();
            schema.name == name || super::pg::objects::index_name(schema) == name
        };
        self.relations.is_taken(name)
            || self.views.find(name).is_some()
            || self.tables.iter().any(is_table)
    }

    /// Whether a name alone means what lies under a flat name.
    pub(super) fn is_visible(&self, flat: &str) -> bool {
        let on = match self.schemas.place(flat) {
            (Some(schema), _) => On::Own(schema.number),
            (None, _) => On::Public,
        };
        self.path.contains(&on)
    }

    /// A flat name as SQL of this session may say it.
    pub(super) fn name_of(&self, flat: &str) -> String {
        match self.schemas.place(flat) {
            (Some(_), bare) if self.is_visible(flat) => super::quoted(bare),
            (Some(_), _) => self.schemas.qualified(flat),
            (None, name) if self.is_visible(flat) => super::quoted(name),
            (None, name) => format!("public.{}", super::quoted(name)),
        }
    }

    /// Whether a relation has a column of that name.
    pub(super) fn has_column(&self, oid: i64, name: &str) -> bool {
        if let Some(table) = self.table(oid) {
            let schema = table.schema();
            return schema.time_name == name || schema.column(name).is_some();
        }
        if let Some(table) = self.relation(oid) {
            return table.place(name).is_some();
        }
        if let Some(view) = self.view(oid) {
            return view.columns.iter().any(|column| column.name == name);
        }
        let mut system = super::pg::system_tables();
        system.any(|(number, _, known)| {
            number == oid && known.columns.iter().any(|(column, _)| *column == name)
        })
    }
}

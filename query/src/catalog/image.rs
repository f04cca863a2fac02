//! The catalogue as one statement sees it.

use std::sync::Arc;

use tsdb::types::{OWNED_TABLE_PREFIX, TableSchema};
use tsdb::{DbStats, PoolUsage, Snapshot};

use crate::activity::Activity;
use crate::engine::{Caches, Engine};
use crate::error::QueryResult;
use crate::jobs::Jobs;
use crate::plan::PlanContext;
use crate::relational::def::{Relations, TableDef};
use crate::session::CursorInfo;
use crate::view::{View, Views};
use crate::{Identity, RoleInfo, comment, relational};

/// Tables, roles and settings at one moment.
pub(crate) struct Image {
    /// Tables of users.
    pub(crate) tables: Vec<tsdb::Table>,
    /// All tables, with those that hold the rows of continuous aggregates.
    pub(crate) all_tables: Vec<tsdb::Table>,
    pub(crate) views: Arc<Views>,
    pub(crate) relations: Arc<Relations>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) snapshot: Snapshot,
    pub(crate) comments: Vec<comment::Shown>,
    pub(crate) roles: Vec<RoleInfo>,
    pub(crate) stats: DbStats,
    pub(crate) pools: Vec<PoolUsage>,
    /// Channels that the session listens to.
    pub(crate) listening: Vec<String>,
    pub(crate) cursors: Vec<Arc<CursorInfo>>,
    pub(crate) settings: Arc<crate::settings::Settings>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) caches: Arc<Caches>,
    /// Who asks.
    pub(crate) identity: Arc<Identity>,
    pub(crate) engine: Arc<Engine>,
    /// For what is looked up only when it is asked for.
    pub(crate) db: Arc<tsdb::Db>,
}

impl Image {
    pub(crate) fn new(context: &PlanContext) -> QueryResult<Image> {
        let snapshot = &context.snapshot;
        let schemas: Vec<Arc<TableSchema>> = snapshot.tables();
        let stats = context.engine.db().stats();
        let views = context.engine.views().of(snapshot)?;
        let relations = context.relations()?;
        let comments = comment::all(
            snapshot,
            schemas.iter().map(|schema| &**schema),
            views.list.iter().map(|view| &**view),
            &relations,
        )?;
        let all_tables: Vec<tsdb::Table> =
            schemas.iter().filter_map(|s| snapshot.table_by_id(s.id)).collect();
        let is_owned = |table: &tsdb::Table| table.schema().name.starts_with(OWNED_TABLE_PREFIX);
        Ok(Image {
            comments,
            tables: all_tables.iter().filter(|table| !is_owned(table)).cloned().collect(),
            all_tables,
            jobs: context.engine.jobs_handle(),
            snapshot: snapshot.clone(),
            views,
            relations,
            roles: context.engine.directory().roles()?,
            pools: context.engine.pools().usage(&stats),
            stats,
            listening: context.listening(),
            cursors: context.cursors.clone(),
            settings: context.settings.clone(),
            activity: context.engine.activity().clone(),
            caches: context.engine.caches().clone(),
            identity: context.identity.clone(),
            engine: context.engine.clone(),
            db: context.engine.db().clone(),
        })
    }
}

impl Image {
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

    /// The comment on a relation, or on the column of it at that place.
    pub(super) fn comment(&self, oid: i64, column: i64) -> Option<&str> {
        let is_it =
            |shown: &&comment::Shown| super::pg::relation_oid(shown.0) == oid && shown.1 == column;
        self.comments.iter().find(is_it).map(|shown| shown.2.as_str())
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
        let view =
            relational::View::new(self.snapshot.rows().clone(), relational::Pending::default());
        self.engine.relational().rows_about(table, &view)
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
            || super::pg::system_tables().any(|(number, ..)| number == oid)
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

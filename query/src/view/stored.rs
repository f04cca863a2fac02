//! Materialised views that are no continuous aggregates: a query and the rows that it gave when it
//! was run last, by CREATE or REFRESH MATERIALIZED VIEW.
//!
//! Invariants
//! - Rows lie under a number of their own and are read by nobody until the record that names the
//!   number in the view's row: so they may come in several commits, as many as there are, and
//!   readers see what was there before or all that is new.
//! - A number that is being filled has a row of its own. It goes in the record that names the number
//!   in the view, else with the rows; what a process leaves behind goes at the next start.
//! - A refresh that was asked for later begins when the one before has ended: what is shown never
//!   becomes older.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, CreateTableOptions, SqlOption};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tsdb::rows::{RowChange, RowCommand, RowExpect, RowOutcome};
use tsdb::{Command, Outcome as Applied, Snapshot};

use super::define::{self as views_define, VIEWS_MAX, check_name, exists, is_taken};
use super::rows::{self, Change};
use super::{Scope, View, Views};
use crate::Outcome;
use crate::catalog::registers;
use crate::ddl::{apply, done};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::insert::table_name;
use crate::names::Names;
use crate::plan::PlanContext;
use crate::relational::def::{Column, SPACE_ROWS, TableDef};
use crate::relational::kind::Kind;
use crate::relational::{self, Filler, RelationTable};
use crate::rights;
use crate::session::{Session, Tree};
use crate::statement::Statement;
use crate::statement::materialized::{Refresh, without_data};

/// Space of the row store: numbers that are being filled.
const SPACE_FILLING: u16 = 27;
/// The version of its rows, and a row, which holds nothing else.
const VERSION: u32 = 1;
const FILLING_ROW: &[u8] = br#"{"v":1}"#;
/// What tells these numbers from those of relational tables, whose rows lie in the same space.
const STORAGE_BIT: u32 = 1 << 31;
/// The number under which nothing lies.
const NOWHERE: u32 = u32::MAX;

const CREATE: &str = "CREATE MATERIALIZED VIEW";
const REFRESH: &str = "REFRESH MATERIALIZED VIEW";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FillingRow {
    v: u32,
}

/// What makes a view keep the rows of its query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    /// Number that its rows lie under; `None`: it was not filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    storage: Option<u32>,
    /// Types of its columns.
    kinds: Vec<Kind>,
}

impl Stored {
    pub(crate) fn is_filled(&self) -> bool {
        self.storage.is_some()
    }

    /// Its rows as those of a table without a key.
    pub(crate) fn def(&self, view: &View) -> TableDef {
        let number = self.storage.map_or(NOWHERE, |number| number | STORAGE_BIT);
        let mut def = TableDef::new(number, number, view.name.clone());
        for ((column, kind), id) in view.columns.iter().zip(&self.kinds).zip(1..) {
            let (name, kind) = (column.name.clone(), *kind);
            let (not_null, default, missing, sequence) = (false, None, None, None);
            def.columns.push(Column { id, name, kind, not_null, default, missing, sequence });
            def.next_column = id + 1;
        }
        def
    }

    /// `atttypmod` of the column at a place.
    pub(crate) fn modifier(&self, at: usize) -> i64 {
        self.kinds.get(at).map_or(-1, |kind| kind.modifier())
    }

    /// What takes its rows away.
    fn clearing(&self) -> Option<RowChange> {
        self.storage.map(clearing)
    }
}

fn prefix(number: u32) -> Vec<u8> {
    (number | STORAGE_BIT).to_be_bytes().to_vec()
}

fn clearing(number: u32) -> RowChange {
    RowChange::DeletePrefix { space: SPACE_ROWS, prefix: prefix(number) }
}

impl PlanContext {
    /// The rows that a materialised view has. The view is open.
    pub(in crate::view) fn bind_stored(
        &self,
        view: &Arc<View>,
        stored: &Stored,
    ) -> QueryResult<LogicalPlan> {
        // What depends on what is found in the queries.
        if self.scope.plain {
            return self.bind_view(view);
        }
        if !stored.is_filled() && !self.scope.is_defining() {
            let message = format!("materialized view \"{}\" has not been populated", view.name);
            return Err(QueryError::new("55000", message)
                .with_hint("Use the REFRESH MATERIALIZED VIEW command."));
        }
        let def = Arc::new(stored.def(view));
        let table = RelationTable::new(&def, self.settings.zone(), false, &[])?;
        let (name, source) = (view.name.as_str(), provider_as_source(Arc::new(table)));
        Ok(LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build()?)
    }
}

/// Runs CREATE MATERIALIZED VIEW.
pub(crate) async fn create(
    session: &Session,
    statement: &Statement,
    create: &ast::CreateView,
) -> QueryResult<Outcome> {
    rights::may_create(session, CREATE, &table_name(&create.name)?)?;
    check_form(statement, create)?;
    let name = table_name(&create.name)?;
    check_name(&name)?;
    let engine = session.engine().clone();
    let (made, filling) = {
        let _guard = engine.definitions().lock().await;
        if is_taken(session, &name)? {
            return match create.if_not_exists {
                true => done(CREATE),
                false => Err(exists(&name)),
            };
        }
        let views = session.views()?;
        check_count(&views)?;
        let view = make(session, create, views.next, &name).await?;
        if without_data(create) {
            let command = rows::command(&views, views.next + 1, &[Change::Put(&view)])?;
            command.check()?;
            apply(session, vec![Command::Rows(command)]).await?;
            rights::own(session, &name).await?;
            return done(CREATE);
        }
        (view, Filling::begin(session, &views).await?)
    };
    let made = Arc::new(made);
    let count = fill(session, statement, &made, &filling).await?;
    let _guard = engine.definitions().lock().await;
    if is_taken(session, &name)? {
        return Err(exists(&name));
    }
    let views = session.views()?;
    check_count(&views)?;
    // What it reads may have been changed or dropped meanwhile.
    let mut view = make(session, create, views.next, &name).await?;
    if view.stored != made.stored || view.columns != made.columns {
        let message = "what the materialized view reads was changed by another session meanwhile";
        return Err(QueryError::new("40001", message).with_hint("Run the statement again."));
    }
    filling.name_in(&mut view);
    let command = rows::command(&views, views.next + 1, &[Change::Put(&view)])?;
    filling.finish(session, command).await?;
    rights::own(session, &name).await?;
    done(&format!("SELECT {count}"))
}

fn check_count(views: &Views) -> QueryResult<()> {
    if views.list.len() < VIEWS_MAX {
        return Ok(());
    }
    Err(QueryError::new("54000", format!("a database may have {VIEWS_MAX} views")))
}

/// The view that is asked for, not filled.
async fn make(
    session: &Session,
    create: &ast::CreateView,
    number: u32,
    name: &str,
) -> QueryResult<View> {
    let context = session.context("").in_scope(Scope::defining(None));
    let (asked, name) = (create.clone(), name.to_string());
    let making = async move {
        let mut view = views_define::make(&context, &asked, number, name)?;
        let plan = registers::given(context.bind_view(&view)?, &context)?;
        rights::check_plan(&context, &plan)?;
        let schema = context.result_schema(&plan)?;
        let kinds = schema.fields().iter().map(|field| relational::kind_of(field, CREATE));
        let kinds: Vec<Kind> = kinds.collect::<QueryResult<_>>()?;
        for (column, kind) in view.columns.iter_mut().zip(&kinds) {
            column.kind = kind.oid();
        }
        view.stored = Some(Stored { storage: None, kinds });
        Ok(view)
    };
    session.on_workers(making).await
}

fn check_form(statement: &Statement, create: &ast::CreateView) -> QueryResult<()> {
    if !views_define::is_plain(create) || create.or_replace || create.temporary {
        return Err(QueryError::unsupported("this form of CREATE MATERIALIZED VIEW").with_hint(
            "CREATE MATERIALIZED VIEW name [(column, …)] AS SELECT … [WITH [NO] DATA]",
        ));
    }
    if statement.is_deep() {
        return Err(QueryError::new("54001", "the query of the view is nested too deeply"));
    }
    let options: &[SqlOption] = match &create.options {
        CreateTableOptions::None => &[],
        CreateTableOptions::With(options) => options,
        _ => return Err(QueryError::unsupported("view options other than WITH (…)")),
    };
    for option in options {
        let name = match option {
            SqlOption::KeyValue { key, .. } => key.value.to_lowercase(),
            other => other.to_string(),
        };
        if !relational::is_storage_setting(&name) {
            return Err(QueryError::new("22023", format!("unrecognized parameter \"{name}\""))
                .with_hint("A continuous aggregate has options: WITH (continuous, …)."));
        }
    }
    Ok(())
}

/// Runs REFRESH MATERIALIZED VIEW.
pub(crate) async fn refresh(
    session: &Session,
    statement: &Statement,
    number: u32,
    asked: &Refresh,
) -> QueryResult<Outcome> {
    let engine = session.engine().clone();
    let turn = engine.jobs().turn(number);
    let _turn = session.stop().guard(async move { Ok(turn.await) }).await?;
    let (_, view) = find(session, number)?;
    if asked.with_data {
        rights::check_filler(session, &view)?;
    }
    if asked.concurrently && !view.is_populated() {
        let message = "CONCURRENTLY cannot be used when the materialized view is not populated";
        return Err(QueryError::new("0A000", message));
    }
    let filling = match asked.with_data {
        false => None,
        true => {
            let _guard = engine.definitions().lock().await;
            let (views, _) = find(session, number)?;
            Some(Filling::begin(session, &views).await?)
        }
    };
    if let Some(filling) = &filling {
        fill(session, statement, &view, filling).await?;
    }
    let _guard = engine.definitions().lock().await;
    let (views, view) = find(session, number)?;
    let mut changed = View::clone(&view);
    let before = changed.stored.as_mut().and_then(|stored| stored.storage.take());
    if let Some(filling) = &filling {
        filling.name_in(&mut changed);
    }
    let mut command = rows::command(&views, views.next, &[Change::Put(&changed)])?;
    command.changes.extend(before.map(clearing));
    match &filling {
        Some(filling) => filling.finish(session, command).await?,
        None => apply(session, vec![Command::Rows(command)]).await?,
    }
    if let Some(before) = before {
        engine.relational().forget(before | STORAGE_BIT);
    }
    done(REFRESH)
}

/// The view of a number, as it is now.
fn find(session: &Session, number: u32) -> QueryResult<(Arc<Views>, Arc<View>)> {
    let views = session.views()?;
    match views.by_number(number).filter(|view| view.stored.is_some()).cloned() {
        Some(view) => Ok((views, view)),
        None => Err(QueryError::new("42P01", "the materialized view was dropped meanwhile")),
    }
}

/// Runs the query of a view and puts what it gives under a number; how many rows that is.
async fn fill(
    session: &Session,
    statement: &Statement,
    view: &Arc<View>,
    filling: &Arc<Filling>,
) -> QueryResult<u64> {
    let Some(stored) = &view.stored else {
        return Err(QueryError::internal("a materialized view that keeps nothing"));
    };
    let def = Stored { storage: Some(filling.number), ..stored.clone() }.def(view);
    let mut filler = Filler::new(&Arc::new(def), session.settings().zone())?;
    let tree = Tree::of_view(statement, view);
    let (_, mut stream) = session.start(tree, &[], Names::default()).await?;
    while let Some(batch) = stream.next().await {
        filler.push(&batch?)?;
        if filler.is_full() {
            filling.put(session, filler.take()).await?;
        }
    }
    filling.put(session, filler.take()).await?;
    Ok(filler.count())
}

/// A number that is being filled. What it holds goes with it, unless a view has got it.
struct Filling {
    engine: Arc<Engine>,
    number: u32,
    ended: AtomicBool,
}

impl Filling {
    /// Takes a number. The lock of definitions is held.
    async fn begin(session: &Session, views: &Views) -> QueryResult<Arc<Filling>> {
        let number = views.next;
        let mut command = rows::command(views, number + 1, &[])?;
        let value = FILLING_ROW.to_vec();
        command.changes.push(RowChange::Put { space: SPACE_FILLING, key: key(number), value });
        let (engine, ended) = (session.engine().clone(), AtomicBool::new(false));
        let filling = Arc::new(Filling { engine, number, ended });
        filling.commit(session, command, false).await?;
        Ok(filling)
    }

    /// Commits rows under the number.
    async fn put(
        self: &Arc<Filling>,
        session: &Session,
        changes: Vec<RowChange>,
    ) -> QueryResult<()> {
        match changes.is_empty() {
            true => Ok(()),
            false => {
                let command = RowCommand { expects: Vec::new(), changes };
                self.commit(session, command, false).await
            }
        }
    }

    /// Commits the command that names it in a view. That nobody has given it up is a condition, as
    /// this is one of giving it up.
    async fn finish(
        self: &Arc<Filling>,
        session: &Session,
        mut command: RowCommand,
    ) -> QueryResult<()> {
        command.expects.push(being_filled(self.number));
        command.changes.push(filled(self.number));
        self.commit(session, command, true).await
    }

    /// Commits a command; one that `ends` is the last.
    async fn commit(
        self: &Arc<Filling>,
        session: &Session,
        command: RowCommand,
        ends: bool,
    ) -> QueryResult<()> {
        command.check()?;
        // Held by the commit too: if the statement ends in the middle of it, what is to be done about
        // the rows is done behind it.
        let held = self.clone();
        let committed = session.blocking(move || {
            for outcome in held.engine.db().commit(vec![Command::Rows(command)])?.outcomes {
                if let Applied::Rows(RowOutcome::Refused { .. }) = outcome? {
                    let message = "definitions were changed by another session meanwhile";
                    let error = QueryError::new("40001", message);
                    return Err(error.with_hint("Run the statement again."));
                }
            }
            held.ended.fetch_or(ends, Ordering::Relaxed);
            Ok(())
        });
        committed.await
    }

    /// Makes it the number of a view.
    fn name_in(&self, view: &mut View) {
        if let Some(stored) = &mut view.stored {
            stored.storage = Some(self.number);
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let (engine, number) = (self.engine.clone(), self.number);
        let Ok(runtime) = engine.runtime().cloned() else { return };
        runtime.spawn_blocking(move || {
            // What stays behind goes at the next start.
            if let Err(error) = clear(&engine, number) {
                tracing::warn!(%error, "rows of a refresh that failed stay until the next start");
            }
        });
    }
}

fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn being_filled(number: u32) -> RowExpect {
    let (space, value) = (SPACE_FILLING, Some(FILLING_ROW.to_vec()));
    RowExpect { space, key: key(number), value }
}

fn filled(number: u32) -> RowChange {
    RowChange::Delete { space: SPACE_FILLING, key: key(number) }
}

/// Takes away what was put under a number, if no view has got it.
fn clear(engine: &Engine, number: u32) -> QueryResult<()> {
    let changes = vec![clearing(number), filled(number)];
    let command = RowCommand { expects: vec![being_filled(number)], changes };
    engine.db().commit(vec![Command::Rows(command)])?.all()?;
    Ok(())
}

/// Takes away what refreshes of earlier processes have not finished.
pub(crate) fn drop_leftovers(engine: &Engine) {
    if let Err(error) = clear_leftovers(engine) {
        tracing::warn!(%error, "rows of an unfinished refresh stay");
    }
}

fn clear_leftovers(engine: &Engine) -> QueryResult<()> {
    let left = engine.db().snapshot().rows().scan(SPACE_FILLING, &[])?;
    for (key, value) in left {
        let damaged = |what: &dyn std::fmt::Display| {
            QueryError::new("XX001", format!("a row of refreshes cannot be read: {what}"))
        };
        let row: FillingRow = serde_json::from_slice(&value).map_err(|error| damaged(&error))?;
        if row.v != VERSION {
            return Err(damaged(&format!("version {}", row.v)));
        }
        let Some(number) = key.first_chunk::<4>().filter(|_| key.len() == 4) else {
            return Err(damaged(&"its key"));
        };
        clear(engine, u32::from_be_bytes(*number))?;
    }
    Ok(())
}

/// The command that takes away the rows of views that are dropped, to go with others.
pub(in crate::view) fn drop_rows(gone: &[Arc<View>]) -> Option<Command> {
    let changes: Vec<RowChange> =
        gone.iter().filter_map(|view| view.stored.as_ref()?.clearing()).collect();
    let command = RowCommand { expects: Vec::new(), changes };
    (!command.changes.is_empty()).then_some(Command::Rows(command))
}

/// About how many rows a view has.
pub(crate) fn rows_about(engine: &Engine, snapshot: &Snapshot, view: &View) -> u64 {
    let Some(stored) = view.stored.as_ref().filter(|stored| stored.is_filled()) else { return 0 };
    let (rows, none) = (snapshot.rows().clone(), relational::Pending::default());
    engine.relational().rows_about(&stored.def(view), &relational::View::new(rows, none))
}

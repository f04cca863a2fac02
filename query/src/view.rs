//! Views: named queries, kept as rows of the row store and put in where a statement names them.
//!
//! A view is kept as the text of its query with every `*` over a table written out, so that it
//! keeps its columns when tables get more. It is bound in a scope of its own, with the settings of
//! the statement that reads it, and stands in that statement's plan like a subquery. What depends
//! on what is not kept: it is found by binding views without the thing in question (`depend`).

pub(crate) mod define;
mod depend;
mod expand;
pub(crate) mod materialized;
mod rows;
pub(crate) mod stored;
mod temporary;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, TableType};
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use tsdb::Snapshot;
use tsdb::types::{ColumnId, TableId, TableSchema};

use crate::error::{QueryError, QueryResult};
use crate::plan::{PlanContext, origins};
use crate::relational::def::TableDef;
use crate::rights::Object;
use crate::table::ShownTime;
use crate::{catalog, names, sugar};

pub(crate) use depend::Hidden;
pub(crate) use materialized::Materialized;
pub(crate) use stored::Stored;
pub(crate) use temporary::{Temporary, drop_of_sessions, refuse_hidden};

/// Views of views of views …; deeper ones are refused with 54001.
const DEPTH_MAX: usize = 32;

/// A column of a view.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewColumn {
    pub(crate) name: String,
    /// Number of its type, as pg_type has it.
    pub(crate) kind: i64,
}

/// A table as it was when a view over it was made: later columns are none that the view knows.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewTable {
    table: TableId,
    /// Name of its time.
    time: String,
    columns: Vec<(ColumnId, String)>,
}

impl ViewTable {
    fn of(table: &TableSchema) -> ViewTable {
        ViewTable {
            table: table.id,
            time: table.time_name.clone(),
            columns: table.columns.iter().map(|c| (c.id, c.name.clone())).collect(),
        }
    }

    /// Columns of the table as it is now that are unknown by id or name; `None` is its time.
    fn unknown<'a>(
        &'a self,
        table: &'a TableSchema,
    ) -> impl Iterator<Item = Option<ColumnId>> + 'a {
        let known: HashMap<ColumnId, &str> =
            self.columns.iter().map(|(id, name)| (*id, name.as_str())).collect();
        let new = table.columns.iter().filter(move |c| known.get(&c.id) != Some(&c.name.as_str()));
        let time = (self.time != table.time_name).then_some(None);
        time.into_iter().chain(new.map(|column| Some(column.id)))
    }
}

/// A relational table, likewise.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewRelation {
    table: u32,
    columns: Vec<(u32, String)>,
}

impl ViewRelation {
    fn of(table: &TableDef) -> ViewRelation {
        let columns = table.columns.iter().map(|c| (c.id, c.name.clone())).collect();
        ViewRelation { table: table.number, columns }
    }
}

/// One view.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) columns: Vec<ViewColumn>,
    /// The tables that its own text names.
    tables: Vec<ViewTable>,
    relations: Vec<ViewRelation>,
    /// Text of the query.
    pub(crate) text: String,
    query: ast::Query,
    /// Of a continuous aggregate.
    pub(crate) materialized: Option<Materialized>,
    /// Of a materialised view that is none.
    pub(crate) stored: Option<Stored>,
    /// Of one session, and gone with it.
    pub(crate) temporary: Option<Temporary>,
}

impl View {
    /// The tables that its own text names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = TableId> + '_ {
        self.tables.iter().map(|of| of.table)
    }

    /// Whether it keeps rows, of either kind.
    pub(crate) fn is_materialized(&self) -> bool {
        self.materialized.is_some() || self.stored.is_some()
    }

    /// Whether reading it gives rows; one that was never filled gives an error.
    pub(crate) fn is_populated(&self) -> bool {
        self.stored.as_ref().is_none_or(Stored::is_filled)
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.is_materialized() {
            true => "materialized view",
            false => "view",
        }
    }
}

/// All views at one moment.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// Counts changes of views.
    pub(crate) revision: u64,
    /// The row that counts them, as it is; `None` before the first view.
    meta: Option<Vec<u8>>,
    /// The next view's number.
    next: u32,
    /// In order of their numbers.
    pub(crate) list: Vec<Arc<View>>,
    /// Whether some are temporary.
    with_temporary: bool,
}

impl Views {
    /// The view of that name: a temporary one hides others.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<View>> {
        self.find_temporary(name).or_else(|| self.find_lasting(name))
    }

    /// The view of that name that is of all sessions.
    pub(crate) fn find_lasting(&self, name: &str) -> Option<&Arc<View>> {
        self.list.iter().find(|view| view.temporary.is_none() && view.name == name)
    }

    /// The view of a number.
    pub(crate) fn by_number(&self, number: u32) -> Option<&Arc<View>> {
        self.list.iter().find(|view| view.number == number)
    }
}

/// The views last read: they are read anew when the row that counts changes says so.
#[derive(Debug, Default)]
pub(crate) struct ViewCache {
    all: Mutex<Option<Arc<Views>>>,
    seen: temporary::Seen,
}

impl ViewCache {
    /// All views of a snapshot, temporary ones of all sessions among them.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> QueryResult<Arc<Views>> {
        let meta = rows::meta(snapshot)?;
        let kept = self.all.lock().clone();
        if let Some(kept) = kept
            && kept.meta == meta
        {
            return Ok(kept);
        }
        let read = Arc::new(rows::read(snapshot, meta)?);
        *self.all.lock() = Some(read.clone());
        Ok(read)
    }
}

/// What binding a statement knows of views.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Views whose queries are being bound, from the outside in.
    open: Mutex<Vec<Open>>,
    /// Tables that a view under definition names.
    tables: Mutex<Vec<ViewTable>>,
    relations: Mutex<Vec<ViewRelation>>,
    /// What is temporary of what a view under definition names.
    temporary: Mutex<temporary::Used>,
    /// Revision of the views that were looked into, if any was used.
    used: Mutex<Option<u64>>,
    /// What is treated as if it were not there.
    pub(crate) hidden: Vec<Hidden>,
    /// Continuous aggregates stand for their queries, stored or not.
    pub(crate) plain: bool,
    /// Whether stored rows of a continuous aggregate are read.
    stored: AtomicBool,
    /// Aggregates that answer for their table, in words.
    answered: Mutex<Vec<String>>,
}

/// A view whose query is being bound.
#[derive(Debug)]
struct Open {
    /// The number of the view; `None` while a new one is being defined.
    number: Option<u32>,
    /// `None` while it is being defined.
    view: Option<Arc<View>>,
    /// The buckets that are wanted of it, µs: a start, and one that is not.
    wanted: Option<(i64, i64)>,
    /// The table whose policies are being bound; then there is no view.
    policy: Option<Object>,
}

/// In whose name is read what is being bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behalf {
    /// Of who asks.
    Session,
    /// Of the owner of the view of that number.
    View(u32),
    /// Of nobody: what is stored of a query, or would be.
    Stored,
    /// Of the owner of that table.
    Policy(Object),
}

impl Open {
    fn of(view: &Arc<View>) -> Open {
        Open { number: Some(view.number), view: Some(view.clone()), wanted: None, policy: None }
    }
}

impl Scope {
    pub(crate) fn hiding(hidden: Vec<Hidden>) -> Scope {
        Scope { hidden, plain: true, ..Scope::default() }
    }

    /// A view that is being defined, in place of the one of that number: it cannot be part of
    /// itself.
    fn defining(number: Option<u32>) -> Scope {
        let open = Open { number, view: None, wanted: None, policy: None };
        Scope { open: Mutex::new(vec![open]), ..Scope::default() }
    }

    /// Whether a view is being defined.
    fn is_defining(&self) -> bool {
        self.open.lock().iter().any(|open| open.view.is_none())
    }

    /// Revision of the views, if the statement uses one.
    pub(crate) fn used(&self) -> Option<u64> {
        *self.used.lock()
    }

    /// Says which buckets are wanted of the view that is open.
    fn want(&self, span: Option<(i64, i64)>) {
        if let Some(open) = self.open.lock().last_mut() {
            open.wanted = span;
        }
    }

    fn note_stored(&self) {
        self.stored.store(true, Ordering::Relaxed);
    }

    /// Notes that an aggregate answers for its table, from a time to another, µs.
    fn note_answered(&self, name: &str, (from, to): (i64, i64)) {
        let shown = |micros: i64| ShownTime(micros.saturating_mul(1_000));
        let line = format!("Continuous Aggregate: {name}, time={} to {}", shown(from), shown(to));
        self.answered.lock().push(line);
    }

    /// The aggregates that answer for their tables, as EXPLAIN shows them.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.answered.lock().clone()
    }

    /// Whether stored rows of a continuous aggregate are read: those hold for one snapshot only.
    pub(crate) fn reads_stored(&self) -> bool {
        self.stored.load(Ordering::Relaxed)
    }

    pub(crate) fn hides_table(&self, table: TableId) -> bool {
        self.hidden.contains(&Hidden::Table(table))
    }

    /// Begins to bind the policies of a table.
    pub(crate) fn open_policy(&self, object: Object) -> QueryResult<()> {
        let mut open = self.open.lock();
        if open.iter().any(|open| open.policy == Some(object)) {
            let message = "infinite recursion detected in policy for relation";
            return Err(QueryError::new("42P17", message));
        }
        if open.len() >= DEPTH_MAX {
            let message = format!("views and policies are nested more than {DEPTH_MAX} deep");
            return Err(QueryError::new("54001", message));
        }
        open.push(Open { number: None, view: None, wanted: None, policy: Some(object) });
        Ok(())
    }

    /// Ends what was begun last.
    pub(crate) fn close(&self) {
        self.open.lock().pop();
    }

    /// In whose name is read what is being bound.
    pub(crate) fn behalf(&self) -> Behalf {
        let open = self.open.lock();
        let stored = |open: &Open| open.view.as_ref().is_some_and(|v| v.materialized.is_some());
        match open.last() {
            _ if open.iter().any(stored) => Behalf::Stored,
            Some(Open { policy: Some(object), .. }) => Behalf::Policy(*object),
            // What is filled is read by who fills it, what is temporary by its session.
            Some(Open { view: Some(view), .. })
                if view.temporary.is_none() && view.stored.is_none() =>
            {
                Behalf::View(view.number)
            }
            Some(_) | None => Behalf::Session,
        }
    }

    /// Whether the query of a view is being bound, or defined.
    pub(crate) fn in_view(&self) -> bool {
        !self.open.lock().is_empty()
    }

    pub(crate) fn hides_relation(&self, number: u32) -> bool {
        self.hidden.contains(&Hidden::Relation(number))
    }

    /// Numbers of the columns of a relational table that are hidden where it is named now.
    pub(crate) fn hidden_of_relation(&self, table: &TableDef) -> Vec<u32> {
        let column = |hidden: &Hidden| match hidden {
            Hidden::RelationColumn(of, column) if *of == table.number => Some(*column),
            _ => None,
        };
        let mut out: Vec<u32> = self.hidden.iter().filter_map(column).collect();
        match self.open.lock().last() {
            Some(Open { view: Some(view), .. }) => {
                if let Some(known) = view.relations.iter().find(|known| known.table == table.number)
                {
                    let new = table.columns.iter().filter(|c| {
                        !known.columns.iter().any(|(id, name)| *id == c.id && *name == c.name)
                    });
                    out.extend(new.map(|column| column.id));
                }
            }
            Some(Open { policy: Some(_), .. }) => {}
            Some(Open { view: None, .. }) => {
                let mut relations = self.relations.lock();
                if !relations.iter().any(|known| known.table == table.number) {
                    relations.push(ViewRelation::of(table));
                }
            }
            None => {}
        }
        out
    }

    /// Columns of a table that are hidden where it is named now; `None` is its time.
    pub(crate) fn hidden_columns(&self, table: &TableSchema) -> Vec<Option<ColumnId>> {
        let column = |hidden: &Hidden| match hidden {
            Hidden::Column(of, column) if *of == table.id => Some(*column),
            _ => None,
        };
        let mut out: Vec<_> = self.hidden.iter().filter_map(column).collect();
        match self.open.lock().last() {
            Some(Open { view: Some(view), .. }) => {
                if let Some(known) = view.tables.iter().find(|known| known.table == table.id) {
                    out.extend(known.unknown(table));
                }
            }
            Some(Open { policy: Some(_), .. }) => {}
            Some(Open { view: None, .. }) => {
                let mut tables = self.tables.lock();
                if !tables.iter().any(|known| known.table == table.id) {
                    tables.push(ViewTable::of(table));
                }
            }
            None => {}
        }
        out
    }
}

/// A view as the planner sees it: its plan stands in for it.
pub(crate) struct ViewSource {
    pub(crate) schema: SchemaRef,
    pub(crate) plan: LogicalPlan,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

impl PlanContext {
    /// The views that the statement sees.
    pub(crate) fn views(&self) -> QueryResult<Arc<Views>> {
        self.engine.views().seen(&self.snapshot, self.session())
    }

    /// The view of that name that is of all sessions, bound; `None` if there is none.
    pub(crate) fn view(&self, name: &str) -> QueryResult<Option<Arc<dyn TableSource>>> {
        let views = self.views()?;
        match views.find_lasting(name) {
            Some(view) => self.bind_named(&views, view),
            None => Ok(None),
        }
    }

    /// A view, bound where a statement or another view names it; `None` if it is hidden.
    fn bind_named(
        &self,
        views: &Views,
        view: &Arc<View>,
    ) -> QueryResult<Option<Arc<dyn TableSource>>> {
        if self.scope.hidden.contains(&Hidden::View(view.number)) {
            return Ok(None);
        }
        let name = view.name.as_str();
        *self.scope.used.lock() = Some(views.revision);
        let wanted;
        {
            let mut open = self.scope.open.lock();
            if open.iter().any(|open| open.number == Some(view.number)) {
                let message = format!("infinite recursion detected in view \"{name}\"");
                return Err(QueryError::new("42P17", message));
            }
            if open.len() >= DEPTH_MAX {
                let message = format!("views are nested more than {DEPTH_MAX} deep");
                return Err(QueryError::new("54001", message));
            }
            wanted = open.last().and_then(|outer| outer.wanted);
            open.push(Open::of(view));
        }
        let bound = match (&view.materialized, &view.stored) {
            (Some(materialized), _) => self.bind_materialized(view, materialized, views, wanted),
            (None, Some(stored)) => self.bind_stored(view, stored),
            (None, None) => self.bind_view(view),
        };
        self.scope.open.lock().pop();
        let plan = bound.map_err(|error| inside(error, name))?;
        let plan = match self.scope.plain {
            true => plan,
            // So that its columns are known as the view's.
            false => {
                let alias = origins::alias_of_view(view.number);
                LogicalPlanBuilder::from(plan).alias(alias)?.build()?
            }
        };
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(Some(Arc::new(ViewSource { schema, plan })))
    }

    /// Binds the query of a view as a statement would that names it.
    pub(crate) fn bind_open(&self, view: &Arc<View>) -> QueryResult<LogicalPlan> {
        self.scope.open.lock().push(Open::of(view));
        let bound = self.bind_view(view);
        self.scope.open.lock().pop();
        bound
    }

    /// The plan of a view's query under the names of its columns.
    pub(in crate::view) fn bind_view(&self, view: &View) -> QueryResult<LogicalPlan> {
        let columns = &view.columns;
        let plan = self.bind_query(&view.query, &view.text)?;
        let fields: Vec<(Option<TableReference>, String)> = plan
            .schema()
            .iter()
            .map(|(table, field)| (table.cloned(), field.name().clone()))
            .collect();
        if fields.len() != columns.len() {
            let message = format!(
                "its query has {} columns now, and had {} when it was made",
                fields.len(),
                columns.len()
            );
            return Err(QueryError::new("42P16", message));
        }
        let exprs = fields.into_iter().zip(columns).map(|((table, name), column)| {
            Expr::Column(Column::new(table, name)).alias(&column.name)
        });
        let exprs: Vec<Expr> = exprs.collect();
        Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
    }

    /// Binds the query of a view, with columns of quality if its own text asks for them.
    pub(in crate::view) fn bind_query(
        &self,
        query: &ast::Query,
        text: &str,
    ) -> QueryResult<LogicalPlan> {
        let mut statement = ast::Statement::Query(Box::new(query.clone()));
        let before = self.set_quality(text.contains("__quality"));
        let plain = sugar::rewrite(&mut statement, self)
            .and_then(|()| catalog::rewrite(&mut statement, self))
            .and_then(|()| sugar::count(&mut statement));
        let bound = plain.and_then(|()| {
            names::disambiguate(&mut statement);
            self.bind(statement, &[])
        });
        self.set_quality(before);
        bound
    }
}

/// An error of a view's query in a statement that names the view: places in the view's text are
/// none of the statement's.
fn inside(error: QueryError, name: &str) -> QueryError {
    let error = crate::error::place(error, "");
    let detail = match error.detail {
        Some(detail) => format!("{detail} (in view \"{name}\")"),
        None => format!("In view \"{name}\"."),
    };
    QueryError { detail: Some(detail), position: None, ..error }
}

/// `42P01` for a name that is no table; what it is, if it is a view.
pub(crate) fn not_a_table(session: &crate::Session, name: &str, doing: &str) -> QueryError {
    match session.views() {
        Ok(views) if views.find(name).is_some_and(|view| view.stored.is_some()) => {
            QueryError::new("42809", format!("\"{name}\" is a materialized view"))
                .with_hint("Its rows are what its query gives: REFRESH MATERIALIZED VIEW.")
        }
        Ok(views) if views.find(name).is_some() => {
            QueryError::new("42809", format!("\"{name}\" is a view: {doing}"))
        }
        Ok(_) => QueryError::no_table(name),
        Err(error) => error,
    }
}

//! From a syntax tree to operators: names are looked up in a snapshot, DataFusion plans.
//!
//! One [`PlanContext`] belongs to one run of one statement. It is all that DataFusion sees of a
//! session (its `ContextProvider`, `OptimizerConfig` and `Session` in one), so that no
//! SessionContext is built and nothing is copied a statement. Logical plans name tables by their
//! schema only; the snapshot comes in when a scan is made, so a plan may be kept. What is bound and holds more
//! of its statement than names says so: [`PlanContext::mark_told`], [`PlanContext::mark_fleeting`].

pub(crate) mod bound;
mod casts;
mod context;
pub(crate) mod extension;
pub(crate) mod frames;
pub(crate) mod joined;
pub(crate) mod names;
pub(crate) mod origins;
pub(crate) mod overflow;
mod spans;
pub(crate) mod texts;
mod unary;
pub(crate) mod uuids;
pub(crate) mod weight;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Field, SchemaRef};
use chrono::Utc;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result};
use datafusion::config::ConfigOptions;
use datafusion::datasource::MemTable;
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use parking_lot::Mutex;
use tsdb::Snapshot;
use tsdb::types::TableId;

use crate::Identity;
use crate::activity::{Client, Query};
use crate::catalog::Image;
use crate::catalog::answers::Stamp;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::relational::def::Relations;
use crate::relational::{Pending, View};
use crate::rights::security::For;
use crate::rights::{self, Rights};
use crate::session::CursorInfo;
use crate::settings::Settings;
use crate::view::{Hidden, Scope, materialized};
use crate::{asof, functions, gapfill, native, table, window_join};

/// Rows below which a statement runs on one core: starting a second costs more.
const ROWS_PARALLEL_MIN: usize = 100_000;

/// All that planning one statement needs; it owns its parts, so that a task can take it along.
pub(crate) struct PlanContext {
    pub(crate) engine: Arc<Engine>,
    pub(crate) snapshot: Snapshot,
    pub(crate) settings: Arc<Settings>,
    pub(crate) identity: Arc<Identity>,
    /// What is being bound asks for quality columns.
    quality: AtomicBool,
    /// The statement changes rows: [`names::ROWS`] has tables with the identity of their rows.
    pub(crate) changes: bool,
    /// The commands whose policies say which rows such a statement finds.
    pub(crate) found_by: Vec<For>,
    /// The rows that a statement is about to write, where policies look at them.
    pub(crate) new_rows: Option<Arc<MemTable>>,
    config: SessionConfig,
    /// The same for statements over little or nothing.
    small: SessionConfig,
    is_small: AtomicBool,
    props: ExecutionProps,
    /// Rows of the catalogue, made when a statement asks for the first of them.
    image: Mutex<Option<Arc<Image>>>,
    /// Whether something was looked up that belongs to this moment or user.
    fleeting: AtomicBool,
    /// Whether what is bound holds what is of one run, and has nothing to do with the catalogue.
    acting: AtomicBool,
    /// Whether something was bound that belongs to this session or moment and no other.
    moving: AtomicBool,
    /// Whether what is being bound reads tables of the catalogue, whose rows are those of whoever
    /// runs it.
    catalogue: AtomicBool,
    /// Tables that the transaction has written and that it must not read yet.
    written: HashSet<TableId>,
    /// What it has changed of relational tables, which it reads.
    pub(crate) pending: Pending,
    relations: OnceLock<Arc<Relations>>,
    /// Number of the session, whose temporary tables are seen; 0: none are.
    session: u64,
    /// Whether several statements must see the same rows: then nothing newer may be shown.
    steady: bool,
    /// Cursors of the block, for the catalogue.
    pub(crate) cursors: Vec<Arc<CursorInfo>>,
    /// The connection that asks.
    pub(crate) client: Option<Arc<Client>>,
    /// The run of the statement, whose memory its operators take.
    query: Option<Arc<Query>>,
    /// Views in use, and what is hidden to find out what depends on it.
    pub(crate) scope: Arc<Scope>,
    /// Columns of the result whose objects are wanted as numbers, not as names.
    pub(crate) numbered: Arc<[bool]>,
    /// Rights of the moment, when they are asked for.
    pub(crate) rights: OnceLock<Arc<Rights>>,
    /// Whether policies were put under tables that were bound.
    secured: AtomicBool,
    /// Whether the transaction may write nothing.
    pub(crate) read_only: bool,
    /// Made if something wants to change them.
    table_options: Option<Box<datafusion::config::TableOptions>>,
}

/// Settings of DataFusion for sessions of a zone.
pub(crate) fn config(zone: &str, partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions.max(1))
        .with_batch_size(table::BATCH_ROWS)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_round_robin_repartition(false)
        .with_repartition_file_scans(false);
    let options = config.options_mut();
    options.execution.time_zone = Some(zone.to_string());
    options.execution.collect_statistics = true;
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.collect_spans = true;
    // Leaves take no filters at run time, so producing them is wasted work.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.max_passes = 2;
    // What a sort keeps free to merge what it has spilled. The default of 10 MiB for each core
    // would be more than small limits of memory have.
    options.execution.sort_spill_reservation_bytes = 2 << 20;
    options.optimizer.prefer_existing_sort = true;
    config
}

/// Of those the settings for statements that read little: one core, and as nothing is to be gained
/// by moving filters about, one pass of rules.
pub(crate) fn small(config: &SessionConfig) -> SessionConfig {
    let mut config = config.clone().with_target_partitions(1);
    config.options_mut().optimizer.max_passes = 1;
    config
}

fn parser_options() -> ParserOptions {
    ParserOptions::new().with_collect_spans(true)
}

impl PlanContext {
    pub(crate) fn new(
        engine: Arc<Engine>,
        snapshot: Snapshot,
        settings: Arc<Settings>,
        identity: Arc<Identity>,
        (config, small): (SessionConfig, SessionConfig),
        text: &str,
    ) -> PlanContext {
        let mut props = ExecutionProps::new();
        props.query_execution_start_time = Some(Utc::now());
        props.config_options = Some(config.options().clone());
        PlanContext {
            engine,
            snapshot,
            settings,
            identity,
            quality: AtomicBool::new(text.contains("__quality")),
            changes: false,
            found_by: Vec::new(),
            new_rows: None,
            config,
            small,
            is_small: AtomicBool::new(false),
            props,
            image: Mutex::new(None),
            fleeting: AtomicBool::new(false),
            acting: AtomicBool::new(false),
            moving: AtomicBool::new(false),
            catalogue: AtomicBool::new(false),
            written: HashSet::new(),
            pending: Pending::default(),
            relations: OnceLock::new(),
            session: 0,
            steady: false,
            cursors: Vec::new(),
            client: None,
            query: None,
            scope: Arc::default(),
            numbered: Arc::default(),
            rights: OnceLock::new(),
            secured: AtomicBool::new(false),
            read_only: false,
            table_options: None,
        }
    }

    /// In an implicit block, which has written these tables.
    pub(crate) fn after_writes(self, written: HashSet<TableId>) -> PlanContext {
        PlanContext { written, ..self }
    }

    /// In a transaction block, which has written these tables.
    pub(crate) fn in_block(self, written: HashSet<TableId>) -> PlanContext {
        PlanContext { written, steady: true, ..self }
    }

    /// Of a session, with its temporary tables.
    pub(crate) fn of_session(self, session: u64) -> PlanContext {
        PlanContext { session, ..self }
    }

    /// Number of that session.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }

    /// In a block that has changed relational tables.
    pub(crate) fn with_pending(self, pending: Pending) -> PlanContext {
        PlanContext { pending, ..self }
    }

    /// As of another snapshot.
    pub(crate) fn at(self, snapshot: Snapshot) -> PlanContext {
        PlanContext { snapshot, relations: OnceLock::new(), ..self }
    }

    /// The relational tables that the statement sees.
    pub(crate) fn relations(&self) -> QueryResult<Arc<Relations>> {
        if let Some(relations) = self.relations.get() {
            return Ok(relations.clone());
        }
        let read = self.engine.relational().seen(&self.snapshot, self.session)?;
        Ok(self.relations.get_or_init(|| read).clone())
    }

    /// Rows of relational tables as the statement sees them.
    pub(crate) fn rows_view(&self) -> View {
        View::new(self.snapshot.rows().clone(), self.pending.clone())
    }

    /// Binds one expression over a schema.
    pub(crate) fn bind_expr(
        &self,
        expr: ast::Expr,
        schema: &DFSchemaRef,
        types: &[Option<DataType>],
    ) -> QueryResult<Expr> {
        let planner = SqlToRel::new_with_options(self, parser_options());
        let fields = types.iter().enumerate().map(|(i, kind)| {
            kind.as_ref()
                .map(|kind| Arc::new(Field::new(format!("${}", i + 1), kind.clone(), true)))
        });
        let mut context = PlannerContext::new().with_prepare_param_data_types(fields.collect());
        Ok(planner.sql_to_expr(expr, schema, &mut context)?)
    }

    /// The expression with casts where its types ask for them, and what is constant folded.
    pub(crate) fn coerce(&self, expr: Expr, schema: &DFSchemaRef) -> QueryResult<Expr> {
        let context = SimplifyContext::builder()
            .with_schema(schema.clone())
            .with_config_options(self.config.options().clone())
            .with_query_execution_start_time(self.props.query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = joined::rewrite(uuids::rewrite(expr, schema)?, schema)?;
        let expr = overflow::check(simplifier.coerce(expr, schema)?, schema)?;
        Ok(simplifier.simplify(expr)?)
    }

    /// The expression ready to run over batches of a schema.
    pub(crate) fn physical_expr(
        &self,
        expr: &Expr,
        schema: &DFSchemaRef,
    ) -> QueryResult<Arc<dyn PhysicalExpr>> {
        let planning = PhysicalPlanningContext::default();
        Ok(create_physical_expr(expr, schema, &self.props, &planning)?)
    }

    /// In a block with cursors.
    pub(crate) fn with_cursors(self, cursors: Vec<Arc<CursorInfo>>) -> PlanContext {
        PlanContext { cursors, ..self }
    }

    /// Of a connection, in a run of a statement.
    pub(crate) fn of_run(self, client: Arc<Client>, query: Option<Arc<Query>>) -> PlanContext {
        PlanContext { client: Some(client), query, ..self }
    }

    /// With a view under definition.
    pub(crate) fn in_scope(self, scope: Scope) -> PlanContext {
        PlanContext { scope: Arc::new(scope), ..self }
    }

    /// As if these things were not there.
    pub(crate) fn hiding(self, hidden: Vec<Hidden>) -> PlanContext {
        PlanContext { scope: Arc::new(Scope::hiding(hidden)), ..self }
    }

    /// The same statement's context for what is in UTC whatever the session says.
    pub(crate) fn in_utc(&self) -> QueryResult<PlanContext> {
        let mut settings = Settings::clone(&self.settings);
        settings.set("TimeZone", "UTC")?;
        let config = config("+00:00", self.config.target_partitions());
        let small = small(&config);
        let mut utc = PlanContext::new(
            self.engine.clone(),
            self.snapshot.clone(),
            Arc::new(settings),
            self.identity.clone(),
            (config, small),
            "",
        );
        utc.pending = self.pending.clone();
        utc.session = self.session;
        utc.scope = self.scope.clone();
        utc.steady = self.steady;
        utc.read_only = self.read_only;
        utc.client = self.client.clone();
        utc.query = self.query.clone();
        Ok(utc)
    }

    /// Whether tables show the quality of their fields.
    pub(crate) fn quality(&self) -> bool {
        self.quality.load(Ordering::Relaxed)
    }

    /// Binds what follows with or without columns of quality; how it was before.
    pub(crate) fn set_quality(&self, quality: bool) -> bool {
        self.quality.swap(quality, Ordering::Relaxed)
    }

    /// Names and types are resolved; parameters stay open, with the types that are known.
    pub(crate) fn bind(
        &self,
        statement: ast::Statement,
        types: &[Option<DataType>],
    ) -> QueryResult<LogicalPlan> {
        let planner = SqlToRel::new_with_options(self, parser_options());
        let fields = types.iter().enumerate().map(|(i, kind)| {
            kind.as_ref()
                .map(|kind| Arc::new(Field::new(format!("${}", i + 1), kind.clone(), true)))
        });
        let mut context = PlannerContext::new().with_prepare_param_data_types(fields.collect());
        Ok(planner.sql_statement_to_plan_with_context(statement, &mut context)?)
    }

    /// Columns of a bound plan's result, with the types that coercion will give them.
    pub(crate) fn result_schema(&self, plan: &LogicalPlan) -> QueryResult<SchemaRef> {
        let plan = self.analyzed(plan.clone())?;
        Ok(Arc::new(plan.schema().as_arrow().clone()))
    }

    /// A bound plan with its types coerced.
    pub(crate) fn analyzed(&self, plan: LogicalPlan) -> QueryResult<LogicalPlan> {
        let analyzer = self.engine.base().analyzer();
        Ok(analyzer.execute_and_check(plan, self.config.options(), |_, _| {})?)
    }

    /// `0A000` where the plan reads what its own transaction has written: those rows are not in
    /// any snapshot before COMMIT, and an answer without them would be wrong.
    pub(crate) fn refuse_own_writes(&self, plan: &LogicalPlan) -> QueryResult<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        let mut found = None;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(id) = table::id_of(scan)
                && self.written.contains(&id)
            {
                found = Some(scan.table_name.table().to_string());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        match found {
            None => Ok(()),
            Some(name) => Err(QueryError::unsupported(format!(
                "reading \"{name}\" after writing to it in the same transaction"
            ))
            .with_hint("COMMIT first.")),
        }
    }

    /// Whether the transaction has written to a table, which it then must not read yet.
    pub(crate) fn has_written(&self, table: TableId) -> bool {
        self.written.contains(&table)
    }

    /// Whether a bound plan may serve the same statement again.
    pub(crate) fn may_keep(&self) -> bool {
        !self.fleeting.load(Ordering::Relaxed) && !self.acting.load(Ordering::Relaxed)
    }

    /// Tables of the catalogue are read, whose columns often show as other types than they are.
    pub(crate) fn mark_catalogue(&self) {
        self.catalogue.store(true, Ordering::Relaxed);
    }

    /// Whether what is bound may have to do with the catalogue: with its tables, or with numbers
    /// and functions that tell of it.
    pub(crate) fn is_of_catalogue(&self) -> bool {
        self.reads_catalogue() || self.fleeting.load(Ordering::Relaxed)
    }

    /// Whether tables of the catalogue are read by what has been bound so far.
    pub(crate) fn reads_catalogue(&self) -> bool {
        self.catalogue.load(Ordering::Relaxed)
    }

    /// A policy was put under a table.
    pub(crate) fn mark_secured(&self) {
        self.secured.store(true, Ordering::Relaxed);
    }

    /// Whether policies were put under tables that were bound.
    pub(crate) fn is_secured(&self) -> bool {
        self.secured.load(Ordering::Relaxed)
    }

    /// As [`PlanContext::mark_told`], where types stay those of any other statement.
    pub(crate) fn mark_acting(&self) {
        self.acting.store(true, Ordering::Relaxed);
    }

    /// What is bound must not serve another session, nor this one a second time.
    pub(crate) fn mark_moving(&self) {
        self.moving.store(true, Ordering::Relaxed);
    }

    /// Whether something was bound that belongs to this session or moment and no other.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving.load(Ordering::Relaxed)
    }

    /// Whether the transaction has written anything.
    pub(crate) fn has_changed(&self) -> bool {
        !self.written.is_empty() || !self.pending.is_empty()
    }

    /// What the rows of the catalogue were made of that the statement was told; `None` where some
    /// of them hold for this moment alone.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        match &*self.image.lock() {
            Some(image) => image.stamp(),
            None => Stamp::of(self, self.engine.directory().roles().ok()?).ok().flatten(),
        }
    }

    /// The stamp of what the catalogue has told to what was bound; `None` if it was not asked, or
    /// if what it told holds for this moment alone.
    pub(crate) fn told(&self) -> Option<Stamp> {
        if self.is_moving() || self.acting.load(Ordering::Relaxed) {
            return None;
        }
        self.image.lock().as_ref().and_then(|image| image.stamp())
    }

    /// What is bound holds what the catalogue tells: it may serve again only while that is the same,
    /// which [`PlanContext::told`] says.
    pub(crate) fn mark_told(&self) {
        self.fleeting.store(true, Ordering::Relaxed);
    }

    /// What is bound holds something else of this statement, as rows of its snapshot: it serves once.
    pub(crate) fn mark_fleeting(&self) {
        self.mark_told();
        self.mark_moving();
    }

    /// Puts values into `$1 …` and optimises.
    pub(crate) fn optimize(
        &self,
        plan: LogicalPlan,
        params: &[ScalarValue],
    ) -> QueryResult<LogicalPlan> {
        let plan = match params.is_empty() {
            true => plan,
            false => plan.with_param_values(params.to_vec())?,
        };
        if let Some(name) = plan.get_parameter_names()?.into_iter().next() {
            return Err(QueryError::new("42P02", format!("there is no parameter {name}")));
        }
        let base = self.engine.base();
        self.note_size(&plan)?;
        let plan = base.analyzer().execute_and_check(plan, self.config.options(), |_, _| {})?;
        let restricted = !self.identity.superuser && !self.identity.can_read;
        let plan = match restricted || self.is_secured() {
            true => rights::place_barriers(plan, restricted)?,
            false => plan,
        };
        let plan = window_join::rewrite(plan, self)?;
        let plan = asof::rewrite(plan, self)?;
        let plan = gapfill::rewrite(plan, self)?;
        let plan = materialized::rewrite(plan, self)?;
        let plan = match self.may_use_last_cache() {
            true => table::last::rewrite(plan, self)?,
            false => plan,
        };
        let plan = match self.settings.is_on("millrace.use_native") {
            true => native::rewrite(plan, self)?,
            false => plan,
        };
        Ok(base.optimizer().optimize(plan, self, |_, _| {})?)
    }

    /// Chooses settings for a plan, before it is optimised or where it has been already.
    pub(crate) fn note_size(&self, plan: &LogicalPlan) -> QueryResult<()> {
        self.is_small.store(!reads_tables(plan)?, Ordering::Relaxed);
        Ok(())
    }

    /// Whether newest rows may come from the last-value cache, which may be newer than the snapshot
    /// by commits published since it was taken.
    pub(crate) fn may_use_last_cache(&self) -> bool {
        // Stored rows of a continuous aggregate hold for the snapshot only.
        let newest = !self.steady && !self.scope.reads_stored();
        newest && self.settings.is_on("millrace.use_last_cache")
    }

    /// Settings of DataFusion for this statement, as far as it is known.
    fn options(&self) -> &Arc<ConfigOptions> {
        match self.is_small.load(Ordering::Relaxed) {
            true => self.small.options(),
            false => self.config.options(),
        }
    }

    /// Settings of DataFusion, for functions that are called without a plan.
    pub(crate) fn config_options(&self) -> Arc<ConfigOptions> {
        self.config.options().clone()
    }

    /// Folds what is constant in an expression over a schema.
    pub(crate) fn simplify(&self, expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
        let context = SimplifyContext::builder()
            .with_schema(schema.clone())
            .with_config_options(self.config.options().clone())
            .with_query_execution_start_time(self.props.query_execution_start_time)
            .build();
        ExprSimplifier::new(context).simplify(expr)
    }

    /// Makes operators; scans are prepared but nothing is read.
    pub(crate) async fn physical(
        &mut self,
        plan: &LogicalPlan,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_planner::PhysicalPlanner;
        if self.config.target_partitions() > 1 && self.estimate(plan)? < ROWS_PARALLEL_MIN {
            self.config = self.small.clone();
        }
        if let Some(query) = &self.query
            && functions::makes_much(plan)?
        {
            let options = functions::with_room(self.config.options(), query.memory.pool());
            self.props.config_options = Some(Arc::new(options));
        }
        let engine = self.engine.clone();
        Ok(engine.planner().create_physical_plan(plan, &*self).await?)
    }

    /// Rows that the leaves may give, roughly.
    fn estimate(&self, plan: &LogicalPlan) -> QueryResult<usize> {
        let mut rows = 0usize;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                rows = rows.saturating_add(table::estimate(scan, &self.snapshot));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(rows)
    }

    /// What operators see while they run. Functions are bound in the plan, so the maps by name
    /// stay empty.
    pub(crate) fn task(&self) -> Arc<TaskContext> {
        let all = self.engine.base().runtime_env();
        let env = self.query.as_ref().map_or(all, |query| query.memory.env(all));
        Arc::new(TaskContext::new(
            None,
            String::new(),
            self.config.clone(),
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            env.clone(),
        ))
    }

    /// The catalogue as this statement sees it.
    pub(crate) fn image(&self) -> QueryResult<Arc<Image>> {
        // What is bound by what it tells holds for now; scans ask when plans are kept already.
        self.mark_told();
        let mut slot = self.image.lock();
        if let Some(image) = &*slot {
            return Ok(image.clone());
        }
        let image = Arc::new(Image::new(self)?);
        *slot = Some(image.clone());
        Ok(image)
    }

    /// Channels that the session listens to.
    pub(crate) fn listening(&self) -> Vec<String> {
        let client = self.client.as_ref();
        client.map(|client| self.engine.channels().of(&client.inbox)).unwrap_or_default()
    }

    /// `now()` of the statement, µs since 1970.
    pub(crate) fn started_us(&self) -> i64 {
        self.props.query_execution_start_time.map_or(0, |t| t.timestamp_micros())
    }
}

/// Whether a plan reads tables of rows, not only the catalogue and constants.
fn reads_tables(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= match node {
            LogicalPlan::TableScan(scan) => table::id_of(scan).is_some(),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Aggregate(_) => false,
            // Joins and what else there is may need more than one pass.
            _ => true,
        };
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

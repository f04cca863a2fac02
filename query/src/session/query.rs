//! SELECT and EXPLAIN: bind, optimise and run on the query runtime.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use tsdb::series::Bitmap;
use tsdb::types::TimeRange;
use tsdb::{ScanRequest, Snapshot, Table};

use super::{Session, limit_rows};
use crate::activity::{Query, Work};
use crate::admission::{Class, Slot};
use crate::change::By;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::names::{self, Names};
use crate::native::{self, Native, NativeAggregate, NativeNewest, NativeRows};
use crate::plan::bound::{self, Bound};
use crate::plan::weight::Weight;
use crate::plan::{PlanContext, origins};
use crate::relational::{self, PointRows};
use crate::run::{self, Ahead, Driver, Running, Source, Stop};
use crate::statement::{Kind, Statement};
use crate::uuid::UUID_TYPE;
use crate::view::{View, materialized};
use crate::{Description, Outcome, catalog, change, explain, insert, rights, sugar, table};

/// Parameters of one statement; the protocol counts them in 16 bits.
const PARAMS_MAX: usize = 65_535;

impl Session {
    pub(super) async fn query(
        &self,
        statement: &Statement,
        ast: &ast::Statement,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        let (schema, stream) = self.query_rows(statement, ast, params, self.ending()).await?;
        Ok(Outcome::Rows { schema, stream, verb: "SELECT" })
    }

    /// Starts a SELECT.
    pub(super) async fn query_rows(
        &self,
        statement: &Statement,
        ast: &ast::Statement,
        params: &[ScalarValue],
        ending: Ending,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let names = Names::of(ast);
        let context = self.reading(self.context(statement.text()));
        let rows_max = context.settings.max_result_rows();
        let native = recognise(statement, ast, params, &context);
        let schema = native
            .as_ref()
            .map(|native| native.described(&names))
            .unwrap_or_else(|| Schema::empty().into());
        let (schema, stream) = match native {
            Some(Native::Rows(rows)) => self.native_rows(rows, schema, ending).await,
            Some(Native::Aggregate(native)) => self.native_aggregate(native, schema).await,
            Some(Native::Newest(newest)) => self.native_newest(newest, schema).await,
            Some(Native::Constants(constants)) => {
                let batch = constants.batch(&schema)?;
                Ok((schema.clone(), run::ready(schema, vec![batch])))
            }
            Some(Native::Point(point)) => self.native_point(&point, schema),
            None => {
                let answers = &self.engine.caches().answers;
                match answers.answer(statement.text(), params, &context) {
                    Some((schema, batches)) => Ok((schema.clone(), run::ready(schema, batches))),
                    None => {
                        let tree = Tree::of(statement);
                        self.start_in(context, tree, params, names, ending, true).await
                    }
                }
            }
        }?;
        Ok((schema, limit_rows(stream, rows_max)))
    }

    /// As a statement ends whose rows are read at once.
    fn ending(&self) -> Ending {
        Ending { stop: self.stop(), failed: self.failure_flag(), ahead: true }
    }

    /// Groups and measures of one table.
    async fn native_aggregate(
        &self,
        native: NativeAggregate,
        schema: SchemaRef,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let batch = self.answer(Arc::new(native)).await?;
        let batch = run::relabel(batch, &schema)?;
        let starts = (0..batch.num_rows()).step_by(table::BATCH_ROWS);
        let batches = starts
            .map(|from| batch.slice(from, table::BATCH_ROWS.min(batch.num_rows() - from)))
            .collect();
        Ok((schema.clone(), run::ready(schema, batches)))
    }

    /// The row of one key of a relational table.
    fn native_point(
        &self,
        point: &PointRows,
        schema: SchemaRef,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let _running = self.engine.enter();
        let batch = run::relabel(point.read()?, &schema)?;
        Ok((schema.clone(), run::ready(schema, vec![batch])))
    }

    /// The newest rows of groups of series: here where they are few, else on a thread for them.
    async fn native_newest(
        &self,
        newest: NativeNewest,
        schema: SchemaRef,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let _running = self.engine.enter();
        let batch = match newest.is_small() {
            true => newest.read()?,
            false => {
                let query = self.query_now()?;
                let mut stop = self.stop();
                let slot = stop.guard(self.admit(&query, true)).await?;
                query.expect(newest.series());
                query.works(Work::Line(newest.described()));
                let work = self.blocking(move || {
                    let batch = newest.read();
                    drop(slot);
                    batch
                });
                stop.guard(work).await?
            }
        };
        let batch = run::relabel(batch, &schema)?;
        Ok((schema.clone(), run::ready(schema, vec![batch])))
    }

    /// Rows of one table: here where they are few, else as a stream out of the query runtime.
    async fn native_rows(
        &self,
        rows: NativeRows,
        schema: SchemaRef,
        ending: Ending,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let counted = self.engine.enter();
        if rows.is_small() {
            let batches = rows.read_at_once()?;
            let batches: Result<Vec<_>, _> =
                batches.into_iter().map(|batch| run::relabel(batch, &schema)).collect();
            return Ok((schema.clone(), run::ready(schema, batches?)));
        }
        let query = self.query_now()?;
        let short = rows.is_short();
        if let Some((order, limit)) = rows.top() {
            // Clones belong to one statement: when one ends it, the others know.
            let mut stop = self.stop();
            let looked = stop.clone();
            let slot = stop.guard(self.admit(&query, short)).await?;
            query.works(Work::Line(rows.described()));
            let work = self.blocking(move || {
                let batch = rows.read_top(order, limit, || looked.check());
                drop((slot, counted));
                batch
            });
            let batch = stop.guard(work).await?;
            let batch = run::relabel(batch, &schema)?;
            return Ok((schema.clone(), run::ready(schema, vec![batch])));
        }
        let Ending { mut stop, failed, .. } = ending;
        let threads = self.engine.options().threads;
        let slot = Some(stop.guard(self.admit(&query, short)).await?);
        let (plan, task) = (rows.plan(threads)?, rows.task());
        let (stream, driver) = run::channel(schema.clone(), stop.clone(), failed.clone());
        let (source, query) = (Source::Plan(plan, task), Some(query));
        let running = Running { source, stop, failed, counted, slot, query };
        self.engine.heavy_runtime()?.spawn(driver.run(running));
        Ok((schema, stream))
    }

    /// Waits until a heavy statement may run.
    pub(super) async fn admit(&self, query: &Arc<Query>, short: bool) -> QueryResult<Slot> {
        let class = Class { priority: query.priority, short };
        if let Some(slot) = self.engine.admission().try_enter(class) {
            query.run();
            return Ok(slot);
        }
        // Whoever calls may have no clock.
        let (engine, query) = (Arc::clone(&self.engine), Arc::clone(query));
        let timeout = self.settings().queue_timeout();
        let wait = async move { admit(&engine, &query, short, timeout).await };
        AbortOnDrop(self.engine.runtime()?.spawn(wait)).done().await
    }

    /// Runs a native statement: here where it is short, else on the query runtime.
    async fn answer(&self, native: Arc<NativeAggregate>) -> QueryResult<RecordBatch> {
        let counted = self.engine.enter();
        let zones = self.settings().is_on("millrace.use_zones");
        let query = self.query_now()?;
        query.works(Work::Aggregate(Arc::clone(&native)));
        query.expect(native.rows_about());
        let pool = Arc::clone(query.memory.pool());
        if native.is_small() {
            return native.answer_at_once(&pool, zones);
        }
        let (mut stop, threads) = (self.stop(), self.engine.options().threads);
        let mut caller_stop = stop.clone();
        let slot = stop.guard(self.admit(&query, native.is_short())).await?;
        let work = async move {
            let batch = stop.guard(native.answer(&pool, zones, threads)).await;
            drop((slot, counted));
            batch
        };
        // Whoever leaves takes the task along; what it does between two looks need not be waited for.
        let task = AbortOnDrop(self.engine.heavy_runtime()?.spawn(work));
        caller_stop.guard(task.done()).await
    }

    async fn explain_native(
        &self,
        native: NativeAggregate,
        asked: explain::Asked,
    ) -> QueryResult<RecordBatch> {
        if !asked.analyze {
            return explain::native(native.plan(), asked, None);
        }
        let (started, native) = (Instant::now(), Arc::new(native));
        let rows = self.answer(native.clone()).await?.num_rows();
        let took = started.elapsed().as_secs_f64() * 1e3;
        let line = format!("{}, {}", native.plan(), native.metrics());
        explain::native(line, asked, Some((rows, took)))
    }

    /// Plans and starts a query; its columns get `names`.
    pub(crate) async fn start(
        &self,
        tree: Tree,
        params: &[ScalarValue],
        names: Names,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let context = self.context(tree.statement.text());
        self.start_in(context, tree, params, names, self.ending(), false).await
    }

    /// As [`Session::start`], for rows that only go to the client.
    pub(crate) async fn start_reading(
        &self,
        tree: Tree,
        names: Names,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let context = self.reading(self.context(tree.statement.text()));
        self.start_in(context, tree, &[], names, self.ending(), false).await
    }

    async fn start_in(
        &self,
        mut context: PlanContext,
        tree: Tree,
        params: &[ScalarValue],
        names: Names,
        ending: Ending,
        may_keep: bool,
    ) -> QueryResult<(SchemaRef, SendableRecordBatchStream)> {
        let Ending { mut stop, failed, ahead } = ending;
        let mut caller_stop = stop.clone();
        let counted = self.engine.enter();
        let query = self.query_now()?;
        let params = params.to_vec();
        let (told, answer) = tokio::sync::oneshot::channel();
        self.engine.runtime()?.spawn(async move {
            let operators = stop.clone();
            let planned = async {
                let (plan, bound) = physical(&mut context, &tree, &params).await?;
                let (slot, sure) = weigh(&context, plan.as_ref(), &query).await?;
                let schema = origins::mark(&names.rename(&plan.schema()), &bound.origins);
                let source = Source::Plan(plan, context.task());
                // What is small is there before its reader could be told that it comes.
                match ahead && sure {
                    true => source.read_ahead(&operators, &query, &schema).await,
                    false => Ok(Ahead::More(source)),
                }
                .map(|ahead| (ahead, slot, schema, (may_keep && bound.is_steady).then_some(bound)))
            };
            // A caller that has left needs no answer.
            let (source, mut slot, schema, late) = match stop.guard(planned).await {
                Ok((Ahead::More(source), slot, schema, _)) => (source, slot, schema, false),
                Ok((Ahead::Late(source), slot, schema, _)) => (source, slot, schema, true),
                Ok((Ahead::All(batches), _, schema, keeps)) => {
                    if let Some(bound) = keeps {
                        let (answers, text) =
                            (&context.engine.caches().answers, tree.statement.text());
                        let told = bound.told.as_ref();
                        answers.keep_answer(text, &params, &context, told, (&schema, &batches));
                    }
                    drop((context, tree, counted));
                    let _ = told.send(Ok((schema.clone(), run::ready(schema, batches))));
                    return;
                }
                Err(error) => {
                    let _ = told.send(Err(error));
                    return;
                }
            };
            let (stream, driver) = run::channel(schema.clone(), stop.clone(), failed.clone());
            if told.send(Ok((schema, stream))).is_ok() {
                let engine = context.engine.clone();
                drop((context, tree));
                if late {
                    let class = Class { priority: query.priority, short: false };
                    query.queue();
                    let place = stop.guard(engine.admission().enter_again(class)).await;
                    query.run();
                    match place {
                        Ok(place) => slot = Some(place),
                        Err(error) => return driver.fail(error, failed).await,
                    }
                }
                let query = Some(query);
                drive(&engine, driver, Running { source, stop, failed, counted, slot, query })
                    .await;
            }
        });
        // Planning does not pause; the caller need not wait for it.
        let answered = async {
            answer.await.unwrap_or_else(|_| {
                Err(QueryError::internal("the statement's task ended without an answer"))
            })
        };
        caller_stop.guard(answered).await
    }

    /// Finds the rows that a DELETE or UPDATE is about, in the snapshot that comes with them.
    pub(crate) async fn find_rows(
        &self,
        tree: Tree,
        params: &[ScalarValue],
    ) -> QueryResult<(Snapshot, Change)> {
        let mut context = self.context(tree.statement.text());
        context.changes = true;
        context.found_by = rights::found_by(tree.statement.kind());
        let snapshot = context.snapshot.clone();
        let mut stop = self.stop();
        let mut caller_stop = stop.clone();
        let counted = self.engine.enter();
        let query = self.query_now()?;
        let failed = self.failure_flag();
        let params = params.to_vec();
        let (told, answer) = tokio::sync::oneshot::channel();
        self.engine.runtime()?.spawn(async move {
            let work = async {
                let (plan, _) = logical(&context, &tree, &params)?;
                if let Kind::Delete(_) = tree.statement.kind()
                    && tree.returned.is_empty()
                    && let Some((table, series, times)) = table::whole_ranges(&plan, &context)?
                {
                    let rows = count(&table, series.as_ref(), times).await?;
                    return Ok(Planned::Done(Change::Ranges { series, times, rows }));
                }
                let plan = context.physical(&plan).await?;
                let (slot, _) = weigh(&context, plan.as_ref(), &query).await?;
                Ok(Planned::Plan(plan, slot))
            };
            // A caller that has left needs no answer.
            let _ = match stop.guard(work).await {
                Err(error) => told.send(Err(error)),
                Ok(Planned::Done(change)) => told.send(Ok(change)),
                Ok(Planned::Plan(plan, slot)) => {
                    let (stream, driver) =
                        run::channel(plan.schema(), stop.clone(), failed.clone());
                    if told.send(Ok(Change::Rows(stream))).is_ok() {
                        let (task, engine) = (context.task(), context.engine.clone());
                        drop((context, tree));
                        let (source, query) = (Source::Plan(plan, task), Some(query));
                        let running = Running { source, stop, failed, counted, slot, query };
                        drive(&engine, driver, running).await;
                    }
                    return;
                }
            };
        });
        let answered = async {
            answer.await.unwrap_or_else(|_| {
                Err(QueryError::internal("the statement's task ended without an answer"))
            })
        };
        Ok((snapshot, caller_stop.guard(answered).await?))
    }

    pub(super) async fn explain(
        &self,
        statement: &Statement,
        params: &[ScalarValue],
        asked: explain::Asked,
    ) -> QueryResult<Outcome> {
        let mut context = self.reading(self.context(statement.text()));
        if let Kind::Explain { statement: ast, .. } = statement.kind()
            && let Some(Native::Aggregate(native)) = recognise(statement, ast, params, &context)
        {
            let batch = self.explain_native(native, asked).await?;
            let schema = explain::schema();
            let stream = run::ready(schema.clone(), vec![batch]);
            return Ok(Outcome::Rows { schema, stream, verb: "EXPLAIN" });
        }
        let mut stop = self.stop();
        let mut caller_stop = stop.clone();
        let counted = self.engine.enter();
        let query = self.query_now()?;
        let (tree, params) = (Tree::of(statement), params.to_vec());
        let explained = self.engine.runtime()?.spawn(async move {
            let started = Instant::now();
            let operators = stop.clone();
            let work = async {
                let (plan, _) = physical(&mut context, &tree, &params).await?;
                let told = context.scope.answered();
                if context.is_secured() {
                    // What a scan found, or passes over, may be told by rows that policies hide.
                    return explain::sparing(plan.as_ref(), asked);
                }
                if !asked.analyze {
                    return explain::plan(plan.as_ref(), asked, told);
                }
                let planning_ms = started.elapsed().as_secs_f64() * 1e3;
                let (slot, _) = weigh(&context, plan.as_ref(), &query).await?;
                let plan = run::guard(plan, &operators)?;
                query.works(Work::Plan(Arc::clone(&plan)));
                query.run();
                let heavy = slot.is_some().then(|| context.engine.heavy_runtime()).transpose()?;
                let analyzed = explain::analyze(plan, context.task(), asked, told, planning_ms);
                match heavy {
                    None => analyzed.await,
                    Some(heavy) => AbortOnDrop(heavy.spawn(analyzed)).done().await,
                }
            };
            let batch = stop.guard(work).await;
            drop(counted);
            batch
        });
        let explained = async {
            explained
                .await
                .unwrap_or_else(|error| Err(QueryError::internal(format!("EXPLAIN: {error}"))))
        };
        let batch = caller_stop.guard(explained).await?;
        let schema = explain::schema();
        let stream = run::ready(schema.clone(), vec![batch]);
        Ok(Outcome::Rows { schema, stream, verb: "EXPLAIN" })
    }

    /// Columns of a statement without parameters that will be answered natively: drivers describe
    /// what they run once, and planning it for that alone would cost more than its answer.
    pub(super) fn describe_native(
        &self,
        statement: &Statement,
        ast: &ast::Statement,
        given: &[Option<DataType>],
    ) -> Option<SchemaRef> {
        if !given.is_empty() {
            return None;
        }
        let context = self.context(statement.text());
        let native = recognise(statement, ast, &[], &context)?;
        Some(native.described(&Names::of(ast)))
    }

    pub(crate) async fn describe_query(
        &self,
        tree: Tree,
        names: Names,
        given: &[Option<DataType>],
    ) -> QueryResult<Description> {
        let mut context = self.context(tree.statement.text());
        context.changes =
            matches!(tree.statement.kind(), Kind::Delete(_) | Kind::Update(_) | Kind::Merge(_));
        context.found_by = rights::found_by(tree.statement.kind());
        let is_query = tree.shown && matches!(tree.statement.kind(), Kind::Query(_));
        if is_query {
            let answers = &self.engine.caches().answers;
            if let Some(found) = answers.description(tree.statement.text(), given, &context) {
                return Ok(found);
            }
        }
        let given = given.to_vec();
        let work = async move {
            let bound = bind(&context, &tree, &given)?;
            let fields = context.result_schema(&bound.plan)?;
            let fields = origins::mark(&names.rename(&fields), &bound.origins);
            let description = Description { params: bound.params.clone(), fields: Some(fields) };
            if is_query && bound.is_steady {
                let (answers, text) = (&context.engine.caches().answers, tree.statement.text());
                answers.keep_description(text, &given, &context, &description);
            }
            Ok(description)
        };
        match self.engine.runtime()?.spawn(work).await {
            Ok(described) => described,
            Err(error) => Err(QueryError::internal(format!("describing: {error}"))),
        }
    }
}

/// Runs a plan where its weight belongs.
async fn drive(engine: &Engine, driver: Driver, running: Running) {
    match (running.slot.is_some(), engine.heavy_runtime()) {
        (true, Ok(heavy)) => drop(heavy.spawn(driver.run(running))),
        _ => driver.run(running).await,
    }
}

/// Finds out what a plan may cost, and waits for its turn if that is much; also whether it is surely
/// little.
async fn weigh(
    context: &PlanContext,
    plan: &dyn ExecutionPlan,
    query: &Query,
) -> QueryResult<(Option<Slot>, bool)> {
    let weight = Weight::of(plan);
    query.expect(weight.rows_read());
    if weight.is_light() {
        return Ok((None, weight.is_sure()));
    }
    let timeout = context.settings.queue_timeout();
    let slot = admit(&context.engine, query, weight.is_short(), timeout).await?;
    Ok((Some(slot), false))
}

/// Waits until a heavy statement may run.
async fn admit(
    engine: &Engine,
    query: &Query,
    short: bool,
    timeout: Option<Duration>,
) -> QueryResult<Slot> {
    let class = Class { priority: query.priority, short };
    query.queue();
    let slot = engine.admission().enter(class, timeout).await;
    query.run();
    slot
}

/// The statement as one that the engine's own streams answer, without planning it.
fn recognise(
    statement: &Statement,
    ast: &ast::Statement,
    params: &[ScalarValue],
    context: &PlanContext,
) -> Option<Native> {
    if statement.is_deep() || !context.settings.is_on("millrace.use_native") {
        return None;
    }
    native::recognise(ast, context, params).filter(|native| match native {
        Native::Aggregate(native) => !materialized::may_help(native, context),
        _ => true,
    })
}

/// A task that ends with its reader.
pub(crate) struct AbortOnDrop<T>(pub(crate) tokio::task::JoinHandle<QueryResult<T>>);

impl<T> AbortOnDrop<T> {
    pub(crate) async fn done(mut self) -> QueryResult<T> {
        match (&mut self.0).await {
            Ok(done) => done,
            Err(error) => Err(QueryError::internal(format!("a statement's task: {error}"))),
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What ends a query, and the block that fails when it does.
pub(super) struct Ending {
    pub(super) stop: Stop,
    pub(super) failed: Option<Arc<AtomicBool>>,
    /// Whether rows, and errors, may come before they are asked for.
    pub(super) ahead: bool,
}

/// The rows that a statement changes.
pub(crate) enum Change {
    /// All rows of some series (`None`: all) and times, and how many those are.
    Ranges { series: Option<Bitmap>, times: TimeRange, rows: u64 },
    /// Rows by their identity, each with what the statement makes of it.
    Rows(SendableRecordBatchStream),
}

/// How the rows of a change are found.
enum Planned {
    Done(Change),
    Plan(Arc<dyn ExecutionPlan>, Option<Slot>),
}

/// Counts rows of a table.
async fn count(table: &Table, series: Option<&Bitmap>, times: TimeRange) -> QueryResult<u64> {
    let stats = table.stats();
    if series.is_none() && times.encloses(&stats.times) && stats.exact {
        return Ok(stats.rows);
    }
    let request = ScanRequest { series: series.cloned(), times, ..ScanRequest::all(Vec::new()) };
    let mut rows = 0;
    for stream in &mut table.scan(request)?.streams {
        while let Some(batch) = stream.next_rows()? {
            rows += batch.len() as u64;
            // So that it can be cancelled.
            tokio::task::yield_now().await;
        }
    }
    Ok(rows)
}

/// The query inside of a statement. Its syntax tree is copied on the query runtime only: the
/// tree may be deeper than the caller's stack.
pub(crate) struct Tree {
    statement: Statement,
    /// For INSERT: the types of the columns that the query fills.
    filled: Vec<ast::DataType>,
    /// For DELETE and UPDATE: what tells rows apart.
    by: By,
    /// For DELETE and UPDATE: what is selected besides, for RETURNING.
    returned: Vec<ast::SelectItem>,
    /// The view whose query is meant, whatever the statement.
    view: Option<Arc<View>>,
    /// Whether the rows go to whoever asks, not into a table.
    shown: bool,
}

impl Tree {
    /// Of a SELECT or EXPLAIN.
    pub(crate) fn of(statement: &Statement) -> Tree {
        let (filled, returned) = (Vec::new(), Vec::new());
        let statement = statement.clone();
        Tree { statement, filled, by: By::Time, returned, view: None, shown: true }
    }

    /// Of a DELETE or UPDATE.
    pub(crate) fn of_change(statement: &Statement, by: By) -> Tree {
        Tree { by, ..Tree::of(statement) }
    }

    /// Of the query of a view, for a statement that fills it.
    pub(crate) fn of_view(statement: &Statement, view: &Arc<View>) -> Tree {
        Tree { view: Some(view.clone()), ..Tree::of(statement) }
    }

    /// Of a SELECT whose rows are kept.
    pub(crate) fn of_kept(statement: &Statement) -> Tree {
        Tree { shown: false, ..Tree::of(statement) }
    }

    /// With what a RETURNING wants to know.
    pub(crate) fn returning(self, returned: &[ast::SelectItem]) -> Tree {
        Tree { returned: returned.to_vec(), ..self }
    }

    /// Of an INSERT.
    pub(crate) fn of_insert(statement: &Statement, filled: Vec<ast::DataType>) -> Tree {
        Tree { filled, ..Tree::of(statement) }
    }

    fn syntax(&self) -> QueryResult<ast::Statement> {
        let none = || QueryError::internal("a statement without a query");
        match self.statement.kind() {
            Kind::Query(ast) | Kind::Explain { statement: ast, .. } => Ok((**ast).clone()),
            Kind::Insert(insert) => {
                let query = insert.source.as_ref().ok_or_else(none)?;
                Ok(ast::Statement::Query(Box::new(insert::typed(query, &self.filled))))
            }
            Kind::Delete(delete) => Ok(ast::Statement::Query(Box::new(change::delete_query(
                delete,
                self.by,
                &self.returned,
            )?))),
            Kind::Update(update) => Ok(ast::Statement::Query(Box::new(change::update_query(
                update,
                self.by,
                &self.returned,
            )?))),
            Kind::Merge(merge) => {
                Ok(ast::Statement::Query(Box::new(relational::merge_query(merge)?)))
            }
            _ => Err(none()),
        }
    }
}

/// From syntax to operators.
async fn physical(
    context: &mut PlanContext,
    tree: &Tree,
    params: &[ScalarValue],
) -> QueryResult<(Arc<dyn ExecutionPlan>, Arc<Bound>)> {
    let (plan, bound) = logical(context, tree, params)?;
    Ok((context.physical(&plan).await?, bound))
}

/// From syntax to an optimised plan, and what it was made of.
fn logical(
    context: &PlanContext,
    tree: &Tree,
    params: &[ScalarValue],
) -> QueryResult<(LogicalPlan, Arc<Bound>)> {
    let given: Vec<Option<DataType>> = params.iter().map(|p| Some(p.data_type())).collect();
    let bound = bind(context, tree, &given)?;
    bound::let_go(&tree.statement);
    if bound.params.len() > params.len() {
        let message = format!(
            "bind message supplies {} parameters, but the statement requires {}",
            params.len(),
            bound.params.len()
        );
        return Err(QueryError::new("08P01", message));
    }
    rights::check_plan(context, &bound.plan)?;
    context.refuse_own_writes(&bound.plan)?;
    if let Some(plan) = bound.optimized.get() {
        context.note_size(&bound.plan)?;
        return Ok((plan.clone(), bound));
    }
    let plan = context.optimize(bound.plan.clone(), params)?;
    if bound.is_fixed {
        bound.optimized.get_or_init(|| plan.clone());
    }
    Ok((plan, bound))
}

/// Names and types of a statement, kept with it for the next run.
pub(crate) fn bind(
    context: &PlanContext,
    tree: &Tree,
    given: &[Option<DataType>],
) -> QueryResult<Arc<Bound>> {
    if let Some(view) = &tree.view {
        let plan = catalog::registers::given(context.bind_open(view)?, context)?;
        return Ok(Arc::new(Bound::new(context, given, plan, Vec::new())));
    }
    if tree.shown
        && let Some(found) = bound::find(&tree.statement, context, given)
    {
        context.engine.caches().plans.hit();
        return Ok(found);
    }
    context.engine.caches().plans.miss();
    let mut ast = tree.syntax()?;
    if let (Kind::Query(_), ast::Statement::Query(query)) = (tree.statement.kind(), &mut ast)
        && tree.shown
    {
        sugar::fill(query)?;
    }
    let (count, limits) = count_params(&ast)?;
    let mut types: Vec<Option<DataType>> = given.to_vec();
    types.resize(count.max(given.len()), None);
    for limit in limits {
        types[limit - 1].get_or_insert(DataType::Int64);
    }
    if count > 0 {
        for (n, kind) in cast_params(&ast, context) {
            types[n - 1].get_or_insert(kind);
        }
    }
    sugar::rewrite(&mut ast, context)?;
    catalog::rewrite(&mut ast, context)?;
    sugar::count(&mut ast)?;
    names::disambiguate(&mut ast);
    let (plan, params) = match infer(context, &ast, &types) {
        Ok(found) => found,
        Err(error) if types.iter().all(Option::is_some) => return Err(error),
        // What is left open is text, as Postgres has it.
        Err(_) => {
            let text = types.into_iter().map(|t| t.or(Some(DataType::Utf8View))).collect();
            types = text;
            infer(context, &ast, &types)?
        }
    };
    let bound = Arc::new(Bound::new(context, given, plan, params));
    if tree.shown && bound.may_be_kept(context) {
        bound::keep(&tree.statement, bound.clone());
    }
    Ok(bound)
}

/// Binds with some types known; the types of all parameters come out.
fn infer(
    context: &PlanContext,
    ast: &ast::Statement,
    types: &[Option<DataType>],
) -> QueryResult<(LogicalPlan, Vec<DataType>)> {
    let mut plan = context.bind(ast.clone(), types)?;
    plan = catalog::registers::given(plan, context)?;
    let found = plan.get_parameter_fields()?;
    let mut params = Vec::with_capacity(types.len());
    for (i, given) in types.iter().enumerate() {
        let inferred = found.get(&format!("${}", i + 1)).cloned().flatten();
        let kind = given.clone().or_else(|| inferred.map(|f| f.data_type().clone()));
        params.push(kind.filter(|k| !k.is_null()).unwrap_or(DataType::Utf8View));
    }
    // The schema must be known with these types.
    context.result_schema(&plan)?;
    Ok((plan, params))
}

/// Number of a parameter.
fn placeholder(expr: &ast::Expr) -> Option<usize> {
    match expr {
        ast::Expr::Nested(inner) => placeholder(inner),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Placeholder(name) => {
                name.strip_prefix('$')?.parse().ok().filter(|n| (1..=PARAMS_MAX).contains(n))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Parameters whose types DataFusion does not see: `$1::uuid`, `$1::oid[]`, and `= ANY($1)` of
/// texts.
fn cast_params(ast: &ast::Statement, context: &PlanContext) -> Vec<(usize, DataType)> {
    struct Arrays<'a>(Vec<(usize, DataType)>, &'a PlanContext);
    impl Visitor for Arrays<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
            match expr {
                ast::Expr::Cast { expr, data_type: kind @ ast::DataType::Array(_), .. } => {
                    let kind = catalog::types::array(kind, self.1.settings.zone());
                    self.0.extend(placeholder(expr).zip(kind));
                }
                ast::Expr::Cast { expr, data_type: ast::DataType::Uuid, .. } => {
                    self.0.extend(placeholder(expr).map(|n| (n, UUID_TYPE)));
                }
                ast::Expr::AnyOp { right, .. } | ast::Expr::AllOp { right, .. } => {
                    let texts = DataType::new_list(DataType::Utf8View, true);
                    self.0.extend(placeholder(right).map(|n| (n, texts)));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut arrays = Arrays(Vec::new(), context);
    let _ = ast.visit(&mut arrays);
    arrays.0
}

/// Whether a query has parameters.
pub(crate) fn has_params(query: &ast::Query) -> bool {
    let statement = ast::Statement::Query(Box::new(query.clone()));
    !matches!(count_params(&statement), Ok((0, _)))
}

/// The highest `$n`, and those that are a LIMIT or OFFSET.
fn count_params(ast: &ast::Statement) -> QueryResult<(usize, Vec<usize>)> {
    struct Highest(usize, Vec<usize>);
    impl Visitor for Highest {
        type Break = String;
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<String> {
            let exprs = match &query.limit_clause {
                Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                    [limit.as_ref(), offset.as_ref().map(|o| &o.value)]
                }
                _ => [None, None],
            };
            for expr in exprs.into_iter().flatten() {
                if let ast::Expr::Value(value) = expr
                    && let ast::Value::Placeholder(name) = &value.value
                    && let Some(n @ 1..=PARAMS_MAX) =
                        name.strip_prefix('$').and_then(|n| n.parse().ok())
                {
                    self.1.push(n);
                }
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_value(&mut self, value: &ast::ValueWithSpan) -> ControlFlow<String> {
            if let ast::Value::Placeholder(name) = &value.value {
                match name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
                    Some(n @ 1..=PARAMS_MAX) => self.0 = self.0.max(n),
                    _ => return ControlFlow::Break(name.clone()),
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut highest = Highest(0, Vec::new());
    match ast.visit(&mut highest) {
        ControlFlow::Continue(()) => Ok((highest.0, highest.1)),
        ControlFlow::Break(name) => {
            Err(QueryError::new("42P02", format!("there is no parameter {name}")))
        }
    }
}

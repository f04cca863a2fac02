//! Storing what a continuous aggregate does not have yet, and storing anew what has changed.
//!
//! Invariants
//! - The watch is raised, then the snapshots are taken that are stored: a change that they do not
//!   show is noted after the raising, and stays so (FORMAT.md of tsdb, "Watches").
//! - Rows of a range replace what was stored of it, in the record that settles the range: a crash
//!   leaves both or neither. What lies in a range that is not settled nobody reads.
//! - Where single series have changed, the rows of their groups are replaced, and what these series
//!   have changed is settled: what is noted of all series stays noted.
//! - One refresh of a view at a time, until its last record is committed, also where whoever asked
//!   for it has left: a record behind the next raising would settle what it does not know.
//! - The record is committed under the lock of definitions, with the view seen to be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tokio::sync::OwnedMutexGuard;
use tsdb::series::Bitmap;
use tsdb::types::{TableId, TimeRange};
use tsdb::{Command, Selection, Snapshot, WatchChange};

use super::super::{Open, View, Views, stored};
use super::define::{no_aggregate, not_there};
use super::groups::{Changed, Group, GroupKeys, Groups, Of};
use super::ladder::nanos;
use super::standing::{Span, Standing};
use super::{Materialized, store};
use crate::ddl::done;
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult};
use crate::insert::rows::RowsBuilder;
use crate::insert::{Target, targets_of};
use crate::plan::{self, PlanContext};
use crate::rights;
use crate::session::{AbortOnDrop, Session};
use crate::settings::Settings;
use crate::statement::Statement;
use crate::statement::materialized::Refresh;
use crate::table::Source;
use crate::{Identity, Outcome};

/// Rows that one record is meant to have.
const ROWS_WANTED: u64 = 100_000;
/// Bytes of rows in one record: more is taken in smaller steps, of a single bucket refused.
const BYTES_WANTED: usize = 32 << 20;
const BYTES_MAX: usize = 96 << 20;
/// Changed spans that are stored apart.
const SPANS_MAX: usize = 256;

/// What a refresh has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Refreshed {
    /// Ranges of buckets stored.
    pub(crate) ranges: u64,
    /// Rows stored.
    pub(crate) rows: u64,
}

/// Runs REFRESH MATERIALIZED VIEW.
pub(crate) async fn run(
    session: &Session,
    statement: &Statement,
    asked: &Refresh,
) -> QueryResult<Outcome> {
    let (views, name) = (session.views()?, asked.name.as_str());
    rights::may_alter(session, "REFRESH MATERIALIZED VIEW", name)?;
    let view = views.find(name).ok_or_else(|| not_there(name))?;
    if view.stored.is_some() {
        return stored::refresh(session, statement, view.number, asked).await;
    }
    if view.materialized.is_none() {
        return Err(no_aggregate(name));
    }
    if !asked.with_data {
        let what = "REFRESH … WITH NO DATA of a continuous aggregate";
        return Err(QueryError::unsupported(what)
            .with_hint("It answers whether stored or not; DROP it, and create it again."));
    }
    let (engine, number) = (session.engine().clone(), view.number);
    let mut stop = session.stop();
    stop.guard(async move { engine.jobs().refresh(&engine, number, tsdb::now_ns()).await }).await?;
    done("REFRESH MATERIALIZED VIEW")
}

/// The view of a number, as it is now.
fn find(engine: &Engine, snapshot: &Snapshot, number: u32) -> QueryResult<(Arc<Views>, Arc<View>)> {
    let views = engine.views().of(snapshot)?;
    let found = views.list.iter().find(|view| view.number == number).cloned();
    match found {
        Some(view) if view.materialized.is_some() => Ok((views, view)),
        _ => Err(QueryError::new("42P01", "the materialized view was dropped meanwhile")),
    }
}

/// Keeps others from refreshing the same view.
pub(crate) type Turn = Arc<OwnedMutexGuard<()>>;

/// Refreshes a view as of time `now`, ns since 1970. Dropping the future stops it between two
/// records.
pub(crate) async fn refresh(
    engine: &Arc<Engine>,
    number: u32,
    now: i64,
    turn: &Turn,
) -> QueryResult<Refreshed> {
    let mut refreshed = Refreshed::default();
    let snapshot = engine.db().snapshot();
    let (views, view) = find(engine, &snapshot, number)?;
    let lag = view.materialized.as_ref().map_or(0, |m| m.refresh_lag_ns);
    let standing = Standing::of(&snapshot, &views, &view)?;
    let goal = standing.goal(now, lag)?;
    if goal <= standing.done && standing.watch.changed().is_empty() {
        return Ok(refreshed);
    }
    let Some(goal) = goal else { return Ok(refreshed) };
    let until = nanos(standing.ladder.rows_from(goal)?);
    let raise = WatchChange::Raise { until };
    commit(engine, number, turn, |_, root| {
        vec![Command::Watch { table: root, number, change: raise }]
    })
    .await?;
    // From here on every snapshot shows what is not noted as changed since.
    let snapshot = engine.db().snapshot();
    let standing = Standing::of(&snapshot, &views, &view)?;
    let storing = Storing { engine, standing: &standing, number, turn };
    let keys = match standing.watch.changed_of_some().is_empty() {
        true => None,
        false => group_keys(engine, number).await?,
    };
    for Changed { span, groups } in standing.changes(keys.as_ref(), SPANS_MAX)? {
        let what = match (groups, &keys) {
            (Groups::Some(groups), Some(keys)) => {
                let series = standing.series_of(Of { keys, groups: &groups });
                What::Groups(Arc::new(ChangedGroups { keys: keys.clone(), groups, series }))
            }
            _ => What::Changed,
        };
        storing.store(span, &what, &mut refreshed).await?;
    }
    // What lies in buckets that are kept, or not stored, is nothing to tell again.
    let kept = standing.frozen.max(standing.oldest).min(standing.done);
    if let Some(kept) = kept {
        let last = nanos(standing.ladder.rows_from(kept)?).saturating_sub(1);
        let noted = standing.watch.changed().first().is_some_and(|range| range.min <= last);
        if noted {
            settle(engine, number, turn, TimeRange::new(i64::MIN, last)).await?;
        }
    }
    let from = match standing.done {
        Some(done) => Some(done),
        None => standing.first()?,
    };
    if let Some(from) = from.filter(|from| *from < goal) {
        storing.store((from, goal), &What::Newest, &mut refreshed).await?;
    }
    Ok(refreshed)
}

async fn settle(
    engine: &Arc<Engine>,
    number: u32,
    turn: &Turn,
    times: TimeRange,
) -> QueryResult<()> {
    let change = WatchChange::Settle { times, done: i64::MIN };
    commit(engine, number, turn, |_, root| vec![Command::Watch { table: root, number, change }])
        .await
}

/// A refresh under way.
struct Storing<'a> {
    engine: &'a Arc<Engine>,
    standing: &'a Standing,
    number: u32,
    turn: &'a Turn,
}

/// What of a span is stored.
enum What {
    /// All of it, which follows what is stored.
    Newest,
    /// All of it, anew.
    Changed,
    /// Some groups of it, anew.
    Groups(Arc<ChangedGroups>),
}

/// Groups that have changed.
struct ChangedGroups {
    keys: GroupKeys,
    groups: BTreeSet<Group>,
    /// Series of the table that are told of by themselves and belong to these groups.
    series: Vec<u32>,
}

impl ChangedGroups {
    fn of(&self) -> Of<'_> {
        Of { keys: &self.keys, groups: &self.groups }
    }
}

impl Storing<'_> {
    /// Stores the buckets of a span, a piece after the other.
    async fn store(&self, span: Span, what: &What, refreshed: &mut Refreshed) -> QueryResult<()> {
        let ladder = &self.standing.ladder;
        let groups = match what {
            What::Groups(some) => Some(some.clone()),
            What::Newest | What::Changed => None,
        };
        let series = match &groups {
            Some(some) => some.groups.len() as u64,
            None => u64::from(self.standing.root.series_count()),
        };
        let mut step = (ROWS_WANTED / series.max(1)).max(1);
        let (mut at, end) = span;
        while at < end {
            let next = ladder.advance(at, step, end)?;
            let single = ladder.next(at)? >= next;
            let most = if single { BYTES_MAX } else { BYTES_WANTED };
            let computed =
                compute(self.engine, self.number, (at, next), groups.clone(), most).await?;
            let Some((rows, count)) = computed else {
                if single {
                    let message = "a single bucket has more rows than one record of the log takes";
                    return Err(QueryError::new("54000", message)
                        .with_hint("Group by fewer keys, or by shorter buckets."));
                }
                step = (step / 8).max(1);
                continue;
            };
            // Before the first bucket there is nothing to come back to.
            let newest = matches!(what, What::Newest);
            let first = newest && self.standing.done.is_none() && at == span.0;
            self.replace((at, next), what, first, rows).await?;
            refreshed.ranges += 1;
            refreshed.rows += count;
            at = next;
            if count < ROWS_WANTED / 4 {
                step = step.saturating_mul(2);
            }
        }
        Ok(())
    }

    /// Commits the rows of some buckets in place of what was stored of them.
    async fn replace(
        &self,
        (from, to): Span,
        what: &What,
        first: bool,
        rows: Vec<Command>,
    ) -> QueryResult<()> {
        let ladder = &self.standing.ladder;
        let rows_from = if first { i64::MIN } else { nanos(ladder.rows_from(from)?) };
        let rows_end = nanos(ladder.rows_from(to)?).saturating_sub(1);
        let times = TimeRange::new(rows_from, rows_end);
        let settled = match what {
            What::Newest => WatchChange::Settle { times, done: nanos(to) },
            What::Changed => WatchChange::Settle { times, done: i64::MIN },
            What::Groups(some) => WatchChange::SettleSeries { series: some.series.clone(), times },
        };
        let replaced = TimeRange::new(nanos(from), nanos(to).saturating_sub(1));
        let series = match what {
            // Beyond what is done nothing was ever stored: the record that stores says so.
            What::Newest => Some(Bitmap::new()),
            What::Changed => None,
            What::Groups(some) => {
                let stored = self.standing.store.schema().id;
                let stored = self.engine.db().snapshot().table_by_id(stored);
                Some(stored.map_or_else(Bitmap::new, |stored| some.of().stored(&stored)))
            }
        };
        let number = self.number;
        commit(self.engine, number, self.turn, move |store, root| {
            let mut all = Vec::with_capacity(rows.len() + 2);
            if series.as_ref().is_none_or(|series| !series.is_empty()) {
                let selections = vec![Selection::Range { series, times: replaced }];
                all.push(Command::Delete { table: store, selections });
            }
            all.extend(rows);
            all.push(Command::Watch { table: root, number, change: settled });
            all
        })
        .await
    }
}

/// The keys by which the groups of a view are told apart.
async fn group_keys(engine: &Arc<Engine>, number: u32) -> QueryResult<Option<GroupKeys>> {
    let of = engine.clone();
    let task = engine.runtime()?.spawn(async move {
        let snapshot = of.db().snapshot();
        let (views, view) = find(&of, &snapshot, number)?;
        let Some(materialized) = &view.materialized else { return Err(no_aggregate(&view.name)) };
        let standing = Standing::of(&snapshot, &views, &view)?;
        let context = context(&of, snapshot)?;
        context.scope.open.lock().push(Open::of(&view));
        let keys = context.group_keys(&view, materialized, &standing);
        context.scope.open.lock().pop();
        keys
    });
    AbortOnDrop(task).done().await
}

/// Commits as one record what is made of the numbers of the table with the stored rows and of the
/// root.
async fn commit(
    engine: &Arc<Engine>,
    number: u32,
    turn: &Turn,
    make: impl FnOnce(TableId, TableId) -> Vec<Command>,
) -> QueryResult<()> {
    let _guard = engine.definitions().lock().await;
    let snapshot = engine.db().snapshot();
    let (_, view) = find(engine, &snapshot, number)?;
    let Some(materialized) = &view.materialized else { return Err(no_aggregate(&view.name)) };
    let store = store(&snapshot, &view)?;
    let commands = make(store.schema().id, materialized.root);
    let (db, turn) = (engine.db().clone(), turn.clone());
    let committed = engine.runtime()?.spawn_blocking(move || {
        let committed = db.commit(commands);
        drop(turn);
        committed
    });
    let committed = committed.await;
    let committed =
        committed.map_err(|error| QueryError::internal(format!("storing rows: {error}")))??;
    committed.all()?;
    Ok(())
}

/// The rows of some buckets, and groups, as writes, and their number; `None` if they take more than
/// `most` bytes.
async fn compute(
    engine: &Arc<Engine>,
    number: u32,
    span: Span,
    groups: Option<Arc<ChangedGroups>>,
    most: usize,
) -> QueryResult<Option<(Vec<Command>, u64)>> {
    let of = engine.clone();
    let task = engine.runtime()?.spawn(async move {
        let snapshot = of.db().snapshot();
        let (_, view) = find(&of, &snapshot, number)?;
        let Some(materialized) = &view.materialized else { return Err(no_aggregate(&view.name)) };
        let store = store(&snapshot, &view)?;
        let targets = targets(&view, materialized, &targets_of(store.schema()))?;
        let mut context = context(&of, snapshot)?;
        context.scope.open.lock().push(Open::of(&view));
        let groups = groups.as_ref().map(|some| some.of());
        let bound = context.bind_definition(&view, materialized, Some(span), groups);
        context.scope.open.lock().pop();
        let plan = context.optimize(bound?, &[])?;
        let plan = context.physical(&plan).await?;
        let mut rows = RowsBuilder::new(store.schema(), &targets, "+00:00")?;
        let mut stream = execute_stream(plan, context.task())?;
        while let Some(batch) = stream.next().await {
            rows.push_batch(&batch?)?;
            if rows.bytes() > most {
                return Ok(None);
            }
        }
        let count = rows.count();
        Ok(Some((rows.finish(), count)))
    });
    // Whoever leaves takes the task along.
    AbortOnDrop(task).done().await
}

/// The columns of the stored rows in the order of the view's.
fn targets(view: &View, materialized: &Materialized, all: &[Target]) -> QueryResult<Vec<Target>> {
    let of = |(at, column): (usize, &super::super::ViewColumn)| {
        let found = match at == materialized.bucket {
            true => all.iter().find(|target| target.source == Source::Time),
            false => all.iter().find(|target| target.name == column.name),
        };
        found.cloned().ok_or_else(|| {
            let message = format!("stored rows have no column \"{}\"", column.name);
            QueryError::new("XX001", message)
        })
    };
    view.columns.iter().enumerate().map(of).collect()
}

/// A statement of nobody.
fn context(engine: &Arc<Engine>, snapshot: Snapshot) -> QueryResult<PlanContext> {
    let user = "refresh".to_string();
    let options = engine.options();
    let mut settings = Settings::new(&user, true, &options.version);
    // What is stored comes out of the table alone.
    settings.set("millrace.use_aggregates", "off")?;
    let identity = Identity {
        user,
        oid: 0,
        superuser: true,
        can_read: true,
        can_write: true,
        can_define: true,
        settings: Arc::default(),
    };
    let config = plan::config("+00:00", options.threads);
    let configs = (config.clone(), plan::small(&config));
    let (settings, identity) = (Arc::new(settings), Arc::new(identity));
    Ok(PlanContext::new(engine.clone(), snapshot, settings, identity, configs, ""))
}

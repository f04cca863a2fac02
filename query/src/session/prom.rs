//! PromQL in a session: limits, places, cancelling and being seen, as statements of SQL have them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tsdb::Snapshot;

use super::Session;
use crate::activity::{Live, Query, Work};
use crate::error::{QueryError, QueryResult};
use crate::native::{is_short_of, is_small_of};
use crate::promql::browse::{Browser, Found};
use crate::promql::{
    self, Labels, PromAnswer, PromBrowse, PromLimits, PromQuery, PromRead, PromReadSeries,
};

/// Series of a remote read that wait for their reader.
const SERIES_AHEAD: usize = 4;

impl Session {
    /// Runs a query of PromQL; see `PROMQL.md`.
    ///
    /// # Errors
    /// `42601` and `0A000` for what cannot be understood, `22023` and `21000` for what evaluation
    /// cannot do, `54000` and `53200` over limits, `57014` when it was stopped or took too long.
    pub async fn prom_query(&self, asked: PromQuery) -> QueryResult<PromAnswer> {
        let live = self.enter_prom(&asked.text, asked.timeout)?;
        let done = self.prom_answer(asked, live.query()).await;
        let mut answer = done.inspect_err(|error| live.query().fail(error.code))?;
        answer.live = Some(live);
        Ok(answer)
    }

    async fn prom_answer(&self, asked: PromQuery, query: &Arc<Query>) -> QueryResult<PromAnswer> {
        let limits = self.prom_limits();
        let (snapshot, whole) = self.sight()?;
        query.works(Work::Line(format!("PromQL: {}", query.text)));
        let (pool, mut stop) = (Arc::clone(query.memory.pool()), query.stop());
        let counted = self.engine.enter();
        let first = {
            let (pool, stop) = (Arc::clone(&pool), stop.clone());
            self.blocking(move || {
                let prepared = promql::prepare(asked, snapshot, &limits)?;
                prepared.check_sight(whole.as_ref())?;
                let rows = prepared.rows_about();
                match is_small_of(rows) {
                    true => prepared.run(&pool, &limits, &stop).map(Ok),
                    false => Ok(Err((prepared, rows))),
                }
            })
        };
        query.run();
        let (prepared, rows) = match stop.guard(first).await? {
            Ok(answer) => return Ok(answer),
            Err(heavy) => heavy,
        };
        query.expect(rows);
        let slot = stop.guard(self.admit(query, is_short_of(rows))).await?;
        let looked = stop.clone();
        let work = self.engine.heavy_runtime()?.spawn_blocking(move || {
            let answer = prepared.run(&pool, &limits, &looked);
            drop((slot, counted));
            answer
        });
        stop.guard(async { work.await.map_err(lost)? }).await
    }

    /// Names of labels.
    ///
    /// # Errors
    /// As [`Session::prom_query`].
    pub async fn prom_labels(&self, asked: PromBrowse) -> QueryResult<Found<String>> {
        self.prom_browse("labels", asked, |browser| browser.label_names()).await
    }

    /// Values of a label.
    ///
    /// # Errors
    /// As [`Session::prom_query`].
    pub async fn prom_label_values(
        &self,
        label: String,
        asked: PromBrowse,
    ) -> QueryResult<Found<String>> {
        let what = format!("values of label {label}");
        self.prom_browse(&what, asked, move |browser| browser.label_values(&label)).await
    }

    /// Series.
    ///
    /// # Errors
    /// As [`Session::prom_query`].
    pub async fn prom_series(&self, asked: PromBrowse) -> QueryResult<Found<Labels>> {
        self.prom_browse("series", asked, |browser| browser.series()).await
    }

    async fn prom_browse<T: Send + 'static>(
        &self,
        what: &str,
        asked: PromBrowse,
        look: impl FnOnce(&Browser<'_>) -> QueryResult<T> + Send + 'static,
    ) -> QueryResult<T> {
        let live = self.enter_prom(&format!("PromQL: {what}"), None)?;
        let query = Arc::clone(live.query());
        let (snapshot, _) = self.sight()?;
        let (mut stop, counted) = (query.stop(), self.engine.enter());
        let looked = stop.clone();
        query.run();
        let work = self.blocking(move || {
            let _counted = counted;
            let pool = query.memory.pool();
            look(&Browser { snapshot: &snapshot, pool, stop: &looked, asked: &asked })
        });
        stop.guard(work).await.inspect_err(|error| live.query().fail(error.code))
    }

    /// Samples of series as they are, for remote read; in order of questions. An error is the last that
    /// comes. Dropping the receiver ends the reading.
    ///
    /// # Errors
    /// As [`Session::prom_query`].
    pub async fn prom_read(
        &self,
        asked: Vec<PromRead>,
    ) -> QueryResult<mpsc::Receiver<QueryResult<PromReadSeries>>> {
        let live = self.enter_prom("PromQL: remote read", None)?;
        let query = Arc::clone(live.query());
        let limits = self.prom_limits();
        let ((snapshot, whole), counted) = (self.sight()?, self.engine.enter());
        asked.iter().try_for_each(|asked| {
            promql::check_sight(&asked.matchers, &snapshot, whole.as_ref())
        })?;
        let (mut stop, looked) = (query.stop(), query.stop());
        let slot = stop.guard(self.admit(&query, false)).await?;
        let (sender, receiver) = mpsc::channel(SERIES_AHEAD);
        self.engine.heavy_runtime()?.spawn_blocking(move || {
            let _held = (slot, counted);
            let pool = Arc::clone(query.memory.pool());
            let read = promql::read(&asked, &snapshot, &pool, &limits, &looked, &sender);
            if let Err(error) = read {
                live.query().fail(error.code);
                // Who has left needs no error.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(receiver)
    }

    /// The snapshot with the tables that the session may read as a whole, and if there are others
    /// that with all.
    fn sight(&self) -> QueryResult<(Snapshot, Option<Snapshot>)> {
        let snapshot = self.snapshot();
        let hidden = self.engine.hidden_tables(&self.identity)?;
        match hidden.is_empty() {
            true => Ok((snapshot, None)),
            false => Ok((snapshot.without_tables(&hidden), Some(snapshot))),
        }
    }

    fn prom_limits(&self) -> PromLimits {
        let options = self.engine.options();
        PromLimits {
            points_max: options.prom_points_max,
            samples_max: options.prom_samples_max,
            lookback_ns: i64::try_from(options.prom_lookback.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    fn enter_prom(&self, text: &str, timeout: Option<Duration>) -> QueryResult<Live> {
        let most = Some(self.engine.options().prom_timeout).filter(|most| !most.is_zero());
        let timeout = [timeout, most].into_iter().flatten().min();
        self.enter_text(text, timeout)
    }
}

fn lost(error: tokio::task::JoinError) -> QueryError {
    QueryError::internal(format!("a query's task: {error}"))
}

//! What of a continuous aggregate's stored answers holds in a snapshot.

use std::sync::Arc;

use tsdb::types::TimeRange;
use tsdb::{Snapshot, Table, Watch};

use super::super::{View, Views};
use super::groups::{self, Changed, GroupKeys, Groups, Of};
use super::ladder::{Ladder, micros, micros_up};
use super::{chain, ladder, store};
use crate::error::{QueryError, QueryResult};

/// Buckets from a start to another, which is left out, µs.
pub(super) type Span = (i64, i64);

/// Where an aggregate stands.
pub(super) struct Standing {
    pub(super) ladder: Ladder,
    /// The table with the answers.
    pub(super) store: Table,
    /// The table with the rows.
    pub(super) root: Table,
    pub(super) watch: Watch,
    /// Buckets before this start were stored; `None`: none was.
    pub(super) done: Option<i64>,
    /// Buckets before this start are kept as they were stored: rows of theirs are gone from the
    /// table by its retention.
    pub(super) frozen: Option<i64>,
    /// Buckets before this start are gone by the aggregate's own retention.
    pub(super) oldest: Option<i64>,
}

impl Standing {
    pub(super) fn of(
        snapshot: &Snapshot,
        views: &Views,
        view: &Arc<View>,
    ) -> QueryResult<Standing> {
        let chain = chain(views, view)?;
        let ladder = ladder(&chain)?;
        let Some((_, materialized)) = chain.last() else {
            return Err(QueryError::internal("an aggregate without steps"));
        };
        let missing = || {
            let message = format!("what keeps \"{}\" up with its table is missing", view.name);
            QueryError::new("XX001", message)
                .with_hint("DROP MATERIALIZED VIEW, then create it again.")
        };
        let root = snapshot.table_by_id(materialized.root).ok_or_else(missing)?;
        let watch = root.watch(view.number).cloned().ok_or_else(missing)?;
        let mut frozen = None;
        let mut lose = |step: usize, cut: Option<i64>| -> QueryResult<()> {
            if let Some(cut) = cut {
                frozen = frozen.max(Some(ladder.whole_from(step, micros_up(cut))?));
            }
            Ok(())
        };
        lose(0, root.cut())?;
        for (at, (inner, _)) in chain.iter().enumerate().take(chain.len() - 1) {
            lose(at + 1, store(snapshot, inner)?.cut())?;
        }
        let store = store(snapshot, view)?;
        let oldest = store.cut().map(|cut| ladder.ceil(micros_up(cut))).transpose()?;
        let done = (watch.done > i64::MIN).then(|| micros(watch.done));
        Ok(Standing { ladder, store, root, watch, done, frozen, oldest })
    }

    /// Stored buckets whose rows have changed since, in at most so many spans: beyond, near ones
    /// become one.
    pub(super) fn changed(&self, most: usize) -> QueryResult<Vec<Span>> {
        let mut spans: Vec<Span> = Vec::new();
        for range in self.watch.changed() {
            let Some((start, end)) = self.span(&range) else { continue };
            match spans.last_mut() {
                Some(before) if before.1 >= start => before.1 = before.1.max(end),
                _ => spans.push((start, end)),
            }
        }
        while spans.len() > most {
            let gap = |at: &usize| spans[at + 1].0.abs_diff(spans[*at].1);
            let Some(at) = (0..spans.len() - 1).min_by_key(gap) else { break };
            spans[at].1 = spans[at + 1].1;
            spans.remove(at + 1);
        }
        Ok(spans)
    }

    /// The stored buckets that are to be computed anew where times of the table have changed.
    fn span(&self, times: &TimeRange) -> Option<Span> {
        let done = self.done?;
        // Where the calendar ends all is taken.
        let start = self.ladder.bucket(micros(times.min)).unwrap_or(i64::MIN);
        let last = self.ladder.bucket(micros(times.max));
        let end = last.and_then(|last| self.ladder.next(last)).unwrap_or(i64::MAX);
        let floor = self.frozen.max(self.oldest);
        let start = floor.map_or(start, |floor| start.max(floor));
        let end = end.min(done);
        (start < end).then_some((start, end))
    }

    /// Stored buckets with the groups of them whose rows have changed since, in at most so many
    /// spans. Without `keys` groups are not told apart.
    pub(super) fn changes(
        &self,
        keys: Option<&GroupKeys>,
        most: usize,
    ) -> QueryResult<Vec<Changed>> {
        let Some(keys) = keys else {
            let all = |span| Changed { span, groups: Groups::All };
            return Ok(self.changed(most)?.into_iter().map(all).collect());
        };
        let mut found = Vec::new();
        for range in self.watch.changed_of_all() {
            found.extend(self.span(&range).map(|span| Changed { span, groups: Groups::All }));
        }
        for (series, range) in self.watch.changed_of_some() {
            let Some(span) = self.span(&range) else { continue };
            let groups = match keys.group(&self.root, series) {
                Some(group) => Groups::Some([group].into()),
                None => Groups::All,
            };
            found.push(Changed { span, groups });
        }
        Ok(groups::disjoint(&found, most))
    }

    /// Series that have changed by themselves and belong to some groups, ascending.
    pub(super) fn series_of(&self, of: Of<'_>) -> Vec<u32> {
        let mut series: Vec<u32> =
            self.watch.changed_of_some().into_iter().map(|(series, _)| series).collect();
        series.sort_unstable();
        series.dedup();
        series.retain(|series| {
            let group = of.keys.group(&self.root, *series);
            group.is_some_and(|group| of.groups.contains(&group))
        });
        series
    }

    /// Start of the first bucket that is not to be stored at time `now`, ns; `None` while there
    /// is nothing to store.
    pub(super) fn goal(&self, now: i64, lag: i64) -> QueryResult<Option<i64>> {
        let times = self.root.stats().times;
        if times.is_empty() {
            return Ok(self.done);
        }
        let complete = self.ladder.bucket(micros(now.saturating_sub(lag)))?;
        let filled = self.ladder.next(self.ladder.bucket(micros(times.max))?)?;
        let goal = complete.min(filled);
        // Nothing is older than the oldest row.
        let first = self.first()?.unwrap_or(goal);
        Ok(self.done.max((goal > first).then_some(goal)))
    }

    /// Start of the first bucket that may have rows.
    pub(super) fn first(&self) -> QueryResult<Option<i64>> {
        let times = self.root.stats().times;
        if times.is_empty() {
            return Ok(None);
        }
        let first = self.ladder.bucket(micros(times.min))?;
        Ok(Some(self.oldest.map_or(first, |oldest| first.max(oldest))))
    }
}

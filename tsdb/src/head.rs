//! Heads: the rows of a table that are not in parts yet, and the last row of each series.
//!
//! A head is a list of runs a shard. A run is the rows of one or a few commits, sorted by
//! (series, time) and never changed: writers append runs, small neighbours are merged into new
//! ones by doubling, readers hold what they saw. Runs of a shard are in the order of their
//! positions, and their position ranges are disjoint.

mod last;
mod run;

pub use last::LastRows;
pub use run::{Run, RunData, coalesce};

use std::sync::Arc;

use crate::deletes::Selection;

/// Rows up to which neighbouring runs are merged.
const RUN_ROWS_MAX: usize = 4096;

/// The head of one table: runs by shard.
#[derive(Clone, Debug, Default)]
pub struct Head {
    shards: Vec<Arc<Vec<Arc<Run>>>>,
    /// Rows and bytes of all runs, kept so that nobody has to walk them.
    rows: u64,
    bytes: u64,
}

impl Head {
    /// An empty head.
    pub fn new(shards: u16) -> Head {
        Head { shards: vec![Arc::default(); usize::from(shards)], rows: 0, bytes: 0 }
    }

    /// Appends a run to a shard. Neighbours above position `frozen` may be merged into it.
    pub fn push(&mut self, shard: usize, run: Run, mode: crate::types::MergeMode, frozen: u64) {
        let runs = Arc::make_mut(&mut self.shards[shard]);
        let mut run = run;
        while let Some(last) = runs.last() {
            let rows = last.rows() + run.rows();
            let small = last.rows() < 2 * run.rows() && rows <= RUN_ROWS_MAX;
            if !small || *last.positions.start() <= frozen {
                break;
            }
            self.rows -= last.rows() as u64;
            self.bytes -= last.memory() as u64;
            run = coalesce(last, &run, mode);
            runs.pop();
        }
        self.rows += run.rows() as u64;
        self.bytes += run.memory() as u64;
        runs.push(Arc::new(run));
    }

    /// All runs, shard by shard, in the order of positions inside a shard.
    pub fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.shards.iter().flat_map(|runs| runs.iter())
    }

    /// Takes the rows that the selections name out of every run. Runs that have none stay shared;
    /// the others keep their positions.
    pub fn delete(&mut self, selections: &[Selection]) {
        for shard in &mut self.shards {
            let mut runs = Vec::with_capacity(shard.len());
            let mut changed = false;
            for run in shard.iter() {
                match run.without(selections) {
                    None => runs.push(Arc::clone(run)),
                    Some(left) => {
                        changed = true;
                        runs.extend((left.rows() > 0).then(|| Arc::new(left)));
                    }
                }
            }
            if changed {
                *shard = Arc::new(runs);
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.rows = self.runs().map(|run| run.rows() as u64).sum();
        self.bytes = self.runs().map(|run| run.memory() as u64).sum();
    }

    /// The head without the runs that end at or before `position`.
    pub fn without(&self, position: u64) -> Head {
        let keep = |runs: &Arc<Vec<Arc<Run>>>| {
            Arc::new(runs.iter().filter(|r| *r.positions.end() > position).cloned().collect())
        };
        let mut head = Head { shards: self.shards.iter().map(keep).collect(), rows: 0, bytes: 0 };
        head.count();
        head
    }

    /// The runs that end at or before `position`.
    pub fn until(&self, position: u64) -> Vec<Arc<Run>> {
        self.runs().filter(|run| *run.positions.end() <= position).cloned().collect()
    }

    /// Rows in the head; equal (series, time) of different commits count each.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> u64 {
        self.bytes
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|runs| runs.is_empty())
    }
}

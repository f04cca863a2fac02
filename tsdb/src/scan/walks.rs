//! The walks of one stream over all its sources, series by series.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::Result;

use super::piece::Piece;
use super::source::{Filter, Source, Walk};
use super::{ScanStats, StreamSpec};

/// Walks over sources, in step.
#[derive(Debug)]
pub(super) struct Walks {
    filter: Filter,
    walks: Vec<Walk>,
    /// Walks by their next series.
    heap: BinaryHeap<Reverse<(u32, usize)>>,
}

impl Walks {
    /// Begins the walks of what a stream reads.
    pub fn new(sources: &[Source], spec: &StreamSpec, stats: &ScanStats) -> Result<Walks> {
        let filter = Filter {
            first: spec.series.0,
            last: spec.series.1,
            set: spec.set.clone(),
            times: spec.times,
        };
        let mut walks = Vec::new();
        let mut heap = BinaryHeap::new();
        for source in sources {
            let Some(mut walk) = Walk::new(source, &filter, stats)? else { continue };
            if let Some(series) = walk.peek(&filter)? {
                heap.push(Reverse((series, walks.len())));
                walks.push(walk);
            }
        }
        Ok(Walks { filter, walks, heap })
    }

    /// The pieces of the next series by their earliest time, and of those by age.
    pub fn next(&mut self) -> Result<Option<(u32, Vec<Piece>)>> {
        let Some(Reverse((series, _))) = self.heap.peek() else { return Ok(None) };
        let series = *series;
        let mut pieces = Vec::new();
        while let Some(Reverse((next, at))) = self.heap.peek().copied() {
            if next != series {
                break;
            }
            self.heap.pop();
            let walk = &mut self.walks[at];
            walk.take(series, &self.filter, &mut pieces)?;
            if let Some(next) = walk.peek(&self.filter)? {
                self.heap.push(Reverse((next, at)));
            }
        }
        // Walks of one series come in the order of their sources, groups in the order of the part.
        for (order, piece) in (0..).zip(&mut pieces) {
            piece.order = order;
        }
        sort(&mut pieces);
        Ok(Some((series, pieces)))
    }
}

/// Sorts pieces of a series by their earliest time, and of those by age.
pub(super) fn sort(pieces: &mut [Piece]) {
    pieces.sort_by_key(|piece| (piece.earliest, piece.age, piece.order));
}

//! The walks of one stream over all its sources, series by series.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::Result;

use super::ScanStats;
use super::piece::Piece;
use super::source::{Filter, Source, Walk};

/// Walks over sources, in step.
#[derive(Debug)]
pub(super) struct Walks {
    pub filter: Filter,
    walks: Vec<Walk>,
    /// Walks by their next series.
    heap: BinaryHeap<Reverse<(u32, usize)>>,
}

impl Walks {
    pub fn new(sources: &[Source], filter: Filter, stats: &ScanStats) -> Result<Walks> {
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

//! Which rows a chart needs: true for those to keep.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::Result;

use super::{All, number, tick};

/// Rows with time and value; the others are never kept.
fn known(values: &[ArrayRef], rows: usize) -> Vec<(usize, i64, f64)> {
    (0..rows)
        .filter_map(|row| Some((row, tick(&values[0], row)?, number(&values[1], row)?)))
        .collect()
}

fn kept(rows: usize, keep: impl IntoIterator<Item = usize>) -> ArrayRef {
    let mut flags = vec![false; rows];
    keep.into_iter().for_each(|row| flags[row] = true);
    Arc::new(BooleanArray::from(flags))
}

/// Largest triangle, three buckets (Steinarsson 2013): first and last row, and of each bucket of
/// the rows between the one that spans the largest triangle with the row kept before and the mean
/// of the bucket after.
#[derive(Debug)]
pub(super) struct Lttb {
    pub(super) points: usize,
}

impl All for Lttb {
    fn all(&self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let points = known(values, rows);
        let count = points.len();
        if count <= self.points {
            return Ok(kept(rows, points.into_iter().map(|(row, ..)| row)));
        }
        let mut keep = vec![points[0].0];
        let middle = self.points - 2;
        let edge = |bucket: usize| {
            let share = (count - 2) as u128 * bucket as u128;
            // A chart without inner points has no buckets.
            (share / middle.max(1) as u128) as usize + 1
        };
        let origin = points[0].1;
        let at = |tick: i64| (i128::from(tick) - i128::from(origin)) as f64;
        let mut before = (0.0, points[0].2);
        for bucket in 0..middle {
            let (from, to) = (edge(bucket), edge(bucket + 1));
            let after = if bucket + 1 < middle { to..edge(bucket + 2) } else { count - 1..count };
            let size = after.len() as f64;
            let mean = points[after].iter().fold((0.0, 0.0), |sum, (_, tick, value)| {
                (sum.0 + at(*tick) / size, sum.1 + value / size)
            });
            let area = |(_, tick, value): &(usize, i64, f64)| {
                ((before.0 - mean.0) * (value - before.1)
                    - (before.0 - at(*tick)) * (mean.1 - before.1))
                    .abs()
            };
            let mut best = from;
            for candidate in from..to {
                if area(&points[candidate]) > area(&points[best]) {
                    best = candidate;
                }
            }
            keep.push(points[best].0);
            before = (at(points[best].1), points[best].2);
        }
        keep.push(points[count - 1].0);
        Ok(kept(rows, keep))
    }
}

/// First, last, least and greatest of each of so many equal spans of time (Jugel et al. 2014):
/// a line of that many pixels' width looks as if all rows had been drawn.
#[derive(Debug)]
pub(super) struct M4 {
    pub(super) columns: usize,
}

impl All for M4 {
    fn all(&self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let points = known(values, rows);
        let from = points.iter().map(|p| p.1).min().unwrap_or(0);
        let to = points.iter().map(|p| p.1).max().unwrap_or(0);
        let span = i128::from(to) - i128::from(from) + 1;
        let column =
            |tick: i64| (i128::from(tick) - i128::from(from)) * self.columns as i128 / span;
        let mut keep = Vec::new();
        let mut start = 0;
        let mut sorted = points;
        sorted.sort_by_key(|(row, tick, _)| (*tick, *row));
        while start < sorted.len() {
            let here = column(sorted[start].1);
            let len = sorted[start..].partition_point(|p| column(p.1) == here);
            let part = &sorted[start..start + len];
            let least = part.iter().min_by(|a, b| a.2.total_cmp(&b.2));
            // Of several greatest the first, as of several least.
            let most = part.iter().rev().max_by(|a, b| a.2.total_cmp(&b.2));
            keep.extend(
                [part.first(), part.last(), least, most].into_iter().flatten().map(|p| p.0),
            );
            start += len;
        }
        Ok(kept(rows, keep))
    }
}

//! Delete commands: checked on submit, as bytes (FORMAT.md, "Delete commands"), and applied.

use std::sync::Arc;

use crate::deletes::{Selection, Tombstone};
use crate::error::{Error, Result};
use crate::series::{Bitmap, SERIES_MAX};
use crate::types::{TableId, TimeRange};

use super::apply::Effects;
use super::bytes::Reader;
use super::catalog;
use super::command::Outcome;
use super::narrow;
use super::options::Options;
use super::prepare::BATCH_ROWS_MAX;
use super::state::{State, TableState};

const ALL_RANGE: u8 = 0;
const SET_RANGE: u8 = 1;
const POINTS: u8 = 2;

/// Checks selections against what the writer saw and brings them into normal form.
///
/// # Errors
/// [`Error::Invalid`] over the limits, [`Error::NotFound`] for a series that is not there.
pub fn prepare(
    selections: Vec<Selection>,
    table: &TableState,
    options: &Options,
) -> Result<Vec<Selection>> {
    let mut normal = Vec::with_capacity(selections.len());
    for selection in selections {
        normal.extend(selection.normal()?);
    }
    let points: usize = normal.iter().map(Selection::points).sum();
    if points > options.delete_points_max as usize {
        return Err(Error::Invalid(format!(
            "a delete names {points} rows of table \"{}\" one by one; at most {} are taken: \
             delete them in steps, for example by ranges of time",
            table.schema.name, options.delete_points_max
        )));
    }
    let count = table.series.len();
    match normal.iter().filter_map(greatest).max() {
        Some(most) if most >= count => Err(Error::NotFound(format!(
            "there is no series {most} in table \"{}\"",
            table.schema.name
        ))),
        _ => Ok(normal),
    }
}

/// The greatest series that a selection names.
fn greatest(selection: &Selection) -> Option<u32> {
    match selection {
        Selection::Range { series, .. } => series.as_ref()?.maximum(),
        Selection::Points { series, .. } => series.last().copied(),
    }
}

/// Applies a delete: heads lose the rows at once, older parts get a tombstone.
pub(crate) fn apply(
    state: &mut State,
    effects: &mut Effects,
    position: u64,
    id: TableId,
    selections: Vec<Selection>,
) -> Result<Outcome> {
    let Some(table) = state.tables.get_mut(&id) else { return Err(catalog::no_table(id)) };
    if position <= table.flushed || selections.is_empty() {
        return Ok(Outcome::Done);
    }
    if let Some(most) = selections.iter().filter_map(greatest).max()
        && most >= table.series.len()
    {
        return Err(Error::Corrupt(format!(
            "a commit deletes of series {most} of table \"{}\", which has {}",
            table.schema.name,
            table.series.len()
        )));
    }
    let table = Arc::make_mut(table);
    let before = table.head.memory();
    table.head.delete(&selections);
    table.last.write().delete(&selections, position);
    table.note(position);
    let tombstones = Arc::make_mut(&mut table.tombstones);
    match tombstones.last_mut() {
        Some(last) if last.position == position => *last = Arc::new(last.and(&selections)),
        _ => tombstones.push(Arc::new(Tombstone::new(position, selections))),
    }
    effects.tombstones = effects.tombstones.max(table.tombstones_pending());
    state.head_bytes = state.head_bytes + table.head.memory() - before;
    Ok(Outcome::Done)
}

/// Appends selections in normal form.
pub fn put_selections(out: &mut Vec<u8>, selections: &[Selection]) {
    out.extend_from_slice(&(selections.len() as u32).to_le_bytes());
    for selection in selections {
        match selection {
            Selection::Range { series, times } => {
                match series {
                    None => out.push(ALL_RANGE),
                    Some(set) => {
                        out.push(SET_RANGE);
                        put_set(out, set);
                    }
                }
                out.extend_from_slice(&times.min.to_le_bytes());
                out.extend_from_slice(&times.max.to_le_bytes());
            }
            Selection::Points { series, times } => {
                out.push(POINTS);
                put_points(out, series, times);
            }
        }
    }
}

/// Reads what [`put_selections`] wrote.
///
/// # Errors
/// [`Error::Corrupt`] for anything else.
pub fn selections(reader: &mut Reader<'_>) -> Result<Vec<Selection>> {
    let count = reader.count(13)?;
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let series = match reader.u8()? {
            ALL_RANGE => None,
            SET_RANGE => Some(set(reader)?),
            POINTS => {
                out.push(points(reader)?);
                continue;
            }
            form => return Err(reader.error(format_args!("no selection has the form {form}"))),
        };
        let times = TimeRange::new(reader.i64()?, reader.i64()?);
        if times.is_empty() {
            return Err(reader.error("a selection of no times"));
        }
        out.push(Selection::Range { series, times });
    }
    Ok(out)
}

/// A set as its runs of consecutive numbers: first numbers, then lengths less one.
fn put_set(out: &mut Vec<u8>, set: &Bitmap) {
    let (mut firsts, mut lengths) = (Vec::new(), Vec::new());
    let mut cursor = set.cursor();
    while let Some(first) = cursor.current() {
        let last = run_end(set, first);
        firsts.push(i64::from(first));
        lengths.push(i64::from(last - first));
        match last.checked_add(1) {
            Some(after) => cursor.reset_at_or_after(after),
            None => break,
        }
    }
    out.extend_from_slice(&(firsts.len() as u32).to_le_bytes());
    narrow::put_ints(out, &firsts);
    narrow::put_ints(out, &lengths);
}

/// The last of the consecutive numbers of a set that begin with `first`, in steps that double: a
/// run of a billion takes sixty looks, not a billion.
fn run_end(set: &Bitmap, first: u32) -> u32 {
    let (mut last, mut step) = (first, 1u32);
    loop {
        let next = last.saturating_add(step);
        if next > last && set.contains_range(last..=next) {
            last = next;
            step = step.saturating_mul(2);
        } else if step == 1 {
            return last;
        } else {
            step /= 2;
        }
    }
}

fn set(reader: &mut Reader<'_>) -> Result<Bitmap> {
    let runs = reader.u32()? as usize;
    // First numbers ascend, so that several take a byte each: nothing is allocated for more.
    if runs == 0 || runs > BATCH_ROWS_MAX || (runs > 1 && runs > reader.left()) {
        return Err(reader.error("a set of series without runs, or with too many"));
    }
    let firsts = narrow::ints(reader, runs)?;
    let lengths = narrow::ints(reader, runs)?;
    let mut set = Bitmap::new();
    let mut free = 0;
    for (first, more) in firsts.into_iter().zip(lengths) {
        let last = first.checked_add(more).filter(|last| *last < i64::from(SERIES_MAX));
        let (Some(last), true) = (last, first >= free && more >= 0) else {
            return Err(reader.error("runs of series do not ascend"));
        };
        set.add_range(first as u32..=last as u32);
        free = last + 2;
    }
    Ok(set)
}

fn put_points(out: &mut Vec<u8>, series: &[u32], times: &[i64]) {
    let groups = series.chunk_by(|a, b| a == b);
    let (numbers, counts): (Vec<i64>, Vec<i64>) =
        groups.map(|group| (i64::from(group[0]), group.len() as i64)).unzip();
    out.extend_from_slice(&(times.len() as u32).to_le_bytes());
    out.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    narrow::put_ints(out, &numbers);
    narrow::put_ints(out, &counts);
    narrow::put_times(out, times);
}

fn points(reader: &mut Reader<'_>) -> Result<Selection> {
    let rows = reader.u32()? as usize;
    let groups = reader.u32()? as usize;
    // No row is named twice, so that of several either series or times take a byte each.
    let too_many = rows > BATCH_ROWS_MAX || (rows > 1 && rows > reader.left());
    if rows == 0 || too_many || groups > rows {
        return Err(reader.error("no rows, or more rows or series than a record carries"));
    }
    let numbers = narrow::ints(reader, groups)?;
    let counts = narrow::ints(reader, groups)?;
    let mut series = Vec::with_capacity(rows);
    let mut next = 0;
    for (number, count) in numbers.into_iter().zip(counts) {
        let room = (rows - series.len()) as i64;
        if number < next || number >= i64::from(SERIES_MAX) || count < 1 || count > room {
            return Err(reader.error("series of rows do not ascend, or rows do not add up"));
        }
        series.resize(series.len() + count as usize, number as u32);
        next = number + 1;
    }
    if series.len() != rows {
        return Err(reader.error("rows of the series do not add up"));
    }
    let times = narrow::times(reader, rows)?;
    let ascends = |i: usize| (series[i - 1], times[i - 1]) < (series[i], times[i]);
    if !(1..rows).all(ascends) {
        return Err(reader.error("rows do not ascend"));
    }
    Ok(Selection::Points { series, times })
}

#[cfg(test)]
mod tests {
    //! Sets as bytes.
    use super::*;

    fn comes_back(set: &Bitmap) {
        let mut out = Vec::new();
        put_set(&mut out, set);
        let mut reader = Reader::new(&out, "test");
        assert_eq!(&super::set(&mut reader).unwrap(), set);
        reader.end().unwrap();
        let twin: Vec<u32> = set.iter().filter(|n| *n == 0 || !set.contains(n - 1)).collect();
        assert_eq!(out[..4], (twin.len() as u32).to_le_bytes(), "runs are not the longest");
    }

    #[test]
    fn runs_of_any_length_come_back() {
        let mut set = Bitmap::new();
        let mut first = 0;
        for length in (1..40).chain([63, 64, 65, 127, 1000, 65_535, 65_536, 70_000]) {
            set.add_range(first..first + length);
            comes_back(&set);
            first += length + 1 + length % 3;
        }
        comes_back(&Bitmap::from_range(SERIES_MAX - 3..SERIES_MAX));
    }

    /// Integers of width 0 take no bytes: a count must not be believed for their sake.
    #[test]
    fn counts_that_cannot_be_are_refused() {
        let most = (BATCH_ROWS_MAX as u32).to_le_bytes();
        let zeros = [&most[..], &[0; 64]].concat();
        assert!(super::set(&mut Reader::new(&zeros, "test")).is_err());
        let points = [&most[..], &most, &[0; 64]].concat();
        assert!(super::points(&mut Reader::new(&points, "test")).is_err());
    }

    /// A few bytes name a billion series: writing them must not take a step for each.
    #[test]
    fn a_billion_series_are_written_at_once() {
        let set = Bitmap::from_range(5..1_500_000_000);
        let mut out = Vec::new();
        put_set(&mut out, &set);
        assert!(out.len() < 40);
        assert_eq!(super::set(&mut Reader::new(&out, "test")).unwrap(), set);
    }
}

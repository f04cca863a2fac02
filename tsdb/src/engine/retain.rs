//! Retention: each table has a *cut*, the first time that stays. The cut is moved by a logged
//! command that says it, so apply reads no clock: rows before it are hidden as by a delete, and
//! rows before it that come later are dropped on their way in.

use std::sync::Arc;

use crate::deletes::Selection;
use crate::error::Result;
use crate::types::{TableId, TableOptions, TimeRange};

use super::apply::Effects;
use super::command::Outcome;
use super::delete;
use super::prepare::SortedWrite;
use super::state::{State, TableState};

/// Applies the command: data of the table, like a write or a delete, not of the catalogue.
pub(crate) fn apply(
    state: &mut State,
    effects: &mut Effects,
    position: u64,
    id: TableId,
    cut: Option<i64>,
) -> Result<Outcome> {
    let before: Option<(u64, Option<i64>)> =
        state.tables.get(&id).map(|table| (table.flushed, table.cut));
    let hidden = match (before, cut) {
        // What lies before the old cut is hidden already.
        (Some((_, old)), Some(cut)) if cut > i64::MIN && Some(cut) > old => {
            let times = TimeRange::new(i64::MIN, cut - 1);
            vec![Selection::Range { series: None, times }]
        }
        _ => Vec::new(),
    };
    delete::apply(state, effects, position, id, hidden)?;
    if let Some(table) = state.tables.get_mut(&id)
        && position > table.flushed
    {
        let table = Arc::make_mut(table);
        table.cut = cut;
        table.note(position);
    }
    Ok(Outcome::Done)
}

/// The write without its rows before the cut, and how many these were. Series keep their places,
/// some of them without rows: their keys get their numbers all the same.
pub(crate) fn without_expired(write: SortedWrite, cut: Option<i64>) -> (SortedWrite, u64) {
    let Some(cut) = cut else { return (write, 0) };
    if write.times.iter().all(|time| *time >= cut) {
        return (write, 0);
    }
    let mut kept: Vec<u32> = Vec::with_capacity(write.times.len());
    let mut counts = Vec::with_capacity(write.counts.len());
    let mut start = 0;
    for count in &write.counts {
        let end = start + count;
        let before = kept.len();
        kept.extend((start..end).filter(|row| write.times[*row as usize] >= cut));
        counts.push((kept.len() - before) as u32);
        start = end;
    }
    let expired = (write.times.len() - kept.len()) as u64;
    let times = kept.iter().map(|row| write.times[*row as usize]).collect();
    let columns = write.columns.into_iter();
    let columns = columns.map(|(id, column)| (id, column.gather(&kept))).collect();
    (SortedWrite { times, counts, columns, ..write }, expired)
}

/// The cut that a table's retention asks for at time `now`, ns: the start of the first partition
/// of which anything is young enough, so that whole partitions go.
pub(crate) fn wanted(options: &TableOptions, now: i64) -> Option<i64> {
    let oldest = now.checked_sub(options.retention_ns?)?;
    let length = options.partition_ns.max(1);
    oldest.div_euclid(length).checked_mul(length)
}

/// Whether the cut has to be set anew, and to what.
pub(crate) fn due(table: &TableState, now: i64) -> Option<Option<i64>> {
    let wanted = wanted(&table.schema.options, now);
    (wanted != table.cut).then_some(wanted)
}

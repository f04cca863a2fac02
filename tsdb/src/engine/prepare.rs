//! From a writer's batch to the form that is logged and applied: checked, sorted, merged.
//!
//! All work that grows with the rows happens here, on the writer's thread: the commit queue then
//! only writes bytes, and apply touches series, not rows.

use crate::error::{Error, Result};
use crate::series::SeriesIndex;
use crate::types::{
    CellState, Column, ColumnBuilder, ColumnId, MergeMode, PhysicalType, SeriesRef, TableId,
    TableSchema, Values, WriteBatch, shard_of,
};

use super::options::Options;

/// Rows a record may carry for one table: bounds what a decoder allocates.
pub const BATCH_ROWS_MAX: usize = 16 << 20;

/// A checked batch: rows sorted by (shard, series, time), unique by (series, time) unless the
/// table keeps both. `series[i]` owns the next `counts[i]` rows; every count is at least 1.
#[derive(Clone, Debug, PartialEq)]
pub struct SortedWrite {
    /// Table written to.
    pub table: TableId,
    /// Series in the order of their rows.
    pub series: Vec<SeriesRef>,
    /// Rows of each series.
    pub counts: Vec<u32>,
    /// Times, ns.
    pub times: Vec<i64>,
    /// Columns in ascending number.
    pub columns: Vec<(ColumnId, Column)>,
}

/// Checks and sorts a batch against the schema that the writer saw.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`] or [`Error::TypeMismatch`]; nothing was changed.
pub fn prepare(
    batch: WriteBatch,
    schema: &TableSchema,
    index: &SeriesIndex,
    options: &Options,
    shards: u16,
) -> Result<SortedWrite> {
    check_shape(&batch, schema, options)?;
    let columns = fit_columns(batch.columns, schema, options)?;
    check_keys(&batch.series, schema, options)?;
    let (rank_of, series) = rank_series(batch.series, index, shards)?;
    let order = sort_rows(&batch.key_of_row, &batch.times, &rank_of, series.len());
    let ranks: Vec<u32> =
        order.iter().map(|row| rank_of[batch.key_of_row[*row as usize] as usize]).collect();
    let mut times: Vec<i64> = order.iter().map(|row| batch.times[*row as usize]).collect();
    let in_order = order.iter().enumerate().all(|(at, row)| at as u32 == *row);
    let mut columns: Vec<(ColumnId, Column)> = if in_order {
        columns
    } else {
        columns.into_iter().map(|(id, column)| (id, column.gather(&order))).collect()
    };
    let twice = (1..times.len()).any(|i| ranks[i] == ranks[i - 1] && times[i] == times[i - 1]);
    let mut ranks = ranks;
    if twice && schema.options.merge != MergeMode::Append {
        merge_equal(&mut ranks, &mut times, &mut columns, schema.options.merge);
    }
    columns.sort_by_key(|(id, _)| *id);
    Ok(count_series(schema.id, series, &ranks, times, columns))
}

fn count_series(
    table: TableId,
    series: Vec<SeriesRef>,
    ranks: &[u32],
    times: Vec<i64>,
    columns: Vec<(ColumnId, Column)>,
) -> SortedWrite {
    let mut counts = vec![0u32; series.len()];
    for rank in ranks {
        counts[*rank as usize] += 1;
    }
    // A series listed without a row makes no series.
    let (series, counts) = series.into_iter().zip(counts).filter(|(_, n)| *n > 0).unzip();
    SortedWrite { table, series, counts, times, columns }
}

fn check_shape(batch: &WriteBatch, schema: &TableSchema, options: &Options) -> Result<()> {
    let rows = batch.times.len();
    if rows == 0 || rows > BATCH_ROWS_MAX {
        return Err(Error::Invalid(format!(
            "a batch for table {} has {rows} rows; 1 to {BATCH_ROWS_MAX} are taken",
            schema.name
        )));
    }
    if batch.key_of_row.len() != rows || batch.columns.iter().any(|(_, c)| c.len() != rows) {
        return Err(Error::Invalid("columns of a batch differ in length".into()));
    }
    if batch.key_of_row.iter().any(|key| *key as usize >= batch.series.len()) {
        return Err(Error::Invalid("a row names a series that the batch does not list".into()));
    }
    if let Some(time) = batch.times.iter().find(|time| !options.times.contains(**time)) {
        return Err(Error::Invalid(format!(
            "time {time} ns lies outside the accepted range {} to {}",
            options.times.min, options.times.max
        )));
    }
    Ok(())
}

/// A key must be canonical, or the log could not be read again, and name key columns only.
fn check_keys(series: &[SeriesRef], schema: &TableSchema, options: &Options) -> Result<()> {
    for entry in series {
        let SeriesRef::Key(key) = entry else { continue };
        let mut before = None;
        for (id, value) in key.pairs() {
            if before.is_some_and(|before| before >= id) {
                return Err(Error::Invalid(format!("a key gives column {id} twice")));
            }
            before = Some(id);
            let Some(spec) = schema.column_by_id(id).filter(|spec| spec.key) else {
                return Err(Error::NotFound(format!(
                    "table {} has no key column {id}",
                    schema.name
                )));
            };
            if value.len() > options.value_bytes_max as usize {
                return Err(Error::Invalid(format!(
                    "a value of key column \"{}\" has {} bytes; at most {} are taken",
                    spec.name,
                    value.len(),
                    options.value_bytes_max
                )));
            }
        }
    }
    Ok(())
}

fn fit_columns(
    columns: Vec<(ColumnId, Column)>,
    schema: &TableSchema,
    options: &Options,
) -> Result<Vec<(ColumnId, Column)>> {
    let mut fitted: Vec<(ColumnId, Column)> = Vec::with_capacity(columns.len());
    for (id, column) in columns {
        let Some(spec) = schema.column_by_id(id).filter(|spec| !spec.key) else {
            return Err(Error::NotFound(format!("table {} has no field {id}", schema.name)));
        };
        if fitted.iter().any(|(other, _)| *other == id) {
            return Err(Error::Invalid(format!("column \"{}\" comes twice", spec.name)));
        }
        let (has, wants) = (column.values.physical(), spec.kind.physical());
        if has != wants && !(has == PhysicalType::Int && wants == PhysicalType::Float) {
            return Err(Error::TypeMismatch(format!(
                "column \"{}\" of table \"{}\" is {}, not {has:?}",
                spec.name, schema.name, spec.kind
            )));
        }
        check_cells(&column, &spec.name, options)?;
        let Column { values, states } = column;
        fitted.push((id, Column { values: values.widen_to(wants), states }));
    }
    Ok(fitted)
}

fn check_cells(column: &Column, name: &str, options: &Options) -> Result<()> {
    if let Some(states) = &column.states {
        if states.len() != column.values.len() {
            return Err(Error::Invalid(format!("states of column \"{name}\" differ in length")));
        }
        if states.iter().any(|state| !CellState(*state).is_valid()) {
            return Err(Error::Invalid(format!("column \"{name}\" has an unknown cell state")));
        }
    }
    if let Values::Bytes(values) = &column.values {
        let longest = values.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        if longest > options.value_bytes_max {
            return Err(Error::Invalid(format!(
                "a value of column \"{name}\" has {longest} bytes; at most {} are taken",
                options.value_bytes_max
            )));
        }
    }
    Ok(())
}

/// Orders the series by (shard, known before new, number or appearance) and gives each entry of
/// the batch's list its rank; entries that name one series share it.
fn rank_series(
    series: Vec<SeriesRef>,
    index: &SeriesIndex,
    shards: u16,
) -> Result<(Vec<u32>, Vec<SeriesRef>)> {
    let count = index.len();
    let mut entries: Vec<(u16, bool, u32, usize)> = Vec::with_capacity(series.len());
    let mut fresh = hashbrown::HashMap::new();
    let mut resolved = Vec::with_capacity(series.len());
    for (at, entry) in series.into_iter().enumerate() {
        let known = match &entry {
            SeriesRef::Known(number) if *number >= count => {
                return Err(Error::NotFound(format!("there is no series {number}")));
            }
            SeriesRef::Known(number) => Some(*number),
            // Another commit may make the series known between two looks: a key stays what it was.
            SeriesRef::Key(key) if fresh.contains_key(key) => None,
            SeriesRef::Key(key) => index.lookup(key),
        };
        let (shard, is_new, order) = match (known, &entry) {
            (Some(number), _) => (index.shard(number, shards), false, number),
            (None, SeriesRef::Key(key)) => {
                let first = *fresh.entry(key.clone()).or_insert(at as u32);
                (shard_of(key, shards), true, first)
            }
            (None, SeriesRef::Known(_)) => return Err(Error::NotFound("no such series".into())),
        };
        entries.push((shard, is_new, order, at));
        resolved.push(known.map_or(entry, SeriesRef::Known));
    }
    entries.sort_unstable();
    let mut rank_of = vec![0u32; resolved.len()];
    let mut ranked: Vec<usize> = Vec::with_capacity(resolved.len());
    let mut previous: Option<(u16, bool, u32)> = None;
    for (shard, is_new, order, at) in entries {
        if previous != Some((shard, is_new, order)) {
            ranked.push(at);
            previous = Some((shard, is_new, order));
        }
        rank_of[at] = ranked.len() as u32 - 1;
    }
    let mut slots: Vec<Option<SeriesRef>> = resolved.into_iter().map(Some).collect();
    let series = ranked.into_iter().filter_map(|at| slots[at].take()).collect();
    Ok((rank_of, series))
}

/// Row numbers sorted by (rank of the series, time, row): counting sort by rank, then by time
/// only where a series' times do not ascend already.
fn sort_rows(key_of_row: &[u32], times: &[i64], rank_of: &[u32], ranks: usize) -> Vec<u32> {
    let mut starts = vec![0u32; ranks + 1];
    for key in key_of_row {
        starts[rank_of[*key as usize] as usize + 1] += 1;
    }
    for rank in 0..ranks {
        starts[rank + 1] += starts[rank];
    }
    let bounds = starts.clone();
    let mut order = vec![0u32; key_of_row.len()];
    for (row, key) in key_of_row.iter().enumerate() {
        let slot = &mut starts[rank_of[*key as usize] as usize];
        order[*slot as usize] = row as u32;
        *slot += 1;
    }
    for window in bounds.windows(2) {
        let rows = &mut order[window[0] as usize..window[1] as usize];
        if !rows.is_sorted_by_key(|row| times[*row as usize]) {
            rows.sort_by_key(|row| times[*row as usize]);
        }
    }
    order
}

/// Merges neighbouring rows of one (series, time) by the table's mode; the later wins.
fn merge_equal(
    ranks: &mut Vec<u32>,
    times: &mut Vec<i64>,
    columns: &mut [(ColumnId, Column)],
    mode: MergeMode,
) {
    // Ends of the runs of equal (series, time).
    let rows = times.len();
    let is_end = |i: usize| i + 1 == rows || ranks[i] != ranks[i + 1] || times[i] != times[i + 1];
    let ends: Vec<usize> = (0..rows).filter(|i| is_end(*i)).collect();
    for (_, column) in columns.iter_mut() {
        let mut builder = ColumnBuilder::new(column.values.physical(), ends.len());
        let mut start = 0;
        for end in &ends {
            let pick = pick_cell(column, start, *end, mode);
            let (state, value) = column.cell(pick);
            builder.push(state, value);
            start = end + 1;
        }
        *column = builder.finish();
    }
    *ranks = ends.iter().map(|end| ranks[*end]).collect();
    *times = ends.iter().map(|end| times[*end]).collect();
}

/// Which of the cells `start..=end` of one (series, time) stands.
fn pick_cell(column: &Column, start: usize, end: usize, mode: MergeMode) -> usize {
    match mode {
        MergeMode::LastNonNull => {
            (start..=end).rev().find(|row| !column.state(*row).is_absent()).unwrap_or(end)
        }
        MergeMode::LastRow | MergeMode::Append => end,
    }
}

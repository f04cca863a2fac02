//! ON CONFLICT: the key and the time of a row say which row it is.
//!
//! Rows are looked for in one snapshot and written behind it, as UPDATE does: a row that somebody
//! writes in between merges with the one inserted here, as two INSERTs do.

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, ConflictTarget, Expr, OnConflictAction, OnInsert,
};
use tsdb::types::{Key, MergeMode, SeriesRef, TableSchema, WriteBatch};
use tsdb::{Command, Table};

use super::Target;
use crate::change::{self, Check};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::table::Source;

/// What becomes of rows that are there already.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OnConflict {
    /// They merge with the new ones, as the table says.
    Merge,
    /// Nothing.
    DoNothing,
    /// They get the values of the new ones, which is what merging does; no row may come twice.
    Overwrite,
}

/// What an INSERT says of conflicts.
pub(super) fn read(
    insert: &ast::Insert,
    table: &TableSchema,
    targets: &[Target],
) -> QueryResult<OnConflict> {
    let on = match &insert.on {
        None => return Ok(OnConflict::Merge),
        Some(OnInsert::OnConflict(on)) => on,
        Some(_) => return Err(QueryError::unsupported("ON DUPLICATE KEY")),
    };
    let append = table.options.merge == MergeMode::Append;
    check_target(on.conflict_target.as_ref(), table, append)?;
    match &on.action {
        // Rows of such a table never conflict.
        OnConflictAction::DoNothing if append => Ok(OnConflict::Merge),
        OnConflictAction::DoNothing => Ok(OnConflict::DoNothing),
        OnConflictAction::DoUpdate(update) => {
            if on.conflict_target.is_none() {
                let message = "ON CONFLICT DO UPDATE requires inference specification or \
                               constraint name";
                return Err(QueryError::new("42601", message)
                    .with_hint("For example, ON CONFLICT (column_name)."));
            }
            check_update(update, table, targets)?;
            Ok(OnConflict::Overwrite)
        }
    }
}

/// The columns must be those of the key and the time.
fn check_target(
    target: Option<&ConflictTarget>,
    table: &TableSchema,
    append: bool,
) -> QueryResult<()> {
    let key = table.keys().map(|column| column.name.clone()).chain([table.time_name.clone()]);
    let key: HashSet<String> = key.collect();
    let fits = match target {
        None => return Ok(()),
        Some(ConflictTarget::Columns(columns)) => {
            columns.iter().map(folded).collect::<HashSet<_>>() == key
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            let wanted = format!("{}_pkey", table.name);
            let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
            if name.as_deref() != Some(wanted.as_str()) {
                let message = format!(
                    "constraint \"{}\" for table \"{}\" does not exist",
                    name.unwrap_or_default(),
                    table.name
                );
                return Err(QueryError::new("42704", message));
            }
            true
        }
    };
    match fits && !append {
        true => Ok(()),
        false => Err(QueryError::new(
            "42P10",
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        )
        .with_hint("Name the columns of the primary key; a table with merge = 'append' has none.")),
    }
}

/// Only what merging does by itself can be promised: every inserted field, each to its new value.
fn check_update(
    update: &ast::DoUpdate,
    table: &TableSchema,
    targets: &[Target],
) -> QueryResult<()> {
    let refuse =
        |hint: &str| Err(QueryError::unsupported("this ON CONFLICT DO UPDATE").with_hint(hint));
    if update.selection.is_some() {
        return refuse("DO UPDATE takes no WHERE here.");
    }
    let mut set = HashSet::new();
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return refuse("Assign the columns one by one: SET a = excluded.a, ….");
        };
        let name = name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
        let Some(target) = super::targets_of(table).into_iter().find(|t| t.name == name) else {
            return Err(QueryError::no_column(&name, &table.name));
        };
        let excluded = match &assignment.value {
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [from, column] => folded(from) == "excluded" && folded(column) == name,
                _ => false,
            },
            _ => false,
        };
        if !excluded {
            return refuse("Each column takes its own new value: SET a = excluded.a.");
        }
        if !targets.iter().any(|target| target.name == name) {
            return refuse("Only columns that the INSERT fills can be set.");
        }
        if matches!(target.source, Source::Field(..)) {
            set.insert(name);
        }
    }
    let is_field = |target: &&Target| matches!(target.source, Source::Field(..));
    if let Some(left) = targets.iter().filter(is_field).find(|t| !set.contains(&t.name)) {
        return refuse(&format!(
            "Set every column that the INSERT fills; \"{}\" is left out.",
            left.name
        ));
    }
    let all = table.fields().all(|field| set.contains(&field.name));
    if table.options.merge == MergeMode::LastRow && !all {
        return refuse(
            "In a table with merge = 'last_row' the new row takes the place of the whole old \
             one: insert and set all columns.",
        );
    }
    Ok(())
}

/// `21000` where two rows of the statement are the same row.
pub(super) fn check_once(commands: &[Command]) -> QueryResult<()> {
    let mut seen = HashSet::new();
    for batch in writes(commands) {
        for (key, time) in places(batch) {
            if !seen.insert((key, time)) {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                return Err(QueryError::new("21000", message).with_hint(
                    "Ensure that no rows proposed for insertion within the same command have \
                     duplicate constrained values.",
                ));
            }
        }
    }
    Ok(())
}

/// Leaves the rows that are new to a snapshot, the first of each place; tells for every row
/// whether it stays.
pub(super) fn new_rows(
    table: &Table,
    commands: &[Command],
    check: Check<'_>,
) -> QueryResult<(Vec<Command>, Vec<bool>)> {
    let known = |key: &Key| table.series().lookup(key);
    let points: HashSet<(u32, i64)> = writes(commands)
        .flat_map(places)
        .filter_map(|(key, time)| Some((known(key)?, time)))
        .collect();
    let there = change::rows_at(table, points, check)?;
    let mut seen: HashSet<(&Key, i64)> = HashSet::new();
    let (mut left, mut mask) = (Vec::new(), Vec::new());
    for batch in writes(commands) {
        let mut stay = Vec::new();
        for (at, (key, time)) in (0u32..).zip(places(batch)) {
            let old = known(key).is_some_and(|series| there.contains(&(series, time)));
            let new = !old && seen.insert((key, time));
            mask.push(new);
            stay.extend(new.then_some(at));
        }
        if !stay.is_empty() {
            left.push(Command::Write(gather(batch, &stay)));
        }
    }
    Ok((left, mask))
}

fn writes(commands: &[Command]) -> impl Iterator<Item = &WriteBatch> {
    commands.iter().filter_map(|command| match command {
        Command::Write(batch) => Some(batch),
        _ => None,
    })
}

/// Key and time of each row. An INSERT names its series by their keys.
fn places(batch: &WriteBatch) -> impl Iterator<Item = (&Key, i64)> {
    batch.key_of_row.iter().zip(&batch.times).filter_map(|(series, time)| {
        match batch.series.get(*series as usize)? {
            SeriesRef::Key(key) => Some((key, *time)),
            SeriesRef::Known(_) => None,
        }
    })
}

/// Some rows of a batch, with no series but theirs.
fn gather(batch: &WriteBatch, rows: &[u32]) -> WriteBatch {
    let mut series = Vec::new();
    let mut place: HashMap<u32, u32> = HashMap::new();
    let mut key_of_row = Vec::with_capacity(rows.len());
    for row in rows {
        let old = batch.key_of_row[*row as usize];
        key_of_row.push(*place.entry(old).or_insert_with(|| {
            series.push(batch.series[old as usize].clone());
            series.len() as u32 - 1
        }));
    }
    WriteBatch {
        table: batch.table,
        series,
        key_of_row,
        times: rows.iter().map(|row| batch.times[*row as usize]).collect(),
        columns: batch.columns.iter().map(|(id, cells)| (*id, cells.gather(rows))).collect(),
    }
}

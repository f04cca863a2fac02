//! Apply: what a durable commit record does to the state. Deterministic: the state after a
//! position follows from the records up to it alone.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::head::{Run, RunData};
use crate::rows::{RowChange, RowCommand, RowStore};
use crate::types::{Column, ColumnId, PhysicalType, SeriesRef, SeriesRows, TableId, TableSchema};

use super::catalog;
use super::command::{Command, NewTable, Outcome};
use super::delete;
use super::prepare::SortedWrite;
use super::record::Prepared;
use super::retain;
use super::state::{State, TableState};
use super::watch::{self, Noted};

/// What apply needs besides the state.
pub(crate) struct Context<'a> {
    pub shards: u16,
    pub rows: &'a RowStore,
    /// Makes the state of a table that the record creates; at replay it may have files already.
    pub attach: &'a dyn Fn(TableSchema) -> Result<TableState>,
    /// Catalogue commands up to this position are in the row store that was opened.
    pub catalog_position: u64,
}

/// What applying a record asks to be done after it is visible.
#[derive(Default)]
pub(crate) struct Effects {
    /// Tables that were dropped.
    pub dropped: Vec<TableId>,
    /// Rows written.
    pub rows: u64,
    /// Rows that were before their table's cut.
    pub expired: u64,
    /// Most tombstones above the flush position that a delete has brought a table to.
    pub tombstones: usize,
    /// Bytes of the largest head that was written to.
    pub head_bytes: u64,
}

/// Applies one record to `state`.
///
/// # Errors
/// Only what makes the database unusable; a refused command is an outcome.
pub(crate) fn apply(
    context: &Context<'_>,
    state: &mut State,
    effects: &mut Effects,
    position: u64,
    commands: Vec<Prepared>,
) -> Result<Vec<Result<Outcome>>> {
    let mut outcomes = Vec::with_capacity(commands.len());
    let mut row_commands = Vec::new();
    // Which outcome waits for which row command.
    let mut waiting = Vec::new();
    // What the row store has seen it need not be told again.
    let told = position <= context.catalog_position;
    let mut noted = Noted::default();
    for command in commands {
        let outcome = match command {
            Prepared::Write(write) => {
                let late = if told { None } else { watch::late_rows(state, &write) };
                let outcome = apply_write(context, state, effects, position, write);
                // Its series have their numbers now.
                if let Some(late) = late {
                    noted.late(state, &late);
                }
                outcome
            }
            Prepared::Other(Command::Rows(rows)) => {
                waiting.push((outcomes.len(), row_commands.len()));
                row_commands.push(rows);
                Ok(Outcome::Done)
            }
            Prepared::Other(Command::Delete { table, selections }) => {
                if !told {
                    noted.delete(state, table, &selections);
                }
                delete::apply(state, effects, position, table, selections)
            }
            Prepared::Other(Command::Retain { table, cut }) => {
                retain::apply(state, effects, position, table, cut)
            }
            Prepared::Other(_) if told => Ok(Outcome::Done),
            Prepared::Other(Command::Watch { table, number, change }) => {
                let mut changes = Vec::new();
                let outcome = noted.change(state, table, number, &change, &mut changes);
                push(&mut row_commands, changes);
                outcome
            }
            Prepared::Other(command) => {
                let mut changes = Vec::new();
                let outcome = apply_catalog(context, state, effects, command, &mut changes);
                state.schema_version += u64::from(push(&mut row_commands, changes));
                outcome
            }
        };
        // A record that names what cannot be is no refusal: rows would be lost in silence.
        if let Err(error @ Error::Corrupt(_)) = outcome {
            return Err(error);
        }
        outcomes.push(outcome);
    }
    push(&mut row_commands, noted.rows(state));
    let references: Vec<&RowCommand> = row_commands.iter().collect();
    let results = context.rows.apply_many(position, &references)?;
    for (outcome, command) in waiting {
        if let Some(result) = results.get(command) {
            outcomes[outcome] = Ok(Outcome::Rows(result.clone()));
        }
    }
    if !references.is_empty() {
        state.rows = context.rows.snapshot()?;
    }
    state.position = position;
    Ok(outcomes)
}

/// Adds a command of these changes; whether there are any.
fn push(commands: &mut Vec<RowCommand>, changes: Vec<RowChange>) -> bool {
    let any = !changes.is_empty();
    if any {
        commands.push(RowCommand { expects: Vec::new(), changes });
    }
    any
}

fn apply_write(
    context: &Context<'_>,
    state: &mut State,
    effects: &mut Effects,
    position: u64,
    write: SortedWrite,
) -> Result<Outcome> {
    let Some(table) = state.tables.get_mut(&write.table) else {
        return Err(catalog::no_table(write.table));
    };
    if position <= table.flushed {
        return Ok(Outcome::Written { rows: write.times.len() as u64 });
    }
    let (write, expired) = retain::without_expired(write, table.cut);
    let rows = write.times.len() as u64;
    effects.expired += expired;
    let table = Arc::make_mut(table);
    let before = table.head.memory();
    let mut runs: Vec<Vec<Vec<SeriesRows>>> = vec![Vec::new(); usize::from(context.shards)];
    let mut start = 0;
    for (series, rows) in write.series.iter().zip(&write.counts) {
        let number = match series {
            SeriesRef::Known(number) if *number < table.series.len() => *number,
            SeriesRef::Known(number) => {
                return Err(Error::Corrupt(format!(
                    "a commit names series {number} of table \"{}\", which has {}",
                    table.schema.name,
                    table.series.len()
                )));
            }
            SeriesRef::Key(key) => table.series.get_or_insert(key).0,
        };
        if *rows == 0 {
            continue;
        }
        let shard = table.series.shard(number, context.shards);
        let lists = &mut runs[usize::from(shard)];
        // A key that another commit made known meanwhile has a lower number than its place says:
        // then the shard gets a second run.
        let fits = |list: &Vec<SeriesRows>| list.last().is_none_or(|last| last.series < number);
        if !lists.last().is_some_and(fits) {
            lists.push(Vec::new());
        }
        if let Some(list) = lists.last_mut() {
            list.push(SeriesRows { series: number, start, rows: *rows });
        }
        start += rows;
    }
    let columns = fit_columns(&table.schema, write.columns);
    let data = Arc::new(RunData { times: write.times, columns });
    let mode = table.schema.options.merge;
    let mut last = table.last.write();
    for (shard, lists) in runs.into_iter().enumerate() {
        for list in lists {
            last.update(&list, &data, mode, position);
            let run = Run::new(position..=position, list, Arc::clone(&data));
            table.head.push(shard, run, mode, table.frozen);
        }
    }
    drop(last);
    table.series_count = table.series.len();
    table.note(position);
    let after = table.head.memory();
    state.head_bytes = state.head_bytes + after - before;
    effects.head_bytes = effects.head_bytes.max(after);
    effects.rows += rows;
    Ok(Outcome::Written { rows })
}

/// Columns that the table still has, in the type that it has now.
fn fit_columns(schema: &TableSchema, columns: Vec<(ColumnId, Column)>) -> Vec<(ColumnId, Column)> {
    let fit = |(id, column): (ColumnId, Column)| {
        let wants = schema.column_by_id(id).filter(|spec| !spec.key)?.kind.physical();
        let has = column.values.physical();
        let fits = has == wants || (has, wants) == (PhysicalType::Int, PhysicalType::Float);
        let Column { values, states } = column;
        fits.then(|| (id, Column { values: values.widen_to(wants), states }))
    };
    columns.into_iter().filter_map(fit).collect()
}

fn apply_catalog(
    context: &Context<'_>,
    state: &mut State,
    effects: &mut Effects,
    command: Command,
    changes: &mut Vec<RowChange>,
) -> Result<Outcome> {
    match command {
        Command::CreateTable(new) => create_table(context, state, &new, changes),
        Command::AddColumns { table, columns } => {
            let schema = &find(state, table)?.schema;
            let (ids, wider) = catalog::add_columns(schema, &columns)?;
            if let Some(wider) = wider {
                replace(state, wider, changes)?;
            }
            Ok(Outcome::Columns(ids))
        }
        Command::WidenColumn { table, column, kind } => {
            let wider = catalog::widen(&find(state, table)?.schema, column, kind)?;
            replace(state, wider, changes)
        }
        Command::DropColumn { table, column } => {
            let narrower = catalog::drop_column(&find(state, table)?.schema, column)?;
            replace(state, narrower, changes)
        }
        Command::RenameColumn { table, column, name } => {
            let renamed = catalog::rename_column(&find(state, table)?.schema, column, &name)?;
            replace(state, renamed, changes)
        }
        Command::RenameTable { table, name } => rename_table(state, table, &name, changes),
        Command::SetOptions { table, options } => {
            let schema = &find(state, table)?.schema;
            if options.merge != schema.options.merge {
                return Err(Error::Invalid(format!(
                    "the merge mode of table \"{}\" cannot change: rows were merged by it",
                    schema.name
                )));
            }
            catalog::check_options(&options)?;
            catalog::check_partition_columns(schema, &options)?;
            let mut changed = TableSchema::clone(schema);
            changed.options = options;
            changed.version += 1;
            replace(state, changed, changes)
        }
        Command::DropTable { table } => {
            let name = find(state, table)?.schema.name.clone();
            if let Some(gone) = state.tables.remove(&table) {
                changes.extend(watch::drop_rows(table, &gone.watches));
                state.head_bytes -= gone.head.memory();
            }
            state.names.remove(&name);
            let (space, key) = (catalog::CATALOG_SPACE, catalog::table_key(table));
            changes.push(RowChange::Delete { space, key });
            effects.dropped.push(table);
            Ok(Outcome::Done)
        }
        Command::Write(_)
        | Command::Delete { .. }
        | Command::Retain { .. }
        | Command::Watch { .. }
        | Command::Rows(_) => Err(Error::Invalid("not a command of the catalogue".into())),
    }
}

fn find(state: &State, table: TableId) -> Result<&Arc<TableState>> {
    state.tables.get(&table).ok_or_else(|| catalog::no_table(table))
}

fn replace(
    state: &mut State,
    schema: TableSchema,
    changes: &mut Vec<RowChange>,
) -> Result<Outcome> {
    changes.push(catalog::table_row(&schema));
    let Some(table) = state.tables.get_mut(&schema.id) else {
        return Err(catalog::no_table(schema.id));
    };
    Arc::make_mut(table).schema = Arc::new(schema);
    Ok(Outcome::Done)
}

fn create_table(
    context: &Context<'_>,
    state: &mut State,
    new: &NewTable,
    changes: &mut Vec<RowChange>,
) -> Result<Outcome> {
    if let Some(id) = state.names.get(&new.name) {
        if new.if_not_exists {
            return Ok(Outcome::Table(*id));
        }
        return Err(Error::Exists(format!("table \"{}\" exists already", new.name)));
    }
    let id = state.next_table;
    let schema = catalog::create(new, id)?;
    changes.push(catalog::table_row(&schema));
    changes.push(catalog::next_table_row(id + 1));
    let table = (context.attach)(schema)?;
    state.next_table = id + 1;
    state.names.insert(new.name.clone(), id);
    state.tables.insert(id, Arc::new(table));
    Ok(Outcome::Table(id))
}

fn rename_table(
    state: &mut State,
    table: TableId,
    name: &str,
    changes: &mut Vec<RowChange>,
) -> Result<Outcome> {
    catalog::check_name("table", name)?;
    if state.names.contains_key(name) {
        return Err(Error::Exists(format!("table \"{name}\" exists already")));
    }
    let mut schema = TableSchema::clone(&find(state, table)?.schema);
    state.names.remove(&schema.name);
    state.names.insert(name.to_owned(), table);
    schema.name = name.to_owned();
    schema.version += 1;
    replace(state, schema, changes)
}

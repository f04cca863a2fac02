//! UPDATE: changed cells where rows merge cell by cell, else whole rows written again.
//!
//! Times and keys say which row a row is: changing them deletes the row and writes it elsewhere,
//! in one record. In an append table every change does, since rows of one time stand beside each
//! other there.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tsdb::types::{
    CellState, Column, ColumnBuilder, ColumnId, Key, MergeMode, SeriesRef, TableSchema,
    TimePrecision, ValueRef, WriteBatch,
};
use tsdb::{Command, Snapshot, Table};

use super::found::{Check, Found, Raw, batch_bytes, fields};
use super::{BYTES_MAX, check_count, is_append, syntax, too_large};
use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::insert::{Cell, Target, assign, cell, null_in, placeholder, targets_of};
use crate::returning::{Returned, Returning};
use crate::session::{Change, Session, Tree};
use crate::statement::Statement;
use crate::table::{Source, arrow_type};

/// New values, one list a target.
struct Changes {
    targets: Vec<Target>,
    cells: Vec<Vec<Cell>>,
    found: Found,
}

/// Updates.
pub(super) async fn run(
    session: &Session,
    statement: &Statement,
    update: &ast::Update,
    schema: &TableSchema,
    params: &[ScalarValue],
    returning: Option<Returning>,
) -> QueryResult<Outcome> {
    let targets = targets(update, schema)?;
    let moves = targets.iter().any(|target| !matches!(target.source, Source::Field(..)));
    let append = is_append(schema);
    let zone = session.settings().zone().to_string();
    let selected = returning.as_ref().map(Returning::selected).unwrap_or_default();
    let tree = Tree::of_change(statement, super::by(schema)).returning(selected);
    let (snapshot, change) = session.find_rows(tree, params).await?;
    let Change::Rows(mut stream) = change else {
        return Err(QueryError::internal("an UPDATE without values"));
    };
    let result = match &returning {
        Some(returning) => Some(returning.schema(stream.schema().fields())?),
        None => None,
    };
    let (cells, sets) = (vec![Vec::new(); targets.len()], targets.len());
    let found = Found::new(!syntax::from(update).is_empty());
    let mut changes = Changes { targets, cells, found };
    let (mut bytes, mut returned) = (0, Returned::default());
    while let Some(batch) = stream.next().await {
        let before = changes.found.len();
        let values = changes.found.take(&batch?, append)?;
        if let (Some(returning), Some(result)) = (&returning, &result) {
            let (given, selected) = values.split_at(sets.min(values.len()));
            let rows = changes.found.len() - before;
            returned.push(returning.batch(result, given, selected, rows)?)?;
        }
        bytes += changes.take(&values, schema, &zone)?;
        check_count(session, changes.found.len(), "UPDATE")?;
        if bytes > BYTES_MAX {
            return Err(too_large("UPDATE"));
        }
    }
    let count = changes.found.len() as u64;
    if count > 0 {
        write(session, &snapshot, schema, changes, moves).await?;
    }
    match result {
        Some(result) => Ok(returned.outcome(result, "UPDATE")),
        None => Ok(Outcome::Done { tag: format!("UPDATE {count}") }),
    }
}

async fn write(
    session: &Session,
    snapshot: &Snapshot,
    schema: &TableSchema,
    changes: Changes,
    moves: bool,
) -> QueryResult<()> {
    let count = changes.found.len();
    let commands = if schema.options.merge == MergeMode::LastNonNull && !moves {
        vec![Command::Write(changes.cells_alone(schema)?)]
    } else {
        let table =
            snapshot.table_by_id(schema.id).ok_or_else(|| QueryError::no_table(&schema.name))?;
        let mut stop = session.stop();
        let looked = stop.clone();
        let work = move || changes.whole_rows(&table, moves, &|| looked.check());
        stop.guard(session.blocking(work)).await?
    };
    let size = |command: &Command| match command {
        Command::Write(batch) => batch_bytes(batch),
        _ => 12 * count,
    };
    let bytes = commands.iter().map(size).sum();
    session.write_to(&[schema.id], commands, bytes).await
}

/// The columns that an UPDATE assigns.
pub(super) fn targets(update: &ast::Update, schema: &TableSchema) -> QueryResult<Vec<Target>> {
    let all = targets_of(schema);
    let mut out: Vec<Target> = Vec::new();
    for (name, _) in syntax::assignments(update)? {
        let target = all.iter().find(|target| target.name == name);
        let target = target.ok_or_else(|| QueryError::no_column(&name, &schema.name))?;
        if out.iter().any(|other| other.name == name) {
            let message = format!("multiple assignments to same column \"{name}\"");
            return Err(QueryError::new("42601", message));
        }
        if target.source == Source::Time && schema.options.precision == TimePrecision::Nanos {
            let what = "UPDATE of the time column of a table with nanoseconds";
            return Err(QueryError::unsupported(what).with_hint(
                "SQL sees microseconds of it; write the rows anew and delete the old.",
            ));
        }
        out.push(target.clone());
    }
    Ok(out)
}

/// Gives parameters that are assigned as they stand the types of their columns.
pub(super) fn note_params(
    update: &ast::Update,
    schema: &TableSchema,
    zone: &str,
    types: &mut Vec<Option<DataType>>,
) -> QueryResult<()> {
    let targets = targets(update, schema)?;
    for ((_, value), target) in syntax::assignments(update)?.into_iter().zip(&targets) {
        let Some(number) = placeholder(value) else { continue };
        if types.len() < number {
            types.resize(number, None);
        }
        types[number - 1].get_or_insert_with(|| arrow_type(target.kind, zone));
    }
    Ok(())
}

impl Changes {
    /// Takes new values in; gives about their bytes.
    fn take(
        &mut self,
        values: &[ArrayRef],
        schema: &TableSchema,
        zone: &str,
    ) -> QueryResult<usize> {
        let mut bytes = 0;
        for ((target, array), cells) in self.targets.iter().zip(values).zip(&mut self.cells) {
            let array = assign(array, target, zone)?;
            for row in 0..array.len() {
                let cell = cell(&array, row, target.kind)?;
                bytes += 16 + if let Cell::Bytes(text) = &cell { text.len() } else { 0 };
                if cell == Cell::Null && target.not_null && !is_key(target) {
                    return Err(null_in(&target.name, &schema.name));
                }
                cells.push(cell);
            }
        }
        Ok(bytes)
    }

    /// A batch of nothing but the cells that change.
    fn cells_alone(&self, schema: &TableSchema) -> QueryResult<WriteBatch> {
        let mut columns = Vec::with_capacity(self.targets.len());
        for (target, cells) in self.targets.iter().zip(&self.cells) {
            let Source::Field(id, kind) = target.source else {
                return Err(QueryError::internal("a change of no field"));
            };
            let mut column = ColumnBuilder::new(kind.physical(), cells.len());
            cells.iter().for_each(|cell| push(&mut column, cell));
            columns.push((id, column.finish()));
        }
        Ok(WriteBatch {
            table: schema.id,
            series: self.found.series.iter().map(|series| SeriesRef::Known(*series)).collect(),
            key_of_row: (0..self.found.len() as u32).collect(),
            times: self.found.nanos.clone(),
            columns,
        })
    }

    /// Whole rows with their changes, behind the delete of the old ones where new ones would not
    /// take their places.
    fn whole_rows(
        &self,
        table: &Table,
        moves: bool,
        check: Check<'_>,
    ) -> QueryResult<Vec<Command>> {
        let schema = table.schema();
        let points = self.found.series.iter().copied().zip(self.found.nanos.iter().copied());
        let raw = Raw::read(table, points, &fields(table), "UPDATE", check)?;
        let row_of: HashMap<(u32, i64, u32), usize> = (0..self.found.len())
            .map(|at| {
                let nth = self.found.nth.get(at).copied().unwrap_or(0);
                ((self.found.series[at], self.found.nanos[at], nth), at)
            })
            .collect();
        let changed: Vec<Option<usize>> =
            raw.rows.iter().map(|row| row_of.get(row).copied()).collect();
        if changed.iter().flatten().count() != self.found.len() {
            return Err(QueryError::internal("rows to change are not there"));
        }
        let (series, times) = self.places(table, &raw, &changed)?;
        let append = is_append(schema);
        if moves && !append {
            self.check_unique(table, &series, &times, check)?;
        }
        let columns =
            raw.columns.iter().map(|(id, cells)| (*id, self.column(*id, cells, &changed)));
        let batch = WriteBatch {
            table: schema.id,
            key_of_row: (0..raw.rows.len() as u32).collect(),
            columns: columns.collect(),
            series,
            times,
        };
        let gone = Command::Delete { table: schema.id, selections: vec![self.found.points()] };
        let mut commands = Vec::with_capacity(2);
        commands.extend((moves || append).then_some(gone));
        commands.push(Command::Write(batch));
        Ok(commands)
    }

    /// Series and time of each row, new where they change.
    fn places(
        &self,
        table: &Table,
        raw: &Raw,
        changed: &[Option<usize>],
    ) -> QueryResult<(Vec<SeriesRef>, Vec<i64>)> {
        let keys: Vec<(ColumnId, &Vec<Cell>)> = self
            .targets
            .iter()
            .zip(&self.cells)
            .filter_map(|(target, cells)| match target.source {
                Source::Key(id, _) => Some((id, cells)),
                _ => None,
            })
            .collect();
        let time = self.targets.iter().position(|target| target.source == Source::Time);
        let (mut series, mut times) = (Vec::new(), Vec::new());
        for ((number, old, _), change) in raw.rows.iter().zip(changed) {
            let change = change.as_ref();
            series.push(match change {
                Some(at) if !keys.is_empty() => {
                    let key = table.series().key(*number);
                    let key = key.ok_or_else(|| QueryError::internal("a series without a key"))?;
                    SeriesRef::Key(new_key(&key, &keys, *at))
                }
                _ => SeriesRef::Known(*number),
            });
            times.push(match (change, time) {
                // As INSERT does it: stored times are whole µs.
                (Some(at), Some(time)) => match &self.cells[time][*at] {
                    Cell::Int(ns) => ns.div_euclid(1_000) * 1_000,
                    _ => return Err(QueryError::internal("a time that is none")),
                },
                _ => *old,
            });
        }
        Ok((series, times))
    }

    fn column(&self, id: ColumnId, old: &Column, changed: &[Option<usize>]) -> Column {
        let is_it = |target: &Target| matches!(target.source, Source::Field(i, _) if i == id);
        let Some(which) = self.targets.iter().position(is_it) else { return old.clone() };
        let mut column = ColumnBuilder::new(old.values.physical(), old.len());
        for (row, change) in changed.iter().enumerate() {
            match change {
                Some(at) => push(&mut column, &self.cells[which][*at]),
                None => column.extend_range(old, row, row + 1),
            }
        }
        column.finish()
    }

    /// `23505` where a row would fall on another one.
    fn check_unique(
        &self,
        table: &Table,
        series: &[SeriesRef],
        times: &[i64],
        check: Check<'_>,
    ) -> QueryResult<()> {
        let clash = || {
            let message = format!(
                "rows of \"{}\" would have the same key and time after the UPDATE",
                table.schema().name
            );
            Err(QueryError::new("23505", message))
        };
        let mut places: HashSet<(Key, i64)> = HashSet::with_capacity(series.len());
        let mut known: Vec<(u32, i64)> = Vec::new();
        for (series, time) in series.iter().zip(times) {
            let (key, number) = match series {
                SeriesRef::Key(key) => (Some(key.clone()), table.series().lookup(key)),
                SeriesRef::Known(number) => (table.series().key(*number), Some(*number)),
            };
            let key = key.ok_or_else(|| QueryError::internal("a series without a key"))?;
            if !places.insert((key, *time)) {
                return clash();
            }
            known.extend(number.map(|number| (number, *time)));
        }
        let gone = self.found.set();
        let there = Raw::read(table, known.into_iter(), &[], "UPDATE", check)?;
        if there.rows.iter().any(|row| !gone.contains(row)) {
            return clash();
        }
        Ok(())
    }
}

fn is_key(target: &Target) -> bool {
    matches!(target.source, Source::Key(..))
}

/// A key with some of its values replaced; NULL and '' are the missing value.
fn new_key(old: &Key, changes: &[(ColumnId, &Vec<Cell>)], at: usize) -> Key {
    let stays = |(id, _): &(ColumnId, &[u8])| changes.iter().all(|(changed, _)| changed != id);
    let mut pairs: Vec<(ColumnId, Vec<u8>)> =
        old.pairs().filter(stays).map(|(id, value)| (id, value.to_vec())).collect();
    for (id, cells) in changes {
        pairs.extend(cells[at].value().map(|value| (*id, Key::encode_value(value))));
    }
    Key::new(pairs.iter().map(|(id, value)| (*id, value.as_slice())))
}

fn push(column: &mut ColumnBuilder, cell: &Cell) {
    match cell.value() {
        Some(value) => column.push_good(value),
        None => column.push(CellState::NULL, ValueRef::Int(0)),
    }
}

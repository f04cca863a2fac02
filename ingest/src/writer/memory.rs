//! A naive engine in memory for tests: it checks every command the way the real one must, and
//! can let "another writer" act right before a commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tsdb::types::{
    ColumnSpec, ColumnType, Key, SeriesRef, TableId, TableSchema, TimeRange, Value, WriteBatch,
};
use tsdb::{Command, Committed, Error, NewColumn, NewTable, Outcome, Result};

use super::Store;
use crate::line::{Catalogue, StoreLimits};

/// Cells by column name.
type Cells = BTreeMap<String, Value>;

#[derive(Default)]
struct State {
    tables: BTreeMap<TableId, TableSchema>,
    series: BTreeMap<TableId, Vec<Key>>,
    rows: BTreeMap<(TableId, Key, i64), Cells>,
    tables_made: u32,
    position: u64,
    /// Commands of another writer, applied before the next commits, one list each.
    others: VecDeque<Vec<Command>>,
    /// Answers of the next commits instead of doing them.
    failures: VecDeque<Error>,
    commits: Vec<usize>,
}

/// The engine.
pub struct MemoryStore {
    state: Mutex<State>,
    pub limits: StoreLimits,
    pub tables_max: usize,
}

impl MemoryStore {
    pub fn new() -> Arc<MemoryStore> {
        MemoryStore::with_tables_max(5)
    }

    pub fn with_tables_max(tables_max: usize) -> Arc<MemoryStore> {
        Arc::new(MemoryStore {
            state: Mutex::default(),
            limits: StoreLimits {
                columns_max: 100,
                value_bytes_max: 1 << 20,
                times: TimeRange::new(0, i64::MAX),
            },
            tables_max,
        })
    }

    /// Lets another writer act before a coming commit; an empty list lets one pass by.
    pub fn other(&self, commands: Vec<Command>) {
        self.state.lock().others.push_back(commands);
    }

    /// Lets the next commit fail.
    pub fn fail(&self, error: Error) {
        self.state.lock().failures.push_back(error);
    }

    /// Number of commands of each commit so far.
    pub fn commits(&self) -> Vec<usize> {
        self.state.lock().commits.clone()
    }

    pub fn schema(&self, table: &str) -> Option<TableSchema> {
        self.state.lock().tables.values().find(|t| t.name == table).cloned()
    }

    /// Rows as text, `table{tag=value} field=value @time`, sorted.
    pub fn rows(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut rows = Vec::new();
        for ((table, key, time), cells) in &state.rows {
            let Some(schema) = state.tables.get(table) else {
                continue;
            };
            let tags: Vec<String> = key
                .pairs()
                .map(|(id, value)| {
                    let name = &schema.column_by_id(id).unwrap().name;
                    format!("{name}={}", String::from_utf8_lossy(value))
                })
                .collect();
            let cells = cells.iter().map(|(name, value)| match value {
                Value::Int(v) => format!("{name}={v}i"),
                Value::Float(v) => format!("{name}={v:?}"),
                Value::Bool(v) => format!("{name}={v}"),
                Value::Bytes(v) => format!("{name}={:?}", String::from_utf8_lossy(v)),
            });
            let cells = cells.collect::<Vec<_>>().join(",");
            rows.push(format!("{}{{{}}} {cells} @{time}", schema.name, tags.join(",")));
        }
        rows.sort();
        rows
    }
}

impl State {
    fn apply(&mut self, command: Command, tables_max: usize) -> Result<Outcome> {
        match command {
            Command::Write(batch) => self.write(batch),
            Command::CreateTable(table) => self.create(table, tables_max),
            Command::AddColumns { table, columns } => {
                let schema = self.table(table)?.clone();
                let schema = add(schema, columns)?;
                self.tables.insert(table, schema);
                Ok(Outcome::Columns(Vec::new()))
            }
            Command::DropTable { table } => {
                self.table(table)?;
                self.tables.remove(&table);
                self.rows.retain(|(id, _, _), _| *id != table);
                Ok(Outcome::Done)
            }
            other => Err(Error::Invalid(format!("not made for {other:?}"))),
        }
    }

    fn table(&self, table: TableId) -> Result<&TableSchema> {
        self.tables.get(&table).ok_or_else(|| Error::NotFound(format!("table number {table}")))
    }

    fn create(&mut self, new: NewTable, tables_max: usize) -> Result<Outcome> {
        if let Some(old) = self.tables.values().find(|t| t.name == new.name) {
            assert!(new.if_not_exists);
            return Ok(Outcome::Table(old.id));
        }
        if self.tables.len() >= tables_max {
            return Err(Error::Invalid(format!("more than {tables_max} tables")));
        }
        self.tables_made += 1;
        let schema = TableSchema {
            id: self.tables_made,
            name: new.name,
            time_name: new.time_name,
            columns: Vec::new(),
            next_column: 0,
            options: new.options,
            version: 0,
        };
        let schema = add(schema, new.columns)?;
        self.tables.insert(schema.id, schema);
        Ok(Outcome::Table(self.tables_made))
    }

    fn write(&mut self, batch: WriteBatch) -> Result<Outcome> {
        let schema = self.table(batch.table)?.clone();
        let rows = batch.times.len();
        assert_eq!(rows, batch.key_of_row.len());
        for (id, column) in &batch.columns {
            assert_eq!(column.len(), rows);
            let spec = schema.column_by_id(*id);
            let spec = spec.ok_or_else(|| Error::NotFound(format!("column {id}")))?;
            assert!(!spec.key);
            if spec.kind.physical() != column.values.physical() {
                return Err(Error::TypeMismatch(format!("column {}", spec.name)));
            }
        }
        let known = self.series.entry(batch.table).or_default();
        let mut keys = Vec::new();
        for series in &batch.series {
            keys.push(match series {
                SeriesRef::Known(number) => known[*number as usize].clone(),
                SeriesRef::Key(key) => key.clone(),
            });
            if !known.contains(&keys[keys.len() - 1]) {
                known.push(keys[keys.len() - 1].clone());
            }
        }
        for row in 0..rows {
            let key = keys[batch.key_of_row[row] as usize].clone();
            let cells = self.rows.entry((batch.table, key, batch.times[row])).or_default();
            for (id, column) in &batch.columns {
                let (state, value) = column.cell(row);
                if state.is_value() {
                    let name = schema.column_by_id(*id).unwrap().name.clone();
                    cells.insert(name, value.to_value());
                }
            }
        }
        Ok(Outcome::Written { rows: rows as u64 })
    }
}

fn add(mut schema: TableSchema, columns: Vec<NewColumn>) -> Result<TableSchema> {
    for NewColumn { name, kind, key, not_null } in columns {
        if let Some(old) = schema.column(&name) {
            let fits =
                old.kind == kind || (old.kind == ColumnType::Float64 && kind == ColumnType::Int64);
            if !fits || old.key != key {
                return Err(Error::TypeMismatch(format!("column {name}")));
            }
            continue;
        }
        schema.next_column += 1;
        schema.columns.push(ColumnSpec { id: schema.next_column, name, kind, key, not_null });
    }
    schema.version += 1;
    Ok(schema)
}

struct View {
    tables: Vec<Arc<TableSchema>>,
    series: BTreeMap<TableId, Vec<Key>>,
}

impl Catalogue for View {
    fn table(&self, name: &str) -> Option<Arc<TableSchema>> {
        self.tables.iter().find(|table| table.name == name).cloned()
    }

    fn series(&self, table: TableId, key: &Key) -> Option<u32> {
        let at = self.series.get(&table)?.iter().position(|known| known == key)?;
        Some(at as u32)
    }
}

impl Store for MemoryStore {
    fn catalogue(&self) -> Box<dyn Catalogue + '_> {
        let state = self.state.lock();
        Box::new(View {
            tables: state.tables.values().cloned().map(Arc::new).collect(),
            series: state.series.clone(),
        })
    }

    fn commit(&self, commands: Vec<Command>) -> Result<Committed> {
        let mut state = self.state.lock();
        for command in state.others.pop_front().unwrap_or_default() {
            state.apply(command, self.tables_max).expect("the other writer does no wrong");
        }
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        state.commits.push(commands.len());
        state.position += 1;
        let apply = |command| state.apply(command, self.tables_max);
        let outcomes = commands.into_iter().map(apply).collect();
        Ok(Committed { position: state.position, time: 0, outcomes })
    }

    fn limits(&self) -> StoreLimits {
        self.limits
    }
}

//! The model of an engine: sorted maps that every command changes in the plainest way, and the
//! comparison of a database with it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::rows::{RowChange, RowCommand};
use crate::series::Bitmap;
use crate::types::*;
use crate::{Command, Db, FieldBound, NewColumn, ScanRequest, Selection, Snapshot};

use super::random::Random;

/// A value that can be compared bit by bit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bits {
    Int(i64),
    Float(u64),
    Bool(bool),
    Bytes(Vec<u8>),
}

impl Bits {
    fn of(value: ValueRef<'_>, kind: PhysicalType) -> Bits {
        match (value, kind) {
            (ValueRef::Int(v), PhysicalType::Float) => Bits::Float((v as f64).to_bits()),
            (ValueRef::Int(v), _) => Bits::Int(v),
            (ValueRef::Float(v), _) => Bits::Float(v.to_bits()),
            (ValueRef::Bool(v), _) => Bits::Bool(v),
            (ValueRef::Bytes(v), _) => Bits::Bytes(v.to_vec()),
        }
    }
}

/// A cell that is not absent: its state byte, and its value if it has one.
pub type Cell = (u8, Option<Bits>);
/// A row: the cells that are not absent.
pub type Row = BTreeMap<ColumnId, Cell>;
/// Rows as they come out: canonical key, time, row.
pub type RowList = Vec<(Vec<u8>, i64, Row)>;

/// What the model calls a series: numbers differ between databases.
pub fn series_mark(key: &[u8]) -> u32 {
    crc32fast::hash(key)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelTable {
    pub name: String,
    pub time_name: String,
    pub mode: MergeMode,
    pub partition_ns: i64,
    pub partition_columns: Vec<ColumnId>,
    /// Number, name, type, whether it is a key column; in order of creation.
    pub columns: Vec<(ColumnId, String, ColumnType, bool)>,
    pub next_column: ColumnId,
    /// Rows before this time are dropped on their way in.
    pub cut: Option<i64>,
    /// One row for each key and time, or several in an append table.
    pub rows: BTreeMap<(Vec<u8>, i64), Vec<Row>>,
}

/// Tables and management rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    pub tables: BTreeMap<TableId, ModelTable>,
    pub next_table: TableId,
    pub rows: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
}

impl ModelTable {
    pub fn kind(&self, column: ColumnId) -> Option<PhysicalType> {
        let found = self.columns.iter().find(|c| c.0 == column && !c.3)?;
        Some(found.2.physical())
    }

    pub fn fields(&self) -> Vec<ColumnId> {
        self.columns.iter().filter(|c| !c.3).map(|c| c.0).collect()
    }

    fn has_name(&self, name: &str) -> bool {
        self.time_name == name || self.columns.iter().any(|c| c.1 == name)
    }

    /// Whether these columns may partition the table: some of the key, each once.
    fn may_split(&self, columns: &[ColumnId]) -> bool {
        let mut once = columns.to_vec();
        once.sort_unstable();
        once.dedup();
        let key = |id: &ColumnId| self.columns.iter().any(|c| c.0 == *id && c.3);
        columns.len() <= 4 && once.len() == columns.len() && columns.iter().all(key)
    }

    fn write(&mut self, batch: &WriteBatch) {
        for (row, time) in batch.times.iter().enumerate() {
            let SeriesRef::Key(key) = &batch.series[batch.key_of_row[row] as usize] else {
                panic!("the model takes keys");
            };
            if self.cut.is_some_and(|cut| *time < cut) {
                continue;
            }
            let mut cells = Row::new();
            for (id, column) in &batch.columns {
                let Some(kind) = self.kind(*id) else { continue };
                let (state, value) = column.cell(row);
                if !state.is_absent() {
                    let value = state.is_value().then(|| Bits::of(value, kind));
                    cells.insert(*id, (state.0, value));
                }
            }
            let rows = self.rows.entry((key.as_bytes().to_vec(), *time)).or_default();
            match (self.mode, rows.first_mut()) {
                (MergeMode::Append, _) | (_, None) => rows.push(cells),
                (MergeMode::LastRow, Some(row)) => *row = cells,
                (MergeMode::LastNonNull, Some(row)) => row.extend(cells),
            }
        }
    }

    /// Deletes of the model name a series by [`series_mark`].
    fn delete(&mut self, selections: &[Selection]) {
        self.rows.retain(|(key, time), _| {
            let mark = series_mark(key);
            !selections.iter().any(|selection| match selection {
                Selection::Range { series, times } => {
                    let all = series.is_none();
                    times.contains(*time)
                        && (all || series.iter().flat_map(Bitmap::iter).any(|s| s == mark))
                }
                Selection::Points { series, times } => {
                    series.iter().zip(times).any(|(s, t)| (*s, *t) == (mark, *time))
                }
            })
        });
    }

    fn retain(&mut self, cut: Option<i64>) {
        self.cut = cut;
        self.rows.retain(|(_, time), _| cut.is_none_or(|cut| *time >= cut));
    }

    fn add(&mut self, columns: &[NewColumn]) -> bool {
        let mut wider = self.clone();
        for new in columns {
            if let Some((_, _, kind, key)) = wider.columns.iter().find(|c| c.1 == new.name) {
                let fits = *kind == new.kind
                    || (*kind == ColumnType::Float64 && new.kind == ColumnType::Int64);
                if *key != new.key || !fits {
                    return false;
                }
                continue;
            }
            if wider.time_name == new.name {
                return false;
            }
            wider.columns.push((wider.next_column, new.name.clone(), new.kind, new.key));
            wider.next_column += 1;
        }
        *self = wider;
        true
    }

    fn widen(&mut self, column: ColumnId, kind: ColumnType) -> bool {
        use ColumnType as T;
        let Some(found) = self.columns.iter_mut().find(|c| c.0 == column && !c.3) else {
            return false;
        };
        let fits = matches!(
            (found.2, kind),
            (T::Int16, T::Int32 | T::Int64 | T::Float64)
                | (T::Int32, T::Int64 | T::Float64)
                | (T::Int64, T::Float64)
                | (T::Float32, T::Float64)
        );
        if !fits {
            return false;
        }
        found.2 = kind;
        if kind == T::Float64 {
            for row in self.rows.values_mut().flatten() {
                if let Some((_, Some(value))) = row.get_mut(&column)
                    && let Bits::Int(v) = value
                {
                    *value = Bits::Float((*v as f64).to_bits());
                }
            }
        }
        true
    }

    fn drop_column(&mut self, column: ColumnId) -> bool {
        let before = self.columns.len();
        self.columns.retain(|c| c.0 != column || c.3);
        for row in self.rows.values_mut().flatten() {
            row.remove(&column);
        }
        self.columns.len() < before
    }

    /// All rows in the order of key and time, cut to some columns.
    fn list(&self, take: impl Fn(&[u8], i64) -> bool, columns: &[ColumnId]) -> RowList {
        let mut out = RowList::new();
        for ((key, time), rows) in &self.rows {
            if take(key, *time) {
                for row in rows {
                    let mut row = row.clone();
                    row.retain(|id, _| columns.contains(id));
                    out.push((key.clone(), *time, row));
                }
            }
        }
        out
    }
}

impl Model {
    /// Applies a commit; says of each command whether it was taken.
    pub fn apply(&mut self, commands: &[Command]) -> Vec<bool> {
        commands.iter().map(|command| self.apply_one(command)).collect()
    }

    fn apply_one(&mut self, command: &Command) -> bool {
        match command {
            Command::Write(batch) => match self.tables.get_mut(&batch.table) {
                Some(table) => {
                    table.write(batch);
                    true
                }
                None => false,
            },
            Command::Delete { table, selections } => match self.tables.get_mut(table) {
                Some(table) => {
                    table.delete(selections);
                    true
                }
                None => false,
            },
            Command::Retain { table, cut } => match self.tables.get_mut(table) {
                Some(table) => {
                    table.retain(*cut);
                    true
                }
                None => false,
            },
            Command::Watch { .. } => false,
            Command::CreateTable(new) => self.create(new),
            Command::AddColumns { table, columns } => {
                self.tables.get_mut(table).is_some_and(|t| t.add(columns))
            }
            Command::WidenColumn { table, column, kind } => {
                self.tables.get_mut(table).is_some_and(|t| t.widen(*column, *kind))
            }
            Command::DropColumn { table, column } => {
                self.tables.get_mut(table).is_some_and(|t| t.drop_column(*column))
            }
            Command::RenameTable { table, name } => {
                let taken = self.tables.values().any(|t| t.name == *name);
                match self.tables.get_mut(table) {
                    Some(table) if !taken => {
                        table.name.clone_from(name);
                        true
                    }
                    _ => false,
                }
            }
            Command::RenameColumn { table, column, name } => self.rename(*table, *column, name),
            Command::SetOptions { table, options } => match self.tables.get_mut(table) {
                Some(table)
                    if options.merge == table.mode
                        && options.partition_ns >= 1 << 30
                        && table.may_split(&options.partition_columns) =>
                {
                    table.partition_ns = options.partition_ns;
                    table.partition_columns.clone_from(&options.partition_columns);
                    true
                }
                _ => false,
            },
            Command::DropTable { table } => self.tables.remove(table).is_some(),
            Command::Rows(rows) => self.change_rows(rows),
        }
    }

    fn create(&mut self, new: &crate::NewTable) -> bool {
        if self.tables.values().any(|t| t.name == new.name) {
            return new.if_not_exists;
        }
        if new.options.partition_ns < 1 << 30 {
            return false;
        }
        let mut table = ModelTable {
            name: new.name.clone(),
            time_name: new.time_name.clone(),
            mode: new.options.merge,
            partition_ns: new.options.partition_ns,
            partition_columns: new.options.partition_columns.clone(),
            columns: Vec::new(),
            next_column: 1,
            cut: None,
            rows: BTreeMap::new(),
        };
        table.add(&new.columns);
        if !table.may_split(&table.partition_columns) {
            return false;
        }
        self.next_table += 1;
        self.tables.insert(self.next_table, table);
        true
    }

    fn rename(&mut self, table: TableId, column: Option<ColumnId>, name: &str) -> bool {
        let Some(table) = self.tables.get_mut(&table).filter(|t| !t.has_name(name)) else {
            return false;
        };
        match column {
            None => table.time_name = name.to_owned(),
            Some(id) => match table.columns.iter_mut().find(|c| c.0 == id) {
                Some(found) => found.1 = name.to_owned(),
                None => return false,
            },
        }
        true
    }

    fn change_rows(&mut self, command: &RowCommand) -> bool {
        let holds = command.expects.iter().all(|expect| {
            self.rows.get(&(expect.space, expect.key.clone())) == expect.value.as_ref()
        });
        if holds {
            for change in command.changes.clone() {
                match change {
                    RowChange::Put { space, key, value } => {
                        self.rows.insert((space, key), value);
                    }
                    RowChange::Delete { space, key } => {
                        self.rows.remove(&(space, key));
                    }
                    RowChange::DeletePrefix { space, prefix } => {
                        self.rows.retain(|(of, key), _| *of != space || !key.starts_with(&prefix));
                    }
                }
            }
        }
        true
    }
}

/// Reads a database whole, in the shape of the model.
pub fn read(snapshot: &Snapshot) -> crate::Result<Model> {
    let mut model = Model::default();
    for schema in snapshot.tables() {
        let found = snapshot.table_by_id(schema.id).expect("a table that is listed");
        let columns =
            schema.columns.iter().map(|c| (c.id, c.name.clone(), c.kind, c.key)).collect();
        let mut table = ModelTable {
            name: schema.name.clone(),
            time_name: schema.time_name.clone(),
            mode: schema.options.merge,
            partition_ns: schema.options.partition_ns,
            partition_columns: schema.options.partition_columns.clone(),
            columns,
            next_column: schema.next_column,
            cut: found.cut(),
            rows: BTreeMap::new(),
        };
        let request = ScanRequest { streams: 2, ..ScanRequest::all(table.fields()) };
        for (key, time, row) in scan(&found, request)? {
            table.rows.entry((key, time)).or_default().push(row);
        }
        model.tables.insert(schema.id, table);
    }
    for space in [20u16, 300] {
        for (key, value) in snapshot.rows().scan(space, b"")? {
            model.rows.insert((space, key), value);
        }
    }
    Ok(model)
}

/// Runs a scan; checks that what comes out is in order.
pub fn scan(table: &crate::Table, request: ScanRequest) -> crate::Result<RowList> {
    let batch_rows = request.batch_rows;
    let append = table.schema().options.merge == MergeMode::Append;
    let columns = request.columns.clone();
    let mut out = RowList::new();
    let mut before: Option<(u32, i64)> = None;
    let mut scan = table.scan(request)?;
    for stream in &mut scan.streams {
        while let Some(rows) = stream.next_rows()? {
            assert!(!rows.is_empty());
            assert!(append || rows.len() <= batch_rows.max(1) + 1, "{} rows", rows.len());
            let mut next = 0;
            for series in &rows.series {
                assert_eq!(series.start, next, "a gap");
                next += series.rows;
                let key = table.series().key(series.series).expect("a key");
                for row in series.start..series.start + series.rows {
                    let time = rows.times[row as usize];
                    let here = (series.series, time);
                    let ordered = before.is_none_or(|b| b < here || (append && b == here));
                    assert!(ordered, "{here:?} behind {before:?}");
                    before = Some(here);
                    out.push((key.as_bytes().to_vec(), time, cells(&rows, &columns, row)));
                }
            }
            assert_eq!(next as usize, rows.len());
        }
    }
    assert_eq!(scan.stats.rows.load(Ordering::Relaxed), out.len() as u64);
    // By key, as the model has it; equal times of an append table stay in their order.
    out.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(out)
}

fn cells(rows: &Rows, columns: &[ColumnId], row: u32) -> Row {
    let mut out = Row::new();
    assert_eq!(columns.len(), rows.columns.len());
    for (wanted, (id, column)) in columns.iter().zip(&rows.columns) {
        assert_eq!(wanted, id);
        let (state, value) = column.cell(row as usize);
        assert!(state.is_valid());
        if !state.is_absent() {
            let value = state.is_value().then(|| Bits::of(value, column.values.physical()));
            out.insert(*id, (state.0, value));
        }
    }
    out
}

/// Checks that a database is what the model says, seen whole.
pub fn check(db: &Db, model: &Model, context: &str) {
    try_check(db, model, context).unwrap_or_else(|e| panic!("{context}: {e}"));
}

/// As [`check`], but a failing read is the caller's to judge.
pub fn try_check(db: &Db, model: &Model, context: &str) -> crate::Result<()> {
    check_rows(db, model, context)?;
    check_last(db, model, context);
    Ok(())
}

/// As [`try_check`] without last rows.
pub fn check_rows(db: &Db, model: &Model, context: &str) -> crate::Result<()> {
    let mut found = read(&db.snapshot())?;
    found.next_table = model.next_table;
    if found != *model {
        panic!("{context}: {}", difference(&found, model));
    }
    super::groups::check(db, context)
}

fn difference(found: &Model, model: &Model) -> String {
    for (id, expect) in &model.tables {
        let Some(table) = found.tables.get(id) else { return format!("table {id} is missing") };
        for (key, rows) in &expect.rows {
            match table.rows.get(key) {
                Some(other) if other == rows => {}
                other => return format!("table {id} {key:?}:\n{other:?}\ninstead of\n{rows:?}"),
            }
        }
        for (key, rows) in &table.rows {
            if !expect.rows.contains_key(key) {
                return format!("table {id} {key:?}: {rows:?} was invented");
            }
        }
        if table != expect {
            return format!("table {id}: columns or settings differ");
        }
    }
    format!("tables {:?}, rows {:?} {:?}", found.tables.keys(), found.rows, model.rows)
}

/// Last rows against the last rows of the model.
fn check_last(db: &Db, model: &Model, context: &str) {
    let snapshot = db.snapshot();
    for (id, expect) in &model.tables {
        let table = snapshot.table_by_id(*id).unwrap();
        let fields = expect.fields();
        let all = table.series().all(table.series_count());
        let rows = table.last_rows(&all, &fields).unwrap();
        let mut found = RowList::new();
        for series in &rows.series {
            assert_eq!(series.rows, 1);
            let key = table.series().key(series.series).unwrap();
            let time = rows.times[series.start as usize];
            found.push((key.as_bytes().to_vec(), time, cells(&rows, &fields, series.start)));
        }
        found.sort();
        let mut last: BTreeMap<&Vec<u8>, (i64, &Row)> = BTreeMap::new();
        for ((key, time), rows) in &expect.rows {
            last.insert(key, (*time, rows.last().unwrap()));
        }
        let last: RowList =
            last.into_iter().map(|(key, (time, row))| (key.clone(), time, row.clone())).collect();
        assert_eq!(found, last, "{context}: last rows of table {id}");
    }
}

/// Scans something at random and compares it.
///
/// # Errors
/// Those of reading.
pub fn check_some(db: &Db, model: &Model, random: &mut Random, context: &str) -> crate::Result<()> {
    let snapshot = db.snapshot();
    let Some((id, expect)) = random.pick_of(model.tables.iter()) else { return Ok(()) };
    let table = snapshot.table_by_id(*id).unwrap();
    let mut columns = expect.fields();
    columns.retain(|_| random.below(3) > 0);
    if random.below(2) == 0 {
        columns.reverse();
    }
    let times = match random.below(3) {
        0 => TimeRange::ALL,
        _ => {
            let (a, b) = (random.time(), random.time());
            TimeRange::new(a.min(b), a.max(b))
        }
    };
    let series = (random.below(2) == 0).then(|| {
        let picked = |_: &u32| random.below(3) == 0;
        Bitmap::of(&(0..table.series_count() + 3).filter(picked).collect::<Vec<u32>>())
    });
    let takes = |key: &[u8], time: i64| {
        let number = Key::from_bytes(key).and_then(|key| table.series().lookup(&key));
        let number = number.expect("a series that was written");
        times.contains(time) && series.as_ref().is_none_or(|set| set.contains(number))
    };
    let mut request = ScanRequest {
        series: series.clone(),
        times,
        columns: columns.clone(),
        bounds: Vec::new(),
        filters: Vec::new(),
        streams: 1 + random.below(4) as usize,
        batch_rows: 1 + random.below(300) as usize,
    };
    let wanted = expect.list(takes, &columns);
    let got = scan(&table, request.clone())?;
    let apart = got.iter().zip(&wanted).position(|(got, wanted)| got != wanted);
    let apart = apart.unwrap_or(got.len().min(wanted.len()));
    let (a, b) = (got.get(apart), wanted.get(apart));
    assert!(got == wanted, "{context}: {request:?}: row {apart}: {a:?} is not {b:?}");
    let Some(bound) = bound(expect, &columns, random) else { return Ok(()) };
    request.bounds = vec![bound.clone()];
    let keep = |list: RowList| -> RowList {
        list.into_iter().filter(|(_, _, row)| lies_in(row, &bound)).collect()
    };
    let found = scan(&table, request.clone())?;
    assert!(found.iter().all(|row| wanted.contains(row)), "{context}: bounds invent {request:?}");
    assert_eq!(keep(found), keep(wanted), "{context}: {request:?}");
    Ok(())
}

/// A bound on one of the columns that are read.
fn bound(table: &ModelTable, columns: &[ColumnId], random: &mut Random) -> Option<FieldBound> {
    let column = *random.pick_of(columns.iter())?;
    let value = |random: &mut Random| match (table.kind(column)?, random.below(3)) {
        (_, 0) => None,
        (PhysicalType::Int | PhysicalType::Float, 1) => {
            Some(Value::Int(random.below(100) as i64 - 50))
        }
        (PhysicalType::Int | PhysicalType::Float, _) => {
            Some(Value::Float(random.below(1000) as f64 / 10.0 - 50.0))
        }
        _ => None,
    };
    Some(FieldBound { column, min: value(random), max: value(random) })
}

/// What a filter `min <= x AND x <= max` keeps; NaN is above all.
fn lies_in(row: &Row, bound: &FieldBound) -> bool {
    let number = |value: &Value| match value {
        Value::Int(v) => *v as f64,
        Value::Float(v) => *v,
        _ => f64::NAN,
    };
    let value = match row.get(&bound.column) {
        Some((_, Some(Bits::Int(v)))) => *v as f64,
        Some((_, Some(Bits::Float(v)))) => f64::from_bits(*v),
        Some((_, Some(_))) => return true,
        _ => return false,
    };
    let above = bound.min.as_ref().is_none_or(|min| value.is_nan() || value >= number(min));
    let below = bound.max.as_ref().is_none_or(|max| !value.is_nan() && value <= number(max));
    above && below
}

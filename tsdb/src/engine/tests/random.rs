//! Seeded random commands.

use crate::rows::{RowChange, RowCommand, RowExpect};
use crate::types::*;
use crate::{Command, NewColumn, NewTable, Selection};

use super::model::{Model, ModelTable, series_mark};

const SECOND: i64 = 1_000_000_000;
const TYPES: [ColumnType; 9] = ColumnType::ALL;

/// Splitmix64: the same numbers for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn pick_of<T>(&mut self, list: impl ExactSizeIterator<Item = T>) -> Option<T> {
        let len = list.len() as u64;
        if len == 0 {
            return None;
        }
        let at = self.below(len) as usize;
        list.into_iter().nth(at)
    }

    /// A time out of few, so that rows meet; now and then far away.
    pub fn time(&mut self) -> i64 {
        match self.below(20) {
            0 => 7_200 * SECOND + self.below(1 << 40) as i64,
            1 => -(self.below(900) as i64) * SECOND,
            _ => self.below(400) as i64 * 10 * SECOND,
        }
    }

    fn state(&mut self) -> CellState {
        let quality = [Quality::Good, Quality::Uncertain, Quality::Bad][self.below(3) as usize];
        match self.below(12) {
            0 | 1 => CellState::ABSENT,
            2 => CellState::null(quality),
            3 => CellState::value(quality),
            _ => CellState::GOOD,
        }
    }

    fn value(&mut self, kind: PhysicalType) -> Value {
        match kind {
            PhysicalType::Int => Value::Int(match self.below(8) {
                0 => self.next() as i64,
                _ => self.below(100) as i64 - 50,
            }),
            PhysicalType::Float => Value::Float(match self.below(16) {
                0 => f64::from_bits(self.next()),
                1 => -0.0,
                2 => f64::NAN,
                3 => f64::NEG_INFINITY,
                4 => 0.1 * self.below(100) as f64,
                _ => self.below(1000) as f64 / 10.0 - 50.0,
            }),
            PhysicalType::Bool => Value::Bool(self.below(2) == 0),
            PhysicalType::Bytes => {
                let len = self.below(12) as usize;
                Value::Bytes((0..len).map(|_| b'a' + self.below(5) as u8).collect())
            }
        }
    }

    fn column(&mut self, kind: PhysicalType, rows: usize, plain: bool) -> Column {
        let mut builder = ColumnBuilder::new(kind, rows);
        for _ in 0..rows {
            let state = if plain { CellState::GOOD } else { self.state() };
            let value = self.value(kind);
            builder.push(state, value.as_ref());
        }
        builder.finish()
    }
}

fn name(random: &mut Random, what: &str, count: u64) -> String {
    format!("{what}{}", random.below(count))
}

fn new_column(random: &mut Random, key: bool) -> NewColumn {
    let kind = if key { ColumnType::Text } else { TYPES[random.below(9) as usize] };
    let what = if key { "k" } else { "f" };
    NewColumn { name: name(random, what, 8), kind, key, not_null: false }
}

/// Columns to partition a table by; now and then some that cannot.
fn split(random: &mut Random, keys: &[ColumnId]) -> Vec<ColumnId> {
    match random.below(16) {
        0 => vec![random.below(8) as ColumnId],
        1..6 => Vec::new(),
        _ => keys.iter().copied().filter(|_| random.below(3) > 0).collect(),
    }
}

fn new_table(random: &mut Random) -> NewTable {
    let keys = random.below(3);
    let fields = 1 + random.below(4);
    let mut columns: Vec<NewColumn> = Vec::new();
    for at in 0..keys + fields {
        let column = new_column(random, at < keys);
        if columns.iter().all(|other| other.name != column.name) {
            columns.push(column);
        }
    }
    let merge = MergeMode::from_number(random.below(3) as u8).unwrap();
    let partition_ns = [10_000, 600, 86_400][random.below(3) as usize] * SECOND;
    let keys = columns.iter().filter(|column| column.key).count() as u16;
    let partition_columns = split(random, &(1..=keys).collect::<Vec<_>>());
    NewTable {
        name: name(random, "t", 6),
        time_name: "time".into(),
        columns,
        options: TableOptions { merge, partition_ns, partition_columns, ..TableOptions::default() },
        if_not_exists: random.below(2) == 0,
    }
}

/// A batch for a table, with keys. Up to `rows_max` rows.
pub fn batch(random: &mut Random, id: TableId, table: &ModelTable, rows_max: u64) -> WriteBatch {
    let rows = 1 + random.below(rows_max) as usize;
    let keys: Vec<ColumnId> = table.columns.iter().filter(|c| c.3).map(|c| c.0).collect();
    let mut series: Vec<SeriesRef> = Vec::new();
    for _ in 0..1 + random.below(6) {
        let mut pairs: Vec<(ColumnId, Vec<u8>)> = Vec::new();
        for key in &keys {
            if random.below(5) > 0 {
                pairs.push((*key, vec![b'a' + random.below(4) as u8]));
            }
        }
        // Twice the same key is fine too.
        series.push(SeriesRef::Key(Key::new(pairs.iter().map(|(id, v)| (*id, &v[..])))));
    }
    let key_of_row = (0..rows).map(|_| random.below(series.len() as u64) as u32).collect();
    let mut times: Vec<i64> = (0..rows).map(|_| random.time()).collect();
    if random.below(3) == 0 {
        times.sort_unstable();
    }
    let mut columns = Vec::new();
    for id in table.fields() {
        if random.below(4) == 0 {
            continue;
        }
        let kind = match (table.kind(id).unwrap(), random.below(3)) {
            (PhysicalType::Float, 0) => PhysicalType::Int,
            (kind, _) => kind,
        };
        let plain = random.below(3) == 0;
        columns.push((id, random.column(kind, rows, plain)));
    }
    WriteBatch { table: id, series, key_of_row, times, columns }
}

/// A delete of the model: mostly of rows that are there.
fn selections(random: &mut Random, table: &ModelTable) -> Vec<Selection> {
    let mut list = Vec::new();
    for _ in 0..[1, 1, 1, 2, 0][random.below(5) as usize] {
        let rows: Vec<&(Vec<u8>, i64)> = table.rows.keys().collect();
        let near = |random: &mut Random| match random.pick_of(rows.iter()) {
            Some((key, time)) if random.below(8) > 0 => (series_mark(key), *time),
            Some((key, _)) => (series_mark(key), random.time()),
            None => (series_mark(b""), random.time()),
        };
        if random.below(3) == 0 {
            let points = (0..random.below(12)).map(|_| near(random));
            let (series, times) = points.unzip();
            list.push(Selection::Points { series, times });
            continue;
        }
        let series = (random.below(4) > 0)
            .then(|| (0..1 + random.below(4)).map(|_| near(random).0).collect());
        let (a, b) = (near(random).1, near(random).1);
        let times = match random.below(8) {
            0 => TimeRange::ALL,
            1 => TimeRange::new(i64::MIN, a),
            2 => TimeRange::new(a, i64::MAX),
            3 => TimeRange::new(a, a),
            _ => TimeRange::new(a.min(b), a.max(b)),
        };
        list.push(Selection::Range { series, times });
    }
    list
}

fn rows_command(random: &mut Random, model: &Model) -> RowCommand {
    let mut place = || ([20u16, 300][random.below(2) as usize], vec![random.below(6) as u8]);
    let (space, key) = place();
    let (expect_space, expect_key) = place();
    let value = vec![7; random.below(40) as usize];
    let change = match random.below(3) {
        0 => RowChange::Delete { space, key },
        _ => RowChange::Put { space, key, value },
    };
    let mut expects = Vec::new();
    if random.below(2) == 0 {
        let held = model.rows.get(&(expect_space, expect_key.clone())).cloned();
        let value = if random.below(4) == 0 { None } else { held };
        expects.push(RowExpect { space: expect_space, key: expect_key, value });
    }
    RowCommand { expects, changes: vec![change] }
}

/// One command that is mostly sensible.
fn command(random: &mut Random, model: &Model, rows_max: u64) -> Command {
    if model.tables.is_empty() || (model.tables.len() < 3 && random.below(12) == 0) {
        return Command::CreateTable(new_table(random));
    }
    let Some((id, table)) = random.pick_of(model.tables.iter()) else { unreachable!() };
    let id = *id;
    let column = random.pick_of(table.columns.iter()).map(|c| c.0);
    match (random.below(100), column) {
        (0..5, _) => {
            let key = random.below(3) == 0;
            let columns = (0..1 + random.below(2)).map(|_| new_column(random, key)).collect();
            Command::AddColumns { table: id, columns }
        }
        (5..10, Some(column)) => {
            let kinds = [ColumnType::Int32, ColumnType::Int64, ColumnType::Float64];
            let kind = kinds[random.below(3) as usize];
            Command::WidenColumn { table: id, column, kind }
        }
        (10..12, Some(column)) => Command::DropColumn { table: id, column },
        (12, _) => Command::RenameTable { table: id, name: name(random, "t", 6) },
        (13, column) => {
            let column = column.filter(|_| random.below(4) > 0);
            let name = name(random, "r", 6);
            Command::RenameColumn { table: id, column, name }
        }
        (14, _) => {
            let merge = match random.below(4) {
                0 => MergeMode::LastRow,
                _ => table.mode,
            };
            let partition_ns = [0, 50 * SECOND, 3000 * SECOND][random.below(3) as usize];
            let keys: Vec<ColumnId> = table.columns.iter().filter(|c| c.3).map(|c| c.0).collect();
            let partition_columns = split(random, &keys);
            let options =
                TableOptions { merge, partition_ns, partition_columns, ..TableOptions::default() };
            Command::SetOptions { table: id, options }
        }
        (15..17, _) => Command::DropTable { table: id },
        (17..25, _) => Command::Rows(rows_command(random, model)),
        (25..29, _) => {
            let near = random.pick_of(table.rows.keys()).map(|(_, time)| *time);
            let cut = match random.below(5) {
                0 => None,
                1 => table.cut.map(|cut| cut - 100 * SECOND),
                2 => Some(random.time()),
                _ => near,
            };
            Command::Retain { table: id, cut }
        }
        (29..39, _) => Command::Delete { table: id, selections: selections(random, table) },
        _ => Command::Write(batch(random, id, table, rows_max)),
    }
}

/// One commit of one or a few commands.
pub fn commit(random: &mut Random, model: &Model, rows_max: u64) -> Vec<Command> {
    let count = [1, 1, 1, 2, 4][random.below(5) as usize];
    (0..count).map(|_| command(random, model, rows_max)).collect()
}

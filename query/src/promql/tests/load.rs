//! Samples into tables, as remote write makes them.

use tsdb::types::{
    CellState, Column, ColumnType, Key, Quality, SeriesRef, TableOptions, TimePrecision, Values,
    WriteBatch,
};
use tsdb::{Command, NewColumn, NewTable};

use crate::promql::elements::is_none;
use crate::promql::{VALUE_FIELD, column_of_label};
use crate::tests::harness::World;

fn column(name: &str, kind: ColumnType, key: bool) -> NewColumn {
    NewColumn { name: name.to_owned(), kind, key, not_null: false }
}

/// Writes samples of one series, times in ns; stale markers as such.
pub fn load(world: &World, metric: &str, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
    let db = world.engine.db();
    let keys: Vec<NewColumn> = labels
        .iter()
        .map(|(name, _)| column(&column_of_label(name), ColumnType::Text, true))
        .collect();
    let mut columns = keys.clone();
    columns.push(column(VALUE_FIELD, ColumnType::Float64, false));
    let options = TableOptions { precision: TimePrecision::Nanos, ..TableOptions::default() };
    let new = NewTable {
        name: metric.to_owned(),
        time_name: "time".to_owned(),
        columns,
        options,
        if_not_exists: true,
    };
    db.commit(vec![Command::CreateTable(new)]).expect("a table").all().expect("a table");
    let id = db.snapshot().table(metric).expect("the table").schema().id;
    if !keys.is_empty() {
        let add = Command::AddColumns { table: id, columns: keys };
        db.commit(vec![add]).expect("columns").all().expect("columns");
    }
    if samples.is_empty() {
        return;
    }
    let schema = db.snapshot().table(metric).expect("the table").schema().clone();
    let pairs = labels.iter().map(|(name, value)| {
        (schema.column(&column_of_label(name)).expect("a key").id, value.as_bytes())
    });
    let states = samples.iter().map(|(_, value)| match is_none(*value) {
        true => CellState::null(Quality::Bad).0,
        false => CellState::GOOD.0,
    });
    let values = samples.iter().map(|(_, value)| if is_none(*value) { 0.0 } else { *value });
    let column = Column { values: Values::Float(values.collect()), states: Some(states.collect()) };
    let batch = WriteBatch {
        table: id,
        series: vec![SeriesRef::Key(Key::new(pairs))],
        key_of_row: vec![0; samples.len()],
        times: samples.iter().map(|(time, _)| *time).collect(),
        columns: vec![(schema.column(VALUE_FIELD).expect("a field").id, column)],
    };
    db.commit(vec![Command::Write(batch)]).expect("rows").all().expect("rows");
}

//! The words of the data model: tables, columns, cells, keys, rows and times.
//!
//! Everything here is plain data without I/O. What these types look like on disk is written in
//! `FORMAT.md`; sections are cited where a number is frozen.

mod batch;
mod cell;
mod column;
mod key;
mod schema;
mod time;

pub use batch::{Rows, SeriesRef, SeriesRows, WriteBatch};
pub use cell::{CellState, Quality};
pub use column::{BytesColumn, Column, ColumnBuilder, Value, ValueRef, Values};
pub use key::{Key, shard_of};
pub use schema::{
    ColumnId, ColumnSpec, ColumnType, MergeMode, OWNED_TABLE_PREFIX, PARTITION_COLUMNS_MAX,
    PhysicalType, SCHEMA_TABLE_PREFIX, TableId, TableOptions, TableSchema, TimePrecision,
};
pub use time::{TimeRange, now_ns, time_text};

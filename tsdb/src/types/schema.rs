//! Tables and their columns.

use std::fmt;

/// Number of a table; never used again after a drop.
pub type TableId = u32;
/// Number of a column in its table; never used again after a drop. Key columns and fields share
/// one numbering.
pub type ColumnId = u16;

/// Type of a column as SQL names it. The numbers are frozen (FORMAT.md, "Column types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColumnType {
    /// `boolean`
    Bool = 1,
    /// `smallint`
    Int16 = 2,
    /// `integer`
    Int32 = 3,
    /// `bigint`
    Int64 = 4,
    /// `real`
    Float32 = 5,
    /// `double precision`
    Float64 = 6,
    /// `text`
    Text = 7,
    /// `bytea`
    Bytes = 8,
    /// `timestamptz`, ns since 1970 inside
    Timestamp = 9,
}

/// Names of tables that belong to something else, as the stored rows of a continuous aggregate do:
/// users make none of such a name, nor write to one. A number follows.
pub const OWNED_TABLE_PREFIX: &str = "_materialized_";

/// What names of tables begin with that lie in a schema of SQL; its number, `_` and the name in it
/// follow. Whoever makes tables by themselves, as line protocol does, makes none of such a name.
pub const SCHEMA_TABLE_PREFIX: &str = "_schema_";

/// How the values of a column lie in memory and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PhysicalType {
    /// 64-bit signed integers: all integer types and timestamps.
    Int = 1,
    /// 64-bit floats: both float types.
    Float = 2,
    /// One byte a value, 0 or 1.
    Bool = 3,
    /// Byte strings: text and bytea.
    Bytes = 4,
}

impl ColumnType {
    /// All types in the order of their numbers.
    pub const ALL: [ColumnType; 9] = [
        ColumnType::Bool,
        ColumnType::Int16,
        ColumnType::Int32,
        ColumnType::Int64,
        ColumnType::Float32,
        ColumnType::Float64,
        ColumnType::Text,
        ColumnType::Bytes,
        ColumnType::Timestamp,
    ];

    /// The type with this frozen number.
    pub fn from_number(number: u8) -> Option<ColumnType> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// How values of this type are held.
    pub const fn physical(self) -> PhysicalType {
        match self {
            ColumnType::Bool => PhysicalType::Bool,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 | ColumnType::Timestamp => {
                PhysicalType::Int
            }
            ColumnType::Float32 | ColumnType::Float64 => PhysicalType::Float,
            ColumnType::Text | ColumnType::Bytes => PhysicalType::Bytes,
        }
    }

    /// Name in SQL.
    pub const fn sql_name(self) -> &'static str {
        match self {
            ColumnType::Bool => "boolean",
            ColumnType::Int16 => "smallint",
            ColumnType::Int32 => "integer",
            ColumnType::Int64 => "bigint",
            ColumnType::Float32 => "real",
            ColumnType::Float64 => "double precision",
            ColumnType::Text => "text",
            ColumnType::Bytes => "bytea",
            ColumnType::Timestamp => "timestamptz",
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql_name())
    }
}

impl PhysicalType {
    /// The type with this frozen number.
    pub fn from_number(number: u8) -> Option<PhysicalType> {
        match number {
            1 => Some(PhysicalType::Int),
            2 => Some(PhysicalType::Float),
            3 => Some(PhysicalType::Bool),
            4 => Some(PhysicalType::Bytes),
            _ => None,
        }
    }
}

/// What happens when one (series, time) is written twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum MergeMode {
    /// Present cells of the later write win; absent ones leave the earlier cell.
    #[default]
    LastNonNull = 0,
    /// The later row replaces the earlier one whole.
    LastRow = 1,
    /// Both rows stay, in the order written.
    Append = 2,
}

impl MergeMode {
    /// Name as in `WITH (merge = '…')`.
    pub const fn name(self) -> &'static str {
        match self {
            MergeMode::LastNonNull => "last_non_null",
            MergeMode::LastRow => "last_row",
            MergeMode::Append => "append",
        }
    }

    /// Reads what [`MergeMode::name`] gives.
    pub fn from_name(name: &str) -> Option<MergeMode> {
        [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    /// The mode with this frozen number.
    pub fn from_number(number: u8) -> Option<MergeMode> {
        [MergeMode::LastNonNull, MergeMode::LastRow, MergeMode::Append]
            .get(number as usize)
            .copied()
    }
}

/// Precision of the time column as SQL shows and takes it. Inside it is always ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum TimePrecision {
    /// Tables made by CREATE TABLE: times are cut to µs on the way in.
    #[default]
    Micros = 0,
    /// Tables made by line protocol and drivers.
    Nanos = 1,
}

/// One column of a table other than its time column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnSpec {
    /// Number in the table.
    pub id: ColumnId,
    /// Name, unique in the table.
    pub name: String,
    /// Type.
    pub kind: ColumnType,
    /// Whether the column belongs to the key (a tag) rather than being a field.
    pub key: bool,
    /// Whether a field refuses nulls (`NOT NULL`); checked by writers that speak SQL.
    pub not_null: bool,
}

/// Key columns that may partition a table besides time, at most.
pub const PARTITION_COLUMNS_MAX: usize = 4;

/// Settings of a table, as in `CREATE TABLE … WITH (…)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// What two writes of one (series, time) become.
    pub merge: MergeMode,
    /// Length of a partition, ns. Default one day.
    pub partition_ns: i64,
    /// Precision of the time column.
    pub precision: TimePrecision,
    /// Age after which rows may go, ns; `None` keeps them for ever.
    pub retention_ns: Option<i64>,
    /// Age after which partitions move to the archive, ns.
    pub archive_after_ns: Option<i64>,
    /// URL of the object store that they move to; `None` for that of the server.
    pub archive: Option<String>,
    /// Key columns whose values partition the table besides time, at most
    /// [`PARTITION_COLUMNS_MAX`], each once.
    pub partition_columns: Vec<ColumnId>,
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions {
            merge: MergeMode::default(),
            partition_ns: 86_400_000_000_000,
            precision: TimePrecision::default(),
            retention_ns: None,
            archive_after_ns: None,
            archive: None,
            partition_columns: Vec::new(),
        }
    }
}

/// A table: its columns in order of creation, dropped ones left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Number of the table.
    pub id: TableId,
    /// Name, unique in the database; schema-qualified names carry a dot-free plain name only.
    pub name: String,
    /// Name of the time column.
    pub time_name: String,
    /// Columns other than time, in the order SQL shows them.
    pub columns: Vec<ColumnSpec>,
    /// First number that no column ever had.
    pub next_column: ColumnId,
    /// Settings.
    pub options: TableOptions,
    /// Counts changes of this table's columns and options.
    pub version: u32,
}

impl TableSchema {
    /// The column with this name (never the time column).
    pub fn column(&self, name: &str) -> Option<&ColumnSpec> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column with this number.
    pub fn column_by_id(&self, id: ColumnId) -> Option<&ColumnSpec> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// Key columns in order of creation.
    pub fn keys(&self) -> impl Iterator<Item = &ColumnSpec> {
        self.columns.iter().filter(|column| column.key)
    }

    /// Field columns in order of creation.
    pub fn fields(&self) -> impl Iterator<Item = &ColumnSpec> {
        self.columns.iter().filter(|column| !column.key)
    }
}

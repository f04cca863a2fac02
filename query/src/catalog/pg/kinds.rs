//! Types as pg_type lists them.

use arrow::datatypes::{DataType, Field};
use tsdb::types::ColumnType;

/// One type: (oid, name, length, category, array's oid, SQL name).
pub(in crate::catalog) struct Kind {
    pub(in crate::catalog) oid: i64,
    pub(in crate::catalog) name: &'static str,
    pub(in crate::catalog) len: i64,
    pub(in crate::catalog) category: &'static str,
    pub(in crate::catalog) array: i64,
    pub(in crate::catalog) sql: &'static str,
}

const fn kind(
    oid: i64,
    name: &'static str,
    len: i64,
    category: &'static str,
    array: i64,
    sql: &'static str,
) -> Kind {
    Kind { oid, name, len, category, array, sql }
}

/// All types that results can have.
pub(in crate::catalog) static KINDS: &[Kind] = &[
    kind(16, "bool", 1, "B", 1000, "boolean"),
    kind(17, "bytea", -1, "U", 1001, "bytea"),
    kind(18, "char", 1, "Z", 1002, "\"char\""),
    kind(19, "name", 64, "S", 1003, "name"),
    kind(20, "int8", 8, "N", 1016, "bigint"),
    kind(21, "int2", 2, "N", 1005, "smallint"),
    kind(23, "int4", 4, "N", 1007, "integer"),
    kind(24, "regproc", 4, "N", 1008, "regproc"),
    kind(25, "text", -1, "S", 1009, "text"),
    kind(26, "oid", 4, "N", 1028, "oid"),
    kind(114, "json", -1, "U", 199, "json"),
    kind(700, "float4", 4, "N", 1021, "real"),
    kind(701, "float8", 8, "N", 1022, "double precision"),
    kind(705, "unknown", -2, "X", 0, "unknown"),
    kind(1042, "bpchar", -1, "S", 1014, "character"),
    kind(1043, "varchar", -1, "S", 1015, "character varying"),
    kind(1082, "date", 4, "D", 1182, "date"),
    kind(1083, "time", 8, "D", 1183, "time without time zone"),
    kind(1114, "timestamp", 8, "D", 1115, "timestamp without time zone"),
    kind(1184, "timestamptz", 8, "D", 1185, "timestamp with time zone"),
    kind(1186, "interval", 16, "T", 1187, "interval"),
    kind(1700, "numeric", -1, "N", 1231, "numeric"),
    kind(2205, "regclass", 4, "N", 2210, "regclass"),
    kind(2206, "regtype", 4, "N", 2211, "regtype"),
    kind(2278, "void", 4, "P", 0, "void"),
    kind(2950, "uuid", 16, "U", 2951, "uuid"),
];

/// Number of a column's type.
pub(in crate::catalog) fn oid_of(kind: ColumnType) -> i64 {
    match kind {
        ColumnType::Bool => 16,
        ColumnType::Int16 => 21,
        ColumnType::Int32 => 23,
        ColumnType::Int64 => 20,
        ColumnType::Float32 => 700,
        ColumnType::Float64 => 701,
        ColumnType::Text => 25,
        ColumnType::Bytes => 17,
        ColumnType::Timestamp => 1184,
    }
}

/// Number of the type that a result column is shown as: what the doors make of its Arrow type.
pub(crate) fn oid_of_field(field: &Field) -> i64 {
    let natural = oid_of_arrow(field.data_type());
    let named = field.metadata().get(crate::PG_TYPE);
    match named.and_then(|name| KINDS.iter().find(|kind| kind.name == *name)) {
        Some(kind) if natural == 25 && kind.category == "S" => kind.oid,
        Some(kind) if kind.oid == 26 && [20, 21, 23].contains(&natural) => kind.oid,
        _ => natural,
    }
}

fn oid_of_arrow(kind: &DataType) -> i64 {
    match kind {
        DataType::Boolean => 16,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => 21,
        DataType::Int32 | DataType::UInt16 => 23,
        DataType::Int64 | DataType::UInt32 => 20,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => 1700,
        DataType::Float16 | DataType::Float32 => 700,
        DataType::Float64 => 701,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => 17,
        DataType::Timestamp(_, Some(_)) => 1184,
        DataType::Timestamp(_, None) | DataType::Date64 => 1114,
        DataType::Date32 => 1082,
        DataType::Time32(_) | DataType::Time64(_) => 1083,
        DataType::Interval(_) | DataType::Duration(_) => 1186,
        DataType::Dictionary(_, values) => oid_of_arrow(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            by_oid(oid_of_field(item)).map(|kind| kind.array).filter(|oid| *oid != 0).unwrap_or(25)
        }
        _ => 25,
    }
}

/// The type of that number.
pub(in crate::catalog) fn by_oid(oid: i64) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.oid == oid)
}

/// SQL name of a type, as `format_type` gives it.
pub(in crate::catalog) fn sql_name(oid: i64) -> String {
    if let Some(kind) = by_oid(oid) {
        return kind.sql.to_string();
    }
    match KINDS.iter().find(|k| k.array == oid && oid != 0) {
        Some(kind) => format!("{}[]", kind.sql),
        None if oid == 0 => "-".to_string(),
        None => "???".to_string(),
    }
}

/// Number of a system table's column type.
pub(in crate::catalog) fn oid_of_system(kind: super::super::T) -> i64 {
    use super::super::T;
    match kind {
        T::Bool => 16,
        T::Int2 => 21,
        T::Int4 => 23,
        T::Int8 => 20,
        T::Float4 => 700,
        T::Float8 => 701,
        T::Text => 25,
        T::Time => 1184,
        T::Oid => 26,
        T::TextArray => 1009,
        T::IntArray => 1007,
    }
}

/// One function of our own, for pg_proc and \df: (oid, name, arguments, result, kind).
pub(in crate::catalog) struct Function {
    pub(in crate::catalog) oid: i64,
    pub(in crate::catalog) name: &'static str,
    pub(in crate::catalog) arguments: &'static str,
    pub(in crate::catalog) count: i64,
    pub(in crate::catalog) result: &'static str,
    pub(in crate::catalog) result_oid: i64,
    pub(in crate::catalog) kind: &'static str,
}

const fn function(
    oid: i64,
    name: &'static str,
    arguments: &'static str,
    count: i64,
    (result, result_oid): (&'static str, i64),
    kind: &'static str,
) -> Function {
    Function { oid, name, arguments, count, result, result_oid, kind }
}

const ANY: (&str, i64) = ("anyelement", 2283);
const BOOLEAN: (&str, i64) = ("boolean", 16);
const COUNTS: (&str, i64) = ("bigint[]", 1016);
const DOUBLE: (&str, i64) = ("double precision", 701);
const ID: (&str, i64) = ("bigint", 20);
const TIME: (&str, i64) = ("timestamp with time zone", 1184);
const VALUE_TIME: &str = "value double precision, \"time\" timestamp with time zone";
const CHART: &str = "\"time\" timestamp with time zone, value double precision, points bigint";

/// Numbers stay with their functions; new ones go to the end.
pub(in crate::catalog) static FUNCTIONS: &[Function] = &[
    function(15_000, "first", "value anyelement, \"time\" timestamp with time zone", 2, ANY, "a"),
    function(15_001, "last", "value anyelement, \"time\" timestamp with time zone", 2, ANY, "a"),
    function(
        15_002,
        "time_bucket",
        "width interval, \"time\" timestamp with time zone, timezone text DEFAULT NULL, \
         origin timestamp with time zone DEFAULT '2000-01-03 00:00:00+00', \
         \"offset\" interval DEFAULT NULL",
        5,
        TIME,
        "f",
    ),
    function(
        15_003,
        "time_bucket_gapfill",
        "width interval, \"time\" timestamp with time zone, \
         start timestamp with time zone DEFAULT NULL, \
         finish timestamp with time zone DEFAULT NULL, timezone text DEFAULT NULL, \
         origin timestamp with time zone DEFAULT NULL, \"offset\" interval DEFAULT NULL",
        7,
        TIME,
        "f",
    ),
    function(
        15_004,
        "locf",
        "value anyelement, prev anyelement DEFAULT NULL, \
         treat_null_as_missing boolean DEFAULT false",
        3,
        ANY,
        "f",
    ),
    function(
        15_005,
        "interpolate",
        "value double precision, prev record DEFAULT NULL, next record DEFAULT NULL",
        3,
        DOUBLE,
        "f",
    ),
    function(15_006, "fill_value", "value anyelement, constant anyelement", 2, ANY, "f"),
    function(15_007, "delta", VALUE_TIME, 2, DOUBLE, "a"),
    function(15_008, "increase", VALUE_TIME, 2, DOUBLE, "a"),
    function(15_009, "rate", VALUE_TIME, 2, DOUBLE, "a"),
    function(15_010, "irate", VALUE_TIME, 2, DOUBLE, "a"),
    function(15_011, "derivative", VALUE_TIME, 2, DOUBLE, "a"),
    function(15_012, "slope", VALUE_TIME, 2, DOUBLE, "a"),
    function(
        15_013,
        "time_weight",
        "method text, \"time\" timestamp with time zone, value double precision",
        3,
        DOUBLE,
        "a",
    ),
    function(
        15_014,
        "time_weighted_average",
        "\"time\" timestamp with time zone, value double precision",
        2,
        DOUBLE,
        "a",
    ),
    function(
        15_015,
        "integral",
        "value double precision, \"time\" timestamp with time zone, \
         method text DEFAULT 'linear'",
        3,
        DOUBLE,
        "a",
    ),
    function(
        15_016,
        "approx_percentile",
        "value double precision, share double precision",
        2,
        DOUBLE,
        "a",
    ),
    function(
        15_017,
        "histogram",
        "value double precision, min double precision, max double precision, buckets bigint",
        4,
        COUNTS,
        "a",
    ),
    function(15_018, "mode", "value anyelement", 1, ANY, "a"),
    function(
        15_019,
        "session_window",
        "\"time\" timestamp with time zone, gap interval",
        2,
        ID,
        "w",
    ),
    function(15_020, "state_window", "value anyelement", 1, ID, "w"),
    function(
        15_021,
        "event_window",
        "starts boolean, ends boolean DEFAULT NULL, \
         \"time\" timestamp with time zone DEFAULT NULL, duration interval DEFAULT NULL",
        4,
        ID,
        "w",
    ),
    function(15_022, "count_window", "rows bigint", 1, ID, "w"),
    function(15_023, "count_window", "rows bigint, slide bigint", 2, COUNTS, "w"),
    function(15_024, "ema", "value double precision, alpha double precision", 2, DOUBLE, "w"),
    function(15_025, "lttb", CHART, 3, BOOLEAN, "w"),
    function(15_026, "m4", CHART, 3, BOOLEAN, "w"),
];

//! Types as pg_type lists them, and functions as pg_proc does.

use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field};
use tsdb::types::ColumnType;

use super::builtins::{self, BUILTINS};
use crate::catalog::T;

/// One type, as pg_type of Postgres has it.
pub(in crate::catalog) struct Kind {
    pub(in crate::catalog) oid: i64,
    pub(in crate::catalog) name: &'static str,
    pub(in crate::catalog) len: i64,
    pub(in crate::catalog) by_value: bool,
    pub(in crate::catalog) kind: &'static str,
    pub(in crate::catalog) category: &'static str,
    pub(in crate::catalog) preferred: bool,
    /// Number of the elements' type.
    pub(in crate::catalog) element: i64,
    /// Number of the type of arrays of it.
    pub(in crate::catalog) array: i64,
    /// Numbers of its functions, from typinput to typsubscript.
    pub(in crate::catalog) functions: [i64; 8],
    pub(in crate::catalog) align: &'static str,
    pub(in crate::catalog) storage: &'static str,
    pub(in crate::catalog) collation: i64,
    /// What SQL calls it.
    pub(in crate::catalog) sql: &'static str,
}

/// All types that results and columns of the catalogue can have, arrays among them.
pub(in crate::catalog) static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let lines = include_str!("pg15/types.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(kind).collect()
});

fn kind(line: &'static str) -> Option<Kind> {
    let mut words = line.splitn(21, ' ');
    let mut word = || words.next();
    let number = |word: Option<&str>| word?.parse::<i64>().ok();
    Some(Kind {
        oid: number(word())?,
        name: word()?,
        len: number(word())?,
        by_value: word()? == "1",
        kind: word()?,
        category: word()?,
        preferred: word()? == "1",
        element: number(word())?,
        array: number(word())?,
        functions: {
            let mut functions = [0; 8];
            for function in &mut functions {
                *function = number(word())?;
            }
            functions
        },
        align: word()?,
        storage: word()?,
        collation: number(word())?,
        sql: word()?,
    })
}

impl Kind {
    /// Whether it is an array of another type, as brackets make one.
    pub(in crate::catalog) fn is_array(&self) -> bool {
        self.category == "A" && self.name.starts_with('_')
    }
}

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
    match named.and_then(|name| by_name(name)) {
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
        DataType::FixedSizeBinary(16) => 2950,
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

/// The type of that name, as pg_type has it.
pub(in crate::catalog) fn by_name(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.name == name)
}

/// The type that a text names: `int4`, `integer`, `pg_catalog.int4`, `int4[]`, `varchar(5)`.
pub(in crate::catalog) fn named(text: &str) -> Option<&'static Kind> {
    let lower = text.trim().to_lowercase();
    let bare = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if let Some(item) = bare.strip_suffix("[]") {
        return named(item).and_then(|item| by_oid(item.array));
    }
    let bare = match (bare.find('('), bare.find(')')) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", bare[..from].trim_end(), &bare[to + 1..])
        }
        _ => bare.to_string(),
    };
    let bare = match bare.trim_matches('"') {
        "int" => "int4",
        "float" => "float8",
        "decimal" | "dec" => "numeric",
        // In quotes it is the one-byte type.
        "char" if !text.contains('"') => "bpchar",
        other => other,
    };
    KINDS.iter().find(|kind| kind.name == bare || kind.sql == bare)
}

/// SQL name of a type, as `format_type` gives it.
pub(crate) fn sql_name(oid: i64) -> String {
    match by_oid(oid) {
        Some(kind) => kind.sql.to_string(),
        None if oid == 0 => "-".to_string(),
        None => "???".to_string(),
    }
}

/// The same with its `atttypmod`, where the type has one.
pub(in crate::catalog) fn sql_name_with(oid: i64, modifier: i64) -> String {
    let name = sql_name(oid);
    match oid {
        1042 | 1043 if modifier > 4 => format!("{name}({})", modifier - 4),
        1700 if modifier > 4 => {
            let modifier = modifier - 4;
            format!("{name}({},{})", modifier >> 16, modifier & 0xffff)
        }
        _ => name,
    }
}

/// Number of a system table's column type.
pub(in crate::catalog) fn oid_of_system(kind: T) -> i64 {
    let by_name = |name: &str| by_name(name).map_or(25, |kind| kind.oid);
    match kind {
        T::Bool => 16,
        T::Int2 => 21,
        T::Int4 => 23,
        T::Int8 => 20,
        T::Float4 => 700,
        T::Float8 => 701,
        T::Numeric => 1700,
        T::Text => 25,
        T::Time => 1184,
        T::Interval => 1186,
        T::Bytes => 17,
        T::Oid => 26,
        T::TextArray => 1009,
        T::IntArray => 1007,
        T::Like(name) | T::Number(name) | T::Vector(name) => by_name(name),
        T::Array(name) => KINDS.iter().find(|kind| kind.name == name).map_or(1009, |k| k.array),
    }
}

/// A function of Postgres: number, name, result's type, arguments' types.
type Known = (i64, &'static str, i64, Vec<i64>);

/// Functions of Postgres that read and write values.
pub(in crate::catalog) static IO: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let lines = include_str!("pg15/io.txt").lines();
    let parsed = |line: &'static str| {
        let mut words = line.split(' ');
        let oid = words.next()?.parse().ok()?;
        let (name, result) = (words.next()?, words.next()?.parse().ok()?);
        let arguments = words.next()?.split(',').filter_map(|word| word.parse().ok());
        Some((oid, name, result, arguments.collect()))
    };
    lines.filter(|line| !line.starts_with('#')).filter_map(parsed).collect()
});

/// Name of a function.
pub(in crate::catalog) fn function_name(oid: i64) -> Option<&'static str> {
    let own = FUNCTIONS.iter().find(|f| f.oid == oid).map(|f| f.name);
    let builtin = || builtins::by_oid(oid).map(|f| f.name);
    own.or_else(builtin).or_else(|| IO.iter().find(|f| f.0 == oid).map(|f| f.1))
}

/// Numbers of the functions of a name.
pub(in crate::catalog) fn function_oids(name: &str) -> Vec<i64> {
    let own = FUNCTIONS.iter().filter(|f| f.name == name).map(|f| f.oid);
    let builtins = BUILTINS.iter().filter(|f| f.name == name).map(|f| f.oid);
    own.chain(builtins).chain(IO.iter().filter(|f| f.1 == name).map(|f| f.0)).collect()
}

/// Types of a function's arguments.
pub(in crate::catalog) fn argument_types(oid: i64) -> Option<Vec<i64>> {
    let own = FUNCTIONS.iter().find(|f| f.oid == oid).map(super::argument_types);
    let builtin = || builtins::by_oid(oid).map(|f| f.arguments.clone());
    own.or_else(builtin).or_else(|| IO.iter().find(|f| f.0 == oid).map(|f| f.3.clone()))
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

//! The one table between Arrow's types and Postgres' type numbers.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

/// Type numbers as in `pg_type.oid` of every Postgres.
pub mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT2VECTOR: u32 = 22;
    pub const INT4: u32 = 23;
    pub const REGPROC: u32 = 24;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const XID: u32 = 28;
    pub const CID: u32 = 29;
    pub const OIDVECTOR: u32 = 30;
    pub const JSON: u32 = 114;
    pub const PG_NODE_TREE: u32 = 194;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const INET: u32 = 869;
    pub const BOOL_ARRAY: u32 = 1000;
    pub const BYTEA_ARRAY: u32 = 1001;
    pub const CHAR_ARRAY: u32 = 1002;
    pub const NAME_ARRAY: u32 = 1003;
    pub const INT2_ARRAY: u32 = 1005;
    pub const INT4_ARRAY: u32 = 1007;
    pub const TEXT_ARRAY: u32 = 1009;
    pub const VARCHAR_ARRAY: u32 = 1015;
    pub const INT8_ARRAY: u32 = 1016;
    pub const FLOAT4_ARRAY: u32 = 1021;
    pub const FLOAT8_ARRAY: u32 = 1022;
    pub const OID_ARRAY: u32 = 1028;
    pub const ACLITEM: u32 = 1033;
    pub const ACLITEM_ARRAY: u32 = 1034;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMP_ARRAY: u32 = 1115;
    pub const DATE_ARRAY: u32 = 1182;
    pub const TIME_ARRAY: u32 = 1183;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const TIMESTAMPTZ_ARRAY: u32 = 1185;
    pub const INTERVAL: u32 = 1186;
    pub const INTERVAL_ARRAY: u32 = 1187;
    pub const NUMERIC_ARRAY: u32 = 1231;
    pub const NUMERIC: u32 = 1700;
    pub const REGPROCEDURE: u32 = 2202;
    pub const REGCLASS: u32 = 2205;
    pub const REGTYPE: u32 = 2206;
    pub const REGTYPE_ARRAY: u32 = 2211;
    pub const ANYARRAY: u32 = 2277;
    pub const VOID: u32 = 2278;
    pub const UUID: u32 = 2950;
    pub const UUID_ARRAY: u32 = 2951;
    pub const PG_LSN: u32 = 3220;
    pub const REGNAMESPACE: u32 = 4089;
    pub const REGROLE: u32 = 4096;
}

/// One line of the table: number, name as error messages say it, bytes of a value in RowDescription
/// (-1: variable), number of its array type (0: none).
struct PgType(u32, &'static str, i16, u32);

const TYPES: &[PgType] = &[
    PgType(oid::BOOL, "boolean", 1, oid::BOOL_ARRAY),
    PgType(oid::BYTEA, "bytea", -1, oid::BYTEA_ARRAY),
    PgType(oid::CHAR, "\"char\"", 1, oid::CHAR_ARRAY),
    PgType(oid::NAME, "name", 64, oid::NAME_ARRAY),
    PgType(oid::INT8, "bigint", 8, oid::INT8_ARRAY),
    PgType(oid::INT2, "smallint", 2, oid::INT2_ARRAY),
    PgType(oid::INT2VECTOR, "int2vector", -1, 0),
    PgType(oid::INT4, "integer", 4, oid::INT4_ARRAY),
    PgType(oid::REGPROC, "regproc", 4, 0),
    PgType(oid::TEXT, "text", -1, oid::TEXT_ARRAY),
    PgType(oid::OID, "oid", 4, oid::OID_ARRAY),
    PgType(oid::XID, "xid", 4, 0),
    PgType(oid::CID, "cid", 4, 0),
    PgType(oid::OIDVECTOR, "oidvector", -1, 0),
    PgType(oid::JSON, "json", -1, 0),
    PgType(oid::PG_NODE_TREE, "pg_node_tree", -1, 0),
    PgType(oid::FLOAT4, "real", 4, oid::FLOAT4_ARRAY),
    PgType(oid::FLOAT8, "double precision", 8, oid::FLOAT8_ARRAY),
    PgType(oid::UNKNOWN, "unknown", -2, 0),
    PgType(oid::INET, "inet", -1, 0),
    PgType(oid::ACLITEM, "aclitem", 12, oid::ACLITEM_ARRAY),
    PgType(oid::BPCHAR, "character", -1, 0),
    PgType(oid::VARCHAR, "character varying", -1, oid::VARCHAR_ARRAY),
    PgType(oid::DATE, "date", 4, oid::DATE_ARRAY),
    PgType(oid::TIME, "time without time zone", 8, oid::TIME_ARRAY),
    PgType(oid::TIMESTAMP, "timestamp without time zone", 8, oid::TIMESTAMP_ARRAY),
    PgType(oid::TIMESTAMPTZ, "timestamp with time zone", 8, oid::TIMESTAMPTZ_ARRAY),
    PgType(oid::INTERVAL, "interval", 16, oid::INTERVAL_ARRAY),
    PgType(oid::NUMERIC, "numeric", -1, oid::NUMERIC_ARRAY),
    PgType(oid::REGPROCEDURE, "regprocedure", 4, 0),
    PgType(oid::REGCLASS, "regclass", 4, 0),
    PgType(oid::REGTYPE, "regtype", 4, oid::REGTYPE_ARRAY),
    PgType(oid::ANYARRAY, "anyarray", -1, 0),
    PgType(oid::VOID, "void", 4, 0),
    PgType(oid::UUID, "uuid", 16, oid::UUID_ARRAY),
    PgType(oid::PG_LSN, "pg_lsn", 8, 0),
    PgType(oid::REGNAMESPACE, "regnamespace", 4, 0),
    PgType(oid::REGROLE, "regrole", 4, 0),
];

fn row(oid: u32) -> Option<&'static PgType> {
    TYPES.iter().find(|line| line.0 == oid)
}

/// Name of a type for people; arrays end in `[]`.
pub fn name_of(oid: u32) -> String {
    match (row(oid), element_of(oid)) {
        (Some(line), _) => line.1.to_owned(),
        (None, Some(element)) => format!("{}[]", name_of(element)),
        (None, None) => format!("type {oid}"),
    }
}

/// `typlen` of RowDescription.
pub fn size_of(oid: u32) -> i16 {
    row(oid).map_or(-1, |line| line.2)
}

/// The element type of an array type.
pub fn element_of(array: u32) -> Option<u32> {
    match array {
        oid::INT2VECTOR => return Some(oid::INT2),
        oid::OIDVECTOR => return Some(oid::OID),
        _ => {}
    }
    TYPES.iter().find(|line| line.3 == array && array != 0).map(|line| line.0)
}

fn array_of(element: u32) -> Option<u32> {
    row(element).map(|line| line.3).filter(|array| *array != 0)
}

/// Number of the type a column is shown as.
///
/// A name in the field's metadata wins where the values can be written as that type in both
/// formats; other names are not believed.
pub fn oid_of_field(field: &Field) -> u32 {
    let natural = oid_of(field.data_type());
    let Some(name) = field.metadata().get(query::PG_TYPE) else {
        return natural;
    };
    let whole = matches!(natural, oid::INT2 | oid::INT4 | oid::INT8);
    match name.as_str() {
        "oid" if whole => oid::OID,
        "xid" if whole => oid::XID,
        "cid" if whole => oid::CID,
        "int2vector" if natural == oid::INT2_ARRAY => oid::INT2VECTOR,
        "oidvector" if natural == oid::OID_ARRAY => oid::OIDVECTOR,
        "name[]" | "_name" if natural == oid::TEXT_ARRAY => oid::NAME_ARRAY,
        "oid[]" | "_oid" if matches!(natural, oid::INT4_ARRAY | oid::INT8_ARRAY) => oid::OID_ARRAY,
        name if natural == oid::TEXT => as_text(name).unwrap_or(natural),
        name if whole => as_text(name).filter(|oid| is_register(*oid)).unwrap_or(natural),
        _ => natural,
    }
}

/// Types whose values are texts here.
fn as_text(name: &str) -> Option<u32> {
    Some(match name {
        "name" => oid::NAME,
        "char" | "\"char\"" => oid::CHAR,
        "varchar" | "character varying" => oid::VARCHAR,
        "bpchar" => oid::BPCHAR,
        "json" => oid::JSON,
        "pg_node_tree" => oid::PG_NODE_TREE,
        "aclitem" => oid::ACLITEM,
        "inet" => oid::INET,
        "pg_lsn" => oid::PG_LSN,
        "anyarray" => oid::ANYARRAY,
        "void" => oid::VOID,
        "regproc" => oid::REGPROC,
        "regprocedure" => oid::REGPROCEDURE,
        "regclass" => oid::REGCLASS,
        "regtype" => oid::REGTYPE,
        "regnamespace" => oid::REGNAMESPACE,
        "regrole" => oid::REGROLE,
        _ => return None,
    })
}

/// Whether values of a type are names of objects as texts, and their numbers in binary.
pub fn is_register(oid: u32) -> bool {
    matches!(
        oid,
        oid::REGPROC
            | oid::REGPROCEDURE
            | oid::REGCLASS
            | oid::REGTYPE
            | oid::REGNAMESPACE
            | oid::REGROLE
    )
}

/// Whether values of a type are known as texts only, and have another form in binary.
pub fn is_text_only(oid: u32) -> bool {
    matches!(
        oid,
        oid::REGTYPE_ARRAY
            | oid::ACLITEM
            | oid::ACLITEM_ARRAY
            | oid::INET
            | oid::PG_LSN
            | oid::ANYARRAY
    )
}

/// Number of the type values of an Arrow type are shown as. What Postgres has no type for is text.
pub fn oid_of(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => oid::BOOL,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => oid::INT2,
        DataType::Int32 | DataType::UInt16 => oid::INT4,
        DataType::Int64 | DataType::UInt32 => oid::INT8,
        DataType::UInt64 => oid::NUMERIC,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => oid::NUMERIC,
        DataType::Float16 | DataType::Float32 => oid::FLOAT4,
        DataType::Float64 => oid::FLOAT8,
        uuid if *uuid == query::UUID_TYPE => oid::UUID,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => oid::BYTEA,
        DataType::Timestamp(_, Some(_)) => oid::TIMESTAMPTZ,
        DataType::Timestamp(_, None) | DataType::Date64 => oid::TIMESTAMP,
        DataType::Date32 => oid::DATE,
        DataType::Time32(_) | DataType::Time64(_) => oid::TIME,
        DataType::Interval(_) | DataType::Duration(_) => oid::INTERVAL,
        DataType::Dictionary(_, values) => oid_of(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            array_of(oid_of_field(item)).unwrap_or(oid::TEXT)
        }
        _ => oid::TEXT,
    }
}

/// The Arrow type in which a parameter of a Postgres type is handed to the query engine, or None
/// for `unknown` (0, 705), which leaves the choice to the engine, and for types it cannot take.
pub fn arrow_of(oid: u32) -> Option<DataType> {
    if let Some(element) = element_of(oid) {
        return arrow_of(element).map(|item| DataType::new_list(item, true));
    }
    Some(match oid {
        oid::BOOL => DataType::Boolean,
        oid::BYTEA => DataType::Binary,
        oid::INT2 => DataType::Int16,
        oid::INT4 => DataType::Int32,
        oid::INT8 | oid::OID => DataType::Int64,
        oid::FLOAT4 => DataType::Float32,
        oid::FLOAT8 => DataType::Float64,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR => DataType::Utf8,
        oid::JSON => DataType::Utf8,
        oid::UUID => query::UUID_TYPE,
        oid::DATE => DataType::Date32,
        oid::TIME => DataType::Time64(TimeUnit::Microsecond),
        oid::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        oid::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        oid::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        oid::NUMERIC => DataType::Decimal128(38, 10),
        _ => return None,
    })
}

//! The types that columns may have (`GetXdbcTypeInfo`).

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode,
};
use tonic::Status;

pub(super) fn schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}

pub(super) fn answer(asked: &CommandGetXdbcTypeInfo) -> Result<RecordBatch, Status> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    list().into_iter().for_each(|info| types.append(info));
    Ok(types.build()?.record_batch(asked.data_type)?)
}

fn list() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as T;
    let number = |name, kind, bits| XdbcTypeInfo {
        column_size: Some(bits),
        num_prec_radix: Some(2),
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        ..plain(name, kind)
    };
    let quoted = |name, kind| XdbcTypeInfo {
        literal_prefix: Some("'".into()),
        literal_suffix: Some("'".into()),
        ..plain(name, kind)
    };
    vec![
        XdbcTypeInfo { column_size: Some(1), ..plain("boolean", T::XdbcBit) },
        number("smallint", T::XdbcSmallint, 16),
        number("integer", T::XdbcInteger, 32),
        number("bigint", T::XdbcBigint, 64),
        number("real", T::XdbcReal, 24),
        number("double precision", T::XdbcDouble, 53),
        XdbcTypeInfo { case_sensitive: true, ..quoted("text", T::XdbcVarchar) },
        quoted("bytea", T::XdbcVarbinary),
        XdbcTypeInfo {
            column_size: Some(32),
            minimum_scale: Some(0),
            maximum_scale: Some(6),
            sql_data_type: T::XdbcDatetime,
            datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestampWithTimezone),
            ..quoted("timestamp with time zone", T::XdbcTimestamp)
        },
    ]
}

fn plain(name: &str, kind: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        sql_data_type: kind,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.to_owned()),
        ..XdbcTypeInfo::default()
    }
}

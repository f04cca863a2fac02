//! Parameters of JSON as values of the types a statement asks for.

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use query::{QueryError, QueryResult};
use serde_json::Value;

use super::error;

/// One value for each parameter of the statement.
///
/// # Errors
/// 08P01 for another number of parameters than the statement has, 22P02 for a value that is not
/// of its type, 0A000 for arrays and objects.
pub(super) fn scalars(values: &[Value], types: &[DataType]) -> QueryResult<Vec<ScalarValue>> {
    if values.len() != types.len() {
        let (given, wanted) = (values.len(), types.len());
        return Err(error("08P01", format!("{given} parameters for a statement with {wanted}")));
    }
    let pairs = values.iter().zip(types).enumerate();
    pairs.map(|(n, (value, kind))| scalar(n + 1, value, kind)).collect()
}

fn scalar(number: usize, value: &Value, kind: &DataType) -> QueryResult<ScalarValue> {
    let misfit = || -> QueryError {
        let name = crate::http::encode::type_name(kind);
        error("22P02", format!("parameter ${number} is not a value of type {name}: {value}"))
    };
    let (from, text) = match value {
        Value::Null => return ScalarValue::try_from(kind).map_err(|_| misfit()),
        Value::Bool(b) => (ScalarValue::Boolean(Some(*b)), b.to_string()),
        Value::String(text) => (ScalarValue::Utf8(Some(text.clone())), text.clone()),
        Value::Number(number) => {
            let from = match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), _, _) => ScalarValue::Int64(Some(int)),
                (_, Some(int), _) => ScalarValue::UInt64(Some(int)),
                (_, _, Some(float)) => ScalarValue::Float64(Some(float)),
                (None, None, None) => return Err(misfit()),
            };
            // A fraction is not cut off silently.
            let whole = !matches!(from, ScalarValue::Float64(_));
            if kind.is_integer() && !whole {
                return Err(misfit());
            }
            let fits = kind.is_numeric() || is_text(kind) || *kind == DataType::Null;
            if !fits {
                return Err(misfit());
            }
            (from, number.to_string())
        }
        Value::Array(_) | Value::Object(_) => {
            let text = format!("parameter ${number}: arrays and objects are not supported");
            return Err(error("0A000", text));
        }
    };
    if matches!(value, Value::Bool(_)) && !is_text(kind) && *kind != DataType::Boolean {
        return Err(misfit());
    }
    match kind {
        DataType::Null => Ok(from),
        _ if *kind == query::UUID_TYPE => match query::parse_uuid(&text) {
            Some(uuid) => Ok(ScalarValue::FixedSizeBinary(16, Some(uuid.to_vec()))),
            None => Err(misfit()),
        },
        _ if is_text(kind) => ScalarValue::Utf8(Some(text)).cast_to(kind).map_err(|_| misfit()),
        _ => match from.cast_to(kind) {
            Ok(cast) if !cast.is_null() => Ok(cast),
            _ => Err(misfit()),
        },
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::TimeUnit;
    use serde_json::json;

    fn check(value: Value, kind: DataType, expected: Result<&str, &str>) {
        let got = scalars(std::slice::from_ref(&value), std::slice::from_ref(&kind));
        match (got, expected) {
            (Ok(scalars), Ok(text)) => {
                assert_eq!(scalars[0].to_string(), text, "{value} as {kind}");
                assert_eq!(scalars[0].data_type(), kind);
            }
            (Err(error), Err(code)) => assert_eq!(error.code, code, "{value} as {kind}"),
            (got, expected) => panic!("{value} as {kind}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn values_take_the_type_of_the_statement() {
        use DataType::*;
        check(json!(7), Int64, Ok("7"));
        check(json!(7), Int16, Ok("7"));
        check(json!("7"), Int64, Ok("7"));
        check(json!(7), Float64, Ok("7"));
        check(json!(7.5), Float64, Ok("7.5"));
        check(json!(7), Utf8, Ok("7"));
        check(json!("north"), Utf8View, Ok("north"));
        check(json!(true), Boolean, Ok("true"));
        check(json!("true"), Boolean, Ok("true"));
        check(json!(null), Int64, Ok("NULL"));
        check(json!(7.5), Int64, Err("22P02"));
        check(json!(70_000), Int16, Err("22P02"));
        check(json!("x"), Int64, Err("22P02"));
        check(json!(true), Int64, Err("22P02"));
        check(json!(1), Boolean, Err("22P02"));
        check(json!([1]), Int64, Err("0A000"));
        check(json!({}), Utf8, Err("0A000"));
        let time = Timestamp(TimeUnit::Microsecond, None);
        check(json!("1970-01-01 00:00:01"), time.clone(), Ok("1000000"));
        check(json!("yesterday-ish"), time.clone(), Err("22P02"));
        check(json!(5), time, Err("22P02"));
    }

    #[test]
    fn the_number_of_parameters_must_fit() {
        assert_eq!(scalars(&[json!(1)], &[]).expect_err("too many").code, "08P01");
        assert_eq!(scalars(&[], &[DataType::Int64]).expect_err("too few").code, "08P01");
    }
}

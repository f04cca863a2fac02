//! Parameters: literals as Postgres takes them, and refusals with the right code.

use proptest::prelude::*;

use super::*;

fn text(value: &str, oid: u32) -> Result<ScalarValue, &'static str> {
    let target = types::arrow_of(oid).unwrap();
    let zone = Zone::from_setting("Europe/Berlin").unwrap();
    decode(Some(value.as_bytes()), Format::Text, oid, &target, &zone).map_err(|error| error.code)
}

fn binary(value: &[u8], oid: u32) -> Result<ScalarValue, &'static str> {
    let target = types::arrow_of(oid).unwrap();
    decode(Some(value), Format::Binary, oid, &target, &Zone::Utc).map_err(|error| error.code)
}

fn instant(value: &str) -> Result<i64, &'static str> {
    match text(value, oid::TIMESTAMPTZ)? {
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => Ok(micros),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_and_booleans() {
    assert_eq!(text(" 42 ", oid::INT4), Ok(ScalarValue::Int32(Some(42))));
    assert_eq!(text("40000", oid::INT2), Err("22003"));
    assert_eq!(text("4x", oid::INT8), Err("22P02"));
    assert_eq!(text("-Infinity", oid::FLOAT8), Ok(ScalarValue::Float64(Some(f64::NEG_INFINITY))));
    assert_eq!(text("1e400", oid::FLOAT8), Err("22003"));
    assert_eq!(text("", oid::FLOAT8), Err("22P02"));
    for (word, value) in [("t", true), ("YES", true), ("of", false), ("0", false), ("fal", false)] {
        assert_eq!(text(word, oid::BOOL), Ok(ScalarValue::Boolean(Some(value))), "{word}");
    }
    assert_eq!(text("o", oid::BOOL), Err("22P02"));
    assert_eq!(binary(&[0, 0, 1], oid::INT4), Err("22P03"));
}

#[test]
fn instants() {
    let noon = 1_717_243_200_000_000;
    for form in [
        "2024-06-01 12:00:00Z",
        "2024-06-01T12:00:00+00",
        "2024-06-01 14:00:00+02:00",
        "2024-06-01 14:00",
        "2024-06-01 08:00:00 America/New_York",
        "2024-06-01 12:00:00.0000004 UTC",
    ] {
        assert_eq!(instant(form), Ok(noon), "{form}");
    }
    assert_eq!(instant("2024-06-01"), Ok(noon - 14 * 3_600_000_000));
    assert_eq!(instant("infinity"), Ok(i64::MAX));
    // A time that comes twice is the later one; a skipped one counts from before the jump.
    assert_eq!(instant("2024-10-27 02:30:00"), Ok(1_729_992_600_000_000));
    assert_eq!(instant("2024-03-31 02:30:00"), Ok(1_711_848_600_000_000));
    for bad in ["2024-13-01", "2024-02-30", "2024-06-01 12:61"] {
        assert!(matches!(instant(bad), Err("22008" | "22007")), "{bad}");
    }
    for bad in ["", "noon", "2024-06", "24-06-01", "2024-06-01 12:00:00 Nowhere/Land"] {
        assert!(matches!(instant(bad), Err("22007" | "22023")), "{bad}");
    }
}

#[test]
fn numerics_bytes_and_arrays() {
    assert_eq!(decimal_of("-12.50"), (-1250, 2));
    assert_eq!(decimal_of("1.5e3"), (1500, 0));
    assert_eq!(decimal_of(".5"), (5, 1));
    assert_eq!(text("1e99", oid::NUMERIC), Err("22003"));
    assert!(text("1.", oid::NUMERIC).is_ok());
    assert_eq!(text(".", oid::NUMERIC), Err("22P02"));
    let bytes = |value: &[u8]| Ok(ScalarValue::Binary(Some(value.to_vec())));
    assert_eq!(text("\\x00fF", oid::BYTEA), bytes(&[0, 255]));
    assert_eq!(text("a\\\\\\101", oid::BYTEA), bytes(b"a\\A"));
    assert_eq!(text("\\x0", oid::BYTEA), Err("22P02"));
    assert_eq!(text("{1,{2}}", oid::INT8_ARRAY), Err("22P02"));
    assert_eq!(text("{1,", oid::INT8_ARRAY), Err("22P02"));
    assert_eq!(text("{1,x}", oid::INT8_ARRAY), Err("22P02"));
    let items = [ScalarValue::Int64(Some(1)), ScalarValue::Int64(None)];
    let list = ScalarValue::new_list_nullable(&items, &DataType::Int64);
    assert_eq!(text("{1, NULL}", oid::INT8_ARRAY), Ok(ScalarValue::List(list)));
    assert_eq!(text("a\0b", oid::TEXT), Err("22021"));
    assert_eq!(binary(b"\xff", oid::TEXT), Err("22021"));
}

fn decimal_of(value: &str) -> (i128, i8) {
    match text::scalar(value, oid::NUMERIC, &Zone::Utc).unwrap() {
        ScalarValue::Decimal128(Some(unscaled), _, scale) => (unscaled, scale),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_are_cast_to_what_the_statement_wants() {
    let cast = |value: &str, oid, target: &DataType| {
        decode(Some(value.as_bytes()), Format::Text, oid, target, &Zone::Utc)
            .map_err(|error| error.code)
    };
    assert_eq!(cast("7", oid::INT4, &DataType::Float64), Ok(ScalarValue::Float64(Some(7.0))));
    assert_eq!(cast("70000", oid::INT4, &DataType::Int16), Err("22003"));
    assert_eq!(cast("x", oid::TEXT, &DataType::Null), Ok(ScalarValue::Utf8(Some("x".into()))));
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()));
    let end = ScalarValue::TimestampNanosecond(Some(i64::MAX), Some("+00:00".into()));
    assert_eq!(cast("infinity", oid::TIMESTAMPTZ, &nanos), Ok(end));
    assert_eq!(cast("9999-01-01", oid::TIMESTAMPTZ, &nanos), Err("22003"));
    let null = decode(None, Format::Text, oid::INT8, &DataType::Int64, &Zone::Utc);
    assert_eq!(null.unwrap(), ScalarValue::Int64(None));
}

/// A two-item int4[] in binary.
const ARRAY: &[u8] = &[
    0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 255, 255,
    255, 255,
];

#[test]
fn damaged_binary_values_are_refused() {
    assert!(binary(ARRAY, oid::INT4_ARRAY).is_ok());
    for end in 0..ARRAY.len() {
        assert!(binary(&ARRAY[..end], oid::INT4_ARRAY).is_err(), "{end}");
    }
    // 12.50 in base 10,000.
    let numeric = [0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x13, 0x88];
    assert!(binary(&numeric, oid::NUMERIC).is_ok());
    for end in 0..numeric.len() {
        assert!(binary(&numeric[..end], oid::NUMERIC).is_err(), "{end}");
    }
    let one = [7; 16];
    let uuid = ScalarValue::FixedSizeBinary(16, Some(one.to_vec()));
    assert_eq!(binary(&one, oid::UUID), Ok(uuid.clone()));
    assert_eq!(text("{07070707-0707-0707-0707-070707070707}", oid::UUID), Ok(uuid));
    assert_eq!(text("07070707", oid::UUID), Err("22P02"));
    for end in 0..one.len() {
        assert!(binary(&one[..end], oid::UUID).is_err(), "{end}");
    }
    for bit in 0..ARRAY.len() * 8 {
        let mut flipped = ARRAY.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = binary(&flipped, oid::INT4_ARRAY);
    }
}

const KINDS: &[u32] = &[
    oid::BOOL,
    oid::INT2,
    oid::INT4,
    oid::INT8,
    oid::FLOAT4,
    oid::FLOAT8,
    oid::TEXT,
    oid::BYTEA,
    oid::DATE,
    oid::TIME,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::INTERVAL,
    oid::NUMERIC,
    oid::UUID,
    oid::INT8_ARRAY,
    oid::TEXT_ARRAY,
    oid::NUMERIC_ARRAY,
    oid::TIMESTAMPTZ_ARRAY,
];

proptest! {
    #[test]
    fn random_binary_never_panics(
        kind in 0..KINDS.len(),
        value in proptest::collection::vec(any::<u8>(), 0..48),
    ) {
        let _ = binary(&value, KINDS[kind]);
    }

    #[test]
    fn random_text_never_panics(
        kind in 0..KINDS.len(),
        value in "[-+0-9:.eTZ{},\" \\\\NULxaä ]{0,24}",
    ) {
        let _ = text(&value, KINDS[kind]);
    }
}

//! Cells against what Postgres 15 prints, against slow twins, and read back as parameters.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use chrono::{DateTime, Datelike, Offset, Timelike};
use proptest::prelude::*;
use query::text::{number, time};

use super::super::params;
use super::super::types::{oid, oid_of};
use super::*;

fn zone(name: &str) -> Zone {
    Zone::from_setting(name).unwrap()
}

/// The first column's cells, None for null.
fn cells(array: ArrayRef, format: i16, zone: Zone) -> Vec<Option<Vec<u8>>> {
    let schema = Schema::new(vec![Field::new("x", array.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![array]).unwrap();
    let encoder = RowEncoder::new(&schema, &[format], zone).unwrap();
    let mut out = Vec::new();
    let rows = encoder.encode(&batch, 0, usize::MAX, usize::MAX, &mut out).unwrap();
    assert_eq!(rows, batch.num_rows());
    let mut cells = Vec::new();
    let mut rest = out.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
        let (body, next) = tail.split_at(length);
        assert_eq!((head[0], &body[..2]), (b'D', &[0u8, 1][..]));
        let size = i32::from_be_bytes(body[2..6].try_into().unwrap());
        assert!(size == -1 && body.len() == 6 || size as usize == body.len() - 6);
        cells.push((size >= 0).then(|| body[6..].to_vec()));
        rest = next;
    }
    assert!(rest.is_empty());
    cells
}

fn check(array: impl Array + 'static, expected: &[&str]) {
    check_in("UTC", array, expected);
}

fn check_in(zone_name: &str, array: impl Array + 'static, expected: &[&str]) {
    let cells = cells(Arc::new(array), 0, zone(zone_name));
    let texts: Vec<String> = cells
        .into_iter()
        .map(|cell| cell.map_or("NULL".into(), |cell| String::from_utf8(cell).unwrap()))
        .collect();
    assert_eq!(texts, expected);
}

fn check_binary(array: impl Array + 'static, expected: &[&str]) {
    let cells = cells(Arc::new(array), 1, Zone::Utc);
    let hex = |cell: Vec<u8>| cell.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let texts: Vec<String> =
        cells.into_iter().map(|cell| cell.map_or("NULL".into(), hex)).collect();
    assert_eq!(texts, expected);
}

#[test]
fn whole_numbers_and_booleans() {
    check(
        Int64Array::from(vec![Some(i64::MIN), None, Some(0), Some(42)]),
        &["-9223372036854775808", "NULL", "0", "42"],
    );
    check(UInt64Array::from(vec![u64::MAX]), &["18446744073709551615"]);
    check(BooleanArray::from(vec![Some(true), Some(false), None]), &["t", "f", "NULL"]);
    check_binary(Int8Array::from(vec![-1]), &["ffff"]);
    check_binary(UInt16Array::from(vec![65535]), &["0000ffff"]);
    check_binary(UInt32Array::from(vec![u32::MAX]), &["00000000ffffffff"]);
    check_binary(BooleanArray::from(vec![true, false]), &["01", "00"]);
    // numeric: 3 groups 1, 0001, 0002 of weight 2
    check_binary(UInt64Array::from(vec![100_010_002]), &["0003000200000000000100010002"]);
    check_binary(NullArray::new(2), &["NULL", "NULL"]);
}

#[test]
fn doubles_as_postgres_prints_them() {
    let cases: &[(f64, &str)] = &[
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-34.84, "-34.84"),
        (1004.3, "1004.3"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (100_000_000_000_000.0, "100000000000000"),
        (123_456_789_012_345.0, "123456789012345"),
        (1e15, "1e+15"),
        (1234567890123456.7, "1.2345678901234568e+15"),
        (1e20, "1e+20"),
        (1.2345678901234e200, "1.2345678901234e+200"),
        (1.2345678901234e-200, "1.2345678901234e-200"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    let (values, texts): (Vec<f64>, Vec<&str>) = cases.iter().copied().unzip();
    check(Float64Array::from(values), &texts);
}

#[test]
fn singles_as_postgres_prints_them() {
    let cases: &[(f32, &str)] = &[
        (0.1, "0.1"),
        (-34.84, "-34.84"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (1.234_567_9e20, "1.2345679e+20"),
        (1e-5, "1e-05"),
        (f32::MAX, "3.4028235e+38"),
        (f32::NAN, "NaN"),
    ];
    let (values, texts): (Vec<f32>, Vec<&str>) = cases.iter().copied().unzip();
    check(Float32Array::from(values), &texts);
}

#[test]
fn texts_and_bytes() {
    check(StringArray::from(vec![Some("a b"), Some(""), None]), &["a b", "", "NULL"]);
    check(StringViewArray::from(vec!["a text longer than a view"]), &["a text longer than a view"]);
    check(BinaryArray::from(vec![&b"\x00\xffa"[..]]), &["\\x00ff61"]);
    check_binary(BinaryArray::from(vec![&b"\x00\xffa"[..]]), &["00ff61"]);
    let words: DictionaryArray<Int32Type> =
        vec![Some("on"), None, Some("off"), Some("on")].into_iter().collect();
    check(words, &["on", "NULL", "off", "on"]);
}

const MARCH: i64 = 1_710_000_000_123_456;

#[test]
fn instants_show_in_the_zone() {
    let utc = || TimestampMicrosecondArray::from(vec![MARCH]).with_timezone("+00:00");
    check(utc(), &["2024-03-09 16:00:00.123456+00"]);
    check_in("Europe/Berlin", utc(), &["2024-03-09 17:00:00.123456+01"]);
    check_in("asia/kolkata", utc(), &["2024-03-09 21:30:00.123456+05:30"]);
    check_in("-03:30", utc(), &["2024-03-09 12:30:00.123456-03:30"]);
    // Local mean time before zones, and both sides of a change within one hour of data.
    let old = TimestampSecondArray::from(vec![-3_000_000_000]).with_timezone("UTC");
    check_in("Europe/Amsterdam", old, &["1874-12-07 18:57:30+00:17:30"]);
    let change = TimestampSecondArray::from(vec![1_711_846_799, 1_711_846_800]);
    check_in(
        "Europe/Berlin",
        change.with_timezone("UTC"),
        &["2024-03-31 01:59:59+01", "2024-03-31 03:00:00+02"],
    );
}

#[test]
fn times_without_zone_and_the_ends_of_time() {
    let local = TimestampNanosecondArray::from(vec![MARCH * 1000 + 999, -1]);
    check(local, &["2024-03-09 16:00:00.123456", "1969-12-31 23:59:59.999999"]);
    let ends = TimestampMicrosecondArray::from(vec![i64::MAX, i64::MIN, 0]);
    check(ends, &["infinity", "-infinity", "1970-01-01 00:00:00"]);
    let christ = TimestampSecondArray::from(vec![-62_167_219_200, -62_135_596_800]);
    check(christ, &["0001-01-01 00:00:00 BC", "0001-01-01 00:00:00"]);
    check(
        Date32Array::from(vec![0, 10_957, -719_529, 3_000_000]),
        &["1970-01-01", "2000-01-01", "0002-12-31 BC", "10183-09-21"],
    );
    check(Time64MicrosecondArray::from(vec![0, 86_399_999_900]), &["00:00:00", "23:59:59.9999"]);
    check_binary(
        TimestampMicrosecondArray::from(vec![946_684_800_000_001, i64::MAX]),
        &["0000000000000001", "7fffffffffffffff"],
    );
    check_binary(Date32Array::from(vec![10_958]), &["00000001"]);
}

#[test]
fn intervals_as_postgres_prints_them() {
    let make = |months, days, micros: i64| IntervalMonthDayNano {
        months,
        days,
        nanoseconds: micros * 1000,
    };
    let values = vec![
        make(14, 3, 14_706_789_000),
        make(0, 0, 0),
        make(-14, 3, -14_706_000_000),
        make(0, -1, 3_600_000_000),
        make(0, 1, 0),
        make(0, 0, 360_000_000_000),
    ];
    check(
        IntervalMonthDayNanoArray::from(values),
        &[
            "1 year 2 mons 3 days 04:05:06.789",
            "00:00:00",
            "-1 years -2 mons +3 days -04:05:06",
            "-1 days +01:00:00",
            "1 day",
            "100:00:00",
        ],
    );
    check(DurationMillisecondArray::from(vec![1500]), &["00:00:01.5"]);
    let one = IntervalMonthDayNanoArray::from(vec![make(1, 2, 3)]);
    check_binary(one, &["00000000000000030000000200000001"]);
}

#[test]
fn decimals() {
    let values = || Decimal128Array::from(vec![1250, -5, 0]).with_precision_and_scale(10, 2);
    check(values().unwrap(), &["12.50", "-0.05", "0.00"]);
    check_binary(
        values().unwrap(),
        &["0002000000000002000c1388", "0001ffff4000000201f4", "0000000000000002"],
    );
    let wide = Decimal128Array::from(vec![7]).with_precision_and_scale(5, -3).unwrap();
    check(wide, &["7000"]);
}

#[test]
fn lists() {
    let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    check(numbers.clone(), &["{1,NULL}", "NULL", "{}"]);
    check_binary(
        numbers,
        &[
            "000000010000000100000014000000020000000100000008 0000000000000001ffffffff"
                .replace(' ', "")
                .as_str(),
            "NULL",
            "000000000000000000000014",
        ],
    );
    let mut words = ListBuilder::new(StringBuilder::new());
    for word in ["a", "", "null", "b c", "q\"\\", "x,y"] {
        words.values().append_value(word);
    }
    words.append(true);
    check(words.finish(), &[r#"{a,"","null","b c","q\"\\","x,y"}"#]);
}

#[test]
fn catalogue_types_come_from_metadata() {
    let named = |data_type, name: &str| {
        let pair = (query::PG_TYPE.to_owned(), name.to_owned());
        oid_of_field(&Field::new("x", data_type, true).with_metadata([pair].into()))
    };
    assert_eq!(named(DataType::Utf8, "name"), oid::NAME);
    assert_eq!(named(DataType::Int64, "oid"), oid::OID);
    // A name that the values do not bear is not believed.
    assert_eq!(named(DataType::Float64, "oid"), oid::FLOAT8);
    assert_eq!(named(DataType::Float64, "regclass"), oid::FLOAT8);
    // Objects, as names or as numbers.
    assert_eq!(named(DataType::Int32, "regclass"), oid::REGCLASS);
    assert_eq!(named(DataType::Utf8, "regclass"), oid::REGCLASS);
    let small = DataType::new_list(DataType::Int16, true);
    assert_eq!(named(small.clone(), "int2vector"), oid::INT2VECTOR);
    assert_eq!(named(small, "oidvector"), oid::INT2_ARRAY);
}

#[test]
fn vectors_are_not_arrays() {
    let mut keys = ListBuilder::new(Int16Builder::new());
    keys.values().append_slice(&[2, 3, 1]);
    keys.append(true);
    keys.append(true);
    let array: ArrayRef = Arc::new(keys.finish());
    let pair = (query::PG_TYPE.to_owned(), "int2vector".to_owned());
    let field = Field::new("x", array.data_type().clone(), true).with_metadata([pair].into());
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let bytes = |code: i16| {
        let encoder = RowEncoder::new(&schema, &[code], zone("UTC")).unwrap();
        let mut out = Vec::new();
        encoder.encode(&batch, 0, 9, usize::MAX, &mut out).unwrap();
        out
    };
    // Kind, length and columns of a row, then the cell with its length.
    let text = bytes(0);
    assert_eq!(&text[7..16], b"\0\0\0\x052 3 1");
    assert_eq!(&text[16 + 7..], b"\0\0\0\0", "a vector without elements is an empty text");
    let binary = bytes(1);
    let head = [1, 0, 21, 3, 0].map(i32::to_be_bytes).concat();
    assert_eq!(binary[11..31], head);
}

#[test]
fn objects_are_names_as_texts_and_numbers_in_binary() {
    let pair = (query::PG_TYPE.to_owned(), "regclass".to_owned());
    let field = |kind| Field::new("x", kind, true).with_metadata([pair.clone()].into());
    let names = Schema::new(vec![field(DataType::Utf8View)]);
    assert!(RowEncoder::new(&names, &[0], zone("UTC")).is_ok());
    // Names that are not known as numbers cannot be sent in binary, but may be announced so.
    assert_eq!(RowEncoder::new(&names, &[1], zone("UTC")).unwrap_err().code, "0A000");
    let described = RowEncoder::described(&names, &[1], zone("UTC")).unwrap();
    assert_eq!(described.numbered(), [true]);
    let schema = Arc::new(Schema::new(vec![field(DataType::Int32)]));
    let encoder = RowEncoder::new(&schema, &[1], zone("UTC")).unwrap();
    assert!(encoder.oids().eq(described.oids()));
    let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(1259), None]));
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    let mut out = Vec::new();
    encoder.encode(&batch, 0, 2, 1024, &mut out).unwrap();
    let first =
        [b"D", &14i32.to_be_bytes()[..], &[0, 1], &4i32.to_be_bytes(), &1259i32.to_be_bytes()];
    let second = [b"D", &10i32.to_be_bytes()[..], &[0, 1], &(-1i32).to_be_bytes()];
    assert_eq!(out, [first.concat(), second.concat()].concat());
}

#[test]
fn origins_are_told() {
    let pair = (query::PG_ORIGIN.to_owned(), "16384.2".to_owned());
    let fields = vec![
        Field::new("a", DataType::Int32, true).with_metadata([pair].into()),
        Field::new("b", DataType::Int32, true),
    ];
    let mut out = Vec::new();
    RowEncoder::new(&Schema::new(fields), &[], zone("UTC")).unwrap().describe(&mut out);
    // Kind, length and count, then a name with its zero, table and column.
    assert_eq!(out[9..15], [0, 0, 0x40, 0, 0, 2]);
    let second = 9 + 18 + 2;
    assert_eq!(out[second..second + 6], [0; 6]);
}

#[test]
fn rows_that_are_too_large_are_refused_behind_those_before() {
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int32, false),
        Field::new("text", DataType::Utf8View, false),
    ]);
    let texts = ["short".to_owned(), "x".repeat(ROW_BYTES_MAX), "last".to_owned()];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2, 3])),
        Arc::new(StringViewArray::from_iter_values(texts)),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
    let encoder = RowEncoder::new(&schema, &[], Zone::Utc).unwrap();
    let mut out = b"before".to_vec();
    assert_eq!(encoder.encode(&batch, 0, 3, usize::MAX, &mut out).unwrap_err().code, "54000");
    // Those before it were sent by then.
    let first = [b"D", &20i32.to_be_bytes()[..], &[0, 2, 0, 0, 0, 1, b'1', 0, 0, 0, 5], b"short"];
    assert_eq!(out, [&b"before"[..], &first.concat()].concat());
    let mut alone = b"before".to_vec();
    assert_eq!(encoder.encode(&batch, 1, 1, usize::MAX, &mut alone).unwrap_err().code, "54000");
    assert_eq!(alone, b"before");
    assert_eq!(encoder.encode(&batch, 2, 1, usize::MAX, &mut alone).unwrap(), 1);
    // The longest that is sent: its length, the number of columns, and two cells with theirs.
    let longest = "x".repeat(ROW_BYTES_MAX - 4 - 2 - 5 - 4);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1])),
        Arc::new(StringViewArray::from_iter_values([longest])),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let mut out = Vec::new();
    assert_eq!(encoder.encode(&batch, 0, 1, usize::MAX, &mut out).unwrap(), 1);
    assert_eq!(out.len(), ROW_BYTES_MAX + 1);
}

#[test]
fn stops_at_the_mark_and_goes_on() {
    let schema = Schema::new(vec![Field::new("x", DataType::Int32, false)]);
    let array: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), vec![array]).unwrap();
    let encoder = RowEncoder::new(&schema, &[], Zone::Utc).unwrap();
    let (mut at, mut all, mut calls) = (0, Vec::new(), 0);
    while at < 1000 {
        let mut out = Vec::new();
        at += encoder.encode(&batch, at, 300, 1024, &mut out).unwrap();
        assert!(out.len() < 1024 + 32);
        all.extend(out);
        calls += 1;
    }
    let mut whole = Vec::new();
    encoder.encode(&batch, 0, usize::MAX, usize::MAX, &mut whole).unwrap();
    assert_eq!(all, whole);
    assert!(calls > 10);
    let narrow = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(encoder.encode(&narrow, 0, 1, 1, &mut Vec::new()).is_err());
}

#[test]
fn formats_are_none_one_or_all() {
    assert_eq!(formats(&[], 2, "x").unwrap(), [Format::Text, Format::Text]);
    assert_eq!(formats(&[1], 2, "x").unwrap(), [Format::Binary, Format::Binary]);
    assert_eq!(formats(&[0, 1], 2, "x").unwrap(), [Format::Text, Format::Binary]);
    assert!(formats(&[0, 1, 0], 2, "x").is_err());
    assert!(formats(&[2], 1, "x").is_err());
}

/// Writes one value in a format and reads it back as a parameter of the type it is shown as.
fn there_and_back(array: ArrayRef, format: Format, zone: Zone) -> datafusion::scalar::ScalarValue {
    let shown = oid_of(array.data_type());
    let target = array.data_type().clone();
    let cell = cells(array, format.code(), zone).pop().unwrap();
    params::decode(cell.as_deref(), format, shown, &target, &zone).unwrap()
}

fn check_round_trip(array: impl Array + 'static, zone: Zone) -> Result<(), TestCaseError> {
    let array: ArrayRef = Arc::new(array);
    let expected = datafusion::scalar::ScalarValue::try_from_array(&array, 0).unwrap();
    for format in [Format::Text, Format::Binary] {
        let read = there_and_back(Arc::clone(&array), format, zone);
        prop_assert_eq!(&read, &expected, "{:?}", format);
    }
    Ok(())
}

/// `float8out` by the standard library's digits: slow, and by another road.
fn slow_float8(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap();
    let exponent: i32 = exponent.parse().unwrap();
    if (-4..15).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[test]
fn of_equally_near_texts_the_even_one_is_printed() {
    check(Float64Array::from(vec![7_440_602_796_600_601.0 / 4.0]), &["1.8601506991501502e+15"]);
}

/// Instants of the years 1 to 9999.
const MICROS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_000_000_000;

proptest! {
    #[test]
    fn doubles_equal_their_slow_twin(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let mut out = Vec::new();
        number::put_float8(&mut out, value);
        let (fast, slow) = (String::from_utf8(out).unwrap(), slow_float8(value));
        // Of two shortest texts that are equally near, the standard library takes the upper one,
        // Postgres (Ryu) the even one: both read back.
        if fast.len() != slow.len() || fast.parse() != Ok(value) {
            prop_assert_eq!(fast, slow);
        }
    }

    #[test]
    fn short_doubles_equal_their_slow_twin(whole in -1_000_000i64..1_000_000, power in 0u32..12) {
        let value = whole as f64 / 10f64.powi(power as i32);
        let mut out = Vec::new();
        number::put_float8(&mut out, value);
        prop_assert_eq!(String::from_utf8(out).unwrap(), slow_float8(value));
    }

    #[test]
    fn instants_equal_their_slow_twin(micros in MICROS, name in 0usize..4) {
        let name = ["UTC", "America/New_York", "Australia/Lord_Howe", "Africa/Monrovia"][name];
        let zone = zone(name);
        let mut out = Vec::new();
        time::put_timestamptz(&mut out, micros, &query::text::zone::ZoneCursor::new(&zone));
        let tz: chrono_tz::Tz = name.parse().unwrap();
        let at = DateTime::from_timestamp_micros(micros).unwrap().with_timezone(&tz);
        prop_assume!(at.year() > 0);
        let mut slow = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year(), at.month(), at.day(), at.hour(), at.minute(), at.second()
        );
        let fraction = format!("{:06}", at.nanosecond() / 1000);
        if !fraction.trim_end_matches('0').is_empty() {
            slow += &format!(".{}", fraction.trim_end_matches('0'));
        }
        let offset = at.offset().fix().local_minus_utc();
        slow += &format!("{}{:02}", if offset < 0 { '-' } else { '+' }, offset.abs() / 3600);
        if offset % 3600 != 0 {
            slow += &format!(":{:02}", offset.abs() / 60 % 60);
        }
        if offset % 60 != 0 {
            slow += &format!(":{:02}", offset.abs() % 60);
        }
        prop_assert_eq!(String::from_utf8(out).unwrap(), slow);
    }

    #[test]
    fn days_and_dates_are_inverse(days in -5_000_000i64..5_000_000) {
        let (year, month, day) = time::civil_from_days(days);
        prop_assert_eq!(time::days_from_civil(year, month, day), days);
    }

    #[test]
    fn numbers_come_back(bits in any::<u64>(), single in any::<u32>()) {
        check_round_trip(Int64Array::from(vec![bits as i64]), Zone::Utc)?;
        check_round_trip(Int32Array::from(vec![single as i32]), Zone::Utc)?;
        check_round_trip(Int16Array::from(vec![single as i16]), Zone::Utc)?;
        let (double, single) = (f64::from_bits(bits), f32::from_bits(single));
        if !double.is_nan() {
            check_round_trip(Float64Array::from(vec![double]), Zone::Utc)?;
        }
        if !single.is_nan() {
            check_round_trip(Float32Array::from(vec![single]), Zone::Utc)?;
        }
    }

    #[test]
    fn texts_and_bytes_come_back(text in "[^\0]{0,20}", bytes in any::<Vec<u8>>()) {
        check_round_trip(StringArray::from(vec![text.as_str()]), Zone::Utc)?;
        check_round_trip(BinaryArray::from(vec![bytes.as_slice()]), Zone::Utc)?;
        let mut list = ListBuilder::new(StringBuilder::new());
        list.values().append_value(&text);
        list.values().append_null();
        list.values().append_value("NULL");
        list.append(true);
        check_round_trip(list.finish(), Zone::Utc)?;
    }

    #[test]
    fn times_come_back(micros in MICROS, name in 0usize..3) {
        let zone = zone(["UTC", "Asia/Tokyo", "America/New_York"][name]);
        let with_zone = TimestampMicrosecondArray::from(vec![micros]).with_timezone("+00:00");
        check_round_trip(with_zone, zone)?;
        check_round_trip(TimestampMicrosecondArray::from(vec![micros]), zone)?;
        check_round_trip(Date32Array::from(vec![(micros / time::MICROS_PER_DAY) as i32]), zone)?;
        let of_day = micros.rem_euclid(time::MICROS_PER_DAY);
        check_round_trip(Time64MicrosecondArray::from(vec![of_day]), zone)?;
    }

    #[test]
    fn decimals_come_back(unscaled in -(10i128.pow(37))..10i128.pow(37), scale in 0i8..38) {
        let array = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, scale);
        check_round_trip(array.unwrap(), Zone::Utc)?;
    }

    #[test]
    fn intervals_come_back(
        months in -5000i32..5000,
        days in -5000i32..5000,
        micros in -(1i64 << 50)..1 << 50,
    ) {
        let value = IntervalMonthDayNano { months, days, nanoseconds: micros * 1000 };
        check_round_trip(IntervalMonthDayNanoArray::from(vec![value]), Zone::Utc)?;
    }
}

//! Cells of every type in every form, and pieces that join to the whole.

use std::sync::Arc;

use super::*;
use arrow::array::*;
use arrow::ipc::reader::StreamReader;
use proptest::prelude::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .expect("columns of one length")
}

/// All of a batch, in pieces of about `piece` bytes.
fn encode(format: Format, batch: &RecordBatch, piece: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(format, batch.schema()).expect("a schema that encodes");
    let mut whole = Vec::new();
    let mut out = Vec::new();
    encoder.begin(&mut out).expect("begins");
    let mut row = 0;
    while row < batch.num_rows() {
        whole.append(&mut out);
        let next = encoder.rows(batch, row, piece.max(1), &mut out).expect("encodes");
        assert!(next > row, "each piece holds a row");
        row = next;
    }
    whole.append(&mut out);
    encoder.end(&mut whole).expect("ends");
    whole
}

/// One cell in JSON and in CSV.
fn check(array: impl Array + 'static, json: &str, csv: &str) {
    let batch = batch(vec![("x", Arc::new(array))]);
    let text = |format| String::from_utf8(encode(format, &batch, 1 << 20)).expect("UTF-8");
    assert_eq!(text(Format::Ndjson), format!("{{\"x\":{json}}}\n"));
    assert_eq!(text(Format::Csv), format!("x\r\n{csv}\r\n"));
    let whole: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON");
    let cell: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(whole["rows"], serde_json::json!([[cell]]));
}

#[test]
fn numbers_and_texts() {
    check(Int64Array::from(vec![i64::MIN]), "-9223372036854775808", "-9223372036854775808");
    check(UInt64Array::from(vec![u64::MAX]), "18446744073709551615", "18446744073709551615");
    check(Int8Array::from(vec![-128]), "-128", "-128");
    check(Float64Array::from(vec![1.0]), "1", "1");
    check(Float64Array::from(vec![-0.0]), "-0", "-0");
    check(Float64Array::from(vec![0.1]), "0.1", "0.1");
    check(Float64Array::from(vec![1e300]), "1e300", "1e300");
    check(Float64Array::from(vec![5e-324]), "5e-324", "5e-324");
    check(Float32Array::from(vec![0.1]), "0.1", "0.1");
    check(Float64Array::from(vec![f64::NAN]), "\"NaN\"", "NaN");
    check(Float64Array::from(vec![f64::NEG_INFINITY]), "\"-Infinity\"", "-Infinity");
    check(BooleanArray::from(vec![true]), "true", "true");
    check(Int64Array::from(vec![None]), "null", "");
    check(NullArray::new(1), "null", "");
    check(StringArray::from(vec!["a\"b,\n"]), r#""a\"b,\n""#, "\"a\"\"b,\n\"");
    check(StringArray::from(vec![""]), "\"\"", "\"\"");
    check(StringViewArray::from(vec!["Grüße"]), "\"Grüße\"", "Grüße");
    check(StringArray::from(vec![" x"]), "\" x\"", "\" x\"");
    check(BinaryArray::from(vec![&[0_u8, 255][..]]), r#""\\x00ff""#, r"\x00ff");
    let decimal = Decimal128Array::from(vec![12345]).with_precision_and_scale(10, 2);
    check(decimal.expect("a scale that fits"), "123.45", "123.45");
}

#[test]
fn times() {
    let micros = |ticks: i64| TimestampMicrosecondArray::from(vec![ticks]);
    let zoned = |ticks| micros(ticks).with_timezone("+00:00");
    check(zoned(0), "\"1970-01-01T00:00:00Z\"", "1970-01-01T00:00:00Z");
    check(micros(-1), "\"1969-12-31T23:59:59.999999\"", "1969-12-31T23:59:59.999999");
    check(zoned(951_827_696_500_000), "\"2000-02-29T12:34:56.5Z\"", "2000-02-29T12:34:56.5Z");
    check(
        TimestampNanosecondArray::from(vec![i64::MAX]),
        "\"2262-04-11T23:47:16.854775807\"",
        "2262-04-11T23:47:16.854775807",
    );
    check(
        TimestampSecondArray::from(vec![253_402_300_800]),
        "\"+010000-01-01T00:00:00\"",
        "+010000-01-01T00:00:00",
    );
    check(Date32Array::from(vec![-719_528]), "\"0000-01-01\"", "0000-01-01");
    let _extremes = encode(Format::Csv, &batch(vec![("t", Arc::new(micros(i64::MIN)))]), 1);
}

#[test]
fn lists_and_dictionaries() {
    let list =
        ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(vec![Some(vec![
            Some(1),
            None,
        ])]);
    check(list, "[1,null]", "\"[1,null]\"");
    let words: DictionaryArray<arrow::datatypes::Int32Type> = vec!["north"].into_iter().collect();
    check(words, "\"north\"", "north");
    let none: DictionaryArray<arrow::datatypes::Int32Type> =
        vec![None::<&str>].into_iter().collect();
    check(none, "null", "");
}

#[test]
fn the_head_names_columns_and_types() {
    let time = TimestampMicrosecondArray::from(Vec::<i64>::new()).with_timezone("+00:00");
    let batch = batch(vec![
        ("time", Arc::new(time)),
        ("a \"b\"", Arc::new(Float64Array::from(Vec::<f64>::new()))),
    ]);
    let json = String::from_utf8(encode(Format::Json, &batch, 1)).expect("UTF-8");
    let expected = r#"{"columns":[{"name":"time","type":"timestamp with time zone"},"#.to_owned()
        + r#"{"name":"a \"b\"","type":"double precision"}],"rows":[]}"#;
    assert_eq!(json.trim_end(), expected);
    let csv = String::from_utf8(encode(Format::Csv, &batch, 1)).expect("UTF-8");
    assert_eq!(csv, "time,\"a \"\"b\"\"\"\r\n");
}

#[test]
fn an_arrow_stream_reads_back() {
    let rows = 3000;
    let numbers: Int64Array = (0..rows).collect();
    let texts: StringViewArray = (0..rows).map(|n| Some(format!("text number {n}"))).collect();
    let batch = batch(vec![("n", Arc::new(numbers)), ("t", Arc::new(texts))]);
    let bytes = encode(Format::Arrow, &batch, 1);
    let reader = StreamReader::try_new(&bytes[..], None).expect("a stream");
    let mut seen = 0;
    for read in reader {
        let read = read.expect("a batch");
        let numbers: &Int64Array = read.column(0).as_primitive();
        let texts: &StringArray = read.column(1).as_string();
        for row in 0..read.num_rows() {
            assert_eq!(numbers.value(row), seen);
            assert_eq!(texts.value(row), format!("text number {seen}"));
            seen += 1;
        }
    }
    assert_eq!(seen, rows);
}

proptest! {
    #[test]
    fn floats_and_texts_read_back(
        floats in proptest::collection::vec(proptest::num::f64::ANY, 1..20),
        text in ".{0,20}",
        piece in 1_usize..200,
    ) {
        let texts: StringArray = floats.iter().map(|_| Some(text.as_str())).collect();
        let batch = batch(vec![
            ("f", Arc::new(Float64Array::from(floats.clone()))),
            ("t", Arc::new(texts)),
        ]);
        let json = encode(Format::Json, &batch, piece);
        prop_assert_eq!(&json, &encode(Format::Json, &batch, usize::MAX));
        let json = String::from_utf8(json).expect("UTF-8");
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        for (row, float) in floats.iter().enumerate() {
            prop_assert_eq!(&parsed["rows"][row][1], &serde_json::json!(text));
            if !float.is_finite() {
                prop_assert!(parsed["rows"][row][0].is_string());
            }
        }
        // CSV holds the digits themselves: serde_json rounds some floats differently.
        let csv = String::from_utf8(encode(Format::Csv, &batch, piece)).expect("UTF-8");
        if !text.contains(['"', '\n', '\r', ',']) {
            for (line, float) in csv.lines().skip(1).zip(&floats) {
                let number = line.split(',').next().expect("a cell");
                let read: f64 = number.parse().expect("a number");
                prop_assert!(read.to_bits() == float.to_bits() || float.is_nan());
            }
        }
    }

    #[test]
    fn dates_agree_with_chrono(days in -900_000_i32..2_900_000) {
        use chrono::Datelike;
        let date = chrono::NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("in range");
        prop_assume!((0..=9999).contains(&date.year()));
        let batch = batch(vec![("d", Arc::new(Date32Array::from(vec![days])))]);
        let csv = String::from_utf8(encode(Format::Csv, &batch, 1)).expect("UTF-8");
        prop_assert_eq!(csv, format!("d\r\n{}\r\n", date.format("%Y-%m-%d")));
    }
}

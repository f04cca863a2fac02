//! The fast road against its slow twin.

use std::sync::Arc;

use arrow::array::*;
use proptest::prelude::*;

use super::super::super::types::oid_of;
use super::*;

/// Every cell of a column by one road, in pieces of `rows`.
fn cells_by(mut filler: Filler<'_>, all: usize, rows: usize) -> Vec<Vec<u8>> {
    let mut cells = Vec::new();
    while cells.len() < all {
        let rows = rows.min(all - cells.len());
        filler.fill(cells.len(), rows);
        let piece = &mut filler.cells;
        let rows = piece.rows(rows);
        assert!(rows > 0);
        let bytes_max = piece.bytes_max() + piece.free_bytes();
        for row in 0..rows {
            let mut out = vec![0xee; bytes_max + SLACK];
            let end = piece.copy(row, &mut out, 0);
            assert!(end <= bytes_max);
            out.truncate(end);
            cells.push(out);
        }
    }
    cells
}

fn agree(array: &dyn Array, zone: &Zone, rows: usize) {
    for format in [Format::Text, Format::Binary] {
        let pg_type = oid_of(array.data_type());
        let fast =
            slotted(array, pg_type, format, zone, &(0..array.len())).expect("a type with slots");
        let slow = free(array, pg_type, format, zone).unwrap();
        let (fast, slow) = (cells_by(fast, array.len(), rows), cells_by(slow, array.len(), rows));
        for (row, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
            let shown = String::from_utf8_lossy;
            assert_eq!(fast, slow, "row {row}: {} for {}", shown(fast), shown(slow));
        }
    }
}

fn column<T: Clone + std::fmt::Debug + 'static>(
    values: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.9, values), 1..300)
}

/// Readings: short decimals of any sign, and what borders on being none.
fn readings() -> impl Strategy<Value = f64> {
    let decimal = (-10_000_000_000_i64..10_000_000_000, 0..9_i32)
        .prop_map(|(units, decimals)| units as f64 / 10_f64.powi(decimals));
    let near = decimal.clone().prop_map(|value| f64::from_bits(value.to_bits() ^ 1));
    let small = (0..10_000_i64).prop_map(|units| units as f64 / 100.0);
    prop_oneof![
        4 => small,
        4 => decimal,
        2 => near,
        1 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => (-20..20_i32, 1..1000_u32).prop_map(|(e, m)| f64::from(m) * 10_f64.powi(e)),
    ]
}

fn instants() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 1_400_000_000_000_000_i64..1_800_000_000_000_000,
        2 => (1_400_000_000_i64..1_800_000_000).prop_map(|seconds| seconds * 1_000_000),
        1 => any::<i64>(),
        1 => prop::sample::select(vec![
            i64::MIN, i64::MAX, 0, -1, 1,
            -62_135_596_800_000_000, -62_135_596_800_000_001,
            253_402_300_799_999_999, 253_402_300_800_000_000,
        ]),
    ]
}

fn zones() -> impl Strategy<Value = Zone> {
    let names = [
        "UTC",
        "Asia/Shanghai",
        "Europe/Berlin",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "-03:30",
        "+00:00:07",
    ];
    prop::sample::select(names.to_vec()).prop_map(|name| Zone::from_setting(name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn doubles_agree(values in column(readings()), rows in 1..=ROWS) {
        agree(&Float64Array::from(values), &Zone::Utc, rows);
    }

    #[test]
    fn whole_numbers_agree(
        values in column(prop_oneof![any::<i64>(), -20_000..20_000_i64]),
        rows in 1..=ROWS,
    ) {
        let narrowed = |value: &Option<i64>| value.map(|value| value as i32);
        agree(&Int32Array::from_iter(values.iter().map(narrowed)), &Zone::Utc, rows);
        let narrowed = |value: &Option<i64>| value.map(|value| value as i16);
        agree(&Int16Array::from_iter(values.iter().map(narrowed)), &Zone::Utc, rows);
        let odd = |value: &Option<i64>| value.map(|value| value % 2 == 1);
        agree(&BooleanArray::from_iter(values.iter().map(odd)), &Zone::Utc, rows);
        agree(&Int64Array::from(values), &Zone::Utc, rows);
    }

    #[test]
    fn instants_agree(values in column(instants()), zone in zones(), rows in 1..=ROWS) {
        let micros = TimestampMicrosecondArray::from(values.clone());
        agree(&micros, &zone, rows);
        agree(&micros.with_timezone("UTC"), &zone, rows);
        let nanos = TimestampNanosecondArray::from(values);
        agree(&nanos, &zone, rows);
        agree(&nanos.with_timezone("UTC"), &zone, rows);
    }

    /// As results have them: in order, many in an hour, and past changes of the zone's offset.
    #[test]
    fn instants_in_order_agree(
        start in prop_oneof![
            1_400_000_000_000_000_i64..1_800_000_000_000_000,
            // Around changes in Berlin and on Lord Howe Island, which are of half an hour there.
            (0..7_200_000_000_i64).prop_map(|of| 1_459_040_400_000_000 - 3_600_000_000 + of),
            (0..7_200_000_000_i64).prop_map(|of| 1_477_789_200_000_000 - 3_600_000_000 + of),
            (0..7_200_000_000_i64).prop_map(|of| 1_459_609_200_000_000 - 3_600_000_000 + of),
        ],
        step in prop_oneof![1..2_000_i64, 1..50_000_000_i64, 1..9_000_000_000_i64],
        whole in prop::sample::select(vec![1_i64, 1_000, 1_000_000]),
        back: bool,
        zone in zones(),
        rows in 1..=ROWS,
    ) {
        let (start, step) = (start / whole * whole, (step / whole).max(1) * whole);
        let at = |row: i64| Some(if back { start - row * step } else { start + row * step });
        let values: Vec<Option<i64>> = (0..300).map(at).collect();
        let micros = TimestampMicrosecondArray::from(values);
        agree(&micros, &zone, rows);
        agree(&micros.with_timezone("UTC"), &zone, rows);
    }

    #[test]
    fn texts_agree(keys in column("[a-zé]{0,14}"), again in 0..4_usize, rows in 1..=ROWS) {
        // Runs of the same key, as rows sorted by series have.
        let runs = keys.iter().flat_map(|key| std::iter::repeat_n(key.clone(), again + 1));
        agree(&StringViewArray::from_iter(runs), &Zone::Utc, rows);
    }
}

/// Runs of texts as keys have them, with what may break them: NULLs, and texts without end.
fn keys() -> impl Strategy<Value = Vec<Option<String>>> {
    let run = (prop::option::weighted(0.8, "[a-cé]{0,14}"), 1..40_usize);
    prop::collection::vec(run, 1..40).prop_map(|runs| {
        runs.into_iter().flat_map(|(key, rows)| std::iter::repeat_n(key, rows)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Columns written as one are those written by themselves, one behind the other.
    #[test]
    fn runs_of_texts_agree(
        columns in prop::collection::vec(keys(), 2..6),
        picked: bool,
        rows in 1..=ROWS,
    ) {
        let count = columns.iter().map(Vec::len).min().unwrap();
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|column| -> ArrayRef {
                let array = StringViewArray::from_iter(column[..count].iter());
                // Views of NULLs, and of the same text, as the engine makes them.
                let picks: UInt32Array =
                    (0..count).map(|row| (!picked || row % 7 > 0).then_some(row as u32)).collect();
                arrow::compute::take(&array, &picks, None).unwrap()
            })
            .collect();
        let (filler, columns) = text_runs(&arrays, &(0..count)).unwrap();
        prop_assert_eq!(columns, arrays.len());
        let fast = cells_by(filler, count, rows);
        let slow: Vec<Vec<Vec<u8>>> = arrays
            .iter()
            .map(|array| {
                let filler = free(array.as_ref(), oid::TEXT, Format::Text, &Zone::Utc).unwrap();
                cells_by(filler, count, rows)
            })
            .collect();
        for (row, fast) in fast.iter().enumerate() {
            let slow: Vec<u8> = slow.iter().flat_map(|column| column[row].clone()).collect();
            prop_assert_eq!(fast, &slow, "row {}", row);
        }
    }

    #[test]
    fn columns_of_eight_bytes_agree(
        whole in prop::collection::vec(any::<i64>(), 1..300),
        doubles in prop::collection::vec(any::<f64>(), 300),
        order in prop::collection::vec(any::<bool>(), 2..6),
        rows in 1..=ROWS,
    ) {
        let count = whole.len();
        let whole: ArrayRef = Arc::new(Int64Array::from(whole));
        let doubles: ArrayRef = Arc::new(Float64Array::from(doubles[..count].to_vec()));
        let pick = |first: &bool| if *first { whole.clone() } else { doubles.clone() };
        let arrays: Vec<ArrayRef> = order.iter().map(pick).collect();
        let columns = || arrays.iter().map(|array| {
            (array.as_ref(), oid_of(array.data_type()), Format::Binary)
        });
        let (filler, found) = fixed(columns()).unwrap();
        prop_assert_eq!(found, arrays.len());
        let fast = cells_by(filler, count, rows);
        let slow: Vec<Vec<Vec<u8>>> = columns()
            .map(|(array, pg_type, format)| {
                cells_by(free(array, pg_type, format, &Zone::Utc).unwrap(), count, rows)
            })
            .collect();
        for (row, fast) in fast.iter().enumerate() {
            let slow: Vec<u8> = slow.iter().flat_map(|column| column[row].clone()).collect();
            prop_assert_eq!(fast, &slow, "row {}", row);
        }
    }
}

#[test]
fn columns_with_nulls_or_as_text_are_not_fixed() {
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let found = |columns: &[(&ArrayRef, u32, Format)]| {
        let columns = columns.iter().map(|(array, oid, format)| (array.as_ref(), *oid, *format));
        fixed(columns).map(|(_, count)| count)
    };
    let (int8, numeric) = (oid::INT8, oid::NUMERIC);
    let binary = (&whole, int8, Format::Binary);
    assert_eq!(found(&[binary, binary, (&nulls, int8, Format::Binary)]), Some(2));
    assert_eq!(found(&[binary, (&whole, int8, Format::Text), binary]), None);
    assert_eq!(found(&[binary, binary, (&whole, numeric, Format::Binary)]), Some(2));
}

#[test]
fn long_texts_are_not_written_as_runs() {
    let short: ArrayRef = Arc::new(StringViewArray::from_iter_values(["a", "b", "c"]));
    let long = ["a".to_owned(), "x".repeat(NARROW - LENGTH + 1), "c".to_owned()];
    let long: ArrayRef = Arc::new(StringViewArray::from_iter_values(long));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let arrays = [short.clone(), short, long, number.clone()];
    let found = |arrays: &[ArrayRef], rows| text_runs(arrays, &rows).map(|(_, count)| count);
    assert_eq!(found(&arrays, 0..3), Some(2));
    assert_eq!(found(&arrays, 0..1), Some(3));
    assert_eq!(found(&arrays[1..], 0..3), None);
    assert_eq!(found(&[number], 0..3), None);
}

#[test]
fn the_borders_of_doubles() {
    let values = [
        0.0,
        -0.0,
        1e-4,
        9.999e-5,
        1e9,
        999_999_999.999_999,
        1e15,
        0.1,
        0.1 + 0.2,
        100.0,
        0.5,
        123_456.789,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
        0.000_123,
        58.0,
        20.0,
        0.000_1,
        1_000_000.000_001,
    ];
    agree(&Float64Array::from(values.to_vec()), &Zone::Utc, ROWS);
    // After many values that are no short decimals, one that is.
    let mut odd: Vec<f64> = (1..100).map(|i| 1.0 / f64::from(i * 7)).collect();
    odd.push(2.5);
    agree(&Float64Array::from(odd), &Zone::Utc, ROWS);
}

#[test]
fn texts_longer_than_slots_take_the_slow_road() {
    let texts = StringViewArray::from(vec!["short", "longer than any slot that there is for it"]);
    assert!(slotted(&texts, oid::TEXT, Format::Text, &Zone::Utc, &(0..2)).is_none());
    let filler = filler(&texts, oid::TEXT, Format::Text, &Zone::Utc, &(0..2)).unwrap();
    assert!(matches!(filler.cells, Cells::Free(..)));
}

#[test]
fn long_texts_do_not_pile_up() {
    let long = Arc::new(StringArray::from(vec!["x".repeat(50_000); 100]));
    let rows = 0..100;
    let mut filler = filler(long.as_ref(), oid::TEXT, Format::Text, &Zone::Utc, &rows).unwrap();
    for _ in 0..2 {
        filler.fill(0, 100);
        let Cells::Free(bytes, ends) = &filler.cells else { panic!("a text without a slot") };
        assert_eq!((bytes.len(), ends.len()), (2 * 50_004, 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Columns of small numbers side by side, up to the first that has others in the rows asked for.
    #[test]
    fn small_whole_numbers_agree(
        columns in prop::collection::vec((0..10_u32, prop::option::weighted(0.2, any::<i64>())), 1..6),
        rows in 1..=ROWS,
        odd_at in 0..400_usize,
    ) {
        const ALL: usize = 300;
        let number = |scale: u32, at: usize| (at as u64 * 7919 % 10_u64.pow(scale % 4 + 1).min(8192)) as i64;
        let arrays: Vec<ArrayRef> = columns
            .iter()
            .map(|(scale, odd)| {
                let mut values: Vec<i64> = (0..ALL).map(|at| number(*scale, at)).collect();
                if let (Some(odd), Some(value)) = (odd, values.get_mut(odd_at)) {
                    *value = *odd;
                }
                match scale % 3 {
                    0 => Arc::new(Int64Array::from(values)) as ArrayRef,
                    1 => Arc::new(Int32Array::from_iter_values(values.iter().map(|v| *v as i32))),
                    _ => Arc::new(Int16Array::from_iter_values(values.iter().map(|v| *v as i16))),
                }
            })
            .collect();
        let with = |format| {
            arrays.iter().map(move |array| (array.as_ref(), oid_of(array.data_type()), format))
        };
        prop_assert!(small(with(Format::Binary), &(0..ALL)).is_none());
        let found = small(with(Format::Text), &(0..ALL));
        let taken = found.as_ref().map_or(0, |found| found.1);
        let first = arrays.get(taken).map(|array| {
            let wide = arrow::compute::cast(array, &DataType::Int64).unwrap();
            wide.as_primitive::<Int64Type>().values().iter().any(|v| !(0..8192).contains(v))
        });
        prop_assert!(first.unwrap_or(true), "a column of small numbers was left");
        if let Some((filler, count)) = found {
            let fast = cells_by(filler, ALL, rows);
            let slow: Vec<_> = with(Format::Text)
                .take(count)
                .map(|(array, oid, format)| free(array, oid, format, &Zone::Utc).unwrap())
                .map(|filler| cells_by(filler, ALL, rows))
                .collect();
            for (row, fast) in fast.iter().enumerate() {
                let slow: Vec<u8> = slow.iter().flat_map(|column| column[row].clone()).collect();
                prop_assert_eq!(fast, &slow);
            }
        }
    }
}

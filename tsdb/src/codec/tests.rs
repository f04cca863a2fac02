//! Round trips, size, and damage.

use std::ops::Range;

use proptest::prelude::*;

use super::bits::{pack, packed_len, unpack, unpack_after};
use super::*;
use crate::types::BytesColumn;

const LEVELS: [Level; 2] = [Level::Light, Level::Dense];

fn same(a: &Values, b: &Values) -> bool {
    match (a, b) {
        (Values::Float(a), Values::Float(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
        }
        (a, b) => a == b,
    }
}

/// Ranges of rows that begin and end at, before and behind all kinds of borders.
fn ranges(count: usize) -> Vec<Range<usize>> {
    let mut borders = vec![0, 1, 7, 8, count / 3, count / 2, count.saturating_sub(1), count];
    borders.extend([256, 2048, 2049, 2050, 4098]);
    borders.retain(|border| *border <= count);
    let ends = |from: usize| borders.iter().copied().filter(move |to| from <= *to);
    borders.iter().flat_map(|from| ends(*from).map(|to| *from..to)).collect()
}

/// Every range equals that of the whole.
fn check_ranges(values: &Values, stream: &[u8]) {
    for rows in ranges(values.len()) {
        let part = decode_values_range(values.physical(), stream, values.len(), rows.clone());
        let mut expected = Values::with_capacity(values.physical(), 0);
        expected.extend_range(values, rows.start, rows.end);
        let part = part.expect("decodes");
        assert!(same(&part, &expected), "{rows:?} of {values:?} became {part:?}");
    }
}

/// Decodes a damaged stream: an error, or as many values as asked for.
fn survive(kind: PhysicalType, stream: &[u8], count: usize) {
    let rows = [0..count, count / 2..count / 2 + 1, count / 3..count, 0..count / 3];
    for rows in rows.into_iter().filter(|rows| rows.end <= count) {
        match decode_values_range(kind, stream, count, rows.clone()) {
            // Without a crc some damage goes unseen, as the cut of a constant text.
            Ok(got) => assert_eq!(got.len(), rows.len()),
            Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error}"),
        }
    }
}

/// Encodes at both levels, decodes, and gives the lengths.
fn check(values: &Values) -> [usize; 2] {
    LEVELS.map(|level| {
        let mut stream = Vec::new();
        encode_values(ValuesRef::all(values), level, &mut stream);
        let back = decode_values(values.physical(), &stream, values.len()).expect("decodes");
        assert!(same(values, &back), "{level:?}: {values:?} became {back:?}");
        check_ranges(values, &stream);
        stream.len()
    })
}

fn texts<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Values {
    let mut column = BytesColumn::default();
    values.into_iter().for_each(|v| column.push(v.as_ref()));
    Values::Bytes(column)
}

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -5i64..5,
        Just(i64::MIN),
        Just(i64::MAX),
        (0i64..100).prop_map(|v| v * 10_000_000_000),
    ]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-9999i32..9999).prop_map(|v| f64::from(v) / 100.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::from_bits(0x7ff8_0000_dead_beef)),
        Just(f64::INFINITY),
        Just(f64::MIN_POSITIVE / 3.0),
    ]
}

/// Values in runs, so that every codec meets what it is for.
fn in_runs<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<T>> {
    proptest::collection::vec((value, 1usize..20), 0..60)
        .prop_map(|runs| runs.into_iter().flat_map(|(v, n)| std::iter::repeat_n(v, n)).collect())
}

proptest! {
    #[test]
    fn ints_come_back(values in proptest::collection::vec(any_int(), 0..300)) {
        check(&Values::Int(values));
    }

    #[test]
    fn ints_in_runs_come_back(values in in_runs(any_int())) {
        check(&Values::Int(values));
    }

    #[test]
    fn walks_come_back(steps in proptest::collection::vec(-4i64..5, 0..700), scale in 1i64..1000) {
        let mut at = 0;
        let walk = steps.iter().map(|s| { at += s * scale; at }).collect::<Vec<_>>();
        check(&Values::Float(walk.iter().map(|v| *v as f64 / 100.0).collect()));
        check(&Values::Int(walk));
    }

    #[test]
    fn floats_come_back(values in proptest::collection::vec(any_float(), 0..300)) {
        check(&Values::Float(values));
    }

    #[test]
    fn floats_in_runs_come_back(values in in_runs(any_float())) {
        check(&Values::Float(values));
    }

    #[test]
    fn decimals_come_back(values in proptest::collection::vec(-999_999i64..999_999, 0..300),
                          digits in 0i32..9) {
        check(&Values::Float(values.iter().map(|v| *v as f64 / 10f64.powi(digits)).collect()));
    }

    #[test]
    fn bools_come_back(values in in_runs(any::<bool>())) {
        check(&Values::Bool(values));
    }

    #[test]
    fn texts_come_back(values in in_runs(proptest::collection::vec(any::<u8>(), 0..12))) {
        check(&texts(values));
    }

    #[test]
    fn states_come_back(values in in_runs(prop_oneof![
        Just(0u8), Just(1), Just(2), Just(5), Just(6), Just(9), Just(10)])) {
        for level in LEVELS {
            let mut stream = Vec::new();
            encode_states(&values, level, &mut stream);
            prop_assert_eq!(&decode_states(&stream, values.len()).expect("decodes"), &values);
            for rows in ranges(values.len()) {
                let part = decode_states_range(&stream, values.len(), rows.clone());
                prop_assert_eq!(&part.expect("decodes")[..], &values[rows]);
            }
        }
    }

    #[test]
    fn unpacking_equals_its_scalar_twin(
        values in proptest::collection::vec(any::<u64>(), 0..200), width in 0u32..=64,
    ) {
        let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
        let values: Vec<u64> = values.iter().map(|v| v & mask).collect();
        let mut bytes = Vec::new();
        pack(values.iter().copied(), width, &mut bytes);
        prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
        prop_assert_eq!(&unpack_scalar(&bytes, values.len(), width), &values);
        for rows in ranges(values.len()) {
            let got = unpack(&bytes, values.len(), width, rows.clone(), |w| w).expect("unpacks");
            prop_assert_eq!(&got, &values[rows]);
        }
    }

    #[test]
    fn unpacking_behind_a_first_value_equals_unpacking(
        values in proptest::collection::vec(any::<u64>(), 0..100), width in 0u32..=64,
    ) {
        let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
        let mut bytes = Vec::new();
        pack(values.iter().map(|v| v & mask), width, &mut bytes);
        let plain = unpack(&bytes, values.len(), width, 0..values.len(), |w| w).expect("unpacks");
        let after = unpack_after(7, &bytes, values.len(), width, values.len(), |w| w);
        let after = after.expect("unpacks");
        prop_assert_eq!(after, [&[7], &plain[..]].concat());
    }

    #[test]
    fn decimals_equal_their_slow_twin(
        values in proptest::collection::vec((-9_007_199_254_740_992i64..9_007_199_254_740_992,
                                             0u32..54), 1..200),
        digits in 0u8..13, odd in proptest::option::of(any_float()),
    ) {
        let power = 10f64.powi(i32::from(digits));
        let mut values: Vec<f64> = values.iter().map(|(v, s)| (v >> s) as f64 / power).collect();
        values.extend(odd);
        let fast = floats::to_decimal(&values);
        prop_assert_eq!(&fast, &to_decimal_slow(&values));
        if let Some((digits, ints)) = fast {
            let power = 10f64.powi(i32::from(digits));
            let slow: Vec<u64> = ints.iter().map(|v| (*v as f64 / power).to_bits()).collect();
            let back = floats::from_decimal(ints, power);
            prop_assert_eq!(back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), slow);
        }
    }

    #[test]
    fn varints_come_back(value: u64, signed: i64) {
        let mut out = Vec::new();
        bytes::put_varint(&mut out, value);
        prop_assert_eq!(out.len(), bytes::varint_len(value));
        bytes::put_zigzag(&mut out, signed);
        let mut reader = bytes::Reader::new(&out);
        prop_assert_eq!(reader.varint().expect("a varint"), value);
        prop_assert_eq!(reader.zigzag().expect("a varint"), signed);
        reader.finish().expect("no more");
    }

    #[test]
    fn noise_is_an_error_or_values(stream in proptest::collection::vec(any::<u8>(), 0..80),
                                   codec in 0u8..13, count in 0usize..300) {
        let stream = [&[codec][..], &stream].concat();
        for kind in 1..=4 {
            let kind = PhysicalType::from_number(kind).expect("a type");
            survive(kind, &stream, count);
        }
        if let Ok(states) = decode_states(&stream, count) {
            prop_assert_eq!(states.len(), count);
        }
    }
}

/// Bit by bit.
fn unpack_scalar(bytes: &[u8], count: usize, width: u32) -> Vec<u64> {
    let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
    let width = width as usize;
    (0..count).map(|i| (0..width).fold(0, |v, b| v | bit(i * width + b) << b)).collect()
}

/// Value by value: digits grow until all values are integers.
fn to_decimal_slow(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut digits = digits_of(*values.first()?)?;
    loop {
        match values.iter().map(|v| decimal(*v, digits).ok_or(*v)).collect() {
            Ok(ints) => return Some((digits, ints)),
            Err(value) => digits = (digits + 1..=12).find(|d| decimal(value, *d).is_some())?,
        }
    }
}

/// A value for each codec that a type has.
fn samples() -> Vec<Values> {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    };
    let walk: Vec<i64> = (0..300)
        .scan(50i64, |at, _| {
            *at = (*at + random() as i64 % 5 - 2).clamp(0, 100);
            Some(*at)
        })
        .collect();
    let long: Vec<i64> =
        (0..3100i64).map(|i| (random() % 7 * random() % 5) as i64 + i / 9).collect();
    let scrambled = (0..20u64).map(|_| (random() << 33 ^ random()) as i64).collect();
    vec![
        Values::Int(vec![7; 40]),
        Values::Int((0..100).map(|i| i * i * i % 101).collect()),
        Values::Int((0..100).map(|i| i * 10_000_000_000).collect()),
        Values::Int(walk.clone()),
        Values::Int(scrambled),
        Values::Float(walk.iter().map(|v| *v as f64 / 10.0).collect()),
        Values::Float(walk.iter().map(|v| (*v as f64).sqrt()).collect()),
        Values::Float((0..100).map(|i| f64::from(i / 30).sqrt()).collect()),
        Values::Float(vec![f64::NAN, -0.0, f64::MIN, 1e300]),
        Values::Bool(walk.iter().map(|v| v % 3 == 0).collect()),
        Values::Bool((0..300).map(|i| i > 100).collect()),
        texts(["a"; 30]),
        texts((0..60).map(|i| format!("state {}", i % 3))),
        texts((0..60).map(|i| format!("a line of text number {i}, much like the others"))),
        texts((0..5).map(|i| format!("{i}"))),
        Values::Float(long.iter().map(|v| (*v as f64).sqrt()).collect()),
        Values::Int(long),
    ]
}

#[test]
fn samples_come_back_and_cut_streams_do_not() {
    for values in samples() {
        check(&values);
        for level in LEVELS {
            let mut stream = Vec::new();
            encode_values(ValuesRef::all(&values), level, &mut stream);
            for len in 0..stream.len() {
                survive(values.physical(), &stream[..len], values.len());
            }
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    for values in samples() {
        let mut stream = Vec::new();
        encode_values(ValuesRef::all(&values), Level::Dense, &mut stream);
        for bit in 0..stream.len() * 8 {
            stream[bit / 8] ^= 1 << (bit % 8);
            survive(values.physical(), &stream, values.len());
            stream[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn each_codec_is_chosen_where_it_belongs() {
    let chosen: Vec<[u8; 2]> = samples()
        .iter()
        .map(|values| {
            LEVELS.map(|level| {
                let mut stream = Vec::new();
                encode_values(ValuesRef::all(values), level, &mut stream);
                stream[0]
            })
        })
        .collect();
    use super::number::*;
    let expected = [
        [CONSTANT; 2],
        [PACKED; 2],
        [PACKED_DELTA; 2],
        [PACKED_DELTA, PCO],
        [PLAIN; 2],
        [DECIMAL; 2],
        [PLAIN, PCO],
        [RUN_LENGTH; 2],
        [PLAIN; 2],
        [BITMAP; 2],
        [RUN_LENGTH; 2],
        [CONSTANT; 2],
        [DICTIONARY; 2],
        [PLAIN, ZSTD],
        [PLAIN; 2],
        [PLAIN, PCO_PAGES],
        [PACKED_DELTA, PCO_PAGES],
    ];
    let names = |c: &[[u8; 2]]| c.iter().map(|c| c.map(name)).collect::<Vec<_>>();
    assert_eq!(names(&chosen), names(&expected));
}

/// Walks of `count` values in steps of `scale`, so that pco gets words of all widths.
fn walk(count: usize, scale: i64) -> Vec<i64> {
    let mut seed = scale as u64;
    let mut at = 0i64;
    let step = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let step = (seed >> 33) % 9 * ((seed >> 50) % 5);
        at += (step as i64 - 7) * scale + 1;
        at
    };
    (0..count).map(step).collect()
}

#[test]
fn long_streams_have_pages_and_short_ones_do_not() {
    for count in [3000, 3073, 3074, 5122, 5123, 8192, 20_000] {
        for scale in [1, 1000, 1 << 20, 1 << 44] {
            let ints = walk(count, scale);
            let mut stream = Vec::new();
            encode_ints(&ints, Level::Dense, &mut stream);
            let pages = if count < 3074 { number::PCO } else { number::PCO_PAGES };
            assert_eq!(number::name(stream[0]), number::name(pages), "{count} times {scale}");
            check(&Values::Float(ints.iter().map(|v| (*v as f64).sqrt()).collect()));
            check(&Values::Float(ints.iter().map(|v| *v as f64 / 100.0).collect()));
            check(&Values::Int(ints));
        }
    }
}

/// Tables of pages that no writer makes, in front of good pages.
#[test]
fn wrong_tables_of_pages_are_refused() {
    let ints = walk(5000, 1);
    let mut good = Vec::new();
    encode_ints(&ints, Level::Dense, &mut good);
    let mut reader = bytes::Reader::new(&good[1..]);
    reader.zigzag().expect("a base");
    reader.varint().expect("a divisor");
    reader.u8().expect("a width");
    let head = good.len() - reader.rest().len();
    assert_eq!(reader.u8().expect("pages"), 2);
    assert_eq!(reader.varint().expect("values of a page"), 2049);
    let start = reader.zigzag().expect("a start");
    let tables: [(u8, u64, &[i64]); 10] = [
        (0, 2049, &[]),
        (1, 2049, &[]),
        (2, 0, &[start]),
        (2, 5000, &[start]),
        (2, u64::MAX, &[start]),
        (255, 2049, &[start; 254]),
        (2, 2048, &[start]),
        (2, 2049, &[start + 1]),
        (2, 2049, &[i64::MIN]),
        (2, 2049, &[i64::MAX]),
    ];
    let stream = |(pages, values, starts): (u8, u64, &[i64])| {
        let mut stream = good[..head].to_vec();
        stream.push(pages);
        bytes::put_varint(&mut stream, values);
        starts.iter().for_each(|start| bytes::put_zigzag(&mut stream, *start));
        [&stream[..], reader.rest()].concat()
    };
    assert_eq!(stream((2, 2049, &[start])), good);
    for table in tables {
        let error = decode_ints(&stream(table), ints.len());
        assert!(matches!(error, Err(Error::Corrupt(_))), "{table:?}: {error:?}");
    }
}

#[test]
fn regular_times_cost_a_few_bytes() {
    let times = (0..8192).map(|i| 1_700_000_000_000_000_000 + i * 10_000_000_000).collect();
    for len in check(&Values::Int(times)) {
        assert!(len <= 20, "{len} bytes");
    }
}

#[test]
fn oversized_texts_are_refused() {
    let mut stream = vec![number::CONSTANT];
    stream.extend_from_slice(&[b'x'; 1 << 20]);
    assert!(matches!(decode_texts(&stream, 65), Err(Error::Corrupt(_))));
    assert!(decode_texts(&stream, 3).is_ok());
}

#[test]
fn a_large_dense_text_column_shrinks() {
    let values = texts((0..2000).map(|i| format!("press {} reported over-temperature", i * 7)));
    let [light, dense] = check(&values);
    assert!(dense * 3 < light, "{dense} of {light} bytes");
}

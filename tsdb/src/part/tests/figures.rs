//! Statistics against slow twins, and their way into bytes and back.

use proptest::prelude::*;

use super::super::stats_codec::{decode_stats, encode_stats};
use super::super::zones::zone_stats;
use super::*;
use crate::codec::ValuesRef;
use crate::codec::bytes::Reader;
use crate::error::Error;

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (-99_999i32..99_999).prop_map(|v| f64::from(v) / 100.0),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop_oneof![Just(f64::NAN), Just(-0.0), Just(f64::INFINITY), Just(f64::MAX)],
    ]
}

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -1000i64..1000, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

/// Zones of at most `most` values.
fn zones<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
    most: usize,
) -> impl Strategy<Value = Vec<Vec<T>>> {
    proptest::collection::vec(proptest::collection::vec(value, 1..=most), 0..12)
}

fn check_codec(kind: PhysicalType, stats: &[ZoneStats], rows: &[u32]) {
    for level in [Level::Light, Level::Dense] {
        let mut bytes = Vec::new();
        encode_stats(kind, stats, rows, level, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let back = decode_stats(kind, &mut reader, rows).expect("decodes");
        reader.finish().expect("no more");
        assert!(back.len() == stats.len() && back.iter().zip(stats).all(|(a, b)| a.same(b)));
        for len in 0..bytes.len() {
            let cut = decode_stats(kind, &mut Reader::new(&bytes[..len]), rows);
            assert!(matches!(cut, Err(Error::Corrupt(_))), "cut to {len} of {}", bytes.len());
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match decode_stats(kind, &mut Reader::new(&bytes), rows) {
                Ok(stats) => assert_eq!(stats.len(), rows.len()),
                Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error}"),
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn float_figures_come_back(zones in zones(any_float(), 40)) {
        let rows: Vec<u32> = zones.iter().map(|z| z.len() as u32).collect();
        let stats: Vec<_> = zones.iter().map(|z| zone_stats(ValuesRef::Float(z), None)).collect();
        check_codec(PhysicalType::Float, &stats, &rows);
    }

    #[test]
    fn int_figures_come_back_and_equal_their_slow_twin(zones in zones(any_int(), 40)) {
        let rows: Vec<u32> = zones.iter().map(|z| z.len() as u32).collect();
        let stats: Vec<_> = zones.iter().map(|z| zone_stats(ValuesRef::Int(z), None)).collect();
        for (zone, stats) in zones.iter().zip(&stats) {
            let sum: i128 = zone.iter().map(|v| i128::from(*v)).sum();
            let (Some(min), Some(max)) = (zone.iter().min(), zone.iter().max()) else {
                return Err(TestCaseError::fail("a zone without values"));
            };
            let expected = ZoneValues::Int {
                min: *min,
                max: *max,
                sum: i64::try_from(sum).ok(),
                first: zone[0],
                last: zone[zone.len() - 1],
            };
            prop_assert_eq!(stats.values, expected);
        }
        check_codec(PhysicalType::Int, &stats, &rows);
    }
}

/// Hours of a gauge with two decimals: the index stays small.
#[test]
fn decimal_gauges_have_a_small_index() {
    let mut at = 5000i64;
    let mut seed = 7u64;
    let mut values = Vec::new();
    for _ in 0..20 * 4320 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        at = (at + (seed >> 33) as i64 % 13 - 6).clamp(0, 10_000);
        values.push(at as f64 / 100.0);
    }
    let mut rows = regular(&[4320; 20], HOUR / 360);
    rows.columns = vec![(3, Column::good(Values::Float(values)))];
    for (level, most) in [(Level::Light, 100.0), (Level::Dense, 90.0)] {
        let storage = TestStorage::default();
        let spec = spec(level, &[(3, PhysicalType::Float)]);
        let part = write(&storage, spec, std::slice::from_ref(&rows)).expect("writes");
        part.verify().expect("verifies");
        let lead = groups(&part).len() as f64 * 30.0;
        let per_block = (part.meta().index_bytes as f64 - lead) / groups(&part).len() as f64;
        println!("{level:?}: {per_block:.1} bytes of index per block");
        assert!(per_block < most, "{level:?}: {per_block} bytes of index per block");
    }
}

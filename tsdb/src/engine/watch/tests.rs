//! Rows of watches as bytes, of both versions.

use super::*;
use crate::engine::tests::golden::golden;

fn range(min: i64, max: i64) -> TimeRange {
    TimeRange::new(min, max)
}

fn watch() -> Watch {
    let (mut before, mut since) = (Changes::default(), Changes::default());
    before.note(range(-9, 2));
    since.note(range(3, 4));
    since.note(range(10, 49));
    Watch { number: 7, grain: 1_000, until: 50, done: -7, before, since }
}

/// Rows of before single series were noted: what they tell is of all.
#[test]
fn rows_of_version_1() {
    let read = Watch::decode(7, &golden("watch-row-v1")).unwrap();
    assert_eq!(read, watch());
    assert!(read.changed_of_some().is_empty());
    let changed = [range(-9, 4), range(10, 49)];
    assert_eq!((read.changed_of_all(), read.changed()), (changed.to_vec(), changed.to_vec()));
}

#[test]
fn rows_of_version_2() {
    let bytes = golden("watch-row-v2");
    let read = Watch::decode(7, &bytes).unwrap();
    let some = vec![(5, range(20, 29)), (1, range(-5, -3)), (300, range(20, 29))];
    assert_eq!(read.changed_of_some(), some);
    assert_eq!(read.changed_of_all(), watch().changed_of_all());
    assert_eq!(read.encode(), bytes);
    for cut in 0..bytes.len() {
        assert!(Watch::decode(7, &bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let _ = Watch::decode(7, &bad);
    }
    let mut newer = bytes.clone();
    newer[0] = 3;
    assert!(Watch::decode(7, &newer).unwrap_err().to_string().contains("version 3"));
}

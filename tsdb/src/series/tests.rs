//! Tests of the series index against a plain model, and of its files against damage.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::types::shard_of;

const TABLE: TableId = 7;

fn key(pairs: &[(ColumnId, &str)]) -> Key {
    Key::new(pairs.iter().map(|(id, value)| (*id, value.as_bytes())))
}

/// Keys of up to four columns; few values each, so that series share them, and some long ones.
fn keys() -> impl Strategy<Value = Vec<Key>> {
    let value = prop_oneof![
        3 => (0u8..4).prop_map(|v| vec![v]),
        2 => (0u8..200).prop_map(|v| format!("host_{v}").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    let pairs = proptest::collection::vec((0u16..4, value), 0..5).prop_map(|pairs| {
        let pairs: BTreeMap<u16, Vec<u8>> = pairs.into_iter().collect();
        Key::new(pairs.iter().map(|(id, value)| (*id * 3, &value[..])))
    });
    proptest::collection::vec(pairs, 0..300)
}

fn filled(keys: &[Key]) -> (SeriesIndex, Vec<Key>) {
    let index = SeriesIndex::new(TABLE);
    let mut model: BTreeMap<Key, u32> = BTreeMap::new();
    let mut order = Vec::new();
    for key in keys {
        let known = model.get(key).copied();
        let expect = known.unwrap_or(order.len() as u32);
        assert_eq!(index.lookup(key), known);
        assert_eq!(index.get_or_insert(key), (expect, known.is_none()));
        if known.is_none() {
            model.insert(key.clone(), expect);
            order.push(key.clone());
        }
    }
    (index, order)
}

/// Everything that can be asked of an index equals what its keys say.
fn check_same(index: &SeriesIndex, keys: &[Key]) {
    assert_eq!(index.len() as usize, keys.len());
    assert_eq!(index.is_empty(), keys.is_empty());
    for (series, key) in keys.iter().enumerate() {
        let series = series as u32;
        assert_eq!(index.key(series).as_ref(), Some(key));
        assert_eq!(index.lookup(key), Some(series));
        for shards in [0, 1, 3, 16] {
            assert_eq!(index.shard(series, shards), shard_of(key, shards));
        }
    }
    let end = keys.len() as u32;
    assert_eq!(index.key(end), None);
    assert_eq!(index.lookup(&key(&[(3, "of nobody")])), None);
    for limit in [0, end / 3, end, u32::MAX] {
        assert_eq!(index.all(limit).to_vec(), (0..end.min(limit)).collect::<Vec<_>>());
        for column in [0, 3, 6, 9, 77] {
            check_column(index, keys, column, limit);
        }
    }
    assert!(index.memory() > 0);
}

fn check_column(index: &SeriesIndex, keys: &[Key], column: ColumnId, limit: u32) {
    let below = &keys[..keys.len().min(limit as usize)];
    let mut distinct: Vec<Vec<u8>> = Vec::new();
    for value in below.iter().filter_map(|key| key.get(column)) {
        if !distinct.iter().any(|known| known == value) {
            distinct.push(value.to_vec());
        }
    }
    assert_eq!(index.distinct(column, limit), distinct);
    let check = |test: KeyTest, passes: &dyn Fn(Option<&[u8]>) -> bool| {
        let naive: Vec<u32> =
            (0..).zip(below).filter(|(_, k)| passes(k.get(column))).map(|(s, _)| s).collect();
        assert_eq!(index.select(column, &test, limit).to_vec(), naive, "{test:?} of {column}");
    };
    check(KeyTest::Missing, &|value| value.is_none());
    check(KeyTest::Present, &|value| value.is_some());
    check(KeyTest::Equals(Vec::new()), &|value| value == Some(&[]));
    for value in distinct.iter().take(3).cloned().chain([b"host_7".to_vec()]) {
        check(KeyTest::Equals(value.clone()), &|v| v == Some(&value));
    }
    let some: Vec<Vec<u8>> = distinct.iter().rev().step_by(2).cloned().chain([vec![]]).collect();
    check(KeyTest::In(some.clone()), &|v| v.is_some_and(|v| some.contains(&v.to_vec())));
    let even = |v: Option<&[u8]>| v.is_some_and(|v| v.last().is_some_and(|b| b % 2 == 0));
    check(KeyTest::Matches(Box::new(even)), &even);
    check(KeyTest::Matches(Box::new(|v| v.is_none())), &|v| v.is_none());
    check(KeyTest::Matches(Box::new(|_| true)), &|_| true);
    let not_first = |v: Option<&[u8]>| v.is_none_or(|v| v != [0]);
    check(KeyTest::Matches(Box::new(not_first)), &not_first);
}

fn check_groups(index: &SeriesIndex, keys: &[Key], columns: &[ColumnId], series: &[u32]) {
    let bitmap = Bitmap::of(series);
    let series = bitmap.to_vec();
    let groups = index.groups(columns, &bitmap);
    let mut model: Vec<Vec<Option<Vec<u8>>>> = Vec::new();
    let mut of = Vec::new();
    for series in &series {
        let key = &keys[*series as usize];
        let values: Vec<_> = columns.iter().map(|c| key.get(*c).map(<[u8]>::to_vec)).collect();
        of.push(model.iter().position(|known| *known == values).unwrap_or_else(|| {
            model.push(values);
            model.len() - 1
        }) as u32);
    }
    assert_eq!(groups.of, of);
    assert_eq!(groups.count as usize, model.len());
    for at in 0..columns.len() {
        let (codes, dictionary) = groups.values(index, at);
        for (group, values) in model.iter().enumerate() {
            assert_eq!(groups.value(group as u32, at), values[at]);
            assert_eq!(dictionary.get(codes[group] as usize), values[at].as_ref());
        }
    }
    assert_eq!(groups.value(groups.count, 0), None);
    assert_eq!(groups.value(0, columns.len()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn answers_like_a_map_of_keys(keys in keys()) {
        let (index, keys) = filled(&keys);
        check_same(&index, &keys);
    }

    #[test]
    fn groups_like_a_list_of_values(
        keys in keys(),
        columns in proptest::collection::vec((0usize..4).prop_map(|at| [0, 3, 6, 8][at]), 0..4),
        share in 1usize..4,
    ) {
        let (index, keys) = filled(&keys);
        let series: Vec<u32> = (0..keys.len() as u32).step_by(share).collect();
        check_groups(&index, &keys, &columns, &series);
        for column in columns {
            let (codes, dictionary) = index.values_of(column, &series);
            for (series, code) in series.iter().zip(&codes) {
                let value = dictionary.get(*code as usize).map(|value| &value[..]);
                prop_assert_eq!(value, keys[*series as usize].get(column));
            }
            let used: std::collections::BTreeSet<u32> =
                codes.into_iter().filter(|code| *code != u32::MAX).collect();
            prop_assert_eq!(used.len(), dictionary.len());
        }
    }

    #[test]
    fn files_hold_any_slices(
        keys in keys(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (index, keys) = filled(&keys);
        let mut ends: Vec<u32> = cuts.iter().map(|cut| cut.index(keys.len() + 1) as u32).collect();
        ends.push(keys.len() as u32);
        ends.sort_unstable();
        let copy = SeriesIndex::new(TABLE);
        let mut from = 0;
        for to in ends {
            copy.load(&index.encode_range(from, to)).unwrap();
            from = to;
        }
        check_same(&copy, &keys);
        // The copy goes on as the original would.
        let next = key(&[(3, "host_7"), (200, "new")]);
        prop_assert_eq!(copy.get_or_insert(&next), index.get_or_insert(&next));
        prop_assert_eq!(copy.encode_range(0, copy.len()), index.encode_range(0, index.len()));
    }

    #[test]
    fn packed_numbers_come_back(
        values in proptest::collection::vec(any::<u32>(), 0..90),
        width in 1u32..33,
    ) {
        let values: Vec<u32> = values.into_iter().map(|v| v >> (32 - width)).collect();
        let mut out = Vec::new();
        bytes::put_packed(&mut out, &values, width);
        prop_assert_eq!(out.len(), bytes::packed_len(values.len(), width));
        prop_assert_eq!(bytes::unpack(&out, values.len(), width), values);
    }

    #[test]
    fn varints_come_back(value in any::<u64>(), shift in 0u32..64) {
        let value = value >> shift;
        let mut out = Vec::new();
        bytes::put_varint(&mut out, value);
        let mut reader = bytes::Reader::new("test", &out);
        prop_assert_eq!(reader.varint(value).unwrap(), value);
        reader.end().unwrap();
        if value > 0 {
            prop_assert!(bytes::Reader::new("test", &out).varint(value - 1).is_err());
        }
    }

    #[test]
    fn any_bytes_load_or_are_corrupt(mut body in proptest::collection::vec(any::<u8>(), 0..200)) {
        // A right checksum and header, so that what follows is looked at.
        let mut file = SeriesIndex::new(TABLE).encode_range(0, 0);
        file.truncate(28);
        file.append(&mut body);
        file[6] = 1;
        file[16] = 3;
        seal(&mut file);
        if let Err(error) = SeriesIndex::new(TABLE).load(&file) {
            prop_assert!(matches!(error, Error::Corrupt(_)));
        }
    }
}

/// Puts length and checksum right after a change of the bytes before.
fn seal(file: &mut Vec<u8>) {
    let len = file.len() as u64 + 4;
    file[20..28].copy_from_slice(&len.to_le_bytes());
    let checksum = crc32fast::hash(file);
    file.extend_from_slice(&checksum.to_le_bytes());
}

fn small() -> (SeriesIndex, Vec<Key>) {
    filled(&[
        key(&[(1, "press_1"), (2, "north")]),
        key(&[(1, "press_2"), (2, "north")]),
        key(&[]),
        key(&[(1, "press_10"), (2, "north"), (5, "a")]),
        key(&[(2, "south")]),
    ])
}

#[test]
fn walking_codes_equals_joining_postings() {
    let keys: Vec<Key> = (0..5000)
        .filter(|i| i % 7 != 3)
        .map(|i| key(&[(1, &format!("v{}", i * 31 % 900)), (2, &i.to_string())]))
        .collect();
    let (index, keys) = filled(&keys);
    for share in [1, 2, 3, 50] {
        let test = move |value: Option<&[u8]>| {
            value.is_some_and(|value| value.iter().map(|b| u32::from(*b)).sum::<u32>() % share == 0)
        };
        for limit in [5000, 777] {
            let found = index.select(1, &KeyTest::Matches(Box::new(test)), limit);
            let naive: Vec<u32> = (0..limit.min(keys.len() as u32))
                .filter(|series| test(keys[*series as usize].get(1)))
                .collect();
            assert_eq!(found.to_vec(), naive);
        }
    }
}

#[test]
fn a_predicate_sees_each_value_once() {
    use std::sync::Mutex;
    let keys: Vec<Key> =
        (0..4000).map(|i| key(&[(1, &(i % 3000).to_string()), (2, &i.to_string())])).collect();
    let (index, _) = filled(&keys);
    let seen: Arc<Mutex<BTreeMap<Option<Vec<u8>>, u32>>> = Arc::default();
    let count = seen.clone();
    let test = KeyTest::Matches(Box::new(move |value| {
        *count.lock().unwrap().entry(value.map(<[u8]>::to_vec)).or_default() += 1;
        true
    }));
    assert_eq!(index.select(1, &test, u32::MAX).cardinality(), 4000);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3001);
    assert!(seen.values().all(|times| *times == 1));
}

#[test]
fn a_new_key_column_widens_without_a_rewrite() {
    let (index, mut keys) = small();
    let file = index.encode_range(0, index.len());
    let wide = key(&[(1, "press_1"), (2, "north"), (9, "hall_4")]);
    assert_eq!(index.get_or_insert(&wide), (5, true));
    assert_eq!(index.lookup(&keys[0]), Some(0));
    assert_eq!(index.select(9, &KeyTest::Missing, 6).to_vec(), [0, 1, 2, 3, 4]);
    // The file of before is the same still, and the rest goes into a file of its own.
    assert_eq!(index.encode_range(0, 5), file);
    let copy = SeriesIndex::new(TABLE);
    copy.load(&file).unwrap();
    copy.load(&index.encode_range(5, 6)).unwrap();
    keys.push(wide);
    check_same(&copy, &keys);
}

#[test]
fn readers_go_on_beside_the_writer() {
    let index = SeriesIndex::new(TABLE);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..20_000u32 {
                index.get_or_insert(&key(&[(1, &i.to_string()), (2, &(i % 10).to_string())]));
            }
        });
        scope.spawn(|| {
            while index.len() < 20_000 {
                let limit = index.len();
                let all = index.select(2, &KeyTest::Present, limit);
                assert_eq!(all.cardinality(), u64::from(limit));
                assert_eq!(index.groups(&[2], &all).count, limit.min(10));
            }
        });
    });
}

#[test]
fn every_prefix_and_bit_flip_of_a_file_is_corrupt() {
    let (index, _) = small();
    let file = index.encode_range(0, index.len());
    let check = |bytes: &[u8]| {
        let copy = SeriesIndex::new(TABLE);
        assert!(matches!(copy.load(bytes), Err(Error::Corrupt(_))));
        assert_eq!(copy.len(), 0);
    };
    for len in 0..file.len() {
        check(&file[..len]);
    }
    for bit in 0..file.len() * 8 {
        let mut file = file.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        check(&file);
    }
    check(&[&file[..], &[0]].concat());
}

/// With the checksum put right, each changed byte either loads as some other valid index or is
/// corrupt; nothing panics and nothing is left half loaded.
#[test]
fn damage_under_a_right_checksum_never_panics() {
    let (index, _) = small();
    let mut body = index.encode_range(0, index.len());
    body.truncate(body.len() - 4);
    for at in 0..body.len() {
        for change in 1..=255u8 {
            let mut file = body.clone();
            file[at] ^= change;
            seal(&mut file);
            let copy = SeriesIndex::new(TABLE);
            match copy.load(&file) {
                Ok(()) => {
                    let keys: Vec<Key> = (0..copy.len()).filter_map(|s| copy.key(s)).collect();
                    check_same(&copy, &keys);
                }
                Err(Error::Corrupt(_) | Error::Newer(_)) => assert_eq!(copy.len(), 0),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_file_must_go_on_where_the_index_ends() {
    let (index, keys) = small();
    let copy = SeriesIndex::new(TABLE);
    assert!(matches!(copy.load(&index.encode_range(1, 5)), Err(Error::Corrupt(_))));
    copy.load(&index.encode_range(0, 3)).unwrap();
    assert!(matches!(copy.load(&index.encode_range(2, 5)), Err(Error::Corrupt(_))));
    assert!(matches!(copy.load(&index.encode_range(4, 5)), Err(Error::Corrupt(_))));
    copy.load(&index.encode_range(3, 3)).unwrap();
    copy.load(&index.encode_range(3, 5)).unwrap();
    check_same(&copy, &keys);
    let other = SeriesIndex::new(TABLE + 1);
    assert!(matches!(other.load(&index.encode_range(0, 5)), Err(Error::Corrupt(_))));
}

#[test]
fn a_file_that_repeats_a_key_changes_nothing() {
    // Series 0..40 and then, in the file, three new ones and one of the old.
    let old: Vec<Key> = (0..40).map(|i| key(&[(1, "a"), (2, &i.to_string())])).collect();
    let (index, keys) = filled(&old);
    let mut other = old[..36].to_vec();
    other.extend((0..3).map(|i| key(&[(1, "b"), (2, "7"), (3, &i.to_string())])));
    other.push(key(&[(1, "a"), (4, "x")]));
    other.extend([key(&[(1, "a"), (2, "39"), (4, "x")]), old[38].clone()]);
    other.push(key(&[(2, "fresh")]));
    let (other, _) = filled(&other);
    let mut file = other.encode_range(36, other.len());
    file.truncate(file.len() - 4);
    file[12..16].copy_from_slice(&40u32.to_le_bytes());
    file[16..20].copy_from_slice(&(40 + other.len() - 36).to_le_bytes());
    seal(&mut file);
    let before = index.encode_range(0, 40);
    assert!(matches!(index.load(&file), Err(Error::Corrupt(_))));
    check_same(&index, &keys);
    assert_eq!(index.encode_range(0, 40), before);
    let next = key(&[(2, "fresh")]);
    assert_eq!(index.get_or_insert(&next), (40, true));
    assert_eq!(index.select(2, &KeyTest::Equals(b"fresh".to_vec()), 41).to_vec(), [40]);
}

/// Version 1, frozen. The dictionaries are too small for zstd to gain, so the bytes depend on
/// nothing but the format.
#[test]
fn golden_bytes_of_version_1() {
    let (index, keys) = small();
    let golden = hex(GOLDEN_1);
    assert_eq!(to_hex(&index.encode_range(0, 5)), to_hex(&golden));
    let copy = SeriesIndex::new(TABLE);
    copy.load(&golden).unwrap();
    check_same(&copy, &keys);
}

/// A file with a compressed dictionary and run-length codes; only reading it is frozen.
#[test]
fn golden_bytes_of_version_1_compressed() {
    let (_, keys) = hosts_in_halls();
    let copy = SeriesIndex::new(TABLE);
    copy.load(&hex(GOLDEN_1_ZSTD)).unwrap();
    check_same(&copy, &keys);
}

fn hosts_in_halls() -> (SeriesIndex, Vec<Key>) {
    let keys: Vec<Key> = (0..100)
        .map(|i| key(&[(1, &format!("host_{i}")), (2, if i < 60 { "hall" } else { "yard" })]))
        .collect();
    filled(&keys)
}

const GOLDEN_1: &str = "\
    4d4c5352010003000700000000000000050000005e00000000000000010003161000100006060701\
    0270726573735f3132313002c9000200020a0e000e000005056e6f727468736f7574680245020500\
    010103000300016102089faab159";
const GOLDEN_1_ZSTD: &str = "\
    4d4c5352010002000700000000000000640000008600000000000000010064b205ba02014328b52f\
    fd603a00cd0100f0000506060102686f73745f303132333435363738393132333435363738390ea0\
    30b0fb6780c31e7bbb377bbbdbce6d569b21c2bad1a7767f01020002080c000c0000040468616c6c\
    796172640304013c0228f5d046f3";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers below what is asked for, the same in each run.
fn drawer() -> impl FnMut(u64) -> u64 {
    let mut state = 1u64;
    move |end| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    }
}

#[test]
fn a_thousand_hosts_take_under_12_kb() {
    let mut draw = drawer();
    let keys: Vec<Key> = (0..1000)
        .map(|host| {
            let region = draw(9);
            key(&[
                (1, &format!("host_{host}")),
                (2, &format!("eu-region-{region}")),
                (3, &format!("eu-region-{region}{}", draw(3))),
                (4, &draw(100).to_string()),
                (5, ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"][draw(3) as usize]),
                (6, ["x64", "x86"][draw(2) as usize]),
                (7, ["SF", "NYC", "LON", "CHI"][draw(4) as usize]),
                (8, &draw(20).to_string()),
                (9, &draw(2).to_string()),
                (10, ["production", "staging", "test"][draw(3) as usize]),
            ])
        })
        .collect();
    let (index, keys) = filled(&keys);
    let file = index.encode_range(0, 1000);
    eprintln!("file {} B, memory {} B", file.len(), index.memory());
    assert!(file.len() < 12 << 10, "{} bytes", file.len());
    let copy = SeriesIndex::new(TABLE);
    copy.load(&file).unwrap();
    check_same(&copy, &keys);
}

#[test]
fn a_million_hosts_take_under_8_mb() {
    let index = SeriesIndex::new(TABLE);
    let count = 1_000_000u64;
    let mut hosts: Vec<u64> = (0..count).collect();
    let mut draw = drawer();
    for at in (1..count).rev() {
        hosts.swap(at as usize, draw(at + 1) as usize);
    }
    for host in hosts {
        index.get_or_insert(&key(&[(1, &format!("host_{host}"))]));
    }
    let file = index.encode_range(0, count as u32);
    assert!(file.len() < 8_000_000, "{} bytes", file.len());
    assert!(index.memory() < 96_000_000, "{} bytes", index.memory());
    let copy = SeriesIndex::new(TABLE);
    copy.load(&file).unwrap();
    for series in (0..count as u32).step_by(997) {
        assert_eq!(copy.key(series), index.key(series));
    }
    eprintln!("file {} B, memory {} B", file.len(), index.memory());
}

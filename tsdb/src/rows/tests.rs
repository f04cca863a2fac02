//! Tests of the row store: commands, snapshots, and what a crash or a failing file leaves.

pub(super) mod disk;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use disk::{Disk, Folder, Random};

/// The rows as a plain map.
type Model = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

fn put(space: u16, key: &str, value: &str) -> RowChange {
    RowChange::Put { space, key: key.into(), value: value.into() }
}

fn delete(space: u16, key: &str) -> RowChange {
    RowChange::Delete { space, key: key.into() }
}

fn expect(space: u16, key: &str, value: Option<&str>) -> RowExpect {
    RowExpect { space, key: key.into(), value: value.map(Into::into) }
}

fn command(expects: &[RowExpect], changes: &[RowChange]) -> RowCommand {
    RowCommand { expects: expects.to_vec(), changes: changes.to_vec() }
}

fn open(disk: &Arc<Disk>) -> Result<RowStore> {
    RowStore::open(disk.clone())
}

fn apply_to_model(model: &mut Model, command: &RowCommand) -> RowOutcome {
    for expect in &command.expects {
        if model.get(&(expect.space, expect.key.clone())) != expect.value.as_ref() {
            return RowOutcome::Refused { space: expect.space, key: expect.key.clone() };
        }
    }
    for change in &command.changes {
        match change.clone() {
            RowChange::Put { space, key, value } => model.insert((space, key), value),
            RowChange::Delete { space, key } => model.remove(&(space, key)),
            RowChange::DeletePrefix { space, prefix } => {
                model.retain(|(of, key), _| *of != space || !key.starts_with(&prefix));
                None
            }
        };
    }
    RowOutcome::Applied
}

fn contents(store: &RowStore, spaces: u16) -> Model {
    let snapshot = store.snapshot().unwrap();
    let mut model = Model::new();
    for space in 0..spaces {
        for (key, value) in snapshot.scan(space, &[]).unwrap() {
            model.insert((space, key), value);
        }
    }
    model
}

fn text(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|(key, value)| {
            (std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap())
        })
        .collect()
}

#[test]
fn rows_come_and_go() {
    let store = open(&Disk::new(Vec::new())).unwrap();
    assert_eq!((store.applied_position(), store.durable_position()), (0, 0));
    let first = command(&[], &[put(1, "b", "2"), put(1, "a", "1"), put(2, "a", "x")]);
    assert_eq!(store.apply(5, &first).unwrap(), RowOutcome::Applied);
    let before = store.snapshot().unwrap();
    assert_eq!(before.position(), 5);
    let second = command(&[], &[delete(1, "a"), put(1, "c", "3"), delete(1, "nobody")]);
    store.apply(6, &second).unwrap();
    assert_eq!(text(&before.scan(1, b"").unwrap()), [("a", "1"), ("b", "2")]);
    let after = store.snapshot().unwrap();
    assert_eq!(text(&after.scan(1, b"").unwrap()), [("b", "2"), ("c", "3")]);
    assert_eq!(after.get(1, b"c").unwrap(), Some(b"3".to_vec()));
    assert_eq!(after.get(1, b"a").unwrap(), None);
    assert_eq!(after.clone().get(2, b"a").unwrap(), Some(b"x".to_vec()));
    assert_eq!((store.applied_position(), store.durable_position()), (6, 0));
    assert_eq!(store.checkpoint().unwrap(), 6);
    assert_eq!(store.durable_position(), 6);
}

#[test]
fn scans_stay_in_their_space_and_prefix() {
    let store = open(&Disk::new(Vec::new())).unwrap();
    let key = |bytes: &[u8]| RowChange::Put { space: 0xff, key: bytes.into(), value: vec![1] };
    let all: [&[u8]; 7] = [b"", b"a", b"ab", b"ab\xff", b"ac", b"\xff", b"\xff\xff"];
    let mut changes: Vec<RowChange> = all.iter().map(|bytes| key(bytes)).collect();
    changes.extend([put(0x100, "", "next"), put(0xfe, "z", "before"), put(0xffff, "w", "last")]);
    store.apply(1, &command(&[], &changes)).unwrap();
    let snapshot = store.snapshot().unwrap();
    let keys = |rows: RowList| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(snapshot.scan(0xff, b"").unwrap()), all);
    assert_eq!(keys(snapshot.scan(0xff, b"ab").unwrap()), all[2..4]);
    assert_eq!(keys(snapshot.scan(0xff, b"\xff").unwrap()), all[5..]);
    assert_eq!(keys(snapshot.scan(0xff, b"b").unwrap()), Vec::<Vec<u8>>::new());
    assert_eq!(keys(snapshot.scan_from(0xff, b"ab\xff", 2).unwrap()), all[3..5]);
    assert_eq!(keys(snapshot.scan_from(0xff, b"ad", 9).unwrap()), all[5..]);
    assert_eq!(keys(snapshot.scan_from(0xff, b"", 0).unwrap()), Vec::<Vec<u8>>::new());
    assert_eq!(keys(snapshot.scan(0xffff, b"").unwrap()), [b"w"]);
    assert_eq!(keys(snapshot.scan_from(0xffff, b"x", 9).unwrap()), Vec::<Vec<u8>>::new());
}

#[test]
fn a_refused_command_changes_nothing_and_others_stand() {
    let store = open(&Disk::new(Vec::new())).unwrap();
    let make = command(&[expect(1, "u", None)], &[put(1, "u", "ann")]);
    let swap = command(&[expect(1, "u", Some("ann"))], &[put(1, "u", "bob"), put(1, "n", "1")]);
    let late = command(&[expect(1, "n", Some("1")), expect(1, "u", None)], &[delete(1, "n")]);
    let refused = RowOutcome::Refused { space: 1, key: b"u".to_vec() };
    let outcomes = store.apply_many(3, &[&make, &make, &swap, &swap, &late]).unwrap();
    let expected =
        [RowOutcome::Applied, refused.clone(), RowOutcome::Applied, refused.clone(), refused];
    assert_eq!(outcomes, expected);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(text(&snapshot.scan(1, b"").unwrap()), [("n", "1"), ("u", "bob")]);
}

#[test]
fn replay_skips_what_is_applied() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    store.apply(4, &command(&[], &[put(1, "a", "new")])).unwrap();
    let old = command(&[], &[put(1, "a", "old")]);
    for position in [0, 1, 4] {
        assert_eq!(store.apply(position, &old).unwrap(), RowOutcome::Applied);
        assert_eq!(store.apply_many(position, &[&old, &old]).unwrap().len(), 2);
    }
    assert_eq!(store.snapshot().unwrap().get(1, b"a").unwrap(), Some(b"new".to_vec()));
    // Records that are none of the row store's move the position too.
    store.apply_many(9, &[]).unwrap();
    assert_eq!((store.applied_position(), store.snapshot().unwrap().position()), (9, 9));
    assert_eq!(store.checkpoint().unwrap(), 9);
    drop(store);
    let store = open(&disk).unwrap();
    assert_eq!((store.applied_position(), store.durable_position()), (9, 9));
}

#[test]
fn a_closed_store_keeps_what_was_applied() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    store.apply(4, &command(&[], &[put(1, "a", "x")])).unwrap();
    drop(store);
    let store = open(&Disk::new(disk.durable())).unwrap();
    assert_eq!(store.applied_position(), 4);
    assert_eq!(store.snapshot().unwrap().get(1, b"a").unwrap(), Some(b"x".to_vec()));
}

#[test]
fn commands_over_a_limit_are_invalid() {
    let store = open(&Disk::new(Vec::new())).unwrap();
    let key = vec![0; ROW_KEY_BYTES_MAX + 1];
    let value = vec![0; ROW_VALUE_BYTES_MAX + 1];
    let long_key = command(&[RowExpect { space: 1, key, value: None }], &[]);
    let long_value = command(&[], &[RowChange::Put { space: 1, key: vec![], value }]);
    for bad in [long_key, long_value] {
        assert!(matches!(store.apply(1, &bad), Err(Error::Invalid(_))));
        let mut bytes = Vec::new();
        bad.encode(&mut bytes);
        assert!(matches!(RowCommand::decode(&bytes), Err(Error::Corrupt(_))));
    }
    // Nothing happened, and the store is still good.
    assert_eq!(store.applied_position(), 0);
    store.apply(1, &command(&[], &[put(1, "a", "1")])).unwrap();
}

#[test]
fn a_file_of_something_else_is_corrupt() {
    for bytes in [vec![7; 10_000], vec![0; 10_000], b"MLSR".to_vec()] {
        assert!(matches!(open(&Disk::new(bytes)), Err(Error::Corrupt(_))));
    }
}

#[test]
fn a_folder_never_shows_half_a_store() {
    let folder = Folder::default();
    folder.create("rows.redb.new").unwrap().write_at(0, b"half a store").unwrap();
    let store = RowStore::open_in(&folder, "", "rows.redb").unwrap();
    store.apply(1, &command(&[], &[put(1, "a", "1")])).unwrap();
    drop(store);
    assert_eq!(folder.list("").unwrap(), ["rows.redb"]);
    let store = RowStore::open_in(&folder, "", "rows.redb").unwrap();
    assert_eq!(store.applied_position(), 1);
}

fn random_command(random: &mut Random) -> RowCommand {
    let mut made = RowCommand::default();
    for _ in 0..random.below(6) + 1 {
        let space = random.below(3) as u16;
        let key = format!("key{}", random.below(60)).into_bytes();
        if random.below(12) == 0 {
            let prefix = key[..key.len() - 1].to_vec();
            made.changes.push(RowChange::DeletePrefix { space, prefix });
        } else if random.below(4) == 0 {
            made.changes.push(RowChange::Delete { space, key });
        } else {
            let len = if random.below(20) == 0 { 20_000 } else { 300 };
            let value = vec![random.below(256) as u8; random.below(len) as usize];
            made.changes.push(RowChange::Put { space, key, value });
        }
    }
    if random.below(5) == 0 {
        made.expects.push(expect(0, &format!("key{}", random.below(60)), None));
    }
    made
}

/// Runs random commands with checkpoints now and then until the end or a failure. Gives the
/// commands and the model after each (at its position, from 1).
fn run(store: &RowStore, disk: &Disk, random: &mut Random) -> (Vec<RowCommand>, Vec<Model>) {
    let (mut commands, mut models) = (Vec::new(), vec![Model::new()]);
    for position in 1..=random.below(60) + 20 {
        let command = random_command(random);
        let mut model = models.last().cloned().unwrap_or_default();
        let expected = apply_to_model(&mut model, &command);
        commands.push(command.clone());
        models.push(model);
        match store.apply(position, &command) {
            Ok(outcome) => assert_eq!(outcome, expected),
            Err(_) => break,
        }
        if random.below(8) == 0 {
            disk.note_checkpoint(position);
            if store.checkpoint().is_err() {
                break;
            }
            disk.note_checkpoint_done(position);
        }
    }
    (commands, models)
}

#[test]
fn a_crash_leaves_the_last_checkpoint() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let disk = Disk::new(Vec::new());
        let store = open(&disk).unwrap();
        disk.crash_after(random.below(250), seed);
        let (commands, models) = run(&store, &disk, &mut random);
        let (image, done, begun) = disk.crash_image(seed);
        // Before the store is dropped, as dropping makes everything durable.
        let again = open(&Disk::new(image)).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let position = again.applied_position();
        assert!(position == done || position == begun, "seed {seed}: {position} {done} {begun}");
        assert_eq!(contents(&again, 3), models[position as usize], "seed {seed}");
        for (position, command) in (1..).zip(&commands) {
            again.apply(position, command).unwrap();
        }
        assert_eq!(Some(&contents(&again, 3)), models.last(), "seed {seed}");
    }
}

#[test]
fn after_a_failure_everything_is_refused_with_its_cause() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let disk = Disk::new(Vec::new());
        let store = open(&disk).unwrap();
        disk.fail_after(random.below(60));
        let (_, models) = run(&store, &disk, &mut random);
        // Whatever has not failed by now fails at the next sync.
        let failed = store.apply(1000, &command(&[], &[put(1, "a", "1")])).err();
        let failed = failed.or_else(|| store.checkpoint().err());
        if !disk.has_failed() {
            assert!(failed.is_none(), "seed {seed}");
            continue;
        }
        let calls = [
            store.apply(1001, &RowCommand::default()).err(),
            store.apply_many(1001, &[]).err(),
            store.checkpoint().err(),
            store.snapshot().err(),
        ];
        for error in calls {
            match error {
                Some(Error::ReadOnly(cause)) => assert!(cause.contains("drawer"), "{cause}"),
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        drop(store);
        let (done, _) = disk.checkpoints();
        let again = open(&Disk::new(disk.live())).unwrap();
        let position = again.applied_position();
        assert!(position >= done, "seed {seed}: {position} {done}");
        if position < 1000 {
            assert_eq!(contents(&again, 3), models[position as usize], "seed {seed}");
        }
    }
}

#[test]
fn a_full_disk_is_told_as_such() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    disk.fail_with(std::io::ErrorKind::StorageFull);
    disk.fail_after(0);
    store.apply(1, &command(&[], &[put(1, "a", "1")])).unwrap();
    // Not as "try again": the store has to be opened anew.
    let Err(Error::Io(why)) = store.checkpoint() else { panic!() };
    assert!(why.contains("row store"), "{why}");
    assert!(matches!(store.checkpoint(), Err(Error::ReadOnly(_))));
}

#[test]
fn damaged_pages_are_an_error_on_opening() {
    let disk = Disk::new(Vec::new());
    let store = open(&disk).unwrap();
    let value = "v".repeat(900);
    let changes: Vec<RowChange> = (0..200).map(|i| put(1, &format!("key{i}"), &value)).collect();
    store.apply(1, &command(&[], &changes)).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let bytes = disk.durable();
    let at = bytes.windows(900).position(|run| run == value.as_bytes()).unwrap();
    let mut damaged = bytes.clone();
    damaged[at + 5] ^= 1;
    // The older of the two commits may still be whole; what opens must be right.
    match open(&Disk::new(damaged)) {
        Err(error) => assert!(matches!(error, Error::Corrupt(_)), "{error}"),
        Ok(store) => {
            let rows = store.snapshot().unwrap().scan(1, b"").unwrap();
            assert!(rows.iter().all(|(_, found)| found == value.as_bytes()));
        }
    }
}

/// A page that comes wrong from the disk, at whichever read, is neither a panic nor wrong rows.
#[test]
fn pages_that_are_read_wrong_are_an_error() {
    use crate::io::{FaultPlan, FaultyStorage, MemoryStorage};
    let memory = MemoryStorage::new();
    let value = "v".repeat(100);
    let rows: Vec<RowChange> = (0..300).map(|n| put(1, &format!("key {n:03}"), &value)).collect();
    let store = RowStore::open_in(&memory, "", "rows").unwrap();
    store.apply(1, &command(&[], &rows)).unwrap();
    store.checkpoint().unwrap();
    store.close();
    let read = |storage: &FaultyStorage| -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let store = RowStore::open_in(storage, "", "rows")?;
        let rows = store.snapshot()?.scan(1, b"")?;
        store.apply(2, &command(&[], &[put(1, "key 100", "new")]))?;
        store.close();
        Ok(rows)
    };
    let plain = FaultyStorage::new(Arc::new(memory.copy()));
    let right = read(&plain).unwrap();
    assert_eq!(right.len(), 300);
    let mut random = Random::new(1);
    let mut wrong = 0;
    for at in 0..plain.reads() {
        for _ in 0..8 {
            let storage = FaultyStorage::new(Arc::new(memory.copy()));
            storage.set_plan(FaultPlan::FlipOnRead { at, bit: random.below(1 << 40) });
            match read(&storage) {
                Ok(rows) => assert_eq!(rows, right, "read {at}"),
                Err(Error::Corrupt(_) | Error::ReadOnly(_) | Error::Io(_)) => wrong += 1,
                Err(error) => panic!("read {at}: {error}"),
            }
        }
    }
    assert!(wrong > 0);
}

fn commands() -> impl Strategy<Value = RowCommand> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let change =
        (any::<u16>(), bytes(), proptest::option::of(bytes())).prop_map(|(space, key, value)| {
            match value {
                Some(value) if value.len() % 8 == 1 && !key.is_empty() => {
                    RowChange::DeletePrefix { space, prefix: key }
                }
                Some(value) => RowChange::Put { space, key, value },
                None => RowChange::Delete { space, key },
            }
        });
    let expect = (any::<u16>(), bytes(), proptest::option::of(bytes()))
        .prop_map(|(space, key, value)| RowExpect { space, key, value });
    let lists = (proptest::collection::vec(expect, 0..5), proptest::collection::vec(change, 0..5));
    lists.prop_map(|(expects, changes)| RowCommand { expects, changes })
}

proptest! {
    #[test]
    fn commands_come_back(command in commands()) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        prop_assert_eq!(RowCommand::decode(&bytes).unwrap(), command);
        for len in 0..bytes.len() {
            prop_assert!(matches!(RowCommand::decode(&bytes[..len]), Err(Error::Corrupt(_))));
        }
        bytes.push(0);
        prop_assert!(matches!(RowCommand::decode(&bytes), Err(Error::Corrupt(_))));
    }

    /// What decodes is the one encoding of what it says.
    #[test]
    fn any_bytes_decode_in_one_way_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let bytes = [&[1, bytes.first().copied().unwrap_or(0) % 3], &bytes[..]].concat();
        match RowCommand::decode(&bytes) {
            Ok(command) => {
                let mut again = Vec::new();
                command.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
            Err(error) => prop_assert!(matches!(error, Error::Corrupt(_))),
        }
    }
}

#[test]
fn flipped_bits_of_a_command_never_pass_for_it() {
    let original = command(
        &[expect(3, "user/ann", Some("old")), expect(3, "user/bob", None)],
        &[put(3, "user/ann", "new"), delete(4, "session/1")],
    );
    let mut bytes = Vec::new();
    original.encode(&mut bytes);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match RowCommand::decode(&flipped) {
            Ok(other) => assert_ne!(other, original),
            Err(error) => assert!(matches!(error, Error::Corrupt(_))),
        }
    }
}

#[test]
fn golden_bytes_of_a_command_with_a_prefix() {
    let change = RowChange::DeletePrefix { space: 19, prefix: vec![0, 0, 1] };
    let command = command(&[], &[change, put(19, "a", "b")]);
    let golden = [2, 0, 2, 2, 19, 0, 3, 0, 0, 1, 1, 19, 0, 1, b'a', 1, b'b'];
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    assert_eq!(bytes, golden);
    assert_eq!(RowCommand::decode(&golden).unwrap(), command);
    // Commands of the first version have no prefixes, and no space goes as a whole.
    let older = [1, 0, 1, 2, 19, 0, 3, 0, 0, 1];
    assert!(matches!(RowCommand::decode(&older), Err(Error::Corrupt(_))));
    let whole = RowChange::DeletePrefix { space: 19, prefix: Vec::new() };
    assert!(matches!(self::command(&[], &[whole]).check(), Err(Error::Invalid(_))));
}

#[test]
fn rows_are_visited_in_ranges() {
    let store = open(&Disk::new(Vec::new())).unwrap();
    let rows: Vec<RowChange> = ["a", "b", "ba", "c"].iter().map(|key| put(2, key, key)).collect();
    store
        .apply(1, &command(&[], &[rows, vec![put(1, "z", ""), put(3, "a", "")]].concat()))
        .unwrap();
    let snapshot = store.snapshot().unwrap();
    let visit = |from: Bound<&[u8]>, to: Bound<&[u8]>, backwards: bool, most: usize| {
        let mut keys = Vec::new();
        let take = |key: &[u8], _: &[u8]| {
            keys.push(String::from_utf8(key.to_vec()).unwrap());
            keys.len() < most
        };
        snapshot.visit(2, (from, to), backwards, take).unwrap();
        keys.join(" ")
    };
    let (at, behind) = (
        |key: &'static str| Bound::Included(key.as_bytes()),
        |key: &'static str| Bound::Excluded(key.as_bytes()),
    );
    assert_eq!(visit(Bound::Unbounded, Bound::Unbounded, false, 9), "a b ba c");
    assert_eq!(visit(Bound::Unbounded, Bound::Unbounded, true, 2), "c ba");
    assert_eq!(visit(at("b"), behind("c"), false, 9), "b ba");
    assert_eq!(visit(behind("b"), at("c"), true, 9), "c ba");
    for (from, to) in [(at("c"), behind("c")), (behind("b"), at("a")), (behind("c"), behind("c"))] {
        assert_eq!(visit(from, to, false, 9), "");
    }
}

#[test]
fn golden_bytes_of_a_command() {
    let golden = [
        &[1, 2, 2][..],
        &[1, 3, 0, 1, b'a', 2, b'v', b'w'],
        &[0, 3, 0, 1, b'b'],
        &[1, 0x34, 0x12, 1, b'c', 0],
        &[0, 3, 0, 0],
    ]
    .concat();
    let command = command(
        &[expect(3, "a", Some("vw")), expect(3, "b", None)],
        &[put(0x1234, "c", ""), delete(3, "")],
    );
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    assert_eq!(bytes, golden);
    assert_eq!(RowCommand::decode(&golden).unwrap(), command);
}

//! Appending, reading, rolling and shortening on sound storage.

use super::*;
use crate::io::{FaultKind, FaultPlan, FaultyStorage, RealStorage, Storage};

#[test]
pub fn records_come_back() {
    let (storage, options) = (MemoryStorage::new(), options(1 << 20));
    let (mut log, recovered) = open(&storage, &options).unwrap();
    assert_eq!((recovered.first_index, recovered.last_index), (1, 0));
    assert_eq!((log.first_index(), log.last_index(), log.durable_index()), (1, 0, 0));
    let parts: [&[u8]; 3] = [b"one ", b"", b"payload"];
    let records = [
        RecordIn { kind: Kind::NoOp, term: 1, payload: &[] },
        RecordIn { kind: Kind::Commands, term: 2, payload: &parts },
    ];
    assert_eq!(log.append_group(&records).unwrap(), 1..=2);
    assert_eq!(append(&mut log, &[&[5; 300_000], b"x"]).unwrap(), 3..=4);
    let read: Vec<Record> = log.read_from(1).unwrap().map(|record| record.unwrap()).collect();
    assert_eq!(read[0], Record { index: 1, term: 1, kind: Kind::NoOp, payload: vec![] });
    assert_eq!(read[1].payload, b"one payload");
    assert_eq!((read[1].term, read[1].kind), (2, Kind::Commands));
    assert_eq!(read[2].payload, [5; 300_000]);
    assert_eq!(read.len(), 4);
    assert_eq!(payloads(&log, 4), [b"x"]);
    assert_eq!(log.read_from(5).unwrap().count(), 0);
    assert!(matches!(log.read_from(0), Err(Error::NotFound(_))));
    log.close().unwrap();

    let (log, recovered) = open(&storage, &options).unwrap();
    assert_eq!((recovered.last_index, recovered.cut), (4, None));
    assert_eq!(payloads(&log, 3).len(), 2);
}

#[test]
fn written_is_not_durable() {
    let (storage, options) = (MemoryStorage::new(), options(1 << 20));
    let (mut log, _) = open(&storage, &options).unwrap();
    let record = RecordIn { kind: Kind::Commands, term: 0, payload: &[b"x"] };
    assert_eq!(log.write_group(&[record]).unwrap(), 1..=1);
    assert_eq!((log.last_index(), log.durable_index()), (1, 0));
    assert_eq!(log.read_from(1).unwrap().count(), 0, "readers see what is durable");
    assert_eq!(open(&storage.crash_hard(), &options).unwrap().1.last_index, 0);
    log.sync().unwrap();
    assert_eq!(log.durable_index(), 1);
    assert_eq!(open(&storage.crash_hard(), &options).unwrap().1.last_index, 1);
    let bytes = log.bytes();
    log.write_mark().unwrap();
    log.write_mark().unwrap();
    assert_eq!(log.bytes(), bytes + RECORD_HEADER_BYTES, "the second mark says nothing new");
}

#[test]
fn bad_groups_change_nothing() {
    let (storage, options) = (MemoryStorage::new(), options(1 << 20));
    let (mut log, _) = open(&storage, &options).unwrap();
    let long = vec![0; (1 << 20) + 1];
    let good = RecordIn { kind: Kind::Commands, term: 0, payload: &[b"x"] };
    let mark = RecordIn { kind: Kind::Mark, ..good };
    let vote = RecordIn { kind: Kind::Vote, ..good };
    let too_long = RecordIn { payload: &[&long], ..good };
    for group in [&[][..], &[good, mark], &[good, vote], &[good, too_long]] {
        assert!(matches!(log.append_group(group), Err(Error::Invalid(_))));
    }
    assert_eq!(append(&mut log, &[b"x"]).unwrap(), 1..=1);
}

/// A log of 20 records in several segments.
fn long_log(storage: &MemoryStorage) -> (Log, Vec<Vec<u8>>) {
    let (mut log, _) = open(storage, &options(400)).unwrap();
    let model: Vec<Vec<u8>> = (0..20u8).map(|number| vec![number; 10 + number as usize]).collect();
    for payload in &model {
        append(&mut log, &[payload]).unwrap();
        log.write_mark().unwrap();
    }
    (log, model)
}

#[test]
fn segments_roll_and_purge() {
    let storage = MemoryStorage::new();
    let (mut log, model) = long_log(&storage);
    let segments = log.segments();
    assert!(segments.len() > 4);
    for pair in segments.windows(2) {
        assert_eq!(pair[0].last_index + 1, pair[1].first_index);
        assert!(pair[0].bytes <= 400 + RECORD_HEADER_BYTES);
    }
    assert_eq!(log.bytes(), segments.iter().map(|segment| segment.bytes).sum::<u64>());
    assert_eq!(payloads(&log, 1), model);
    for index in 1..=20 {
        assert_eq!(payloads(&log, index), model[index as usize - 1..]);
    }
    assert_eq!(log.purge_before(segments[0].last_index).unwrap(), 0);
    assert_eq!(log.purge_before(segments[2].first_index).unwrap(), 2);
    let first = segments[2].first_index;
    assert_eq!(log.first_index(), first);
    assert_eq!(payloads(&log, first), model[first as usize - 1..]);
    log.purge_before(u64::MAX).unwrap();
    assert_eq!(log.segments().len(), 1, "the active segment stays");
    assert_eq!(storage.list("log").unwrap().len(), 1);
    drop(log);
    let (log, recovered) = open(&storage.crash_hard(), &options(400)).unwrap();
    assert_eq!(recovered.last_index, 20);
    assert_eq!(payloads(&log, log.first_index()), model[log.first_index() as usize - 1..]);
}

#[test]
pub fn an_empty_log_keeps_its_place() {
    let storage = MemoryStorage::new();
    let (log, _) = long_log(&storage);
    log.close().unwrap();
    // Opening begins an empty segment; purging then leaves it alone.
    let (mut log, _) = open(&storage, &options(400)).unwrap();
    log.purge_before(u64::MAX).unwrap();
    assert_eq!((log.first_index(), log.last_index()), (21, 20));
    drop(log);
    for _ in 0..2 {
        let (log, recovered) = open(&storage, &options(400)).unwrap();
        assert_eq!((recovered.first_index, recovered.last_index), (21, 20));
        assert_eq!(recovered.segments, []);
        assert_eq!((log.first_index(), log.segments().len()), (21, 1));
    }
    // Without its header nobody knows that 20 positions have been given.
    storage.put("log/00000000000000000021.log", vec![0; 64]);
    assert!(matches!(open(&storage, &options(400)), Err(Error::Corrupt(_))));
}

#[test]
pub fn truncation_at_every_index() {
    for index in 0..=20u64 {
        let storage = MemoryStorage::new();
        let (mut log, model) = long_log(&storage);
        let vote = Vote { term: 9, node: 2 };
        log.save_vote(vote).unwrap();
        log.truncate_after(index).unwrap();
        assert_eq!((log.last_index(), log.durable_index()), (index, index));
        assert_eq!(payloads(&log, 1), model[..index as usize]);
        assert_eq!(append(&mut log, &[b"other"]).unwrap(), index + 1..=index + 1);
        let (log, recovered) = open(&storage.crash_hard(), &options(400)).unwrap();
        assert_eq!((recovered.last_index, recovered.cut), (index + 1, None));
        assert_eq!(recovered.vote, Some(vote));
        let read = payloads(&log, 1);
        assert_eq!(read[..index as usize], model[..index as usize]);
        assert_eq!(read[index as usize], b"other");
    }
    let (mut log, _) = long_log(&MemoryStorage::new());
    log.purge_before(20).unwrap();
    assert!(matches!(log.truncate_after(1), Err(Error::Invalid(_))));
    let before_first = log.first_index() - 1;
    log.truncate_after(before_first).unwrap();
    assert_eq!(log.last_index(), before_first);
}

#[test]
pub fn votes_survive_purging_and_are_not_taken_back() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage, &options(400)).unwrap();
    let vote = Vote { term: 4, node: 1 };
    log.save_vote(Vote { term: 3, node: 5 }).unwrap();
    log.save_vote(vote).unwrap();
    log.save_vote(vote).unwrap();
    for back in [Vote { term: 4, node: 2 }, Vote { term: 3, node: 5 }] {
        assert!(matches!(log.save_vote(back), Err(Error::Invalid(_))));
    }
    for _ in 0..20 {
        append(&mut log, &[&[1; 100]]).unwrap();
    }
    log.purge_before(u64::MAX).unwrap();
    assert_eq!(log.vote(), Some(vote));
    let (log, recovered) = open(&storage.crash_hard(), &options(400)).unwrap();
    assert_eq!((recovered.vote, log.vote()), (Some(vote), Some(vote)));
}

#[test]
fn a_fresh_salt_after_every_opening() {
    let storage = MemoryStorage::new();
    let mut salts = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (mut log, _) = open(&storage, &options(400)).unwrap();
        let path = log.segments().last().unwrap().path.clone();
        salts.insert(inspect_segment(&storage, &path).unwrap().header.salt);
        if salts.len() % 2 == 0 {
            append(&mut log, &[b"x"]).unwrap();
        }
    }
    assert_eq!(salts.len(), 20);
}

/// After any failed write or sync the log only says why.
#[test]
pub fn a_failed_log_is_read_only() {
    for at in 0..2 {
        let memory = MemoryStorage::new();
        let faulty = FaultyStorage::new(Arc::new(memory.clone()));
        let (mut log, _) = Log::open(shaped(Arc::new(faulty.clone())), options(1 << 20)).unwrap();
        append(&mut log, &[b"kept"]).unwrap();
        let at = faulty.operations() + at;
        faulty.set_plan(FaultPlan::FailOnce { at, error: FaultKind::Io });
        assert!(matches!(append(&mut log, &[b"lost"]), Err(Error::Io(_))));
        let Err(Error::ReadOnly(why)) = append(&mut log, &[b"later"]) else { panic!() };
        assert!(why.contains("put/output error"), "{why}");
        assert!(log.poison().is_some());
        assert!(matches!(log.sync(), Err(Error::ReadOnly(_))));
        assert!(matches!(log.write_mark(), Err(Error::ReadOnly(_))));
        assert!(matches!(log.truncate_after(0), Err(Error::ReadOnly(_))));
        assert!(matches!(log.purge_before(9), Err(Error::ReadOnly(_))));
        assert_eq!(payloads(&log, 1), [b"kept"], "reading goes on");
        assert!(matches!(log.close(), Err(Error::ReadOnly(_))));
        let (mut log, _) = open(&memory, &options(1 << 20)).unwrap();
        append(&mut log, &[b"again"]).unwrap();
    }
}

#[test]
fn flipped_bits_on_reading_are_found() {
    let memory = MemoryStorage::new();
    let (log, model) = long_log(&memory);
    drop(log);
    let faulty = FaultyStorage::new(Arc::new(memory.copy()));
    let (log, _) = Log::open(shaped(Arc::new(faulty.clone())), options(400)).unwrap();
    for bit in (0..400 * 8).step_by(7) {
        let at = faulty.reads() + 1;
        faulty.set_plan(FaultPlan::FlipOnRead { at, bit });
        let read: Result<Vec<Record>> = log.read_from(1).unwrap().collect();
        if faulty.struck() {
            assert!(matches!(read, Err(Error::Corrupt(_))), "bit {bit}: {read:?}");
        }
    }
    faulty.set_plan(FaultPlan::FailReadsFrom { at: 0, error: FaultKind::Io });
    assert!(matches!(log.read_from(1).unwrap().next(), Some(Err(Error::Io(_)))));
    faulty.set_plan(FaultPlan::None);
    assert_eq!(payloads(&log, 1), model);
}

/// After a failed sync the kernel may hold pages that it takes for clean. What recovery reads from
/// them and calls durable must be durable.
#[test]
pub fn what_a_failed_sync_left_is_written_again() {
    let (memory, options) = (MemoryStorage::new(), options(1 << 20));
    let faulty = FaultyStorage::new(Arc::new(memory.clone()));
    let (mut log, _) = Log::open(shaped(Arc::new(faulty.clone())), options.clone()).unwrap();
    append(&mut log, &[b"kept"]).unwrap();
    log.write_mark().unwrap();
    let at = faulty.operations() + 1;
    faulty.set_plan(FaultPlan::FailOnce { at, error: FaultKind::Io });
    assert!(matches!(append(&mut log, &[b"unsure", &[3; 5000]]), Err(Error::Io(_))));
    memory.forget_unsynced(&log.segments()[0].path).unwrap();
    drop(log);
    let (log, recovered) = open(&memory, &options).unwrap();
    assert_eq!((recovered.last_index, log.durable_index()), (3, 3));
    let (log, recovered) = open(&memory.crash_hard(), &options).unwrap();
    assert_eq!((recovered.last_index, recovered.cut), (3, None));
    assert_eq!(payloads(&log, 1)[1], b"unsure");
}

#[test]
fn works_on_the_operating_system() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let storage = RealStorage::new(folder.path().join("data")).unwrap();
        Log::open(Arc::new(storage), options(400)).unwrap()
    };
    let (mut log, _) = open();
    let model: Vec<Vec<u8>> = (0..30u8).map(|number| vec![number; 60]).collect();
    for payload in &model {
        append(&mut log, &[payload]).unwrap();
    }
    drop(log);
    let (mut log, recovered) = open();
    assert_eq!((recovered.first_index, recovered.last_index), (1, 30));
    assert_eq!(payloads(&log, 1), model);
    log.truncate_after(20).unwrap();
    log.purge_before(10).unwrap();
    let first = log.first_index();
    log.close().unwrap();
    let (log, recovered) = open();
    assert_eq!((recovered.first_index, recovered.last_index), (first, 20));
    assert_eq!(payloads(&log, first), model[first as usize - 1..20]);
}

//! A full disk, and bits that flip on the way from it: what found no room is in the log neither now nor after any crash, and the log goes
//! on when there is room.

use super::*;
use crate::io::{FaultKind, FaultPlan, FaultyStorage};

/// Compares the log, and what any crash leaves of it, with what was acknowledged.
fn check(memory: &MemoryStorage, log: &Log, kept: &[Vec<u8>], context: &str) {
    assert_eq!(payloads(log, 1), kept, "{context}");
    assert_eq!(log.durable_index(), kept.len() as u64, "{context}");
    let images = (0..4).map(|seed| memory.crash(seed));
    for image in images.chain([memory.copy(), memory.crash_hard()]) {
        let (mut log, recovered) = open(&image, &options(300)).unwrap();
        assert_eq!(recovered.last_index, kept.len() as u64, "{context}");
        assert_eq!(payloads(&log, 1), kept, "{context}, after a crash");
        append(&mut log, &[b"on"]).unwrap();
    }
}

/// Every operation finds no room once, or for a while, or half of it.
#[test]
pub fn nothing_of_a_group_without_room_stays() {
    let error = FaultKind::NoSpace;
    let mut refused = 0;
    for at in 0..40 {
        let plans = [
            FaultPlan::FailOnce { at, error },
            FaultPlan::ShortWrite { at, error },
            FaultPlan::FailBetween { at, until: at + 1 + at % 7, error },
        ];
        for plan in plans {
            let memory = MemoryStorage::new();
            let faulty = FaultyStorage::new(Arc::new(memory.clone()));
            let shared = shaped(Arc::new(faulty.clone()));
            let Ok((mut log, _)) = Log::open(shared, options(300)) else { panic!() };
            faulty.set_plan(match plan {
                FaultPlan::FailOnce { at, error } => {
                    FaultPlan::FailOnce { at: at + faulty.operations(), error }
                }
                FaultPlan::ShortWrite { at, error } => {
                    FaultPlan::ShortWrite { at: at + faulty.operations(), error }
                }
                FaultPlan::FailBetween { at, until, error } => {
                    let now = faulty.operations();
                    FaultPlan::FailBetween { at: at + now, until: until + now, error }
                }
                other => other,
            });
            let mut kept: Vec<Vec<u8>> = Vec::new();
            let mut number = 0;
            while kept.len() < 12 {
                number += 1;
                assert!(number < 60, "{plan:?}: never again");
                let context = format!("{plan:?} at {number}");
                let group: Vec<Vec<u8>> =
                    (0..1 + number % 3).map(|n| vec![number; 40 + n as usize]).collect();
                let payloads: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
                match append(&mut log, &payloads) {
                    Ok(range) => {
                        assert_eq!(*range.start(), kept.len() as u64 + 1, "{context}");
                        kept.extend(group);
                    }
                    // A folder that cannot be synced, a name that cannot be given: nobody knows.
                    Err(Error::Io(why)) => {
                        assert!(
                            why.contains("folder")
                                || why.contains("in place")
                                || why.contains("cut back"),
                            "{context}: {why}"
                        );
                        break;
                    }
                    Err(Error::Full(why)) => {
                        refused += 1;
                        assert!(why.contains("No space left"), "{context}: {why}");
                        assert_eq!(log.poison(), None, "{context}");
                        check(&memory, &log, &kept, &context);
                    }
                    Err(error) => panic!("{context}: {error}"),
                }
                match log.write_mark() {
                    Ok(()) | Err(Error::Full(_)) => {}
                    Err(error) => panic!("{context}: {error}"),
                }
                check(&memory, &log, &kept, &context);
            }
            if log.poison().is_none() {
                log.close().unwrap();
                let (log, _) = open(&memory, &options(300)).unwrap();
                check(&memory, &log, &kept, "closed");
            }
        }
    }
    assert!(refused > 60, "{refused}");
}

/// A device that fills up and is emptied, as often as that happens.
#[test]
pub fn a_device_that_fills_up_is_written_on_when_there_is_room() {
    let memory = MemoryStorage::new();
    let (mut log, _) = open(&memory, &options(2000)).unwrap();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut refused = 0;
    for number in 0..120u8 {
        memory.set_capacity(Some(memory.used_bytes() + u64::from(number % 7) * 60));
        let payload = vec![number; 100];
        match append(&mut log, &[&payload]) {
            Ok(_) => kept.push(payload),
            Err(Error::Full(_)) => refused += 1,
            Err(error) => panic!("{number}: {error}"),
        }
        if number % 10 == 9 {
            memory.set_capacity(None);
            append(&mut log, &[b"room"]).unwrap();
            kept.push(b"room".to_vec());
            check(&memory, &log, &kept, &format!("{number}"));
        }
    }
    assert!(refused > 20, "{refused}");
}

/// A bit that flips while a log is recovered is told or does no harm: nothing is cut for it, and
/// nothing of it is written back.
#[test]
fn bits_that_flip_while_a_log_is_recovered_stay_where_they_were() {
    let memory = MemoryStorage::new();
    let (mut log, _) = open(&memory, &options(1 << 20)).unwrap();
    let kept: Vec<Vec<u8>> = (0..5u8).map(|number| vec![number; 90]).collect();
    for payload in &kept {
        append(&mut log, &[payload]).unwrap();
    }
    // Neither closed nor marked: nothing proves the last record.
    drop(log);
    let mut told = 0;
    for at in 0..200 {
        let copy = memory.copy();
        let faulty = FaultyStorage::new(Arc::new(copy.clone()));
        faulty.set_plan(FaultPlan::FlipOnRead { at, bit: at * 7919 + 13 });
        match Log::open(Arc::new(faulty.clone()), options(1 << 20)) {
            Ok(_) => {}
            Err(Error::Corrupt(_)) => told += 1,
            Err(error) => panic!("read {at}: {error}"),
        }
        let (log, _) = open(&copy, &options(1 << 20)).unwrap();
        assert_eq!(payloads(&log, 1), kept, "read {at}");
        if !faulty.struck() {
            break;
        }
    }
    assert!(told > 2, "{told}");
}

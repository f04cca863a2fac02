//! Another master key, broken off anywhere.

use super::*;
use crate::io::{FaultPlan, FaultyStorage};

/// A folder with a file of each kind, sealed with key 1.
fn folder() -> MemoryStorage {
    let memory = folders();
    let storage = sealed(&memory, 1);
    for path in ["parts/1.part", "series/1.series", "version/1.version", "rows/rows.redb"] {
        let file = storage.create(path).unwrap();
        file.write_at(0, &[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    let ring = keys(1);
    let fresh = RecordKey::fresh(&ring).unwrap();
    let mut segment = vec![0; RECORDS_START as usize - fresh.seal.len()];
    segment.extend_from_slice(&fresh.seal);
    memory.put("log/1.log", segment);
    memory.copy()
}

fn check(memory: &MemoryStorage, ring: &Arc<KeyRing>) {
    let storage = SealedStorage::new(Arc::new(memory.clone()), Arc::clone(ring));
    for path in ["parts/1.part", "series/1.series", "version/1.version", "rows/rows.redb"] {
        assert_eq!(read_all(&storage, path).unwrap(), [7; 4096], "{path}");
    }
    let log = memory.open("log/1.log").unwrap();
    RecordKey::read(&*log, "log/1.log", ring).unwrap();
}

fn both() -> Arc<KeyRing> {
    KeyRing::new(vec![key(2), key(1)]).unwrap()
}

#[test]
fn seals_are_written_anew_under_crashes() {
    let clean = FaultyStorage::new(Arc::new(folder()));
    assert_eq!(rewrap(&clean, &both()).unwrap().rewrapped, 5);
    let operations = clean.operations();
    assert_eq!(operations, 5 * 4, "write and sync of both copies of each");
    for at in 0..operations {
        for seed in 0..12 {
            let memory = folder();
            let faulty = FaultyStorage::new(Arc::new(memory.clone()));
            faulty.set_plan(FaultPlan::CrashAt(at));
            rewrap(&faulty, &both()).unwrap_err();
            let image = if seed == 0 { memory.crash_hard() } else { memory.crash(seed) };
            check(&image, &both());
            // Broken off and done again, with a power cut in between.
            let report = rewrap(&image, &both()).unwrap();
            assert!(report.is_complete() && report.unreadable == 0, "{report:?}");
            check(&image, &keys(2));
            assert_eq!(rewrap(&image, &both()).unwrap().rewrapped, 0);
        }
    }
}

#[test]
fn the_report_counts_files_by_key() {
    let memory = folder();
    let report = survey(&memory, &both()).unwrap();
    let counted: Vec<_> = report.keys.iter().map(|key| (key.id, key.current, key.files)).collect();
    assert_eq!(counted, [(key(2).id(), true, 0), (key(1).id(), false, 5)]);
    assert!(!report.is_complete());
    let report = rewrap(&memory, &both()).unwrap();
    assert!(report.is_complete());
    let unknown = survey(&memory, &keys(3)).unwrap();
    assert!(!unknown.is_complete(), "files of a key that is not at hand count too");
    // Without the old key nothing can be wrapped anew, and nothing is.
    let memory = folder();
    assert!(matches!(rewrap(&memory, &keys(3)), Err(crate::Error::Io(_))));
    check(&memory, &keys(1));
}

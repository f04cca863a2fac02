//! Tests of the storages: one suite for all, then what each adds.

use std::io::ErrorKind;
use std::sync::Arc;

use super::{FaultKind, FaultPlan, FaultyStorage, MemoryStorage, RealStorage, Storage};

/// What every storage must do.
fn check_storage(storage: &dyn Storage) {
    assert_eq!(storage.list("a/b").unwrap(), Vec::<String>::new());
    assert_eq!(storage.create("a/b/x").unwrap_err().kind(), ErrorKind::NotFound);
    storage.create_dir("a/b").unwrap();
    storage.create_dir("a/b").unwrap();
    let file = storage.create("a/b/x").unwrap();
    assert_eq!(storage.create("a/b/x").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(file.is_empty().unwrap());
    file.write_at(4, b"abcd").unwrap();
    assert_eq!(file.len().unwrap(), 8);
    let mut bytes = [9; 8];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0\0abcd");
    assert_eq!(file.read_at(1, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.read_at(1 << 40, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(6).unwrap();
    file.set_len(7).unwrap();
    file.sync_data().unwrap();
    storage.sync_dir("a/b").unwrap();
    let again = storage.open("a/b/x").unwrap();
    again.read_at(4, &mut bytes[..3]).unwrap();
    assert_eq!(&bytes[..3], b"ab\0");

    storage.create("a/b/y").unwrap().write_at(0, b"why").unwrap();
    storage.create("root").unwrap();
    assert_eq!(storage.list("a/b").unwrap(), ["x", "y"]);
    assert_eq!(storage.list("").unwrap(), ["root"]);
    storage.rename("a/b/y", "a/b/x").unwrap();
    storage.sync_dir("a/b").unwrap();
    assert_eq!(storage.list("a/b").unwrap(), ["x"]);
    assert_eq!(storage.open("a/b/x").unwrap().len().unwrap(), 3);
    // The old file lives on for those who hold it.
    assert_eq!(again.len().unwrap(), 7);
    assert!(storage.exists("a/b/x").unwrap());
    assert!(!storage.exists("a/b/y").unwrap());
    assert!(!storage.exists("a/b").unwrap());
    storage.remove("a/b/x").unwrap();
    assert_eq!(storage.remove("a/b/x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.open("a/b/x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.rename("a/b/x", "z").unwrap_err().kind(), ErrorKind::NotFound);
    for path in ["", "/x", "../x", "a/../x", "a//x", "x/", "./x", "a\\x"] {
        let error = storage.create(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
    }
    assert!(storage.free_bytes().unwrap() > 0);
    let guard = storage.lock().unwrap();
    assert_eq!(storage.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(guard);
    drop(storage.lock().unwrap());
    assert_eq!(storage.list("").unwrap(), ["root"]);
}

#[test]
fn memory_behaves() {
    check_storage(&MemoryStorage::new());
}

#[test]
fn real_behaves() {
    let folder = tempfile::tempdir().unwrap();
    check_storage(&RealStorage::new(folder.path().join("deep/er")).unwrap());
}

#[test]
fn faulty_without_plan_behaves() {
    check_storage(&FaultyStorage::new(Arc::new(MemoryStorage::new())));
}

#[test]
fn lock_names_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let open = || RealStorage::new(folder.path().to_owned()).unwrap();
    let _guard = open().lock().unwrap();
    let message = open().lock().unwrap_err().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
}

#[test]
fn hard_crash_keeps_what_was_synced() {
    let storage = MemoryStorage::new();
    let file = storage.create("x").unwrap();
    file.write_at(0, b"durable").unwrap();
    file.sync_data().unwrap();
    assert!(!storage.crash_hard().exists("x").unwrap(), "the name was not synced");
    storage.sync_dir("").unwrap();
    file.write_at(0, b"unsynced bytes").unwrap();
    storage.rename("x", "y").unwrap();
    let after = storage.crash_hard();
    assert_eq!(after.list("").unwrap(), ["x"]);
    assert_eq!(after.bytes("x").unwrap(), b"durable");
    assert_eq!(storage.copy().bytes("y").unwrap(), b"unsynced bytes");
    file.set_len(3).unwrap();
    file.sync_data().unwrap();
    assert_eq!(storage.crash_hard().bytes("x").unwrap(), b"uns");
}

/// Every fate of two unsynced writes, a length and two names must come up, and none that cannot.
#[test]
fn crashes_keep_any_subset() {
    let storage = MemoryStorage::new();
    let file = storage.create("x").unwrap();
    file.write_at(0, &[1; 1024]).unwrap();
    file.sync_data().unwrap();
    storage.sync_dir("").unwrap();
    file.write_at(0, &[2; 1024]).unwrap();
    file.write_at(1024, &[3; 512]).unwrap();
    storage.create("new").unwrap();
    storage.rename("x", "moved").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..4000 {
        let after = storage.crash(seed);
        let names = after.list("").unwrap();
        let moved = names.contains(&"moved".to_owned());
        assert_ne!(moved, names.contains(&"x".to_owned()), "a rename is atomic");
        let bytes = after.bytes(if moved { "moved" } else { "x" }).unwrap();
        assert!(matches!(bytes.len(), 1024 | 1536));
        let sectors: Vec<u8> = bytes.chunks(512).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(sectors[..2].iter().all(|byte| matches!(byte, 1 | 2)), "{sectors:?}");
        assert!(sectors[2..].iter().all(|byte| matches!(byte, 0 | 3)), "{sectors:?}");
        let again = storage.crash(seed);
        assert_eq!(again.list("").unwrap(), names, "the same seed, the same image");
        assert_eq!(again.bytes(if moved { "moved" } else { "x" }).unwrap(), bytes);
        seen.insert((sectors, names));
    }
    // 4 states of the first write, 3 of the second, 2 of each name.
    assert_eq!(seen.len(), 4 * 3 * 2 * 2);
}

#[test]
fn faults_strike_by_number() {
    let memory = MemoryStorage::new();
    let storage = FaultyStorage::new(Arc::new(memory.clone()));
    let file = storage.create("x").unwrap();
    file.write_at(0, &[7; 8]).unwrap();
    assert_eq!(storage.operations(), 2);

    storage.set_plan(FaultPlan::FailOnce { at: 3, error: FaultKind::NoSpace });
    file.write_at(0, &[8; 8]).unwrap();
    assert_eq!(file.write_at(0, &[9; 8]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(storage.struck());
    file.sync_data().unwrap();
    assert_eq!(memory.bytes("x").unwrap(), [8; 8]);

    storage.set_plan(FaultPlan::ShortWrite { at: 5, error: FaultKind::Io });
    assert_eq!(file.write_at(0, &[1; 8]).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(memory.bytes("x").unwrap(), [1, 1, 1, 1, 8, 8, 8, 8]);

    storage.set_plan(FaultPlan::FlipOnRead { at: 1, bit: 9 });
    let mut bytes = [0; 4];
    for expect in [[1, 1, 1, 1], [1, 3, 1, 1], [1, 1, 1, 1]] {
        file.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, expect);
    }
    storage.set_plan(FaultPlan::FailReadsFrom { at: 3, error: FaultKind::Io });
    assert!(file.read_at(0, &mut bytes).is_err());
    storage.set_plan(FaultPlan::FailFrom { at: 6, error: FaultKind::Io });
    assert!(file.set_len(1).is_err() && storage.sync_dir("").is_err());
    assert_eq!(storage.operations(), 8);
}

#[test]
fn after_the_power_cut_nothing_works() {
    let memory = MemoryStorage::new();
    let storage = FaultyStorage::new(Arc::new(memory.clone()));
    storage.set_plan(FaultPlan::CrashAt(1));
    let file = storage.create("x").unwrap();
    file.len().unwrap();
    // The write is on its way when the power goes.
    assert!(file.write_at(0, b"half").is_err());
    assert_eq!(memory.bytes("x").unwrap(), b"half");
    assert!(file.sync_data().is_err() && file.len().is_err());
    assert!(file.read_at(0, &mut [0]).is_err() && storage.open("x").is_err());
    assert!(storage.list("").is_err() && storage.create("y").is_err());
    assert!(!memory.exists("y").unwrap());
    assert!(!memory.crash_hard().exists("x").unwrap());
}

/// The lock is the open file's, of which a child process has a copy until it runs its program.
#[test]
fn a_lock_that_is_let_go_is_free_while_processes_start() {
    let folder = tempfile::tempdir().unwrap();
    let storage = RealStorage::new(folder.path().to_owned()).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Whether there is such a program does not matter: it is the start that counts.
                let _ = std::process::Command::new("true").status();
            }
        });
        let refused = (0..2_000).find_map(|_| storage.lock().err());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

//! Tests of sharing out memory.

use super::*;

const GIB: u64 = 1 << 30;

fn given(list: &[(&str, u64)]) -> impl Fn(&str) -> Option<u64> {
    let list: Vec<(String, u64)> = list.iter().map(|(n, b)| ((*n).to_owned(), *b)).collect();
    move |name| list.iter().find(|(other, _)| other == name).map(|(_, bytes)| *bytes)
}

fn pools(split: &Split) -> u64 {
    SHARES.iter().map(|share| split.limits[share.name]).sum()
}

#[test]
fn every_budget_is_kept_and_uses_nearly_all() {
    for budget in [192 * MIB, 200 * MIB, 512 * MIB, 2 * GIB, 8 * GIB, 1 << 45] {
        let split = split(64 * GIB, &given(&[("memory_bytes_max", budget)])).unwrap();
        let sum = pools(&split) + BASE_BYTES;
        assert!(sum <= budget, "{sum} of {budget}: {split:?}");
        assert!(sum >= budget / 5 * 4, "{sum} of {budget}: {split:?}");
        for share in &SHARES {
            assert!(split.limits[share.name] >= share.least, "{}: {split:?}", share.name);
        }
        let limit = |name: &str| split.limits[name];
        assert!(limit("head_bytes_max") <= limit("heads_bytes_max"));
        assert!(3 * limit("body_bytes_max") <= limit("http_memory_bytes_max"));
        assert!(limit("message_bytes_max") <= limit("messages_bytes_max"));
        assert!(3 * limit("grpc_message_bytes_max") <= limit("grpc_memory_bytes_max"));
        assert!(split.warnings.is_empty());
    }
}

#[test]
fn shares_are_as_documented() {
    let budget = BASE_BYTES + 1000 * MIB;
    let split = split(64 * GIB, &given(&[("memory_bytes_max", budget)])).unwrap();
    let mib = |name: &str| split.limits[name] / MIB;
    assert_eq!(mib("query_memory_bytes_max"), 230);
    assert_eq!(mib("heads_bytes_max"), 200);
    assert_eq!(mib("head_bytes_max"), 50);
    assert_eq!(mib("cache_bytes_max"), 100);
    assert_eq!(mib("blocks_bytes_max"), 100);
    assert_eq!(mib("series_bytes_max"), 80);
    assert_eq!(mib("messages_bytes_max"), 50);
    assert_eq!(mib("http_memory_bytes_max"), 50);
    assert_eq!(mib("grpc_memory_bytes_max"), 40);
    assert_eq!(mib("queue_bytes_max"), 30);
    assert_eq!(mib("line_cache_bytes_max"), 20);
}

#[test]
fn half_of_the_machine_is_the_default() {
    let split = split(16 * GIB, &given(&[])).unwrap();
    assert_eq!(split.limits["memory_bytes_max"], 8 * GIB);
    assert_eq!(split.limits["head_bytes_max"], 128 * MIB);
    assert_eq!(split.limits["body_bytes_max"], 64 * MIB);
}

#[test]
fn what_is_given_wins_and_the_others_share_the_rest() {
    let list = [("memory_bytes_max", GIB), ("query_memory_bytes_max", 700 * MIB)];
    let split = split(16 * GIB, &given(&list)).unwrap();
    assert_eq!(split.limits["query_memory_bytes_max"], 700 * MIB);
    assert!(pools(&split) + BASE_BYTES <= GIB, "{split:?}");
    // 228 MiB are left for shares of 20 in 77.
    assert_eq!(split.limits["heads_bytes_max"] / MIB, 59);
    // A body that is given makes room for itself.
    let list = [("memory_bytes_max", GIB), ("body_bytes_max", 64 * MIB)];
    let split = super::split(16 * GIB, &given(&list)).unwrap();
    assert_eq!(split.limits["http_memory_bytes_max"], 192 * MIB);
    assert!(pools(&split) + BASE_BYTES <= GIB, "{split:?}");
    let list = [("head_bytes_max", 8 * GIB)];
    let split = super::split(32 * GIB, &given(&list)).unwrap();
    assert_eq!(split.limits["heads_bytes_max"], 8 * GIB);
}

#[test]
fn what_cannot_be_is_refused_or_warned_of() {
    let refused = |list: &[(&str, u64)]| split(16 * GIB, &given(list)).expect_err("too much");
    let words = refused(&[("memory_bytes_max", GIB), ("cache_bytes_max", 2 * GIB)]);
    assert!(words.contains("1024 MiB") && words.contains("needs 2"), "{words}");
    let words = refused(&[("http_memory_bytes_max", 10 * MIB), ("body_bytes_max", 4 * MIB)]);
    assert!(words.contains("at least 3 times `body_bytes_max = 4194304`"), "{words}");
    let words = refused(&[("heads_bytes_max", MIB), ("head_bytes_max", 2 * MIB)]);
    assert!(words.contains("at least `head_bytes_max"), "{words}");
    refused(&[("memory_bytes_max", 16 * MIB)]);
    // Without a budget the single limits stand, and the log says what they come to.
    let split = split(GIB, &given(&[("cache_bytes_max", 2 * GIB)])).unwrap();
    assert_eq!(split.limits["cache_bytes_max"], 2 * GIB);
    assert!(split.warnings[0].contains("1024 MiB"), "{:?}", split.warnings);
    let huge = [("cache_bytes_max", u64::MAX), ("heads_bytes_max", u64::MAX)];
    super::split(GIB, &given(&huge)).unwrap();
}

#[test]
fn memory_of_machine_and_groups_is_read() {
    assert_eq!(meminfo_bytes("MemTotal:       24684048 kB\nMemFree: 1 kB\n"), Some(25276465152));
    assert_eq!(meminfo_bytes("nothing"), None);
    assert_eq!((group_bytes("max\n"), group_bytes("4096\n")), (None, Some(4096)));
    let files = group_files("0::/system.slice/a.service\n");
    let expected = ["/system.slice/a.service", "/system.slice", ""];
    assert_eq!(files, expected.map(|path| format!("/sys/fs/cgroup{path}/memory.max")));
    let files = group_files("5:cpu,cpuacct:/x\n4:memory:/docker/1\n");
    assert_eq!(files[0], "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes");
    assert_eq!(files.len(), 3);
    assert!(machine_bytes() >= 64 * MIB);
}

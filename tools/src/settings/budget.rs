//! One setting for the memory of the whole server, and how it is shared out.
//!
//! `memory_bytes_max` less a fixed part for the program itself is split by percent; what is given
//! one by one comes first, and the rest is split over the others and the spare.

use std::collections::BTreeMap;

const MIB: u64 = 1 << 20;

/// What the program takes whatever it does: the heap of an idle server (35 MiB), pages of its code
/// (some 60 MiB once queries ran), and the row store's cache where the others leave room.
pub const BASE_BYTES: u64 = 96 * MIB;
/// Share for what has no pool: rows on their way from a request to the queue, blocks being
/// decoded or encoded, what the allocator keeps.
const SPARE_PERCENT: u64 = 10;

/// A pool: its option, its share, and the least that it works with.
#[derive(Clone, Copy, Debug)]
struct Share {
    name: &'static str,
    percent: u64,
    least: u64,
}

const fn share(name: &'static str, percent: u64, least: u64) -> Share {
    Share { name, percent, least }
}

/// The pools; with the spare they make 100 %.
const SHARES: [Share; 10] = [
    share("query_memory_bytes_max", 23, 8 * MIB),
    share("heads_bytes_max", 20, 4 * MIB),
    share("cache_bytes_max", 10, MIB),
    share("blocks_bytes_max", 10, 0),
    share("series_bytes_max", 8, 2 * MIB),
    share("messages_bytes_max", 5, MIB),
    share("http_memory_bytes_max", 5, MIB),
    share("grpc_memory_bytes_max", 4, MIB),
    share("queue_bytes_max", 3, MIB),
    share("line_cache_bytes_max", 2, 256 * 1024),
];

const _: () = {
    let (mut sum, mut at) = (SPARE_PERCENT, 0);
    while at < SHARES.len() {
        sum += SHARES[at].percent;
        at += 1;
    }
    assert!(sum == 100);
};

/// A limit that another one bounds: a part of it, and a most of its own.
struct Part {
    name: &'static str,
    of: &'static str,
    divisor: u64,
    most: u64,
}

/// Limits inside a pool.
const PARTS: [Part; 5] = [
    Part { name: "head_bytes_max", of: "heads_bytes_max", divisor: 4, most: 128 * MIB },
    Part { name: "body_bytes_max", of: "http_memory_bytes_max", divisor: 3, most: 64 * MIB },
    Part {
        name: "grpc_message_bytes_max",
        of: "grpc_memory_bytes_max",
        divisor: 3,
        most: 64 * MIB,
    },
    Part { name: "query_bytes_max", of: "query_memory_bytes_max", divisor: 2, most: u64::MAX },
    Part { name: "message_bytes_max", of: "messages_bytes_max", divisor: 1, most: 256 * MIB },
];

/// What a pool must hold of a limit inside it: a body stands in memory packed and unpacked, a
/// message of Arrow as it came and as arrays.
fn factor(part: &Part) -> u64 {
    match part.name {
        "body_bytes_max" | "grpc_message_bytes_max" => part.divisor,
        _ => 1,
    }
}

/// Limits by option, and what the user should know.
#[derive(Debug)]
pub struct Split {
    /// `memory_bytes_max` and every limit that follows from it.
    pub limits: BTreeMap<&'static str, u64>,
    /// Words for the log.
    pub warnings: Vec<String>,
}

/// Shares out the memory. `given` tells limits that were given one by one: they win.
///
/// # Errors
/// Words for the user where a given budget is too small for what was given, or one limit for
/// another.
pub fn split(machine_bytes: u64, given: &impl Fn(&str) -> Option<u64>) -> Result<Split, String> {
    for part in &PARTS {
        if let (Some(inner), Some(outer)) = (given(part.name), given(part.of))
            && inner.saturating_mul(factor(part)) > outer
        {
            let times = factor(part);
            let words = if times == 1 { String::new() } else { format!("{times} times ") };
            return Err(format!(
                "`{} = {outer}` must be at least {words}`{} = {inner}`: raise it or leave it out",
                part.of, part.name
            ));
        }
    }
    let least_of = |share: &Share| {
        let inner = PARTS.iter().filter(|part| part.of == share.name);
        let wanted = inner.filter_map(|part| Some(given(part.name)?.saturating_mul(factor(part))));
        wanted.fold(share.least, u64::max)
    };
    let needed = SHARES.iter().fold(BASE_BYTES, |sum, share| {
        sum.saturating_add(given(share.name).unwrap_or_else(|| least_of(share)))
    });
    let (budget, warnings) = budget(machine_bytes, given("memory_bytes_max"), needed)?;
    let mut limits = BTreeMap::from([("memory_bytes_max", budget)]);
    share_out(budget, given, &least_of, &mut limits);
    for part in &PARTS {
        let outer = limits.get(part.of).copied().unwrap_or(0);
        let inner = (outer / part.divisor).min(part.most);
        limits.insert(part.name, given(part.name).unwrap_or(inner));
    }
    Ok(Split { limits, warnings })
}

/// The memory to share out: what is given, or half of the machine's.
fn budget(
    machine_bytes: u64,
    given: Option<u64>,
    needed: u64,
) -> Result<(u64, Vec<String>), String> {
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    if let Some(budget) = given {
        if budget < needed {
            return Err(format!(
                "`memory_bytes_max` is {} MiB, but the server with the limits that are given one \
                 by one needs {} MiB: raise it, or lower or leave out single limits",
                budget / MIB,
                mib(needed)
            ));
        }
        return Ok((budget, Vec::new()));
    }
    let half = machine_bytes / 2;
    if half >= needed {
        return Ok((half, Vec::new()));
    }
    let warning = format!(
        "limits of memory add up to {} MiB of the machine's {} MiB: set memory_bytes_max, or \
         lower or leave out single limits",
        mib(needed),
        machine_bytes / MIB
    );
    Ok((needed, vec![warning]))
}

/// Splits what base and given limits leave over the others. A pool whose share is below its least
/// gets that, and the rest is split again without it.
fn share_out(
    budget: u64,
    given: &impl Fn(&str) -> Option<u64>,
    least_of: &impl Fn(&Share) -> u64,
    limits: &mut BTreeMap<&'static str, u64>,
) {
    let mut fixed: BTreeMap<&'static str, u64> =
        SHARES.iter().filter_map(|share| Some((share.name, given(share.name)?))).collect();
    loop {
        let taken = fixed.values().fold(BASE_BYTES, |sum, bytes| sum.saturating_add(*bytes));
        let left = budget.saturating_sub(taken);
        let open = || SHARES.iter().filter(|share| !fixed.contains_key(share.name));
        let percent = SPARE_PERCENT + open().map(|share| share.percent).sum::<u64>();
        let part = |share: &Share| {
            (u128::from(left) * u128::from(share.percent) / u128::from(percent)) as u64
        };
        let poor = open().find(|share| part(share) < least_of(share)).copied();
        if let Some(poor) = poor {
            fixed.insert(poor.name, least_of(&poor));
            continue;
        }
        limits.extend(open().map(|share| (share.name, part(share))));
        limits.extend(&fixed);
        return;
    }
}

/// Memory of the machine, or of the control group where that is less, bytes. Where neither is
/// told, 4 GiB are assumed.
pub fn machine_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| meminfo_bytes(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = group_files(&groups).into_iter().filter_map(|path| group_bytes(&read(&path)?));
    limits.chain(machine).min().unwrap_or(4096 * MIB)
}

fn meminfo_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A limit as a control group's file tells it; `None` for `max`.
fn group_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

/// Files that may limit the control groups of `/proc/self/cgroup`, of both versions, and those of
/// the groups above them.
fn group_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{path}/{file}"));
            let Some((above, _)) = path.rsplit_once('/') else { break };
            path = above;
        }
    }
    files
}

#[cfg(test)]
mod tests;

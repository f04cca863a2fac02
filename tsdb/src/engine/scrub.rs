//! The scrub: reads at a limited rate whatever has a checksum, so that damage is found while a
//! backup still has the sound bytes.
//!
//! A round takes every part, last-row part and series file of every table, each at most once in
//! [`Options::scrub_interval_seconds`]; of archived parts the index files that lie here. Files are
//! opened anew for it, past all caches. What is bad goes to the quarantine; a part in quarantine
//! whose blocks can all be read again leaves it. The same thread makes durable what others found.
//!
//! [`Options::scrub_interval_seconds`]: super::Options::scrub_interval_seconds

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::part::{BadBlock, Part};
use crate::scan::PartHandle;
use crate::series::SeriesIndex;
use crate::tier::file::check_kept;
use crate::types::TableId;

use super::Db;
use super::core::{Core, read_all};
use super::life::now;
use super::version::Edit;
use super::{files, quarantine};

/// How often the thread looks for bad blocks to make durable.
const TICK: Duration = Duration::from_secs(1);
/// How often it looks for files that are due.
const LOOK: Duration = Duration::from_secs(60);
/// The longest that a pace sleeps at once, so that closing does not wait.
const NAP: Duration = Duration::from_millis(50);

/// How far the scrub is, as `sys.scrub` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The file in hand; empty between files.
    pub path: String,
    /// Bytes read of the files of this round, and bytes of all of them.
    pub bytes_read: u64,
    /// As of the last look.
    pub bytes_total: u64,
    /// Bytes read since the start.
    pub bytes_ever: u64,
    /// Files read to their end since the start.
    pub files_ever: u64,
    /// Bad blocks and files that were found since the start.
    pub found_ever: u64,
    /// When the last round that read every file ended, ns since 1970; 0 if none did.
    pub round_ended: i64,
    /// Files other than parts that are damaged, with the cause.
    pub damaged: BTreeMap<String, String>,
}

/// What the scrub remembers. A leaf in the order of locks.
#[derive(Debug, Default)]
pub(crate) struct Scrubbing {
    pub status: Mutex<ScrubStatus>,
    /// When each file was read to its end, ns since 1970.
    done: Mutex<BTreeMap<String, i64>>,
    /// Held while somebody scrubs.
    running: Mutex<()>,
}

impl Db {
    /// Reads every file that has a checksum now, at most `bytes_per_second` (0: as fast as it can),
    /// whatever the interval of the background's scrub; damage comes into quarantine. Returns
    /// whether all could be read.
    ///
    /// # Errors
    /// [`Error::Closed`] or [`Error::ReadOnly`].
    pub fn scrub(&self, bytes_per_second: u64) -> Result<bool> {
        round(&self.core, 0, bytes_per_second, now())
    }

    /// How far the scrub is.
    pub fn scrub_status(&self) -> ScrubStatus {
        self.core.scrubbing.status.lock().clone()
    }
}

/// A file to read.
enum Target {
    Part(Arc<PartHandle>),
    Last,
    Series(TableId),
}

/// Reads a part anew, past what is decoded of it, and notes what is bad; see
/// [`Part::check_blocks`].
///
/// # Errors
/// Where a store cannot be reached, or others that are no fault of the part.
pub(crate) fn check(
    core: &Core,
    handle: &PartHandle,
    read: &mut dyn FnMut(u64) -> bool,
) -> Result<bool> {
    let fresh = match core.places.open_alone(&handle.entry) {
        Ok(part) => part,
        Err(Error::Corrupt(cause) | Error::Io(cause)) => {
            let (times, bytes) = (handle.entry.times, handle.entry.bytes);
            let block = BadBlock::file(times, bytes, cause, now());
            handle.part.found(block);
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let all = fresh.check_blocks(read)?;
    let found = fresh.damage().list();
    // Where everything could be read, what was thought bad no longer is.
    let heals = all && found.is_empty() && !handle.part.is_unopened() && handle.is_bad();
    if heals {
        let sound = vec![(handle.entry.table, handle.entry.id)];
        core.check_writable()?;
        core.edit(&Edit { sound, ..Edit::default() })?;
        handle.part.damage().clear();
    }
    found.into_iter().for_each(|(block, _)| handle.part.found(block));
    Ok(all)
}

/// Reads files that were not read for `interval_ns` as of `now`, at most `rate` bytes a second (0:
/// as fast as they can be). Returns whether every file was read.
///
/// # Errors
/// [`Error::Closed`] or [`Error::ReadOnly`] if the database closes meanwhile, what the version log
/// gives. Damage is no error.
pub(crate) fn round(core: &Core, interval_ns: i64, rate: u64, now_ns: i64) -> Result<bool> {
    let _guard = core.scrubbing.running.lock();
    let targets = targets(core);
    let named: BTreeSet<&String> = targets.iter().map(|(path, ..)| path).collect();
    core.scrubbing.done.lock().retain(|path, _| named.contains(path));
    let due: Vec<&(String, u64, Target)> = {
        let done = core.scrubbing.done.lock();
        let ripe = |path: &String| {
            done.get(path).is_none_or(|at| at.saturating_add(interval_ns) <= now_ns)
        };
        targets.iter().filter(|(path, ..)| ripe(path)).collect()
    };
    {
        let mut status = core.scrubbing.status.lock();
        status.damaged.retain(|path, _| named.contains(path));
        status.bytes_total = targets.iter().map(|(_, bytes, _)| bytes).sum();
        let due: u64 = due.iter().map(|(_, bytes, _)| bytes).sum();
        status.bytes_read = status.bytes_total - due;
    }
    if due.is_empty() {
        return Ok(true);
    }
    let mut pace = Pace { core, rate, begun: Instant::now(), bytes: 0 };
    let mut whole = true;
    for (path, bytes, target) in due {
        core.scrubbing.status.lock().path.clone_from(path);
        let before = core.scrubbing.status.lock().bytes_read;
        let read = read_target(core, path, target, &mut pace);
        core.scrubbing.status.lock().path.clear();
        match read {
            Ok(true) => {}
            Ok(false) => return core.check_writable().map(|()| false),
            Err(error @ (Error::Closed | Error::ReadOnly(_))) => return Err(error),
            Err(error) => {
                tracing::warn!(path, %error, "a file could not be scrubbed");
                whole = false;
                continue;
            }
        }
        core.scrubbing.done.lock().insert(path.clone(), now_ns);
        let mut status = core.scrubbing.status.lock();
        status.files_ever += 1;
        status.bytes_read = (before + bytes).min(status.bytes_total);
    }
    quarantine::record(core)?;
    if whole {
        core.scrubbing.status.lock().round_ended = now();
    }
    Ok(whole)
}

fn targets(core: &Core) -> Vec<(String, u64, Target)> {
    let mut targets = Vec::new();
    let state = core.state.load();
    for table in state.tables.values() {
        for part in table.parts.iter() {
            let bytes = match part.entry.object {
                None => part.entry.bytes,
                Some(_) => 0,
            };
            targets.push((part.entry.file(), bytes, Target::Part(Arc::clone(part))));
        }
    }
    let version = core.version.lock();
    for (table, named) in &version.version.tables {
        if let Some(id) = named.last {
            targets.push((files::last(*table, id), 0, Target::Last));
        }
        for (from, to, bytes) in &named.series {
            targets.push((files::series(*table, *from, *to), *bytes, Target::Series(*table)));
        }
    }
    targets
}

fn read_target(core: &Core, path: &str, target: &Target, pace: &mut Pace<'_>) -> Result<bool> {
    let storage = &*core.storage;
    let damage = match target {
        Target::Part(part) if part.entry.object.is_none() => {
            let before = part.part.damage().list().len() as u64;
            let all = check(core, part, &mut |bytes| pace.read(bytes))?;
            let after = part.part.damage().list().len() as u64;
            core.scrubbing.status.lock().found_ever += after.saturating_sub(before);
            return Ok(all);
        }
        Target::Part(part) => {
            let len = part.entry.object.as_ref().map_or(0, |object| object.bytes);
            let read = storage.open(path).and_then(|file| {
                pace.read(file.len()?);
                check_kept(file, len)
            });
            read.map_err(|e| Error::io(format_args!("reading {path}"), &e))
        }
        Target::Last => Part::open(storage, path).and_then(|part| {
            let all = part.check_blocks(&mut |bytes| pace.read(bytes))?;
            match part.damage().list().pop() {
                Some((block, _)) => Err(Error::Corrupt(format!("{path}: {block}"))),
                None if all => Ok(()),
                None => Err(Error::Closed),
            }
        }),
        Target::Series(table) => read_all(storage, path).and_then(|bytes| {
            pace.read(bytes.len() as u64);
            SeriesIndex::check(*table, &bytes)
        }),
    };
    match damage {
        Ok(()) => {
            core.scrubbing.status.lock().damaged.remove(path);
            Ok(true)
        }
        // Merged, flushed or dropped meanwhile.
        Err(_) if !targets(core).iter().any(|(named, ..)| named == path) => Ok(true),
        Err(Error::Corrupt(cause) | Error::Io(cause)) => {
            tracing::error!(path, cause, "the scrub found a damaged file");
            let mut status = core.scrubbing.status.lock();
            if status.damaged.insert(path.to_owned(), cause).is_none() {
                status.found_ever += 1;
            }
            Ok(true)
        }
        Err(Error::Closed) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Keeps reading to a rate.
struct Pace<'a> {
    core: &'a Core,
    /// Bytes a second; 0 for no limit.
    rate: u64,
    begun: Instant,
    bytes: u64,
}

impl Pace<'_> {
    /// Waits until `bytes` more may be read; false if the database closes.
    fn read(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.core.scrubbing.status.lock().bytes_ever += bytes;
        loop {
            if self.core.stopping.load(Ordering::Acquire) {
                return false;
            }
            let Some(due) = self.bytes.saturating_mul(1000).checked_div(self.rate) else {
                return true;
            };
            let left = Duration::from_millis(due).saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

/// Runs until the database closes or turns read-only.
pub(crate) fn run(core: &Arc<Core>) {
    let seconds = core.options.scrub_interval_seconds.saturating_mul(1_000_000_000);
    let interval = i64::try_from(seconds).unwrap_or(i64::MAX);
    let rate = core.options.scrub_bytes_per_second;
    // What was read before the start is not known: the first round waits, so that starting again
    // and again reads nothing again and again.
    let wait = Duration::from_secs(core.options.scrub_interval_seconds.min(3600));
    let mut next = Instant::now() + wait;
    while core.wake.wait_life(TICK) && core.check_writable().is_ok() {
        if let Err(error) = quarantine::record(core) {
            tracing::error!(%error, "noting bad blocks");
            return;
        }
        if rate == 0 || Instant::now() < next {
            continue;
        }
        next = Instant::now() + LOOK;
        match round(core, interval, rate, now()) {
            Ok(_) | Err(Error::Closed | Error::ReadOnly(_)) => {}
            Err(error) => tracing::error!(%error, "the scrub"),
        }
    }
}

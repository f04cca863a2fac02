//! Continuous archiving of the log: closed segments go to the store of the backups, and the one
//! being written is closed every few seconds for it. A restore can then go to any moment.
//!
//! Invariants: the log from the first position that is not archived is kept, up to a limit in
//! bytes. Beyond it is cut, and the positions that no restore can go to are noted in the log of
//! the server, in the history and in the store: a stuck archiver never fills the disk, and never
//! leaves a gap in silence.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::engine::Options;
use crate::engine::committer::now_ns;
use crate::engine::core::Core;
use crate::engine::flush;
use crate::error::{Error, Result};
use crate::io::File;
use crate::log::{Log, SegmentInfo};
use crate::tier::Objects;

use super::history::{self, Event, EventKind};
use super::names::{self, Lineage, LogName};
use super::take::{close_log, put_file, sum_of, time_of};
use super::{commit_rows, note};

/// Waits after a failure grow up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How the archiving of the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// The store; empty if the log is not archived.
    pub url: String,
    /// Every commit up to here is in the store.
    pub position: u64,
    /// When that commit was made, ns; `i64::MIN` if nobody knows.
    pub time: i64,
    /// When the archiver last found everything archived, ns since 1970; 0 if never.
    pub succeeded: i64,
    /// Since when it fails, ns since 1970; 0 if it does not.
    pub failing_since: i64,
    /// Why it fails; empty if it does not.
    pub error: String,
    /// Bytes of log that are kept for the archiver alone.
    pub held_bytes: u64,
    /// Segments and bytes archived since the start.
    pub segments: u64,
    /// Bytes archived since the start.
    pub bytes: u64,
    /// Positions given up since the start.
    pub given_up: u64,
}

impl ArchiveStatus {
    /// For how long the archiver has failed, s; 0 if it does not.
    #[must_use]
    pub fn failing_seconds(&self) -> u64 {
        match self.failing_since {
            0 => 0,
            since => (now_ns().saturating_sub(since) / 1_000_000_000).max(1) as u64,
        }
    }

    /// Words for whoever watches, while it fails.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        let seconds = self.failing_seconds();
        (seconds > 0).then(|| {
            format!(
                "the log could not be archived to {} for {seconds} s: {}; {} bytes of it are \
                 kept, {} positions were given up",
                self.url, self.error, self.held_bytes, self.given_up
            )
        })
    }
}

/// What an engine keeps for its archiver. Its state is a leaf in the order of locks.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Held while the log is archived; one at a time.
    passing: Mutex<()>,
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug)]
struct State {
    /// The log from here on is kept; `u64::MAX` without archiving.
    from: u64,
    /// Whether the store was asked what it has.
    known: bool,
    held_bytes_max: u64,
    /// Given up, and not noted in the history yet.
    unnoted: Vec<LogName>,
    /// Noted, but not in the store yet.
    unstored: Vec<LogName>,
    status: ArchiveStatus,
}

impl Archive {
    pub fn new(options: &Options, log: &Log) -> Archive {
        let to = options.log_archive.clone();
        let state = State {
            from: if to.is_some() { log.first_index() } else { u64::MAX },
            known: false,
            held_bytes_max: to.as_ref().map_or(0, |to| to.held_bytes_max),
            unnoted: Vec::new(),
            unstored: Vec::new(),
            status: ArchiveStatus {
                url: to.map(|to| to.url).unwrap_or_default(),
                time: i64::MIN,
                ..ArchiveStatus::default()
            },
        };
        Archive { passing: Mutex::new(()), state: Mutex::new(state), woken: Condvar::new() }
    }

    /// The first position that the archiver needs; `u64::MAX` if it needs none.
    pub fn log_first(&self) -> u64 {
        self.state.lock().from
    }

    pub fn status(&self) -> ArchiveStatus {
        self.state.lock().status.clone()
    }

    /// Ends a wait of the archiver.
    pub fn wake(&self) {
        // Who has looked whether it must stop, but does not wait yet, would miss it.
        let _state = self.state.lock();
        self.woken.notify_all();
    }

    /// Where the log may be cut that nothing else needs before `before`. Over the limit the
    /// archiver's log goes, noted.
    pub fn bound(&self, segments: &[SegmentInfo], before: u64) -> u64 {
        let mut state = self.state.lock();
        if state.from >= before {
            state.status.held_bytes = 0;
            return before;
        }
        // Whole segments are cut; the archiver's next one may begin before its position.
        let ours = |s: &&SegmentInfo| s.last_index < before && s.last_index >= state.from;
        let held: Vec<&SegmentInfo> = segments.iter().filter(ours).collect();
        let bytes: u64 = held.iter().map(|segment| segment.bytes).sum();
        state.status.held_bytes = bytes;
        let Some(last) = held.last().map(|segment| segment.last_index) else { return state.from };
        if bytes <= state.held_bytes_max {
            return state.from;
        }
        let gap = LogName { first: state.from, last, sum: None };
        tracing::error!(
            first = gap.first,
            last = gap.last,
            bytes,
            error = state.status.error,
            "the log could not be archived and would fill the disk: it is cut, and no restore \
             goes to a moment between these positions until the next backup is there"
        );
        state.from = last + 1;
        state.status.held_bytes = 0;
        state.status.given_up += gap.last - gap.first + 1;
        state.unnoted.push(gap);
        before
    }

    pub(super) fn failed(&self, error: &Error) {
        let mut state = self.state.lock();
        if state.status.failing_since == 0 {
            state.status.failing_since = now_ns();
        }
        state.status.error = error.to_string();
    }
}

/// Archives every few seconds until the database closes.
pub(crate) fn archive_loop(core: &Arc<Core>) {
    let Some(to) = core.options.log_archive.clone() else { return };
    let every = Duration::from_secs(to.seconds.max(1));
    let mut pause = Duration::from_secs(1).min(every);
    while !core.stopping.load(Ordering::Acquire) {
        let passed = core
            .options
            .connector
            .connect(&to.url)
            .map_err(|e| Error::io(format_args!("opening the backup store {}", to.url), &e))
            .and_then(|objects| pass(core, &*objects));
        let wait = match passed {
            Ok(()) => {
                pause = Duration::from_secs(1).min(every);
                every
            }
            Err(Error::Closed) => return,
            Err(error) => {
                core.archive.failed(&error);
                let held_bytes = core.archive.status().held_bytes;
                tracing::error!(%error, held_bytes, "the log could not be archived");
                pause = (pause * 2).min(PAUSE_MAX);
                pause
            }
        };
        let mut state = core.archive.state.lock();
        if !core.stopping.load(Ordering::Acquire) {
            core.archive.woken.wait_for(&mut state, wait);
        }
    }
}

/// Archives everything that was committed until now.
///
/// # Errors
/// What the store, the log or the disk gives; the next pass goes on where this one ended.
pub(super) fn pass(core: &Core, objects: &dyn Objects) -> Result<()> {
    let _passing = core.archive.passing.lock();
    core.check_writable()?;
    note_gaps(core)?;
    let lineage = history::lineage(core)?;
    if !core.archive.state.lock().known {
        begin(core, objects, lineage)?;
        note_gaps(core)?;
    }
    store_gaps(core, objects, lineage)?;
    let from = core.archive.log_first();
    let (position, segments) = close_log(core, from)?;
    for segment in &segments {
        core.check_writable()?;
        // Given up meanwhile.
        if segment.last_index < core.archive.log_first() {
            continue;
        }
        archive(core, objects, lineage, segment)?;
    }
    let time = if position == 0 { i64::MIN } else { time_of(core, position)? };
    let mut state = core.archive.state.lock();
    state.status.position = position.max(state.status.position);
    state.status.time = state.status.time.max(time);
    state.status.succeeded = now_ns();
    if state.status.failing_since != 0 {
        tracing::info!(position, "the log is archived again");
    }
    state.status.failing_since = 0;
    state.status.error = String::new();
    let held = state.status.held_bytes > 0;
    drop(state);
    // What was kept for the archiver can go.
    if held { flush::shorten_log(core) } else { Ok(()) }
}

/// Finds out where the archive of this lineage ends.
fn begin(core: &Core, objects: &dyn Objects, lineage: Lineage) -> Result<()> {
    let listed = objects.list(&names::logs(lineage));
    let listed = listed.map_err(|e| Error::io("listing the archived log", &e))?;
    let archived: Vec<LogName> =
        listed.iter().filter_map(|(name, _)| LogName::read(name)).collect();
    let last = archived.iter().map(|name| name.last).max().unwrap_or(0);
    let (first_index, last_index) = {
        let log = core.log.lock();
        let log = log.as_ref().ok_or(Error::Closed)?;
        (log.first_index(), log.last_index())
    };
    if last > last_index {
        return Err(Error::Invalid(format!(
            "the backup store has the log of this database up to position {last}, but the \
             database ends at {last_index}: the folder is an older copy. Restore it by \
             `millrace restore`, or archive to another URL"
        )));
    }
    // Backups leave pieces of the log there too, so not the last one counts but the first hole.
    let mut due = first_index;
    while let Some(next) = archived.iter().find(|name| name.first == due && name.sum.is_some()) {
        due = next.last + 1;
    }
    let before = archived.iter().map(|name| name.last).filter(|last| *last < first_index).max();
    let mut state = core.archive.state.lock();
    state.known = true;
    if let Some(before) = before
        && before + 1 < first_index
    {
        let gap = LogName { first: before + 1, last: first_index - 1, sum: None };
        tracing::error!(
            first = gap.first,
            last = gap.last,
            "the log between these positions was cut before it was archived"
        );
        state.status.given_up += gap.last - gap.first + 1;
        state.unnoted.push(gap);
    }
    state.from = state.from.max(due);
    Ok(())
}

/// Notes in the history what was given up.
fn note_gaps(core: &Core) -> Result<()> {
    loop {
        let (gap, url, why) = {
            let state = core.archive.state.lock();
            let Some(gap) = state.unnoted.first().cloned() else { return Ok(()) };
            (gap, state.status.url.clone(), state.status.error.clone())
        };
        let why = if why.is_empty() { "not archived in time".to_owned() } else { why };
        let mut event = Event::new(EventKind::Gap, &url, now_ns());
        event.position = gap.first;
        event.error = format!("log positions {} to {} given up: {why}", gap.first, gap.last);
        commit_rows(core, note(core, &event)?)?;
        let mut state = core.archive.state.lock();
        state.unnoted.remove(0);
        state.unstored.push(gap);
    }
}

fn store_gaps(core: &Core, objects: &dyn Objects, lineage: Lineage) -> Result<()> {
    loop {
        let Some(gap) = core.archive.state.lock().unstored.first().cloned() else {
            return Ok(());
        };
        let name = gap.object(lineage);
        let put = objects.put(&name, &mut b"".as_slice());
        put.map_err(|e| Error::io(format_args!("writing {name}"), &e))?;
        core.archive.state.lock().unstored.remove(0);
    }
}

fn archive(
    core: &Core,
    objects: &dyn Objects,
    lineage: Lineage,
    segment: &SegmentInfo,
) -> Result<()> {
    let path = &segment.path;
    let io = |e: std::io::Error| Error::io(format_args!("archiving {path}"), &e);
    let stored = core.storage.stored().unwrap_or_else(|| Arc::clone(&core.storage));
    let file = stored.open(path).map_err(io)?;
    let bytes = File::len(file.as_ref()).map_err(io)?;
    let sum = sum_of(core, &file, bytes).map_err(io)?;
    let (first, last) = (segment.first_index, segment.last_index);
    let name = LogName { first, last, sum: Some(sum) };
    let object = name.object(lineage);
    // A backup may have copied it.
    let there = match objects.size(&object) {
        Ok(len) => len == bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(io(error)),
    };
    if !there {
        put_file(core, objects, path, &object, &file, sum)?;
    }
    let mut state = core.archive.state.lock();
    state.from = state.from.max(segment.last_index + 1);
    state.status.position = segment.last_index;
    state.status.segments += 1;
    state.status.bytes += bytes;
    Ok(())
}

//! Room on the disk: a reserve that data may not take, so that what makes room again can always be
//! written.
//!
//! Below the reserve commits that bring data are refused ([`Error::Full`]); below half of it also
//! commits that change management rows; below an eighth those that change the catalogue, and the
//! row store is not check-pointed, since it is the one file that cannot take want of room. Deletes
//! and cuts are tried as long as there is any. All of it ends by itself when there is room again,
//! a little more than the reserve, so that the database does not flicker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::io::Storage;

use super::command::Command;
use super::core::Core;
use super::record::Prepared;

/// How long a measurement holds while there is plenty of room. Tests fill disks in no time.
const MEASURED_FOR: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 50 });
/// Room beyond the reserve that is plenty: more than is written in that time, bytes.
const PLENTY_BYTES: u64 = 512 << 20;

/// What may find no room, as it is told.
pub(crate) const LOGGING: &str = "writing the log";
pub(crate) const FLUSHING: &str = "flushing";
pub(crate) const MERGING: &str = "merging";

/// What a commit takes room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Rows, tables, columns: it grows the database.
    Data,
    /// Management rows.
    Rows,
    /// What the catalogue says of tables; dropping them.
    Catalogue,
    /// A delete or a cut, which makes room sooner or later.
    Relief,
}

impl Use {
    /// The use of a commit. One that makes room may change rows and catalogue on the way.
    pub fn of(commands: &[Prepared]) -> Use {
        let of = |command: &Prepared| match command {
            Prepared::Write(_) => Use::Data,
            Prepared::Other(command) => match command {
                Command::Write(_) | Command::CreateTable(_) | Command::AddColumns { .. } => {
                    Use::Data
                }
                Command::Rows(_) | Command::Watch { .. } => Use::Rows,
                Command::Delete { .. } | Command::Retain { .. } => Use::Relief,
                _ => Use::Catalogue,
            },
        };
        let has = |wanted: Use| commands.iter().any(|command| of(command) == wanted);
        let uses = [Use::Data, Use::Catalogue, Use::Rows];
        uses.into_iter().find(|wanted| has(*wanted)).unwrap_or(Use::Relief)
    }

    /// Bytes that must be free for it, of a reserve.
    fn needs(self, reserve: u64) -> u64 {
        match self {
            Use::Data => reserve,
            Use::Rows => reserve / 2,
            Use::Catalogue => reserve / 8,
            Use::Relief => 0,
        }
    }
}

/// What is known of the room. Its state is a leaf in the order of locks.
#[derive(Debug)]
pub(crate) struct Disk {
    reserve: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    measured: Option<(Instant, u64)>,
    /// Whether room was short of the reserve, and not more than it since.
    short: bool,
    /// What found no room although the reserve was there, or without one: by what was done.
    hits: BTreeMap<&'static str, String>,
}

impl Disk {
    pub fn new(reserve: u64) -> Disk {
        Disk { reserve, state: Mutex::default() }
    }

    /// Bytes free, no older than a moment. What cannot be measured is no reason to refuse.
    pub fn free(&self, storage: &dyn Storage) -> u64 {
        let mut state = self.state.lock();
        if let Some((at, free)) = state.measured
            && free > self.reserve.saturating_add(PLENTY_BYTES)
            && at.elapsed() < MEASURED_FOR
        {
            return free;
        }
        let free = storage.free_bytes().unwrap_or(u64::MAX);
        state.measured = Some((Instant::now(), free));
        let short = match state.short {
            true => free < self.margin(),
            false => free < self.reserve,
        };
        self.set_short(&mut state, short, free);
        free
    }

    /// What must be free before data is taken again once the disk was full.
    fn margin(&self) -> u64 {
        self.reserve.saturating_add(self.reserve / 8)
    }

    fn set_short(&self, state: &mut State, short: bool, free: u64) {
        if short == state.short {
            return;
        }
        match short {
            true => tracing::error!(
                free,
                reserve = self.reserve,
                "the disk is full: writes are refused until there is room"
            ),
            false => tracing::info!(free, "there is room on the disk: writes are taken"),
        }
        state.short = short;
    }

    /// Whether there is room for a use, and for `bytes` more.
    fn has(&self, storage: &dyn Storage, wanted: Use, bytes: u64) -> std::result::Result<(), u64> {
        let free = self.free(storage);
        let mut needs = wanted.needs(self.reserve);
        // Full once, it takes data again with a margin.
        if wanted == Use::Data && self.state.lock().short {
            needs = self.margin();
        }
        let bytes = if wanted == Use::Relief || self.reserve == 0 { 0 } else { bytes };
        if free >= needs.saturating_add(bytes) {
            return Ok(());
        }
        Err(free)
    }
}

impl Core {
    /// Fails where a commit has no room.
    ///
    /// # Errors
    /// [`Error::Full`] with what is free, what is kept and what to do.
    pub fn check_room(&self, wanted: Use, bytes: u64) -> Result<()> {
        match self.disk.has(&*self.storage, wanted, bytes) {
            Ok(()) => Ok(()),
            Err(free) => {
                if wanted == Use::Data && free < self.disk.margin() {
                    self.disk.set_short(&mut self.disk.state.lock(), true, free);
                }
                Err(Error::Full(self.why_full(free)))
            }
        }
    }

    fn why_full(&self, free: u64) -> String {
        format!(
            "the disk of the data folder has {free} bytes free, and {} are kept for what makes \
             room (disk_reserve_bytes): the write was refused and nothing changed. Delete other \
             files, drop tables or shorten retention; writes are taken again by themselves",
            self.disk.reserve
        )
    }

    /// Whether the row store may be written to: it does not survive want of room.
    pub fn has_room_for_rows(&self) -> bool {
        self.disk.has(&*self.storage, Use::Catalogue, 0).is_ok()
    }

    /// Whether parts of `bytes` may be written that nobody waits for: they stay out of the reserve.
    ///
    /// # Errors
    /// [`Error::Full`] without room.
    pub fn check_room_to_merge(&self, bytes: u64) -> Result<()> {
        self.disk.has(&*self.storage, Use::Data, bytes).map_err(|free| {
            Error::Full(format!(
                "a merge of {bytes} bytes waits: {free} bytes are free, and {} are kept",
                self.disk.reserve
            ))
        })
    }

    /// Notes that something found no room, for whoever asks; it is tried again.
    pub fn note_full(&self, doing: &'static str, error: &Error) {
        let first = self.disk.state.lock().hits.insert(doing, error.to_string()).is_none();
        if first {
            tracing::error!(doing, %error, "no room on the disk; it is tried again");
        }
    }

    /// Notes that something found room, which may not have before.
    pub fn note_room(&self, doing: &'static str) {
        if self.disk.state.lock().hits.remove(doing).is_some() {
            tracing::info!(doing, "there is room on the disk again");
        }
    }

    /// What keeps the flusher from making room in memory, if something does.
    pub fn flush_is_stuck(&self) -> Option<String> {
        self.disk.state.lock().hits.get(FLUSHING).cloned()
    }

    /// Why data is refused for want of room, if it is.
    pub fn full(&self) -> Option<String> {
        if let Err(free) = self.disk.has(&*self.storage, Use::Data, 0) {
            return Some(self.why_full(free));
        }
        let hits = &self.disk.state.lock().hits;
        [LOGGING, FLUSHING].iter().find_map(|doing| hits.get(doing).cloned())
    }

    /// Whether heads should be flushed so that the log can be cut.
    pub fn is_short_of_room(&self) -> bool {
        self.disk.state.lock().short
    }

    /// Bytes free and bytes kept.
    pub fn room(&self) -> (u64, u64) {
        (self.disk.free(&*self.storage), self.disk.reserve)
    }
}

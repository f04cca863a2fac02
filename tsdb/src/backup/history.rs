//! What the engine remembers of backups: rows of space 1 of the row store (FORMAT.md, "Engine
//! rows"): the lineage, and what became of backups, drills and archiving.

use crate::engine::bytes::{Reader, put_bytes};
use crate::engine::core::Core;
use crate::engine::open::Identity;
use crate::error::{Error, Result};
use crate::rows::{RowChange, RowCommand, RowSnapshot};

use super::names::Lineage;

/// Space of the row store.
const SPACE: u16 = 1;
const LINEAGE_KEY: &[u8] = b"lineage";
const EVENT_PREFIX: &[u8] = b"e";
const VERSION: u8 = 1;
/// Events kept; the oldest go.
pub const EVENTS_MAX: usize = if cfg!(test) { 6 } else { 1000 };

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A full backup.
    Full = 1,
    /// A backup that copied what was new.
    Incremental = 2,
    /// A restore for practice.
    Drill = 3,
    /// Old backups taken away.
    Prune = 4,
    /// Log that was not archived, and never will be.
    Gap = 5,
}

impl EventKind {
    /// The word that SQL shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Full => "full",
            EventKind::Incremental => "incremental",
            EventKind::Drill => "drill",
            EventKind::Prune => "prune",
            EventKind::Gap => "gap",
        }
    }

    fn of(number: u8) -> Option<EventKind> {
        use EventKind as E;
        let all = [E::Full, E::Incremental, E::Drill, E::Prune, E::Gap];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The store.
    pub url: String,
    /// When it began and ended, ns since 1970.
    pub started: i64,
    /// When it ended, ns since 1970.
    pub finished: i64,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// Number of the backup; 0 if there is none.
    pub number: u64,
    /// Last position of the backup; of a gap the first one that is missing.
    pub position: u64,
    /// Commit time of that position, ns.
    pub time: i64,
    /// Files and bytes of the backup, and those that had to be copied (or were removed).
    pub files: u64,
    /// Bytes of the backup.
    pub bytes: u64,
    /// Files copied, restored or removed.
    pub moved_files: u64,
    /// Bytes copied, restored or removed.
    pub moved_bytes: u64,
    /// Of a drill: how long the restore took, s.
    pub rto_seconds: f64,
    /// Of a drill: the newest commits that it did not have, as a span of time, s.
    pub rpo_seconds: f64,
}

impl Event {
    /// An event of which nothing is known but what and where.
    #[must_use]
    pub fn new(kind: EventKind, url: &str, started: i64) -> Event {
        Event {
            kind,
            url: url.to_owned(),
            started,
            finished: started,
            error: String::new(),
            number: 0,
            position: 0,
            time: i64::MIN,
            files: 0,
            bytes: 0,
            moved_files: 0,
            moved_bytes: 0,
            rto_seconds: 0.0,
            rpo_seconds: 0.0,
        }
    }

    /// Whether it did what it should.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.error.is_empty()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind as u8];
        put_bytes(&mut out, self.url.as_bytes());
        put_bytes(&mut out, self.error.as_bytes());
        for time in [self.started, self.finished, self.time] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        let counts = [self.number, self.position, self.files, self.bytes];
        for count in counts.into_iter().chain([self.moved_files, self.moved_bytes]) {
            out.extend_from_slice(&count.to_le_bytes());
        }
        out.extend_from_slice(&self.rto_seconds.to_bits().to_le_bytes());
        out.extend_from_slice(&self.rpo_seconds.to_bits().to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Event> {
        let mut reader = Reader::new(bytes, "backup event");
        let version = reader.u8()?;
        if version != VERSION {
            return Err(reader.error(format_args!("version {version} is not known")));
        }
        let number = reader.u8()?;
        let Some(kind) = EventKind::of(number) else {
            return Err(reader.error(format_args!("no event has the number {number}")));
        };
        let event = Event {
            kind,
            url: reader.text()?,
            error: reader.text()?,
            started: reader.i64()?,
            finished: reader.i64()?,
            time: reader.i64()?,
            number: reader.u64()?,
            position: reader.u64()?,
            files: reader.u64()?,
            bytes: reader.u64()?,
            moved_files: reader.u64()?,
            moved_bytes: reader.u64()?,
            rto_seconds: f64::from_bits(reader.u64()?),
            rpo_seconds: f64::from_bits(reader.u64()?),
        };
        reader.end()?;
        Ok(event)
    }
}

/// The lineage of a database: that of its last restore, else its own number.
pub(crate) fn lineage(core: &Core) -> Result<Lineage> {
    if let Some(lineage) = lineage_of(&core.rows.snapshot()?)? {
        return Ok(lineage);
    }
    match Identity::read(&*core.storage)? {
        Some(identity) => Ok(Lineage(identity.id)),
        None => Err(Error::Corrupt("the identity of the database is gone".into())),
    }
}

/// The lineage that rows tell; `None` if it is the database's number.
pub(super) fn lineage_of(rows: &RowSnapshot) -> Result<Option<Lineage>> {
    let Some(value) = rows.get(SPACE, LINEAGE_KEY)? else { return Ok(None) };
    let mut reader = Reader::new(&value, "lineage");
    let (version, id) = (reader.u8()?, reader.take(16)?);
    let (_parent, _position) = (reader.take(16)?, reader.u64()?);
    reader.end()?;
    match (version, id.try_into()) {
        (VERSION, Ok(id)) => Ok(Some(Lineage(id))),
        _ => Err(reader.error("of a version that is not known")),
    }
}

/// The command that begins a new lineage; where it comes from is kept for people.
pub(super) fn begin_lineage(lineage: Lineage, parent: Lineage, position: u64) -> RowCommand {
    let mut value = vec![VERSION];
    value.extend_from_slice(&lineage.0);
    value.extend_from_slice(&parent.0);
    value.extend_from_slice(&position.to_le_bytes());
    let put = RowChange::Put { space: SPACE, key: LINEAGE_KEY.to_vec(), value };
    RowCommand { expects: Vec::new(), changes: vec![put] }
}

/// Key of an event: by time, so that the oldest come first.
fn key(event: &Event) -> Vec<u8> {
    let mut key = EVENT_PREFIX.to_vec();
    key.extend_from_slice(&(event.started as u64).to_be_bytes());
    key.push(event.kind as u8);
    key
}

/// The command that notes an event and forgets those beyond the limit.
pub(super) fn note(rows: &RowSnapshot, event: &Event) -> Result<RowCommand> {
    let known = rows.scan(SPACE, EVENT_PREFIX)?;
    let too_many = (known.len() + 1).saturating_sub(EVENTS_MAX);
    let old = known.into_iter().take(too_many);
    let mut changes: Vec<RowChange> =
        old.map(|(key, _)| RowChange::Delete { space: SPACE, key }).collect();
    changes.push(RowChange::Put { space: SPACE, key: key(event), value: event.encode() });
    Ok(RowCommand { expects: Vec::new(), changes })
}

/// All events, the oldest first.
///
/// # Errors
/// [`Error::Corrupt`] for a row that no writer made, and what reading gives.
pub(super) fn events(rows: &RowSnapshot) -> Result<Vec<Event>> {
    rows.scan(SPACE, EVENT_PREFIX)?.iter().map(|(_, value)| Event::decode(value)).collect()
}

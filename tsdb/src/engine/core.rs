//! What all threads of an engine share, and the rules between them.
//!
//! Lock order: `tending` or `backing`, then `flushing` or `merging`, then `clearing`, then `version`,
//! then `publishing`, then a table's last rows; one scrub at a time, above `version`. `log` and
//! `queue` are leaves: nothing but `archive` and `holds` is taken while one of them is held. Readers
//! take no locks but short ones: of the state's pointer (`Published`), a series index, last rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, RwLock};

use crate::backup::{Archive, Jobs};
use crate::error::{Error, Result};
use crate::head::{Head, LastRows, RunData};
use crate::io::Storage;
use crate::log::Log;
use crate::part::{BadBlock, Part};
use crate::rows::RowStore;
use crate::scan::{PartHandle, ScanStats, ScanStream, Source, StreamSpec};
use crate::series::{Bitmap, SeriesIndex};
use crate::types::{ColumnId, MergeMode, PhysicalType, TableId, TableSchema, TimeRange};

use super::command::{Committed, promise};
use super::disk::{Disk, Use};
use super::files;
use super::holds::Holds;
use super::life::Tending;
use super::options::Options;
use super::place::Places;
use super::published::Published;
use super::queue::{Queue, Waiting};
use super::record::{self, Prepared};
use super::scrub::Scrubbing;
use super::state::{Snapshot, State, TableState};
use super::version::{Edit, TableFiles, VersionLog};

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub commits: AtomicU64,
    pub syncs: AtomicU64,
    pub rows: AtomicU64,
    pub flushes: AtomicU64,
    pub merges: AtomicU64,
    /// Bytes of parts that flushes and merges wrote, and of last-row parts.
    pub flush_bytes: AtomicU64,
    pub merge_bytes: AtomicU64,
    pub last_bytes: AtomicU64,
    pub rows_expired: AtomicU64,
    pub archive_failures: AtomicU64,
}

/// Work for the maintenance threads.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    flush: Mutex<bool>,
    flush_condition: Condvar,
    merge: Mutex<bool>,
    merge_condition: Condvar,
    /// Whether the thread that tends the life of data shall end.
    life: Mutex<bool>,
    life_condition: Condvar,
}

impl Wake {
    pub fn flush(&self) {
        *self.flush.lock() = true;
        self.flush_condition.notify_all();
    }

    pub fn merge(&self) {
        *self.merge.lock() = true;
        self.merge_condition.notify_all();
    }

    /// Ends the thread that tends the life of data.
    pub fn end_life(&self) {
        *self.life.lock() = true;
        self.life_condition.notify_all();
    }

    /// Waits for `interval`; false at the end.
    pub fn wait_life(&self, interval: std::time::Duration) -> bool {
        let until = std::time::Instant::now() + interval;
        let mut ended = self.life.lock();
        while !*ended {
            if self.life_condition.wait_until(&mut ended, until).timed_out() {
                break;
            }
        }
        !*ended
    }

    /// Waits for work or until a second has passed.
    pub fn wait_flush(&self) {
        let mut flag = self.flush.lock();
        if !*flag {
            self.flush_condition.wait_for(&mut flag, std::time::Duration::from_secs(1));
        }
        *flag = false;
    }

    /// Waits for work or until five seconds have passed.
    pub fn wait_merge(&self) {
        let mut flag = self.merge.lock();
        if !*flag {
            self.merge_condition.wait_for(&mut flag, std::time::Duration::from_secs(5));
        }
        *flag = false;
    }
}

/// The shared parts of an open database.
#[derive(Debug)]
pub(crate) struct Core {
    pub storage: Arc<dyn Storage>,
    pub places: Arc<Places>,
    pub options: Options,
    pub shards: u16,
    pub state: Published<State>,
    /// Held while a new state is made from the newest one.
    pub publishing: Mutex<()>,
    pub version: Mutex<VersionLog>,
    pub rows: RowStore,
    pub log: Mutex<Option<Log>>,
    pub queue: Queue,
    /// Held while a table is flushed; one at a time.
    pub flushing: Mutex<()>,
    /// Held while parts are merged; one job at a time.
    pub merging: Mutex<()>,
    /// Held from where a flush or a merge looks which deletes nothing needs any more until its own
    /// outcome is visible. Looking side by side, each would leave to the other a delete that the
    /// parts need which the one replaces and that the other flushes; it would then stay for good.
    pub clearing: Mutex<()>,
    /// Held while the life of data is tended; taken before every other lock.
    pub tending: Mutex<Tending>,
    pub wake: Wake,
    pub counters: Counters,
    pub holds: Holds,
    /// Held while a backup is taken or old ones are removed; one at a time.
    pub backing: Mutex<()>,
    pub archive: Archive,
    pub jobs: Jobs,
    pub scrubbing: Scrubbing,
    pub disk: Disk,
    /// Tables that are dropped and whose files there was no room to take out of the version.
    pub undropped: Mutex<Vec<TableId>>,
    failure: RwLock<Option<String>>,
    pub stopping: AtomicBool,
    /// Signalled when heads shrink.
    pub room: (Mutex<()>, Condvar),
    /// Keeps other processes out; let go of at the end of closing.
    pub lock: Mutex<Option<Box<dyn std::any::Any + Send + Sync>>>,
}

impl Core {
    pub fn new(
        places: Arc<Places>,
        options: Options,
        shards: u16,
        state: State,
        version: VersionLog,
        rows: RowStore,
        log: Log,
        lock: Box<dyn std::any::Any + Send + Sync>,
    ) -> Core {
        let queue = Queue::new(options.queue_bytes_max);
        places.memory.note_heads(state.head_bytes);
        let archive = Archive::new(&options, &log);
        let disk = Disk::new(options.disk_reserve_bytes);
        Core {
            storage: Arc::clone(&places.storage),
            places,
            options,
            shards,
            state: Published::new(state),
            publishing: Mutex::new(()),
            version: Mutex::new(version),
            rows,
            log: Mutex::new(Some(log)),
            queue,
            flushing: Mutex::new(()),
            merging: Mutex::new(()),
            clearing: Mutex::new(()),
            tending: Mutex::new(Tending::default()),
            wake: Wake::default(),
            counters: Counters::default(),
            holds: Holds::default(),
            backing: Mutex::new(()),
            archive,
            jobs: Jobs::default(),
            scrubbing: Scrubbing::default(),
            disk,
            undropped: Mutex::default(),
            failure: RwLock::new(None),
            stopping: AtomicBool::new(false),
            room: (Mutex::new(()), Condvar::new()),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot { state: self.state.load(), left_out: None }
    }

    /// Turns read-only: after a failed write or sync what the disk holds is unknown until it is
    /// read again at the next start. The first cause stands. Want of room is no such failure:
    /// [`Error::Full`] says that nothing has changed.
    pub fn fail(&self, doing: &str, error: &Error) {
        if matches!(error, Error::Closed | Error::Full(_)) {
            return;
        }
        let mut failure = self.failure.write();
        if failure.is_none() {
            tracing::error!(doing, %error, "the database is read-only from now on");
            *failure = Some(format!("{doing}: {error}"));
        }
        drop(failure);
        self.room.1.notify_all();
        self.queue.wake();
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.read().clone()
    }

    /// Fails if the database is read-only or closing.
    pub fn check_writable(&self) -> Result<()> {
        if let Some(cause) = self.failure() {
            return Err(Error::ReadOnly(cause));
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Makes a new state from the newest one and publishes it.
    pub fn publish<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let _guard = self.publishing.lock();
        let mut state = State::clone(&self.state.load());
        let result = change(&mut state);
        self.state.store(state);
        result
    }

    /// Commits commands that need no preparing, past the checks of `submit`.
    ///
    /// # Errors
    /// [`Error::Closed`], or what keeps the commit from being durable.
    pub fn commit(&self, commands: Vec<Prepared>) -> Result<Committed> {
        let payload = record::encode(&commands);
        self.check_room(Use::of(&commands), payload.len() as u64)?;
        let (promise, pending) = promise();
        let waiting = Waiting::new(commands, payload, promise);
        self.queue.push(waiting).map_err(|_| Error::Closed)?;
        pending.wait()
    }

    /// Takes `count` part numbers that were never used; returns the first.
    pub fn take_part_numbers(&self, count: u64) -> u64 {
        let mut version = self.version.lock();
        let first = version.version.next_part;
        version.version.next_part += count;
        first
    }

    /// Makes an edit durable; returns the files that are no longer named.
    ///
    /// # Errors
    /// Those of [`VersionLog::append`]. All but [`Error::Full`] have made the database read-only,
    /// whatever their kind and whatever the caller makes of them: the version may have what no
    /// state will.
    pub fn append(&self, edit: &Edit) -> Result<Vec<String>> {
        let appended = self.version.lock().append(edit);
        if let Err(error) = &appended
            && !matches!(error, Error::Full(_))
        {
            self.fail("writing the version log", error);
        }
        appended
    }

    /// Makes an edit durable and removes what is no longer named. Parts that are files are left to
    /// their last reader.
    ///
    /// # Errors
    /// As [`Core::append`].
    pub fn edit(&self, edit: &Edit) -> Result<()> {
        let gone = self.append(edit)?;
        gone.iter().filter(|path| !path.ends_with(".part")).for_each(|path| self.remove(path));
        Ok(())
    }
}

/// Loads the files of a table: parts opened, series and last rows in memory.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Io`] with the file's name.
pub(crate) fn attach(
    places: &Places,
    shards: u16,
    schema: TableSchema,
    files: Option<&TableFiles>,
) -> Result<TableState> {
    let storage = &places.storage;
    let series = SeriesIndex::new(schema.id);
    let mut last = LastRows::default();
    let none = TableFiles::default();
    let files = files.unwrap_or(&none);
    let mut series_bytes = 0;
    for (from, to, bytes) in &files.series {
        let path = files::series(schema.id, *from, *to);
        series.load(&read_all(&**storage, &path)?).map_err(|error| match error {
            Error::Corrupt(why) => Error::Corrupt(format!("{path}: {why}")),
            other => other,
        })?;
        series_bytes += bytes;
    }
    let mut parts = Vec::with_capacity(files.parts.len());
    for entry in files.parts.values() {
        let bad = files.bad.get(&entry.id).map_or(&[][..], Vec::as_slice);
        parts.push(places.attach(entry.clone(), bad)?);
    }
    let members = files.groups.members(&series);
    parts.iter().for_each(|part| part.know(members.get(&part.entry.group)));
    sort_parts(&mut parts);
    let mut bad_last = None;
    if let Some(id) = files.last {
        match load_last(storage, &schema, id, &mut last) {
            // Those that were read are right; the others have to be looked up.
            Err(Error::Corrupt(cause) | Error::Io(cause)) => {
                tracing::error!(path = files::last(schema.id, id), cause, "last rows are damaged");
                let recorded = files.bad.contains_key(&id);
                let block = BadBlock::file(TimeRange::ALL, 0, cause, super::life::now());
                bad_last = Some((id, block, recorded));
            }
            loaded => loaded?,
        }
    }
    let scarred = files.scarred;
    let is_bad = |part: &Arc<PartHandle>| part.is_bad() || part.entry.object.is_some();
    if scarred || bad_last.is_some() || parts.iter().any(is_bad) {
        doubt(&mut last, series.len(), &parts);
    }
    Ok(TableState {
        bad_last,
        scarred,
        groups: Arc::new(files.groups.clone()),
        watches: Arc::default(),
        series_count: series.len(),
        series_stored: series.len(),
        series_bytes,
        series: Arc::new(series),
        head: Head::new(shards),
        frozen: 0,
        flushed: files.flushed,
        pending: None,
        applied: files.flushed,
        cut: files.cut,
        tombstones: Arc::new(files.tombstones.values().cloned().collect()),
        parts: Arc::new(parts),
        last: Arc::new(RwLock::new(last)),
        schema: Arc::new(schema),
    })
}

/// Takes every series without a last row as one whose last row has to be looked up: a flush leaves
/// last rows out that an archive out of reach or a bad block kept from it.
pub(crate) fn doubt(last: &mut LastRows, series: u32, parts: &[Arc<PartHandle>]) {
    let latest = parts.iter().map(|part| part.entry.times.max).max().unwrap_or(i64::MIN);
    // A row of the latest time itself may have to be merged with the one in doubt.
    last.doubt(series, latest.saturating_add(1));
}

/// Puts parts into the order of positions.
pub(crate) fn sort_parts(parts: &mut [Arc<PartHandle>]) {
    parts.sort_by_key(|part| (part.entry.positions, part.entry.times.min));
}

/// Reads a last-row part into a cache.
pub(crate) fn load_last(
    storage: &Arc<dyn Storage>,
    schema: &TableSchema,
    id: u64,
    last: &mut LastRows,
) -> Result<()> {
    let part = Part::open(&**storage, &files::last(schema.id, id))?;
    let entry = super::version::PartEntry {
        id,
        table: schema.id,
        level: 0,
        positions: (0, 0),
        partition: None,
        rows: part.meta().rows,
        times: part.meta().times,
        bytes: part.meta().bytes,
        deletes_applied: 0,
        object: None,
        hot_until: 0,
        group: 0,
    };
    let handle = PartHandle::new(entry, part, Arc::clone(storage));
    // All columns of the file, whatever the schema says: at start it may be older than the file.
    let columns = handle.part.meta().columns.iter().map(|c| (c.id, c.physical)).collect();
    let mode = schema.options.merge;
    each_batch_of(&[Source::Part(handle, None)], columns, mode, None, TimeRange::ALL, |rows| {
        let crate::types::Rows { series, times, columns } = rows;
        last.update(&series, &RunData { times, columns }, MergeMode::LastRow, 0);
        Ok(())
    })
}

/// Fields of a table in ascending number, as storage orders them.
pub(crate) fn storage_columns(schema: &TableSchema) -> Vec<(u16, PhysicalType)> {
    let mut columns: Vec<_> = schema.fields().map(|f| (f.id, f.kind.physical())).collect();
    columns.sort_unstable_by_key(|(id, _)| *id);
    columns
}

/// Streams all rows of some sources and times, merged, in batches; of the series of `set` if there
/// is one.
pub(crate) fn each_batch(
    sources: &[Source],
    schema: &TableSchema,
    set: Option<Arc<Bitmap>>,
    times: TimeRange,
    take: impl FnMut(crate::types::Rows) -> Result<()>,
) -> Result<()> {
    each_batch_of(sources, storage_columns(schema), schema.options.merge, set, times, take)
}

fn each_batch_of(
    sources: &[Source],
    columns: Vec<(ColumnId, PhysicalType)>,
    mode: MergeMode,
    set: Option<Arc<Bitmap>>,
    times: TimeRange,
    mut take: impl FnMut(crate::types::Rows) -> Result<()>,
) -> Result<()> {
    let spec = StreamSpec {
        series: (0, u32::MAX),
        set,
        times,
        shown: columns.len(),
        columns,
        filters: Vec::new(),
        bounds: Vec::new(),
        mode,
        batch_rows: 8192,
    };
    let mut stream = ScanStream::new(sources, spec, Arc::new(ScanStats::default()))?;
    while let Some(rows) = stream.next_rows()? {
        take(rows)?;
    }
    Ok(())
}

/// Reads a whole file.
pub(crate) fn read_all(storage: &dyn Storage, path: &str) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(format_args!("reading {path}"), &e);
    let file = storage.open(path).map_err(io)?;
    let mut bytes = vec![0; file.len().map_err(io)? as usize];
    file.read_at(0, &mut bytes).map_err(io)?;
    Ok(bytes)
}

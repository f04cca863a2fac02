//! Opening a database: lock, version, row store, log, then the records that neither parts nor
//! rows hold yet.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::backup::{UNFINISHED_RESTORE, clear_scratch};
use crate::error::{Error, Result};
use crate::io::Storage;
use crate::log::{Kind, Log, LogOptions};
use crate::rows::RowStore;
use crate::types::{TableId, TableSchema};

use super::apply::{Context, Effects, apply};
use super::core::{Core, attach, read_all};
use super::options::Options;
use super::place::Places;
use super::record::Decoded;
use super::state::State;
use super::stats::RecoveryReport;
use super::version::{Edit, FoundVersion, Version, VersionLog};
use super::{catalog, files, record, watch};

/// The last byte is the version: 2 where the database is encrypted.
const IDENTITY_MAGIC: &[u8; 7] = b"MRBASE\x00";
const IDENTITY_BYTES: usize = 40;

/// Who a database is (FORMAT.md, "Identity").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random number of the database; every log segment names it.
    pub id: [u8; 16],
    /// Number of shards.
    pub shards: u16,
    /// Whether all other files are sealed.
    pub encrypted: bool,
}

impl Identity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = IDENTITY_MAGIC.to_vec();
        out.push(1 + u8::from(self.encrypted));
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.push(u8::from(self.encrypted));
        out.resize(IDENTITY_BYTES - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Identity> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != IDENTITY_BYTES || crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (version, rest) = body.strip_prefix(IDENTITY_MAGIC)?.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (shards, rest) = rest.split_first_chunk::<2>()?;
        let encrypted = match (version, rest.first()?) {
            (1, 0) => false,
            (2, 1) => true,
            _ => return None,
        };
        Some(Identity { id: *id, shards: u16::from_le_bytes(*shards), encrypted })
    }

    /// Reads the identity of a folder; `None` if it holds no database yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged one.
    pub fn read(storage: &dyn Storage) -> Result<Option<Identity>> {
        let doing = |e: std::io::Error| Error::io("looking for a database", &e);
        if !storage.exists(files::IDENTITY).map_err(doing)? {
            return Ok(None);
        }
        let bytes = read_all(storage, files::IDENTITY)?;
        match Identity::decode(&bytes) {
            Some(identity) if (1..=64).contains(&identity.shards) => Ok(Some(identity)),
            _ => Err(Error::corrupt(files::IDENTITY, 0, "the identity of the database is damaged")),
        }
    }

    fn create(storage: &dyn Storage, shards: u16) -> Result<Identity> {
        let encrypted = storage.keys().is_some();
        let identity = Identity { id: random_id(), shards, encrypted };
        let unfinished = format!("{}{}", files::IDENTITY, files::UNFINISHED);
        let io = |e: std::io::Error| Error::io("making the database", &e);
        if storage.exists(&unfinished).map_err(io)? {
            storage.remove(&unfinished).map_err(io)?;
        }
        let file = storage.create(&unfinished).map_err(io)?;
        file.write_at(0, &identity.encode()).map_err(io)?;
        file.sync_data().map_err(io)?;
        storage.rename(&unfinished, files::IDENTITY).map_err(io)?;
        storage.sync_dir("").map_err(io)?;
        Ok(identity)
    }
}

/// Sixteen bytes that differ from database to database: the standard library's seeds of hash
/// maps come from the operating system.
pub(crate) fn random_id() -> [u8; 16] {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut id = [0; 16];
    for half in id.chunks_exact_mut(8) {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u128(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos()),
        );
        half.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    id
}

/// Refuses a folder that a restore is being made in, or was.
pub(crate) fn refuse_unfinished(storage: &dyn Storage) -> Result<()> {
    if storage.exists(UNFINISHED_RESTORE).map_err(|e| Error::io("looking for a restore", &e))? {
        return Err(Error::Invalid(format!(
            "the folder holds a restore that did not finish ({UNFINISHED_RESTORE} is there): run \
             `millrace restore` into it again, which starts anew, or remove the folder"
        )));
    }
    Ok(())
}

/// Opens or makes a database; the threads are the caller's.
pub(crate) fn open(storage: Arc<dyn Storage>, options: Options) -> Result<(Core, RecoveryReport)> {
    let started = Instant::now();
    options.validate()?;
    storage.create_dir("").map_err(|e| Error::io("making the data folder", &e))?;
    let lock = storage.lock().map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked(e.to_string()),
        _ => Error::io("locking the data folder", &e),
    })?;
    super::formats::refuse_newer(&*storage)?;
    let found = Identity::read(&*storage)?;
    crate::crypto::check(&*storage, found.map(|identity| identity.encrypted))?;
    for folder in [files::PARTS, files::SERIES, files::ROWS] {
        storage
            .create_dir(folder)
            .map_err(|e| Error::io(format_args!("making folder {folder}"), &e))?;
    }
    let mut report = RecoveryReport { first_open: found.is_none(), ..RecoveryReport::default() };
    let rows = RowStore::open_in(&*storage, files::ROWS, "rows.redb")?;
    let found_version = FoundVersion::read(&*storage)?;
    let version = &found_version.version;
    let identity = match found {
        Some(identity) => identity,
        None => Identity::create(&*storage, options.shards)?,
    };
    let log_options = LogOptions {
        segment_bytes_max: options.log_segment_bytes_max,
        database_id: identity.id,
        ..LogOptions::default()
    };
    let (log, recovered) = Log::open(Arc::clone(&storage), log_options)?;
    report.bytes_cut = recovered.cut.as_ref().map_or(0, |cut| cut.bytes);
    if let Some(cut) = &recovered.cut {
        tracing::warn!(segment = cut.segment, bytes = cut.bytes, "cut a torn tail off the log");
    }
    check_reach(version, &rows, recovered.first_index, recovered.last_index)?;
    let places = Arc::new(Places::new(Arc::clone(&storage), &options));
    let mut state = load(&places, &rows, version, identity.shards)?;
    let dropped = replay(&places, identity.shards, &rows, version, &log, &mut state, &mut report)?;
    state.position = state.position.max(recovered.last_index);
    // The next checkpoint keeps it: the records that say it may be cut off the log then.
    rows.note_commit_time(state.time);
    // Only now, when everything was found sound, anything but the log's tail is changed.
    let version = VersionLog::begin(Arc::clone(&storage), found_version)?;
    let core = Core::new(places, options, identity.shards, state, version, rows, log, lock);
    drop_orphans(&core, &dropped)?;
    clear_scratch(&*core.storage)?;
    report.files_removed = remove_unnamed(&*core.storage, &core.version.lock().version)?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok((core, report))
}

/// Parts and rows must not be ahead of the log: new commits would then be taken for old ones. Nor
/// may they be behind its beginning: what was cut off the log would be nowhere.
fn check_reach(
    version: &Version,
    rows: &RowStore,
    first_index: u64,
    last_index: u64,
) -> Result<()> {
    if first_index > version.log_first.max(1) {
        return Err(Error::Corrupt(format!(
            "the log begins at position {first_index}, but the version log knows of no cut behind \
             {}: it or segments of the log are missing or damaged",
            version.log_first.max(1)
        )));
    }
    if first_index > rows.applied_position() + 1 {
        return Err(Error::Corrupt(format!(
            "the row store ends at position {}, but the log begins at {first_index}: {} is not \
             the one of this folder, or segments of the log are missing",
            rows.applied_position(),
            files::ROW_STORE
        )));
    }
    let flushed = version.tables.values().map(|files| files.flushed);
    let parts = version.tables.values().flat_map(|files| files.parts.values());
    let known = flushed.chain(parts.map(|part| part.deletes_applied)).max().unwrap_or(0);
    let reached = known.max(rows.applied_position());
    if reached > last_index {
        return Err(Error::Corrupt(format!(
            "parts and rows hold commits up to position {reached}, but the log ends at \
             {last_index}: log segments are missing; restore them or the whole folder"
        )));
    }
    Ok(())
}

/// The state as parts and row store say it, before any record is replayed.
fn load(places: &Places, rows: &RowStore, version: &Version, shards: u16) -> Result<State> {
    let snapshot = rows.snapshot()?;
    let (schemas, next_table) = catalog::load(&snapshot)?;
    let mut state = State {
        position: 0,
        time: rows.commit_time(),
        schema_version: 1,
        tables: imbl::OrdMap::new(),
        names: imbl::OrdMap::new(),
        next_table,
        rows: snapshot,
        head_bytes: 0,
    };
    for schema in schemas {
        let files = version.tables.get(&schema.id);
        state.names.insert(schema.name.clone(), schema.id);
        let table = attach(places, shards, schema, files)?;
        state.tables.insert(table.schema.id, Arc::new(table));
    }
    for (table, watch) in watch::load(&state.rows)? {
        let Some(table) = state.tables.get_mut(&table) else {
            return Err(Error::Corrupt(format!(
                "row store: watch {} is over table {table}, which is not there",
                watch.number
            )));
        };
        Arc::make_mut(&mut Arc::make_mut(table).watches).push(watch);
    }
    Ok(state)
}

fn replay(
    places: &Places,
    shards: u16,
    rows: &RowStore,
    version: &Version,
    log: &Log,
    state: &mut State,
    report: &mut RecoveryReport,
) -> Result<Vec<TableId>> {
    let attach = |schema: TableSchema| {
        let files = version.tables.get(&schema.id);
        attach(places, shards, schema, files)
    };
    let catalog_position = rows.applied_position();
    let context = Context { shards, rows, attach: &attach, catalog_position };
    let mut effects = Effects::default();
    for record in log.read_from(log.first_index())? {
        let record = record?;
        if record.kind != Kind::Commands {
            continue;
        }
        let Decoded { time, commands } = record::decode(&record.payload)?;
        apply(&context, state, &mut effects, record.index, commands)?;
        state.time = state.time.max(time.unwrap_or(i64::MIN));
        report.records_replayed += 1;
    }
    Ok(effects.dropped)
}

/// Takes files of tables that no longer exist out of the version.
fn drop_orphans(core: &Core, dropped: &[TableId]) -> Result<()> {
    let orphans: HashSet<TableId> = {
        let state = core.state.load();
        let version = core.version.lock();
        let named = version.version.tables.keys().copied();
        named.filter(|id| !state.tables.contains_key(id)).chain(dropped.iter().copied()).collect()
    };
    if orphans.is_empty() {
        return Ok(());
    }
    let mut drop: Vec<TableId> = orphans.into_iter().collect();
    drop.sort_unstable();
    // A catalogue that still has a table must find its files.
    core.rows.checkpoint()?;
    core.version.lock().append(&Edit { drop, ..Edit::default() })?;
    Ok(())
}

/// Removes files that no version names: a crash left them before they were named or after they
/// were taken out.
fn remove_unnamed(storage: &dyn Storage, version: &Version) -> Result<u64> {
    let named: HashSet<String> = version.files().into_iter().collect();
    let mut removed = 0;
    for folder in [files::PARTS, files::SERIES] {
        let io = |e: std::io::Error| Error::io(format_args!("cleaning folder {folder}"), &e);
        for name in storage.list(folder).map_err(io)? {
            let path = format!("{folder}/{name}");
            if !named.contains(&path) {
                storage.remove(&path).map_err(io)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

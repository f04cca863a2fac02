//! The rows that a cursor keeps, because it scrolls or outlives its block: in memory as far as its
//! share goes, the others in a file of the spill folder.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SpillFile, SpillWriter};
use parking_lot::Mutex;

use super::CursorInfo;
use crate::error::{QueryError, QueryResult};

/// Rows in the order in which they came, counted from 1.
pub(super) struct Kept {
    schema: SchemaRef,
    /// Number of the last row before those that are kept.
    before: i64,
    pieces: Vec<Piece>,
    /// Bytes that may stay in memory.
    memory_max: usize,
    memory: Arc<MemoryReservation>,
    env: Arc<RuntimeEnv>,
    runtime: tokio::runtime::Handle,
    file: Option<Arc<Spilled>>,
    /// The piece that was read last from the file.
    loaded: Option<(usize, RecordBatch)>,
    info: Arc<CursorInfo>,
}

struct Piece {
    /// Number of its last row.
    last: i64,
    place: Place,
}

enum Place {
    Memory(RecordBatch),
    /// Bytes of an Arrow IPC stream in the file.
    File {
        at: u64,
        length: usize,
    },
}

/// A file of the spill folder; it goes with the last that holds it.
struct Spilled {
    file: Arc<dyn SpillFile>,
    /// What writes to its end, under the limit of all spill files, and where that is.
    end: Mutex<(Box<dyn SpillWriter>, u64)>,
}

impl Kept {
    pub(super) fn new(
        schema: SchemaRef,
        before: i64,
        memory: (Arc<MemoryReservation>, usize),
        (env, runtime): (Arc<RuntimeEnv>, tokio::runtime::Handle),
        info: Arc<CursorInfo>,
    ) -> Kept {
        let (memory, memory_max) = memory;
        let (pieces, file, loaded) = (Vec::new(), None, None);
        Kept { schema, before, pieces, memory_max, memory, env, runtime, file, loaded, info }
    }

    /// Number of the last row.
    pub(super) fn last(&self) -> i64 {
        self.pieces.last().map_or(self.before, |piece| piece.last)
    }

    /// Adds rows at the end. Where it is given up before it is done, nothing was added.
    ///
    /// # Errors
    /// `53100` where spill files may not grow.
    pub(super) async fn push(&mut self, batch: &RecordBatch) -> QueryResult<()> {
        let last = self.last() + batch.num_rows() as i64;
        let bytes = batch.get_array_memory_size();
        let fits = self.memory.size() + bytes <= self.memory_max;
        let place = match fits && self.memory.try_grow(bytes).is_ok() {
            true => Place::Memory(batch.clone()),
            false => self.spill(batch).await?,
        };
        self.pieces.push(Piece { last, place });
        self.info.rows.store((last - self.before) as u64, Ordering::Relaxed);
        self.tell_memory();
        Ok(())
    }

    fn tell_memory(&self) {
        self.info.memory_bytes.store(self.memory.size() as u64, Ordering::Relaxed);
    }

    async fn spill(&mut self, batch: &RecordBatch) -> QueryResult<Place> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = self.env.disk_manager.create_tmp_file("a cursor")?;
                let end = Mutex::new((file.open_writer()?, 0));
                Arc::clone(self.file.insert(Arc::new(Spilled { file, end })))
            }
        };
        let batch = batch.clone();
        let place = self.blocking(move || file.append(&batch)).await?;
        let Place::File { at, length } = place else { return Ok(place) };
        self.info.spilled_bytes.store(at + length as u64, Ordering::Relaxed);
        Ok(place)
    }

    /// The piece that a row of that number is in, and the number of the row before its first.
    pub(super) async fn piece(&mut self, row: i64) -> QueryResult<(i64, RecordBatch)> {
        let missing = || QueryError::internal("a cursor has lost a row");
        let at = self.pieces.partition_point(|piece| piece.last < row);
        let before = match at.checked_sub(1) {
            Some(before) => self.pieces.get(before).map_or(self.before, |piece| piece.last),
            None => self.before,
        };
        let batch = match &self.pieces.get(at).ok_or_else(missing)?.place {
            Place::Memory(batch) => batch.clone(),
            Place::File { at: from, length } => {
                if let Some((loaded, batch)) = &self.loaded
                    && *loaded == at
                {
                    return Ok((before, batch.clone()));
                }
                let file = Arc::clone(self.file.as_ref().ok_or_else(missing)?);
                let (from, length, schema) = (*from, *length, self.schema.clone());
                let batch = self.blocking(move || file.read(from, length, &schema)).await?;
                let bytes = |batch: &RecordBatch| batch.get_array_memory_size();
                // One piece is needed to go on at all.
                self.memory.shrink(self.loaded.take().map_or(0, |(_, batch)| bytes(&batch)));
                self.memory.grow(bytes(&batch));
                self.loaded = Some((at, batch.clone()));
                self.tell_memory();
                batch
            }
        };
        Ok((before, batch))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> QueryResult<T> + Send + 'static,
    ) -> QueryResult<T> {
        match self.runtime.spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(QueryError::internal(format!("a cursor's file: {error}"))),
        }
    }
}

impl Spilled {
    fn append(&self, batch: &RecordBatch) -> QueryResult<Place> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        writer.finish()?;
        let bytes = writer.into_inner()?;
        let mut end = self.end.lock();
        let (writer, at) = &mut *end;
        let written = writer.write_all(&bytes).and_then(|()| writer.flush());
        written
            .map_err(|error| QueryError::from(datafusion::error::DataFusionError::from(error)))?;
        let place = Place::File { at: *at, length: bytes.len() };
        *at += bytes.len() as u64;
        Ok(place)
    }

    fn read(&self, at: u64, length: usize, schema: &SchemaRef) -> QueryResult<RecordBatch> {
        let lost = || QueryError::new("58030", "the rows of a cursor cannot be read back");
        let failed = |error: std::io::Error| lost().with_detail(error.to_string());
        let path = self.file.path().ok_or_else(lost)?;
        let mut bytes = vec![0; length];
        let file = std::fs::File::open(path).map_err(failed)?;
        file.read_exact_at(&mut bytes, at).map_err(failed)?;
        let batch = StreamReader::try_new(&bytes[..], None)?.next().ok_or_else(lost)??;
        Ok(crate::run::relabel(batch, schema)?)
    }
}

//! COPY FROM STDIN: bytes of the client become columnar write batches, without a statement's
//! values being made first. COPY TO STDOUT is a query whose rows the door writes in a format.
//!
//! A session holds at most one COPY. The door hands in bytes as they come (`copy_data`), and what
//! forms whole rows is parsed into the columns of the batch under way. A full batch is one record
//! of the log; while it is being made durable the next is filled, and no third is begun, so that
//! memory stays bounded and the client feels how fast the log is. Outside of a transaction block
//! each batch commits by itself: an error keeps the batches before it and nothing of its own. In
//! a block all rows wait for COMMIT like those of INSERT. Rows that are Arrow columns already come
//! by `copy_batch`, whatever the format of the COPY.
//!
//! Files of the server (`file`) are read piece by piece, one ahead, on a thread of their own, and go the
//! same way; Parquet (`parquet`) comes as columns. Written, text formats are made by the door as for
//! STDOUT.

mod binary;
pub(crate) mod cells;
mod columns;
mod csv;
mod file;
mod options;
mod parquet;
mod progress;
mod sink;
mod target;
mod text;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, RecordBatch};
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tsdb::types::{OWNED_TABLE_PREFIX, TableSchema};

use datafusion::execution::SendableRecordBatchStream;

use crate::activity::Live;
use crate::error::{QueryError, QueryResult, place};
use crate::insert;
use crate::names::Names;
use crate::relational::def::TableDef;
use crate::relational::{self, CopyRows};
use crate::rights::{self, Known, acl::Mode};
use crate::run::Stop;
use crate::session::{Session, Tree, limit_rows};
use crate::statement::copy::{Copy, What};
use crate::{Outcome, catalog, plan, view};

pub use file::CopyFile;
pub use options::{Compression, Format, Header, Options};
pub use progress::CopyProgress;
use sink::{Full, SeriesSink};
use target::Sink;

/// Bytes of one row in any format; a row that does not end by then is refused.
const ROW_BYTES_MAX: usize = 32 << 20;
/// Bytes that are taken in at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Rows of a batch of columns that are taken in at a time.
const PIECE_ROWS: usize = 8_192;
/// Part of a bad value that an error shows, bytes.
const SHOWN_BYTES_MAX: usize = 100;

/// A COPY FROM STDIN under way.
pub(crate) struct CopyIn {
    options: Options,
    sink: Sink,
    reader: Reader,
    /// Bytes that came and are not read yet: `input[next..]`.
    input: Vec<u8>,
    next: usize,
    /// The batch before, on its way to the disk.
    pending: Option<BoxFuture<'static, QueryResult<()>>>,
    stop: Stop,
    progress: Arc<CopyProgress>,
    /// Keeps it among the statements that run.
    pub(crate) live: Option<Live>,
    /// Since when the client has sent nothing.
    idle: Option<Instant>,
}

/// What knows where rows end in a format.
enum Reader {
    Text(text::Reader),
    Csv(csv::Reader),
    Binary(binary::Reader),
    /// Rows come as columns.
    Columns,
}

/// How far the input at hand was read.
enum Step {
    /// The rest holds no whole row.
    Hungry,
    /// The batch is full; there may be more rows.
    Full,
}

/// Starts a COPY in either direction. `source`: the text that it stands in.
pub(crate) async fn run(session: &Session, copy: &Copy, source: &str) -> QueryResult<Outcome> {
    match (&copy.what, &copy.file) {
        (What::In { table, columns }, None) => start_in(session, table, columns, &copy.options),
        (What::In { table, columns }, Some(name)) => {
            let rows = read_file(session, table, columns, &copy.options, name).await?;
            Ok(Outcome::Done { tag: format!("COPY {rows}") })
        }
        (What::Out { query, table }, file) => {
            let file = match file {
                Some(name) => Some(new_file(session, name).await?),
                None => None,
            };
            let tree = Tree::of(query);
            let names = match query.kind() {
                crate::statement::Kind::Query(ast) => Names::of(ast),
                _ => Names::default(),
            };
            let started = session.start_reading(tree, names).await.map_err(|error| {
                // The query of a whole table is not in the client's text, nor are its places.
                let place = place(error, query.source());
                let known = place.position.filter(|_| query.source() == source);
                QueryError { position: known, ..place }
            });
            let (schema, stream) = started?;
            let stream = limit_rows(stream, session.settings().max_result_rows());
            let progress = Arc::new(CopyProgress {
                file: file.is_some(),
                relation: number_of(session, table.as_deref())?,
                ..CopyProgress::default()
            });
            session.query_now()?.copies(&progress);
            let options = copy.options.clone();
            match (options.format, file) {
                (Format::Parquet, Some(file)) => {
                    let rows = write_parquet(session, file, stream, &options, &progress).await?;
                    Ok(Outcome::Done { tag: format!("COPY {rows}") })
                }
                (_, file) => {
                    let runtime = session.engine().runtime()?.clone();
                    let file = file.map(|file| CopyFile::new(file, runtime));
                    Ok(Outcome::CopyOut { schema, stream, options, file, progress })
                }
            }
        }
    }
}

/// `pg_class.oid` of the table or view of a name; 0 where there is none.
fn number_of(session: &Session, name: Option<&[String]>) -> QueryResult<i64> {
    let Some(name) = name.and_then(<[String]>::last) else { return Ok(0) };
    if let Some(view) = session.views()?.find_temporary(name) {
        return Ok(catalog::view_number(view.number));
    }
    if let Some(table) = session.engine().db().snapshot().table(name) {
        return Ok(catalog::table_number(table.schema().id));
    }
    if let Some(def) = relational::find(session, name)? {
        return Ok(catalog::relation_number(def.number));
    }
    let views = session.views()?;
    Ok(views.find(name).map_or(0, |view| catalog::view_number(view.number)))
}

fn start_in(
    session: &Session,
    table: &[String],
    columns: &[String],
    options: &Options,
) -> QueryResult<Outcome> {
    let target = target(session, table, columns)?;
    let copy = CopyIn::new(session, target, columns, options, CopyProgress::default())?;
    let outcome = Outcome::CopyIn { format: options.format, columns: copy.sink.columns() };
    session.keep_copy(copy);
    Ok(outcome)
}

/// A table that rows are copied into.
enum Target {
    Series(Arc<TableSchema>),
    Relation(Arc<TableDef>),
}

/// The table of a name, if the session may write to it.
fn target(session: &Session, table: &[String], columns: &[String]) -> QueryResult<Target> {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    if let Some(def) = find_relation(session, table)? {
        relational::check_rights(session, &def, "COPY FROM", Mode::INSERT, &names)?;
        return Ok(Target::Relation(def));
    }
    let schema = find_table(session, table)?;
    rights::check_change(session, Mode::INSERT, &names, || Known::of_table(&schema))?;
    session.check_writable("COPY FROM")?;
    Ok(Target::Series(schema))
}

/// The relational table of a name.
fn find_relation(session: &Session, table: &[String]) -> QueryResult<Option<Arc<TableDef>>> {
    let name = match table {
        [name] => name,
        [schema, name] if schema == plan::names::SCHEMA => name,
        [database, schema, name]
            if database == plan::names::DATABASE && schema == plan::names::SCHEMA =>
        {
            name
        }
        _ => return Ok(None),
    };
    view::refuse_hidden(session, name)?;
    relational::find(session, name)
}

/// What the thread that reads a file hands over.
enum Piece {
    Bytes(Vec<u8>),
    Columns(Vec<ArrayRef>),
}

/// Pieces of a file that wait to be taken in.
const PIECES_AHEAD: usize = 1;

/// COPY FROM a file; how many rows there were.
async fn read_file(
    session: &Session,
    table: &[String],
    columns: &[String],
    options: &Options,
    name: &str,
) -> QueryResult<u64> {
    let folder = file::folder(session)?;
    let target = target(session, table, columns)?;
    let (parquet, shown) = (options.format == Format::Parquet, name.to_string());
    let opened = session.blocking(move || {
        let (file, length) = file::open(&folder, &shown)?;
        let source = match parquet {
            // Its decoder meets what the disk holds.
            true => std::panic::catch_unwind(|| FileSource::of_parquet(file))
                .unwrap_or_else(|_| Err(parquet::panicked()))?,
            false => FileSource::Bytes(file, shown),
        };
        Ok((source, length))
    });
    let (source, bytes_total) = session.stop().guard(opened).await?;
    let columns = match &source {
        FileSource::Parquet(source) if columns.is_empty() => source.names(),
        _ => columns.to_vec(),
    };
    let progress = CopyProgress { file: true, bytes_total, ..CopyProgress::default() };
    let mut copy = CopyIn::new(session, target, &columns, options, progress)?;
    let (give, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let reading = session.engine().runtime()?.spawn_blocking(move || source.read(&columns, &give));
    let done = async {
        while let Some(piece) = copy.stop.clone().guard(async { Ok(pieces.recv().await) }).await? {
            match piece {
                Piece::Bytes(bytes) => session.feed(&mut copy, &bytes).await?,
                Piece::Columns(columns) => session.feed_columns(&mut copy, &columns).await?,
            }
            // Others want their turn.
            tokio::task::yield_now().await;
        }
        match reading.await {
            Ok(read) => read?,
            Err(_) if parquet => return Err(copy.sink.at_line(parquet::panicked())),
            Err(error) => return Err(QueryError::internal(format!("reading a file: {error}"))),
        }
        copy.progress.moved(bytes_total.saturating_sub(copy.progress.bytes()));
        session.finish_copy(&mut copy).await
    };
    done.await
}

/// A file, open.
enum FileSource {
    Bytes(std::fs::File, String),
    Parquet(Box<parquet::Source>),
}

impl FileSource {
    fn of_parquet(file: std::fs::File) -> QueryResult<FileSource> {
        Ok(FileSource::Parquet(Box::new(parquet::Source::open(file)?)))
    }

    /// Hands over all pieces until nobody takes them. Blocks.
    fn read(self, columns: &[String], give: &mpsc::Sender<Piece>) -> QueryResult<()> {
        match self {
            FileSource::Bytes(file, name) => {
                file::read(file, &name, |bytes| give.blocking_send(Piece::Bytes(bytes)).is_ok())
            }
            FileSource::Parquet(source) => {
                source.read(columns, |columns| give.blocking_send(Piece::Columns(columns)).is_ok())
            }
        }
    }
}

/// Begins a file for the rows of a COPY TO.
async fn new_file(session: &Session, name: &str) -> QueryResult<file::NewFile> {
    let (folder, name) = (file::folder(session)?, name.to_string());
    session.blocking(move || file::NewFile::create(&folder, &name)).await
}

/// Writes the rows of a query; how many there were.
async fn write_parquet(
    session: &Session,
    file: file::NewFile,
    mut stream: SendableRecordBatchStream,
    options: &Options,
    progress: &Arc<CopyProgress>,
) -> QueryResult<u64> {
    let schema = stream.schema();
    let mut target = parquet::Target::new(file, &schema, options.compression)?;
    let (mut rows, mut stop) = (0, session.stop());
    while let Some(batch) = stop.guard(async { Ok(stream.next().await) }).await? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        let written = session.blocking(move || {
            let bytes = target.write(batch)?;
            Ok((target, bytes))
        });
        let bytes;
        (target, bytes) = written.await?;
        progress.moved(bytes.saturating_sub(progress.bytes()));
        progress.reached(rows);
    }
    stop.check()?;
    session.blocking(move || target.finish()).await?;
    Ok(rows)
}

fn find_table(session: &Session, parts: &[String]) -> QueryResult<Arc<TableSchema>> {
    let shown = parts.join(".");
    let known = match parts {
        [_] => true,
        [schema, _] => schema == plan::names::SCHEMA,
        [database, schema, _] => database == plan::names::DATABASE && schema == plan::names::SCHEMA,
        _ => false,
    };
    let name = parts.last().filter(|_| known);
    if let Some(name) = name.filter(|name| name.starts_with(OWNED_TABLE_PREFIX)) {
        return Err(crate::insert::owned(name));
    }
    let snapshot = session.engine().db().snapshot();
    let table = name.and_then(|name| snapshot.table(name));
    let missing = || match name {
        Some(name) => view::not_a_table(session, name, "rows are copied into tables"),
        None => QueryError::no_table(&shown),
    };
    Ok(table.ok_or_else(missing)?.schema().clone())
}

impl CopyIn {
    fn new(
        session: &Session,
        target: Target,
        columns: &[String],
        options: &Options,
        progress: CopyProgress,
    ) -> QueryResult<CopyIn> {
        let zone = session.settings().zone().to_string();
        let (sink, relation) = match target {
            Target::Series(schema) => {
                let targets = insert::targets(&schema, columns)?;
                let relation = catalog::table_number(schema.id);
                (Sink::Series(Box::new(SeriesSink::new(schema, targets, &zone)?)), relation)
            }
            Target::Relation(def) => {
                let relation = catalog::relation_number(def.number);
                (Sink::relation(CopyRows::new(def, columns, &zone)?), relation)
            }
        };
        let progress = Arc::new(CopyProgress { inward: true, relation, ..progress });
        session.query_now()?.copies(&progress);
        Ok(CopyIn {
            reader: match options.format {
                Format::Text => Reader::Text(text::Reader::default()),
                Format::Csv => Reader::Csv(csv::Reader::default()),
                Format::Binary => Reader::Binary(binary::Reader::default()),
                Format::Parquet => Reader::Columns,
            },
            sink,
            options: options.clone(),
            input: Vec::new(),
            next: 0,
            pending: None,
            stop: session.stop(),
            progress,
            live: None,
            idle: None,
        })
    }

    /// Reads rows until the input at hand or the batch's room ends.
    fn step(&mut self) -> QueryResult<Step> {
        while !self.sink.is_full() {
            let rest = self.input.get(self.next..).unwrap_or_default();
            let row = match &mut self.reader {
                Reader::Text(reader) => reader.row(rest, &self.options, &mut self.sink),
                Reader::Csv(reader) => reader.row(rest, &self.options, &mut self.sink),
                Reader::Binary(reader) => reader.row(rest, &mut self.sink),
                Reader::Columns => return Ok(Step::Hungry),
            };
            match row? {
                Some(taken) => self.next += taken,
                None if rest.len() > ROW_BYTES_MAX => {
                    let message = format!("a row of more than {} MiB", ROW_BYTES_MAX >> 20);
                    return Err(self.sink.at_line(QueryError::new("54000", message)));
                }
                None => return Ok(Step::Hungry),
            }
        }
        Ok(Step::Full)
    }

    /// Reads what is left when no more bytes come.
    fn last_row(&mut self) -> QueryResult<()> {
        let rest = self.input.get(self.next..).unwrap_or_default();
        match &mut self.reader {
            Reader::Text(reader) => reader.end(rest, &self.options, &mut self.sink),
            Reader::Csv(reader) => reader.end(rest, &self.options, &mut self.sink),
            Reader::Binary(reader) => reader.end(rest, &self.sink),
            Reader::Columns => Ok(()),
        }
    }

    /// The client has sent something.
    fn goes_on(&mut self) {
        if let (Some(live), Some(since)) = (&self.live, self.idle.take()) {
            live.query().waits_for_reader(since);
        }
    }

    fn failed(&self, error: &QueryError) {
        if let Some(live) = &self.live {
            live.query().fail(error.code);
        }
    }

    /// Forgets the input that was read.
    fn trim(&mut self) {
        self.input.drain(..self.next);
        self.next = 0;
    }
}

impl Session {
    /// Takes the next bytes of a COPY FROM STDIN, and waits while the log is behind.
    ///
    /// # Errors
    /// What is wrong with the rows, with line and column; the COPY is over then.
    pub async fn copy_data(&self, bytes: &[u8]) -> QueryResult<()> {
        let mut copy = self.take_copy()?;
        copy.goes_on();
        // A large message is not held a second time as a whole.
        for piece in bytes.chunks(PIECE_BYTES) {
            if let Err(error) = self.feed(&mut copy, piece).await {
                copy.failed(&error);
                self.fail();
                return Err(error);
            }
            // A large message is many pieces, and others want their turn.
            tokio::task::yield_now().await;
        }
        copy.idle = Some(Instant::now());
        self.keep_copy(copy);
        Ok(())
    }

    /// Takes the next rows of a COPY FROM STDIN as columns, in the order of the COPY's, and waits
    /// while the log is behind. Values are assigned as those of an INSERT are.
    ///
    /// # Errors
    /// As [`Session::copy_data`]; `22P04` for another number of columns.
    pub async fn copy_batch(&self, batch: &RecordBatch) -> QueryResult<()> {
        let mut copy = self.take_copy()?;
        copy.goes_on();
        if let Err(error) = self.feed_columns(&mut copy, batch.columns()).await {
            copy.failed(&error);
            self.fail();
            return Err(error);
        }
        copy.idle = Some(Instant::now());
        self.keep_copy(copy);
        Ok(())
    }

    /// Ends a COPY FROM STDIN whose rows have all come; gives the tag.
    ///
    /// # Errors
    /// As [`Session::copy_data`], and what committing the last rows meets.
    pub async fn copy_done(&self) -> QueryResult<String> {
        let mut copy = self.take_copy()?;
        copy.goes_on();
        match self.finish_copy(&mut copy).await {
            Ok(count) => Ok(format!("COPY {count}")),
            Err(error) => {
                copy.failed(&error);
                self.fail();
                Err(error)
            }
        }
    }

    /// Takes in what is left when all bytes have come, and waits until all is written; how many
    /// rows there were.
    async fn finish_copy(&self, copy: &mut CopyIn) -> QueryResult<u64> {
        while matches!(copy.step()?, Step::Full) {
            self.flush_copy(copy).await?;
        }
        copy.last_row()?;
        self.flush_copy(copy).await?;
        if let Some(pending) = copy.pending.take() {
            pending.await?;
        }
        copy.sink.finish(self).await
    }

    /// Takes in rows that come as columns.
    async fn feed_columns(&self, copy: &mut CopyIn, columns: &[ArrayRef]) -> QueryResult<()> {
        let (rows, mut from) = (columns.first().map_or(0, |column| column.len()), 0);
        while from < rows {
            copy.stop.check()?;
            let count = PIECE_ROWS.min(rows - from);
            let piece: Vec<ArrayRef> =
                columns.iter().map(|column| column.slice(from, count)).collect();
            let columns = copy.sink.assign(&piece)?;
            let mut row = 0;
            while row < count {
                row = copy.sink.rows(&columns, row, count)?;
                if copy.sink.is_full() {
                    self.flush_copy(copy).await?;
                }
            }
            from += count;
            copy.progress.reached(copy.sink.rows_in_all());
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Ends a COPY FROM STDIN that the client gave up; gives the error that says so.
    pub fn copy_fail(&self, why: &str) -> QueryError {
        self.fail();
        match self.take_copy() {
            Ok(_) => QueryError::new("57014", format!("COPY from stdin failed: {why}")),
            Err(error) => error,
        }
    }

    /// Resolves when the COPY under way must end; ends it then.
    pub async fn copy_stopped(&self) -> QueryError {
        let stop = self.with_copy(|copy| copy.stop.clone());
        let error = match stop {
            Some(mut stop) => stop.stopped().await,
            None => std::future::pending().await,
        };
        // Its rows are forgotten; the error tells why.
        let _ = self.copy_fail("stopped");
        error
    }

    async fn feed(&self, copy: &mut CopyIn, bytes: &[u8]) -> QueryResult<()> {
        copy.stop.check()?;
        copy.input.extend_from_slice(bytes);
        while matches!(copy.step()?, Step::Full) {
            self.flush_copy(copy).await?;
        }
        copy.trim();
        copy.progress.moved(bytes.len() as u64);
        copy.progress.reached(copy.sink.rows_in_all());
        Ok(())
    }

    /// Sends the batch under way on its way to the log, once the one before has arrived.
    async fn flush_copy(&self, copy: &mut CopyIn) -> QueryResult<()> {
        if let Some(pending) = copy.pending.take() {
            pending.await?;
        }
        copy.stop.check()?;
        let Some(Full { table, command, bytes }) = copy.sink.take() else { return Ok(()) };
        if let Some(schema) = copy.sink.table() {
            rights::check_series(self, schema, false, std::slice::from_ref(&command)).await?;
        }
        if self.in_any_block() {
            return self.write(table, vec![command], bytes).await;
        }
        let engine = self.engine().clone();
        let pending = self.blocking(move || Ok(engine.db().submit(vec![command])?)).await?;
        copy.pending = Some(Box::pin(async move {
            for outcome in pending.await?.outcomes {
                outcome?;
            }
            Ok(())
        }));
        Ok(())
    }
}

/// A value as an error shows it.
fn shown(value: &[u8]) -> String {
    let cut = &value[..value.len().min(SHOWN_BYTES_MAX)];
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("{}{more}", String::from_utf8_lossy(cut).escape_debug())
}

#[cfg(test)]
mod tests;

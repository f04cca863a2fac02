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

mod binary;
pub(crate) mod cells;
mod columns;
mod csv;
mod options;
mod sink;
mod target;
mod text;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use tsdb::types::{OWNED_TABLE_PREFIX, TableSchema};

use crate::activity::Live;
use crate::error::{QueryError, QueryResult, place};
use crate::insert;
use crate::names::Names;
use crate::relational::{self, CopyRows};
use crate::run::Stop;
use crate::session::{Session, Tree, limit_rows};
use crate::statement::copy::{Copy, What};
use crate::{Outcome, plan, view};

pub use options::{Format, Header, Options};
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
    match &copy.what {
        What::In { table, columns } => start_in(session, table, columns, &copy.options),
        What::Out(query) => {
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
            Ok(Outcome::CopyOut { schema, stream, options: copy.options.clone() })
        }
    }
}

fn start_in(
    session: &Session,
    table: &[String],
    columns: &[String],
    options: &Options,
) -> QueryResult<Outcome> {
    if let Some(outcome) = start_relation(session, table, columns, options)? {
        return Ok(outcome);
    }
    let schema = find_table(session, table)?;
    let identity = session.identity();
    if !identity.superuser && !identity.can_write {
        return Err(QueryError::denied(format!("writing to table {}", schema.name)));
    }
    session.check_writable("COPY FROM")?;
    let targets = insert::targets(&schema, columns)?;
    let outcome = Outcome::CopyIn { format: options.format, columns: targets.len() };
    let zone = session.settings().zone().to_string();
    let sink = Sink::Series(Box::new(SeriesSink::new(schema, targets, &zone)?));
    keep(session, options, sink);
    Ok(outcome)
}

/// Starts a COPY into a relational table, if the name is one's.
fn start_relation(
    session: &Session,
    table: &[String],
    columns: &[String],
    options: &Options,
) -> QueryResult<Option<Outcome>> {
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
    let Some(def) = relational::find(session, name)? else { return Ok(None) };
    relational::check_rights(session, &def, "COPY FROM")?;
    let rows = CopyRows::new(def, columns, session.settings().zone())?;
    let outcome = Outcome::CopyIn { format: options.format, columns: rows.columns() };
    keep(session, options, Sink::relation(rows));
    Ok(Some(outcome))
}

fn keep(session: &Session, options: &Options, sink: Sink) {
    session.keep_copy(CopyIn {
        reader: match options.format {
            Format::Text => Reader::Text(text::Reader::default()),
            Format::Csv => Reader::Csv(csv::Reader::default()),
            Format::Binary => Reader::Binary(binary::Reader::default()),
        },
        sink,
        options: options.clone(),
        input: Vec::new(),
        next: 0,
        pending: None,
        stop: session.stop(),
        live: None,
        idle: None,
    });
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
    /// Reads rows until the input at hand or the batch's room ends.
    fn step(&mut self) -> QueryResult<Step> {
        while !self.sink.is_full() {
            let rest = self.input.get(self.next..).unwrap_or_default();
            let row = match &mut self.reader {
                Reader::Text(reader) => reader.row(rest, &self.options, &mut self.sink),
                Reader::Csv(reader) => reader.row(rest, &self.options, &mut self.sink),
                Reader::Binary(reader) => reader.row(rest, &mut self.sink),
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
        if let Err(error) = self.feed_columns(&mut copy, batch).await {
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
        let done = async {
            while matches!(copy.step()?, Step::Full) {
                self.flush_copy(&mut copy).await?;
            }
            copy.last_row()?;
            self.flush_copy(&mut copy).await?;
            if let Some(pending) = copy.pending.take() {
                pending.await?;
            }
            copy.sink.finish(self).await
        };
        match done.await {
            Ok(count) => Ok(format!("COPY {count}")),
            Err(error) => {
                copy.failed(&error);
                self.fail();
                Err(error)
            }
        }
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
        Ok(())
    }

    async fn feed_columns(&self, copy: &mut CopyIn, batch: &RecordBatch) -> QueryResult<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            copy.stop.check()?;
            let piece = batch.slice(from, PIECE_ROWS.min(batch.num_rows() - from));
            let columns = copy.sink.assign(&piece)?;
            let mut row = 0;
            while row < piece.num_rows() {
                row = copy.sink.rows(&columns, row, piece.num_rows())?;
                if copy.sink.is_full() {
                    self.flush_copy(copy).await?;
                }
            }
            from += piece.num_rows();
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Sends the batch under way on its way to the log, once the one before has arrived.
    async fn flush_copy(&self, copy: &mut CopyIn) -> QueryResult<()> {
        if let Some(pending) = copy.pending.take() {
            pending.await?;
        }
        copy.stop.check()?;
        let Some(Full { table, command, bytes }) = copy.sink.take() else { return Ok(()) };
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

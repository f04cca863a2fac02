//! From a parsed request to durable rows: makes tables and columns, then writes one record.
//!
//! Invariants: a row is written only with the types of the newest schema; nothing is reported
//! as written before its commit is durable; a line is either in `rows` or in `refused_count`.
//! Between reading the schema and the commit another writer may change it. Then the whole
//! request, or what of it was refused, is read again with the new schema, a few times at most.

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use tsdb::types::{
    Column, ColumnId, ColumnSpec, ColumnType, Key, SeriesRef, TableId, TableOptions, TableSchema,
    TimePrecision, WriteBatch,
};
use tsdb::{
    Command, Committed, Db, Error, NewColumn, NewTable, Outcome, PoolUsage, Result, Snapshot,
};

use crate::line::cache::SeriesCache;
use crate::line::request::{Context, Only, Refusals, parse};
use crate::line::table::{Sealed, SeriesName, TableBatch, TagColumn};
use crate::line::{Catalogue, LineLimits, Precision, StoreLimits, TIME_NAME};
use crate::remote::{self, Metadata};

/// How often a request is read again because the schema moved under it.
const ROUNDS_MAX: usize = 4;

/// A line that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Number of the line in the request, from 1.
    pub line: u64,
    /// Why, for the sender.
    pub reason: String,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Good lines, durable and visible.
    pub rows: u64,
    /// The first refused lines, ascending.
    pub refused: Vec<Refused>,
    /// All refused lines.
    pub refused_count: u64,
    /// Position of the record; 0 if nothing was written.
    pub position: u64,
}

/// What the writer needs of the engine.
pub trait Store: Send + Sync {
    /// The newest state that all can see.
    fn catalogue(&self) -> Box<dyn Catalogue + '_>;
    /// One durable record, visible when this returns.
    fn commit(&self, commands: Vec<Command>) -> Result<Committed>;
    /// Limits of the engine.
    fn limits(&self) -> StoreLimits;
}

struct SnapshotCatalogue(Snapshot);

impl Catalogue for SnapshotCatalogue {
    fn table(&self, name: &str) -> Option<Arc<TableSchema>> {
        self.0.table(name).map(|table| table.schema().clone())
    }

    fn series(&self, table: TableId, key: &Key) -> Option<u32> {
        let table = self.0.table_by_id(table)?;
        // The index may already hold series of commits that this snapshot does not show.
        table.series().lookup(key).filter(|series| *series < table.series_count())
    }
}

impl Store for Db {
    fn catalogue(&self) -> Box<dyn Catalogue + '_> {
        Box::new(SnapshotCatalogue(self.snapshot()))
    }

    fn commit(&self, commands: Vec<Command>) -> Result<Committed> {
        Db::commit(self, commands)
    }

    fn limits(&self) -> StoreLimits {
        let options = self.options();
        StoreLimits {
            columns_max: usize::from(options.columns_max),
            value_bytes_max: options.value_bytes_max as usize,
            times: options.times,
        }
    }
}

/// The road from line protocol to the log, shared by HTTP and TCP.
pub struct LineWriter {
    store: Arc<dyn Store>,
    limits: LineLimits,
    cache: SeriesCache,
    metadata: Metadata,
}

impl LineWriter {
    /// A writer into a database.
    pub fn new(db: Arc<Db>, limits: LineLimits) -> Arc<LineWriter> {
        LineWriter::with_store(db, limits)
    }

    /// A writer into anything that can commit.
    pub fn with_store(store: Arc<dyn Store>, limits: LineLimits) -> Arc<LineWriter> {
        let cache = SeriesCache::new(limits.cache_bytes_max);
        Arc::new(LineWriter { store, limits, cache, metadata: Metadata::default() })
    }

    /// Limits it was made with.
    pub fn limits(&self) -> &LineLimits {
        &self.limits
    }

    /// What the cache of known series holds.
    pub fn cache_usage(&self) -> PoolUsage {
        self.cache.usage()
    }

    /// Parses, makes missing tables and columns, writes all good lines in one record; returns
    /// when they are durable and visible. Blocks (CPU and disk): call from a blocking thread.
    /// `now_ns`: time of lines without one.
    ///
    /// # Errors
    /// Only what concerns the whole request (disk full, read-only, closing); bad lines are told
    /// in the report. After an error none, or for an error of the disk possibly all, of the good
    /// lines were written; sending them again is harmless except in `append` tables.
    pub fn write(&self, body: &[u8], precision: Precision, now_ns: i64) -> Result<Report> {
        self.write_through(None, body, precision, now_ns)
    }

    /// As [`LineWriter::write`]; lines of tables that the gate shuts are refused.
    ///
    /// # Errors
    /// As [`LineWriter::write`].
    pub fn write_through(
        &self,
        gate: Option<Gate<'_>>,
        body: &[u8],
        precision: Precision,
        now_ns: i64,
    ) -> Result<Report> {
        let body = Body::Lines(body);
        let mut round = Round { precision, now_ns, gate, ..Round::new(self, body) };
        let report = round.run()?;
        metrics::counter!("millrace_line_rows_total").increment(report.rows);
        metrics::counter!("millrace_line_refused_total").increment(report.refused_count);
        Ok(report)
    }

    /// As [`LineWriter::write`] for a `WriteRequest` of Prometheus' remote write 1.0, unpacked. In the
    /// report a "line" is a sample, numbered from 1 through the request. Its metadata is kept, too.
    ///
    /// # Errors
    /// As [`LineWriter::write`]; [`Error::Invalid`] for what is no such request, nothing of which is
    /// written then.
    pub fn write_series(&self, body: &[u8]) -> Result<Report> {
        self.write_series_through(None, body)
    }

    /// As [`LineWriter::write_series`]; samples of tables that the gate shuts are refused.
    ///
    /// # Errors
    /// As [`LineWriter::write_series`].
    pub fn write_series_through(&self, gate: Option<Gate<'_>>, body: &[u8]) -> Result<Report> {
        let report = Round { gate, ..Round::new(self, Body::Series(body)) }.run()?;
        self.metadata.take(body);
        metrics::counter!("millrace_prom_samples_total").increment(report.rows);
        metrics::counter!("millrace_prom_refused_total").increment(report.refused_count);
        Ok(report)
    }

    /// What senders say about their metrics.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Says why rows may not be written to the table of a name, if so; `true`: they would make it, or
/// columns of it.
pub type Gate<'g> = &'g dyn Fn(&str, bool) -> Option<String>;

/// What a request is written in.
#[derive(Clone, Copy)]
enum Body<'w> {
    Lines(&'w [u8]),
    /// Prometheus' remote write.
    Series(&'w [u8]),
}

/// One request on its way.
struct Round<'w> {
    writer: &'w LineWriter,
    body: Body<'w>,
    precision: Precision,
    now_ns: i64,
    gate: Option<Gate<'w>>,
    /// What a race left over of the round before.
    only: Option<Only>,
    denied: BTreeMap<String, String>,
    refusals: Refusals,
    rows: u64,
    position: u64,
}

/// Whether a round finished the request.
enum Step {
    Done,
    Again,
}

impl<'w> Round<'w> {
    fn new(writer: &'w LineWriter, body: Body<'w>) -> Round<'w> {
        Round {
            writer,
            body,
            precision: Precision::Nanos,
            now_ns: 0,
            gate: None,
            only: None,
            denied: BTreeMap::new(),
            refusals: Refusals::default(),
            rows: 0,
            position: 0,
        }
    }

    fn run(&mut self) -> Result<Report> {
        for round in 1..=ROUNDS_MAX {
            if let Step::Done = self.round(round == ROUNDS_MAX)? {
                return Ok(self.report());
            }
        }
        let why = "the tables of the request kept changing: send it again".to_owned();
        Err(match self.body {
            Body::Lines(_) => Error::Invalid(why),
            // Senders of series drop what is told to be wrong.
            Body::Series(_) => Error::Unavailable(why),
        })
    }

    fn report(&mut self) -> Report {
        let mut lines = std::mem::take(&mut self.refusals.lines);
        lines.sort_unstable();
        lines.dedup();
        let told = std::mem::take(&mut self.refusals.told).into_iter();
        Report {
            rows: self.rows,
            refused: told
                .take(self.writer.limits.refused_told_max)
                .map(|(line, reason)| Refused { line, reason })
                .collect(),
            refused_count: lines.len() as u64,
            position: self.position,
        }
    }

    fn round(&mut self, last: bool) -> Result<Step> {
        let store = &*self.writer.store;
        let catalogue = store.catalogue();
        let context = Context {
            catalogue: &*catalogue,
            cache: &self.writer.cache,
            limits: store.limits(),
            line_limits: &self.writer.limits,
            precision: self.precision,
            now_ns: self.now_ns,
            only: self.only.as_ref(),
            denied: &self.denied,
        };
        let mut parsed = match self.body {
            Body::Lines(body) => parse(body, &context),
            Body::Series(body) => remote::parse(body, &context)?,
        };
        drop(catalogue);
        if self.shut_out(&parsed.tables) {
            return Ok(Step::Again);
        }
        let defined = definitions(&parsed.tables);
        if !defined.is_empty() && !self.define(defined, last)? {
            return Ok(Step::Again);
        }
        let Some(writes) = self.resolve(&mut parsed.tables) else {
            return Ok(Step::Again);
        };
        self.write(writes, &parsed.refusals, last)
    }

    /// Whether there are tables that the sender may not write to: their lines are refused.
    fn shut_out(&mut self, tables: &[TableBatch]) -> bool {
        let Some(gate) = self.gate else { return false };
        let mut shut = false;
        for table in tables {
            let defines = table.schema.is_none() || !new_columns(table).is_empty();
            if let Some(why) = gate(&table.name, defines) {
                self.denied.insert(table.name.to_string(), why);
                shut = true;
            }
        }
        shut
    }

    /// Makes tables and columns; false if the request has to be read again.
    fn define(&mut self, defined: Vec<(String, Command)>, last: bool) -> Result<bool> {
        let commands: Vec<Command> = defined.iter().map(|(_, command)| command.clone()).collect();
        match self.writer.store.commit(commands) {
            Ok(committed) => {
                let mut fine = true;
                for ((table, _), outcome) in defined.iter().zip(committed.outcomes) {
                    if let Err(error) = outcome {
                        self.deny(table, error, last)?;
                        fine = false;
                    }
                }
                Ok(fine)
            }
            // One command spoilt the whole commit before it was queued: find it.
            Err(error) if is_about_request(&error) => {
                for (table, command) in defined {
                    let alone = self.writer.store.commit(vec![command]);
                    let outcome = alone.and_then(|committed| {
                        committed.outcomes.into_iter().find_map(|o| o.err()).map_or(Ok(()), Err)
                    });
                    if let Err(error) = outcome {
                        self.deny(&table, error, last)?;
                    }
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A definition was refused: by a limit, so that the table's lines are refused too, or
    /// because another writer was there first, which a new look at the schema settles.
    fn deny(&mut self, table: &str, error: Error, last: bool) -> Result<()> {
        match error {
            Error::TypeMismatch(_) | Error::Exists(_) | Error::NotFound(_) if !last => Ok(()),
            error if is_about_request(&error) => {
                self.denied.insert(table.to_string(), error.to_string());
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Batches with the numbers of the newest schema; `None` if that does not fit any more.
    fn resolve(&self, tables: &mut [TableBatch]) -> Option<Vec<Write>> {
        let catalogue = self.writer.store.catalogue();
        let mut writes = Vec::new();
        for table in tables {
            let schema = match &table.schema {
                Some(schema) if new_columns(table).is_empty() => schema.clone(),
                _ => catalogue.table(&table.name)?,
            };
            if table.schema.as_ref().is_some_and(|old| old.id != schema.id) {
                return None;
            }
            for sealed in std::mem::take(&mut table.sealed) {
                let lines = sealed.lines;
                let batch = batch(table, sealed, &schema)?;
                writes.push(Write { table: table.name.to_string(), lines, batch });
            }
        }
        Some(writes)
    }

    /// Commits the batches as one record and sorts out what was refused.
    fn write(&mut self, writes: Vec<Write>, refusals: &Refusals, last: bool) -> Result<Step> {
        if writes.is_empty() {
            self.keep(refusals);
            return Ok(Step::Done);
        }
        let mut places = Vec::with_capacity(writes.len());
        let mut commands = Vec::with_capacity(writes.len());
        for Write { table, lines, batch } in writes {
            places.push((table, lines, batch.times.len() as u64));
            commands.push(Command::Write(batch));
        }
        let committed = match self.writer.store.commit(commands) {
            Ok(committed) => committed,
            // The schema moved after it was looked at: nothing was queued.
            Err(error) if is_about_request(&error) && !last => return Ok(Step::Again),
            Err(error) => return Err(error),
        };
        self.keep(refusals);
        let mut left = Only::new();
        for ((table, lines, rows), outcome) in places.into_iter().zip(committed.outcomes) {
            match outcome {
                // Its own count is lower where lines of one series and time became one row.
                Ok(Outcome::Written { .. }) => {
                    self.rows += rows;
                    self.position = committed.position;
                }
                Ok(other) => {
                    return Err(Error::Invalid(format!("a write was answered by {other:?}")));
                }
                Err(error) if is_about_request(&error) && !last => {
                    left.entry(table).or_default().push(lines);
                }
                Err(error) => return Err(error),
            }
        }
        if left.is_empty() {
            return Ok(Step::Done);
        }
        self.only = Some(left);
        Ok(Step::Again)
    }

    fn keep(&mut self, refusals: &Refusals) {
        self.refusals.lines.extend_from_slice(&refusals.lines);
        for (line, reason) in &refusals.told {
            self.refusals.told.entry(*line).or_insert_with(|| reason.clone());
        }
    }
}

/// One batch, the name of its table and the first and last line it holds rows of.
struct Write {
    table: String,
    lines: (u64, u64),
    batch: WriteBatch,
}

/// Errors that come of what was asked, not of the state of the database.
fn is_about_request(error: &Error) -> bool {
    matches!(
        error,
        Error::Invalid(_) | Error::TypeMismatch(_) | Error::NotFound(_) | Error::Exists(_)
    )
}

/// Columns that the request adds: tags in order of appearance, then fields.
fn new_columns(table: &TableBatch) -> Vec<NewColumn> {
    let tags = table.new_tags.iter().map(|name| (name, ColumnType::Text, true));
    let fields = table.columns.iter().filter(|column| column.id.is_none());
    let fields = fields.filter_map(|column| Some((&column.name, column.kind?, false)));
    tags.chain(fields)
        .map(|(name, kind, key)| NewColumn { name: name.to_string(), kind, key, not_null: false })
        .collect()
}

/// Commands that make what is missing, each with the name of its table.
fn definitions(tables: &[TableBatch]) -> Vec<(String, Command)> {
    let mut commands = Vec::new();
    for table in tables {
        let columns = new_columns(table);
        let command = match &table.schema {
            Some(_) if columns.is_empty() => continue,
            Some(schema) => Command::AddColumns { table: schema.id, columns },
            None => Command::CreateTable(NewTable {
                name: table.name.to_string(),
                time_name: TIME_NAME.to_string(),
                columns,
                options: TableOptions {
                    precision: TimePrecision::Nanos,
                    ..TableOptions::default()
                },
                if_not_exists: true,
            }),
        };
        commands.push((table.name.to_string(), command));
    }
    commands
}

/// A batch with column numbers; `None` if a column is missing or of another type or role.
fn batch(table: &TableBatch, sealed: Sealed, schema: &TableSchema) -> Option<WriteBatch> {
    let mut tag_ids: BTreeMap<&str, ColumnId> = BTreeMap::new();
    for name in &table.new_tags {
        let spec = schema.column(name).filter(|c| c.key && c.kind == ColumnType::Text)?;
        tag_ids.insert(name, spec.id);
    }
    let mut series = Vec::with_capacity(sealed.series.len());
    for number in &sealed.series {
        series.push(match &table.series[*number as usize].name {
            SeriesName::Known(number) => SeriesRef::Known(*number),
            SeriesName::Key(key) => SeriesRef::Key(key.clone()),
            SeriesName::Open(parts) => {
                let mut pairs = Vec::with_capacity(parts.len());
                for (column, value) in parts {
                    let id = match column {
                        TagColumn::Known(id) => *id,
                        TagColumn::New(name) => *tag_ids.get(&**name)?,
                    };
                    pairs.push((id, &**value));
                }
                SeriesRef::Key(Key::new(pairs))
            }
        });
    }
    let mut columns = Vec::with_capacity(sealed.columns.len());
    for (number, column) in sealed.columns {
        let field = &table.columns[number as usize];
        let spec: &ColumnSpec = match field.id {
            Some(id) => schema.column_by_id(id)?,
            None => schema.column(&field.name)?,
        };
        let kind = field.kind?;
        let fits =
            spec.kind == kind || (spec.kind == ColumnType::Float64 && kind == ColumnType::Int64);
        if spec.key || !fits {
            return None;
        }
        let values = column.values.widen_to(spec.kind.physical());
        columns.push((spec.id, Column { values, states: column.states }));
    }
    Some(WriteBatch {
        table: schema.id,
        series,
        key_of_row: sealed.key_of_row,
        times: sealed.times,
        columns,
    })
}

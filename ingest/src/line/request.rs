//! Reads a whole request: lines to tables, good rows apart from refused lines.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use memchr::memchr_iter;
use tsdb::types::{OWNED_TABLE_PREFIX, SCHEMA_TABLE_PREFIX};

use super::cache::{SeriesCache, TableVersion};
use super::key;
use super::number::whole;
use super::scan::{self, Bad, RawValue};
use super::table::{SeriesName, TableBatch};
use super::{Catalogue, KEY_BYTES_MAX, LineLimits, Precision, Reason, StoreLimits};

/// Cells of a request, absent ones counted, that are always allowed; above it a request may have
/// two a byte. Only lines with thousands of different fields reach it.
const CELLS_MIN: usize = 16 << 20;

/// What a request is read with.
pub struct Context<'c> {
    pub catalogue: &'c dyn Catalogue,
    pub cache: &'c SeriesCache,
    pub limits: StoreLimits,
    pub line_limits: &'c LineLimits,
    /// Unit of the timestamps.
    pub precision: Precision,
    /// Time of lines without timestamp, ns.
    pub now_ns: i64,
    /// Read only these lines of these tables.
    pub only: Option<&'c Only>,
    /// Tables that cannot be made, with the reason: their lines are refused.
    pub denied: &'c BTreeMap<String, String>,
}

/// Lines (from-to) by table.
pub type Only = BTreeMap<String, Vec<(u64, u64)>>;

/// Lines refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// All their numbers.
    pub lines: Vec<u64>,
    /// Why, for the first of them.
    pub told: BTreeMap<u64, String>,
}

impl Refusals {
    pub(crate) fn add(&mut self, line: u64, reason: Reason, told_max: usize) {
        self.lines.push(line);
        if self.told.len() < told_max {
            self.told.insert(line, reason.into_owned());
        }
    }
}

/// What a request holds.
#[derive(Debug)]
pub struct Parsed {
    /// Tables with rows, in order of first line.
    pub tables: Vec<TableBatch>,
    pub refusals: Refusals,
    /// Good lines.
    pub rows: u64,
}

/// Reads a request.
pub fn parse(body: &[u8], context: &Context<'_>) -> Parsed {
    let mut request = Request {
        body,
        context,
        hasher: RandomState::default(),
        keys: HashTable::new(),
        entries: Vec::new(),
        tables: Vec::new(),
        slots: HashMap::new(),
        values: Vec::new(),
        last_entry: 0,
        stamp: 0,
        text_lines: 0,
        cells_sealed: 0,
        refusals: Refusals::default(),
        rows: 0,
    };
    request.run();
    let Request { mut tables, refusals, rows, .. } = request;
    tables.iter_mut().for_each(TableBatch::seal);
    tables.retain(|table| !table.sealed.is_empty());
    Parsed { tables, refusals, rows }
}

/// Raw measurement and tags of the request, and the series they name.
struct Entry<'a> {
    raw: &'a [u8],
    hash: u64,
    table: u32,
    series: u32,
    /// The entry that came next last time: senders repeat their devices in order.
    next: u32,
}

struct Request<'a, 'c> {
    body: &'a [u8],
    context: &'c Context<'c>,
    hasher: RandomState,
    keys: HashTable<u32>,
    entries: Vec<Entry<'a>>,
    tables: Vec<TableBatch>,
    /// Raw measurement to table.
    slots: HashMap<&'a [u8], u32>,
    /// Values of the line being read.
    values: Vec<(u32, RawValue<'a>)>,
    last_entry: u32,
    /// Number of the line attempt, to notice a field given twice.
    stamp: u64,
    /// Newlines inside text values of the line being read.
    text_lines: u64,
    cells_sealed: usize,
    refusals: Refusals,
    rows: u64,
}

impl<'a> Request<'a, '_> {
    fn run(&mut self) {
        let mut at = 0;
        let mut line = 1;
        while at < self.body.len() {
            let start = scan::skip_blanks(self.body, at);
            if scan::is_line_end(self.body, start) || self.body[start] == b'#' {
                at = scan::newline(self.body, start) + 1;
                line += 1;
                continue;
            }
            self.text_lines = 0;
            match self.line(start, line) {
                Ok(end) => {
                    at = scan::newline(self.body, end) + 1;
                    line += 1 + self.text_lines;
                }
                Err(bad) => {
                    if self.context.only.is_none() {
                        let told_max = self.context.line_limits.refused_told_max;
                        self.refusals.add(line, bad.reason, told_max);
                    }
                    let end = scan::newline(self.body, bad.at.max(start));
                    let inside = self.body.get(start..end).unwrap_or_default();
                    line += 1 + memchr_iter(b'\n', inside).count() as u64;
                    at = end + 1;
                }
            }
        }
    }

    /// Reads one line; gives the offset where it ends.
    #[inline]
    fn line(&mut self, start: usize, line: u64) -> Result<usize, Bad> {
        let body = self.body;
        let key_end = scan::key_end(body, start).filter(|end| body[*end] == b' ');
        let Some(key_end) = key_end else {
            return Err(Bad::new("a line without fields", start));
        };
        let (slot, series) =
            self.series(&body[start..key_end]).map_err(|reason| Bad { reason, at: key_end })?;
        let fields = scan::skip_blanks(body, key_end);
        let done = self.rest(slot, series, fields, start, line);
        if done.is_err() {
            self.tables[slot as usize].forget();
        }
        done
    }

    /// Reads fields and timestamp and hands the row to its table.
    #[inline]
    fn rest(
        &mut self,
        slot: u32,
        series: u32,
        fields: usize,
        start: usize,
        line: u64,
    ) -> Result<usize, Bad> {
        let body = self.body;
        let context = self.context;
        self.fields(slot, fields).and_then(|at| {
            let (time, end) = self.time(scan::skip_blanks(body, at))?;
            if end - start > context.line_limits.line_bytes_max {
                let max = context.line_limits.line_bytes_max;
                return Err(Bad::new(format!("the line is longer than {max} bytes"), end));
            }
            let table = &mut self.tables[slot as usize];
            if let Some(only) = context.only
                && !only.get(&*table.name).is_some_and(|spans| {
                    spans.iter().any(|(first, last)| (*first..=*last).contains(&line))
                })
            {
                table.forget();
                return Ok(end);
            }
            let before = table.cells_sealed;
            if self.cells_sealed + table.cells_padded() - before
                > CELLS_MIN.max(body.len().saturating_mul(2))
            {
                return Err(Bad::new("too many different fields: split the request", end));
            }
            table
                .commit(series, time, &self.values, line, &context.limits)
                .map_err(|reason| Bad { reason, at: end })?;
            self.cells_sealed += table.cells_sealed - before;
            self.rows += 1;
            Ok(end)
        })
    }

    /// Reads the fields from `at` on into `values`; gives the offset behind the last.
    #[inline]
    fn fields(&mut self, slot: u32, mut at: usize) -> Result<usize, Bad> {
        let body = self.body;
        let table = &mut self.tables[slot as usize];
        let limits = &self.context.limits;
        self.values.clear();
        self.stamp += 1;
        let mut nth = 0;
        loop {
            let (column, value_at) = table.field(body, at, nth, limits)?;
            let (value, end) = scan::value(body, value_at)?;
            if let RawValue::Text { bytes, .. } = value {
                self.text_lines += memchr_iter(b'\n', bytes).count() as u64;
            }
            let known = &mut table.columns[column as usize];
            if known.stamp == self.stamp {
                self.values[known.value_at as usize].1 = value;
            } else {
                known.stamp = self.stamp;
                known.value_at = self.values.len() as u32;
                self.values.push((column, value));
            }
            match body.get(end) {
                Some(b',') => at = end + 1,
                Some(b' ') => return Ok(end),
                _ if scan::is_line_end(body, end) => return Ok(end),
                _ => {
                    let rest = scan::shown(&body[end..scan::newline(body, end)]);
                    return Err(Bad::new(format!("a value goes on with {rest}"), end));
                }
            }
            nth += 1;
        }
    }

    /// Reads the timestamp at `at`, if there is one; gives ns and the end of the line.
    #[inline]
    fn time(&self, at: usize) -> Result<(i64, usize), Bad> {
        let body = self.body;
        let context = self.context;
        let (time, end) = if scan::is_line_end(body, at) {
            (context.now_ns, at)
        } else {
            let (units, len) = whole(&body[at..]).map_err(|reason| Bad { reason, at })?;
            let end = scan::skip_blanks(body, at + len);
            if !scan::is_line_end(body, end) {
                let rest = scan::shown(&body[at..scan::newline(body, at)]);
                return Err(Bad::new(format!("the timestamp {rest} is not a whole number"), at));
            }
            let time = units
                .checked_mul(context.precision.nanos())
                .ok_or_else(|| Bad::new("the timestamp does not fit: wrong precision?", at))?;
            (time, end)
        };
        let times = context.limits.times;
        if !times.contains(time) {
            let (min, max) = (times.min, times.max);
            let reason =
                format!("the time {time} ns lies outside {min} to {max}: wrong precision?");
            return Err(Bad::new(reason, at));
        }
        Ok((time, end))
    }

    /// Table and series of raw measurement and tags.
    #[inline]
    fn series(&mut self, raw: &'a [u8]) -> Result<(u32, u32), Reason> {
        if let Some(last) = self.entries.get(self.last_entry as usize)
            && let Some(next) = self.entries.get(last.next as usize)
            && next.raw == raw
        {
            self.last_entry = last.next;
            return Ok((next.table, next.series));
        }
        let hash = self.context.cache.hash(raw);
        let found = self.keys.find(hash, |at| self.entries[*at as usize].raw == raw).copied();
        let at = match found {
            Some(at) => at,
            None => self.new_entry(raw, hash)?,
        };
        if let Some(last) = self.entries.get_mut(self.last_entry as usize) {
            last.next = at;
        }
        self.last_entry = at;
        let entry = &self.entries[at as usize];
        Ok((entry.table, entry.series))
    }

    fn new_entry(&mut self, raw: &'a [u8], hash: u64) -> Result<u32, Reason> {
        if raw.len() > KEY_BYTES_MAX {
            let max = KEY_BYTES_MAX;
            return Err(format!("measurement and tags are longer than {max} bytes").into());
        }
        let measurement_end = key::measurement_end(raw);
        let slot = self.table(&raw[..measurement_end])?;
        let table = &mut self.tables[slot as usize];
        let cache = self.context.cache;
        let of = table.schema.as_ref().map(|s| TableVersion { table: s.id, version: s.version });
        let cached = of.and_then(|of| cache.get(hash, raw, of));
        let series = match cached {
            Some(number) => table.series_named(SeriesName::Known(number)),
            None => {
                let tags = key::tags(&raw[measurement_end..], self.context.limits.columns_max)?;
                let series = table.series_of_tags(&tags, self.context.catalogue)?;
                if let (Some(of), SeriesName::Known(number)) =
                    (of, &table.series[series as usize].name)
                {
                    cache.insert(hash, raw, of, *number);
                }
                series
            }
        };
        let at = self.entries.len() as u32;
        self.entries.push(Entry { raw, hash, table: slot, series, next: 0 });
        let entries = &self.entries;
        self.keys.insert_unique(hash, at, |at| entries[*at as usize].hash);
        Ok(at)
    }

    /// The table of a raw measurement.
    fn table(&mut self, raw: &'a [u8]) -> Result<u32, Reason> {
        if let Some(slot) = self.slots.get(raw) {
            return Ok(*slot);
        }
        let name = key::measurement(raw)?;
        if let Some(why) = self.context.denied.get(name.as_ref()) {
            return Err(why.clone().into());
        }
        if name.starts_with(OWNED_TABLE_PREFIX) {
            let why = format!("measurements that begin with {OWNED_TABLE_PREFIX} are reserved");
            return Err(why.into());
        }
        if name.starts_with(SCHEMA_TABLE_PREFIX) {
            let why = format!("measurements that begin with {SCHEMA_TABLE_PREFIX} are reserved");
            return Err(why.into());
        }
        let schema = self.context.catalogue.table(&name);
        let slot = self.tables.len() as u32;
        self.tables.push(TableBatch::new(&name, schema, &self.hasher));
        self.slots.insert(raw, slot);
        Ok(slot)
    }
}

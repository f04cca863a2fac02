//! The rows of one table while a request is read.
//!
//! Invariants: a line changes a table only in [`TableBatch::commit`], after everything about it
//! was checked; until then it owns at most columns behind `settled`, which
//! [`TableBatch::forget`] takes away again. So a refused line leaves no column, tag or row.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use tsdb::types::{Column, ColumnId, ColumnSpec, Key, TableSchema};

use super::column::FieldColumn;
use super::key::{Tag, field_name, key_value};
use super::scan::{Bad, RawValue, name_end};
use super::{Catalogue, Reason, StoreLimits, TIME_NAME};

/// A batch closes early when its absent cells outnumber the sent ones by this factor: a request
/// in which every line has another field must not make a table of all fields by all lines.
const SPARSE_FACTOR: usize = 8;
/// Cells that a batch may have in any case.
const SPARSE_CELLS_MIN: usize = 1024;

/// Rows of a batch; well below what the engine takes, and small enough to sort in cache-sized
/// steps.
const BATCH_ROWS_MAX: usize = 1 << 20;

/// A tag column, by number where the schema has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagColumn {
    Known(ColumnId),
    New(Box<str>),
}

/// What names a series in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SeriesName {
    /// The engine has shown it to readers.
    Known(u32),
    /// All its tags are columns already.
    Key(Key),
    /// Some tag columns are still to be made; in ascending order of column.
    Open(Vec<(TagColumn, Box<[u8]>)>),
}

/// A series of the request.
#[derive(Debug)]
pub struct LocalSeries {
    pub name: SeriesName,
    /// Whether a good line has made its new tags columns of the table.
    settled: bool,
    /// Place in the batch numbered `sealed_in`.
    index: u32,
    sealed_in: u32,
}

/// A closed batch; columns are numbered as in [`TableBatch::columns`].
#[derive(Debug)]
pub struct Sealed {
    /// Indexes into [`TableBatch::series`].
    pub series: Vec<u32>,
    pub key_of_row: Vec<u32>,
    pub times: Vec<i64>,
    pub columns: Vec<(u32, Column)>,
    /// First and last line it holds rows of.
    pub lines: (u64, u64),
}

#[derive(Clone, Copy, Debug)]
enum Named {
    Field(u32),
    Tag,
    Time,
}

/// One table's part of a request.
#[derive(Debug)]
pub struct TableBatch {
    pub name: Box<str>,
    /// `None`: this request makes the table.
    pub schema: Option<Arc<TableSchema>>,
    pub columns: Vec<FieldColumn>,
    pub new_tags: Vec<Box<str>>,
    pub series: Vec<LocalSeries>,
    pub sealed: Vec<Sealed>,
    /// Cells of closed batches, absent ones counted.
    pub cells_sealed: usize,
    settled: usize,
    tags: usize,
    names: HashMap<Box<str>, Named>,
    /// Column of the n-th field of the line before: the likely one of the next line.
    order: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: RandomState,
    key_of_row: Vec<u32>,
    times: Vec<i64>,
    lines: (u64, u64),
    cells: usize,
    used: usize,
}

impl TableBatch {
    /// Starts with what the catalogue has.
    pub fn new(name: &str, schema: Option<Arc<TableSchema>>, hasher: &RandomState) -> TableBatch {
        let mut names = HashMap::new();
        let mut columns = Vec::new();
        let mut tags = 0;
        let time = schema.as_ref().map_or(TIME_NAME, |s| &s.time_name);
        // `time` stays reserved where the time column has another name, as in InfluxDB.
        names.insert(TIME_NAME.into(), Named::Time);
        for ColumnSpec { id, name, kind, key, .. } in schema.iter().flat_map(|s| &s.columns) {
            if *key {
                tags += 1;
                names.insert(name.as_str().into(), Named::Tag);
            } else {
                names.insert(name.as_str().into(), Named::Field(columns.len() as u32));
                columns.push(FieldColumn::new(name, Some((*id, *kind))));
            }
        }
        names.insert(time.into(), Named::Time);
        TableBatch {
            name: name.into(),
            settled: columns.len(),
            columns,
            new_tags: Vec::new(),
            series: Vec::new(),
            sealed: Vec::new(),
            cells_sealed: 0,
            tags,
            names,
            order: Vec::new(),
            by_name: HashTable::new(),
            hasher: hasher.clone(),
            key_of_row: Vec::new(),
            times: Vec::new(),
            lines: (u64::MAX, 0),
            cells: 0,
            used: 0,
            schema,
        }
    }

    /// The column of the field at `at`, the `nth` of its line, and where its value starts.
    #[inline]
    pub fn field(
        &mut self,
        body: &[u8],
        at: usize,
        nth: usize,
        limits: &StoreLimits,
    ) -> Result<(u32, usize), Bad> {
        if let Some(&likely) = self.order.get(nth)
            && let Some(column) = self.columns.get(likely as usize)
            && let Some(behind) = body[at..].strip_prefix(&*column.raw)
            && behind.first() == Some(&b'=')
            && !column.raw.is_empty()
        {
            return Ok((likely, at + column.raw.len() + 1));
        }
        self.field_by_name(body, at, nth, limits)
    }

    fn field_by_name(
        &mut self,
        body: &[u8],
        at: usize,
        nth: usize,
        limits: &StoreLimits,
    ) -> Result<(u32, usize), Bad> {
        let end = name_end(body, at).filter(|end| body[*end] == b'=');
        let raw = end.map(|end| &body[at..end]).filter(|raw| !raw.contains(&b'\n'));
        let (Some(end), Some(raw)) = (end, raw) else {
            return Err(Bad::new("a field without a value", at));
        };
        let name = field_name(raw).map_err(|reason| Bad { reason, at })?;
        let column = self.named_field(&name, limits).map_err(|reason| Bad { reason, at })?;
        let known = &mut self.columns[column as usize];
        if known.raw.is_empty() {
            known.raw = raw.into();
        }
        match self.order.get_mut(nth) {
            Some(likely) => *likely = column,
            None => self.order.push(column),
        }
        Ok((column, end + 1))
    }

    /// The column of the field of this name, made if there is none.
    ///
    /// # Errors
    /// A name that is a tag or the time, or one column too many.
    pub fn named_field(&mut self, name: &str, limits: &StoreLimits) -> Result<u32, Reason> {
        match self.names.get(name) {
            Some(Named::Field(column)) => Ok(*column),
            Some(Named::Tag) => {
                Err(format!("{name:?} is a tag of {:?}, not a field", self.name).into())
            }
            Some(Named::Time) => Err(format!("{name:?} is reserved for the time of a row").into()),
            None => {
                if self.columns.len() + self.tags >= limits.columns_max {
                    return Err(self.too_wide(limits));
                }
                let column = self.columns.len() as u32;
                self.names.insert(name.into(), Named::Field(column));
                self.columns.push(FieldColumn::new(name, None));
                Ok(column)
            }
        }
    }

    fn too_wide(&self, limits: &StoreLimits) -> Reason {
        format!("table {:?} would have more than {} columns", self.name, limits.columns_max).into()
    }

    /// Finds or adds the series that `tags` name.
    ///
    /// # Errors
    /// A tag with the name of a field or of the time column, or a value that its key column
    /// cannot hold.
    pub fn series_of_tags(
        &mut self,
        tags: &[Tag<'_>],
        catalogue: &dyn Catalogue,
    ) -> Result<u32, Reason> {
        let mut parts = Vec::with_capacity(tags.len());
        let mut open = self.schema.is_none();
        for tag in tags {
            match self.names.get(tag.name.as_ref()) {
                Some(Named::Field(column)) if (*column as usize) < self.settled => {
                    return Err(
                        format!("{:?} is a field of {:?}, not a tag", tag.name, self.name).into()
                    );
                }
                Some(Named::Time) => {
                    return Err(format!("{:?} is reserved for the time of a row", tag.name).into());
                }
                Some(Named::Field(_) | Named::Tag) | None => {}
            }
            let spec = self.schema.as_ref().and_then(|s| s.column(&tag.name)).filter(|c| c.key);
            match spec {
                Some(spec) => {
                    let value = key_value(spec.kind, tag)?;
                    parts.push((TagColumn::Known(spec.id), value.into_boxed_slice()));
                }
                None => {
                    open = true;
                    let name = TagColumn::New(tag.name.as_ref().into());
                    parts.push((name, tag.value.as_bytes().into()));
                }
            }
        }
        if open {
            parts.sort();
            return Ok(self.series_named(SeriesName::Open(parts)));
        }
        let key = Key::new(parts.iter().filter_map(|(column, value)| match column {
            TagColumn::Known(id) => Some((*id, &**value)),
            TagColumn::New(_) => None,
        }));
        let known = self.schema.as_ref().and_then(|schema| catalogue.series(schema.id, &key));
        Ok(self.series_named(known.map_or(SeriesName::Key(key), SeriesName::Known)))
    }

    /// Finds or adds a series by its name, so that no batch lists one twice.
    pub fn series_named(&mut self, name: SeriesName) -> u32 {
        let hash = self.hasher.hash_one(&name);
        if let Some(found) = self.by_name.find(hash, |at| self.series[*at as usize].name == name) {
            return *found;
        }
        let at = self.series.len() as u32;
        let settled = !matches!(name, SeriesName::Open(_));
        self.series.push(LocalSeries { name, settled, index: 0, sealed_in: u32::MAX });
        let (series, hasher) = (&self.series, &self.hasher);
        self.by_name.insert_unique(hash, at, |at| hasher.hash_one(&series[*at as usize].name));
        at
    }

    /// Takes one line: all of it or, with an error, nothing.
    pub fn commit(
        &mut self,
        series: u32,
        time: i64,
        values: &[(u32, RawValue<'_>)],
        line: u64,
        limits: &StoreLimits,
    ) -> Result<(), Reason> {
        for (column, value) in values {
            self.columns[*column as usize].check(value, limits)?;
        }
        if !self.series[series as usize].settled {
            self.settle_tags(series, limits)?;
        }
        if self.columns.len() + self.tags > limits.columns_max {
            return Err(self.too_wide(limits));
        }
        let row = self.times.len();
        for (column, value) in values {
            self.used += usize::from(self.columns[*column as usize].put(row, value));
        }
        self.settled = self.columns.len();
        self.times.push(time);
        self.key_of_row.push(series);
        self.lines = (self.lines.0.min(line), self.lines.1.max(line));
        self.cells += values.len();
        let sparse = SPARSE_FACTOR * self.cells + SPARSE_CELLS_MIN;
        if self.times.len() * self.used > sparse || self.times.len() >= BATCH_ROWS_MAX {
            self.seal();
        }
        Ok(())
    }

    /// Makes the new tags of a series columns of the table; changes nothing on an error.
    fn settle_tags(&mut self, series: u32, limits: &StoreLimits) -> Result<(), Reason> {
        let mut new = Vec::new();
        if let SeriesName::Open(parts) = &self.series[series as usize].name {
            for (column, _) in parts {
                let TagColumn::New(name) = column else {
                    continue;
                };
                match self.names.get(name) {
                    None => new.push(name.clone()),
                    Some(Named::Tag) => {}
                    Some(Named::Field(_) | Named::Time) => {
                        return Err(format!("{name:?} is both a tag and a field").into());
                    }
                }
            }
        }
        if self.columns.len() + self.tags + new.len() > limits.columns_max {
            return Err(self.too_wide(limits));
        }
        self.series[series as usize].settled = true;
        self.tags += new.len();
        for name in new {
            self.names.insert(name.clone(), Named::Tag);
            self.new_tags.push(name);
        }
        Ok(())
    }

    /// Takes away what a refused line began.
    pub fn forget(&mut self) {
        while self.columns.len() > self.settled {
            if let Some(column) = self.columns.pop() {
                self.names.remove(&column.name);
            }
        }
    }

    /// Cells of the open and the closed batches, absent ones counted.
    pub fn cells_padded(&self) -> usize {
        self.cells_sealed + self.times.len() * self.used
    }

    /// Closes the open batch.
    pub fn seal(&mut self) {
        let rows = self.times.len();
        if rows == 0 {
            return;
        }
        let batch = self.sealed.len() as u32;
        let mut key_of_row = std::mem::take(&mut self.key_of_row);
        let mut listed = Vec::new();
        for key in &mut key_of_row {
            let series = &mut self.series[*key as usize];
            if series.sealed_in != batch {
                series.sealed_in = batch;
                series.index = listed.len() as u32;
                listed.push(*key);
            }
            *key = series.index;
        }
        let mut columns = Vec::with_capacity(self.used);
        for (number, column) in self.columns.iter_mut().enumerate() {
            if let Some(cells) = column.seal(rows) {
                columns.push((number as u32, cells));
            }
        }
        self.cells_sealed += rows * self.used;
        self.sealed.push(Sealed {
            series: listed,
            key_of_row,
            times: std::mem::take(&mut self.times),
            columns,
            lines: std::mem::replace(&mut self.lines, (u64::MAX, 0)),
        });
        self.cells = 0;
        self.used = 0;
    }
}

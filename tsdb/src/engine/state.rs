//! The state that readers see: immutable, swapped whole.
//!
//! Invariants: a published state shows every commit up to its position and none after it (the
//! last-row cache alone may be newer); a table's runs lie above its flush position; its parts lie
//! at or below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::deletes::{Hides, Tombstone};
use crate::error::Result;
use crate::head::{Head, LastRows};
use crate::part::BadBlock;
use crate::rows::RowSnapshot;
use crate::scan::aggregate::{AggregateRequest, AggregateStream, Aggregates, Aggregation, Shared};
use crate::scan::{
    FieldFilter, PartHandle, Scan, ScanRequest, ScanStats, ScanStream, Source, StreamSpec,
};
use crate::series::{Bitmap, SeriesIndex};
use crate::types::{ColumnId, PhysicalType, Rows, TableId, TableSchema, TimeRange};

use super::groups::Groups;
use super::quarantine::{LeftOut, Quarantined, hides_all, with};
use super::stats::{PartInfo, TableStats};
use super::watch::Watch;

/// Rows merged at a time where an aggregation meets overlapping sources.
const MERGED_ROWS: usize = 8192;

/// One version of everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Every commit up to here is visible.
    pub position: u64,
    /// When the newest commit was made, ns; it rises from commit to commit. `i64::MIN` before the
    /// first that says it.
    pub time: i64,
    /// Counts changes of any table's columns, options or name.
    pub schema_version: u64,
    pub tables: imbl::OrdMap<TableId, Arc<TableState>>,
    pub names: imbl::OrdMap<String, TableId>,
    pub next_table: TableId,
    pub rows: RowSnapshot,
    /// Bytes of all heads.
    pub head_bytes: u64,
}

/// One table in a state.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    pub schema: Arc<TableSchema>,
    pub series: Arc<SeriesIndex>,
    /// Series below this number belong to the state.
    pub series_count: u32,
    pub head: Head,
    /// Runs up to this position are being flushed and must not be merged with newer ones.
    pub frozen: u64,
    /// Commits up to this position are in parts.
    pub flushed: u64,
    /// First and last position of the commits to the table that are not in parts, whether or not
    /// any row of them is left.
    pub pending: Option<(u64, u64)>,
    /// The state knows every command of the table up to here.
    pub applied: u64,
    /// Rows before this time are refused (retention).
    pub cut: Option<i64>,
    /// In the order of positions.
    pub parts: Arc<Vec<Arc<PartHandle>>>,
    /// Deletes that hide rows of parts, and all above `flushed`; in the order of positions.
    pub tombstones: Arc<Vec<Arc<Tombstone>>>,
    pub last: Arc<RwLock<LastRows>>,
    /// A last-row part that could not be read, and whether the version log says so.
    pub bad_last: Option<(u64, BadBlock, bool)>,
    /// Last rows may have been left out of last-row parts for want of bad blocks.
    pub scarred: bool,
    /// Series files: how many series they hold, and their bytes.
    pub series_stored: u32,
    pub series_bytes: u64,
    /// Key groups of parts.
    pub groups: Arc<Groups>,
    /// Who wants to know what has changed.
    pub watches: Arc<Vec<Watch>>,
}

/// What a reader sees: version, head, row store and position, taken together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
    /// As that of a table.
    pub(crate) left_out: Option<Arc<LeftOut>>,
}

impl Snapshot {
    /// The position that the snapshot shows.
    pub fn position(&self) -> u64 {
        self.state.position
    }

    /// When the newest commit that it shows was made, ns since 1970; `None` before the first.
    pub fn time(&self) -> Option<i64> {
        (self.state.time > i64::MIN).then_some(self.state.time)
    }

    /// Changes whenever a table's columns, options or name change: a key for cached plans.
    pub fn schema_version(&self) -> u64 {
        self.state.schema_version
    }

    /// All tables in order of name.
    pub fn tables(&self) -> Vec<Arc<TableSchema>> {
        let of = |id: &TableId| self.state.tables.get(id).map(|table| Arc::clone(&table.schema));
        self.state.names.values().filter_map(of).collect()
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<Table> {
        self.table_by_id(*self.state.names.get(name)?)
    }

    /// The table of this number.
    pub fn table_by_id(&self, id: TableId) -> Option<Table> {
        let left_out = self.left_out.clone();
        self.state.tables.get(&id).map(|state| Table { state: Arc::clone(state), left_out })
    }

    /// The snapshot as if these tables were not there.
    #[must_use]
    pub fn without_tables(&self, hidden: &[TableId]) -> Snapshot {
        let mut state = State::clone(&self.state);
        for id in hidden {
            if let Some(table) = state.tables.remove(id) {
                state.names.remove(&table.schema.name);
            }
        }
        Snapshot { state: Arc::new(state), left_out: self.left_out.clone() }
    }

    /// The snapshot with all tables as [`Table::without_quarantined`] gives them.
    #[must_use]
    pub fn without_quarantined(self, left_out: Arc<LeftOut>) -> Snapshot {
        Snapshot { left_out: Some(left_out), ..self }
    }

    /// Management rows. Spaces 0 to 15 belong to the engine, 16 to 255 to query, 256 and above
    /// to management.
    pub fn rows(&self) -> &RowSnapshot {
        &self.state.rows
    }
}

/// One table in a snapshot.
#[derive(Clone, Debug)]
pub struct Table {
    state: Arc<TableState>,
    /// Where it is noted which rows are left out since bad blocks keep them; `None` where such a
    /// block fails the reader.
    left_out: Option<Arc<LeftOut>>,
}

impl Table {
    pub(super) fn table_state(&self) -> &TableState {
        &self.state
    }

    /// The table without the rows that bad blocks in quarantine keep from its readers: all rows of
    /// the series and times of such a block, wherever they lie, where a column is read that the
    /// block is needed for. A block that turns out bad only now still fails the reader, who may
    /// have been given rows of it before. The blocks are noted in `left_out` when a reader begins.
    #[must_use]
    pub fn without_quarantined(self, left_out: Arc<LeftOut>) -> Table {
        Table { left_out: Some(left_out), ..self }
    }

    /// The bad blocks of the table.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.state.quarantined()
    }

    /// Columns and settings.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.state.schema
    }

    /// The index of its series; it may know series newer than the snapshot.
    pub fn series(&self) -> &Arc<SeriesIndex> {
        &self.state.series
    }

    /// Series below this number belong to the snapshot: the `limit` to give the index.
    pub fn series_count(&self) -> u32 {
        self.state.series_count
    }

    /// Plans a scan; nothing but indexes is read yet.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] for a column that the table does not have, and what reading
    /// part indexes gives.
    pub fn scan(&self, request: ScanRequest) -> Result<Scan> {
        self.state.scan(request, self.left_out.as_deref())
    }

    /// Plans an aggregation; nothing but indexes is read yet.
    ///
    /// # Errors
    /// As [`Table::scan`].
    pub fn aggregate(&self, request: AggregateRequest) -> Result<Aggregation> {
        self.state.aggregate(request, self.left_out.as_deref())
    }

    /// What [`Table::aggregate`] would give over no rows.
    ///
    /// # Errors
    /// As [`Table::scan`].
    pub fn aggregate_nothing(&self, request: &AggregateRequest) -> Result<Aggregates> {
        let wanted: Vec<ColumnId> = request.columns.iter().map(|c| c.column).collect();
        let wants: Vec<_> = request.columns.iter().map(|c| c.wants).collect();
        let columns = self.state.physical(&wanted)?;
        Ok(Aggregates::new(&columns, &wants, request.counted.len()))
    }

    /// Newest row of each series of `series` that has one, in ascending series, out of the
    /// last-row cache; `columns` in the order asked for. The cache may be ahead of the snapshot
    /// by commits that were published since: use it where the newest is wanted.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] for a column that the table does not have.
    pub fn last_rows(&self, series: &Bitmap, columns: &[ColumnId]) -> Result<Rows> {
        self.state.last_rows(series, columns, self.left_out.as_deref())
    }

    /// Whether a delete may hide rows of these series and times in a part whose commits end at
    /// `part_last_position`. Where it may not, the statistics of the part's rows are the truth.
    pub fn tombstones_overlap(
        &self,
        part_last_position: u64,
        series: std::ops::RangeInclusive<u32>,
        times: TimeRange,
    ) -> bool {
        let newer = |t: &&Arc<Tombstone>| t.position > part_last_position;
        self.state.tombstones.iter().filter(newer).any(|t| t.overlaps(&series, times))
    }

    /// Rows before this time are gone and refused (retention), ns.
    pub fn cut(&self) -> Option<i64> {
        self.state.cut
    }

    /// The watch of this number.
    pub fn watch(&self, number: u32) -> Option<&Watch> {
        self.state.watches.iter().find(|watch| watch.number == number)
    }

    /// How many watches there are.
    pub fn watch_count(&self) -> usize {
        self.state.watches.len()
    }

    /// Rows and bytes.
    pub fn stats(&self) -> TableStats {
        let stats = self.state.stats();
        let bad = self.left_out.is_some() && self.state.parts.iter().any(|part| part.is_bad());
        TableStats { exact: stats.exact && !bad, hidden: stats.hidden || bad, ..stats }
    }

    /// The parts in the order of positions.
    pub fn parts(&self) -> Vec<PartInfo> {
        self.state.parts.iter().map(|part| PartInfo::of(part, &self.state.groups)).collect()
    }
}

impl TableState {
    /// The columns asked for with the types they have now.
    pub fn physical(&self, columns: &[ColumnId]) -> Result<Vec<(ColumnId, PhysicalType)>> {
        let of = |id: &ColumnId| match self.schema.column_by_id(*id).filter(|spec| !spec.key) {
            Some(spec) => Ok((*id, spec.kind.physical())),
            None => Err(crate::Error::NotFound(format!(
                "table \"{}\" has no field {id}",
                self.schema.name
            ))),
        };
        columns.iter().map(of).collect()
    }

    /// Notes a command of the commit at `position`.
    pub fn note(&mut self, position: u64) {
        let first = self.pending.map_or(position, |(first, _)| first);
        self.pending = Some((first, position));
        self.applied = position;
    }

    /// How many tombstones are above the flush position: none of them goes before it moves.
    pub fn tombstones_pending(&self) -> usize {
        let flushed = self.tombstones.partition_point(|t| t.position <= self.flushed);
        self.tombstones.len() - flushed
    }

    /// Whether some part lies in an object store.
    pub fn is_archived(&self) -> bool {
        self.parts.iter().any(|part| part.entry.object.is_some())
    }

    /// Takes out tombstones that no part needs any more.
    pub fn clear(&mut self, positions: &[u64]) {
        if !positions.is_empty() {
            Arc::make_mut(&mut self.tombstones).retain(|t| !positions.contains(&t.position));
        }
    }

    /// What the tombstones hide of a part; `None` without any.
    pub fn hides(&self, part: &PartHandle) -> Option<Arc<Hides>> {
        if self.tombstones.is_empty() {
            return None;
        }
        part.hides(&self.tombstones)
    }

    /// Positions of the tombstones at or below `flushed` that none of these parts needs.
    pub fn unneeded<'a>(
        &self,
        flushed: u64,
        parts: impl Iterator<Item = &'a Arc<PartHandle>> + Clone,
    ) -> Vec<u64> {
        fn members(part: &PartHandle) -> Option<&Bitmap> {
            part.members().map(|members| &**members)
        }
        let needs = |tombstone: &Tombstone, part: &PartHandle| {
            tombstone.position > part.entry.deletes_applied
                && tombstone.meets(&part.series(), part.entry.times, members(part))
        };
        // Of cuts the latest does for all.
        let cuts = || self.tombstones.iter().filter_map(|t| Some((t.cut()?, t.position)));
        let latest = cuts().max();
        let passed = |t: &Tombstone| {
            t.cut().zip(latest).is_some_and(|(cut, (most, at))| cut <= most && t.position < at)
        };
        let old = self.tombstones.iter().filter(|tombstone| tombstone.position <= flushed);
        old.filter(|t| passed(t) || !parts.clone().any(|part| needs(t, part)))
            .map(|tombstone| tombstone.position)
            .collect()
    }

    pub(super) fn scan(&self, request: ScanRequest, left_out: Option<&LeftOut>) -> Result<Scan> {
        let mut columns = self.physical(&request.columns)?;
        let filters = self.placed(&mut columns, request.filters)?;
        let stats = Arc::new(ScanStats::default());
        let bounded = request.bounds.iter().map(|bound| bound.column);
        let ids: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).chain(bounded).collect();
        let (wanted, times) = (request.series.as_ref(), request.times);
        let bad = left_out.and_then(|to| self.hides_of_bad(&ids, wanted, times, to));
        let sources = self.sources(request.series.as_ref(), request.times, bad, &stats);
        let set = self.bounded(request.series);
        let mut streams = Vec::new();
        for series in self.split(set.as_deref(), request.streams) {
            let spec = StreamSpec {
                series,
                set: set.clone(),
                times: request.times,
                columns: columns.clone(),
                shown: request.columns.len(),
                filters: filters.clone(),
                bounds: request.bounds.clone(),
                mode: self.schema.options.merge,
                batch_rows: request.batch_rows.max(1),
            };
            streams.push(ScanStream::new(&sources, spec, Arc::clone(&stats))?);
        }
        Ok(Scan { streams, stats })
    }

    fn aggregate(
        &self,
        request: AggregateRequest,
        left_out: Option<&LeftOut>,
    ) -> Result<Aggregation> {
        let wanted: Vec<ColumnId> = request.columns.iter().map(|c| c.column).collect();
        let mut columns = self.physical(&wanted)?;
        let filters = self.placed(&mut columns, request.filters)?;
        let counted = self.placed(&mut columns, request.counted)?;
        let split = match request.split {
            None => None,
            Some(column) => Some(self.place(&mut columns, column)?),
        };
        let stats = Arc::new(ScanStats::default());
        let ids: Vec<ColumnId> = columns.iter().map(|(id, _)| *id).collect();
        let (wanted, times) = (request.series.as_ref(), request.times);
        let bad = left_out.and_then(|to| self.hides_of_bad(&ids, wanted, times, to));
        let sources = self.sources(request.series.as_ref(), request.times, bad, &stats);
        let set = self.bounded(request.series);
        let shared = Arc::new(Shared {
            buckets: request.buckets,
            groups: request.groups,
            columns: columns.clone(),
            wants: request.columns.iter().map(|c| c.wants).collect(),
            split,
            counted,
            filters,
            use_zones: request.use_zones,
        });
        let mut streams = Vec::new();
        for series in self.split(set.as_deref(), request.streams) {
            let spec = StreamSpec {
                series,
                set: set.clone(),
                times: request.times,
                columns: columns.clone(),
                shown: columns.len(),
                filters: Vec::new(),
                bounds: Vec::new(),
                mode: self.schema.options.merge,
                batch_rows: MERGED_ROWS,
            };
            let (shared, stats) = (Arc::clone(&shared), Arc::clone(&stats));
            streams.push(AggregateStream::new(&sources, spec, shared, stats)?);
        }
        Ok(Aggregation { streams, stats })
    }

    /// The place of a column among those wanted, which it joins if it is not there.
    fn place(
        &self,
        columns: &mut Vec<(ColumnId, PhysicalType)>,
        column: ColumnId,
    ) -> Result<usize> {
        if let Some(at) = columns.iter().position(|(id, _)| *id == column) {
            return Ok(at);
        }
        columns.extend(self.physical(&[column])?);
        Ok(columns.len() - 1)
    }

    /// Tests with the places of their columns, which join those wanted.
    fn placed(
        &self,
        columns: &mut Vec<(ColumnId, PhysicalType)>,
        tests: Vec<FieldFilter>,
    ) -> Result<Vec<(usize, FieldFilter)>> {
        tests.into_iter().map(|test| Ok((self.place(columns, test.column)?, test))).collect()
    }

    /// A set without the series that came after the snapshot.
    fn bounded(&self, series: Option<Bitmap>) -> Option<Arc<Bitmap>> {
        series.map(|mut set| {
            set.remove_range(self.series_count..);
            Arc::new(set)
        })
    }

    /// The sources that can have rows wanted, counted in `stats`; `bad` is hidden of all of them.
    pub(super) fn sources(
        &self,
        series: Option<&Bitmap>,
        times: TimeRange,
        bad: Option<Arc<Tombstone>>,
        stats: &ScanStats,
    ) -> Vec<Source> {
        let length = self.schema.options.partition_ns;
        let (mut seen, mut kept) = (Partitions::default(), Partitions::default());
        let mut sources = Vec::new();
        for part in self.parts.iter() {
            ScanStats::add(&stats.parts, 1);
            seen.add(part.entry.times, length);
            let hides = match &bad {
                None => self.hides(part),
                Some(bad) => part.hides(&with(&self.tombstones, bad)),
            };
            let left = !hides.as_ref().is_some_and(|hides| part.is_hidden_by(hides));
            if left && part.meets(series, times) {
                kept.add(part.entry.times.intersect(&times), length);
                let groups = u64::from(part.part.group_count());
                ScanStats::add(&stats.groups, groups);
                sources.push(Source::Part(Arc::clone(part), hides));
            } else {
                ScanStats::add(&stats.parts_pruned, 1);
            }
        }
        ScanStats::add(&stats.partitions, seen.count());
        let pruned = seen.count().saturating_sub(kept.count());
        ScanStats::add(&stats.partitions_pruned, pruned);
        let hides = bad.as_ref().and_then(hides_all);
        let runs = self.head.runs();
        sources.extend(runs.map(|run| Source::Run(Arc::clone(run), hides.clone())));
        sources
    }

    /// Cuts the series wanted into ranges of about equal number.
    fn split(&self, set: Option<&Bitmap>, streams: usize) -> Vec<(u32, u32)> {
        let count = match set {
            Some(set) => set.cardinality(),
            None => u64::from(self.series_count),
        };
        if count == 0 {
            return Vec::new();
        }
        let streams = (streams.max(1) as u64).min(count);
        let nth = |n: u64| match set {
            Some(set) => set.select(n as u32).unwrap_or(u32::MAX),
            None => n as u32,
        };
        (0..streams)
            .map(|i| (nth(i * count / streams), nth((i + 1) * count / streams - 1)))
            .collect()
    }

    fn stats(&self) -> TableStats {
        let mut spans: Vec<(TimeRange, u32)> =
            self.parts.iter().map(|p| (p.entry.times, p.entry.group)).collect();
        spans.extend(self.head.runs().map(|run| (run.times, 0)));
        let times = spans.iter().fold(TimeRange::EMPTY, |all, (span, _)| all.cover(span));
        let apart = are_apart(spans, &self.groups);
        let append = self.schema.options.merge == crate::types::MergeMode::Append;
        let head_rows = self.head.rows();
        let hidden = self.parts.iter().any(|part| self.hides(part).is_some());
        TableStats {
            rows: self.parts.iter().map(|p| p.entry.rows).sum::<u64>() + head_rows,
            exact: (apart || append) && !hidden,
            hidden,
            times,
            head_rows,
            head_bytes: self.head.memory(),
            part_bytes: self.parts.iter().map(|p| p.entry.bytes).sum(),
            series_bytes: self.series_bytes,
        }
    }
}

/// Whether no two of some times and key groups overlap.
fn are_apart(mut spans: Vec<(TimeRange, u32)>, groups: &Groups) -> bool {
    spans.sort_by_key(|(span, _)| span.min);
    let mut ends: BTreeMap<u32, i64> = BTreeMap::new();
    spans.into_iter().all(|(span, group)| {
        ends.retain(|_, end| *end >= span.min);
        let apart = !ends.keys().any(|other| groups.overlap(*other, group));
        ends.insert(group, span.max);
        apart
    })
}

/// Counts the partitions that time ranges touch.
#[derive(Default)]
struct Partitions {
    ranges: Vec<(i64, i64)>,
}

impl Partitions {
    fn add(&mut self, times: TimeRange, length: i64) {
        if !times.is_empty() {
            self.ranges.push((times.min.div_euclid(length), times.max.div_euclid(length)));
        }
    }

    fn count(&self) -> u64 {
        let mut ranges = self.ranges.clone();
        ranges.sort_unstable();
        let mut count = 0u64;
        let mut end: Option<i64> = None;
        for (first, last) in ranges {
            let from = end.map_or(first, |end| first.max(end.saturating_add(1)));
            if from <= last {
                count += last.abs_diff(from) + 1;
                end = Some(last);
            }
        }
        count
    }
}

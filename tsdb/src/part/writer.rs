//! Writing a part.

use std::sync::Arc;

use super::block::{encode_column, encode_keys};
use super::format::{Footer, Header, PageEntry, Trailer};
use super::group::{Group, Pending};
use super::index::{BlockEntry, GroupEntry, PageDraft};
use super::zones::{cut, text_range, zone_stats};
use super::{
    ColumnRange, GROUP_BYTES_MAX, GROUP_ROWS_MAX, OWN_SERIES_ROWS_MIN, PartColumn, PartMeta,
    PartSpec,
};
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::types::{CellState, PhysicalType, Rows, TimeRange};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes one part, row group by row group, in memory bounded by a few row groups and one index
/// page. Dropped without [`PartWriter::finish`] it leaves a file that does not open.
#[derive(Debug)]
pub struct PartWriter {
    path: String,
    file: Arc<dyn File>,
    header: Header,
    pending: Pending,
    /// Rows of the last series over all calls.
    series_rows: u64,
    page: PageDraft,
    footer: Footer,
    buffer: Vec<u8>,
    /// Bytes in the file already.
    written: u64,
    last_series: Option<u32>,
    /// A write failed: what is in the file is unknown.
    failed: bool,
}

impl PartWriter {
    /// Creates the file and writes the header.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a column comes twice or the positions are empty; errors of the
    /// storage, also when the file exists.
    pub fn create(storage: &dyn Storage, path: &str, spec: PartSpec) -> Result<PartWriter> {
        let pending = Pending::new(&spec)?;
        if spec.positions.is_empty() {
            return Err(Error::Invalid("a part without positions".into()));
        }
        let file =
            storage.create(path).map_err(|e| Error::io(format_args!("creating {path}"), &e))?;
        let header = Header::of(&spec);
        let columns = pending.columns.iter().map(|(id, physical)| PartColumn {
            id: *id,
            physical: *physical,
            good: 0,
            not_good: 0,
            nulls: 0,
            bytes: 0,
            range: ColumnRange::Empty,
        });
        let footer = Footer {
            rows: 0,
            series_count: 0,
            series_min: 0,
            series_max: 0,
            times: TimeRange::EMPTY,
            key_bytes: 0,
            columns: columns.collect(),
            pages: Vec::new(),
        };
        Ok(PartWriter {
            path: path.to_owned(),
            file,
            buffer: header.encode().to_vec(),
            header,
            page: PageDraft::new(pending.columns.len()),
            pending,
            series_rows: 0,
            footer,
            written: 0,
            last_series: None,
            failed: false,
        })
    }

    /// Adds rows that follow those added before. A series may go on over calls; columns missing
    /// in `rows` are absent; integers widen into float columns.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TypeMismatch`] if the rows do not fit, with nothing
    /// changed; errors of the storage, after which the part cannot be finished.
    pub fn append(&mut self, rows: &Rows) -> Result<()> {
        let sources = self.pending.check(rows)?;
        for run in &rows.series {
            let (mut start, end) = (run.start as usize, (run.start + run.rows) as usize);
            while start < end {
                if self.pending.last_series() != Some(run.series) {
                    self.begin_series(run.series)?;
                }
                let piece = Pending::piece(rows, start, end, GROUP_BYTES_MAX);
                self.pending.push(run.series, rows, &sources, start, &piece);
                start += piece.len();
                self.series_rows += piece.len() as u64;
                self.emit_full()?;
            }
        }
        Ok(())
    }

    /// Closes the series before; its rows leave if it has groups of its own.
    fn begin_series(&mut self, series: u32) -> Result<()> {
        // The pending rows may have left while their series goes on.
        if self.last_series == Some(series) {
            return Ok(());
        }
        self.emit_own_rest()?;
        self.series_rows = 0;
        if self.last_series.is_none() {
            self.footer.series_min = series;
        }
        self.footer.series_max = series;
        self.footer.series_count += 1;
        self.last_series = Some(series);
        Ok(())
    }

    fn is_own(&self) -> bool {
        self.series_rows >= OWN_SERIES_ROWS_MIN as u64
    }

    /// Emits groups as long as there is too much. A busy series is let run to two groups' worth,
    /// so that its last groups can be of even size.
    fn emit_full(&mut self) -> Result<()> {
        if self.is_own() {
            if self.pending.last_start() > 0 {
                self.emit(self.pending.last_start())?;
            }
            while self.pending.rows() >= 2 * GROUP_ROWS_MAX
                || self.pending.bytes() >= 2 * GROUP_BYTES_MAX
            {
                self.emit(self.pending.rows_within(GROUP_ROWS_MAX, GROUP_BYTES_MAX))?;
            }
            return Ok(());
        }
        while self.pending.rows() > GROUP_ROWS_MAX || self.pending.bytes() > GROUP_BYTES_MAX {
            let fit = self.pending.rows_within(GROUP_ROWS_MAX, GROUP_BYTES_MAX);
            let rows = match self.pending.last_start() {
                0 => fit,
                start => fit.min(start),
            };
            self.emit(rows)?;
        }
        Ok(())
    }

    /// Emits what is left of a series with groups of its own, in even pieces.
    fn emit_own_rest(&mut self) -> Result<()> {
        if !self.is_own() {
            return Ok(());
        }
        while self.pending.rows() > 0 {
            let pieces = self
                .pending
                .rows()
                .div_ceil(GROUP_ROWS_MAX)
                .max(self.pending.bytes().div_ceil(GROUP_BYTES_MAX));
            let even = self.pending.rows().div_ceil(pieces.max(1));
            self.emit(self.pending.rows_within(even, GROUP_BYTES_MAX))?;
        }
        Ok(())
    }

    fn emit(&mut self, rows: usize) -> Result<()> {
        let group = self.pending.take(rows);
        let start = self.position();
        let entry = self.encode_keys(&group, start);
        let zones = cut(&group.series, &group.times);
        let entry = GroupEntry {
            zone_start: self.page.zones.len() as u32,
            zones: zones.len() as u32,
            ..entry
        };
        for index in 0..self.pending.columns.len() {
            let block = self.encode_column(&group, index, start)?;
            let draft = &mut self.page.columns[index];
            draft.blocks.push(block);
            if block.len == 0 {
                continue;
            }
            let totals = &mut self.footer.columns[index];
            totals.bytes += u64::from(block.len);
            for zone in &zones {
                let (from, to) = (zone.start as usize, (zone.start + zone.rows) as usize);
                let (values, states) = group.cells(index, from, to);
                let stats = zone_stats(values, states);
                totals.good += u64::from(stats.good);
                totals.not_good += u64::from(stats.not_good);
                totals.nulls += u64::from(stats.nulls);
                totals.range.cover(&stats.range());
                draft.stats.zones.push(stats);
            }
            if totals.physical == PhysicalType::Bytes {
                let (values, states) = group.cells(index, 0, group.rows());
                let range = text_range(values, states);
                if let Some(range) = &range {
                    totals.range.cover(&ColumnRange::Bytes(range.clone()));
                }
                draft.stats.texts.push(range);
            }
        }
        self.footer.rows += group.rows() as u64;
        self.footer.times = self.footer.times.cover(&entry.times);
        self.footer.key_bytes += u64::from(entry.keys_len);
        self.page.zones.extend_from_slice(&zones);
        self.page.groups.push(entry);
        if self.page.is_full() {
            self.emit_page()?;
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok(())
    }

    fn encode_keys(&mut self, group: &Group, start: u64) -> GroupEntry {
        let series: Vec<_> = group.series.iter().map(|run| (run.series, run.rows)).collect();
        let times = group
            .times
            .iter()
            .fold(TimeRange::EMPTY, |r, t| TimeRange::new(r.min.min(*t), r.max.max(*t)));
        let from = self.buffer.len();
        encode_keys(&series, &group.times, self.header.level, &mut self.buffer);
        let block = &self.buffer[from..];
        GroupEntry {
            series_first: group.series.first().map_or(0, |run| run.series),
            series_last: group.series.last().map_or(0, |run| run.series),
            times,
            rows: group.rows() as u32,
            offset: start,
            keys_len: block.len() as u32,
            keys_crc: crc32fast::hash(block),
            zone_start: 0,
            zones: 0,
        }
    }

    /// Encodes a column's block; none where every cell is absent.
    fn encode_column(&mut self, group: &Group, index: usize, start: u64) -> Result<BlockEntry> {
        let (values, states) = group.cells(index, 0, group.rows());
        if states.is_some_and(|s| s.iter().all(|b| CellState(*b).is_absent())) {
            return Ok(BlockEntry::default());
        }
        let offset = self.position() - start;
        let from = self.buffer.len();
        encode_column(values, states, self.header.level, &mut self.buffer);
        let block = &self.buffer[from..];
        match (u32::try_from(offset), u32::try_from(block.len())) {
            (Ok(offset), Ok(len)) => Ok(BlockEntry { offset, len, crc: crc32fast::hash(block) }),
            _ => Err(Error::Invalid("a row group over 4 GiB".into())),
        }
    }

    fn emit_page(&mut self) -> Result<()> {
        let columns = self.pending.columns.len();
        let page = std::mem::replace(&mut self.page, PageDraft::new(columns));
        let (Some(first), Some(last)) = (page.groups.first(), page.groups.last()) else {
            return Ok(());
        };
        let kinds: Vec<_> = self.pending.columns.iter().map(|(_, kind)| *kind).collect();
        let (bytes, lead) = page.encode(&kinds, self.header.level);
        let len = u32::try_from(bytes.len())
            .map_err(|_| Error::Invalid("an index page over 4 GiB".into()))?;
        self.footer.pages.push(PageEntry {
            offset: self.position(),
            len,
            lead_len: lead as u32,
            lead_crc: crc32fast::hash(&bytes[..lead]),
            groups: page.groups.len() as u32,
            series_first: first.series_first,
            series_last: last.series_last,
            times: page.groups.iter().fold(TimeRange::EMPTY, |r, g| r.cover(&g.times)),
        });
        self.buffer.extend_from_slice(&bytes);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn write_buffer(&mut self) -> Result<()> {
        if self.failed {
            return Err(Error::Io(format!("{}: a write failed before", self.path)));
        }
        if let Err(error) = self.file.write_at(self.written, &self.buffer) {
            self.failed = true;
            return Err(Error::io(format_args!("writing {}", self.path), &error));
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left, index and footer, and makes the bytes durable. Making the name
    /// durable is the caller's.
    ///
    /// # Errors
    /// Errors of the storage; the file then does not open or is complete.
    pub fn finish(mut self) -> Result<PartMeta> {
        self.emit_own_rest()?;
        if self.pending.rows() > 0 {
            self.emit(self.pending.rows())?;
        }
        self.emit_page()?;
        let footer = self.footer.encode(&self.header);
        let trailer = Trailer {
            footer_offset: self.position(),
            footer_len: u32::try_from(footer.len())
                .map_err(|_| Error::Invalid("a footer over 4 GiB".into()))?,
            footer_crc: crc32fast::hash(&footer),
        };
        self.buffer.extend_from_slice(&footer);
        self.buffer.extend_from_slice(&trailer.encode());
        self.write_buffer()?;
        self.file.sync_data().map_err(|e| Error::io(format_args!("syncing {}", self.path), &e))?;
        Ok(self.footer.meta(&self.header, self.written))
    }
}

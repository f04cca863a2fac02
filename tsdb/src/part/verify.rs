//! Checking a whole part: every block, every statistic against its data, the order of rows, and
//! that no byte lies outside of what is checked.

use super::format::{Footer, HEADER_BYTES, TRAILER_BYTES};
use super::index::{BlockEntry, ColumnStats, Lead};
use super::reader::{GroupKeys, GroupRef, Part};
use super::zones::{cut, text_range, zone_stats};
use super::{ColumnRange, PartColumn};
use crate::codec::ValuesRef;
use crate::error::{Error, Result};
use crate::types::{PhysicalType, TimeRange};

/// What has been seen so far, to be held against the footer.
struct Seen {
    /// End of the bytes that are accounted for.
    end: u64,
    last: Option<(u32, i64)>,
    totals: Footer,
}

/// A page with everything decoded.
struct Page {
    lead: std::sync::Arc<Lead>,
    blocks: Vec<std::sync::Arc<Vec<BlockEntry>>>,
    stats: Vec<std::sync::Arc<ColumnStats>>,
}

impl Part {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the first thing found wrong, else errors of the storage.
    pub fn verify(&self) -> Result<()> {
        let columns = self.footer.columns.iter().map(|c| PartColumn {
            good: 0,
            not_good: 0,
            nulls: 0,
            bytes: 0,
            range: ColumnRange::Empty,
            ..c.clone()
        });
        let mut seen = Seen {
            end: HEADER_BYTES as u64,
            last: None,
            totals: Footer {
                rows: 0,
                series_count: 0,
                series_min: 0,
                series_max: 0,
                times: TimeRange::EMPTY,
                key_bytes: 0,
                columns: columns.collect(),
                pages: self.footer.pages.clone(),
            },
        };
        let groups = self.groups_for(0..=u32::MAX, TimeRange::ALL)?;
        if groups.len() != self.group_count() as usize {
            return Err(self.wrong(0, "groups that no range finds"));
        }
        let mut groups = groups.iter();
        for number in 0..self.footer.pages.len() {
            self.verify_page(number, &mut groups, &mut seen)?;
        }
        // Floats compare by what they print: NaN and the sign of zero count.
        if format!("{:?}", seen.totals) != format!("{:?}", self.footer) {
            return Err(self.wrong(seen.end, "totals in the footer differ from the rows"));
        }
        let footer_len = self.footer.encode(&self.header()).len() + TRAILER_BYTES;
        if seen.end + footer_len as u64 != self.meta().bytes {
            return Err(self.wrong(seen.end, "bytes that belong to nothing"));
        }
        Ok(())
    }

    fn wrong(&self, offset: u64, why: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.path, offset, why)
    }

    fn header(&self) -> super::format::Header {
        let meta = self.meta();
        super::format::Header {
            id: meta.id,
            table: meta.table,
            level: meta.level,
            positions: (*meta.positions.start(), *meta.positions.end()),
            partition: meta.partition,
        }
    }

    fn verify_page<'a>(
        &self,
        number: usize,
        groups: &mut impl Iterator<Item = &'a GroupRef>,
        seen: &mut Seen,
    ) -> Result<()> {
        let entry = self.page(number)?.clone();
        let lead = self.lead(number)?;
        let mut page = Page { lead, blocks: Vec::new(), stats: Vec::new() };
        let mut sections = u64::from(entry.lead_len);
        for index in 0..self.footer.columns.len() {
            let blocks = self.blocks(number, &page.lead, index)?;
            let stats = match page.lead.sections[index][1].len {
                0 => Default::default(),
                _ => self.stats(number, &page.lead, index, &blocks)?,
            };
            page.blocks.push(blocks);
            page.stats.push(stats);
            sections += page.lead.sections[index].iter().map(|s| u64::from(s.len)).sum::<u64>();
        }
        if sections != u64::from(entry.len) {
            return Err(self.wrong(entry.offset, "sections that do not fill their page"));
        }
        let mut times = TimeRange::EMPTY;
        for at_page in 0..page.lead.groups.len() {
            let Some(group) = groups.next() else {
                return Err(self.wrong(entry.offset, "too many groups"));
            };
            times = times.cover(&group.times);
            self.verify_group(group, &page, at_page, seen)?;
        }
        let series = (
            page.lead.groups.first().map(|g| g.series_first),
            page.lead.groups.last().map(|g| g.series_last),
        );
        if times != entry.times || series != (Some(entry.series_first), Some(entry.series_last)) {
            return Err(self.wrong(entry.offset, "a page of other series or times"));
        }
        if seen.end != entry.offset {
            return Err(self.wrong(seen.end, "bytes between blocks and index"));
        }
        seen.end += u64::from(entry.len);
        Ok(())
    }

    fn verify_group(
        &self,
        group: &GroupRef,
        page: &Page,
        at_page: usize,
        seen: &mut Seen,
    ) -> Result<()> {
        let entry = self.entry(&page.lead, at_page)?;
        if entry.offset != seen.end {
            return Err(self.wrong(entry.offset, "bytes before a group"));
        }
        let keys = self.read_keys(group)?;
        self.verify_keys(group, &keys, entry.offset, seen)?;
        if cut(&keys.series, &keys.times) != self.zones(group)? {
            return Err(self.wrong(entry.offset, "zones differ from the rows"));
        }
        seen.end += u64::from(entry.keys_len);
        seen.totals.key_bytes += u64::from(entry.keys_len);
        for index in 0..self.footer.columns.len() {
            let block = page.blocks[index].get(at_page).copied().unwrap_or_default();
            if block.len == 0 {
                continue;
            }
            if entry.offset + u64::from(block.offset) != seen.end {
                return Err(self.wrong(seen.end, "bytes between blocks"));
            }
            seen.end += u64::from(block.len);
            self.verify_column(group, index, entry.offset, seen)?;
            seen.totals.columns[index].bytes += u64::from(block.len);
        }
        Ok(())
    }

    fn verify_keys(
        &self,
        group: &GroupRef,
        keys: &GroupKeys,
        offset: u64,
        seen: &mut Seen,
    ) -> Result<()> {
        let mut times = TimeRange::EMPTY;
        for run in &keys.series {
            let run_times = &keys.times[run.start as usize..(run.start + run.rows) as usize];
            let (Some(first), Some(last)) = (run_times.first(), run_times.last()) else {
                return Err(self.wrong(offset, "a series without rows"));
            };
            times = times.cover(&TimeRange::new(*first, *last));
            let totals = &mut seen.totals;
            match seen.last {
                Some((series, time)) if series == run.series && time <= *first => {}
                Some((series, _)) if series >= run.series => {
                    return Err(self.wrong(offset, "rows out of order"));
                }
                before => {
                    totals.series_count += 1;
                    if before.is_none() {
                        totals.series_min = run.series;
                    }
                }
            }
            totals.series_max = run.series;
            seen.last = Some((run.series, *last));
        }
        if times != group.times {
            return Err(self.wrong(offset, "times differ from the directory"));
        }
        seen.totals.rows += keys.times.len() as u64;
        seen.totals.times = seen.totals.times.cover(&times);
        Ok(())
    }

    fn verify_column(
        &self,
        group: &GroupRef,
        index: usize,
        offset: u64,
        seen: &mut Seen,
    ) -> Result<()> {
        let PartColumn { id, physical, .. } = self.footer.columns[index];
        let wrong = |why: &str| self.wrong(offset, format_args!("column {id}: {why}"));
        let column = self.read_column(group, id, physical)?;
        let stats = self.zone_stats(group, id)?;
        let (Some(column), Some(stats)) = (column, stats) else {
            return Err(wrong("a block without cells or statistics"));
        };
        let totals = &mut seen.totals.columns[index];
        for (zone, stats) in self.zones(group)?.iter().zip(&stats) {
            let (from, to) = (zone.start as usize, (zone.start + zone.rows) as usize);
            let states = column.states.as_ref().map(|s| &s[from..to]);
            let actual = zone_stats(ValuesRef::slice(&column.values, from, to), states);
            if !actual.same(stats) {
                return Err(wrong("statistics differ from the values"));
            }
            totals.good += u64::from(stats.good);
            totals.not_good += u64::from(stats.not_good);
            totals.nulls += u64::from(stats.nulls);
            totals.range.cover(&stats.range());
        }
        if physical == PhysicalType::Bytes {
            let range = text_range(ValuesRef::all(&column.values), column.states.as_deref());
            if range != self.text_range(group, id)? {
                return Err(wrong("the range of texts differs"));
            }
            totals.range.cover(&range.map_or(ColumnRange::Empty, ColumnRange::Bytes));
        }
        Ok(())
    }
}

impl Part {
    /// Reads and decodes every block, past those that are bad: they are noted in
    /// [`Part::damage`]. What is decoded already is not read again, so this is for a part that was
    /// just opened. `read` is told the bytes of each block before it is read, and ends it by saying
    /// false; whether all was read is the answer.
    ///
    /// # Errors
    /// Where a store cannot be reached, or others that are no fault of the part.
    pub fn check_blocks(&self, read: &mut dyn FnMut(u64) -> bool) -> Result<bool> {
        for number in 0..self.footer.pages.len() {
            if !self.check_page(number, read)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_page(&self, number: usize, read: &mut dyn FnMut(u64) -> bool) -> Result<bool> {
        if !read(u64::from(self.page(number)?.len)) {
            return Ok(false);
        }
        let Some(lead) = passed(self.lead(number))? else { return Ok(true) };
        let mut columns = Vec::with_capacity(self.footer.columns.len());
        for (index, column) in self.footer.columns.iter().enumerate() {
            let Some(blocks) = passed(self.blocks(number, &lead, index))? else { continue };
            if blocks.iter().any(|block| block.len > 0) {
                passed(self.stats(number, &lead, index, &blocks))?;
            }
            columns.push((column, blocks));
        }
        for (at_page, entry) in lead.groups.iter().enumerate() {
            let group = self.group_at(number, at_page, entry);
            if !read(u64::from(entry.keys_len)) {
                return Ok(false);
            }
            passed(self.read_keys(&group))?;
            for (column, blocks) in &columns {
                let Some(block) = blocks.get(at_page).filter(|b| b.len > 0) else { continue };
                if !read(u64::from(block.len)) {
                    return Ok(false);
                }
                passed(self.read_column(&group, column.id, column.physical))?;
            }
        }
        Ok(true)
    }
}

/// What was read, or nothing where the block is bad, which was noted.
fn passed<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Error::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Reading a part: opening it, its index. Its rows are read in `rows`.

mod bad;
mod rows;

use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::blocks::Blocks;
use super::cache::{Cache, CacheBudget, Decoded, SectionKey};
use super::damage::Damage;
use super::format::{Footer, HEADER_BYTES, Header, PageEntry, TRAILER_BYTES, Trailer, VERSION};
use super::index::{
    BlockEntry, ColumnStats, GroupEntry, Lead, Section, decode_blocks, decode_column_stats,
    decode_lead,
};
use super::zones::{ZoneRows, ZoneStats};
use super::{PartMeta, TextRange};
use crate::checksum;
use crate::error::{Error, Result};
use crate::io::{File, Storage};
use crate::types::{ColumnId, PhysicalType, SeriesRows, TimeRange};

/// An open part. Header, footer and the table of index pages are resident; the pages themselves
/// are read when asked for and cached until [`Part::trim`].
#[derive(Debug)]
pub struct Part {
    pub(super) path: String,
    file: Arc<dyn File>,
    pub(super) footer: Footer,
    meta: PartMeta,
    /// Number of the first group of each page, and the number of all groups.
    page_starts: Vec<u32>,
    cache: Arc<Cache>,
    /// Tells open parts apart.
    number: u64,
    /// Where decoded columns are kept, if they are.
    blocks: OnceLock<Arc<Blocks>>,
    /// What could not be read.
    damage: Damage,
    /// Why nothing of the file can be read, if it could not even be opened.
    unopened: Option<String>,
}

/// Numbers of open parts.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(blocks) = self.blocks.get() {
            blocks.forget(self.number);
        }
    }
}

/// A row group, as found in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRef {
    /// Number of the group in the part.
    pub index: u32,
    /// First series.
    pub series_first: u32,
    /// Last series.
    pub series_last: u32,
    /// Least and greatest time of its rows.
    pub times: TimeRange,
    /// Rows.
    pub rows: u32,
    /// Zones.
    pub zones: u32,
    /// Whether all rows are of one series.
    pub own_series: bool,
}

/// Statistics of a column that has a block in a group.
struct FoundStats {
    /// Those of the whole page.
    stats: Arc<ColumnStats>,
    /// The group's among them.
    zones: std::ops::Range<usize>,
    /// The group's place among those with a block.
    nth: usize,
}

/// Zones and statistics of one index page, held together so that a walk over its groups asks for
/// them once.
#[derive(Debug)]
pub struct PageStats {
    lead: Arc<Lead>,
    /// Of each column asked for; `None` where the part does not have it.
    columns: Vec<Option<PageColumn>>,
}

#[derive(Debug)]
struct PageColumn {
    blocks: Arc<Vec<BlockEntry>>,
    stats: Arc<ColumnStats>,
}

impl PageStats {
    /// Zones of a group, by its place in the page.
    pub fn zones(&self, at_page: usize) -> &[ZoneRows] {
        let range = |g: &GroupEntry| g.zone_start as usize..(g.zone_start + g.zones) as usize;
        let found = self.lead.groups.get(at_page).and_then(|g| self.lead.zones.get(range(g)));
        found.unwrap_or_default()
    }

    /// Statistics of the zones of a group in the `nth` of the columns asked for; `None` if every
    /// cell is absent.
    pub fn stats(&self, at_page: usize, nth: usize) -> Option<&[ZoneStats]> {
        let column = self.columns.get(nth)?.as_ref()?;
        column.blocks.get(at_page).filter(|block| block.len > 0)?;
        let start = column.stats.starts.get(at_page)?.0 as usize;
        column.stats.zones.get(start..start + self.lead.groups.get(at_page)?.zones as usize)
    }
}

/// Series and times of a row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKeys {
    /// Series in ascending order with their rows.
    pub series: Vec<SeriesRows>,
    /// Times of the rows, ns.
    pub times: Vec<i64>,
}

impl Part {
    /// Opens a part and checks header, trailer and footer.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is not a finished part, else errors of the storage.
    pub fn open(storage: &dyn Storage, path: &str) -> Result<Part> {
        let file = storage.open(path).map_err(|e| Error::io(format_args!("opening {path}"), &e))?;
        Part::open_file(file, path)
    }

    /// Opens a part out of an open file; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Part::open`].
    pub fn open_file(file: Arc<dyn File>, path: &str) -> Result<Part> {
        let io = |e: std::io::Error| Error::io(format_args!("reading {path}"), &e);
        let len = file.len().map_err(io)?;
        let ends = (HEADER_BYTES + TRAILER_BYTES) as u64;
        if len < ends {
            return Err(Error::corrupt(path, 0, format_args!("{len} bytes are no part")));
        }
        let mut header = [0; HEADER_BYTES];
        file.read_at(0, &mut header).map_err(io)?;
        if let Some(version) = Header::newer(&header) {
            return Err(Error::newer(path, "part", u32::from(version), u32::from(VERSION)));
        }
        let header = Header::decode(&header).map_err(|e| at(path, 0, e))?;
        let trailer_offset = len - TRAILER_BYTES as u64;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_at(trailer_offset, &mut trailer).map_err(io)?;
        let trailer = Trailer::decode(&trailer).map_err(|e| at(path, trailer_offset, e))?;
        let footer_end = trailer.footer_offset.checked_add(u64::from(trailer.footer_len));
        if footer_end != Some(trailer_offset) || trailer.footer_offset < HEADER_BYTES as u64 {
            return Err(Error::corrupt(path, trailer_offset, "the footer is elsewhere"));
        }
        let mut bytes = vec![0; trailer.footer_len as usize];
        file.read_at(trailer.footer_offset, &mut bytes).map_err(io)?;
        if !checksum::fits(crc32fast::hash(&bytes), trailer.footer_crc) {
            return Err(Error::corrupt(path, trailer.footer_offset, "the footer's crc differs"));
        }
        let footer =
            Footer::decode(&bytes, &header).map_err(|e| at(path, trailer.footer_offset, e))?;
        let mut page_starts = vec![0u32];
        let mut end = 0u32;
        for page in &footer.pages {
            end = end.saturating_add(page.groups);
            let page_end = page.offset.checked_add(u64::from(page.len));
            if page.lead_len > page.len || page_end.is_none_or(|e| e > trailer.footer_offset) {
                return Err(Error::corrupt(path, trailer.footer_offset, "a page out of bounds"));
            }
            page_starts.push(end);
        }
        let meta = footer.meta(&header, len);
        Ok(Part {
            path: path.to_owned(),
            file,
            footer,
            meta,
            page_starts,
            cache: Arc::default(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            blocks: OnceLock::new(),
            damage: Damage::default(),
            unopened: None,
        })
    }

    /// Reads every byte that is index, not rows, and does not look at it.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn read_index(&self) -> Result<()> {
        for page in &self.footer.pages {
            let mut bytes = vec![0; page.len as usize];
            self.file
                .read_at(page.offset, &mut bytes)
                .map_err(|e| Error::io(format_args!("reading {}", self.path), &e))?;
        }
        Ok(())
    }

    /// What the part is.
    pub fn meta(&self) -> &PartMeta {
        &self.meta
    }

    /// Fields and what the part holds of each.
    #[cfg(any(test, fuzzing))]
    pub fn column_types(&self) -> Vec<(ColumnId, PhysicalType)> {
        self.footer.columns.iter().map(|column| (column.id, column.physical)).collect()
    }

    /// Path that it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Row groups.
    pub fn group_count(&self) -> u32 {
        self.meta.groups
    }

    /// Bytes of decoded index held.
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Keeps decoded columns in a cache that parts share, from now on.
    pub fn keep_in(&self, blocks: &Arc<Blocks>) {
        if !blocks.is_off() {
            // A second call would be by the same database.
            let _ = self.blocks.set(Arc::clone(blocks));
        }
    }

    /// Counts the decoded index against a budget that parts share, from now on.
    pub fn charge_to(&self, budget: &Arc<CacheBudget>) {
        budget.join(&self.cache);
    }

    /// Drops the decoded index that was not used for longest until at most `bytes_max` are held.
    pub fn trim(&self, bytes_max: usize) {
        self.cache.trim(bytes_max);
    }

    /// Bytes of the blocks of each column, and last of the key blocks as `None`.
    pub fn column_bytes(&self) -> Vec<(Option<ColumnId>, u64)> {
        let columns = self.footer.columns.iter().map(|c| (Some(c.id), c.bytes));
        columns.chain([(None, self.footer.key_bytes)]).collect()
    }

    /// Groups that may hold rows of these series and times, in order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if an index page is damaged, else errors of the storage.
    pub fn groups_for(
        &self,
        series: RangeInclusive<u32>,
        times: TimeRange,
    ) -> Result<Vec<GroupRef>> {
        self.groups_beside(series, times, |_, _, _| false)
    }

    /// As [`Part::groups_for`] without groups of which `hidden` says that all rows of their series
    /// and times are hidden. It is asked for each index page first (a group is then not named),
    /// which is not read if all of it is hidden.
    ///
    /// # Errors
    /// As [`Part::groups_for`].
    pub fn groups_beside(
        &self,
        series: RangeInclusive<u32>,
        times: TimeRange,
        mut hidden: impl FnMut(RangeInclusive<u32>, TimeRange, Option<u32>) -> bool,
    ) -> Result<Vec<GroupRef>> {
        if let Some(cause) = &self.unopened {
            return self.guard(Err(Error::Corrupt(cause.clone())), |cause| self.whole(&cause));
        }
        let mut found = Vec::new();
        let meets = |first: u32, last: u32, range: &TimeRange| {
            first <= *series.end() && *series.start() <= last && range.overlaps(&times)
        };
        for (number, page) in self.footer.pages.iter().enumerate() {
            let (first, last) = (page.series_first, page.series_last);
            if !meets(first, last, &page.times) || hidden(first..=last, page.times, None) {
                continue;
            }
            let lead = self.lead(number)?;
            for (index, group) in lead.groups.iter().enumerate() {
                let index = self.page_starts[number] + index as u32;
                let (first, last) = (group.series_first, group.series_last);
                if meets(first, last, &group.times)
                    && !hidden(first..=last, group.times, Some(index))
                {
                    found.push(group_ref(index, group));
                }
            }
        }
        Ok(found)
    }

    /// Zones of a group, shared by all columns.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the index is damaged, else errors of the storage.
    pub fn zones(&self, group: &GroupRef) -> Result<Vec<ZoneRows>> {
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        Ok(lead.zones[entry.zone_start as usize..(entry.zone_start + entry.zones) as usize]
            .to_vec())
    }

    /// Rows of a group from the first to the last zone that may have rows in `times`; all rows
    /// where zones are not in the order of times.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the index is damaged, else errors of the storage.
    pub(crate) fn rows_in(&self, group: &GroupRef, times: &TimeRange) -> Result<Range<u32>> {
        if !group.own_series || times.encloses(&group.times) {
            return Ok(0..group.rows);
        }
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        let zones = entry.zone_start as usize..(entry.zone_start + entry.zones) as usize;
        let mut meet = lead.zones[zones].iter().filter(|zone| zone.times.overlaps(times));
        let Some(first) = meet.next() else { return Ok(0..0) };
        let last = meet.next_back().unwrap_or(first);
        Ok(first.start..last.start + last.rows)
    }

    /// Statistics of a column, one for each zone of the group; `None` if the part does not have
    /// the column or every cell is absent. They are of the type that the part holds.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the index is damaged, else errors of the storage.
    pub fn zone_stats(&self, group: &GroupRef, column: ColumnId) -> Result<Option<Vec<ZoneStats>>> {
        let Some(found) = self.find_stats(group, column)? else {
            return Ok(None);
        };
        match found.stats.zones.get(found.zones) {
            Some(zones) => Ok(Some(zones.to_vec())),
            None => Err(Error::corrupt(&self.path, 0, "statistics of too few zones")),
        }
    }

    /// Zones and statistics of some columns over a page, by the number that [`Part::locate`] gives.
    ///
    /// # Errors
    /// As [`Part::zone_stats`].
    pub(crate) fn page_stats(
        &self,
        number: usize,
        columns: &[(ColumnId, PhysicalType)],
    ) -> Result<PageStats> {
        let lead = self.lead(number)?;
        let mut found = Vec::with_capacity(columns.len());
        for (id, _) in columns {
            found.push(match self.column_index(*id) {
                None => None,
                Some(index) => {
                    let blocks = self.blocks(number, &lead, index)?;
                    // A column that is absent in all of a page has no section there.
                    if blocks.iter().all(|block| block.len == 0) {
                        None
                    } else {
                        let stats = self.stats(number, &lead, index, &blocks)?;
                        Some(PageColumn { blocks, stats })
                    }
                }
            });
        }
        Ok(PageStats { lead, columns: found })
    }

    /// Range of a text column's values in a group; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the index is damaged, else errors of the storage.
    pub fn text_range(&self, group: &GroupRef, column: ColumnId) -> Result<Option<TextRange>> {
        let Some(found) = self.find_stats(group, column)? else {
            return Ok(None);
        };
        Ok(found.stats.texts.get(found.nth).cloned().flatten())
    }

    fn find_stats(&self, group: &GroupRef, column: ColumnId) -> Result<Option<FoundStats>> {
        let Some(index) = self.column_index(column) else {
            return Ok(None);
        };
        let (number, at_page) = self.locate(group)?;
        let lead = self.lead(number)?;
        let entry = self.entry(&lead, at_page)?;
        let blocks = self.blocks(number, &lead, index)?;
        if blocks.get(at_page).is_none_or(|b| b.len == 0) {
            return Ok(None);
        }
        let stats = self.stats(number, &lead, index, &blocks)?;
        let (start, nth) = stats.starts.get(at_page).map_or((0, 0), |s| (s.0 as usize, s.1));
        let zones = start..start + entry.zones as usize;
        Ok(Some(FoundStats { stats, zones, nth: nth as usize }))
    }

    pub(super) fn column_index(&self, column: ColumnId) -> Option<usize> {
        self.footer.columns.binary_search_by_key(&column, |c| c.id).ok()
    }

    pub(super) fn group_at(&self, number: usize, at_page: usize, entry: &GroupEntry) -> GroupRef {
        let first = self.page_starts.get(number).copied().unwrap_or(0);
        group_ref(first + at_page as u32, entry)
    }

    /// Page of a group and its place there.
    pub(crate) fn locate(&self, group: &GroupRef) -> Result<(usize, usize)> {
        let page = self.page_starts.partition_point(|start| *start <= group.index);
        if group.index >= self.meta.groups || page == 0 {
            return Err(Error::Invalid(format!("{} has no group {}", self.path, group.index)));
        }
        Ok((page - 1, (group.index - self.page_starts[page - 1]) as usize))
    }

    pub(super) fn entry<'a>(&self, lead: &'a Lead, at_page: usize) -> Result<&'a GroupEntry> {
        let entry = lead.groups.get(at_page);
        entry.ok_or_else(|| Error::corrupt(&self.path, 0, "an index page with too few groups"))
    }

    pub(super) fn page(&self, number: usize) -> Result<&PageEntry> {
        let page = self.footer.pages.get(number);
        page.ok_or_else(|| Error::Invalid(format!("{} has no page {number}", self.path)))
    }

    pub(super) fn lead(&self, number: usize) -> Result<Arc<Lead>> {
        if let Some(Decoded::Lead(lead)) = self.cache.get(number as u32, SectionKey::Lead) {
            return Ok(lead);
        }
        let page = self.page(number)?;
        let read = self.read_checked(page.offset, page.lead_len, page.lead_crc);
        let lead = read
            .and_then(|bytes| decode_lead(&bytes, page.groups as usize, self.footer.columns.len()));
        let place = (page.offset, page.lead_len);
        let lead = self.guard(lead, |cause| self.page_block(number, None, place, cause))?;
        let lead = Arc::new(lead);
        self.cache.put(number as u32, SectionKey::Lead, Decoded::Lead(lead.clone()));
        Ok(lead)
    }

    fn section(&self, number: usize, section: Section) -> Result<Vec<u8>> {
        let page = self.page(number)?;
        if u64::from(section.offset) + u64::from(section.len) > u64::from(page.len) {
            return Err(Error::Corrupt("a section out of bounds".into()));
        }
        let offset = page.offset + u64::from(section.offset);
        self.read_checked(offset, section.len, section.crc)
    }

    pub(super) fn blocks(
        &self,
        number: usize,
        lead: &Lead,
        index: usize,
    ) -> Result<Arc<Vec<BlockEntry>>> {
        let key = SectionKey::Blocks(index as u16);
        if let Some(Decoded::Blocks(blocks)) = self.cache.get(number as u32, key) {
            return Ok(blocks);
        }
        let [section, _] = lead.sections[index];
        let blocks = if section.len == 0 {
            vec![BlockEntry::default(); lead.groups.len()]
        } else {
            let read = self.section(number, section);
            let blocks = read.and_then(|bytes| decode_blocks(&bytes, lead.groups.len()));
            self.guard_section(number, index, section, blocks)?
        };
        let blocks = Arc::new(blocks);
        self.cache.put(number as u32, key, Decoded::Blocks(blocks.clone()));
        Ok(blocks)
    }

    fn block(
        &self,
        number: usize,
        lead: &Lead,
        index: usize,
        at_page: usize,
    ) -> Result<BlockEntry> {
        Ok(self.blocks(number, lead, index)?.get(at_page).copied().unwrap_or_default())
    }

    pub(super) fn stats(
        &self,
        number: usize,
        lead: &Lead,
        index: usize,
        blocks: &[BlockEntry],
    ) -> Result<Arc<ColumnStats>> {
        let key = SectionKey::Stats(index as u16);
        if let Some(Decoded::Stats(stats)) = self.cache.get(number as u32, key) {
            return Ok(stats);
        }
        let [_, section] = lead.sections[index];
        let kind = self.footer.columns[index].physical;
        let read = self.section(number, section);
        let stats = read.and_then(|bytes| decode_column_stats(kind, &bytes, lead, blocks));
        let stats = self.guard_section(number, index, section, stats)?;
        let stats = Arc::new(stats);
        self.cache.put(number as u32, key, Decoded::Stats(stats.clone()));
        Ok(stats)
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.meta.bytes) {
            return Err(Error::Corrupt("a block beyond the end".into()));
        }
        let mut bytes = vec![0; len as usize];
        let read = self.file.read_at(offset, &mut bytes);
        read.map_err(|e| Error::io("it cannot be read", &e))?;
        Ok(bytes)
    }

    fn read_checked(&self, offset: u64, len: u32, crc: u32) -> Result<Vec<u8>> {
        let bytes = self.read(offset, u64::from(len))?;
        check(&bytes, crc)?;
        Ok(bytes)
    }
}

pub(super) fn check(bytes: &[u8], crc: u32) -> Result<()> {
    if !checksum::fits(crc32fast::hash(bytes), crc) {
        return Err(Error::Corrupt("the crc differs".into()));
    }
    Ok(())
}

fn group_ref(index: u32, entry: &GroupEntry) -> GroupRef {
    GroupRef {
        index,
        series_first: entry.series_first,
        series_last: entry.series_last,
        times: entry.times,
        rows: entry.rows,
        zones: entry.zones,
        own_series: entry.series_first == entry.series_last,
    }
}

/// Says where a stream was found corrupt.
pub(super) fn at(path: &str, offset: u64, error: Error) -> Error {
    match error {
        Error::Corrupt(why) => Error::corrupt(path, offset, why),
        other => other,
    }
}

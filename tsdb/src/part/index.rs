//! Index pages: what is known of up to 256 row groups (FORMAT.md, "Index pages").
//!
//! A page is a lead (section table, group directory, zones), then for each column a section of
//! block places and one of statistics. The lead's crc is in the footer, those of the sections in
//! the lead.

use super::stats_codec::{decode_stats, decode_text_ranges, encode_stats, encode_text_ranges};
use super::zones::{ZoneRows, ZoneStats};
use super::{GROUP_ROWS_MAX, TextRange};
use crate::codec::bytes::{Reader, put_nested};
use crate::codec::{Level, corrupt, decode_ints, encode_ints};
use crate::error::Result;
use crate::types::{PhysicalType, TimeRange};

/// Most groups of a page.
pub const PAGE_GROUPS_MAX: usize = 256;
/// Zones times columns at which a page ends: bounds the writer's memory for wide tables.
pub const PAGE_STATS_MAX: usize = 64 << 10;

/// A row group in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEntry {
    pub series_first: u32,
    pub series_last: u32,
    pub times: TimeRange,
    pub rows: u32,
    /// Offset in the file of the key block, which the column blocks follow.
    pub offset: u64,
    pub keys_len: u32,
    pub keys_crc: u32,
    /// Zones of the group inside the page's list.
    pub zone_start: u32,
    pub zones: u32,
}

/// Place of a column's block; a group in which the column is absent has length 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockEntry {
    /// Offset from the start of the group.
    pub offset: u32,
    pub len: u32,
    pub crc: u32,
}

/// Statistics of a column in a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStats {
    /// One for each zone of each group that has a block, in order.
    pub zones: Vec<ZoneStats>,
    /// For text, one for each group that has a block.
    pub texts: Vec<Option<TextRange>>,
    /// For each group of the page, where its zones and its text begin; empty while writing.
    pub starts: Vec<(u32, u32)>,
}

/// A column of a page being written.
#[derive(Debug, Default)]
pub struct ColumnDraft {
    pub blocks: Vec<BlockEntry>,
    pub stats: ColumnStats,
}

/// A page being written.
#[derive(Debug, Default)]
pub struct PageDraft {
    pub groups: Vec<GroupEntry>,
    pub zones: Vec<ZoneRows>,
    /// One for each column of the part.
    pub columns: Vec<ColumnDraft>,
}

/// Place of a section inside a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Offset from the start of the page.
    pub offset: u32,
    pub len: u32,
    pub crc: u32,
}

/// The lead of a page, decoded.
#[derive(Debug)]
pub struct Lead {
    pub groups: Vec<GroupEntry>,
    pub zones: Vec<ZoneRows>,
    /// Block places and statistics of each column; length 0 where the page has none.
    pub sections: Vec<[Section; 2]>,
}

impl PageDraft {
    /// An empty page for a number of columns.
    pub fn new(columns: usize) -> PageDraft {
        PageDraft {
            columns: (0..columns).map(|_| ColumnDraft::default()).collect(),
            ..PageDraft::default()
        }
    }

    /// Whether no further group should go in.
    pub fn is_full(&self) -> bool {
        self.groups.len() >= PAGE_GROUPS_MAX
            || self.zones.len() * self.columns.len() >= PAGE_STATS_MAX
    }

    /// Rows of the zones in groups where the column has a block.
    fn zone_rows(&self, column: usize) -> Vec<u32> {
        zone_rows(&self.groups, &self.zones, &self.columns[column].blocks)
    }

    /// Encodes the page; gives the length of its lead too.
    pub fn encode(&self, kinds: &[PhysicalType], level: Level) -> (Vec<u8>, usize) {
        let mut sections = Vec::new();
        let mut table = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let column = &self.columns[index];
            let mut parts = [Vec::new(), Vec::new()];
            if column.blocks.iter().any(|b| b.len > 0) {
                encode_blocks(&column.blocks, level, &mut parts[0]);
                let rows = self.zone_rows(index);
                encode_stats(*kind, &column.stats.zones, &rows, level, &mut parts[1]);
                if *kind == PhysicalType::Bytes {
                    encode_text_ranges(&column.stats.texts, level, &mut parts[1]);
                }
            }
            for part in parts {
                table.extend_from_slice(&(part.len() as u32).to_le_bytes());
                table.extend_from_slice(&crc32fast::hash(&part).to_le_bytes());
                sections.extend_from_slice(&part);
            }
        }
        let mut page = Vec::new();
        page.extend_from_slice(&(self.groups.len() as u32).to_le_bytes());
        page.extend_from_slice(&(self.zones.len() as u32).to_le_bytes());
        page.extend_from_slice(&(kinds.len() as u32).to_le_bytes());
        page.extend_from_slice(&table);
        self.encode_directory(level, &mut page);
        let lead = page.len();
        page.extend_from_slice(&sections);
        (page, lead)
    }

    fn encode_directory(&self, level: Level, out: &mut Vec<u8>) {
        type Field<T> = fn(&T) -> i64;
        let fields: [Field<GroupEntry>; 9] = [
            |g| i64::from(g.series_first),
            |g| i64::from(g.series_last) - i64::from(g.series_first),
            |g| g.times.min,
            |g| g.times.max.wrapping_sub(g.times.min),
            |g| i64::from(g.rows),
            |g| i64::from(g.zones),
            |g| g.offset as i64,
            |g| i64::from(g.keys_len),
            |g| i64::from(g.keys_crc),
        ];
        for field in fields {
            let values: Vec<i64> = self.groups.iter().map(field).collect();
            put_nested(out, |nested| encode_ints(&values, level, nested));
        }
        let gaps = zone_gaps(&self.groups, &self.zones);
        put_nested(out, |nested| encode_ints(&gaps, level, nested));
        let fields: [Field<ZoneRows>; 3] = [
            |z| i64::from(z.rows),
            |z| z.times.max.wrapping_sub(z.times.min),
            |z| i64::from(z.single_series),
        ];
        for field in fields {
            let values: Vec<i64> = self.zones.iter().map(field).collect();
            put_nested(out, |nested| encode_ints(&values, level, nested));
        }
    }
}

/// Start of each zone against the end of the one before, or of its group.
fn zone_gaps(groups: &[GroupEntry], zones: &[ZoneRows]) -> Vec<i64> {
    let mut gaps = Vec::with_capacity(zones.len());
    for group in groups {
        let mut before = group.times.min;
        for zone in &zones[group.zone_start as usize..(group.zone_start + group.zones) as usize] {
            gaps.push(zone.times.min.wrapping_sub(before));
            before = zone.times.max;
        }
    }
    gaps
}

fn zone_rows(groups: &[GroupEntry], zones: &[ZoneRows], blocks: &[BlockEntry]) -> Vec<u32> {
    groups
        .iter()
        .zip(blocks)
        .filter(|(_, block)| block.len > 0)
        .flat_map(|(g, _)| &zones[g.zone_start as usize..(g.zone_start + g.zones) as usize])
        .map(|zone| zone.rows)
        .collect()
}

fn encode_blocks(blocks: &[BlockEntry], level: Level, out: &mut Vec<u8>) {
    type Field = fn(&BlockEntry) -> i64;
    let fields: [Field; 3] = [|b| i64::from(b.offset), |b| i64::from(b.len), |b| i64::from(b.crc)];
    for field in fields {
        let values: Vec<i64> = blocks.iter().map(field).collect();
        put_nested(out, |nested| encode_ints(&values, level, nested));
    }
}

fn number<T: TryFrom<i64>>(value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| corrupt(format_args!("{value} in an index page")))
}

/// Reads the block places of a column.
pub fn decode_blocks(bytes: &[u8], groups: usize) -> Result<Vec<BlockEntry>> {
    let mut reader = Reader::new(bytes);
    let offsets = decode_ints(reader.nested()?, groups)?;
    let lens = decode_ints(reader.nested()?, groups)?;
    let crcs = decode_ints(reader.nested()?, groups)?;
    reader.finish()?;
    let entries = offsets.iter().zip(&lens).zip(&crcs);
    entries
        .map(|((offset, len), crc)| {
            Ok(BlockEntry { offset: number(*offset)?, len: number(*len)?, crc: number(*crc)? })
        })
        .collect()
}

/// Reads the statistics of a column.
pub fn decode_column_stats(
    kind: PhysicalType,
    bytes: &[u8],
    lead: &Lead,
    blocks: &[BlockEntry],
) -> Result<ColumnStats> {
    let mut reader = Reader::new(bytes);
    let rows = zone_rows(&lead.groups, &lead.zones, blocks);
    let zones = decode_stats(kind, &mut reader, &rows)?;
    let texts = match kind {
        PhysicalType::Bytes => {
            let count = blocks.iter().filter(|b| b.len > 0).count();
            decode_text_ranges(&mut reader, count)?
        }
        _ => Vec::new(),
    };
    reader.finish()?;
    let mut next = (0u32, 0u32);
    let starts = lead.groups.iter().zip(blocks).map(|(group, block)| {
        let start = next;
        if block.len > 0 {
            next = (start.0 + group.zones, start.1 + 1);
        }
        start
    });
    Ok(ColumnStats { zones, texts, starts: starts.collect() })
}

/// Reads a page's lead: `groups` and `columns` are known from the footer.
pub fn decode_lead(bytes: &[u8], groups: usize, columns: usize) -> Result<Lead> {
    let mut reader = Reader::new(bytes);
    let zones = {
        let got = reader.u32()? as usize;
        let zones = reader.u32()? as usize;
        let got_columns = reader.u32()? as usize;
        if got != groups || got_columns != columns || zones > groups * GROUP_ROWS_MAX {
            return Err(corrupt("an index page of another shape"));
        }
        zones
    };
    let mut sections = Vec::with_capacity(columns);
    let mut end = bytes.len() as u32;
    for _ in 0..columns {
        let mut pair = [Section::default(); 2];
        for section in &mut pair {
            *section = Section { offset: end, len: reader.u32()?, crc: reader.u32()? };
            end = end.checked_add(section.len).ok_or_else(|| corrupt("sections over 4 GiB"))?;
        }
        sections.push(pair);
    }
    let mut groups = decode_groups(&mut reader, groups)?;
    let zones = decode_zones(&mut reader, &mut groups, zones)?;
    reader.finish()?;
    Ok(Lead { groups, zones, sections })
}

fn decode_groups(reader: &mut Reader<'_>, count: usize) -> Result<Vec<GroupEntry>> {
    let mut fields = Vec::with_capacity(9);
    for _ in 0..9 {
        fields.push(decode_ints(reader.nested()?, count)?.into_iter());
    }
    let mut zone_start = 0u32;
    let mut groups = Vec::with_capacity(count);
    for _ in 0..count {
        // Each field was decoded to `count` values.
        let row: Vec<i64> = fields.iter_mut().filter_map(Iterator::next).collect();
        let at = |field: usize| row[field];
        let series_first: u32 = number(at(0))?;
        let rows: u32 = number(at(4))?;
        let zones: u32 = number(at(5))?;
        if rows == 0 || rows as usize > GROUP_ROWS_MAX || zones == 0 || zones > rows {
            return Err(corrupt(format_args!("a group of {rows} rows and {zones} zones")));
        }
        groups.push(GroupEntry {
            series_first,
            series_last: number(i64::from(series_first).saturating_add(at(1)))?,
            times: TimeRange::new(at(2), at(2).wrapping_add(at(3))),
            rows,
            offset: number(at(6))?,
            keys_len: number(at(7))?,
            keys_crc: number(at(8))?,
            zone_start,
            zones,
        });
        zone_start += zones;
    }
    Ok(groups)
}

fn decode_zones(
    reader: &mut Reader<'_>,
    groups: &mut [GroupEntry],
    count: usize,
) -> Result<Vec<ZoneRows>> {
    let gaps = decode_ints(reader.nested()?, count)?;
    let rows = decode_ints(reader.nested()?, count)?;
    let spans = decode_ints(reader.nested()?, count)?;
    let singles = decode_ints(reader.nested()?, count)?;
    let mut fields = gaps.iter().zip(&rows).zip(&spans).zip(&singles);
    let mut zones = Vec::with_capacity(count);
    for group in groups {
        let (mut start, mut before) = (0u32, group.times.min);
        for (((gap, rows), span), single) in fields.by_ref().take(group.zones as usize) {
            let rows: u32 = number(*rows)?;
            if rows == 0 || rows > group.rows - start {
                return Err(corrupt(format_args!("a zone of {rows} rows")));
            }
            let min = before.wrapping_add(*gap);
            let times = TimeRange::new(min, min.wrapping_add(*span));
            before = times.max;
            zones.push(ZoneRows { start, rows, times, single_series: *single != 0 });
            start += rows;
        }
        if start != group.rows || zones.len() != (group.zone_start + group.zones) as usize {
            return Err(corrupt("zones that do not fill their group"));
        }
    }
    if zones.len() != count {
        return Err(corrupt("zones without a group"));
    }
    Ok(zones)
}

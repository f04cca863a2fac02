//! Header, footer and trailer of a part (FORMAT.md, "Parts").

use super::{ColumnRange, Level, PartColumn, PartMeta, PartSpec, TextRange};
use crate::checksum;
use crate::codec::bytes::{Reader, put_nested, put_varint};
use crate::codec::corrupt;
use crate::error::Result;
use crate::types::{ColumnId, PhysicalType, TableId, TimeRange};

/// First bytes of a part.
const MAGIC: [u8; 8] = *b"MRPART\r\n";
/// Last bytes of a part.
const MAGIC_END: [u8; 8] = *b"MRPTEND\n";
/// Version of the format that is written.
pub const VERSION: u16 = 1;
/// Length of the header, bytes.
pub const HEADER_BYTES: usize = 64;
/// Length of the trailer, bytes.
pub const TRAILER_BYTES: usize = 32;
/// The part holds rows of every shard.
const SHARD_ALL: u16 = u16::MAX;

/// The header: what was known before the first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: u64,
    pub table: TableId,
    pub level: Level,
    pub positions: (u64, u64),
    pub partition: Option<TimeRange>,
}

impl Header {
    pub fn of(spec: &PartSpec) -> Header {
        Header {
            id: spec.id,
            table: spec.table,
            level: spec.level,
            positions: (*spec.positions.start(), *spec.positions.end()),
            partition: spec.partition,
        }
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let partition = self.partition.unwrap_or(TimeRange::EMPTY);
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&self.table.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.positions.0.to_le_bytes());
        out.extend_from_slice(&self.positions.1.to_le_bytes());
        out.extend_from_slice(&partition.min.to_le_bytes());
        out.extend_from_slice(&partition.max.to_le_bytes());
        out.extend_from_slice(&SHARD_ALL.to_le_bytes());
        out.extend_from_slice(&[self.level as u8, 0]);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    /// The version of a sound header whose format is newer than any known here.
    pub fn newer(bytes: &[u8; HEADER_BYTES]) -> Option<u16> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let sound = bytes.starts_with(&MAGIC) && crc32fast::hash(body) == u32::from_le_bytes(*crc);
        let version = Reader::new(bytes.get(MAGIC.len()..)?).u16().ok()?;
        (sound && version > VERSION).then_some(version)
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header> {
        let mut r = Reader::new(bytes);
        if r.array::<8>()? != MAGIC {
            return Err(corrupt("not a part: other first bytes"));
        }
        let (body, crc) = bytes.split_at(HEADER_BYTES - 4);
        if !checksum::fits(crc32fast::hash(body), Reader::new(crc).u32()?) {
            return Err(corrupt("the header's crc differs"));
        }
        let (version, flags) = (r.u16()?, r.u16()?);
        if version != VERSION || flags != 0 {
            return Err(corrupt(format_args!("format version {version}, flags {flags:#x}")));
        }
        let (table, id, positions) = (r.u32()?, r.u64()?, (r.u64()?, r.u64()?));
        let partition = TimeRange::new(r.i64()?, r.i64()?);
        let shard = r.u16()?;
        let level = Level::from_number(r.u8()?).ok_or_else(|| corrupt("an unknown level"))?;
        if shard != SHARD_ALL || r.u8()? != 0 {
            return Err(corrupt("a header with unknown fields"));
        }
        let partition = (partition != TimeRange::EMPTY).then_some(partition);
        Ok(Header { id, table, level, positions, partition })
    }
}

/// Where an index page is and what it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEntry {
    pub offset: u64,
    pub len: u32,
    pub lead_len: u32,
    pub lead_crc: u32,
    pub groups: u32,
    pub series_first: u32,
    pub series_last: u32,
    pub times: TimeRange,
}

/// The footer: totals, columns and the table of index pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Footer {
    pub rows: u64,
    pub series_count: u32,
    pub series_min: u32,
    pub series_max: u32,
    pub times: TimeRange,
    pub key_bytes: u64,
    pub columns: Vec<PartColumn>,
    pub pages: Vec<PageEntry>,
}

impl Footer {
    /// Encodes the footer of the part with `header`, whose identity it repeats.
    pub fn encode(&self, header: &Header) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&header.table.to_le_bytes());
        out.extend_from_slice(&header.id.to_le_bytes());
        put_varint(&mut out, self.rows);
        out.extend_from_slice(&self.series_count.to_le_bytes());
        out.extend_from_slice(&self.series_min.to_le_bytes());
        out.extend_from_slice(&self.series_max.to_le_bytes());
        put_times(&mut out, self.times);
        put_varint(&mut out, self.key_bytes);
        put_varint(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            encode_column(column, &mut out);
        }
        put_varint(&mut out, self.pages.len() as u64);
        for page in &self.pages {
            put_varint(&mut out, page.offset);
            put_varint(&mut out, u64::from(page.len));
            put_varint(&mut out, u64::from(page.lead_len));
            out.extend_from_slice(&page.lead_crc.to_le_bytes());
            put_varint(&mut out, u64::from(page.groups));
            out.extend_from_slice(&page.series_first.to_le_bytes());
            out.extend_from_slice(&page.series_last.to_le_bytes());
            put_times(&mut out, page.times);
        }
        out
    }

    /// Reads the footer of the part with `header`.
    pub fn decode(bytes: &[u8], header: &Header) -> Result<Footer> {
        let mut r = Reader::new(bytes);
        if (r.u32()?, r.u64()?) != (header.table, header.id) {
            return Err(corrupt("the footer of another part"));
        }
        let rows = r.varint()?;
        let (series_count, series_min, series_max) = (r.u32()?, r.u32()?, r.u32()?);
        let times = take_times(&mut r)?;
        let key_bytes = r.varint()?;
        let mut columns = Vec::new();
        for _ in 0..r.varint_max(usize::from(ColumnId::MAX) + 1)? {
            columns.push(decode_column(&mut r)?);
        }
        if !columns.windows(2).all(|w| w[0].id < w[1].id) {
            return Err(corrupt("columns out of order"));
        }
        let mut pages = Vec::new();
        for _ in 0..r.varint_max(bytes.len())? {
            pages.push(decode_page(&mut r)?);
        }
        r.finish()?;
        Ok(Footer { rows, series_count, series_min, series_max, times, key_bytes, columns, pages })
    }

    /// The public description of the part.
    pub fn meta(&self, header: &Header, bytes: u64) -> PartMeta {
        let blocks: u64 = self.key_bytes + self.columns.iter().map(|c| c.bytes).sum::<u64>();
        PartMeta {
            id: header.id,
            table: header.table,
            level: header.level,
            positions: header.positions.0..=header.positions.1,
            partition: header.partition,
            rows: self.rows,
            series_min: self.series_min,
            series_max: self.series_max,
            series_count: self.series_count,
            times: self.times,
            groups: self.pages.iter().map(|p| p.groups).sum(),
            bytes,
            index_bytes: bytes.saturating_sub(blocks + HEADER_BYTES as u64),
            key_bytes: self.key_bytes,
            columns: self.columns.clone(),
        }
    }
}

fn put_times(out: &mut Vec<u8>, times: TimeRange) {
    out.extend_from_slice(&times.min.to_le_bytes());
    out.extend_from_slice(&times.max.to_le_bytes());
}

fn take_times(r: &mut Reader<'_>) -> Result<TimeRange> {
    Ok(TimeRange::new(r.i64()?, r.i64()?))
}

fn decode_page(r: &mut Reader<'_>) -> Result<PageEntry> {
    let bound = u32::MAX as usize;
    Ok(PageEntry {
        offset: r.varint()?,
        len: r.varint_max(bound)? as u32,
        lead_len: r.varint_max(bound)? as u32,
        lead_crc: r.u32()?,
        groups: r.varint_max(super::index::PAGE_GROUPS_MAX)? as u32,
        series_first: r.u32()?,
        series_last: r.u32()?,
        times: take_times(r)?,
    })
}

fn encode_column(column: &PartColumn, out: &mut Vec<u8>) {
    out.extend_from_slice(&column.id.to_le_bytes());
    out.push(column.physical as u8);
    for count in [column.good, column.not_good, column.nulls, column.bytes] {
        put_varint(out, count);
    }
    match &column.range {
        ColumnRange::Empty => out.push(0),
        ColumnRange::Int { min, max } => {
            out.push(1);
            out.extend_from_slice(&min.to_le_bytes());
            out.extend_from_slice(&max.to_le_bytes());
        }
        ColumnRange::Float { min, max, nan } => {
            out.push(if *nan { 3 } else { 2 });
            out.extend_from_slice(&min.to_bits().to_le_bytes());
            out.extend_from_slice(&max.to_bits().to_le_bytes());
        }
        ColumnRange::Bytes(range) => {
            out.push(if range.max_cut { 5 } else { 4 });
            put_nested(out, |nested| nested.extend_from_slice(&range.min));
            put_nested(out, |nested| nested.extend_from_slice(&range.max));
        }
    }
}

fn decode_column(r: &mut Reader<'_>) -> Result<PartColumn> {
    let id = r.u16()?;
    let physical =
        PhysicalType::from_number(r.u8()?).ok_or_else(|| corrupt("a column of an unknown type"))?;
    let (good, not_good, nulls, bytes) = (r.varint()?, r.varint()?, r.varint()?, r.varint()?);
    let range = match r.u8()? {
        0 => ColumnRange::Empty,
        1 => ColumnRange::Int { min: r.i64()?, max: r.i64()? },
        tag @ (2 | 3) => {
            let (min, max) = (f64::from_bits(r.u64()?), f64::from_bits(r.u64()?));
            ColumnRange::Float { min, max, nan: tag == 3 }
        }
        tag @ (4 | 5) => ColumnRange::Bytes(TextRange {
            min: r.nested()?.to_vec(),
            max: r.nested()?.to_vec(),
            max_cut: tag == 5,
        }),
        tag => return Err(corrupt(format_args!("a range of kind {tag}"))),
    };
    Ok(PartColumn { id, physical, good, not_good, nulls, bytes, range })
}

/// The trailer: where the footer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub footer_offset: u64,
    pub footer_len: u32,
    pub footer_crc: u32,
}

impl Trailer {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.extend_from_slice(&self.footer_offset.to_le_bytes());
        out.extend_from_slice(&self.footer_len.to_le_bytes());
        out.extend_from_slice(&self.footer_crc.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC_END);
        out
    }

    pub fn decode(bytes: &[u8; TRAILER_BYTES]) -> Result<Trailer> {
        let mut r = Reader::new(bytes);
        let (footer_offset, footer_len, footer_crc) = (r.u64()?, r.u32()?, r.u32()?);
        let (version, reserved, crc) = (r.u16()?, r.u16()?, r.u32()?);
        if r.array::<8>()? != MAGIC_END {
            return Err(corrupt("not a finished part: other last bytes"));
        }
        if !checksum::fits(crc32fast::hash(&bytes[..TRAILER_BYTES - 12]), crc) {
            return Err(corrupt("the trailer's crc differs"));
        }
        if version != VERSION || reserved != 0 {
            return Err(corrupt(format_args!("format version {version}")));
        }
        Ok(Trailer { footer_offset, footer_len, footer_crc })
    }
}

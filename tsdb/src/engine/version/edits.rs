//! Edits of the version log as bytes (FORMAT.md, "Version log").

use std::sync::Arc;

use crate::deletes::Tombstone;
use crate::error::Result;
use crate::part::BadBlock;
use crate::types::{TableId, TimeRange};

use super::{Edit, FORMAT, ObjectRef, PartEntry};
use crate::engine::bytes::{Reader, option_i64, put_bytes, put_option_i64};
use crate::engine::delete;

impl Edit {
    /// Encodes the edit in the newest format.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(FORMAT)
    }

    /// Encodes the edit in a format, without what that cannot say.
    pub(crate) fn encode_as(&self, format: u8) -> Vec<u8> {
        let (deletes, life, quarantine) = (format >= 2, format >= 3, format >= 4);
        let mut out = Vec::new();
        put_list(&mut out, &self.add, |out, part| put_part(out, part, format));
        put_list(&mut out, &self.remove, |out, (table, id)| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
        });
        put_list(&mut out, &self.flushed, |out, (table, position)| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&position.to_le_bytes());
        });
        put_list(&mut out, &self.series, |out, (table, from, to, bytes)| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&from.to_le_bytes());
            out.extend_from_slice(&to.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        });
        put_list(&mut out, &self.last, |out, (table, id)| {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
        });
        put_list(&mut out, &self.drop, |out, table| out.extend_from_slice(&table.to_le_bytes()));
        if deletes {
            put_list(&mut out, &self.hide, |out, (table, tombstone)| {
                out.extend_from_slice(&table.to_le_bytes());
                out.extend_from_slice(&tombstone.position.to_le_bytes());
                delete::put_selections(out, &tombstone.selections);
            });
            put_list(&mut out, &self.clear, put_numbered);
        }
        if life {
            put_list(&mut out, &self.cuts, |out, (table, cut)| {
                out.extend_from_slice(&table.to_le_bytes());
                put_option_i64(out, *cut);
            });
            put_list(&mut out, &self.dead, |out, (object, since)| {
                put_object(out, object);
                out.extend_from_slice(&since.to_le_bytes());
            });
            put_list(&mut out, &self.collected, put_object);
        }
        if quarantine {
            put_list(&mut out, &self.sound, put_numbered);
            put_list(&mut out, &self.bad, put_bad);
            let tables = &self.scarred;
            put_list(&mut out, tables, |out, table| out.extend_from_slice(&table.to_le_bytes()));
        }
        if life {
            out.extend_from_slice(&self.time.to_le_bytes());
        }
        out.extend_from_slice(&self.next_part.to_le_bytes());
        out.extend_from_slice(&self.log_first.to_le_bytes());
        out
    }

    /// Decodes what [`Edit::encode`] wrote, or did in an older `format`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn decode(bytes: &[u8], format: u8) -> Result<Edit> {
        let mut reader = Reader::new(bytes, "version edit");
        let deletes = format >= 2;
        let life = format >= 3;
        let quarantine = format >= 4;
        let edit = Edit {
            add: list(&mut reader, 78, |r| part(r, format))?,
            remove: list(&mut reader, 12, |r| Ok((r.u32()?, r.u64()?)))?,
            flushed: list(&mut reader, 12, |r| Ok((r.u32()?, r.u64()?)))?,
            series: list(&mut reader, 20, |r| Ok((r.u32()?, r.u32()?, r.u32()?, r.u64()?)))?,
            last: list(&mut reader, 12, |r| Ok((r.u32()?, r.u64()?)))?,
            drop: list(&mut reader, 4, |r| r.u32())?,
            hide: if deletes { list(&mut reader, 16, tombstone)? } else { Vec::new() },
            clear: match deletes {
                true => list(&mut reader, 12, |r| Ok((r.u32()?, r.u64()?)))?,
                false => Vec::new(),
            },
            cuts: match life {
                true => list(&mut reader, 13, |r| Ok((r.u32()?, option_i64(r)?)))?,
                false => Vec::new(),
            },
            dead: match life {
                true => list(&mut reader, 24, |r| Ok((object(r)?, r.i64()?)))?,
                false => Vec::new(),
            },
            collected: if life { list(&mut reader, 16, object)? } else { Vec::new() },
            sound: match quarantine {
                true => list(&mut reader, 12, |r| Ok((r.u32()?, r.u64()?)))?,
                false => Vec::new(),
            },
            bad: if quarantine { list(&mut reader, BAD_BYTES_MIN, bad)? } else { Vec::new() },
            scarred: if quarantine { list(&mut reader, 4, |r| r.u32())? } else { Vec::new() },
            time: if life { reader.i64()? } else { 0 },
            next_part: reader.u64()?,
            log_first: reader.u64()?,
        };
        reader.end()?;
        Ok(edit)
    }
}

fn put_numbered(out: &mut Vec<u8>, (table, number): &(TableId, u64)) {
    out.extend_from_slice(&table.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.extend_from_slice(&(list.len() as u32).to_le_bytes());
    list.iter().for_each(|item| put(out, item));
}

fn list<T>(
    reader: &mut Reader<'_>,
    each: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.count(each)?;
    (0..count).map(|_| read(reader)).collect()
}

fn put_part(out: &mut Vec<u8>, part: &PartEntry, format: u8) {
    out.extend_from_slice(&part.id.to_le_bytes());
    out.extend_from_slice(&part.table.to_le_bytes());
    out.push(part.level);
    out.extend_from_slice(&part.positions.0.to_le_bytes());
    out.extend_from_slice(&part.positions.1.to_le_bytes());
    out.push(u8::from(part.partition.is_some()));
    let partition = part.partition.unwrap_or(TimeRange::ALL);
    for number in [partition.min, partition.max, part.times.min, part.times.max] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&part.rows.to_le_bytes());
    out.extend_from_slice(&part.bytes.to_le_bytes());
    if format >= 2 {
        out.extend_from_slice(&part.deletes_applied.to_le_bytes());
    }
    if format >= 3 {
        out.push(u8::from(part.object.is_some()));
        part.object.iter().for_each(|object| put_object(out, object));
        out.extend_from_slice(&part.hot_until.to_le_bytes());
    }
}

fn put_object(out: &mut Vec<u8>, object: &ObjectRef) {
    put_bytes(out, object.store.as_bytes());
    put_bytes(out, object.name.as_bytes());
    out.extend_from_slice(&object.bytes.to_le_bytes());
}

/// Bytes of a bad block without its cause.
const BAD_BYTES_MIN: usize = 70;
/// Says that a bad block is of no row group.
const NO_GROUP: u32 = u32::MAX;

fn put_bad(out: &mut Vec<u8>, (table, id, block): &(TableId, u64, BadBlock)) {
    out.extend_from_slice(&table.to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&block.group.unwrap_or(NO_GROUP).to_le_bytes());
    // Columns are counted from 1.
    out.extend_from_slice(&block.column.unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&block.offset.to_le_bytes());
    out.extend_from_slice(&block.len.to_le_bytes());
    out.extend_from_slice(&block.series.0.to_le_bytes());
    out.extend_from_slice(&block.series.1.to_le_bytes());
    for number in [block.times.min, block.times.max, block.since] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_bytes(out, block.cause.as_bytes());
}

fn bad(reader: &mut Reader<'_>) -> Result<(TableId, u64, BadBlock)> {
    let (table, id) = (reader.u32()?, reader.u64()?);
    let (group, column) = (reader.u32()?, reader.u16()?);
    let block = BadBlock {
        group: (group != NO_GROUP).then_some(group),
        column: (column != 0).then_some(column),
        offset: reader.u64()?,
        len: reader.u64()?,
        series: (reader.u32()?, reader.u32()?),
        times: TimeRange::new(reader.i64()?, reader.i64()?),
        since: reader.i64()?,
        cause: reader.text()?,
    };
    if block.series.0 > block.series.1 {
        return Err(reader.error("a bad block whose series fall"));
    }
    Ok((table, id, block))
}

fn object(reader: &mut Reader<'_>) -> Result<ObjectRef> {
    Ok(ObjectRef { store: reader.text()?, name: reader.text()?, bytes: reader.u64()? })
}

fn tombstone(reader: &mut Reader<'_>) -> Result<(TableId, Arc<Tombstone>)> {
    let (table, position) = (reader.u32()?, reader.u64()?);
    Ok((table, Arc::new(Tombstone::new(position, delete::selections(reader)?))))
}

fn part(reader: &mut Reader<'_>, format: u8) -> Result<PartEntry> {
    let id = reader.u64()?;
    let table = reader.u32()?;
    let level = reader.u8()?;
    let positions = (reader.u64()?, reader.u64()?);
    let confined = reader.u8()? != 0;
    let span = TimeRange::new(reader.i64()?, reader.i64()?);
    let times = TimeRange::new(reader.i64()?, reader.i64()?);
    let (rows, bytes) = (reader.u64()?, reader.u64()?);
    let partition = confined.then_some(span);
    let deletes_applied = if format >= 2 { reader.u64()? } else { positions.1 };
    let object = match if format >= 3 { reader.u8()? } else { 0 } {
        0 => None,
        1 => Some(object(reader)?),
        flag => return Err(reader.error(format_args!("{flag} says neither file nor object"))),
    };
    let hot_until = if format >= 3 { reader.i64()? } else { 0 };
    Ok(PartEntry {
        id,
        table,
        level,
        positions,
        partition,
        rows,
        times,
        bytes,
        deletes_applied,
        object,
        hot_until,
    })
}

//! The payload of a commit record: a list of commands (FORMAT.md, "Commands").

use crate::error::Result;
use crate::rows::RowCommand;
use crate::types::{
    ColumnId, ColumnType, Key, MergeMode, SeriesRef, TableId, TableOptions, TimePrecision,
};

use super::bytes::{Reader, option_i64, put_bytes, put_option_i64};
use super::command::{Command, NewColumn, NewTable};
use super::delete;
use super::narrow;
use super::prepare::{BATCH_ROWS_MAX, SortedWrite};
use super::watch;

/// A command as it is applied: from the queue or read back from the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    /// Sorted rows.
    Write(SortedWrite),
    /// Anything else; never [`Command::Write`].
    Other(Command),
}

/// The first command of a record may say when it was committed; it is none that is applied.
const COMMIT_TIME: u8 = 0;
const WRITE: u8 = 1;
const CREATE_TABLE: u8 = 2;
const ADD_COLUMNS: u8 = 3;
const WIDEN_COLUMN: u8 = 4;
const DROP_COLUMN: u8 = 5;
const RENAME_TABLE: u8 = 6;
const RENAME_COLUMN: u8 = 7;
const SET_OPTIONS: u8 = 8;
const DROP_TABLE: u8 = 9;
const ROWS: u8 = 10;
const DELETE: u8 = 11;
const RETAIN: u8 = 12;
const WATCH: u8 = 13;

/// In the first byte of a table's settings: the URL of its archive follows them.
const ARCHIVE: u8 = 0x80;
/// There too: the key columns that partition the table follow.
const SPLIT: u8 = 0x40;

/// Where [`set_time`] puts the time: behind the count, number and length.
const TIME_AT: std::ops::Range<usize> = 9..17;

/// Encodes the commands of one commit, with room for its time.
pub fn encode(commands: &[Prepared]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&(commands.len() as u32 + 1).to_le_bytes());
    out.push(COMMIT_TIME);
    put_bytes(&mut out, &[0; 8]);
    put_commands(&mut out, commands);
    out
}

/// Puts the time of the commit, ns, into what [`encode`] wrote.
pub fn set_time(payload: &mut [u8], time: i64) {
    payload[TIME_AT].copy_from_slice(&time.to_le_bytes());
}

fn put_commands(out: &mut Vec<u8>, commands: &[Prepared]) {
    for command in commands {
        let start = out.len();
        out.extend_from_slice(&[0; 5]);
        let kind = match command {
            Prepared::Write(write) => put_write(out, write),
            Prepared::Other(command) => put_command(out, command),
        };
        let len = (out.len() - start - 5) as u32;
        out[start] = kind;
        out[start + 1..start + 5].copy_from_slice(&len.to_le_bytes());
    }
}

/// A commit read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// When it was committed, ns; records of before times were kept have none.
    pub time: Option<i64>,
    /// What it does.
    pub commands: Vec<Prepared>,
}

/// When a commit was made, ns, without reading what it does; `None` where the record does not say.
///
/// # Errors
/// [`crate::Error::Corrupt`] for a payload that no writer made.
pub fn time_of(payload: &[u8]) -> Result<Option<i64>> {
    let mut reader = Reader::new(payload, "commit record");
    if reader.count(5)? == 0 || reader.u8()? != COMMIT_TIME {
        return Ok(None);
    }
    commit_time(&mut Reader::new(reader.bytes()?, "commit time")).map(Some)
}

fn commit_time(body: &mut Reader<'_>) -> Result<i64> {
    let time = body.i64()?;
    body.end()?;
    Ok(time)
}

/// Decodes what [`encode`] wrote, now or before there were times.
///
/// # Errors
/// [`crate::Error::Corrupt`] for anything else.
pub fn decode(payload: &[u8]) -> Result<Decoded> {
    let mut reader = Reader::new(payload, "commit record");
    let count = reader.count(5)?;
    let mut time = None;
    let mut commands = Vec::with_capacity(count);
    for number in 0..count {
        let kind = reader.u8()?;
        let body = reader.bytes()?;
        let mut body = Reader::new(body, "command");
        if (kind, number) == (COMMIT_TIME, 0) {
            time = Some(commit_time(&mut body)?);
            continue;
        }
        let command = match kind {
            WRITE => Prepared::Write(write(&mut body)?),
            _ => Prepared::Other(other(kind, &mut body)?),
        };
        body.end()?;
        commands.push(command);
    }
    reader.end()?;
    Ok(Decoded { time, commands })
}

fn put_write(out: &mut Vec<u8>, write: &SortedWrite) -> u8 {
    out.extend_from_slice(&write.table.to_le_bytes());
    out.extend_from_slice(&(write.times.len() as u32).to_le_bytes());
    out.extend_from_slice(&(write.series.len() as u32).to_le_bytes());
    // Known series as numbers, -1 where a key follows behind the array.
    let numbers: Vec<i64> = write
        .series
        .iter()
        .map(|series| match series {
            SeriesRef::Known(number) => i64::from(*number),
            SeriesRef::Key(_) => -1,
        })
        .collect();
    narrow::put_ints(out, &numbers);
    for series in &write.series {
        if let SeriesRef::Key(key) = series {
            put_bytes(out, key.as_bytes());
        }
    }
    let counts: Vec<i64> = write.counts.iter().map(|n| i64::from(*n)).collect();
    narrow::put_ints(out, &counts);
    narrow::put_times(out, &write.times);
    out.extend_from_slice(&(write.columns.len() as u16).to_le_bytes());
    for (id, column) in &write.columns {
        out.extend_from_slice(&id.to_le_bytes());
        narrow::put_column(out, column);
    }
    WRITE
}

fn write(reader: &mut Reader<'_>) -> Result<SortedWrite> {
    let table = reader.u32()?;
    let rows = reader.u32()? as usize;
    let series_count = reader.u32()? as usize;
    if rows > BATCH_ROWS_MAX || series_count > rows {
        return Err(reader.error("more rows or series than a record carries"));
    }
    let numbers = narrow::ints(reader, series_count)?;
    let mut series = Vec::with_capacity(series_count);
    for number in numbers {
        series.push(if number == -1 {
            let Some(key) = Key::from_bytes(reader.bytes()?) else {
                return Err(reader.error("a key is not canonical"));
            };
            SeriesRef::Key(key)
        } else {
            match u32::try_from(number) {
                Ok(number) => SeriesRef::Known(number),
                Err(_) => return Err(reader.error("a series number is out of range")),
            }
        });
    }
    let mut counts = Vec::with_capacity(series_count);
    let mut total = 0usize;
    for count in narrow::ints(reader, series_count)? {
        let count = u32::try_from(count).unwrap_or(0);
        if count == 0 {
            return Err(reader.error("a series without rows"));
        }
        total += count as usize;
        counts.push(count);
    }
    if total != rows {
        return Err(reader.error("rows of the series do not add up"));
    }
    let times = narrow::times(reader, rows)?;
    let column_count = reader.u16()? as usize;
    let mut columns: Vec<(ColumnId, _)> = Vec::with_capacity(column_count);
    for _ in 0..column_count {
        let id = reader.u16()?;
        if columns.last().is_some_and(|(last, _)| *last >= id) {
            return Err(reader.error("columns do not ascend"));
        }
        columns.push((id, narrow::column(reader, rows)?));
    }
    Ok(SortedWrite { table, series, counts, times, columns })
}

fn put_command(out: &mut Vec<u8>, command: &Command) -> u8 {
    match command {
        Command::Write(_) => unreachable!("writes are prepared before they are encoded"),
        Command::CreateTable(table) => {
            put_bytes(out, table.name.as_bytes());
            put_bytes(out, table.time_name.as_bytes());
            out.push(u8::from(table.if_not_exists));
            put_options(out, &table.options);
            put_new_columns(out, &table.columns);
            CREATE_TABLE
        }
        Command::AddColumns { table, columns } => {
            out.extend_from_slice(&table.to_le_bytes());
            put_new_columns(out, columns);
            ADD_COLUMNS
        }
        Command::WidenColumn { table, column, kind } => {
            put_column_ref(out, *table, *column);
            out.push(*kind as u8);
            WIDEN_COLUMN
        }
        Command::DropColumn { table, column } => {
            put_column_ref(out, *table, *column);
            DROP_COLUMN
        }
        Command::RenameTable { table, name } => {
            out.extend_from_slice(&table.to_le_bytes());
            put_bytes(out, name.as_bytes());
            RENAME_TABLE
        }
        Command::RenameColumn { table, column, name } => {
            out.extend_from_slice(&table.to_le_bytes());
            out.push(u8::from(column.is_some()));
            out.extend_from_slice(&column.unwrap_or(0).to_le_bytes());
            put_bytes(out, name.as_bytes());
            RENAME_COLUMN
        }
        Command::SetOptions { table, options } => {
            out.extend_from_slice(&table.to_le_bytes());
            put_options(out, options);
            SET_OPTIONS
        }
        Command::DropTable { table } => {
            out.extend_from_slice(&table.to_le_bytes());
            DROP_TABLE
        }
        Command::Rows(rows) => {
            rows.encode(out);
            ROWS
        }
        Command::Delete { table, selections } => {
            out.extend_from_slice(&table.to_le_bytes());
            delete::put_selections(out, selections);
            DELETE
        }
        Command::Retain { table, cut } => {
            out.extend_from_slice(&table.to_le_bytes());
            put_option_i64(out, *cut);
            RETAIN
        }
        Command::Watch { table, number, change } => {
            out.extend_from_slice(&table.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
            watch::put_change(out, change);
            WATCH
        }
    }
}

fn other(kind: u8, reader: &mut Reader<'_>) -> Result<Command> {
    Ok(match kind {
        CREATE_TABLE => {
            let name = reader.text()?;
            let time_name = reader.text()?;
            let if_not_exists = reader.u8()? != 0;
            let options = options(reader)?;
            let columns = new_columns(reader)?;
            Command::CreateTable(NewTable { name, time_name, columns, options, if_not_exists })
        }
        ADD_COLUMNS => Command::AddColumns { table: reader.u32()?, columns: new_columns(reader)? },
        WIDEN_COLUMN => Command::WidenColumn {
            table: reader.u32()?,
            column: reader.u16()?,
            kind: column_type(reader)?,
        },
        DROP_COLUMN => Command::DropColumn { table: reader.u32()?, column: reader.u16()? },
        RENAME_TABLE => Command::RenameTable { table: reader.u32()?, name: reader.text()? },
        RENAME_COLUMN => {
            let table = reader.u32()?;
            let named = reader.u8()? != 0;
            let column = reader.u16()?;
            Command::RenameColumn { table, column: named.then_some(column), name: reader.text()? }
        }
        SET_OPTIONS => Command::SetOptions { table: reader.u32()?, options: options(reader)? },
        DROP_TABLE => Command::DropTable { table: reader.u32()? },
        ROWS => {
            let left = reader.left();
            Command::Rows(RowCommand::decode(reader.take(left)?)?)
        }
        DELETE => {
            let table = reader.u32()?;
            Command::Delete { table, selections: delete::selections(reader)? }
        }
        WATCH => Command::Watch {
            table: reader.u32()?,
            number: reader.u32()?,
            change: watch::change(reader)?,
        },
        RETAIN => Command::Retain { table: reader.u32()?, cut: option_i64(reader)? },
        _ => return Err(reader.error(format_args!("no command has the number {kind}"))),
    })
}

fn put_column_ref(out: &mut Vec<u8>, table: TableId, column: ColumnId) {
    out.extend_from_slice(&table.to_le_bytes());
    out.extend_from_slice(&column.to_le_bytes());
}

fn put_new_columns(out: &mut Vec<u8>, columns: &[NewColumn]) {
    out.extend_from_slice(&(columns.len() as u32).to_le_bytes());
    for column in columns {
        put_bytes(out, column.name.as_bytes());
        out.push(column.kind as u8);
        out.push(u8::from(column.key) | u8::from(column.not_null) << 1);
    }
}

fn new_columns(reader: &mut Reader<'_>) -> Result<Vec<NewColumn>> {
    let count = reader.count(6)?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text()?;
        let kind = column_type(reader)?;
        let flags = reader.u8()?;
        columns.push(NewColumn { name, kind, key: flags & 1 != 0, not_null: flags & 2 != 0 });
    }
    Ok(columns)
}

/// Reads a column type by its frozen number.
pub fn column_type(reader: &mut Reader<'_>) -> Result<ColumnType> {
    let number = reader.u8()?;
    ColumnType::from_number(number)
        .ok_or_else(|| reader.error(format_args!("no column type has the number {number}")))
}

/// Appends the settings of a table.
pub fn put_options(out: &mut Vec<u8>, options: &TableOptions) {
    let archive = options.archive.as_ref().map_or(0, |_| ARCHIVE);
    let split = if options.partition_columns.is_empty() { 0 } else { SPLIT };
    out.push(options.merge as u8 | archive | split);
    out.push(options.precision as u8);
    out.extend_from_slice(&options.partition_ns.to_le_bytes());
    put_option_i64(out, options.retention_ns);
    put_option_i64(out, options.archive_after_ns);
    options.archive.iter().for_each(|url| put_bytes(out, url.as_bytes()));
    if split != 0 {
        // Apply refuses more than a few; a longer list is cut to what it refuses as well.
        let columns = &options.partition_columns[..options.partition_columns.len().min(255)];
        out.push(columns.len() as u8);
        columns.iter().for_each(|column| out.extend_from_slice(&column.to_le_bytes()));
    }
}

/// Reads what [`put_options`] wrote.
pub fn options(reader: &mut Reader<'_>) -> Result<TableOptions> {
    let first = reader.u8()?;
    let number = first & !(ARCHIVE | SPLIT);
    let Some(merge) = MergeMode::from_number(number) else {
        return Err(reader.error(format_args!("no merge mode has the number {number}")));
    };
    let precision = match reader.u8()? {
        0 => TimePrecision::Micros,
        1 => TimePrecision::Nanos,
        number => return Err(reader.error(format_args!("no precision has the number {number}"))),
    };
    // Whether it makes sense is for apply to say: what a writer could log must be readable.
    let partition_ns = reader.i64()?;
    let retention_ns = option_i64(reader)?;
    let archive_after_ns = option_i64(reader)?;
    let archive = if first & ARCHIVE != 0 { Some(reader.text()?) } else { None };
    let columns = if first & SPLIT != 0 { reader.u8()? } else { 0 };
    let partition_columns = (0..columns).map(|_| reader.u16()).collect::<Result<_>>()?;
    Ok(TableOptions {
        merge,
        partition_ns,
        precision,
        retention_ns,
        archive_after_ns,
        archive,
        partition_columns,
    })
}

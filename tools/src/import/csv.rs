//! CSV to line protocol: types by sampling the head of the file, then checked row by row.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::send::Chunk;
use super::time::TimeFormat;
use crate::failure::{Failure, Result};

/// Rows sampled to settle the types of columns.
const SAMPLE_ROWS: usize = 10_000;
/// Bytes looked at to guess the delimiter.
const HEAD_BYTES: usize = 64 * 1024;
/// Texts that mean "no value".
const MISSING: &[&str] = &["", "NULL", "null", "\\N", "NaN", "nan", "NA"];
/// Names taken for the time column if none is given, in lower case.
const TIME_NAMES: &[&str] = &["time", "timestamp", "datetime", "date_time", "ts", "date"];

/// How to read a CSV file.
#[derive(Clone, Debug)]
pub struct CsvOptions {
    /// Table to write to.
    pub table: String,
    /// Name of the time column; `None`: one with a usual name, else the first.
    pub time_column: Option<String>,
    /// How times are written.
    pub time_format: TimeFormat,
    /// Columns that belong to the key.
    pub keys: Vec<String>,
    /// Key columns with one value for the whole file.
    pub tags: BTreeMap<String, String>,
    /// Between columns; `None`: the most frequent of `;`, `,`, tab and `|` in the first line.
    pub delimiter: Option<u8>,
    /// Bytes of a chunk, about.
    pub chunk_bytes: usize,
}

/// Type of a field column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldType {
    Int,
    Float,
    Bool,
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Time,
    Key,
    Field(FieldType),
}

/// A row that could not be read.
#[derive(Clone, Debug)]
pub struct BadRow {
    /// Line in the file.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Reads a CSV file as chunks of line protocol.
pub struct CsvChunks<R: Read> {
    reader: csv::Reader<io::Chain<io::Cursor<Vec<u8>>, R>>,
    sample: std::collections::VecDeque<csv::StringRecord>,
    record: csv::StringRecord,
    names: Vec<String>,
    /// Escaped `name=` of each column.
    prefixes: Vec<String>,
    roles: Vec<Role>,
    time_at: usize,
    time_format: TimeFormat,
    /// Table and constant tags, escaped.
    start: String,
    chunk_bytes: usize,
}

impl<R: Read> CsvChunks<R> {
    /// Reads the header and the sample, and settles columns and types.
    pub fn new(mut reader: R, options: &CsvOptions) -> Result<CsvChunks<R>> {
        let mut head = Vec::new();
        (&mut reader).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let delimiter = options.delimiter.unwrap_or_else(|| guess_delimiter(&head));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(io::Cursor::new(head).chain(reader));
        let header =
            reader.headers().map_err(|error| Failure::doing("reading the header", error))?;
        let names: Vec<String> =
            header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        let time_at = find_time(&names, options)?;
        check_names(&names, options)?;
        let mut sample = std::collections::VecDeque::new();
        for record in reader.records().take(SAMPLE_ROWS) {
            sample.push_back(record.map_err(|error| Failure::doing("reading", error))?);
        }
        let first_time = sample.front().and_then(|row| row.get(time_at)).unwrap_or("");
        let time_format = options.time_format.settle(first_time);
        let roles = (0..names.len())
            .map(|at| match () {
                () if at == time_at => Role::Time,
                () if options.keys.contains(&names[at]) => Role::Key,
                () => Role::Field(infer(sample.iter().filter_map(|row| row.get(at)))),
            })
            .collect();
        let mut start = escape(&options.table, ", ");
        for (name, value) in options.tags.iter().filter(|(_, value)| !value.is_empty()) {
            start.push_str(&format!(",{}={}", escape(name, ",= "), escape(value, ",= ")));
        }
        let prefixes = names.iter().map(|name| escape(name, ",= ") + "=").collect();
        Ok(CsvChunks {
            reader,
            sample,
            record: csv::StringRecord::new(),
            names,
            prefixes,
            roles,
            time_at,
            time_format,
            start,
            chunk_bytes: options.chunk_bytes,
        })
    }

    /// What was found, in words: columns with their roles.
    pub fn describe(&self) -> String {
        let columns = self.names.iter().zip(&self.roles).map(|(name, role)| match role {
            Role::Time => format!("{name} (time)"),
            Role::Key => format!("{name} (key)"),
            Role::Field(FieldType::Int) => format!("{name} bigint"),
            Role::Field(FieldType::Float) => format!("{name} double precision"),
            Role::Field(FieldType::Bool) => format!("{name} boolean"),
            Role::Field(FieldType::Text) => format!("{name} text"),
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// The next chunk, and rows of it that were not taken; `None` at the end.
    pub fn next_chunk(&mut self) -> Result<Option<(Chunk, Vec<BadRow>)>> {
        let (mut chunk, mut bad) = (Chunk::default(), Vec::new());
        while chunk.body.len() < self.chunk_bytes {
            let more = match self.sample.pop_front() {
                Some(record) => {
                    self.record = record;
                    true
                }
                None => match self.reader.read_record(&mut self.record) {
                    Ok(more) => more,
                    // One line that is not UTF-8 does not spoil the others.
                    Err(error) => match error.kind() {
                        csv::ErrorKind::Utf8 { pos, .. } => {
                            let line = pos.as_ref().map_or(0, csv::Position::line);
                            bad.push(BadRow { line, reason: "it is not UTF-8".into() });
                            continue;
                        }
                        _ => return Err(Failure::doing("reading", error)),
                    },
                },
            };
            if !more {
                break;
            }
            let line = self.record.position().map_or(0, csv::Position::line);
            let before = chunk.body.len();
            match self.append(&mut chunk.body) {
                Ok(()) => chunk.lines.push(line),
                Err(reason) => {
                    chunk.body.truncate(before);
                    bad.push(BadRow { line, reason });
                }
            }
        }
        let empty = chunk.body.is_empty() && bad.is_empty();
        Ok((!empty).then_some((chunk, bad)))
    }

    /// Writes the current record as one line.
    fn append(&self, out: &mut Vec<u8>) -> std::result::Result<(), String> {
        let record = &self.record;
        if record.len() != self.names.len() {
            return Err(format!("{} columns instead of {}", record.len(), self.names.len()));
        }
        let time = record.get(self.time_at).unwrap_or("");
        let ns = self
            .time_format
            .parse(time)
            .ok_or_else(|| format!("`{time}` in {} is no time", self.names[self.time_at]))?;
        out.extend_from_slice(self.start.as_bytes());
        let cells = || self.roles.iter().zip(record.iter()).zip(&self.prefixes);
        for ((role, text), prefix) in cells() {
            if *role == Role::Key && !MISSING.contains(&text) {
                out.push(b',');
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(escape(text, ",= ").as_bytes());
            }
        }
        let mut separator = b' ';
        for (((role, text), prefix), name) in cells().zip(&self.names) {
            let Role::Field(kind) = role else { continue };
            let text = if *kind == FieldType::Text { text } else { text.trim() };
            if MISSING.contains(&text) {
                continue;
            }
            if !fits(*kind, text) {
                return Err(format!("`{text}` in {name} is no {kind:?}").to_lowercase());
            }
            out.push(separator);
            separator = b',';
            out.extend_from_slice(prefix.as_bytes());
            write_value(*kind, text, out);
        }
        if separator == b' ' {
            return Err("it has no value in any field".into());
        }
        out.extend_from_slice(format!(" {ns}\n").as_bytes());
        Ok(())
    }
}

fn write_value(kind: FieldType, text: &str, out: &mut Vec<u8>) {
    match kind {
        FieldType::Int => {
            out.extend_from_slice(text.trim_start_matches('+').as_bytes());
            out.push(b'i');
        }
        FieldType::Float => out.extend_from_slice(text.trim_start_matches('+').as_bytes()),
        FieldType::Bool => out.push(text.as_bytes()[0].to_ascii_lowercase()),
        FieldType::Text => {
            out.push(b'"');
            for byte in text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
    }
}

fn guess_delimiter(head: &[u8]) -> u8 {
    let first = head.split(|b| *b == b'\n').next().unwrap_or(head);
    let count = |delimiter: u8| first.iter().filter(|b| **b == delimiter).count();
    // The last of the most frequent wins, so `,` stands last: it is right where nothing is found.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|d| count(*d)).unwrap_or(b',')
}

fn find_time(names: &[String], options: &CsvOptions) -> Result<usize> {
    if let Some(wanted) = &options.time_column {
        return names.iter().position(|name| name == wanted).ok_or_else(|| {
            let all = names.join(", ");
            Failure::usage(format!("there is no column `{wanted}` for the time; columns: {all}"))
        });
    }
    let usual = TIME_NAMES
        .iter()
        .find_map(|usual| names.iter().position(|name| name.to_lowercase() == *usual));
    Ok(usual.unwrap_or(0))
}

fn check_names(names: &[String], options: &CsvOptions) -> Result<()> {
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(Failure::new(format!("column {} of the header has no name", at + 1)));
        }
        if names[..at].contains(name) || options.tags.contains_key(name) {
            return Err(Failure::new(format!("two columns are named `{name}`")));
        }
    }
    for key in &options.keys {
        if !names.contains(key) {
            let all = names.join(", ");
            return Err(Failure::usage(format!("there is no key column `{key}`; columns: {all}")));
        }
    }
    Ok(())
}

/// The narrowest type that holds all values; text where there is none.
fn infer<'a>(values: impl Iterator<Item = &'a str>) -> FieldType {
    let mut candidates = vec![FieldType::Int, FieldType::Float, FieldType::Bool, FieldType::Text];
    let mut any = false;
    for value in values.filter(|value| !MISSING.contains(&value.trim())) {
        any = true;
        candidates.retain(|kind| fits(*kind, value.trim()));
    }
    // A column without a value in the sample is most often a sensor that was off.
    if any { candidates[0] } else { FieldType::Float }
}

fn fits(kind: FieldType, text: &str) -> bool {
    match kind {
        FieldType::Int => text.parse::<i64>().is_ok(),
        FieldType::Float => {
            text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
                && text.parse::<f64>().is_ok_and(f64::is_finite)
        }
        FieldType::Bool => {
            ["true", "false", "t", "f"].iter().any(|word| text.eq_ignore_ascii_case(word))
        }
        FieldType::Text => true,
    }
}

/// Puts a backslash before the characters of `special`, as line protocol wants it in names.
fn escape(text: &str, special: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;

//! Series files: a run of one table's series as bytes. FORMAT.md, "Series files".

use std::io::Read;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::bytes::{Reader, packed_len, put_packed, put_varint, unpack};
use super::{Inner, SERIES_MAX, SeriesIndex};
use crate::checksum;
use crate::error::{Error, Result};
use crate::types::{ColumnId, TableId};

const MAGIC: [u8; 4] = *b"MLSR";
/// The version that is written; readers take no other.
pub(crate) const VERSION: u16 = 1;
const CHECKSUM_BYTES: usize = 4;
/// Dictionaries are written once and read at each start: a level that packs well and still
/// reaches tens of MB/s.
const ZSTD_LEVEL: i32 = 9;

const DICTIONARY_PLAIN: u8 = 0;
const DICTIONARY_ZSTD: u8 = 1;
const CODES_SEQUENCE: u8 = 1;
const CODES_PACKED: u8 = 2;
const CODES_RUNS: u8 = 3;

/// What a series file says of one key column.
#[derive(Debug, Default)]
struct FileColumn {
    id: ColumnId,
    /// Distinct values in order of first use, end to end.
    values: Vec<u8>,
    /// End of each value.
    ends: Vec<usize>,
    /// For each series 0 (missing) or 1 and the place of its value.
    codes: Vec<u32>,
    /// Length of the dictionary's encoding, before compressing.
    raw_len: usize,
}

/// Codes of a column as they stand in the file.
#[derive(Debug)]
enum StoredCodes<'a> {
    Sequence,
    Packed(&'a [u8]),
    Runs(&'a [u8]),
}

impl SeriesIndex {
    /// The series `from..to` as the bytes of a series file. Only reads; the lock is not held
    /// while compressing.
    ///
    /// # Panics
    /// When `from..to` is not a range of series of the index.
    pub fn encode_range(&self, from: u32, to: u32) -> Vec<u8> {
        let columns = {
            let inner = self.inner.read();
            assert!(from <= to && to <= inner.count, "series {from}..{to} of {}", inner.count);
            copy_columns(&inner, from, to)
        };
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(columns.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.table.to_le_bytes());
        out.extend_from_slice(&from.to_le_bytes());
        out.extend_from_slice(&to.to_le_bytes());
        let len_at = out.len();
        out.extend_from_slice(&0u64.to_le_bytes());
        for column in &columns {
            encode_column(&mut out, column);
        }
        let len = (out.len() + CHECKSUM_BYTES) as u64;
        out[len_at..len_at + 8].copy_from_slice(&len.to_le_bytes());
        let checksum = crc32fast::hash(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Adds the series of a series file, which must go on exactly where the index ends.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not such a file of this table; nothing is added then.
    pub fn load(&self, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new("series file", checked_body(bytes)?);
        let (from, to, column_count) = self.read_header(&mut reader, bytes.len())?;
        let series = (to - from) as usize;
        let mut columns: Vec<(FileColumn, StoredCodes<'_>)> = Vec::new();
        for _ in 0..column_count {
            let column = decode_column(&mut reader, series)?;
            if columns.last().is_some_and(|(before, _)| before.id >= column.0.id) {
                return Err(reader.corrupt("columns are not in ascending order"));
            }
            columns.push(column);
        }
        reader.end()?;
        // Neighbours differ in some column, which takes a bit of packed codes, two bytes of runs
        // or two bytes of a dictionary. So what was read bounds what may be allocated.
        let read = bytes.len() + columns.iter().map(|(column, _)| column.raw_len).sum::<usize>();
        if series > read.saturating_mul(8) {
            return Err(reader.corrupt("more series than the bytes can tell apart"));
        }
        let columns = columns
            .into_iter()
            .map(|(column, stored)| column.with_codes(stored, series))
            .collect::<Result<Vec<FileColumn>>>()?;
        check_distinct(&columns, series)?;
        let mut inner = self.inner.write();
        if inner.count != from {
            return Err(Error::Corrupt(format!(
                "series file goes on at series {from}, the index ends at {}",
                inner.count
            )));
        }
        inner.load(&columns, series).inspect_err(|_| inner.truncate(from))
    }

    /// Checks the checksum and the header of a series file, and takes nothing of it.
    ///
    /// # Errors
    /// As [`SeriesIndex::load`].
    pub fn check(table: TableId, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new("series file", checked_body(bytes)?);
        SeriesIndex::new(table).read_header(&mut reader, bytes.len()).map(|_| ())
    }

    fn read_header(&self, reader: &mut Reader<'_>, len: usize) -> Result<(u32, u32, u16)> {
        if reader.array::<4>()? != MAGIC {
            return Err(reader.corrupt("not a series file"));
        }
        let version = reader.u16()?;
        if version > VERSION {
            let (version, newest) = (u32::from(version), u32::from(VERSION));
            return Err(Error::newer("the file", "series file", version, newest));
        }
        if version != VERSION {
            return Err(reader.corrupt(&format!("version {version} is not known")));
        }
        let columns = reader.u16()?;
        let table = reader.u32()?;
        if table != self.table {
            return Err(reader.corrupt(&format!("of table {table}, not {}", self.table)));
        }
        let (from, to) = (reader.u32()?, reader.u32()?);
        if from > to || to > SERIES_MAX {
            return Err(reader.corrupt("the range of series is not one"));
        }
        if reader.u64()? != len as u64 {
            return Err(reader.corrupt("the length is not that of the file"));
        }
        Ok((from, to, columns))
    }
}

impl Inner {
    /// Adds checked series; on an error some may have been added.
    fn load(&mut self, columns: &[FileColumn], series: usize) -> Result<()> {
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            self.column_place(column.id);
        }
        let mut maps = Vec::with_capacity(columns.len());
        for column in columns {
            let place = self.column_place(column.id);
            let into = &mut self.columns[place];
            let map: Vec<u32> = std::iter::once(0)
                .chain((0..column.ends.len()).map(|at| into.intern(column.value(at))))
                .collect();
            places.push(place);
            maps.push(map);
        }
        let Inner { keys, columns: own, hasher, .. } = self;
        keys.reserve(series, |&other| {
            super::hash_codes(hasher, own, |_, column| column.code(other))
        });
        self.checksums.reserve(series);
        let mut codes = vec![0; self.columns.len()];
        let mut key = Vec::new();
        for at in 0..series {
            key.clear();
            for ((column, place), map) in columns.iter().zip(&places).zip(&maps) {
                let local = column.codes[at];
                codes[*place] = map[local as usize];
                if local != 0 {
                    push_pair(&mut key, column.id, column.value(local as usize - 1));
                }
            }
            if self.find_codes(&codes).is_some() {
                return Err(Error::Corrupt("series file repeats a key of the index".to_owned()));
            }
            self.insert(&codes, crc32fast::hash(&key));
        }
        self.columns.iter_mut().for_each(super::KeyColumn::optimize);
        Ok(())
    }
}

impl FileColumn {
    fn value(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.values[start..self.ends[at]]
    }

    fn with_codes(mut self, stored: StoredCodes<'_>, series: usize) -> Result<FileColumn> {
        let values = self.ends.len() as u32;
        self.codes = match stored {
            StoredCodes::Sequence => (1..=values).collect(),
            StoredCodes::Packed(bytes) => unpack(bytes, series, code_width(values)),
            StoredCodes::Runs(bytes) => decode_runs(bytes, series, values)?,
        };
        if !self.uses_in_order() {
            let why = format!("values of column {} are not used in their order", self.id);
            return Err(Error::Corrupt(format!("series file: {why}")));
        }
        Ok(self)
    }

    /// Checks that values are used in the order they stand in, and each at least once. From this
    /// follows that every code has its value.
    fn uses_in_order(&self) -> bool {
        let mut seen = 0;
        for code in &self.codes {
            if *code > seen {
                if *code != seen + 1 {
                    return false;
                }
                seen = *code;
            }
        }
        seen as usize == self.ends.len()
    }

    fn values_differ(&self) -> bool {
        let hasher = RandomState::default();
        let mut seen: HashTable<usize> = HashTable::with_capacity(self.ends.len());
        for at in 0..self.ends.len() {
            let hash = hasher.hash_one(self.value(at));
            if seen.find(hash, |other| self.value(*other) == self.value(at)).is_some() {
                return false;
            }
            seen.insert_unique(hash, at, |other| hasher.hash_one(self.value(*other)));
        }
        true
    }
}

/// Appends one pair of a canonical key; the twin of [`Key::new`] without its sort.
fn push_pair(key: &mut Vec<u8>, id: ColumnId, value: &[u8]) {
    key.extend_from_slice(&id.to_le_bytes());
    key.extend_from_slice(&(value.len() as u32).to_le_bytes());
    key.extend_from_slice(value);
}

/// Checks length and checksum and gives what stands before the checksum.
fn checked_body(bytes: &[u8]) -> Result<&[u8]> {
    let Some((body, stored)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(Error::corrupt("series file", 0, "too short for its checksum"));
    };
    if !checksum::fits(crc32fast::hash(body), u32::from_le_bytes(*stored)) {
        return Err(Error::corrupt("series file", body.len() as u64, "checksum does not match"));
    }
    Ok(body)
}

/// Copies the columns with a value in `from..to` out of the index, codes renumbered.
fn copy_columns(inner: &Inner, from: u32, to: u32) -> Vec<FileColumn> {
    let mut columns = Vec::new();
    for column in &inner.columns {
        let mut copy = FileColumn { id: column.id, ..FileColumn::default() };
        let mut local: hashbrown::HashMap<u32, u32, RandomState> = hashbrown::HashMap::default();
        copy.codes.reserve((to - from) as usize);
        for series in from..to {
            let code = column.code(series);
            if code == 0 {
                copy.codes.push(0);
                continue;
            }
            copy.codes.push(*local.entry(code).or_insert_with(|| {
                copy.values.extend_from_slice(column.value(code));
                copy.ends.push(copy.values.len());
                copy.ends.len() as u32
            }));
        }
        if !copy.ends.is_empty() {
            columns.push(copy);
        }
    }
    columns
}

fn encode_column(out: &mut Vec<u8>, column: &FileColumn) {
    out.extend_from_slice(&column.id.to_le_bytes());
    let dictionary = encode_dictionary(column);
    put_varint(out, column.ends.len() as u64);
    put_varint(out, column.values.len() as u64);
    put_varint(out, dictionary.len() as u64);
    // Compressing in memory fails only when out of memory or on a bad level; plain is as good.
    match zstd::bulk::compress(&dictionary, ZSTD_LEVEL) {
        Ok(packed) if packed.len() < dictionary.len() => {
            out.push(DICTIONARY_ZSTD);
            put_varint(out, packed.len() as u64);
            out.extend_from_slice(&packed);
        }
        _ => {
            out.push(DICTIONARY_PLAIN);
            put_varint(out, dictionary.len() as u64);
            out.extend_from_slice(&dictionary);
        }
    }
    encode_codes(out, &column.codes, column.ends.len() as u32);
}

/// For each value the bytes it shares with the one before, then for each the bytes that follow,
/// then those bytes: numbers beside numbers compress best.
fn encode_dictionary(column: &FileColumn) -> Vec<u8> {
    let mut shared = Vec::with_capacity(column.ends.len());
    let mut lens = Vec::with_capacity(column.ends.len());
    let mut rests = Vec::new();
    let mut before: &[u8] = &[];
    for at in 0..column.ends.len() {
        let value = column.value(at);
        let same = value.iter().zip(before).take_while(|(a, b)| a == b).count();
        put_varint(&mut shared, same as u64);
        put_varint(&mut lens, (value.len() - same) as u64);
        rests.extend_from_slice(&value[same..]);
        before = value;
    }
    shared.append(&mut lens);
    shared.append(&mut rests);
    shared
}

fn encode_codes(out: &mut Vec<u8>, codes: &[u32], values: u32) {
    if values as usize == codes.len() {
        // Each series has a value of its own, so the codes are 1, 2, 3 …
        out.push(CODES_SEQUENCE);
        return;
    }
    let width = code_width(values);
    let packed = packed_len(codes.len(), width);
    let mut runs = Vec::new();
    for run in codes.chunk_by(|a, b| a == b) {
        put_varint(&mut runs, u64::from(run[0]));
        put_varint(&mut runs, run.len() as u64);
        if runs.len() >= packed {
            out.push(CODES_PACKED);
            put_packed(out, codes, width);
            return;
        }
    }
    out.push(CODES_RUNS);
    put_varint(out, runs.len() as u64);
    out.append(&mut runs);
}

fn decode_column<'a>(
    reader: &mut Reader<'a>,
    series: usize,
) -> Result<(FileColumn, StoredCodes<'a>)> {
    let id = reader.u16()?;
    let values = reader.varint(series as u64)? as usize;
    if values == 0 {
        return Err(reader.corrupt("a column without values"));
    }
    let bytes = reader.varint(u64::MAX)?;
    let raw_len = reader.varint(u64::MAX)?;
    let form = reader.u8()?;
    let stored_len = reader.length()?;
    let stored = reader.take(stored_len)?;
    let unpacked;
    let dictionary = match form {
        DICTIONARY_PLAIN => stored,
        DICTIONARY_ZSTD => {
            unpacked = unzip(reader, stored, raw_len)?;
            &unpacked
        }
        _ => return Err(reader.corrupt("form of the dictionary is not known")),
    };
    if dictionary.len() as u64 != raw_len {
        return Err(reader.corrupt("length of the dictionary does not match"));
    }
    let mut column = decode_dictionary(dictionary, values, bytes)?;
    column.id = id;
    column.raw_len = dictionary.len();
    if !column.values_differ() {
        return Err(reader.corrupt("a dictionary has the same value twice"));
    }
    let codes = match reader.u8()? {
        CODES_SEQUENCE if values == series => StoredCodes::Sequence,
        CODES_PACKED => {
            StoredCodes::Packed(reader.take(packed_len(series, code_width(values as u32)))?)
        }
        CODES_RUNS => {
            let len = reader.length()?;
            StoredCodes::Runs(reader.take(len)?)
        }
        _ => return Err(reader.corrupt("form of the codes is not known")),
    };
    Ok((column, codes))
}

/// Decompresses at most `len` bytes; memory grows with what comes out, not with what is claimed.
fn unzip(reader: &Reader<'_>, stored: &[u8], len: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let result = zstd::stream::read::Decoder::new(stored)
        .and_then(|decoder| decoder.take(len.saturating_add(1)).read_to_end(&mut out));
    match result {
        Ok(_) => Ok(out),
        Err(error) => Err(reader.corrupt(&format!("dictionary does not decompress: {error}"))),
    }
}

fn decode_dictionary(raw: &[u8], values: usize, bytes: u64) -> Result<FileColumn> {
    let mut reader = Reader::new("dictionary of a series file", raw);
    // Each value has at least one byte in `shared`, one in `lens`.
    if values > raw.len() {
        return Err(reader.corrupt("more values than bytes"));
    }
    let mut shared = Vec::with_capacity(values);
    for _ in 0..values {
        shared.push(reader.varint(u64::from(u32::MAX))? as usize);
    }
    let mut lens = Vec::with_capacity(values);
    for _ in 0..values {
        lens.push(reader.varint(u64::from(u32::MAX))? as usize);
    }
    let mut column = FileColumn { ends: Vec::with_capacity(values), ..FileColumn::default() };
    let mut before = 0..0;
    for (shared, len) in shared.into_iter().zip(lens) {
        let start = column.values.len();
        let total = start as u64 + shared as u64 + len as u64;
        if shared > before.len() || shared + len == 0 || total > bytes {
            return Err(reader.corrupt("a value is not one"));
        }
        column.values.extend_from_within(before.start..before.start + shared);
        column.values.extend_from_slice(reader.take(len)?);
        before = start..column.values.len();
        column.ends.push(before.end);
    }
    reader.end()?;
    if column.values.len() as u64 != bytes {
        return Err(reader.corrupt("values are not of the length told"));
    }
    Ok(column)
}

fn decode_runs(bytes: &[u8], series: usize, values: u32) -> Result<Vec<u32>> {
    let mut runs = Reader::new("runs of a series file", bytes);
    let mut codes = Vec::new();
    while runs.left() > 0 {
        let code = runs.varint(u64::from(values))? as u32;
        let count = runs.varint((series - codes.len()) as u64)? as usize;
        codes.resize(codes.len() + count, code);
    }
    if codes.len() != series {
        return Err(runs.corrupt("the runs do not cover the series"));
    }
    Ok(codes)
}

/// Bits of a packed code, which goes from 0 to `values`.
fn code_width(values: u32) -> u32 {
    u32::BITS - values.leading_zeros()
}

/// Checks that no two series of a file have the same key.
fn check_distinct(columns: &[FileColumn], series: usize) -> Result<()> {
    let twice = || Error::Corrupt("series file has the same key twice".to_owned());
    // A column in which each series has a value of its own tells them apart.
    if columns.iter().any(|column| column.ends.len() == series) {
        return Ok(());
    }
    let same = |a: usize, b: usize| columns.iter().all(|c| c.codes[a] == c.codes[b]);
    let hasher = RandomState::default();
    let hash = |at: usize| {
        let mut state = hasher.build_hasher();
        columns.iter().for_each(|c| std::hash::Hasher::write_u32(&mut state, c.codes[at]));
        std::hash::Hasher::finish(&state)
    };
    let mut seen: HashTable<usize> = HashTable::new();
    for at in 0..series {
        if seen.find(hash(at), |other| same(*other, at)).is_some() {
            return Err(twice());
        }
        seen.insert_unique(hash(at), at, |other| hash(*other));
    }
    Ok(())
}

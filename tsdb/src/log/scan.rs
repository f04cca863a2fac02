//! Walks the records of one segment in bounded memory.

use std::sync::Arc;

use super::LogOptions;
use super::format::{
    ALIGN_BYTES, HeaderFault, RECORD_HEADER_BYTES, RecordHeader, SEALED, SEGMENT_HEADER_BYTES,
    SegmentHeader, take,
};
use crate::checksum;
use crate::crypto::RecordKey;
use crate::io::{File, Storage};
use crate::{Error, Result};

/// Bytes read at a time; no more than this and one wanted payload is held.
const WINDOW_BYTES: u64 = 256 << 10;

/// What to do with a record's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Pass over it unread.
    Skip,
    /// Check it.
    Check,
    /// Check it and keep its bytes.
    Keep,
}

/// What was found at a place of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A sound record (its payload as far as wanted).
    Record { offset: u64, header: RecordHeader },
    /// Torn or damaged bytes; the scanner stays there.
    Bad { offset: u64, header: Option<RecordHeader>, why: String },
    /// The end, exactly after a record.
    End,
}

/// Reads one segment record by record.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Arc<dyn File>,
    path: String,
    group: u32,
    salt: [u8; 8],
    /// Whether payloads are sealed, and what opens them; needed only for those that are kept.
    sealed: bool,
    key: Option<RecordKey>,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    /// Payload of the last record that was kept, opened.
    pub payload: Vec<u8>,
}

/// The header of a segment file as found.
#[derive(Debug)]
pub(super) enum Opened {
    Sound(SegmentHeader),
    /// The header is damaged; `blank` says that nothing but zeros is behind it.
    Damaged {
        why: String,
        blank: bool,
    },
}

/// Opens a segment and reads its header.
///
/// # Errors
/// [`Error::Corrupt`] for a header that is whole but of another version or kind.
pub(super) fn open_segment(storage: &dyn Storage, path: &str) -> Result<(Arc<dyn File>, Opened)> {
    let file = storage.open(path).map_err(|e| Error::io(format!("cannot open {path}"), &e))?;
    let len = file.len().map_err(|e| Error::io(format!("cannot measure {path}"), &e))?;
    if len < SEGMENT_HEADER_BYTES {
        let why = format!("only {len} bytes of the segment header are there");
        return Ok((file, Opened::Damaged { why, blank: true }));
    }
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    file.read_at(0, &mut bytes).map_err(|e| Error::io(format!("cannot read {path}"), &e))?;
    let opened = match SegmentHeader::decode(&bytes) {
        Ok(header) => Opened::Sound(header),
        Err(HeaderFault::Refused(why)) => return Err(Error::corrupt(path, 0, why)),
        Err(HeaderFault::Damaged(why)) => {
            let mut header = SegmentHeader::decode_unchecked(&bytes);
            header.flags = if storage.keys().is_some() { SEALED } else { 0 };
            let mut scanner = Scanner::new(Arc::clone(&file), path.to_owned(), &header, len);
            Opened::Damaged { why: why.to_owned(), blank: scanner.is_blank()? }
        }
    };
    Ok((file, opened))
}

/// A segment that is sound and the log's own.
pub(super) struct Sound {
    pub file: Arc<dyn File>,
    pub header: SegmentHeader,
    /// What opens payloads, if they are sealed.
    pub key: Option<RecordKey>,
}

/// Opens a segment that must be sound and the log's own.
pub(super) fn open_sound(storage: &dyn Storage, path: &str, options: &LogOptions) -> Result<Sound> {
    match open_segment(storage, path)? {
        (_, Opened::Damaged { why, .. }) => Err(Error::corrupt(path, 0, why)),
        (file, Opened::Sound(header)) => {
            header.check_owner(options).map_err(|why| Error::corrupt(path, 0, why))?;
            let key = segment_key(storage, path, &file, &header)?;
            Ok(Sound { file, header, key })
        }
    }
}

/// The key of a segment. A segment is sealed exactly if the database is encrypted.
fn segment_key(
    storage: &dyn Storage,
    path: &str,
    file: &Arc<dyn File>,
    header: &SegmentHeader,
) -> Result<Option<RecordKey>> {
    let wrong = |why| Err(Error::corrupt(path, 0, why));
    match (header.is_sealed(), storage.keys()) {
        (false, None) => Ok(None),
        (false, Some(_)) => wrong("a segment that is not sealed in an encrypted database"),
        (true, None) => wrong("a sealed segment in a database that is not encrypted"),
        (true, Some(keys)) => {
            let key = RecordKey::read(&**file, path, &keys);
            key.map(Some).map_err(|e| Error::io("opening the log", &e))
        }
    }
}

impl Scanner {
    /// Starts behind the header; bytes from `end` on are not looked at.
    pub fn new(file: Arc<dyn File>, path: String, header: &SegmentHeader, end: u64) -> Scanner {
        Scanner {
            file,
            path,
            group: header.group,
            salt: header.salt,
            sealed: header.is_sealed(),
            key: None,
            offset: header.records_start().min(end),
            end,
            window: Vec::new(),
            window_start: 0,
            payload: Vec::new(),
        }
    }

    /// The scanner, able to open sealed payloads.
    pub fn with_key(self, key: Option<RecordKey>) -> Scanner {
        Scanner { key, ..self }
    }

    /// Whether payloads that are kept can be had.
    pub fn can_open(&self) -> bool {
        !self.sealed || self.key.is_some()
    }

    /// Where the next step looks.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn group(&self) -> u32 {
        self.group
    }

    /// Goes on at another place.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset.min(self.end);
    }

    /// Takes one step. `want` decides by the header what happens to the payload.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a record whose checksum holds but that this program never writes;
    /// [`Error::Io`] from the storage.
    pub fn step(&mut self, want: impl FnOnce(&RecordHeader) -> Want) -> Result<Step> {
        let offset = self.offset;
        let left = self.end - offset;
        if left == 0 {
            return Ok(Step::End);
        }
        let bad = |header, why| Ok(Step::Bad { offset, header, why });
        if left < RECORD_HEADER_BYTES {
            return bad(None, format!("{left} bytes where a record header is due"));
        }
        let salt = self.salt;
        let bytes = take(self.bytes(offset, RECORD_HEADER_BYTES)?, 0);
        let header = match RecordHeader::decode(&bytes, salt) {
            Ok(header) => header,
            Err(HeaderFault::Damaged(why)) => return bad(None, why.to_owned()),
            Err(HeaderFault::Refused(why)) => return Err(Error::corrupt(&self.path, offset, why)),
        };
        let record_bytes = header.record_bytes();
        if record_bytes > left {
            let why = format!("a record of {record_bytes} bytes, of which {left} are there");
            return bad(Some(header), why);
        }
        let want = want(&header);
        if let Some(why) = self.payload(&header, want)? {
            return bad(Some(header), why.to_owned());
        }
        if want == Want::Keep && self.sealed && header.is_sealable() {
            self.open_payload(&header)?;
        }
        self.offset += record_bytes;
        Ok(Step::Record { offset, header })
    }

    /// Opens a sealed payload whose checksum holds.
    fn open_payload(&mut self, header: &RecordHeader) -> Result<()> {
        let Some(key) = &self.key else {
            return Err(Error::Invalid(format!("{} is sealed, and no key is given", self.path)));
        };
        match key.open(header.index, &header.bound(), &mut self.payload) {
            true => Ok(()),
            false => {
                let why = "the record adds up, but its payload is not what was sealed there";
                Err(Error::corrupt(&self.path, self.offset, why))
            }
        }
    }

    /// Says what is wrong with the payload of the record at the current offset.
    fn payload(&mut self, header: &RecordHeader, want: Want) -> Result<Option<&'static str>> {
        if want == Want::Skip {
            return Ok(None);
        }
        self.payload.clear();
        if want == Want::Keep {
            // The caller has compared the length with the file's.
            self.payload.reserve_exact(header.payload_bytes as usize);
        }
        let mut crc = crc32fast::Hasher::new();
        let mut at = self.offset + RECORD_HEADER_BYTES;
        let payload_end = at + u64::from(header.payload_bytes);
        while at < payload_end {
            let some = (payload_end - at).min(WINDOW_BYTES);
            self.bytes(at, some)?;
            let bytes = window_slice(&self.window, self.window_start, at, some);
            crc.update(bytes);
            if want == Want::Keep {
                self.payload.extend_from_slice(bytes);
            }
            at += some;
        }
        if !checksum::fits(crc.finalize(), header.payload_crc) {
            return Ok(Some("the payload's checksum does not fit"));
        }
        let padding = self.offset + header.record_bytes() - payload_end;
        if self.bytes(payload_end, padding)?.iter().any(|byte| *byte != 0) {
            return Ok(Some("the bytes behind the payload are not zero"));
        }
        Ok(None)
    }

    /// The first sound record header at or behind `from` that says `durable >= due`.
    pub fn find_proof(&mut self, from: u64, due: u64) -> Result<Option<(u64, RecordHeader)>> {
        let group = self.group;
        self.find(from, |bytes| RecordHeader::may_prove(bytes, group, due))
    }

    /// The first sound record header at or behind `from`.
    pub fn find_any(&mut self, from: u64) -> Result<Option<(u64, RecordHeader)>> {
        self.find_proof(from, 0)
    }

    fn find(
        &mut self,
        from: u64,
        may_be: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<(u64, RecordHeader)>> {
        let salt = self.salt;
        let mut at = from.next_multiple_of(ALIGN_BYTES);
        while at.saturating_add(RECORD_HEADER_BYTES) <= self.end {
            let some = (self.end - at).min(WINDOW_BYTES);
            let bytes = self.bytes(at, some)?;
            let candidates = bytes.windows(RECORD_HEADER_BYTES as usize);
            let mut found = candidates.step_by(ALIGN_BYTES as usize).enumerate().filter_map(
                |(number, bytes)| {
                    let header = may_be(bytes).then(|| take(bytes, 0))?;
                    let header = RecordHeader::decode(&header, salt).ok()?;
                    Some((at + number as u64 * ALIGN_BYTES, header))
                },
            );
            if let Some(found) = found.next() {
                return Ok(Some(found));
            }
            // The next window starts at the first place this one could not hold a header of.
            at = (at + some - RECORD_HEADER_BYTES + 1).next_multiple_of(ALIGN_BYTES);
        }
        Ok(None)
    }

    /// Whether nothing but zeros is behind the segment header.
    fn is_blank(&mut self) -> Result<bool> {
        let mut at = self.offset;
        while at < self.end {
            let some = (self.end - at).min(WINDOW_BYTES);
            if self.bytes(at, some)?.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += some;
        }
        Ok(true)
    }

    /// `count` bytes from `offset`; the caller keeps them within `end` and the window's length.
    fn bytes(&mut self, offset: u64, count: u64) -> Result<&[u8]> {
        debug_assert!(count <= WINDOW_BYTES && offset + count <= self.end);
        let held = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + count > held {
            let read = (self.end - offset).min(WINDOW_BYTES);
            self.window.resize(read as usize, 0);
            self.window_start = offset;
            if let Err(error) = self.file.read_at(offset, &mut self.window) {
                self.window.clear();
                let doing = format!("cannot read {} at byte {offset}", self.path);
                return Err(Error::io(doing, &error));
            }
        }
        Ok(window_slice(&self.window, self.window_start, offset, count))
    }
}

/// The part of a window; empty if it is not held, which the callers rule out.
fn window_slice(window: &[u8], window_start: u64, offset: u64, count: u64) -> &[u8] {
    let start = offset.saturating_sub(window_start) as usize;
    window.get(start..start + count as usize).unwrap_or_default()
}

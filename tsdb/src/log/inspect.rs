//! Explains a single segment file, sound or not, for people who repair.

use super::format::{RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, take};
use super::recover::check_place;
use super::scan::{Opened, Scanner, Step, Want, open_segment};
use crate::crypto::RecordKey;
use crate::io::Storage;
use crate::{Error, Result};

/// What is thought of a stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it was written.
    Good,
    /// Not so, and why.
    Damaged(String),
}

/// A stretch of a segment: a record, or damaged bytes up to the next sound record header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// The record's header, if that much is sound.
    pub header: Option<RecordHeader>,
    /// Whether the record is sound.
    pub verdict: Verdict,
}

/// Walks a segment from record to record, over damaged stretches too. Ends after the first error
/// of the storage.
#[derive(Debug)]
pub struct Inspection {
    /// The segment's header; as far as it can be read, if it is damaged.
    pub header: SegmentHeader,
    /// Whether the segment's header is sound.
    pub verdict: Verdict,
    /// Length of the file.
    pub bytes: u64,
    /// Payload of the record given last, opened; none if it is sealed and there is no key.
    pub payload: Option<Vec<u8>>,
    scanner: Scanner,
    due: Option<u64>,
    failed: bool,
}

/// Begins to inspect a segment. Which database or group it belongs to is not judged.
///
/// # Errors
/// [`Error::Io`] from the storage. Damage is no error here but a verdict.
pub fn inspect_segment(storage: &dyn Storage, path: &str) -> Result<Inspection> {
    let mut verdict = match open_segment(storage, path) {
        Ok((_, Opened::Sound(_))) => Verdict::Good,
        Ok((_, Opened::Damaged { why, .. })) | Err(Error::Corrupt(why)) => Verdict::Damaged(why),
        Err(error) => return Err(error),
    };
    let doing = |what: &str| format!("cannot {what} {path}");
    let file = storage.open(path).map_err(|e| Error::io(doing("open"), &e))?;
    let bytes = file.len().map_err(|e| Error::io(doing("measure"), &e))?;
    let mut head = vec![0; bytes.min(SEGMENT_HEADER_BYTES) as usize];
    file.read_at(0, &mut head).map_err(|e| Error::io(doing("read"), &e))?;
    head.resize(SEGMENT_HEADER_BYTES as usize, 0);
    let header = SegmentHeader::decode_unchecked(&take(&head, 0));
    let mut key = None;
    if let Some(keys) = storage.keys().filter(|_| header.is_sealed()) {
        match RecordKey::read(&*file, path, &keys) {
            Ok(found) => key = Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                verdict = Verdict::Damaged(error.to_string());
            }
            // Without its key a segment is told of as far as its headers go.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(Error::io(doing("unseal"), &error)),
        }
    }
    let due = (verdict == Verdict::Good).then_some(header.first_index);
    let scanner = Scanner::new(file, path.to_owned(), &header, bytes).with_key(key);
    Ok(Inspection { header, verdict, bytes, payload: None, scanner, due, failed: false })
}

impl Inspection {
    fn read(&mut self) -> Result<Option<Inspected>> {
        let from = self.scanner.offset();
        let can_open = self.scanner.can_open();
        let want = |_: &RecordHeader| if can_open { Want::Keep } else { Want::Check };
        self.payload = None;
        let (header, why) = match self.scanner.step(want) {
            Ok(Step::End) => return Ok(None),
            Ok(Step::Record { offset, header }) => {
                let verdict = self.place(&header);
                self.payload = can_open.then(|| std::mem::take(&mut self.scanner.payload));
                let bytes = header.record_bytes();
                return Ok(Some(Inspected { offset, bytes, header: Some(header), verdict }));
            }
            Ok(Step::Bad { header, why, .. }) => (header, why),
            // A record whose checksum holds but that is none of this version's.
            Err(Error::Corrupt(why)) => (None, why),
            Err(error) => return Err(error),
        };
        if let Some(header) = &header {
            // The payload is damaged, but the place is known.
            self.place(header);
        }
        let next = self.scanner.find_any(from + 1)?;
        let end = next.map_or(self.scanner.end(), |(offset, _)| offset);
        self.scanner.jump(end);
        let verdict = Verdict::Damaged(why);
        Ok(Some(Inspected { offset: from, bytes: end - from, header, verdict }))
    }

    /// Judges a sound record by the one before, and takes it as the new measure.
    fn place(&mut self, header: &RecordHeader) -> Verdict {
        let takes = header.kind.takes_position();
        let own_due = if takes { header.index } else { header.index.saturating_add(1) };
        // After damage nobody knows what is due, so the record itself says it.
        let due = self.due.unwrap_or(own_due).max(1);
        let checked = check_place(header, self.scanner.group(), due);
        self.due = if takes { header.index.checked_add(1) } else { Some(own_due) };
        checked.map_or_else(Verdict::Damaged, |()| Verdict::Good)
    }
}

impl Iterator for Inspection {
    type Item = Result<Inspected>;

    fn next(&mut self) -> Option<Result<Inspected>> {
        if self.failed {
            return None;
        }
        let inspected = self.read();
        self.failed = inspected.is_err();
        inspected.transpose()
    }
}

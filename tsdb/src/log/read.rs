//! Reading records back in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::append::Log;
use super::format::Kind;
use super::recover::check_place;
use super::scan::{Scanner, Sound, Step, Want, open_sound};
use super::{LogOptions, SegmentInfo};
use crate::io::Storage;
use crate::{Error, Result};

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The position.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// [`Kind::Commands`] or [`Kind::NoOp`].
    pub kind: Kind,
    /// The payload, checked.
    pub payload: Vec<u8>,
}

/// Reads records in order of position, up to what was durable when it was made. Holds one record
/// and a window of a segment in memory. Works while the log is appended to; a segment purged or
/// truncated meanwhile is an error.
#[derive(Debug)]
pub struct Cursor {
    storage: Arc<dyn Storage>,
    options: LogOptions,
    segments: VecDeque<SegmentInfo>,
    scanner: Option<Scanner>,
    /// The next index in the open segment.
    due: u64,
    /// The next index wanted.
    next: u64,
    last: u64,
    failed: bool,
}

impl Log {
    /// Reads from position `index` to the last durable one; nothing if `index` is behind it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `index` is purged.
    pub fn read_from(&self, index: u64) -> Result<Cursor> {
        if index < self.first_index() {
            let first = self.first_index();
            return Err(Error::NotFound(format!("position {index}: the log begins at {first}")));
        }
        let mut segments = VecDeque::from(self.segments());
        segments.retain(|segment| segment.last_index >= index);
        Ok(Cursor {
            storage: Arc::clone(&self.storage),
            options: self.options.clone(),
            segments,
            scanner: None,
            due: index,
            next: index,
            last: self.durable_index,
            failed: false,
        })
    }
}

impl Cursor {
    /// The position of the next record, if there is one.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next
    }

    fn read(&mut self) -> Result<Record> {
        loop {
            let mut scanner = match self.scanner.take() {
                Some(scanner) => scanner,
                None => self.open()?,
            };
            let next = self.next;
            let step = scanner.step(|header| {
                let wanted = header.kind.takes_position() && header.index >= next;
                if wanted { Want::Keep } else { Want::Skip }
            })?;
            match step {
                // The next segment must go on where this one ends.
                Step::End => {}
                Step::Bad { offset, why, .. } => {
                    let why = format!("{why} (index {} is due)", self.due);
                    return Err(Error::corrupt(scanner.path(), offset, why));
                }
                Step::Record { offset, header } => {
                    check_place(&header, self.options.group, self.due)
                        .map_err(|why| Error::corrupt(scanner.path(), offset, why))?;
                    let payload = std::mem::take(&mut scanner.payload);
                    self.scanner = Some(scanner);
                    if !header.kind.takes_position() {
                        continue;
                    }
                    self.due += 1;
                    if header.index == next {
                        self.next += 1;
                        let (term, kind) = (header.term, header.kind);
                        return Ok(Record { index: header.index, term, kind, payload });
                    }
                }
            }
        }
    }

    fn open(&mut self) -> Result<Scanner> {
        let Some(segment) = self.segments.pop_front() else {
            return Err(Error::Corrupt(format!("the log ends before index {}", self.next)));
        };
        let path = segment.path;
        let Sound { file, header, key } = open_sound(&*self.storage, &path, &self.options)?;
        // A segment truncated and begun again since the cursor was made has another first index
        // or fewer bytes; either is found here or by the records themselves.
        if header.first_index != segment.first_index || header.first_index > self.next {
            let why = format!("begins at index {}, wanted {}", header.first_index, self.next);
            return Err(Error::corrupt(path, 0, why));
        }
        self.due = header.first_index;
        Ok(Scanner::new(file, path, &header, segment.bytes).with_key(key))
    }
}

impl Iterator for Cursor {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.failed || self.next > self.last {
            return None;
        }
        let record = self.read();
        self.failed = record.is_err();
        Some(record)
    }
}

//! Appending: one buffer, one write and one sync for a group of records.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::format::{Kind, RECORD_HEADER_BYTES, RecordHeader};
use super::segment::{Active, Prepared, encode_record, encode_vote};
use super::{LogOptions, RecordIn, SegmentInfo, Vote};
use crate::io::Storage;
use crate::{Error, Result};

/// Capacity the buffer keeps between groups; one huge group must not hold memory forever.
const BUFFER_KEPT_BYTES: usize = 16 << 20;

/// A log open for appending. One thread owns it; readers take a [`super::Cursor`].
#[derive(Debug)]
pub struct Log {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: LogOptions,
    /// Segments that are not written any more, oldest first.
    pub(super) closed: Vec<SegmentInfo>,
    pub(super) active: Active,
    pub(super) last_index: u64,
    pub(super) durable_index: u64,
    /// The highest durable index that the log itself tells.
    pub(super) told_index: u64,
    /// Whether the active segment has bytes that are not synced.
    pub(super) dirty: bool,
    /// Length of the active segment that is durable, up to the record of `durable_index`.
    pub(super) durable_bytes: u64,
    /// Whether the active segment was cut back for want of room. Nothing is appended to it any
    /// more: what was sealed under its key does not come again.
    pub(super) cut_back: bool,
    pub(super) vote: Option<Vote>,
    buffer: Vec<u8>,
    poison: Option<String>,
}

impl Log {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        closed: Vec<SegmentInfo>,
        active: Active,
        vote: Option<Vote>,
    ) -> Log {
        let (last_index, durable_bytes) = (active.first_index - 1, active.bytes);
        Log {
            storage,
            options,
            closed,
            active,
            last_index,
            durable_index: last_index,
            told_index: last_index,
            dirty: false,
            durable_bytes,
            cut_back: false,
            vote,
            buffer: Vec::new(),
            poison: None,
        }
    }

    /// Appends records, one position each, in one write, and makes them durable with one sync.
    /// Gives their positions.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a group that is empty, a payload that is too long, or a kind that
    /// takes no position, [`Error::Full`] if there was no room: none of the group is in the log, now
    /// or after a crash, and appending can be tried again. [`Error::Io`] if the storage failed: the
    /// log is read-only from then on, and whether the records are in it is only known after opening
    /// it again. [`Error::ReadOnly`] after that.
    pub fn append_group(&mut self, records: &[RecordIn<'_>]) -> Result<RangeInclusive<u64>> {
        let range = self.write_group(records)?;
        self.sync()?;
        Ok(range)
    }

    /// The first half of [`Log::append_group`]: writes without making durable.
    ///
    /// # Errors
    /// As [`Log::append_group`].
    pub fn write_group(&mut self, records: &[RecordIn<'_>]) -> Result<RangeInclusive<u64>> {
        self.check_writable()?;
        let group_bytes = self.check_group(records)?;
        let long = self.active.record_bytes() + group_bytes > self.options.segment_bytes_max;
        if self.cut_back || (self.has_records() && long) {
            self.roll()?;
        }
        let (group, durable, first) = (self.options.group, self.durable_index, self.last_index + 1);
        self.buffer.clear();
        for (record, index) in records.iter().zip(first..) {
            let header = RecordHeader::new(group, record.kind, record.term, index, durable);
            let (salt, key) = (self.active.salt, self.active.key.as_ref());
            let encoded = encode_record(&mut self.buffer, salt, key, record.payload, header);
            // Indexes that were sealed with do not come again in this segment.
            self.guard(encoded)?;
        }
        self.write_buffer()?;
        self.last_index += records.len() as u64;
        self.told_index = durable;
        Ok(first..=self.last_index)
    }

    /// The second half of [`Log::append_group`]: makes everything written durable.
    ///
    /// # Errors
    /// As [`Log::append_group`]; on [`Error::Full`] all that was not durable is taken back.
    pub fn sync(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.dirty {
            let synced = self.active.file.sync_data();
            let doing = format!("cannot sync {}", self.active.path);
            match synced.map_err(|e| Error::io(doing, &e)) {
                Err(full @ Error::Full(_)) => {
                    return Err(self.take_back(self.durable_bytes, self.durable_index, full));
                }
                synced => self.guard(synced)?,
            }
            self.dirty = false;
            self.durable_bytes = self.active.bytes;
        }
        self.durable_index = self.last_index;
        Ok(())
    }

    /// Writes down what is durable, without a sync, so that even the loss of the last commit would
    /// be noticed. Does nothing if the log tells it already.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Full`], [`Error::ReadOnly`] as [`Log::append_group`].
    pub fn write_mark(&mut self) -> Result<()> {
        self.check_writable()?;
        // The segment that follows one that was cut back says it.
        if self.told_index == self.durable_index || self.cut_back {
            return Ok(());
        }
        let (group, last, durable) = (self.options.group, self.last_index, self.durable_index);
        self.buffer.clear();
        let header = RecordHeader::new(group, Kind::Mark, 0, last, durable);
        encode_record(&mut self.buffer, self.active.salt, None, &[], header)?;
        self.write_buffer()?;
        self.told_index = durable;
        Ok(())
    }

    /// Closes the segment being written, if it holds records, and begins the next: a closed
    /// segment never changes, so it can be copied.
    ///
    /// # Errors
    /// As [`Log::append_group`].
    pub fn close_segment(&mut self) -> Result<()> {
        self.check_writable()?;
        if self.has_records() { self.roll() } else { Ok(()) }
    }

    /// Saves a vote durably.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a vote that takes back the one held. Else as [`Log::append_group`].
    pub fn save_vote(&mut self, vote: Vote) -> Result<()> {
        self.check_writable()?;
        let back = |held: Vote| {
            held.term > vote.term || (held.term == vote.term && held.node != vote.node)
        };
        if let Some(held) = self.vote.filter(|held| back(*held)) {
            return Err(Error::Invalid(format!("{vote:?} would take back {held:?}")));
        }
        if self.cut_back {
            self.roll()?;
        }
        let (group, last, durable) = (self.options.group, self.last_index, self.durable_index);
        self.buffer.clear();
        encode_vote(&mut self.buffer, group, vote, last, durable, self.active.salt)?;
        self.write_buffer()?;
        self.told_index = durable;
        self.sync()?;
        self.vote = Some(vote);
        Ok(())
    }

    /// Closes the log with a durable mark behind the last record, if there is room for it: nothing
    /// is lost without.
    ///
    /// # Errors
    /// As [`Log::append_group`].
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        match self.write_mark().and_then(|()| self.sync()) {
            Err(Error::Full(_)) => Ok(()),
            marked => marked,
        }
    }

    /// The last vote saved.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// The first position in the log; the next one to be given if the log is empty.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.closed.first().map_or(self.active.first_index, |segment| segment.first_index)
    }

    /// The last position written; `first_index - 1` if the log is empty.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The last position that is durable.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.durable_index
    }

    /// Length of all segments, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.closed.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.bytes
    }

    /// Length of the segments with positions from `index` on, bytes.
    #[must_use]
    pub fn bytes_from(&self, index: u64) -> u64 {
        let closed = self.closed.iter().filter(|segment| segment.last_index >= index);
        let active = if self.last_index >= index { self.active.bytes } else { 0 };
        closed.map(|segment| segment.bytes).sum::<u64>() + active
    }

    /// All segments, oldest first; the last is the one written to.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let mut segments = self.closed.clone();
        segments.push(self.active.info(self.last_index));
        segments
    }

    /// Why the log is read-only, if it is.
    #[must_use]
    pub fn poison(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Checks a group before anything is done; gives its length on disk.
    fn check_group(&self, records: &[RecordIn<'_>]) -> Result<u64> {
        if records.is_empty() {
            return Err(Error::Invalid("a group without records".to_owned()));
        }
        let mut group_bytes = 0;
        for record in records {
            if !record.kind.takes_position() {
                return Err(Error::Invalid(format!("{:?} is not appended", record.kind)));
            }
            let payload_bytes: u64 = record.payload.iter().map(|part| part.len() as u64).sum();
            let limit = u64::from(self.options.record_bytes_max);
            if payload_bytes > limit {
                return Err(Error::Invalid(format!(
                    "a record of {payload_bytes} bytes; the longest allowed has {limit}"
                )));
            }
            let sealed_bytes = payload_bytes + self.active.tag_bytes();
            group_bytes += RECORD_HEADER_BYTES + sealed_bytes.next_multiple_of(8);
        }
        Ok(group_bytes)
    }

    fn has_records(&self) -> bool {
        self.last_index >= self.active.first_index
    }

    /// Closes the active segment and begins the next; one without records is replaced. All bytes
    /// of the old one, marks too, must be durable first: recovery takes a later segment as proof
    /// of that.
    fn roll(&mut self) -> Result<()> {
        self.sync()?;
        let made = Prepared::make(&*self.storage, &self.options, self.last_index + 1, self.vote);
        let prepared = match made {
            // Nothing has its name yet: the log is as it was.
            Err(full @ Error::Full(_)) => return Err(full),
            made => self.guard(made)?,
        };
        let installed = prepared.install(&*self.storage);
        let active = self.guard(installed)?;
        if self.has_records() {
            self.closed.push(self.active.info(self.last_index));
        }
        self.go_over_to(active);
        Ok(())
    }

    /// From now on `active` is written to, a segment without records.
    pub(super) fn go_over_to(&mut self, active: Active) {
        self.durable_bytes = active.bytes;
        self.active = active;
        self.told_index = self.last_index;
        self.dirty = false;
        self.cut_back = false;
    }

    fn write_buffer(&mut self) -> Result<()> {
        let written = self.active.file.write_at(self.active.bytes, &self.buffer);
        let doing = || format!("cannot write to {}", self.active.path);
        match written.map_err(|e| Error::io(doing(), &e)) {
            Err(full @ Error::Full(_)) => {
                return Err(self.take_back(self.active.bytes, self.last_index, full));
            }
            written => self.guard(written)?,
        }
        self.active.bytes += self.buffer.len() as u64;
        self.dirty = true;
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        }
        Ok(())
    }

    /// Cuts the active segment back to `bytes`, the end of record `last_index`, durably: what did
    /// not find room must not come back after a crash. Gives what to answer.
    fn take_back(&mut self, bytes: u64, last_index: u64, full: Error) -> Error {
        let file = &self.active.file;
        if let Err(error) = file.set_len(bytes).and_then(|()| file.sync_data()) {
            let why = format!("{full}, and {} could not be cut back: {error}", self.active.path);
            return self.poisoned(Error::Io(why));
        }
        self.active.bytes = bytes;
        self.durable_bytes = bytes;
        self.last_index = last_index;
        self.durable_index = last_index;
        self.dirty = false;
        self.cut_back = true;
        full
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.poison {
            Some(cause) => Err(Error::ReadOnly(format!("the log has failed: {cause}"))),
            None => Ok(()),
        }
    }

    /// Passes a result on; an error makes the log read-only.
    pub(super) fn guard<T>(&mut self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.poisoned(error))
    }

    fn poisoned(&mut self, error: Error) -> Error {
        let error = error.lasting();
        self.poison = Some(error.to_string());
        error
    }
}

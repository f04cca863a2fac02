//! Shortening the log at either end.

use super::append::Log;
use super::scan::{Scanner, Sound, Step, Want, open_sound};
use super::segment::{Prepared, remove, sync_folder};
use super::{LogOptions, SegmentInfo};
use crate::io::Storage;
use crate::{Error, Result};

impl Log {
    /// Removes every record behind `index`, durably, and begins a fresh segment. Does nothing if
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `index + 1` is purged already. [`Error::Io`] or
    /// [`Error::Corrupt`] if it fails half-way: the log is read-only then; opened again it is sound
    /// and ends somewhere between `index` and the old end.
    pub fn truncate_after(&mut self, index: u64) -> Result<()> {
        self.check_writable()?;
        if index >= self.last_index {
            return Ok(());
        }
        if index + 1 < self.first_index() {
            return Err(Error::Invalid(format!(
                "cannot truncate after {index}: the log begins at {}",
                self.first_index()
            )));
        }
        let done = self.truncate(index);
        self.guard(done)
    }

    fn truncate(&mut self, index: u64) -> Result<()> {
        let due = index + 1;
        let storage = &*self.storage;
        // First of all a durable copy of the vote: what is cut may hold the only other one.
        let prepared = Prepared::make(storage, &self.options, due, self.vote)?;
        sync_folder(storage)?;
        let mut kept = self.segments();
        while let Some(segment) = kept.pop_if(|segment| segment.first_index > due) {
            remove(storage, &segment.path)?;
        }
        // One that begins with the index due is replaced when the fresh one gets its name.
        kept.pop_if(|segment| segment.first_index == due);
        if let Some(segment) = kept.last_mut()
            && segment.last_index > index
        {
            cut(storage, &self.options, segment, index)?;
        }
        let active = prepared.install(storage)?;
        self.closed = kept;
        self.last_index = index;
        self.durable_index = index;
        self.go_over_to(active);
        Ok(())
    }

    /// Removes whole segments whose records all lie before `index`, oldest first, durably; never
    /// the one being written. Gives how many.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be removed: the segments before it are gone, the log goes on,
    /// and purging can be tried again. [`Error::ReadOnly`] if the log has failed before.
    pub fn purge_before(&mut self, index: u64) -> Result<u64> {
        self.check_writable()?;
        let mut purged = 0;
        while let Some(segment) = self.closed.first()
            && segment.last_index < index
        {
            let path = &segment.path;
            let removed = self.storage.remove(path);
            removed.map_err(|e| Error::io(format!("cannot remove {path}"), &e))?;
            self.closed.remove(0);
            // A folder whose sync failed may lose later names too.
            let synced = sync_folder(&*self.storage);
            self.guard(synced)?;
            purged += 1;
        }
        Ok(purged)
    }
}

/// Cuts a segment behind `index`, durably.
fn cut(
    storage: &dyn Storage,
    options: &LogOptions,
    segment: &mut SegmentInfo,
    index: u64,
) -> Result<()> {
    let path = &segment.path;
    let Sound { file, header, .. } = open_sound(storage, path, options)?;
    let mut scanner = Scanner::new(file.clone(), path.clone(), &header, segment.bytes);
    let offset = loop {
        match scanner.step(|_| Want::Skip)? {
            Step::Record { offset, header } => {
                if header.kind.takes_position() && header.index > index {
                    break offset;
                }
            }
            Step::Bad { offset, why, .. } => return Err(Error::corrupt(path, offset, why)),
            Step::End => {
                let why = format!("the segment ends before index {}", index + 1);
                return Err(Error::corrupt(path, segment.bytes, why));
            }
        }
    };
    let doing = || format!("cannot cut {path} to {offset} bytes");
    file.set_len(offset).map_err(|e| Error::io(doing(), &e))?;
    file.sync_data().map_err(|e| Error::io(doing(), &e))?;
    segment.bytes = offset;
    segment.last_index = index;
    Ok(())
}

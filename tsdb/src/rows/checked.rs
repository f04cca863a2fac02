//! A file whose pages are remembered: what is read again must be what was read or written before.
//!
//! redb checks a page when the store is opened and never again, so a bit that flips on the way
//! from the disk later on would give wrong rows, or fewer. Of each page that was seen whole since
//! the opening a checksum is kept in memory; a page that does not fit it is read once more, since
//! what flipped on the way is well on the disk, and refused if it differs still.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::io::File;

/// Bytes under one checksum: redb's smallest page.
const PAGE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Checked {
    file: Arc<dyn File>,
    /// Checksum of each page that is known; 8 bytes for 4 KiB. Held while the file is written, so
    /// that the second look at a page meets no half of a write.
    sums: Mutex<Vec<Option<u32>>>,
}

impl Checked {
    pub fn new(file: Arc<dyn File>) -> Checked {
        Checked { file, sums: Mutex::new(Vec::new()) }
    }

    pub fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    pub fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// # Errors
    /// Those of the file; `InvalidData` for a page that is not what it was.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)?;
        if self.knows(&self.sums.lock(), offset, out) {
            return Ok(());
        }
        // Pages that are not known yet are learnt under the lock alone: what was read without it
        // may be half of a write.
        let mut sums = self.sums.lock();
        self.file.read_at(offset, out)?;
        match self.settle(&mut sums, offset, out) {
            None => Ok(()),
            Some(page) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("page {page} is not what was read or written before"),
            )),
        }
    }

    /// Whether all whole pages are known to be so.
    fn knows(&self, sums: &[Option<u32>], offset: u64, bytes: &[u8]) -> bool {
        let pages = whole_pages(offset, bytes.len());
        let first = pages.start * PAGE - offset as usize;
        let contents = bytes[first.min(bytes.len())..].chunks_exact(PAGE);
        pages.zip(contents).all(|(page, content)| {
            // A page that is not known is hashed once, when it is learnt.
            sums.get(page).copied().flatten().is_some_and(|sum| sum == crc32fast::hash(content))
        })
    }

    /// Learns the pages that are not known yet; the first page that differs from what is known.
    fn settle(&self, sums: &mut Vec<Option<u32>>, offset: u64, bytes: &[u8]) -> Option<usize> {
        let pages = whole_pages(offset, bytes.len());
        if sums.len() < pages.end {
            sums.resize(pages.end, None);
        }
        let first = pages.start * PAGE - offset as usize;
        for (page, content) in pages.zip(bytes[first.min(bytes.len())..].chunks_exact(PAGE)) {
            let sum = crc32fast::hash(content);
            if *sums[page].get_or_insert(sum) != sum {
                return Some(page);
            }
        }
        None
    }

    /// # Errors
    /// Those of the file.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut sums = self.sums.lock();
        // Pages that are written in part, or not at all in the end, are not known any more.
        forget(&mut sums, touched_pages(offset, data.len()));
        self.file.write_at(offset, data)?;
        // Learns the whole ones.
        self.settle(&mut sums, offset, data);
        Ok(())
    }

    /// # Errors
    /// Those of the file.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let mut sums = self.sums.lock();
        let first = (len as usize) / PAGE;
        let last = sums.len();
        forget(&mut sums, first..last);
        self.file.set_len(len)
    }
}

fn forget(sums: &mut [Option<u32>], pages: Range<usize>) {
    let end = pages.end.min(sums.len());
    if let Some(pages) = sums.get_mut(pages.start.min(end)..end) {
        pages.fill(None);
    }
}

/// Pages of which `len` bytes from `offset` on have any.
fn touched_pages(offset: u64, len: usize) -> Range<usize> {
    let offset = offset as usize;
    offset / PAGE..(offset + len).div_ceil(PAGE)
}

/// Pages that lie whole in `len` bytes from `offset` on.
fn whole_pages(offset: u64, len: usize) -> Range<usize> {
    let offset = offset as usize;
    let start = offset.div_ceil(PAGE);
    start..((offset + len) / PAGE).max(start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::disk::Disk;
    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize),
        Read(u64, usize),
        SetLen(u64),
        /// A bit of the disk, for good.
        Rot(u64),
        /// A bit on the way of the next read.
        Slip(u64),
    }

    const END: u64 = 10 * PAGE as u64;

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = || prop_oneof![(0..END / PAGE as u64).prop_map(|p| p * PAGE as u64), 0..END];
        let len = || prop_oneof![(1..4usize).prop_map(|pages| pages * PAGE), 1..3 * PAGE];
        let step = prop_oneof![
            (place(), len()).prop_map(|(at, len)| Step::Write(at, len)),
            (place(), len()).prop_map(|(at, len)| Step::Read(at, len)),
            (place(), len()).prop_map(|(at, len)| Step::Read(at, len)),
            (1..END).prop_map(Step::SetLen),
            (0..END).prop_map(Step::Rot),
            (0..END).prop_map(Step::Slip),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// Pages that are known are never given wrong: slips are healed, rot is told.
        #[test]
        fn known_pages_are_right_or_refused(steps in steps()) {
            let disk = Disk::new(vec![0; END as usize]);
            let file = Checked::new(disk.clone());
            // All is known from here on.
            file.read(0, &mut vec![0; END as usize]).unwrap();
            let mut model = vec![0u8; END as usize];
            // Bytes that rotted, and pages of which the file cannot know it: written in part.
            let mut blind = std::collections::BTreeSet::new();
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Write(from, len) => {
                        let end = ((from as usize + len).min(model.len())).max(from as usize);
                        let data = vec![at as u8 + 1; end.saturating_sub(from as usize)];
                        file.write(from, &data).unwrap();
                        if model.len() < end {
                            model.resize(end, 0);
                        }
                        model[from as usize..end].copy_from_slice(&data);
                        for page in touched_pages(from, data.len()) {
                            if whole_pages(from, data.len()).contains(&page) {
                                blind.remove(&page);
                            } else {
                                blind.insert(page);
                            }
                        }
                    }
                    Step::SetLen(len) => {
                        file.set_len(len).unwrap();
                        let before = model.len();
                        model.resize(len as usize, 0);
                        for page in (len as usize).min(before) / PAGE..=END as usize / PAGE {
                            blind.insert(page);
                        }
                    }
                    Step::Rot(at) => disk.flip(at),
                    Step::Slip(at) => disk.slip(at),
                    Step::Read(from, len) => {
                        let end = (from as usize + len).min(model.len());
                        if from as usize >= end {
                            continue;
                        }
                        let mut out = vec![0; end - from as usize];
                        let rotten = disk.live()[from as usize..end] != model[from as usize..end];
                        match file.read(from, &mut out) {
                            Ok(()) => {
                                let first = from as usize;
                                let pages = whole_pages(from, out.len());
                                for page in pages.filter(|page| !blind.contains(page)) {
                                    let place = page * PAGE..(page + 1) * PAGE;
                                    let got = place.start - first..place.end - first;
                                    prop_assert_eq!(&out[got], &model[place]);
                                }
                            }
                            Err(failed) => {
                                prop_assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
                                let learnt = blind.iter().any(|p| {
                                    whole_pages(from, end - from as usize).contains(p)
                                });
                                prop_assert!(rotten || learnt, "{failed}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_slip_is_healed_and_rot_is_told_by_its_page() {
        let disk = Disk::new(vec![7; 3 * PAGE]);
        let file = Checked::new(disk.clone());
        let mut page = vec![0; PAGE];
        file.read(PAGE as u64, &mut page).unwrap();
        disk.slip(PAGE as u64 + 9);
        file.read(PAGE as u64, &mut page).unwrap();
        assert_eq!(page, vec![7; PAGE]);
        disk.flip(PAGE as u64 + 9);
        let failed = file.read(PAGE as u64, &mut page).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
        assert!(failed.to_string().contains("page 1 "), "{failed}");
        file.write(PAGE as u64, &[8; PAGE]).unwrap();
        file.read(PAGE as u64, &mut page).unwrap();
        assert_eq!(page, vec![8; PAGE]);
    }
}

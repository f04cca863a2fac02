//! Parts that cannot be read, whole or in blocks: what is noted, and what readers are told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::{GroupRef, NEXT, Part};
use crate::error::{Error, Result};
use crate::io::File;
use crate::part::PartMeta;
use crate::part::damage::{BadBlock, Damage, cause};
use crate::part::format::Footer;
use crate::part::index::Section;
use crate::types::{ColumnId, now_ns};

impl Part {
    /// Stands for a part that could not be opened: whoever reads it gets the cause.
    pub fn unopened(path: &str, meta: PartMeta, file: Arc<dyn File>, cause: &str) -> Part {
        let (series_min, series_max) = (meta.series_min, meta.series_max);
        let footer = Footer {
            rows: meta.rows,
            series_count: meta.series_count,
            series_min,
            series_max,
            times: meta.times,
            key_bytes: 0,
            columns: Vec::new(),
            pages: Vec::new(),
        };
        let part = Part {
            path: path.to_owned(),
            file,
            footer,
            meta,
            page_starts: vec![0],
            cache: Arc::default(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            blocks: OnceLock::new(),
            damage: Damage::default(),
            unopened: Some(cause.to_owned()),
        };
        part.damage.note(part.whole(cause), false, || part.whole(cause));
        part
    }

    /// Whether the file could not be opened.
    pub fn is_unopened(&self) -> bool {
        self.unopened.is_some()
    }

    /// What could not be read so far.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Takes in what was found bad before the part was opened.
    pub fn remember(&self, block: &BadBlock) {
        self.damage.note(block.clone(), true, || self.whole(&block.cause));
    }

    /// Takes in what another reader of the file found bad.
    pub fn found(&self, block: BadBlock) {
        let cause = block.cause.clone();
        self.damage.note(block, false, || self.whole(&cause));
    }

    pub(super) fn whole(&self, cause: &str) -> BadBlock {
        let now = now_ns();
        BadBlock::file(self.meta.times, self.meta.bytes, cause.to_owned(), now)
    }

    /// Notes what could not be read and makes the error say it; other errors pass.
    pub(super) fn guard<T>(
        &self,
        read: Result<T>,
        block: impl FnOnce(String) -> BadBlock,
    ) -> Result<T> {
        read.map_err(|error| match cause(&error) {
            None => error,
            Some(cause) => {
                let block = block(cause.to_owned());
                let told = Error::Corrupt(format!("{}: {block}", self.path));
                self.damage.note(block, false, || self.whole(cause));
                told
            }
        })
    }

    /// A block of the index: of a column's part of a page, or of the page.
    pub(super) fn page_block(
        &self,
        number: usize,
        column: Option<usize>,
        (offset, len): (u64, u32),
        cause: String,
    ) -> BadBlock {
        let page = self.footer.pages.get(number);
        BadBlock {
            group: None,
            column: column.and_then(|index| Some(self.footer.columns.get(index)?.id)),
            offset,
            len: u64::from(len),
            series: page.map_or((0, u32::MAX), |page| (page.series_first, page.series_last)),
            times: page.map_or(self.meta.times, |page| page.times),
            cause,
            since: now_ns(),
        }
    }

    /// A block of a row group.
    pub(super) fn group_block(
        &self,
        group: &GroupRef,
        column: Option<ColumnId>,
        (offset, len): (u64, u32),
        cause: String,
    ) -> BadBlock {
        BadBlock {
            group: Some(group.index),
            column,
            offset,
            len: u64::from(len),
            series: (group.series_first, group.series_last),
            times: group.times,
            cause,
            since: now_ns(),
        }
    }

    pub(super) fn guard_section<T>(
        &self,
        number: usize,
        index: usize,
        section: Section,
        read: Result<T>,
    ) -> Result<T> {
        self.guard(read, |cause| {
            let start = self.footer.pages.get(number).map_or(0, |page| page.offset);
            let place = (start.saturating_add(u64::from(section.offset)), section.len);
            self.page_block(number, Some(index), place, cause)
        })
    }
}

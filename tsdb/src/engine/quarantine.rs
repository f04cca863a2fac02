//! The quarantine: what is known of blocks that cannot be read.
//!
//! A part notes its bad blocks itself, in the moment that somebody reads one ([`Damage`]); the
//! background writes them to the version log, so that a restart knows them. Readers meet them by
//! the checksums as before and fail with their name. Who would rather have the other rows reads
//! through [`Table::without_quarantined`]: the series and times of bad blocks are then hidden, in
//! every part and in the head, so that no older row shows where a newer one cannot be read.
//! Merges leave such parts alone (`plan::free`), and so do moves to the archive.
//!
//! [`Damage`]: crate::part::Damage
//! [`Table::without_quarantined`]: super::Table::without_quarantined

use std::sync::Arc;

use parking_lot::Mutex;

use crate::deletes::{Hides, Selection, Tombstone};
use crate::error::Result;
use crate::part::BadBlock;
use crate::scan::PartHandle;
use crate::series::Bitmap;
use crate::types::{ColumnId, TableId, TimeRange};

use super::Db;
use super::core::Core;
use super::files;
use super::state::{State, TableState};
use super::version::Edit;

/// A bad block, as `sys.quarantine` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its table.
    pub table: TableId,
    /// Number of the part, or last-row part.
    pub part: u64,
    /// The file under the data folder: of archived parts that of their index.
    pub path: String,
    /// Store and name of the object that an archived part lies in.
    pub object: Option<String>,
    /// Where it is, whose rows need it, why and since when.
    pub block: BadBlock,
    /// Whether a restart knows it: the version log has it.
    pub recorded: bool,
}

/// Notes what readers were spared: the bad blocks whose rows were left out.
#[derive(Debug, Default)]
pub struct LeftOut(Mutex<Vec<Quarantined>>);

impl LeftOut {
    /// The blocks since the last call, each once.
    pub fn take(&self) -> Vec<Quarantined> {
        std::mem::take(&mut *self.0.lock())
    }

    fn note(&self, bad: Vec<Quarantined>) {
        let mut known = self.0.lock();
        for bad in bad {
            if !known.contains(&bad) {
                known.push(bad);
            }
        }
    }
}

impl Db {
    /// The bad blocks that are known, of all tables.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        let state = self.core.state.load();
        state.tables.values().flat_map(|table| table.quarantined()).collect()
    }

    /// Makes durable what is known of bad blocks, as the background does within a second.
    ///
    /// # Errors
    /// What writing gives; the database is then read-only.
    pub fn record_quarantined(&self) -> Result<()> {
        record(&self.core)
    }
}

impl TableState {
    /// The bad blocks of its parts and of its last-row part.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        let table = self.schema.id;
        let parts = self.parts.iter().flat_map(|part| {
            let of = move |(block, recorded)| Quarantined {
                table,
                part: part.entry.id,
                path: part.part.path().to_owned(),
                object: part.entry.object.as_ref().map(ToString::to_string),
                block,
                recorded,
            };
            part.part.damage().list().into_iter().map(of)
        });
        let last = self.bad_last.iter().map(|(id, block, recorded)| Quarantined {
            table,
            part: *id,
            path: files::last(table, *id),
            object: None,
            block: block.clone(),
            recorded: *recorded,
        });
        parts.chain(last).collect()
    }

    /// Whether last rows may have been left out of the last-row part.
    pub fn doubts_last(&self) -> bool {
        let bad = self.bad_last.is_some() || self.parts.iter().any(|part| part.is_bad());
        bad || self.scarred || self.is_archived()
    }

    /// What hides the rows that bad blocks keep from readers of these columns, series and times;
    /// `None` if no block does. The blocks are noted.
    pub fn hides_of_bad(
        &self,
        columns: &[ColumnId],
        series: Option<&Bitmap>,
        times: TimeRange,
        left_out: &LeftOut,
    ) -> Option<Arc<Tombstone>> {
        let mut bad = self.quarantined();
        bad.retain(|bad| {
            let (first, last) = bad.block.series;
            let some = |set: &Bitmap| set.range_cardinality(first..=last) > 0;
            Some(bad.part) != self.bad_last.as_ref().map(|(id, ..)| *id)
                && bad.block.concerns(columns)
                && bad.block.times.overlaps(&times)
                && series.is_none_or(some)
        });
        let selections: Vec<Selection> = bad.iter().map(|bad| selection(&bad.block)).collect();
        left_out.note(bad);
        // Behind every commit: it hides what is written later, too.
        (!selections.is_empty()).then(|| Arc::new(Tombstone::new(u64::MAX, selections)))
    }
}

fn selection(block: &BadBlock) -> Selection {
    let (first, last) = block.series;
    let series = (first > 0 || last < u32::MAX).then(|| Bitmap::from_range(first..=last));
    Selection::Range { series, times: block.times }
}

impl PartHandle {
    /// Whether some block of the part could not be read.
    pub fn is_bad(&self) -> bool {
        self.part.damage().any()
    }
}

/// Tombstones with one more.
pub(crate) fn with(tombstones: &[Arc<Tombstone>], more: &Arc<Tombstone>) -> Vec<Arc<Tombstone>> {
    tombstones.iter().chain([more]).cloned().collect()
}

/// What one tombstone hides of everything.
pub(crate) fn hides_all(tombstone: &Arc<Tombstone>) -> Option<Arc<Hides>> {
    Hides::of(std::slice::from_ref(tombstone), 0, 0..=u32::MAX, TimeRange::ALL, None)
}

/// Writes bad blocks that were found since to the version log.
///
/// # Errors
/// What the version log gives; the database must then turn read-only.
pub(crate) fn record(core: &Core) -> Result<()> {
    match core.check_writable() {
        Ok(()) => record_closing(core),
        Err(_) => Ok(()),
    }
}

/// As [`record`], while the database closes.
///
/// # Errors
/// As [`record`].
pub(crate) fn record_closing(core: &Core) -> Result<()> {
    let state = core.state.load();
    let found: Vec<Quarantined> = fresh(&state);
    if found.is_empty() {
        return Ok(());
    }
    for bad in &found {
        let (path, block) = (bad.object.as_ref().unwrap_or(&bad.path), &bad.block);
        tracing::error!(path, %block, "a bad block is in quarantine");
    }
    let bad = found.iter().map(|bad| (bad.table, bad.part, bad.block.clone())).collect();
    core.edit(&Edit { bad, ..Edit::default() })?;
    for bad in &found {
        let Some(table) = state.tables.get(&bad.table) else { continue };
        let part = table.parts.iter().find(|part| part.entry.id == bad.part);
        if let Some(part) = part {
            part.part.damage().recorded(std::slice::from_ref(&bad.block));
        }
    }
    let is_last = |bad: &&Quarantined| bad.path.ends_with(".last");
    let lasts: Vec<_> = found.iter().filter(is_last).map(|bad| (bad.table, bad.part)).collect();
    if lasts.is_empty() {
        return Ok(());
    }
    core.publish(|state| {
        for (table, part) in lasts {
            let Some(table) = state.tables.get_mut(&table) else { continue };
            if table.bad_last.as_ref().is_some_and(|(id, ..)| *id == part) {
                let table = Arc::make_mut(table);
                table.bad_last.iter_mut().for_each(|(_, _, recorded)| *recorded = true);
            }
        }
    });
    Ok(())
}

fn fresh(state: &State) -> Vec<Quarantined> {
    let all = state.tables.values().flat_map(|table| table.quarantined());
    all.filter(|bad| !bad.recorded).collect()
}

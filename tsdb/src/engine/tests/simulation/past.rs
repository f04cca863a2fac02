//! What a world was at each time, and restores to those times.

use std::sync::Arc;

use crate::backup::{RestoreReport, RestoreRequest, restore};
use crate::io::{FaultPlan, FaultyStorage, MemoryStorage, Storage};
use crate::{Error, Options, Result};

use super::super::model::{Model, try_check};
use super::super::random::Random;
use super::super::workload::small_options;
use super::{World, trace};

/// The moments of a world.
#[derive(Clone, Default)]
pub struct Past {
    /// What it was from a time on.
    moments: Vec<(i64, Model)>,
    /// Times between which nobody knows what it was.
    doubts: Vec<(i64, i64)>,
    /// The moment of the first backup.
    first: Option<i64>,
    /// Whether time has gone on so far that objects were deleted which older backups name.
    pub collected: bool,
}

impl Past {
    pub fn note(&mut self, time: i64, model: &Model) {
        let context = "times go on";
        assert!(self.moments.last().is_none_or(|(last, _)| *last <= time), "{context}");
        trace(|| format!("    at {time}"));
        self.moments.push((time, model.clone()));
    }

    /// From one time to another, both left out, it is not known what the world was.
    pub fn doubt(&mut self, from: i64, to: i64) {
        trace(|| format!("    doubts between {from} and {to}"));
        self.doubts.push((from, to));
    }

    pub fn newest(&self) -> i64 {
        self.moments.last().map_or(i64::MIN, |(time, _)| *time)
    }

    pub fn backed_up(&mut self, time: i64) {
        self.first.get_or_insert(time);
    }

    /// What the world was at a time; none if that is not known.
    fn at(&self, time: i64) -> Option<Model> {
        if self.doubts.iter().any(|(from, to)| *from < time && time < *to) {
            return None;
        }
        let next = self.moments.partition_point(|(from, _)| *from <= time);
        let before = next.checked_sub(1)?;
        Some(self.moments[before].1.clone())
    }
}

impl World {
    /// Whether a moment cannot be restored for a reason that is told: its log has not been archived
    /// yet, or archived parts of its backup have been deleted, long after they were needed.
    fn is_out_of_reach(&self, error: &Error) -> bool {
        match error {
            Error::Invalid(why) => why.contains("cannot be restored"),
            Error::Io(why) => self.past.collected && why.starts_with("looking for archived"),
            _ => false,
        }
    }

    fn restore_into(&self, stored: Arc<dyn Storage>, to: Option<i64>) -> Result<RestoreReport> {
        let options = Options {
            // Little of the log at a time, so that there are several pieces.
            log_bytes_max: 6000,
            connector: self.options.connector.clone(),
            disk_reserve_bytes: 4096,
            ..small_options(&mut Random::new(5), false)
        };
        restore(RestoreRequest {
            objects: &self.stores.backups,
            stored,
            unseal: &|stored| Ok(self.seals.shape(stored)),
            lineage: None,
            number: None,
            to,
            options,
            progress: &mut |_| {},
        })
    }

    /// Restores a random moment of the past into a folder of its own, in which it may fail first.
    pub fn restore_a_moment(&mut self) {
        let Some(first) = self.past.first else { return };
        let times: Vec<i64> =
            self.past.moments.iter().map(|(time, _)| *time).filter(|time| *time >= first).collect();
        let to = match self.random.below(4) {
            0 => None,
            _ => self.random.pick_of(times.iter()).copied(),
        };
        let context = format!("{}, restored to {to:?}", self.context());
        let mut target = MemoryStorage::new();
        match self.random.below(4) {
            0 => {
                let faulty = FaultyStorage::new(Arc::new(target.clone()));
                faulty.set_plan(FaultPlan::CrashAt(self.random.below(250)));
                let broken = self.restore_into(Arc::new(faulty.clone()), to);
                if let Err(error) = &broken
                    && !faulty.struck()
                {
                    assert!(self.is_out_of_reach(error), "{context}: {error}");
                    return;
                }
                target = if broken.is_ok() {
                    MemoryStorage::new()
                } else {
                    target.crash(self.random.next())
                };
            }
            1 => {
                let capacity = self.random.below(3 << 20);
                target.set_capacity(Some(capacity));
                match self.restore_into(Arc::new(target.clone()), to) {
                    Ok(_) => target = MemoryStorage::new(),
                    Err(error) if self.is_out_of_reach(&error) => return,
                    Err(Error::Full(_)) => {
                        let left = target.used_bytes();
                        assert_eq!(left, 0, "{context}: a full disk is left fuller");
                    }
                    // The row store says it its own way; the mark stays, and it can be run again.
                    Err(Error::Io(why) | Error::ReadOnly(why)) => {
                        assert!(why.contains("No space left"), "{context}: {why}");
                    }
                    Err(error) => panic!("{context}: {error}"),
                }
                target.set_capacity(None);
            }
            _ => {}
        }
        // What began anew in a folder that a crash left without its mark finds it not empty.
        let report = match self.restore_into(Arc::new(target.clone()), to) {
            Err(Error::Exists(_)) => {
                target = MemoryStorage::new();
                self.restore_into(Arc::new(target.clone()), to)
            }
            done => done,
        };
        let report = match report {
            Ok(report) => report,
            // The log of that moment is not in the store yet.
            Err(error) if self.is_out_of_reach(&error) => return,
            Err(error) => panic!("{context}: {error}"),
        };
        assert!(to.is_none_or(|to| report.time <= to), "{context}: {}", report.time);
        trace(|| format!("restored backup {} to {}", report.manifest.number, report.time));
        let Some(model) = self.past.at(report.time) else { return };
        let db = self.open(Arc::new(target)).unwrap_or_else(|e| panic!("{context}: {e}"));
        try_check(&db, &model, &context).unwrap_or_else(|e| panic!("{context}: {e}"));
        db.close().unwrap();
    }
}

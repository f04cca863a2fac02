//! What befalls a world: one plan for its disk at a time, an end of the disk that comes and goes,
//! stores that are out of reach for a while; and which errors that excuses.

use crate::io::{FaultKind, FaultPlan, FaultyStorage, MemoryStorage};
use crate::{Db, Error, Options};

use super::super::random::Random;
use super::Stores;

/// The trouble of one life.
pub struct Trouble {
    disk: FaultyStorage,
    plan: FaultPlan,
    /// A plan of this life has struck, of whichever kind.
    struck: Struck,
    /// Whether the disk has had an end in this life.
    ended: bool,
    archive_fails: bool,
    backups_fail: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Struck {
    io: bool,
    full: bool,
    reads: bool,
}

/// Without the disk, which is all of it.
impl std::fmt::Debug for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Trouble");
        out.field("plan", &self.plan).field("struck", &self.struck()).field("ended", &self.ended);
        out.field("archive_fails", &self.archive_fails);
        out.field("backups_fail", &self.backups_fail).finish_non_exhaustive()
    }
}

impl Trouble {
    /// None yet.
    pub fn new(disk: &FaultyStorage) -> Trouble {
        Trouble {
            disk: disk.clone(),
            plan: FaultPlan::None,
            struck: Struck::default(),
            ended: false,
            archive_fails: false,
            backups_fail: false,
        }
    }

    /// What has happened so far of what was planned.
    fn struck(&self) -> Struck {
        let mut struck = self.struck;
        if self.disk.struck() {
            match self.plan {
                FaultPlan::None => {}
                FaultPlan::FailOnce { error: FaultKind::NoSpace, .. }
                | FaultPlan::FailFrom { error: FaultKind::NoSpace, .. }
                | FaultPlan::FailBetween { error: FaultKind::NoSpace, .. }
                | FaultPlan::ShortWrite { error: FaultKind::NoSpace, .. } => struck.full = true,
                FaultPlan::FlipOnRead { .. } | FaultPlan::FailReadsFrom { .. } => {
                    struck.reads = true;
                }
                _ => struck.io = true,
            }
        }
        struck
    }

    /// Plans what goes wrong next with the disk.
    pub fn plan(&mut self, random: &mut Random) {
        self.struck = self.struck();
        let near = [40, 200, 800][random.below(3) as usize];
        let at = self.disk.operations() + random.below(near);
        let read = self.disk.reads() + random.below(near);
        let error = [FaultKind::Io, FaultKind::NoSpace][random.below(2) as usize];
        self.plan = match random.below(12) {
            0..4 => FaultPlan::CrashAt(at),
            4 => FaultPlan::FailOnce { at, error },
            5 => FaultPlan::FailFrom { at, error },
            6 => FaultPlan::ShortWrite { at, error },
            7 | 8 => {
                let until = at + random.below(120);
                FaultPlan::FailBetween { at, until, error: FaultKind::NoSpace }
            }
            9 => FaultPlan::FlipOnRead { at: read, bit: random.next() },
            10 => FaultPlan::FailReadsFrom { at: read, error: FaultKind::Io },
            _ => FaultPlan::None,
        };
        self.disk.set_plan(self.plan);
    }

    /// Changes the trouble: of the disk's end, or of a store.
    pub fn change(
        &mut self,
        random: &mut Random,
        disk: &MemoryStorage,
        stores: &Stores,
        options: &Options,
    ) {
        let mut calls = || (random.below(2) == 0).then(|| random.below(12));
        let (archive, backups) = (calls(), calls());
        match random.below(3) {
            0 => {
                self.archive_fails = archive.is_some();
                stores.archive.fail_after(archive);
            }
            1 => {
                self.backups_fail = backups.is_some();
                stores.backups.fail_after(backups);
            }
            _ => {
                let room = random.below(3 * options.disk_reserve_bytes.max(8 << 10));
                let ends = random.below(3) > 0;
                self.ended |= ends;
                disk.set_capacity(ends.then(|| disk.used_bytes() + room));
            }
        }
    }

    /// Whether this error may be, and not more than it says has happened.
    pub fn judge(&self, db: &Db, error: &Error) -> Option<()> {
        let struck = self.struck();
        let read_only = db.read_only().is_some();
        let excused = match error {
            // Nothing has changed, and the database goes on, unless it was over before.
            Error::Full(_) => struck.full || self.ended,
            Error::Unavailable(_) => self.archive_fails,
            Error::Corrupt(_) => struck.reads,
            Error::Io(why) if why.contains("cannot be reached") => {
                let fails = self.backups_fail || self.archive_fails;
                // Noting it in the history may have been one write too many.
                fails && (!read_only || struck.io || struck.full || struck.reads || self.ended)
            }
            // The row store alone does not survive want of room.
            Error::ReadOnly(_) => struck.io || struck.reads || struck.full || self.ended,
            Error::Io(_) | Error::Closed => {
                struck.io || struck.reads || (read_only && (struck.full || self.ended))
            }
            _ => false,
        };
        (excused || self.is_power_cut()).then_some(())
    }

    /// Whether the power has gone.
    pub fn is_power_cut(&self) -> bool {
        matches!(self.plan, FaultPlan::CrashAt(_)) && self.disk.struck()
    }

    /// Whether something may have kept parts from moving.
    pub fn excuses_archive(&self) -> bool {
        let struck = self.struck();
        self.archive_fails || self.ended || struck.io || struck.full || struck.reads
    }

    pub fn excuses_close(&self) -> bool {
        let struck = self.struck();
        struck.io || struck.full || struck.reads
    }

    /// Whether both stores can be reached.
    pub fn stores_answer(&self) -> bool {
        !self.archive_fails && !self.backups_fail
    }

    /// Whether the disk still gives what it holds, and the archive too.
    pub fn reads_answer(&self) -> bool {
        let reads = matches!(
            self.plan,
            FaultPlan::FlipOnRead { .. } | FaultPlan::FailReadsFrom { .. } | FaultPlan::CrashAt(_)
        );
        // A part that was read wrong when it was opened stays in quarantine.
        !reads && !self.struck.reads && !self.archive_fails
    }

    /// From the next operation on nothing reaches the disk.
    pub fn cut_power(&mut self) {
        if !self.is_power_cut() {
            self.struck = self.struck();
            self.plan = FaultPlan::CrashAt(self.disk.operations());
            self.disk.set_plan(self.plan);
        }
    }

    /// Ends all of it but a plan for the disk.
    pub fn end(&mut self, disk: &MemoryStorage, stores: &Stores) {
        disk.set_capacity(None);
        stores.archive.fail_after(None);
        stores.backups.fail_after(None);
        (self.archive_fails, self.backups_fail) = (false, false);
    }
}

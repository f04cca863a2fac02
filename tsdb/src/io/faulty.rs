//! Storage that fails by plan, around any other storage.
//!
//! Every operation that changes something (create, remove, rename, create_dir, sync_dir,
//! write_at, sync_data, set_len) takes the next number, from 0. Reads (read_at) are numbered
//! apart, from 0 as well. Set the plan, run the engine, and look at what it makes of the fault.

use std::any::Any;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{File, Storage};

/// The error the operating system is said to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO: the device failed.
    Io,
    /// ENOSPC: no room.
    NoSpace,
}

impl FaultKind {
    fn error(self) -> io::Error {
        let code = match self {
            FaultKind::Io => rustix::io::Errno::IO,
            FaultKind::NoSpace => rustix::io::Errno::NOSPC,
        };
        io::Error::from_raw_os_error(code.raw_os_error())
    }
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultPlan {
    /// Nothing.
    #[default]
    None,
    /// Operation `at` fails without effect; later ones succeed.
    FailOnce { at: u64, error: FaultKind },
    /// Operation `at` and every later one fail without effect; reads go on.
    FailFrom { at: u64, error: FaultKind },
    /// Operations from `at` on, before `until`, fail without effect; with no space as the error
    /// only those that need some. A disk that is full until somebody makes room.
    FailBetween { at: u64, until: u64, error: FaultKind },
    /// The power goes while operation `n` runs: it is handed to the storage below, except a sync,
    /// but reported as failed; from then on every operation and read fails. The storage below can
    /// then be crashed by seed.
    CrashAt(u64),
    /// If operation `at` is a write, only its first half arrives before `error`.
    ShortWrite { at: u64, error: FaultKind },
    /// Read number `at` succeeds with one bit flipped: `bit` modulo the length in bits.
    FlipOnRead { at: u64, bit: u64 },
    /// Read number `at` and every later one fail.
    FailReadsFrom { at: u64, error: FaultKind },
}

#[derive(Debug, Default)]
struct Control {
    plan: FaultPlan,
    operations: u64,
    reads: u64,
    struck: bool,
    slow: bool,
}

/// A slow device takes so long for one operation of eight, and lets others go first at the rest.
const SLOW: std::time::Duration = std::time::Duration::from_micros(300);

/// What to do with one operation.
enum Verdict {
    Run,
    /// Hand on, then report this error: the power went in the middle.
    RunThenFail(io::Error),
    Half(io::Error),
    Fail(io::Error),
}

/// Storage that counts operations and fails by plan. Clones share plan and counters.
#[derive(Clone, Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    control: Arc<Mutex<Control>>,
}

impl FaultyStorage {
    /// Wraps `inner` without any fault planned.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> FaultyStorage {
        FaultyStorage { inner, control: Arc::default() }
    }

    /// Sets what goes wrong from now on. Numbers count from the first operation ever.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut control = self.control.lock();
        control.plan = plan;
        control.struck = false;
    }

    /// From now on operations are slow or not: threads get in each other's way.
    pub fn set_slow(&self, slow: bool) {
        self.control.lock().slow = slow;
    }

    /// Operations that changed something, so far: the number the next one gets.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.control.lock().operations
    }

    /// Reads so far: the number the next one gets.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.control.lock().reads
    }

    /// Whether the planned fault has happened.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.control.lock().struck
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power is gone (planned fault)")
}

/// The verdict on the next operation, after the wait of a slow device. It is taken apart from the
/// run, so that the lock is not held over real I/O.
fn next(control: &Mutex<Control>, needs_room: bool) -> Verdict {
    let (verdict, slow, number) = {
        let mut control = control.lock();
        (control.operation(needs_room), control.slow, control.operations)
    };
    match slow {
        true if number.is_multiple_of(8) => std::thread::sleep(SLOW),
        true => std::thread::yield_now(),
        false => {}
    }
    verdict
}

impl Control {
    /// The verdict on an operation; `needs_room` if it asks the device for bytes.
    fn operation(&mut self, needs_room: bool) -> Verdict {
        let number = self.operations;
        self.operations += 1;
        let verdict = match self.plan {
            FaultPlan::FailOnce { at, error } if number == at => Verdict::Fail(error.error()),
            FaultPlan::FailFrom { at, error } if number >= at => Verdict::Fail(error.error()),
            FaultPlan::FailBetween { at, until, error }
                if (at..until).contains(&number) && (needs_room || error == FaultKind::Io) =>
            {
                Verdict::Fail(error.error())
            }
            FaultPlan::CrashAt(at) if number == at => Verdict::RunThenFail(power_cut()),
            FaultPlan::CrashAt(at) if number > at => Verdict::Fail(power_cut()),
            FaultPlan::ShortWrite { at, error } if number == at => Verdict::Half(error.error()),
            _ => return Verdict::Run,
        };
        self.struck = true;
        verdict
    }

    /// The bit to flip in what this read gives, if any.
    fn read(&mut self) -> io::Result<Option<u64>> {
        let number = self.reads;
        self.reads += 1;
        match self.plan {
            FaultPlan::CrashAt(at) if self.operations > at => Err(power_cut()),
            FaultPlan::FailReadsFrom { at, error } if number >= at => {
                self.struck = true;
                Err(error.error())
            }
            FaultPlan::FlipOnRead { at, bit } if number == at => {
                self.struck = true;
                Ok(Some(bit))
            }
            _ => Ok(None),
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.plan {
            FaultPlan::CrashAt(at) if self.operations > at => Err(power_cut()),
            _ => Ok(()),
        }
    }
}

/// Runs a change of names or lengths under the plan; a half of one is all of it.
fn change<T>(
    control: &Mutex<Control>,
    needs_room: bool,
    run: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let verdict = next(control, needs_room);
    match verdict {
        Verdict::Run => run(),
        Verdict::RunThenFail(error) => run().and(Err(error)),
        Verdict::Half(error) | Verdict::Fail(error) => Err(error),
    }
}

/// Runs a sync under the plan: one that fails has made nothing durable.
fn sync(
    control: &Mutex<Control>,
    needs_room: bool,
    run: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let verdict = next(control, needs_room);
    match verdict {
        Verdict::Run => run(),
        Verdict::RunThenFail(error) | Verdict::Half(error) | Verdict::Fail(error) => Err(error),
    }
}

impl FaultyStorage {
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { inner: file, control: Arc::clone(&self.control) })
    }
}

impl Storage for FaultyStorage {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        change(&self.control, true, || self.inner.create(path)).map(|file| self.wrap(file))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.control.lock().alive()?;
        self.inner.open(path).map(|file| self.wrap(file))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        change(&self.control, false, || self.inner.remove(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        change(&self.control, false, || self.inner.rename(from, to))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.control.lock().alive()?;
        self.inner.list(folder)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        change(&self.control, true, || self.inner.create_dir(folder))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        sync(&self.control, false, || self.inner.sync_dir(folder))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.control.lock().alive()?;
        self.inner.exists(path)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.control.lock().alive()?;
        self.inner.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.control.lock().alive()?;
        self.inner.free_bytes()
    }

    fn stored(&self) -> Option<Arc<dyn Storage>> {
        let control = Arc::clone(&self.control);
        self.inner.stored().map(|inner| Arc::new(FaultyStorage { inner, control }) as _)
    }

    fn keys(&self) -> Option<Arc<crate::crypto::KeyRing>> {
        self.inner.keys()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    control: Arc<Mutex<Control>>,
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let flip = self.control.lock().read()?;
        self.inner.read_at(offset, buf)?;
        if let Some(bit) = flip
            && !buf.is_empty()
        {
            let bit = bit % (buf.len() as u64 * 8);
            buf[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let verdict = next(&self.control, true);
        match verdict {
            Verdict::Run => self.inner.write_at(offset, data),
            Verdict::RunThenFail(error) => self.inner.write_at(offset, data).and(Err(error)),
            Verdict::Half(error) => {
                self.inner.write_at(offset, &data[..data.len() / 2])?;
                Err(error)
            }
            Verdict::Fail(error) => Err(error),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        sync(&self.control, false, || self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.control.lock().alive()?;
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let grows = len > self.inner.len()?;
        change(&self.control, grows, || self.inner.set_len(len))
    }
}

//! Storage that runs something in the middle of a chosen operation.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::io::{File, Storage};

type Hook = Box<dyn FnOnce() + Send>;

/// Counts the operations on parts, series files and version logs, and runs the hook before the
/// chosen one. The log is left alone: the hook may commit.
#[derive(Clone)]
pub struct HookStorage {
    below: Arc<dyn Storage>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Control {
    counting: AtomicBool,
    left: AtomicU64,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for HookStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookStorage")
    }
}

impl HookStorage {
    pub fn new(below: Arc<dyn Storage>) -> HookStorage {
        HookStorage { below, control: Arc::default() }
    }

    /// Runs `hook` before operation `at` from now on.
    pub fn set(&self, at: u64, hook: impl FnOnce() + Send + 'static) {
        self.control.left.store(at, Ordering::SeqCst);
        *self.control.hook.lock() = Some(Box::new(hook));
        self.control.counting.store(true, Ordering::SeqCst);
    }

    /// Whether the hook ran; it no longer will.
    pub fn struck(&self) -> bool {
        self.control.counting.store(false, Ordering::SeqCst);
        self.control.hook.lock().take().is_none()
    }
}

impl Control {
    fn operation(&self, path: &str) {
        let ours = ["parts", "series", "version"].iter().any(|folder| path.starts_with(folder));
        if !ours || !self.counting.load(Ordering::SeqCst) {
            return;
        }
        if self.left.load(Ordering::SeqCst) > 0 {
            self.left.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        self.counting.store(false, Ordering::SeqCst);
        let hook = self.hook.lock().take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl Storage for HookStorage {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.control.operation(path);
        let below = self.below.create(path)?;
        let (path, control) = (path.to_owned(), Arc::clone(&self.control));
        Ok(Arc::new(HookFile { below, path, control }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let below = self.below.open(path)?;
        let (path, control) = (path.to_owned(), Arc::clone(&self.control));
        Ok(Arc::new(HookFile { below, path, control }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.control.operation(path);
        self.below.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.control.operation(from);
        self.below.rename(from, to)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.below.list(folder)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        self.below.create_dir(folder)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.control.operation(folder);
        self.below.sync_dir(folder)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.below.exists(path)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.below.lock()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.below.free_bytes()
    }
}

struct HookFile {
    below: Arc<dyn File>,
    path: String,
    control: Arc<Control>,
}

impl std::fmt::Debug for HookFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)
    }
}

impl File for HookFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.control.operation(&self.path);
        self.below.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.control.operation(&self.path);
        self.below.write_at(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.control.operation(&self.path);
        self.below.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.control.operation(&self.path);
        self.below.set_len(len)
    }
}

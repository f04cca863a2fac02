//! Storage in a folder of the operating system.

use std::any::Any;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, Storage, check_path};

/// The lock file in the root. It holds the owner's process id as text and is not listed.
const LOCK: &str = "LOCK";

/// A folder of the operating system.
#[derive(Debug)]
pub struct RealStorage {
    root: PathBuf,
}

impl RealStorage {
    /// Storage in `root`, which is made if it is missing.
    ///
    /// # Errors
    /// The operating system's, when `root` cannot be made or is not a folder.
    pub fn new(root: PathBuf) -> io::Result<RealStorage> {
        create_dir_durable(&root)?;
        Ok(RealStorage { root })
    }

    /// The folder given to [`RealStorage::new`].
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> io::Result<PathBuf> {
        check_path(path)?;
        Ok(self.root.join(path))
    }

    fn folder_at(&self, folder: &str) -> io::Result<PathBuf> {
        if folder.is_empty() { Ok(self.root.clone()) } else { self.at(folder) }
    }
}

/// Makes a folder with its parents. Each new name is synced in its parent at once: folders are
/// rare, and a file in a folder that a power cut takes away is as lost as an unsynced one.
fn create_dir_durable(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_durable(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) => return Err(error),
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

impl Storage for RealStorage {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(self.at(path)?)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(self.at(path)?)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.folder_at(folder)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // A name that is not UTF-8 cannot be ours, as every path here is a str.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let hidden = folder.is_empty() && name == LOCK;
            if !hidden && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, folder: &str) -> io::Result<()> {
        create_dir_durable(&self.folder_at(folder)?)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.folder_at(folder)?)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        match fs::metadata(self.at(path)?) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let path = self.root.join(LOCK);
        // Opened without truncation: until the lock is ours the text belongs to its owner.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held_by(&mut file, &path)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Box::new(Held(file)))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The lock of a folder. It is the open file's, which a child process that is being started has a
/// copy of until it runs its program: closing ours would leave it locked for that long.
struct Held(fs::File);

impl Drop for Held {
    fn drop(&mut self) {
        // What fails here is done by closing the file.
        let _ = self.0.unlock();
    }
}

fn held_by(file: &mut fs::File, path: &Path) -> io::Error {
    let mut text = String::new();
    // The process id only enriches the message; the refusal stands without it.
    let owner = match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    };
    io::Error::new(io::ErrorKind::WouldBlock, format!("{} is locked by {owner}", path.display()))
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

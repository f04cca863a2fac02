//! An object store in a folder of the operating system.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Objects, Source, check_name, span};

/// Ends the names of objects that are being written; such files are no objects.
const UNFINISHED: &str = ".unfinished";
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// A folder as an object store: an object is a file below it.
#[derive(Debug)]
pub struct FolderObjects {
    root: PathBuf,
    /// Keeps the unfinished files of threads apart.
    next: AtomicU64,
}

impl FolderObjects {
    /// Objects in `root`, which is made by the first put.
    #[must_use]
    pub fn new(root: PathBuf) -> FolderObjects {
        FolderObjects { root, next: AtomicU64::new(0) }
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        if name.ends_with(UNFINISHED) {
            let why = format!("names of objects may not end in {UNFINISHED}: {name:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(self.root.join(name))
    }

    fn write(&self, unfinished: &Path, data: &mut dyn Source) -> io::Result<()> {
        let mut file = File::create(unfinished)?;
        let len = data.len();
        let mut buf = vec![0; COPY_BYTES.min(usize::try_from(len).unwrap_or(COPY_BYTES))];
        let mut offset = 0;
        while offset < len {
            let left = usize::try_from(len - offset).unwrap_or(usize::MAX).min(buf.len());
            let piece = &mut buf[..left];
            data.read_at(offset, piece)?;
            file.write_all(piece)?;
            offset += left as u64;
        }
        file.sync_all()
    }
}

impl Objects for FolderObjects {
    fn put(&self, name: &str, data: &mut dyn Source) -> io::Result<()> {
        let path = self.at(name)?;
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(format!(".{}-{number}{UNFINISHED}", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let written = self.write(&unfinished, data).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // The cause matters more than what is left of it; lists leave it out.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        sync_folder(folder)
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let file = File::open(self.at(name)?)?;
        let len = span(&range)?;
        // Checked before memory is taken: a damaged length must not take all of it.
        if file.metadata()?.len() < range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buf = vec![0; len];
        file.read_exact_at(&mut buf, range.start)?;
        Ok(buf)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let metadata = fs::metadata(self.at(name)?)?;
        if metadata.is_file() { Ok(metadata.len()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        collect(&self.root, "", prefix, &mut found)?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.at(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_folder(path.parent().unwrap_or(&self.root)),
        }
    }
}

/// Finds the objects below `folder`, whose names begin with `below`.
fn collect(
    folder: &Path,
    below: &str,
    prefix: &str,
    found: &mut Vec<(String, u64)>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is none of ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Folders that neither lie below the prefix nor lead to it are not read.
            let under = format!("{path}/");
            if under.starts_with(prefix) || prefix.starts_with(&under) {
                collect(&entry.path(), &path, prefix, found)?;
            }
        } else if kind.is_file() && path.starts_with(prefix) && !path.ends_with(UNFINISHED) {
            match entry.metadata() {
                Ok(metadata) => found.push((path, metadata.len())),
                // Deleted since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Makes a folder and its parents, each new name synced in its parent.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new("/"));
    make_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

//! Files of the server that COPY reads and writes: all inside of one folder, found without passing
//! any symbolic link, new ones readable by their owner alone and under their name only when whole.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{QueryError, QueryResult};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Tells apart files that are being written under the same name.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// A name inside of the folder, opened up to its last part.
struct Place {
    folder: OwnedFd,
    name: OsString,
    shown: String,
}

impl Place {
    /// Goes to where a file of that name lies, without passing links.
    fn find(folder: &Path, name: &str) -> QueryResult<Place> {
        let mut parts = parts(folder, name)?;
        let last = parts.pop().ok_or_else(|| outside(folder, name))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        // The folder itself is the administrator's choice, link or not.
        let mut at = rustix::fs::openat(CWD, folder, flags, Mode::empty())
            .map_err(|errno| failed("open folder", &folder.display().to_string(), errno))?;
        for part in &parts {
            at = rustix::fs::openat(&at, part.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|errno| failed("open file", name, errno))?;
        }
        Ok(Place { folder: at, name: last, shown: name.to_string() })
    }
}

/// The parts of a name behind the folder.
fn parts(folder: &Path, name: &str) -> QueryResult<Vec<OsString>> {
    let path = Path::new(name);
    let inner = match path.is_absolute() {
        true => path.strip_prefix(folder).map_err(|_| outside(folder, name))?,
        false => path,
    };
    let part = |part: Component<'_>| match part {
        Component::Normal(part) if !part.as_encoded_bytes().contains(&0) => Ok(part.to_owned()),
        _ => Err(outside(folder, name)),
    };
    inner.components().filter(|part| *part != Component::CurDir).map(part).collect()
}

fn outside(folder: &Path, name: &str) -> QueryError {
    QueryError::new("42501", format!("file \"{name}\" is outside of the folder for COPY"))
        .with_hint(format!("Files lie in {}, the setting copy_folder.", folder.display()))
}

fn failed(doing: &str, name: &str, errno: Errno) -> QueryError {
    let error = io::Error::from(errno);
    let (code, detail) = match errno {
        Errno::NOENT => ("58P01", None),
        Errno::LOOP | Errno::NOTDIR => ("42501", Some("Symbolic links are not followed.")),
        Errno::ACCESS | Errno::PERM => ("42501", None),
        Errno::NOSPC | Errno::DQUOT => ("53100", None),
        Errno::ISDIR => ("42809", None),
        _ => ("58030", None),
    };
    let failed = QueryError::new(code, format!("could not {doing} \"{name}\": {error}"));
    match detail {
        Some(detail) => failed.with_detail(detail),
        None => failed,
    }
}

fn failed_io(doing: &str, name: &str, error: &io::Error) -> QueryError {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    failed(doing, name, errno)
}

/// Opens a file to read it; also its length. Blocks.
///
/// # Errors
/// `42501` for what lies outside of the folder or behind a link, `58P01` where nothing is there,
/// `42809` for what is no file.
pub(super) fn open(folder: &Path, name: &str) -> QueryResult<(File, u64)> {
    let place = Place::find(folder, name)?;
    // Without waiting: what is no file, such as a pipe, is told below.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::openat(&place.folder, place.name.as_os_str(), flags, Mode::empty())
        .map_err(|errno| failed("open file", name, errno))?;
    let stat = rustix::fs::fstat(&opened).map_err(|errno| failed("open file", name, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(QueryError::new("42809", format!("\"{name}\" is not a file")));
    }
    Ok((File::from(opened), u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Reads a file in pieces until its end, or until `give` says that no more are wanted. Blocks.
///
/// # Errors
/// `58030` where the disk fails.
pub(super) fn read(
    mut file: File,
    name: &str,
    mut give: impl FnMut(Vec<u8>) -> bool,
) -> QueryResult<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece);
        read.map_err(|error| failed_io("read file", name, &error))?;
        if piece.is_empty() || !give(piece) {
            return Ok(());
        }
    }
}

/// A file under way: it has its name once it is whole, and is gone if that never comes.
pub(super) struct NewFile {
    file: File,
    place: Place,
    under_way: OsString,
    whole: bool,
}

impl NewFile {
    /// Begins a file of that name. Blocks.
    ///
    /// # Errors
    /// As [`open`].
    pub(super) fn create(folder: &Path, name: &str) -> QueryResult<NewFile> {
        let place = Place::find(folder, name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if let Ok(stat) = rustix::fs::statat(&place.folder, place.name.as_os_str(), flags)
            && FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        {
            return Err(QueryError::new("42809", format!("\"{name}\" is there and not a file")));
        }
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let mut under_way = OsString::from(".");
        under_way.push(&place.name);
        under_way.push(format!(".{}-{number}.part", std::process::id()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&place.folder, under_way.as_os_str(), flags, mode)
            .map_err(|errno| failed("create file", name, errno))?;
        Ok(NewFile { file: File::from(file), place, under_way, whole: false })
    }

    /// Makes what was written durable and gives it its name. Blocks.
    pub(super) fn finish(&mut self) -> QueryResult<()> {
        let name = self.place.shown.clone();
        self.file.sync_all().map_err(|error| failed_io("write file", &name, &error))?;
        let folder = &self.place.folder;
        let (from, to): (&OsStr, &OsStr) = (&self.under_way, &self.place.name);
        rustix::fs::renameat(folder, from, folder, to)
            .map_err(|errno| failed("write file", &name, errno))?;
        self.whole = true;
        rustix::fs::fsync(folder).map_err(|errno| failed("write file", &name, errno))
    }

    pub(super) fn name(&self) -> &str {
        &self.place.shown
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.whole {
            let unlinked = rustix::fs::unlinkat(
                &self.place.folder,
                self.under_way.as_os_str(),
                AtFlags::empty(),
            );
            if let Err(error) = unlinked {
                tracing::warn!(%error, file = self.place.shown, "a file of a COPY stays behind");
            }
        }
    }
}

/// The file that a COPY TO goes to; the door writes its rows.
pub struct CopyFile {
    file: Arc<Mutex<NewFile>>,
    runtime: tokio::runtime::Handle,
}

impl CopyFile {
    pub(super) fn new(file: NewFile, runtime: tokio::runtime::Handle) -> CopyFile {
        CopyFile { file: Arc::new(Mutex::new(file)), runtime }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut NewFile) -> QueryResult<T> + Send + 'static,
    ) -> QueryResult<T> {
        let file = Arc::clone(&self.file);
        match self.runtime.spawn_blocking(move || work(&mut file.lock())).await {
            Ok(done) => done,
            Err(error) => Err(QueryError::internal(format!("writing a file: {error}"))),
        }
    }

    /// Writes bytes behind those before; gives the empty buffer back.
    ///
    /// # Errors
    /// `53100` where the disk is full, `58030` where it fails.
    pub async fn write(&self, mut bytes: Vec<u8>) -> QueryResult<Vec<u8>> {
        let written = self.blocking(move |file| {
            let done = file.write_all(&bytes);
            done.map_err(|error| failed_io("write file", file.name(), &error))?;
            bytes.clear();
            Ok(bytes)
        });
        written.await
    }

    /// Makes the file durable and gives it its name. Without this it is gone.
    ///
    /// # Errors
    /// As [`CopyFile::write`].
    pub async fn finish(self) -> QueryResult<()> {
        self.blocking(NewFile::finish).await
    }
}

/// The folder for files of COPY, for those who may use it.
///
/// # Errors
/// `42501` for all but superusers, `55000` where none is set.
pub(super) fn folder(session: &crate::Session) -> QueryResult<PathBuf> {
    let hint =
        "Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone.";
    if !session.identity().superuser {
        let message = "permission denied to COPY with files of the server";
        return Err(QueryError::new("42501", message).with_hint(hint));
    }
    session.engine().options().copy_folder.clone().ok_or_else(|| {
        let message =
            "COPY with files of the server is off: the setting copy_folder names no folder";
        QueryError::new("55000", message).with_hint(
            "Set copy_folder and start anew, or use psql's \\copy for files of the client.",
        )
    })
}

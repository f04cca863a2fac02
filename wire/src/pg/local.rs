//! The door in the file system: a socket that programs of the same machine connect to, as
//! PostgreSQL's. What passes through it is copied once less than over loopback and needs no TLS.
//!
//! A lock beside the socket says whether a server has it: sockets stay behind after a crash, and
//! one that nobody listens on is replaced. The lock's file stays.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::UnixStream;

/// Anybody may try to log in, as over loopback.
const MODE: u32 = 0o777;
/// What the kernel may hold for a client that is behind, bytes; it may grant less.
const SEND_BYTES: usize = 512 << 10;

/// A socket that listens; its file goes with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    folder: PathBuf,
    port: u16,
    path: PathBuf,
    lock: File,
}

impl LocalSocket {
    /// Listens in a folder as clients look for a port there: `.s.PGSQL.5433`.
    ///
    /// # Errors
    /// `AddrInUse` where another server has it; `AlreadyExists` where that file is no socket; those
    /// of the file system, as for a path of more than some hundred bytes.
    pub fn bind(folder: &Path, port: u16) -> io::Result<LocalSocket> {
        let path = folder.join(format!(".s.PGSQL.{port}"));
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(format!(".s.PGSQL.{port}.millrace")))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken("another server listens there")),
            Err(TryLockError::Error(source)) => return Err(source),
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is another file"));
            }
            // Of a server that is no Millrace, which knows nothing of the lock.
            Ok(_) if std::os::unix::net::UnixStream::connect(&path).is_ok() => {
                return Err(taken("another server listens there"));
            }
            Ok(_) => fs::remove_file(&path)?,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(source),
        }
        let listener = UnixListener::bind(&path)?;
        let local = LocalSocket { listener, folder: folder.to_owned(), port, path, lock };
        fs::set_permissions(&local.path, fs::Permissions::from_mode(MODE))?;
        local.listener.set_nonblocking(true)?;
        Ok(local)
    }

    /// What clients are told as host.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What clients are told as port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

fn taken(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, words)
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if let Err(source) = fs::remove_file(&self.path) {
            tracing::debug!(%source, path = %self.path.display(), "removing a socket failed");
        }
        // Closing it would do but for child processes that are being started: they have a copy of the
        // open file, which the lock is of, until they run their program.
        if let Err(source) = self.lock.unlock() {
            tracing::debug!(%source, path = %self.path.display(), "unlocking a socket failed");
        }
    }
}

/// Large results go in fewer, larger steps.
pub(super) fn prepare(stream: &UnixStream) {
    if let Err(source) = SockRef::from(stream).set_send_buffer_size(SEND_BYTES) {
        tracing::debug!(%source, "setting options of a local socket failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_replaced_only_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let first = LocalSocket::bind(folder.path(), 7).unwrap();
        assert_eq!(first.path(), folder.path().join(".s.PGSQL.7"));
        let refused = |kind: io::ErrorKind| {
            let error = LocalSocket::bind(folder.path(), 7).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        };
        refused(io::ErrorKind::AddrInUse);
        LocalSocket::bind(folder.path(), 8).unwrap();
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
        // As a crash leaves it.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(LocalSocket::bind(folder.path(), 7).unwrap());
        // A server that knows no lock.
        let other = UnixListener::bind(&path).unwrap();
        refused(io::ErrorKind::AddrInUse);
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        refused(io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let long = folder.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        assert!(LocalSocket::bind(&long, 7).is_err());
        assert!(LocalSocket::bind(&folder.path().join("none"), 7).is_err());
    }
}

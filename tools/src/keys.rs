//! The keys of an encrypted folder: where they come from, and a new one while the server runs.
//!
//! Keys are never logged and never in an error: what is told of them is their ids.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tsdb::Db;
use tsdb::crypto::{KeyRing, MasterKey, SealedStorage};
use tsdb::io::{RealStorage, Storage};

use crate::failure::{Failure, Result};
use crate::settings::Settings;

/// Text of keys is not longer; a file that is, is another file.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Time that a command gets to print the keys.
const COMMAND_SECONDS_MAX: u64 = 60;
/// The variable with the keys themselves.
const VARIABLE: &str = "MILLRACE_ENCRYPTION_KEY";

/// Where the keys of a folder are, for commands that open one. Not needed for a folder that is
/// not encrypted. The variable MILLRACE_ENCRYPTION_KEY may hold the keys themselves.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyArgs {
    /// File with the keys of an encrypted folder.
    #[arg(long, env = "MILLRACE_ENCRYPTION_KEY_FILE")]
    pub encryption_key_file: Option<PathBuf>,
    /// Command that prints the keys of an encrypted folder.
    #[arg(long, env = "MILLRACE_ENCRYPTION_KEY_COMMAND")]
    pub encryption_key_command: Option<String>,
}

impl KeyArgs {
    /// The keys; none if none are named.
    ///
    /// # Errors
    /// When they cannot be had or are no keys.
    pub fn ring(&self) -> Result<Option<Arc<KeyRing>>> {
        let file = self.encryption_key_file.clone().filter(|path| !path.as_os_str().is_empty());
        let command = self.encryption_key_command.clone().filter(|text| !text.is_empty());
        let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
        KeySource::of(text, file, command)?.map(|source| source.read()).transpose()
    }

    /// The storage of a folder that must exist, opened with the keys if there are any.
    ///
    /// # Errors
    /// A folder that is not there or cannot be opened; as [`KeyArgs::ring`].
    pub fn open(&self, folder: &Path) -> Result<Arc<dyn Storage>> {
        if !folder.is_dir() {
            return Err(Failure::usage(format!("there is no folder {}", folder.display())));
        }
        let storage = RealStorage::new(folder.to_path_buf())
            .map_err(|error| Failure::doing(folder.display(), error))?;
        Ok(sealed(Arc::new(storage), self.ring()?))
    }
}

/// Puts keys around a storage.
pub fn sealed(storage: Arc<dyn Storage>, keys: Option<Arc<KeyRing>>) -> Arc<dyn Storage> {
    match keys {
        Some(keys) => Arc::new(SealedStorage::new(storage, keys)),
        None => storage,
    }
}

/// Where keys come from.
#[derive(Clone)]
pub enum KeySource {
    /// The text itself.
    Text(String),
    /// A file.
    File(PathBuf),
    /// What a command of the shell prints.
    Command(String),
}

impl KeySource {
    fn of(
        text: Option<String>,
        file: Option<PathBuf>,
        command: Option<String>,
    ) -> Result<Option<KeySource>> {
        let text = text.map(KeySource::Text);
        let file = file.map(KeySource::File);
        let mut sources = text.into_iter().chain(file).chain(command.map(KeySource::Command));
        let source = sources.next();
        if sources.next().is_some() {
            return Err(Failure::usage(
                "`encryption_key`, `encryption_key_file` and `encryption_key_command` exclude each \
                 other: give one",
            ));
        }
        Ok(source)
    }

    /// The source that settings name; none if the folder is not to be encrypted.
    ///
    /// # Errors
    /// If they name several.
    pub fn of_settings(settings: &Settings) -> Result<Option<KeySource>> {
        let text = |name| Some(settings.text(name).to_owned()).filter(|text| !text.is_empty());
        let file = settings.path("encryption_key_file");
        KeySource::of(text("encryption_key"), file, text("encryption_key_command"))
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// When they cannot be had or are no keys.
    pub fn read(&self) -> Result<Arc<KeyRing>> {
        let (name, text) = match self {
            KeySource::Text(text) => ("`encryption_key`".to_owned(), text.replace(',', "\n")),
            KeySource::File(path) => {
                let name = format!("the key file {}", path.display());
                let file = std::fs::File::open(path);
                let text = file.and_then(read_text).map_err(|e| Failure::doing(&name, e))?;
                (name, text)
            }
            KeySource::Command(command) => {
                let name = "`encryption_key_command`".to_owned();
                let text = run(command).map_err(|why| Failure::doing(&name, why))?;
                (name, text)
            }
        };
        KeyRing::parse(&text).map_err(|error| Failure::doing(name, error))
    }

    /// Whether another key may come from there while the program runs.
    #[must_use]
    pub fn may_change(&self) -> bool {
        !matches!(self, KeySource::Text(_))
    }
}

fn read_text(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(std::io::Error::other("too long for keys"));
    }
    Ok(text)
}

/// What a command prints; it must end well and in time.
fn run(command: &str) -> std::result::Result<String, String> {
    let mut shell = Command::new("/bin/sh");
    let shell = shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("its output is missing")?;
    // The pipe may stay open longer than the command lives, so it is read beside the wait.
    let (sender, text) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(read_text(output)));
    let limit = Duration::from_secs(COMMAND_SECONDS_MAX);
    let started = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => break,
            Some(status) => {
                // Too long an output breaks the pipe, and that is the better cause.
                return match text.recv_timeout(Duration::from_secs(1)) {
                    Ok(Err(error)) => Err(error.to_string()),
                    _ => Err(format!("the command ended with {status}")),
                };
            }
            None if started.elapsed() > limit => {
                child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                return Err(format!("the command took over {COMMAND_SECONDS_MAX} s"));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    let text = text.recv_timeout(limit.saturating_sub(started.elapsed()));
    text.map_err(|_| "the command keeps its output open")?.map_err(|error| error.to_string())
}

/// Looks at the source of the keys every `interval` and gives the database to a new one; finishes
/// what an earlier start was kept from. Runs until `db` is closed.
pub async fn follow(db: Arc<Db>, source: KeySource, interval: Duration) {
    let mut complete = false;
    loop {
        let (db, source) = (Arc::clone(&db), source.clone());
        let looked = tokio::task::spawn_blocking(move || look(&db, &source, complete)).await;
        match looked {
            Ok(Ok(done)) => complete = done,
            Ok(Err(failure)) => {
                tracing::warn!(%failure, "no new key: the database goes on with the one it has");
            }
            Err(error) => tracing::error!(%error, "looking for a new key"),
        }
        if interval.is_zero() {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}

/// Takes a new key over, if there is one or the last one is not everywhere; whether it is now.
fn look(db: &Db, source: &KeySource, complete: bool) -> Result<bool> {
    let Some(seals) = db.seals()? else { return Ok(true) };
    let ring = source.read()?;
    let Some(key) = ring.current_key() else { return Ok(complete) };
    let current = seals.keys.iter().find(|key| key.current).map(|key| key.id);
    if current == Some(key.id()) && (complete || seals.is_complete()) {
        return Ok(true);
    }
    take_over(db, key)
}

fn take_over(db: &Db, key: MasterKey) -> Result<bool> {
    let (id, started) = (key.id(), Instant::now());
    tracing::info!(key = %id, "sealing with a new key");
    let report = db.rotate_key(key)?;
    let older: u64 = report.keys.iter().filter(|key| !key.current).map(|key| key.files).sum();
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(
        key = %id,
        files = report.rewrapped,
        older,
        unreadable = report.unreadable,
        seconds,
        "sealed with a new key"
    );
    Ok(report.is_complete())
}

#[cfg(test)]
mod tests;

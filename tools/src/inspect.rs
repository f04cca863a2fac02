//! `millrace inspect`: explains a file of a data folder in words. Nothing is changed, and a
//! damaged file is explained as far as it can be read.

mod log;
mod part;
mod version;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tsdb::crypto::{KeyRing, is_sealed};
use tsdb::io::{RealStorage, Storage};
use tsdb::log::inspect_segment;
use tsdb::types::TimeRange;

use crate::failure::{Failure, Result};
use crate::import::time::format_ns;
use crate::keys::KeyArgs;

/// Arguments of `inspect`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace inspect millrace-data/parts/00000001-0000000000000012.part
  millrace inspect --records 20 millrace-data/log/*.log
  millrace inspect millrace-data/version/*.version")]
pub struct InspectArgs {
    /// Parts (.part, .last), segments of the log (.log) or version files (.version).
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Records of a log, row groups of a part or edits of a version that are shown one by one.
    #[arg(long, default_value_t = 10)]
    pub records: usize,
    /// The keys of sealed files. Without them the records of a sealed log show their headers.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Runs the command; an error if a file is damaged.
pub fn run(args: &InspectArgs) -> Result<()> {
    let mut damaged = 0;
    let keys = args.keys.ring()?;
    for path in &args.files {
        println!("{}", path.display());
        if !explain(path, args.records, keys.as_ref())? {
            damaged += 1;
        }
        println!();
    }
    match damaged {
        0 => Ok(()),
        _ => Err(Failure::new(format!("{damaged} of {} files are damaged", args.files.len()))),
    }
}

/// Explains one file; whether it is sound.
fn explain(path: &Path, records: usize, keys: Option<&Arc<KeyRing>>) -> Result<bool> {
    let failed = |error: &dyn std::fmt::Display| Failure::doing(path.display(), error);
    let bytes = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| failed(&"the name is not UTF-8"))?;
    let storage = RealStorage::new(folder.to_path_buf()).map_err(|error| failed(&error))?;
    let storage = unsealed(Arc::new(storage), name, keys)?;
    let storage = &*storage;
    println!("  {bytes} bytes");
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("part" | "last") => part::explain(storage, name, records),
        Some("log") => log::explain(storage, name, records),
        Some("version") => version::explain(storage, name, records),
        _ => Err(Failure::usage(format!(
            "{}: what it is shows in its ending: .part, .last, .log or .version",
            path.display()
        ))),
    }
}

/// The storage as the file is to be read: through the keys if it is sealed.
fn unsealed(
    storage: Arc<dyn Storage>,
    name: &str,
    keys: Option<&Arc<KeyRing>>,
) -> Result<Arc<dyn Storage>> {
    let is_log = name.ends_with(".log");
    let sealed = if is_log {
        inspect_segment(&*storage, name)?.header.is_sealed()
    } else {
        is_sealed(&*storage.open(name)?)?
    };
    match keys {
        _ if !sealed => Ok(storage),
        Some(keys) => Ok(crate::keys::sealed(storage, Some(Arc::clone(keys)))),
        None if is_log => {
            println!("  sealed, and no key is given: payloads are not looked into");
            Ok(storage)
        }
        None => Err(Failure::usage(format!(
            "{name} is sealed: give the key by --encryption-key-file, --encryption-key-command or \
             the variable MILLRACE_ENCRYPTION_KEY"
        ))),
    }
}

/// Says that a file is damaged.
fn damaged(why: &dyn std::fmt::Display) -> bool {
    println!("  DAMAGED: {why}");
    false
}

/// A range of times in words.
fn times(range: &TimeRange) -> String {
    if range.is_empty() {
        return "no times".into();
    }
    format!("{} to {} UTC", format_ns(range.min), format_ns(range.max))
}

#[cfg(test)]
mod tests;

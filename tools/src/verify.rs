//! `millrace verify`: reads every checksum of a data folder and names what is damaged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};
use tsdb::engine::Finding;
use tsdb::io::Storage;

use crate::backup::bar;
use crate::failure::{Failure, Result};
use crate::keys::KeyArgs;
use crate::objects::CloudConnector;

/// Arguments of `verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  millrace verify --data-dir ./millrace-data
  millrace verify --data-dir ./millrace-data --archive

Also tells which files are of older formats, and what opening the folder with this version makes of
them; nothing is changed. Exit code 0: everything is as it was written; 1: something is damaged, and named.")]
pub struct VerifyArgs {
    /// The folder; no server may have it open.
    #[arg(long, default_value = "./millrace-data")]
    pub data_dir: PathBuf,
    /// Name every file, not only damaged ones.
    #[arg(long)]
    pub all: bool,
    /// Read archived partitions in their object stores, too.
    #[arg(long)]
    pub archive: bool,
    /// The keys of an encrypted folder.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Runs the command.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let folder = args.data_dir.display();
    let storage = args.keys.open(&args.data_dir)?;
    // Held to the end: a server that starts meanwhile would change what is read.
    let _lock = storage.lock().map_err(|error| Failure::doing(&folder, error))?;
    let newer = upgrades(&*storage)?;
    let (bar, started) = (ProgressBar::new_spinner(), Instant::now());
    let (mut files, mut bytes) = (0u64, 0u64);
    let mut findings = tsdb::engine::verify(&storage, |finding| {
        files += 1;
        bytes += finding.bytes;
        bar.set_message(format!("{files} files, {}: {}", HumanBytes(bytes), finding.path));
        bar.tick();
    })?;
    bar.finish_and_clear();
    if args.archive {
        let objects = archived(&storage)?;
        bytes += objects.iter().map(|finding| finding.bytes).sum::<u64>();
        findings.extend(objects);
    }
    let mut damaged = 0;
    for finding in &findings {
        match &finding.damage {
            Some(damage) => {
                damaged += 1;
                println!("DAMAGED {}: {damage}", finding.path);
            }
            None if args.all => {
                println!("good    {} ({})", finding.path, HumanBytes(finding.bytes))
            }
            None => {}
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{} files, {} read in {seconds:.1} s", findings.len(), HumanBytes(bytes));
    if damaged > 0 {
        return Err(Failure::new(format!("{damaged} of {} files are damaged", findings.len())));
    }
    if newer > 0 {
        return Err(Failure::new(format!("{newer} files are of a newer version of millrace")));
    }
    println!("all as it was written");
    Ok(())
}

/// Tells what opening the folder makes of its files; how many keep it from being opened.
fn upgrades(storage: &dyn Storage) -> Result<usize> {
    let formats = tsdb::engine::file_formats(storage)?;
    for (format, told) in formats.iter().filter_map(|f| Some((f, f.upgrade()?))) {
        let word = if format.version > format.newest { "NEWER  " } else { "UPGRADE" };
        println!("{word} {}: {told}", format.path);
    }
    Ok(formats.iter().filter(|format| format.version > format.newest).count())
}

/// Reads the objects of archived parts.
fn archived(storage: &Arc<dyn Storage>) -> Result<Vec<Finding>> {
    let options = tsdb::Options {
        connector: Arc::new(CloudConnector::default()),
        ..tsdb::Options::default()
    };
    let bar = bar();
    let findings = tsdb::engine::verify_archive(storage, &options, |finding, bytes_all| {
        bar.set_length(bytes_all);
        bar.inc(finding.bytes);
        bar.set_message(finding.path.clone());
    });
    bar.finish_and_clear();
    Ok(findings?)
}

//! `millrace repair`: damaged files of a data folder, taken from a backup.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use indicatif::HumanBytes;
use tsdb::backup::{Repair, RepairRequest, RepairedFile};

use crate::backup::bar;
use crate::failure::{Failure, Result};
use crate::keys::KeyArgs;
use crate::objects::CloudConnector;

/// Arguments of `repair`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  millrace repair --data-dir ./millrace-data --from file:///mnt/backups/plant

Reads every checksum, takes each damaged file whole from the newest backup of this database that
has a sound copy of it, and empties the quarantine. Nothing else changes: what was written since the
backup stays. Exit code 0: nothing is damaged any more; 1: something is, and named.")]
pub struct RepairArgs {
    /// The folder; no server may have it open.
    #[arg(long, default_value = "./millrace-data")]
    pub data_dir: PathBuf,
    /// URL of the store of the backups.
    #[arg(long)]
    pub from: String,
    /// The keys of an encrypted folder.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Runs the command.
pub fn run(args: &RepairArgs) -> Result<()> {
    let storage = args.keys.open(&args.data_dir)?;
    let options = tsdb::Options {
        connector: Arc::new(CloudConnector::default()),
        ..tsdb::Options::default()
    };
    let objects = options.connector.connect(&args.from);
    let objects = objects.map_err(|error| Failure::doing(&args.from, error))?;
    let (bar, started) = (bar(), Instant::now());
    let done = tsdb::backup::repair(RepairRequest {
        objects: &*objects,
        storage,
        options,
        progress: &mut |progress, path| {
            bar.set_length(progress.bytes_all);
            bar.set_position(progress.bytes);
            bar.set_message(path.to_owned());
        },
    });
    bar.finish_and_clear();
    let report = done?;
    report.files.iter().for_each(tell);
    println!(
        "{} files, {} checked in {:.1} s",
        report.checked,
        HumanBytes(report.bytes),
        started.elapsed().as_secs_f64()
    );
    if report.released > 0 {
        println!("{} parts left the quarantine", report.released);
    }
    let lost = report.files.iter().filter(|file| matches!(file.repair, Repair::Lost(_))).count();
    if lost > 0 {
        return Err(Failure::new(format!(
            "{lost} files are still damaged: their rows can be left out by SET \
             millrace.skip_quarantined = on; `millrace restore` makes a new folder of a backup"
        )));
    }
    println!("{}", if report.files.is_empty() { "all as it was written" } else { "all repaired" });
    Ok(())
}

fn tell(file: &RepairedFile) {
    let RepairedFile { path, damage, repair } = file;
    println!("DAMAGED  {path}: {damage}");
    match repair {
        Repair::Backup(number) => println!("repaired {path}: from backup {number}"),
        Repair::ArchivedLog => println!("repaired {path}: from the archived log"),
        Repair::Archive => println!("repaired {path}: made anew of the archived object"),
        Repair::Needless => {
            println!("passed   {path}: the database finds again what it holds, and writes it anew");
        }
        Repair::Lost(why) => println!("LOST     {path}: {why}"),
    }
}

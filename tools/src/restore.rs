//! `millrace restore` and `millrace drill`: a folder made of a backup, for use or for practice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::HumanBytes;
use tsdb::backup::{Lineage, RestoreReport, RestoreRequest};
use tsdb::io::{RealStorage, Storage};

use crate::backup::{bar, moment, quoted};
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::import::time::format_ns;
use crate::keys::{KeyArgs, sealed};
use crate::objects::CloudConnector;

/// What is restored.
#[derive(Args, Clone, Debug)]
pub struct Source {
    /// URL of the store of the backups.
    #[arg(long)]
    pub from: String,
    /// The moment, UTC, such as 2026-01-31T12:00:00Z: commits up to it are there, later ones are
    /// not. Default: everything that the store has.
    #[arg(long)]
    pub to: Option<String>,
    /// Number of the backup to begin with. Default: the newest that is not later than the moment.
    #[arg(long)]
    pub backup: Option<u64>,
    /// Which database, if the store has backups of several: 32 hexadecimal digits.
    #[arg(long)]
    pub database: Option<String>,
    /// Keys of the database, if it is encrypted.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Arguments of `restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace restore --from file:///mnt/backups/plant --data-dir ./restored
  millrace restore --from file:///mnt/backups/plant --data-dir ./before --to 2026-01-31T12:00:00Z

Every checksum is looked at. A restore that was cut off is begun anew by running it again. The
restored database begins a history of its own: its backups do not mix with the old ones.")]
pub struct RestoreArgs {
    /// What is restored.
    #[command(flatten)]
    pub source: Source,
    /// The folder, empty or not there yet.
    #[arg(long)]
    pub data_dir: PathBuf,
}

/// Arguments of `drill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  millrace drill --from file:///mnt/backups/plant

Restores into a scratch folder, reads every checksum, and removes it again. Prints how long that
took (RTO) and what would be lost (RPO), and notes both in sys.backups of the server, if it
answers.")]
pub struct DrillArgs {
    /// What is restored.
    #[command(flatten)]
    pub source: Source,
    /// Where the scratch folder is made. Default: the folder for temporary files.
    #[arg(long)]
    pub scratch: Option<PathBuf>,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs `restore`.
pub fn run(args: &RestoreArgs) -> Result<()> {
    let report = restore(&args.source, &args.data_dir)?;
    tell(&report, &args.data_dir);
    Ok(())
}

fn restore(source: &Source, folder: &Path) -> Result<RestoreReport> {
    let shown = folder.display();
    if let Some(name) = foreign(folder).map_err(|error| Failure::doing(&shown, error))? {
        return Err(Failure::new(format!(
            "{shown} is not empty ({name} is there): restore into an empty folder"
        )));
    }
    let to = source.to.as_deref().map(moment).transpose()?;
    let lineage = source.database.as_deref().map(str::parse::<Lineage>).transpose()?;
    // How much of the log is replayed between two flushes: what memory holds.
    let options = tsdb::Options {
        log_bytes_max: 256 << 20,
        connector: Arc::new(CloudConnector::default()),
        ..tsdb::Options::default()
    };
    let objects = options.connector.connect(&source.from);
    let objects = objects.map_err(|error| Failure::doing(&source.from, error))?;
    let storage = RealStorage::new(folder.to_path_buf());
    let storage = storage.map_err(|error| Failure::doing(&shown, error))?;
    let keys = source.keys.ring()?;
    let bar = bar();
    let restored = tsdb::backup::restore(RestoreRequest {
        objects: &*objects,
        stored: Arc::new(storage),
        unseal: &|stored| Ok(sealed(stored, keys.clone())),
        lineage,
        number: source.backup,
        to,
        options,
        progress: &mut |progress| {
            bar.set_length(progress.bytes_all);
            bar.set_position(progress.bytes);
            if progress.files == progress.files_all {
                bar.set_message("replaying the log");
            }
        },
    });
    bar.finish_and_clear();
    Ok(restored?)
}

/// Something in a folder that no restore has left there.
fn foreign(folder: &Path) -> std::io::Result<Option<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    let again = names.iter().any(|name| name == "restore.unfinished");
    Ok(if again { None } else { names.into_iter().next() })
}

fn tell(report: &RestoreReport, folder: &Path) {
    println!(
        "restored backup {} and {} segments of log into {}: {} files, {} in {:.1} s",
        report.manifest.number,
        report.segments,
        folder.display(),
        report.files,
        HumanBytes(report.bytes),
        report.seconds
    );
    if report.time > i64::MIN {
        println!("the newest commit is of {}, position {}", shown(report.time), report.position);
    }
    if let Some(missing) = &report.missing {
        println!("WARNING: {missing}; commits behind it are not there");
    }
}

/// A moment for people: `2026-01-31T12:00:00Z`.
fn shown(ns: i64) -> String {
    format!("{} UTC", format_ns(ns))
}

/// Runs `drill`.
pub fn drill(args: &DrillArgs) -> Result<()> {
    let parent = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let folder = parent.join(format!("millrace-drill-{}", std::process::id()));
    let started = now_ns();
    let begun = Instant::now();
    let outcome = practise(&args.source, &folder);
    let rto = begun.elapsed().as_secs_f64();
    let finished = now_ns();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| Failure::doing(format!("removing {}", folder.display()), error))?;
    }
    let server = runtime()?.block_on(Server::ask(&args.connection));
    let mut figures = format!("started={started} finished={finished} rto={rto:.3}");
    let failed = match &outcome {
        Ok(report) => {
            let rpo = behind(report, server.as_ref().ok(), started);
            figures.push_str(&format!(
                " rpo={rpo:.3} number={} position={} time={} files={} bytes={}",
                report.manifest.number, report.position, report.time, report.files, report.bytes
            ));
            tell(report, &folder);
            println!("every checksum is right");
            println!("RTO {rto:.1} s, RPO {rpo:.1} s");
            None
        }
        Err(failure) => Some(failure.to_string()),
    };
    match server {
        Ok(server) => {
            runtime()?.block_on(server.note(args, &figures, failed.as_deref()))?;
            println!("noted in sys.backups of the server");
        }
        Err(failure) => println!("not noted, since the server does not answer: {failure}"),
    }
    outcome.map(|_| ())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Restores and reads every checksum.
fn practise(source: &Source, folder: &Path) -> Result<RestoreReport> {
    let report = restore(source, folder)?;
    let storage = RealStorage::new(folder.to_path_buf())?;
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let findings = tsdb::engine::verify(&storage, |_| {})?;
    match findings.iter().find_map(|f| Some((&f.path, f.damage.as_ref()?))) {
        Some((path, damage)) => {
            Err(Failure::new(format!("the restored {path} is damaged: {damage}")))
        }
        None => Ok(report),
    }
}

/// The span of commits that the drill has not got, s: up to the server's newest commit when the
/// drill began, or, if nobody tells that one, up to the drill.
fn behind(report: &RestoreReport, server: Option<&Server>, started: i64) -> f64 {
    let have = report.time.max(0);
    let newest = match server {
        Some(server) if server.position <= report.position => have,
        Some(server) => server.time.max(have),
        None => started,
    };
    newest.saturating_sub(have).max(0) as f64 / 1e9
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The server that the backups are of.
struct Server {
    /// Its newest commit, and when it was made, ns.
    position: u64,
    time: i64,
}

impl Server {
    async fn ask(connection: &Connection) -> Result<Server> {
        let client = connection.postgres().await?;
        let sql = "SELECT visible_position, \
                   CAST(extract(epoch FROM commit_time) AS double precision) FROM sys.log";
        let row = client.query_one(sql, &[]).await?;
        let seconds: Option<f64> = row.get(1);
        let time = seconds.map_or(i64::MIN, |seconds| (seconds * 1e9) as i64);
        Ok(Server { position: row.get::<_, i64>(0) as u64, time })
    }

    async fn note(&self, args: &DrillArgs, figures: &str, failed: Option<&str>) -> Result<()> {
        let client = args.connection.postgres().await?;
        let failed = failed.map_or(String::new(), |why| format!(" FAILED {}", quoted(why)));
        let from = quoted(&args.source.from);
        let sql = format!("BACKUP DRILLED FROM {from} WITH {}{failed}", quoted(figures));
        Ok(client.batch_execute(&sql).await?)
    }
}

//! `millrace serve`: opens the database, opens the doors, stops in order.
//!
//! Order of a stop: doors close, running requests get `stop_seconds_max`, then the database
//! finishes its queue and writes a durable mark. What was acknowledged is on disk long before.

mod doors;
mod flags;
mod welcome;
mod wiring;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tsdb::Db;
use tsdb::io::{RealStorage, Storage};

use crate::failure::{Failure, Result};
use crate::keys::{self, KeySource};
use crate::logging;
use crate::settings::Settings;
use doors::{Doors, House};
pub use flags::ServeArgs;

/// Runs the command until a signal ends it.
pub fn run(args: &ServeArgs) -> Result<()> {
    let settings = Settings::load(args.config.as_deref(), args.flags.0.clone())?;
    if args.print_settings {
        print!("{}", settings.to_toml());
        return Ok(());
    }
    logging::init(settings.text("log"), settings.text("log_format"))?;
    settings.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("millrace-net")
        .build()?;
    let result = runtime.block_on(serve(&settings));
    // Blocking work that a vanished client left behind must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(settings: &Settings) -> Result<()> {
    let mut signals = Signals::new()?;
    let folder = settings.path("data_dir").unwrap_or_else(|| "./millrace-data".into());
    let storage = RealStorage::new(folder.clone())
        .map_err(|error| Failure::doing(folder.display(), error))?;
    let source = KeySource::of_settings(settings)?;
    let keys = source.as_ref().map(KeySource::read).transpose()?;
    let storage = keys::sealed(Arc::new(storage), keys);
    let doors = match Doors::bind(settings) {
        Ok(doors) => doors,
        Err(failure) => {
            // A second server on the same folder most often meets the ports of the first one:
            // then the folder is the clearer cause.
            if let Err(error) = storage.lock() {
                return Err(Failure::doing(folder.display(), error));
            }
            return Err(failure);
        }
    };
    let mut running = doors.open_http(settings, &folder, CancellationToken::new())?;
    let db = open(&folder, storage, settings.engine(), &mut signals).await?;
    let opened = {
        let (settings, folder, db) = (settings.clone(), folder.clone(), db.clone());
        tokio::task::spawn_blocking(move || House::open(&settings, &folder, db)).await
    };
    let (house, made) = opened.map_err(|error| Failure::doing("opening the house", error))??;
    running.open_all(settings, house)?;
    if let Some(source) = source {
        // Started even if the source cannot change: an earlier start may have been broken off.
        let seconds =
            if source.may_change() { settings.number("encryption_key_seconds") } else { 0 };
        tokio::spawn(keys::follow(db.clone(), source, Duration::from_secs(seconds)));
    }
    welcome::print(settings, &folder, &running, &db, made.as_deref())?;
    let cause = tokio::select! {
        signal = signals.next() => signal.to_owned(),
        failed = running.failed() => failed,
    };
    tracing::info!(%cause, "stopping");
    running.close();
    tokio::select! {
        () = running.finished() => {}
        signal = signals.next() => tracing::warn!(signal, "told again: not waiting for requests"),
    }
    let closing = Instant::now();
    tokio::task::spawn_blocking(move || db.close())
        .await
        .map_err(|error| Failure::doing("closing the database", error))??;
    tracing::info!(seconds = closing.elapsed().as_secs_f64(), "closed");
    if running.any_failed() { Err(Failure::new(cause)) } else { Ok(()) }
}

/// Opens the database and tells, every few seconds, that it is still at it.
async fn open(
    folder: &Path,
    storage: Arc<dyn Storage>,
    options: tsdb::Options,
    signals: &mut Signals,
) -> Result<Arc<Db>> {
    let started = Instant::now();
    let opening = tokio::task::spawn_blocking(move || Db::open(storage, options));
    tokio::pin!(opening);
    let opened = loop {
        tokio::select! {
            opened = &mut opening => break opened,
            // Recovery bears being cut off at any moment, as it bears a crash.
            signal = signals.next() => {
                return Err(Failure::new(format!("{signal} while replaying the log")));
            }
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                let seconds = started.elapsed().as_secs();
                tracing::info!(seconds, folder = %folder.display(), "still replaying the log");
            }
        }
    };
    let db = opened.map_err(|error| Failure::doing("opening the database", error))??;
    let report = db.recovery();
    if !report.first_open {
        tracing::info!(
            records = report.records_replayed,
            bytes_cut = report.bytes_cut,
            seconds = report.seconds,
            "recovered"
        );
    }
    Ok(db)
}

/// The signals that stop a server.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

//! Tests of backup and restore.

mod archive;
mod damage;
mod faults;
mod golden;
mod model;
mod races;
mod repair;
mod schedule;

use std::io;
use std::sync::Arc;

use crate::backup::{BackupReport, RestoreReport, RestoreRequest, restore};
use crate::crypto::tests::shape::shaped;
use crate::engine::LogArchive;
use crate::engine::tests::model::{Model, check};
use crate::engine::tests::random::Random;
use crate::engine::tests::workload::small_options;
use crate::io::{MemoryStorage, Storage};
use crate::tier::{Connector, MemoryObjects, Objects};
use crate::{Db, Options, Result};

const URL: &str = "memory://store";

/// Opens one store in memory.
#[derive(Debug, Default)]
struct MemoryConnector(MemoryObjects);

impl Connector for MemoryConnector {
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>> {
        assert_eq!(url, URL);
        Ok(Arc::new(self.0.clone()))
    }
}

/// Small limits, and the store in reach.
fn options(random: &mut Random, background: bool, store: &MemoryObjects) -> Options {
    Options {
        connector: Arc::new(MemoryConnector(store.clone())),
        ..small_options(random, background)
    }
}

/// The same, with the log archived when it is asked for.
fn archiving(options: Options) -> Options {
    let seconds = 3600;
    let log_archive = Some(LogArchive { url: URL.into(), seconds, ..LogArchive::default() });
    Options { log_archive, ..options }
}

fn back_up(db: &Db, full: bool) -> Result<BackupReport> {
    db.backup(URL, full, |_| Ok(()))
}

/// A restore out of the store into a folder.
fn restore_into(
    stored: Arc<dyn Storage>,
    store: &MemoryObjects,
    number: Option<u64>,
    to: Option<i64>,
) -> Result<RestoreReport> {
    // Little of the log at a time, so that there are several pieces.
    let options = Options { log_bytes_max: 6000, ..small_options(&mut Random::new(5), false) };
    restore(RestoreRequest {
        objects: store,
        stored,
        unseal: &|stored| Ok(shaped(stored)),
        lineage: None,
        number,
        to,
        options,
        progress: &mut |_| {},
    })
}

/// Restores, verifies every checksum, and compares with the model.
fn restored(
    store: &MemoryObjects,
    number: Option<u64>,
    to: Option<i64>,
    model: &Model,
    context: &str,
) -> (MemoryStorage, RestoreReport) {
    let storage = MemoryStorage::new();
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let report = restore_into(Arc::clone(&shared), store, number, to)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let shared = shaped(shared);
    let findings = crate::engine::verify(&shared, |_| {}).unwrap();
    assert!(findings.iter().all(|f| f.damage.is_none()), "{context}: {findings:?}");
    let db = Db::open(shared, small_options(&mut Random::new(6), false)).unwrap();
    check(&db, model, context);
    db.close().unwrap();
    (storage, report)
}

//! How long a backup, a start and a restore take, on folders of this machine.
//!
//! `cargo run --release -p tsdb --example restore_speed [values=40000000] [log percent=25]`:
//! writes so many values, a percentage of which only the log has when the backup is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tsdb::backup::{RestoreRequest, restore};
use tsdb::io::{RealStorage, Storage};
use tsdb::tier::{Connector, FolderConnector};
use tsdb::types::{Column, ColumnType, Key, SeriesRef, TableId, TableOptions, Values, WriteBatch};
use tsdb::{Command, Db, NewColumn, NewTable, Options, Outcome, Result};

/// Fields of a row.
const FIELDS: u16 = 10;
/// Rows of a commit: one reading of each host.
const HOSTS: u32 = 1000;
const STEP_NS: i64 = 10_000_000_000;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let values = numbers.next().unwrap_or(40_000_000);
    let log_percent = numbers.next().unwrap_or(25).min(100);
    let root = std::env::temp_dir().join(format!("millrace-restore-speed-{}", std::process::id()));
    let done = run(&root, values, log_percent);
    if let Err(error) = std::fs::remove_dir_all(&root) {
        eprintln!("{} stays: {error}", root.display());
    }
    done
}

fn run(root: &std::path::Path, values: u64, log_percent: u64) -> Result<()> {
    // What is to stay in the log must not be flushed before.
    let options =
        Options { heads_bytes_max: 8 << 30, head_bytes_max: 4 << 30, ..Options::default() };
    let options = Options { log_bytes_max: 8 << 30, ..options };
    let db = Db::open(storage(root.join("data"))?, options.clone())?;
    let table = create(&db)?;
    let commits = values / u64::from(HOSTS) / u64::from(FIELDS);
    let flushed = commits * (100 - log_percent) / 100;
    for commit in 0..commits {
        db.commit(vec![write(table, commit)])?.all()?;
        if commit + 1 == flushed {
            db.checkpoint()?;
            db.merge_full(None)?;
        }
    }
    let url = format!("file://{}", root.join("store").display());
    let started = Instant::now();
    let report = db.backup(&url, true, |_| Ok(()))?;
    let seconds = started.elapsed().as_secs_f64();
    println!("backup of {values} values: {seconds:.2} s, {} bytes", report.manifest.bytes());
    let started = Instant::now();
    let again = db.backup(&url, false, |_| Ok(()))?;
    let seconds = started.elapsed().as_secs_f64();
    println!("again: {seconds:.2} s, {} bytes copied", again.manifest.copied_bytes);
    db.close()?;
    let started = Instant::now();
    let db = Db::open(storage(root.join("data"))?, options.clone())?;
    let rows = (commits - flushed) * u64::from(HOSTS);
    println!("start with {rows} rows in the log: {:.2} s", started.elapsed().as_secs_f64());
    db.close()?;
    let objects = FolderConnector.connect(&url).map_err(|e| tsdb::Error::io(&url, &e))?;
    let report = restore(RestoreRequest {
        objects: &*objects,
        stored: storage(root.join("restored"))?,
        unseal: &|stored| Ok(stored),
        lineage: None,
        number: None,
        to: None,
        options: Options { background: false, ..options },
        progress: &mut |_| {},
    })?;
    println!("restore, {log_percent} % of it out of the log: {:.2} s", report.seconds);
    Ok(())
}

fn storage(folder: PathBuf) -> Result<Arc<dyn Storage>> {
    let opened = RealStorage::new(folder.clone());
    Ok(Arc::new(opened.map_err(|e| tsdb::Error::io(folder.display(), &e))?))
}

fn create(db: &Db) -> Result<TableId> {
    let column = |name: String, kind, key| NewColumn { name, kind, key, not_null: false };
    let mut columns = vec![column("host".into(), ColumnType::Text, true)];
    let fields = (0..FIELDS).map(|n| column(format!("f{n}"), ColumnType::Float64, false));
    columns.extend(fields);
    let table = NewTable {
        name: "cpu".into(),
        time_name: "time".into(),
        columns,
        options: TableOptions::default(),
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(table))? {
        Outcome::Table(id) => Ok(id),
        other => Err(tsdb::Error::Invalid(format!("{other:?} of a new table"))),
    }
}

/// One reading of each host: walks of two digits.
fn write(table: TableId, commit: u64) -> Command {
    let hosts = 0..HOSTS;
    let key = |host: u32| Key::new([(1, format!("host_{host}").as_bytes())]);
    let value = |host: u32, field: u16| {
        let step = commit.wrapping_mul(31) + u64::from(host) * 7 + u64::from(field) * 13;
        ((step % 10_007) as f64 / 100.0).floor()
    };
    let fields = (0..FIELDS).map(|field| {
        let values = hosts.clone().map(|host| value(host, field)).collect();
        (field + 2, Column::good(Values::Float(values)))
    });
    Command::Write(WriteBatch {
        table,
        series: hosts.clone().map(|host| SeriesRef::Key(key(host))).collect(),
        key_of_row: hosts.clone().collect(),
        times: vec![1_700_000_000_000_000_000 + commit as i64 * STEP_NS; HOSTS as usize],
        columns: fields.collect(),
    })
}

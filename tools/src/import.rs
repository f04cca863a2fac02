//! `millrace import`: line protocol and CSV, plain or packed, into a server or a folder.

mod csv;
mod lines;
pub mod send;
pub mod time;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Connection;
use crate::failure::{Failure, Result};
use csv::{CsvChunks, CsvOptions};
use lines::LineChunks;
use send::{Chunk, Sender};
use time::TimeFormat;

/// Refused rows shown one by one.
const TOLD_MAX: u64 = 20;

/// Arguments of `import`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace import cpu.lp.gz
  millrace import --table rig --tag run=1 valve1.csv
  millrace import --table rig --key site,line --time-column datetime *.csv.zst
  millrace import --data-dir ./millrace-data cpu.lp     (no server running)")]
pub struct ImportArgs {
    /// Files: line protocol (.lp, .line, .txt) or CSV (.csv), plain, .gz or .zst; `-`: standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// What the files hold; auto: by their names.
    #[arg(long, value_parser = ["auto", "lp", "csv"], default_value = "auto")]
    pub format: String,
    /// Table for CSV rows; default: the file's name without endings.
    #[arg(long)]
    pub table: Option<String>,
    /// CSV column with the time; default: one named time, timestamp, datetime …, else the first.
    #[arg(long)]
    pub time_column: Option<String>,
    /// How CSV times are written: auto, calendar, s, ms, us, ns. Without an offset: UTC.
    #[arg(long, default_value = "auto")]
    pub time_format: TimeFormat,
    /// CSV columns that belong to the key, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub key: Vec<String>,
    /// Key column with one value for all CSV rows; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub tag: Vec<(String, String)>,
    /// Between CSV columns; default: found out.
    #[arg(long)]
    pub delimiter: Option<char>,
    /// Requests under way at once. With more than one, rows of the same key and time may be
    /// written in another order than the file has them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Bytes of one request.
    #[arg(long, default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(4096..))]
    pub chunk_bytes: u32,
    /// Write straight into this folder; no server may have it open.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The keys of that folder, if it is encrypted.
    #[command(flatten)]
    pub keys: crate::keys::KeyArgs,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

fn name_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() { Err("the name is empty".into()) } else { Ok((name.into(), value.into())) }
}

/// Totals of an import.
#[derive(Debug, Default)]
struct Totals {
    rows: AtomicU64,
    refused: AtomicU64,
    told: AtomicU64,
}

/// Runs the command; an error if rows were refused.
pub fn run(args: &ImportArgs) -> Result<()> {
    let open = |path| crate::folder::Folder::open(path, &args.keys);
    let folder = args.data_dir.as_deref().map(open).transpose()?;
    let totals = Totals::default();
    let started = Instant::now();
    for path in &args.files {
        let make_sender = || match &folder {
            Some(folder) => Ok(Sender::Folder(folder.lines())),
            None => Sender::http(&args.connection),
        };
        import_file(args, path, &totals, make_sender)
            .map_err(|error| Failure::doing(path.display(), error))?;
    }
    if let Some(folder) = folder {
        folder.close()?;
    }
    let (rows, refused) =
        (totals.rows.load(Ordering::Relaxed), totals.refused.load(Ordering::Relaxed));
    let seconds = started.elapsed().as_secs_f64();
    println!("{rows} rows in {seconds:.1} s ({:.0} rows/s)", rows as f64 / seconds.max(1e-9));
    if refused > 0 {
        return Err(Failure::new(format!("{refused} rows were refused")));
    }
    Ok(())
}

fn import_file(
    args: &ImportArgs,
    path: &Path,
    totals: &Totals,
    make_sender: impl Fn() -> Result<Sender>,
) -> Result<()> {
    let bar = progress_bar(path)?;
    let (queue, waiting) = sync_channel::<Chunk>(usize::from(args.workers));
    // Only workers hold the receiver: when the last one fails, reading stops.
    let waiting = Arc::new(Mutex::new(waiting));
    let result = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.workers)
            .map(|_| {
                let sender = make_sender()?;
                let (waiting, bar) = (waiting.clone(), &bar);
                Ok(scope.spawn(move || work(sender, &waiting, totals, bar, path)))
            })
            .collect::<Result<_>>()?;
        drop(waiting);
        let read = read_file(args, path, &bar, totals, queue);
        let mut failed = None;
        for worker in workers {
            let done = worker.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked")));
            failed = failed.or(done.err());
        }
        // A worker that fails ends the reader too; its cause is the one to tell.
        match failed {
            Some(failure) => Err(failure),
            None => read,
        }
    });
    bar.finish_and_clear();
    result
}

/// Reads the file into the queue until it ends or every worker is gone.
fn read_file(
    args: &ImportArgs,
    path: &Path,
    bar: &ProgressBar,
    totals: &Totals,
    queue: SyncSender<Chunk>,
) -> Result<()> {
    let reader = open(path, bar)?;
    if is_csv(args, path) {
        let mut chunks = CsvChunks::new(reader, &csv_options(args, path)?)?;
        bar.println(format!("{}: {}", path.display(), chunks.describe()));
        while let Some((chunk, bad)) = chunks.next_chunk()? {
            for row in bad {
                tell(totals, bar, path, row.line, &row.reason);
                totals.refused.fetch_add(1, Ordering::Relaxed);
            }
            if !chunk.body.is_empty() && queue.send(chunk).is_err() {
                return Err(Failure::new("writing stopped"));
            }
        }
    } else {
        let mut chunks = LineChunks::new(reader, args.chunk_bytes as usize);
        while let Some(chunk) = chunks.next_chunk()? {
            if queue.send(chunk).is_err() {
                return Err(Failure::new("writing stopped"));
            }
        }
    }
    Ok(())
}

fn work(
    mut sender: Sender,
    waiting: &Mutex<Receiver<Chunk>>,
    totals: &Totals,
    bar: &ProgressBar,
    path: &Path,
) -> Result<()> {
    loop {
        let next = waiting.lock().map_err(|_| Failure::new("a worker panicked"))?.recv();
        let Ok(chunk) = next else { return Ok(()) };
        let sent = sender.send(&chunk.body)?;
        let rows = totals.rows.fetch_add(sent.rows, Ordering::Relaxed) + sent.rows;
        totals.refused.fetch_add(sent.refused, Ordering::Relaxed);
        for (line, reason) in &sent.told {
            tell(totals, bar, path, chunk.source_line(*line), reason);
        }
        let rate = rows as f64 / bar.elapsed().as_secs_f64().max(1e-9);
        bar.set_message(format!("{rows} rows, {rate:.0} rows/s"));
    }
}

fn tell(totals: &Totals, bar: &ProgressBar, path: &Path, line: u64, reason: &str) {
    match totals.told.fetch_add(1, Ordering::Relaxed) {
        told if told < TOLD_MAX => {
            bar.suspend(|| eprintln!("{} line {line}: {reason}", path.display()));
        }
        TOLD_MAX => bar.suspend(|| eprintln!("further refused rows are counted only")),
        _ => {}
    }
}

fn csv_options(args: &ImportArgs, path: &Path) -> Result<CsvOptions> {
    let delimiter = args
        .delimiter
        .map(|c| u8::try_from(c).map_err(|_| Failure::usage("the delimiter must be one byte")));
    Ok(CsvOptions {
        table: args.table.clone().unwrap_or_else(|| stem(path)),
        time_column: args.time_column.clone(),
        time_format: args.time_format,
        keys: args.key.clone(),
        tags: args.tag.iter().cloned().collect::<BTreeMap<_, _>>(),
        delimiter: delimiter.transpose()?,
        chunk_bytes: args.chunk_bytes as usize,
    })
}

/// Name of a file without folders and endings.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    match name.split('.').next() {
        Some(stem) if !stem.is_empty() && stem != "-" => stem.to_owned(),
        _ => "imported".to_owned(),
    }
}

fn is_csv(args: &ImportArgs, path: &Path) -> bool {
    match args.format.as_str() {
        "csv" => true,
        "lp" => false,
        _ => {
            let name = path.to_string_lossy().to_lowercase();
            let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
            name.ends_with(".csv") || name.ends_with(".tsv")
        }
    }
}

/// Opens a file; what it is packed with is told by its first bytes, not its name.
fn open(path: &Path, bar: &ProgressBar) -> Result<Box<dyn Read>> {
    let raw: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    let mut raw = bar.wrap_read(raw);
    let mut magic = Vec::new();
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let packed = magic.clone();
    let whole = BufReader::with_capacity(1 << 18, std::io::Cursor::new(magic).chain(raw));
    Ok(match packed.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(whole)?),
        _ => Box::new(whole),
    })
}

fn progress_bar(path: &Path) -> Result<ProgressBar> {
    let length = if path == Path::new("-") { None } else { Some(std::fs::metadata(path)?.len()) };
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::no_length(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(4));
    let style = ProgressStyle::with_template(
        "{prefix} [{bar:30}] {bytes}/{total_bytes} {msg} {elapsed} (left {eta})",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    Ok(bar)
}

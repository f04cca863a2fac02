//! `millrace simulate`: data of simulated machines to a file, to standard output or into a server.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::import::send::Sender;
use crate::import::time::TimeFormat;
use crate::simulate::{CpuOnly, CpuSpec, Iot, IotSpec};

/// First day of simulated data if none is given.
pub const DEFAULT_START: &str = "2024-01-01";

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Hosts with ten CPU figures each.
    CpuOnly,
    /// Trucks with readings and diagnostics: gaps, missing tags, late rows.
    Iot,
}

/// Arguments of `simulate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace simulate cpu-only --scale 100 --hours 1 > cpu.lp
  millrace simulate iot --scale 10 --hours 24 --output iot.lp.zst
  millrace simulate cpu-only --scale 1000 --hours 12 --stream --workers 2
  millrace simulate cpu-only --scale 50 --from 2024-03-01 --to '2024-03-02 12:00' --csv")]
pub struct SimulateArgs {
    /// What is simulated.
    pub case: Case,
    /// Hosts or trucks.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub scale: u32,
    /// First time.
    #[arg(long, default_value = DEFAULT_START, value_parser = parse_time)]
    pub from: i64,
    /// End, not part of the data; instead of --hours.
    #[arg(long, value_parser = parse_time, conflicts_with = "hours")]
    pub to: Option<i64>,
    /// Hours of data.
    #[arg(long, default_value_t = 1.0)]
    pub hours: f64,
    /// Seconds between two rows of a host or truck.
    #[arg(long, default_value_t = 10.0)]
    pub interval: f64,
    /// Seed: the same one gives the same data.
    #[arg(long, default_value_t = 123)]
    pub seed: u64,
    /// File to write; packed if its name ends in .gz or .zst. Default: standard output.
    #[arg(long, conflicts_with = "stream")]
    pub output: Option<PathBuf>,
    /// CSV instead of line protocol (cpu-only).
    #[arg(long, conflicts_with = "stream")]
    pub csv: bool,
    /// Send to the server at --url.
    #[arg(long)]
    pub stream: bool,
    /// Connections that send.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// At most so many rows a second when sending; 0: as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Rows of one request or write.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

fn parse_time(text: &str) -> std::result::Result<i64, String> {
    TimeFormat::Calendar
        .parse(text)
        .ok_or_else(|| "it must be a time such as 2024-01-31 12:00".into())
}

/// What data to make.
#[derive(Clone, Debug)]
pub struct GeneratorSpec {
    /// Hosts or trucks.
    pub case: Case,
    /// How many.
    pub scale: u32,
    /// First time, ns.
    pub start_ns: i64,
    /// End, ns, not part of the data.
    pub end_ns: i64,
    /// Between two rows of one host or truck, ns.
    pub interval_ns: i64,
    /// Source of chance.
    pub seed: u64,
}

/// A generator of either case.
pub enum Generator {
    /// Hosts.
    Cpu(Box<CpuOnly>),
    /// Trucks.
    Iot(Box<Iot>),
}

impl Generator {
    /// Checks the spec and makes a generator.
    pub fn new(spec: &GeneratorSpec) -> Result<Generator> {
        if spec.interval_ns <= 0 || spec.end_ns <= spec.start_ns {
            return Err(Failure::usage("the interval must be above 0 and the end after the start"));
        }
        let GeneratorSpec { start_ns, end_ns, interval_ns, seed, .. } = *spec;
        Ok(match spec.case {
            Case::CpuOnly => {
                let hosts = spec.scale;
                let spec = CpuSpec { hosts, start_ns, end_ns, interval_ns, seed };
                Generator::Cpu(Box::new(CpuOnly::new(spec)))
            }
            Case::Iot => {
                let trucks = spec.scale;
                let spec = IotSpec { trucks, start_ns, end_ns, interval_ns, seed };
                Generator::Iot(Box::new(Iot::new(spec)))
            }
        })
    }

    /// Appends at most `rows_max` rows; 0 at the end.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, rows_max: usize) -> usize {
        match self {
            Generator::Cpu(cpu) => cpu.next_chunk(out, rows_max),
            Generator::Iot(iot) => iot.next_chunk(out, rows_max),
        }
    }
}

/// Runs the command.
pub fn run(args: &SimulateArgs) -> Result<()> {
    let hours_ns = (args.hours * 3.6e12) as i64;
    let spec = GeneratorSpec {
        case: args.case,
        scale: args.scale,
        start_ns: args.from,
        end_ns: args.to.unwrap_or(args.from.saturating_add(hours_ns)),
        interval_ns: (args.interval * 1e9) as i64,
        seed: args.seed,
    };
    let mut generator = Generator::new(&spec)?;
    let started = Instant::now();
    let rows = if args.stream { stream(args, &mut generator)? } else { write(args, generator)? };
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    eprintln!("{rows} rows in {seconds:.1} s ({:.0} rows/s)", rows as f64 / seconds);
    Ok(())
}

fn write(args: &SimulateArgs, mut generator: Generator) -> Result<u64> {
    let sink: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(std::fs::File::create(path)?),
    };
    let ending = args.output.as_ref().and_then(|path| path.extension()?.to_str());
    let mut sink = match ending {
        Some("gz") => Sink::Gzip(flate2::write::GzEncoder::new(sink, flate2::Compression::fast())),
        Some("zst") => Sink::Zstd(Box::new(zstd::stream::write::Encoder::new(sink, 1)?)),
        _ => Sink::Plain(BufWriter::with_capacity(1 << 18, sink)),
    };
    let (mut rows, mut chunk) = (0, Vec::new());
    if args.csv {
        let Generator::Cpu(cpu) = &generator else {
            return Err(Failure::usage("--csv is for cpu-only: iot rows have no fixed columns"));
        };
        cpu.csv_header(&mut chunk);
        sink.writer().write_all(&chunk)?;
    }
    loop {
        chunk.clear();
        let made = match &mut generator {
            Generator::Cpu(cpu) if args.csv => {
                cpu.next_chunk_csv(&mut chunk, args.batch_rows as usize)
            }
            generator => generator.next_chunk(&mut chunk, args.batch_rows as usize),
        };
        if made == 0 {
            break;
        }
        rows += made as u64;
        match sink.writer().write_all(&chunk) {
            Ok(()) => {}
            // `| head` has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(rows),
            Err(error) => return Err(error.into()),
        }
    }
    sink.finish()?;
    Ok(rows)
}

enum Sink {
    Plain(BufWriter<Box<dyn Write>>),
    Gzip(flate2::write::GzEncoder<Box<dyn Write>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Box<dyn Write>>>),
}

impl Sink {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Sink::Plain(sink) => sink,
            Sink::Gzip(sink) => sink,
            Sink::Zstd(sink) => sink,
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Sink::Plain(mut sink) => sink.flush()?,
            Sink::Gzip(sink) => sink.finish()?.flush()?,
            Sink::Zstd(sink) => sink.finish()?.flush()?,
        }
        Ok(())
    }
}

fn stream(args: &SimulateArgs, generator: &mut Generator) -> Result<u64> {
    let (queue, waiting) = sync_channel::<Vec<u8>>(usize::from(args.workers));
    // Only workers hold the receiver: when the last one fails, sending fails too.
    let waiting = Arc::new(Mutex::new(waiting));
    let work = |waiting: Arc<Mutex<Receiver<Vec<u8>>>>| -> Result<()> {
        let mut sender = Sender::http(&args.connection)?;
        loop {
            let next = waiting.lock().map_err(|_| Failure::new("a worker panicked"))?.recv();
            let Ok(body) = next else { return Ok(()) };
            let sent = sender.send(&body)?;
            if let Some((line, reason)) = sent.told.first() {
                return Err(Failure::new(format!("line {line}: {reason}")));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.workers)
            .map(|_| {
                let waiting = waiting.clone();
                scope.spawn(move || work(waiting))
            })
            .collect();
        drop(waiting);
        let (started, mut told) = (Instant::now(), Instant::now());
        let mut rows = 0;
        loop {
            let mut chunk = Vec::new();
            let made = generator.next_chunk(&mut chunk, args.batch_rows as usize) as u64;
            // A queue without readers means that every worker has failed; they say why.
            if made == 0 || queue.send(chunk).is_err() {
                break;
            }
            rows += made;
            if let Some(due) = (rows * 1000).checked_div(args.rate) {
                std::thread::sleep(Duration::from_millis(due).saturating_sub(started.elapsed()));
            }
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                let rate = rows as f64 / started.elapsed().as_secs_f64();
                eprintln!("{rows} rows, {rate:.0} rows/s");
            }
            if workers.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
        drop(queue);
        for worker in workers {
            worker.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked")))?;
        }
        Ok(rows)
    })
}

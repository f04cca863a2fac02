//! `millrace bench series`: a million series of a few rows each, in rounds: what they cost in
//! memory, time and bytes, and how quick it is to find one of them.

use std::time::Duration;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::own::{self, OwnArgs, TemporaryFolder, Verdict};
use super::report::QueryFigures;
use super::stream::stream;
use super::timing::{self, Inside};
use crate::failure::{Failure, Result};
use crate::generate::DEFAULT_START;
use crate::import::time::format_ns;
use crate::settings::{parse_bytes, parse_day_ns};

const MINUTE: i64 = 60_000_000_000;
/// Lines of a plant, and devices of a line.
const LINES: u32 = 10;
const DEVICES: u32 = 100;
/// Fields of a row.
const FIELDS: u64 = 4;

/// Arguments of `bench series`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench series --series 1000000                  three rounds, memory as the server likes
  millrace bench series --series 1000000 --memory 8GiB
  millrace bench series --series 100000 --memory 512MiB --rounds 10 --json series.json")]
pub struct SeriesArgs {
    /// Series.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub series: u32,
    /// Rows of each series, one a round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: u32,
    /// memory_bytes_max of the server; its peak is judged by it.
    #[arg(long, value_parser = parse_bytes)]
    pub memory: Option<u64>,
    /// Runs of each query.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Seed of literals.
    #[arg(long, default_value_t = 123)]
    pub seed: u64,
    /// Connections that load.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Rows of one request.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// Servers and figures.
    #[command(flatten)]
    pub own: OwnArgs,
}

/// Figures of a run.
#[derive(Debug, Default, Serialize)]
struct Figures {
    series: u32,
    rows: u64,
    /// Rows a second of each round; the first makes the series.
    rows_per_second: Vec<f64>,
    /// Resident memory after each round, bytes.
    memory: Vec<u64>,
    settle_seconds: f64,
    part_bytes: u64,
    series_bytes: u64,
    bytes_per_value: f64,
    peak_memory: u64,
    queries: Vec<QueryFigures>,
}

/// Where a series stands: plant, line, device.
fn place(series: u32) -> (u32, u32, u32) {
    (series / (LINES * DEVICES), series / DEVICES % LINES, series % DEVICES)
}

fn value(series: u32, round: u32) -> i64 {
    i64::from(series % 1009) + i64::from(round)
}

fn line(out: &mut Vec<u8>, series: u32, round: u32, time: i64) {
    let (plant, line, device) = place(series);
    let value = value(series, round);
    let text = format!(
        "meter,plant=plant-{plant},line=line-{line},device=device-{device:03} \
         energy={value}i,power={}.{},voltage=23{}.5,ok={} {time}\n",
        series % 97,
        round % 10,
        series % 10,
        !series.is_multiple_of(13)
    );
    out.extend_from_slice(text.as_bytes());
}

/// Runs the command.
pub fn run(args: &SeriesArgs) -> Result<()> {
    let temporary = TemporaryFolder::new(args.own.folder.as_deref())?;
    let mut arguments = args.own.server_arg.clone();
    arguments.extend(args.memory.map(|bytes| format!("--memory-bytes-max={bytes}")));
    let (server, connection) = own::start(&temporary.path().join("database"), &arguments)?;
    let start_ns = parse_day_ns(DEFAULT_START).unwrap_or(0);
    let mut figures = Figures { series: args.series, ..Figures::default() };
    for round in 0..args.rounds {
        let (mut next, time) = (0, start_ns + i64::from(round) * MINUTE);
        let source = move |out: &mut Vec<u8>| {
            let first = next;
            next = args.series.min(first + args.batch_rows);
            (first..next).for_each(|series| line(out, series, round, time));
            u64::from(next - first)
        };
        let (rows, loaded) = stream(&connection, args.workers, source)?;
        figures.rows += rows;
        figures.rows_per_second.push(rows as f64 / loaded.seconds);
        figures.memory.push(server.memory()?);
        eprintln!("round {}: {:.0} rows/s", round + 1, rows as f64 / loaded.seconds);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.block_on(async {
        let client = connection.postgres().await?;
        check(&client, args).await?;
        eprintln!("settling …");
        figures.settle_seconds = timing::settle(&client).await?;
        check(&client, args).await?;
        ask(&client, args, start_ns, &mut figures).await?;
        Inside::ask(&client).await
    })?;
    (figures.part_bytes, figures.series_bytes) =
        (inside.stat("part_bytes"), inside.stat("series_bytes"));
    let values = figures.rows * FIELDS;
    figures.bytes_per_value = (figures.part_bytes + figures.series_bytes) as f64 / values as f64;
    figures.peak_memory = own::stop(server)?;
    args.own.write_json(&figures)?;
    print(&figures);
    inside.print_memory();
    if let Some(query) = figures.queries.iter().find(|query| query.error.is_some()) {
        return Err(Failure::new(query.error.clone().unwrap_or_default()));
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let verdicts: Vec<Verdict> = args
        .memory
        .map(|most| {
            let words = format!("peak {} MiB of {} MiB", mib(figures.peak_memory), mib(most));
            Verdict::new(figures.peak_memory <= most, words)
        })
        .into_iter()
        .collect();
    args.own.judge(&verdicts)
}

/// All rows, and those of one plant and one series, against what was written.
async fn check(client: &tokio_postgres::Client, args: &SeriesArgs) -> Result<()> {
    let sum = |series: &mut dyn Iterator<Item = u32>| -> (u64, i64) {
        series.fold((0, 0), |(count, sum), series| {
            let all = (0..args.rounds).map(|round| value(series, round)).sum::<i64>();
            (count + u64::from(args.rounds), sum + all)
        })
    };
    let one = args.series / 2;
    let (plant, line, device) = place(one);
    let of_plant = |series: &u32| place(*series).0 == plant;
    let key = format!(
        "plant = 'plant-{plant}' AND line = 'line-{line}' AND device = 'device-{device:03}'"
    );
    let questions = [
        ("true".to_owned(), sum(&mut (0..args.series))),
        (format!("plant = 'plant-{plant}'"), sum(&mut (0..args.series).filter(of_plant))),
        (key, sum(&mut std::iter::once(one))),
    ];
    for (condition, (count, sum)) in questions {
        let sql = format!("SELECT count(*), sum(energy) FROM meter WHERE {condition}");
        let found = timing::rows(client, &sql).await?;
        let wanted = [count.to_string(), sum.to_string()];
        if found.len() != 1 || found[0] != wanted {
            return Err(Failure::new(format!("{sql}: {found:?} instead of {wanted:?}")));
        }
    }
    Ok(())
}

/// Times queries for one series, and for some by a part of the key.
async fn ask(
    client: &tokio_postgres::Client,
    args: &SeriesArgs,
    start_ns: i64,
    figures: &mut Figures,
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let (runs, limit) = (args.runs as usize, Duration::from_secs(30));
    let mut one = || place(rng.random_range(0..args.series));
    let key = |(plant, line, device): (u32, u32, u32)| {
        format!(
            "plant = 'plant-{plant}' AND line = 'line-{line}' AND device = 'device-{device:03}'"
        )
    };
    let next = || format!("SELECT * FROM meter WHERE {} ORDER BY time DESC LIMIT 1", key(one()));
    figures.queries.push(timing::measure(client, "lastpoint of a series", runs, limit, next).await);
    let next = || format!("SELECT time, energy, power FROM meter WHERE {}", key(one()));
    figures.queries.push(timing::measure(client, "all rows of a series", runs, limit, next).await);
    let end = format_ns(start_ns + i64::from(args.rounds) * MINUTE);
    let next = || {
        let (plant, line, _) = one();
        format!(
            "SELECT device, max(power) FROM meter WHERE plant = 'plant-{plant}' AND \
             line = 'line-{line}' AND time < '{end}+00' GROUP BY device ORDER BY device"
        )
    };
    figures.queries.push(timing::measure(client, "a line's devices", runs, limit, next).await);
    let next =
        || format!("SELECT count(*), avg(energy) FROM meter WHERE plant = 'plant-{}'", one().0);
    figures.queries.push(timing::measure(client, "a plant's average", runs, limit, next).await);
    Ok(())
}

fn print(figures: &Figures) {
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!("\n{} series, {} rows, {FIELDS} fields", figures.series, figures.rows);
    for (at, (rate, memory)) in figures.rows_per_second.iter().zip(&figures.memory).enumerate() {
        println!("round {:<4}{rate:>12.0} rows/s{:>10.0} MiB resident", at + 1, mib(*memory));
    }
    println!(
        "size      {:.1} MiB parts + {:.1} MiB series = {:.3} bytes/value (settled in {:.1} s)",
        mib(figures.part_bytes),
        mib(figures.series_bytes),
        figures.bytes_per_value,
        figures.settle_seconds
    );
    println!("memory    peak {:.0} MiB", mib(figures.peak_memory));
    println!("\n{:<26}{:>6}{:>9}{:>11}{:>11}", "query", "runs", "rows", "median ms", "p95 ms");
    for query in &figures.queries {
        println!(
            "{:<26}{:>6}{:>9}{:>11.3}{:>11.3}",
            query.name, query.runs, query.rows, query.median_ms, query.p95_ms
        );
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the lines.
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_series_has_a_key_of_its_own() {
        let mut out = Vec::new();
        (0..2500).for_each(|series| line(&mut out, series, 1, 5));
        let text = String::from_utf8(out).unwrap();
        let keys: BTreeSet<&str> = text.lines().map(|l| l.split(' ').next().unwrap()).collect();
        assert_eq!(keys.len(), 2500);
        assert!(text.starts_with(
            "meter,plant=plant-0,line=line-0,device=device-000 \
             energy=1i,power=0.1,voltage=230.5,ok=false 5\n"
        ));
    }
}

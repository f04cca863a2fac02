//! `millrace bench mixed`: writes at a share of what the server can take, and queries at the same
//! time, for minutes on end. Every answer is checked against what was written; the last minute is
//! compared with the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::asked::{KINDS, WINDOW_MAX};
use super::own::{self, OwnArgs, TemporaryFolder, Verdict};
use super::plan::Plan;
use super::report::percentile;
use super::timing::{self, Inside};
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::generate::DEFAULT_START;
use crate::import::send::Sender;
use crate::settings::parse_day_ns;

/// How far the last minute may be from the first.
const DRIFT_MAX: f64 = 0.1;
/// Steps after which values come round again.
const PERIOD: u32 = 120;
/// How far writers may be behind their rate before it counts as backlog, s.
const LATE_SECONDS_MAX: f64 = 1.0;

/// Arguments of `bench mixed`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench mixed --minutes 30 --rate-share 0.5
  millrace bench mixed --minutes 5 --queries-per-second 50 --json mixed.json
  millrace bench mixed --minutes 3 --minute-seconds 10 --scale 100 --strict")]
pub struct MixedArgs {
    /// Minutes of mixed load; the first and the last are compared.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub minutes: u32,
    /// Length of a minute, s: shorter ones make a quick run.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub minute_seconds: u64,
    /// Writes as a share of the most that the server takes.
    #[arg(long, default_value_t = 0.5)]
    pub rate_share: f64,
    /// Time over which the most is measured, s.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub probe_seconds: u64,
    /// Queries a second, of all kinds in turn.
    #[arg(long, default_value_t = 20.0)]
    pub queries_per_second: f64,
    /// Hosts.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub scale: u32,
    /// Connections that write.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Rows of one request, about.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// Seed of data and literals.
    #[arg(long, default_value_t = 123)]
    pub seed: u64,
    /// Servers and figures.
    #[command(flatten)]
    pub own: OwnArgs,
}

/// Figures of one minute.
#[derive(Clone, Debug, Default, Serialize)]
struct Minute {
    rows: u64,
    rows_per_second: f64,
    request_median_ms: f64,
    /// How far the writers were behind their rate at worst, s.
    late_seconds: f64,
    /// Median of each kind of query, ms.
    query_ms: BTreeMap<String, f64>,
    queries: u64,
    wrong: u64,
    queue_bytes: u64,
    head_bytes: u64,
    memory_bytes: u64,
    parts: u64,
    parts_flushed: u64,
    parts_flushed_bytes: u64,
    #[serde(skip)]
    request_ms: Vec<f64>,
    #[serde(skip)]
    all_ms: BTreeMap<&'static str, Vec<f64>>,
}

/// Figures of a run.
#[derive(Debug, Serialize)]
struct Figures {
    rows_per_second_max: f64,
    rows_per_second_asked: f64,
    minutes: Vec<Minute>,
    rows: u64,
    peak_memory: u64,
    verdicts: Vec<Verdict>,
}

/// What writers and asker share.
struct Shared<'a> {
    plan: &'a Plan,
    steps_per_request: u64,
    next: AtomicU64,
    acknowledged: Mutex<Acknowledged>,
    minutes: Mutex<Vec<Minute>>,
    stop: AtomicBool,
}

/// Requests that were answered: all below `whole`, and some above.
#[derive(Debug, Default)]
struct Acknowledged {
    whole: u64,
    apart: BTreeSet<u64>,
}

impl Acknowledged {
    fn add(&mut self, request: u64) {
        self.apart.insert(request);
        while self.apart.remove(&self.whole) {
            self.whole += 1;
        }
    }
}

fn poisoned<T>(_: T) -> Failure {
    Failure::new("a thread of the benchmark panicked")
}

/// How writers keep time: from when on, how many rows a second, when it is over.
#[derive(Clone, Copy)]
struct Pace {
    started: Instant,
    /// Rows a second; 0: as many as can be.
    rate: f64,
    length: Duration,
    /// Steps that must be there before it is over.
    steps_min: u64,
    minute: Duration,
    /// Number of the first request.
    first: u64,
}

impl Shared<'_> {
    /// Steps that are all there.
    fn newest(&self) -> Result<u64> {
        Ok(self.acknowledged.lock().map_err(poisoned)?.whole * self.steps_per_request)
    }

    /// Writes until the time is over.
    fn write(&self, connection: &Connection, pace: Pace) -> Result<()> {
        let mut sender = Sender::http(connection)?;
        let mut body = Vec::new();
        let rows = self.steps_per_request * u64::from(self.plan.hosts);
        let few = || self.next.load(Ordering::Relaxed) * self.steps_per_request < pace.steps_min;
        while (pace.started.elapsed() < pace.length || few()) && !self.stop.load(Ordering::Relaxed)
        {
            let request = self.next.fetch_add(1, Ordering::Relaxed);
            body.clear();
            let first = request * self.steps_per_request;
            (first..first + self.steps_per_request).for_each(|s| self.plan.append(s, &mut body));
            let mut late = 0.0;
            if pace.rate > 0.0 {
                let due = (request - pace.first) as f64 * rows as f64 / pace.rate;
                late = pace.started.elapsed().as_secs_f64() - due;
                if late < 0.0 {
                    std::thread::sleep(Duration::from_secs_f64(-late));
                }
            }
            let sent_at = Instant::now();
            let sent = sender.send(&body)?;
            if sent.rows != rows || sent.refused > 0 {
                return Err(Failure::new(format!("{} of {rows} rows: {:?}", sent.rows, sent.told)));
            }
            self.acknowledged.lock().map_err(poisoned)?.add(request);
            let mut minutes = self.minutes.lock().map_err(poisoned)?;
            let at = (pace.started.elapsed().as_nanos() / pace.minute.as_nanos()) as usize;
            // What is answered after the end belongs to no minute.
            if let Some(minute) = minutes.get_mut(at) {
                minute.rows += rows;
                minute.request_ms.push(sent_at.elapsed().as_secs_f64() * 1000.0);
                minute.late_seconds = minute.late_seconds.max(late);
            }
        }
        Ok(())
    }

    /// Asks until the time is over; looks inside at the end of every minute.
    async fn ask(
        &self,
        client: &tokio_postgres::Client,
        args: &MixedArgs,
        pace: Pace,
    ) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(args.seed);
        let gap = Duration::from_secs_f64(1.0 / args.queries_per_second.max(0.001));
        let (mut looked, mut due) = (0, Duration::ZERO);
        for (name, kind) in KINDS.iter().cycle() {
            let elapsed = pace.started.elapsed();
            let at = (elapsed.as_nanos() / pace.minute.as_nanos()) as usize;
            if at > looked || elapsed >= pace.length {
                self.look(client, looked).await?;
                looked = at;
            }
            if elapsed >= pace.length || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            tokio::time::sleep(due.saturating_sub(elapsed)).await;
            // Who is late does not hurry to catch up.
            due = due.max(pace.started.elapsed()) + gap;
            let question = kind(self.plan, &mut rng, self.newest()?);
            let asked_at = Instant::now();
            let answer = timing::rows(client, &question.sql).await?;
            let took = asked_at.elapsed().as_secs_f64() * 1000.0;
            let wrong = (question.check)(&answer).err();
            if let Some(wrong) = &wrong {
                let shown: String = wrong.chars().take(500).collect();
                eprintln!("WRONG: {}: {shown}", question.sql);
            }
            let mut minutes = self.minutes.lock().map_err(poisoned)?;
            let minute = minutes.get_mut(at).ok_or_else(|| poisoned(()))?;
            minute.queries += 1;
            minute.wrong += u64::from(wrong.is_some());
            minute.all_ms.entry(name).or_default().push(took);
        }
        Ok(())
    }

    /// Notes at the end of a minute what the server holds and owes.
    async fn look(&self, client: &tokio_postgres::Client, at: usize) -> Result<()> {
        let inside = Inside::ask(client).await?;
        let mut minutes = self.minutes.lock().map_err(poisoned)?;
        let Some(minute) = minutes.get_mut(at) else { return Ok(()) };
        minute.queue_bytes = inside.used("commit queue");
        minute.head_bytes = inside.used("heads");
        minute.memory_bytes = inside.used("process");
        minute.parts = inside.parts;
        minute.parts_flushed = inside.parts_flushed;
        minute.parts_flushed_bytes = inside.parts_flushed_bytes;
        eprintln!(
            "minute {}: {} rows, {} queries, {} wrong, {} parts, {:.0} MiB",
            at + 1,
            minute.rows,
            minute.queries,
            minute.wrong,
            minute.parts,
            minute.memory_bytes as f64 / (1 << 20) as f64
        );
        Ok(())
    }
}

/// Runs the command.
pub fn run(args: &MixedArgs) -> Result<()> {
    if !(args.rate_share > 0.0 && args.rate_share <= 1.0) {
        return Err(Failure::usage("--rate-share is above 0 and at most 1"));
    }
    let temporary = TemporaryFolder::new(args.own.folder.as_deref())?;
    let start_ns = parse_day_ns(DEFAULT_START).unwrap_or(0);
    let plan = Plan::new(args.scale, PERIOD, start_ns, 10_000_000_000, args.seed)?;
    let shared = Shared {
        plan: &plan,
        steps_per_request: u64::from(args.batch_rows / args.scale).max(1),
        next: AtomicU64::new(0),
        acknowledged: Mutex::default(),
        minutes: Mutex::default(),
        stop: AtomicBool::new(false),
    };
    let (server, connection) =
        own::start(&temporary.path().join("database"), &args.own.server_arg)?;
    let most = probe(args, &shared, &connection)?;
    eprintln!("at most {most:.0} rows/s; {:.0} from here on", most * args.rate_share);
    let rate = most * args.rate_share;
    let minutes = mixed(args, &shared, &connection, rate)?;
    let rows = shared.newest()? * u64::from(args.scale);
    check_all(&shared, &connection)?;
    let verdicts = verdicts(&minutes);
    let peak_memory = own::stop(server)?;
    let figures = Figures {
        rows_per_second_max: most,
        rows_per_second_asked: rate,
        minutes,
        rows,
        peak_memory,
        verdicts,
    };
    args.own.write_json(&figures)?;
    print(&figures);
    let wrong: u64 = figures.minutes.iter().map(|minute| minute.wrong).sum();
    if wrong > 0 {
        return Err(Failure::new(format!("{wrong} answers were wrong")));
    }
    args.own.judge(&figures.verdicts)
}

/// Writes as fast as it goes; rows a second. Goes on until the longest window of a query is full,
/// so that all minutes ask the same.
fn probe(args: &MixedArgs, shared: &Shared<'_>, connection: &Connection) -> Result<f64> {
    eprintln!("measuring the most that is taken, {} s …", args.probe_seconds);
    let pace = Pace {
        started: Instant::now(),
        rate: 0.0,
        length: Duration::from_secs(args.probe_seconds),
        steps_min: shared.plan.step_at(shared.plan.start_ns + WINDOW_MAX),
        minute: Duration::from_secs(args.minute_seconds),
        first: 0,
    };
    write_all(args, shared, connection, pace)?;
    let rows = shared.newest()? * u64::from(args.scale);
    Ok(rows as f64 / pace.started.elapsed().as_secs_f64())
}

fn write_all(
    args: &MixedArgs,
    shared: &Shared<'_>,
    connection: &Connection,
    pace: Pace,
) -> Result<()> {
    std::thread::scope(|scope| {
        let write = || {
            shared.write(connection, pace).inspect_err(|_| {
                shared.stop.store(true, Ordering::Relaxed);
            })
        };
        let all: Vec<_> = (0..args.workers).map(|_| scope.spawn(write)).collect();
        all.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|e| Err(poisoned(e))))
    })
}

/// The mixed load; the figures of its minutes.
fn mixed(
    args: &MixedArgs,
    shared: &Shared<'_>,
    connection: &Connection,
    rate: f64,
) -> Result<Vec<Minute>> {
    let minute = Duration::from_secs(args.minute_seconds);
    *shared.minutes.lock().map_err(poisoned)? = vec![Minute::default(); args.minutes as usize];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(connection.postgres())?;
    let pace = Pace {
        started: Instant::now(),
        rate,
        length: minute * args.minutes,
        steps_min: 0,
        minute,
        first: shared.next.load(Ordering::Relaxed),
    };
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_all(args, shared, connection, pace));
        let asked = runtime.block_on(shared.ask(&client, args, pace));
        if asked.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
        }
        writing.join().unwrap_or_else(|e| Err(poisoned(e)))?;
        asked
    })?;
    let mut minutes = std::mem::take(&mut *shared.minutes.lock().map_err(poisoned)?);
    for minute in &mut minutes {
        minute.rows_per_second = minute.rows as f64 / args.minute_seconds as f64;
        minute.request_ms.sort_by(f64::total_cmp);
        minute.request_median_ms = percentile(&minute.request_ms, 0.5);
        for (name, all) in &mut minute.all_ms {
            all.sort_by(f64::total_cmp);
            minute.query_ms.insert((*name).to_owned(), percentile(all, 0.5));
        }
    }
    Ok(minutes)
}

/// All rows, against the ledger.
fn check_all(shared: &Shared<'_>, connection: &Connection) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let steps = shared.newest()?;
    let wanted =
        [(steps * u64::from(shared.plan.hosts)).to_string(), shared.plan.sum(steps, 0).to_string()];
    let found = runtime.block_on(async {
        let client = connection.postgres().await?;
        timing::rows(&client, "SELECT count(*), sum(usage_user) FROM cpu").await
    })?;
    if found.len() != 1 || found[0] != wanted {
        return Err(Failure::new(format!("in all {found:?} instead of {wanted:?}")));
    }
    Ok(())
}

fn print(figures: &Figures) {
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!(
        "\nat most {:.0} rows/s; asked {:.0} rows/s; {} rows in all, peak memory {:.0} MiB",
        figures.rows_per_second_max,
        figures.rows_per_second_asked,
        figures.rows,
        mib(figures.peak_memory)
    );
    println!(
        "\n{:>6}{:>11}{:>12}{:>8}{:>9}{:>7}{:>11}{:>10}{:>11}{:>7}{:>9}{:>11}",
        "minute",
        "rows/s",
        "request ms",
        "late s",
        "queries",
        "wrong",
        "queue MiB",
        "head MiB",
        "memory MiB",
        "parts",
        "flushed",
        "debt MiB"
    );
    for (at, minute) in figures.minutes.iter().enumerate() {
        println!(
            "{:>6}{:>11.0}{:>12.2}{:>8.2}{:>9}{:>7}{:>11.1}{:>10.1}{:>11.0}{:>7}{:>9}{:>11.1}",
            at + 1,
            minute.rows_per_second,
            minute.request_median_ms,
            minute.late_seconds,
            minute.queries,
            minute.wrong,
            mib(minute.queue_bytes),
            mib(minute.head_bytes),
            mib(minute.memory_bytes),
            minute.parts,
            minute.parts_flushed,
            mib(minute.parts_flushed_bytes)
        );
    }
    let (Some(first), Some(last)) = (figures.minutes.first(), figures.minutes.last()) else {
        return;
    };
    println!("\n{:<24}{:>12}{:>12}{:>8}", "median ms", "first", "last", "ratio");
    for (name, before) in &first.query_ms {
        let after = last.query_ms.get(name).copied().unwrap_or(f64::NAN);
        println!("{name:<24}{before:>12.3}{after:>12.3}{:>8.2}", after / before);
    }
}

/// The last minute against the first.
fn verdicts(minutes: &[Minute]) -> Vec<Verdict> {
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { return Vec::new() };
    let mut verdicts = Vec::new();
    let rate = last.rows_per_second / first.rows_per_second.max(1.0);
    let words = format!("throughput of the last minute: {rate:.3} of the first");
    verdicts.push(Verdict::new((rate - 1.0).abs() <= DRIFT_MAX, words));
    let ratios: Vec<f64> = first
        .query_ms
        .iter()
        .filter_map(|(name, before)| Some(last.query_ms.get(name)? / before.max(1e-6)))
        .collect();
    let mean =
        (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len().max(1) as f64).exp();
    let words =
        format!("median response times of the last minute: {mean:.3} of the first (mean of kinds)");
    verdicts.push(Verdict::new(mean <= 1.0 + DRIFT_MAX, words));
    let wrong: u64 = minutes.iter().map(|minute| minute.wrong).sum();
    let asked: u64 = minutes.iter().map(|minute| minute.queries).sum();
    let words = format!("{wrong} of {asked} answers wrong");
    verdicts.push(Verdict::new(wrong == 0 && asked > 0, words));
    let words = format!("writers at most {:.2} s behind in the last minute", last.late_seconds);
    verdicts.push(Verdict::new(last.late_seconds <= LATE_SECONDS_MAX, words));
    let words = format!(
        "flushed parts that wait for a merge: {} at first, {} at last",
        first.parts_flushed, last.parts_flushed
    );
    // A merge starts at eight; as many may come while it runs.
    verdicts.push(Verdict::new(last.parts_flushed <= 16.max(first.parts_flushed), words));
    verdicts
}

#[cfg(test)]
mod tests {
    //! Tests of ledger and verdicts.
    use super::*;

    #[test]
    fn only_whole_beginnings_are_newest() {
        let mut acknowledged = Acknowledged::default();
        [0, 2, 3, 5].into_iter().for_each(|request| acknowledged.add(request));
        assert_eq!(acknowledged.whole, 1);
        acknowledged.add(1);
        assert_eq!(acknowledged.whole, 4);
        acknowledged.add(4);
        assert_eq!((acknowledged.whole, acknowledged.apart.len()), (6, 0));
    }

    #[test]
    fn drift_is_judged() {
        let minute = |rows_per_second, ms: f64| Minute {
            rows_per_second,
            queries: 5,
            query_ms: BTreeMap::from([("a".to_owned(), ms), ("b".to_owned(), 2.0 * ms)]),
            ..Minute::default()
        };
        let holds = |last| {
            let all = verdicts(&[minute(1000.0, 1.0), last]);
            all.iter().map(|verdict| verdict.holds).collect::<Vec<bool>>()
        };
        assert_eq!(holds(minute(950.0, 1.05)), [true; 5]);
        assert_eq!(holds(minute(850.0, 1.2)), [false, false, true, true, true]);
        let bad = Minute { wrong: 1, late_seconds: 3.0, parts_flushed: 40, ..minute(1000.0, 0.5) };
        assert_eq!(holds(bad), [true, true, false, false, false]);
    }
}

//! Crashes in the middle of a load. Workers write requests and keep a ledger; the server is
//! killed at a random moment and started again. After each round the ledger is compared with what
//! the database holds: every acknowledged request is there whole, none twice, none invented, and
//! a request that was under way is there whole or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::own::TemporaryFolder;
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::http::{Client, Target};
use crate::process::{Server, ServerOptions};

/// First time of the ledger's rows, ns.
const START_NS: i64 = 1_704_067_200_000_000_000;
/// Rows of one request at most.
const ROWS_MAX: u64 = 400;

/// Arguments of `bench crash`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:
  millrace bench crash --rounds 50")]
pub struct CrashArgs {
    /// Kills.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Connections that write.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Longest time from the start of a load to the kill, ms.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    pub kill_ms_max: u64,
    /// Seed of kills and rows.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for the database; default: a temporary one, removed at the end.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// What to do in [`run_rounds`].
#[derive(Clone, Debug)]
pub struct CrashOptions {
    /// How to start the server; its folder is used.
    pub server: ServerOptions,
    /// Kills.
    pub rounds: u32,
    /// Connections that write.
    pub workers: u16,
    /// Longest time from the start of a load to the kill.
    pub kill_max: Duration,
    /// Source of chance.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct CrashReport {
    /// Requests acknowledged in all rounds.
    pub acknowledged: u64,
    /// Requests that were under way at a kill and are there.
    pub survived: u64,
    /// Rows checked in the last round.
    pub rows: u64,
    /// Longest start after a kill, s.
    pub recovery_seconds_max: f64,
}

/// What a worker knows about a request that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// Sent, and no answer: it may be there or not.
    Unknown,
    /// A check found that it is not there; it must never come up later.
    Absent,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rows: u64,
    fate: Fate,
}

/// Requests by (worker, number).
type Ledger = BTreeMap<(u16, u64), Entry>;

/// Runs the command.
pub fn run(args: &CrashArgs) -> Result<()> {
    let temporary = TemporaryFolder::new(args.folder.as_deref())?;
    let server = ServerOptions::new(&std::env::current_exe()?, &temporary.path().join("database"));
    let options = CrashOptions {
        server,
        rounds: args.rounds,
        workers: args.workers,
        kill_max: Duration::from_millis(args.kill_ms_max),
        seed: args.seed,
    };
    let report = run_rounds(&options, |round, line| eprintln!("round {round}: {line}"))?;
    println!(
        "{} kills: {} acknowledged requests all there, {} unanswered ones kept whole, {} rows, \
         longest recovery {:.2} s",
        args.rounds, report.acknowledged, report.survived, report.rows, report.recovery_seconds_max
    );
    Ok(())
}

/// Kills and checks; an error says what was lost, doubled or invented.
pub fn run_rounds(options: &CrashOptions, mut tell: impl FnMut(u32, &str)) -> Result<CrashReport> {
    let mut server_options = options.server.clone();
    // Small heads and segments: flushes, merges and new segments happen in every round.
    for argument in [
        "--head-bytes-max=262144",
        "--log-segment-bytes-max=262144",
        "--log-bytes-max=1048576",
        "--log=error",
    ] {
        server_options.arguments.push(argument.to_owned());
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let (mut ledger, mut report) = (Ledger::new(), CrashReport::default());
    let mut server = Server::start(&server_options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(create_table(&connection(&server)))?;
    for round in 1..=options.rounds {
        let kill_after = options.kill_max.mul_f64(rng.random_range(0.02..=1.0));
        let sent = load_until_killed(&mut server, options, &ledger, kill_after, rng.random())?;
        let count = sent.len();
        ledger.extend(sent);
        if rng.random_bool(0.2) {
            kill_while_starting(&server_options, &mut rng)?;
        }
        server = Server::start(&server_options)?;
        report.recovery_seconds_max = report.recovery_seconds_max.max(server.start_seconds);
        let survived = runtime.block_on(check(&connection(&server), &mut ledger, &mut report))?;
        report.survived += survived;
        let line = format!(
            "killed after {} ms, {count} requests, {survived} unanswered ones there, \
             recovery {:.2} s, {} rows right",
            kill_after.as_millis(),
            server.start_seconds,
            report.rows
        );
        tell(round, &line);
    }
    report.acknowledged =
        ledger.values().filter(|entry| entry.fate == Fate::Acknowledged).count() as u64;
    server.terminate(Duration::from_secs(60))?;
    Ok(report)
}

fn connection(server: &Server) -> Connection {
    Connection {
        url: format!("http://{}", server.http),
        pg: server.pg.to_string(),
        user: "admin".into(),
        password: Some(server.password.clone()),
    }
}

/// `ledger` keeps both of two equal rows, so that a record applied twice would show. `newest`
/// holds one row a worker, overwritten by each request of the worker.
async fn create_table(connection: &Connection) -> Result<()> {
    let client = connection.postgres().await?;
    client
        .batch_execute(
            "CREATE TABLE ledger (time timestamptz NOT NULL, worker text NOT NULL, \
             request bigint, n bigint, total bigint, mark bigint, PRIMARY KEY (worker, time)) \
             WITH (merge = 'append'); \
             CREATE TABLE newest (time timestamptz NOT NULL, worker text NOT NULL, \
             request bigint, PRIMARY KEY (worker, time))",
        )
        .await?;
    Ok(())
}

/// What `mark` of a row must be.
fn value_of(worker: u16, request: u64, row: u64) -> i64 {
    let mixed = (u64::from(worker) << 48 ^ request << 16 ^ row).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // Small enough that the sum of a request never leaves 64 bits.
    (mixed >> 20) as i64
}

fn body(worker: u16, request: u64, rows: u64) -> String {
    let mut body = String::new();
    for row in 0..rows {
        let value = value_of(worker, request, row);
        let time = START_NS + ((request * ROWS_MAX + row) * 1000) as i64;
        body.push_str(&format!(
            "ledger,worker=w{worker} request={request}i,n={row}i,total={rows}i,mark={value}i \
             {time}\n"
        ));
    }
    body.push_str(&format!("newest,worker=w{worker} request={request}i {START_NS}\n"));
    body
}

/// Writes with all workers, kills the server, and gives what was sent.
fn load_until_killed(
    server: &mut Server,
    options: &CrashOptions,
    ledger: &Ledger,
    kill_after: Duration,
    seed: u64,
) -> Result<Ledger> {
    let (stop, sent) = (AtomicBool::new(false), Mutex::new(Ledger::new()));
    let connection = connection(server);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.workers)
            .map(|worker| {
                let next = ledger.range((worker, 0)..=(worker, u64::MAX)).next_back();
                let first = next.map_or(0, |((_, request), _)| request + 1);
                let (stop, sent, connection) = (&stop, &sent, &connection);
                scope.spawn(move || write(connection, worker, first, seed, stop, sent))
            })
            .collect();
        let (stop, connection) = (&stop, &connection);
        let maintenance = scope.spawn(move || maintain(connection, seed, stop));
        std::thread::sleep(kill_after);
        let killed = server.kill();
        stop.store(true, Ordering::Relaxed);
        let mut results: Vec<Result<()>> = vec![killed];
        results.extend(workers.into_iter().chain([maintenance]).map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked")))
        }));
        results.into_iter().collect::<Result<()>>()
    })?;
    sent.into_inner().map_err(|_| Failure::new("a worker panicked"))
}

/// One worker: requests one after the other until the server is gone.
fn write(
    connection: &Connection,
    worker: u16,
    first: u64,
    seed: u64,
    stop: &AtomicBool,
    sent: &Mutex<Ledger>,
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed ^ u64::from(worker) << 32);
    let target = Target::parse(&connection.url).map_err(Failure::usage)?;
    let mut client = Client::new(target, &connection.user, &connection.password()?);
    let note = |request: u64, rows: u64, fate: Fate| -> Result<()> {
        let mut sent = sent.lock().map_err(|_| Failure::new("a worker panicked"))?;
        sent.insert((worker, request), Entry { rows, fate });
        Ok(())
    };
    for request in first.. {
        let rows = rng.random_range(1..=ROWS_MAX);
        match client.post("/write", "text/plain", body(worker, request, rows).as_bytes()) {
            Ok(response) if response.status == 204 => note(request, rows, Fate::Acknowledged)?,
            Ok(response) if matches!(response.status, 429 | 503) => {
                note(request, rows, Fate::Unknown)?;
            }
            Ok(response) => {
                return Err(Failure::new(format!(
                    "a good request got {}: {}",
                    response.status,
                    response.text()
                )));
            }
            Err(_) => {
                // The server is being killed; what else it could be shows at its next start.
                note(request, rows, Fate::Unknown)?;
                return Ok(());
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
}

/// Checkpoints and merges at random moments, so that kills meet them too.
fn maintain(connection: &Connection, seed: u64, stop: &AtomicBool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rng = StdRng::seed_from_u64(seed);
    runtime.block_on(async {
        // A server that is already killed has no door; that is no failure of this thread.
        let Ok(client) = connection.postgres().await else { return Ok(()) };
        while !stop.load(Ordering::Relaxed) && !client.is_closed() {
            let sql = if rng.random_bool(0.7) { "CHECKPOINT" } else { "VACUUM FULL" };
            if let Err(error) = client.batch_execute(sql).await
                && error.as_db_error().is_some()
            {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(10..300))).await;
        }
        Ok(())
    })
}

/// Starts a server and kills it before it is ready: recovery must bear a crash of its own.
fn kill_while_starting(options: &ServerOptions, rng: &mut StdRng) -> Result<()> {
    let mut options = options.clone();
    options.start_max = Duration::from_millis(rng.random_range(1..200));
    let started = Instant::now();
    match Server::start(&options) {
        Ok(mut server) => server.kill(),
        Err(_) if started.elapsed() >= options.start_max => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Compares the ledger with the database; the number of unanswered requests that are there.
async fn check(
    connection: &Connection,
    ledger: &mut Ledger,
    report: &mut CrashReport,
) -> Result<u64> {
    let client = connection.postgres().await?;
    let rows = client
        .query(
            "SELECT worker, request, count(*), min(total), max(total), min(n), max(n), \
             CAST(sum(n) AS bigint), CAST(sum(n * n) AS bigint), \
             CAST(sum(mark) AS bigint) FROM ledger GROUP BY worker, request",
            &[],
        )
        .await?;
    let mut found: BTreeMap<(u16, u64), u64> = BTreeMap::new();
    report.rows = 0;
    for row in &rows {
        let key = key_of(row)?;
        let Some(entry) = ledger.get(&key) else {
            return Err(Failure::new(format!("invented: request {key:?} was never sent")));
        };
        let n = entry.rows as i64;
        let expected = [
            n,
            n,
            n,
            0,
            n - 1,
            n * (n - 1) / 2,
            (n - 1) * n * (2 * n - 1) / 6,
            (0..entry.rows).map(|row| value_of(key.0, key.1, row)).sum(),
        ];
        let actual: Vec<i64> = (2..10).map(|at| row.get::<_, i64>(at)).collect();
        if actual != expected {
            return Err(Failure::new(format!(
                "request {key:?} is torn, doubled or changed: {actual:?} instead of {expected:?}"
            )));
        }
        report.rows += entry.rows;
        found.insert(key, entry.rows);
    }
    check_newest(&client, &found).await?;
    let mut survived = 0;
    for (key, entry) in ledger.iter_mut() {
        match (entry.fate, found.contains_key(key)) {
            (Fate::Acknowledged, false) => {
                return Err(Failure::new(format!("lost: acknowledged request {key:?}")));
            }
            (Fate::Absent, true) => {
                return Err(Failure::new(format!("request {key:?} came up after it was gone")));
            }
            (Fate::Unknown, true) => {
                // From here on it counts as any other.
                entry.fate = Fate::Acknowledged;
                survived += 1;
            }
            (Fate::Unknown, false) => entry.fate = Fate::Absent,
            (Fate::Acknowledged, true) | (Fate::Absent, false) => {}
        }
    }
    Ok(survived)
}

/// A request is one record for both tables: the newest of each worker must agree.
async fn check_newest(
    client: &tokio_postgres::Client,
    found: &BTreeMap<(u16, u64), u64>,
) -> Result<()> {
    let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
    for (worker, request) in found.keys() {
        newest.insert(*worker, *request);
    }
    let rows = client.query("SELECT worker, request FROM newest", &[]).await?;
    let actual: BTreeMap<u16, u64> = rows.iter().map(key_of).collect::<Result<_>>()?;
    if actual != newest || rows.len() != newest.len() {
        return Err(Failure::new(format!(
            "the newest requests are {actual:?} in one table and {newest:?} in the other"
        )));
    }
    Ok(())
}

/// Worker and request of a row that starts with them.
fn key_of(row: &tokio_postgres::Row) -> Result<(u16, u64)> {
    let worker: &str = row.try_get(0)?;
    let request: i64 = row.try_get(1)?;
    let number = worker.strip_prefix('w').and_then(|number| number.parse().ok());
    match (number, u64::try_from(request)) {
        (Some(worker), Ok(request)) => Ok((worker, request)),
        _ => Err(Failure::new(format!("invented: worker {worker}, request {request}"))),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the ledger's arithmetic.
    use super::*;

    #[test]
    fn values_differ_and_sums_fit() {
        assert_ne!(value_of(1, 2, 3), value_of(1, 3, 2));
        let sum: i128 = (0..ROWS_MAX).map(|row| i128::from(value_of(9, 1 << 30, row))).sum();
        assert!(sum < i128::from(i64::MAX));
        assert_eq!(body(1, 2, 3).lines().count(), 4);
    }
}

//! Crashes in the middle of a load. Workers write requests and keep a ledger; the server is
//! killed at a random moment and started again. After each round the ledger is compared with what
//! the database holds: every acknowledged request is there whole, none twice, none invented, and
//! a request that was under way is there whole or not at all.
//!
//! Meanwhile the life of the data goes on, so that kills meet it too: parts are merged, old
//! partitions move to a folder and back, rows expire, requests are deleted, backups are taken. An
//! acknowledged delete stays one; at the end the newest backup is restored and must hold what was
//! acknowledged before it.

mod check;
mod life;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use check::{check, check_restored};
use life::maintain;

use super::own::TemporaryFolder;
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::http::{Client, Target};
use crate::process::{Server, ServerOptions};

/// First time of the ledger's rows, ns.
const START_NS: i64 = 1_704_067_200_000_000_000;
/// Rows of one request at most.
const ROWS_MAX: u64 = 400;
/// Time from row to row, ns: 75 requests of a worker fill a partition of a minute.
const ROW_NS: i64 = 2_000_000;
/// Kills of one database; then another one is begun, so that checks do not grow without end.
const ROUNDS_MAX: u32 = 50;

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
    /// Requests whose delete was acknowledged.
    pub deleted: u64,
    /// Backups acknowledged, and most archived partitions seen after a kill.
    pub backups: u64,
    pub archived: u64,
    /// Rows that expired between two looks.
    pub expired: u64,
}

/// What a worker knows about a request that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// Sent, and no answer: it may be there or not.
    Unknown,
    /// A delete was sent, and no answer: it is there whole or not at all.
    Deleting,
    /// A check found that it is not there, or its delete was acknowledged; it must never come up.
    Absent,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rows: u64,
    fate: Fate,
    /// Time of its row in the table that expires, µs since 1970: when it was sent, or minutes ago.
    sent_us: i64,
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
        "{} kills: {} acknowledged requests all there, {} unanswered ones kept whole, {} deleted \
         stay so, {} rows in the last database; {} backups, up to {} archived partitions, {} rows \
         expired; longest recovery {:.2} s",
        args.rounds,
        report.acknowledged,
        report.survived,
        report.deleted,
        report.rows,
        report.backups,
        report.archived,
        report.expired,
        report.recovery_seconds_max
    );
    Ok(())
}

/// Kills and checks; an error says what was lost, doubled or invented.
pub fn run_rounds(options: &CrashOptions, mut tell: impl FnMut(u32, &str)) -> Result<CrashReport> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut report = CrashReport::default();
    let mut done = 0;
    while done < options.rounds {
        let rounds = (options.rounds - done).min(ROUNDS_MAX);
        let folder = options.server.folder.join(format!("from-{done}"));
        std::fs::create_dir_all(&folder)?;
        let mut run = Run::new(options, folder)?;
        for round in 1..=rounds {
            let line = run.round(&mut rng, &mut report)?;
            tell(done + round, &line);
        }
        run.end(&mut report)?;
        done += rounds;
    }
    Ok(report)
}

/// One database and what is known of it.
struct Run<'o> {
    options: &'o CrashOptions,
    folder: PathBuf,
    server_options: ServerOptions,
    server: Server,
    ledger: Ledger,
    /// What the newest acknowledged backup must hold, unless it was deleted since.
    backed_up: Option<Ledger>,
    runtime: tokio::runtime::Runtime,
}

impl<'o> Run<'o> {
    fn new(options: &'o CrashOptions, folder: PathBuf) -> Result<Run<'o>> {
        let mut server_options = options.server.clone();
        server_options.folder = folder.join("data");
        // Small heads and segments: flushes, merges and new segments happen in every round.
        for argument in [
            "--head-bytes-max=262144",
            "--log-segment-bytes-max=262144",
            "--log-bytes-max=1048576",
            "--life-interval-seconds=1",
            "--log=error",
        ] {
            server_options.arguments.push(argument.to_owned());
        }
        let archive = folder.join("archive");
        server_options.arguments.push(format!("--archive-url=file://{}", archive.display()));
        let server = Server::start(&server_options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(create_tables(&connection(&server)))?;
        let (ledger, backed_up) = (Ledger::new(), None);
        Ok(Run { options, folder, server_options, server, ledger, backed_up, runtime })
    }

    fn backups(&self) -> String {
        format!("file://{}", self.folder.join("backups").display())
    }

    /// Loads, kills, starts and checks; what is to be told of it.
    fn round(&mut self, rng: &mut StdRng, report: &mut CrashReport) -> Result<String> {
        let kill_after = self.options.kill_max.mul_f64(rng.random_range(0.02..=1.0));
        let count = self.load_until_killed(kill_after, rng.random(), report)?;
        if rng.random_bool(0.2) {
            kill_while_starting(&self.server_options, rng)?;
        }
        self.server = Server::start(&self.server_options)?;
        report.recovery_seconds_max = report.recovery_seconds_max.max(self.server.start_seconds);
        let connection = connection(&self.server);
        let survived = self.runtime.block_on(check(&connection, &mut self.ledger, report))?;
        report.survived += survived;
        Ok(format!(
            "killed after {} ms, {count} requests, {survived} unanswered ones there, \
             recovery {:.2} s, {} rows right, {} partitions archived",
            kill_after.as_millis(),
            self.server.start_seconds,
            report.rows,
            report.archived
        ))
    }

    /// The last stop is an orderly one; every byte is verified, and the newest backup restored.
    fn end(mut self, report: &mut CrashReport) -> Result<()> {
        let with_fate = |fate| self.ledger.values().filter(move |entry| entry.fate == fate);
        report.acknowledged += with_fate(Fate::Acknowledged).count() as u64;
        self.server.terminate(Duration::from_secs(60))?;
        let data = self.server_options.folder.display().to_string();
        self.command(&["verify", "--data-dir", &data])?;
        let Some(backed_up) = &self.backed_up else { return Ok(()) };
        let restored = self.folder.join("restored");
        let folder = restored.display().to_string();
        self.command(&["restore", "--from", &self.backups(), "--data-dir", &folder])?;
        self.command(&["verify", "--data-dir", &folder])?;
        let mut server =
            Server::start(&ServerOptions { folder: restored, ..self.server_options.clone() })?;
        self.runtime.block_on(check_restored(&connection(&server), &self.ledger, backed_up))?;
        server.terminate(Duration::from_secs(60)).map(|_| ())
    }

    /// Runs the program and fails with what it says where it fails.
    fn command(&self, arguments: &[&str]) -> Result<()> {
        let output =
            std::process::Command::new(&self.server_options.program).args(arguments).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!(
                "{}: {}{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ))),
        }
    }

    /// Writes with all workers while the data's life goes on, kills the server, and takes what was
    /// sent into the ledger; the number of requests.
    fn load_until_killed(
        &mut self,
        kill_after: Duration,
        seed: u64,
        report: &mut CrashReport,
    ) -> Result<usize> {
        let (stop, sent) = (AtomicBool::new(false), Mutex::new(Ledger::new()));
        let (connection, backups) = (connection(&self.server), self.backups());
        let (server, ledger) = (&mut self.server, &self.ledger);
        let workers = self.options.workers;
        let lived = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers)
                .map(|worker| {
                    let next = ledger.range((worker, 0)..=(worker, u64::MAX)).next_back();
                    let first = next.map_or(0, |((_, request), _)| request + 1);
                    let (stop, sent, connection) = (&stop, &sent, &connection);
                    scope.spawn(move || write(connection, worker, first, seed, stop, sent))
                })
                .collect();
            let (stop, connection, backups) = (&stop, &connection, &backups);
            let maintenance =
                scope.spawn(move || maintain(connection, ledger, backups, seed, stop));
            std::thread::sleep(kill_after);
            let killed = server.kill();
            stop.store(true, Ordering::Relaxed);
            let panicked = || Err(Failure::new("a thread of the load panicked"));
            let mut results: Vec<Result<()>> = vec![killed];
            let joined = workers.into_iter().map(|thread| thread.join());
            results.extend(joined.map(|result| result.unwrap_or_else(|_| panicked())));
            let lived = maintenance
                .join()
                .unwrap_or_else(|_| Err(Failure::new("the thread of maintenance panicked")));
            results.into_iter().collect::<Result<()>>()?;
            lived
        })?;
        let sent = sent.into_inner().map_err(|_| Failure::new("a worker panicked"))?;
        if lived.backups > 0 {
            report.backups += lived.backups;
            // What this round wrote may or may not be in it; what it deleted before, is not.
            let kept = self.ledger.iter().filter(|(_, entry)| entry.fate == Fate::Acknowledged);
            self.backed_up = Some(kept.map(|(key, entry)| (*key, *entry)).collect());
        }
        for (key, fate) in lived.deletes {
            report.deleted += u64::from(fate == Fate::Absent);
            if let Some(entry) = self.ledger.get_mut(&key) {
                entry.fate = fate;
            }
        }
        let count = sent.len();
        self.ledger.extend(sent);
        Ok(count)
    }
}

fn connection(server: &Server) -> Connection {
    Connection {
        url: format!("http://{}", server.http),
        pg: server.pg.to_string(),
        user: "admin".into(),
        password: Some(server.password.clone()),
    }
}

/// `ledger` keeps both of two equal rows, so that a record applied twice would show; its old
/// partitions are archived. `newest` holds one row a worker, overwritten by each request of the
/// worker. Of `brief` only the last minutes stay, and some of its rows are late.
async fn create_tables(connection: &Connection) -> Result<()> {
    let client = connection.postgres().await?;
    client
        .batch_execute(
            "CREATE TABLE ledger (time timestamptz NOT NULL, worker text NOT NULL, \
             request bigint, n bigint, total bigint, mark bigint, PRIMARY KEY (worker, time)) \
             WITH (merge = 'append', partition_by = '1 minute', archive_after = '1 day'); \
             CREATE TABLE newest (time timestamptz NOT NULL, worker text NOT NULL, \
             request bigint, PRIMARY KEY (worker, time)); \
             CREATE TABLE brief (time timestamptz NOT NULL, worker text NOT NULL, \
             request bigint, PRIMARY KEY (worker, time)) \
             WITH (merge = 'append', partition_by = '1 minute', retention = '2 minutes')",
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

/// Time of a row of the ledger, ns.
fn time_of(request: u64, row: u64) -> i64 {
    START_NS + (request * ROWS_MAX + row) as i64 * ROW_NS
}

fn body(worker: u16, request: u64, rows: u64, sent_us: i64) -> String {
    let mut body = String::new();
    for row in 0..rows {
        let value = value_of(worker, request, row);
        let time = time_of(request, row);
        body.push_str(&format!(
            "ledger,worker=w{worker} request={request}i,n={row}i,total={rows}i,mark={value}i \
             {time}\n"
        ));
    }
    body.push_str(&format!("newest,worker=w{worker} request={request}i {START_NS}\n"));
    body.push_str(&format!("brief,worker=w{worker} request={request}i {}\n", sent_us * 1000));
    body
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
    for request in first.. {
        let rows = rng.random_range(1..=ROWS_MAX);
        let sent_us = tsdb::now_ns() / 1000 - (request % 6) as i64 * 60_000_000;
        let note = |fate: Fate| -> Result<()> {
            let mut sent = sent.lock().map_err(|_| Failure::new("a worker panicked"))?;
            sent.insert((worker, request), Entry { rows, fate, sent_us });
            Ok(())
        };
        let body = body(worker, request, rows, sent_us);
        match client.post("/write", "text/plain", body.as_bytes()) {
            Ok(response) if response.status == 204 => note(Fate::Acknowledged)?,
            Ok(response) if matches!(response.status, 429 | 503) => note(Fate::Unknown)?,
            Ok(response) => {
                return Err(Failure::new(format!(
                    "a good request got {}: {}",
                    response.status,
                    response.text()
                )));
            }
            Err(_) => {
                // The server is being killed; what else it could be shows at its next start.
                note(Fate::Unknown)?;
                return Ok(());
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    //! Tests of the ledger's arithmetic.
    use super::*;

    #[test]
    fn values_differ_and_sums_fit() {
        assert_ne!(value_of(1, 2, 3), value_of(1, 3, 2));
        let sum: i128 = (0..ROWS_MAX).map(|row| i128::from(value_of(9, 1 << 30, row))).sum();
        assert!(sum < i128::from(i64::MAX));
        assert_eq!(body(1, 2, 3, 4).lines().count(), 5);
    }
}

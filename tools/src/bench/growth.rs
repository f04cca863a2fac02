//! `millrace bench growth`: what a query costs when the data around its selection grows tenfold,
//! in series or in history. The statements are the same in every database, literal by literal, and
//! are asked of all of them by turns, since machines are not equally quick all the time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::own::{self, OwnArgs, TemporaryFolder, Verdict};
use super::queries::{Draw, HOUR, Query, aggregates, group_by_minute, max_all};
use super::report::QueryFigures;
use super::stream::stream;
use super::timing::{self, Inside};
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::generate::{Case, DEFAULT_START, Generator, GeneratorSpec};
use crate::import::time::format_ns;
use crate::process::Server;
use crate::settings::parse_day_ns;

/// Most that ten times the data may cost a query over the same selection.
const RATIO_MAX: f64 = 1.3;

/// Arguments of `bench growth`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench growth                                   1,000 hosts, 12 hours, ten times each
  millrace bench growth --scale 100 --hours 6 --runs 30
  millrace bench growth --factor 3 --json growth.json --strict")]
pub struct GrowthArgs {
    /// Hosts of the base.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub scale: u32,
    /// Hours of data of the base.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub hours: u32,
    /// How many times as many series, and as much history.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub factor: u32,
    /// Hosts of queries over many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub hosts: u32,
    /// Runs of each query on each database, by turns.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Seed of data and literals.
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

/// Figures of one database.
#[derive(Debug, Serialize)]
struct Grown {
    name: String,
    rows: u64,
    load_seconds: f64,
    settle_seconds: f64,
    parts: u64,
    peak_memory: u64,
    queries: Vec<QueryFigures>,
}

/// A query's name, and what makes its text.
type Asked = (&'static str, Box<dyn Fn(&mut Draw) -> String>);

/// Queries of the suite whose selection does not grow with the data: those over all hosts name
/// theirs, those over all times have a window. Where values decide how many rows come back
/// (`high-cpu`), the rows of an hour stand in, since values differ.
fn queries(hosts: u32) -> Vec<Asked> {
    let plain: [Query; 5] = [
        ("single-groupby-1-1-1", |draw| group_by_minute(draw, 1, 1, HOUR)),
        ("single-groupby-1-8-1", |draw| group_by_minute(draw, 1, 8, HOUR)),
        ("single-groupby-5-8-1", |draw| group_by_minute(draw, 5, 8, HOUR)),
        ("cpu-max-all-1", |draw| max_all(draw, 1)),
        ("cpu-max-all-8", |draw| max_all(draw, 8)),
    ];
    let mut all: Vec<Asked> = Vec::new();
    for (name, text) in plain {
        all.push((name, Box::new(text)));
    }
    let some = hosts as usize;
    for (name, metrics) in [("double-groupby-1", 1), ("double-groupby-all", 10)] {
        let text = move |draw: &mut Draw| {
            let (window, hosts) = (draw.window(12 * HOUR), draw.hosts(some));
            let averages = aggregates("avg", metrics);
            format!(
                "SELECT time_bucket('3600 seconds', time) AS hour, hostname, {averages} FROM cpu \
                 WHERE {window} AND {hosts} GROUP BY hour, hostname ORDER BY hour, hostname"
            )
        };
        all.push((name, Box::new(text)));
    }
    all.push((
        "groupby-orderby-limit",
        Box::new(move |draw| {
            let ((start, end), hosts) = (draw.span(HOUR), draw.hosts(some));
            format!(
                "SELECT time_bucket('60 seconds', time) AS minute, max(usage_user) FROM cpu WHERE \
             time >= '{}+00' AND time < '{}+00' AND {hosts} GROUP BY minute ORDER BY minute DESC \
             LIMIT 5",
                format_ns(start),
                format_ns(end)
            )
        }),
    ));
    all.push((
        "rows-of-an-hour",
        Box::new(|draw| {
            let (window, hosts) = (draw.window(HOUR), draw.hosts(1));
            format!("SELECT * FROM cpu WHERE {window} AND {hosts}")
        }),
    ));
    all.push((
        "lastpoint",
        Box::new(move |draw| {
            let hosts = draw.hosts(some);
            let (start, end) = (format_ns(draw.end_ns - HOUR), format_ns(draw.end_ns));
            format!(
                "SELECT DISTINCT ON (hostname) * FROM cpu WHERE time >= '{start}+00' AND \
             time < '{end}+00' AND {hosts} ORDER BY hostname, time DESC"
            )
        }),
    ));
    all
}

/// Runs the command.
pub fn run(args: &GrowthArgs) -> Result<()> {
    let temporary = TemporaryFolder::new(args.own.folder.as_deref())?;
    let day = parse_day_ns(DEFAULT_START).unwrap_or(0);
    let history = i64::from(args.hours * args.factor) * HOUR;
    let end_ns = day + history;
    let base = end_ns - i64::from(args.hours) * HOUR;
    // The same newest hours everywhere; history lies before them.
    let cases = [
        ("base".to_owned(), args.scale, base),
        (format!("{}x series", args.factor), args.scale * args.factor, base),
        (format!("{}x history", args.factor), args.scale, day),
    ];
    let mut databases = Vec::new();
    for (at, (name, scale, start_ns)) in cases.into_iter().enumerate() {
        let spec = GeneratorSpec {
            case: Case::CpuOnly,
            scale,
            start_ns,
            end_ns,
            interval_ns: 10_000_000_000,
            seed: args.seed,
        };
        let folder = temporary.path().join(format!("growth-{at}"));
        databases.push(Database::load(args, &name, &folder, &spec)?);
    }
    let rng = StdRng::seed_from_u64(args.seed);
    let draw = Draw { rng, scale: args.scale, start_ns: base, end_ns };
    let grown = measure(args, databases, draw)?;
    args.own.write_json(&grown)?;
    print(&grown);
    check(&grown)?;
    args.own.judge(&verdicts(&grown))
}

/// A server with its data.
struct Database {
    folder: PathBuf,
    server: Server,
    connection: Connection,
    figures: Grown,
}

impl Database {
    fn load(
        args: &GrowthArgs,
        name: &str,
        folder: &Path,
        spec: &GeneratorSpec,
    ) -> Result<Database> {
        let (server, connection) = own::start(folder, &args.own.server_arg)?;
        eprintln!("{name}: loading …");
        let mut generator = Generator::new(spec)?;
        let batch = args.batch_rows as usize;
        let source = move |out: &mut Vec<u8>| generator.next_chunk(out, batch) as u64;
        let (rows, loaded) = stream(&connection, args.workers, source)?;
        eprintln!("{name}: {rows} rows in {:.1} s", loaded.seconds);
        let figures = Grown {
            name: name.to_owned(),
            rows,
            load_seconds: loaded.seconds,
            settle_seconds: 0.0,
            parts: 0,
            peak_memory: 0,
            queries: Vec::new(),
        };
        Ok(Database { folder: folder.to_owned(), server, connection, figures })
    }
}

/// Asks all of them by turns.
fn measure(args: &GrowthArgs, mut databases: Vec<Database>, mut draw: Draw) -> Result<Vec<Grown>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = Vec::new();
        for database in &mut databases {
            let client = database.connection.postgres().await?;
            eprintln!("{}: settling …", database.figures.name);
            database.figures.settle_seconds = timing::settle(&client).await?;
            database.figures.parts = Inside::ask(&client).await?.parts;
            clients.push(client);
        }
        let clients: Vec<_> = clients.iter().collect();
        for (query, text) in queries(args.hosts) {
            eprintln!("{query} …");
            let limit = Duration::from_secs(90);
            let runs = args.runs as usize;
            let next = || text(&mut draw);
            let found = timing::measure_by_turns(&clients, query, runs, limit, next).await;
            for (database, figures) in databases.iter_mut().zip(found) {
                database.figures.queries.push(figures);
            }
        }
        Ok::<(), Failure>(())
    })?;
    let stopped = |database: Database| {
        let Database { folder, server, figures, .. } = database;
        let peak_memory = own::stop(server)?;
        std::fs::remove_dir_all(&folder)?;
        Ok(Grown { peak_memory, ..figures })
    };
    databases.into_iter().map(stopped).collect()
}

/// A failed query, or one that found another number of rows: no value decides it.
fn check(grown: &[Grown]) -> Result<()> {
    for database in grown {
        for (query, base) in database.queries.iter().zip(&grown[0].queries) {
            if let Some(error) = &query.error {
                return Err(Failure::new(format!("{}: {}: {error}", database.name, query.name)));
            }
            if query.rows != base.rows || query.rows == 0 {
                return Err(Failure::new(format!(
                    "{}: {} gave {} rows, the base {}",
                    database.name, query.name, query.rows, base.rows
                )));
            }
        }
    }
    Ok(())
}

fn ratio(query: &QueryFigures, base: &QueryFigures) -> f64 {
    query.median_ms / base.median_ms.max(1e-6)
}

fn print(grown: &[Grown]) {
    for database in grown {
        println!(
            "{:<12} {:>11} rows in {:>6.1} s, settled in {:>6.1} s, {:>4} parts, peak {:.0} MiB",
            database.name,
            database.rows,
            database.load_seconds,
            database.settle_seconds,
            database.parts,
            database.peak_memory as f64 / (1 << 20) as f64
        );
    }
    print!("\n{:<24}{:>8}", "median ms", "rows");
    grown.iter().for_each(|database| print!("{:>14}", database.name));
    grown[1..].iter().for_each(|_| print!("{:>8}", "ratio"));
    println!();
    for (at, base) in grown[0].queries.iter().enumerate() {
        print!("{:<24}{:>8}", base.name, base.rows);
        grown.iter().for_each(|database| print!("{:>14.3}", database.queries[at].median_ms));
        grown[1..].iter().for_each(|g| print!("{:>8.2}", ratio(&g.queries[at], base)));
        println!();
    }
}

fn verdicts(grown: &[Grown]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for database in &grown[1..] {
        let worst = database
            .queries
            .iter()
            .zip(&grown[0].queries)
            .map(|(query, base)| (ratio(query, base), query.name.as_str()))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((worst, name)) = worst {
            let words = format!(
                "{}: the worst query, {name}, costs {worst:.2} times the base; asked {RATIO_MAX}",
                database.name
            );
            verdicts.push(Verdict::new(worst <= RATIO_MAX, words));
        }
    }
    verdicts
}

#[cfg(test)]
mod tests {
    //! Tests of the statements and the verdicts.
    use super::*;

    #[test]
    fn the_same_draw_gives_the_same_statements_with_bounds() {
        let draw =
            || Draw { rng: StdRng::seed_from_u64(7), scale: 100, start_ns: 0, end_ns: 24 * HOUR };
        let (mut one, mut other) = (draw(), draw());
        let all = queries(20);
        assert_eq!(all.len(), 10);
        for (name, text) in &all {
            let sql = text(&mut one);
            assert_eq!(sql, text(&mut other), "{name}");
            assert!(sql.contains("time >=") && sql.contains("hostname = 'host_"), "{sql}");
        }
    }

    #[test]
    fn ratios_are_judged() {
        let database = |name: &str, median_ms| Grown {
            name: name.into(),
            rows: 1,
            load_seconds: 1.0,
            settle_seconds: 1.0,
            parts: 1,
            peak_memory: 1,
            queries: vec![QueryFigures {
                name: "q".into(),
                runs: 1,
                rows: 3,
                min_ms: median_ms,
                median_ms,
                p95_ms: median_ms,
                error: None,
            }],
        };
        let mut grown = vec![database("base", 1.0), database("a", 1.2), database("b", 1.5)];
        let holds: Vec<bool> = verdicts(&grown).iter().map(|verdict| verdict.holds).collect();
        assert_eq!(holds, [true, false]);
        check(&grown).unwrap();
        grown[2].queries[0].rows = 2;
        assert!(check(&grown).is_err());
    }
}

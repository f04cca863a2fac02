//! `millrace bench tsbs`: load, settle, measure size, run the queries.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use futures::{StreamExt, pin_mut};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_postgres::SimpleQueryMessage;

use super::data::Data;
use super::load::load;
use super::queries::{CPU, Draw, IOT, Query};
use super::report::{Figures, QueryFigures, percentile};
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::generate::{Case, DEFAULT_START, Generator, GeneratorSpec};
use crate::process::{Server, ServerOptions};
use crate::settings::parse_day_ns;

/// Runs of a query after which the time limit may end it.
const RUNS_MIN: usize = 3;

/// Arguments of `bench tsbs`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench tsbs                                  1,000 hosts, 12 hours, a server of its own
  millrace bench tsbs --scale 100 --hours 1 --runs 10
  millrace bench tsbs --iot --scale 100 --hours 24 --json iot.json
  millrace bench tsbs --running --url http://host:8080 --pg host:5433")]
pub struct TsbsArgs {
    /// Trucks instead of hosts.
    #[arg(long)]
    pub iot: bool,
    /// Hosts or trucks.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub scale: u32,
    /// Hours of data.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    pub hours: u32,
    /// Seed of data and literals.
    #[arg(long, default_value_t = 123)]
    pub seed: u64,
    /// Connections that load.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Rows of one request.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// At most so many rows a second while loading; 0: as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Runs of each query.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// A query that takes longer in all is measured with fewer runs, s.
    #[arg(long, default_value_t = 30)]
    pub query_seconds_max: u64,
    /// Run these queries only, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Also write the figures to this file as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Folder for data and database; default: a temporary one, removed at the end.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// More arguments for the server, such as --server-arg=--cache-bytes-max=1GiB.
    #[arg(long)]
    pub server_arg: Vec<String>,
    /// Use the running server at --url and --pg instead of a server of its own.
    #[arg(long)]
    pub running: bool,
    /// Do not load: the data is there from an earlier run with the same scale, hours and seed.
    #[arg(long)]
    pub no_load: bool,
    /// Where the server is, with --running.
    #[command(flatten)]
    pub connection: Connection,
}

impl TsbsArgs {
    fn spec(&self) -> GeneratorSpec {
        let start_ns = parse_day_ns(DEFAULT_START).unwrap_or(0);
        GeneratorSpec {
            case: if self.iot { Case::Iot } else { Case::CpuOnly },
            scale: self.scale,
            start_ns,
            end_ns: start_ns + i64::from(self.hours) * 3_600_000_000_000,
            interval_ns: 10_000_000_000,
            seed: self.seed,
        }
    }
}

/// Runs the command.
pub fn run(args: &TsbsArgs) -> Result<()> {
    let temporary = TemporaryFolder::new(args.folder.as_deref())?;
    let folder = temporary.path();
    let spec = args.spec();
    let data = if args.no_load {
        None
    } else {
        eprintln!("making the data …");
        let mut generator = Generator::new(&spec)?;
        Some(Data::make(&folder.join("data.lp"), &mut generator, args.batch_rows as usize)?)
    };
    let (server, connection) = if args.running {
        (None, args.connection.clone())
    } else {
        let mut options = ServerOptions::new(&std::env::current_exe()?, &folder.join("database"));
        options.arguments = ["--log", "warn"].map(str::to_owned).to_vec();
        options.arguments.extend(args.server_arg.iter().cloned());
        let server = Server::start(&options)?;
        let connection = Connection {
            url: format!("http://{}", server.http),
            pg: server.pg.to_string(),
            user: "admin".into(),
            password: Some(server.password.clone()),
        };
        (Some(server), connection)
    };
    let mut figures = Figures {
        case: if args.iot { "iot".into() } else { "cpu-only".into() },
        scale: args.scale,
        ..Figures::default()
    };
    if let Some(data) = &data {
        load_data(args, data, &connection, &mut figures)?;
        figures.peak_memory_load = server.as_ref().map(Server::peak_memory).transpose()?;
    }
    drop(data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args, &spec, &connection, &mut figures))?;
    if let Some(mut server) = server {
        figures.peak_memory = Some(server.peak_memory()?);
        server.terminate(Duration::from_secs(60))?;
    }
    figures.print();
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)
            .map_err(|error| Failure::doing("writing JSON", error))?;
        std::fs::write(path, text)?;
    }
    match figures.queries.iter().filter(|query| query.error.is_some()).count() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} queries failed"))),
    }
}

fn load_data(
    args: &TsbsArgs,
    data: &Data,
    connection: &Connection,
    figures: &mut Figures,
) -> Result<()> {
    eprintln!("loading {} rows, {} MB …", data.rows, data.bytes / 1_000_000);
    let loaded = load(data, connection, args.workers, args.rate)?;
    figures.rows = data.rows;
    figures.values = data.values;
    figures.sent_bytes = data.bytes;
    figures.load_seconds = loaded.seconds;
    figures.rows_per_second = data.rows as f64 / loaded.seconds;
    figures.request_median_ms = percentile(&loaded.request_ms, 0.5);
    figures.request_p95_ms = percentile(&loaded.request_ms, 0.95);
    eprintln!("loaded in {:.1} s: {:.0} rows/s", loaded.seconds, figures.rows_per_second);
    Ok(())
}

async fn measure(
    args: &TsbsArgs,
    spec: &GeneratorSpec,
    connection: &Connection,
    figures: &mut Figures,
) -> Result<()> {
    let client = connection.postgres().await?;
    eprintln!("settling: CHECKPOINT, VACUUM FULL …");
    let started = Instant::now();
    client.batch_execute("CHECKPOINT").await?;
    client.batch_execute("VACUUM FULL").await?;
    figures.settle_seconds = started.elapsed().as_secs_f64();
    sizes(args, &client, figures).await?;
    let mut draw = Draw {
        rng: StdRng::seed_from_u64(args.seed),
        scale: spec.scale,
        start_ns: spec.start_ns,
        end_ns: spec.end_ns,
    };
    for query in if args.iot { IOT } else { CPU } {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == query.0) {
            continue;
        }
        eprintln!("{} …", query.0);
        figures.queries.push(run_query(args, &client, query, &mut draw).await);
    }
    Ok(())
}

/// Sizes as the database tells them.
async fn sizes(
    args: &TsbsArgs,
    client: &tokio_postgres::Client,
    figures: &mut Figures,
) -> Result<()> {
    let tables: &[&str] = if args.iot { &["readings", "diagnostics"] } else { &["cpu"] };
    if figures.values == 0 {
        for table in tables {
            let row = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
            figures.rows += row.get::<_, i64>(0).unsigned_abs();
        }
    }
    let names = tables.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT CAST(sum(part_bytes) AS bigint), CAST(sum(series_bytes) AS bigint) \
         FROM sys.tables WHERE name IN ({names})"
    );
    let row = client.query_one(&sql, &[]).await?;
    figures.part_bytes = row.get::<_, i64>(0).unsigned_abs();
    figures.series_bytes = row.get::<_, i64>(1).unsigned_abs();
    if figures.values > 0 {
        let bytes = figures.part_bytes + figures.series_bytes;
        figures.bytes_per_value = bytes as f64 / figures.values as f64;
    }
    Ok(())
}

async fn run_query(
    args: &TsbsArgs,
    client: &tokio_postgres::Client,
    query: &Query,
    draw: &mut Draw,
) -> QueryFigures {
    let mut figures = QueryFigures {
        name: query.0.to_owned(),
        runs: 0,
        rows: 0,
        min_ms: 0.0,
        median_ms: 0.0,
        p95_ms: 0.0,
        error: None,
    };
    let limit = Duration::from_secs(args.query_seconds_max);
    let (started, mut latencies) = (Instant::now(), Vec::new());
    for run in 0..args.runs as usize {
        if run >= RUNS_MIN && started.elapsed() > limit {
            break;
        }
        let sql = (query.1)(draw);
        let before = Instant::now();
        match count_rows(client, &sql).await {
            Ok(rows) => figures.rows = rows,
            Err(failure) => {
                figures.error = Some(format!("{failure}: {sql}"));
                return figures;
            }
        }
        latencies.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    figures.runs = latencies.len();
    figures.min_ms = percentile(&latencies, 0.0);
    figures.median_ms = percentile(&latencies, 0.5);
    figures.p95_ms = percentile(&latencies, 0.95);
    figures
}

/// Runs a query and fetches every row.
async fn count_rows(client: &tokio_postgres::Client, sql: &str) -> Result<u64> {
    let stream = client.simple_query_raw(sql).await?;
    pin_mut!(stream);
    let mut rows = 0;
    while let Some(message) = stream.next().await {
        if let SimpleQueryMessage::Row(_) = message? {
            rows += 1;
        }
    }
    Ok(rows)
}

/// A folder that goes when it is dropped, unless it was given.
pub struct TemporaryFolder {
    path: PathBuf,
    temporary: bool,
}

impl TemporaryFolder {
    /// The given folder, or a new one beside other temporary files.
    pub fn new(given: Option<&Path>) -> Result<TemporaryFolder> {
        let path = match given {
            Some(path) => path.to_path_buf(),
            None => {
                let name = format!("millrace-bench-{}", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        std::fs::create_dir_all(&path).map_err(|error| Failure::doing(path.display(), error))?;
        Ok(TemporaryFolder { path, temporary: given.is_none() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}

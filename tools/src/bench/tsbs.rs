//! `millrace bench tsbs`: load, settle, measure size, run the queries.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::data::Data;
use super::load::load;
use super::own::{self, TemporaryFolder};
use super::queries::{CPU, Draw, IOT};
use super::report::{Figures, percentile};
use super::timing;
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::generate::{Case, DEFAULT_START, Generator, GeneratorSpec};
use crate::process::Server;
use crate::settings::parse_day_ns;

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
        let (server, connection) = own::start(&folder.join("database"), &args.server_arg)?;
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
    if let Some(server) = server {
        figures.peak_memory = Some(own::stop(server)?);
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
    figures.settle_seconds = timing::settle(&client).await?;
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
        let limit = Duration::from_secs(args.query_seconds_max);
        let next = || (query.1)(&mut draw);
        let measured = timing::measure(&client, query.0, args.runs as usize, limit, next).await;
        figures.queries.push(measured);
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

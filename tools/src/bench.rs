//! `millrace bench`: loading, size and queries as the Time Series Benchmark Suite has them; what
//! growth, mixed load, late rows and many series cost; and crashes in the middle of a load.

mod asked;
pub mod crash;
mod data;
mod growth;
mod late;
mod load;
mod mixed;
mod own;
mod plan;
mod queries;
mod report;
mod rows;
mod series;
mod stream;
mod timing;
mod tsbs;

use clap::{Args, Subcommand};

use crate::failure::Result;

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Load and query data of the Time Series Benchmark Suite.
    Tsbs(tsbs::TsbsArgs),
    /// Read many whole rows, beside the same bytes sent raw.
    Rows(rows::RowsArgs),
    /// What queries cost when series or history grow tenfold and the selection stays.
    Growth(growth::GrowthArgs),
    /// Writes at a share of the most and queries at once, for minutes; every answer checked.
    Mixed(mixed::MixedArgs),
    /// Rows that come late by seconds to months, and a backlog of half a year at once.
    Late(late::LateArgs),
    /// A million series of a few rows each.
    Series(series::SeriesArgs),
    /// Kill a server in the middle of a load, again and again, and account for every row.
    Crash(crash::CrashArgs),
}

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Tsbs(args) => tsbs::run(args),
        What::Rows(args) => rows::run(args),
        What::Growth(args) => growth::run(args),
        What::Mixed(args) => mixed::run(args),
        What::Late(args) => late::run(args),
        What::Series(args) => series::run(args),
        What::Crash(args) => crash::run(args),
    }
}

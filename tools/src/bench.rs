//! `millrace bench`: loading, size and queries as the Time Series Benchmark Suite has them, and
//! crashes in the middle of a load.

pub mod crash;
mod data;
mod load;
mod queries;
mod report;
mod rows;
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
    /// Kill a server in the middle of a load, again and again, and account for every row.
    Crash(crash::CrashArgs),
}

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Tsbs(args) => tsbs::run(args),
        What::Rows(args) => rows::run(args),
        What::Crash(args) => crash::run(args),
    }
}

//! The command line of `millrace`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Result;
use crate::{backup, bench, generate, import, inspect, repair, restore, serve, sql, verify};

/// Millrace: a time-series database that devices stream into and SQL reads at once. Without a
/// command it serves.
#[derive(Parser, Debug)]
#[command(
    name = "millrace",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = "Examples:
  millrace                                        serve ./millrace-data on 127.0.0.1
  millrace sql 'SELECT * FROM cpu LIMIT 5'
  millrace import cpu.lp.gz
  millrace simulate cpu-only --scale 100 --hours 1 --stream
  millrace verify --data-dir ./millrace-data
Each command has its own --help."
)]
struct Cli {
    #[command(flatten)]
    serve: serve::ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a database.
    Serve(Box<serve::ServeArgs>),
    /// Run SQL on a server or a folder.
    Sql(Box<sql::SqlArgs>),
    /// Load line protocol and CSV files.
    Import(Box<import::ImportArgs>),
    /// Back a running server up to an object store.
    Backup(Box<backup::BackupArgs>),
    /// Make a data folder out of a backup, of now or of any moment since.
    Restore(Box<restore::RestoreArgs>),
    /// Restore for practice: how long it takes, and what would be lost.
    Drill(Box<restore::DrillArgs>),
    /// Take damaged files of a data folder from a backup.
    Repair(repair::RepairArgs),
    /// Explain a file of a data folder in words.
    Inspect(inspect::InspectArgs),
    /// Read every checksum of a data folder.
    Verify(verify::VerifyArgs),
    /// Make data of simulated machines, to a file or into a server.
    Simulate(Box<generate::SimulateArgs>),
    /// Measure: loading, size, queries, crashes.
    Bench(Box<bench::BenchArgs>),
}

/// Runs the program; what is left is the exit code.
pub fn main() -> ExitCode {
    // Several crates bring TLS with them; the provider is chosen once, before any of them looks.
    // An error only says that a provider is installed already.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("a TLS provider was installed before");
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("millrace: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Sql(args)) => sql::run(&args),
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Backup(args)) => backup::run(&args),
        Some(Command::Restore(args)) => restore::run(&args),
        Some(Command::Drill(args)) => restore::drill(&args),
        Some(Command::Repair(args)) => repair::run(&args),
        Some(Command::Inspect(args)) => inspect::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Simulate(args)) => generate::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the command line.
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["millrace", "--listen-pg", "127.0.0.1:0", "--insecure"]);
        let cli = cli.unwrap();
        assert_eq!(cli.serve.flags.0["listen_pg"], "127.0.0.1:0");
        assert_eq!(cli.serve.flags.0["insecure"], "true");
        let cli = Cli::try_parse_from(["millrace", "serve", "--log", "debug"]).unwrap();
        assert!(
            matches!(cli.command, Some(Command::Serve(args)) if args.flags.0["log"] == "debug")
        );
        assert!(Cli::try_parse_from(["millrace", "--no-such"]).is_err());
        assert!(Cli::try_parse_from(["millrace", "import"]).is_err());
    }
}

//! `millrace backup`: a running server backs itself up.

use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::import::time::TimeFormat;

/// How often progress is asked for.
const EVERY: Duration = Duration::from_millis(250);

/// Arguments of `backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace backup --to file:///mnt/backups/plant
  millrace backup --full --to file:///mnt/backups/plant

The server copies what the store has not got yet, while it goes on writing. `SELECT * FROM
sys.backups` tells what became of backups.")]
pub struct BackupArgs {
    /// URL of the store, as the server sees it.
    #[arg(long)]
    pub to: String,
    /// Copy everything anew, also what the store has.
    #[arg(long)]
    pub full: bool,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Runs the command.
pub fn run(args: &BackupArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, watch) =
            (args.connection.postgres().await?, args.connection.postgres().await?);
        let bar = bar();
        let full = if args.full { "FULL " } else { "" };
        let sql = format!("BACKUP {full}TO {}", quoted(&args.to));
        let taking = client.batch_execute(&sql);
        tokio::pin!(taking);
        let taken = loop {
            tokio::select! {
                taken = &mut taking => break taken,
                () = tokio::time::sleep(EVERY) => show(&watch, &bar).await?,
            }
        };
        bar.finish_and_clear();
        taken?;
        let sql = format!(
            "SELECT number, kind, files, bytes, copied_files, copied_bytes, seconds \
             FROM sys.backups WHERE url = {} AND succeeded AND number IS NOT NULL \
             AND kind <> 'drill' ORDER BY number DESC LIMIT 1",
            quoted(&args.to)
        );
        let row = watch.query_one(&sql, &[]).await?;
        let count = |at: usize| row.get::<_, i64>(at) as u64;
        println!(
            "backup {} ({}): {} files, {}; copied {} files, {} in {:.1} s",
            count(0),
            row.get::<_, &str>(1),
            count(2),
            HumanBytes(count(3)),
            count(4),
            HumanBytes(count(5)),
            row.get::<_, f64>(6)
        );
        Ok(())
    })
}

async fn show(client: &tokio_postgres::Client, bar: &ProgressBar) -> Result<()> {
    let sql = "SELECT bytes, bytes_all FROM sys.jobs WHERE name = 'backup' AND running";
    for row in client.query(sql, &[]).await? {
        bar.set_length(row.get::<_, i64>(1) as u64);
        bar.set_position(row.get::<_, i64>(0) as u64);
    }
    Ok(())
}

/// A bar of bytes; it stays away where nobody looks.
pub fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A text as SQL writes it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Reads a moment: a time as `import` takes it, UTC unless it says otherwise.
pub fn moment(text: &str) -> Result<i64> {
    TimeFormat::Calendar.parse(text).ok_or_else(|| {
        Failure::usage(format!(
            "`{text}` is no moment: write it as 2026-01-31T12:00:00Z (UTC) or 2026-01-31 12:00:00"
        ))
    })
}

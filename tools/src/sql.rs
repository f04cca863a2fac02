//! `millrace sql`: statements against a running server, or a folder that no server has open.

mod folder;
mod table;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use futures::{StreamExt, pin_mut};
use tokio_postgres::SimpleQueryMessage;

use crate::client::Connection;
use crate::failure::{Failure, Result};
pub use table::{Printer, Shape};

/// Arguments of `sql`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace sql 'SELECT count(*) FROM cpu'
  millrace sql --csv 'SELECT * FROM cpu LIMIT 10' > cpu.csv
  millrace sql < statements.sql
  millrace sql                                   (a prompt; end with \\q)
  millrace sql --data-dir ./millrace-data 'SELECT 1'   (no server running)")]
pub struct SqlArgs {
    /// Statements; without any they come from standard input.
    pub statements: Vec<String>,
    /// Comma separated values instead of a table.
    #[arg(long)]
    pub csv: bool,
    /// Open this folder instead of asking a server; no server may have it open.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The keys of that folder, if it is encrypted.
    #[command(flatten)]
    pub keys: crate::keys::KeyArgs,
    /// Where the server is.
    #[command(flatten)]
    pub connection: Connection,
}

/// Something that runs statements and prints what comes of them.
enum Runner {
    Server(tokio_postgres::Client),
    Folder(Box<folder::FolderRunner>),
}

impl Runner {
    async fn run(&self, sql: &str, shape: Shape) -> Result<()> {
        match self {
            Runner::Server(client) => run_on_server(client, sql, shape).await,
            Runner::Folder(folder) => folder.run(sql, shape).await,
        }
    }
}

/// Runs the command.
pub fn run(args: &SqlArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let runner = match &args.data_dir {
            Some(path) => Runner::Folder(Box::new(folder::FolderRunner::open(path, &args.keys)?)),
            None => Runner::Server(args.connection.postgres().await?),
        };
        let result = run_all(args, &runner).await;
        if let Runner::Folder(folder) = runner {
            folder.close()?;
        }
        result
    })
}

async fn run_all(args: &SqlArgs, runner: &Runner) -> Result<()> {
    let shape = if args.csv { Shape::Csv } else { Shape::Table };
    if !args.statements.is_empty() {
        for sql in &args.statements {
            runner.run(sql, shape).await?;
        }
        return Ok(());
    }
    if std::io::stdin().is_terminal() {
        return prompt(runner, shape).await;
    }
    let mut sql = String::new();
    std::io::stdin().read_to_string(&mut sql)?;
    runner.run(&sql, shape).await
}

/// Reads lines until a semicolon ends a statement; an error is shown and the prompt goes on.
async fn prompt(runner: &Runner, shape: Shape) -> Result<()> {
    println!("Statements end with `;`, \\q leaves.");
    let mut sql = String::new();
    loop {
        print!("{}", if sql.is_empty() { "millrace=> " } else { "millrace-> " });
        std::io::stdout().flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            println!();
            return Ok(());
        }
        if sql.is_empty() && matches!(line.trim(), "\\q" | "quit" | "exit") {
            return Ok(());
        }
        sql.push_str(&line);
        if line.trim_end().ends_with(';') {
            if let Err(error) = runner.run(&sql, shape).await {
                eprintln!("{error}");
            }
            sql.clear();
        }
    }
}

async fn run_on_server(client: &tokio_postgres::Client, sql: &str, shape: Shape) -> Result<()> {
    let stream = client.simple_query_raw(sql).await?;
    pin_mut!(stream);
    let mut printer = None;
    while let Some(message) = stream.next().await {
        match message? {
            SimpleQueryMessage::RowDescription(columns) => {
                let names = columns.iter().map(|column| column.name().to_owned()).collect();
                printer = Some(Printer::new(std::io::stdout().lock(), shape, names));
            }
            SimpleQueryMessage::Row(row) => {
                let printer = printer
                    .as_mut()
                    .ok_or_else(|| Failure::new("the server sent a row without its columns"))?;
                printer.row((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())?;
            }
            SimpleQueryMessage::CommandComplete(rows) => match printer.take() {
                Some(printer) => printer.finish()?,
                None => eprintln!("done, {rows} rows"),
            },
            _ => {}
        }
    }
    Ok(())
}

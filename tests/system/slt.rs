//! SQL with its answers: `tests/slt`, run over the wire in the form of sqllogictest.
//!
//! Files under `shared` mean the same in Postgres; `MILLRACE_TEST_POSTGRES` names one (as in
//! `host=127.0.0.1 user=postgres`) that must agree with them. `MILLRACE_TEST_UPDATE=1` writes what
//! Millrace answers into the files instead of comparing, to be read before it is committed.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, Runner, default_column_validator, default_normalizer,
    default_validator,
};
use tokio_postgres::SimpleQueryMessage;

use crate::server::{TestServer, block_on};

/// A connection that speaks the simple protocol, so that values come as their texts.
struct Wire {
    client: tokio_postgres::Client,
    name: &'static str,
}

#[async_trait]
impl AsyncDB for Wire {
    type Error = tokio_postgres::Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Self::Error> {
        let (mut types, mut rows, mut count) = (None, Vec::new(), 0);
        for message in self.client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    types = Some(vec![DefaultColumnType::Any; columns.len()]);
                }
                SimpleQueryMessage::Row(row) => {
                    rows.push((0..row.len()).map(|at| shown(row.get(at))).collect());
                }
                SimpleQueryMessage::CommandComplete(done) => count = done,
                _ => {}
            }
        }
        Ok(match types {
            Some(types) => DBOutput::Rows { types, rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        self.name
    }

    fn error_sql_state(error: &Self::Error) -> Option<String> {
        error.code().map(|code| code.code().to_string())
    }
}

fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(text) => text.into(),
    }
}

/// All files of a folder, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "slt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {}", folder.display());
    files
}

/// Runs files, each with connections of its own, and tells of all that fail.
async fn run(
    files: Vec<PathBuf>,
    name: &'static str,
    connect: impl AsyncFn() -> tokio_postgres::Client + Copy,
) {
    let update = name == "millrace" && std::env::var_os("MILLRACE_TEST_UPDATE").is_some();
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(|| async move { Ok(Wire { client: connect().await, name }) });
        if update {
            let (separator, validator) = (" ", default_validator);
            let columns = default_column_validator;
            runner
                .update_test_file(&file, separator, validator, default_normalizer, columns)
                .await
                .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        } else if let Err(failure) = runner.run_file_async(&file).await {
            failures.push(format!("{name}: {}", failure.display(false)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn answers_are_the_golden_ones() {
    let server = TestServer::start();
    block_on(async {
        let files = files("shared").into_iter().chain(files("own")).collect();
        run(files, "millrace", async || server.sql().await).await;
    });
}

#[test]
fn postgres_agrees_where_it_can() {
    let Ok(target) = std::env::var("MILLRACE_TEST_POSTGRES") else {
        println!("skipped: MILLRACE_TEST_POSTGRES names no server");
        return;
    };
    block_on(async {
        run(files("shared"), "postgres", async || {
            let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls)
                .await
                .unwrap_or_else(|e| panic!("{target}: {e}"));
            // It ends with its client.
            tokio::spawn(connection);
            client
                .batch_execute("SET client_min_messages = warning; SET TimeZone = 'UTC'")
                .await
                .unwrap();
            client
        })
        .await;
    });
}

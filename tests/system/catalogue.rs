//! What psql, drivers and BI tools ask the catalogue, with its answers: `tests/catalogue`.
//!
//! A file is a program. A case is a line `--: case TITLE`, the statement, perhaps a literal a
//! parameter (`--: param …`), `--: varies` where only the columns are to be compared, then the
//! answer: `--: columns` with type and name of each, and a line `--| …` a row. `{press}` is the
//! number of a relation. `MILLRACE_TEST_UPDATE=1` writes what Millrace answers into the files, to
//! be read before it is committed. `MILLRACE_TEST_POSTGRES` names a Postgres (as for `slt`) whose
//! columns must have the same names and types.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::server::{TestServer, block_on};

/// Rows of an answer that are kept.
const ROWS_MAX: usize = 12;
/// Database that is made in the Postgres to compare with.
const DATABASE: &str = "millrace_catalogue";

#[derive(Debug, Default)]
struct Case {
    title: String,
    sql: String,
    params: Vec<String>,
    varies: bool,
    /// Why the columns are not those of Postgres, where they cannot be.
    differs: Option<String>,
    answer: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue")
}

/// Files of statements, in order.
fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|ext| ext == "sql"))
        .filter(|path| path.file_name().is_some_and(|name| name != "setup.sql"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("--: case ") {
            cases.push(Case { title: title.to_owned(), ..Case::default() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(param) = line.strip_prefix("--: param ") {
            case.params.push(param.to_owned());
        } else if line == "--: varies" {
            case.varies = true;
        } else if let Some(why) = line.strip_prefix("--: differs ") {
            case.differs = Some(why.to_owned());
        } else if line.starts_with("--: columns") || line.starts_with("--|") {
            case.answer.push(line.to_owned());
        } else if !line.is_empty() || !case.sql.is_empty() {
            case.sql.push_str(line);
            case.sql.push('\n');
        }
    }
    for case in &mut cases {
        case.sql.truncate(case.sql.trim_end().len());
    }
    cases
}

fn written(head: &str, cases: &[Case]) -> String {
    let mut out = head.to_owned();
    for case in cases {
        let _ = write!(out, "\n--: case {}\n{}\n", case.title, case.sql);
        for param in &case.params {
            let _ = writeln!(out, "--: param {param}");
        }
        if case.varies {
            out.push_str("--: varies\n");
        }
        if let Some(why) = &case.differs {
            let _ = writeln!(out, "--: differs {why}");
        }
        for line in &case.answer {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// A server with the objects of `setup.sql` in it.
struct Asked {
    client: Client,
    /// Numbers of its relations by their names.
    numbers: BTreeMap<String, String>,
}

impl Asked {
    async fn new(client: Client) -> Asked {
        let setup = std::fs::read_to_string(folder().join("setup.sql")).unwrap();
        for statement in setup.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            client.simple_query(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
        let sql = "SELECT relname, oid, reltype FROM pg_class WHERE relnamespace = 2200";
        let mut numbers = BTreeMap::new();
        for message in client.simple_query(sql).await.unwrap() {
            if let SimpleQueryMessage::Row(row) = message {
                let name = row.get(0).unwrap();
                numbers.insert(name.to_owned(), row.get(1).unwrap().to_owned());
                if row.get(2) != Some("0") {
                    numbers.insert(format!("{name} row"), row.get(2).unwrap().to_owned());
                }
            }
        }
        Asked { client, numbers }
    }

    /// The statement with numbers for names, and with literals for parameters if `literal`.
    fn sql(&self, case: &Case, literal: bool) -> String {
        let mut sql = case.sql.clone();
        if literal {
            for (at, param) in case.params.iter().enumerate().rev() {
                sql = sql.replace(&format!("${}", at + 1), param);
            }
        }
        for (name, number) in &self.numbers {
            sql = sql.replace(&format!("{{{name}}}"), number);
        }
        sql
    }

    /// The line of the columns.
    async fn columns(&self, case: &Case) -> Result<String, tokio_postgres::Error> {
        let prepared = self.client.prepare(&self.sql(case, false)).await?;
        let columns = prepared.columns().iter();
        let shown: Vec<String> =
            columns.map(|column| format!("{} {}", column.type_().name(), column.name())).collect();
        Ok(format!("--: columns {}", shown.join(" | ")))
    }

    /// The lines of the rows.
    async fn rows(&self, case: &Case) -> Result<Vec<String>, tokio_postgres::Error> {
        let sql = self.sql(case, true);
        let mut lines = Vec::new();
        for message in self.client.simple_query(&sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let cells: Vec<String> = (0..row.len()).map(|at| self.shown(row.get(at))).collect();
                lines.push(format!("--| {}", cells.join(" | ")).trim_end().to_owned());
            }
        }
        if !sql.to_lowercase().contains("order by") {
            lines.sort();
        }
        let count = lines.len();
        if count > ROWS_MAX {
            lines.truncate(ROWS_MAX);
            lines.push(format!("--| … {count} rows"));
        }
        Ok(lines)
    }

    fn shown(&self, cell: Option<&str>) -> String {
        let Some(text) = cell else { return "∅".to_owned() };
        match self.numbers.iter().find(|(_, number)| *number == text) {
            Some((name, _)) => format!("{{{name}}}"),
            None => text.replace('\\', "\\\\").replace('\n', "\\n"),
        }
    }
}

fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{}: {}", error.code().code(), error.message()),
        None => format!("{error:?}"),
    }
}

async fn compare(asked: &Asked, update: bool) -> Vec<String> {
    let mut failures = Vec::new();
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let head = text.split("\n--: case ").next().unwrap_or_default().to_owned();
        let mut cases = parse(&text);
        for case in &mut cases {
            let place = format!("{}, {}", file.display(), case.title);
            let mut answer = match asked.columns(case).await {
                Ok(columns) => vec![columns],
                Err(error) => {
                    failures.push(format!("{place}: {}", told(&error)));
                    continue;
                }
            };
            match asked.rows(case).await {
                Ok(_) if case.varies => {}
                Ok(rows) => answer.extend(rows),
                Err(error) => {
                    failures.push(format!("{place}: {}", told(&error)));
                    continue;
                }
            }
            if answer != case.answer {
                if !update {
                    let (expected, found) = (case.answer.join("\n"), answer.join("\n"));
                    failures.push(format!("{place}: expected\n{expected}\nfound\n{found}"));
                }
                case.answer = answer;
            }
        }
        if update {
            std::fs::write(&file, written(&format!("{}\n", head.trim_end()), &cases)).unwrap();
        }
    }
    failures
}

#[test]
fn statements_have_their_answers() {
    let server = TestServer::start();
    let update = std::env::var_os("MILLRACE_TEST_UPDATE").is_some();
    let failures = block_on(async {
        let asked = Asked::new(server.sql().await).await;
        compare(&asked, update).await
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// A connection to the Postgres that the variable names, in a new database.
async fn postgres(target: &str) -> Client {
    let connect = async |config: &tokio_postgres::Config| {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let mut config: tokio_postgres::Config = target.parse().unwrap();
    let client = connect(&config).await;
    for statement in
        [format!("DROP DATABASE IF EXISTS {DATABASE}"), format!("CREATE DATABASE {DATABASE}")]
    {
        client.simple_query(&statement).await.unwrap();
    }
    config.dbname(DATABASE);
    connect(&config).await
}

#[test]
fn postgres_has_the_same_columns() {
    let Ok(target) = std::env::var("MILLRACE_TEST_POSTGRES") else {
        println!("skipped: MILLRACE_TEST_POSTGRES names no Postgres");
        return;
    };
    let mut failures = Vec::new();
    block_on(async {
        let asked = Asked::new(postgres(&target).await).await;
        for file in files() {
            for case in parse(&std::fs::read_to_string(&file).unwrap()) {
                let place = format!("{}, {}", file.display(), case.title);
                match asked.columns(&case).await {
                    Ok(columns) => {
                        let same = case.answer.first() == Some(&columns);
                        if same == case.differs.is_some() {
                            let ours = case.answer.first().map_or("", |line| line.as_str());
                            failures.push(format!("{place}:\nours     {ours}\npostgres {columns}"));
                        }
                    }
                    Err(error) => failures.push(format!("{place}: {}", told(&error))),
                }
                if let Err(error) = asked.rows(&case).await {
                    failures.push(format!("{place}: {}", told(&error)));
                }
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

//! Running queries and timing them, and what the server says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use serde::Serialize;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::report::{QueryFigures, percentile};
use crate::failure::{Failure, Result};

/// Runs of a query after which the time limit may end it.
const RUNS_MIN: usize = 3;

/// Runs a query with literals drawn anew, `runs` times or until `limit` is over.
pub async fn measure(
    client: &Client,
    name: &str,
    runs: usize,
    limit: Duration,
    next: impl FnMut() -> String,
) -> QueryFigures {
    measure_by_turns(&[client], name, runs, limit, next).await.remove(0)
}

/// As [`measure`], each statement by every server, one after the other: what else a machine does
/// meanwhile, it does to all of them.
pub async fn measure_by_turns(
    clients: &[&Client],
    name: &str,
    runs: usize,
    limit: Duration,
    mut next: impl FnMut() -> String,
) -> Vec<QueryFigures> {
    let nothing = QueryFigures {
        name: name.to_owned(),
        runs: 0,
        rows: 0,
        min_ms: 0.0,
        median_ms: 0.0,
        p95_ms: 0.0,
        error: None,
    };
    let mut all = vec![nothing; clients.len()];
    let (started, mut latencies) = (Instant::now(), vec![Vec::new(); clients.len()]);
    for run in 0..runs {
        if run >= RUNS_MIN && started.elapsed() > limit {
            break;
        }
        let sql = next();
        // None is always the first, which finds what the last has left in the processor's caches.
        for at in (0..clients.len()).map(|at| (at + run) % clients.len()) {
            let before = Instant::now();
            match count_rows(clients[at], &sql).await {
                Ok(rows) => all[at].rows = rows,
                Err(failure) => {
                    all[at].error = Some(format!("{failure}: {sql}"));
                    return all;
                }
            }
            latencies[at].push(before.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for (figures, latencies) in all.iter_mut().zip(&mut latencies) {
        latencies.sort_by(f64::total_cmp);
        figures.runs = latencies.len();
        figures.min_ms = percentile(latencies, 0.0);
        figures.median_ms = percentile(latencies, 0.5);
        figures.p95_ms = percentile(latencies, 0.95);
    }
    all
}

/// Runs a query and fetches every row.
async fn count_rows(client: &Client, sql: &str) -> Result<u64> {
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

/// All rows of a query as text; null as nothing.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>> {
    let messages = client.simple_query(sql).await?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("").to_owned()).collect())
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}

/// `CHECKPOINT` and `VACUUM FULL`; the time it takes, s.
pub async fn settle(client: &Client) -> Result<f64> {
    let started = Instant::now();
    client.batch_execute("CHECKPOINT").await?;
    client.batch_execute("VACUUM FULL").await?;
    Ok(started.elapsed().as_secs_f64())
}

/// What the server holds and has done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inside {
    /// Parts of all tables.
    pub parts: u64,
    /// Flushed parts that no merge has taken yet, and their bytes: what merging owes.
    pub parts_flushed: u64,
    /// Bytes of those.
    pub parts_flushed_bytes: u64,
    /// Figures of `sys.stats`.
    pub stats: BTreeMap<String, u64>,
    /// Pools of `sys.memory`: bytes used, limit and peak.
    pub memory: BTreeMap<String, (u64, u64, u64)>,
}

impl Inside {
    /// Asks the server.
    pub async fn ask(client: &Client) -> Result<Inside> {
        let number = |text: &String| {
            let words = || Failure::new(format!("the server says `{text}` where a number belongs"));
            text.parse::<u64>().map_err(|_| words())
        };
        let mut inside = Inside::default();
        for row in rows(client, "SELECT level, bytes FROM sys.parts").await? {
            inside.parts += 1;
            if row[0] == "flushed" {
                inside.parts_flushed += 1;
                inside.parts_flushed_bytes += number(&row[1])?;
            }
        }
        for row in rows(client, "SELECT name, value FROM sys.stats").await? {
            inside.stats.insert(row[0].clone(), number(&row[1])?);
        }
        for row in rows(client, "SELECT pool, used, \"limit\", peak FROM sys.memory").await? {
            let figures = (number(&row[1])?, number(&row[2])?, number(&row[3])?);
            inside.memory.insert(row[0].clone(), figures);
        }
        Ok(inside)
    }

    /// A figure of `sys.stats`.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats.get(name).copied().unwrap_or(0)
    }

    /// Bytes that a pool uses.
    pub fn used(&self, pool: &str) -> u64 {
        self.memory.get(pool).map_or(0, |figures| figures.0)
    }

    /// Prints the pools.
    pub fn print_memory(&self) {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        println!("\n{:<20}{:>12}{:>12}{:>12}", "memory, MiB", "used", "limit", "peak");
        for (pool, (used, limit, peak)) in &self.memory {
            println!("{pool:<20}{:>12.1}{:>12.1}{:>12.1}", mib(*used), mib(*limit), mib(*peak));
        }
    }
}

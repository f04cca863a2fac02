//! The ledger against the database.

use std::collections::BTreeMap;

use super::{CrashReport, Fate, Ledger, value_of};
use crate::client::Connection;
use crate::failure::{Failure, Result};

/// Compares the ledger with the database; the number of unanswered requests that are there.
pub async fn check(
    connection: &Connection,
    ledger: &mut Ledger,
    report: &mut CrashReport,
) -> Result<u64> {
    let client = connection.postgres().await?;
    let found = requests(&client, ledger).await?;
    report.rows = found.values().sum();
    check_newest(&client, &found).await?;
    report.expired += check_brief(&client, ledger).await?;
    let sql = "SELECT count(*) FROM sys.partitions WHERE \"table\" = 'ledger' AND tier = 'archive'";
    let archived: i64 = client.query_one(sql, &[]).await?.try_get(0)?;
    report.archived = report.archived.max(archived as u64);
    settle(ledger, &found)
}

/// What a restored backup must hold: nothing torn or invented, nothing that had been deleted
/// before the backup, and everything that had been acknowledged.
pub async fn check_restored(
    connection: &Connection,
    ledger: &Ledger,
    backed_up: &Ledger,
) -> Result<()> {
    let client = connection.postgres().await?;
    let found = requests(&client, ledger).await?;
    for key in backed_up.keys() {
        // Deleted since, perhaps before the backup was taken in the same round.
        let kept = ledger.get(key).is_some_and(|entry| entry.fate == Fate::Acknowledged);
        if kept && !found.contains_key(key) {
            return Err(Failure::new(format!("the backup has lost request {key:?}")));
        }
    }
    Ok(())
}

/// Requests of the ledger's table with their rows, each of them whole.
async fn requests(
    client: &tokio_postgres::Client,
    ledger: &Ledger,
) -> Result<BTreeMap<(u16, u64), u64>> {
    let rows = client
        .query(
            "SELECT worker, request, count(*), min(total), max(total), min(n), max(n), \
             CAST(sum(n) AS bigint), CAST(sum(n * n) AS bigint), \
             CAST(sum(mark) AS bigint) FROM ledger GROUP BY worker, request",
            &[],
        )
        .await?;
    let mut found: BTreeMap<(u16, u64), u64> = BTreeMap::new();
    for row in &rows {
        let key = key_of(row)?;
        let Some(entry) = ledger.get(&key) else {
            return Err(Failure::new(format!("invented: request {key:?} was never sent")));
        };
        let n = entry.rows as i64;
        let expected = [
            n,
            n,
            n,
            0,
            n - 1,
            n * (n - 1) / 2,
            (n - 1) * n * (2 * n - 1) / 6,
            (0..entry.rows).map(|row| value_of(key.0, key.1, row)).sum(),
        ];
        let actual: Vec<i64> = (2..10).map(|at| row.get::<_, i64>(at)).collect();
        if actual != expected {
            return Err(Failure::new(format!(
                "request {key:?} is torn, doubled or changed: {actual:?} instead of {expected:?}"
            )));
        }
        found.insert(key, entry.rows);
    }
    Ok(found)
}

/// Fates by what was found; the number of unanswered requests that are there.
fn settle(ledger: &mut Ledger, found: &BTreeMap<(u16, u64), u64>) -> Result<u64> {
    let mut survived = 0;
    for (key, entry) in ledger.iter_mut() {
        match (entry.fate, found.contains_key(key)) {
            (Fate::Acknowledged, false) => {
                return Err(Failure::new(format!("lost: acknowledged request {key:?}")));
            }
            (Fate::Absent, true) => {
                return Err(Failure::new(format!("request {key:?} came up after it was gone")));
            }
            (Fate::Unknown, true) => {
                // From here on it counts as any other.
                entry.fate = Fate::Acknowledged;
                survived += 1;
            }
            (Fate::Unknown | Fate::Deleting, false) => entry.fate = Fate::Absent,
            // Its delete never came to be.
            (Fate::Deleting, true) => entry.fate = Fate::Acknowledged,
            (Fate::Acknowledged, true) | (Fate::Absent, false) => {}
        }
    }
    Ok(survived)
}

/// The table that expires: of what the cut leaves, all that is acknowledged is there, and nothing
/// before the cut. The number of acknowledged rows that are gone.
async fn check_brief(client: &tokio_postgres::Client, ledger: &Ledger) -> Result<u64> {
    // The cut moves by itself between the statements.
    let before = cut(client).await?;
    let sql = "SELECT worker, request, CAST(extract(epoch FROM time) * 1000000 AS bigint) \
               FROM brief";
    let mut found = BTreeMap::new();
    for row in client.query(sql, &[]).await? {
        let (key, time_us): (_, i64) = (key_of(&row)?, row.try_get(2)?);
        if time_us + 1 < before {
            return Err(Failure::new(format!("request {key:?} of {time_us} is before the cut")));
        }
        let entry = ledger.get(&key);
        if entry.is_none_or(|entry| (entry.sent_us - time_us).abs() > 1) {
            return Err(Failure::new(format!("invented: request {key:?} of {time_us}")));
        }
        if found.insert(key, time_us).is_some() {
            return Err(Failure::new(format!("request {key:?} is there twice")));
        }
    }
    let after = cut(client).await?;
    let mut expired = 0;
    // Deletes are of the other table only: what was deleted there was acknowledged here.
    for (key, entry) in ledger.iter().filter(|(_, entry)| entry.fate == Fate::Acknowledged) {
        if !found.contains_key(key) {
            if entry.sent_us > after {
                return Err(Failure::new(format!("lost: request {key:?} after the cut {after}")));
            }
            expired += 1;
        }
    }
    Ok(expired)
}

/// Rows of the table before this are gone, µs since 1970.
async fn cut(client: &tokio_postgres::Client) -> Result<i64> {
    let sql = "SELECT CAST(extract(epoch FROM cut) * 1000000 AS bigint) FROM sys.tables \
               WHERE name = 'brief'";
    let cut: Option<i64> = client.query_one(sql, &[]).await?.try_get(0)?;
    Ok(cut.unwrap_or(i64::MIN))
}

/// A request is one record for both tables: the newest of each worker must agree.
async fn check_newest(
    client: &tokio_postgres::Client,
    found: &BTreeMap<(u16, u64), u64>,
) -> Result<()> {
    let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
    for (worker, request) in found.keys() {
        newest.insert(*worker, *request);
    }
    let rows = client.query("SELECT worker, request FROM newest", &[]).await?;
    let actual: BTreeMap<u16, u64> = rows.iter().map(key_of).collect::<Result<_>>()?;
    if actual != newest || rows.len() != newest.len() {
        return Err(Failure::new(format!(
            "the newest requests are {actual:?} in one table and {newest:?} in the other"
        )));
    }
    Ok(())
}

/// Worker and request of a row that starts with them.
fn key_of(row: &tokio_postgres::Row) -> Result<(u16, u64)> {
    let worker: &str = row.try_get(0)?;
    let request: i64 = row.try_get(1)?;
    let number = worker.strip_prefix('w').and_then(|number| number.parse().ok());
    match (number, u64::try_from(request)) {
        (Some(worker), Ok(request)) => Ok((worker, request)),
        _ => Err(Failure::new(format!("invented: worker {worker}, request {request}"))),
    }
}

//! What goes on beside the writes: checkpoints, merges, deletes, backups, partitions that come back
//! from the archive. (Archiving and expiry go by themselves.)

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Entry, Fate, Ledger, ROWS_MAX, time_of};
use crate::client::Connection;
use crate::failure::Result;

/// What was done until the kill.
#[derive(Debug, Default)]
pub struct Lived {
    /// Requests deleted: `Absent` where it was acknowledged, else `Deleting`.
    pub deletes: Vec<((u16, u64), Fate)>,
    /// Backups acknowledged.
    pub backups: u64,
}

/// One thing after the other at random moments, until the server is gone.
pub fn maintain(
    connection: &Connection,
    ledger: &Ledger,
    backups: &str,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Lived> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lived = Lived::default();
    runtime.block_on(async {
        // A server that is already killed has no door; that is no failure of this thread.
        let Ok(client) = connection.postgres().await else { return Ok(lived) };
        while !stop.load(Ordering::Relaxed) && !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(rng.random_range(10..200))).await;
            let (mut victim, mut backup) = (None, false);
            let sql = match rng.random_range(0..10) {
                0..4 => "CHECKPOINT".to_owned(),
                4 => "VACUUM FULL".to_owned(),
                5 => {
                    backup = true;
                    format!("BACKUP TO '{backups}'")
                }
                6 => "ALTER TABLE ledger RESTORE FOR '1 minute'".to_owned(),
                _ => {
                    victim = pick(ledger, &lived, &mut rng);
                    let Some(key) = victim else { continue };
                    delete(key)
                }
            };
            let done = client.batch_execute(&sql).await;
            if let Some(key) = victim {
                let fate = if done.is_ok() { Fate::Absent } else { Fate::Deleting };
                lived.deletes.push((key, fate));
            }
            lived.backups += u64::from(backup && done.is_ok());
            if let Err(error) = done
                && error.as_db_error().is_some()
            {
                return Err(error.into());
            }
        }
        Ok(lived)
    })
}

/// An acknowledged request of an earlier round, not the newest of its worker, not deleted yet.
fn pick(ledger: &Ledger, lived: &Lived, rng: &mut StdRng) -> Option<(u16, u64)> {
    if ledger.is_empty() {
        return None;
    }
    let (key, entry) = ledger.iter().nth(rng.random_range(0..ledger.len()))?;
    let fresh = |key: &(u16, u64)| lived.deletes.iter().all(|(deleted, _)| deleted != key);
    let left = |(key, entry): (&(u16, u64), &Entry)| entry.fate == Fate::Acknowledged && fresh(key);
    let mut later = ledger.range((key.0, key.1 + 1)..=(key.0, u64::MAX));
    (left((key, entry)) && later.any(left)).then_some(*key)
}

/// The statement that deletes a request: its worker and its span of time.
fn delete((worker, request): (u16, u64)) -> String {
    let moment = |row| crate::import::time::format_ns(time_of(request, row));
    format!(
        "DELETE FROM ledger WHERE worker = 'w{worker}' AND time >= '{}' AND time < '{}'",
        moment(0),
        moment(ROWS_MAX)
    )
}

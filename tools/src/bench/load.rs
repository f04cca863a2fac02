//! Loading: workers post the requests of a data file as fast as the server acknowledges them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::data::Data;
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::import::send::Sender;

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// From the first request to the last acknowledgement, s.
    pub seconds: f64,
    /// Latencies of the requests, ms, sorted.
    pub request_ms: Vec<f64>,
}

/// Posts all of `data` with `workers` connections; at most `rate` rows a second, 0 for no limit.
pub fn load(data: &Data, connection: &Connection, workers: u16, rate: u64) -> Result<Loaded> {
    let next = AtomicUsize::new(0);
    let taken = AtomicU64::new(0);
    let latencies = Mutex::new(Vec::with_capacity(data.pieces.len()));
    let started = Instant::now();
    let work = || -> Result<()> {
        let mut sender = Sender::http(connection)?;
        let (mut body, mut mine) = (Vec::new(), Vec::new());
        while let Some(piece) = data.pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            data.read(*piece, &mut body)?;
            let before = taken.fetch_add(piece.rows, Ordering::Relaxed);
            if let Some(due) = (before * 1000).checked_div(rate) {
                let due = Duration::from_millis(due);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            let sent_at = Instant::now();
            let sent = sender.send(&body)?;
            mine.push(sent_at.elapsed().as_secs_f64() * 1000.0);
            if sent.refused > 0 || sent.rows != piece.rows {
                return Err(Failure::new(format!(
                    "{} of {} rows were written: {:?}",
                    sent.rows, piece.rows, sent.told
                )));
            }
        }
        latencies.lock().map_err(|_| Failure::new("a worker panicked"))?.extend(mine);
        Ok(())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Failure::new("a worker panicked")))
        })
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut request_ms = latencies.into_inner().map_err(|_| Failure::new("a worker panicked"))?;
    request_ms.sort_by(f64::total_cmp);
    Ok(Loaded { seconds, request_ms })
}

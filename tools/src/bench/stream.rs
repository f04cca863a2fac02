//! Loading data as it is made, where a file of it would be too large: workers take turns at the
//! source and post what they got.

use std::sync::Mutex;
use std::time::Instant;

use super::load::Loaded;
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::import::send::Sender;

/// Posts what `source` gives until it gives no rows any more; rows are appended to its argument.
/// The rows written and what it took.
pub fn stream(
    connection: &Connection,
    workers: u16,
    source: impl FnMut(&mut Vec<u8>) -> u64 + Send,
) -> Result<(u64, Loaded)> {
    let source = Mutex::new(source);
    let total = Mutex::new((0u64, Vec::new()));
    let poisoned = || Failure::new("a worker panicked");
    let started = Instant::now();
    let work = || -> Result<()> {
        let mut sender = Sender::http(connection)?;
        let (mut body, mut mine, mut written) = (Vec::new(), Vec::new(), 0);
        loop {
            body.clear();
            let rows = (source.lock().map_err(|_| poisoned())?)(&mut body);
            if rows == 0 {
                break;
            }
            let sent_at = Instant::now();
            let sent = sender.send(&body)?;
            mine.push(sent_at.elapsed().as_secs_f64() * 1000.0);
            if sent.refused > 0 || sent.rows != rows {
                return Err(Failure::new(format!(
                    "{} of {rows} rows were written: {:?}",
                    sent.rows, sent.told
                )));
            }
            written += rows;
        }
        let mut total = total.lock().map_err(|_| poisoned())?;
        total.0 += written;
        total.1.extend(mine);
        Ok(())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(poisoned())))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let (rows, mut request_ms) = total.into_inner().map_err(|_| poisoned())?;
    request_ms.sort_by(f64::total_cmp);
    Ok((rows, Loaded { seconds, request_ms }))
}

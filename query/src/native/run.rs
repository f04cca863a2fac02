//! Running an aggregation: at once where it is small, else its streams side by side.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tokio::task::JoinSet;
use tsdb::scan::aggregate::{AggregateStream, Aggregates};

use crate::error::{QueryError, QueryResult};

/// Series, or steps of a long one, between two looks at memory and two chances for others to run.
const SERIES_AT_A_TIME: usize = 16;

/// Runs streams to their end on this thread.
pub(crate) fn at_once(
    streams: Vec<AggregateStream>,
    pool: &Arc<dyn MemoryPool>,
) -> QueryResult<Option<Aggregates>> {
    let held = reservation(pool);
    let mut all: Option<Aggregates> = None;
    for mut stream in streams {
        while steps(&mut stream, &held)? {}
        gather(&mut all, stream.take());
    }
    Ok(all)
}

/// Runs streams beside each other, on the runtime that this is called on. Dropping the future ends
/// them.
pub(crate) async fn beside(
    streams: Vec<AggregateStream>,
    pool: &Arc<dyn MemoryPool>,
) -> QueryResult<Option<Aggregates>> {
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let held = reservation(pool);
        tasks.spawn(async move {
            while steps(&mut stream, &held)? {
                tokio::task::yield_now().await;
            }
            Ok::<_, QueryError>((stream.take(), held))
        });
    }
    let mut all: Option<Aggregates> = None;
    while let Some(done) = tasks.join_next().await {
        let (part, _held) =
            done.map_err(|e| QueryError::internal(format!("an aggregation's task: {e}")))??;
        gather(&mut all, part);
    }
    Ok(all)
}

/// Adds what one stream or reading gave to what others did.
pub(super) fn gather(all: &mut Option<Aggregates>, part: Aggregates) {
    match all {
        None => *all = Some(part),
        Some(all) => all.merge(&part),
    }
}

/// A share of the memory of all queries, counted for one stream.
pub(crate) fn reservation(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
    MemoryConsumer::new("Aggregate").register(pool)
}

/// Adds some series; false at the end.
pub(crate) fn steps(stream: &mut AggregateStream, held: &MemoryReservation) -> QueryResult<bool> {
    for _ in 0..SERIES_AT_A_TIME {
        if !stream.step()? {
            held.try_resize(stream.memory())?;
            return Ok(false);
        }
    }
    held.try_resize(stream.memory())?;
    Ok(true)
}

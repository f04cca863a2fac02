//! Statements that took long: into the log, and the newest of them into `sys.slow_queries`.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::{Query, Work};
use crate::admission::Priority;

/// Statements that are kept.
const KEPT_MAX: usize = 500;
/// Bytes of their texts and plans.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a plan that are kept.
const PLAN_BYTES_MAX: usize = 16 * 1024;

/// A statement that took long.
#[derive(Clone, Debug)]
pub(crate) struct SlowQuery {
    pub(crate) id: u64,
    pub(crate) process: i32,
    pub(crate) user: String,
    pub(crate) application: String,
    pub(crate) text: String,
    pub(crate) started_us: i64,
    /// From its start to its end, without what it waited for its reader.
    pub(crate) took_us: u64,
    pub(crate) waited_us: u64,
    pub(crate) rows: u64,
    pub(crate) rows_scanned: u64,
    pub(crate) memory_peak: u64,
    pub(crate) spilled_bytes: u64,
    pub(crate) priority: Priority,
    /// SQLSTATE, if it failed.
    pub(crate) error: Option<&'static str>,
    pub(crate) plan: String,
}

impl SlowQuery {
    pub(super) fn new(
        query: &Query,
        work: &Work,
        took_us: u64,
        error: Option<&'static str>,
    ) -> SlowQuery {
        let read = work.read();
        let mut plan = work.plan();
        if plan.len() > PLAN_BYTES_MAX {
            let mut end = PLAN_BYTES_MAX;
            while !plan.is_char_boundary(end) {
                end -= 1;
            }
            plan.truncate(end);
            plan.push('…');
        }
        SlowQuery {
            id: query.id,
            process: query.client.process(),
            user: query.client.identity.user.clone(),
            application: query.client.seen().application.to_string(),
            text: query.text.to_string(),
            started_us: query.started_us,
            took_us,
            waited_us: query.waited_us(),
            rows: query.rows(),
            rows_scanned: read.rows,
            memory_peak: query.memory.peak() as u64,
            spilled_bytes: read.spilled_bytes,
            priority: query.priority,
            error,
            plan,
        }
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.plan.len()
    }
}

/// The newest of them.
#[derive(Default)]
pub(crate) struct Slow {
    kept: Mutex<(VecDeque<SlowQuery>, usize)>,
}

impl Slow {
    pub(super) fn add(&self, slow: SlowQuery) {
        tracing::info!(
            target: "millrace::slow",
            query = slow.id,
            process = slow.process,
            user = slow.user,
            application = slow.application,
            milliseconds = slow.took_us as f64 / 1e3,
            waited_milliseconds = slow.waited_us as f64 / 1e3,
            rows = slow.rows,
            rows_scanned = slow.rows_scanned,
            memory_peak_bytes = slow.memory_peak,
            spilled_bytes = slow.spilled_bytes,
            error = slow.error,
            text = slow.text,
            plan = slow.plan,
            "slow statement"
        );
        let mut kept = self.kept.lock();
        kept.1 += slow.bytes();
        kept.0.push_back(slow);
        while kept.0.len() > KEPT_MAX || kept.1 > KEPT_BYTES_MAX {
            let Some(oldest) = kept.0.pop_front() else { break };
            kept.1 -= oldest.bytes();
        }
    }

    /// Those that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<SlowQuery> {
        self.kept.lock().0.iter().cloned().collect()
    }
}

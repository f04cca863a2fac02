//! Functions beyond DataFusion's own.
//!
//! Those that depend on nothing but their arguments are registered once; those that tell about
//! the session or the catalogue are made for the statement that names them.

mod edge;
mod interval;
mod session;
mod simple;
mod time_bucket;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use session::of_session;
pub(crate) use simple::{Fixed, Lookup};
pub(crate) use time_bucket::MONDAY;

/// Adds the functions that every session shares.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    state.register_expr_planner(Arc::new(interval::IntervalPlanner::new()))?;
    state.register_udf(Arc::new(ScalarUDF::from(time_bucket::TimeBucket::new())))?;
    for edge in [edge::Edge::First, edge::Edge::Last] {
        state.register_udaf(Arc::new(AggregateUDF::from(edge::ByTime::new(edge))))?;
    }
    Ok(())
}

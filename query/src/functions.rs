//! Functions beyond DataFusion's own.
//!
//! Those that depend on nothing but their arguments are registered once; those that tell about
//! the session or the catalogue are made for the statement that names them.

mod bounded;
mod bucket;
mod choosing;
mod edge;
mod interval;
mod length;
mod markers;
mod mode;
mod plain;
pub(crate) mod sequence;
mod series;
mod session;
mod simple;
mod single;
mod sum;
mod summary;
mod time_bucket;
mod to_char;
pub(crate) mod uuid;
mod windows;
mod zoned;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::math::{ceil, signum};
use datafusion::functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion::functions_aggregate::variance::var_samp_udaf;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use crate::plan::uuids::UuidPlanner;

pub(crate) use bounded::{is_called as makes_much, with_room};
pub(crate) use bucket::{
    Buckets, Cut, MONDAY, interval as interval_of, span_ticks, ticks_per_second as per_second,
    zone as zone_of,
};
pub(crate) use length::Length;
pub(crate) use markers::Mark;
pub(crate) use session::{as_text as text_of, is_steady, of_session};
pub(crate) use simple::{Fixed, Lookup};
pub(crate) use time_bucket::{bucket_of, ticks as ticks_of};
pub(crate) use zoned::{AT_ZONE, READ};

/// The function `time_bucket`.
pub(crate) fn time_bucket() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(time_bucket::TimeBucket::new()))
}

/// Adds the functions that every session shares; what some make is taken from `pool`.
pub(crate) fn register(state: &mut SessionState, pool: &Arc<dyn MemoryPool>) -> Result<()> {
    bounded::register(state, pool)?;
    state.register_expr_planner(Arc::new(interval::IntervalPlanner::new()))?;
    state.register_expr_planner(Arc::new(UuidPlanner))?;
    state.register_udf(time_bucket())?;
    state.register_udf(Arc::new(ScalarUDF::from(to_char::ToChar::new())))?;
    for mark in Mark::ALL {
        state.register_udf(Arc::new(ScalarUDF::from(markers::Marker::new(mark))))?;
    }
    for choosing in choosing::all() {
        state.register_udf(Arc::new(choosing))?;
    }
    for function in plain::all() {
        state.register_udf(Arc::new(function))?;
    }
    // Under their names in PostgreSQL, too.
    for (function, names) in [(ceil(), vec!["ceiling"]), (signum(), vec!["sign"])] {
        state.register_udf(Arc::new(function.as_ref().clone().with_aliases(names)))?;
    }
    let every = bool_and_udaf().as_ref().clone().with_aliases(["every"]);
    state.register_udaf(Arc::new(every))?;
    for length in Length::ALL {
        state.register_udf(Arc::new(length::udf(length)))?;
    }
    state.register_udf(uuid::random())?;
    for edge in [edge::Edge::First, edge::Edge::Last] {
        state.register_udaf(Arc::new(AggregateUDF::from(edge::ByTime::new(edge))))?;
    }
    for greatest in [false, true] {
        state.register_udaf(Arc::new(AggregateUDF::from(mode::Mode::new(greatest))))?;
    }
    state.register_udaf(Arc::new(AggregateUDF::from(single::Single::new())))?;
    state.register_udaf(Arc::new(AggregateUDF::from(sum::Sum::new())))?;
    // Under its name in Postgres too.
    let variance = var_samp_udaf().as_ref().clone().with_aliases(["variance"]);
    state.register_udaf(Arc::new(variance))?;
    for named in series::ALL {
        state.register_udaf(Arc::new(AggregateUDF::from(series::OfSeries::new(*named))))?;
    }
    for named in windows::ALL {
        state.register_udwf(Arc::new(WindowUDF::from(windows::OfRows::new(*named))))?;
    }
    Ok(())
}

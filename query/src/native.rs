//! Aggregates and selections of rows that run on the engine's own streams instead of DataFusion's operators.
//!
//! Two roads lead here. `syntax` recognises a whole statement from its syntax tree and runs it
//! without planning: reading literals and looking names up takes microseconds, so shapes need no
//! cache of their own. `rewrite` puts the same aggregation under a plan of DataFusion's wherever an
//! aggregate stands on filters over one table, so that sub-queries, HAVING and joins profit too.
//!
//! Both build an [`AggregateSpec`] and must mean exactly what the plain plan means: whatever is not
//! surely understood is left to DataFusion. `SET millrace.use_native = off` leaves everything to
//! it, `millrace.use_zones = off` keeps zone statistics out of the answers; tests compare the ways.

mod answer;
mod constants;
mod exec;
mod explain;
mod literal;
mod newest;
mod order;
mod rewrite;
mod rows;
mod run;
mod size;
mod spec;
mod syntax;
mod where_clause;

pub(crate) use answer::NativeAggregate;
pub(crate) use exec::AggregateExec;
pub(crate) use literal::{fixed_width, is_utc};
pub(crate) use newest::NativeNewest;
pub(crate) use rewrite::{AggregatedRows, leaf, rewrite};
pub(crate) use rows::NativeRows;
pub(crate) use size::{is_short_of, is_small_of, rows as rows_about};
pub(crate) use spec::GroupBy;
pub(crate) use syntax::{Native, recognise, truncated};

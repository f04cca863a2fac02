//! Tests of sessions over the engine.

mod backups;
mod blocks;
mod catalog;
mod changes;
pub(crate) mod harness;
mod last;
mod life;
mod limits;
mod model;
mod nanos;
mod native;
mod quarantine;
mod queries;
mod statements;
mod stopping;
mod timeseries;
mod transactions;

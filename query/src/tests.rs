//! Tests of sessions over the engine.

mod backups;
mod blocks;
mod cancelling;
mod catalog;
mod changes;
mod comments;
mod copies;
mod cursors;
pub(crate) mod harness;
mod last;
mod life;
mod limits;
mod materialized;
mod model;
mod nanos;
mod native;
mod notify;
mod origins;
mod quarantine;
mod queries;
mod queue;
mod returning;
mod statements;
mod stopping;
mod timeseries;
mod transactions;
mod views;

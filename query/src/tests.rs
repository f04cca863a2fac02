//! Tests of sessions over the engine.

mod blocks;
mod catalog;
pub(crate) mod harness;
mod last;
mod limits;
mod nanos;
mod queries;
mod statements;
mod stopping;
mod transactions;

//! Tests of sessions over the engine.

mod catalog;
mod harness;
mod last;
mod limits;
mod nanos;
mod native;
mod queries;
mod statements;
mod stopping;
mod transactions;

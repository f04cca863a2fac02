//! Tests of sessions over the engine.

mod catalog;
mod harness;
mod last;
mod queries;
mod statements;
mod transactions;

//! The door over real sockets, with an engine in memory and the client of arrow-flight.

mod harness;
mod hostile;
mod ingests;
mod keeping;
mod logins;
mod questions;
mod statements;
mod transactions;

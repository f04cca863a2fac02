//! The Flight SQL door: Arrow in and out over gRPC, for ADBC, JDBC and bulk reading.
//!
//! Every call but Handshake logs in. A call is one statement in a session of its own, or in that of
//! a transaction; what is kept between calls (tokens, tickets, prepared statements, transactions)
//! is bounded for each user and goes by itself. Rows are made as they are taken.
//!
//! Invariants:
//! - Bytes of a body are handed on only once their memory is promised (`body`).
//! - A key that is not the caller's own is answered as one that never was (`shelf`).
//! - A statement is entered and left in one place (`running::Call`), which ends it when the client
//!   leaves and gives a transaction's turn back last.

mod actions;
mod body;
mod gate;
mod house;
mod incoming;
mod ingest;
mod login;
mod metadata;
mod options;
mod params;
mod prepared;
mod question;
mod refusal;
mod rows;
mod running;
mod server;
mod service;
mod session_options;
mod shelf;
mod signals;
mod statement;
mod tickets;
mod transaction;

#[cfg(test)]
mod tests;

pub use options::FlightOptions;
pub use server::serve;

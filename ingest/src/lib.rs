//! The road from a message to the log: line protocol and the drivers that use it.
//!
//! `README.md` has the code map and the decisions, `DRIVERS.md` the contract of a driver.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gzip;
pub mod line;
pub mod remote;
pub mod tcp;
pub mod writer;

pub use line::{LineLimits, Precision};
pub use remote::{Described, Metadata};
pub use writer::{Gate, LineWriter, Refused, Report};

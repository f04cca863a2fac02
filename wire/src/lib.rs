//! Millrace's front doors: Postgres wire, HTTP and Flight SQL, with TLS and log-in for all of them.
//! `README.md` is the map.

mod budget;
#[cfg(any(test, fuzzing))]
pub use pg::fuzz;
pub mod flight;
pub mod http;
pub mod pg;
mod stall;
pub mod tls;
mod views;

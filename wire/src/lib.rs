//! Millrace's front doors: Postgres wire and HTTP, with TLS and log-in for both. `README.md` is
//! the map.

mod budget;
#[cfg(any(test, fuzzing))]
pub use pg::fuzz;
pub mod http;
pub mod pg;
pub mod tls;

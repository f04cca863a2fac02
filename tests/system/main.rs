//! Whole-system tests in one binary.

mod backup;
mod benches;
mod catalogue;
mod commands;
mod copy;
mod crash;
mod drivers;
mod encrypted;
mod hostile;
mod life;
mod limits;
mod login;
mod memory;
mod pgbench;
mod prometheus;
mod psql;
mod python;
mod quarantine;
mod restart;
mod rights;
mod server;
mod simulated;
mod slt;
mod tidy;
mod write_read;

//! Whole-system tests in one binary.

mod backup;
mod commands;
mod copy;
mod crash;
mod hostile;
mod login;
mod psql;
mod python;
mod restart;
mod server;
mod simulated;
mod tidy;
mod write_read;

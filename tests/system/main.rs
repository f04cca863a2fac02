//! Whole-system tests in one binary.

mod commands;
mod copy;
mod crash;
mod encrypted;
mod hostile;
mod login;
mod psql;
mod python;
mod restart;
mod server;
mod simulated;
mod tidy;
mod write_read;

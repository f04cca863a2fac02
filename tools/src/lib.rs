//! The `millrace` program: a server, and tools around its data. The program is a library so that
//! tests can use its generators and clients.

mod backup;
pub mod bench;
pub mod cli;
pub mod client;
pub mod failure;
pub mod folder;
mod generate;
pub mod http;
pub mod import;
mod inspect;
pub mod keys;
mod logging;
mod objects;
pub mod process;
mod repair;
mod restore;
mod serve;
pub mod settings;
pub mod simulate;
mod sql;
mod verify;

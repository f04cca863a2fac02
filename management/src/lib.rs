//! STUB of the management crate's face: signatures are the contract.
#![allow(unused_variables)]
use std::sync::Arc;
use query::{Identity, QueryResult};
use tsdb::Db;

/// Users and their secrets, rows of the row store (space 256).
pub struct Users { _p: () }
/// Why a log-in failed; the client is told the same words for each.
#[derive(Debug)]
pub struct LoginFailed { pub reason_for_log: String }
impl Users {
    /// Opens; on a database without users makes `admin` (superuser) with `first_password` or a random one, which is returned once.
    pub fn open(db: Arc<Db>, first_password: Option<String>) -> QueryResult<(Arc<Users>, Option<String>)> { unimplemented!() }
    /// Password log-in (HTTP Basic, tokens). Slow by design (argon2id) with a short cache of verified secrets; call from a blocking thread.
    pub fn verify(&self, user: &str, password: &str) -> Result<Identity, LoginFailed> { unimplemented!() }
    /// An API token `mr_…` made by create_token (Bearer).
    pub fn verify_token(&self, token: &str) -> Result<Identity, LoginFailed> { unimplemented!() }
    pub fn create_token(&self, user: &str) -> QueryResult<String> { unimplemented!() }
    /// A SCRAM-SHA-256 exchange for one connection (RFC 5802, 7677). Unknown users get a believable fake exchange that fails at the end.
    pub fn scram(&self, user: &str) -> ScramExchange { unimplemented!() }
}
/// One exchange, server side.
pub struct ScramExchange { _p: () }
impl ScramExchange {
    /// client-first-message -> server-first-message
    pub fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, LoginFailed> { unimplemented!() }
    /// client-final-message -> (server-final-message, who)
    pub fn last(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Identity), LoginFailed> { unimplemented!() }
}

//! Settings of users and log-in.

use std::time::Duration;

use query::QueryResult;

use crate::refuse;

/// Settings of users and log-in. Costs of hashing apply to passwords set from then on; a stored
/// secret keeps the costs it was made with.
#[derive(Clone, Debug)]
pub struct UsersOptions {
    /// Fewest characters of a password. Default 8, at least 1.
    pub password_chars_min: usize,
    /// PBKDF2 rounds of a SCRAM secret. Default 4096 (RFC 7677 section 4), at most 1,000,000.
    pub scram_iterations: u32,
    /// Memory of one argon2id hash, KiB. Default 19,456 (OWASP password storage: 19 MiB, t=2, p=1).
    pub argon2_memory_kib: u32,
    /// Passes of argon2id. Default 2.
    pub argon2_passes: u32,
    /// Lanes of argon2id. Default 1.
    pub argon2_lanes: u32,
    /// Hashes computed at a time; others wait. Default: cores, at least 2.
    pub hashes_at_once_max: usize,
    /// Log-ins waiting for a hash; more are refused. Default 256.
    pub hashes_waiting_max: usize,
    /// How long a password that was right is remembered. Default 60 s; zero: never.
    pub verified_for: Duration,
    /// Remembered passwords. Default 10,000.
    pub verified_max: usize,
    /// Failures of one user from one source before log-ins are delayed. Default 10.
    pub failures_free: u32,
    /// Longest delay. Default 60 s.
    pub delay_max: Duration,
    /// Pairs of user and source whose failures are counted. Default 10,000.
    pub failures_tracked_max: usize,
    /// Tokens of one user. Default 100.
    pub tokens_max: usize,
}

impl Default for UsersOptions {
    fn default() -> UsersOptions {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        UsersOptions {
            password_chars_min: 8,
            scram_iterations: 4096,
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
            argon2_lanes: 1,
            hashes_at_once_max: cores.max(2),
            hashes_waiting_max: 256,
            verified_for: Duration::from_secs(60),
            verified_max: 10_000,
            failures_free: 10,
            delay_max: Duration::from_secs(60),
            failures_tracked_max: 10_000,
            tokens_max: 100,
        }
    }
}

/// PBKDF2 rounds that a stored secret may ask for: a secret made elsewhere must not be able to
/// bind a core for minutes.
pub(crate) const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;
/// Fewest rounds that RFC 7677 allows.
pub(crate) const SCRAM_ITERATIONS_MIN: u32 = 4096;

impl UsersOptions {
    /// Refuses settings that would be unsafe or cannot work, with 22023.
    pub(crate) fn check(&self) -> QueryResult<()> {
        let rounds = SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX;
        if !rounds.contains(&self.scram_iterations) {
            return Err(refuse("22023", "scram_iterations must be from 4096 to 1000000"));
        }
        if self.password_chars_min == 0 {
            return Err(refuse("22023", "password_chars_min must be at least 1"));
        }
        if self.hashes_at_once_max == 0 || self.verified_max == 0 || self.failures_tracked_max == 0
        {
            return Err(refuse("22023", "limits of log-in must be at least 1"));
        }
        Ok(())
    }
}

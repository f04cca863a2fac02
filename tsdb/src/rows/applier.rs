//! What turns the log into state.

use crate::error::Result;

/// Takes committed records of the log, in order, into some state.
///
/// Replay at start, the leader of a group commit and a consensus module all drive the same
/// implementation, so that they cannot come to different states. The contract:
///
/// - **Follows commit.** `apply` is called only for records that are durable (and, in a group of
///   nodes, agreed on). Nothing is ever taken back.
/// - **In order.** Indexes only rise from call to call. They may skip: records of kinds that the
///   applier has no part in are not shown to it.
/// - **Again is nothing.** A record at or below [`Applier::applied`] changes nothing; replay may
///   begin earlier than it must.
/// - **Deterministic.** The state after index `n` follows from the records up to `n` alone: no
///   clock, no randomness, no settings of this process, no iteration in hash order. Times, new ids
///   and verdicts are resolved before the record is written.
/// - **A refusal is a result.** A command that its preconditions refuse is applied as "nothing
///   changed", everywhere alike; it is not an `Err`.
/// - **An error is the end.** After an `Err` the state may lag behind the log and stays so until
///   it is opened anew and replayed; the caller turns read-only with the cause.
pub trait Applier: Send {
    /// Applies the record at `index`. `kind` and `payload` are those of the record's header.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] for a payload that no writer made, and whatever keeps the state
    /// from taking the record: never that a command was refused.
    fn apply(&mut self, index: u64, kind: u16, payload: &[u8]) -> Result<()>;

    /// Index of the last record that the state holds; 0 before the first.
    fn applied(&self) -> u64;
}

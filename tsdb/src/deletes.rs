//! Deletes: what a DELETE names, and what it leaves behind for older parts.
//!
//! A delete at position p hides the cells written before it: those of earlier commits and of
//! earlier commands of its own. Heads are filtered when it is applied; for parts it stays as a
//! [`Tombstone`] until merges have written them anew.

mod selection;
#[cfg(test)]
mod tests;
mod tombstone;

pub use selection::{Selection, kept, union};
pub use tombstone::{Hides, Tombstone};

//! Relational tables through sessions.

mod definitions;
mod histories;
mod rows;
mod transactions;

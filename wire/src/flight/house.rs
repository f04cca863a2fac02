//! What the calls of this door share: the engine and its users, and what is kept between calls.

use std::sync::Arc;

use management::Users;
use query::{Engine, QueryError, QueryResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::login::Login;
use super::options::FlightOptions;
use super::prepared::Prepared;
use super::running::Running;
use super::shelf::Shelf;
use super::tickets::Ticket;
use super::transaction::Transaction;
use super::{refusal, signals};
use crate::budget::{Budget, UNIT_BYTES};

/// A statement's syntax tree is about so many times as large as its text.
const TREE_FACTOR: usize = 8;
/// What is counted for a small thing that is kept, bytes.
const KEPT_BYTES_MIN: usize = 2 * UNIT_BYTES;

pub(super) struct House {
    pub engine: Arc<Engine>,
    pub users: Arc<Users>,
    pub options: FlightOptions,
    /// Memory of messages, kept statements and their parameters.
    pub memory: Arc<Budget>,
    pub logins_at_once: Arc<Semaphore>,
    pub logins: Shelf<Login>,
    pub tickets: Shelf<Ticket>,
    pub statements: Shelf<Prepared>,
    pub transactions: Shelf<Transaction>,
    pub running: Running,
}

/// Memory of something that is kept; given back when it is dropped.
pub(super) type Kept = OwnedSemaphorePermit;

impl House {
    pub(super) fn new(engine: Arc<Engine>, users: Arc<Users>, options: FlightOptions) -> House {
        // The largest message stands there as it came and as arrays.
        let memory = options.memory_bytes_max.max(3 * options.message_bytes_max);
        House {
            engine,
            users,
            memory: Arc::new(Budget::new("flight messages", memory)),
            logins_at_once: Arc::new(Semaphore::new(options.logins_max.max(1))),
            logins: Shelf::new("tokens", options.tokens_max),
            tickets: Shelf::new("tickets", options.tickets_max),
            statements: Shelf::new("prepared statements", options.statements_max),
            transactions: Shelf::new("transactions", options.transactions_max),
            running: Running::default(),
            options,
        }
    }

    /// Memory for something that is kept.
    ///
    /// # Errors
    /// `53200` if there is none.
    pub(super) fn keep(&self, bytes: usize) -> Result<Kept, Status> {
        let units = bytes.max(KEPT_BYTES_MIN).div_ceil(UNIT_BYTES);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.memory.try_acquire(units).map_err(|_| {
            let error = QueryError::new("53200", "no memory for another statement of this door");
            refusal::status(error.with_hint("Setting grpc_memory_bytes_max."))
        })
    }

    /// Memory for a statement that is kept.
    ///
    /// # Errors
    /// `53200` if there is none.
    pub(super) fn keep_statement(&self, text: &str) -> Result<Kept, Status> {
        self.keep(text.len() * TREE_FACTOR)
    }

    /// Forgets what is over: tokens, tickets, statements, transactions; ends what nobody reads.
    pub(super) fn sweep(&self) {
        let options = &self.options;
        self.logins.sweep(|login, _| !login.is_over(options.token_life));
        self.tickets.sweep(|ticket, _| !ticket.is_over());
        self.statements.sweep(|_, idle| idle < options.statement_idle);
        for _over in self.transactions.sweep(|open, _| !open.is_over(options.transaction_idle)) {
            tracing::info!("an idle transaction of Flight SQL is rolled back");
        }
        self.running.end_unread(options.unread_wait);
        let (tokens, tickets) = (self.logins.len(), self.tickets.len());
        signals::kept(tokens, tickets, self.statements.len(), self.transactions.len());
    }

    #[cfg(test)]
    pub(super) fn age_logins(&self, by: std::time::Duration) {
        self.logins.sweep(|login, _| {
            login.grow_older(by);
            true
        });
    }

    /// Ends whatever is kept or runs.
    pub(super) fn close(&self) {
        self.running.end_all();
        self.transactions.sweep(|_, _| false);
        self.statements.sweep(|_, _| false);
        self.tickets.sweep(|_, _| false);
        self.logins.sweep(|_, _| false);
    }

    /// `54000` for a text that is too long.
    pub(super) fn check_text(&self, sql: &str) -> QueryResult<()> {
        let limit = self.options.statement_bytes_max;
        if sql.len() > limit {
            return Err(QueryError::new(
                "54000",
                format!("a statement of more than {limit} bytes"),
            ));
        }
        Ok(())
    }
}

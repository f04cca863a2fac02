//! Implicit transaction blocks: the statements of one simple query commit together.
//!
//! As in Postgres, an error takes back what earlier statements of the same text have written, BEGIN
//! makes the block an ordinary one, and COMMIT and ROLLBACK end it, after which the next statement
//! opens another. Unlike Postgres, what was collected is committed early where the next statement
//! could not run in a block: before a definition, and before a read of a table written in it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;
use tsdb::types::TableId;

use super::Session;
use super::transaction::Transaction;
use crate::error::QueryResult;
use crate::insert::table_name;
use crate::statement::cursor::OfCursor;
use crate::statement::{Kind, Statement};

impl Session {
    /// Opens a block that no BEGIN has asked for, unless one is open.
    pub fn begin_implicit(&self) {
        let mut state = self.state.lock();
        if state.transaction.is_none() {
            let read_only = state.settings.is_on("default_transaction_read_only");
            let saved = state.settings.clone();
            state.transaction = Some(Transaction::new(read_only, saved, true));
        }
    }

    /// Commits what an implicit block has collected and ends it; leaves other blocks as they are.
    ///
    /// # Errors
    /// As COMMIT; nothing of the block is kept then.
    pub async fn end_implicit(&self) -> QueryResult<()> {
        if self.in_implicit_block() {
            self.commit(false).await?;
        }
        Ok(())
    }

    /// Forgets what an implicit block has collected; leaves other blocks as they are.
    pub fn abort_implicit(&self) {
        if self.in_implicit_block()
            && let Err(error) = self.rollback(false)
        {
            tracing::error!(%error, "rolling back an implicit block");
        }
    }

    fn in_implicit_block(&self) -> bool {
        self.state.lock().transaction.as_ref().is_some_and(Transaction::is_implicit)
    }

    /// Commits what an implicit block has collected where the statement needs it done.
    pub(super) async fn commit_before(&self, statement: &Statement) -> QueryResult<()> {
        let written = match &self.state.lock().transaction {
            Some(block) if block.is_implicit() => block.written(),
            _ => return Ok(()),
        };
        let needed = match statement.kind() {
            Kind::Query(_)
            | Kind::Explain { .. }
            | Kind::Insert(_)
            | Kind::Delete(_)
            | Kind::Update(_)
            | Kind::Merge(_)
                if written.is_empty() =>
            {
                false
            }
            Kind::Query(ast) => self.reads(statement, ast.as_ref(), &written),
            Kind::OfCursor(OfCursor::Declare { statement: query, .. }) => match query.kind() {
                Kind::Query(ast) if !written.is_empty() => {
                    self.reads(query, ast.as_ref(), &written)
                }
                _ => false,
            },
            Kind::Explain { statement: ast, .. } => self.reads(statement, ast.as_ref(), &written),
            Kind::Insert(insert) => match &insert.source {
                Some(query) => self.reads(statement, query.as_ref(), &written),
                None => false,
            },
            // They look for their rows in what is committed.
            Kind::Delete(delete) => self.reads(statement, delete.as_ref(), &written),
            Kind::Update(update) => self.reads(statement, update.as_ref(), &written),
            Kind::Merge(merge) => self.reads(statement, merge.as_ref(), &written),
            Kind::Copy(copy) => match copy.query() {
                Some(query) => match query.kind() {
                    Kind::Query(ast) => self.reads(query, ast.as_ref(), &written),
                    _ => false,
                },
                None => false,
            },
            kind => kind.stands_alone(),
        };
        match needed {
            true => self.commit_collected().await,
            false => Ok(()),
        }
    }

    /// Whether syntax names one of these tables.
    fn reads(
        &self,
        statement: &Statement,
        syntax: &impl ast::Visit,
        written: &std::collections::HashSet<TableId>,
    ) -> bool {
        // Walking a deep tree takes a large stack; an early commit is the cheaper answer.
        if statement.is_deep() {
            return true;
        }
        let snapshot = self.engine.db().snapshot();
        // What a view reads is known when it is bound; an early commit is the cheaper answer again.
        let views = self.engine.views().seen(&snapshot, self.number);
        let Ok(views) = views else { return true };
        let found = ast::visit_relations(syntax, |name| {
            let Ok(name) = table_name(name) else { return ControlFlow::Continue(()) };
            let reads = match snapshot.table(&name) {
                _ if views.find_temporary(&name).is_some() => true,
                Some(table) => written.contains(&table.schema().id),
                None => views.find(&name).is_some(),
            };
            match reads {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        found.is_break()
    }

    async fn commit_collected(&self) -> QueryResult<()> {
        let (commands, pending) = match &mut self.state.lock().transaction {
            Some(block) => block.take_collected(),
            None => return Ok(()),
        };
        self.commit_commands(commands, pending).await
    }
}

//! Names as schemas and `search_path` make them, and errors in which they are as they were written.

use super::Session;
use crate::error::{QueryError, QueryResult};
use crate::schema::resolve::{Resolver, check_made, readable, unmarked};
use crate::statement::Statement;

impl Session {
    /// The statement with names as schemas and `search_path` make them.
    pub(crate) fn resolved(&self, statement: &Statement) -> QueryResult<Statement> {
        if !statement.names_relations() {
            return Ok(statement.clone());
        }
        match Resolver::of(self)? {
            Some(resolver) => statement.resolved(&resolver),
            None => {
                check_made(statement)?;
                Ok(unmarked(statement).unwrap_or_else(|| statement.clone()))
            }
        }
    }

    /// An error with names as they were written.
    pub(super) fn readable(&self, error: QueryError) -> QueryError {
        let error = readable(error);
        match self.engine.schemas().any() {
            true => match self.engine.schemas().of(&self.engine.db().snapshot()) {
                Ok(schemas) => schemas.error(error),
                Err(_) => error,
            },
            false => error,
        }
    }
}

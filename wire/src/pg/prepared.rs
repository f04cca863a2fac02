//! PREPARE, EXECUTE and DEALLOCATE in SQL: they name the prepared statements of the protocol.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use query::{OfPrepared, Outcome, QueryError, QueryResult, TransactionStatus};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Backend, BackendSession, error};
use super::connection::{Connection, Failure, StatementOf};
use super::extended::Prepared;
use super::out;

/// A statement to run in the place of EXECUTE, and its parameters.
pub type Run<B> = (StatementOf<B>, Vec<ScalarValue>);

impl<S, B> Connection<'_, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    /// Does what the statement asks of prepared statements. Gives what is to run: the statement
    /// itself, the one that EXECUTE names, or nothing where all is done and told.
    pub(super) async fn resolve(
        &mut self,
        statement: &StatementOf<B>,
        params: &[ScalarValue],
    ) -> Result<Option<Run<B>>, Failure> {
        let Some(of) = B::Session::of_prepared(statement) else {
            return Ok(Some((statement.clone(), params.to_vec())));
        };
        if self.session.transaction() == TransactionStatus::Failed {
            let words = "current transaction is aborted, \
                         commands ignored until end of transaction block";
            return Err(error("25P02", words.to_owned()).into());
        }
        match of {
            OfPrepared::Deallocate(None) => {
                // The unnamed statement is the protocol's own.
                self.statements.retain(|name, _| name.is_empty());
                out::command_complete(&mut self.socket.out, "DEALLOCATE ALL");
                Ok(None)
            }
            OfPrepared::Deallocate(Some(name)) => {
                self.prepared(&name)?;
                self.statements.remove(&name);
                out::command_complete(&mut self.socket.out, "DEALLOCATE");
                Ok(None)
            }
            OfPrepared::Prepare { name, types, statement } => {
                self.check_new_statement(&name)?;
                let describing = self.session.describe(&statement, &types);
                let description = self.socket.watch(describing).await??;
                let prepared = Prepared::new(Some(statement), description, &[]);
                self.statements.insert(name, Arc::new(prepared));
                out::command_complete(&mut self.socket.out, "PREPARE");
                Ok(None)
            }
            OfPrepared::Execute { name, arguments } => {
                let prepared = self.prepared(&name)?;
                let Some(statement) = prepared.statement.clone() else {
                    return Err(error("26000", format!("\"{name}\" holds no statement")).into());
                };
                let params = match arguments {
                    Some(arguments) => self.arguments(&arguments).await?,
                    None => Vec::new(),
                };
                let types = &prepared.description.params;
                if params.len() != types.len() {
                    let words =
                        format!("wrong number of parameters for prepared statement \"{name}\"");
                    let detail = format!("Expected {}, got {}.", types.len(), params.len());
                    return Err(error("42601", words).with_detail(detail).into());
                }
                let params = params.iter().zip(types).map(|(value, to)| assign(value, to));
                Ok(Some((statement, params.collect::<QueryResult<Vec<_>>>()?)))
            }
        }
    }

    /// Values of the arguments: the one row of a SELECT.
    async fn arguments(&mut self, select: &StatementOf<B>) -> Result<Vec<ScalarValue>, Failure> {
        let outcome = self.socket.watch(self.session.execute(select, &[])).await??;
        let Outcome::Rows { mut stream, .. } = outcome else { return Ok(Vec::new()) };
        while let Some(batch) = self.socket.watch(stream.next()).await? {
            let batch = batch.map_err(QueryError::from)?;
            if batch.num_rows() > 0 {
                let values = batch
                    .columns()
                    .iter()
                    .map(|column| ScalarValue::try_from_array(column, 0).map_err(QueryError::from));
                return Ok(values.collect::<QueryResult<_>>()?);
            }
        }
        Ok(Vec::new())
    }
}

/// An argument as a value of the parameter's type.
fn assign(value: &ScalarValue, to: &DataType) -> QueryResult<ScalarValue> {
    if value.is_null() {
        return ScalarValue::try_from(to).map_err(QueryError::from);
    }
    if value.data_type() == *to {
        return Ok(value.clone());
    }
    value.cast_to(to).map_err(QueryError::from)
}

//! Prepared statements: described once, run with whatever was bound last.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    DoPutPreparedStatementResult,
};
use bytes::Bytes;
use parking_lot::Mutex;
use query::{Effect, Statement};
use tonic::Status;

use super::house::{House, Kept};
use super::incoming::Incoming;
use super::login::Caller;
use super::params::Bound;
use super::statement::{self, Work};
use super::tickets::schema_bytes;
use super::{refusal, rows};

pub(super) struct Prepared {
    statement: Statement,
    transaction: Option<Bytes>,
    bound: Mutex<Option<Arc<Bound>>>,
    _memory: Kept,
}

impl House {
    pub(super) async fn prepare(
        &self,
        caller: &Caller,
        asked: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let place = self.place(caller, asked.transaction_id.as_ref()).await?;
        let statement = self.read(&place, &asked.query)?;
        House::check_effect(caller, place.block.is_some(), &statement)?;
        let described = statement::describe(&place.session, &statement, &Bound::none()).await;
        let described = described.map_err(|error| place.refuse(error))?;
        drop(place);
        let dataset_schema = match &described.fields {
            Some(fields) => schema_bytes(&rows::told(fields))?,
            None => Bytes::new(),
        };
        let parameter_schema = match described.params.is_empty() {
            true => Bytes::new(),
            false => schema_bytes(&rows::told(&parameters(&described.params)))?,
        };
        let prepared = Prepared {
            _memory: self.keep_statement(statement.text())?,
            statement,
            transaction: asked.transaction_id,
            bound: Mutex::new(None),
        };
        let key = self.statements.put(caller.user(), prepared).map_err(refusal::status)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: Bytes::copy_from_slice(&key),
            dataset_schema,
            parameter_schema,
        })
    }

    pub(super) fn close_prepared(&self, caller: &Caller, handle: &[u8]) -> Result<(), Status> {
        let closed = self.statements.take(caller.user(), handle);
        closed.map(drop).ok_or_else(|| refusal::unknown("prepared statement"))
    }

    fn prepared(&self, caller: &Caller, handle: &[u8]) -> Result<Arc<Prepared>, Status> {
        let found = self.statements.get(caller.user(), handle);
        found.ok_or_else(|| refusal::unknown("prepared statement"))
    }

    /// The statement with what is bound to it.
    pub(super) fn work_of_prepared(&self, caller: &Caller, handle: &[u8]) -> Result<Work, Status> {
        let prepared = self.prepared(caller, handle)?;
        let bound = prepared.bound.lock().clone();
        Ok(self.work_with(caller, &prepared, bound))
    }

    /// Binds parameters for the runs to come.
    pub(super) async fn bind(
        &self,
        caller: &Caller,
        handle: Bytes,
        mut incoming: Incoming,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let prepared = self.prepared(caller, &handle)?;
        let bound = incoming.parameters(self).await?;
        *prepared.bound.lock() = bound.map(Arc::new);
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    /// Runs the statement as an update, with the parameters that come along or were bound before.
    pub(super) async fn update_prepared(
        &self,
        caller: &Caller,
        handle: &[u8],
        mut incoming: Incoming,
    ) -> Result<i64, Status> {
        let prepared = self.prepared(caller, handle)?;
        let given = incoming.parameters(self).await?.map(Arc::new);
        let bound = given.or_else(|| prepared.bound.lock().clone());
        self.update(caller, self.work_with(caller, &prepared, bound)).await
    }

    /// Runs a statement as an update; how many rows it changed.
    pub(super) async fn update(&self, caller: &Caller, work: Work) -> Result<i64, Status> {
        let place = self.place(caller, work.transaction.as_ref()).await?;
        House::check_effect(caller, place.block.is_some(), &work.statement)?;
        let mut call = self.running.enter(place, None);
        let described = statement::describe(call.session(), &work.statement, &work.bound).await;
        let described = described.map_err(|error| call.refuse(error))?;
        if described.fields.is_some() && work.statement.effect() == Effect::Reads {
            call.finish();
            let hint = "Run it as a query (CommandStatementQuery).";
            return Err(refusal::unsupported("a statement that gives rows, as an update,", hint));
        }
        let params = work.bound.cast(&described.params).map_err(|error| call.refuse(error))?;
        let changed = statement::change(caller, &mut call, &work.statement, &params).await;
        changed.map_err(|error| call.refuse(error))
    }
}

impl House {
    fn work_with(&self, caller: &Caller, prepared: &Prepared, bound: Option<Arc<Bound>>) -> Work {
        Work {
            statement: prepared.statement.clone(),
            transaction: self.transaction_now(caller, prepared.transaction.as_ref()),
            bound: bound.unwrap_or_else(|| Arc::new(Bound::none())),
        }
    }
}

/// Parameters as columns `$1`, `$2` …; of type null where the statement leaves the type open.
fn parameters(types: &[DataType]) -> Schema {
    let numbered = types.iter().enumerate();
    let fields = numbered.map(|(n, kind)| Field::new(format!("${}", n + 1), kind.clone(), true));
    Schema::new(fields.collect::<Vec<_>>())
}

//! DoAction: what is asked for by name.

use std::sync::Arc;

use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionEndSavepointRequest, ActionEndTransactionRequest, Any, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    RenewFlightEndpointRequest,
};
use prost::Message;
use tonic::Status;

use super::house::House;
use super::login::Caller;
use super::refusal;
use super::session_options::SetSessionOptionsRequest;

/// `CancelResult` of Flight SQL.
const CANCELLED: i32 = 1;

/// Every action with what it does.
const ACTIONS: [(&str, &str); 12] = [
    ("CreatePreparedStatement", "Prepares a statement"),
    ("ClosePreparedStatement", "Forgets a prepared statement"),
    ("BeginTransaction", "Begins a transaction"),
    ("EndTransaction", "Commits a transaction or rolls it back"),
    ("BeginSavepoint", "Sets a savepoint in a transaction"),
    ("EndSavepoint", "Releases a savepoint or rolls back to it"),
    ("CancelQuery", "Ends a query; deprecated for CancelFlightInfo"),
    ("CancelFlightInfo", "Ends what runs for the tickets of a FlightInfo, and forgets them"),
    ("RenewFlightEndpoint", "Begins the life of a ticket anew"),
    ("SetSessionOptions", "Sets settings of SQL for the log-in; null resets"),
    ("GetSessionOptions", "Tells the settings that the log-in has set"),
    ("CloseSession", "Forgets the log-in and its token"),
];

pub(super) fn list() -> impl Iterator<Item = ActionType> {
    ACTIONS
        .into_iter()
        .map(|(name, what)| ActionType { r#type: name.to_owned(), description: what.to_owned() })
}

impl House {
    /// Does it; the body of the result, if there is one.
    pub(super) async fn act(
        self: &Arc<House>,
        caller: &Caller,
        action: &Action,
    ) -> Result<Option<Vec<u8>>, Status> {
        let body = &action.body;
        Ok(match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let asked: ActionCreatePreparedStatementRequest = unpack(body)?;
                Some(packed(&self.prepare(caller, asked).await?))
            }
            "ClosePreparedStatement" => {
                let asked: ActionClosePreparedStatementRequest = unpack(body)?;
                self.close_prepared(caller, &asked.prepared_statement_handle)?;
                None
            }
            "BeginTransaction" => {
                let _nothing: ActionBeginTransactionRequest = unpack(body)?;
                let transaction_id = self.begin(caller).await?;
                Some(packed(&ActionBeginTransactionResult { transaction_id }))
            }
            "EndTransaction" => {
                let asked: ActionEndTransactionRequest = unpack(body)?;
                self.end(caller, &asked).await?;
                None
            }
            "BeginSavepoint" => {
                let asked: ActionBeginSavepointRequest = unpack(body)?;
                let savepoint_id = self.begin_savepoint(caller, &asked).await?;
                Some(packed(&ActionBeginSavepointResult { savepoint_id }))
            }
            "EndSavepoint" => {
                let asked: ActionEndSavepointRequest = unpack(body)?;
                self.end_savepoint(caller, &asked).await?;
                None
            }
            _ => return self.act_on_flights(caller, action),
        })
    }

    /// Actions of Flight itself, whose messages stand there without a wrapper.
    fn act_on_flights(&self, caller: &Caller, action: &Action) -> Result<Option<Vec<u8>>, Status> {
        let body = &action.body;
        Ok(Some(match action.r#type.as_str() {
            "CancelQuery" => {
                let asked: ActionCancelQueryRequest = unpack(body)?;
                self.cancel_known(caller, &decode(&asked.info, "FlightInfo")?)?;
                packed(&ActionCancelQueryResult { result: CANCELLED })
            }
            "CancelFlightInfo" => {
                let asked: CancelFlightInfoRequest = decode(body, "CancelFlightInfoRequest")?;
                self.cancel_known(caller, &asked.info.unwrap_or_default())?;
                CancelFlightInfoResult::new(CancelStatus::Cancelled).encode_to_vec()
            }
            "RenewFlightEndpoint" => {
                let asked: RenewFlightEndpointRequest = decode(body, "RenewFlightEndpointRequest")?;
                self.renew(caller, asked.endpoint.unwrap_or_default())?.encode_to_vec()
            }
            "SetSessionOptions" => {
                let asked: SetSessionOptionsRequest = decode(body, "SetSessionOptionsRequest")?;
                self.set_options(caller, asked)?.encode_to_vec()
            }
            "GetSessionOptions" => self.get_options(caller)?.encode_to_vec(),
            "CloseSession" => self.close_login(caller).encode_to_vec(),
            "CreatePreparedSubstraitPlan" => {
                return Err(refusal::unsupported("Substrait", "Send SQL."));
            }
            other => {
                let name: String = other.chars().take(60).collect();
                return Err(refusal::unsupported(
                    &format!("action {name:?}"),
                    "ListActions tells all.",
                ));
            }
        }))
    }

    fn cancel_known(&self, caller: &Caller, info: &FlightInfo) -> Result<(), Status> {
        match self.cancel(caller, info) {
            true => Ok(()),
            false => Err(refusal::unknown("ticket")),
        }
    }
}

fn decode<M: Message + Default>(body: &[u8], what: &str) -> Result<M, Status> {
    M::decode(body).map_err(|error| refusal::malformed(what, error))
}

fn unpack<M: ProstMessageExt>(body: &[u8]) -> Result<M, Status> {
    let any: Any = decode(body, "the action")?;
    let found = any.unpack().map_err(|error| refusal::malformed("the action", error))?;
    found.ok_or_else(|| {
        refusal::malformed("the action", format!("{} is not {}", any.type_url, M::type_url()))
    })
}

fn packed<M: ProstMessageExt>(message: &M) -> Vec<u8> {
    message.as_any().encode_to_vec()
}

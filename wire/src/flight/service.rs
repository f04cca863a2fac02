//! The calls of Flight, each handed to the file that knows it.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command, DoPutUpdateResult};
use arrow_flight::{
    Action, ActionType, BasicAuth, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint,
    FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::body::Held;
use super::house::House;
use super::incoming::Incoming;
use super::login::{Caller, Visitor, text};
use super::params::Bound;
use super::rows::RowStream;
use super::statement::{self, Work};
use super::tickets::{schema_bytes, with_schema};
use super::{actions, metadata, refusal, rows};
use crate::http::login::Credentials;

/// The calls, with the house behind them.
#[derive(Clone)]
pub(super) struct Service {
    pub house: Arc<House>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn once<T: Send + 'static>(answer: T) -> Response<Answers<T>> {
    Response::new(Box::pin(stream::iter([Ok(answer)])))
}

/// Who calls; put there by the gate.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(refusal::unauthenticated)
}

/// The command of a descriptor.
fn command(descriptor: &FlightDescriptor) -> Result<Command, Status> {
    if descriptor.r#type != DescriptorType::Cmd as i32 {
        return Err(refusal::unsupported(
            "a flight named by a path",
            "Send a command of Flight SQL.",
        ));
    }
    decode_command(&descriptor.cmd)
}

fn decode_command(bytes: &[u8]) -> Result<Command, Status> {
    let any = Any::decode(bytes).map_err(|error| refusal::malformed("the command", error))?;
    Command::try_from(any).map_err(|error| refusal::malformed("the command", error))
}

fn no_command(command: &Command) -> Status {
    let name: String = command.type_url().chars().take(120).collect();
    refusal::unsupported(&format!("command {name:?} for this call"), "")
}

impl Service {
    /// A statement with what running it needs; `None` if the command is another.
    async fn work(&self, caller: &Caller, command: &Command) -> Result<Option<Work>, Status> {
        match command {
            Command::CommandStatementQuery(asked) => {
                let transaction = asked.transaction_id.as_ref();
                self.work_of(caller, &asked.query, transaction).await.map(Some)
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = &asked.prepared_statement_handle;
                self.house.work_of_prepared(caller, handle).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn work_of(
        &self,
        caller: &Caller,
        sql: &str,
        transaction: Option<&Bytes>,
    ) -> Result<Work, Status> {
        let place = self.house.place(caller, transaction).await?;
        let statement = self.house.read(&place, sql)?;
        Ok(Work {
            statement,
            transaction: transaction.filter(|id| !id.is_empty()).cloned(),
            bound: Arc::new(Bound::none()),
        })
    }

    async fn put(
        &self,
        caller: &Caller,
        command: Command,
        incoming: Incoming,
    ) -> Result<Vec<u8>, Status> {
        let house = &self.house;
        let record_count = match command {
            Command::CommandStatementUpdate(asked) => {
                let transaction = asked.transaction_id.as_ref();
                let work = self.work_of(caller, &asked.query, transaction).await?;
                house.update(caller, work).await?
            }
            Command::CommandPreparedStatementUpdate(asked) => {
                house.update_prepared(caller, &asked.prepared_statement_handle, incoming).await?
            }
            Command::CommandStatementIngest(asked) => house.ingest(caller, asked, incoming).await?,
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = asked.prepared_statement_handle;
                return Ok(house.bind(caller, handle, incoming).await?.encode_to_vec());
            }
            Command::CommandStatementSubstraitPlan(_) => {
                return Err(refusal::unsupported("Substrait", "Send SQL."));
            }
            other => return Err(no_command(&other)),
        };
        Ok(DoPutUpdateResult { record_count }.encode_to_vec())
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = RowStream;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    /// Basic in the header, or the message `BasicAuth` of older clients, for a token.
    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(refusal::unauthenticated)?;
        let (user, password) = match visitor.shown.as_deref() {
            Some(Credentials::Password { user, password }) => (user.clone(), password.clone()),
            Some(Credentials::Token(_)) => return Err(refusal::unauthenticated()),
            None => {
                let mut messages = request.into_inner();
                let wait = tokio::time::timeout(self.house.options.login_wait, messages.message());
                let Ok(Ok(Some(message))) = wait.await else {
                    return Err(refusal::unauthenticated());
                };
                let sent = BasicAuth::decode(message.payload.as_ref());
                let sent = sent.map_err(|_| refusal::unauthenticated())?;
                (sent.username, sent.password)
            }
        };
        let key = self.house.open_login(user, password, visitor.source).await?;
        let token = text(&key);
        let payload = Bytes::from(token.clone());
        let mut response = once(HandshakeResponse { protocol_version: 0, payload });
        let bearer = format!("Bearer {token}").parse();
        let bearer = bearer.map_err(|error| refusal::internal("writing a token", error))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn list_flights(
        &self,
        _request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(refusal::unsupported("ListFlights", "Ask for tables by CommandGetTables."))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = caller(&request)?;
        let descriptor = request.into_inner();
        let command = command(&descriptor)?;
        if let Some(schema) = metadata::schema(&command) {
            let ticket = Ticket::new(command.into_any().encode_to_vec());
            let info = FlightInfo::new()
                .with_descriptor(descriptor)
                .with_endpoint(FlightEndpoint::new().with_ticket(ticket));
            return Ok(Response::new(with_schema(info, &schema)?));
        }
        match self.work(&caller, &command).await? {
            Some(work) => Ok(Response::new(self.house.info(&caller, work, descriptor).await?)),
            None => Err(no_command(&command)),
        }
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        let hint = "GetFlightInfo answers at once; the statement runs when its ticket is read.";
        Err(refusal::unsupported("PollFlightInfo", hint))
    }

    /// What a command would give; nothing runs.
    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let caller = caller(&request)?;
        let command = command(request.get_ref())?;
        let schema = match (metadata::schema(&command), self.work(&caller, &command).await?) {
            (Some(schema), _) => schema,
            (None, Some(work)) => {
                let place = self.house.place(&caller, work.transaction.as_ref()).await?;
                let described =
                    statement::describe(&place.session, &work.statement, &work.bound).await;
                let described = described.map_err(|error| place.refuse(error))?;
                let fields = described.fields.unwrap_or_else(|| Arc::new(Schema::empty()));
                Arc::new(rows::told(&fields))
            }
            (None, None) => return Err(no_command(&command)),
        };
        Ok(Response::new(SchemaResult { schema: schema_bytes(&schema)? }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = caller(&request)?;
        let rows = match decode_command(&request.get_ref().ticket)? {
            Command::TicketStatementQuery(ticket) => {
                self.house.read_ticket(&caller, &ticket.statement_handle).await?
            }
            question => self.house.metadata(&caller, question).await?,
        };
        Ok(Response::new(rows))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = caller(&request)?;
        let held = request.extensions().get::<Arc<Held>>().cloned();
        let held = held.unwrap_or_else(|| Arc::new(Held::new(self.house.memory.clone())));
        let wait_max = self.house.options.unread_wait;
        let (descriptor, incoming) = Incoming::open(request.into_inner(), held, wait_max).await?;
        let command = command(&descriptor)?;
        let result = self.put(&caller, command, incoming).await?;
        Ok(once(PutResult { app_metadata: result.into() }))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(refusal::unsupported("DoExchange", "Flight SQL has no use for it."))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = caller(&request)?;
        match self.house.act(&caller, request.get_ref()).await? {
            Some(body) => Ok(once(arrow_flight::Result { body: body.into() })),
            None => Ok(Response::new(Box::pin(stream::empty()))),
        }
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        caller(&request)?;
        Ok(Response::new(Box::pin(stream::iter(actions::list().map(Ok)))))
    }
}

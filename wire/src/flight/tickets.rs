//! Tickets: what `GetFlightInfo` says of a statement, and `DoGet`, which runs it.
//!
//! A statement that gives rows runs when its ticket is read, so that nothing is held for tickets
//! that never are; one that only reads may be read again until the ticket expires. A statement that
//! gives no rows has no ticket: it runs in `GetFlightInfo`, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::{Any, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket as WireTicket};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use prost_types::Timestamp;
use query::Effect;
use tonic::Status;

use super::house::{House, Kept};
use super::login::Caller;
use super::refusal;
use super::rows::{self, RowStream};
use super::statement::{self, Work};

pub(super) struct Ticket {
    work: Work,
    /// What the client was told of the rows.
    schema: SchemaRef,
    until: Mutex<Instant>,
    /// Whether it may be read once only: the statement changes something.
    once: bool,
    read: AtomicBool,
    _memory: Kept,
}

impl Ticket {
    pub(super) fn is_over(&self) -> bool {
        *self.until.lock() <= Instant::now()
    }
}

impl House {
    /// What a statement will give, and the ticket for it; a statement without rows has run then.
    pub(super) async fn info(
        &self,
        caller: &Caller,
        work: Work,
        descriptor: FlightDescriptor,
    ) -> Result<FlightInfo, Status> {
        let place = self.place(caller, work.transaction.as_ref()).await?;
        House::check_effect(caller, place.block.is_some(), &work.statement)?;
        let mut call = self.running.enter(place, None);
        let described = statement::describe(call.session(), &work.statement, &work.bound).await;
        let described = described.map_err(|error| call.refuse(error))?;
        let params = work.bound.cast(&described.params).map_err(|error| call.refuse(error))?;
        let info = FlightInfo::new().with_descriptor(descriptor);
        let Some(fields) = described.fields else {
            let count = statement::change(caller, &mut call, &work.statement, &params).await;
            let count = count.map_err(|error| call.refuse(error))?;
            return Ok(with_schema(info, &Schema::empty())?.with_total_records(count));
        };
        call.finish();
        drop((call, params));
        let schema = Arc::new(rows::told(&fields));
        let (key, until) = self.put_ticket(caller, work, schema.clone())?;
        let mut endpoint = FlightEndpoint::new().with_ticket(wire_ticket(&key));
        if let Some(until) = until {
            endpoint = endpoint.with_expiration_time(until);
        }
        Ok(with_schema(info, &schema)?.with_endpoint(endpoint))
    }

    fn put_ticket(
        &self,
        caller: &Caller,
        work: Work,
        schema: SchemaRef,
    ) -> Result<(Vec<u8>, Option<Timestamp>), Status> {
        let life = self.options.ticket_life;
        let ticket = Ticket {
            once: work.statement.effect() != Effect::Reads,
            until: Mutex::new(Instant::now() + life),
            read: AtomicBool::new(false),
            _memory: self.keep_statement(work.statement.text())?,
            work,
            schema,
        };
        let until = (!ticket.once).then(|| expiry(life));
        let key = self.tickets.put(caller.user(), ticket).map_err(refusal::status)?;
        Ok((key.to_vec(), until))
    }

    /// Runs what a ticket stands for.
    pub(super) async fn read_ticket(
        self: &Arc<House>,
        caller: &Caller,
        handle: &[u8],
    ) -> Result<RowStream, Status> {
        let unknown = || refusal::unknown("ticket");
        let ticket = self.tickets.get(caller.user(), handle).ok_or_else(unknown)?;
        if ticket.is_over() || (ticket.once && ticket.read.swap(true, Ordering::AcqRel)) {
            return Err(unknown());
        }
        let work = &ticket.work;
        let place = self.place(caller, work.transaction.as_ref()).await?;
        let call = self.running.enter(place, handle.try_into().ok());
        let described = statement::describe(call.session(), &work.statement, &work.bound).await;
        let params = described.and_then(|described| work.bound.cast(&described.params));
        let params = params.map_err(|error| call.refuse(error))?;
        rows::start(call, ticket.schema.clone(), work.statement.clone(), params).await
    }

    /// Ends what runs for the tickets of a FlightInfo and forgets them; whether there was any.
    pub(super) fn cancel(&self, caller: &Caller, info: &FlightInfo) -> bool {
        let mut found = false;
        for endpoint in &info.endpoint {
            let Some(handle) = endpoint.ticket.as_ref().and_then(handle_of) else { continue };
            // Only the owner's ticket ends what runs for it.
            if self.tickets.take(caller.user(), &handle).is_some() {
                found = true;
                if let Ok(key) = handle.as_ref().try_into() {
                    self.running.cancel(key);
                }
            }
        }
        found
    }

    /// Begins the life of a ticket anew.
    pub(super) fn renew(
        &self,
        caller: &Caller,
        mut endpoint: FlightEndpoint,
    ) -> Result<FlightEndpoint, Status> {
        let handle = endpoint.ticket.as_ref().and_then(handle_of);
        let ticket = handle.and_then(|handle| self.tickets.get(caller.user(), &handle));
        let ticket = ticket.filter(|ticket| !ticket.is_over() && !ticket.once);
        let ticket = ticket.ok_or_else(|| refusal::unknown("ticket"))?;
        let life = self.options.ticket_life;
        *ticket.until.lock() = Instant::now() + life;
        endpoint.expiration_time = Some(expiry(life));
        Ok(endpoint)
    }
}

fn expiry(life: Duration) -> Timestamp {
    let at = (SystemTime::now() + life).duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanos: i32::try_from(at.subsec_nanos()).unwrap_or(0) }
}

fn wire_ticket(key: &[u8]) -> WireTicket {
    let handle = TicketStatementQuery { statement_handle: Bytes::copy_from_slice(key) };
    WireTicket::new(handle.as_any().encode_to_vec())
}

fn handle_of(ticket: &WireTicket) -> Option<Bytes> {
    let any = Any::decode(ticket.ticket.as_ref()).ok()?;
    Some(any.unpack::<TicketStatementQuery>().ok()??.statement_handle)
}

/// The info with a schema.
pub(super) fn with_schema(info: FlightInfo, schema: &Schema) -> Result<FlightInfo, Status> {
    info.try_with_schema(schema).map_err(|error| refusal::internal("encoding a schema", error))
}

/// A schema as `GetSchema` and prepared statements tell it.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    Ok(with_schema(FlightInfo::new(), schema)?.schema)
}

//! Rows on their way to the client: a batch is made when the client took the one before.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{Stream, StreamExt, TryStreamExt};
use query::{QueryError, QueryResult, Statement};
use tonic::Status;

use super::params::Typed;
use super::running::Call;
use super::{refusal, signals, statement};
use crate::views::without_views;

pub(super) type RowStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// The schema that rows of `fields` are told with before they come. Planning once and running later
/// may know differently well what cannot be null, and clients want what they were told: all may.
pub(super) fn told(fields: &Schema) -> Schema {
    let plain = without_views(fields);
    Schema::new(plain.fields().iter().map(loose).collect::<Vec<_>>())
}

fn loose(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::List(item) => DataType::List(loose(item)),
        DataType::LargeList(item) => DataType::LargeList(loose(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(loose(item), *size),
        kind => kind.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind).with_nullable(true))
}

/// Rows as they were told.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> QueryResult<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let message = "the columns of the result have changed since they were told";
        return Err(QueryError::new("0A000", message).with_hint("Ask for the ticket again."));
    }
    let pairs = batch.columns().iter().zip(schema.fields());
    // A value that does not fit is an error, not NULL.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = pairs.map(|(array, field)| match array.data_type() == field.data_type() {
        true => Ok(array.clone()),
        false => cast_with_options(array, field.data_type(), &options),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// A statement whose rows are being read, one row of parameters after the other.
struct Reading {
    /// Goes first: dropping it ends its query without harm to the transaction, whose turn is given
    /// on after that.
    stream: SendableRecordBatchStream,
    schema: SchemaRef,
    statement: Statement,
    params: Typed,
    /// The row of parameters that runs.
    row: usize,
    call: Call,
}

impl Reading {
    async fn next(&mut self) -> QueryResult<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.stream.next().await {
                return Ok(Some(fit(&batch?, &self.schema)?));
            }
            self.row += 1;
            if self.row >= self.params.rows() {
                return Ok(None);
            }
            self.call.begin();
            self.stream =
                statement::rows(&self.call, &self.statement, &self.params, self.row).await?;
            self.call.finish();
        }
    }
}

/// Starts a statement; most of its errors are the call's then, and not in mid-stream.
pub(super) async fn start(
    mut call: Call,
    schema: SchemaRef,
    statement: Statement,
    params: Typed,
) -> Result<RowStream, Status> {
    if params.rows() == 0 {
        call.finish();
        let error = QueryError::new("08P01", "no row of parameters is bound");
        return Err(call.refuse(error));
    }
    let started = statement::rows(&call, &statement, &params, 0).await;
    let stream = match started {
        Ok(started) => started,
        Err(error) => {
            call.finish();
            return Err(call.refuse(error));
        }
    };
    call.finish();
    let mut reading = Reading { stream, schema: schema.clone(), statement, params, row: 0, call };
    let first = reading.next().await.map_err(|error| reading.call.refuse(error))?;
    let batches = futures::stream::unfold(Some((reading, first)), |state| async move {
        let (mut reading, first) = state?;
        let batch = match first {
            Some(batch) => batch,
            None => {
                reading.call.asked();
                match reading.next().await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return None,
                    Err(error) => {
                        return Some((Err(reading.call.refuse(error).into()), None));
                    }
                }
            }
        };
        signals::rows_sent(batch.num_rows());
        reading.call.gave();
        Some((Ok(batch), Some((reading, None))))
    });
    Ok(encode(schema, batches))
}

/// Batches as messages of Flight, schema first.
fn encode(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> RowStream {
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(batches);
    Box::pin(messages.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        error => refusal::internal("encoding rows", error),
    }))
}

/// Batches that are there already, or are made one by one.
pub(super) fn of_batches(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> RowStream {
    encode(schema, batches.map_err(FlightError::from))
}

//! Rows as JSON, NDJSON, CSV or an Arrow stream, written piece by piece.

mod cell;

#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use cell::Column;
pub(in crate::http) use cell::json_text;

use crate::views::{cast_views, without_views};

/// Rows of one Arrow message: what is sent at once stays small.
const ARROW_ROWS: usize = 1024;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `{"columns":[{"name","type"}],"rows":[[…]]}`
    Json,
    /// One object a line.
    Ndjson,
    /// RFC 4180 with a header; NULL is empty, an empty text is `""`.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    pub fn from_name(name: &str) -> Option<Format> {
        match name {
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "csv" => Some(Format::Csv),
            "arrow" => Some(Format::Arrow),
            _ => None,
        }
    }

    /// From lower case.
    pub fn from_media_type(kind: &str) -> Option<Format> {
        match kind {
            "application/json" | "*/*" | "application/*" => Some(Format::Json),
            "application/x-ndjson" | "application/jsonl" => Some(Format::Ndjson),
            "text/csv" | "application/csv" => Some(Format::Csv),
            "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
            _ => None,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Writes rows of one schema in one form.
pub(super) struct Encoder {
    schema: SchemaRef,
    form: Form,
}

enum Form {
    Json {
        first: bool,
    },
    /// `"name":` of each column.
    Ndjson {
        names: Vec<Vec<u8>>,
    },
    Csv,
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub fn new(format: Format, schema: SchemaRef) -> Result<Encoder, ArrowError> {
        let form = match format {
            Format::Json => Form::Json { first: true },
            Format::Ndjson => Form::Ndjson {
                names: schema.fields().iter().map(|field| json_name(field.name())).collect(),
            },
            Format::Csv => Form::Csv,
            Format::Arrow => {
                let writer = StreamWriter::try_new(Vec::new(), &without_views(&schema))?;
                Form::Arrow(Box::new(writer))
            }
        };
        Ok(Encoder { schema, form })
    }

    /// What comes before the first row.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match &mut self.form {
            Form::Json { .. } => json_head(&self.schema, out),
            Form::Ndjson { .. } => {}
            Form::Csv => {
                for (n, field) in self.schema.fields().iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    cell::csv_text(field.name(), out);
                }
                out.extend_from_slice(b"\r\n");
            }
            // The writer has written the schema by itself.
            Form::Arrow(writer) => out.append(writer.get_mut()),
        }
        Ok(())
    }

    /// Writes rows of `batch` from number `from` on until `out` has `until` bytes; the number of
    /// the next row.
    pub fn rows(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, ArrowError> {
        if let Form::Arrow(writer) = &mut self.form {
            let rows = ARROW_ROWS.min(batch.num_rows() - from);
            writer.write(&cast_views(&batch.slice(from, rows))?)?;
            out.append(writer.get_mut());
            return Ok(from + rows);
        }
        let columns = batch.columns().iter().map(|array| Column::new(array.as_ref()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut row = from;
        while row < batch.num_rows() && out.len() < until {
            match &mut self.form {
                Form::Json { first } => {
                    if !std::mem::take(first) {
                        out.push(b',');
                    }
                    json_row(&columns, row, out)?;
                }
                Form::Ndjson { names } => ndjson_row(names, &columns, row, out)?,
                Form::Csv | Form::Arrow(_) => csv_row(&columns, row, out)?,
            }
            row += 1;
        }
        Ok(row)
    }

    /// What comes after the last row.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match &mut self.form {
            Form::Json { .. } => out.extend_from_slice(b"]}\n"),
            Form::Ndjson { .. } | Form::Csv => {}
            Form::Arrow(writer) => {
                writer.finish()?;
                out.append(writer.get_mut());
            }
        }
        Ok(())
    }
}

fn json_head(schema: &Schema, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"columns\":[");
    for (n, field) in schema.fields().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        cell::json_text(field.name(), out);
        out.extend_from_slice(b",\"type\":");
        cell::json_text(&type_name(field.data_type()), out);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"rows\":[");
}

fn json_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    cell::json_text(name, &mut bytes);
    bytes.push(b':');
    bytes
}

fn json_row(columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    out.push(b'[');
    for (n, column) in columns.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        column.json(row, out)?;
    }
    out.push(b']');
    Ok(())
}

fn ndjson_row(
    names: &[Vec<u8>],
    columns: &[Column],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    out.push(b'{');
    for (n, (name, column)) in names.iter().zip(columns).enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        column.json(row, out)?;
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn csv_row(columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    for (n, column) in columns.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        column.csv(row, out)?;
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Postgres' name of a type.
pub(crate) fn type_name(kind: &DataType) -> String {
    let name = match kind {
        DataType::Null => "unknown",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::UInt16 | DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 => "bigint",
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Dictionary(_, value) => return type_name(value),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            return format!("{}[]", type_name(field.data_type()));
        }
        _ => "text",
    };
    name.to_owned()
}

/// Digits of a fraction of a second that a unit can hold.
fn fraction_digits(unit: &TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

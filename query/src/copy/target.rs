//! Where the rows of a COPY go: a time-series table batch by batch, a relational one as a whole.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tsdb::types::TableSchema;

use super::sink::{Full, SeriesSink};
use super::{columns, shown};
use crate::error::{QueryError, QueryResult};
use crate::relational::CopyRows;
use crate::session::Session;
use crate::uuid::UUID_TYPE;

/// Takes rows cell by cell.
pub(super) enum Sink {
    Series(Box<SeriesSink>),
    Relation(Box<Relation>),
}

/// Rows of a relational table.
pub(super) struct Relation {
    rows: CopyRows,
    line: u64,
}

/// Rows that come as columns, made ready for the table.
pub(super) enum Columns {
    Series(Vec<columns::Column>),
    Relation(Vec<ArrayRef>),
}

impl Sink {
    /// The columns of rows as the table takes them.
    ///
    /// # Errors
    /// `22P04` for another number of columns; what is wrong with a value, with its row.
    pub(super) fn assign(&mut self, given: &[ArrayRef]) -> QueryResult<Columns> {
        if given.len() != self.columns() {
            let (given, wanted) = (given.len(), self.columns());
            let message = format!("{given} columns were given, the COPY has {wanted}");
            return Err(QueryError::new("22P04", message));
        }
        Ok(match self {
            Sink::Series(sink) => Columns::Series(sink.assign(given)?),
            Sink::Relation(relation) => {
                let given = given.iter().map(crate::write_out).collect::<QueryResult<Vec<_>>>()?;
                for (at, array) in given.iter().enumerate() {
                    relation.check_type(at, array.data_type())?;
                }
                Columns::Relation(given)
            }
        })
    }

    /// Takes rows from number `from` up to `until`, or until the batch under way is full; the
    /// number of the next.
    ///
    /// # Errors
    /// What is wrong with a value, with its row.
    pub(super) fn rows(
        &mut self,
        columns: &Columns,
        from: usize,
        until: usize,
    ) -> QueryResult<usize> {
        match (self, columns) {
            (Sink::Series(sink), Columns::Series(columns)) => sink.rows(columns, from, until),
            (Sink::Relation(relation), Columns::Relation(columns)) => {
                relation.rows(columns, from, until)
            }
            _ => Err(QueryError::internal("columns of another kind of table")),
        }
    }

    /// The time-series table that the rows are for, if they are for one.
    pub(super) fn table(&self) -> Option<&Arc<TableSchema>> {
        match self {
            Sink::Series(sink) => Some(sink.table()),
            Sink::Relation(_) => None,
        }
    }

    /// Rows since the COPY began.
    pub(super) fn rows_in_all(&self) -> u64 {
        match self {
            Sink::Series(sink) => sink.rows_in_all(),
            Sink::Relation(relation) => relation.rows.count(),
        }
    }

    pub(super) fn relation(rows: CopyRows) -> Sink {
        Sink::Relation(Box::new(Relation { rows, line: 0 }))
    }

    /// Columns of each row.
    pub(super) fn columns(&self) -> usize {
        match self {
            Sink::Series(sink) => sink.columns(),
            Sink::Relation(relation) => relation.rows.columns(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        match self {
            Sink::Series(sink) => sink.is_full(),
            Sink::Relation(_) => false,
        }
    }

    /// Goes on by lines of the input (rows, in the binary format), for errors.
    pub(super) fn next_line(&mut self, lines: u64) {
        match self {
            Sink::Series(sink) => sink.next_line(lines),
            Sink::Relation(relation) => relation.line += lines,
        }
    }

    /// The batch under way, if it holds rows that can be written by themselves.
    pub(super) fn take(&mut self) -> Option<Full> {
        match self {
            Sink::Series(sink) => sink.take(),
            Sink::Relation(_) => None,
        }
    }

    /// Writes what waits for the last row; the number of rows in all comes back.
    pub(super) async fn finish(&mut self, session: &Session) -> QueryResult<u64> {
        match self {
            Sink::Series(sink) => Ok(sink.rows_in_all()),
            Sink::Relation(relation) => relation.rows.finish(session).await,
        }
    }

    /// Takes a cell in text; `None` is NULL.
    pub(super) fn text(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        match self {
            Sink::Series(sink) => sink.text(at, cell),
            Sink::Relation(relation) if at >= relation.rows.columns() => {
                let error = QueryError::new("22P04", "extra data after last expected column");
                Err(relation.at_line(error))
            }
            Sink::Relation(relation) => {
                let done = relation.rows.text(at, cell);
                done.map_err(|error| relation.at_cell(error, at, cell))
            }
        }
    }

    /// Takes a cell in Postgres' binary form; `None` is NULL.
    pub(super) fn binary(&mut self, at: usize, cell: Option<&[u8]>) -> QueryResult<()> {
        match self {
            Sink::Series(sink) => sink.binary(at, cell),
            Sink::Relation(relation) => {
                let done = relation.rows.binary(at, cell);
                done.map_err(|error| relation.at_cell(error, at, None))
            }
        }
    }

    /// Ends a row of `count` cells.
    pub(super) fn end_row(&mut self, count: usize) -> QueryResult<()> {
        match self {
            Sink::Series(sink) => sink.end_row(count),
            Sink::Relation(relation) if count < relation.rows.columns() => {
                let message = format!("missing data for column \"{}\"", relation.rows.name(count));
                Err(relation.at_line(QueryError::new("22P04", message)))
            }
            Sink::Relation(relation) => {
                let done = relation.rows.end_row();
                done.map_err(|error| relation.at_line(error))
            }
        }
    }

    /// Compares the names of a header line with the columns.
    pub(super) fn check_header<'a>(
        &self,
        names: impl Iterator<Item = &'a [u8]>,
    ) -> QueryResult<()> {
        let relation = match self {
            Sink::Series(sink) => return sink.check_header(names),
            Sink::Relation(relation) => relation,
        };
        let expected: Vec<&str> =
            (0..relation.rows.columns()).map(|at| relation.rows.name(at)).collect();
        if names.eq(expected.iter().map(|name| name.as_bytes())) {
            return Ok(());
        }
        let message = "the names of the header line are not those of the columns";
        let error = QueryError::new("22P04", message)
            .with_hint(format!("The columns are {}.", expected.join(", ")));
        Err(relation.at_line(error))
    }

    /// The error with the line it is in.
    pub(super) fn at_line(&self, error: QueryError) -> QueryError {
        match self {
            Sink::Series(sink) => sink.at_line(error),
            Sink::Relation(relation) => relation.at_line(error),
        }
    }
}

impl Relation {
    /// Sees to it that texts of a type mean its values to a column.
    fn check_type(&self, at: usize, of: &DataType) -> QueryResult<()> {
        let readable = match of {
            DataType::Null
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Date32
            | DataType::Timestamp(..)
            | DataType::Decimal128(..) => !self.rows.is_bytes(at),
            DataType::Boolean => self.rows.is_bool(at),
            of if *of == UUID_TYPE && self.rows.is_uuid(at) => true,
            of => is_bytes(of) && self.rows.is_bytes(at),
        };
        if readable {
            return Ok(());
        }
        let message = format!("values of Arrow's {of} for column \"{}\"", self.rows.name(at));
        Err(self.placed(QueryError::unsupported(message), format!("COPY {}", self.rows.def.name)))
    }

    /// Takes rows that come as columns, by way of their texts, which every type here reads.
    fn rows(&mut self, columns: &[ArrayRef], from: usize, until: usize) -> QueryResult<usize> {
        let options = FormatOptions::default().with_display_error(false);
        let shown = columns.iter().map(|array| ArrayFormatter::try_new(array.as_ref(), &options));
        let shown = shown.collect::<std::result::Result<Vec<_>, ArrowError>>()?;
        let mut text = String::new();
        for row in from..until {
            self.line += 1;
            for (at, (array, formatter)) in columns.iter().zip(&shown).enumerate() {
                text.clear();
                let null = array.is_null(row) || *array.data_type() == DataType::Null;
                let mut cell = None;
                if !null {
                    if is_bytes(array.data_type()) && !self.rows.is_uuid(at) {
                        text.push_str("\\x");
                    }
                    write!(text, "{}", formatter.value(row)).map_err(|_| {
                        let error = QueryError::new("22P04", "a value that cannot be read");
                        self.at_cell(error, at, None)
                    })?;
                    cell = Some(text.as_bytes());
                }
                let done = self.rows.text(at, cell);
                done.map_err(|error| self.at_cell(error, at, cell))?;
            }
            let done = self.rows.end_row();
            done.map_err(|error| self.at_line(error))?;
        }
        Ok(until)
    }

    fn at_line(&self, error: QueryError) -> QueryError {
        self.placed(error, format!("COPY {}, line {}", self.rows.def.name, self.line))
    }

    fn at_cell(&self, error: QueryError, at: usize, cell: Option<&[u8]>) -> QueryError {
        let (table, column) = (&self.rows.def.name, self.rows.name(at));
        let mut place = format!("COPY {table}, line {}, column {column}", self.line);
        if let Some(cell) = cell {
            place.push_str(&format!(": \"{}\"", shown(cell)));
        }
        self.placed(error, place)
    }

    fn placed(&self, error: QueryError, place: String) -> QueryError {
        match error.detail {
            Some(_) => error,
            None => error.with_detail(place),
        }
    }
}

/// Whether an Arrow type holds bytes, which are shown in hexadecimal digits.
fn is_bytes(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    )
}

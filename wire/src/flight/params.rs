//! Parameters that were bound as Arrow columns, as values of the types that a statement asks for.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::scalar::ScalarValue;
use query::{QueryError, QueryResult};

use super::house::Kept;
use crate::http::encode::type_name;

/// Rows of parameters of one call.
const ROWS_MAX: usize = 1_000_000;

/// Rows of parameters; the statement runs once for each.
pub(super) struct Bound {
    batches: Vec<RecordBatch>,
    rows: usize,
    _memory: Option<Kept>,
}

impl Bound {
    /// # Errors
    /// `54000` for too many rows.
    pub(super) fn new(batches: Vec<RecordBatch>, memory: Option<Kept>) -> QueryResult<Bound> {
        let rows = batches.iter().fold(0_usize, |sum, b| sum.saturating_add(b.num_rows()));
        if rows > ROWS_MAX {
            let message = format!("more than {ROWS_MAX} rows of parameters");
            return Err(QueryError::new("54000", message).with_hint("Ingest them instead."));
        }
        Ok(Bound { batches, rows, _memory: memory })
    }

    /// One run without parameters.
    pub(super) fn none() -> Bound {
        Bound { batches: Vec::new(), rows: 1, _memory: None }
    }

    /// Types of the columns, for what the statement leaves open.
    pub(super) fn types(&self) -> Vec<Option<DataType>> {
        let Some(batch) = self.batches.first() else { return Vec::new() };
        let schema = batch.schema();
        let types = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Null => None,
            DataType::Dictionary(_, value) => Some(value.as_ref().clone()),
            kind => Some(kind.clone()),
        });
        types.collect()
    }

    /// The same rows with columns of the types that the statement asks for.
    ///
    /// # Errors
    /// `08P01` for another number of columns, `22P02` and its kin for a value that is not of its
    /// type.
    pub(super) fn cast(&self, types: &[DataType]) -> QueryResult<Typed> {
        let mut batches = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            if batch.num_columns() != types.len() {
                return Err(miscounted(batch.num_columns(), types.len()));
            }
            let pairs = batch.columns().iter().zip(types).enumerate();
            let columns = pairs.map(|(n, (array, kind))| typed(n + 1, array, kind));
            batches.push((columns.collect::<QueryResult<Vec<_>>>()?, batch.num_rows()));
        }
        if batches.is_empty() && !types.is_empty() {
            return Err(miscounted(0, types.len()));
        }
        Ok(Typed { batches, rows: self.rows })
    }
}

/// Rows of parameters of the right types.
pub(super) struct Typed {
    batches: Vec<(Vec<ArrayRef>, usize)>,
    rows: usize,
}

impl Typed {
    /// How often the statement runs.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a row.
    pub(super) fn row(&self, number: usize) -> QueryResult<Vec<ScalarValue>> {
        let mut row = number;
        for (columns, rows) in &self.batches {
            if row < *rows {
                let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row));
                return Ok(values.collect::<Result<_, _>>()?);
            }
            row -= rows;
        }
        Ok(Vec::new())
    }
}

fn miscounted(given: usize, wanted: usize) -> QueryError {
    QueryError::new("08P01", format!("{given} parameters for a statement with {wanted}"))
}

fn typed(number: usize, array: &ArrayRef, kind: &DataType) -> QueryResult<ArrayRef> {
    let array = query::write_out(array)?;
    if *kind == DataType::Null || array.data_type() == kind {
        return Ok(array);
    }
    if kind.is_integer() && array.data_type().is_floating() {
        check_whole(number, &array, kind)?;
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&array, kind, &options).map_err(|error| {
        let error = QueryError::from(error);
        let code = if error.code == "XX000" { "42846" } else { error.code };
        let (from, to) = (type_name(array.data_type()), type_name(kind));
        let message = format!("parameter ${number} of type {from} is no {to}");
        QueryError::new(code, message).with_detail(error.message)
    })
}

/// A fraction is not cut off silently.
fn check_whole(number: usize, array: &ArrayRef, kind: &DataType) -> QueryResult<()> {
    let floats = cast(array, &DataType::Float64)?;
    let floats = floats.as_primitive::<Float64Type>();
    match floats.iter().flatten().find(|value| value.fract() != 0.0) {
        None => Ok(()),
        Some(value) => {
            let message = format!("parameter ${number} is no {}: {value}", type_name(kind));
            Err(QueryError::new("22P02", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::TimeUnit;
    use std::sync::Arc;

    fn check(array: ArrayRef, kind: DataType, expected: Result<&str, &str>) {
        let batch = RecordBatch::try_from_iter([("p", array)]).unwrap();
        let shown = format!("{:?} as {kind}", batch.column(0));
        let bound = Bound::new(vec![batch], None).unwrap();
        match (bound.cast(std::slice::from_ref(&kind)), expected) {
            (Ok(typed), Ok(text)) => {
                assert_eq!(typed.row(0).unwrap()[0].to_string(), text, "{shown}");
            }
            (Err(error), Err(code)) => assert_eq!(error.code, code, "{shown}: {error}"),
            (Ok(_), Err(code)) => panic!("{shown}: expected {code}"),
            (Err(error), Ok(_)) => panic!("{shown}: {error}"),
        }
    }

    #[test]
    fn values_take_the_type_of_the_statement() {
        check(Arc::new(Int32Array::from(vec![7])), DataType::Int64, Ok("7"));
        check(Arc::new(Int64Array::from(vec![70_000])), DataType::Int16, Err("22003"));
        check(Arc::new(Float64Array::from(vec![7.0])), DataType::Int64, Ok("7"));
        check(Arc::new(Float64Array::from(vec![7.5])), DataType::Int64, Err("22P02"));
        check(Arc::new(StringArray::from(vec!["7"])), DataType::Int64, Ok("7"));
        check(Arc::new(StringArray::from(vec!["x"])), DataType::Int64, Err("22P02"));
        check(Arc::new(StringArray::from(vec!["x"])), DataType::Utf8View, Ok("x"));
        check(Arc::new(StringArray::from(vec!["x"])), DataType::Null, Ok("x"));
        check(Arc::new(Int64Array::from(vec![None])), DataType::Utf8View, Ok("NULL"));
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let text = StringArray::from(vec!["1970-01-01 00:00:01"]);
        check(Arc::new(text), time.clone(), Ok("1000000"));
        check(Arc::new(StringArray::from(vec!["soon"])), time, Err("22007"));
    }

    #[test]
    fn rows_go_over_batches() {
        let batch = |values: Vec<i64>| {
            RecordBatch::try_from_iter([("p", Arc::new(Int64Array::from(values)) as _)]).unwrap()
        };
        let bound = Bound::new(vec![batch(vec![1, 2]), batch(vec![]), batch(vec![3])], None);
        let typed = bound.unwrap().cast(&[DataType::Int64]).unwrap();
        let rows = (0..typed.rows()).map(|row| typed.row(row).unwrap()[0].to_string());
        assert_eq!(rows.collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[test]
    fn the_number_of_parameters_must_fit() {
        let two = [DataType::Int64, DataType::Int64];
        assert_eq!(Bound::none().cast(&two).err().map(|e| e.code), Some("08P01"));
        assert_eq!(Bound::none().cast(&[]).unwrap().row(0).unwrap(), Vec::<ScalarValue>::new());
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("p", array)]).unwrap();
        let bound = Bound::new(vec![batch], None).unwrap();
        assert_eq!(bound.cast(&two).err().map(|e| e.code), Some("08P01"));
    }
}

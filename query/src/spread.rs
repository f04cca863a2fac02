//! Values that are held once and meant many times.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::compute::kernels::length::length;
use arrow::compute::max;

use crate::error::{QueryError, QueryResult};

/// What a dictionary or runs may become, bytes.
const SPREAD_BYTES_MAX: u64 = 256 << 20;

/// Sees to it that a dictionary or runs, given by a client, may be written out: a long value takes
/// the memory of one and may be meant by every row.
///
/// # Errors
/// `54000` where that could be more than 256 MiB.
pub fn check_spread(array: &ArrayRef) -> QueryResult<()> {
    let values = if let Some(dictionary) = array.as_any_dictionary_opt() {
        dictionary.values().clone()
    } else if let Some(runs) = array.as_any().downcast_ref::<arrow::array::Int32RunArray>() {
        runs.values().clone()
    } else if let Some(runs) = array.as_any().downcast_ref::<arrow::array::Int64RunArray>() {
        runs.values().clone()
    } else if let Some(runs) = array.as_any().downcast_ref::<arrow::array::Int16RunArray>() {
        runs.values().clone()
    } else {
        return Ok(());
    };
    // Values of a fixed width have no length to ask for.
    let Ok(lengths) = length(values.as_ref()) else { return Ok(()) };
    let longest = match lengths.as_any().downcast_ref::<Int32Array>() {
        Some(lengths) => max(lengths).map(i64::from),
        None => lengths.as_any().downcast_ref::<Int64Array>().and_then(max),
    };
    let bytes = longest.unwrap_or(0).unsigned_abs().saturating_mul(array.len() as u64);
    if bytes > SPREAD_BYTES_MAX {
        let message = "a dictionary's values would take too much memory, row by row";
        return Err(QueryError::new("54000", message).with_hint("Send fewer rows at a time."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int8Array, Int32Array, RunArray, StringArray};

    use super::*;

    #[test]
    fn long_values_are_not_meant_by_many_rows() {
        let values = Arc::new(StringArray::from(vec!["x".repeat(400_000)]));
        for (rows, fits) in [(10, true), (8_000, false)] {
            let keys = Int8Array::from(vec![0; rows]);
            let array: ArrayRef = Arc::new(DictionaryArray::new(keys, values.clone()));
            assert_eq!(check_spread(&array).is_ok(), fits);
            let ends = Int32Array::from(vec![rows as i32]);
            let array: ArrayRef = Arc::new(RunArray::try_new(&ends, values.as_ref()).unwrap());
            assert_eq!(check_spread(&array).is_ok(), fits);
        }
        let whole: ArrayRef = Arc::new(Int32Array::from(vec![1; 8_000]));
        assert!(check_spread(&whole).is_ok());
    }
}

//! Values that are held once and meant many times.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::length::length;
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

use crate::error::{QueryError, QueryResult};

/// What a dictionary or runs may become, bytes.
const SPREAD_BYTES_MAX: u64 = 256 << 20;

/// The plain array of a dictionary or runs, which clients may send; others as they are. A long
/// value takes the memory of one and may be meant by every row.
///
/// # Errors
/// `54000` where writing it out could take more than 256 MiB.
pub fn write_out(array: &ArrayRef) -> QueryResult<ArrayRef> {
    let values = match array.data_type() {
        DataType::Dictionary(..) => array.as_any_dictionary().values(),
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => array.as_run::<Int16Type>().values(),
            DataType::Int32 => array.as_run::<Int32Type>().values(),
            _ => array.as_run::<Int64Type>().values(),
        },
        _ => return Ok(array.clone()),
    };
    // Values of a fixed width have no length to ask for.
    if let Ok(lengths) = length(values.as_ref()) {
        let longest = match lengths.as_primitive_opt::<Int32Type>() {
            Some(lengths) => max(lengths).map(i64::from),
            None => lengths.as_primitive_opt::<Int64Type>().and_then(max),
        };
        let bytes = longest.unwrap_or(0).unsigned_abs().saturating_mul(array.len() as u64);
        if bytes > SPREAD_BYTES_MAX {
            let message = "a dictionary's values would take too much memory, row by row";
            return Err(QueryError::new("54000", message).with_hint("Send fewer rows at a time."));
        }
    }
    Ok(cast(array, values.data_type())?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Int8Array, Int16Array, Int32Array, Int64Array, RunArray, StringArray,
    };

    use super::*;

    /// Whether the array is written out, as texts then.
    fn fits(array: ArrayRef) -> bool {
        write_out(&array).is_ok_and(|plain| {
            assert_eq!((plain.data_type(), plain.len()), (&DataType::Utf8, array.len()));
            assert!(plain.as_string::<i32>().iter().all(|text| text.is_some()));
            true
        })
    }

    #[test]
    fn long_values_are_not_meant_by_many_rows() {
        let values = Arc::new(StringArray::from(vec!["x".repeat(400_000)]));
        for (rows, expected) in [(10, true), (8_000, false)] {
            let keys = Int8Array::from(vec![0; rows]);
            assert_eq!(fits(Arc::new(DictionaryArray::new(keys, values.clone()))), expected);
            let ends = Int16Array::from(vec![rows as i16]);
            assert_eq!(fits(Arc::new(RunArray::try_new(&ends, &*values).unwrap())), expected);
            let ends = Int32Array::from(vec![rows as i32]);
            assert_eq!(fits(Arc::new(RunArray::try_new(&ends, &*values).unwrap())), expected);
            let ends = Int64Array::from(vec![rows as i64]);
            assert_eq!(fits(Arc::new(RunArray::try_new(&ends, &*values).unwrap())), expected);
        }
        let whole: ArrayRef = Arc::new(Int32Array::from(vec![1; 8_000]));
        assert_eq!(&write_out(&whole).unwrap(), &whole);
    }
}

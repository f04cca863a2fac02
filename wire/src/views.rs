//! Arrow without views, which are young: not every reader knows them. What leaves through any door
//! as Arrow has the same types.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;

/// The schema that rows of `schema` leave with.
pub(crate) fn without_views(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(plain);
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

fn plain(field: &FieldRef) -> FieldRef {
    let kind = without_view(field.data_type());
    if kind == *field.data_type() {
        return field.clone();
    }
    Arc::new(Field::clone(field).with_data_type(kind))
}

/// The type that values of `kind` leave with.
pub(crate) fn without_view(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) => DataType::List(plain(field)),
        DataType::LargeList(field) => DataType::LargeList(plain(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain(field), *size),
        other => other.clone(),
    }
}

/// The rows as they leave.
pub(crate) fn cast_views(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(without_views(&batch.schema()));
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| {
        let wanted = field.data_type();
        if wanted == array.data_type() { Ok(array.clone()) } else { cast(array, wanted) }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, ListBuilder, StringViewBuilder};

    #[test]
    fn texts_leave_as_plain_texts_in_lists_too() {
        let mut list = ListBuilder::new(StringViewBuilder::new());
        list.values().append_value("a text that is longer than a view holds by itself");
        list.values().append_null();
        list.append(true);
        list.append_null();
        let mut text = StringViewBuilder::new();
        text.append_value("x");
        text.append_null();
        let columns = [("l", Arc::new(list.finish()) as _), ("t", Arc::new(text.finish()) as _)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let plain = cast_views(&batch).unwrap();
        assert_eq!(plain.schema().as_ref(), &without_views(&batch.schema()));
        assert_eq!(plain.column(1).as_string::<i32>().value(0), "x");
        let list = plain.column(0).as_list::<i32>();
        let first = list.value(0);
        let first = first.as_string::<i32>();
        assert!(first.value(0).starts_with("a text that") && first.is_null(1) && list.is_null(1));
    }
}

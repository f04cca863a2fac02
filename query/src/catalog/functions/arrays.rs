//! Functions of arrays that drivers use on the catalogue, with the meaning of Postgres: an
//! `int2vector` begins at 0, other arrays at 1.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::{NO_TEXT, as_text, text};
use crate::functions::Lookup;

/// The function of that name.
pub(super) fn of_name(name: &str) -> Option<Arc<ScalarUDF>> {
    let gives = match name {
        "__subscripts" => Gives::Subscripts,
        "__places" => Gives::Places,
        "__pg_expandarray" => Gives::Pairs,
        "__filled" => {
            let signature = Signature::any(1, Volatility::Immutable);
            return Some(Arc::new(ScalarUDF::from(Filled { signature })));
        }
        "array_lower" | "array_upper" => {
            let upper = name == "array_upper";
            return Some(Lookup::udf(name, DataType::Int32, move |args| {
                let list = match (args.first(), super::number(args.get(1))) {
                    (Some(ScalarValue::List(list)), Some(1)) if list.is_valid(0) => list,
                    _ => return Ok(ScalarValue::Int32(None)),
                };
                let count = i32::try_from(list.value(0).len()).ok().filter(|count| *count > 0);
                Ok(ScalarValue::Int32(count.map(|count| if upper { count } else { 1 })))
            }));
        }
        "__array_text" => {
            return Some(Lookup::udf(name, DataType::Utf8View, |args| {
                Ok(args.first().and_then(array_text).map_or(NO_TEXT, text))
            }));
        }
        "__vector_text" => {
            return Some(Lookup::udf(name, DataType::Utf8View, |args| {
                let plain = args.first().and_then(array_text);
                Ok(plain.map_or(NO_TEXT, |t| text(t.replace(['{', '}'], "").replace(',', " "))))
            }));
        }
        "parse_ident" => {
            return Some(Lookup::udf(name, list_of_texts(), |args| {
                let parts = args.first().and_then(as_text).and_then(super::names::split_name);
                Ok(texts(parts.as_deref()))
            }));
        }
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(OfArray { name: name.to_string(), gives, signature })))
}

pub(super) fn list_of_texts() -> DataType {
    DataType::new_list(DataType::Utf8View, true)
}

pub(super) fn texts(parts: Option<&[String]>) -> ScalarValue {
    match parts {
        Some(parts) => {
            let values: Vec<ScalarValue> = parts.iter().map(text).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8View))
        }
        None => ScalarValue::try_from(list_of_texts()).unwrap_or(NO_TEXT),
    }
}

/// A list in the text form of Postgres; `None` for NULL and for what is no list.
fn array_text(value: &ScalarValue) -> Option<String> {
    let ScalarValue::List(list) = value else { return None };
    if list.is_null(0) {
        return None;
    }
    let items = list.value(0);
    let mut parts = Vec::with_capacity(items.len());
    for row in 0..items.len() {
        let item = ScalarValue::try_from_array(&items, row).ok()?;
        parts.push(match (&item, as_text(&item)) {
            _ if item.is_null() => "NULL".to_string(),
            (ScalarValue::List(_), _) => array_text(&item)?,
            (ScalarValue::Boolean(Some(truth)), _) => if *truth { "t" } else { "f" }.to_string(),
            (_, Some(text)) => quoted_item(text),
            _ => item.to_string(),
        });
    }
    Some(format!("{{{}}}", parts.join(",")))
}

fn quoted_item(text: &str) -> String {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_whitespace();
    if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text.to_string()
}

/// What is made of each array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    /// The numbers of its elements.
    Subscripts,
    /// The places of its elements, from 1 on.
    Places,
    /// Each element `x` with its place `n`, from 1 on.
    Pairs,
}

/// A list of as many items as the argument has.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfArray {
    name: String,
    gives: Gives,
    signature: Signature,
}

fn item_of(field: &Field) -> Result<FieldRef> {
    match field.data_type() {
        DataType::List(item) => Ok(item.clone()),
        other => plan_err!("function wants an array, not {other}"),
    }
}

impl OfArray {
    fn item(&self, argument: &Field) -> Result<FieldRef> {
        let item = item_of(argument)?;
        Ok(Arc::new(match self.gives {
            Gives::Subscripts | Gives::Places => Field::new_list_field(DataType::Int32, true),
            Gives::Pairs => Field::new_list_field(
                DataType::Struct(Fields::from(vec![
                    item.as_ref().clone().with_name("x"),
                    Field::new("n", DataType::Int32, true),
                ])),
                true,
            ),
        }))
    }
}

impl ScalarUDFImpl for OfArray {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let [kind] = args else { return plan_err!("function {} wants one array", self.name) };
        Ok(DataType::List(self.item(&Field::new("x", kind.clone(), true))?))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [field] = args.arg_fields else {
            return plan_err!("function {} wants one array", self.name);
        };
        Ok(Arc::new(Field::new(&self.name, DataType::List(self.item(field)?), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([value], [field]) = (args.args.as_slice(), args.arg_fields.as_slice()) else {
            return exec_err!("function {} wants one array", self.name);
        };
        // Vectors of Postgres' own tables begin at 0.
        let vector = field.metadata().get(crate::PG_TYPE).is_some_and(|n| n.ends_with("vector"));
        let first = i32::from(!vector || self.gives != Gives::Subscripts);
        let array = value.to_array(args.number_rows)?;
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("function {} wants an array", self.name);
        };
        let lengths: Vec<usize> = (0..lists.len())
            .map(|row| if lists.is_null(row) { 0 } else { lists.value_length(row) as usize })
            .collect();
        let places: Int32Array =
            lengths.iter().flat_map(|n| (first..).take(*n)).collect::<Vec<i32>>().into();
        let item = self.item(field)?;
        let values: Arc<dyn Array> = match (self.gives, item.data_type()) {
            (Gives::Pairs, DataType::Struct(fields)) => {
                let parts: Vec<_> = (0..lists.len())
                    .filter(|row| lists.is_valid(*row))
                    .map(|row| lists.value(row))
                    .collect();
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                let elements = match parts.is_empty() {
                    true => arrow::array::new_empty_array(fields[0].data_type()),
                    false => arrow::compute::concat(&parts)?,
                };
                Arc::new(StructArray::try_new(
                    fields.clone(),
                    vec![elements, Arc::new(places)],
                    None,
                )?)
            }
            _ => Arc::new(places),
        };
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list = ListArray::try_new(item, offsets, values, lists.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

/// An empty list for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Filled {
    signature: Signature,
}

impl ScalarUDFImpl for Filled {
    fn name(&self) -> &str {
        "__filled"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [kind @ DataType::List(_)] => Ok(kind.clone()),
            _ => plan_err!("function __filled wants an array"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::new(field.as_ref().clone().with_name("array").with_nullable(true))),
            _ => plan_err!("function __filled wants an array"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("function __filled wants an array");
        };
        let array = value.to_array(args.number_rows)?;
        let Some(lists) = array.as_list_opt::<i32>() else {
            return exec_err!("function __filled wants an array");
        };
        let DataType::List(item) = lists.data_type() else {
            return exec_err!("function __filled wants an array");
        };
        // A list that is NULL may have values behind it: they are left out.
        let kept: Vec<_> =
            (0..lists.len())
                .map(|row| {
                    if lists.is_valid(row) { lists.value(row) } else { lists.values().slice(0, 0) }
                })
                .collect();
        let offsets = OffsetBuffer::from_lengths(kept.iter().map(|list| list.len()));
        let parts: Vec<&dyn Array> = kept.iter().map(AsRef::as_ref).collect();
        let values = match parts.is_empty() {
            true => lists.values().slice(0, 0),
            false => arrow::compute::concat(&parts)?,
        };
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(item.clone(), offsets, values, None)?)))
    }
}

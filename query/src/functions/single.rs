//! `__single(value)`: the value of the one row of a group. It stands for a subquery that is a
//! value, so more rows are an error (21000), as in Postgres.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::error::QueryError;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Single {
    signature: Signature,
}

impl Single {
    pub(super) fn new() -> Single {
        Single { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Single {
    fn name(&self) -> &str {
        "__single"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| QueryError::internal("no value").into_datafusion())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        // What the value is shown as stays.
        let field =
            fields.first().ok_or_else(|| QueryError::internal("no value").into_datafusion());
        Ok(Arc::new(field?.as_ref().clone().with_name("__single").with_nullable(true)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kind = args.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new(format!("{}[value]", args.name), kind, true)),
            Arc::new(Field::new(format!("{}[found]", args.name), DataType::Boolean, false)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let none = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(One { value: none, found: false }))
    }
}

#[derive(Debug)]
struct One {
    value: ScalarValue,
    found: bool,
}

impl One {
    fn take(&mut self, value: ScalarValue) -> Result<()> {
        if self.found {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(QueryError::new("21000", message).into_datafusion());
        }
        (self.value, self.found) = (value, true);
        Ok(())
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        (0..values[0].len())
            .try_for_each(|row| self.take(ScalarValue::try_from_array(&values[0], row)?))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let found = states[1].as_boolean();
        (0..found.len())
            .filter(|row| found.is_valid(*row) && found.value(*row))
            .try_for_each(|row| self.take(ScalarValue::try_from_array(&states[0], row)?))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.found))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}

//! `mode(value)`: the most frequent value; of several the least (`__mode_desc`: the greatest),
//! as Postgres' `mode() WITHIN GROUP (ORDER BY value)` gives it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::error::QueryError;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Mode {
    greatest: bool,
    signature: Signature,
}

impl Mode {
    pub(super) fn new(greatest: bool) -> Mode {
        Mode { greatest, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        if self.greatest { "__mode_desc" } else { "mode" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| QueryError::internal("no value").into_datafusion())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |kind| DataType::List(Arc::new(Field::new_list_field(kind, true)));
        let values = list(args.return_field.data_type().clone());
        Ok(vec![
            Arc::new(Field::new(format!("{}[values]", args.name), values, true)),
            Arc::new(Field::new(format!("{}[counts]", args.name), list(DataType::Int64), true)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        Ok(Box::new(Counts { greatest: self.greatest, kind, counts: HashMap::new(), bytes: 0 }))
    }
}

#[derive(Debug)]
struct Counts {
    greatest: bool,
    kind: DataType,
    counts: HashMap<ScalarValue, i64>,
    bytes: usize,
}

impl Counts {
    fn add(&mut self, values: &ArrayRef, count: impl Fn(usize) -> i64) -> Result<()> {
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let value = ScalarValue::try_from_array(values, row)?;
            match self.counts.get_mut(&value) {
                Some(known) => *known += count(row),
                None => {
                    let mut value = value;
                    value.compact();
                    self.bytes += value.size() + size_of::<i64>();
                    self.counts.insert(value, count(row));
                }
            }
        }
        Ok(())
    }
}

impl Accumulator for Counts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], |_| 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for row in (0..values.len()).filter(|row| values.is_valid(*row) && counts.is_valid(*row)) {
            let counts = counts.value(row);
            let counts = counts.as_primitive::<Int64Type>();
            self.add(&values.value(row), |at| counts.value(at))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts): (Vec<ScalarValue>, Vec<ScalarValue>) =
            self.counts.iter().map(|(v, c)| (v.clone(), ScalarValue::Int64(Some(*c)))).unzip();
        Ok(vec![
            ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.kind)),
            ScalarValue::List(ScalarValue::new_list_nullable(&counts, &DataType::Int64)),
        ])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut best: Option<(&ScalarValue, i64)> = None;
        for (value, count) in &self.counts {
            let better = best.is_none_or(|(than, most)| {
                let order = value.partial_cmp(than);
                let first = match self.greatest {
                    true => order.is_some_and(|o| o.is_gt()),
                    false => order.is_some_and(|o| o.is_lt()),
                };
                *count > most || (*count == most && first)
            });
            if better {
                best = Some((value, *count));
            }
        }
        match best {
            Some((value, _)) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.kind),
        }
    }

    fn size(&self) -> usize {
        let slot = size_of::<(ScalarValue, i64)>();
        size_of_val(self) + self.bytes + self.counts.capacity() * slot
    }
}

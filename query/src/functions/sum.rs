//! `sum` of whole numbers that says so where the sum leaves bigint, as `numeric` would not: what
//! DataFusion gives then is another number. Everything else is DataFusion's own.
//!
//! Numbers are added with 128 bits, so that no order of them and no division among threads makes
//! an error of a sum that fits in the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::error::QueryError;

/// What whole numbers are added as.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    inner: Arc<AggregateUDF>,
}

impl Sum {
    pub(super) fn new() -> Sum {
        Sum { inner: sum_udaf() }
    }
}

fn is_whole(result: &FieldRef) -> bool {
    *result.data_type() == DataType::Int64
}

fn widened(result: &FieldRef) -> FieldRef {
    Arc::new(Field::new(result.name(), WIDE, true))
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let return_field = match is_whole(&args.return_field) {
            true => widened(&args.return_field),
            false => args.return_field,
        };
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !is_whole(&args.return_field) {
            return self.inner.accumulator(args);
        }
        let return_field = widened(&args.return_field);
        Ok(Box::new(Wide(self.inner.accumulator(AccumulatorArgs { return_field, ..args })?)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        // Of different values there is none for wide numbers.
        if !is_whole(&args.return_field) || args.is_distinct {
            return self.inner.create_sliding_accumulator(args);
        }
        let return_field = widened(&args.return_field);
        let args = AccumulatorArgs { return_field, ..args };
        Ok(Box::new(Wide(self.inner.create_sliding_accumulator(args)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_whole(&args.return_field) {
            return self.inner.create_groups_accumulator(args);
        }
        let return_field = widened(&args.return_field);
        let args = AccumulatorArgs { return_field, ..args };
        Ok(Box::new(WideGroups(self.inner.create_groups_accumulator(args)?)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Whole numbers as those that are added; others, states among them, as they are.
fn widen(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let wide = |array: &ArrayRef| match array.as_primitive_opt::<Int64Type>() {
        Some(whole) => {
            let wide = whole.unary::<_, Decimal128Type>(i128::from);
            Ok(Arc::new(wide.with_data_type(WIDE)) as ArrayRef)
        }
        None => Ok(Arc::clone(array)),
    };
    values.iter().map(wide).collect()
}

fn out_of_range() -> QueryError {
    QueryError::new("22003", "bigint out of range").with_hint("Cast what is added to numeric.")
}

/// Sums as whole numbers again.
fn narrow(sums: &ArrayRef) -> Result<ArrayRef> {
    let sums = sums.as_primitive::<Decimal128Type>();
    let fit =
        |sum: i128| i64::try_from(sum).map_err(|_| ArrowError::ArithmeticOverflow(String::new()));
    let whole = sums.try_unary::<_, Int64Type, ArrowError>(fit);
    Ok(Arc::new(whole.map_err(|_| out_of_range().into_datafusion())?))
}

#[derive(Debug)]
struct Wide(Box<dyn Accumulator>);

impl Accumulator for Wide {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.0.evaluate()? {
            ScalarValue::Decimal128(None, ..) => Ok(ScalarValue::Int64(None)),
            ScalarValue::Decimal128(Some(sum), ..) => match i64::try_from(sum) {
                Ok(sum) => Ok(ScalarValue::Int64(Some(sum))),
                Err(_) => Err(out_of_range().into_datafusion()),
            },
            other => {
                let message = format!("a sum of whole numbers is {other:?}");
                Err(QueryError::internal(message).into_datafusion())
            }
        }
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

struct WideGroups(Box<dyn GroupsAccumulator>);

impl GroupsAccumulator for WideGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.0.update_batch(&widen(values)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        narrow(&self.0.evaluate(emit_to)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.0.merge_batch(states, groups, total)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&widen(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

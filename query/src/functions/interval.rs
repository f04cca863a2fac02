//! `number * interval`, `interval * number` and `interval / number`, which DataFusion lacks.

use std::sync::Arc;

use arrow::array::{AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::QueryError;
use crate::text::interval::required;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const DAY_NS: f64 = 86_400e9;

/// Plans the two operators.
#[derive(Debug)]
pub(super) struct IntervalPlanner {
    times: Arc<ScalarUDF>,
}

impl IntervalPlanner {
    pub(super) fn new() -> IntervalPlanner {
        let signature = Signature::exact(vec![INTERVAL, DataType::Float64], Volatility::Immutable);
        IntervalPlanner { times: Arc::new(ScalarUDF::from(Times { signature })) }
    }
}

impl ExprPlanner for IntervalPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let expr = with_intervals(expr, schema)?;
        let divides = match expr.op {
            BinaryOperator::Multiply => false,
            BinaryOperator::Divide => true,
            BinaryOperator::Plus | BinaryOperator::Minus => return moved_day(expr, schema),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema))
        else {
            // An open parameter; the types are told later.
            return Ok(PlannerResult::Original(expr));
        };
        let interval = |kind: &DataType| matches!(kind, DataType::Interval(_));
        let RawBinaryExpr { op, left: a, right: b } = expr;
        let planned = match (interval(&left), interval(&right)) {
            (true, false) if right.is_numeric() && divides => {
                let factor = lit(1.0f64) / b.cast_to(&DataType::Float64, schema)?;
                self.times.call(vec![a.cast_to(&INTERVAL, schema)?, factor])
            }
            (true, false) if right.is_numeric() => self
                .times
                .call(vec![a.cast_to(&INTERVAL, schema)?, b.cast_to(&DataType::Float64, schema)?]),
            (false, true) if left.is_numeric() && !divides => self
                .times
                .call(vec![b.cast_to(&INTERVAL, schema)?, a.cast_to(&DataType::Float64, schema)?]),
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left: a, right: b })),
        };
        Ok(PlannerResult::Planned(planned))
    }
}

/// A text beside an interval, or added to a time, is an interval.
fn with_intervals(expr: RawBinaryExpr, schema: &DFSchema) -> Result<RawBinaryExpr> {
    let RawBinaryExpr { op, mut left, mut right } = expr;
    let is_sum = matches!(op, BinaryOperator::Plus | BinaryOperator::Minus);
    let compares = matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    );
    if !is_sum && !compares {
        return Ok(RawBinaryExpr { op, left, right });
    }
    let takes = |kind: Result<DataType>| match kind {
        Ok(DataType::Interval(_) | DataType::Duration(_)) => true,
        Ok(DataType::Timestamp(..)) => op == BinaryOperator::Plus,
        _ => false,
    };
    let beside = [takes(right.get_type(schema)), takes(left.get_type(schema))];
    for (text, takes) in [&mut left, &mut right].into_iter().zip(beside) {
        if takes
            && let Expr::Literal(value, _) = &*text
            && value.data_type().is_string()
            && let Some(Some(written)) = value.try_as_str()
        {
            let interval = required(written).map_err(QueryError::into_datafusion)?;
            *text = lit(ScalarValue::IntervalMonthDayNano(Some(interval)));
        }
    }
    Ok(RawBinaryExpr { op, left, right })
}

/// A day that an interval is added to is its midnight: what comes out may be another moment of a day.
fn moved_day(expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
    let kinds = (expr.left.get_type(schema), expr.right.get_type(schema));
    let RawBinaryExpr { op, left, right } = expr;
    let (left, right) = match kinds {
        (Ok(DataType::Date32), Ok(DataType::Interval(_))) => {
            (left.cast_to(&TIMESTAMP, schema)?, right)
        }
        (Ok(DataType::Interval(_)), Ok(DataType::Date32)) if op == BinaryOperator::Plus => {
            (left, right.cast_to(&TIMESTAMP, schema)?)
        }
        _ => (left, right),
    };
    Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Times {
    signature: Signature,
}

impl ScalarUDFImpl for Times {
    fn name(&self) -> &str {
        "interval_times"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [intervals, factors] = arrays.as_slice() else {
            return exec_err!("interval_times takes two arguments");
        };
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let factors = factors.as_primitive::<Float64Type>();
        let mut out = Vec::with_capacity(intervals.len());
        for (interval, factor) in intervals.iter().zip(factors) {
            out.push(match (interval, factor) {
                (Some(interval), Some(factor)) => Some(times(interval, factor)?),
                _ => None,
            });
        }
        Ok(ColumnarValue::Array(Arc::new(IntervalMonthDayNanoArray::from(out))))
    }
}

/// As Postgres does it: what is left of months becomes days of a 30-day month, what is left of
/// days becomes time.
fn times(interval: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor + months.fract() * 30.0;
    let nanos = interval.nanoseconds as f64 * factor + days.fract() * DAY_NS;
    let fits = months.abs() < f64::from(i32::MAX)
        && days.abs() < f64::from(i32::MAX)
        && nanos.abs() < i64::MAX as f64;
    if !fits {
        return Err(QueryError::new("22008", "interval out of range").into_datafusion());
    }
    Ok(IntervalMonthDayNano::new(months as i32, days as i32, nanos.round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_run_over_downwards() {
        let of = |m, d, n, f| times(IntervalMonthDayNano::new(m, d, n), f).unwrap();
        assert_eq!(of(0, 0, 1_000, 3.0), IntervalMonthDayNano::new(0, 0, 3_000));
        assert_eq!(of(1, 0, 0, 1.5), IntervalMonthDayNano::new(1, 15, 0));
        assert_eq!(of(0, 1, 0, 0.5), IntervalMonthDayNano::new(0, 0, 43_200_000_000_000));
        assert!(times(IntervalMonthDayNano::new(1, 0, 0), 1e12).is_err());
    }
}

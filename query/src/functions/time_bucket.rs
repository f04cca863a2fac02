//! `time_bucket(width, time [, origin])`: the start of the bucket that a time falls into.
//!
//! It is `date_bin` with an origin of its own; it does not become one in plans, since DataFusion's
//! `date_bin` would then turn µs into ns half-way. Without an origin, buckets of months and years start on
//! 2000-01-01 and all others on 2000-01-03, a Monday, as TimescaleDB has it; so weeks start on
//! Mondays, and days, hours and minutes where everybody expects them. Buckets are cut in UTC.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::QueryError;

/// 2000-01-03T00:00:00Z, a Monday, s.
pub(crate) const MONDAY: i64 = 946_857_600;
/// 2000-01-01T00:00:00Z, s.
const NEW_YEAR: i64 = 946_684_800;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    pub(super) fn new() -> TimeBucket {
        TimeBucket { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let time = match types.get(1) {
            Some(t @ DataType::Timestamp(..)) => t.clone(),
            Some(DataType::Date32 | DataType::Date64) => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            Some(t) if t.is_string() || t.is_null() => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
            }
            _ => return no_function(types),
        };
        match (types.first(), types.len()) {
            (Some(DataType::Interval(_)), 2 | 3) => {}
            (Some(t), 2 | 3) if t.is_string() || t.is_null() => {}
            _ => return no_function(types),
        }
        let mut out = vec![INTERVAL, time.clone()];
        out.extend((types.len() == 3).then_some(time));
        Ok(out)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.get(1) {
            Some(time) => Ok(time.clone()),
            None => plan_err!("Invalid function call: time_bucket needs an interval and a time"),
        }
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(Expr::Literal(width, _)) = args.first() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        // Refused when it is planned, not when it runs.
        origin(width)?;
        Ok(ExprSimplifyResult::Original(args))
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        // Of one width and origin, later times are in later buckets.
        let fixed = |at: usize| {
            input.get(at).is_none_or(|i| i.sort_properties == SortProperties::Singleton)
        };
        match input.get(1) {
            Some(time) if fixed(0) && fixed(2) => Ok(time.sort_properties),
            _ => Ok(SortProperties::Unordered),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(width)) = args.args.first() else {
            return Err(
                QueryError::unsupported("a bucket width that is not constant").into_datafusion()
            );
        };
        let mut inner = args.args.clone();
        if inner.len() == 2 {
            inner.push(ColumnarValue::Scalar(origin(width)?));
        }
        let mut arg_fields = args.arg_fields.clone();
        if arg_fields.len() == 2 {
            let kind = inner[2].data_type();
            arg_fields.push(Arc::new(arrow::datatypes::Field::new("origin", kind, false)));
        }
        date_bin().invoke_with_args(ScalarFunctionArgs { args: inner, arg_fields, ..args })
    }
}

fn no_function<T>(types: &[DataType]) -> Result<T> {
    let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
    let message = format!("function time_bucket({}) does not exist", shown.join(", "));
    Err(QueryError::new("42883", message)
        .with_hint("time_bucket(width interval, time timestamptz [, origin timestamptz])")
        .into_datafusion())
}

fn origin(width: &ScalarValue) -> Result<ScalarValue> {
    let (months, rest) = match width {
        ScalarValue::IntervalMonthDayNano(Some(v)) => (v.months, v.days != 0 || v.nanoseconds != 0),
        ScalarValue::IntervalYearMonth(Some(v)) => (*v, false),
        ScalarValue::IntervalDayTime(Some(_)) => (0, true),
        _ => (0, true),
    };
    if months != 0 && rest {
        let message = "a bucket is either of months or of days and less, not of both";
        return Err(QueryError::new("22023", message).into_datafusion());
    }
    let seconds = if months != 0 { NEW_YEAR } else { MONDAY };
    Ok(ScalarValue::TimestampNanosecond(Some(seconds * 1_000_000_000), Some("+00:00".into())))
}

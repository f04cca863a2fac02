//! `time_bucket(width, time [, zone] [, origin] [, offset])`: the start of the bucket that a time
//! falls into; `bucket.rs` says where buckets start.
//!
//! Behind the time, arguments are told apart by their types: a text is a time zone (or an origin
//! in quotes), a time an origin, an interval an offset; NULL is "not given". Without an origin,
//! buckets of months and years start on 2000-01-01 and all others on 2000-01-03, a Monday, as
//! TimescaleDB has it; so weeks start on Mondays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::bucket::{self, Buckets, Cut};
use super::session::as_text;
use crate::error::{QueryError, QueryResult};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    pub(super) fn new() -> TimeBucket {
        TimeBucket { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

pub(super) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The type that a time is cut in.
pub(super) fn time_type(kind: Option<&DataType>) -> Option<DataType> {
    match kind? {
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        kind @ DataType::Timestamp(..) => Some(kind.clone()),
        DataType::Date32 | DataType::Date64 => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        kind if kind.is_string() || kind.is_null() => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some(time) = time_type(types.get(1)) else { return no_function(types) };
        match types.first() {
            Some(DataType::Interval(_)) => {}
            Some(t) if t.is_string() || t.is_null() => {}
            _ => return no_function(types),
        }
        let mut out = vec![INTERVAL, time.clone()];
        for kind in types.get(2..).unwrap_or_default() {
            out.push(match kind {
                DataType::Interval(_) => INTERVAL,
                DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => time.clone(),
                kind if kind.is_string() || kind.is_null() => kind.clone(),
                _ => return no_function(types),
            });
        }
        if out.len() > 5 { no_function(types) } else { Ok(out) }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.get(1) {
            Some(time) => Ok(time.clone()),
            None => plan_err!("Invalid function call: time_bucket needs an interval and a time"),
        }
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let literals: Vec<_> = args.iter().enumerate().filter(|(i, _)| *i != 1).collect();
        let mut values = Vec::with_capacity(literals.len());
        for (_, literal) in &literals {
            let Expr::Literal(value, _) = literal else {
                return Ok(ExprSimplifyResult::Original(args));
            };
            values.push(value.clone());
        }
        // Refused when it is planned, not when it runs.
        let Some(width) = interval(&values[0])? else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let options = context.config_options();
        let zone = options.execution.time_zone.as_deref().unwrap_or("+00:00");
        // Sub-microsecond widths are refused where the unit of the time is known.
        let cut = cut(&values[1..], 1_000_000, zone).map_err(QueryError::into_datafusion)?;
        Buckets::new(width, &cut, 1_000_000_000).map_err(QueryError::into_datafusion)?;
        // An origin in quotes becomes a time, which more rules understand.
        if let [_, _, Expr::Literal(text, _)] = &args[..]
            && as_text(text).is_some()
            && let Some(origin) = cut.origin
        {
            let origin = ScalarValue::TimestampMicrosecond(Some(origin), Some("+00:00".into()));
            let args = vec![args[0].clone(), args[1].clone(), Expr::Literal(origin, None)];
            return Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction {
                func: super::time_bucket(),
                args,
            })));
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        // Of one width and origin, later times are in later buckets.
        let fixed = |(at, input): (usize, &ExprProperties)| {
            at == 1 || input.sort_properties == SortProperties::Singleton
        };
        match input.get(1) {
            Some(time) if input.iter().enumerate().all(fixed) => Ok(time.sort_properties),
            _ => Ok(SortProperties::Unordered),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut values = Vec::with_capacity(args.args.len());
        for (i, arg) in args.args.iter().enumerate() {
            match arg {
                ColumnarValue::Scalar(value) if i != 1 => values.push(value.clone()),
                ColumnarValue::Array(_) if i != 1 => {
                    let what = "a bucket width, origin, offset or zone that is not constant";
                    return Err(QueryError::unsupported(what).into_datafusion());
                }
                _ => {}
            }
        }
        let (Some(time), Some(width)) = (args.args.get(1), values.first()) else {
            return plan_err!("Invalid function call: time_bucket needs an interval and a time");
        };
        let DataType::Timestamp(unit, _) = time.data_type() else {
            return plan_err!("Invalid function call: time_bucket needs a time");
        };
        let Some(width) = interval(width)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(time.data_type())?));
        };
        let per_second = bucket::ticks_per_second(unit);
        let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("+00:00");
        let cut = cut(&values[1..], per_second, zone).map_err(QueryError::into_datafusion)?;
        let buckets = Buckets::new(width, &cut, per_second).map_err(QueryError::into_datafusion)?;
        match time {
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(starts(&buckets, times)?)),
            ColumnarValue::Scalar(time) => {
                let starts = starts(&buckets, &time.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&starts, 0)?))
            }
        }
    }
}

fn interval(value: &ScalarValue) -> Result<Option<IntervalMonthDayNano>> {
    bucket::interval(value).map_err(QueryError::into_datafusion)
}

/// Starts of the buckets of many times, in their type.
fn starts(buckets: &Buckets, times: &ArrayRef) -> Result<ArrayRef> {
    let ticks = cast(times, &DataType::Int64)?;
    let ticks = ticks.as_primitive::<Int64Type>();
    let failed = QueryError::into_datafusion;
    let starts: Int64Array = match buckets.is_plain() {
        true => ticks.try_unary(|tick| buckets.floor(tick).map_err(failed))?,
        false => {
            // Times come in runs: the bucket of one is mostly that of the one before.
            let (mut start, mut next) = (0, i64::MIN);
            let mut starts = Int64Array::builder(ticks.len());
            for tick in ticks {
                if let Some(tick) = tick
                    && (tick < start || tick >= next)
                {
                    start = buckets.floor(tick).map_err(failed)?;
                    next = buckets.next(start).map_err(failed)?;
                }
                starts.append_option(tick.map(|_| start));
            }
            starts.finish()
        }
    };
    Ok(cast(&(Arc::new(starts) as ArrayRef), times.data_type())?)
}

/// What the arguments behind the time say; `session` is the zone of texts that are times.
pub(super) fn cut(values: &[ScalarValue], per_second: i64, session: &str) -> QueryResult<Cut> {
    let mut cut = Cut::default();
    let twice = |what: &str| QueryError::new("42883", format!("time_bucket with two {what}"));
    for value in values.iter().filter(|value| !value.is_null()) {
        if let Some(text) = as_text(value) {
            match origin_of(text, per_second, session) {
                Some(origin) if cut.origin.is_none() => cut.origin = Some(origin),
                Some(_) => return Err(twice("origins")),
                None if cut.zone.is_some() => return Err(twice("time zones")),
                None => {
                    bucket::zone(text)?;
                    cut.zone = Some(text.to_string());
                }
            }
        } else if matches!(value.data_type(), DataType::Timestamp(..)) {
            if cut.origin.replace(ticks(value, per_second)?).is_some() {
                return Err(twice("origins"));
            }
        } else if cut.offset.is_some() {
            return Err(twice("offsets"));
        } else {
            cut.offset = bucket::interval(value)?;
        }
    }
    Ok(cut)
}

/// Width and cut that the constant arguments of a `time_bucket` say, those beside the time, in µs;
/// times in texts are UTC. `None` without a width.
///
/// # Errors
/// As a call of the function.
pub(crate) fn bucket_of(
    values: &[ScalarValue],
) -> QueryResult<Option<(IntervalMonthDayNano, Cut)>> {
    let Some((width, rest)) = values.split_first() else { return Ok(None) };
    let Some(width) = bucket::interval(&width.cast_to(&INTERVAL)?)? else { return Ok(None) };
    let cut = cut(rest, 1_000_000, "+00:00")?;
    Buckets::new(width, &cut, 1_000_000)?;
    Ok(Some((width, cut)))
}

/// A text that is a time and no zone.
fn origin_of(text: &str, per_second: i64, session: &str) -> Option<i64> {
    if bucket::zone(text).is_ok() {
        return None;
    }
    let zone = bucket::zone(session).ok()?;
    let micros = crate::instant::instant(text, &zone)?.timestamp_micros();
    i64::try_from(i128::from(micros) * i128::from(per_second) / 1_000_000).ok()
}

/// A time in ticks.
pub(crate) fn ticks(value: &ScalarValue, per_second: i64) -> QueryResult<i64> {
    let (value, unit) = match value {
        ScalarValue::TimestampSecond(Some(v), _) => (*v, 1),
        ScalarValue::TimestampMillisecond(Some(v), _) => (*v, 1_000),
        ScalarValue::TimestampMicrosecond(Some(v), _) => (*v, 1_000_000),
        ScalarValue::TimestampNanosecond(Some(v), _) => (*v, 1_000_000_000),
        other => {
            let message = format!("{} is no time", other.data_type());
            return Err(QueryError::new("42804", message));
        }
    };
    let ticks = (i128::from(value) * i128::from(per_second)).div_euclid(i128::from(unit));
    i64::try_from(ticks).map_err(|_| QueryError::new("22008", "timestamp out of range"))
}

fn no_function<T>(types: &[DataType]) -> Result<T> {
    let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
    let message = format!("function time_bucket({}) does not exist", shown.join(", "));
    let hint = "time_bucket(width interval, time timestamptz \
                [, zone text] [, origin timestamptz] [, offset interval])";
    Err(QueryError::new("42883", message).with_hint(hint).into_datafusion())
}

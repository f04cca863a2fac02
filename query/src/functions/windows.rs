//! Window functions over rows in the order of time: ids of session, state, event and count
//! windows, `ema`, and `lttb` and `m4`, which say what rows a chart needs.
//!
//! Ids count from 1 in each partition. Rows outside of any window have NULL. Functions that look
//! at nothing ahead run row by row as rows come; `event_window` with a least duration, `lttb`,
//! `m4` and sliding count windows need their whole partition.

mod charts;
mod ids;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    LimitEffect, PartitionEvaluator, Signature, Volatility, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use super::bucket;
use crate::error::{QueryError, QueryResult};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Session,
    State,
    Event,
    Count,
    Ema,
    Lttb,
    M4,
}

/// Names, kinds and how they are called.
pub(super) const ALL: &[(&str, Kind, &str)] = &[
    ("session_window", Kind::Session, "session_window(time, gap) OVER (… ORDER BY time)"),
    ("state_window", Kind::State, "state_window(value) OVER (… ORDER BY time)"),
    (
        "event_window",
        Kind::Event,
        "event_window(starts [, ends] [, time, duration]) OVER (… ORDER BY time)",
    ),
    ("count_window", Kind::Count, "count_window(rows [, slide]) OVER (… ORDER BY time)"),
    ("ema", Kind::Ema, "ema(value, alpha) OVER (… ORDER BY time), alpha above 0 and up to 1"),
    ("lttb", Kind::Lttb, "lttb(time, value, points) OVER (… ORDER BY time)"),
    ("m4", Kind::M4, "m4(time, value, columns) OVER (… ORDER BY time)"),
];

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OfRows {
    name: &'static str,
    kind: Kind,
    usage: &'static str,
    signature: Signature,
}

impl OfRows {
    pub(super) fn new((name, kind, usage): (&'static str, Kind, &'static str)) -> OfRows {
        let signature = Signature::user_defined(Volatility::Immutable);
        OfRows { name, kind, usage, signature }
    }

    fn no_function<T>(&self, types: &[DataType]) -> Result<T> {
        let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
        let message = format!("function {}({}) does not exist", self.name, shown.join(", "));
        Err(QueryError::new("42883", message).with_hint(self.usage).into_datafusion())
    }

    fn bad(&self, message: &str) -> QueryError {
        QueryError::new("22023", format!("{}: {message}", self.name)).with_hint(self.usage)
    }

    /// A whole number above zero that an argument says.
    fn count(&self, args: &PartitionEvaluatorArgs<'_>, at: usize) -> QueryResult<usize> {
        let value = literal(args, at).and_then(|value| value.cast_to(&DataType::Int64).ok());
        match value {
            Some(ScalarValue::Int64(Some(n @ 1..=COUNT_MAX))) => Ok(n as usize),
            _ => Err(self.bad(&format!("argument {} is a number from 1 to {COUNT_MAX}", at + 1))),
        }
    }

    /// A span of time that an argument says, ticks.
    fn span(
        &self,
        args: &PartitionEvaluatorArgs<'_>,
        at: usize,
        per_second: i64,
    ) -> QueryResult<i64> {
        let value = literal(args, at).and_then(|value| value.cast_to(&INTERVAL).ok());
        let span = match value {
            Some(value) => bucket::interval(&value)?,
            None => None,
        };
        match span {
            Some(span) => bucket::span_ticks(span, per_second),
            None => Err(self.bad(&format!("argument {} is a constant interval", at + 1))),
        }
    }
}

/// Rows of a count window, points of a chart.
const COUNT_MAX: i64 = 1_000_000_000;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

fn literal(args: &PartitionEvaluatorArgs<'_>, at: usize) -> Option<ScalarValue> {
    let expr = args.input_exprs().get(at)?;
    // A constant may still be under the cast that types ask for.
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Some(literal.value().clone());
    }
    let children = expr.children();
    let [child] = &children[..] else { return None };
    let value = child.downcast_ref::<Literal>()?.value().clone();
    value.cast_to(args.input_fields().get(at)?.data_type()).ok()
}

fn per_second(args: &PartitionEvaluatorArgs<'_>, at: usize) -> i64 {
    match args.input_fields().get(at).map(|field| field.data_type()) {
        Some(DataType::Timestamp(unit, _)) => bucket::ticks_per_second(*unit),
        _ => 1_000_000,
    }
}

impl WindowUDFImpl for OfRows {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType as T;
        let number = |kind: &T| kind.is_numeric() || kind.is_null();
        let boolean = |kind: &T| matches!(kind, T::Boolean | T::Null);
        let span = |kind: &T| matches!(kind, T::Interval(_)) || kind.is_string();
        let time = |kind: &T| match kind {
            T::Timestamp(TimeUnit::Nanosecond, _) => Some(kind.clone()),
            T::Timestamp(_, zone) => Some(T::Timestamp(TimeUnit::Microsecond, zone.clone())),
            _ => None,
        };
        let fitting = match (self.kind, types) {
            (Kind::Session, [at, gap]) if span(gap) => time(at).map(|at| vec![at, INTERVAL]),
            (Kind::State, [value]) => Some(vec![value.clone()]),
            (Kind::Event, [starts]) if boolean(starts) => Some(vec![T::Boolean]),
            (Kind::Event, [starts, ends]) if boolean(starts) && boolean(ends) => {
                Some(vec![T::Boolean, T::Boolean])
            }
            (Kind::Event, [starts, at, least]) if boolean(starts) && span(least) => {
                time(at).map(|at| vec![T::Boolean, at, INTERVAL])
            }
            (Kind::Event, [starts, ends, at, least])
                if boolean(starts) && boolean(ends) && span(least) =>
            {
                time(at).map(|at| vec![T::Boolean, T::Boolean, at, INTERVAL])
            }
            (Kind::Count, [rows]) if number(rows) => Some(vec![T::Int64]),
            (Kind::Count, [rows, slide]) if number(rows) && number(slide) => {
                Some(vec![T::Int64, T::Int64])
            }
            (Kind::Ema, [value, alpha]) if number(value) && number(alpha) => {
                Some(vec![T::Float64, T::Float64])
            }
            (Kind::Lttb | Kind::M4, [at, value, points]) if number(value) && number(points) => {
                time(at).map(|at| vec![at, T::Float64, T::Int64])
            }
            _ => None,
        };
        match fitting {
            Some(types) => Ok(types),
            None => self.no_function(types),
        }
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let kind = match self.kind {
            Kind::Count if args.input_fields().len() == 2 => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
            }
            Kind::Session | Kind::State | Kind::Event | Kind::Count => DataType::Int64,
            Kind::Ema => DataType::Float64,
            Kind::Lttb | Kind::M4 => DataType::Boolean,
        };
        Ok(Arc::new(Field::new(args.name(), kind, true)))
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        self.evaluator(&args).map_err(QueryError::into_datafusion)
    }

    fn limit_effect(&self, _: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}

impl OfRows {
    fn evaluator(
        &self,
        args: &PartitionEvaluatorArgs<'_>,
    ) -> QueryResult<Box<dyn PartitionEvaluator>> {
        let given = args.input_fields().len();
        Ok(match self.kind {
            Kind::Session => {
                let gap = self.span(args, 1, per_second(args, 0))?;
                if gap <= 0 {
                    return Err(self.bad("the gap is longer than zero"));
                }
                Box::new(Stepwise(ids::Session::new(gap)))
            }
            Kind::State => Box::new(Stepwise(ids::State::default())),
            Kind::Event if given < 3 => Box::new(Stepwise(ids::Event::default())),
            Kind::Event => {
                let at = given - 2;
                let least = self.span(args, at + 1, per_second(args, at))?;
                Box::new(Whole(Box::new(ids::LongEvent { least, at })))
            }
            Kind::Count if given == 1 => {
                Box::new(Stepwise(ids::Count::new(self.count(args, 0)? as i64)))
            }
            Kind::Count => {
                let (rows, slide) = (self.count(args, 0)?, self.count(args, 1)?);
                if slide > rows || rows / slide > ids::OVERLAP_MAX {
                    let most = ids::OVERLAP_MAX;
                    let message =
                        format!("windows slide by 1 to their length, at most {most} over a row");
                    return Err(self.bad(&message));
                }
                Box::new(Whole(Box::new(ids::Sliding { rows, slide })))
            }
            Kind::Ema => match literal(args, 1).and_then(|v| v.cast_to(&DataType::Float64).ok()) {
                Some(ScalarValue::Float64(Some(alpha))) if alpha > 0.0 && alpha <= 1.0 => {
                    Box::new(Stepwise(Ema { alpha, mean: None }))
                }
                _ => return Err(self.bad("alpha is a constant above 0 and up to 1")),
            },
            Kind::Lttb => {
                let points = self.count(args, 2)?;
                if points < 2 {
                    return Err(self.bad("a line has at least two points"));
                }
                Box::new(Whole(Box::new(charts::Lttb { points })))
            }
            Kind::M4 => Box::new(Whole(Box::new(charts::M4 { columns: self.count(args, 2)? }))),
        })
    }
}

/// What follows from the rows up to one.
trait Step: std::fmt::Debug + Send + 'static {
    type Value: Copy;
    fn step(&mut self, values: &[ArrayRef], row: usize) -> Result<Option<Self::Value>>;
    fn scalar(value: Option<Self::Value>) -> ScalarValue;
    fn array(values: Vec<Option<Self::Value>>) -> ArrayRef;
}

fn id_array(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

/// Row by row.
#[derive(Debug)]
struct Stepwise<S>(S);

impl<S: Step> PartitionEvaluator for Stepwise<S> {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let all: Result<Vec<_>> = (0..rows).map(|row| self.0.step(values, row)).collect();
        Ok(S::array(all?))
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.0.step(values, range.start).map(S::scalar)
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }

    fn is_causal(&self) -> bool {
        true
    }
}

/// What follows from a whole partition.
trait All: std::fmt::Debug + Send + 'static {
    fn all(&self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef>;
}

#[derive(Debug)]
struct Whole(Box<dyn All>);

impl PartitionEvaluator for Whole {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        self.0.all(values, rows)
    }
}

/// The tick of a row; `None` for NULL.
fn tick(times: &ArrayRef, row: usize) -> Option<i64> {
    if times.is_null(row) {
        return None;
    }
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(times.as_primitive::<TimestampNanosecondType>().value(row))
        }
        _ => times.as_primitive_opt::<TimestampMicrosecondType>().map(|times| times.value(row)),
    }
}

fn number(values: &ArrayRef, row: usize) -> Option<f64> {
    let values = values.as_primitive_opt::<arrow::datatypes::Float64Type>()?;
    values.is_valid(row).then(|| values.value(row))
}

/// `alpha` of the new value, the rest of the mean so far; NULL leaves it as it is.
#[derive(Debug)]
struct Ema {
    alpha: f64,
    mean: Option<f64>,
}

impl Step for Ema {
    type Value = f64;

    fn step(&mut self, values: &[ArrayRef], row: usize) -> Result<Option<f64>> {
        if let Some(value) = number(&values[0], row) {
            self.mean = Some(match self.mean {
                Some(mean) => mean + self.alpha * (value - mean),
                None => value,
            });
        }
        Ok(self.mean)
    }

    fn scalar(value: Option<f64>) -> ScalarValue {
        ScalarValue::Float64(value)
    }

    fn array(values: Vec<Option<f64>>) -> ArrayRef {
        Arc::new(Float64Array::from(values))
    }
}

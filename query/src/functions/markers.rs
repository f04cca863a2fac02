//! Functions that planning takes out again: `time_bucket_gapfill`, `locf`, `interpolate`,
//! `fill_value` (see `gapfill.rs`), the match of an ASOF JOIN (see `asof.rs`) and the span of a
//! WINDOW JOIN (see `window_join.rs`).
//!
//! They have types, so that names and types resolve as for any function, and no values: one that
//! is left in a plan stands where it has no meaning.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::time_bucket::{INTERVAL, time_type};
use crate::error::QueryError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// `time_bucket_gapfill(width, time, start, finish, zone, origin, offset)`.
    Bucket,
    /// `locf(value, prev, treat_null_as_missing)`.
    Locf,
    /// `interpolate(value, (time, value), (time, value))`.
    Interpolate,
    /// `fill_value(value, constant)`.
    Value,
    /// `__asof(left time, comparison, right time, tolerance)`.
    AsOf,
    /// `__window_join(from, from before, to, to before, prevailing, left time, right time)`.
    WindowJoin,
}

impl Mark {
    pub(crate) const ALL: [Mark; 6] =
        [Mark::Bucket, Mark::Locf, Mark::Interpolate, Mark::Value, Mark::AsOf, Mark::WindowJoin];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mark::Bucket => "time_bucket_gapfill",
            Mark::Locf => "locf",
            Mark::Interpolate => "interpolate",
            Mark::Value => "fill_value",
            Mark::AsOf => "__asof",
            Mark::WindowJoin => "__window_join",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| mark.name() == name)
    }

    fn usage(self) -> &'static str {
        match self {
            Mark::Bucket => {
                "time_bucket_gapfill(width, time [, start, finish] [, zone] [, origin] [, offset])"
            }
            Mark::Locf => "locf(aggregate [, prev [, treat_null_as_missing]])",
            Mark::Interpolate => "interpolate(aggregate [, (time, value) [, (time, value)]])",
            Mark::Value => "fill_value(aggregate, constant)",
            Mark::AsOf => "ASOF JOIN … MATCH_CONDITION (left.time >= right.time) ON …",
            Mark::WindowJoin => {
                "WINDOW JOIN … ON … RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW"
            }
        }
    }

    fn place(self) -> &'static str {
        match self {
            Mark::Bucket => "it stands in GROUP BY, alone or beside keys",
            Mark::AsOf => "both sides are times of the two tables",
            Mark::WindowJoin => "the SELECT list has aggregates of the right table",
            _ => {
                "it stands in the SELECT list of a query grouped by time_bucket_gapfill, \
                  around aggregates"
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Marker {
    mark: Mark,
    signature: Signature,
}

impl Marker {
    pub(super) fn new(mark: Mark) -> Marker {
        // Stable, so that nothing computes it before planning has taken it out.
        Marker { mark, signature: Signature::user_defined(Volatility::Stable) }
    }

    fn no_function<T>(&self, types: &[DataType]) -> Result<T> {
        let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
        let message = format!("function {}({}) does not exist", self.name(), shown.join(", "));
        Err(QueryError::new("42883", message).with_hint(self.mark.usage()).into_datafusion())
    }
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.mark.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let textual = |kind: &DataType| kind.is_string() || kind.is_null();
        let number = |kind: &DataType| kind.is_numeric() || kind.is_null();
        match (self.mark, types) {
            (Mark::Bucket, [width, _, start, finish, zone, origin, offset]) => {
                let interval =
                    |kind: &DataType| matches!(kind, DataType::Interval(_)) || textual(kind);
                let Some(time) = time_type(types.get(1)) else { return self.no_function(types) };
                let times = [start, finish, origin];
                let fits = interval(width)
                    && interval(offset)
                    && textual(zone)
                    && times.iter().all(|kind| time_type(Some(kind)).is_some());
                if !fits {
                    return self.no_function(types);
                }
                let (s, f, o) = (time.clone(), time.clone(), time.clone());
                Ok(vec![INTERVAL, time, s, f, DataType::Utf8View, o, INTERVAL])
            }
            (Mark::Locf, [value]) => Ok(vec![value.clone()]),
            (Mark::Locf, [value, _]) => Ok(vec![value.clone(), value.clone()]),
            (Mark::Locf, [value, _, DataType::Boolean]) => {
                Ok(vec![value.clone(), value.clone(), DataType::Boolean])
            }
            (Mark::Interpolate, [value, edges @ ..]) if number(value) && edges.len() < 3 => {
                let pair = |kind: &DataType| match kind {
                    DataType::Struct(fields) => {
                        fields.len() == 2
                            && matches!(fields[0].data_type(), DataType::Timestamp(..))
                            && number(fields[1].data_type())
                    }
                    kind => kind.is_null(),
                };
                if !edges.iter().all(pair) {
                    return self.no_function(types);
                }
                let mut out = vec![DataType::Float64];
                out.extend(edges.iter().cloned());
                Ok(out)
            }
            (Mark::Value, [value, _]) => Ok(vec![value.clone(), value.clone()]),
            (Mark::AsOf, [left, op, right, tolerance]) if op.is_string() => {
                let interval = matches!(tolerance, DataType::Interval(_)) || textual(tolerance);
                match (time_type(Some(left)), time_type(Some(right))) {
                    (Some(left), Some(right)) if interval => {
                        Ok(vec![left, DataType::Utf8View, right, INTERVAL])
                    }
                    _ => self.no_function(types),
                }
            }
            (Mark::WindowJoin, [from, before, to, after, prevailing, left, right]) => {
                let truths = [before, after, prevailing];
                let interval =
                    |kind: &DataType| matches!(kind, DataType::Interval(_)) || textual(kind);
                let fits = interval(from)
                    && interval(to)
                    && truths.into_iter().all(|kind| *kind == DataType::Boolean);
                match (time_type(Some(left)), time_type(Some(right))) {
                    (Some(left), Some(right)) if fits => {
                        let truth = DataType::Boolean;
                        let (b, a, p) = (truth.clone(), truth.clone(), truth);
                        Ok(vec![INTERVAL, b, INTERVAL, a, p, left, right])
                    }
                    _ => self.no_function(types),
                }
            }
            _ => self.no_function(types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let at = match self.mark {
            Mark::Bucket => 1,
            Mark::Locf | Mark::Value => 0,
            Mark::Interpolate => return Ok(DataType::Float64),
            Mark::AsOf | Mark::WindowJoin => return Ok(DataType::Boolean),
        };
        match types.get(at) {
            Some(kind) => Ok(kind.clone()),
            None => self.no_function(types),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let message = format!("{} where it has no meaning: {}", self.name(), self.mark.place());
        Err(QueryError::new("42803", message).with_hint(self.mark.usage()).into_datafusion())
    }
}

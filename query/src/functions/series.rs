//! Aggregates over (time, value) points: `delta`, `increase`, `rate`, `irate`, `derivative`,
//! `slope`, `time_weight` (`time_weighted_average`), `integral`; and `histogram`.
//!
//! Arguments are told apart by their types, so time and value may come in either order. Rows
//! whose time or value is NULL do not count; rows come in any order, those of one time in the
//! order of their values. `delta`, `irate`, `derivative`, `slope` and `histogram` hold a few
//! numbers a group; the others hold 16 bytes a row until their group is done, since a late row may
//! fall between any two.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;

use super::bucket::ticks_per_second;
use super::session::as_text;
use super::summary::{Config, Many, Numbers, One, Sliding, Summary};
use crate::error::QueryError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Delta,
    Increase,
    Rate,
    Irate,
    Derivative,
    Slope,
    TimeWeight,
    Integral,
    Histogram,
}

/// Names, kinds and how they are called.
pub(super) const ALL: &[(&str, Kind, &str)] = &[
    ("delta", Kind::Delta, "delta(value, time)"),
    ("increase", Kind::Increase, "increase(value, time)"),
    ("rate", Kind::Rate, "rate(value, time)"),
    ("irate", Kind::Irate, "irate(value, time)"),
    ("derivative", Kind::Derivative, "derivative(value, time)"),
    ("slope", Kind::Slope, "slope(value, time)"),
    ("time_weight", Kind::TimeWeight, "time_weight('linear' | 'locf', time, value)"),
    ("time_weighted_average", Kind::TimeWeight, "time_weighted_average(['locf',] time, value)"),
    ("integral", Kind::Integral, "integral(value, time [, 'linear' | 'locf'])"),
    ("histogram", Kind::Histogram, "histogram(value, min, max, buckets)"),
];

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OfSeries {
    name: &'static str,
    kind: Kind,
    usage: &'static str,
    signature: Signature,
}

impl OfSeries {
    pub(super) fn new((name, kind, usage): (&'static str, Kind, &'static str)) -> OfSeries {
        let signature = Signature::user_defined(Volatility::Immutable);
        OfSeries { name, kind, usage, signature }
    }

    /// What the constants of a call say.
    fn config(&self, args: &AccumulatorArgs) -> Result<Config> {
        let literal = |at: usize| {
            let literal = args.exprs.get(at).and_then(|e| e.downcast_ref::<Literal>());
            literal.map(Literal::value).ok_or_else(|| {
                let message = format!("{} takes constants beside time and value", self.name);
                QueryError::new("22023", message).with_hint(self.usage).into_datafusion()
            })
        };
        let mut config = Config::default();
        if self.kind == Kind::Histogram {
            let number = |at| literal(at)?.cast_to(&DataType::Float64);
            let (min, max) = (number(1)?, number(2)?);
            let count = literal(3)?.cast_to(&DataType::Int64)?;
            return match (min, max, count) {
                (
                    ScalarValue::Float64(Some(min)),
                    ScalarValue::Float64(Some(max)),
                    ScalarValue::Int64(Some(count @ 1..=BUCKETS_MAX)),
                ) if min < max && min.is_finite() && max.is_finite() => {
                    config.range = (min, max);
                    config.count = count as usize;
                    Ok(config)
                }
                _ => {
                    let message =
                        format!("histogram needs min below max and 1 to {BUCKETS_MAX} buckets");
                    Err(QueryError::new("2201G", message).into_datafusion())
                }
            };
        }
        for (at, field) in args.expr_fields.iter().enumerate() {
            match field.data_type() {
                DataType::Timestamp(unit, _) => config.time = Some((at, ticks_per_second(*unit))),
                kind if kind.is_string() => match as_text(literal(at)?) {
                    Some(text) if text.eq_ignore_ascii_case("locf") => config.steps = true,
                    Some(text) if text.eq_ignore_ascii_case("linear") => {}
                    _ => {
                        let message = "the method is 'linear' or 'locf'";
                        return Err(QueryError::new("22023", message).into_datafusion());
                    }
                },
                _ => config.value = at,
            }
        }
        Ok(config)
    }

    fn no_function<T>(&self, types: &[DataType]) -> Result<T> {
        let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
        let message = format!("function {}({}) does not exist", self.name, shown.join(", "));
        Err(QueryError::new("42883", message).with_hint(self.usage).into_datafusion())
    }
}

/// Buckets of a histogram.
const BUCKETS_MAX: i64 = 10_000;

macro_rules! with_summary {
    ($kind:expr, $holder:ident, $config:expr) => {
        match $kind {
            Kind::Delta => Box::new($holder::<Delta>::new($config)),
            Kind::Derivative => Box::new($holder::<Derivative>::new($config)),
            Kind::Irate => Box::new($holder::<Irate>::new($config)),
            Kind::Slope => Box::new($holder::<Slope>::new($config)),
            Kind::Increase => Box::new($holder::<Increase>::new($config)),
            Kind::Rate => Box::new($holder::<Rate>::new($config)),
            Kind::TimeWeight => Box::new($holder::<TimeWeight>::new($config)),
            Kind::Integral => Box::new($holder::<Integral>::new($config)),
            Kind::Histogram => Box::new($holder::<Histogram>::new($config)),
        }
    };
}

impl AggregateUDFImpl for OfSeries {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = |kind: &DataType| kind.is_numeric() || kind.is_null();
        if self.kind == Kind::Histogram {
            return match types {
                [x, min, max, count] if [x, min, max].into_iter().all(number) && number(count) => {
                    let f = DataType::Float64;
                    Ok(vec![f.clone(), f.clone(), f, DataType::Int64])
                }
                _ => self.no_function(types),
            };
        }
        let method = matches!(self.kind, Kind::TimeWeight | Kind::Integral);
        let (mut times, mut values, mut texts) = (0, 0, 0);
        let mut out = Vec::with_capacity(types.len());
        for kind in types {
            out.push(match kind {
                DataType::Timestamp(..) => {
                    times += 1;
                    kind.clone()
                }
                kind if number(kind) => {
                    values += 1;
                    DataType::Float64
                }
                kind if kind.is_string() && method => {
                    texts += 1;
                    kind.clone()
                }
                _ => return self.no_function(types),
            });
        }
        if times == 1 && values == 1 && texts < 2 { Ok(out) } else { self.no_function(types) }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Histogram => counts_type(),
            _ => DataType::Float64,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format!("{}[summary]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::LargeBinary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let config = self.config(&args)?;
        Ok(with_summary!(self.kind, One, config))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let config = self.config(&args)?;
        Ok(with_summary!(self.kind, Sliding, config))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let config = self.config(&args)?;
        Ok(with_summary!(self.kind, Many, config))
    }
}

type Point = (i64, f64);

fn ordered(a: &Point, b: &Point) -> std::cmp::Ordering {
    a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
}

/// The first point and the last two.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    first: Option<Point>,
    before: Option<Point>,
    last: Option<Point>,
}

impl Ends {
    fn add(&mut self, point: Point) {
        if self.first.is_none_or(|first| ordered(&point, &first).is_lt()) {
            self.first = Some(point);
        }
        match self.last {
            Some(last) if ordered(&point, &last).is_lt() => {
                if self.before.is_none_or(|before| ordered(&point, &before).is_ge()) {
                    self.before = Some(point);
                }
            }
            last => (self.before, self.last) = (last, Some(point)),
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let mut numbers = Numbers(bytes);
        let mut points = Vec::with_capacity(3);
        while !numbers.is_empty() {
            points.push((numbers.i64()?, numbers.f64()?));
        }
        // Of one point, first and last are the same; of two, so are first and before.
        match points[..] {
            [] => {}
            [only] => self.add(only),
            [first, last] => [first, last].into_iter().for_each(|point| self.add(point)),
            [first, before, last, ..] => {
                [first, before, last].into_iter().for_each(|point| self.add(point));
            }
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        let mut put = |(tick, value): Point| {
            out.extend(tick.to_le_bytes());
            out.extend(value.to_le_bytes());
        };
        match self.before {
            None => put(last),
            // With more than two, the first is a point of its own.
            Some(before) if ordered(&first, &before).is_lt() => {
                [first, before, last].into_iter().for_each(put);
            }
            Some(before) => [before, last].into_iter().for_each(put),
        }
    }
}

fn seconds(config: &Config, from: i64, to: i64) -> f64 {
    let per_second = config.time.map_or(1, |(_, per_second)| per_second);
    (i128::from(to) - i128::from(from)) as f64 / per_second as f64
}

fn floats<S>(groups: Vec<S>, of: impl Fn(S) -> Option<f64>) -> Result<ArrayRef> {
    Ok(Arc::new(groups.into_iter().map(of).collect::<Float64Array>()))
}

/// Change of a counter from one reading to the next: one that falls was set back to zero.
fn grown(from: f64, to: f64) -> f64 {
    if to < from { to } else { to - from }
}

macro_rules! of_ends {
    ($name:ident, $doc:literal, |$config:ident, $ends:ident| $result:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default)]
        struct $name(Ends);

        impl Summary for $name {
            fn add(&mut self, _: &Config, tick: i64, value: f64) {
                self.0.add((tick, value));
            }

            fn merge(&mut self, bytes: &[u8]) -> Result<()> {
                self.0.merge(bytes)
            }

            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn finish($config: &Config, groups: Vec<$name>) -> Result<ArrayRef> {
                floats(groups, |group| {
                    let $ends = group.0;
                    $result
                })
            }
        }
    };
}

of_ends!(Delta, "Last value less the first.", |_config, ends| {
    Some(ends.last?.1 - ends.first?.1)
});

of_ends!(Derivative, "Change from the first to the last value, per second.", |config, ends| {
    let (first, last) = (ends.first?, ends.last?);
    let span = seconds(config, first.0, last.0);
    (span > 0.0).then(|| (last.1 - first.1) / span)
});

of_ends!(
    Irate,
    "Growth of a counter between its last two readings, per second.",
    |config, ends| {
        let (before, last) = (ends.before?, ends.last?);
        let span = seconds(config, before.0, last.0);
        (span > 0.0).then(|| grown(before.1, last.1) / span)
    }
);

/// All points, to be sorted at the end.
#[derive(Clone, Debug, Default)]
struct Points(Vec<Point>);

impl Points {
    fn sorted(mut self) -> Vec<Point> {
        if !self.0.is_sorted_by(|a, b| ordered(a, b).is_le()) {
            self.0.sort_unstable_by(ordered);
        }
        self.0
    }
}

macro_rules! of_points {
    ($name:ident, $doc:literal, |$config:ident, $points:ident| $result:expr) => {
        #[doc = $doc]
        #[derive(Clone, Debug, Default)]
        struct $name(Points);

        impl Summary for $name {
            fn add(&mut self, _: &Config, tick: i64, value: f64) {
                self.0.0.push((tick, value));
            }

            fn merge(&mut self, bytes: &[u8]) -> Result<()> {
                let mut numbers = Numbers(bytes);
                self.0.0.reserve(bytes.len() / size_of::<Point>());
                while !numbers.is_empty() {
                    self.0.0.push((numbers.i64()?, numbers.f64()?));
                }
                Ok(())
            }

            fn encode(&self, out: &mut Vec<u8>) {
                for (tick, value) in &self.0.0 {
                    out.extend(tick.to_le_bytes());
                    out.extend(value.to_le_bytes());
                }
            }

            fn heap(&self) -> usize {
                self.0.0.capacity() * size_of::<Point>()
            }

            fn finish($config: &Config, groups: Vec<$name>) -> Result<ArrayRef> {
                floats(groups, |group| {
                    let $points = group.0.sorted();
                    $result
                })
            }
        }
    };
}

fn increase(points: &[Point]) -> f64 {
    // Not `sum`, which makes -0 of nothing.
    points.windows(2).fold(0.0, |sum, pair| sum + grown(pair[0].1, pair[1].1))
}

/// Value times seconds.
fn integral(config: &Config, points: &[Point]) -> f64 {
    let area = |pair: &[Point]| {
        let height = if config.steps { pair[0].1 } else { (pair[0].1 + pair[1].1) / 2.0 };
        height * seconds(config, pair[0].0, pair[1].0)
    };
    // Points of one time enclose nothing, whatever their values are.
    let wide = points.windows(2).filter(|pair| pair[0].0 < pair[1].0);
    wide.fold(0.0, |sum, pair| sum + area(pair))
}

of_points!(Increase, "Growth of a counter.", |_config, points| {
    (!points.is_empty()).then(|| increase(&points))
});

of_points!(Rate, "Growth of a counter per second.", |config, points| {
    let (first, last) = (points.first()?, points.last()?);
    let span = seconds(config, first.0, last.0);
    (span > 0.0).then(|| increase(&points) / span)
});

of_points!(TimeWeight, "Mean in which values weigh as long as they last.", |config, points| {
    let (first, last) = (points.first()?, points.last()?);
    let span = seconds(config, first.0, last.0);
    Some(if span > 0.0 { integral(config, &points) / span } else { last.1 })
});

of_points!(Integral, "Area under the values, in their unit times seconds.", |config, points| {
    (!points.is_empty()).then(|| integral(config, &points))
});

/// Least squares by means and moments, which merge; times in seconds from the first seen.
#[derive(Clone, Copy, Debug, Default)]
struct Slope {
    count: f64,
    /// Mean of times, ticks: whole and the rest, since ticks have more digits than a float.
    origin: i64,
    time: f64,
    value: f64,
    time_time: f64,
    time_value: f64,
}

impl Slope {
    fn join(&mut self, other: Slope) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let shifted = (i128::from(other.origin) - i128::from(self.origin)) as f64 + other.time;
        let count = self.count + other.count;
        let (dt, dv) = (shifted - self.time, other.value - self.value);
        let weight = self.count * other.count / count;
        self.time_time += other.time_time + dt * dt * weight;
        self.time_value += other.time_value + dt * dv * weight;
        self.time += dt * other.count / count;
        self.value += dv * other.count / count;
        self.count = count;
    }
}

impl Summary for Slope {
    fn add(&mut self, _: &Config, tick: i64, value: f64) {
        self.join(Slope { count: 1.0, origin: tick, value, ..Slope::default() });
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let mut n = Numbers(bytes);
        if n.is_empty() {
            return Ok(());
        }
        self.join(Slope {
            origin: n.i64()?,
            count: n.f64()?,
            time: n.f64()?,
            value: n.f64()?,
            time_time: n.f64()?,
            time_value: n.f64()?,
        });
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.origin.to_le_bytes());
        for number in [self.count, self.time, self.value, self.time_time, self.time_value] {
            out.extend(number.to_le_bytes());
        }
    }

    fn finish(config: &Config, groups: Vec<Slope>) -> Result<ArrayRef> {
        let per_second = config.time.map_or(1, |(_, per_second)| per_second) as f64;
        floats(groups, |s| (s.time_time > 0.0).then(|| s.time_value / s.time_time * per_second))
    }
}

fn counts_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)))
}

/// Counts below, in each bucket, and from the upper bound on.
#[derive(Clone, Debug, Default)]
struct Histogram(Vec<i64>);

impl Summary for Histogram {
    fn add(&mut self, config: &Config, _: i64, value: f64) {
        self.0.resize(config.count + 2, 0);
        let (min, max) = config.range;
        let bucket = if value < min {
            0
        } else if value >= max || value.is_nan() {
            config.count + 1
        } else {
            let share = (value - min) / (max - min);
            ((share * config.count as f64) as usize).min(config.count - 1) + 1
        };
        self.0[bucket] += 1;
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let mut numbers = Numbers(bytes);
        self.0.resize(self.0.len().max(bytes.len() / size_of::<i64>()), 0);
        let mut at = 0;
        while !numbers.is_empty() {
            self.0[at] += numbers.i64()?;
            at += 1;
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|count| out.extend(count.to_le_bytes()));
    }

    fn heap(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }

    fn finish(_: &Config, groups: Vec<Histogram>) -> Result<ArrayRef> {
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|g| g.0.len()));
        let known = groups.iter().map(|g| !g.0.is_empty()).collect::<Vec<_>>().into();
        let counts: Int64Array = groups.into_iter().flat_map(|g| g.0).collect::<Vec<_>>().into();
        Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(counts), Some(known))?))
    }
}

#[cfg(test)]
mod tests;

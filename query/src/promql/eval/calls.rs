//! Calls of functions that give vectors.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Eval, Gather, Grid, Series, Sink, wrong_kind};
use crate::error::{QueryError, QueryResult};
use crate::promql::ast::{Call, Expr, Kind};
use crate::promql::elements::{NONE, clamp, is_none, round};
use crate::promql::functions::Body;
use crate::promql::histogram::{self, Bucket};
use crate::promql::labels::{Labels, METRIC_NAME};
use crate::promql::matcher::{MatchOp, Matcher, RegexBudget, anchored};
use crate::promql::text::ns_to_seconds;

/// Bytes of a label's value that a function may make.
const LABEL_BYTES_MAX: usize = 64 << 10;

fn check_label_bytes(bytes: usize) -> QueryResult<()> {
    if bytes > LABEL_BYTES_MAX {
        let message = format!("a label's value would be longer than {LABEL_BYTES_MAX} bytes");
        return Err(QueryError::new("54000", message));
    }
    Ok(())
}

/// The label that holds the upper bound of a bucket.
const BUCKET: &str = "le";

impl Eval<'_> {
    pub(super) fn call(&self, call: &Call, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        let arg = |n: usize| {
            let missing =
                || QueryError::internal(format!("{} without argument {n}", call.function.name));
            call.args.get(n).ok_or_else(missing)
        };
        match call.function.body {
            Body::Number(f) => self.mapped(arg(0)?, grid, true, &|_, value| f(value), sink),
            Body::Clock(f) => match call.args.first() {
                Some(inner) => self.mapped(inner, grid, true, &|_, value| f(value), sink),
                None => {
                    let times = (0..grid.count).map(|i| f(ns_to_seconds(grid.time(i))));
                    sink(Series { labels: Labels::default(), values: times.collect() })
                }
            },
            Body::Over(window) => self.over(window, call, grid, sink),
            Body::AbsentOver => {
                let mut there = vec![false; grid.count];
                self.mark_windows(arg(0)?, grid, &mut there)?;
                sink(absent(arg(0)?, &there))
            }
            Body::Absent => {
                let mut there = vec![false; grid.count];
                self.stream(arg(0)?, grid, &mut |series| {
                    let values = there.iter_mut().zip(&series.values);
                    values.for_each(|(there, value)| *there |= !is_none(*value));
                    Ok(())
                })?;
                sink(absent(arg(0)?, &there))
            }
            Body::Clamp => {
                let (min, max) = (self.scalar(arg(1)?, grid)?, self.scalar(arg(2)?, grid)?);
                let f = |i: usize, value| match max[i] < min[i] {
                    true => NONE,
                    false => clamp(value, min[i], max[i]),
                };
                self.mapped(arg(0)?, grid, true, &f, sink)
            }
            Body::ClampMin => {
                let min = self.scalar(arg(1)?, grid)?;
                let f = |i: usize, value| clamp(value, min[i], f64::INFINITY);
                self.mapped(arg(0)?, grid, true, &f, sink)
            }
            Body::ClampMax => {
                let max = self.scalar(arg(1)?, grid)?;
                let f = |i: usize, value| clamp(value, f64::NEG_INFINITY, max[i]);
                self.mapped(arg(0)?, grid, true, &f, sink)
            }
            Body::Round => {
                let to = match call.args.get(1) {
                    Some(to) => self.scalar(to, grid)?,
                    None => vec![1.0; grid.count],
                };
                self.mapped(arg(0)?, grid, true, &|i, value| round(value, to[i]), sink)
            }
            Body::Timestamp => {
                if let Expr::Vector(selector) = arg(0)?.bare() {
                    let mut all = Gather::new(&self.account);
                    self.instant(selector, grid, true, &mut |mut series| {
                        series.labels = series.labels.nameless();
                        all.add(series)
                    })?;
                    return all.done().series.into_iter().try_for_each(sink);
                }
                let f = |i: usize, _| ns_to_seconds(grid.time(i));
                self.mapped(arg(0)?, grid, true, &f, sink)
            }
            Body::Vector => {
                let values = self.scalar(arg(0)?, grid)?;
                sink(Series { labels: Labels::default(), values })
            }
            Body::Sort { descending } => self.sort(arg(0)?, grid, descending, sink),
            Body::SortByLabel { descending } => self.sort_by_label(call, grid, descending, sink),
            Body::LabelReplace => self.label_replace(call, grid, sink),
            Body::LabelJoin => self.label_join(call, grid, sink),
            Body::HistogramQuantile => self.histogram_quantile(arg(0)?, arg(1)?, grid, sink),
            Body::Pi | Body::Scalar | Body::Time => {
                Err(wrong_kind(&Expr::Call(Box::new(call.clone())), Kind::Vector))
            }
        }
    }

    /// By value; over several steps series have no order.
    fn sort(
        &self,
        inner: &Expr,
        grid: Grid,
        descending: bool,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let mut all = self.vector(inner, grid)?;
        if grid.count == 1 {
            // NaN comes last either way.
            all.series.sort_by(|a, b| {
                let (a, b) = (a.values[0], b.values[0]);
                let order = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
                match descending && !a.is_nan() && !b.is_nan() {
                    true => order.reverse(),
                    false => order,
                }
            });
        }
        all.series.into_iter().try_for_each(sink)
    }

    fn sort_by_label(
        &self,
        call: &Call,
        grid: Grid,
        descending: bool,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let (names, mut all) = (texts(call)?, self.vector(&call.args[0], grid)?);
        if grid.count == 1 {
            all.series.sort_by(|a, b| {
                let by = names.iter().map(|name| natural(a.labels.get(name), b.labels.get(name)));
                let order = by.fold(Ordering::Equal, Ordering::then);
                let order = order.then_with(|| a.labels.cmp(&b.labels));
                if descending { order.reverse() } else { order }
            });
        }
        all.series.into_iter().try_for_each(sink)
    }

    fn label_replace(&self, call: &Call, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        let texts = texts(call)?;
        let [to, with, from, regex] = &texts[..] else {
            return Err(QueryError::internal("label_replace without its texts"));
        };
        check_label(to, "label_replace")?;
        let regex = anchored(regex, &mut RegexBudget::default())?;
        let references = with.matches('$').count();
        self.relabelled(&call.args[0], grid, sink, &|labels| {
            let source = labels.get(from);
            let Some(found) = regex.captures(source) else { return Ok(None) };
            check_label_bytes(with.len() + references * source.len())?;
            let mut value = String::new();
            found.expand(with, &mut value);
            Ok(Some(labels.with(to, &value)))
        })
    }

    fn label_join(&self, call: &Call, grid: Grid, sink: &mut Sink<'_>) -> QueryResult<()> {
        let texts = texts(call)?;
        let [to, between, from @ ..] = &texts[..] else {
            return Err(QueryError::internal("label_join without its texts"));
        };
        for label in std::iter::once(to).chain(from) {
            check_label(label, "label_join")?;
        }
        self.relabelled(&call.args[0], grid, sink, &|labels| {
            let values: Vec<&str> = from.iter().map(|label| labels.get(label)).collect();
            let bytes: usize = values.iter().map(|value| value.len() + between.len()).sum();
            check_label_bytes(bytes)?;
            Ok(Some(labels.with(to, &values.join(between))))
        })
    }

    /// Series with other labels, those that are the same afterwards as one.
    fn relabelled(
        &self,
        inner: &Expr,
        grid: Grid,
        sink: &mut Sink<'_>,
        relabel: &dyn Fn(&Labels) -> QueryResult<Option<Labels>>,
    ) -> QueryResult<()> {
        let mut all = Gather::new(&self.account);
        self.stream(inner, grid, &mut |mut series| {
            if let Some(labels) = relabel(&series.labels)? {
                series.labels = labels;
            }
            all.add(series)
        })?;
        all.done().series.into_iter().try_for_each(sink)
    }

    fn histogram_quantile(
        &self,
        q: &Expr,
        inner: &Expr,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> QueryResult<()> {
        let q = self.scalar(q, grid)?;
        let all = self.vector(inner, grid)?;
        let mut groups: HashMap<Labels, Vec<(f64, &Series)>> = HashMap::new();
        let mut order = Vec::new();
        let le = [BUCKET.to_owned()];
        for series in &all.series {
            let Some(bound) = bound(series.labels.get(BUCKET)) else { continue };
            let labels = series.labels.without(&le);
            let group = groups.entry(labels.clone()).or_insert_with(|| {
                order.push(labels);
                Vec::new()
            });
            group.push((bound, series));
        }
        let mut buckets = Vec::new();
        for labels in order {
            self.stop.check()?;
            let Some(group) = groups.get(&labels) else { continue };
            let mut values = vec![NONE; grid.count];
            for (step, value) in values.iter_mut().enumerate() {
                buckets.clear();
                let counts = group.iter().map(|(bound, series)| (*bound, series.values[step]));
                let counts = counts.filter(|(_, count)| !is_none(*count));
                buckets.extend(counts.map(|(bound, count)| Bucket { bound, count }));
                if !buckets.is_empty() {
                    *value = histogram::quantile(q[step], &mut buckets);
                }
            }
            sink(Series { labels, values })?;
        }
        Ok(())
    }
}

/// A bucket's bound; `None` for what is no number.
fn bound(text: &str) -> Option<f64> {
    let text = text.trim();
    text.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

/// 1 where nothing is there, under the labels that the selector says for sure.
fn absent(expr: &Expr, there: &[bool]) -> Series {
    let matchers: &[Matcher] = match expr.bare() {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => &selector.matchers,
        _ => &[],
    };
    let known = matchers.iter().filter(|matcher| {
        let others = matchers.iter().filter(|other| other.name == matcher.name).count();
        matcher.op == MatchOp::Equal && matcher.name != METRIC_NAME && others == 1
    });
    let labels =
        Labels::new(known.map(|m| (m.name.as_str().into(), m.value.as_str().into())).collect());
    let values = there.iter().map(|there| if *there { NONE } else { 1.0 }).collect();
    Series { labels, values }
}

/// The texts among the arguments.
fn texts(call: &Call) -> QueryResult<Vec<String>> {
    let text = |arg: &Expr| match arg.bare() {
        Expr::Text(text) => Ok(text.clone()),
        other => Err(wrong_kind(other, Kind::Text)),
    };
    call.args.iter().skip(1).map(text).collect()
}

/// A name that a label can have.
fn check_label(name: &str, function: &str) -> QueryResult<()> {
    if !name.is_empty() && !name.contains('\0') {
        return Ok(());
    }
    let message = format!("invalid label name in {function}(): {name:?}");
    Err(QueryError::new("22023", message))
}

/// Order of texts in which numbers count as such: `a2` before `a10`.
fn natural(a: &str, b: &str) -> Ordering {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (mut a, mut b) = (a, b);
    while let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) {
        let (m, n) = (digits(a), digits(b));
        if m > 0 && n > 0 {
            let number = |text: &str| text.trim_start_matches('0').to_owned();
            let (left, right) = (number(&a[..m]), number(&b[..n]));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(&right));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
        } else if x != y {
            return x.cmp(&y);
        } else {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
        }
    }
    a.len().cmp(&b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_ordered_as_numbers() {
        let mut all = ["a10", "a2", "b", "a", "a2b", "a02c", "é1"];
        all.sort_by(|a, b| natural(a, b));
        assert_eq!(all, ["a", "a2", "a2b", "a02c", "a10", "b", "é1"]);
    }
}

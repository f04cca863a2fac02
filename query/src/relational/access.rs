//! What filters say of keys: the ranges of a table or an index to look into. They bound what is read;
//! the filters themselves come again behind the scan.

use std::collections::BTreeSet;
use std::ops::Bound;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::key;
use super::kind::{Datum, Kind};
use super::view::behind;

/// Keys that a scan looks up one by one.
const POINTS_MAX: usize = 10_000;

pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Where a scan looks.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The index whose entries lead to the rows; `None`: the rows themselves.
    pub(super) index: Option<u32>,
    /// In order, and apart from each other.
    pub(super) ranges: Vec<Range>,
    /// The whole table.
    pub(super) all: bool,
}

/// What the values of one column must be.
#[derive(Default)]
pub(super) struct Wanted {
    one_of: Option<BTreeSet<Vec<u8>>>,
    from: Option<(Vec<u8>, bool)>,
    to: Option<(Vec<u8>, bool)>,
}

impl Wanted {
    /// Takes in what a filter says of the column.
    pub(super) fn narrow(&mut self, filter: &Expr, name: &str, kind: Kind) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.narrow(left, name, kind);
                self.narrow(right, name, kind);
            }
            // Small lists come as chains of OR.
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => {
                if let Some(values) = any_of(filter, name, kind) {
                    self.meet(values);
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let (op, value) = if is_column(left, name) {
                    (Some(*op), right)
                } else if is_column(right, name) {
                    (op.swap(), left)
                } else {
                    return;
                };
                let (Some(op), Some(value)) = (op, literal(value, kind)) else { return };
                match op {
                    Operator::Eq => self.meet([value].into()),
                    Operator::Gt => raise(&mut self.from, value, false),
                    Operator::GtEq => raise(&mut self.from, value, true),
                    Operator::Lt => lower(&mut self.to, value, false),
                    Operator::LtEq => lower(&mut self.to, value, true),
                    _ => {}
                }
            }
            Expr::InList(list) if !list.negated && is_column(&list.expr, name) => {
                let values = list.list.iter().map(|value| literal(value, kind));
                if let Some(values) = values.collect::<Option<BTreeSet<_>>>() {
                    self.meet(values);
                }
            }
            Expr::Between(between) if !between.negated && is_column(&between.expr, name) => {
                let (low, high) = (literal(&between.low, kind), literal(&between.high, kind));
                if let Some(low) = low {
                    raise(&mut self.from, low, true);
                }
                if let Some(high) = high {
                    lower(&mut self.to, high, true);
                }
            }
            _ => {}
        }
    }

    fn meet(&mut self, values: BTreeSet<Vec<u8>>) {
        self.one_of = Some(match self.one_of.take() {
            None => values,
            Some(before) => before.intersection(&values).cloned().collect(),
        });
    }
}

/// `a = 1 OR a = 2 …`
fn any_of(expr: &Expr, name: &str, kind: Kind) -> Option<BTreeSet<Vec<u8>>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    match op {
        Operator::Or => {
            let mut all = any_of(left, name, kind)?;
            all.extend(any_of(right, name, kind)?);
            Some(all)
        }
        Operator::Eq if is_column(left, name) => Some([literal(right, kind)?].into()),
        Operator::Eq if is_column(right, name) => Some([literal(left, kind)?].into()),
        _ => None,
    }
}

fn raise(bound: &mut Option<(Vec<u8>, bool)>, value: Vec<u8>, with: bool) {
    let higher = |(before, including): &(Vec<u8>, bool)| {
        value > *before || (value == *before && *including && !with)
    };
    if bound.as_ref().is_none_or(higher) {
        *bound = Some((value, with));
    }
}

fn lower(bound: &mut Option<(Vec<u8>, bool)>, value: Vec<u8>, with: bool) {
    let less = |(before, including): &(Vec<u8>, bool)| {
        value < *before || (value == *before && *including && !with)
    };
    if bound.as_ref().is_none_or(less) {
        *bound = Some((value, with));
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(column) if column.name == name)
}

/// The key of a literal that surely means the same in the column.
fn literal(expr: &Expr, kind: Kind) -> Option<Vec<u8>> {
    let Expr::Literal(value, _) = expr else { return None };
    let value = datum(value, kind)?;
    let mut out = Vec::new();
    key::put(&mut out, &value);
    Some(out)
}

/// A value that surely means the same in a column of that type; never NULL.
pub(super) fn datum(value: &ScalarValue, kind: Kind) -> Option<Datum> {
    use ScalarValue as S;
    Some(match (value, kind) {
        (S::Boolean(Some(v)), Kind::Bool) => Datum::Bool(*v),
        (S::Int16(Some(v)), k) if k.is_integer() => Datum::Int((*v).into()),
        (S::Int32(Some(v)), k) if k.is_integer() => Datum::Int((*v).into()),
        (S::Int64(Some(v)), k) if k.is_integer() => Datum::Int(*v),
        (S::Float64(Some(v)), Kind::Float8) => Datum::Float(*v),
        (S::Float32(Some(v)), Kind::Float4) => Datum::Float((*v).into()),
        (S::Decimal128(Some(v), _, s), Kind::Numeric(_, t)) if *s == t => Datum::Decimal(*v),
        (S::Utf8(Some(v)) | S::Utf8View(Some(v)) | S::LargeUtf8(Some(v)), k) if k.is_text() => {
            Datum::Text(v.clone())
        }
        (S::Binary(Some(v)) | S::BinaryView(Some(v)), Kind::Bytes) => Datum::Bytes(v.clone()),
        (S::FixedSizeBinary(_, Some(v)), Kind::Uuid) => Datum::Uuid(v[..].try_into().ok()?),
        (S::Date32(Some(v)), Kind::Date) => Datum::Int((*v).into()),
        (S::TimestampMicrosecond(Some(v), None), Kind::Timestamp) => Datum::Int(*v),
        (S::TimestampMicrosecond(Some(v), Some(_)), Kind::Timestamptz) => Datum::Int(*v),
        _ => return None,
    })
}

/// The ranges of keys behind a prefix, and how many columns bound them: twice the number of those
/// with one value or several, and one for a range.
pub(super) fn ranges(prefix: &[u8], wanted: &[Wanted]) -> (usize, Vec<Range>) {
    let mut starts = vec![prefix.to_vec()];
    let mut depth = 0;
    for column in wanted {
        if let Some(values) = &column.one_of
            && starts.len() * values.len().max(1) <= POINTS_MAX
        {
            let longer = |start: &Vec<u8>| {
                values.iter().map(|value| [&start[..], value].concat()).collect::<Vec<_>>()
            };
            starts = starts.iter().flat_map(longer).collect();
            depth += 2;
            continue;
        }
        if column.from.is_none() && column.to.is_none() {
            break;
        }
        depth += 1;
        let range = |start: Vec<u8>| {
            let at = |value: &[u8]| [&start[..], value].concat();
            let behind = |key: &[u8]| behind(key).map_or(Bound::Unbounded, Bound::Excluded);
            let from = match &column.from {
                None => Bound::Included(start.clone()),
                Some((value, true)) => Bound::Included(at(value)),
                Some((value, false)) => match behind(&at(value)) {
                    Bound::Excluded(key) => Bound::Included(key),
                    other => other,
                },
            };
            let to = match &column.to {
                None => behind(&start),
                Some((value, true)) => behind(&at(value)),
                Some((value, false)) => Bound::Excluded(at(value)),
            };
            (from, to)
        };
        return (depth, starts.into_iter().map(range).collect());
    }
    let whole = |start: Vec<u8>| {
        let end = behind(&start).map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(start), end)
    };
    (depth, starts.into_iter().map(whole).collect())
}

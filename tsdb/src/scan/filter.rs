//! Exact tests of one field: what SQL's WHERE says of a cell.

use std::cmp::Ordering;

use crate::part::{ZoneStats, ZoneValues};
use crate::types::{CellState, Column, ColumnId, ValueRef, Values};

/// A test of a field that a row must pass.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldFilter {
    /// The field.
    pub column: ColumnId,
    /// The test.
    pub test: FieldTest,
}

/// What a cell must be. A null or absent cell passes no comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldTest {
    /// A value that compares so with a literal.
    Compare(Comparison, Literal),
    /// Any value.
    Present,
    /// No value.
    Missing,
}

/// How a value compares. NaN equals itself and is above all numbers; zeros are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
}

/// What a value is compared with. A float beside an integer column compares as floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Literal {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
}

impl Literal {
    fn as_float(self) -> Option<f64> {
        match self {
            Literal::Int(v) => Some(v as f64),
            Literal::Float(v) => Some(v),
            Literal::Bool(_) => None,
        }
    }
}

impl Comparison {
    /// Whether two numbers of one type compare so; false for other values.
    pub fn between(self, a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
        match (a, b) {
            (ValueRef::Int(a), ValueRef::Int(b)) => self.holds(a.cmp(&b)),
            (ValueRef::Float(a), ValueRef::Float(b)) => self.holds(order(a, b)),
            _ => false,
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Less => order.is_lt(),
            Comparison::LessEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterEqual => order.is_ge(),
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
        }
    }
}

/// Order of floats as SQL has it: NaN last and equal to itself.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// What statistics say of the rows of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    None,
    Some,
    All,
}

impl FieldTest {
    /// Whether a cell passes.
    pub(super) fn passes(&self, state: CellState, value: ValueRef<'_>) -> bool {
        match self {
            FieldTest::Present => state.is_value(),
            FieldTest::Missing => !state.is_value(),
            FieldTest::Compare(..) if !state.is_value() => false,
            FieldTest::Compare(comparison, literal) => match (value, literal) {
                (ValueRef::Int(v), Literal::Int(l)) => comparison.holds(v.cmp(l)),
                (ValueRef::Int(v), Literal::Float(l)) => comparison.holds(order(v as f64, *l)),
                (ValueRef::Float(v), Literal::Float(l)) => comparison.holds(order(v, *l)),
                (ValueRef::Float(v), Literal::Int(l)) => comparison.holds(order(v, *l as f64)),
                (ValueRef::Bool(v), Literal::Bool(l)) => comparison.holds(v.cmp(l)),
                _ => false,
            },
        }
    }

    /// Clears `keep` where a cell of `column[start..]` does not pass; `None` is a column in which
    /// all cells are absent.
    pub(super) fn apply(&self, column: Option<&Column>, start: usize, keep: &mut [bool]) {
        let Some(column) = column else {
            if *self != FieldTest::Missing {
                keep.fill(false);
            }
            return;
        };
        let end = start + keep.len();
        match (self, &column.values) {
            (FieldTest::Present, _) => {}
            (FieldTest::Compare(comparison, literal), Values::Float(values))
                if literal.as_float().is_some_and(|l| !l.is_nan()) =>
            {
                let literal = literal.as_float().unwrap_or_default();
                floats(*comparison, literal, &values[start..end], |v| v, keep);
            }
            (FieldTest::Compare(comparison, Literal::Int(literal)), Values::Int(values)) => {
                ints(*comparison, *literal, &values[start..end], keep);
            }
            (FieldTest::Compare(comparison, Literal::Float(literal)), Values::Int(values))
                if !literal.is_nan() =>
            {
                floats(*comparison, *literal, &values[start..end], |v| v as f64, keep);
            }
            _ => {
                for (i, keep) in keep.iter_mut().enumerate() {
                    let (state, value) = column.cell(start + i);
                    *keep &= self.passes(state, value);
                }
                return;
            }
        }
        // Where there is no value, what stands in its place was compared: it counts for nothing.
        if let Some(states) = &column.states {
            let states = &states[start..end];
            keep.iter_mut().zip(states).for_each(|(keep, s)| *keep &= CellState(*s).is_value());
        }
    }

    /// What holds for the `rows` rows of a zone; `None` where the column is absent in all.
    pub(super) fn verdict(&self, stats: Option<&ZoneStats>, rows: u32) -> Verdict {
        let values = stats.map_or(0, ZoneStats::count);
        let share = |passing: u32| match passing {
            0 => Verdict::None,
            n if n == rows => Verdict::All,
            _ => Verdict::Some,
        };
        let (comparison, literal) = match self {
            FieldTest::Present => return share(values),
            FieldTest::Missing => return share(rows - values.min(rows)),
            FieldTest::Compare(comparison, literal) => (*comparison, literal),
        };
        let Some(stats) = stats.filter(|_| values > 0) else { return Verdict::None };
        let Some((least, most)) = range(stats, literal) else { return Verdict::Some };
        let (low, high) = (comparison.holds(least), comparison.holds(most));
        let all = match comparison {
            // Between the ends of a range everything lies as both ends do.
            Comparison::Less
            | Comparison::LessEqual
            | Comparison::Greater
            | Comparison::GreaterEqual => low && high,
            Comparison::Equal => low && high,
            Comparison::NotEqual => least.is_gt() || most.is_lt(),
        };
        let none = match comparison {
            Comparison::Less
            | Comparison::LessEqual
            | Comparison::Greater
            | Comparison::GreaterEqual => !low && !high,
            Comparison::Equal => least.is_gt() || most.is_lt(),
            Comparison::NotEqual => least.is_eq() && most.is_eq(),
        };
        match (none, all) {
            (true, _) => Verdict::None,
            (_, true) => share(values),
            _ => Verdict::Some,
        }
    }
}

/// The common cases without a branch or a call a value. NaN is above every number.
fn floats<T: Copy>(
    comparison: Comparison,
    literal: f64,
    values: &[T],
    float: impl Fn(T) -> f64,
    keep: &mut [bool],
) {
    match comparison {
        Comparison::Less => each(keep, values, |v| float(v) < literal),
        Comparison::LessEqual => each(keep, values, |v| float(v) <= literal),
        Comparison::Greater => each(keep, values, |v| {
            let v = float(v);
            v > literal || v.is_nan()
        }),
        Comparison::GreaterEqual => each(keep, values, |v| {
            let v = float(v);
            v >= literal || v.is_nan()
        }),
        Comparison::Equal => each(keep, values, |v| float(v) == literal),
        Comparison::NotEqual => each(keep, values, |v| float(v) != literal),
    }
}

fn ints(comparison: Comparison, literal: i64, values: &[i64], keep: &mut [bool]) {
    match comparison {
        Comparison::Less => each(keep, values, |v| v < literal),
        Comparison::LessEqual => each(keep, values, |v| v <= literal),
        Comparison::Greater => each(keep, values, |v| v > literal),
        Comparison::GreaterEqual => each(keep, values, |v| v >= literal),
        Comparison::Equal => each(keep, values, |v| v == literal),
        Comparison::NotEqual => each(keep, values, |v| v != literal),
    }
}

fn each<T: Copy>(keep: &mut [bool], values: &[T], test: impl Fn(T) -> bool) {
    keep.iter_mut().zip(values).for_each(|(keep, value)| *keep &= test(*value));
}

/// How the least and the greatest value of a zone compare with a literal.
fn range(stats: &ZoneStats, literal: &Literal) -> Option<(Ordering, Ordering)> {
    match (&stats.values, literal) {
        (ZoneValues::Int { min, max, .. }, Literal::Int(l)) => Some((min.cmp(l), max.cmp(l))),
        (ZoneValues::Int { min, max, .. }, Literal::Float(l)) => {
            Some((order(*min as f64, *l), order(*max as f64, *l)))
        }
        (ZoneValues::Int { min, max, .. }, Literal::Bool(l)) => {
            let l = i64::from(*l);
            Some((min.cmp(&l), max.cmp(&l)))
        }
        // A NaN lies above the range that is known.
        (ZoneValues::Float { nan: true, .. }, _) => None,
        (ZoneValues::Float { min, max, .. }, Literal::Float(l)) => {
            Some((order(*min, *l), order(*max, *l)))
        }
        (ZoneValues::Float { min, max, .. }, Literal::Int(l)) => {
            Some((order(*min, *l as f64), order(*max, *l as f64)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comparisons() -> impl Strategy<Value = Comparison> {
        use Comparison::*;
        prop::sample::select(vec![Less, LessEqual, Greater, GreaterEqual, Equal, NotEqual])
    }

    /// Few values, so that they meet, and the borders of their types.
    fn numbers() -> impl Strategy<Value = f64> {
        let odd = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 9.3e18, 9.007e15];
        prop_oneof![(-4..4i32).prop_map(|n| f64::from(n) / 2.0), prop::sample::select(odd)]
    }

    fn integers() -> impl Strategy<Value = i64> {
        let odd = vec![i64::MIN, i64::MAX, (1 << 53) + 1, (1 << 53) - 1, 1 << 53];
        prop_oneof![-3..3i64, prop::sample::select(odd)]
    }

    fn literals() -> impl Strategy<Value = Literal> {
        prop_oneof![
            integers().prop_map(Literal::Int),
            numbers().prop_map(Literal::Float),
            any::<bool>().prop_map(Literal::Bool),
        ]
    }

    fn values() -> impl Strategy<Value = Values> {
        prop_oneof![
            prop::collection::vec(integers(), 40).prop_map(Values::Int),
            prop::collection::vec(numbers(), 40).prop_map(Values::Float),
            prop::collection::vec(any::<bool>(), 40).prop_map(Values::Bool),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whole columns are tested as their cells are, one by one.
        #[test]
        fn columns_pass_as_cells_do(
            comparison in comparisons(),
            literal in literals(),
            values in values(),
            states in prop::option::of(prop::collection::vec(0..3u8, 40)),
            kept in prop::collection::vec(any::<bool>(), 0..40),
            start in 0..40usize,
        ) {
            let column = Column { values, states };
            let rows = kept.len().min(40 - start);
            for test in [
                FieldTest::Compare(comparison, literal),
                FieldTest::Present,
                FieldTest::Missing,
            ] {
                let mut keep = kept[..rows].to_vec();
                test.apply(Some(&column), start, &mut keep);
                for row in 0..rows {
                    let (state, value) = column.cell(start + row);
                    prop_assert_eq!(keep[row], kept[row] && test.passes(state, value));
                }
            }
        }
    }
}

//! WHERE of a syntax tree as what a scan takes: a range of times, a set of series, tests of fields.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};
use tsdb::series::{Bitmap, KeyTest};
use tsdb::types::{ColumnId, ColumnType, TimeRange};
use tsdb::{Comparison, FieldFilter, FieldTest, Literal, Table};

use super::syntax::Scope;
use crate::table::Source;
use crate::table::predicate::compare;

/// Depth of AND, OR and parentheses looked into; deeper texts are planned.
const DEPTH_MAX: usize = 200;

/// What WHERE leaves.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) series: Option<Bitmap>,
    pub(super) times: TimeRange,
    pub(super) filters: Vec<FieldFilter>,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { series: None, times: TimeRange::ALL, filters: Vec::new() }
    }
}

impl Selection {
    /// Narrows by a condition; `None` if it is not surely understood.
    pub(super) fn narrow(&mut self, expr: &Expr, scope: &Scope<'_>) -> Option<()> {
        self.narrow_at(expr, scope, 0)
    }

    fn narrow_at(&mut self, expr: &Expr, scope: &Scope<'_>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match expr {
            Expr::Nested(inner) => self.narrow_at(inner, scope, depth + 1),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.narrow_at(left, scope, depth + 1)?;
                self.narrow_at(right, scope, depth + 1)
            }
            Expr::Between { expr, negated: false, low, high }
                if scope.column(expr)? == Source::Time =>
            {
                let low = scope.times(&BinaryOperator::GtEq, low)?;
                let high = scope.times(&BinaryOperator::LtEq, high)?;
                self.times = self.times.intersect(&low).intersect(&high);
                Some(())
            }
            Expr::BinaryOp { left, op, right } if *op != BinaryOperator::Or => {
                match (scope.column(left), scope.column(right)) {
                    (Some(source), None) => self.compare(source, op.clone(), right, scope),
                    (None, Some(source)) => self.compare(source, swapped(op)?, left, scope),
                    _ => None,
                }
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner)
                if matches!(scope.column(inner)?, Source::Field(..)) =>
            {
                let Source::Field(column, _) = scope.column(inner)? else { return None };
                let missing = matches!(expr, Expr::IsNull(_));
                let test = if missing { FieldTest::Missing } else { FieldTest::Present };
                self.filters.push(FieldFilter { column, test });
                Some(())
            }
            _ => {
                let found = keys(expr, scope, depth)?;
                self.only(found);
                Some(())
            }
        }
    }

    fn only(&mut self, found: Bitmap) {
        self.series = Some(match self.series.take() {
            Some(before) => before.and(&found),
            None => found,
        });
    }

    fn compare(
        &mut self,
        source: Source,
        op: BinaryOperator,
        literal: &Expr,
        scope: &Scope<'_>,
    ) -> Option<()> {
        match source {
            Source::Time => {
                self.times = self.times.intersect(&scope.times(&op, literal)?);
                Some(())
            }
            Source::Key(id, ColumnType::Text) if op == BinaryOperator::Eq => {
                self.only(equal(id, vec![scope.reader.text(literal)?], scope.table));
                Some(())
            }
            Source::Field(column, kind) => {
                let literal = scope.reader.number(literal)?;
                let fits = match (kind, literal) {
                    (ColumnType::Bool, Literal::Bool(_)) => true,
                    (ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64, literal) => {
                        !matches!(literal, Literal::Bool(_))
                    }
                    (ColumnType::Float64, literal) => !matches!(literal, Literal::Bool(_)),
                    _ => false,
                };
                let test = FieldTest::Compare(comparison(&op)?, literal);
                fits.then(|| self.filters.push(FieldFilter { column, test }))
            }
            _ => None,
        }
    }
}

/// The comparison that an operator is.
pub(super) fn comparison(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterEqual,
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        _ => return None,
    })
}

fn swapped(op: &BinaryOperator) -> Option<BinaryOperator> {
    Some(match op {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        BinaryOperator::Eq | BinaryOperator::NotEq => op.clone(),
        _ => return None,
    })
}

/// The series for which a condition on text keys alone is true.
fn keys(expr: &Expr, scope: &Scope<'_>, depth: usize) -> Option<Bitmap> {
    if depth > DEPTH_MAX {
        return None;
    }
    let key = |expr: &Expr| match scope.column(expr)? {
        Source::Key(id, ColumnType::Text) => Some(id),
        _ => None,
    };
    let all = scope.table.series_count();
    match expr {
        Expr::Nested(inner) => keys(inner, scope, depth + 1),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            Some(keys(left, scope, depth + 1)?.or(&keys(right, scope, depth + 1)?))
        }
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            Some(keys(left, scope, depth + 1)?.and(&keys(right, scope, depth + 1)?))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (id, literal) = match (key(left), key(right)) {
                (Some(id), None) => (id, right),
                (None, Some(id)) => (id, left),
                _ => return None,
            };
            Some(equal(id, vec![scope.reader.text(literal)?], scope.table))
        }
        Expr::InList { expr, list, negated: false } => {
            let id = key(expr)?;
            let texts: Option<Vec<String>> = list.iter().map(|e| scope.reader.text(e)).collect();
            Some(equal(id, texts?, scope.table))
        }
        Expr::IsNull(inner) => {
            Some(scope.table.series().select(key(inner)?, &KeyTest::Missing, all))
        }
        Expr::IsNotNull(inner) => {
            Some(scope.table.series().select(key(inner)?, &KeyTest::Present, all))
        }
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => None,
        _ => None,
    }
}

/// The series whose key is one of these texts. An empty text is a missing value, which equals
/// nothing.
fn equal(column: ColumnId, texts: Vec<String>, table: &Table) -> Bitmap {
    let values = texts.into_iter().filter(|t| !t.is_empty()).map(String::into_bytes).collect();
    table.series().select(column, &KeyTest::In(values), table.series_count())
}

impl Scope<'_> {
    /// The stored times for which `time <op> literal` is true.
    fn times(&self, op: &BinaryOperator, literal: &Expr) -> Option<TimeRange> {
        use datafusion::logical_expr::Operator;
        let op = match op {
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::Eq => Operator::Eq,
            _ => return None,
        };
        compare(op, self.reader.time(literal)?)
    }
}

//! `SELECT columns FROM table WHERE key = value`, without a plan: the row is looked up.
//!
//! What is not surely understood is left to DataFusion, which is the slow twin.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, SelectItem, UnaryOperator, Value, WildcardAdditionalOptions,
};

use super::access::datum;
use super::def::{SPACE_ROWS, TableDef};
use super::key;
use super::kind::{Datum, Kind};
use super::provider::{Reader, RelationTable};
use super::view::View;
use super::writer::row_key;
use crate::error::QueryResult;
use crate::names::folded;
use crate::plan::PlanContext;
use crate::plan::origins::{self, Origin};
use crate::uuid::parse_uuid;

/// A statement that gives the row of one key.
pub(crate) struct PointRows {
    provider: RelationTable,
    projection: Vec<usize>,
    pub(crate) schema: SchemaRef,
    key: Vec<u8>,
    view: View,
}

impl PointRows {
    /// What the columns of the answer are.
    pub(crate) fn origins(&self) -> Vec<Option<Origin>> {
        let def = &self.provider.table.def;
        self.projection.iter().map(|at| origins::of_relation(def, *at)).collect()
    }
}

/// The statement as such a one.
pub(crate) fn recognise(
    def: &Arc<TableDef>,
    alias: &str,
    selection: Option<&Expr>,
    list: &[SelectItem],
    params: &[ScalarValue],
    context: &PlanContext,
) -> Option<PointRows> {
    let key = point(def, alias, selection?, params)?;
    let provider = RelationTable::new(def, context.settings.zone(), false, &[]).ok()?;
    let mut projection = Vec::new();
    for item in list {
        match item {
            SelectItem::Wildcard(WildcardAdditionalOptions {
                wildcard_token: _,
                opt_ilike: None,
                opt_exclude: None,
                opt_except: None,
                opt_replace: None,
                opt_rename: None,
                opt_alias: None,
            }) => projection.extend(0..def.columns.len()),
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                projection.push(column(def, alias, expr)?);
            }
            _ => return None,
        }
    }
    let schema = Arc::new(provider.schema().project(&projection).ok()?);
    Some(PointRows { provider, projection, schema, key, view: context.rows_view() })
}

/// The key of the one row that a condition asks for: each column of it equals a value, and nothing
/// more is said.
pub(super) fn point(
    def: &TableDef,
    alias: &str,
    selection: &Expr,
    params: &[ScalarValue],
) -> Option<Vec<u8>> {
    let primary = def.primary.as_ref()?;
    let mut values: Vec<Option<Datum>> = vec![None; primary.columns.len()];
    equals(def, alias, selection, params, &mut values)?;
    let values: Vec<Datum> = values.into_iter().collect::<Option<_>>()?;
    key::encode(&values).ok()
}

fn equals(
    def: &TableDef,
    alias: &str,
    expr: &Expr,
    params: &[ScalarValue],
    values: &mut [Option<Datum>],
) -> Option<()> {
    match expr {
        Expr::Nested(inner) => equals(def, alias, inner, params, values),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equals(def, alias, left, params, values)?;
            equals(def, alias, right, params, values)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let (at, value) = match column(def, alias, left) {
                Some(at) => (at, right),
                None => (column(def, alias, right)?, left),
            };
            let column = &def.columns[at];
            let primary = def.primary.as_ref()?;
            let place = primary.columns.iter().position(|id| *id == column.id)?;
            let value = literal(value, column.kind, params)?;
            // A second value for one column is left to others.
            values[place].replace(value).is_none().then_some(())
        }
        _ => None,
    }
}

fn column(def: &TableDef, alias: &str, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Identifier(name) => def.place(&folded(name)),
        Expr::CompoundIdentifier(parts) => match &parts[..] {
            [table, name] if folded(table) == alias => def.place(&folded(name)),
            _ => None,
        },
        Expr::Nested(inner) => column(def, alias, inner),
        _ => None,
    }
}

fn literal(expr: &Expr, kind: Kind, params: &[ScalarValue]) -> Option<Datum> {
    match expr {
        Expr::Nested(inner) => literal(inner, kind, params),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr, kind, params)? {
            Datum::Int(v) => Some(Datum::Int(v.checked_neg()?)),
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) if kind.is_integer() => {
                digits.parse().ok().map(Datum::Int)
            }
            Value::SingleQuotedString(text) if kind.is_text() => Some(Datum::Text(text.clone())),
            Value::SingleQuotedString(text) if kind == Kind::Uuid => {
                parse_uuid(text).map(Datum::Uuid)
            }
            Value::Boolean(truth) if kind == Kind::Bool => Some(Datum::Bool(*truth)),
            Value::Placeholder(name) => {
                let number: usize = name.strip_prefix('$')?.parse().ok()?;
                datum(params.get(number.checked_sub(1)?)?, kind)
            }
            _ => None,
        },
        _ => None,
    }
}

impl PointRows {
    /// The row, if it is there.
    pub(crate) fn read(&self) -> QueryResult<RecordBatch> {
        let mut reader = Reader::new(&self.provider, &self.projection, self.schema.clone());
        let place = row_key(self.provider.def(), &self.key);
        if let Some(row) = self.view.get(SPACE_ROWS, &place)? {
            reader.push(&self.key, &row)?;
        }
        reader.finish()
    }
}

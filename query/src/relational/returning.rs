//! RETURNING of relational tables: any expression of the rows as they are now, or were.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use super::arrays;
use super::def::TableDef;
use super::expr;
use super::writer::Row;
use crate::error::{QueryError, QueryResult};
use crate::names::{self, folded};
use crate::plan::PlanContext;
use crate::returning::Returned;
use crate::{Outcome, catalog};

/// What a statement returns.
pub(super) struct Returning {
    names: Vec<String>,
    exprs: Vec<Expr>,
    called: String,
}

impl Returning {
    /// `called`: the name that the table goes by.
    pub(super) fn new(
        def: &TableDef,
        called: &str,
        list: Option<&[SelectItem]>,
    ) -> QueryResult<Option<Returning>> {
        let Some(list) = list else { return Ok(None) };
        let mut out =
            Returning { names: Vec::new(), exprs: Vec::new(), called: called.to_string() };
        for item in list {
            match item {
                SelectItem::Wildcard(options) if is_plain(options) => out.all(def),
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if is_plain(options)
                    && name.0.last().and_then(|p| p.as_ident()).map(folded).as_deref()
                        == Some(called) =>
                {
                    out.all(def);
                }
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    expr::refuse_subqueries(expr, "RETURNING")?;
                    out.names.push(names::of_item(item));
                    out.exprs.push(expr.clone());
                }
                _ => return Err(QueryError::unsupported("this form of * in RETURNING")),
            }
        }
        Ok(Some(out))
    }

    fn all(&mut self, def: &TableDef) {
        for column in &def.columns {
            let parts = [&self.called, &column.name].map(|name| Ident::with_quote('"', name));
            self.names.push(column.name.clone());
            self.exprs.push(Expr::CompoundIdentifier(parts.to_vec()));
        }
    }

    /// The columns, before there are rows.
    pub(super) fn schema(
        &self,
        context: &PlanContext,
        def: &TableDef,
        types: &[Option<DataType>],
    ) -> QueryResult<SchemaRef> {
        let names = expr::Names::of(&self.called, &arrays::schema(def, context.settings.zone()))?;
        let fields = expr::fields(context, &self.exprs, &names, types)?;
        let named = fields.into_iter().zip(&self.names).map(|(field, name)| field.with_name(name));
        Ok(Arc::new(Schema::new(named.collect::<Vec<_>>())))
    }

    /// The rows.
    pub(super) fn outcome(
        &self,
        context: &PlanContext,
        def: &TableDef,
        rows: &[Row],
        params: &[ScalarValue],
        verb: &'static str,
    ) -> QueryResult<Outcome> {
        let zone = context.settings.zone();
        let names = expr::Names::of(&self.called, &arrays::schema(def, zone))?;
        let bound = expr::bind(context, &self.exprs, &names, params)?;
        let fields = bound.fields().iter().cloned().zip(&self.names);
        let fields: Vec<_> = fields.map(|(field, name)| field.with_name(name)).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut returned = Returned::default();
        for rows in rows.chunks(crate::table::BATCH_ROWS) {
            let batch = arrays::batch(def, zone, rows.iter())?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            let arrays = bound.run(&batch)?;
            returned.push(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)?;
        }
        Ok(returned.outcome(schema, verb))
    }
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    WildcardAdditionalOptions {
        wildcard_token: options.wildcard_token.clone(),
        ..Default::default()
    } == *options
}

/// Whether a name is one of the catalogue's tables.
pub(super) fn is_system(name: &str) -> bool {
    catalog::table(None, name).is_some()
}

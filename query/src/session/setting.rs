//! SET, SHOW, RESET.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::Session;
use crate::Outcome;
use crate::error::{QueryError, QueryResult};
use crate::run;
use crate::settings::{self, Settings};
use crate::statement::{Kind, SetValue};

/// Columns of SHOW ALL.
pub(super) fn all_schema() -> SchemaRef {
    let names = ["name", "setting", "description"];
    let fields: Vec<Field> =
        names.iter().map(|name| Field::new(*name, DataType::Utf8, false)).collect();
    Arc::new(Schema::new(fields))
}

impl Session {
    pub(super) fn set(&self, name: &str, value: &SetValue, local: bool) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        if local && state.transaction.is_none() {
            // Postgres warns that it has no effect.
            return Ok(Outcome::Done { tag: "SET".into() });
        }
        let before = state.settings.get(name).map(str::to_string);
        let settings = Arc::make_mut(&mut state.settings);
        match value {
            SetValue::Default => settings.reset(name)?,
            SetValue::Text(text) => settings.set(name, text)?,
        }
        if let (true, Some(block)) = (local, &mut state.transaction) {
            block.remember(name, before);
        }
        Ok(told(&state.settings, name, "SET"))
    }

    /// `SELECT set_config(name, value, is_local)`.
    pub(super) fn set_config(&self, name: &str, value: &str, local: bool) -> QueryResult<Outcome> {
        self.set(name, &SetValue::Text(value.to_string()), local)?;
        let schema = Arc::new(Schema::new(vec![Field::new("set_config", DataType::Utf8, true)]));
        let now = self.setting(name).unwrap_or_default();
        let column = Arc::new(StringArray::from(vec![now]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column])?;
        let stream = run::ready(schema.clone(), vec![batch]);
        Ok(Outcome::Rows { schema, stream, verb: "SELECT" })
    }

    /// A SELECT of set_config, alone or beside other things, which are told as they were before.
    pub(super) async fn select_config(
        &self,
        ast: &ast::Statement,
        call: ConfigCall,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        let Some(place) = call.place else {
            return self.set_config(&call.name, &call.value, call.local);
        };
        // What the setting makes of the value, without being set yet.
        let mut trial = Settings::clone(&self.settings());
        trial.set(&call.name, &call.value)?;
        let now = trial.get(&call.name).unwrap_or_default().to_string();
        let rest = without_call(ast, place, &now).map(|rest| rest.to_string());
        let parsed = crate::statement::parse(&rest.unwrap_or_default())?;
        let [statement] = parsed.as_slice() else {
            return Err(QueryError::internal("a SELECT that reads as something else"));
        };
        let Kind::Query(rest) = statement.kind() else {
            return Err(QueryError::internal("a SELECT that reads as something else"));
        };
        let outcome = self.query(statement, rest, params).await?;
        self.set(&call.name, &SetValue::Text(call.value), call.local)?;
        Ok(outcome)
    }

    pub(super) fn reset(&self, name: Option<&str>) -> QueryResult<Outcome> {
        let mut state = self.state.lock();
        let settings = Arc::make_mut(&mut state.settings);
        match name {
            Some(name) => {
                settings.reset(name)?;
                Ok(told(&state.settings, name, "RESET"))
            }
            None => {
                settings.reset_all();
                Ok(Outcome::Done { tag: "RESET".into() })
            }
        }
    }

    pub(super) fn show_schema(&self, name: &str) -> QueryResult<SchemaRef> {
        let settings = self.settings();
        settings.get(name).ok_or_else(|| settings::unknown(name))?;
        let shown = Settings::canonical(name).unwrap_or(name);
        Ok(Arc::new(Schema::new(vec![Field::new(shown, DataType::Utf8, false)])))
    }

    pub(super) fn show(&self, name: &str) -> QueryResult<Outcome> {
        let schema = self.show_schema(name)?;
        let value = self.setting(name).unwrap_or_default();
        let column = Arc::new(StringArray::from(vec![value]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column])?;
        let stream = run::ready(schema.clone(), vec![batch]);
        Ok(Outcome::Rows { schema, stream, verb: "SHOW" })
    }

    pub(super) fn show_all(&self) -> QueryResult<Outcome> {
        let settings = self.settings();
        let mut columns: [Vec<String>; 3] = Default::default();
        for (name, value, about) in settings.all() {
            for (column, text) in columns.iter_mut().zip([name, value, about]) {
                column.push(text.to_string());
            }
        }
        let schema = all_schema();
        let arrays = columns.map(|c| Arc::new(StringArray::from(c)) as _).to_vec();
        let batch = RecordBatch::try_new(schema.clone(), arrays)?;
        let stream = run::ready(schema.clone(), vec![batch]);
        Ok(Outcome::Rows { schema, stream, verb: "SHOW" })
    }
}

/// A call of set_config in the list of a SELECT without FROM.
pub(super) struct ConfigCall {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) local: bool,
    /// Its place in the list, if the list has more than it.
    pub(super) place: Option<usize>,
}

/// The one call of `set_config('name', 'value', false)` in a SELECT without FROM, if there is one.
pub(super) fn config_call(statement: &ast::Statement) -> Option<ConfigCall> {
    let ast::Statement::Query(query) = statement else { return None };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    if !select.from.is_empty() || select.selection.is_some() {
        return None;
    }
    let mut found = None;
    for (place, item) in select.projection.iter().enumerate() {
        let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) =
            item
        else {
            continue;
        };
        if let Some((name, value, local)) = config_arguments(expr) {
            if found.is_some() {
                return None;
            }
            let alone = matches!(select.projection.as_slice(), [ast::SelectItem::UnnamedExpr(_)]);
            found = Some(ConfigCall { name, value, local, place: (!alone).then_some(place) });
        }
    }
    found
}

fn config_arguments(expr: &ast::Expr) -> Option<(String, String, bool)> {
    let ast::Expr::Function(function) = expr else { return None };
    if !function.name.0.last()?.as_ident()?.value.eq_ignore_ascii_case("set_config") {
        return None;
    }
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    let values: Vec<&ast::Value> = list
        .args
        .iter()
        .filter_map(|arg| match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(value))) => {
                Some(&value.value)
            }
            _ => None,
        })
        .collect();
    match values[..] {
        [
            ast::Value::SingleQuotedString(name),
            ast::Value::SingleQuotedString(value),
            ast::Value::Boolean(local),
        ] => Some((name.clone(), value.clone(), *local)),
        _ => None,
    }
}

/// The SELECT with what the setting will be in place of the call.
pub(super) fn without_call(
    statement: &ast::Statement,
    place: usize,
    value: &str,
) -> Option<ast::Statement> {
    let mut statement = statement.clone();
    let ast::Statement::Query(query) = &mut statement else { return None };
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return None };
    let item = select.projection.get_mut(place)?;
    let literal = ast::Value::SingleQuotedString(value.to_string()).with_empty_span();
    let literal = ast::Expr::Value(literal);
    match item {
        ast::SelectItem::ExprWithAlias { expr, .. } => *expr = literal,
        item => {
            let alias = ast::Ident::new("set_config");
            *item = ast::SelectItem::ExprWithAlias { expr: literal, alias };
        }
    }
    Some(statement)
}

/// The outcome of a change: the client is told of settings that it keeps a copy of.
fn told(settings: &Settings, name: &str, tag: &str) -> Outcome {
    let tag = tag.to_string();
    if !Settings::is_reported(name) {
        return Outcome::Done { tag };
    }
    let value = settings.get(name).unwrap_or_default().to_string();
    let name = Settings::canonical(name).unwrap_or(name).to_string();
    Outcome::Set { tag, name, value }
}

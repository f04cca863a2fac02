//! SET, SHOW, RESET.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast;

use super::Session;
use crate::Outcome;
use crate::error::QueryResult;
use crate::run;
use crate::settings::{self, Settings};
use crate::statement::SetValue;

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

/// The arguments of `SELECT set_config('name', 'value', false)`, if the statement is that.
pub(super) fn config_call(statement: &ast::Statement) -> Option<(String, String, bool)> {
    let ast::Statement::Query(query) = statement else { return None };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [ast::SelectItem::UnnamedExpr(ast::Expr::Function(function))] = &select.projection[..]
    else {
        return None;
    };
    let name = function.name.0.last()?.as_ident()?;
    if !name.value.eq_ignore_ascii_case("set_config") || !select.from.is_empty() {
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

//! SET, SHOW, RESET.

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

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

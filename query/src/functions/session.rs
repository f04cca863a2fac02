//! Functions that tell about the session: made for the statement that names them.

use std::sync::Arc;

use arrow::array::{ListArray, StringViewArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;

use super::{Fixed, Lookup, zoned};
use crate::catalog;
use crate::error::QueryError;
use crate::plan::PlanContext;
use crate::plan::names::DATABASE;
use crate::settings;

/// A text as all texts are.
pub(crate) fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8View(Some(value.into()))
}

/// The text of a value, whatever kind of string it is.
pub(crate) fn as_text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) | ScalarValue::LargeUtf8(v) => v.as_deref(),
        _ => None,
    }
}

/// Whether a function of [`of_session`] tells the same to every session with the same settings and
/// rights while no definition changes. Those of the catalogue say themselves when they tell more.
pub(crate) fn is_steady(name: &str) -> bool {
    !matches!(
        name,
        "set_config"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "clock_timestamp"
            | "pg_backend_pid"
            | "pg_cancel_backend"
            | "pg_terminate_backend"
            | "pg_notify"
            | "nextval"
            | "currval"
            | "lastval"
            | "setval"
            | "__listening_channels"
            | "txid_current"
    )
}

/// The function of that name, if it is one of the session or the catalogue.
pub(crate) fn of_session(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let fixed = |value: ScalarValue| Some(Fixed::udf(name, value));
    let named = |value: ScalarValue| Some(Fixed::shown(name, value, "name"));
    match name {
        "version" => fixed(text(format!(
            "PostgreSQL 15.0 (Millrace {}) on {}",
            context.engine.options().version,
            std::env::consts::ARCH
        ))),
        "current_database" | "current_catalog" => named(text(DATABASE)),
        "current_user" | "session_user" | "user" | "current_role" => {
            named(text(&context.identity.user))
        }
        "current_schema" => match context.path_names() {
            Ok(path) => named(ScalarValue::Utf8View(path.first().cloned())),
            Err(error) => Some(catalog::functions::failing(name, error)),
        },
        "current_schemas" => {
            let path = match context.path_names() {
                Ok(path) => path,
                Err(error) => return Some(catalog::functions::failing(name, error)),
            };
            Some(Lookup::udf(name, names_type(), move |args| {
                let system = matches!(args.first(), Some(ScalarValue::Boolean(Some(true))));
                let system = system.then_some("pg_catalog");
                let all: Vec<&str> =
                    system.into_iter().chain(path.iter().map(String::as_str)).collect();
                Ok(list(&all, name_item()))
            }))
        }
        "current_setting" => {
            let values = context.settings.clone();
            Some(Lookup::udf(name, DataType::Utf8View, move |args| {
                let Some(asked) = args.first().and_then(as_text) else {
                    return Ok(ScalarValue::Utf8View(None));
                };
                let lenient = matches!(args.get(1), Some(ScalarValue::Boolean(Some(true))));
                match values.get(asked) {
                    Some(value) => Ok(text(value)),
                    None if lenient => Ok(ScalarValue::Utf8View(None)),
                    None => Err(settings::unknown(asked).into_datafusion()),
                }
            }))
        }
        "set_config" => Some(Lookup::udf(name, DataType::Utf8View, |_| {
            Err(QueryError::unsupported("set_config inside of a larger statement")
                .with_hint("Use SET, or SELECT set_config(…) alone, with literals.")
                .into_datafusion())
        })),
        "transaction_timestamp" | "statement_timestamp" => {
            let zone = context.settings.zone();
            let now = Some(context.started_us());
            fixed(ScalarValue::TimestampMicrosecond(now, Some(zone.into())))
        }
        "clock_timestamp" => {
            let zone: Arc<str> = context.settings.zone().into();
            let kind = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&zone)));
            Some(Lookup::volatile(name, kind, move |_| {
                let now = Some(chrono::Utc::now().timestamp_micros());
                Ok(ScalarValue::TimestampMicrosecond(now, Some(Arc::clone(&zone))))
            }))
        }
        zoned::AT_ZONE | zoned::READ => zoned::of_name(name, context.settings.zone()),
        "__no_texts" => fixed(texts(&[])),
        "pg_backend_pid" => fixed(ScalarValue::Int32(context.client.as_ref().map(|c| c.process()))),
        "pg_cancel_backend" => Some(stop(name, context, false)),
        "pg_terminate_backend" => Some(stop(name, context, true)),
        "pg_notify" => notify(name, context),
        "nextval" | "currval" | "lastval" | "setval" => super::sequence::of_name(name, context),
        "__listening_channels" => {
            let channels = context.listening();
            fixed(texts(&channels.iter().map(String::as_str).collect::<Vec<_>>()))
        }
        "pg_is_in_recovery" => fixed(ScalarValue::Boolean(Some(false))),
        "txid_current" => {
            fixed(ScalarValue::Int64(i64::try_from(context.snapshot.position()).ok()))
        }
        _ => catalog::functions::of_catalog(name, context),
    }
}

/// `pg_cancel_backend(pid)` and, as `whole`, `pg_terminate_backend(pid [, timeout])`: false where
/// there is no such connection. A time-out is not waited for.
fn stop(name: &str, context: &PlanContext, whole: bool) -> Arc<ScalarUDF> {
    let (activity, by) = (context.engine.activity().clone(), context.identity.clone());
    Lookup::volatile(name, DataType::Boolean, move |args| {
        let process = match args {
            [process] => process,
            [process, _] if whole => process,
            _ => {
                let message = format!("function takes the number of a connection, not {args:?}");
                return Err(QueryError::new("42883", message).into_datafusion());
            }
        };
        let process = match process.cast_to(&DataType::Int32)? {
            ScalarValue::Int32(Some(process)) => process,
            _ => return Ok(ScalarValue::Boolean(None)),
        };
        let stopped = activity.stop(&by, process, whole).map_err(QueryError::into_datafusion)?;
        Ok(ScalarValue::Boolean(Some(stopped)))
    })
}

/// `pg_notify(channel, payload)`: told when its transaction commits.
fn notify(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let client = context.client.clone()?;
    Some(Lookup::acting(name, DataType::Utf8View, "void", move |args| {
        let words = match args {
            [channel, payload] => [channel, payload].map(|word| word.cast_to(&DataType::Utf8View)),
            _ => {
                let message = "function pg_notify takes a channel and a payload";
                return Err(QueryError::new("42883", message).into_datafusion());
            }
        };
        let [channel, payload] = words;
        let (channel, payload) = (channel?, payload?);
        let word = |value| as_text(value).unwrap_or_default();
        let asked = client.asked.notify(word(&channel), word(&payload));
        asked.map_err(QueryError::into_datafusion)?;
        Ok(text(""))
    }))
}

/// A `text[]` of these.
pub(crate) fn texts(values: &[&str]) -> ScalarValue {
    list(values, Arc::new(Field::new_list_field(DataType::Utf8View, true)))
}

/// `name[]`.
fn names_type() -> DataType {
    DataType::List(name_item())
}

fn name_item() -> FieldRef {
    let field = Field::new_list_field(DataType::Utf8View, true);
    Arc::new(field.with_metadata([(crate::PG_TYPE.to_string(), "name".to_string())].into()))
}

fn list(values: &[&str], field: FieldRef) -> ScalarValue {
    let items = StringViewArray::from_iter_values(values);
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    ScalarValue::List(Arc::new(ListArray::new(field, offsets, Arc::new(items), None)))
}

//! Functions of `pg_catalog` that tell about objects: made for the statement that names them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ScalarUDF;

use super::pg::kinds::{self, FUNCTIONS};
use super::pg::{self, objects};
use super::{Image, pg::NS_PUBLIC};
use crate::error::QueryError;
use crate::functions::{Fixed, Lookup};
use crate::plan::PlanContext;

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8View(Some(value.into()))
}

const NO_TEXT: ScalarValue = ScalarValue::Utf8View(None);

/// A number, whatever type it came in; also out of a text of digits.
fn number(value: Option<&ScalarValue>) -> Option<i64> {
    match value? {
        ScalarValue::Int8(v) => v.map(i64::from),
        ScalarValue::Int16(v) => v.map(i64::from),
        ScalarValue::Int32(v) => v.map(i64::from),
        ScalarValue::Int64(v) => *v,
        ScalarValue::UInt32(v) => v.map(i64::from),
        ScalarValue::UInt64(v) => v.and_then(|v| i64::try_from(v).ok()),
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) => v.as_ref()?.trim().parse().ok(),
        _ => None,
    }
}

/// A text function of one number and the catalogue; NULL for NULL.
fn by_number(
    name: &str,
    context: &PlanContext,
    find: impl Fn(&Image, i64) -> Option<String> + Send + Sync + 'static,
) -> Result<Arc<ScalarUDF>, QueryError> {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let found = number(args.first()).and_then(|oid| find(&image, oid));
        Ok(found.map_or(NO_TEXT, text))
    }))
}

/// The function of that name, made for this statement.
pub(crate) fn of_catalog(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let fixed = |value: ScalarValue| Some(Fixed::udf(name, value));
    let yes = || fixed(ScalarValue::Boolean(Some(true)));
    let nothing = || fixed(NO_TEXT);
    match name {
        "pg_table_is_visible" | "pg_type_is_visible" => visible(name, context),
        "pg_function_is_visible" | "pg_operator_is_visible" | "pg_opclass_is_visible" => yes(),
        "has_table_privilege"
        | "has_schema_privilege"
        | "has_database_privilege"
        | "has_column_privilege"
        | "has_any_column_privilege"
        | "has_function_privilege"
        | "has_type_privilege"
        | "has_tablespace_privilege" => yes(),
        "pg_has_role" => fixed(ScalarValue::Boolean(Some(context.identity.superuser))),
        "pg_get_expr"
        | "pg_get_ruledef"
        | "pg_get_triggerdef"
        | "pg_get_partkeydef"
        | "pg_get_statisticsobjdef_columns"
        | "shobj_description"
        | "pg_get_serial_sequence"
        | "pg_tablespace_location" => nothing(),
        "pg_relation_is_publishable" | "pg_is_other_temp_schema" | "pg_is_wal_replay_paused" => {
            fixed(ScalarValue::Boolean(Some(false)))
        }
        "pg_my_temp_schema" => fixed(ScalarValue::Int32(Some(0))),
        "inet_server_addr" | "inet_client_addr" => nothing(),
        "inet_server_port" | "inet_client_port" => fixed(ScalarValue::Int32(None)),
        "pg_advisory_unlock_all" => nothing(),
        "format_type" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(number(args.first()).map_or(NO_TEXT, |oid| text(kinds::sql_name(oid))))
        })),
        "pg_encoding_to_char" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(match number(args.first()) {
                Some(6) => text("UTF8"),
                Some(0) => text("SQL_ASCII"),
                Some(_) => text(""),
                None => NO_TEXT,
            })
        })),
        "quote_ident" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(args.first().and_then(as_text).map_or(NO_TEXT, |t| text(objects::quoted(t))))
        })),
        _ => of_objects(name, context),
    }
}

fn as_text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) | ScalarValue::LargeUtf8(v) => v.as_deref(),
        _ => None,
    }
}

/// System tables other than those of pg_catalog need their schema's name.
fn visible(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    context.image().ok()?;
    Some(Lookup::udf(name, DataType::Boolean, |args| {
        let oid = number(args.first());
        let hidden = oid.is_some_and(|oid| {
            pg::system_tables().any(|(o, schema, _)| o == oid && schema != pg::NS_CATALOG)
        });
        Ok(ScalarValue::Boolean(oid.map(|_| !hidden)))
    }))
}

fn of_objects(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let made = match name {
        "pg_get_userbyid" => by_number(name, context, |image, oid| {
            let role = image.roles.iter().find(|r| i64::from(r.oid) == oid);
            Some(role.map_or_else(|| format!("unknown (OID={oid})"), |r| r.name.clone()))
        }),
        "pg_get_indexdef" => by_index(name, context),
        "obj_description" | "col_description" => comment(name, context),
        "pg_get_viewdef" => view_definition(name, context),
        "pg_get_constraintdef" => by_number(name, context, |image, oid| {
            image.table(oid - 2).map(|t| objects::constraint_definition(t.schema()))
        }),
        "pg_get_function_result" => by_number(name, context, |_, oid| {
            FUNCTIONS.iter().find(|f| f.oid == oid).map(|f| f.result.to_string())
        }),
        "pg_get_function_arguments" | "pg_get_function_identity_arguments" => {
            by_number(name, context, |_, oid| {
                FUNCTIONS.iter().find(|f| f.oid == oid).map(|f| f.arguments.to_string())
            })
        }
        "__regclass" => by_number(name, context, |image, oid| Some(relation_name(image, oid))),
        "__regtype" => by_number(name, context, |_, oid| Some(kinds::sql_name(oid))),
        "__regnamespace" => by_number(name, context, |_, oid| {
            Some(namespace_name(oid).map_or_else(|| oid.to_string(), str::to_string))
        }),
        "__regrole" => by_number(name, context, |image, oid| {
            let role = image.roles.iter().find(|r| i64::from(r.oid) == oid);
            Some(role.map_or_else(|| oid.to_string(), |r| r.name.clone()))
        }),
        "__regproc" => by_number(name, context, |_, oid| {
            let function = FUNCTIONS.iter().find(|f| f.oid == oid);
            Some(function.map_or_else(|| oid.to_string(), |f| f.name.to_string()))
        }),
        "pg_relation_size" | "pg_table_size" | "pg_total_relation_size" | "pg_indexes_size" => {
            size(name, context)
        }
        "pg_database_size" => context.image().map(|image| {
            let s = &image.stats;
            let bytes = s.part_bytes + s.series_bytes + s.log_bytes + s.row_store_bytes;
            Fixed::udf(name, ScalarValue::Int64(i64::try_from(bytes).ok()))
        }),
        "pg_size_pretty" => Ok(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(number(args.first()).map_or(NO_TEXT, |bytes| text(pretty(bytes))))
        })),
        "to_regclass" => context.image().map(|image| {
            Lookup::udf(name, DataType::Int32, move |args| {
                let found = args.first().and_then(as_text).and_then(|n| relation_oid(&image, n));
                Ok(ScalarValue::Int32(found.and_then(|oid| i32::try_from(oid).ok())))
            })
        }),
        _ => return None,
    };
    // A directory that cannot be read is told when the function runs.
    Some(made.unwrap_or_else(|error| failing(name, error)))
}

/// `obj_description(relation [, 'pg_class'])` and `col_description(relation, column)`.
fn comment(name: &str, context: &PlanContext) -> Result<Arc<ScalarUDF>, QueryError> {
    let image = context.image()?;
    let of_column = name == "col_description";
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let Some(oid) = number(args.first()) else { return Ok(NO_TEXT) };
        let column = match (of_column, args.get(1)) {
            (true, column) => number(column),
            (false, Some(catalog)) => (as_text(catalog) == Some("pg_class")).then_some(0),
            (false, None) => Some(0),
        };
        let found = column.and_then(|column| image.comment(oid, column));
        Ok(found.map_or(NO_TEXT, text))
    }))
}

/// By number, or by a text that is a name.
fn view_definition(name: &str, context: &PlanContext) -> Result<Arc<ScalarUDF>, QueryError> {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let oid = match args.first() {
            Some(value) => {
                number(Some(value)).or_else(|| as_text(value).and_then(|n| relation_oid(&image, n)))
            }
            None => None,
        };
        let view = oid.and_then(|oid| image.view(oid));
        Ok(view.map_or(NO_TEXT, |view| text(objects::view_definition(view))))
    }))
}

fn failing(name: &str, error: QueryError) -> Arc<ScalarUDF> {
    Lookup::udf(name, DataType::Utf8View, move |_| Err(error.clone().into_datafusion()))
}

fn by_index(name: &str, context: &PlanContext) -> Result<Arc<ScalarUDF>, QueryError> {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let Some(table) = number(args.first()).and_then(|oid| image.table(oid - 1)) else {
            return Ok(NO_TEXT);
        };
        Ok(match number(args.get(1)) {
            // The n-th column alone.
            Some(at) if at > 0 => objects::key_names(table.schema())
                .get(at as usize - 1)
                .map_or(NO_TEXT, |name| text(objects::quoted(name))),
            _ => text(objects::index_definition(table.schema())),
        })
    }))
}

fn size(name: &str, context: &PlanContext) -> Result<Arc<ScalarUDF>, QueryError> {
    let image = context.image()?;
    let indexes = name == "pg_indexes_size";
    let total = name == "pg_total_relation_size";
    Ok(Lookup::udf(name, DataType::Int64, move |args| {
        let oid = match args.first() {
            Some(value) => {
                number(Some(value)).or_else(|| as_text(value).and_then(|n| relation_oid(&image, n)))
            }
            None => None,
        };
        let bytes = oid.and_then(|oid| image.table(oid)).map(|table| {
            let stats = table.stats();
            match (indexes, total) {
                (true, _) => stats.series_bytes,
                (_, true) => stats.part_bytes + stats.series_bytes,
                _ => stats.part_bytes,
            }
        });
        Ok(ScalarValue::Int64(bytes.and_then(|b| i64::try_from(b).ok())))
    }))
}

fn pretty(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size.abs() < 10 * 1024 || unit == "TB" {
            return format!("{size} {unit}");
        }
        size = (size + 512) / 1024;
    }
    format!("{bytes} bytes")
}

fn namespace_name(oid: i64) -> Option<&'static str> {
    match oid {
        pg::NS_CATALOG => Some("pg_catalog"),
        NS_PUBLIC => Some("public"),
        pg::NS_INFORMATION => Some("information_schema"),
        pg::NS_SYS => Some("sys"),
        _ => None,
    }
}

/// Name of a relation as regclass shows it.
fn relation_name(image: &Image, oid: i64) -> String {
    if oid == 0 {
        return "-".into();
    }
    if let Some(table) = image.table(oid) {
        return objects::quoted(&table.schema().name);
    }
    if let Some(table) = image.table(oid - 1) {
        return objects::quoted(&objects::index_name(table.schema()));
    }
    if let Some(view) = image.view(oid) {
        return objects::quoted(&view.name);
    }
    match pg::system_tables().find(|(o, ..)| *o == oid) {
        Some((_, pg::NS_CATALOG, def)) => def.name.to_string(),
        Some((_, _, def)) => format!("{}.{}", def.schema, def.name),
        None => oid.to_string(),
    }
}

/// Number of the relation of that name, which may be quoted and have a schema.
pub(super) fn relation_oid(image: &Image, name: &str) -> Option<i64> {
    let parts = split_name(name)?;
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name.as_str()),
        [schema, name] | [_, schema, name] => (Some(schema.as_str()), name.as_str()),
        _ => return None,
    };
    if schema.is_none_or(|s| s == "public") {
        for table in &image.tables {
            let table = table.schema();
            if table.name == name {
                return Some(pg::table_oid(table.id));
            }
            if objects::index_name(table) == name {
                return Some(pg::index_oid(table.id));
            }
        }
        if let Some(view) = image.views.find(name) {
            return Some(pg::view_oid(view.number));
        }
    }
    let schema = schema.unwrap_or("pg_catalog");
    let mut system = pg::system_tables();
    system.find(|(_, _, d)| d.schema == schema && d.name == name).map(|(oid, ..)| oid)
}

/// Parts of a dotted name, each folded or unquoted.
fn split_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (i, '"') if quoted[i + 1..].starts_with('"') => {
                        part.push('"');
                        chars.next();
                    }
                    (i, '"') => break i + 1,
                    (_, c) => part.push(c),
                }
            };
            parts.push(part);
            rest = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            parts.push(rest[..end].to_lowercase());
            rest = &rest[end..];
        }
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None => return rest.is_empty().then_some(parts),
        }
    }
}

//! Functions of `pg_catalog` that tell about objects: made for the statement that names them.

mod arrays;
pub(crate) mod names;
mod privileges;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ScalarUDF;

use super::Image;
use super::pg::builtins;
use super::pg::kinds::{self, FUNCTIONS};
use super::pg::{self, objects};
use crate::error::{QueryError, QueryResult};
use crate::functions::{Fixed, Lookup};
use crate::plan::PlanContext;
use names::{Register, relation_oid};

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
        ScalarValue::Decimal128(Some(v), _, 0) => i64::try_from(*v).ok(),
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) => v.as_ref()?.trim().parse().ok(),
        _ => None,
    }
}

fn as_text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) | ScalarValue::LargeUtf8(v) => v.as_deref(),
        _ => None,
    }
}

/// A number of an object as functions give it.
fn object(oid: Option<i64>) -> ScalarValue {
    ScalarValue::Int32(oid.and_then(|oid| i32::try_from(oid).ok()))
}

/// A text function of one number and the catalogue; NULL for NULL.
fn by_number(
    name: &str,
    context: &PlanContext,
    shown: Option<&'static str>,
    find: impl Fn(&Image, i64) -> Option<String> + Send + Sync + 'static,
) -> Made {
    let image = context.image()?;
    Ok(Lookup::shown(name, DataType::Utf8View, shown, move |args| {
        let found = number(args.first()).and_then(|oid| find(&image, oid));
        Ok(found.map_or(NO_TEXT, text))
    }))
}

/// The catalogue for a function that tells more than it keeps: what it is bound in serves once.
fn moving(context: &PlanContext) -> QueryResult<Arc<Image>> {
    let image = context.image()?;
    image.note_moving();
    Ok(image)
}

type Made = Result<Arc<ScalarUDF>, QueryError>;

/// The function of that name, made for this statement.
pub(crate) fn of_catalog(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    if let Some(found) = constant(name).or_else(|| arrays::of_name(name)) {
        return Some(found);
    }
    if let Some(register) = name.strip_prefix("__").and_then(Register::of_name) {
        return Some(shown_as(name, register, context));
    }
    if let Some(register) = name.strip_prefix("__to_").and_then(Register::of_name) {
        return Some(read_as(name, register, context));
    }
    if let Some(register) = name.strip_prefix("to_").and_then(Register::of_name) {
        return Some(found_as(name, register, context));
    }
    if name.starts_with("has_") || name == "pg_has_role" {
        return privileges::of_name(name, context);
    }
    match name {
        "pg_table_is_visible" => Some(visible(name, context)),
        "format_type" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            let modifier = number(args.get(1)).unwrap_or(-1);
            let name = |oid| text(kinds::sql_name_with(oid, modifier));
            Ok(number(args.first()).map_or(NO_TEXT, name))
        })),
        _ => of_objects(name, context),
    }
}

/// Functions that need to know nothing of tables.
fn constant(name: &str) -> Option<Arc<ScalarUDF>> {
    let fixed = |value: ScalarValue| Some(Fixed::udf(name, value));
    if name.starts_with("pg_") && name.ends_with("_is_visible") && name != "pg_table_is_visible" {
        return fixed(ScalarValue::Boolean(Some(true)));
    }
    match name {
        // Of defaults and checks it is rewritten; other expressions there are none.
        "pg_get_expr"
        | "pg_get_ruledef"
        | "pg_get_triggerdef"
        | "pg_get_partkeydef"
        | "pg_get_statisticsobjdef_columns"
        | "pg_get_statisticsobjdef"
        | "pg_get_function_sqlbody"
        | "pg_get_function_arg_default"
        | "pg_get_functiondef"
        | "pg_describe_object"
        | "pg_tablespace_location"
        | "pg_get_publication_tables"
        | "inet_server_addr"
        | "inet_client_addr"
        | "pg_advisory_unlock_all" => fixed(NO_TEXT),
        "pg_relation_is_publishable"
        | "pg_is_other_temp_schema"
        | "pg_is_wal_replay_paused"
        | "pg_relation_is_updatable_by_trigger"
        | "row_security_active" => fixed(ScalarValue::Boolean(Some(false))),
        "pg_my_temp_schema" => Some(Fixed::shown(name, ScalarValue::Int32(Some(0)), "oid")),
        // Nobody counts these.
        "pg_stat_get_numscans" | "pg_stat_get_tuples_returned" | "pg_stat_get_tuples_fetched" => {
            fixed(ScalarValue::Int64(None))
        }
        "inet_server_port" | "inet_client_port" => fixed(ScalarValue::Int32(None)),
        "pg_encoding_to_char" => Some(Lookup::shown(name, DataType::Utf8View, "name", |args| {
            Ok(match number(args.first()) {
                Some(6) => text("UTF8"),
                Some(0) => text("SQL_ASCII"),
                Some(_) => text(""),
                None => NO_TEXT,
            })
        })),
        "pg_char_to_encoding" => Some(Lookup::udf(name, DataType::Int32, |args| {
            let name = args.first().and_then(as_text).map(|name| name.to_lowercase());
            Ok(ScalarValue::Int32(name.map(|name| match name.replace(['-', '_'], "").as_str() {
                "utf8" | "unicode" => 6,
                "sqlascii" => 0,
                _ => -1,
            })))
        })),
        "getdatabaseencoding" => Some(Fixed::shown(name, text("UTF8"), "name")),
        "__escaped" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            let (pattern, escape) = (args.first().and_then(as_text), args.get(1).and_then(as_text));
            Ok(match (pattern, escape) {
                (Some(pattern), Some(escape)) => {
                    text(super::rewrite::plain_pattern(pattern, escape))
                }
                _ => NO_TEXT,
            })
        })),
        "json_build_object" => Some(Lookup::shown(name, DataType::Utf8View, "json", |args| {
            Ok(text(json_object(args)?))
        })),
        "quote_ident" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(args.first().and_then(as_text).map_or(NO_TEXT, |t| text(objects::quoted(t))))
        })),
        "quote_literal" | "quote_nullable" => {
            let nullable = name == "quote_nullable";
            Some(Lookup::udf(name, DataType::Utf8View, move |args| {
                let quoted = args.first().filter(|v| !v.is_null()).map(|value| {
                    let plain = as_text(value).map_or_else(|| value.to_string(), str::to_string);
                    text(literal(&plain))
                });
                Ok(quoted.unwrap_or(if nullable { text("NULL") } else { NO_TEXT }))
            }))
        }
        "format" => Some(Lookup::udf(name, DataType::Utf8View, |args| match args.split_first() {
            Some((pattern, rest)) => match as_text(pattern) {
                Some(pattern) => Ok(text(format_text(pattern, rest)?)),
                None => Ok(NO_TEXT),
            },
            None => Ok(NO_TEXT),
        })),
        "pg_size_pretty" => Some(Lookup::udf(name, DataType::Utf8View, |args| {
            Ok(number(args.first()).map_or(NO_TEXT, |bytes| text(pretty(bytes))))
        })),
        _ => None,
    }
}

/// `format('%s %I %L', …)`.
fn format_text(pattern: &str, args: &[ScalarValue]) -> Result<String> {
    let bad = |message: &str| QueryError::new("22023", message).into_datafusion();
    let mut next = args.iter();
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let kind = chars.next().ok_or_else(|| bad("unterminated format() type specifier"))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        if !matches!(kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{kind}\"");
            return Err(QueryError::new("22023", message)
                .with_hint("Known are %s, %I, %L and %%, without positions and widths.")
                .into_datafusion());
        }
        let value = next.next().ok_or_else(|| bad("too few arguments for format()"))?;
        let plain = match as_text(value) {
            Some(text) => Some(text.to_string()),
            None if value.is_null() => None,
            None => Some(value.to_string()),
        };
        match (kind, plain) {
            ('s', plain) => out.push_str(&plain.unwrap_or_default()),
            ('I', Some(plain)) => out.push_str(&objects::quoted(&plain)),
            ('I', None) => return Err(bad("null values cannot be formatted as an SQL identifier")),
            (_, Some(plain)) => out.push_str(&literal(&plain)),
            (_, None) => out.push_str("NULL"),
        }
    }
    Ok(out)
}

/// `{"name" : value, …}` of names and values one after the other.
fn json_object(args: &[ScalarValue]) -> Result<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut parts = Vec::with_capacity(args.len() / 2);
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            let message = "argument list must have even number of elements";
            return Err(QueryError::new("22023", message).into_datafusion());
        };
        let name = as_text(name).map_or_else(|| name.to_string(), str::to_string);
        let value = match (as_text(value), value) {
            (Some(text), _) => quoted(text),
            _ if value.is_null() => "null".to_string(),
            (_, ScalarValue::Boolean(Some(truth))) => truth.to_string(),
            _ => match value.data_type().is_numeric() {
                true => value.to_string(),
                false => quoted(&value.to_string()),
            },
        };
        parts.push(format!("{} : {value}", quoted(&name)));
    }
    Ok(format!("{{{}}}", parts.join(", ")))
}

/// A text as a literal of SQL.
fn literal(plain: &str) -> String {
    let escape = if plain.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", plain.replace('\\', "\\\\").replace('\'', "''"))
}

/// The name of an object whose number it takes.
fn shown_as(name: &str, register: Register, context: &PlanContext) -> Arc<ScalarUDF> {
    let made = by_number(name, context, Some(register.name()), move |image, oid| {
        Some(register.show(image, oid))
    });
    made.unwrap_or_else(|error| failing(name, error))
}

/// The number of an object whose name it takes; an error if there is none.
fn read_as(name: &str, register: Register, context: &PlanContext) -> Arc<ScalarUDF> {
    let image = match context.image() {
        Ok(image) => image,
        Err(error) => return failing(name, error),
    };
    Lookup::shown(name, DataType::Int32, register.name(), move |args| {
        let Some(name) = args.first().and_then(as_text) else { return Ok(object(None)) };
        let found = register.look_up(&image, name).map_err(QueryError::into_datafusion)?;
        Ok(object(Some(found)))
    })
}

/// The number of an object whose name it takes; NULL if there is none.
fn found_as(name: &str, register: Register, context: &PlanContext) -> Arc<ScalarUDF> {
    let image = match context.image() {
        Ok(image) => image,
        Err(error) => return failing(name, error),
    };
    Lookup::shown(name, DataType::Int32, register.name(), move |args| {
        Ok(object(args.first().and_then(as_text).and_then(|name| register.find(&image, name))))
    })
}

/// System tables other than those of pg_catalog need their schema's name.
fn visible(name: &str, context: &PlanContext) -> Arc<ScalarUDF> {
    // Without schemas of users all of them are visible.
    let image = match context.schemas() {
        Ok(schemas) if schemas.list.is_empty() => None,
        _ => match context.image() {
            Ok(image) => Some(image),
            Err(error) => return failing(name, error),
        },
    };
    Lookup::udf(name, DataType::Boolean, move |args| {
        let oid = number(args.first());
        let hidden = oid.is_some_and(|oid| {
            let own = image.as_ref().is_some_and(|image| {
                image.flat_name(oid).is_some_and(|name| !image.is_visible(&name))
            });
            own || pg::system_tables().any(|(o, schema, _)| o == oid && schema != pg::NS_CATALOG)
        });
        Ok(ScalarValue::Boolean(oid.map(|_| !hidden)))
    })
}

/// `pg_get_serial_sequence(table, column)`: the sequence that the column owns, with its schema.
fn serial_sequence(name: &str, context: &PlanContext) -> QueryResult<Arc<ScalarUDF>> {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let words = (args.first().and_then(as_text), args.get(1).and_then(as_text));
        let (Some(table), Some(column)) = words else { return Ok(NO_TEXT) };
        let oid = Register::Class.look_up(&image, table).map_err(QueryError::into_datafusion)?;
        if !image.has_column(oid, column) {
            let table = table.trim();
            return Err(QueryError::no_column(column, table).into_datafusion());
        }
        let found = image.relation(oid).and_then(|table| {
            let at = table.place(column)?;
            pg::sequences::of_column(&image, table, table.columns.get(at)?.id)
        });
        Ok(found.map_or(NO_TEXT, |found| {
            let (schema, bare) = image.schemas.place(&found.name);
            let schema = schema.map_or("public", |schema| &schema.name);
            text(format!("{}.{}", objects::quoted(schema), objects::quoted(bare)))
        }))
    }))
}

fn of_objects(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let made = match name {
        "pg_get_userbyid" => by_number(name, context, Some("name"), |image, oid| {
            let role = image.roles.iter().find(|r| i64::from(r.oid) == oid);
            Some(role.map_or_else(|| format!("unknown (OID={oid})"), |r| r.name.clone()))
        }),
        "pg_get_indexdef" => by_index(name, context),
        "pg_get_serial_sequence" => serial_sequence(name, context),
        "pg_sequence_last_value" => moving(context).map(|image| {
            Lookup::udf(name, DataType::Int64, move |args| {
                let found = number(args.first()).and_then(|oid| pg::sequences::find(&image, oid));
                let last = found.map_or(Ok(None), |found| pg::sequences::last(&image, found));
                Ok(ScalarValue::Int64(last.map_err(QueryError::into_datafusion)?))
            })
        }),
        "obj_description" | "col_description" | "shobj_description" => comment(name, context),
        "pg_get_viewdef" => view_definition(name, context),
        "pg_get_constraintdef" => by_number(name, context, None, |image, oid| {
            let mut own = pg::relational::all_constraints(image);
            let own = own.find(|constraint| pg::object_oid(constraint.number) == oid);
            match own {
                Some(own) => {
                    Some(image.schemas.sql(&pg::relational::constraint_definition(image, &own)))
                }
                None => image.table(oid - 2).map(|t| objects::constraint_definition(t.schema())),
            }
        }),
        // Names of roles by a list of their numbers.
        "__role_names" => context.image().map(|image| {
            Lookup::udf(name, arrays::list_of_texts(), move |args| {
                let list = match args.first() {
                    Some(ScalarValue::List(list)) if list.is_valid(0) => list.value(0),
                    _ => return Ok(arrays::texts(None)),
                };
                let oids = list.as_primitive_opt::<Int32Type>().map(|l| l.values().to_vec());
                let oids: Vec<i64> = oids.unwrap_or_default().into_iter().map(i64::from).collect();
                Ok(arrays::texts(Some(&super::acl::names_of(&image.roles, &oids))))
            })
        }),
        // What an identity column's sequence is, by the number of its relation and its name.
        "__identity_options" => context.image().map(|image| {
            Lookup::shown(name, DataType::Utf8View, "json", move |args| {
                let relation = number(args.first()).and_then(|oid| image.relation(oid));
                let column = relation.zip(args.get(1).and_then(as_text)).and_then(|(table, name)| {
                    let column = table.columns.get(table.place(name)?)?;
                    let own = column.sequence.as_ref()?;
                    Some((own.identity?, image.relations.sequence(own.number)?))
                });
                let Some((always, of)) = column else { return Ok(NO_TEXT) };
                Ok(text(format!(
                    "{{\"always\" : {always}, \"start\" : {}, \"increment\" : {}, \"minvalue\" : {}, \
                     \"maxvalue\" : {}, \"cache\" : {}, \"cycle\" : {}}}",
                    of.start, of.increment, of.min, of.max, of.cache, of.cycle
                )))
            })
        }),
        // A column's default by the numbers of its relation and its own.
        "__column_default" => context.image().map(|image| {
            Lookup::udf(name, DataType::Utf8View, move |args| {
                let relation = number(args.first()).and_then(|oid| image.relation(oid));
                let at = number(args.get(1)).and_then(|at| usize::try_from(at - 1).ok());
                let shown = relation.zip(at).and_then(|(table, at)| {
                    pg::relational::default(&image, table, table.columns.get(at)?)
                });
                Ok(shown.map_or(NO_TEXT, |shown| text(image.schemas.sql(&shown))))
            })
        }),
        "pg_get_function_result" => by_number(name, context, None, |_, oid| {
            let own = FUNCTIONS.iter().find(|f| f.oid == oid).map(|f| f.result.to_string());
            let io = || kinds::IO.iter().find(|f| f.0 == oid).map(|f| kinds::sql_name(f.2));
            let builtin = || {
                let found = builtins::by_oid(oid)?;
                let set = if found.set { "SETOF " } else { "" };
                Some(format!("{set}{}", kinds::sql_name(found.result)))
            };
            own.or_else(builtin).or_else(io)
        }),
        "pg_get_function_arguments" | "pg_get_function_identity_arguments" => {
            by_number(name, context, None, |_, oid| {
                let own = FUNCTIONS.iter().find(|f| f.oid == oid).map(|f| f.arguments.to_string());
                let io = || {
                    let types = &kinds::IO.iter().find(|f| f.0 == oid)?.3;
                    let names: Vec<String> = types.iter().copied().map(kinds::sql_name).collect();
                    Some(names.join(", "))
                };
                let builtin = || builtins::by_oid(oid).map(|found| found.text.to_string());
                own.or_else(builtin).or_else(io)
            })
        }
        "pg_relation_size" | "pg_table_size" | "pg_total_relation_size" | "pg_indexes_size" => {
            size(name, context)
        }
        "pg_database_size" | "pg_tablespace_size" => moving(context).map(|image| {
            let s = image.stats();
            let bytes = s.part_bytes + s.series_bytes + s.log_bytes + s.row_store_bytes;
            Fixed::udf(name, ScalarValue::Int64(i64::try_from(bytes).ok()))
        }),
        _ => return None,
    };
    // A directory that cannot be read is told when the function runs.
    Some(made.unwrap_or_else(|error| failing(name, error)))
}

/// `obj_description(relation [, 'pg_class'])` and `col_description(relation, column)`.
fn comment(name: &str, context: &PlanContext) -> Made {
    let image = context.image()?;
    let of_column = name == "col_description";
    // What all databases share has no comments.
    let shared = name == "shobj_description";
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let Some(oid) = number(args.first()) else { return Ok(NO_TEXT) };
        let column = match (of_column, args.get(1)) {
            (true, column) => number(column),
            (false, Some(catalog)) => (as_text(catalog) == Some("pg_class")).then_some(0),
            (false, None) => Some(0),
        };
        let Some(column) = column.filter(|_| !shared) else { return Ok(NO_TEXT) };
        let found = image.comment(oid, column).map_err(QueryError::into_datafusion)?;
        Ok(found.map_or(NO_TEXT, text))
    }))
}

/// By number, or by a text that is a name.
fn view_definition(name: &str, context: &PlanContext) -> Made {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let oid = match args.first() {
            Some(value) => {
                number(Some(value)).or_else(|| as_text(value).and_then(|n| relation_oid(&image, n)))
            }
            None => None,
        };
        let view = oid.and_then(|oid| image.view(oid));
        let shown = view.map(|view| image.schemas.sql(&objects::view_definition(view)));
        Ok(shown.map_or(NO_TEXT, text))
    }))
}

pub(crate) fn failing(name: &str, error: QueryError) -> Arc<ScalarUDF> {
    Lookup::udf(name, DataType::Utf8View, move |_| Err(error.clone().into_datafusion()))
}

fn by_index(name: &str, context: &PlanContext) -> Made {
    let image = context.image()?;
    Ok(Lookup::udf(name, DataType::Utf8View, move |args| {
        let oid = number(args.first());
        if let Some(index) = oid.and_then(|oid| pg::relational::find_index(&image, oid)) {
            return Ok(match number(args.get(1)) {
                // The n-th column alone.
                Some(at) if at > 0 => index
                    .table
                    .names(index.columns)
                    .get(at as usize - 1)
                    .map_or(NO_TEXT, |name| text(objects::quoted(name))),
                _ => text(image.schemas.sql(&pg::relational::index_definition(&index))),
            });
        }
        let Some(table) = oid.and_then(|oid| image.table(oid - 1)) else {
            return Ok(NO_TEXT);
        };
        Ok(match number(args.get(1)) {
            // The n-th column alone.
            Some(at) if at > 0 => objects::key_names(table.schema())
                .get(at as usize - 1)
                .map_or(NO_TEXT, |name| text(objects::quoted(name))),
            _ => text(image.schemas.sql(&objects::index_definition(table.schema()))),
        })
    }))
}

fn size(name: &str, context: &PlanContext) -> Made {
    let image = moving(context)?;
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

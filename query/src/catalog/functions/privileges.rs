//! `has_table_privilege` and its kin: what the statements of a role would be let do.
//!
//! READ lets a role read everything, WRITE change rows, DEFINE make and drop tables; what else it may
//! was granted to it or to everybody, or it owns it; a superuser may do all.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;

use super::names::{namespace_name, namespace_oid, relation_oid, split_name};
use super::{Image, as_text, number};
use crate::catalog::pg::{self, kinds};
use crate::error::{QueryError, QueryResult};
use crate::functions::Lookup;
use crate::plan::PlanContext;
use crate::plan::names::DATABASE;
use crate::rights::acl::{Mode, PUBLIC};
use crate::rights::{Known, Object, PUBLIC_SCHEMA, Role};
use crate::{RoleInfo, RoleSettings};

/// What a privilege is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Table,
    Column,
    AnyColumn,
    Schema,
    Database,
    Role,
    /// Functions, types, languages: open to all.
    Open(&'static [&'static str]),
    /// Sequences, tablespaces, servers: open to superusers.
    Closed(&'static [&'static str]),
}

/// The function of that name.
pub(super) fn of_name(name: &str, context: &PlanContext) -> Option<Arc<ScalarUDF>> {
    let of = match name {
        "has_table_privilege" => Of::Table,
        "has_column_privilege" => Of::Column,
        "has_any_column_privilege" => Of::AnyColumn,
        "has_schema_privilege" => Of::Schema,
        "has_database_privilege" => Of::Database,
        "pg_has_role" => Of::Role,
        "has_function_privilege" => Of::Open(&["EXECUTE"]),
        "has_type_privilege" | "has_language_privilege" => Of::Open(&["USAGE"]),
        "has_sequence_privilege" => Of::Closed(&["USAGE", "SELECT", "UPDATE"]),
        "has_tablespace_privilege" => Of::Closed(&["CREATE"]),
        "has_server_privilege" | "has_foreign_data_wrapper_privilege" => Of::Closed(&["USAGE"]),
        "has_parameter_privilege" => Of::Closed(&["SET", "ALTER SYSTEM"]),
        _ => return None,
    };
    let image = match context.image() {
        Ok(image) => image,
        Err(error) => return Some(super::failing(name, error)),
    };
    let user = context.identity.user.clone();
    Some(Lookup::udf(name, DataType::Boolean, move |args| {
        let may = of.may(&image, &user, args).map_err(QueryError::into_datafusion)?;
        Ok(ScalarValue::Boolean(may))
    }))
}

impl Of {
    /// Arguments without the role.
    fn arguments(self) -> usize {
        if self == Of::Column { 3 } else { 2 }
    }

    /// `None` where an argument is NULL or an object is not there.
    fn may(self, image: &Image, user: &str, args: &[ScalarValue]) -> QueryResult<Option<bool>> {
        if args.iter().any(ScalarValue::is_null) {
            return Ok(None);
        }
        let (role, rest) = match args.split_first() {
            Some((role, rest)) if rest.len() == self.arguments() => {
                let Some(role) = asked_of(image, role)? else { return Ok(Some(false)) };
                (role, rest)
            }
            _ => {
                let own = image.roles.iter().find(|role| role.name == user).cloned();
                let gone = || QueryError::new("42704", format!("role \"{user}\" does not exist"));
                (own.ok_or_else(gone)?, args)
            }
        };
        let role = &role;
        let (Some(object), Some(asked)) = (rest.first(), rest.last().and_then(as_text)) else {
            return Err(QueryError::new("42883", "an object and a privilege are wanted"));
        };
        if rest.len() != self.arguments() {
            return Err(QueryError::new("42883", "an object and a privilege are wanted"));
        }
        if !self.is_there(image, object, rest)? {
            return Ok(None);
        }
        let column = match self {
            Of::Column => rest.get(1),
            _ => None,
        };
        // Any of several, as in Postgres.
        let mut may = false;
        for word in asked.split(',') {
            may |= self.may_one(image, role, (object, column), word.trim())?;
        }
        Ok(Some(may))
    }

    /// Whether the object of a number is there.
    ///
    /// # Errors
    /// A name of which there is no object.
    fn is_there(
        self,
        image: &Image,
        object: &ScalarValue,
        rest: &[ScalarValue],
    ) -> QueryResult<bool> {
        let name = as_text(object);
        match self {
            Of::Table | Of::AnyColumn | Of::Column => {
                let oid = match name {
                    Some(name) => {
                        relation_oid(image, name).ok_or_else(|| QueryError::no_table(name))?
                    }
                    None => number(Some(object)).unwrap_or(0),
                };
                let there = image.has_relation(oid);
                match rest.get(1) {
                    Some(column) if there && self == Of::Column => {
                        column_is_there(image, oid, column)
                    }
                    _ => Ok(there),
                }
            }
            Of::Schema => match name {
                Some(name) => {
                    let parts = split_name(name).unwrap_or_default();
                    let found = parts.first().and_then(|name| namespace_oid(image, name));
                    let gone =
                        || QueryError::new("3F000", format!("schema \"{name}\" does not exist"));
                    found.map(|_| true).ok_or_else(gone)
                }
                None => {
                    Ok(number(Some(object)).is_some_and(|oid| namespace_name(image, oid).is_some()))
                }
            },
            Of::Database => match name {
                Some(name) if name == DATABASE => Ok(true),
                Some(name) => {
                    Err(QueryError::new("3D000", format!("database \"{name}\" does not exist")))
                }
                None => Ok(number(Some(object)) == Some(pg::DATABASE_OID)),
            },
            Of::Open(_) => Ok(match number(Some(object)) {
                Some(oid) => {
                    kinds::by_oid(oid).is_some() || kinds::function_name(oid).is_some() || oid == 12
                }
                None => true,
            }),
            Of::Role | Of::Closed(_) => Ok(true),
        }
    }

    fn may_one(
        self,
        image: &Image,
        role: &RoleInfo,
        (object, column): (&ScalarValue, Option<&ScalarValue>),
        asked: &str,
    ) -> QueryResult<bool> {
        let upper = asked.to_ascii_uppercase();
        let (word, grant) = match upper.strip_suffix(" WITH GRANT OPTION") {
            Some(word) => (word.trim_end(), true),
            None => match upper.strip_suffix(" WITH ADMIN OPTION") {
                Some(word) => (word.trim_end(), true),
                None => (upper.as_str(), false),
            },
        };
        let unknown =
            || QueryError::new("22023", format!("unrecognized privilege type: \"{asked}\""));
        let all = role.superuser;
        let open = |given: bool| Ok(all || (given && !grant));
        let of = |all: Mode| Mode::of_word(word).filter(|mode| all.has(*mode)).ok_or_else(unknown);
        match self {
            Of::Table => {
                let mode = of(Mode::OF_RELATION)?;
                let Some(known) = known(image, object) else {
                    // The system tables are open to all.
                    return open(mode == Mode::SELECT);
                };
                Ok(all || may(image, role, &known, mode, 0, grant))
            }
            Of::Column | Of::AnyColumn => {
                let mode = of(Mode::OF_COLUMN)?;
                let Some(known) = known(image, object) else {
                    return open(mode == Mode::SELECT);
                };
                let one = |number: u32| may(image, role, &known, mode, number, grant);
                Ok(all
                    || match column {
                        Some(column) => number_of(&known, column).is_some_and(one),
                        None => one(0) || known.columns.iter().any(|column| one(column.0)),
                    })
            }
            Of::Schema => {
                let mode = of(Mode::OF_SCHEMA)?;
                match schema(image, object) {
                    Some(schema) => Ok(all || may_object(image, role, schema, mode, 0, grant)),
                    None => open(mode == Mode::USAGE),
                }
            }
            Of::Database => match word {
                "CONNECT" => open(role.can_login),
                "CREATE" | "TEMPORARY" | "TEMP" => Ok(all),
                _ => Err(unknown()),
            },
            Of::Role => match word {
                "MEMBER" | "USAGE" | "SET" => {
                    let Some(other) = role_of(image, object)? else { return Ok(all) };
                    let members = &image.rights.members;
                    let has = match grant {
                        true => members.may_give(role.oid, other.oid),
                        false => members.is_in(role.oid, other.oid),
                    };
                    Ok(all || has)
                }
                _ => Err(unknown()),
            },
            Of::Open(words) if words.contains(&word) => open(true),
            Of::Closed(words) if words.contains(&word) => Ok(all),
            _ => Err(unknown()),
        }
    }
}

/// The relation of a name or number that rights are kept of; the system tables are none.
fn known(image: &Image, object: &ScalarValue) -> Option<Known> {
    let by_name = || as_text(object).and_then(|name| relation_oid(image, name));
    image.known(number(Some(object)).or_else(by_name)?)
}

fn number_of(known: &Known, column: &ScalarValue) -> Option<u32> {
    if let Some(name) = as_text(column) {
        return known.number(name);
    }
    let place = usize::try_from(number(Some(column))? - 1).ok()?;
    known.columns.get(place).map(|column| column.0)
}

fn may(
    image: &Image,
    role: &RoleInfo,
    known: &Known,
    mode: Mode,
    column: u32,
    grant: bool,
) -> bool {
    may_object(image, role, known.object, mode, column, grant)
}

fn may_object(
    image: &Image,
    role: &RoleInfo,
    object: Object,
    mode: Mode,
    column: u32,
    grant: bool,
) -> bool {
    let rights = &image.rights;
    if grant {
        let roles = rights.members.roles(role.oid);
        return rights.acl(object).is_some_and(|acl| {
            let both = |role: u32| acl.grantable(role, 0).with(acl.grantable(role, column));
            [role.oid].into_iter().chain(roles).any(|role| both(role).has(mode))
        });
    }
    rights.may(&Role::from(role), object, mode, column)
}

/// The schema of a name or number that rights are kept of; the system's are none.
fn schema(image: &Image, object: &ScalarValue) -> Option<Object> {
    let parts = || as_text(object).map(|name| split_name(name).unwrap_or_default());
    let by_name = || parts()?.first().and_then(|name| namespace_oid(image, name));
    let oid = number(Some(object)).or_else(by_name)?;
    if oid == pg::NS_PUBLIC {
        return Some(PUBLIC_SCHEMA);
    }
    let found = image.schemas.list.iter().find(|schema| pg::namespace(schema.number) == oid)?;
    Some(Object::of_schema(Some(found)))
}

fn column_is_there(image: &Image, oid: i64, column: &ScalarValue) -> QueryResult<bool> {
    match as_text(column) {
        Some(name) => match image.has_column(oid, name) {
            true => Ok(true),
            false => {
                let relation = super::names::Register::Class.show(image, oid);
                Err(QueryError::no_column(name, &relation))
            }
        },
        None => Ok(true),
    }
}

/// The role that a privilege is asked of: `public` is everybody.
fn asked_of(image: &Image, value: &ScalarValue) -> QueryResult<Option<RoleInfo>> {
    if as_text(value) != Some("public") {
        return Ok(role_of(image, value)?.cloned());
    }
    Ok(Some(RoleInfo {
        oid: PUBLIC,
        name: "public".into(),
        superuser: false,
        can_login: true,
        can_read: false,
        can_write: false,
        can_define: false,
        created_unix_ms: 0,
        settings: RoleSettings::default(),
    }))
}

/// The role of a name or number; `public` is none.
fn role_of<'a>(image: &'a Image, value: &ScalarValue) -> QueryResult<Option<&'a RoleInfo>> {
    if let Some(name) = as_text(value) {
        if name == "public" {
            return Ok(None);
        }
        let gone = || QueryError::new("42704", format!("role \"{name}\" does not exist"));
        return image.roles.iter().find(|role| role.name == name).map(Some).ok_or_else(gone);
    }
    let oid = number(Some(value));
    Ok(image.roles.iter().find(|role| Some(i64::from(role.oid)) == oid))
}

//! From names to numbers of objects and back: what `regclass` and its kin mean.

use super::super::Image;
use super::super::pg::kinds::{self, argument_types, function_name, function_oids};
use super::super::pg::{self, NS_PUBLIC, objects};
use crate::error::{QueryError, QueryResult};

/// Kinds of names of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Register {
    Class,
    Type,
    Namespace,
    Role,
    Proc,
    Procedure,
}

impl Register {
    pub(crate) const ALL: [Register; 6] = [
        Register::Class,
        Register::Type,
        Register::Namespace,
        Register::Role,
        Register::Proc,
        Register::Procedure,
    ];

    /// Name of the type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Register::Class => "regclass",
            Register::Type => "regtype",
            Register::Namespace => "regnamespace",
            Register::Role => "regrole",
            Register::Proc => "regproc",
            Register::Procedure => "regprocedure",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Register> {
        Register::ALL.into_iter().find(|register| register.name() == name)
    }

    /// The name of an object, as a cast to text gives it.
    pub(crate) fn show(self, image: &Image, oid: i64) -> String {
        if oid == 0 {
            return "-".into();
        }
        let found = match self {
            Register::Class => relation_name(image, oid),
            Register::Type => kinds::by_oid(oid)
                .map(|kind| kind.sql.to_string())
                .or_else(|| row_type_name(image, oid)),
            Register::Namespace => namespace_name(image, oid).map(objects::quoted),
            Register::Role => {
                let role = image.roles.iter().find(|r| i64::from(r.oid) == oid);
                role.map(|r| objects::quoted(&r.name))
            }
            Register::Proc => function_name(oid).map(str::to_string),
            Register::Procedure => function_name(oid).map(|name| {
                let types = argument_types(oid).unwrap_or_default();
                let types: Vec<String> = types.into_iter().map(kinds::sql_name).collect();
                format!("{name}({})", types.join(","))
            }),
        };
        found.unwrap_or_else(|| oid.to_string())
    }

    /// Number of the object of that name; `None` if there is none.
    pub(crate) fn find(self, image: &Image, text: &str) -> Option<i64> {
        let name = text.trim();
        match self {
            Register::Class => relation_oid(image, name),
            Register::Type => {
                kinds::named(name).map(|kind| kind.oid).or_else(|| row_type_oid(image, name))
            }
            Register::Namespace => match split_name(name)?.as_slice() {
                [schema] => namespace_oid(image, schema),
                _ => None,
            },
            Register::Role => match split_name(name)?.as_slice() {
                [role] => {
                    let found = image.roles.iter().find(|r| r.name == *role);
                    found.map(|r| i64::from(r.oid))
                }
                _ => None,
            },
            Register::Proc | Register::Procedure => match self.functions(name)[..] {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// Numbers of the functions that a text may mean: for a procedure, of those arguments alone.
    fn functions(self, text: &str) -> Vec<i64> {
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => (name.trim_end(), rest.trim_end().strip_suffix(')')),
            None => (text, None),
        };
        let found = match split_name(name).as_deref() {
            Some([name]) => function_oids(name),
            Some([schema, name]) if schema == "pg_catalog" || schema == "public" => {
                function_oids(name)
            }
            _ => Vec::new(),
        };
        let Some(arguments) = arguments.filter(|_| self == Register::Procedure) else {
            return found;
        };
        let types = arguments.split(',').map(str::trim).filter(|text| !text.is_empty());
        let types = types.map(|text| kinds::named(text).map(|kind| kind.oid));
        let Some(types) = types.collect::<Option<Vec<i64>>>() else { return Vec::new() };
        found.into_iter().filter(|oid| argument_types(*oid).as_ref() == Some(&types)).collect()
    }

    /// Number of the object that a text says, by name or as digits.
    ///
    /// # Errors
    /// That it does not exist, with the code of Postgres for that kind of object.
    pub(crate) fn look_up(self, image: &Image, text: &str) -> QueryResult<i64> {
        if let Ok(oid) = text.trim().parse::<i64>() {
            return Ok(oid);
        }
        if text == "-" {
            return Ok(0);
        }
        let (code, what) = match self {
            Register::Class => {
                let missing = || QueryError::no_table(text.trim());
                return self.find(image, text).ok_or_else(missing);
            }
            Register::Type => ("42704", "type"),
            Register::Namespace => ("3F000", "schema"),
            Register::Role => ("42704", "role"),
            Register::Proc | Register::Procedure => {
                if self == Register::Proc && self.functions(text.trim()).len() > 1 {
                    let message = format!("more than one function named \"{text}\"");
                    return Err(QueryError::new("42725", message));
                }
                ("42883", "function")
            }
        };
        let missing = || QueryError::new(code, format!("{what} \"{text}\" does not exist"));
        self.find(image, text).ok_or_else(missing)
    }
}

fn row_type_name(image: &Image, oid: i64) -> Option<String> {
    let table = image.tables.iter().find(|t| pg::row_type_oid(t.schema().id) == oid);
    let name = table.map(|table| table.schema().name.clone());
    let view = || image.view(oid - 1).map(|view| view.name.clone());
    let relation = || image.relation(oid - 1).map(|table| table.name.clone());
    name.or_else(view).or_else(relation).map(|name| image.name_of(&name))
}

fn row_type_oid(image: &Image, name: &str) -> Option<i64> {
    let parts = split_name(name)?;
    let name = match parts.as_slice() {
        [name] => image.searched(name),
        [schema, name] => image.flat(schema, name)?,
        _ => return None,
    };
    let name = name.as_str();
    let table = image.tables.iter().find(|table| table.schema().name == name);
    let view = || image.views.find(name).map(|view| pg::view_oid(view.number) + 1);
    let relation = || image.relations.find(name).map(|table| pg::object_oid(table.number) + 1);
    table.map(|table| pg::row_type_oid(table.schema().id)).or_else(view).or_else(relation)
}

/// The schemas that are always there.
const NAMESPACES: [(&str, i64); 4] = [
    ("pg_catalog", pg::NS_CATALOG),
    ("public", NS_PUBLIC),
    ("information_schema", pg::NS_INFORMATION),
    ("sys", pg::NS_SYS),
];

/// Number of a schema.
pub(crate) fn namespace_oid(image: &Image, name: &str) -> Option<i64> {
    let found = NAMESPACES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid);
    found.or_else(|| image.schemas.find(name).map(|schema| pg::namespace(schema.number)))
}

/// Name of a schema.
pub(crate) fn namespace_name(image: &Image, oid: i64) -> Option<&str> {
    let found = NAMESPACES.iter().find(|(_, known)| *known == oid).map(|(name, _)| *name);
    let own = || {
        let mut all = image.schemas.list.iter();
        all.find(|schema| pg::namespace(schema.number) == oid).map(|schema| schema.name.as_str())
    };
    found.or_else(own)
}

/// Name of a relation as regclass shows it.
fn relation_name(image: &Image, oid: i64) -> Option<String> {
    if let Some(name) = image.flat_name(oid) {
        return Some(image.name_of(&name));
    }
    match pg::system_tables().find(|(o, ..)| *o == oid) {
        Some((_, pg::NS_CATALOG, known)) => Some(known.name.to_string()),
        Some((_, _, known)) => Some(format!("{}.{}", known.schema, known.name)),
        None => None,
    }
}

/// Number of the relation of that name, which may be quoted and have a schema.
pub(crate) fn relation_oid(image: &Image, name: &str) -> Option<i64> {
    let parts = split_name(name)?;
    let (schema, name) = match parts.as_slice() {
        [name] => (None, name.as_str()),
        [schema, name] | [_, schema, name] => (Some(schema.as_str()), name.as_str()),
        _ => return None,
    };
    let flat = match schema {
        None => Some(image.searched(name)),
        Some(schema) => image.flat(schema, name),
    };
    if let Some(name) = flat.as_deref() {
        if let Some(view) = image.views.find_temporary(name) {
            return Some(pg::view_oid(view.number));
        }
        if let Some(table) = image.relations.find(name) {
            return Some(pg::object_oid(table.number));
        }
        if let Some(index) = pg::relational::all_indexes(image).find(|index| index.name == name) {
            return Some(pg::object_oid(index.number));
        }
        if let Some(sequence) = image.relations.find_sequence(name) {
            return Some(pg::object_oid(sequence.number));
        }
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
pub(crate) fn split_name(text: &str) -> Option<Vec<String>> {
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

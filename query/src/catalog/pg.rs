//! Schema `pg_catalog`, as far as psql, drivers and BI tools read it.
//!
//! Numbers of objects (oids) are made of the engine's table numbers, which are never used again,
//! so they stay the same over restarts: table 16384 + 8 n, its key's index + 1, constraint + 2,
//! row type + 3; view 16388 + 8 n, its row type + 1; relational table, and each index, constraint and
//! sequence of one, 16390 + 8 n, a table's row type + 1. What Millrace does not have (triggers, inheritance …) is an empty table.

mod activity;
pub(super) mod builtins;
mod called;
mod classes;
pub(super) mod kinds;
pub(super) mod objects;
pub(super) mod relational;
pub(super) mod relations;
pub(super) mod sequences;
mod server;
mod types;

use super::{Fill, Fixed, Known};
use crate::comment::Relation;

pub(super) use called::all as called;

/// First number of a user's object, as in Postgres.
const FIRST_OID: i64 = 16_384;
/// Number of schema pg_catalog.
pub(super) const NS_CATALOG: i64 = 11;
/// Number of schema public.
pub(super) const NS_PUBLIC: i64 = 2200;
/// Number of schema information_schema.
pub(super) const NS_INFORMATION: i64 = 13_000;
/// Number of schema sys.
pub(super) const NS_SYS: i64 = 13_001;
/// First number of schemas that somebody made: beyond what tables, views and the like come to.
const NS_FIRST: i64 = 2_000_000_000;

/// Number of a schema that somebody made.
pub(super) fn namespace(number: u32) -> i64 {
    NS_FIRST + i64::from(number)
}

/// Number of the database.
pub(super) const DATABASE_OID: i64 = 5;
/// Numbers of system tables that are tables in Postgres are below this one.
const FIRST_VIEW_OID: i64 = 12_000;
/// Number of pg_namespace.
const NAMESPACE_OID: i64 = 2615;
/// Number of type `any`.
const ANY_OID: i64 = 2276;
/// Number of the language of functions that are part of the program.
const LANGUAGE_INTERNAL: i64 = 12;
/// Number of the access method of tables.
const ACCESS_TABLE: i64 = 15_900;
/// Number of the access method `heap`, that of Postgres' own tables.
const ACCESS_HEAP: i64 = 2;
/// Number of the access method `btree`, as which keys are shown.
const ACCESS_KEY: i64 = 403;

/// Number of a table.
pub(super) fn table_oid(table: u32) -> i64 {
    FIRST_OID + i64::from(table) * 8
}

/// Number of the index behind a table's key.
pub(super) fn index_oid(table: u32) -> i64 {
    table_oid(table) + 1
}

/// Number of a table's primary key.
pub(super) fn constraint_oid(table: u32) -> i64 {
    table_oid(table) + 2
}

/// Number of a table's row type.
pub(super) fn row_type_oid(table: u32) -> i64 {
    table_oid(table) + 3
}

/// Number of a view; its row type follows.
pub(super) fn view_oid(view: u32) -> i64 {
    FIRST_OID + i64::from(view) * 8 + 4
}

/// Number of a relational table, or of an index, constraint or sequence of one; the row type of
/// a table follows.
pub(super) fn object_oid(number: u32) -> i64 {
    FIRST_OID + i64::from(number) * 8 + 6
}

/// Number of a table or view.
pub(super) fn relation_oid(relation: Relation) -> i64 {
    match relation {
        Relation::Table(table) => table_oid(table),
        Relation::View(view) => view_oid(view),
        Relation::Relational(table) => object_oid(table),
    }
}

/// Number of pg_class itself: what comments on relations and columns are filed under.
pub(super) fn class_oid() -> i64 {
    let mut tables = system_tables();
    tables.find(|(_, _, def)| def.name == "pg_class").map_or(0, |(oid, ..)| oid)
}

/// (number, schema's number, definition) of the system tables.
pub(super) fn system_tables() -> impl Iterator<Item = (i64, i64, &'static Known)> {
    super::known().map(|known| {
        let schema = match known.schema {
            "sys" => NS_SYS,
            "information_schema" => NS_INFORMATION,
            _ => NS_CATALOG,
        };
        (known.oid, schema, known)
    })
}

/// Whether a table of pg_catalog never has a row.
pub(super) fn is_empty(name: &str) -> bool {
    super::known()
        .any(|known| known.schema == "pg_catalog" && known.name == name && known.is_empty())
}

/// What makes rows of a table of pg_catalog that come and go.
pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_namespace" => super::acl::namespaces,
        "pg_auth_members" => super::acl::members,
        "pg_policy" => super::acl::policy_rows,
        "pg_policies" => super::acl::policy_view,
        "pg_class" => classes::classes,
        "pg_attribute" => classes::attributes,
        "pg_index" => classes::indexes,
        "pg_constraint" => classes::constraints,
        "pg_attrdef" => relational::defaults,
        "pg_sequence" => sequences::rows,
        "pg_sequences" => sequences::view,
        "pg_depend" => sequences::depends,
        "pg_tables" => classes::tables,
        "pg_views" => classes::views,
        "pg_matviews" => classes::materialized_views,
        "pg_stat_activity" => activity::fill,
        "pg_stat_progress_copy" => activity::copies,
        "pg_indexes" => classes::index_definitions,
        "pg_description" => classes::descriptions,
        "pg_type" => types::row_types,
        other => return server::fill(other),
    })
}

/// What makes rows of a table of pg_catalog that are always the same.
pub(super) fn fixed(name: &str) -> Option<Fixed> {
    Some(match name {
        "pg_namespace" => classes::namespaces,
        "pg_class" => classes::system_classes,
        "pg_attribute" => classes::system_attributes,
        "pg_description" => classes::system_descriptions,
        "pg_type" => types::system_types,
        "pg_proc" => types::procs,
        other => return server::fixed(other),
    })
}

/// Whether a system table is a table in Postgres, rather than a view.
pub(super) fn is_table(oid: i64) -> bool {
    oid < FIRST_VIEW_OID
}

/// Types of a function's arguments.
pub(super) fn argument_types(function: &kinds::Function) -> Vec<i64> {
    types::arguments(function).1
}

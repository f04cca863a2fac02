//! Schema `pg_catalog`, as far as psql, drivers and BI tools read it.
//!
//! Numbers of objects (oids) are made of the engine's table numbers, which are never used again,
//! so they stay the same over restarts: table 16384 + 8 n, its key's index + 1, constraint + 2,
//! row type + 3; view 16388 + 8 n, its row type + 1. What Millrace does not have (triggers, inheritance …) is an empty table.

mod activity;
pub(super) mod kinds;
pub(super) mod objects;
mod server;

use super::Def;
use crate::comment::Relation;

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
/// Number of the database.
pub(super) const DATABASE_OID: i64 = 5;
/// First number of system tables, by their place in the list.
const SYSTEM_OID: i64 = 14_000;

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

/// Number of a table or view.
pub(super) fn relation_oid(relation: Relation) -> i64 {
    match relation {
        Relation::Table(table) => table_oid(table),
        Relation::View(view) => view_oid(view),
    }
}

/// Number of pg_class itself: what comments on relations and columns are filed under.
pub(super) fn class_oid() -> i64 {
    let mut tables = system_tables();
    tables.find(|(_, _, def)| def.name == "pg_class").map_or(0, |(oid, ..)| oid)
}

/// (number, schema's number, definition) of the system tables.
pub(super) fn system_tables() -> impl Iterator<Item = (i64, i64, &'static Def)> {
    super::defs().enumerate().map(|(i, def)| {
        let schema = match def.schema {
            "sys" => NS_SYS,
            "information_schema" => NS_INFORMATION,
            _ => NS_CATALOG,
        };
        (SYSTEM_OID + i as i64, schema, def)
    })
}

pub(super) const DEFS: &[&[Def]] = &[objects::DEFS, server::DEFS, objects::EMPTY, activity::DEFS];

/// Whether a table of pg_catalog never has a row.
pub(super) fn is_empty(name: &str) -> bool {
    objects::EMPTY.iter().any(|def| def.name == name)
}

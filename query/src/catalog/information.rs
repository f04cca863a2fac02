//! Schema `information_schema`, as far as tools read it.
//!
//! It shows what the user may see, and every user may read everything.

use super::pg::builtins::BUILTINS;
use super::pg::kinds::{self, FUNCTIONS};
use super::pg::objects;
use super::rows::{Form, Rows, V};
use super::{Fill, Fixed, Image};
use crate::error::QueryResult;
use crate::plan::names::{DATABASE, SCHEMA};
use crate::view::View;

/// What makes rows of a table that come and go.
pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "schemata" => schemata,
        "tables" => tables,
        "columns" => columns,
        "views" => views,
        "view_table_usage" => view_tables,
        "routines" => routines,
        "table_constraints" => constraints,
        "key_column_usage" | "constraint_column_usage" | "constraint_table_usage" => {
            return usage(name);
        }
        "table_privileges" | "role_table_grants" => table_privileges,
        "column_privileges" | "role_column_grants" => column_privileges,
        "enabled_roles" | "applicable_roles" => return roles(name),
        _ => return None,
    })
}

/// What makes rows of a table that are always the same.
pub(super) fn fixed(name: &str) -> Option<Fixed> {
    Some(match name {
        "tables" => system_tables,
        "columns" => system_columns,
        "information_schema_catalog_name" => |_, rows| {
            rows.of(["catalog_name"]).push([DATABASE.into()]);
        },
        "character_sets" => |_, rows| {
            let names = ["character_set_name", "character_repertoire", "form_of_use"];
            rows.of(names).push(["UTF8".into(), "UCS".into(), "UTF8".into()]);
        },
        _ => return None,
    })
}

const SCHEMAS: [&str; 4] = ["pg_catalog", SCHEMA, "information_schema", "sys"];

fn schemata(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["catalog_name", "schema_name", "schema_owner"]);
    for schema in SCHEMAS {
        form.push([DATABASE.into(), schema.into(), image.owner_name().into()]);
    }
    Ok(())
}

/// Views without those that are materialised: as in Postgres, these are none of the standard's.
fn plain_views(image: &Image) -> impl Iterator<Item = &View> {
    image.views.list.iter().map(|view| &**view).filter(|view| view.materialized.is_none())
}

const TABLES: [&str; 6] =
    ["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into", "is_typed"];

fn table(form: &mut Form<'_, 6>, schema: &str, name: &str, kind: &str) {
    let insertable = if kind == "BASE TABLE" && schema == SCHEMA { "YES" } else { "NO" };
    form.push([
        DATABASE.into(),
        schema.into(),
        name.into(),
        kind.into(),
        insertable.into(),
        "NO".into(),
    ]);
}

fn tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(TABLES);
    for of in &image.tables {
        table(&mut form, SCHEMA, &of.schema().name, "BASE TABLE");
    }
    for view in plain_views(image) {
        table(&mut form, SCHEMA, &view.name, "VIEW");
    }
    Ok(())
}

fn system_tables(_: i64, rows: &mut Rows) {
    let mut form = rows.of(TABLES);
    for (oid, _, known) in super::pg::system_tables() {
        let kind = if super::pg::is_table(oid) { "BASE TABLE" } else { "VIEW" };
        table(&mut form, known.schema, known.name, kind);
    }
}

fn views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "table_catalog",
        "table_schema",
        "table_name",
        "view_definition",
        "check_option",
        "is_updatable",
        "is_insertable_into",
        "is_trigger_updatable",
        "is_trigger_deletable",
        "is_trigger_insertable_into",
    ]);
    for view in plain_views(image) {
        form.push([
            DATABASE.into(),
            SCHEMA.into(),
            view.name.as_str().into(),
            objects::view_definition(view).into(),
            "NONE".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
        ]);
    }
    Ok(())
}

/// Tables that views name.
fn view_tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "view_catalog",
        "view_schema",
        "view_name",
        "table_catalog",
        "table_schema",
        "table_name",
    ]);
    for view in plain_views(image) {
        let of = |id| image.tables.iter().find(|table| table.schema().id == id);
        for of in view.tables().filter_map(of) {
            form.push([
                DATABASE.into(),
                SCHEMA.into(),
                view.name.as_str().into(),
                DATABASE.into(),
                SCHEMA.into(),
                of.schema().name.as_str().into(),
            ]);
        }
    }
    Ok(())
}

const COLUMNS: [&str; 22] = [
    "table_catalog",
    "table_schema",
    "table_name",
    "column_name",
    "ordinal_position",
    "is_nullable",
    "data_type",
    "numeric_precision",
    "numeric_precision_radix",
    "numeric_scale",
    "datetime_precision",
    "udt_catalog",
    "udt_schema",
    "udt_name",
    "dtd_identifier",
    "is_self_referencing",
    "is_identity",
    "identity_cycle",
    "is_generated",
    "is_updatable",
    "character_octet_length",
    "collation_name",
];

struct Column<'a> {
    table: (&'a str, &'a str),
    at: i64,
    name: &'a str,
    kind: i64,
    nullable: bool,
    updatable: bool,
}

impl Column<'_> {
    fn push(self, form: &mut Form<'_, 22>) {
        let yes = |yes: bool| V::from(if yes { "YES" } else { "NO" });
        let (precision, radix, scale): (Option<i64>, Option<i64>, Option<i64>) = match self.kind {
            21 => (Some(16), Some(2), Some(0)),
            23 => (Some(32), Some(2), Some(0)),
            20 => (Some(64), Some(2), Some(0)),
            700 => (Some(24), Some(2), None),
            701 => (Some(53), Some(2), None),
            _ => (None, None, None),
        };
        let kind = kinds::by_oid(self.kind);
        let sql = match kind {
            Some(kind) if kind.is_array() => "ARRAY".to_string(),
            _ => kinds::sql_name(self.kind),
        };
        form.push([
            DATABASE.into(),
            self.table.0.into(),
            self.table.1.into(),
            self.name.into(),
            self.at.into(),
            yes(self.nullable),
            sql.into(),
            precision.into(),
            radix.into(),
            scale.into(),
            matches!(self.kind, 1114 | 1184 | 1186).then_some(6i64).into(),
            DATABASE.into(),
            "pg_catalog".into(),
            kind.map_or("text", |kind| kind.name).into(),
            self.at.to_string().into(),
            "NO".into(),
            "NO".into(),
            "NO".into(),
            "NEVER".into(),
            yes(self.updatable),
            (self.kind == 25).then_some(1i64 << 30).into(),
            V::Null,
        ]);
    }
}

fn columns(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(COLUMNS);
    for of in &image.tables {
        let schema = of.schema();
        for (at, name, kind, not_null) in objects::columns(schema) {
            let (table, nullable) = ((SCHEMA, schema.name.as_str()), !not_null);
            let column = Column { table, at, name: &name, kind, nullable, updatable: true };
            column.push(&mut form);
        }
    }
    for view in plain_views(image) {
        for (at, c) in (1..).zip(&view.columns) {
            let (table, name, kind) = ((SCHEMA, view.name.as_str()), &c.name, c.kind);
            Column { table, at, name, kind, nullable: true, updatable: false }.push(&mut form);
        }
    }
    Ok(())
}

fn system_columns(_: i64, rows: &mut Rows) {
    let mut form = rows.of(COLUMNS);
    for known in super::known() {
        for (at, (name, kind)) in (1..).zip(&known.columns) {
            let (table, kind) = ((known.schema, known.name), kinds::oid_of_system(*kind));
            Column { table, at, name, kind, nullable: true, updatable: false }.push(&mut form);
        }
    }
}

fn routines(_: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "specific_catalog",
        "specific_schema",
        "specific_name",
        "routine_catalog",
        "routine_schema",
        "routine_name",
        "routine_type",
        "data_type",
    ]);
    for f in FUNCTIONS {
        form.push([
            DATABASE.into(),
            SCHEMA.into(),
            format!("{}_{}", f.name, f.oid).into(),
            DATABASE.into(),
            SCHEMA.into(),
            f.name.into(),
            "FUNCTION".into(),
            f.result.into(),
        ]);
    }
    for f in BUILTINS.iter() {
        form.push([
            DATABASE.into(),
            "pg_catalog".into(),
            format!("{}_{}", f.name, f.oid).into(),
            DATABASE.into(),
            "pg_catalog".into(),
            f.name.into(),
            // As in Postgres, aggregates and window functions are of no kind.
            if f.kind == "f" { "FUNCTION".into() } else { V::Null },
            kinds::sql_name(f.result).into(),
        ]);
    }
    Ok(())
}

fn constraints(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "table_catalog",
        "table_schema",
        "table_name",
        "constraint_type",
        "is_deferrable",
        "initially_deferred",
        "enforced",
    ]);
    for of in &image.tables {
        let schema = of.schema();
        form.push([
            DATABASE.into(),
            SCHEMA.into(),
            objects::index_name(schema).into(),
            DATABASE.into(),
            SCHEMA.into(),
            schema.name.as_str().into(),
            "PRIMARY KEY".into(),
            "NO".into(),
            "NO".into(),
            "YES".into(),
        ]);
    }
    Ok(())
}

fn usage(name: &str) -> Option<Fill> {
    Some(match name {
        "key_column_usage" => |image, rows| {
            let mut form = rows.of([
                "constraint_catalog",
                "constraint_schema",
                "constraint_name",
                "table_catalog",
                "table_schema",
                "table_name",
                "column_name",
                "ordinal_position",
            ]);
            for of in &image.tables {
                let schema = of.schema();
                for (at, name) in (1..).zip(objects::key_names(schema)) {
                    let at: i64 = at;
                    form.push([
                        DATABASE.into(),
                        SCHEMA.into(),
                        objects::index_name(schema).into(),
                        DATABASE.into(),
                        SCHEMA.into(),
                        schema.name.as_str().into(),
                        name.into(),
                        at.into(),
                    ]);
                }
            }
            Ok(())
        },
        "constraint_column_usage" => |image, rows| {
            let mut form = rows.of([
                "table_catalog",
                "table_schema",
                "table_name",
                "column_name",
                "constraint_catalog",
                "constraint_schema",
                "constraint_name",
            ]);
            for of in &image.tables {
                let schema = of.schema();
                for name in objects::key_names(schema) {
                    form.push([
                        DATABASE.into(),
                        SCHEMA.into(),
                        schema.name.as_str().into(),
                        name.into(),
                        DATABASE.into(),
                        SCHEMA.into(),
                        objects::index_name(schema).into(),
                    ]);
                }
            }
            Ok(())
        },
        // Only of foreign keys, of which there are none.
        _ => return None,
    })
}

/// What a role may do with a table, in the order of Postgres.
fn privileges(role: &crate::RoleInfo) -> &'static [&'static str] {
    match role.superuser || role.can_write {
        true => &["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE"],
        false => &["SELECT"],
    }
}

/// Names of tables and views.
fn relations(image: &Image) -> impl Iterator<Item = (&str, bool)> {
    let tables = image.tables.iter().map(|of| (of.schema().name.as_str(), true));
    tables.chain(image.views.list.iter().map(|view| (view.name.as_str(), false)))
}

fn table_privileges(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "grantor",
        "grantee",
        "table_catalog",
        "table_schema",
        "table_name",
        "privilege_type",
        "is_grantable",
        "with_hierarchy",
    ]);
    for role in &image.roles {
        for (name, is_table) in relations(image) {
            for privilege in privileges(role).iter().filter(|p| is_table || **p == "SELECT") {
                form.push([
                    image.owner_name().into(),
                    role.name.as_str().into(),
                    DATABASE.into(),
                    SCHEMA.into(),
                    name.into(),
                    (*privilege).into(),
                    "NO".into(),
                    if *privilege == "SELECT" { "YES" } else { "NO" }.into(),
                ]);
            }
        }
    }
    Ok(())
}

fn column_privileges(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "grantor",
        "grantee",
        "table_catalog",
        "table_schema",
        "table_name",
        "column_name",
        "privilege_type",
        "is_grantable",
    ]);
    for role in &image.roles {
        for of in &image.tables {
            let schema = of.schema();
            for (_, column, ..) in objects::columns(schema) {
                let of_column = |p: &&&str| matches!(**p, "SELECT" | "INSERT" | "UPDATE");
                for privilege in privileges(role).iter().filter(of_column) {
                    form.push([
                        image.owner_name().into(),
                        role.name.as_str().into(),
                        DATABASE.into(),
                        SCHEMA.into(),
                        schema.name.as_str().into(),
                        column.as_str().into(),
                        (*privilege).into(),
                        "NO".into(),
                    ]);
                }
            }
        }
    }
    Ok(())
}

fn roles(name: &str) -> Option<Fill> {
    Some(match name {
        "enabled_roles" => |image, rows| {
            let user = image.settings.get("session_authorization").unwrap_or_default();
            rows.of(["role_name"]).push([user.into()]);
            Ok(())
        },
        // No role is a member of another.
        _ => return None,
    })
}

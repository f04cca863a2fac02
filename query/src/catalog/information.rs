//! Schema `information_schema`, as far as tools read it.

use super::pg::kinds;
use super::pg::objects;
use super::rows::{Rows, V};
use super::{Def, Image, T};
use crate::error::QueryResult;
use crate::plan::names::{DATABASE, SCHEMA};

const fn def(
    name: &'static str,
    columns: &'static [(&'static str, T)],
    fill: fn(&Image, &mut Rows) -> QueryResult<()>,
) -> Def {
    Def { schema: "information_schema", name, columns, fill }
}

pub(super) const DEFS: &[Def] = &[
    def(
        "schemata",
        &[
            ("catalog_name", T::Text),
            ("schema_name", T::Text),
            ("schema_owner", T::Text),
            ("default_character_set_catalog", T::Text),
            ("default_character_set_schema", T::Text),
            ("default_character_set_name", T::Text),
            ("sql_path", T::Text),
        ],
        schemata,
    ),
    def(
        "tables",
        &[
            ("table_catalog", T::Text),
            ("table_schema", T::Text),
            ("table_name", T::Text),
            ("table_type", T::Text),
            ("self_referencing_column_name", T::Text),
            ("reference_generation", T::Text),
            ("user_defined_type_catalog", T::Text),
            ("user_defined_type_schema", T::Text),
            ("user_defined_type_name", T::Text),
            ("is_insertable_into", T::Text),
            ("is_typed", T::Text),
            ("commit_action", T::Text),
        ],
        tables,
    ),
    def(
        "columns",
        &[
            ("table_catalog", T::Text),
            ("table_schema", T::Text),
            ("table_name", T::Text),
            ("column_name", T::Text),
            ("ordinal_position", T::Int4),
            ("column_default", T::Text),
            ("is_nullable", T::Text),
            ("data_type", T::Text),
            ("character_maximum_length", T::Int4),
            ("character_octet_length", T::Int4),
            ("numeric_precision", T::Int4),
            ("numeric_precision_radix", T::Int4),
            ("numeric_scale", T::Int4),
            ("datetime_precision", T::Int4),
            ("interval_type", T::Text),
            ("udt_catalog", T::Text),
            ("udt_schema", T::Text),
            ("udt_name", T::Text),
            ("is_identity", T::Text),
            ("is_generated", T::Text),
            ("is_updatable", T::Text),
        ],
        columns,
    ),
    def(
        "views",
        &[
            ("table_catalog", T::Text),
            ("table_schema", T::Text),
            ("table_name", T::Text),
            ("view_definition", T::Text),
            ("check_option", T::Text),
            ("is_updatable", T::Text),
            ("is_insertable_into", T::Text),
        ],
        views,
    ),
    def(
        "routines",
        &[
            ("specific_catalog", T::Text),
            ("specific_schema", T::Text),
            ("specific_name", T::Text),
            ("routine_catalog", T::Text),
            ("routine_schema", T::Text),
            ("routine_name", T::Text),
            ("routine_type", T::Text),
            ("data_type", T::Text),
        ],
        routines,
    ),
    def(
        "table_constraints",
        &[
            ("constraint_catalog", T::Text),
            ("constraint_schema", T::Text),
            ("constraint_name", T::Text),
            ("table_catalog", T::Text),
            ("table_schema", T::Text),
            ("table_name", T::Text),
            ("constraint_type", T::Text),
            ("is_deferrable", T::Text),
            ("initially_deferred", T::Text),
            ("enforced", T::Text),
        ],
        constraints,
    ),
    def(
        "key_column_usage",
        &[
            ("constraint_catalog", T::Text),
            ("constraint_schema", T::Text),
            ("constraint_name", T::Text),
            ("table_catalog", T::Text),
            ("table_schema", T::Text),
            ("table_name", T::Text),
            ("column_name", T::Text),
            ("ordinal_position", T::Int4),
            ("position_in_unique_constraint", T::Int4),
        ],
        key_columns,
    ),
    def(
        "referential_constraints",
        &[
            ("constraint_catalog", T::Text),
            ("constraint_schema", T::Text),
            ("constraint_name", T::Text),
            ("unique_constraint_name", T::Text),
        ],
        |_, _| Ok(()),
    ),
];

const SCHEMAS: [&str; 4] = ["pg_catalog", SCHEMA, "information_schema", "sys"];

fn schemata(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for schema in SCHEMAS {
        let owner = image.owner_name();
        rows.push([
            DATABASE.into(),
            schema.into(),
            owner.into(),
            V::Null,
            V::Null,
            V::Null,
            V::Null,
        ]);
    }
    Ok(())
}

fn tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut push = |schema: &str, name: &str, kind: &str, insertable: &str| {
        rows.push([
            DATABASE.into(),
            schema.into(),
            name.into(),
            kind.into(),
            V::Null,
            V::Null,
            V::Null,
            V::Null,
            V::Null,
            insertable.into(),
            "NO".into(),
            V::Null,
        ]);
    };
    for table in &image.tables {
        push(SCHEMA, &table.schema().name, "BASE TABLE", "YES");
    }
    for view in image.views.list.iter().filter(|view| view.materialized.is_none()) {
        push(SCHEMA, &view.name, "VIEW", "NO");
    }
    for def in super::defs() {
        push(def.schema, def.name, "VIEW", "NO");
    }
    Ok(())
}

fn views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    // As in Postgres, materialised views are none of the standard's.
    for view in image.views.list.iter().filter(|view| view.materialized.is_none()) {
        rows.push([
            DATABASE.into(),
            SCHEMA.into(),
            view.name.as_str().into(),
            objects::view_definition(view).into(),
            "NONE".into(),
            "NO".into(),
            "NO".into(),
        ]);
    }
    Ok(())
}

fn column(rows: &mut Rows, table: (&str, &str), at: i64, name: &str, kind: i64, nullable: bool) {
    let (precision, radix, scale): (Option<i64>, Option<i64>, Option<i64>) = match kind {
        21 => (Some(16), Some(2), Some(0)),
        23 | 26 => (Some(32), Some(2), Some(0)),
        20 => (Some(64), Some(2), Some(0)),
        700 => (Some(24), Some(2), None),
        701 => (Some(53), Some(2), None),
        _ => (None, None, None),
    };
    let array = kinds::by_oid(kind).is_none();
    let sql = if array { "ARRAY".to_string() } else { kinds::sql_name(kind) };
    let udt = kinds::by_oid(kind).map_or("_text", |k| k.name);
    rows.push([
        DATABASE.into(),
        table.0.into(),
        table.1.into(),
        name.into(),
        at.into(),
        V::Null,
        if nullable { "YES" } else { "NO" }.into(),
        sql.into(),
        V::Null,
        V::Null,
        precision.into(),
        radix.into(),
        scale.into(),
        (kind == 1184).then_some(6i64).into(),
        V::Null,
        DATABASE.into(),
        "pg_catalog".into(),
        udt.into(),
        "NO".into(),
        "NEVER".into(),
        "YES".into(),
    ]);
}

fn columns(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        for (at, name, kind, not_null) in objects::columns(schema) {
            column(rows, (SCHEMA, &schema.name), at, &name, kind, !not_null);
        }
    }
    for view in image.views.list.iter().filter(|view| view.materialized.is_none()) {
        for (at, c) in view.columns.iter().enumerate() {
            column(rows, (SCHEMA, &view.name), at as i64 + 1, &c.name, c.kind, true);
        }
    }
    for def in super::defs() {
        for (at, (name, kind)) in def.columns.iter().enumerate() {
            let kind = kinds::oid_of_system(*kind);
            column(rows, (def.schema, def.name), at as i64 + 1, name, kind, true);
        }
    }
    Ok(())
}

fn routines(_: &Image, rows: &mut Rows) -> QueryResult<()> {
    for f in kinds::FUNCTIONS {
        rows.push([
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
    Ok(())
}

fn constraints(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        rows.push([
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

fn key_columns(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        for (at, name) in objects::key_names(schema).into_iter().enumerate() {
            rows.push([
                DATABASE.into(),
                SCHEMA.into(),
                objects::index_name(schema).into(),
                DATABASE.into(),
                SCHEMA.into(),
                schema.name.as_str().into(),
                name.into(),
                (at + 1).into(),
                V::Null,
            ]);
        }
    }
    Ok(())
}

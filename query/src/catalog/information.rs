//! Schema `information_schema`, as far as tools read it.
//!
//! What is there is shown to every user, and so are the rights of all.

use super::pg::builtins::BUILTINS;
use super::pg::kinds::{self, FUNCTIONS};
use super::pg::{objects, relational};
use super::rows::{Form, Rows, V};
use super::{Fill, Fixed, Image, acl};
use crate::error::QueryResult;
use crate::plan::names::{DATABASE, SCHEMA};
use crate::rights::{Object, PUBLIC_SCHEMA};
use crate::view::View;

/// What makes rows of a table that come and go.
pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "schemata" => schemata,
        "tables" => tables,
        "columns" => columns,
        "sequences" => super::pg::sequences::standard,
        "views" => views,
        "view_table_usage" => view_tables,
        "routines" => routines,
        "table_constraints" => constraints,
        "referential_constraints" => referential,
        "check_constraints" => checks,
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
        let owner = match schema {
            SCHEMA => image.owner_name_of(PUBLIC_SCHEMA),
            _ => image.owner_name(),
        };
        form.push([DATABASE.into(), schema.into(), owner.into()]);
    }
    for schema in &image.schemas.list {
        let owner = image.owner_name_of(Object::of_schema(Some(schema)));
        form.push([DATABASE.into(), schema.name.as_str().into(), owner.into()]);
    }
    Ok(())
}

/// Views without those that are materialised: as in Postgres, these are none of the standard's.
fn plain_views(image: &Image) -> impl Iterator<Item = &View> {
    image.views.list.iter().map(|view| &**view).filter(|view| !view.is_materialized())
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
    for of in &image.relations.list {
        table(&mut form, SCHEMA, &of.name, "BASE TABLE");
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

const COLUMNS: [&str; 25] = [
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
    "column_default",
    "character_maximum_length",
    "identity_generation",
];

struct Column<'a> {
    table: (&'a str, &'a str),
    at: i64,
    name: &'a str,
    kind: i64,
    nullable: bool,
    updatable: bool,
    /// `atttypmod`.
    modifier: i64,
    default: Option<String>,
    /// `ALWAYS` or `BY DEFAULT`.
    identity: Option<&'static str>,
}

impl<'a> Column<'a> {
    fn new(table: (&'a str, &'a str), at: i64, name: &'a str, kind: i64) -> Column<'a> {
        let (nullable, updatable, modifier, default, identity) = (true, false, -1, None, None);
        Column { table, at, name, kind, nullable, updatable, modifier, default, identity }
    }

    fn push(self, form: &mut Form<'_, 25>) {
        let yes = |yes: bool| V::from(if yes { "YES" } else { "NO" });
        let (precision, radix, scale): (Option<i64>, Option<i64>, Option<i64>) = match self.kind {
            21 => (Some(16), Some(2), Some(0)),
            23 => (Some(32), Some(2), Some(0)),
            20 => (Some(64), Some(2), Some(0)),
            700 => (Some(24), Some(2), None),
            701 => (Some(53), Some(2), None),
            1700 if self.modifier > 0 => {
                let modifier = self.modifier - 4;
                (Some(modifier >> 16), Some(10), Some(modifier & 0xffff))
            }
            _ => (None, None, None),
        };
        let length =
            (matches!(self.kind, 1042 | 1043) && self.modifier > 0).then_some(self.modifier - 4);
        let octets = match self.kind {
            25 => Some(1i64 << 30),
            _ => length.map(|length| length * 4),
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
            yes(self.identity.is_some()),
            "NO".into(),
            "NEVER".into(),
            yes(self.updatable),
            octets.into(),
            V::Null,
            self.default.map_or(V::Null, V::from),
            length.into(),
            self.identity.map_or(V::Null, V::from),
        ]);
    }
}

fn columns(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(COLUMNS);
    for of in &image.tables {
        let schema = of.schema();
        for (at, name, kind, not_null) in objects::columns(schema) {
            let (table, nullable) = ((SCHEMA, schema.name.as_str()), !not_null);
            Column { nullable, updatable: true, ..Column::new(table, at, &name, kind) }
                .push(&mut form);
        }
    }
    for table in &image.relations.list {
        for (at, column) in (1..).zip(&table.columns) {
            let identity = column.sequence.as_ref().and_then(|sequence| sequence.identity);
            let of = (SCHEMA, table.name.as_str());
            Column {
                nullable: !column.not_null,
                updatable: true,
                modifier: column.kind.modifier(),
                default: relational::default(image, table, column),
                identity: identity.map(|always| if always { "ALWAYS" } else { "BY DEFAULT" }),
                ..Column::new(of, at, &column.name, column.kind.oid())
            }
            .push(&mut form);
        }
    }
    for view in plain_views(image) {
        for (at, c) in (1..).zip(&view.columns) {
            let (table, name, kind) = ((SCHEMA, view.name.as_str()), &c.name, c.kind);
            Column::new(table, at, name, kind).push(&mut form);
        }
    }
    Ok(())
}

fn system_columns(_: i64, rows: &mut Rows) {
    let mut form = rows.of(COLUMNS);
    for known in super::known() {
        for (at, (name, kind)) in (1..).zip(&known.columns) {
            let (table, kind) = ((known.schema, known.name), kinds::oid_of_system(*kind));
            Column::new(table, at, name, kind).push(&mut form);
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
    for constraint in relational::all_constraints(image) {
        let kind = match constraint.kind {
            "p" => "PRIMARY KEY",
            "u" => "UNIQUE",
            "f" => "FOREIGN KEY",
            _ => "CHECK",
        };
        form.push([
            DATABASE.into(),
            SCHEMA.into(),
            constraint.name.into(),
            DATABASE.into(),
            SCHEMA.into(),
            constraint.table.name.as_str().into(),
            kind.into(),
            "NO".into(),
            "NO".into(),
            "YES".into(),
        ]);
    }
    Ok(())
}

fn referential(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "constraint_catalog",
        "constraint_schema",
        "constraint_name",
        "unique_constraint_catalog",
        "unique_constraint_schema",
        "unique_constraint_name",
        "match_option",
        "update_rule",
        "delete_rule",
    ]);
    for of in relational::all_constraints(image) {
        let Some(foreign) = of.foreign else { continue };
        let key = relational::parent(image, foreign).and_then(|parent| {
            let mut keys = relational::indexes(parent);
            keys.find(|key| key.unique && key.columns == foreign.target).map(|key| key.name)
        });
        form.push([
            DATABASE.into(),
            SCHEMA.into(),
            of.name.into(),
            DATABASE.into(),
            SCHEMA.into(),
            key.map_or(V::Null, V::from),
            "NONE".into(),
            foreign.on_update.words().into(),
            foreign.on_delete.words().into(),
        ]);
    }
    Ok(())
}

fn checks(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let names = ["constraint_catalog", "constraint_schema", "constraint_name", "check_clause"];
    let mut form = rows.of(names);
    for of in relational::all_constraints(image) {
        if let Some(text) = of.text {
            let text = format!("({text})");
            form.push([DATABASE.into(), SCHEMA.into(), of.name.into(), text.into()]);
        }
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
                "position_in_unique_constraint",
            ]);
            for of in relational::all_constraints(image).filter(|of| of.kind != "c") {
                for (at, name) in (1i64..).zip(of.table.names(of.columns)) {
                    form.push([
                        DATABASE.into(),
                        SCHEMA.into(),
                        of.name.into(),
                        DATABASE.into(),
                        SCHEMA.into(),
                        of.table.name.as_str().into(),
                        name.into(),
                        at.into(),
                        of.foreign.map(|_| at).into(),
                    ]);
                }
            }
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
                        V::Null,
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
            for of in relational::all_constraints(image) {
                let parent = of.foreign.and_then(|f| Some((relational::parent(image, f)?, f)));
                let (table, columns) = match parent {
                    Some((parent, foreign)) => (parent, &foreign.target[..]),
                    None => (of.table, of.columns),
                };
                for name in table.names(columns) {
                    form.push([
                        DATABASE.into(),
                        SCHEMA.into(),
                        table.name.as_str().into(),
                        name.into(),
                        DATABASE.into(),
                        SCHEMA.into(),
                        of.name.into(),
                    ]);
                }
            }
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
        _ => return None,
    })
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
    for known in image.relations_known() {
        for of in acl::shown(image, &known).into_iter().filter(|of| of.column.is_none()) {
            form.push([
                of.by.into(),
                of.to.into(),
                DATABASE.into(),
                SCHEMA.into(),
                known.name.as_str().into(),
                of.right.into(),
                if of.grantable { "YES" } else { "NO" }.into(),
                if of.right == "SELECT" { "YES" } else { "NO" }.into(),
            ]);
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
    for known in image.relations_known() {
        for of in acl::shown(image, &known) {
            if !matches!(of.right, "INSERT" | "SELECT" | "UPDATE" | "REFERENCES") {
                continue;
            }
            let all = known.columns.iter().map(|column| column.1.clone());
            let columns: Vec<String> = match of.column {
                Some(column) => vec![column],
                None => all.collect(),
            };
            for column in columns {
                form.push([
                    of.by.as_str().into(),
                    of.to.as_str().into(),
                    DATABASE.into(),
                    SCHEMA.into(),
                    known.name.as_str().into(),
                    column.into(),
                    of.right.into(),
                    if of.grantable { "YES" } else { "NO" }.into(),
                ]);
            }
        }
    }
    Ok(())
}

fn roles(name: &str) -> Option<Fill> {
    Some(match name {
        "enabled_roles" => |image, rows| {
            let user = image.settings.get("session_authorization").unwrap_or_default();
            let mut form = rows.of(["role_name"]);
            form.push([user.into()]);
            let roles = image.rights.members.roles(image.identity.oid);
            for name in roles.filter_map(|role| image.role_name(role)) {
                form.push([name.into()]);
            }
            Ok(())
        },
        "applicable_roles" => |image, rows| {
            let mut form = rows.of(["grantee", "role_name", "is_grantable"]);
            let own = image.identity.oid;
            for (role, member, _, admin) in acl::members_known(image) {
                if image.rights.members.is_in(own, member.oid) {
                    let admin = if admin { "YES" } else { "NO" };
                    form.push([
                        member.name.as_str().into(),
                        role.name.as_str().into(),
                        admin.into(),
                    ]);
                }
            }
            Ok(())
        },
        _ => return None,
    })
}

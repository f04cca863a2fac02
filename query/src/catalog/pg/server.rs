//! pg_database, pg_roles, pg_settings, pg_am and other tables about the server.

use super::{DATABASE_OID, table_oid};
use crate::RoleInfo;
use crate::catalog::rows::{Rows, V};
use crate::catalog::{Def, Image, T};
use crate::error::QueryResult;
use crate::plan::names::DATABASE;

const fn def(
    name: &'static str,
    columns: &'static [(&'static str, T)],
    fill: fn(&Image, &mut Rows) -> QueryResult<()>,
) -> Def {
    Def { schema: "pg_catalog", name, columns, fill }
}

pub(super) const DEFS: &[Def] = &[
    def(
        "pg_database",
        &[
            ("oid", T::Oid),
            ("datname", T::Text),
            ("datdba", T::Oid),
            ("encoding", T::Int4),
            ("datlocprovider", T::Text),
            ("datistemplate", T::Bool),
            ("datallowconn", T::Bool),
            ("datconnlimit", T::Int4),
            ("dattablespace", T::Oid),
            ("datcollate", T::Text),
            ("datctype", T::Text),
            ("daticulocale", T::Text),
            ("datcollversion", T::Text),
            ("datacl", T::TextArray),
        ],
        databases,
    ),
    def(
        "pg_roles",
        &[
            ("oid", T::Oid),
            ("rolname", T::Text),
            ("rolsuper", T::Bool),
            ("rolinherit", T::Bool),
            ("rolcreaterole", T::Bool),
            ("rolcreatedb", T::Bool),
            ("rolcanlogin", T::Bool),
            ("rolreplication", T::Bool),
            ("rolconnlimit", T::Int4),
            ("rolpassword", T::Text),
            ("rolvaliduntil", T::Time),
            ("rolbypassrls", T::Bool),
            ("rolconfig", T::TextArray),
        ],
        roles,
    ),
    def(
        "pg_authid",
        &[
            ("oid", T::Oid),
            ("rolname", T::Text),
            ("rolsuper", T::Bool),
            ("rolinherit", T::Bool),
            ("rolcreaterole", T::Bool),
            ("rolcreatedb", T::Bool),
            ("rolcanlogin", T::Bool),
            ("rolreplication", T::Bool),
            ("rolconnlimit", T::Int4),
            ("rolpassword", T::Text),
            ("rolvaliduntil", T::Time),
            ("rolbypassrls", T::Bool),
            ("rolconfig", T::TextArray),
        ],
        roles,
    ),
    def(
        "pg_user",
        &[
            ("usename", T::Text),
            ("usesysid", T::Oid),
            ("usecreatedb", T::Bool),
            ("usesuper", T::Bool),
            ("userepl", T::Bool),
            ("usebypassrls", T::Bool),
            ("passwd", T::Text),
            ("valuntil", T::Time),
            ("useconfig", T::TextArray),
        ],
        users,
    ),
    def(
        "pg_settings",
        &[
            ("name", T::Text),
            ("setting", T::Text),
            ("unit", T::Text),
            ("category", T::Text),
            ("short_desc", T::Text),
            ("context", T::Text),
            ("vartype", T::Text),
            ("source", T::Text),
            ("boot_val", T::Text),
            ("reset_val", T::Text),
        ],
        settings,
    ),
    def(
        "pg_am",
        &[("oid", T::Oid), ("amname", T::Text), ("amhandler", T::Text), ("amtype", T::Text)],
        |_, rows| {
            rows.push([2.into(), "millrace".into(), "-".into(), "t".into()]);
            rows.push([403.into(), "btree".into(), "-".into(), "i".into()]);
            Ok(())
        },
    ),
    def(
        "pg_tablespace",
        &[
            ("oid", T::Oid),
            ("spcname", T::Text),
            ("spcowner", T::Oid),
            ("spcacl", T::TextArray),
            ("spcoptions", T::TextArray),
        ],
        |image, rows| {
            rows.push([1663.into(), "pg_default".into(), image.owner().into(), V::Null, V::Null]);
            Ok(())
        },
    ),
    def(
        "pg_language",
        &[
            ("oid", T::Oid),
            ("lanname", T::Text),
            ("lanowner", T::Oid),
            ("lanispl", T::Bool),
            ("lanpltrusted", T::Bool),
        ],
        |image, rows| {
            rows.push([
                12.into(),
                "internal".into(),
                image.owner().into(),
                false.into(),
                false.into(),
            ]);
            Ok(())
        },
    ),
    def(
        "pg_stat_user_tables",
        &[
            ("relid", T::Oid),
            ("schemaname", T::Text),
            ("relname", T::Text),
            ("n_live_tup", T::Int8),
        ],
        |image, rows| {
            for table in &image.tables {
                let schema = table.schema();
                rows.push([
                    table_oid(schema.id).into(),
                    "public".into(),
                    schema.name.as_str().into(),
                    table.stats().rows.into(),
                ]);
            }
            Ok(())
        },
    ),
    def(
        "pg_db_role_setting",
        &[("setdatabase", T::Oid), ("setrole", T::Oid), ("setconfig", T::TextArray)],
        |image, rows| {
            for role in image.roles.iter().filter(|role| !role.settings.is_empty()) {
                rows.push([0.into(), role.oid.into(), config(role)]);
            }
            Ok(())
        },
    ),
    def(
        "pg_cursors",
        &[
            ("name", T::Text),
            ("statement", T::Text),
            ("is_holdable", T::Bool),
            ("is_binary", T::Bool),
            ("is_scrollable", T::Bool),
            ("creation_time", T::Time),
        ],
        |image, rows| {
            for cursor in &image.cursors {
                rows.push([
                    cursor.name.as_str().into(),
                    cursor.text.as_str().into(),
                    false.into(),
                    false.into(),
                    false.into(),
                    V::Int(cursor.created_us),
                ]);
            }
            Ok(())
        },
    ),
    def(
        "pg_stat_gssapi",
        &[
            ("pid", T::Int4),
            ("gss_authenticated", T::Bool),
            ("principal", T::Text),
            ("encrypted", T::Bool),
        ],
        |_, rows| {
            rows.push([V::Null, false.into(), V::Null, false.into()]);
            Ok(())
        },
    ),
];

fn databases(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    rows.push([
        DATABASE_OID.into(),
        DATABASE.into(),
        image.owner().into(),
        6.into(),
        "c".into(),
        false.into(),
        true.into(),
        V::Int(-1),
        1663.into(),
        "C".into(),
        "C.UTF-8".into(),
        V::Null,
        V::Null,
        V::Null,
    ]);
    Ok(())
}

fn roles(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for role in &image.roles {
        rows.push([
            role.oid.into(),
            role.name.as_str().into(),
            role.superuser.into(),
            true.into(),
            role.superuser.into(),
            (role.superuser || role.can_define).into(),
            role.can_login.into(),
            false.into(),
            V::Int(-1),
            "********".into(),
            V::Null,
            role.superuser.into(),
            config(role),
        ]);
    }
    Ok(())
}

/// Settings of a role as `name=value`; NULL where it has none.
fn config(role: &RoleInfo) -> V {
    let texts: Vec<String> =
        role.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if texts.is_empty() { V::Null } else { V::Texts(texts) }
}

fn users(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for role in image.roles.iter().filter(|r| r.can_login) {
        rows.push([
            role.name.as_str().into(),
            role.oid.into(),
            (role.superuser || role.can_define).into(),
            role.superuser.into(),
            false.into(),
            role.superuser.into(),
            "********".into(),
            V::Null,
            config(role),
        ]);
    }
    Ok(())
}

fn settings(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for (name, value, about) in image.settings.all() {
        rows.push([
            name.into(),
            value.into(),
            V::Null,
            "Millrace".into(),
            about.into(),
            "user".into(),
            "string".into(),
            "session".into(),
            V::Null,
            V::Null,
        ]);
    }
    Ok(())
}

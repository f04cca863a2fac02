//! pg_database, pg_roles, pg_settings, pg_cursors and other tables about the server.

use super::{ACCESS_HEAP, ACCESS_KEY, ACCESS_TABLE, DATABASE_OID, NS_CATALOG, table_oid};
use super::{index_oid, objects};
use crate::RoleInfo;
use crate::catalog::rows::{Rows, V};
use crate::catalog::{Fill, Fixed, Image};
use crate::error::QueryResult;
use crate::plan::names::DATABASE;

/// Number of the tablespace.
const TABLESPACE_OID: i64 = 1663;

/// What makes rows of one of these tables that come and go.
pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_roles" => roles,
        "pg_authid" => authorizations,
        "pg_user" | "pg_shadow" => users,
        "pg_settings" => settings,
        "pg_db_role_setting" => role_settings,
        "pg_cursors" => cursors,
        "pg_stat_gssapi" => gssapi,
        "pg_stat_ssl" => ssl,
        "pg_stat_user_tables" | "pg_stat_all_tables" => table_statistics,
        "pg_stat_user_indexes" | "pg_stat_all_indexes" => index_statistics,
        _ => return None,
    })
}

/// What makes rows of one of these tables that are always the same.
pub(super) fn fixed(name: &str) -> Option<Fixed> {
    Some(match name {
        "pg_database" => databases,
        "pg_am" => access_methods,
        "pg_tablespace" => tablespaces,
        "pg_language" => languages,
        "pg_opclass" => operator_classes,
        "pg_opfamily" => operator_families,
        "pg_timezone_names" => super::called::zones,
        _ => return None,
    })
}

fn databases(owner: i64, rows: &mut Rows) {
    let mut form = rows.of([
        "oid",
        "datname",
        "datdba",
        "encoding",
        "datlocprovider",
        "datallowconn",
        "datconnlimit",
        "dattablespace",
        "datcollate",
        "datctype",
    ]);
    form.push([
        DATABASE_OID.into(),
        DATABASE.into(),
        owner.into(),
        6.into(),
        "c".into(),
        true.into(),
        V::Int(-1),
        TABLESPACE_OID.into(),
        "C".into(),
        "C.UTF-8".into(),
    ]);
}

fn access_methods(_: i64, rows: &mut Rows) {
    let mut form = rows.of(["oid", "amname", "amtype"]);
    form.push([ACCESS_HEAP.into(), "heap".into(), "t".into()]);
    form.push([ACCESS_KEY.into(), "btree".into(), "i".into()]);
    form.push([ACCESS_TABLE.into(), "millrace".into(), "t".into()]);
}

fn tablespaces(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(["oid", "spcname", "spcowner"]);
    form.push([TABLESPACE_OID.into(), "pg_default".into(), owner.into()]);
}

fn languages(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(["oid", "lanname", "lanowner"]);
    form.push([super::LANGUAGE_INTERNAL.into(), "internal".into(), owner.into()]);
}

/// Classes of operators of keys: number, name, family, type.
const CLASSES: &[(i64, &str, i64, i64)] = &[
    (1978, "int4_ops", 1976, 23),
    (1979, "int2_ops", 1976, 21),
    (3123, "float8_ops", 1970, 701),
    (3124, "int8_ops", 1976, 20),
    (3126, "text_ops", 1994, 25),
    (3127, "timestamptz_ops", 434, 1184),
    (10_065, "uuid_ops", 2968, 2950),
    (10_003, "bool_ops", 424, 16),
    (10_006, "bytea_ops", 428, 17),
    (10_012, "float4_ops", 1970, 700),
];

/// Number of the class by which keys of a type are ordered.
pub(super) fn operator_class(kind: i64) -> i64 {
    CLASSES.iter().find(|class| class.3 == kind).map_or(0, |class| class.0)
}

fn operator_classes(owner: i64, rows: &mut Rows) {
    let mut form = rows.of([
        "oid",
        "opcmethod",
        "opcname",
        "opcnamespace",
        "opcowner",
        "opcfamily",
        "opcintype",
        "opcdefault",
    ]);
    for (oid, name, family, kind) in CLASSES {
        form.push([
            (*oid).into(),
            ACCESS_KEY.into(),
            (*name).into(),
            NS_CATALOG.into(),
            owner.into(),
            (*family).into(),
            (*kind).into(),
            true.into(),
        ]);
    }
}

fn operator_families(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(["oid", "opfmethod", "opfname", "opfnamespace", "opfowner"]);
    let all = [
        (424, "bool_ops"),
        (428, "bytea_ops"),
        (434, "datetime_ops"),
        (1970, "float_ops"),
        (1976, "integer_ops"),
        (1994, "text_ops"),
        (2968, "uuid_ops"),
    ];
    for (oid, name) in all {
        let oid: i64 = oid;
        form.push([oid.into(), ACCESS_KEY.into(), name.into(), NS_CATALOG.into(), owner.into()]);
    }
}

const ROLE: [&str; 10] = [
    "oid",
    "rolname",
    "rolsuper",
    "rolinherit",
    "rolcreaterole",
    "rolcreatedb",
    "rolcanlogin",
    "rolconnlimit",
    "rolpassword",
    "rolbypassrls",
];

fn role(role: &RoleInfo) -> [V; 10] {
    [
        role.oid.into(),
        role.name.as_str().into(),
        role.superuser.into(),
        true.into(),
        role.superuser.into(),
        (role.superuser || role.can_define).into(),
        role.can_login.into(),
        V::Int(-1),
        "********".into(),
        role.superuser.into(),
    ]
}

/// pg_authid.
fn authorizations(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(ROLE);
    image.roles.iter().for_each(|of| form.push(role(of)));
    Ok(())
}

/// pg_roles: with the settings of each.
fn roles(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let [a, b, c, d, e, f, g, h, i, j] = ROLE;
    let mut form = rows.of([a, b, c, d, e, f, g, h, i, j, "rolconfig"]);
    for of in image.roles.iter() {
        let [a, b, c, d, e, f, g, h, i, j] = role(of);
        form.push([a, b, c, d, e, f, g, h, i, j, config(of)]);
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
    let mut form = rows.of([
        "usename",
        "usesysid",
        "usecreatedb",
        "usesuper",
        "usebypassrls",
        "passwd",
        "useconfig",
    ]);
    for role in image.roles.iter().filter(|r| r.can_login) {
        form.push([
            role.name.as_str().into(),
            role.oid.into(),
            (role.superuser || role.can_define).into(),
            role.superuser.into(),
            role.superuser.into(),
            "********".into(),
            config(role),
        ]);
    }
    Ok(())
}

fn settings(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "name",
        "setting",
        "unit",
        "category",
        "short_desc",
        "context",
        "vartype",
        "source",
        "min_val",
        "max_val",
        "enumvals",
        "boot_val",
        "reset_val",
    ]);
    for setting in image.settings.described() {
        let [min, max] = setting
            .range
            .map_or([None, None], |(min, max)| [Some(min.to_string()), Some(max.to_string())]);
        let words = setting.words.map(|w| w.iter().map(|w| (*w).to_string()).collect());
        form.push([
            setting.name.into(),
            setting.value.into(),
            setting.unit.into(),
            if setting.name.contains('.') { "Customized Options" } else { "Sessions" }.into(),
            setting.about.into(),
            if setting.fixed { "internal" } else { "user" }.into(),
            setting.kind.into(),
            if setting.value == setting.boot { "default" } else { "session" }.into(),
            min.into(),
            max.into(),
            words.map_or(V::Null, V::Texts),
            setting.boot.into(),
            setting.reset.into(),
        ]);
    }
    Ok(())
}

/// Sessions: of the others it is known who they are, of the one that asks also what it does.
/// pg_db_role_setting: what ALTER ROLE … SET has set.
fn role_settings(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["setdatabase", "setrole", "setconfig"]);
    for role in image.roles.iter().filter(|role| !role.settings.is_empty()) {
        form.push([0.into(), role.oid.into(), config(role)]);
    }
    Ok(())
}

fn cursors(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let names = ["name", "statement", "is_holdable", "is_binary", "is_scrollable", "creation_time"];
    let mut form = rows.of(names);
    for cursor in &image.live().cursors {
        form.push([
            cursor.name.as_str().into(),
            cursor.text.as_str().into(),
            cursor.held.into(),
            false.into(),
            cursor.scrolls.into(),
            V::Int(cursor.created_us),
        ]);
    }
    Ok(())
}

fn gssapi(_: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["pid", "gss_authenticated", "encrypted"]);
    form.push([std::process::id().into(), false.into(), false.into()]);
    Ok(())
}

/// Whether the connection is encrypted is known to the door alone, so there is no row.
fn ssl(_: &Image, _: &mut Rows) -> QueryResult<()> {
    Ok(())
}

fn table_statistics(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["relid", "schemaname", "relname", "n_live_tup"]);
    for table in &image.tables {
        let schema = table.schema();
        form.push([
            table_oid(schema.id).into(),
            "public".into(),
            schema.name.as_str().into(),
            table.stats().rows.into(),
        ]);
    }
    for table in &image.relations.list {
        form.push([
            super::object_oid(table.number).into(),
            "public".into(),
            table.name.as_str().into(),
            image.rows_of(table).into(),
        ]);
    }
    Ok(())
}

fn index_statistics(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["relid", "indexrelid", "schemaname", "relname", "indexrelname"]);
    for table in &image.tables {
        let schema = table.schema();
        form.push([
            table_oid(schema.id).into(),
            index_oid(schema.id).into(),
            "public".into(),
            schema.name.as_str().into(),
            objects::index_name(schema).into(),
        ]);
    }
    for index in super::relational::all_indexes(image) {
        form.push([
            super::object_oid(index.table.number).into(),
            super::object_oid(index.number).into(),
            "public".into(),
            index.table.name.as_str().into(),
            index.name.into(),
        ]);
    }
    Ok(())
}

//! pg_class, pg_attribute, pg_index, pg_constraint, pg_type, pg_proc, pg_namespace and kin.

use tsdb::types::TableSchema;

use super::kinds::{FUNCTIONS, KINDS, oid_of, oid_of_system};
use super::{
    NS_CATALOG, NS_INFORMATION, NS_PUBLIC, NS_SYS, class_oid, constraint_oid, index_oid,
    relation_oid, row_type_oid, system_tables, table_oid, view_oid,
};
use crate::catalog::rows::{Rows, V};
use crate::catalog::{Def, Image, T};
use crate::error::QueryResult;
use crate::view::View;

const fn def(
    name: &'static str,
    columns: &'static [(&'static str, T)],
    fill: fn(&Image, &mut Rows) -> QueryResult<()>,
) -> Def {
    Def { schema: "pg_catalog", name, columns, fill }
}

const fn empty(name: &'static str, columns: &'static [(&'static str, T)]) -> Def {
    def(name, columns, |_, _| Ok(()))
}

pub(super) const DEFS: &[Def] = &[
    def(
        "pg_namespace",
        &[("oid", T::Oid), ("nspname", T::Text), ("nspowner", T::Oid), ("nspacl", T::TextArray)],
        namespaces,
    ),
    def(
        "pg_class",
        &[
            ("oid", T::Oid),
            ("relname", T::Text),
            ("relnamespace", T::Oid),
            ("reltype", T::Oid),
            ("reloftype", T::Oid),
            ("relowner", T::Oid),
            ("relam", T::Oid),
            ("relfilenode", T::Oid),
            ("reltablespace", T::Oid),
            ("relpages", T::Int4),
            ("reltuples", T::Float4),
            ("relallvisible", T::Int4),
            ("reltoastrelid", T::Oid),
            ("relhasindex", T::Bool),
            ("relisshared", T::Bool),
            ("relpersistence", T::Text),
            ("relkind", T::Text),
            ("relnatts", T::Int2),
            ("relchecks", T::Int2),
            ("relhasrules", T::Bool),
            ("relhastriggers", T::Bool),
            ("relhassubclass", T::Bool),
            ("relrowsecurity", T::Bool),
            ("relforcerowsecurity", T::Bool),
            ("relispopulated", T::Bool),
            ("relreplident", T::Text),
            ("relispartition", T::Bool),
            ("relrewrite", T::Oid),
            ("relacl", T::TextArray),
            ("reloptions", T::TextArray),
            ("relpartbound", T::Text),
        ],
        classes,
    ),
    def(
        "pg_attribute",
        &[
            ("attrelid", T::Oid),
            ("attname", T::Text),
            ("atttypid", T::Oid),
            ("attstattarget", T::Int4),
            ("attlen", T::Int2),
            ("attnum", T::Int2),
            ("attndims", T::Int4),
            ("attcacheoff", T::Int4),
            ("atttypmod", T::Int4),
            ("attbyval", T::Bool),
            ("attalign", T::Text),
            ("attstorage", T::Text),
            ("attcompression", T::Text),
            ("attnotnull", T::Bool),
            ("atthasdef", T::Bool),
            ("atthasmissing", T::Bool),
            ("attidentity", T::Text),
            ("attgenerated", T::Text),
            ("attisdropped", T::Bool),
            ("attislocal", T::Bool),
            ("attinhcount", T::Int4),
            ("attcollation", T::Oid),
            ("attacl", T::TextArray),
            ("attoptions", T::TextArray),
            ("attfdwoptions", T::TextArray),
        ],
        attributes,
    ),
    def(
        "pg_index",
        &[
            ("indexrelid", T::Oid),
            ("indrelid", T::Oid),
            ("indnatts", T::Int2),
            ("indnkeyatts", T::Int2),
            ("indisunique", T::Bool),
            ("indnullsnotdistinct", T::Bool),
            ("indisprimary", T::Bool),
            ("indisexclusion", T::Bool),
            ("indimmediate", T::Bool),
            ("indisclustered", T::Bool),
            ("indisvalid", T::Bool),
            ("indcheckxmin", T::Bool),
            ("indisready", T::Bool),
            ("indislive", T::Bool),
            ("indisreplident", T::Bool),
            ("indkey", T::IntArray),
            ("indoption", T::IntArray),
            ("indexprs", T::Text),
            ("indpred", T::Text),
        ],
        indexes,
    ),
    def(
        "pg_constraint",
        &[
            ("oid", T::Oid),
            ("conname", T::Text),
            ("connamespace", T::Oid),
            ("contype", T::Text),
            ("condeferrable", T::Bool),
            ("condeferred", T::Bool),
            ("convalidated", T::Bool),
            ("conrelid", T::Oid),
            ("contypid", T::Oid),
            ("conindid", T::Oid),
            ("conparentid", T::Oid),
            ("confrelid", T::Oid),
            ("confupdtype", T::Text),
            ("confdeltype", T::Text),
            ("confmatchtype", T::Text),
            ("conislocal", T::Bool),
            ("coninhcount", T::Int4),
            ("connoinherit", T::Bool),
            ("conkey", T::IntArray),
            ("confkey", T::IntArray),
            ("conbin", T::Text),
        ],
        constraints,
    ),
    def(
        "pg_type",
        &[
            ("oid", T::Oid),
            ("typname", T::Text),
            ("typnamespace", T::Oid),
            ("typowner", T::Oid),
            ("typlen", T::Int2),
            ("typbyval", T::Bool),
            ("typtype", T::Text),
            ("typcategory", T::Text),
            ("typispreferred", T::Bool),
            ("typisdefined", T::Bool),
            ("typdelim", T::Text),
            ("typrelid", T::Oid),
            ("typelem", T::Oid),
            ("typarray", T::Oid),
            ("typinput", T::Text),
            ("typoutput", T::Text),
            ("typreceive", T::Text),
            ("typsend", T::Text),
            ("typnotnull", T::Bool),
            ("typbasetype", T::Oid),
            ("typtypmod", T::Int4),
            ("typndims", T::Int4),
            ("typcollation", T::Oid),
            ("typdefault", T::Text),
        ],
        types,
    ),
    def(
        "pg_proc",
        &[
            ("oid", T::Oid),
            ("proname", T::Text),
            ("pronamespace", T::Oid),
            ("proowner", T::Oid),
            ("prolang", T::Oid),
            ("procost", T::Float4),
            ("provariadic", T::Oid),
            ("prokind", T::Text),
            ("prosecdef", T::Bool),
            ("proleakproof", T::Bool),
            ("proisstrict", T::Bool),
            ("proretset", T::Bool),
            ("provolatile", T::Text),
            ("proparallel", T::Text),
            ("pronargs", T::Int2),
            ("pronargdefaults", T::Int2),
            ("prorettype", T::Oid),
            ("proargtypes", T::IntArray),
            ("proargnames", T::TextArray),
            ("prosrc", T::Text),
            ("proacl", T::TextArray),
        ],
        procs,
    ),
    def(
        "pg_tables",
        &[
            ("schemaname", T::Text),
            ("tablename", T::Text),
            ("tableowner", T::Text),
            ("tablespace", T::Text),
            ("hasindexes", T::Bool),
            ("hasrules", T::Bool),
            ("hastriggers", T::Bool),
            ("rowsecurity", T::Bool),
        ],
        tables,
    ),
    def(
        "pg_indexes",
        &[
            ("schemaname", T::Text),
            ("tablename", T::Text),
            ("indexname", T::Text),
            ("tablespace", T::Text),
            ("indexdef", T::Text),
        ],
        index_definitions,
    ),
    def(
        "pg_views",
        &[
            ("schemaname", T::Text),
            ("viewname", T::Text),
            ("viewowner", T::Text),
            ("definition", T::Text),
        ],
        views,
    ),
    def(
        "pg_matviews",
        &[
            ("schemaname", T::Text),
            ("matviewname", T::Text),
            ("matviewowner", T::Text),
            ("tablespace", T::Text),
            ("hasindexes", T::Bool),
            ("ispopulated", T::Bool),
            ("definition", T::Text),
        ],
        materialized_views,
    ),
    def(
        "pg_description",
        &[
            ("objoid", T::Oid),
            ("classoid", T::Oid),
            ("objsubid", T::Int4),
            ("description", T::Text),
        ],
        descriptions,
    ),
];

/// Tables of what Millrace does not have.
pub(super) const EMPTY: &[Def] = &[
    empty(
        "pg_attrdef",
        &[("oid", T::Oid), ("adrelid", T::Oid), ("adnum", T::Int2), ("adbin", T::Text)],
    ),
    empty(
        "pg_collation",
        &[
            ("oid", T::Oid),
            ("collname", T::Text),
            ("collnamespace", T::Oid),
            ("collprovider", T::Text),
            ("collencoding", T::Int4),
            ("collcollate", T::Text),
        ],
    ),
    empty(
        "pg_shdescription",
        &[("objoid", T::Oid), ("classoid", T::Oid), ("description", T::Text)],
    ),
    empty(
        "pg_inherits",
        &[
            ("inhrelid", T::Oid),
            ("inhparent", T::Oid),
            ("inhseqno", T::Int4),
            ("inhdetachpending", T::Bool),
        ],
    ),
    empty("pg_partitioned_table", &[("partrelid", T::Oid), ("partstrat", T::Text)]),
    empty(
        "pg_policy",
        &[
            ("oid", T::Oid),
            ("polname", T::Text),
            ("polrelid", T::Oid),
            ("polcmd", T::Text),
            ("polpermissive", T::Bool),
            ("polroles", T::Text),
            ("polqual", T::Text),
            ("polwithcheck", T::Text),
        ],
    ),
    empty(
        "pg_statistic_ext",
        &[
            ("oid", T::Oid),
            ("stxrelid", T::Oid),
            ("stxname", T::Text),
            ("stxnamespace", T::Oid),
            ("stxowner", T::Oid),
            ("stxstattarget", T::Int4),
            ("stxkeys", T::IntArray),
            ("stxkind", T::TextArray),
        ],
    ),
    empty(
        "pg_publication",
        &[("oid", T::Oid), ("pubname", T::Text), ("pubowner", T::Oid), ("puballtables", T::Bool)],
    ),
    empty("pg_publication_namespace", &[("oid", T::Oid), ("pnpubid", T::Oid), ("pnnspid", T::Oid)]),
    empty(
        "pg_publication_rel",
        &[
            ("oid", T::Oid),
            ("prpubid", T::Oid),
            ("prrelid", T::Oid),
            ("prqual", T::Text),
            ("prattrs", T::IntArray),
        ],
    ),
    empty(
        "pg_trigger",
        &[
            ("oid", T::Oid),
            ("tgrelid", T::Oid),
            ("tgparentid", T::Oid),
            ("tgname", T::Text),
            ("tgenabled", T::Text),
            ("tgisinternal", T::Bool),
            ("tgconstraint", T::Oid),
            ("tgdeferrable", T::Bool),
            ("tginitdeferred", T::Bool),
        ],
    ),
    empty(
        "pg_rewrite",
        &[
            ("oid", T::Oid),
            ("rulename", T::Text),
            ("ev_class", T::Oid),
            ("ev_type", T::Text),
            ("ev_enabled", T::Text),
            ("is_instead", T::Bool),
        ],
    ),
    empty(
        "pg_depend",
        &[
            ("classid", T::Oid),
            ("objid", T::Oid),
            ("objsubid", T::Int4),
            ("refclassid", T::Oid),
            ("refobjid", T::Oid),
            ("refobjsubid", T::Int4),
            ("deptype", T::Text),
        ],
    ),
    empty("pg_sequence", &[("seqrelid", T::Oid), ("seqtypid", T::Oid)]),
    empty(
        "pg_enum",
        &[
            ("oid", T::Oid),
            ("enumtypid", T::Oid),
            ("enumsortorder", T::Float4),
            ("enumlabel", T::Text),
        ],
    ),
    empty("pg_range", &[("rngtypid", T::Oid), ("rngsubtype", T::Oid), ("rngmultitypid", T::Oid)]),
    empty(
        "pg_extension",
        &[
            ("oid", T::Oid),
            ("extname", T::Text),
            ("extowner", T::Oid),
            ("extnamespace", T::Oid),
            ("extversion", T::Text),
        ],
    ),
    empty("pg_foreign_table", &[("ftrelid", T::Oid), ("ftserver", T::Oid)]),
    empty("pg_foreign_server", &[("oid", T::Oid), ("srvname", T::Text)]),
    empty(
        "pg_auth_members",
        &[("roleid", T::Oid), ("member", T::Oid), ("grantor", T::Oid), ("admin_option", T::Bool)],
    ),
    empty("pg_event_trigger", &[("oid", T::Oid), ("evtname", T::Text)]),
    empty(
        "pg_operator",
        &[
            ("oid", T::Oid),
            ("oprname", T::Text),
            ("oprnamespace", T::Oid),
            ("oprleft", T::Oid),
            ("oprright", T::Oid),
            ("oprresult", T::Oid),
        ],
    ),
    empty("pg_aggregate", &[("aggfnoid", T::Oid), ("aggkind", T::Text)]),
    empty("pg_locks", &[("locktype", T::Text), ("relation", T::Oid), ("pid", T::Int4)]),
    empty("pg_prepared_xacts", &[("gid", T::Text)]),
];

fn namespaces(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let all = [
        (NS_CATALOG, "pg_catalog"),
        (NS_PUBLIC, "public"),
        (NS_INFORMATION, "information_schema"),
        (NS_SYS, "sys"),
    ];
    for (oid, name) in all {
        rows.push([oid.into(), name.into(), image.owner().into(), V::Null]);
    }
    Ok(())
}

/// A row of pg_class with what all relations share.
fn class(
    oid: i64,
    name: &str,
    schema: i64,
    kind: &str,
    columns: usize,
    owner: i64,
) -> Vec<(&'static str, V)> {
    vec![
        ("oid", oid.into()),
        ("relname", name.into()),
        ("relnamespace", schema.into()),
        ("reltype", 0.into()),
        ("reloftype", 0.into()),
        ("relowner", owner.into()),
        ("relam", 0.into()),
        ("relfilenode", oid.into()),
        ("reltablespace", 0.into()),
        ("relpages", 0.into()),
        ("reltuples", V::Float(-1.0)),
        ("relallvisible", 0.into()),
        ("reltoastrelid", 0.into()),
        ("relhasindex", false.into()),
        ("relisshared", false.into()),
        ("relpersistence", "p".into()),
        ("relkind", kind.into()),
        ("relnatts", columns.into()),
        ("relchecks", 0.into()),
        ("relhasrules", false.into()),
        ("relhastriggers", false.into()),
        ("relhassubclass", false.into()),
        ("relrowsecurity", false.into()),
        ("relforcerowsecurity", false.into()),
        ("relispopulated", true.into()),
        ("relreplident", "d".into()),
        ("relispartition", false.into()),
        ("relrewrite", 0.into()),
    ]
}

fn put(row: &mut [(&'static str, V)], name: &str, value: impl Into<V>) {
    if let Some(slot) = row.iter_mut().find(|(n, _)| *n == name) {
        slot.1 = value.into();
    }
}

fn classes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let owner = image.owner();
    for table in &image.tables {
        let schema = table.schema();
        let columns = schema.columns.len() + 1;
        let mut row = class(table_oid(schema.id), &schema.name, NS_PUBLIC, "r", columns, owner);
        put(&mut row, "reltype", row_type_oid(schema.id));
        put(&mut row, "relam", 2);
        put(&mut row, "reltuples", V::Float(table.stats().rows as f64));
        put(&mut row, "relhasindex", true);
        row.push(("reloptions", V::Texts(options(schema))));
        rows.push_named(row);
        let name = index_name(schema);
        let keys = schema.keys().count() + 1;
        let mut row = class(index_oid(schema.id), &name, NS_PUBLIC, "i", keys, owner);
        put(&mut row, "relam", 403);
        rows.push_named(row);
    }
    for view in &image.views.list {
        let oid = view_oid(view.number);
        let kind = if view.materialized.is_some() { "m" } else { "v" };
        let mut row = class(oid, &view.name, NS_PUBLIC, kind, view.columns.len(), owner);
        put(&mut row, "reltype", oid + 1);
        rows.push_named(row);
    }
    for (oid, schema, def) in system_tables() {
        rows.push_named(class(oid, def.name, schema, "v", def.columns.len(), owner));
    }
    Ok(())
}

/// Settings of a table as `WITH (…)` says them.
fn options(schema: &TableSchema) -> Vec<String> {
    let o = &schema.options;
    let seconds = |ns: i64| format!("{} seconds", ns / 1_000_000_000);
    let mut partition = format!("partition_by={}", seconds(o.partition_ns));
    for column in o.partition_columns.iter().filter_map(|id| schema.column_by_id(*id)) {
        partition.push_str(", ");
        partition.push_str(&quoted(&column.name));
    }
    let mut out = vec![partition, format!("merge={}", o.merge.name())];
    out.extend(o.retention_ns.map(|ns| format!("retention={}", seconds(ns))));
    out.extend(o.archive_after_ns.map(|ns| format!("archive_after={}", seconds(ns))));
    out.extend(o.archive.as_ref().map(|url| format!("archive={url}")));
    out
}

/// Name of the index behind the key.
pub(in crate::catalog) fn index_name(schema: &TableSchema) -> String {
    format!("{}_pkey", schema.name)
}

/// Columns of a table as (number, name, type's oid, not null); the first is the time.
pub(in crate::catalog) fn columns(schema: &TableSchema) -> Vec<(i64, String, i64, bool)> {
    let mut out = vec![(1, schema.time_name.clone(), 1184, true)];
    for (i, column) in schema.columns.iter().enumerate() {
        // Keys may miss a value, which SQL shows as NULL.
        let not_null = column.not_null && !column.key;
        out.push((i as i64 + 2, column.name.clone(), oid_of(column.kind), not_null));
    }
    out
}

/// Numbers of the key's columns: the keys, then the time.
pub(in crate::catalog) fn key_numbers(schema: &TableSchema) -> Vec<i64> {
    let keys = schema.columns.iter().enumerate().filter(|(_, c)| c.key);
    keys.map(|(i, _)| i as i64 + 2).chain([1]).collect()
}

/// Names of the key's columns: the keys, then the time.
pub(in crate::catalog) fn key_names(schema: &TableSchema) -> Vec<String> {
    schema.keys().map(|c| c.name.clone()).chain([schema.time_name.clone()]).collect()
}

fn attribute(rows: &mut Rows, table: i64, number: i64, name: &str, kind: i64, not_null: bool) {
    let len = super::kinds::by_oid(kind).map_or(-1, |k| k.len);
    rows.push([
        table.into(),
        name.into(),
        kind.into(),
        V::Int(-1),
        len.into(),
        number.into(),
        0.into(),
        V::Int(-1),
        V::Int(-1),
        (len > 0 && len <= 8).into(),
        "i".into(),
        if len < 0 { "x" } else { "p" }.into(),
        "".into(),
        not_null.into(),
        false.into(),
        false.into(),
        "".into(),
        "".into(),
        false.into(),
        true.into(),
        0.into(),
        0.into(),
        V::Null,
        V::Null,
        V::Null,
    ]);
}

fn attributes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        let all = columns(schema);
        for (number, name, kind, not_null) in &all {
            attribute(rows, table_oid(schema.id), *number, name, *kind, *not_null);
        }
        for (at, number) in key_numbers(schema).into_iter().enumerate() {
            if let Some((_, name, kind, _)) = all.iter().find(|(n, ..)| *n == number) {
                attribute(rows, index_oid(schema.id), at as i64 + 1, name, *kind, false);
            }
        }
    }
    for view in &image.views.list {
        for (at, column) in view.columns.iter().enumerate() {
            let number = at as i64 + 1;
            attribute(rows, view_oid(view.number), number, &column.name, column.kind, false);
        }
    }
    for (oid, _, def) in system_tables() {
        for (at, (name, kind)) in def.columns.iter().enumerate() {
            attribute(rows, oid, at as i64 + 1, name, oid_of_system(*kind), false);
        }
    }
    Ok(())
}

fn indexes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        let keys = key_numbers(schema);
        let count = keys.len();
        let unique = schema.options.merge != tsdb::types::MergeMode::Append;
        rows.push([
            index_oid(schema.id).into(),
            table_oid(schema.id).into(),
            count.into(),
            count.into(),
            unique.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            true.into(),
            false.into(),
            V::Ints(keys),
            V::Ints(vec![0; count]),
            V::Null,
            V::Null,
        ]);
    }
    Ok(())
}

fn constraints(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        rows.push([
            constraint_oid(schema.id).into(),
            index_name(schema).into(),
            NS_PUBLIC.into(),
            "p".into(),
            false.into(),
            false.into(),
            true.into(),
            table_oid(schema.id).into(),
            0.into(),
            index_oid(schema.id).into(),
            0.into(),
            0.into(),
            " ".into(),
            " ".into(),
            " ".into(),
            true.into(),
            0.into(),
            true.into(),
            V::Ints(key_numbers(schema)),
            V::Null,
            V::Null,
        ]);
    }
    Ok(())
}

struct TypeRow<'a> {
    oid: i64,
    name: &'a str,
    schema: i64,
    len: i64,
    kind: &'a str,
    category: &'a str,
    table: i64,
    element: i64,
    array: i64,
}

fn type_row(rows: &mut Rows, owner: i64, row: &TypeRow<'_>) {
    let function = |what: &str| match row.kind {
        "b" if row.category == "A" => V::from(format!("array_{what}")),
        "c" => V::from(format!("record_{what}")),
        _ => V::from(format!("{}{what}", row.name)),
    };
    rows.push([
        row.oid.into(),
        row.name.into(),
        row.schema.into(),
        owner.into(),
        row.len.into(),
        (row.len > 0 && row.len <= 8).into(),
        row.kind.into(),
        row.category.into(),
        false.into(),
        true.into(),
        ",".into(),
        row.table.into(),
        row.element.into(),
        row.array.into(),
        function("in"),
        function("out"),
        function("recv"),
        function("send"),
        false.into(),
        0.into(),
        V::Int(-1),
        0.into(),
        0.into(),
        V::Null,
    ]);
}

fn types(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let owner = image.owner();
    for kind in KINDS {
        let pseudo = if kind.category == "P" { "p" } else { "b" };
        type_row(
            rows,
            owner,
            &TypeRow {
                oid: kind.oid,
                name: kind.name,
                schema: NS_CATALOG,
                len: kind.len,
                kind: pseudo,
                category: kind.category,
                table: 0,
                element: 0,
                array: kind.array,
            },
        );
        if kind.array != 0 {
            type_row(
                rows,
                owner,
                &TypeRow {
                    oid: kind.array,
                    name: &format!("_{}", kind.name),
                    schema: NS_CATALOG,
                    len: -1,
                    kind: "b",
                    category: "A",
                    table: 0,
                    element: kind.oid,
                    array: 0,
                },
            );
        }
    }
    for table in &image.tables {
        let schema = table.schema();
        type_row(
            rows,
            owner,
            &TypeRow {
                oid: row_type_oid(schema.id),
                name: &schema.name,
                schema: NS_PUBLIC,
                len: -1,
                kind: "c",
                category: "C",
                table: table_oid(schema.id),
                element: 0,
                array: 0,
            },
        );
    }
    for view in &image.views.list {
        let table = view_oid(view.number);
        type_row(
            rows,
            owner,
            &TypeRow {
                oid: table + 1,
                name: &view.name,
                schema: NS_PUBLIC,
                len: -1,
                kind: "c",
                category: "C",
                table,
                element: 0,
                array: 0,
            },
        );
    }
    Ok(())
}

fn procs(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for f in FUNCTIONS {
        rows.push([
            f.oid.into(),
            f.name.into(),
            NS_PUBLIC.into(),
            image.owner().into(),
            12.into(),
            V::Float(1.0),
            0.into(),
            f.kind.into(),
            false.into(),
            false.into(),
            false.into(),
            false.into(),
            "i".into(),
            "s".into(),
            f.count.into(),
            0.into(),
            f.result_oid.into(),
            V::Ints(Vec::new()),
            V::Null,
            f.name.into(),
            V::Null,
        ]);
    }
    Ok(())
}

fn tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        rows.push([
            "public".into(),
            table.schema().name.as_str().into(),
            image.owner_name().into(),
            V::Null,
            true.into(),
            false.into(),
            false.into(),
            false.into(),
        ]);
    }
    Ok(())
}

fn materialized_views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for view in image.views.list.iter().filter(|view| view.materialized.is_some()) {
        rows.push([
            "public".into(),
            view.name.as_str().into(),
            image.owner_name().into(),
            V::Null,
            false.into(),
            true.into(),
            view_definition(view).into(),
        ]);
    }
    Ok(())
}

fn views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for view in image.views.list.iter().filter(|view| view.materialized.is_none()) {
        rows.push([
            "public".into(),
            view.name.as_str().into(),
            image.owner_name().into(),
            view_definition(view).into(),
        ]);
    }
    Ok(())
}

fn descriptions(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let class = class_oid();
    for (relation, column, text) in &image.comments {
        rows.push([
            relation_oid(*relation).into(),
            class.into(),
            (*column).into(),
            text.as_str().into(),
        ]);
    }
    Ok(())
}

/// What pg_get_viewdef gives.
pub(in crate::catalog) fn view_definition(view: &View) -> String {
    format!(" {};", view.text)
}

fn index_definitions(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.tables {
        let schema = table.schema();
        rows.push([
            "public".into(),
            schema.name.as_str().into(),
            index_name(schema).into(),
            V::Null,
            index_definition(schema).into(),
        ]);
    }
    Ok(())
}

/// An identifier, quoted where it must be.
pub(in crate::catalog) fn quoted(name: &str) -> String {
    let plain = name.bytes().enumerate().all(|(i, b)| {
        b.is_ascii_lowercase() || b == b'_' || (i > 0 && (b.is_ascii_digit() || b == b'$'))
    });
    match plain && !name.is_empty() {
        true => name.to_string(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn key_list(schema: &TableSchema) -> String {
    let names: Vec<String> = key_names(schema).iter().map(|n| quoted(n)).collect();
    names.join(", ")
}

/// What pg_get_indexdef gives.
pub(in crate::catalog) fn index_definition(schema: &TableSchema) -> String {
    let unique = match schema.options.merge {
        tsdb::types::MergeMode::Append => "",
        _ => "UNIQUE ",
    };
    let (index, table) = (quoted(&index_name(schema)), quoted(&schema.name));
    format!("CREATE {unique}INDEX {index} ON public.{table} USING btree ({})", key_list(schema))
}

/// What pg_get_constraintdef gives.
pub(in crate::catalog) fn constraint_definition(schema: &TableSchema) -> String {
    format!("PRIMARY KEY ({})", key_list(schema))
}

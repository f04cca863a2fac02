//! pg_namespace, pg_class, pg_attribute, pg_index, pg_constraint, and the views over them.

use super::kinds::{by_oid, oid_of_system};
use super::objects::{
    columns, index_definition, index_name, key_numbers, options, view_definition,
};
use super::{
    NS_CATALOG, NS_INFORMATION, NS_PUBLIC, NS_SYS, class_oid, constraint_oid, index_oid,
    object_oid, relation_oid, relational, row_type_oid, system_tables, table_oid, view_oid,
};
use crate::catalog::rows::{Form, Rows, V};
use crate::catalog::{Image, acl};
use crate::error::QueryResult;
use crate::rights::{Known, Object};

/// The schemas whose rights are always the same.
pub(super) fn namespaces(owner: i64, rows: &mut Rows) {
    let all = [(NS_CATALOG, "pg_catalog"), (NS_INFORMATION, "information_schema"), (NS_SYS, "sys")];
    let mut form = rows.of(["oid", "nspname", "nspowner"]);
    for (oid, name) in all {
        form.push([oid.into(), name.into(), owner.into()]);
    }
}

const CLASS: [&str; 18] = [
    "oid",
    "relname",
    "relnamespace",
    "reltype",
    "relowner",
    "relam",
    "reltuples",
    "relhasindex",
    "relkind",
    "relnatts",
    "relpersistence",
    "relispopulated",
    "relreplident",
    "reloptions",
    "relchecks",
    "relhastriggers",
    "relrowsecurity",
    "relacl",
];

/// What differs between relations.
struct Class<'a> {
    oid: i64,
    name: &'a str,
    schema: i64,
    row_type: i64,
    access: i64,
    rows: f64,
    indexed: bool,
    kind: &'a str,
    columns: usize,
    options: Option<Vec<String>>,
    checks: usize,
    /// As Postgres shows foreign keys.
    triggers: bool,
    persistence: &'a str,
    secured: bool,
    acl: V,
    populated: bool,
}

impl<'a> Class<'a> {
    fn new(oid: i64, name: &'a str, schema: i64, kind: &'a str, columns: usize) -> Class<'a> {
        let (row_type, access, rows, indexed, options) = (0, 0, 0.0, false, None);
        let (checks, triggers, persistence, populated) = (0, false, "p", true);
        let (secured, acl) = (false, V::Null);
        Class {
            oid,
            name,
            schema,
            row_type,
            access,
            rows,
            indexed,
            kind,
            columns,
            options,
            checks,
            triggers,
            persistence,
            secured,
            acl,
            populated,
        }
    }

    /// With the rights of an object.
    fn of(self, image: &Image, object: Object) -> Class<'a> {
        let (secured, acl) = (image.is_secured(object), acl::of_relation(image, object));
        Class { secured, acl, ..self }
    }

    fn push(self, form: &mut Form<'_, 18>, owner: i64) {
        form.push([
            self.oid.into(),
            self.name.into(),
            self.schema.into(),
            self.row_type.into(),
            owner.into(),
            self.access.into(),
            V::Float(self.rows),
            self.indexed.into(),
            self.kind.into(),
            self.columns.into(),
            self.persistence.into(),
            self.populated.into(),
            if self.kind == "r" { "d" } else { "n" }.into(),
            self.options.map_or(V::Null, V::Texts),
            self.checks.into(),
            self.triggers.into(),
            self.secured.into(),
            self.acl,
        ]);
    }
}

/// Tables, their keys' indexes, views.
pub(super) fn classes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(CLASS);
    for table in &image.tables {
        let schema = table.schema();
        let object = Object::Table(schema.id);
        let owner = image.owner_of(object);
        let (oid, width) = (table_oid(schema.id), schema.columns.len() + 1);
        let class = Class {
            row_type: row_type_oid(schema.id),
            access: super::ACCESS_TABLE,
            rows: table.stats().rows as f64,
            indexed: true,
            options: Some(options(schema)),
            ..Class::new(oid, &schema.name, NS_PUBLIC, "r", width)
        };
        class.of(image, object).push(&mut form, owner);
        let name = index_name(schema);
        let keys = schema.keys().count() + 1;
        let class = Class::new(index_oid(schema.id), &name, NS_PUBLIC, "i", keys);
        Class { access: super::ACCESS_KEY, ..class }.push(&mut form, owner);
    }
    for view in &image.views.list {
        let oid = view_oid(view.number);
        let kind = if view.is_materialized() { "m" } else { "v" };
        let object = Object::View(view.number);
        let class = Class::new(oid, &view.name, NS_PUBLIC, kind, view.columns.len());
        let class = Class {
            row_type: oid + 1,
            access: if view.stored.is_some() { super::ACCESS_HEAP } else { 0 },
            rows: image.rows_kept(view) as f64,
            persistence: if view.temporary.is_some() { "t" } else { "p" },
            populated: view.is_populated(),
            ..class
        }
        .of(image, object);
        class.push(&mut form, image.owner_of(object));
    }
    for table in &image.relations.list {
        let oid = object_oid(table.number);
        let object = Object::Relational(table.number);
        let class = Class {
            row_type: oid + 1,
            access: super::ACCESS_HEAP,
            rows: image.rows_of(table) as f64,
            indexed: relational::indexes(table).next().is_some(),
            checks: table.checks.len(),
            persistence: if table.temporary.is_some() { "t" } else { "p" },
            triggers: !table.foreign.is_empty()
                || !image.relations.referrers(table.number).is_empty(),
            ..Class::new(oid, &table.name, NS_PUBLIC, "r", table.columns.len())
        };
        class.of(image, object).push(&mut form, image.owner_of(object));
    }
    for sequence in &image.relations.sequences {
        let class = Class::new(object_oid(sequence.number), &sequence.name, NS_PUBLIC, "S", 3);
        let table = sequence.owned.and_then(|of| image.relations.by_number(of.table));
        let temporary = table.is_some_and(|table| table.temporary.is_some());
        let persistence = if temporary { "t" } else { "p" };
        let class = Class { rows: 1.0, persistence, ..class };
        class.push(&mut form, super::sequences::owner_of(image, sequence));
    }
    for index in relational::all_indexes(image) {
        let (oid, width) = (object_oid(index.number), index.columns.len());
        let class = Class::new(oid, index.name, NS_PUBLIC, "i", width);
        let owner = image.owner_of(Object::Relational(index.table.number));
        Class { access: super::ACCESS_KEY, ..class }.push(&mut form, owner);
    }
    Ok(())
}

/// The system tables: those of Postgres' that are tables there, and views.
pub(super) fn system_classes(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(CLASS);
    for (oid, schema, known) in system_tables() {
        let kind = if oid < super::FIRST_VIEW_OID { "r" } else { "v" };
        let class = Class::new(oid, known.name, schema, kind, known.columns.len());
        let access = if kind == "r" { super::ACCESS_HEAP } else { 0 };
        Class { access, ..class }.push(&mut form, owner);
    }
}

const ATTRIBUTE: [&str; 18] = [
    "attrelid",
    "attname",
    "atttypid",
    "attstattarget",
    "attlen",
    "attnum",
    "attndims",
    "attcacheoff",
    "atttypmod",
    "attbyval",
    "attalign",
    "attstorage",
    "attnotnull",
    "attislocal",
    "attcollation",
    "atthasdef",
    "attidentity",
    "attacl",
];

struct Attribute<'a> {
    relation: i64,
    number: i64,
    name: &'a str,
    kind: i64,
    not_null: bool,
    modifier: i64,
    default: bool,
    identity: &'a str,
    acl: V,
}

impl<'a> Attribute<'a> {
    fn new(relation: i64, number: i64, name: &'a str, kind: i64, not_null: bool) -> Attribute<'a> {
        let (modifier, default, identity, acl) = (-1, false, "", V::Null);
        Attribute { relation, number, name, kind, not_null, modifier, default, identity, acl }
    }

    fn push(self, form: &mut Form<'_, 18>) {
        let kind = by_oid(self.kind);
        form.push([
            self.relation.into(),
            self.name.into(),
            self.kind.into(),
            V::Int(-1),
            kind.map_or(-1, |k| k.len).into(),
            self.number.into(),
            i64::from(kind.is_some_and(|k| k.is_array())).into(),
            V::Int(-1),
            V::Int(self.modifier),
            kind.is_some_and(|k| k.by_value).into(),
            kind.map_or("i", |k| k.align).into(),
            kind.map_or("x", |k| k.storage).into(),
            self.not_null.into(),
            true.into(),
            kind.map_or(0, |k| k.collation).into(),
            self.default.into(),
            self.identity.into(),
            self.acl,
        ]);
    }
}

/// Columns of tables, of their keys' indexes, and of views.
pub(super) fn attributes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(ATTRIBUTE);
    for table in &image.tables {
        let schema = table.schema();
        let all = columns(schema);
        let known = Known::of_table(schema);
        for (number, name, kind, not_null) in &all {
            let (number, kind, not_null) = (*number, *kind, *not_null);
            let relation = table_oid(schema.id);
            let acl = acl::of_column(image, known.object, known.number(name));
            let attribute = Attribute::new(relation, number, name, kind, not_null);
            Attribute { acl, ..attribute }.push(&mut form);
        }
        for (number, of) in (1..).zip(key_numbers(schema)) {
            if let Some((_, name, kind, _)) = all.iter().find(|(n, ..)| *n == of) {
                let (relation, kind) = (index_oid(schema.id), *kind);
                Attribute::new(relation, number, name, kind, false).push(&mut form);
            }
        }
    }
    for view in &image.views.list {
        for (at, column) in view.columns.iter().enumerate() {
            let (relation, name, kind) = (view_oid(view.number), &column.name, column.kind);
            let place = u32::try_from(at + 1).ok();
            let acl = acl::of_column(image, Object::View(view.number), place);
            let modifier = view.stored.as_ref().map_or(-1, |stored| stored.modifier(at));
            let attribute = Attribute::new(relation, at as i64 + 1, name, kind, false);
            Attribute { acl, modifier, ..attribute }.push(&mut form);
        }
    }
    for table in &image.relations.list {
        for (number, column) in (1..).zip(&table.columns) {
            let relation = object_oid(table.number);
            let kind = column.kind.oid();
            let not_null = column.not_null;
            Attribute {
                modifier: column.kind.modifier(),
                default: relational::default(image, table, column).is_some(),
                identity: relational::identity(column),
                acl: acl::of_column(image, Object::Relational(table.number), Some(column.id)),
                ..Attribute::new(relation, number, &column.name, kind, not_null)
            }
            .push(&mut form);
        }
    }
    for sequence in &image.relations.sequences {
        let columns = [("last_value", 20), ("log_cnt", 20), ("is_called", 16)];
        for (number, (name, kind)) in (1..).zip(columns) {
            let relation = object_oid(sequence.number);
            Attribute::new(relation, number, name, kind, true).push(&mut form);
        }
    }
    for index in relational::all_indexes(image) {
        for (number, id) in (1..).zip(index.columns) {
            if let Ok(column) = index.table.column(*id) {
                let relation = object_oid(index.number);
                let modifier = column.kind.modifier();
                let kind = column.kind.oid();
                let attribute = Attribute::new(relation, number, &column.name, kind, false);
                Attribute { modifier, ..attribute }.push(&mut form);
            }
        }
    }
    Ok(())
}

/// Columns of the system tables.
pub(super) fn system_attributes(_: i64, rows: &mut Rows) {
    let mut form = rows.of(ATTRIBUTE);
    for (relation, _, known) in system_tables() {
        for (number, (name, kind)) in (1..).zip(&known.columns) {
            let kind = oid_of_system(*kind);
            Attribute::new(relation, number, name, kind, false).push(&mut form);
        }
    }
}

/// Keys, as indexes.
pub(super) fn indexes(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "indexrelid",
        "indrelid",
        "indnatts",
        "indnkeyatts",
        "indisunique",
        "indisprimary",
        "indimmediate",
        "indisvalid",
        "indisready",
        "indislive",
        "indkey",
        "indcollation",
        "indclass",
        "indoption",
    ]);
    for table in &image.tables {
        let schema = table.schema();
        let keys = key_numbers(schema);
        let all = columns(schema);
        let kinds = keys.iter().filter_map(|key| {
            let column = all.iter().find(|(number, ..)| number == key);
            column.map(|(_, _, kind, _)| *kind)
        });
        let (mut collations, mut classes) = (Vec::new(), Vec::new());
        for kind in kinds {
            collations.push(by_oid(kind).map_or(0, |k| k.collation));
            classes.push(super::server::operator_class(kind));
        }
        let count = keys.len();
        let unique = schema.options.merge != tsdb::types::MergeMode::Append;
        form.push([
            index_oid(schema.id).into(),
            table_oid(schema.id).into(),
            count.into(),
            count.into(),
            unique.into(),
            true.into(),
            true.into(),
            true.into(),
            true.into(),
            true.into(),
            V::Ints(keys),
            V::Ints(collations),
            V::Ints(classes),
            V::Ints(vec![0; count]),
        ]);
    }
    for index in relational::all_indexes(image) {
        let count = index.columns.len();
        let (collations, classes) = relational::types_of_index(&index);
        form.push([
            object_oid(index.number).into(),
            object_oid(index.table.number).into(),
            count.into(),
            count.into(),
            index.unique.into(),
            index.primary.into(),
            true.into(),
            true.into(),
            true.into(),
            true.into(),
            V::Ints(relational::places(index.table, index.columns)),
            V::Ints(collations),
            V::Ints(classes),
            V::Ints(vec![0; count]),
        ]);
    }
    Ok(())
}

/// Keys, as constraints.
pub(super) fn constraints(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "oid",
        "conname",
        "connamespace",
        "contype",
        "convalidated",
        "conrelid",
        "conindid",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
        "conislocal",
        "connoinherit",
        "conkey",
        "confrelid",
        "confkey",
        "conbin",
    ]);
    for table in &image.tables {
        let schema = table.schema();
        form.push([
            constraint_oid(schema.id).into(),
            index_name(schema).into(),
            NS_PUBLIC.into(),
            "p".into(),
            true.into(),
            table_oid(schema.id).into(),
            index_oid(schema.id).into(),
            " ".into(),
            " ".into(),
            " ".into(),
            true.into(),
            true.into(),
            V::Ints(key_numbers(schema)),
            0.into(),
            V::Null,
            V::Null,
        ]);
    }
    for constraint in relational::all_constraints(image) {
        form.push(relational::constraint_row(image, &constraint));
    }
    Ok(())
}

/// pg_tables.
pub(super) fn tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let names = ["schemaname", "tablename", "tableowner", "hasindexes", "rowsecurity"];
    let mut form = rows.of(names);
    for table in &image.tables {
        let (name, object) = (table.schema().name.as_str(), Object::Table(table.schema().id));
        let owner = image.owner_name_of(object);
        let secured = image.is_secured(object).into();
        form.push(["public".into(), name.into(), owner.into(), true.into(), secured]);
    }
    for table in &image.relations.list {
        let indexed = relational::indexes(table).next().is_some();
        let (name, object) = (table.name.as_str(), Object::Relational(table.number));
        let owner = image.owner_name_of(object);
        let secured = image.is_secured(object).into();
        form.push(["public".into(), name.into(), owner.into(), indexed.into(), secured]);
    }
    let owner = image.owner_name();
    for (oid, schema, known) in system_tables() {
        if oid < super::FIRST_VIEW_OID && schema == NS_CATALOG {
            let (schema, name) = (known.schema, known.name);
            let (owner, none) = (owner.into(), false.into());
            form.push([schema.into(), name.into(), owner, none, false.into()]);
        }
    }
    Ok(())
}

/// pg_views.
pub(super) fn views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["schemaname", "viewname", "viewowner", "definition"]);
    for view in image.views.list.iter().filter(|view| !view.is_materialized()) {
        let (name, text) = (view.name.as_str(), view_definition(view));
        let owner = image.owner_name_of(Object::View(view.number));
        form.push(["public".into(), name.into(), owner.into(), text.into()]);
    }
    Ok(())
}

/// pg_matviews.
pub(super) fn materialized_views(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of([
        "schemaname",
        "matviewname",
        "matviewowner",
        "hasindexes",
        "ispopulated",
        "definition",
    ]);
    for view in image.views.list.iter().filter(|view| view.is_materialized()) {
        form.push([
            "public".into(),
            view.name.as_str().into(),
            image.owner_name_of(Object::View(view.number)).into(),
            false.into(),
            view.is_populated().into(),
            view_definition(view).into(),
        ]);
    }
    Ok(())
}

/// Comments.
pub(super) fn descriptions(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["objoid", "classoid", "objsubid", "description"]);
    let class = class_oid();
    for (relation, column, text) in image.comments()? {
        let oid = relation_oid(*relation);
        form.push([oid.into(), class.into(), (*column).into(), text.as_str().into()]);
    }
    Ok(())
}

/// Comments on what is always there, as Postgres has them.
pub(super) fn system_descriptions(_: i64, rows: &mut Rows) {
    let mut form = rows.of(["objoid", "classoid", "objsubid", "description"]);
    let about = "standard public schema";
    form.push([NS_PUBLIC.into(), super::NAMESPACE_OID.into(), 0.into(), about.into()]);
    let about = "system catalog schema";
    form.push([NS_CATALOG.into(), super::NAMESPACE_OID.into(), 0.into(), about.into()]);
}

/// pg_indexes.
pub(super) fn index_definitions(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["schemaname", "tablename", "indexname", "indexdef"]);
    for table in &image.tables {
        let schema = table.schema();
        form.push([
            "public".into(),
            schema.name.as_str().into(),
            index_name(schema).into(),
            index_definition(schema).into(),
        ]);
    }
    for index in relational::all_indexes(image) {
        form.push([
            "public".into(),
            index.table.name.as_str().into(),
            index.name.into(),
            relational::index_definition(&index).into(),
        ]);
    }
    Ok(())
}

//! pg_type and pg_proc.

use super::builtins::BUILTINS;
use super::kinds::{FUNCTIONS, Function, IO, KINDS, named};
use super::{NS_CATALOG, NS_PUBLIC, row_type_oid, table_oid, view_oid};
use crate::catalog::Image;
use crate::catalog::rows::{Form, Rows, V};
use crate::error::QueryResult;

const TYPE: [&str; 24] = [
    "oid",
    "typname",
    "typnamespace",
    "typowner",
    "typlen",
    "typbyval",
    "typtype",
    "typcategory",
    "typispreferred",
    "typisdefined",
    "typdelim",
    "typrelid",
    "typelem",
    "typarray",
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typalign",
    "typstorage",
    "typtypmod",
    "typcollation",
];

/// The types of Postgres.
pub(super) fn system_types(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(TYPE);
    for kind in KINDS.iter() {
        let [input, output, receive, send, modifier_in, modifier_out, ..] = kind.functions;
        form.push([
            kind.oid.into(),
            kind.name.into(),
            NS_CATALOG.into(),
            owner.into(),
            kind.len.into(),
            kind.by_value.into(),
            kind.kind.into(),
            kind.category.into(),
            kind.preferred.into(),
            true.into(),
            ",".into(),
            0.into(),
            kind.element.into(),
            kind.array.into(),
            input.into(),
            output.into(),
            receive.into(),
            send.into(),
            modifier_in.into(),
            modifier_out.into(),
            kind.align.into(),
            kind.storage.into(),
            V::Int(-1),
            kind.collation.into(),
        ]);
    }
}

/// The types of the rows of tables and views.
pub(super) fn row_types(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let owner = image.owner();
    let mut form = rows.of(TYPE);
    for table in &image.tables {
        let schema = table.schema();
        row_type(&mut form, owner, (row_type_oid(schema.id), table_oid(schema.id)), &schema.name);
    }
    for view in &image.views.list {
        let oid = view_oid(view.number);
        row_type(&mut form, owner, (oid + 1, oid), &view.name);
    }
    for table in &image.relations.list {
        let oid = super::object_oid(table.number);
        row_type(&mut form, owner, (oid + 1, oid), &table.name);
    }
    Ok(())
}

fn row_type(form: &mut Form<'_, 24>, owner: i64, (oid, relation): (i64, i64), name: &str) {
    // record_in, record_out, record_recv, record_send.
    let [input, output, receive, send] = [2290, 2291, 2402, 2403];
    form.push([
        oid.into(),
        name.into(),
        NS_PUBLIC.into(),
        owner.into(),
        V::Int(-1),
        false.into(),
        "c".into(),
        "C".into(),
        false.into(),
        true.into(),
        ",".into(),
        relation.into(),
        0.into(),
        0.into(),
        input.into(),
        output.into(),
        receive.into(),
        send.into(),
        0.into(),
        0.into(),
        "d".into(),
        "x".into(),
        V::Int(-1),
        0.into(),
    ]);
}

const PROC: [&str; 20] = [
    "oid",
    "proname",
    "pronamespace",
    "proowner",
    "prolang",
    "procost",
    "prokind",
    "proleakproof",
    "proisstrict",
    "provolatile",
    "proparallel",
    "pronargs",
    "pronargdefaults",
    "prorettype",
    "proargtypes",
    "proargnames",
    "prosrc",
    "prorows",
    "provariadic",
    "proretset",
];

/// Functions of our own, those of Postgres that may be called, and those that read and write values of types.
pub(super) fn procs(owner: i64, rows: &mut Rows) {
    let mut form = rows.of(PROC);
    for f in FUNCTIONS {
        let (names, types, defaults) = arguments(f);
        form.push([
            f.oid.into(),
            f.name.into(),
            NS_PUBLIC.into(),
            owner.into(),
            super::LANGUAGE_INTERNAL.into(),
            V::Float(1.0),
            f.kind.into(),
            false.into(),
            false.into(),
            "i".into(),
            "s".into(),
            f.count.into(),
            defaults.into(),
            f.result_oid.into(),
            V::Ints(types),
            V::Texts(names),
            f.name.into(),
            V::Float(0.0),
            0.into(),
            false.into(),
        ]);
    }
    for f in BUILTINS.iter() {
        form.push([
            f.oid.into(),
            f.name.into(),
            NS_CATALOG.into(),
            owner.into(),
            super::LANGUAGE_INTERNAL.into(),
            V::Float(f.cost),
            f.kind.into(),
            false.into(),
            f.strict.into(),
            f.volatile.into(),
            f.parallel.into(),
            f.arguments.len().into(),
            f.defaults.into(),
            f.result.into(),
            V::Ints(f.arguments.clone()),
            f.names.clone().map_or(V::Null, V::Texts),
            f.name.into(),
            V::Float(f.rows),
            f.variadic.into(),
            f.set.into(),
        ]);
    }
    for (oid, name, result, types) in IO.iter() {
        form.push([
            (*oid).into(),
            (*name).into(),
            NS_CATALOG.into(),
            owner.into(),
            super::LANGUAGE_INTERNAL.into(),
            V::Float(1.0),
            "f".into(),
            false.into(),
            true.into(),
            "i".into(),
            "s".into(),
            types.len().into(),
            0.into(),
            (*result).into(),
            V::Ints(types.clone()),
            V::Null,
            (*name).into(),
            V::Float(0.0),
            0.into(),
            false.into(),
        ]);
    }
}

/// Names and types of a function's arguments, and how many have defaults.
pub(super) fn arguments(function: &Function) -> (Vec<String>, Vec<i64>, usize) {
    let (mut names, mut types, mut defaults) = (Vec::new(), Vec::new(), 0);
    for argument in function.arguments.split(", ") {
        let (argument, default) = match argument.split_once(" DEFAULT ") {
            Some((argument, _)) => (argument, 1),
            None => (argument, 0),
        };
        let (name, kind) = argument.trim().split_once(' ').unwrap_or(("", argument));
        names.push(name.trim_matches('"').to_string());
        types.push(named(kind).map_or(super::ANY_OID, |kind| kind.oid));
        defaults += default;
    }
    (names, types, defaults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_as_many_as_are_said() {
        for function in FUNCTIONS {
            let (names, types, _) = arguments(function);
            assert_eq!(names.len(), types.len());
            assert_eq!(types.len() as i64, function.count, "{}", function.name);
            assert!(names.iter().all(|name| !name.is_empty()), "{}", function.name);
        }
    }
}

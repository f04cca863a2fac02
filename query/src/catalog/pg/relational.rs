//! Relational tables, their columns, keys, indexes, checks and foreign keys, as the catalogue
//! shows them.

use super::kinds::by_oid;
use super::objects::quoted;
use super::{NS_PUBLIC, object_oid};
use crate::catalog::Image;
use crate::catalog::rows::{Rows, V};
use crate::error::QueryResult;
use crate::relational::def::{Action, Column, Foreign, Index, TableDef, with_names};
use crate::schema::bare;

/// An index as it is shown: that of the primary key, or another.
pub(in crate::catalog) struct Shown<'a> {
    pub(in crate::catalog) table: &'a TableDef,
    pub(in crate::catalog) number: u32,
    pub(in crate::catalog) name: &'a str,
    pub(in crate::catalog) columns: &'a [u32],
    pub(in crate::catalog) unique: bool,
    pub(in crate::catalog) primary: bool,
    /// Number of its constraint.
    pub(in crate::catalog) constraint: Option<u32>,
}

/// The indexes of a table that users see.
pub(in crate::catalog) fn indexes(table: &TableDef) -> impl Iterator<Item = Shown<'_>> {
    let primary = table.primary.iter().map(move |p| Shown {
        table,
        number: p.index,
        name: &p.name,
        columns: &p.columns,
        unique: true,
        primary: true,
        constraint: Some(p.constraint),
    });
    let others = table.indexes.iter().filter(|i| !i.hidden).map(move |i: &Index| Shown {
        table,
        number: i.number,
        name: &i.name,
        columns: &i.columns,
        unique: i.unique,
        primary: false,
        constraint: i.constraint,
    });
    primary.chain(others)
}

/// All of them.
pub(in crate::catalog) fn all_indexes(image: &Image) -> impl Iterator<Item = Shown<'_>> {
    image.relations.list.iter().flat_map(|table| indexes(table))
}

/// The index of a number.
pub(in crate::catalog) fn find_index(image: &Image, oid: i64) -> Option<Shown<'_>> {
    all_indexes(image).find(|index| object_oid(index.number) == oid)
}

/// Places of columns, from 1.
pub(in crate::catalog) fn places(table: &TableDef, ids: &[u32]) -> Vec<i64> {
    let place = |id: &u32| table.columns.iter().position(|column| column.id == *id);
    ids.iter().filter_map(place).map(|at| at as i64 + 1).collect()
}

fn list(table: &TableDef, ids: &[u32]) -> String {
    let names: Vec<String> = table.names(ids).iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// What pg_get_indexdef gives.
pub(in crate::catalog) fn index_definition(index: &Shown<'_>) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let (name, table) = (quoted(bare(index.name)), quoted(&index.table.name));
    let columns = list(index.table, index.columns);
    format!("CREATE {unique}INDEX {name} ON public.{table} USING btree ({columns})")
}

/// A constraint as it is shown.
pub(in crate::catalog) struct Constraint<'a> {
    pub(in crate::catalog) table: &'a TableDef,
    pub(in crate::catalog) number: u32,
    pub(in crate::catalog) name: &'a str,
    /// `p`, `u`, `c`, `f`.
    pub(in crate::catalog) kind: &'static str,
    pub(in crate::catalog) columns: &'a [u32],
    pub(in crate::catalog) index: Option<u32>,
    pub(in crate::catalog) foreign: Option<&'a Foreign>,
    pub(in crate::catalog) text: Option<&'a str>,
}

/// The constraints of a table.
pub(in crate::catalog) fn constraints(table: &TableDef) -> impl Iterator<Item = Constraint<'_>> {
    let keys = indexes(table).filter_map(move |index| {
        Some(Constraint {
            table,
            number: index.constraint?,
            name: index.name,
            kind: if index.primary { "p" } else { "u" },
            columns: index.columns,
            index: Some(index.number),
            foreign: None,
            text: None,
        })
    });
    let checks = table.checks.iter().map(move |check| Constraint {
        table,
        number: check.number,
        name: &check.name,
        kind: "c",
        columns: &check.columns,
        index: None,
        foreign: None,
        text: Some(&check.text),
    });
    let foreign = table.foreign.iter().map(move |foreign| Constraint {
        table,
        number: foreign.number,
        name: &foreign.name,
        kind: "f",
        columns: &foreign.columns,
        index: None,
        foreign: Some(foreign),
        text: None,
    });
    keys.chain(checks).chain(foreign)
}

/// All of them.
pub(in crate::catalog) fn all_constraints(image: &Image) -> impl Iterator<Item = Constraint<'_>> {
    image.relations.list.iter().flat_map(|table| constraints(table))
}

impl Action {
    /// As pg_constraint has it.
    fn letter(self) -> &'static str {
        match self {
            Action::Refuse => "a",
            Action::Restrict => "r",
            Action::Cascade => "c",
            Action::SetNull => "n",
        }
    }

    /// As information_schema has it.
    pub(in crate::catalog) fn words(self) -> &'static str {
        match self {
            Action::Refuse => "NO ACTION",
            Action::Restrict => "RESTRICT",
            Action::Cascade => "CASCADE",
            Action::SetNull => "SET NULL",
        }
    }
}

/// The table that a foreign key refers to.
pub(in crate::catalog) fn parent<'a>(image: &'a Image, foreign: &Foreign) -> Option<&'a TableDef> {
    image.relations.by_number(foreign.table).map(|table| &**table)
}

/// What pg_get_constraintdef gives.
pub(in crate::catalog) fn constraint_definition(image: &Image, of: &Constraint<'_>) -> String {
    let columns = list(of.table, of.columns);
    match (of.kind, of.foreign, of.text) {
        ("p", ..) => format!("PRIMARY KEY ({columns})"),
        (_, _, Some(text)) => format!("CHECK (({text}))"),
        (_, Some(foreign), _) => {
            let parent = parent(image, foreign);
            let name = parent.map_or_else(String::new, |parent| quoted(&parent.name));
            let target = parent.map_or_else(String::new, |parent| list(parent, &foreign.target));
            let mut out = format!("FOREIGN KEY ({columns}) REFERENCES {name}({target})");
            for (when, action) in [("UPDATE", foreign.on_update), ("DELETE", foreign.on_delete)] {
                if action != Action::Refuse {
                    out.push_str(&format!(" ON {when} {}", action.words()));
                }
            }
            out
        }
        _ => format!("UNIQUE ({columns})"),
    }
}

/// A column's default as it is shown.
pub(in crate::catalog) fn default(
    image: &Image,
    table: &TableDef,
    column: &Column,
) -> Option<String> {
    let name = |number: u32| {
        let sequence = image.relations.sequence(number)?;
        Some(image.name_of(&sequence.name))
    };
    match &column.sequence {
        Some(sequence) if sequence.identity.is_none() => {
            let name = name(sequence.number);
            let name =
                name.unwrap_or_else(|| quoted(&format!("{}_{}_seq", table.name, column.name)));
            Some(format!("nextval('{}'::regclass)", name.replace('\'', "''")))
        }
        Some(_) => None,
        None => column.default.as_ref().map(|text| with_names(text, name)),
    }
}

/// Number of a column's default: those of a table's columns lie in its own range.
pub(super) fn default_oid(table: &TableDef, at: i64) -> i64 {
    object_oid(table.number) * 2_000 + at
}

/// `attidentity`.
pub(super) fn identity(column: &Column) -> &'static str {
    match column.sequence.as_ref().and_then(|sequence| sequence.identity) {
        Some(true) => "a",
        Some(false) => "d",
        None => "",
    }
}

/// pg_attrdef.
pub(super) fn defaults(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let mut form = rows.of(["oid", "adrelid", "adnum", "adbin"]);
    for table in &image.relations.list {
        for (at, column) in (1i64..).zip(&table.columns) {
            if let Some(text) = default(image, table, column) {
                let relation = object_oid(table.number);
                form.push([default_oid(table, at).into(), relation.into(), at.into(), text.into()]);
            }
        }
    }
    Ok(())
}

/// Types of an index's columns as pg_index has them: their collations and operator classes.
pub(super) fn types_of_index(index: &Shown<'_>) -> (Vec<i64>, Vec<i64>) {
    let kinds = index.table.kinds(index.columns).unwrap_or_default();
    let collation = |oid: i64| by_oid(oid).map_or(0, |kind| kind.collation);
    let collations = kinds.iter().map(|kind| collation(kind.oid())).collect();
    let classes = kinds.iter().map(|kind| super::server::operator_class(kind.oid())).collect();
    (collations, classes)
}

/// Rows of pg_constraint: number, name, kind, validated, table, index, parent, actions, columns,
/// columns of the parent.
pub(super) fn constraint_row(image: &Image, of: &Constraint<'_>) -> [V; 16] {
    let parent = of.foreign.and_then(|foreign| parent(image, foreign));
    let target = match (of.foreign, parent) {
        (Some(foreign), Some(parent)) => V::Ints(places(parent, &foreign.target)),
        _ => V::Null,
    };
    let index = match (of.foreign, parent) {
        (Some(foreign), Some(parent)) => indexes(parent)
            .find(|index| index.unique && index.columns == foreign.target)
            .map(|index| index.number),
        _ => of.index,
    };
    let action = |of: Option<Action>| of.map_or(" ", Action::letter);
    [
        object_oid(of.number).into(),
        of.name.into(),
        NS_PUBLIC.into(),
        of.kind.into(),
        true.into(),
        object_oid(of.table.number).into(),
        index.map_or(0, object_oid).into(),
        action(of.foreign.map(|f| f.on_update)).into(),
        action(of.foreign.map(|f| f.on_delete)).into(),
        if of.foreign.is_some() { "s" } else { " " }.into(),
        true.into(),
        (of.kind != "c").into(),
        V::Ints(places(of.table, of.columns)),
        parent.map_or(0, |parent| object_oid(parent.number)).into(),
        target,
        of.text.map_or(V::Null, |text| format!("({text})").into()),
    ]
}

//! Tables of a select by what they are called there, and functions whose rows are a table.

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Select, TableFactor, TableWithJoins,
};

use crate::names::folded;

/// Functions that are read as the table of their name, whatever their arguments.
const FUNCTIONS: &[&str] =
    &["pg_timezone_names", "pg_get_keywords", "pg_listening_channels", "pg_partition_tree"];

/// Whether a table function is read as a table.
pub(super) fn is_function(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => FUNCTIONS.contains(&folded(name).as_str()),
        _ => false,
    }
}

/// Whether a function that is read as a table has one column, which bears its name.
pub(super) fn is_column(name: &ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident()).map(folded);
    last.as_deref() == Some("pg_listening_channels")
}

/// Tables of a FROM as (what it is called, its name with its schema).
pub(super) fn of(select: &Select) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for TableWithJoins { relation, joins } in &select.from {
        let factors = std::iter::once(relation).chain(joins.iter().map(|join| &join.relation));
        for factor in factors {
            if let TableFactor::Table { name, alias, args: None, .. } = factor {
                let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
                let Some(last) = parts.last() else { continue };
                let called = alias.as_ref().map_or_else(|| folded(last), |a| folded(&a.name));
                let quoted: Vec<String> = parts
                    .iter()
                    .map(|part| format!("\"{}\"", folded(part).replace('"', "\"\"")))
                    .collect();
                all.push((called, quoted.join(".")));
            }
        }
    }
    all
}

/// Whether a select reads tables of the catalogue alone, at least one.
pub(super) fn are_of_catalogue(select: &Select) -> bool {
    let tables = of(select);
    let count: usize = select.from.iter().map(|from| 1 + from.joins.len()).sum();
    tables.len() == count
        && count > 0
        && tables.iter().all(|(_, name)| {
            let parts: Vec<&str> = name.trim_matches('"').split("\".\"").collect();
            match parts.as_slice() {
                [name] => crate::catalog::table(None, name).is_some(),
                [schema, name] => crate::catalog::table(Some(schema), name).is_some(),
                _ => false,
            }
        })
}

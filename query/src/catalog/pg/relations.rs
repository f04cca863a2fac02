//! The columns of `pg_catalog` and `information_schema` as PostgreSQL 15 has them.
//!
//! Clients say `SELECT *` and read columns by name, so tables have all columns of Postgres with
//! the same types, also those that are NULL or zero here.

use crate::catalog::T;

/// Number, schema, name, columns.
pub(in crate::catalog) type Relation = (i64, &'static str, &'static str, Vec<(&'static str, T)>);

static TEXT: &str = include_str!("pg15/relations.txt");

/// All relations of the two schemas.
pub(in crate::catalog) fn all() -> Vec<Relation> {
    let mut all: Vec<Relation> = Vec::new();
    for line in TEXT.lines().filter(|line| !line.starts_with('#')) {
        let words = line.split_ascii_whitespace();
        if line.starts_with(' ') {
            let columns = words.filter_map(|word| word.split_once(':'));
            if let Some(last) = all.last_mut() {
                last.3.extend(columns.map(|(name, kind)| (name, kind_of(kind))));
            }
            continue;
        }
        if let [schema, name, oid] = words.collect::<Vec<_>>()[..] {
            all.push((oid.parse().unwrap_or(0), schema, name, Vec::new()));
        }
    }
    all
}

fn kind_of(name: &'static str) -> T {
    if let Some(item) = name.strip_suffix("[]") {
        return match item {
            "text" => T::TextArray,
            "int4" => T::IntArray,
            _ => T::Array(item),
        };
    }
    match name {
        "bool" => T::Bool,
        "int2" => T::Int2,
        "int4" => T::Int4,
        "int8" => T::Int8,
        "float4" => T::Float4,
        "float8" => T::Float8,
        "numeric" => T::Numeric,
        "text" => T::Text,
        "timestamptz" => T::Time,
        "interval" => T::Interval,
        "bytea" => T::Bytes,
        "oid" => T::Oid,
        "xid" | "regproc" | "regclass" | "regtype" => T::Number(name),
        "int2vector" | "oidvector" => T::Vector(name),
        _ => T::Like(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_whole() {
        let all = all();
        assert_eq!(all.len(), 208);
        let mut numbers: Vec<i64> = all.iter().map(|relation| relation.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all.len(), "numbers are used once");
        let class = all.iter().find(|relation| relation.2 == "pg_class").unwrap();
        assert_eq!((class.0, class.3.len()), (1259, 33));
        assert_eq!(class.3[1], ("relname", T::Like("name")));
        assert!(all.iter().all(|relation| !relation.3.is_empty()));
    }
}

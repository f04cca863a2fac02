//! Functions of PostgreSQL that statements may call here, for pg_proc: under Postgres' numbers.

use std::sync::LazyLock;

/// One function, as pg_proc has it.
pub(crate) struct Builtin {
    pub(crate) oid: i64,
    pub(crate) name: &'static str,
    /// `f`, `a`, `w`: function, aggregate, window function.
    pub(crate) kind: &'static str,
    pub(crate) volatile: &'static str,
    pub(crate) strict: bool,
    pub(crate) parallel: &'static str,
    /// Whether it gives rows.
    pub(crate) set: bool,
    pub(crate) cost: f64,
    pub(crate) rows: f64,
    /// Number of the type of its results here, which may be another than in Postgres.
    pub(crate) result: i64,
    pub(crate) arguments: Vec<i64>,
    /// Number of the type of further arguments; 0: it takes none.
    pub(crate) variadic: i64,
    pub(crate) defaults: i64,
    pub(crate) names: Option<Vec<String>>,
    /// Its arguments in words.
    pub(crate) text: &'static str,
}

/// All of them, in order of their numbers.
pub(crate) static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
    let lines = include_str!("pg15/functions.txt").lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(builtin).collect()
});

fn builtin(line: &'static str) -> Option<Builtin> {
    let mut words = line.split('\t');
    let mut word = || words.next();
    let number = |word: Option<&str>| word?.parse::<i64>().ok();
    let truth = |word: Option<&str>| word.map(|word| word == "1");
    Some(Builtin {
        oid: number(word())?,
        name: word()?,
        kind: word()?,
        volatile: word()?,
        strict: truth(word())?,
        parallel: word()?,
        set: truth(word())?,
        cost: number(word())? as f64,
        rows: number(word())? as f64,
        result: number(word())?,
        arguments: word()?.split(',').filter_map(|word| word.parse().ok()).collect(),
        variadic: number(word())?,
        defaults: number(word())?,
        names: {
            let names = word()?;
            (names != "-").then(|| names.split(',').map(str::to_string).collect())
        },
        text: word().map(|text| if text == "-" { "" } else { text })?,
    })
}

/// The function of that number.
pub(in crate::catalog) fn by_oid(oid: i64) -> Option<&'static Builtin> {
    let at = BUILTINS.binary_search_by_key(&oid, |builtin| builtin.oid).ok()?;
    BUILTINS.get(at)
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::*;

    #[test]
    fn every_line_is_read_and_every_type_known() {
        let lines = include_str!("pg15/functions.txt").lines();
        assert_eq!(lines.filter(|line| !line.starts_with('#')).count(), BUILTINS.len());
        assert!(BUILTINS.is_sorted_by_key(|builtin| builtin.oid));
        for builtin in BUILTINS.iter() {
            let types = [&[builtin.result], &builtin.arguments[..]].concat();
            for oid in types {
                assert!(kinds::by_oid(oid).is_some(), "{}: type {oid}", builtin.name);
            }
            assert_eq!(by_oid(builtin.oid).map(|found| found.name), Some(builtin.name));
        }
    }
}

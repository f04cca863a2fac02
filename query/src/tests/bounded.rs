//! Functions that would make far more than they are given end instead.

use super::harness::*;
use crate::QueryOptions;

#[test]
fn functions_make_no_more_than_there_is_room_for() {
    let options = QueryOptions { memory_bytes_max: 32 << 20, ..QueryOptions::default() };
    let world = World::limited(options);
    for sql in [
        "SELECT length(repeat('x', 100000000))",
        "SELECT length(lpad('x', 100000000))",
        "SELECT length(rpad('x', 50000000, 'ab'))",
        "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 1000)))",
        "SELECT cardinality(array_repeat('abc', 10000000))",
        "SELECT cardinality(array_resize(ARRAY[1, 2], 10000000))",
        "SELECT cardinality(range(0, 100000000))",
        "SELECT length(repeat('x', n::bigint)) FROM generate_series(99999999, 100000000) AS x(n)",
    ] {
        assert_eq!(world.fails(sql).code, "53200", "{sql}");
    }
    for sql in [
        "SELECT repeat('xxxx', 1000000000)",
        "SELECT lpad('x', 2000000000)",
        "SELECT repeat('x', 9e18::bigint)",
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, "54000", "{sql}: {error:?}");
    }
    // What fits is what it was.
    world.check(
        "SELECT repeat('ab', 3), lpad('x', 3, 'äö'), rpad(NULL, 9), replace('aXbX', 'X', 'yy'), repeat('x', -1)",
        &["ababab | äöx | ∅ | ayybyy | "],
    );
    world.check(
        "SELECT range(1, 7, 3), array_repeat('a', 2), length(repeat('x', 5000000))",
        &["[1, 4] | [a, a] | 5000000"],
    );
}

/// A statement's own limit holds for what its functions make.
#[test]
fn functions_take_from_the_share_of_their_statement() {
    let world = World::new();
    let sql =
        "SELECT length(repeat('x', n::bigint)) FROM generate_series(20000000, 20000001) AS x(n)";
    world.check(sql, &["20000000", "20000001"]);
    world.run("SET millrace.query_memory = '16MB'");
    let error = world.fails(sql);
    assert_eq!(error.code, "53200", "{error:?}");
    world.check(
        "SELECT length(repeat('x', n::bigint)) FROM generate_series(5, 6) AS x(n)",
        &["5", "6"],
    );
}

/// What aggregates gather is counted while they gather it.
#[test]
fn aggregates_gather_no_more_than_there_is_room_for() {
    let options = QueryOptions { memory_bytes_max: 32 << 20, ..QueryOptions::default() };
    let world = World::limited(options);
    for gathered in ["string_agg(repeat('x', 1000), ',')", "array_agg(repeat('x', 1000))"] {
        for group in ["", "GROUP BY n % 2"] {
            let sql = format!("SELECT {gathered} FROM generate_series(1, 100000) AS x(n) {group}");
            assert_eq!(world.fails(&sql).code, "53200", "{sql}");
        }
    }
}

//! Random grants and revokes of a superuser, of rights and of a role, compared with a simple model.

use std::collections::BTreeSet;

use super::world;
use crate::Session;
use crate::tests::harness::{Random, try_run};

/// Rights of (role, table, column; none: the whole).
type Model = BTreeSet<(&'static str, &'static str, &'static str, Option<&'static str>)>;

const ROLES: [&str; 4] = ["ann", "bob", "public", "crew"];
const TABLES: [(&str, [&str; 3]); 2] =
    [("press", ["device", "strokes", "note"]), ("plants", ["id", "name", "secret"])];
const RIGHTS: [&str; 4] = ["select", "insert", "update", "delete"];

/// A role as it is tried: its name, and whether it is in `crew`.
type Who = (&'static str, bool);

fn may((role, crew): Who, model: &Model, right: &str, table: &str, columns: &[&str]) -> bool {
    let has = |column: Option<&str>| {
        model.iter().any(|(of, r, t, c)| {
            let mine = *of == role || *of == "public" || (crew && *of == "crew");
            mine && *r == right && *t == table && *c == column
        })
    };
    has(None) || (!columns.is_empty() && columns.iter().all(|column| has(Some(column))))
}

fn agrees(session: &Session, sql: &str, may: bool, seed: u64) {
    let code = try_run(session, sql).err().map(|error| error.code);
    let expect = if may { None } else { Some("42501") };
    assert_eq!(code, expect, "seed {seed}: {sql}");
}

#[test]
fn what_statements_may_do_is_what_a_model_says() {
    for seed in 0..4 {
        let world = world();
        let mut random = Random(seed);
        let sessions = ["ann", "bob"].map(|role| (role, world.session_as(role)));
        let (mut model, mut in_crew) = (Model::new(), [false; 2]);
        world.run("CREATE ROLE crew NOLOGIN; CREATE ROLE between NOLOGIN; GRANT crew TO between");
        for _ in 0..60 {
            let at = random.below(2) as usize;
            if random.below(4) == 0 {
                // One is a member by way of another role.
                let (given, role) = [("crew", "ann"), ("between", "bob")][at];
                let (verb, to) = if in_crew[at] { ("REVOKE", "FROM") } else { ("GRANT", "TO") };
                world.run(&format!("{verb} {given} {to} {role}"));
                in_crew[at] = !in_crew[at];
            }
            let role = ROLES[random.below(4) as usize];
            let (table, columns) = TABLES[random.below(2) as usize];
            let right = RIGHTS[random.below(4) as usize];
            let whole = right == "delete" || random.below(2) == 0;
            let column = (!whole).then(|| columns[random.below(3) as usize]);
            let shown = column.map(|column| format!(" ({column})")).unwrap_or_default();
            match random.below(5) {
                0..3 => {
                    world.run(&format!("GRANT {right}{shown} ON {table} TO {role}"));
                    model.insert((role, right, table, column));
                }
                3 => {
                    world.run(&format!("REVOKE {right}{shown} ON {table} FROM {role}"));
                    model.retain(|(of, r, t, c)| {
                        let same = (*of, *r, *t) == (role, right, table);
                        !(same && (column.is_none() || *c == column))
                    });
                }
                _ => {
                    world.run(&format!("REVOKE ALL ON {table} FROM {role}"));
                    model.retain(|(of, _, t, _)| (*of, *t) != (role, table));
                }
            }
            for ((role, session), crew) in sessions.iter().zip(in_crew) {
                let who = (*role, crew);
                for (table, columns) in &TABLES {
                    let [a, b, _] = columns;
                    let select = may(who, &model, "select", table, &[a, b]);
                    agrees(session, &format!("SELECT {a}, {b} FROM {table}"), select, seed);
                    let sql = format!("SELECT {a} FROM {table} WHERE {b} IS NULL");
                    agrees(session, &sql, select, seed);
                    let update = may(who, &model, "update", table, &[b]);
                    let value = if *b == "strokes" { "1" } else { "'x'" };
                    agrees(session, &format!("UPDATE {table} SET {b} = {value}"), update, seed);
                    let found = update && may(who, &model, "select", table, &[a]);
                    let sql = format!("UPDATE {table} SET {b} = {value} WHERE {a} IS NULL");
                    agrees(session, &sql, found, seed);
                    let delete = may(who, &model, "delete", table, &[]);
                    let found = delete && may(who, &model, "select", table, &[a]);
                    let sql = format!("DELETE FROM {table} WHERE {a} IS NULL");
                    agrees(session, &sql, found, seed);
                }
                let columns = ["id", "name"];
                let insert = may(who, &model, "insert", "plants", &columns);
                let sql = "INSERT INTO plants (id, name) SELECT 1, 'x' WHERE false";
                agrees(session, sql, insert, seed);
            }
        }
    }
}

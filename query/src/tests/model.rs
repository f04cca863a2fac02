//! Random DELETEs, UPDATEs and INSERTs against a list of rows that is changed in the plainest way.

use std::collections::BTreeMap;

use super::harness::*;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    device: Option<String>,
    site: Option<String>,
    /// Seconds after 2026-01-01.
    time: i64,
    a: Option<i64>,
    note: Option<String>,
}

type Truth = Box<dyn Fn(&Row) -> Option<bool>>;

/// A predicate: its SQL, and its truth for a row (`None` is unknown).
struct Predicate {
    sql: String,
    truth: Truth,
    /// Whether it has an IN (SELECT …), and whether one of them stands under NOT: such a change
    /// may be refused.
    inside: bool,
    unsure: bool,
}

impl Predicate {
    fn of(sql: String, truth: Truth) -> Predicate {
        Predicate { sql, truth, inside: false, unsure: false }
    }
}

fn at(seconds: i64) -> String {
    format!("'2026-01-01 00:{:02}:{:02}+00'", seconds / 60, seconds % 60)
}

fn compare<T: PartialOrd>(op: &str, x: Option<T>, y: T) -> Option<bool> {
    let x = x?;
    Some(match op {
        "=" => x == y,
        "<" => x < y,
        "<=" => x <= y,
        ">" => x > y,
        _ => x >= y,
    })
}

fn leaf(random: &mut Random) -> Predicate {
    let op = ["=", "<", "<=", ">", ">="][random.below(5) as usize];
    match random.below(8) {
        0 | 1 => {
            let time = random.below(60) as i64 * 10;
            let sql = format!("time {op} {}", at(time));
            Predicate::of(sql, Box::new(move |row| compare(op, Some(row.time), time)))
        }
        2 => {
            let name = format!("d{}", random.below(4));
            let sql = format!("device = '{name}'");
            let truth = move |row: &Row| Some(row.device.as_ref()? == &name);
            Predicate::of(sql, Box::new(truth))
        }
        3 => Predicate::of("site IS NULL".into(), Box::new(|row| Some(row.site.is_none()))),
        4 => Predicate {
            sql: "site IN (SELECT name FROM names)".into(),
            truth: Box::new(|row| Some(row.site.as_ref()? == "s1")),
            inside: true,
            unsure: false,
        },
        5 => {
            let text = ["x", "y"][random.below(2) as usize];
            let truth = move |row: &Row| Some(row.note.as_ref()?.starts_with(text));
            Predicate::of(format!("note LIKE '{text}%'"), Box::new(truth))
        }
        _ => {
            let value = random.below(40) as i64;
            let sql = format!("a {op} {value}");
            Predicate::of(sql, Box::new(move |row| compare(op, row.a, value)))
        }
    }
}

fn predicate(random: &mut Random, depth: u64) -> Predicate {
    if depth == 0 {
        return leaf(random);
    }
    match random.below(5) {
        0 => {
            let inner = predicate(random, depth - 1);
            let truth = inner.truth;
            Predicate {
                sql: format!("NOT ({})", inner.sql),
                truth: Box::new(move |row| truth(row).map(|t| !t)),
                inside: inner.inside,
                unsure: inner.inside,
            }
        }
        which @ (1 | 2) => {
            let (x, y) = (predicate(random, depth - 1), predicate(random, depth - 1));
            let and = which == 1;
            let word = if and { "AND" } else { "OR" };
            let (p, q) = (x.truth, y.truth);
            let truth = move |row: &Row| match (p(row), q(row)) {
                (Some(a), Some(b)) => Some(if and { a && b } else { a || b }),
                (Some(one), None) | (None, Some(one)) => (one != and).then_some(one),
                (None, None) => None,
            };
            Predicate {
                sql: format!("({}) {word} ({})", x.sql, y.sql),
                truth: Box::new(truth),
                inside: x.inside || y.inside,
                unsure: x.unsure || y.unsure,
            }
        }
        _ => leaf(random),
    }
}

fn text(value: &Option<String>) -> String {
    value.as_ref().map_or("NULL".into(), |text| format!("'{text}'"))
}

/// Runs a change; whether it was taken. Only one that is unsure may be refused.
fn change(world: &World, sql: &str, wanted: &Predicate, tag: &str, context: &str) -> bool {
    match try_run(&world.session, sql) {
        Err(error) if wanted.unsure && error.code == "0A000" => false,
        Err(error) => panic!("{context}: {sql}: {error:?}"),
        Ok(done) => {
            assert_eq!(done, tag, "{context}: {sql}");
            true
        }
    }
}

/// The rows of a table by what it does with rows of one key and time.
struct Model {
    merge: &'static str,
    rows: Vec<Row>,
}

impl Model {
    fn insert(&mut self, row: Row, with_note: bool) {
        let same = |other: &&mut Row| {
            (&other.device, &other.site, other.time) == (&row.device, &row.site, row.time)
        };
        match self.rows.iter_mut().find(same) {
            Some(old) if self.merge != "append" => {
                // A column that is not named stays absent.
                let note = match (with_note, self.merge) {
                    (false, "last_non_null") => old.note.clone(),
                    _ => row.note.clone(),
                };
                *old = Row { note, ..row };
            }
            _ => self.rows.push(row),
        }
    }

    fn is_unique(&self) -> bool {
        let mut seen = BTreeMap::new();
        let key = |row: &Row| (row.device.clone(), row.site.clone(), row.time);
        self.merge == "append" || self.rows.iter().all(|row| seen.insert(key(row), ()).is_none())
    }
}

fn insert(world: &World, random: &mut Random, model: &mut Model) {
    let with_note = random.below(3) > 0;
    let mut values = Vec::new();
    for _ in 0..1 + random.below(12) {
        let pick = |random: &mut Random, names: &[&str]| {
            names.get(random.below(names.len() as u64 + 1) as usize).map(|name| (*name).to_string())
        };
        let row = Row {
            device: pick(random, &["d0", "d1", "d2", "d3"]),
            site: pick(random, &["s0", "s1"]),
            time: random.below(60) as i64 * 10,
            a: (random.below(6) > 0).then(|| random.below(40) as i64),
            note: if with_note { pick(random, &["x", "y", "xy"]) } else { None },
        };
        let a = row.a.map_or("NULL".into(), |a| a.to_string());
        let mut list = vec![at(row.time), text(&row.device), text(&row.site), a];
        list.extend(with_note.then(|| text(&row.note)));
        values.push(format!("({})", list.join(", ")));
        model.insert(row, with_note);
    }
    let note = if with_note { ", note" } else { "" };
    world.run(&format!("INSERT INTO t (time, device, site, a{note}) VALUES {}", values.join(", ")));
}

fn update(world: &World, random: &mut Random, model: &mut Model, context: &str) {
    let wanted = predicate(random, 2);
    let (set, changed): (&str, fn(&mut Row)) = match random.below(7) {
        0 => ("a = a + 1", |row| row.a = row.a.map(|a| a + 1)),
        1 => ("a = NULL, note = 'x'", |row| (row.a, row.note) = (None, Some("x".into()))),
        2 => ("note = note || device", |row| {
            let both = row.note.clone().zip(row.device.clone());
            row.note = both.map(|(note, device)| format!("{note}{device}"));
        }),
        3 => ("time = time + INTERVAL '10 seconds'", |row| row.time += 10),
        4 => ("site = device, a = 7", |row| (row.site, row.a) = (row.device.clone(), Some(7))),
        _ => ("a = length(note)", |row| row.a = row.note.as_ref().map(|note| note.len() as i64)),
    };
    let sql = format!("UPDATE t SET {set} WHERE {}", wanted.sql);
    let before = model.rows.clone();
    let mut count = 0;
    for row in &mut model.rows {
        if (wanted.truth)(row) == Some(true) {
            count += 1;
            changed(row);
        }
    }
    if model.is_unique() {
        if !change(world, &sql, &wanted, &format!("UPDATE {count}"), context) {
            model.rows = before;
        }
    } else {
        model.rows = before;
        let code = world.fails(&sql).code;
        let refused = wanted.unsure && code == "0A000";
        assert!(refused || code == "23505", "{context}: {sql}: {code}");
    }
}

fn check(world: &World, model: &Model, context: &str) {
    let sql = "SELECT device, site, extract(epoch FROM time)::bigint - 1767225600, a, note FROM t";
    let mut found = rows(&world.session, sql, &[]);
    found.sort();
    let shown = |value: &Option<String>| value.clone().unwrap_or("∅".into());
    let line = |row: &Row| {
        let a = row.a.map(|a| a.to_string());
        let parts = [shown(&row.device), shown(&row.site), row.time.to_string(), shown(&a)];
        format!("{} | {}", parts.join(" | "), shown(&row.note))
    };
    let mut expect: Vec<String> = model.rows.iter().map(line).collect();
    expect.sort();
    assert_eq!(found, expect, "{context}");
    world.check("SELECT count(*) FROM t", &[&expect.len().to_string()]);
}

fn run(seed: u64, merge: &'static str) {
    let mut random = Random(seed);
    let world = World::new();
    world.run(&format!(
        "CREATE TABLE t (time timestamptz NOT NULL, device text, site text, a bigint, note text,
         PRIMARY KEY (device, site, time)) WITH (merge = '{merge}')"
    ));
    world.run("CREATE TABLE names (time timestamptz PRIMARY KEY, name text)");
    world.run("INSERT INTO names VALUES ('2026-01-01', 's1'), ('2026-01-02', 'other')");
    let mut model = Model { merge, rows: Vec::new() };
    for step in 0..40 {
        let context = format!("seed {seed} {merge} step {step}");
        match random.below(10) {
            0..4 => insert(&world, &mut random, &mut model),
            4..6 => {
                let depth = random.below(3);
                let gone = predicate(&mut random, depth);
                let stays = |row: &&Row| (gone.truth)(row) != Some(true);
                let left: Vec<Row> = model.rows.iter().filter(stays).cloned().collect();
                let tag = format!("DELETE {}", model.rows.len() - left.len());
                let sql = format!("DELETE FROM t WHERE {}", gone.sql);
                if change(&world, &sql, &gone, &tag, &context) {
                    model.rows = left;
                }
            }
            6..8 => update(&world, &mut random, &mut model, &context),
            8 => drop(world.run("CHECKPOINT")),
            _ => drop(world.run("CHECKPOINT; VACUUM FULL")),
        }
        check(&world, &model, &context);
    }
    if random.below(2) == 0 {
        world.run("TRUNCATE t");
        model.rows.clear();
        check(&world, &model, "truncated");
    }
}

#[test]
fn random_changes_are_those_of_the_model() {
    for seed in 0..12 {
        for merge in ["last_non_null", "last_row", "append"] {
            run(seed, merge);
        }
    }
}

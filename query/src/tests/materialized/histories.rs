//! Random histories of a table, with refreshes, merges, starts and crashes in between: at every
//! look each aggregate answers as its query does, and queries over the table are answered alike
//! with what is stored and without.
//!
//! `MILLRACE_HISTORIES=10000 cargo test -p query histories` runs so many, `5000..10000` those of a
//! range, and `MILLRACE_SEED=17` one. Even seeds are of `histories_0`, odd ones of `histories_1`.

use std::sync::Arc;

use futures::executor::block_on;
use tsdb::Db;
use tsdb::io::{FaultPlan, FaultyStorage, MemoryStorage};

use super::super::harness::*;
use super::options;

/// Histories where nothing is said.
const HISTORIES: u64 = 60;

/// 2026-03-28T00:00:00Z, the day before Berlin's clocks go forward, s.
const START: i64 = 1_774_656_000;
const SECONDS: u64 = 2 * 86_400;

/// A time of few, so that rows meet.
fn time(random: &mut Random) -> i64 {
    START + random.below(SECONDS / 900) as i64 * 900
}

fn text(seconds: i64) -> String {
    let since = seconds - START;
    let (day, second) = (28 + since / 86_400, since % 86_400);
    format!("'2026-03-{day} {:02}:{:02}:{:02}+00'", second / 3600, second / 60 % 60, second % 60)
}

/// An aggregate: its name and its query.
struct Aggregate {
    name: String,
    query: String,
}

/// What of the first aggregate a query over the table may ask for.
struct Base {
    width: &'static str,
    filter: &'static str,
}

/// Measures of the first aggregate, and others.
const MEASURES: [&str; 4] = ["count(*)", "sum(i)", "min(v)", "max(note)"];
const OTHERS: [&str; 8] = [
    "sum(v)",
    "avg(v)",
    "max(time)",
    "count(DISTINCT i)",
    "bool_or(b)",
    "avg(i)",
    "max(v)",
    "count(b) FILTER (WHERE i > 3)",
];

/// A query over the table that an aggregate answers, or nearly so.
fn question(random: &mut Random, base: &Base) -> String {
    let own = format!("time_bucket({}, time)", base.width);
    let bucket = match random.below(3) {
        0 => own.as_str(),
        _ => random.one(&[
            "time_bucket('30 min', time)",
            "time_bucket('3 hours', time)",
            "time_bucket('6 hours', time)",
            "time_bucket('1 day', time)",
            "time_bucket('21 hours', time)",
            "time_bucket('1 day', time, 'Europe/Berlin')",
            "time_bucket('1 day', time, INTERVAL '5 hours')",
            "time_bucket('1 month', time)",
            "date_trunc('day', time)",
            "date_bin('2 hours', time)",
        ]),
    };
    let keys = random.one(&["", "", ", device", ", device", ", site", ", site, device"]);
    let mut list = format!("{bucket} AS at{keys}");
    for nth in 0..=random.below(3) {
        let measure = match random.below(5) {
            0 => random.one(&OTHERS),
            _ => random.one(&MEASURES),
        };
        list += &format!(", {measure} AS m{nth}");
    }
    let mut filters = Vec::new();
    match random.below(4) {
        0 => {}
        1 => filters.push(random.one(&["i > 3", "v < 20 OR i IS NULL"]).to_string()),
        _ => filters.extend(base.filter.strip_prefix("WHERE ").map(str::to_string)),
    }
    let of_keys = ["device = 'a'", "device IN ('a', 'c')", "site = 's'", "site IS NULL"];
    if random.below(3) == 0 {
        filters.push(random.one(&of_keys).to_string());
    }
    if random.below(3) == 0 {
        filters.push(format!("time >= {}", text(time(random))));
    }
    if random.below(3) == 0 {
        filters.push(format!("time < {}", text(time(random))));
    }
    let filters: Vec<String> = filters.iter().map(|filter| format!("({filter})")).collect();
    let clause = match filters.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", filters.join(" AND ")),
    };
    let having = random.one(&["", "", "", "HAVING count(*) > 1"]);
    format!("SELECT {list} FROM t {clause} GROUP BY 1{keys} {having}")
}

fn aggregates(random: &mut Random) -> (Vec<Aggregate>, Base) {
    let width = random.one(&["'1 hour'", "'15 min'", "'3 hours'", "'7 hours'"]);
    let filter =
        random.one(&["", "WHERE i > 3", "WHERE device <> 'b'", "WHERE v < 20 OR i IS NULL"]);
    let base = format!(
        "SELECT time_bucket({width}, time) AS at, device, count(*) AS n, sum(i) AS s, min(v) AS low, \
         max(note) AS note FROM t {filter} GROUP BY at, device"
    );
    let wide = random.one(&["'1 day'", "'6 hours'", "'1 day', at, 'Europe/Berlin'", "'1 month'"]);
    let call = match wide.split_once(", at") {
        Some((width, rest)) => format!("{width}, at{rest}"),
        None => format!("{wide}, at"),
    };
    let over = |of: &str| {
        format!(
            "SELECT time_bucket({call}) AS day, sum(s) AS s, sum(n) AS n, max(low) AS low FROM {of} \
             GROUP BY 1"
        )
    };
    let other = match random.below(3) {
        0 => {
            "SELECT sum(v) AS v, time_bucket('1 day', time, 'Europe/Berlin') AS at, count(b) AS b, \
             max(i) AS i FROM t GROUP BY 2 HAVING count(*) > 2"
        }
        1 => {
            "SELECT time_bucket('2 hours', time) AS at, site, avg(v) AS v, bool_or(b) AS b, \
             max(time) AS t FROM t GROUP BY 1, 2"
        }
        _ => {
            "SELECT device, site, time_bucket('1 day', time, INTERVAL '5 hours') AS at, \
             count(DISTINCT i) AS i, last(note, time) AS note FROM t \
             WHERE site IS NULL OR site = 's' GROUP BY 1, 2, 3"
        }
    };
    let mut all = vec![Aggregate { name: "agg".into(), query: base.clone() }];
    if random.below(2) == 0 {
        all.push(Aggregate { name: "agg_over".into(), query: over("agg") });
    }
    if random.below(2) == 0 {
        all.push(Aggregate { name: "agg_other".into(), query: other.into() });
    }
    (all, Base { width, filter })
}

/// One history on a disk in memory.
struct History {
    seed: u64,
    random: Random,
    disk: MemoryStorage,
    world: World,
    aggregates: Vec<Aggregate>,
    base: Base,
    /// Queries over the table that were answered out of what is stored.
    answered: u64,
    /// Statements so far, for whoever has to find out.
    said: Vec<String>,
}

impl History {
    fn new(seed: u64) -> History {
        let mut random = Random(seed);
        let disk = MemoryStorage::new();
        let world = World::over(Db::open(Arc::new(disk.clone()), options()).unwrap());
        let (aggregates, base) = aggregates(&mut random);
        let (answered, said) = (0, Vec::new());
        let mut history = History { seed, random, disk, world, aggregates, base, answered, said };
        let merge = history.random.one(&["last_non_null", "last_row", "append"]);
        let mut table = format!(
            "CREATE TABLE t (time timestamptz, device text, site text, v float8, i bigint,
             b boolean, note text, PRIMARY KEY (device, site, time))
             WITH (partition_by = '6 hours', merge = '{merge}')"
        );
        history.say(&table);
        // Before or after the first rows.
        if history.random.below(2) == 0 {
            history.insert();
        }
        let lag = history.random.one(&["none", "none", "1 hour"]);
        for at in 0..history.aggregates.len() {
            let Aggregate { name, query } = &history.aggregates[at];
            table = format!(
                "CREATE MATERIALIZED VIEW {name} WITH (continuous, refresh_lag = '{lag}') AS {query}"
            );
            history.say(&table);
        }
        history
    }

    fn say(&mut self, sql: &str) {
        self.said.push(sql.to_string());
        self.world.run(sql);
    }

    fn insert(&mut self) {
        let random = &mut self.random;
        // Now and then a burst of one time, else rows all over.
        let burst = (random.below(2) == 0).then(|| time(random));
        let rows: Vec<String> = (0..=random.below(12))
            .map(|at| {
                let time = burst.map_or_else(|| time(random), |time| time + at as i64 * 300);
                let mut value = |text: String| match random.below(6) {
                    0 => "NULL".to_string(),
                    _ => text,
                };
                let (i, v) = (value((at * 7 % 10).to_string()), value(format!("{}.5", at * 3)));
                let (b, note) = (value((at % 2 == 0).to_string()), value(format!("'n{at}'")));
                let device = random.one(&["'a'", "'b'", "'c'"]);
                let site = random.one(&["NULL", "'s'", "'t'"]);
                format!("({}, {device}, {site}, {v}, {i}, {b}, {note})", text(time))
            })
            .collect();
        self.say(&format!(
            "INSERT INTO t (time, device, site, v, i, b, note) VALUES {}",
            rows.join(", ")
        ));
    }

    fn condition(&mut self) -> String {
        let random = &mut self.random;
        let from = time(random);
        let to = from + random.below(SECONDS / 4) as i64;
        match random.below(6) {
            0 | 1 => format!("time >= {} AND time < {}", text(from), text(to)),
            2 => format!("device = '{}' AND time < {}", random.one(&["a", "b"]), text(to)),
            3 => format!("i = {}", random.below(10)),
            4 => format!("v > {} AND time > {}", random.below(30), text(from)),
            _ => "site IS NULL AND b".to_string(),
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..6 => self.insert(),
            6..8 => {
                let condition = self.condition();
                let set = self.random.one(&["i = i + 1", "v = NULL", "note = 'x', b = true"]);
                self.say(&format!("UPDATE t SET {set} WHERE {condition}"));
            }
            8..10 => {
                let condition = self.condition();
                self.say(&format!("DELETE FROM t WHERE {condition}"));
            }
            10 if self.random.below(3) == 0 => self.say("TRUNCATE t"),
            10..15 => {
                let now = time(&mut self.random) + self.random.below(SECONDS / 4) as i64;
                self.refresh(now).unwrap();
            }
            15 => self.say("CHECKPOINT"),
            16 => self.say("VACUUM FULL t"),
            17 => self.restart(),
            _ => self.crash(),
        }
    }

    fn refresh(&mut self, now: i64) -> crate::QueryResult<()> {
        let at = self.random.below(self.aggregates.len() as u64) as usize;
        let name = &self.aggregates[at].name;
        self.said.push(format!("REFRESH MATERIALIZED VIEW {name} -- as of {now}"));
        let engine = &self.world.engine;
        let views = engine.views().of(&engine.db().snapshot())?;
        let number = views.find(name).expect("a view").number;
        block_on(engine.jobs().refresh(engine, number, now * 1_000_000_000)).map(|_| ())
    }

    fn restart(&mut self) {
        self.said.push("-- restart".into());
        self.world.engine.db().close().unwrap();
        self.world = World::over(Db::open(Arc::new(self.disk.clone()), options()).unwrap());
    }

    /// A refresh, and now and then a merge, on a disk whose power goes meanwhile.
    fn crash(&mut self) {
        self.world.engine.db().close().unwrap();
        let faulty = FaultyStorage::new(Arc::new(self.disk.clone()));
        self.world = World::over(Db::open(Arc::new(faulty.clone()), options()).unwrap());
        let at = faulty.operations() + self.random.below(30);
        faulty.set_plan(FaultPlan::CrashAt(at));
        self.said.push(format!("-- the power goes at operation {at}"));
        if self.random.below(3) == 0 {
            let _ = self.world.engine.db().checkpoint();
        }
        let now = time(&mut self.random) + SECONDS as i64 / 2;
        let _ = self.refresh(now);
        self.disk = match self.random.below(3) {
            0 => self.disk.crash_hard(),
            _ => {
                let seed = self.random.below(u64::MAX);
                self.disk.crash(seed)
            }
        };
        self.world = World::over(Db::open(Arc::new(self.disk.clone()), options()).unwrap());
    }

    /// Looks at one aggregate, whichever comes.
    fn look(&mut self) {
        let at = self.random.below(self.aggregates.len() as u64) as usize;
        self.look_at(&self.aggregates[at..=at]);
    }

    fn look_at(&self, aggregates: &[Aggregate]) {
        let sorted = |sql: &str| {
            let mut found = rows(&self.world.session, sql, &[]);
            found.sort();
            found
        };
        // The twin is computed out of the table.
        self.world.run("SET millrace.use_aggregates = off");
        let base = &self.aggregates[0].query;
        for Aggregate { name, query } in aggregates {
            // What it is over by its query too, so that nothing stored is asked.
            let plain = query.replace("FROM agg", &format!("FROM ({base}) agg"));
            let (found, wanted) = (sorted(&format!("SELECT * FROM {name}")), sorted(&plain));
            let said = || self.said.join(";\n");
            assert_eq!(found, wanted, "MILLRACE_SEED={} {name}\n{}", self.seed, said());
        }
    }

    /// Asks the table, with what is stored and without.
    fn ask(&mut self) {
        let query = question(&mut self.random, &self.base);
        let native = self.random.one(&["on", "on", "off"]);
        let zone = self.random.one(&["UTC", "UTC", "UTC", "Asia/Kolkata"]);
        let session = &self.world.session;
        let sorted = |uses: &str| {
            self.world.run(&format!(
                "SET millrace.use_aggregates = {uses}; SET millrace.aggregate_rows_min = 0;
                 SET millrace.use_native = {native}; SET TimeZone = '{zone}'"
            ));
            let mut found = rows(session, &query, &[]);
            found.sort();
            found
        };
        let (wanted, found) = (sorted("off"), sorted("on"));
        let plan = rows(session, &format!("EXPLAIN {query}"), &[]).join("\n");
        self.answered += u64::from(plan.contains("Continuous Aggregate: "));
        let said = || self.said.join(";\n");
        assert_eq!(found, wanted, "MILLRACE_SEED={} {query}\n{plan}\n{}", self.seed, said());
        self.world.run("RESET ALL");
    }
}

/// Runs one history; how many queries were answered out of what is stored.
fn run(seed: u64) -> u64 {
    let mut history = History::new(seed);
    for step in 0..14 {
        history.step();
        if step % 5 == 4 {
            history.look();
            history.ask();
        }
    }
    history.ask();
    history.look_at(&history.aggregates);
    // Stored whole, it is the same, and nothing is left to do: the second refresh settles what was
    // noted after the first was raised.
    for _ in 0..2 {
        for at in 0..history.aggregates.len() {
            let sql = format!("REFRESH MATERIALIZED VIEW {}", history.aggregates[at].name);
            history.say(&sql);
        }
    }
    history.look_at(&history.aggregates);
    history.world.check("SELECT max(changed_ranges) FROM sys.continuous_aggregates", &["0"]);
    history.ask();
    history.ask();
    history.answered
}

/// The seeds that are asked for.
fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    match std::env::var("MILLRACE_HISTORIES") {
        Err(_) => 0..HISTORIES,
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&text),
        },
    }
}

/// The histories of one of several tests side by side.
fn share(nth: u64, of: u64) {
    if let Ok(seed) = std::env::var("MILLRACE_SEED") {
        let seed: u64 = seed.parse().unwrap();
        if seed % of == nth {
            run(seed);
        }
        return;
    }
    let mine: Vec<u64> = seeds().filter(|seed| seed % of == nth).collect();
    let answered: u64 = mine.iter().map(|seed| run(*seed)).sum();
    // That the ways are two, and compared.
    assert!(mine.len() < 20 || answered as usize > mine.len() / 8, "{answered} answers");
}

#[test]
fn histories_0() {
    share(0, 2);
}

#[test]
fn histories_1() {
    share(1, 2);
}

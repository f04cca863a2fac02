//! Random concurrent histories against a model: what commits is what a serial run of the commits
//! in their order would have made, and no constraint is ever broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use crate::Session;
use crate::tests::harness::*;

type Parents = BTreeMap<i64, i64>;
/// Child to (parent, unique value).
type Children = BTreeMap<i64, (i64, i64)>;

#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    parents: Parents,
    children: Children,
}

impl Model {
    /// Does a statement; false if it breaks a rule, and then nothing has changed.
    fn apply(&mut self, of: &Statement) -> bool {
        match *of {
            Statement::AddParent(id, n) => {
                let new = !self.parents.contains_key(&id);
                self.parents.entry(id).or_insert(n);
                new
            }
            Statement::SetParent(id, n) => {
                self.parents.entry(id).and_modify(|value| *value += n);
                true
            }
            Statement::DropParent(id) => {
                let used = self.children.values().any(|child| child.0 == id);
                if !used {
                    self.parents.remove(&id);
                }
                !used
            }
            Statement::AddChild(id, parent, unique) => {
                let fits = !self.children.contains_key(&id)
                    && self.parents.contains_key(&parent)
                    && self.children.values().all(|child| child.1 != unique);
                if fits {
                    self.children.insert(id, (parent, unique));
                }
                fits
            }
            Statement::MoveChild(id, parent) => {
                if !self.children.contains_key(&id) {
                    return true;
                }
                let fits = self.parents.contains_key(&parent);
                if fits && let Some(child) = self.children.get_mut(&id) {
                    child.0 = parent;
                }
                fits
            }
            Statement::DropChild(id) => {
                self.children.remove(&id);
                true
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Statement {
    AddParent(i64, i64),
    SetParent(i64, i64),
    DropParent(i64),
    AddChild(i64, i64, i64),
    MoveChild(i64, i64),
    DropChild(i64),
}

impl Statement {
    fn random(random: &mut Random) -> Statement {
        let mut id = || random.below(5) as i64;
        let (a, b, c) = (id(), id(), id());
        match random.below(6) {
            0 => Statement::AddParent(a, b),
            1 => Statement::SetParent(a, b),
            2 => Statement::DropParent(a),
            3 => Statement::AddChild(a, b, c),
            4 => Statement::MoveChild(a, b),
            _ => Statement::DropChild(a),
        }
    }

    fn sql(self) -> String {
        match self {
            Statement::AddParent(id, n) => format!("INSERT INTO p VALUES ({id}, {n})"),
            Statement::SetParent(id, n) => format!("UPDATE p SET n = n + {n} WHERE id = {id}"),
            Statement::DropParent(id) => format!("DELETE FROM p WHERE id + 0 = {id}"),
            Statement::AddChild(id, p, u) => format!("INSERT INTO c VALUES ({id}, {p}, {u})"),
            Statement::MoveChild(id, p) => format!("UPDATE c SET p = {p} WHERE id = {id}"),
            Statement::DropChild(id) => format!("DELETE FROM c WHERE id = {id}"),
        }
    }
}

/// A session with its block: the model of its snapshot, with its own changes.
struct Actor {
    session: Session,
    open: Option<(Model, Vec<Statement>)>,
}

fn contents(session: &Session) -> Model {
    let numbers = |sql: &str| -> Vec<Vec<i64>> {
        let parse = |row: String| row.split(" | ").map(|n| n.parse().unwrap()).collect();
        rows(session, sql, &[]).into_iter().map(parse).collect()
    };
    let parents = numbers("SELECT id, n FROM p").into_iter().map(|row| (row[0], row[1])).collect();
    let children =
        numbers("SELECT id, p, u FROM c").into_iter().map(|row| (row[0], (row[1], row[2])));
    Model { parents, children: children.collect() }
}

fn indexes_agree(session: &Session, model: &Model) {
    for (id, (parent, unique)) in &model.children {
        let by = |sql: String| rows(session, &sql, &[]);
        assert_eq!(by(format!("SELECT id FROM c WHERE u = {unique}")), [id.to_string()]);
        assert_eq!(by(format!("SELECT p FROM c WHERE id = {id}")), [parent.to_string()]);
    }
}

fn history(seed: u64) {
    let mut random = Random(seed);
    let mut storage = Arc::new(MemoryStorage::new());
    let options = || Options { background: false, shards: 2, ..Options::default() };
    let mut world = World::over(Db::open(storage.clone(), options()).unwrap());
    world.run("CREATE TABLE p (id int PRIMARY KEY, n int); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, u int UNIQUE)");
    let actors = |world: &World| -> Vec<Actor> {
        let session = || world.engine.session(identity("admin", true), &[]);
        (0..3).map(|_| Actor { session: session(), open: None }).collect()
    };
    let mut all = actors(&world);
    // What is committed.
    let mut truth = Model::default();
    for _ in 0..60 {
        let at = random.below(3) as usize;
        let actor = &mut all[at];
        match (&mut actor.open, random.below(10)) {
            (None, 0..4) => {
                run(&actor.session, "BEGIN");
                // The snapshot is taken at the first statement.
                assert_eq!(contents(&actor.session), truth, "seed {seed}");
                actor.open = Some((truth.clone(), Vec::new()));
            }
            (None, _) => {
                let statement = Statement::random(&mut random);
                let fits = truth.apply(&statement);
                let done = try_run(&actor.session, &statement.sql());
                assert_eq!(done.is_ok(), fits, "seed {seed}: {statement:?} {done:?}");
            }
            (Some((model, made)), 0..7) => {
                let statement = Statement::random(&mut random);
                let mut next = model.clone();
                run(&actor.session, "SAVEPOINT s");
                let fits = next.apply(&statement);
                let done = try_run(&actor.session, &statement.sql());
                assert_eq!(done.is_ok(), fits, "seed {seed}: {statement:?} {done:?}");
                if fits {
                    // What has changed nothing may come to change something for others.
                    if next != *model {
                        made.push(statement);
                    }
                    *model = next;
                } else {
                    run(&actor.session, "ROLLBACK TO s");
                }
                assert_eq!(contents(&actor.session), *model, "seed {seed}");
            }
            (Some(_), 7) => {
                run(&actor.session, "ROLLBACK");
                actor.open = None;
            }
            (Some((_, made)), _) => {
                // A commit that is taken means that a serial run now gives the same.
                let mut next = truth.clone();
                let serial = made.iter().all(|statement| next.apply(statement));
                match try_run(&actor.session, "COMMIT") {
                    Ok(_) => {
                        assert!(serial, "seed {seed}: {made:?} over {truth:?}");
                        truth = next;
                    }
                    Err(error) => assert_eq!(error.code, "40001", "seed {seed}: {error:?}"),
                }
                actor.open = None;
            }
        }
        if random.below(25) == 0 {
            // A power cut: what was committed is there, open blocks are gone.
            let image = storage.crash(random.below(1 << 20));
            drop(all);
            drop(world);
            storage = Arc::new(image);
            world = World::over(Db::open(storage.clone(), options()).unwrap());
            all = actors(&world);
        }
        assert_eq!(contents(&world.session), truth, "seed {seed}");
    }
    indexes_agree(&world.session, &truth);
}

/// `MILLRACE_HISTORIES=10000` for more, `MILLRACE_SEED=17` for one.
#[test]
fn histories_are_serial() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("MILLRACE_SEED") {
        Some(seed) => history(seed),
        None => (0..number("MILLRACE_HISTORIES").unwrap_or(60)).for_each(history),
    }
}

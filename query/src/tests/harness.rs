//! A database in memory, a session, and `check`: one statement, its rows as text.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use futures::executor::block_on;
use parking_lot::Mutex;
use tsdb::io::MemoryStorage;
use tsdb::{Db, Options};

use crate::*;

/// Users in memory.
#[derive(Default)]
pub(crate) struct Users {
    pub(crate) roles: Mutex<Vec<RoleInfo>>,
}

impl Directory for Users {
    fn roles(&self) -> QueryResult<Arc<[RoleInfo]>> {
        Ok(self.roles.lock().as_slice().into())
    }

    fn create(&self, _: &Identity, role: NewRole) -> QueryResult<()> {
        let mut roles = self.roles.lock();
        if roles.iter().any(|r| r.name == role.name) {
            return Err(QueryError::new("42710", format!("role \"{}\" already exists", role.name)));
        }
        let oid = 20 + roles.len() as u32;
        roles.push(RoleInfo {
            oid,
            name: role.name,
            superuser: role.superuser.unwrap_or(false),
            can_login: role.can_login.unwrap_or(false),
            can_read: role.can_read.unwrap_or(false),
            can_write: role.can_write.unwrap_or(false),
            can_define: role.can_define.unwrap_or(false),
            created_unix_ms: 0,
            settings: RoleSettings::default(),
        });
        Ok(())
    }

    fn alter(&self, _: &Identity, role: NewRole) -> QueryResult<()> {
        let mut roles = self.roles.lock();
        match roles.iter_mut().find(|r| r.name == role.name) {
            Some(found) => {
                found.can_read = role.can_read.unwrap_or(found.can_read);
                found.can_write = role.can_write.unwrap_or(found.can_write);
                found.can_define = role.can_define.unwrap_or(found.can_define);
                Ok(())
            }
            None => Err(QueryError::new("42704", format!("role \"{}\" does not exist", role.name))),
        }
    }

    fn configure(&self, _: &Identity, role: &str, change: RoleChange) -> QueryResult<()> {
        let mut roles = self.roles.lock();
        let Some(found) = roles.iter_mut().find(|r| r.name == role) else {
            return Err(QueryError::new("42704", format!("role \"{role}\" does not exist")));
        };
        let mut settings = found.settings.as_ref().clone();
        match change {
            RoleChange::Set { name, value } => {
                settings.retain(|(n, _)| *n != name);
                settings.push((name, value));
            }
            RoleChange::Reset(name) => settings.retain(|(n, _)| *n != name),
            RoleChange::ResetAll => settings.clear(),
        }
        found.settings = Arc::new(settings);
        Ok(())
    }

    fn drop(&self, _: &Identity, name: &str, if_exists: bool) -> QueryResult<()> {
        let mut roles = self.roles.lock();
        let before = roles.len();
        roles.retain(|r| r.name != name);
        match roles.len() == before && !if_exists {
            true => Err(QueryError::new("42704", format!("role \"{name}\" does not exist"))),
            false => Ok(()),
        }
    }
}

/// A database with one session of a superuser.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) session: Session,
}

pub(crate) fn identity(user: &str, all: bool) -> Identity {
    let settings = RoleSettings::default();
    Identity {
        user: user.into(),
        oid: if all { 20 } else { 1 },
        superuser: all,
        can_read: true,
        can_write: all,
        can_define: all,
        settings,
    }
}

impl World {
    pub(crate) fn new() -> World {
        let options = Options { background: false, shards: 2, ..Options::default() };
        World::over(Db::open(Arc::new(MemoryStorage::new()), options).unwrap())
    }

    pub(crate) fn over(db: Arc<Db>) -> World {
        World::with(db, QueryOptions::default())
    }

    /// An empty database with limits of the query side.
    pub(crate) fn limited(options: QueryOptions) -> World {
        let of_db = Options { background: false, shards: 2, ..Options::default() };
        World::with(Db::open(Arc::new(MemoryStorage::new()), of_db).unwrap(), options)
    }

    fn with(db: Arc<Db>, options: QueryOptions) -> World {
        let users = Users::default();
        let admin = NewRole {
            name: "admin".into(),
            superuser: Some(true),
            can_login: Some(true),
            ..NewRole::default()
        };
        users.create(&identity("admin", true), admin).unwrap();
        let options = QueryOptions { threads: 2, version: "0.1.0".into(), ..options };
        let engine = Engine::new(db, Arc::new(users), options).unwrap();
        let session = engine.session(identity("admin", true), &[]);
        World { engine, session }
    }

    /// A session of a user without rights but to write, with the settings of the role.
    pub(crate) fn session_of(&self, user: &str) -> Session {
        let roles = self.engine.directory().roles().unwrap();
        let settings = roles.iter().find(|r| r.name == user).map(|r| r.settings.clone());
        let settings = settings.unwrap_or_default();
        self.engine.session(Identity { settings, can_write: true, ..identity(user, false) }, &[])
    }

    /// A session of a role with the rights that it has.
    pub(crate) fn session_as(&self, user: &str) -> Session {
        let roles = self.engine.directory().roles().unwrap();
        let role = roles.iter().find(|role| role.name == user).unwrap().clone();
        let identity = Identity {
            user: role.name,
            oid: role.oid,
            superuser: role.superuser,
            can_read: role.superuser || role.can_read,
            can_write: role.superuser || role.can_write,
            can_define: role.superuser || role.can_define,
            settings: role.settings,
        };
        self.engine.session(identity, &[])
    }

    /// A world with readings of three presses; `press` has two keys.
    pub(crate) fn with_presses() -> World {
        let world = World::new();
        world.run(
            "CREATE TABLE press (time timestamptz NOT NULL, device text NOT NULL, site text,
             temperature double precision, strokes bigint, running boolean, note text,
             PRIMARY KEY (device, site, time))",
        );
        world.run(
            "INSERT INTO press (time, device, site, temperature, strokes, running, note) VALUES
             ('2026-01-01 00:00:00+00', 'p1', 'north', 20.5, 1, true, 'a'),
             ('2026-01-01 00:01:00+00', 'p1', 'north', 21.5, 2, true, NULL),
             ('2026-01-01 00:02:00+00', 'p1', 'north', 22.5, 3, false, 'c'),
             ('2026-01-01 00:00:30+00', 'p2', 'north', 30, 10, true, 'd'),
             ('2026-01-01 01:00:30+00', 'p2', 'north', NULL, 11, true, 'e'),
             ('2026-01-01 00:00:00+00', 'p3', NULL, 40, 100, NULL, 'f')",
        );
        world
    }

    pub(crate) fn run(&self, sql: &str) -> String {
        run(&self.session, sql)
    }

    pub(crate) fn fails(&self, sql: &str) -> QueryError {
        fails(&self.session, sql)
    }

    /// The first line of EXPLAIN.
    pub(crate) fn plan(&self, sql: &str, params: &[ScalarValue]) -> String {
        rows(&self.session, &format!("EXPLAIN {sql}"), params)
            .into_iter()
            .next()
            .unwrap_or_default()
    }

    /// Names and types of the columns that a query gives.
    pub(crate) fn types(&self, sql: &str, params: &[ScalarValue]) -> Vec<String> {
        let statements = self.session.parse(sql).unwrap();
        match block_on(self.session.execute(&statements[0], params)).unwrap() {
            Outcome::Rows { schema, .. } => {
                let shown =
                    |f: &Arc<arrow::datatypes::Field>| format!("{} {}", f.name(), f.data_type());
                schema.fields().iter().map(shown).collect()
            }
            _ => panic!("{sql} gives no rows"),
        }
    }

    /// Rows as lines, values with ` | ` between them, NULL as ∅.
    pub(crate) fn check(&self, sql: &str, expect: &[&str]) {
        assert_eq!(rows(&self.session, sql, &[]), expect, "{sql}");
    }
}

/// Runs statements; the tag or the number of rows of the last.
pub(crate) fn run(session: &Session, sql: &str) -> String {
    try_run(session, sql).unwrap_or_else(|e| panic!("{sql}\n{e:?}"))
}

pub(crate) fn fails(session: &Session, sql: &str) -> QueryError {
    match try_run(session, sql) {
        Ok(tag) => panic!("{sql} gave {tag}"),
        Err(error) => error,
    }
}

pub(crate) fn try_run(session: &Session, sql: &str) -> QueryResult<String> {
    let mut last = String::new();
    for statement in session.parse(sql)? {
        last = match block_on(session.execute(&statement, &[]))? {
            Outcome::Rows { stream, verb, .. } => {
                let batches = block_on(stream.collect::<Vec<_>>());
                let mut count = 0;
                for batch in batches {
                    count += batch.map_err(QueryError::from)?.num_rows();
                }
                format!("{verb} {count}")
            }
            Outcome::Done { tag } | Outcome::Set { tag, .. } => tag,
            Outcome::CopyIn { .. } | Outcome::CopyOut { .. } => "COPY".into(),
            Outcome::Empty => String::new(),
        };
    }
    Ok(last)
}

/// Rows of one statement as text.
pub(crate) fn rows(session: &Session, sql: &str, params: &[ScalarValue]) -> Vec<String> {
    try_rows(session, sql, params).unwrap_or_else(|e| panic!("{sql}\n{e:?}"))
}

pub(crate) fn try_rows(
    session: &Session,
    sql: &str,
    params: &[ScalarValue],
) -> QueryResult<Vec<String>> {
    let statements = session.parse(sql)?;
    shown(block_on(session.execute(&statements[0], params))?)
        .map(|rows| rows.unwrap_or_else(|| panic!("{sql} gives no rows")))
}

/// The rows of an outcome as text.
pub(crate) fn text_of(outcome: Outcome) -> Vec<String> {
    shown(outcome).unwrap().expect("rows")
}

fn shown(outcome: Outcome) -> QueryResult<Option<Vec<String>>> {
    let Outcome::Rows { schema, stream, .. } = outcome else { return Ok(None) };
    let options = FormatOptions::default().with_null("∅");
    let mut out = Vec::new();
    for batch in block_on(stream.collect::<Vec<_>>()) {
        let batch = batch?;
        assert_eq!(batch.schema(), schema);
        let formatters: Vec<_> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = formatters.iter().map(|f| f.value(row).to_string()).collect();
            out.push(values.join(" | "));
        }
    }
    Ok(Some(out))
}

/// Names of the columns of a query.
pub(crate) fn columns(session: &Session, sql: &str) -> Vec<String> {
    described(session, sql).into_iter().map(|(name, _)| name).collect()
}

/// Names and types of a statement's columns, before it runs.
pub(crate) fn described(session: &Session, sql: &str) -> Vec<(String, DataType)> {
    let statements = session.parse(sql).unwrap();
    let described =
        block_on(session.describe(&statements[0], &[])).unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
    let fields = described.fields.unwrap_or_else(|| panic!("{sql} gives no rows"));
    fields.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

/// Splitmix64: the same numbers for ever.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(crate) fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

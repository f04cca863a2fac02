//! Schemas: names in front of names.
//!
//! The engine knows tables by flat names, and so do relational tables and views here. What lies in
//! schema number N under the name t is called `_schema_N_t` by all of them; what lies in `public`
//! is called as it is. So a schema is renamed without touching what lies in it, a measurement `a.b`
//! of line protocol is not table b of schema a, and everything below the names needs to know
//! nothing of schemas.
//!
//! - `resolve`: names in statements become flat ones before anything else sees them.
//! - `shown`: flat names in what users see become names with schemas again.
//! - `define`: CREATE, ALTER and DROP SCHEMA.

pub(crate) mod define;
pub(crate) mod resolve;
mod shown;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tsdb::Snapshot;
use tsdb::rows::{RowChange, RowCommand};
use tsdb::types::SCHEMA_TABLE_PREFIX;

use crate::counted::{self, Counts, encode};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;
use crate::plan::names::SCHEMA;
use crate::rights;

/// Schemas of a database: all of them are held in memory.
pub(crate) const SCHEMAS_MAX: usize = 1_000;
/// Space of the row store.
const SPACE_SCHEMAS: u16 = 26;
/// First byte of the keys of schemas; their number follows, big-endian.
const SCHEMA_KEY: u8 = b's';
/// The version of the row of a schema.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaRow {
    v: u32,
    number: u32,
    name: String,
}

/// A schema that somebody made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) name: String,
}

/// All of them at one moment.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    /// Counts changes of schemas.
    pub(crate) revision: u64,
    /// The row that counts them, as it is; `None` before the first schema.
    meta: Option<Vec<u8>>,
    next: u32,
    /// In order of their numbers.
    pub(crate) list: Vec<Schema>,
}

/// The flat name of what lies in a schema.
fn flat(number: u32, name: &str) -> String {
    format!("{SCHEMA_TABLE_PREFIX}{number}_{name}")
}

/// The number of the schema that a flat name may be of, and the name in it.
fn split(name: &str) -> Option<(u32, &str)> {
    let (digits, rest) = name.strip_prefix(SCHEMA_TABLE_PREFIX)?.split_once('_')?;
    let canonical = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    Some((digits.parse().ok().filter(|_| canonical)?, rest))
}

/// The name without its schema.
pub(crate) fn bare(name: &str) -> &str {
    split(name).map_or(name, |(_, bare)| bare)
}

/// The flat name of what lies in the same schema as another.
pub(crate) fn beside(other: &str, name: &str) -> String {
    match split(other) {
        Some((number, _)) if split(name).is_none() => flat(number, name),
        _ => name.to_string(),
    }
}

/// The flat name of what goes where another lies.
pub(crate) fn moved(name: &str, other: &str) -> String {
    beside(other, bare(name))
}

impl Schemas {
    pub(crate) fn find(&self, name: &str) -> Option<&Schema> {
        self.list.iter().find(|schema| schema.name == name)
    }

    /// The flat name of what lies in a schema.
    pub(crate) fn flat(&self, schema: &Schema, name: &str) -> String {
        flat(schema.number, name)
    }

    /// The same by the number of the schema; `None` if there is none.
    pub(crate) fn flat_in(&self, number: u32, name: &str) -> Option<String> {
        self.by_number(number).map(|schema| flat(schema.number, name))
    }

    fn by_number(&self, number: u32) -> Option<&Schema> {
        self.list.iter().find(|schema| schema.number == number)
    }

    /// The schema that a flat name is of (`None`: `public`), and the name in it.
    pub(crate) fn place<'a>(&self, name: &'a str) -> (Option<&Schema>, &'a str) {
        let found = split(name).and_then(|(number, bare)| Some((self.by_number(number)?, bare)));
        found.map_or((None, name), |(schema, bare)| (Some(schema), bare))
    }

    fn read(snapshot: &Snapshot, meta: Option<Vec<u8>>) -> QueryResult<Schemas> {
        let Some(bytes) = &meta else { return Ok(Schemas::default()) };
        let counts = Counts::decode(bytes, damaged)?;
        let rows = snapshot.rows().scan(SPACE_SCHEMAS, &[SCHEMA_KEY])?;
        let list = rows.iter().map(|(_, value)| {
            let row: SchemaRow = decode(value)?;
            check_version(row.v)?;
            Ok(Schema { number: row.number, name: row.name })
        });
        let list = list.collect::<QueryResult<_>>()?;
        Ok(Schemas { revision: counts.revision, next: counts.next, list, meta })
    }

    /// The command that makes these changes, if no others were made since the schemas were read.
    fn command(&self, next: u32, changes: &[Change<'_>]) -> QueryResult<RowCommand> {
        let space = SPACE_SCHEMAS;
        let mut out = vec![Counts::behind(self.revision, next).put(space)?];
        for change in changes {
            out.push(match change {
                Change::Put(schema) => {
                    let (number, name) = (schema.number, schema.name.clone());
                    let value = encode(&SchemaRow { v: VERSION, number, name })?;
                    RowChange::Put { space, key: key_of(number), value }
                }
                Change::Drop(schema) => RowChange::Delete { space, key: key_of(schema.number) },
            });
        }
        let expects = vec![counted::expect(space, self.meta.as_ref())];
        Ok(RowCommand { expects, changes: out })
    }
}

enum Change<'a> {
    Put(&'a Schema),
    Drop(&'a Schema),
}

fn key_of(number: u32) -> Vec<u8> {
    [&[SCHEMA_KEY][..], &number.to_be_bytes()].concat()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> QueryResult<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
}

fn check_version(version: u32) -> QueryResult<()> {
    match version {
        VERSION => Ok(()),
        other => Err(damaged(format!("version {other}"))),
    }
}

fn damaged(what: String) -> QueryError {
    QueryError::new("XX001", format!("a row of schemas cannot be read: {what}"))
}

/// The schemas last read: they are read anew when the row that counts changes says so.
#[derive(Debug, Default)]
pub(crate) struct SchemaCache {
    kept: Mutex<Option<Arc<Schemas>>>,
    /// Whether there may be any: databases without them pay nothing.
    any: AtomicBool,
}

impl SchemaCache {
    /// The schemas of a snapshot.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> QueryResult<Arc<Schemas>> {
        if !self.any() {
            return Ok(Arc::default());
        }
        self.read(snapshot)
    }

    fn read(&self, snapshot: &Snapshot) -> QueryResult<Arc<Schemas>> {
        let meta = counted::read(snapshot, SPACE_SCHEMAS)?;
        let kept = self.kept.lock().clone();
        if let Some(kept) = kept
            && kept.meta == meta
        {
            return Ok(kept);
        }
        let read = Arc::new(Schemas::read(snapshot, meta)?);
        *self.kept.lock() = Some(read.clone());
        Ok(read)
    }

    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn note_any(&self) {
        self.any.store(true, Ordering::Relaxed);
    }

    /// Looks whether the database has schemas. What cannot be read is told by whoever needs it.
    pub(crate) fn open(&self, snapshot: &Snapshot) {
        let none = counted::read(snapshot, SPACE_SCHEMAS).is_ok_and(|meta| meta.is_none());
        if !none {
            self.note_any();
        }
    }
}

/// A schema on `search_path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Public,
    Own(u32),
}

/// The schemas of a `search_path` that are there.
pub(crate) fn path(schemas: &Schemas, setting: &str, user: &str) -> Vec<On> {
    let mut out = Vec::new();
    for part in setting.split(',').map(str::trim) {
        let name = match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
            Some("$user") => user.to_string(),
            Some(quoted) => quoted.replace("\"\"", "\""),
            None if part == "$user" => user.to_string(),
            None => part.to_lowercase(),
        };
        // SET leaves quotes out, so a name may be meant as it is.
        let found = || schemas.find(part).or_else(|| schemas.find(&name));
        let on = match name.as_str() {
            SCHEMA => Some(On::Public),
            _ => found().map(|schema| On::Own(schema.number)),
        };
        out.extend(on.filter(|on| !out.contains(on)));
    }
    out
}

impl PlanContext {
    pub(crate) fn schemas(&self) -> QueryResult<Arc<Schemas>> {
        self.engine.schemas().of(&self.snapshot)
    }

    /// The schemas of `search_path` that are there. Where nobody has made one it means nothing.
    pub(crate) fn path(&self) -> Vec<On> {
        match self.schemas() {
            Ok(schemas) if !schemas.list.is_empty() => {
                let setting = self.settings.get("search_path").unwrap_or_default();
                let mut path = path(&schemas, setting, &self.identity.user);
                // What cannot be told is said where something is read.
                let _ = rights::keep_usable(&self.engine, &self.identity, &schemas, &mut path);
                path
            }
            _ => vec![On::Public],
        }
    }

    /// Their names, as the catalogue has them that the statement is told of.
    pub(crate) fn path_names(&self) -> QueryResult<Vec<String>> {
        let image = self.image()?;
        let schemas = &image.schemas;
        let name = |on: On| match on {
            On::Public => Some(SCHEMA.to_string()),
            On::Own(number) => schemas.by_number(number).map(|schema| schema.name.clone()),
        };
        Ok(image.path.iter().copied().filter_map(name).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Schemas {
        let of = |number, name: &str| Schema { number, name: name.into() };
        Schemas { next: 9, list: vec![of(1, "a"), of(7, "B c")], ..Schemas::default() }
    }

    #[test]
    fn flat_names_come_apart_again() {
        let schemas = some();
        for (number, name) in [(1, "t"), (7, "_x_1"), (1, "a.b"), (7, ""), (1, "_schema_7_t")] {
            let name_of = flat(number, name);
            let (schema, bare_of) = schemas.place(&name_of);
            assert_eq!((schema.map(|s| s.number), bare_of), (Some(number), name));
            assert_eq!(bare(&name_of), name);
        }
        for name in
            ["t", "a.t", "_schema_2_t", "_schema_01_t", "_schema__t", "_schema_1", "_schema_+1_t"]
        {
            assert_eq!(schemas.place(name), (None, name));
        }
        assert_eq!(beside("_schema_1_t", "t_pkey"), "_schema_1_t_pkey");
        assert_eq!(beside("_schema_1_t", "_schema_1_t_pkey"), "_schema_1_t_pkey");
        assert_eq!(beside("t", "t_pkey"), "t_pkey");
        assert_eq!(moved("_schema_1_t_pkey", "_schema_7_t"), "_schema_7_t_pkey");
        assert_eq!(moved("_schema_1_t_pkey", "t"), "t_pkey");
        assert_eq!(moved("t_pkey", "_schema_7_t"), "_schema_7_t_pkey");
    }

    #[test]
    fn a_path_has_the_schemas_that_are_there() {
        let of = |setting: &str, user: &str| path(&some(), setting, user);
        assert_eq!(of("\"$user\", public", "root"), [On::Public]);
        assert_eq!(of("\"$user\", public", "a"), [On::Own(1), On::Public]);
        assert_eq!(of("\"B c\", nothing, A", "root"), [On::Own(7), On::Own(1)]);
        assert_eq!(of("a, a, pg_catalog", "root"), [On::Own(1)]);
        assert_eq!(of("B c, public", "root"), [On::Own(7), On::Public]);
        assert_eq!(of("", "root"), []);
    }

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let schema = Schema { number: 3, name: "plant".into() };
        let command = some().command(10, &[Change::Put(&schema)]).unwrap();
        let values: Vec<&[u8]> = command
            .changes
            .iter()
            .filter_map(|change| match change {
                RowChange::Put { value, .. } => Some(value.as_slice()),
                _ => None,
            })
            .collect();
        assert_eq!(values[0], br#"{"v":1,"revision":1,"next":10}"#);
        assert_eq!(values[1], br#"{"v":1,"number":3,"name":"plant"}"#);
        for end in 0..values[1].len() {
            assert_eq!(decode::<SchemaRow>(&values[1][..end]).err().unwrap().code, "XX001");
        }
        assert!(check_version(2).unwrap_err().message.contains("version 2"));
    }
}

//! Definitions of relational tables: JSON rows of the row store, and what is kept of them in
//! memory. README.md, "Relational tables", is the text.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tsdb::Snapshot;
use tsdb::rows::{RowChange, RowCommand, RowSnapshot};

use super::kind::{Datum, Kind};
use super::sequence::def::{Owned, SequenceDef};
use crate::counted::{self, Counts, encode};
use crate::error::{QueryError, QueryResult};

/// Spaces of the row store: definitions, rows, index entries, numbers of sequences.
pub(crate) const SPACE_TABLES: u16 = 18;
pub(crate) const SPACE_ROWS: u16 = 19;
pub(crate) const SPACE_INDEX: u16 = 20;
pub(crate) const SPACE_SEQUENCES: u16 = 21;
/// First byte of the keys of definitions and of their revisions; the table's number follows,
/// big-endian.
const TABLE_KEY: u8 = b't';
const REVISION_KEY: u8 = b'r';
/// First byte of the keys of sequences; the number follows, big-endian.
const SEQUENCE_KEY: u8 = b's';
/// The newest version of either row.
const VERSION: u32 = 1;

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    /// Never used again in the table.
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_null: bool,
    /// Text of the expression that fills it where an INSERT does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    /// Text of the value in rows that were there before the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
    /// What numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<Sequence>,
}

/// What numbers a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sequence {
    pub(crate) number: u32,
    /// GENERATED AS IDENTITY, and whether ALWAYS; serial else.
    pub(crate) identity: Option<bool>,
}

/// An index; unique ones are of a constraint or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Numbers of the columns.
    pub(crate) columns: Vec<u32>,
    pub(crate) unique: bool,
    /// Number of the constraint that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) constraint: Option<u32>,
    /// Made for a foreign key, and not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hidden: bool,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Primary {
    /// Number of the index as the catalogue shows it, and of the constraint.
    pub(crate) index: u32,
    pub(crate) constraint: u32,
    pub(crate) name: String,
    pub(crate) columns: Vec<u32>,
}

/// A CHECK.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Text of the condition.
    pub(crate) text: String,
    /// Columns that it names.
    pub(crate) columns: Vec<u32>,
}

/// What becomes of rows that refer to one that goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// NO ACTION: they are an error when the statement ends.
    #[serde(rename = "no_action")]
    Refuse,
    /// They are an error at once.
    Restrict,
    Cascade,
    SetNull,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foreign {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) columns: Vec<u32>,
    /// Number of the table that it refers to, and its columns.
    pub(crate) table: u32,
    pub(crate) target: Vec<u32>,
    pub(crate) on_delete: Action,
    pub(crate) on_update: Action,
    /// Number of the index by which rows that refer are found.
    pub(crate) index: u32,
}

/// What a temporary table is besides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Temporary {
    /// Number of its session, never used again.
    pub(crate) session: u64,
    /// Its rows go at COMMIT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) delete_rows: bool,
}

/// A relational table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableDef {
    v: u32,
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Number that its rows lie under.
    pub(crate) storage: u32,
    /// Changes with the definition.
    pub(crate) revision: u64,
    /// Of one session, and gone with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) temporary: Option<Temporary>,
    /// In the order that SQL shows.
    pub(crate) columns: Vec<Column>,
    pub(crate) next_column: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) primary: Option<Primary>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) indexes: Vec<Index>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) checks: Vec<Check>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) foreign: Vec<Foreign>,
}

impl TableDef {
    pub(crate) fn new(number: u32, storage: u32, name: String) -> TableDef {
        TableDef {
            v: VERSION,
            number,
            name,
            storage,
            revision: 0,
            temporary: None,
            columns: Vec::new(),
            next_column: 1,
            primary: None,
            indexes: Vec::new(),
            checks: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// Place of a column by its name.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Place of a column by its number.
    pub(crate) fn place_of(&self, id: u32) -> QueryResult<usize> {
        let found = self.columns.iter().position(|column| column.id == id);
        found.ok_or_else(|| damaged(format!("table {} has no column {id}", self.name)))
    }

    pub(crate) fn places(&self, ids: &[u32]) -> QueryResult<Vec<usize>> {
        ids.iter().map(|id| self.place_of(*id)).collect()
    }

    pub(crate) fn column(&self, id: u32) -> QueryResult<&Column> {
        Ok(&self.columns[self.place_of(id)?])
    }

    /// Names of columns.
    pub(crate) fn names(&self, ids: &[u32]) -> Vec<String> {
        let name = |id: &u32| self.column(*id).map(|c| c.name.clone()).unwrap_or_default();
        ids.iter().map(name).collect()
    }

    pub(crate) fn kinds(&self, ids: &[u32]) -> QueryResult<Vec<Kind>> {
        ids.iter().map(|id| Ok(self.column(*id)?.kind)).collect()
    }

    pub(crate) fn index(&self, number: u32) -> QueryResult<&Index> {
        let found = self.indexes.iter().find(|index| index.number == number);
        found.ok_or_else(|| damaged(format!("table {} has no index {number}", self.name)))
    }

    /// Whether a name is taken by an index or constraint.
    pub(crate) fn has_constraint(&self, name: &str) -> bool {
        self.primary.as_ref().is_some_and(|primary| primary.name == name)
            || self.indexes.iter().any(|index| index.name == name && index.constraint.is_some())
            || self.checks.iter().any(|check| check.name == name)
            || self.foreign.iter().any(|foreign| foreign.name == name)
    }

    /// What all keys of rows begin with.
    pub(crate) fn prefix(&self) -> [u8; 4] {
        self.storage.to_be_bytes()
    }

    /// Key under which the revision lies.
    pub(crate) fn revision_row(&self) -> (Vec<u8>, Vec<u8>) {
        (numbered(REVISION_KEY, self.number), self.revision.to_be_bytes().to_vec())
    }

    /// The values that rows have which were there before a column.
    pub(crate) fn missing(&self) -> QueryResult<Vec<Datum>> {
        let utc: arrow::array::timezone::Tz = "+00:00".parse().map_err(QueryError::internal)?;
        let of = |column: &Column| match &column.missing {
            Some(text) => column.kind.parse(text, &utc),
            None => Ok(Datum::Null),
        };
        self.columns.iter().map(of).collect()
    }
}

fn numbered(first: u8, number: u32) -> Vec<u8> {
    [&[first][..], &number.to_be_bytes()].concat()
}

/// A foreign key from the side of the table that it refers to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Referrer {
    /// Number of the table that refers.
    pub(crate) table: u32,
    /// Place of the foreign key in it.
    pub(crate) at: usize,
}

/// All relational tables at one moment.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// Counts changes of definitions.
    pub(crate) revision: u64,
    meta: Option<Vec<u8>>,
    /// The next number of a table, index, constraint or sequence.
    pub(crate) next: u32,
    /// In order of their numbers.
    pub(crate) list: Vec<Arc<TableDef>>,
    names: HashMap<String, usize>,
    numbers: HashMap<u32, usize>,
    referrers: HashMap<u32, Vec<Referrer>>,
    /// How many of them are temporary.
    temporary: usize,
    /// Sequences, in order of their numbers.
    pub(crate) sequences: Vec<Arc<SequenceDef>>,
    /// Those that have a row of their own.
    stored: Vec<Arc<SequenceDef>>,
}

impl Relations {
    /// What a session sees: the tables of all, and its own temporary ones, which hide others of their
    /// name.
    fn seen_by(&self, session: u64) -> Relations {
        let seen = |table: &&Arc<TableDef>| table.temporary.is_none_or(|of| of.session == session);
        let list = self.list.iter().filter(seen).cloned().collect();
        let hidden = |sequence: &&Arc<SequenceDef>| {
            let table = sequence.owned.and_then(|owned| self.by_number(owned.table));
            table.is_some_and(|table| !seen(&table))
        };
        let stored = self.stored.iter().filter(|sequence| !hidden(sequence)).cloned().collect();
        Relations::new(self.revision, self.next, self.meta.clone(), list, stored)
    }

    /// The sequence of a name.
    pub(crate) fn find_sequence(&self, name: &str) -> Option<&Arc<SequenceDef>> {
        self.sequences.iter().find(|sequence| sequence.name == name)
    }

    /// The sequence of a number.
    pub(crate) fn sequence(&self, number: u32) -> Option<&Arc<SequenceDef>> {
        let at = self.sequences.binary_search_by_key(&number, |sequence| sequence.number).ok()?;
        self.sequences.get(at)
    }

    /// The table of a name that is of all sessions.
    pub(crate) fn find_lasting(&self, name: &str) -> Option<&Arc<TableDef>> {
        match self.find(name) {
            Some(found) if found.temporary.is_some() => {
                self.list.iter().find(|t| t.temporary.is_none() && t.name == name)
            }
            found => found,
        }
    }

    /// Temporary tables of a session; `None`: of all sessions.
    pub(crate) fn temporary(&self, session: Option<u64>) -> Vec<Arc<TableDef>> {
        let of = |table: &&Arc<TableDef>| {
            table.temporary.is_some_and(|of| session.is_none_or(|session| of.session == session))
        };
        self.list.iter().filter(of).cloned().collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<TableDef>> {
        self.names.get(name).map(|at| &self.list[*at])
    }

    pub(crate) fn by_number(&self, number: u32) -> Option<&Arc<TableDef>> {
        self.numbers.get(&number).map(|at| &self.list[*at])
    }

    pub(crate) fn table(&self, number: u32) -> QueryResult<&Arc<TableDef>> {
        self.by_number(number).ok_or_else(|| damaged(format!("there is no table {number}")))
    }

    /// Foreign keys that refer to a table.
    pub(crate) fn referrers(&self, number: u32) -> &[Referrer] {
        self.referrers.get(&number).map_or(&[], Vec::as_slice)
    }

    /// The table of an index, and the index; those that are hidden too.
    pub(crate) fn find_index(&self, name: &str) -> Option<(&Arc<TableDef>, &Index)> {
        self.list.iter().find_map(|table| {
            let index = table.indexes.iter().find(|index| index.name == name)?;
            Some((table, index))
        })
    }

    /// Whether a name is that of a table, an index or a sequence.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.find(name).is_some()
            || self.find_index(name).is_some()
            || self.list.iter().any(|t| t.primary.as_ref().is_some_and(|p| p.name == name))
            || self.find_sequence(name).is_some()
    }

    fn new(
        revision: u64,
        next: u32,
        meta: Option<Vec<u8>>,
        list: Vec<Arc<TableDef>>,
        stored: Vec<Arc<SequenceDef>>,
    ) -> Relations {
        let sequences = with_columns(&list, &stored);
        let mut out =
            Relations { revision, next, meta, list, sequences, stored, ..Relations::default() };
        for (at, table) in out.list.iter().enumerate() {
            out.temporary += usize::from(table.temporary.is_some());
            let hidden = out.names.get(&table.name).is_some_and(|other: &usize| {
                table.temporary.is_none() && out.list[*other].temporary.is_some()
            });
            if !hidden {
                out.names.insert(table.name.clone(), at);
            }
            out.numbers.insert(table.number, at);
            for (place, foreign) in table.foreign.iter().enumerate() {
                let referrer = Referrer { table: table.number, at: place };
                out.referrers.entry(foreign.table).or_default().push(referrer);
            }
        }
        out
    }

    fn read(rows: &RowSnapshot, meta: Option<Vec<u8>>) -> QueryResult<Relations> {
        let Some(bytes) = &meta else { return Ok(Relations { next: 1, ..Relations::default() }) };
        let counts = Counts::decode(bytes, damaged)?;
        let list = rows.scan(SPACE_TABLES, &[TABLE_KEY])?;
        let list = list.iter().map(|(_, value)| table(value).map(Arc::new));
        let list = list.collect::<QueryResult<Vec<_>>>()?;
        let stored = rows.scan(SPACE_TABLES, &[SEQUENCE_KEY])?;
        let stored = stored.iter().map(|(_, value)| sequence(value).map(Arc::new));
        let stored = stored.collect::<QueryResult<Vec<_>>>()?;
        Ok(Relations::new(counts.revision, counts.next, meta, list, stored))
    }
}

/// Sequences, with those of columns that have no row.
fn with_columns(list: &[Arc<TableDef>], stored: &[Arc<SequenceDef>]) -> Vec<Arc<SequenceDef>> {
    let mut out = stored.to_vec();
    for table in list {
        for made in table.columns.iter().filter_map(|c| SequenceDef::of_column(table, c)) {
            if !stored.iter().any(|kept| kept.number == made.number) {
                out.push(Arc::new(made));
            }
        }
    }
    out.sort_by_key(|sequence| sequence.number);
    out
}

/// Reads the definition of a sequence.
fn sequence(value: &[u8]) -> QueryResult<SequenceDef> {
    let def: SequenceDef = decode(value)?;
    check_version(def.v)?;
    Ok(def)
}

/// Between the word and the number of a sequence in the text of a default.
const NEXTVAL: &str = "nextval(";

/// Numbers of the sequences that the text of a default uses: it names them by their `oid`, so that
/// a sequence may be renamed.
pub(crate) fn sequences_of(text: &str) -> Vec<u32> {
    let number = |rest: &str| {
        let (digits, _) = rest.split_once(')')?;
        crate::catalog::object_of(digits.parse().ok()?)
    };
    text.split(NEXTVAL).skip(1).filter_map(number).collect()
}

/// The text of a default with names of its sequences, as `nextval('name'::regclass)`.
pub(crate) fn with_names(text: &str, name: impl Fn(u32) -> Option<String>) -> String {
    let mut parts = text.split(NEXTVAL);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str(NEXTVAL);
        let named = part.split_once(')').and_then(|(digits, rest)| {
            let number = crate::catalog::object_of(digits.parse().ok()?)?;
            Some((name(number)?, rest))
        });
        match named {
            Some((name, rest)) => {
                out.push_str(&format!("'{}'::regclass){rest}", name.replace('\'', "''")));
            }
            None => out.push_str(part),
        }
    }
    out
}

/// Reads a definition.
fn table(value: &[u8]) -> QueryResult<TableDef> {
    let def: TableDef = decode(value)?;
    check_version(def.v)?;
    Ok(def)
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

pub(crate) fn damaged(what: String) -> QueryError {
    QueryError::new("XX001", format!("definitions of relational tables cannot be read: {what}"))
}

/// The definitions last read: they are read anew when the row that counts changes says so.
#[derive(Debug, Default)]
pub(crate) struct RelationCache {
    all: Mutex<Option<Arc<Relations>>>,
    /// By session, where there are temporary tables.
    seen: Mutex<HashMap<u64, Arc<Relations>>>,
}

/// Sessions whose sight is kept; above it all are dropped and made anew.
const SEEN_MAX: usize = 1_000;

impl RelationCache {
    /// The relational tables of a snapshot that a session sees; 0 is none.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn seen(&self, snapshot: &Snapshot, session: u64) -> QueryResult<Arc<Relations>> {
        let all = self.of(snapshot)?;
        if all.temporary == 0 {
            return Ok(all);
        }
        let mut kept = self.seen.lock();
        if let Some(found) = kept.get(&session)
            && found.meta == all.meta
        {
            return Ok(found.clone());
        }
        if kept.len() >= SEEN_MAX {
            kept.clear();
        }
        let made = Arc::new(all.seen_by(session));
        kept.insert(session, made.clone());
        Ok(made)
    }

    /// All relational tables of a snapshot.
    ///
    /// # Errors
    /// `XX001` for rows that cannot be read.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> QueryResult<Arc<Relations>> {
        let rows = snapshot.rows();
        let meta = rows.get(SPACE_TABLES, counted::KEY)?;
        let kept = self.all.lock().clone();
        if let Some(kept) = kept
            && kept.meta == meta
        {
            return Ok(kept);
        }
        let read = Arc::new(Relations::read(rows, meta)?);
        *self.all.lock() = Some(read.clone());
        Ok(read)
    }
}

/// Changes of definitions that are made together.
pub(crate) struct Redefine<'a> {
    relations: &'a Relations,
    next: u32,
    put: HashMap<u32, TableDef>,
    dropped: Vec<u32>,
    sequences: HashMap<u32, SequenceDef>,
    dropped_sequences: Vec<u32>,
    changes: Vec<RowChange>,
}

impl<'a> Redefine<'a> {
    pub(crate) fn new(relations: &'a Relations) -> Redefine<'a> {
        let (put, dropped, changes) = (HashMap::new(), Vec::new(), Vec::new());
        let (sequences, dropped_sequences) = (HashMap::new(), Vec::new());
        let next = relations.next;
        Redefine { relations, next, put, dropped, sequences, dropped_sequences, changes }
    }

    /// A number that was never used.
    pub(crate) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// A table as it is so far.
    pub(crate) fn table(&self, number: u32) -> Option<TableDef> {
        if self.dropped.contains(&number) {
            return None;
        }
        let kept = || self.relations.by_number(number).map(|table| TableDef::clone(table));
        self.put.get(&number).cloned().or_else(kept)
    }

    pub(crate) fn put(&mut self, table: TableDef) {
        self.put.insert(table.number, table);
    }

    /// Forgets a table with its rows and entries.
    pub(crate) fn drop_table(&mut self, table: &TableDef) {
        self.put.remove(&table.number);
        self.dropped.push(table.number);
        for first in [TABLE_KEY, REVISION_KEY] {
            let key = numbered(first, table.number);
            self.changes.push(RowChange::Delete { space: SPACE_TABLES, key });
        }
        self.drop_rows(table.storage);
        table.indexes.iter().for_each(|index| self.drop_index(index.number));
        for sequence in table.columns.iter().filter_map(|column| column.sequence.as_ref()) {
            self.drop_sequence(sequence.number);
        }
        self.drop_owned(table.number, None);
    }

    /// Forgets sequences that go with a table, or with one column of it.
    pub(crate) fn drop_owned(&mut self, table: u32, column: Option<u32>) {
        let goes = |owned: Owned| {
            owned.table == table && column.is_none_or(|column| owned.column == column)
        };
        let kept = self.relations.sequences.iter().map(|sequence| &**sequence);
        let all = kept.chain(self.sequences.values());
        let gone = all.filter(|sequence| sequence.owned.is_some_and(goes));
        let gone: Vec<u32> = gone.map(|sequence| sequence.number).collect();
        gone.into_iter().for_each(|number| self.drop_sequence(number));
    }

    /// Sequences that have rows and go with a table.
    pub(crate) fn owned(&self, table: u32) -> Vec<SequenceDef> {
        let stored = self.relations.stored.iter();
        let numbers = stored.filter(|s| s.owned.is_some_and(|owned| owned.table == table));
        numbers.filter_map(|sequence| self.sequence(sequence.number)).collect()
    }

    pub(crate) fn put_sequence(&mut self, sequence: SequenceDef) {
        self.sequences.insert(sequence.number, sequence);
    }

    /// A sequence as it is so far.
    pub(crate) fn sequence(&self, number: u32) -> Option<SequenceDef> {
        if self.dropped_sequences.contains(&number) {
            return None;
        }
        let kept = || self.relations.sequence(number).map(|found| SequenceDef::clone(found));
        self.sequences.get(&number).cloned().or_else(kept)
    }

    pub(crate) fn drop_rows(&mut self, storage: u32) {
        let prefix = storage.to_be_bytes().to_vec();
        self.changes.push(RowChange::DeletePrefix { space: SPACE_ROWS, prefix });
    }

    pub(crate) fn drop_index(&mut self, number: u32) {
        let prefix = number.to_be_bytes().to_vec();
        self.changes.push(RowChange::DeletePrefix { space: SPACE_INDEX, prefix });
    }

    pub(crate) fn drop_sequence(&mut self, number: u32) {
        self.sequences.remove(&number);
        if self.dropped_sequences.contains(&number) {
            return;
        }
        self.dropped_sequences.push(number);
        let key = number.to_be_bytes().to_vec();
        self.changes.push(RowChange::Delete { space: SPACE_SEQUENCES, key });
        let key = numbered(SEQUENCE_KEY, number);
        self.changes.push(RowChange::Delete { space: SPACE_TABLES, key });
    }

    /// Any other row that changes with them.
    pub(crate) fn change(&mut self, change: RowChange) {
        self.changes.push(change);
    }

    /// The relations as they will be.
    pub(crate) fn preview(&self) -> Relations {
        let mut list: Vec<Arc<TableDef>> = self
            .relations
            .list
            .iter()
            .filter(|t| !self.dropped.contains(&t.number) && !self.put.contains_key(&t.number))
            .cloned()
            .chain(self.put.values().cloned().map(Arc::new))
            .collect();
        list.sort_by_key(|table| table.number);
        let changed = |number: &u32| {
            self.sequences.contains_key(number) || self.dropped_sequences.contains(number)
        };
        let kept = self.relations.stored.iter().filter(|s| !changed(&s.number)).cloned();
        let stored = kept.chain(self.sequences.values().cloned().map(Arc::new)).collect();
        Relations::new(self.relations.revision + 1, self.next, None, list, stored)
    }

    /// Takes away defaults that use sequences which go, as CASCADE does; what they are. `own`: a
    /// table that is being changed besides.
    pub(crate) fn forget_defaults(&mut self, own: Option<&mut TableDef>) -> Vec<String> {
        let mut told = Vec::new();
        let own_number = own.as_ref().map(|own| own.number);
        let kept = self.relations.list.iter().map(|table| table.number);
        let others = kept.filter(|number| Some(*number) != own_number);
        let mut changed: Vec<TableDef> = others.filter_map(|number| self.table(number)).collect();
        changed.retain_mut(|table| self.forget_defaults_of(table, &mut told));
        if let Some(own) = own {
            self.forget_defaults_of(own, &mut told);
        }
        changed.into_iter().for_each(|table| self.put(table));
        told
    }

    /// The same of one table; whether it had any.
    fn forget_defaults_of(&self, table: &mut TableDef, told: &mut Vec<String>) -> bool {
        let before = told.len();
        for column in &mut table.columns {
            let used = sequences_of(column.default.as_deref().unwrap_or_default());
            if used.iter().any(|number| self.dropped_sequences.contains(number)) {
                column.default = None;
                let table = crate::schema::bare(&table.name);
                told.push(format!("default value for column {} of table {table}", column.name));
            }
        }
        told.len() > before
    }

    /// `2BP01` where a default that stays uses a sequence that goes.
    fn check_sequences(&self) -> QueryResult<()> {
        if self.dropped_sequences.is_empty() {
            return Ok(());
        }
        let kept = self.relations.list.iter().map(|table| table.number);
        for table in kept.filter_map(|number| self.table(number)) {
            for column in &table.columns {
                let used = sequences_of(column.default.as_deref().unwrap_or_default());
                let gone = |number: &&u32| self.dropped_sequences.contains(number);
                let Some(number) = used.iter().find(gone) else { continue };
                let name = self.relations.sequence(*number).map_or("", |found| &found.name);
                let name = crate::schema::bare(name);
                let message =
                    format!("cannot drop sequence {name} because other objects depend on it");
                return Err(QueryError::new("2BP01", message)
                    .with_detail(format!(
                        "default value for column {} of table {} depends on sequence {name}",
                        column.name,
                        crate::schema::bare(&table.name)
                    ))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
        }
        Ok(())
    }

    /// The command, if no other definitions were made since `relations` was read.
    pub(crate) fn command(mut self) -> QueryResult<RowCommand> {
        self.check_sequences()?;
        let revision = self.relations.revision + 1;
        let put = |key: Vec<u8>, value: Vec<u8>| RowChange::Put { space: SPACE_TABLES, key, value };
        let mut out = std::mem::take(&mut self.changes);
        out.push(Counts::behind(self.relations.revision, self.next).put(SPACE_TABLES)?);
        let mut tables: Vec<TableDef> = self.put.into_values().collect();
        tables.sort_by_key(|table| table.number);
        for mut table in tables {
            table.revision = revision;
            out.push(put(numbered(TABLE_KEY, table.number), encode(&table)?));
            let (key, value) = table.revision_row();
            out.push(put(key, value));
        }
        let mut sequences: Vec<SequenceDef> = self.sequences.into_values().collect();
        sequences.sort_by_key(|sequence| sequence.number);
        for sequence in sequences {
            out.push(put(numbered(SEQUENCE_KEY, sequence.number), encode(&sequence)?));
        }
        let expects = vec![counted::expect(SPACE_TABLES, self.relations.meta.as_ref())];
        Ok(RowCommand { expects, changes: out })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> TableDef {
        let mut def = TableDef::new(7, 8, "t".into());
        def.columns.push(Column {
            id: 1,
            name: "a".into(),
            kind: Kind::Numeric(10, 2),
            not_null: true,
            default: Some("0".into()),
            missing: None,
            sequence: None,
        });
        def.next_column = 2;
        def.primary =
            Some(Primary { index: 9, constraint: 10, name: "t_pkey".into(), columns: vec![1] });
        def
    }

    #[test]
    fn definitions_read_back_and_damage_is_told() {
        let relations = Relations { next: 7, ..Relations::default() };
        let mut redefine = Redefine::new(&relations);
        redefine.put(sample());
        let command = redefine.command().unwrap();
        let values: Vec<&[u8]> = command
            .changes
            .iter()
            .filter_map(|change| match change {
                RowChange::Put { value, .. } => Some(value.as_slice()),
                _ => None,
            })
            .collect();
        let [meta, row, revision] = values[..] else { panic!("three rows") };
        assert_eq!(meta, br#"{"v":1,"revision":1,"next":7}"#);
        assert_eq!(revision, 1u64.to_be_bytes());
        let golden = r#"{"v":1,"number":7,"name":"t","storage":8,"revision":1,"columns":[{"id":1,"name":"a","kind":"numeric(10,2)","not_null":true,"default":"0"}],"next_column":2,"primary":{"index":9,"constraint":10,"name":"t_pkey","columns":[1]}}"#;
        assert_eq!(std::str::from_utf8(row).unwrap(), golden);
        assert_eq!(table(row).unwrap(), TableDef { revision: 1, ..sample() });
        for end in 0..row.len() {
            assert_eq!(table(&row[..end]).unwrap_err().code, "XX001");
        }
        for at in 0..row.len() {
            let mut flipped = row.to_vec();
            flipped[at] ^= 1;
            let _ = table(&flipped);
        }
        let later = golden.replacen("\"v\":1", "\"v\":2", 1);
        assert!(table(later.as_bytes()).unwrap_err().message.contains("version 2"));
    }
}

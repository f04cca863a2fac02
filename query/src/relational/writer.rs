//! Changes of rows, with the constraints of their tables.
//!
//! One writer belongs to one statement. It works on the statement's own copy of what its
//! transaction has changed, so an error leaves that as it was. Keys and unique entries are looked
//! at as rows are written, foreign keys when the statement ends ([`Writer::finish`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};

use super::arrays;
use super::def::{Action, Foreign, Index, Relations, SPACE_INDEX, SPACE_ROWS, TableDef};
use super::expr;
use super::kind::Datum;
use super::view::View;
use super::{key, row};
use crate::error::{QueryError, QueryResult};
use crate::insert::null_in;
use crate::plan::PlanContext;

/// Rows that one statement may change, those that foreign keys take along counted.
pub(crate) const ROWS_MAX: usize = 1_000_000;
/// Bytes that a transaction may hold back: one record of the log must hold them.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// Memory that the rows of one statement may take, all of their columns counted, bytes. There are
/// up to three copies of them.
pub(super) const MEMORY_MAX: usize = 2 * BYTES_MAX;

/// A row as it is kept.
pub(crate) type Row = Vec<Datum>;

/// About what a row holds in memory.
pub(super) fn memory(row: &Row) -> usize {
    row.iter().map(Datum::bytes).sum()
}

/// A table with what reading its rows takes.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) def: Arc<TableDef>,
    missing: Arc<Row>,
    /// Whether all of `missing` is NULL, as it mostly is.
    plain: bool,
}

impl Table {
    pub(crate) fn new(def: &Arc<TableDef>) -> QueryResult<Table> {
        let missing = def.missing()?;
        let plain = missing.iter().all(Datum::is_null);
        Ok(Table { def: def.clone(), missing: Arc::new(missing), plain })
    }

    /// Reads a row.
    pub(crate) fn decode(&self, bytes: &[u8]) -> QueryResult<Row> {
        let mut out = Row::clone(&self.missing);
        let mut place = 0;
        row::decode(bytes, |id, value| {
            let columns = &self.def.columns;
            while columns.get(place).is_some_and(|column| column.id < id) {
                place += 1;
            }
            // Columns that were dropped stay in the bytes of old rows.
            if columns.get(place).is_some_and(|column| column.id == id) {
                out[place] = value.to_datum();
            }
            Ok(())
        })?;
        Ok(out)
    }

    pub(crate) fn missing(&self) -> &Row {
        &self.missing
    }

    pub(super) fn encode(&self, values: &Row) -> QueryResult<Vec<u8>> {
        let columns = self.def.columns.iter().zip(values).zip(self.missing.iter());
        row::encode(columns.map(|((column, value), missing)| {
            (column.id, column.kind, value, !self.plain && !missing.is_null())
        }))
    }
}

/// The key of a row behind its table's prefix.
pub(crate) fn primary_key(def: &TableDef, row: &Row) -> QueryResult<Option<Vec<u8>>> {
    let Some(primary) = &def.primary else { return Ok(None) };
    let places = def.places(&primary.columns)?;
    Ok(Some(key::encode(places.iter().map(|at| &row[*at]))?))
}

/// Where the row of a key lies.
pub(crate) fn row_key(def: &TableDef, key: &[u8]) -> Vec<u8> {
    [&def.prefix()[..], key].concat()
}

/// What all entries of an index for some values begin with.
pub(crate) fn entry_prefix(number: u32, values: &[&Datum]) -> QueryResult<Vec<u8>> {
    Ok([&number.to_be_bytes()[..], &key::encode(values.iter().copied())?].concat())
}

/// The key of an index's entry for a row; whether it is the only one of its values.
pub(crate) fn entry_key(
    def: &TableDef,
    index: &Index,
    row: &Row,
    primary: &[u8],
) -> QueryResult<(Vec<u8>, bool)> {
    let places = def.places(&index.columns)?;
    let values: Vec<&Datum> = places.iter().map(|at| &row[*at]).collect();
    let mut entry = entry_prefix(index.number, &values)?;
    // NULLs are not equal, so they may come again.
    let only = index.unique && values.iter().all(|value| !value.is_null());
    if !only {
        entry.extend_from_slice(primary);
    }
    Ok((entry, only))
}

/// A row that is there already: its key, and the constraint that says so.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) key: Vec<u8>,
    constraint: String,
    columns: Vec<u32>,
}

/// See the head of this file.
pub(crate) struct Writer<'a> {
    context: &'a PlanContext,
    relations: Arc<Relations>,
    pub(crate) view: View,
    /// Rows whose foreign keys have to be looked at.
    referring: Vec<(Table, Row)>,
    /// Rows that others may refer to: as they were, and as they are now.
    referred: Vec<(Table, Row, Option<Row>)>,
    relied: HashSet<u32>,
    rows: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(context: &'a PlanContext, view: View) -> QueryResult<Writer<'a>> {
        Ok(Writer {
            relations: context.relations()?,
            context,
            view,
            referring: Vec::new(),
            referred: Vec::new(),
            relied: HashSet::new(),
            rows: 0,
        })
    }

    fn relies_on(&mut self, def: &TableDef) {
        if self.relied.insert(def.number) {
            self.view.relies_on(def);
        }
    }

    fn count(&mut self) -> QueryResult<()> {
        self.rows += 1;
        if self.rows > ROWS_MAX {
            let message = format!("a statement may change {ROWS_MAX} rows of relational tables");
            return Err(QueryError::new("54000", message).with_hint("Do it in several steps."));
        }
        if self.view.pending.bytes() > BYTES_MAX {
            let message = "a transaction may write at most 64 MiB";
            return Err(QueryError::new("54000", message)
                .with_hint("Commit more often, or write in smaller pieces."));
        }
        Ok(())
    }

    /// The row of a key.
    pub(crate) fn get(&self, table: &Table, key: &[u8]) -> QueryResult<Option<Row>> {
        let bytes = self.view.get(SPACE_ROWS, &row_key(&table.def, key))?;
        bytes.map(|bytes| table.decode(&bytes)).transpose()
    }

    /// The row that keeps a new one out, by the key or an index; `only` names the one to look at.
    pub(crate) fn taken(
        &self,
        table: &Table,
        row: &Row,
        only: Option<u32>,
    ) -> QueryResult<Option<Taken>> {
        let def = &table.def;
        if let Some(primary) = &def.primary
            && only.is_none_or(|only| only == primary.index)
            && let Some(key) = primary_key(def, row)?
            && self.view.has(SPACE_ROWS, &row_key(def, &key))?
        {
            let (constraint, columns) = (primary.name.clone(), primary.columns.clone());
            return Ok(Some(Taken { key, constraint, columns }));
        }
        for index in def.indexes.iter().filter(|index| index.unique) {
            if only.is_some_and(|only| only != index.number) {
                continue;
            }
            let (entry, single) = entry_key(def, index, row, &[])?;
            if single && let Some(key) = self.view.get(SPACE_INDEX, &entry)? {
                let (constraint, columns) = (index.name.clone(), index.columns.clone());
                return Ok(Some(Taken { key, constraint, columns }));
            }
        }
        Ok(None)
    }

    /// Adds a row that nothing keeps out and that was checked.
    ///
    /// # Errors
    /// `23505`.
    pub(crate) fn insert(&mut self, table: &Table, row: Row) -> QueryResult<Vec<u8>> {
        if let Some(taken) = self.taken(table, &row, None)? {
            return Err(duplicate(&table.def, &row, &taken));
        }
        self.count()?;
        self.relies_on(&table.def);
        let key = match primary_key(&table.def, &row)? {
            Some(key) => key,
            None => {
                // Of the newest rows: those of a block's snapshot may be fewer.
                let newest = self.context.engine.db().snapshot();
                self.context.engine.relational().row_number(&table.def, newest.rows())?
            }
        };
        self.put(table, &key, &row, None)?;
        self.view.grow(table.def.number, 1);
        if !table.def.foreign.is_empty() {
            self.referring.push((table.clone(), row));
        }
        Ok(key)
    }

    /// Puts a row and its entries; those that are as before stay.
    fn put(
        &mut self,
        table: &Table,
        key: &[u8],
        row: &Row,
        before: Option<&Row>,
    ) -> QueryResult<()> {
        self.view.put(SPACE_ROWS, &row_key(&table.def, key), table.encode(row)?)?;
        for index in &table.def.indexes {
            let (entry, _) = entry_key(&table.def, index, row, key)?;
            if let Some(before) = before
                && entry_key(&table.def, index, before, key)?.0 == entry
            {
                continue;
            }
            self.view.put(SPACE_INDEX, &entry, key.to_vec())?;
        }
        Ok(())
    }

    fn remove(
        &mut self,
        table: &Table,
        key: &[u8],
        row: &Row,
        stays: Option<&Row>,
    ) -> QueryResult<()> {
        if stays.is_none() {
            self.view.delete(SPACE_ROWS, &row_key(&table.def, key))?;
        }
        for index in &table.def.indexes {
            let (entry, _) = entry_key(&table.def, index, row, key)?;
            if let Some(stays) = stays
                && entry_key(&table.def, index, stays, key)?.0 == entry
            {
                continue;
            }
            self.view.delete(SPACE_INDEX, &entry)?;
        }
        Ok(())
    }

    /// Takes a row away; false if it is not there.
    pub(crate) fn delete(&mut self, table: &Table, key: &[u8]) -> QueryResult<bool> {
        let Some(row) = self.get(table, key)? else { return Ok(false) };
        self.count()?;
        self.relies_on(&table.def);
        self.remove(table, key, &row, None)?;
        self.view.grow(table.def.number, -1);
        if !self.relations.referrers(table.def.number).is_empty() {
            self.referred.push((table.clone(), row, None));
        }
        Ok(true)
    }

    /// Changes rows: (key, as it is, as it will be, checked). All old keys and entries go before
    /// the first new one comes, so rows may swap their keys.
    ///
    /// # Errors
    /// `23505`.
    pub(crate) fn update(
        &mut self,
        table: &Table,
        changes: Vec<(Vec<u8>, Row, Row)>,
    ) -> QueryResult<()> {
        self.relies_on(&table.def);
        let mut moved = Vec::with_capacity(changes.len());
        for (key, old, new) in &changes {
            self.count()?;
            let to = primary_key(&table.def, new)?.unwrap_or_else(|| key.clone());
            let stays = (to == *key).then_some(new);
            self.remove(table, key, old, stays)?;
            moved.push(to);
        }
        for ((key, old, new), to) in changes.into_iter().zip(moved) {
            let stays = to == key;
            // What stays is in nobody's way but its own.
            for index in std::iter::once(None).chain(table.def.indexes.iter().map(Some)) {
                let taken = match index {
                    None if stays || table.def.primary.is_none() => None,
                    None => {
                        let only = table.def.primary.as_ref().map(|primary| primary.index);
                        self.taken(table, &new, only)?
                    }
                    Some(index) if !index.unique => None,
                    Some(index) => {
                        let same = stays
                            && entry_key(&table.def, index, &old, &key)?.0
                                == entry_key(&table.def, index, &new, &key)?.0;
                        if same { None } else { self.taken(table, &new, Some(index.number))? }
                    }
                };
                if let Some(taken) = taken {
                    return Err(duplicate(&table.def, &new, &taken));
                }
            }
            self.put(table, &to, &new, stays.then_some(&old))?;
            let refers = table.def.foreign.iter().any(|foreign| {
                let places = table.def.places(&foreign.columns).unwrap_or_default();
                places.iter().any(|at| old[*at] != new[*at])
            });
            if !self.relations.referrers(table.def.number).is_empty() {
                self.referred.push((table.clone(), old, Some(new.clone())));
            }
            if refers {
                self.referring.push((table.clone(), new));
            }
        }
        Ok(())
    }

    /// Looks at NOT NULL and CHECK of rows that are to be written.
    ///
    /// # Errors
    /// `23502`, `23514`.
    pub(crate) fn check(&self, def: &TableDef, rows: &[&Row]) -> QueryResult<()> {
        check(self.context, def, rows)
    }

    /// Looks at the foreign keys of all that has changed, and does what they say.
    ///
    /// # Errors
    /// `23503`, and what changing other rows gives.
    pub(crate) fn finish(mut self) -> QueryResult<View> {
        self.check_moves()?;
        let relations = self.relations.clone();
        let mut later = Vec::new();
        let mut at = 0;
        while at < self.referred.len() {
            let (table, old, new) = self.referred[at].clone();
            at += 1;
            for referrer in relations.referrers(table.def.number) {
                let child = Table::new(relations.table(referrer.table)?)?;
                let Some(foreign) = child.def.foreign.get(referrer.at).cloned() else { continue };
                self.follow(&table, (&old, new.as_ref()), &child, &foreign, &mut later)?;
            }
        }
        for (table, old, child, foreign) in later {
            let places = table.def.places(&foreign.target)?;
            let values: Vec<&Datum> = places.iter().map(|at| &old[*at]).collect();
            if self.parent(&table.def, &foreign, &values)?.is_none()
                && !self.children(&foreign, &values)?.is_empty()
            {
                return Err(still_referred(&table.def, &child.def, &foreign, &values));
            }
        }
        for (table, row) in std::mem::take(&mut self.referring) {
            for foreign in &table.def.foreign {
                self.refer(&table.def, foreign, &row)?;
            }
        }
        Ok(self.view)
    }

    /// Refuses changes whose rows take over values of each other that other tables follow: those
    /// would be followed one after the other, and twice.
    fn check_moves(&self) -> QueryResult<()> {
        let (mut left, mut taken) = (HashSet::new(), HashMap::new());
        for (table, old, new) in &self.referred {
            let Some(new) = new else { continue };
            for referrer in self.relations.referrers(table.def.number) {
                let child = self.relations.table(referrer.table)?;
                let Some(foreign) = child.foreign.get(referrer.at) else { continue };
                let places = table.def.places(&foreign.target)?;
                if matches!(foreign.on_update, Action::Refuse | Action::Restrict)
                    || places.iter().all(|at| old[*at] == new[*at])
                {
                    continue;
                }
                let entry = |row: &Row| {
                    entry_prefix(
                        foreign.index,
                        &places.iter().map(|at| &row[*at]).collect::<Vec<_>>(),
                    )
                };
                left.insert(entry(old)?);
                taken.insert(entry(new)?, (table.def.name.clone(), foreign.name.clone()));
            }
        }
        let both = taken.into_iter().find(|(entry, _)| left.contains(entry));
        match both {
            None => Ok(()),
            Some((_, (table, foreign))) => Err(QueryError::unsupported(format!(
                "UPDATE of table \"{table}\" that gives a row the old key of another, which foreign key \"{foreign}\" follows"
            ))
            .with_hint("Change the rows in several statements.")),
        }
    }

    /// What a foreign key says of a row that has gone or changed.
    fn follow(
        &mut self,
        table: &Table,
        (old, new): (&Row, Option<&Row>),
        child: &Table,
        foreign: &Foreign,
        later: &mut Vec<(Table, Row, Table, Foreign)>,
    ) -> QueryResult<()> {
        let places = table.def.places(&foreign.target)?;
        let values: Vec<&Datum> = places.iter().map(|at| &old[*at]).collect();
        let same = |new: &Row| places.iter().all(|at| old[*at] == new[*at]);
        if values.iter().any(|value| value.is_null()) || new.is_some_and(same) {
            return Ok(());
        }
        self.relies_on(&child.def);
        let prefix = entry_prefix(foreign.index, &values)?;
        self.view.must_not_grow(SPACE_INDEX, &prefix)?;
        let children = self.children(foreign, &values)?;
        if children.is_empty() {
            return Ok(());
        }
        let action = if new.is_some() { foreign.on_update } else { foreign.on_delete };
        match action {
            Action::Restrict => {
                return Err(still_referred(&table.def, &child.def, foreign, &values));
            }
            Action::Refuse => {
                later.push((table.clone(), old.clone(), child.clone(), foreign.clone()));
            }
            Action::Cascade if new.is_none() => {
                for key in children {
                    self.delete(child, &key)?;
                }
            }
            Action::Cascade | Action::SetNull => {
                let own = child.def.places(&foreign.columns)?;
                let mut changes = Vec::with_capacity(children.len());
                for key in children {
                    let Some(before) = self.get(child, &key)? else { continue };
                    let mut after = before.clone();
                    for (at, from) in own.iter().zip(&places) {
                        after[*at] = match (action, new) {
                            (Action::Cascade, Some(new)) => new[*from].clone(),
                            _ => Datum::Null,
                        };
                    }
                    changes.push((key, before, after));
                }
                let rows: Vec<&Row> = changes.iter().map(|(_, _, after)| after).collect();
                self.check(&child.def, &rows)?;
                self.update(child, changes)?;
            }
        }
        Ok(())
    }

    /// Keys of the rows that refer to some values.
    fn children(&self, foreign: &Foreign, values: &[&Datum]) -> QueryResult<Vec<Vec<u8>>> {
        let prefix = entry_prefix(foreign.index, values)?;
        let mut keys = Vec::new();
        self.view.visit_prefix(SPACE_INDEX, &prefix, |_, key| {
            keys.push(key.to_vec());
            keys.len() <= ROWS_MAX
        })?;
        Ok(keys)
    }

    /// Where the row lies that a foreign key's values name: space and key.
    fn parent(
        &self,
        parent: &TableDef,
        foreign: &Foreign,
        values: &[&Datum],
    ) -> QueryResult<Option<(u16, Vec<u8>)>> {
        let place = match &parent.primary {
            Some(primary) if primary.columns == foreign.target => {
                (SPACE_ROWS, row_key(parent, &key::encode(values.iter().copied())?))
            }
            _ => {
                let index = parent.indexes.iter().find(|i| i.unique && i.columns == foreign.target);
                let index = index.ok_or_else(|| {
                    super::def::damaged(format!("what {} refers to", foreign.name))
                })?;
                (SPACE_INDEX, entry_prefix(index.number, values)?)
            }
        };
        Ok(self.view.has(place.0, &place.1)?.then_some(place))
    }

    /// Looks for what a row refers to.
    fn refer(&mut self, child: &TableDef, foreign: &Foreign, row: &Row) -> QueryResult<()> {
        let places = child.places(&foreign.columns)?;
        let values: Vec<&Datum> = places.iter().map(|at| &row[*at]).collect();
        if values.iter().any(|value| value.is_null()) {
            return Ok(());
        }
        let relations = self.relations.clone();
        let parent = relations.table(foreign.table)?;
        match self.parent(parent, foreign, &values)? {
            Some((space, key)) => {
                self.view.must_stay(space, &key);
                Ok(())
            }
            None => Err(no_parent(child, parent, foreign, &values)),
        }
    }

    /// Looks at a foreign key of rows that are there already.
    pub(crate) fn check_foreign(
        &mut self,
        child: &TableDef,
        foreign: &Foreign,
        row: &Row,
    ) -> QueryResult<()> {
        self.refer(child, foreign, row)
    }
}

/// Looks at NOT NULL and CHECK of rows.
///
/// # Errors
/// `23502`, `23514`.
pub(crate) fn check(context: &PlanContext, def: &TableDef, rows: &[&Row]) -> QueryResult<()> {
    for row in rows {
        let null = def.columns.iter().zip(*row).find(|(c, value)| c.not_null && value.is_null());
        if let Some((column, _)) = null {
            return Err(null_in(&column.name, &def.name).with_detail(failing(def, row)));
        }
    }
    if def.checks.is_empty() || rows.is_empty() {
        return Ok(());
    }
    let zone = context.settings.zone();
    let batch = arrays::batch(def, zone, rows.iter().copied())?;
    let names = expr::Names::of(&def.name, &batch.schema())?;
    let exprs: Vec<_> =
        def.checks.iter().map(|check| expr::parse(&check.text)).collect::<QueryResult<_>>()?;
    let bound = expr::bind(context, &exprs, &names, &[])?;
    for (check, answer) in def.checks.iter().zip(bound.run(&batch)?) {
        let answer = answer.as_boolean_opt().ok_or_else(|| {
            QueryError::new("42804", format!("check \"{}\" is not boolean", check.name))
        })?;
        // Unknown is no violation.
        if let Some(at) = (0..answer.len()).find(|at| answer.is_valid(*at) && !answer.value(*at)) {
            let message = format!(
                "new row for relation \"{}\" violates check constraint \"{}\"",
                def.name, check.name
            );
            return Err(QueryError::new("23514", message).with_detail(failing(def, rows[at])));
        }
    }
    Ok(())
}

/// Characters of one value that an error shows.
const SHOWN_CHARS_MAX: usize = 64;

fn shown(def: &TableDef, at: usize, value: &Datum) -> String {
    let text = def.columns.get(at).map_or_else(String::new, |column| column.kind.text(value));
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}

fn failing(def: &TableDef, row: &Row) -> String {
    let values: Vec<String> =
        row.iter().enumerate().map(|(at, value)| shown(def, at, value)).collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// `(a, b)=(1, 2)`.
fn pairs(def: &TableDef, ids: &[u32], values: &[&Datum]) -> String {
    let texts: Vec<String> = ids
        .iter()
        .zip(values)
        .map(|(id, value)| def.place_of(*id).map(|at| shown(def, at, value)).unwrap_or_default())
        .collect();
    format!("({})=({})", def.names(ids).join(", "), texts.join(", "))
}

fn duplicate(def: &TableDef, row: &Row, taken: &Taken) -> QueryError {
    let message =
        format!("duplicate key value violates unique constraint \"{}\"", taken.constraint);
    let places = def.places(&taken.columns).unwrap_or_default();
    let values: Vec<&Datum> = places.iter().map(|at| &row[*at]).collect();
    let detail = format!("Key {} already exists.", pairs(def, &taken.columns, &values));
    QueryError::new("23505", message).with_detail(detail)
}

fn no_parent(
    child: &TableDef,
    parent: &TableDef,
    foreign: &Foreign,
    values: &[&Datum],
) -> QueryError {
    let message = format!(
        "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
        child.name, foreign.name
    );
    let pairs = pairs(child, &foreign.columns, values);
    let detail = format!("Key {pairs} is not present in table \"{}\".", parent.name);
    QueryError::new("23503", message).with_detail(detail)
}

fn still_referred(
    parent: &TableDef,
    child: &TableDef,
    foreign: &Foreign,
    values: &[&Datum],
) -> QueryError {
    let message = format!(
        "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
        parent.name, foreign.name, child.name
    );
    let pairs = pairs(parent, &foreign.target, values);
    let detail = format!("Key {pairs} is still referenced from table \"{}\".", child.name);
    QueryError::new("23503", message).with_detail(detail)
}

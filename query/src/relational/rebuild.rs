//! Rows under a new definition: looked at, written again under other keys, entered into indexes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tsdb::rows::RowChange;

use super::def::{SPACE_INDEX, SPACE_ROWS, TableDef};
use super::kind::Datum;
use super::view::View;
use super::writer::{ROWS_MAX, Row, Table, Writer, check, entry_key, primary_key, row_key};
use crate::error::{QueryError, QueryResult};
use crate::plan::PlanContext;

/// Bytes of rows that one definition may write again.
const REWRITE_BYTES_MAX: usize = 100 << 20;

/// What a changed definition asks of the rows.
#[derive(Default)]
pub(super) struct Needs {
    /// All rows get new keys.
    pub(super) rewrite: bool,
    /// They have to be looked at: NOT NULL or CHECK is new.
    pub(super) look: bool,
    /// Numbers of indexes to fill.
    pub(super) indexes: BTreeSet<u32>,
    /// Numbers of foreign keys to look at.
    pub(super) foreign: BTreeSet<u32>,
}

impl Needs {
    /// Whether there is any of that.
    pub(super) fn any(&self) -> bool {
        self.rewrite || self.look || !self.indexes.is_empty() || !self.foreign.is_empty()
    }
}

/// Rows that a new definition looks at or writes again.
pub(super) struct Rebuild {
    pub(super) context: PlanContext,
    pub(super) old: Arc<TableDef>,
    pub(super) new: TableDef,
    pub(super) needs: Needs,
}

/// Rows that are looked at together.
const CHUNK: usize = 4_096;

impl Rebuild {
    /// The definition, and the changes of rows that come with it.
    pub(super) fn run(mut self) -> QueryResult<(TableDef, Vec<RowChange>)> {
        let view = self.context.rows_view();
        let before = Table::new(&self.old)?;
        let mut changes = Vec::new();
        if self.needs.rewrite {
            // All old rows and entries go by their prefixes before the new ones come.
            changes.push(RowChange::DeletePrefix {
                space: SPACE_ROWS,
                prefix: self.old.prefix().to_vec(),
            });
            for index in &self.new.indexes {
                self.needs.indexes.insert(index.number);
                let prefix = index.number.to_be_bytes().to_vec();
                changes.push(RowChange::DeletePrefix { space: SPACE_INDEX, prefix });
            }
        }
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut failed = None;
        let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
        let from: Vec<Option<usize>> = self
            .new
            .columns
            .iter()
            .map(|column| self.old.columns.iter().position(|old| old.id == column.id))
            .collect();
        let prefix = self.old.prefix();
        let missing = self.new.missing()?;
        view.visit_prefix(SPACE_ROWS, &prefix, |key, value| {
            bytes += key.len() + value.len();
            match before.decode(value) {
                Ok(row) => {
                    let cell = |(at, missing): (&Option<usize>, &Datum)| match at {
                        Some(at) => row[*at].clone(),
                        None => missing.clone(),
                    };
                    rows.push(from.iter().zip(&missing).map(cell).collect());
                    keys.push(key[prefix.len()..].to_vec());
                }
                Err(error) => failed = Some(error),
            }
            if rows.len() > ROWS_MAX || bytes > REWRITE_BYTES_MAX {
                let message = format!(
                    "table \"{}\" is too large to be looked at by one definition: at most {ROWS_MAX} \
                     rows and {} MiB",
                    self.old.name,
                    REWRITE_BYTES_MAX >> 20
                );
                failed = Some(QueryError::new("54000", message));
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for chunk in rows.chunks(CHUNK) {
            let refs: Vec<&Row> = chunk.iter().collect();
            check(&self.context, &self.new, &refs).map_err(|error| existing(error, &self.new))?;
        }
        self.fill(&rows, &mut keys, &mut changes)?;
        self.look_for_parents(&rows, view)?;
        Ok((self.new, changes))
    }

    /// Rows under new keys, and entries of new indexes.
    fn fill(
        &self,
        rows: &[Row],
        keys: &mut [Vec<u8>],
        changes: &mut Vec<RowChange>,
    ) -> QueryResult<()> {
        if self.needs.rewrite {
            let mut seen = HashSet::with_capacity(rows.len());
            for (number, (row, key)) in (1u64..).zip(rows.iter().zip(keys.iter_mut())) {
                *key = match primary_key(&self.new, row)? {
                    Some(key) => key,
                    None => number.to_be_bytes().to_vec(),
                };
                if !seen.insert(key.clone()) {
                    let primary = self.new.primary.as_ref();
                    let (name, ids) = primary
                        .map(|p| (p.name.as_str(), p.columns.as_slice()))
                        .unwrap_or_default();
                    return Err(duplicated(&self.new, name, ids, row));
                }
            }
            let table = Table::new(&Arc::new(self.new.clone()))?;
            for (row, key) in rows.iter().zip(keys.iter()) {
                let (key, value) = (row_key(&self.new, key), table.encode(row)?);
                changes.push(RowChange::Put { space: SPACE_ROWS, key, value });
            }
        }
        for index in self.new.indexes.iter().filter(|i| self.needs.indexes.contains(&i.number)) {
            let mut seen = HashSet::new();
            for (row, primary) in rows.iter().zip(keys.iter()) {
                let (key, only) = entry_key(&self.new, index, row, primary)?;
                if only && !seen.insert(key.clone()) {
                    return Err(duplicated(&self.new, &index.name, &index.columns, row));
                }
                let value = primary.clone();
                changes.push(RowChange::Put { space: SPACE_INDEX, key, value });
            }
        }
        if changes.len() + 1_000 > tsdb::rows::ROW_COMMAND_ITEMS_MAX {
            let message = format!("table \"{}\" is too large for this definition", self.new.name);
            return Err(QueryError::new("54000", message)
                .with_hint("Make the keys and indexes one by one, or before the rows."));
        }
        Ok(())
    }

    fn look_for_parents(&self, rows: &[Row], view: View) -> QueryResult<()> {
        let wanted: Vec<_> =
            self.new.foreign.iter().filter(|f| self.needs.foreign.contains(&f.number)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut writer = Writer::new(&self.context, view)?;
        for foreign in wanted {
            for row in rows {
                writer.check_foreign(&self.new, foreign, row)?;
            }
        }
        Ok(())
    }
}

/// What new rows would be told, of those that are there.
fn existing(error: QueryError, def: &TableDef) -> QueryError {
    let message = match error.code {
        "23514" => {
            error.message.replace(
                &format!("new row for relation \"{}\" violates check constraint", def.name),
                "check constraint",
            ) + &format!(" of relation \"{}\" is violated by some row", def.name)
        }
        "23502" => error
            .message
            .replace("null value in column", "column")
            .replace(" violates not-null constraint", " contains null values"),
        _ => return error,
    };
    QueryError { message, detail: None, ..error }
}

fn duplicated(def: &TableDef, name: &str, ids: &[u32], row: &Row) -> QueryError {
    let places = def.places(ids).unwrap_or_default();
    let texts: Vec<String> =
        places.iter().map(|at| def.columns[*at].kind.text(&row[*at])).collect();
    let detail =
        format!("Key ({})=({}) is duplicated.", def.names(ids).join(", "), texts.join(", "));
    QueryError::new("23505", format!("could not create unique index \"{name}\""))
        .with_detail(detail)
}

/// Fills a new index; the definitions' lock and the gate are held.
pub(super) fn fill_index(
    context: PlanContext,
    old: Arc<TableDef>,
    new: TableDef,
    number: u32,
) -> QueryResult<(TableDef, Vec<RowChange>)> {
    let needs = Needs { indexes: [number].into(), ..Needs::default() };
    Rebuild { context, old, new, needs }.run()
}

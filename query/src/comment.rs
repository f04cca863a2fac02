//! COMMENT ON TABLE, VIEW and COLUMN: texts about relations, kept as rows of the row store and
//! shown by `pg_description` and its functions. README.md, section "Comments", is the text.

use serde::{Deserialize, Serialize};
use tsdb::rows::{RowChange, RowCommand};
use tsdb::types::{ColumnId, TableSchema};
use tsdb::{Command, Snapshot};

use crate::ddl::{apply, done};
use crate::error::{QueryError, QueryResult};
use crate::relational::def::Relations;
use crate::session::Session;
use crate::statement::comment::Comment;
use crate::view::View;
use crate::{Outcome, rights};

/// Space of the row store.
const SPACE_COMMENTS: u16 = 17;
/// Key of the row that counts changes, eight bytes, big-endian; before the first there is none.
const REVISION_KEY: &[u8] = &[0];
/// The newest version of a row.
const VERSION: u32 = 1;
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    v: u32,
    text: String,
}

/// What a comment is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Relation {
    Table(u32),
    View(u32),
    /// A relational table.
    Relational(u32),
}

/// Runs it.
pub(crate) async fn run(session: &Session, comment: &Comment) -> QueryResult<Outcome> {
    rights::may_alter(session, "COMMENT", &comment.relation)?;
    let engine = session.engine().clone();
    let _guard = engine.definitions().lock().await;
    let snapshot = engine.db().snapshot();
    let key = key_of(session, &snapshot, comment)?;
    // As in Postgres, an empty text is none.
    let change = match comment.text.as_deref().filter(|text| !text.is_empty()) {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            let message = format!("a comment may have {TEXT_BYTES_MAX} bytes");
            return Err(QueryError::new("54000", message));
        }
        Some(text) => {
            let row = Row { v: VERSION, text: text.to_string() };
            let value = serde_json::to_vec(&row)
                .map_err(|error| QueryError::internal(format!("a row: {error}")))?;
            RowChange::Put { space: SPACE_COMMENTS, key, value }
        }
        None => RowChange::Delete { space: SPACE_COMMENTS, key },
    };
    let next = revision(&snapshot)? + 1;
    let counted = RowChange::Put {
        space: SPACE_COMMENTS,
        key: REVISION_KEY.to_vec(),
        value: next.to_be_bytes().to_vec(),
    };
    let command = RowCommand { expects: Vec::new(), changes: vec![change, counted] };
    apply(session, vec![Command::Rows(command)]).await?;
    done("COMMENT")
}

/// Counts changes of comments, but for those that go with what they are about.
pub(crate) fn revision(snapshot: &Snapshot) -> QueryResult<u64> {
    let Some(row) = snapshot.rows().get(SPACE_COMMENTS, REVISION_KEY)? else { return Ok(0) };
    let row = <[u8; 8]>::try_from(row.as_ref()).map_err(|_| damaged("their revision"))?;
    Ok(u64::from_be_bytes(row))
}

fn key_of(session: &Session, snapshot: &Snapshot, comment: &Comment) -> QueryResult<Vec<u8>> {
    let name = &comment.relation;
    let other = |what: &str| Err(QueryError::new("42809", format!("\"{name}\" is not a {what}")));
    if let Some(table) = session.relations(snapshot)?.find(name) {
        if comment.view == Some(true) {
            return other("view");
        }
        let column = match &comment.column {
            None => 0,
            Some(column) => match table.place(column) {
                Some(place) => table.columns[place].id,
                None => return Err(QueryError::no_column(column, name)),
            },
        };
        return Ok(key(Relation::Relational(table.number), column));
    }
    if let Some(table) = snapshot.table(name) {
        let table = table.schema();
        if comment.view == Some(true) {
            return other("view");
        }
        let column = match &comment.column {
            None => 0,
            Some(column) if *column == table.time_name => number_of(None),
            Some(column) => match table.column(column) {
                Some(column) => number_of(Some(column.id)),
                None => return Err(QueryError::no_column(column, name)),
            },
        };
        return Ok(key(Relation::Table(table.id), column));
    }
    let views = session.views()?;
    let Some(view) = views.find(name) else { return Err(QueryError::no_table(name)) };
    if comment.view == Some(false) {
        return other("table");
    }
    let column = match &comment.column {
        None => 0,
        Some(column) => match view.columns.iter().position(|c| c.name == *column) {
            Some(at) => at as u32 + 1,
            None => return Err(QueryError::no_column(column, name)),
        },
    };
    Ok(key(Relation::View(view.number), column))
}

/// Number of a table's column among its comments: columns keep theirs when others go.
fn number_of(column: Option<ColumnId>) -> u32 {
    column.map_or(1, |id| u32::from(id) + 2)
}

fn prefix(relation: Relation) -> Vec<u8> {
    let (kind, number) = match relation {
        Relation::Table(number) => (b't', number),
        Relation::View(number) => (b'v', number),
        Relation::Relational(number) => (b'r', number),
    };
    [&[kind][..], &number.to_be_bytes()].concat()
}

fn key(relation: Relation, column: u32) -> Vec<u8> {
    let mut key = prefix(relation);
    key.extend_from_slice(&column.to_be_bytes());
    key
}

/// One comment as the catalogue shows it: the relation, the column's place in it (0: none), text.
pub(crate) type Shown = (Relation, i64, String);

/// All comments of a snapshot; those of what is gone are left out.
pub(crate) fn all<'a>(
    snapshot: &Snapshot,
    tables: impl Iterator<Item = &'a TableSchema>,
    views: impl Iterator<Item = &'a View>,
    relations: &Relations,
) -> QueryResult<Vec<Shown>> {
    let rows = snapshot.rows();
    if rows.scan_from(SPACE_COMMENTS, &[], 1)?.is_empty() {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    for table in tables {
        let relation = Relation::Table(table.id);
        let columns = table.columns.iter().map(|column| number_of(Some(column.id)));
        let places: Vec<u32> = [0, number_of(None)].into_iter().chain(columns).collect();
        for (key, value) in rows.scan(SPACE_COMMENTS, &prefix(relation))? {
            let number = column_of(&key)?;
            if let Some(place) = places.iter().position(|known| *known == number) {
                out.push((relation, place as i64, text(&value)?));
            }
        }
    }
    for table in &relations.list {
        let relation = Relation::Relational(table.number);
        for (key, value) in rows.scan(SPACE_COMMENTS, &prefix(relation))? {
            let number = column_of(&key)?;
            let place = table.columns.iter().position(|column| column.id == number);
            match (number, place) {
                (0, _) => out.push((relation, 0, text(&value)?)),
                (_, Some(place)) => out.push((relation, place as i64 + 1, text(&value)?)),
                _ => {}
            }
        }
    }
    for view in views {
        let relation = Relation::View(view.number);
        for (key, value) in rows.scan(SPACE_COMMENTS, &prefix(relation))? {
            out.push((relation, i64::from(column_of(&key)?), text(&value)?));
        }
    }
    Ok(out)
}

fn column_of(key: &[u8]) -> QueryResult<u32> {
    match key.get(5..).map(<[u8; 4]>::try_from) {
        Some(Ok(bytes)) => Ok(u32::from_be_bytes(bytes)),
        _ => Err(damaged("its key")),
    }
}

fn text(value: &[u8]) -> QueryResult<String> {
    let row: Row = serde_json::from_slice(value).map_err(damaged)?;
    match row.v {
        VERSION => Ok(row.text),
        other => Err(damaged(format!("version {other}"))),
    }
}

fn damaged(what: impl std::fmt::Display) -> QueryError {
    QueryError::new("XX001", format!("a row of comments cannot be read: {what}"))
}

/// The command that forgets comments and rights of what is dropped, to go with others.
pub(crate) fn forget(
    snapshot: &Snapshot,
    relations: &[Relation],
    columns: &[(u32, ColumnId)],
) -> QueryResult<Option<Command>> {
    let mut keys = Vec::new();
    for relation in relations {
        let rows = snapshot.rows().scan(SPACE_COMMENTS, &prefix(*relation))?;
        keys.extend(rows.into_iter().map(|(key, _)| (SPACE_COMMENTS, key)));
        keys.extend(rights::keys(snapshot, *relation)?);
    }
    for (table, column) in columns {
        let key = key(Relation::Table(*table), number_of(Some(*column)));
        if snapshot.rows().get(SPACE_COMMENTS, &key)?.is_some() {
            keys.push((SPACE_COMMENTS, key));
        }
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let delete = |(space, key)| RowChange::Delete { space, key };
    let changes = keys.into_iter().map(delete).collect();
    Ok(Some(Command::Rows(RowCommand { expects: Vec::new(), changes })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let row = br#"{"v":1,"text":"a \"b\""}"#;
        assert_eq!(text(row).unwrap(), "a \"b\"");
        for end in 0..row.len() {
            assert_eq!(text(&row[..end]).unwrap_err().code, "XX001");
        }
        for at in 0..row.len() {
            let mut flipped = row.to_vec();
            flipped[at] ^= 1;
            // It may be another text; it must not panic.
            let _ = text(&flipped);
        }
        let key = key(Relation::Table(7), 3);
        assert_eq!(key, [b't', 0, 0, 0, 7, 0, 0, 0, 3]);
        assert_eq!(column_of(&key).unwrap(), 3);
        assert_eq!(column_of(&key[..8]).unwrap_err().code, "XX001");
    }
}

//! Views as rows of the row store: JSON with a version, unknown fields refused. README.md,
//! section "Views", is the text.

use datafusion::sql::sqlparser::ast;
use serde::{Deserialize, Serialize};
use tsdb::Snapshot;
use tsdb::rows::{RowChange, RowCommand};

use super::{Materialized, Stored, Temporary, View, ViewColumn, ViewRelation, ViewTable, Views};
use crate::counted::{self, Counts, encode};
use crate::error::{QueryError, QueryResult};
use crate::statement::{self, Kind};
use std::sync::Arc;

/// Space of the row store.
const SPACE_VIEWS: u16 = 16;
/// First byte of the keys of views; their number follows, big-endian.
const VIEW_KEY: u8 = b'v';
/// The version of the row of a plain view.
const VERSION: u32 = 1;
/// That of the row of a continuous aggregate.
const MATERIALIZED_VERSION: u32 = 2;
/// That of the row of a view over relational tables.
const RELATIONAL_VERSION: u32 = 3;
/// That of the row of a materialised view that is no continuous aggregate.
const STORED_VERSION: u32 = 4;
/// That of the row of a temporary view.
const TEMPORARY_VERSION: u32 = 5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewRow {
    v: u32,
    number: u32,
    name: String,
    columns: Vec<ViewColumn>,
    tables: Vec<ViewTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    relations: Vec<ViewRelation>,
    query: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    materialized: Option<Materialized>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored: Option<Stored>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temporary: Option<Temporary>,
}

impl ViewRow {
    fn of(view: &View) -> ViewRow {
        let mut row = ViewRow {
            v: VERSION,
            number: view.number,
            name: view.name.clone(),
            columns: view.columns.clone(),
            tables: view.tables.clone(),
            relations: view.relations.clone(),
            query: view.text.clone(),
            materialized: view.materialized.clone(),
            stored: view.stored.clone(),
            temporary: view.temporary.clone(),
        };
        row.v = row.version();
        row
    }

    /// The version that a row which holds so much has.
    fn version(&self) -> u32 {
        match (&self.materialized, &self.stored, &self.temporary) {
            (Some(_), ..) => MATERIALIZED_VERSION,
            (_, Some(_), _) => STORED_VERSION,
            (_, _, Some(_)) => TEMPORARY_VERSION,
            _ if self.relations.is_empty() => VERSION,
            _ => RELATIONAL_VERSION,
        }
    }

    /// Whether it says what no view can be.
    fn is_mixed(&self) -> bool {
        let kinds = [self.materialized.is_some(), self.stored.is_some(), self.temporary.is_some()];
        kinds.iter().filter(|kind| **kind).count() > 1
    }
}

/// The row that counts.
pub(super) fn meta(snapshot: &Snapshot) -> QueryResult<Option<Vec<u8>>> {
    counted::read(snapshot, SPACE_VIEWS)
}

/// All views of a snapshot, whose counting row was read before.
pub(super) fn read(snapshot: &Snapshot, meta: Option<Vec<u8>>) -> QueryResult<Views> {
    let Some(bytes) = &meta else { return Ok(Views::default()) };
    let counts = Counts::decode(bytes, damaged)?;
    let rows = snapshot.rows().scan(SPACE_VIEWS, &[VIEW_KEY])?;
    let list = rows.iter().map(|(_, value)| Ok(Arc::new(view(value)?)));
    Ok(Views::new(counts.revision, counts.next, meta, list.collect::<QueryResult<_>>()?))
}

fn view(value: &[u8]) -> QueryResult<View> {
    let row: ViewRow = decode(value)?;
    if row.v != row.version() {
        return Err(damaged(format!("version {}", row.v)));
    }
    if row.is_mixed() {
        return Err(damaged(format!("view {} is of several kinds", row.number)));
    }
    let query = parse(&row.query).map_err(|error| damaged(error.message))?;
    Ok(View {
        number: row.number,
        name: row.name,
        columns: row.columns,
        tables: row.tables,
        relations: row.relations,
        text: row.query,
        query,
        materialized: row.materialized,
        stored: row.stored,
        temporary: row.temporary,
    })
}

/// A text as one query.
pub(super) fn parse(text: &str) -> QueryResult<ast::Query> {
    let statements = statement::parse(text)?;
    match statements.as_slice() {
        [one] if !one.is_deep() => match one.kind() {
            Kind::Query(ast) => match ast.as_ref() {
                ast::Statement::Query(query) => Ok(query.as_ref().clone()),
                _ => Err(QueryError::internal("a query that is none")),
            },
            _ => Err(QueryError::new("42601", "a view is one SELECT")),
        },
        _ => Err(QueryError::new("54001", "the query of the view is nested too deeply")),
    }
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> QueryResult<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
}

fn damaged(what: String) -> QueryError {
    QueryError::new("XX001", format!("a row of views cannot be read: {what}"))
}

/// One change of views.
pub(super) enum Change<'a> {
    Put(&'a View),
    Drop(&'a View),
}

/// The command that makes these changes, if no others were made since `views` was read.
pub(super) fn command(views: &Views, next: u32, changes: &[Change<'_>]) -> QueryResult<RowCommand> {
    let mut out = vec![Counts::behind(views.revision, next).put(SPACE_VIEWS)?];
    for change in changes {
        out.push(match change {
            Change::Put(view) => RowChange::Put {
                space: SPACE_VIEWS,
                key: key(view.number),
                value: encode(&ViewRow::of(view))?,
            },
            Change::Drop(view) => RowChange::Delete { space: SPACE_VIEWS, key: key(view.number) },
        });
    }
    let expects = vec![counted::expect(SPACE_VIEWS, views.meta.as_ref())];
    Ok(RowCommand { expects, changes: out })
}

fn key(number: u32) -> Vec<u8> {
    [&[VIEW_KEY][..], &number.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> View {
        View {
            number: 7,
            name: "v".into(),
            columns: vec![ViewColumn { name: "a".into(), kind: 20 }],
            tables: vec![ViewTable { table: 3, time: "t".into(), columns: vec![(1, "b".into())] }],
            relations: Vec::new(),
            text: "SELECT 1 AS a".into(),
            query: parse("SELECT 1 AS a").unwrap(),
            materialized: None,
            stored: None,
            temporary: None,
        }
    }

    #[test]
    fn each_kind_has_a_version() {
        let golden = [
            r#"{"v":4,"number":7,"name":"v","columns":[{"name":"a","kind":20}],"tables":[],"query":"SELECT 1 AS a","stored":{"storage":9,"kinds":["bigint"]}}"#,
            r#"{"v":4,"number":7,"name":"v","columns":[{"name":"a","kind":20}],"tables":[],"query":"SELECT 1 AS a","stored":{"kinds":["bigint"]}}"#,
            r#"{"v":5,"number":7,"name":"v","columns":[{"name":"a","kind":20}],"tables":[],"relations":[{"table":3,"columns":[[1,"b"]]}],"query":"SELECT 1 AS a","temporary":{"session":12,"views":[4]}}"#,
        ];
        for text in golden {
            let read = view(text.as_bytes()).unwrap();
            assert_eq!(encode(&ViewRow::of(&read)).unwrap(), text.as_bytes());
            let plain = text.replacen(&text[..6], "{\"v\":1", 1);
            assert_eq!(view(plain.as_bytes()).unwrap_err().code, "XX001");
            for end in 0..text.len() {
                assert_eq!(view(&text.as_bytes()[..end]).unwrap_err().code, "XX001");
            }
        }
        let both = golden[0].replacen("}}", "},\"temporary\":{\"session\":1}}", 1);
        assert!(view(both.as_bytes()).unwrap_err().message.contains("several kinds"));
    }

    #[test]
    fn rows_read_back_and_damage_is_told() {
        let command = command(&Views::default(), 8, &[Change::Put(&sample())]).unwrap();
        let values: Vec<&[u8]> = command
            .changes
            .iter()
            .filter_map(|change| match change {
                RowChange::Put { value, .. } => Some(value.as_slice()),
                _ => None,
            })
            .collect();
        let [meta, row] = values[..] else { panic!("two rows") };
        assert_eq!(meta, br#"{"v":1,"revision":1,"next":8}"#);
        let golden = r#"{"v":1,"number":7,"name":"v","columns":[{"name":"a","kind":20}],"tables":[{"table":3,"time":"t","columns":[[1,"b"]]}],"query":"SELECT 1 AS a"}"#;
        assert_eq!(row, golden.as_bytes());
        let read = view(row).unwrap();
        assert_eq!((read.number, &read.name, &read.columns), (7, &"v".into(), &sample().columns));
        assert_eq!(read.tables, sample().tables);
        for end in 0..row.len() {
            assert_eq!(view(&row[..end]).unwrap_err().code, "XX001");
        }
        for at in 0..row.len() {
            let mut flipped = row.to_vec();
            flipped[at] ^= 1;
            // It may read as another view; it must not panic.
            let _ = view(&flipped);
        }
        let later = golden.replace("\"v\":1", "\"v\":2");
        assert!(view(later.as_bytes()).unwrap_err().message.contains("version 2"));
    }
}

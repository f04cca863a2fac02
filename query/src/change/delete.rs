//! DELETE: whole ranges where the WHERE is one, else row by row.

use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use tsdb::types::{SeriesRef, TableId, TableSchema, WriteBatch};
use tsdb::{Command, Selection, Snapshot, Table};

use super::found::{Check, Found, Raw, batch_bytes, fields};
use super::{check_count, is_append};
use crate::Outcome;
use crate::error::QueryResult;
use crate::returning::{Returned, Returning};
use crate::session::{Change, Session, Tree};
use crate::statement::Statement;

/// Deletes. `joined`: the rows are looked for beside others, and may be found several times.
pub(super) async fn run(
    session: &Session,
    statement: &Statement,
    schema: &TableSchema,
    params: &[ScalarValue],
    (returning, joined): (Option<Returning>, bool),
) -> QueryResult<Outcome> {
    let done = |count: u64| Ok(Outcome::Done { tag: format!("DELETE {count}") });
    let id = schema.id;
    // Rows of an append table may share their time with others, which stay.
    let nth = is_append(schema);
    let selected = returning.as_ref().map(Returning::selected).unwrap_or_default();
    let tree = Tree::of_change(statement, super::by(schema)).returning(selected);
    let (snapshot, change) = session.find_rows(tree, params).await?;
    let mut stream = match change {
        Change::Ranges { series, times, rows } => {
            if rows > 0 {
                let selection = Selection::Range { series, times };
                let bytes = selection.memory();
                let selections = vec![selection];
                let commands = vec![Command::Delete { table: id, selections }];
                session.write_to(&[id], commands, bytes).await?;
            }
            return done(rows);
        }
        Change::Rows(stream) => stream,
    };
    let schema = match &returning {
        Some(returning) => Some(returning.schema(stream.schema().fields())?),
        None => None,
    };
    let (mut found, mut returned) = (Found::new(joined), Returned::default());
    while let Some(batch) = stream.next().await {
        let before = found.len();
        let selected = found.take(&batch?, nth)?;
        check_count(session, found.len(), "DELETE")?;
        if let (Some(returning), Some(schema)) = (&returning, &schema) {
            returned.push(returning.batch(schema, &[], &selected, found.len() - before)?)?;
        }
    }
    let count = found.len() as u64;
    if count > 0 {
        write(session, &snapshot, id, found, nth).await?;
    }
    match schema {
        Some(schema) => Ok(returned.outcome(schema, "DELETE")),
        None => done(count),
    }
}

async fn write(
    session: &Session,
    snapshot: &Snapshot,
    id: TableId,
    found: Found,
    nth: bool,
) -> QueryResult<()> {
    let mut commands = vec![Command::Delete { table: id, selections: vec![found.points()] }];
    let mut bytes = found.len() * 12;
    if nth && let Some(table) = snapshot.table_by_id(id) {
        let mut stop = session.stop();
        let looked = stop.clone();
        let work = move || rows_to_keep(&table, &found, &|| looked.check());
        let kept = stop.guard(session.blocking(work)).await?;
        bytes += kept.as_ref().map_or(0, batch_bytes);
        commands.extend(kept.map(Command::Write));
    }
    session.write_to(&[id], commands, bytes).await
}

/// The rows that share series and time with one that goes, to be written again.
fn rows_to_keep(table: &Table, found: &Found, check: Check<'_>) -> QueryResult<Option<WriteBatch>> {
    let points = || found.series.iter().copied().zip(found.nanos.iter().copied());
    if Raw::read(table, points(), &[], "DELETE", check)?.rows.len() == found.len() {
        return Ok(None);
    }
    let raw = Raw::read(table, points(), &fields(table), "DELETE", check)?;
    let gone = found.set();
    let stay: Vec<u32> =
        (0u32..).zip(&raw.rows).filter(|(_, row)| !gone.contains(row)).map(|(at, _)| at).collect();
    let rows = stay.iter().map(|at| raw.rows[*at as usize]);
    Ok(Some(WriteBatch {
        table: table.schema().id,
        series: stay.iter().map(|at| SeriesRef::Known(raw.rows[*at as usize].0)).collect(),
        key_of_row: (0..stay.len() as u32).collect(),
        times: rows.map(|row| row.1).collect(),
        columns: raw.columns.iter().map(|(id, cells)| (*id, cells.gather(&stay))).collect(),
    }))
}

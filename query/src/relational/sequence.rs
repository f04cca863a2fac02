//! Numbers for serial and identity columns.
//!
//! A sequence's row says how far numbers may have been given out. Numbers are taken from memory; a
//! record that raises the row comes before the first number beyond it, so none comes twice after a
//! crash. What is taken and not used leaves a gap, as in Postgres.

use std::collections::HashMap;

use tsdb::Command;
use tsdb::rows::{RowChange, RowCommand, RowConditions, RowExpect};

use super::def::SPACE_SEQUENCES;
use super::kind::Kind;
use crate::error::{QueryError, QueryResult};
use crate::session::Session;

/// Numbers that one record makes room for, at least.
const AHEAD: i64 = 32;

#[derive(Clone, Copy)]
struct Known {
    next: i64,
    /// First number that the row makes no room for.
    end: i64,
}

/// Sequences in use.
#[derive(Default)]
pub(crate) struct Sequences(tokio::sync::Mutex<HashMap<u32, Known>>);

fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

impl Sequences {
    /// Takes `count` numbers; the first comes back.
    ///
    /// # Errors
    /// `2200H` where the type holds no more.
    pub(crate) async fn take(
        &self,
        session: &Session,
        number: u32,
        kind: Kind,
        count: usize,
    ) -> QueryResult<i64> {
        let mut all = self.0.lock().await;
        let engine = session.engine().clone();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let most = match kind {
            Kind::Int2 => i64::from(i16::MAX),
            Kind::Int4 => i64::from(i32::MAX),
            _ => i64::MAX - 1,
        };
        let known = match all.get(&number) {
            Some(known) => *known,
            None => {
                let row = engine.db().snapshot().rows().get(SPACE_SEQUENCES, &key(number))?;
                let end = row.as_deref().map_or(Ok(1), decode)?;
                Known { next: end, end }
            }
        };
        let end = known.next.saturating_add(count);
        if end > most.saturating_add(1) {
            let message = format!("a sequence has reached its maximum value ({most})");
            return Err(QueryError::new("2200H", message));
        }
        let mut now = Known { next: end, end: known.end };
        if end > known.end {
            now.end = known.next.saturating_add(count.max(AHEAD));
            let value = now.end.to_be_bytes().to_vec();
            let put = RowChange::Put { space: SPACE_SEQUENCES, key: key(number), value };
            let command = RowCommand { expects: Vec::new(), changes: vec![put] };
            let submit = move || Ok(engine.db().submit(vec![Command::Rows(command)])?);
            session.blocking(submit).await?.await?;
        }
        all.insert(number, now);
        Ok(known.next)
    }

    /// Begins anew at 1.
    pub(crate) async fn restart(&self, session: &Session, number: u32) -> QueryResult<()> {
        let mut all = self.0.lock().await;
        let engine = session.engine().clone();
        let before = engine.db().snapshot().rows().get(SPACE_SEQUENCES, &key(number))?;
        let expect = RowExpect { space: SPACE_SEQUENCES, key: key(number), value: before };
        let delete = RowChange::Delete { space: SPACE_SEQUENCES, key: key(number) };
        let command = RowCommand { expects: Vec::new(), changes: vec![delete] };
        let conditions = RowConditions { expects: vec![expect], ..RowConditions::default() };
        let submit = move || Ok(engine.db().submit_if(vec![Command::Rows(command)], conditions)?);
        session.blocking(submit).await?.await?;
        all.remove(&number);
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> QueryResult<i64> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) if i64::from_be_bytes(bytes) > 0 => Ok(i64::from_be_bytes(bytes)),
        _ => Err(QueryError::new("XX001", "a row of a sequence cannot be read")),
    }
}

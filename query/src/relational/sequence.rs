//! Numbers of sequences, those of serial and identity columns among them.
//!
//! A sequence's row says how far numbers may have been given out. Numbers are taken from memory; a
//! record that raises the row comes before the first number beyond it, so none comes twice after a
//! crash. What is taken and not used leaves a gap, as in Postgres.

pub(crate) mod def;
pub(crate) mod define;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tsdb::rows::{RowChange, RowCommand, RowConditions, RowExpect};
use tsdb::{Command, Db};

use super::def::SPACE_SEQUENCES;
use crate::error::{QueryError, QueryResult};
use crate::session::Session;
use def::{SequenceDef, State};

/// Numbers that one record makes room for beyond those that are wanted.
const AHEAD: usize = 32;
/// Times that a record is tried again, because others have changed the row.
const TRIES_MAX: usize = 100;

/// What is known of a sequence in use.
#[derive(Clone, Copy)]
struct Known {
    state: State,
    /// Further numbers that the row makes room for.
    ahead: usize,
}

type Slot = Arc<Mutex<Option<Known>>>;

/// Sequences in use.
#[derive(Default)]
pub(crate) struct Sequences(Mutex<HashMap<u32, Slot>>);

fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The change that sets how far a sequence is.
pub(super) fn put_state(number: u32, state: State) -> RowChange {
    RowChange::Put { space: SPACE_SEQUENCES, key: key(number), value: state.encode() }
}

/// What the row says, and its bytes.
fn stored(db: &Db, def: &SequenceDef) -> QueryResult<(State, Option<Vec<u8>>)> {
    let row = db.snapshot().rows().get(SPACE_SEQUENCES, &key(def.number))?;
    let state = row.as_deref().map_or_else(|| Ok(def.begin()), State::decode)?;
    Ok((state, row))
}

/// Writes how far a sequence is, if its row is still that; false where it is not.
fn write(db: &Db, number: u32, before: Option<Vec<u8>>, state: State) -> QueryResult<bool> {
    let expect = RowExpect { space: SPACE_SEQUENCES, key: key(number), value: before };
    let conditions = RowConditions { expects: vec![expect], ..RowConditions::default() };
    let command = RowCommand { expects: Vec::new(), changes: vec![put_state(number, state)] };
    match db.submit_if(vec![Command::Rows(command)], conditions)?.wait() {
        Ok(committed) => {
            committed.all()?;
            Ok(true)
        }
        Err(error) => match QueryError::from(error) {
            conflict if super::is_conflict(&conflict) => Ok(false),
            other => Err(other),
        },
    }
}

impl Sequences {
    fn slot(&self, number: u32) -> Slot {
        self.0.lock().entry(number).or_default().clone()
    }

    /// Takes numbers, in their order.
    ///
    /// # Errors
    /// `2200H` where there are no more.
    pub(crate) fn take(&self, db: &Db, def: &SequenceDef, count: usize) -> QueryResult<Vec<i64>> {
        let slot = self.slot(def.number);
        let mut known = slot.lock();
        for _ in 0..TRIES_MAX {
            let now = match *known {
                Some(now) => now,
                None => Known { state: stored(db, def)?.0, ahead: 0 },
            };
            let mut numbers = Vec::new();
            let mut state = now.state;
            for _ in 0..count {
                state = def.step(state)?;
                numbers.push(state.last);
            }
            if let Some(ahead) = now.ahead.checked_sub(count) {
                *known = Some(Known { state, ahead });
                return Ok(numbers);
            }
            let (mut until, mut ahead) = (state, 0);
            while ahead < AHEAD
                && let Ok(next) = def.step(until)
            {
                (until, ahead) = (next, ahead + 1);
            }
            let (_, before) = stored(db, def)?;
            if write(db, def.number, before, until)? {
                *known = Some(Known { state, ahead });
                return Ok(numbers);
            }
            *known = None;
        }
        Err(QueryError::conflict())
    }

    /// Takes numbers where that is a matter of memory alone.
    fn take_known(&self, def: &SequenceDef, count: usize) -> Option<Vec<i64>> {
        let slot = self.slot(def.number);
        let mut known = slot.try_lock()?;
        let now = (*known)?;
        let ahead = now.ahead.checked_sub(count)?;
        let mut state = now.state;
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            state = def.step(state).ok()?;
            numbers.push(state.last);
        }
        *known = Some(Known { state, ahead });
        Some(numbers)
    }

    /// Numbers for rows of a column, on behalf of a session.
    ///
    /// # Errors
    /// As [`Sequences::take`].
    pub(super) async fn take_for(
        session: &Session,
        def: Arc<SequenceDef>,
        count: usize,
    ) -> QueryResult<Vec<i64>> {
        let engine = session.engine().clone();
        let numbers = match engine.relational().sequences.take_known(&def, count) {
            Some(numbers) => numbers,
            None => {
                let def = def.clone();
                let take = move || engine.relational().sequences.take(engine.db(), &def, count);
                session.blocking(take).await?
            }
        };
        if let Some(last) = numbers.last() {
            session.client().numbers.note(def.number, *last);
        }
        Ok(numbers)
    }

    /// How far a sequence is, as far as numbers were given.
    pub(crate) fn state(&self, db: &Db, def: &SequenceDef) -> QueryResult<State> {
        let known = *self.slot(def.number).lock();
        known.map_or_else(|| Ok(stored(db, def)?.0), |known| Ok(known.state))
    }

    /// Sets how far it is.
    pub(crate) fn set(&self, db: &Db, def: &SequenceDef, state: State) -> QueryResult<()> {
        let slot = self.slot(def.number);
        let mut known = slot.lock();
        let command =
            RowCommand { expects: Vec::new(), changes: vec![put_state(def.number, state)] };
        db.commit(vec![Command::Rows(command)])?.all()?;
        *known = None;
        Ok(())
    }

    /// Changes a definition together with how far it is: `made` has the commands for that state,
    /// which no number is taken beyond meanwhile.
    fn redefine(
        &self,
        db: &Db,
        def: &SequenceDef,
        made: impl FnOnce(State) -> QueryResult<Vec<Command>>,
    ) -> QueryResult<()> {
        let slot = self.slot(def.number);
        let mut known = slot.lock();
        let state =
            known.map_or_else(|| Ok(stored(db, def)?.0), |known| QueryResult::Ok(known.state));
        let done = db.commit(made(state?)?)?;
        *known = None;
        crate::ddl::all_made(done)
    }

    /// Begins anew.
    pub(crate) async fn restart(session: &Session, def: Arc<SequenceDef>) -> QueryResult<()> {
        let engine = session.engine().clone();
        let work = move || engine.relational().sequences.set(engine.db(), &def, def.begin());
        session.blocking(work).await
    }
}

/// Numbers that a session was given, for `currval` and `lastval`.
#[derive(Default)]
pub(crate) struct Given(Mutex<(HashMap<u32, i64>, Option<u32>)>);

impl Given {
    /// A number was given.
    pub(crate) fn note(&self, sequence: u32, number: i64) {
        let mut given = self.0.lock();
        given.0.insert(sequence, number);
        given.1 = Some(sequence);
    }

    /// `setval` changes what `currval` gives, and not of which sequence `lastval` tells.
    pub(crate) fn set(&self, sequence: u32, number: i64) {
        self.0.lock().0.insert(sequence, number);
    }

    /// The last of a sequence.
    pub(crate) fn of(&self, sequence: u32) -> Option<i64> {
        self.0.lock().0.get(&sequence).copied()
    }

    /// The sequence that gave the last of all, and that number.
    pub(crate) fn last(&self) -> Option<(u32, i64)> {
        let given = self.0.lock();
        let sequence = given.1?;
        given.0.get(&sequence).map(|number| (sequence, *number))
    }

    /// As after DISCARD ALL.
    pub(crate) fn clear(&self) {
        *self.0.lock() = Default::default();
    }
}

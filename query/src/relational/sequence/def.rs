//! What a sequence is, its numbers one after the other, and how far it is as bytes. README.md,
//! "Sequences", is the text.

use serde::{Deserialize, Serialize};

use crate::error::{QueryError, QueryResult};
use crate::relational::def::{Column, TableDef};
use crate::relational::kind::Kind;

/// The newest version of a definition.
pub(crate) const VERSION: u32 = 1;
/// First byte of a state; what eight bytes alone hold is of builds before sequences were objects.
const STATE_VERSION: u8 = 2;

/// The table and the column that a sequence goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owned {
    pub(crate) table: u32,
    pub(crate) column: u32,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SequenceDef {
    pub(crate) v: u32,
    /// Never used again.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// One of the integers.
    pub(crate) kind: Kind,
    pub(crate) start: i64,
    pub(crate) increment: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) cache: i64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cycle: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owned: Option<Owned>,
}

/// The least and greatest value of a type.
pub(crate) fn bounds(kind: Kind) -> (i64, i64) {
    match kind {
        Kind::Int2 => (i16::MIN.into(), i16::MAX.into()),
        Kind::Int4 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

impl SequenceDef {
    /// From 1 upwards.
    pub(crate) fn new(number: u32, name: String, kind: Kind) -> SequenceDef {
        SequenceDef {
            v: VERSION,
            number,
            name,
            kind,
            start: 1,
            increment: 1,
            min: 1,
            max: bounds(kind).1,
            cache: 1,
            cycle: false,
            owned: None,
        }
    }

    /// That of a column which has no row of its own, as those of older builds.
    pub(crate) fn of_column(table: &TableDef, column: &Column) -> Option<SequenceDef> {
        let number = column.sequence.as_ref()?.number;
        let name = format!("{}_{}_seq", table.name, column.name);
        let owned = Some(Owned { table: table.number, column: column.id });
        Some(SequenceDef { owned, ..SequenceDef::new(number, name, column.kind) })
    }

    /// Before its first number.
    pub(crate) fn begin(&self) -> State {
        State { last: self.start, called: false }
    }

    /// The state behind the next number, which is its `last`.
    ///
    /// # Errors
    /// `2200H` where there is none.
    pub(crate) fn step(&self, state: State) -> QueryResult<State> {
        if !state.called {
            return Ok(State { called: true, ..state });
        }
        let next = state.last.checked_add(self.increment);
        let last = match next.filter(|next| (self.min..=self.max).contains(next)) {
            Some(next) => next,
            None if self.cycle && self.increment > 0 => self.min,
            None if self.cycle => self.max,
            None => {
                let (end, bound) = match self.increment > 0 {
                    true => ("maximum", self.max),
                    false => ("minimum", self.min),
                };
                let name = crate::schema::bare(&self.name);
                let message =
                    format!("nextval: reached {end} value of sequence \"{name}\" ({bound})");
                return Err(QueryError::new("2200H", message));
            }
        };
        Ok(State { last, called: true })
    }
}

/// How far a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last: i64,
    /// Whether `last` was given; else it is the next.
    pub(crate) called: bool,
}

impl State {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        out.extend_from_slice(&self.last.to_be_bytes());
        out.push(self.called.into());
        out
    }

    /// # Errors
    /// `XX001` for bytes that [`State::encode`] does not write, nor builds before.
    pub(crate) fn decode(bytes: &[u8]) -> QueryResult<State> {
        let damaged = || QueryError::new("XX001", "a row of a sequence cannot be read");
        if let Ok(next) = <[u8; 8]>::try_from(bytes) {
            let last = i64::from_be_bytes(next);
            return if last > 0 { Ok(State { last, called: false }) } else { Err(damaged()) };
        }
        match bytes {
            [STATE_VERSION, last @ .., called @ (0 | 1)] => {
                let last = i64::from_be_bytes(last.try_into().map_err(|_| damaged())?);
                Ok(State { last, called: *called == 1 })
            }
            _ => Err(damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(def: &SequenceDef, count: usize) -> Vec<Result<i64, &'static str>> {
        let mut state = def.begin();
        let mut next = || match def.step(state) {
            Ok(new) => {
                state = new;
                Ok(new.last)
            }
            Err(error) => Err(error.code),
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn numbers_come_in_order_and_end() {
        let one = SequenceDef::new(1, "s".into(), Kind::Int2);
        assert_eq!(numbers(&one, 3), [Ok(1), Ok(2), Ok(3)]);
        let last = SequenceDef { start: 32_766, ..one.clone() };
        assert_eq!(numbers(&last, 3), [Ok(32_766), Ok(32_767), Err("2200H")]);
        let again = SequenceDef { min: 5, cycle: true, ..last };
        assert_eq!(numbers(&again, 3), [Ok(32_766), Ok(32_767), Ok(5)]);
        let down = SequenceDef { start: 3, increment: -2, min: 0, max: 9, ..one };
        assert_eq!(numbers(&down, 3), [Ok(3), Ok(1), Err("2200H")]);
        let down = SequenceDef { cycle: true, ..down };
        assert_eq!(numbers(&down, 3), [Ok(3), Ok(1), Ok(9)]);
        let wide = SequenceDef::new(1, "s".into(), Kind::Int8);
        let wide = SequenceDef { start: i64::MAX - 1, increment: 5, ..wide };
        assert_eq!(numbers(&wide, 2), [Ok(i64::MAX - 1), Err("2200H")]);
    }

    #[test]
    fn states_read_back_and_damage_is_told() {
        for state in [
            State { last: 1, called: false },
            State { last: i64::MIN, called: true },
            State { last: i64::MAX, called: false },
        ] {
            let bytes = state.encode();
            assert_eq!(State::decode(&bytes).unwrap(), state);
            for end in 0..bytes.len() {
                // Eight bytes are the form of before.
                let cut = State::decode(&bytes[..end]);
                assert!(cut.is_err() || end == 8, "{end}");
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(State::decode(&flipped).ok(), Some(state));
            }
        }
        let golden = [2, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(State { last: 7, called: true }.encode(), golden);
        let before = State::decode(&7i64.to_be_bytes()).unwrap();
        assert_eq!(before, State { last: 7, called: false });
        assert!(State::decode(&0i64.to_be_bytes()).is_err());
    }
}

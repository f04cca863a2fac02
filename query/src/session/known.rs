//! Texts of queries that came lately: a client that asks the same again finds it parsed, and with
//! the plan that was bound for it, as if it had prepared it.

use std::collections::VecDeque;

use crate::statement::{Kind, Statement};

/// Texts that are kept a session.
const KEPT_MAX: usize = 32;
/// Bytes of a text that is kept: longer ones come seldom twice, and their trees are large.
const TEXT_BYTES_MAX: usize = 2048;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Known {
    /// The newest last.
    kept: VecDeque<(Box<str>, Statement)>,
}

impl Known {
    /// The statement of that text.
    pub(super) fn find(&mut self, text: &str) -> Option<Statement> {
        let at = self.kept.iter().rposition(|(known, _)| **known == *text)?;
        let found = self.kept.remove(at)?;
        let statement = found.1.clone();
        self.kept.push_back(found);
        Some(statement)
    }

    /// Keeps a query; others are not planned, or hold secrets.
    pub(super) fn keep(&mut self, text: &str, statement: &Statement) {
        let is_query = matches!(statement.kind(), Kind::Query(_));
        if !is_query || text.len() > TEXT_BYTES_MAX || statement.is_deep() {
            return;
        }
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((text.into(), statement.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::parse;

    #[test]
    fn the_newest_queries_are_kept() {
        let mut known = Known::default();
        let text = |at: usize| format!("SELECT {at}");
        for at in 0..KEPT_MAX + 2 {
            known.keep(&text(at), &parse(&text(at)).unwrap()[0]);
            assert!(known.find(&text(0)).is_some() || at > KEPT_MAX);
        }
        assert!(known.find(&text(1)).is_none());
        assert_eq!(known.find(&text(0)).unwrap().text(), "SELECT 0");
        for other in ["ALTER ROLE a PASSWORD 'b'", "SET a.b = 1", &"SELECT 1 ".repeat(0)] {
            known.keep(other, &parse(other).unwrap()[0]);
            assert!(known.find(other).is_none());
        }
        let long = format!("SELECT '{}'", "x".repeat(TEXT_BYTES_MAX));
        known.keep(&long, &parse(&long).unwrap()[0]);
        assert!(known.find(&long).is_none());
    }
}

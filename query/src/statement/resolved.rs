//! Statements with names as schemas and `search_path` make them.

use super::{Inner, Kind, Statement, cursor, with_deep_stack};
use crate::error::QueryResult;
use crate::schema::resolve::Resolver;

impl Statement {
    /// The statement of the same text that is another.
    pub(crate) fn with(&self, kind: Kind) -> Statement {
        let Inner { source, start, end, deep, .. } = &*self.inner;
        Statement::new(source.clone(), *start, *end, kind, *deep)
    }

    /// The statement with the names that a resolver gives.
    pub(crate) fn resolved(&self, resolver: &Resolver) -> QueryResult<Statement> {
        let key = resolver.key();
        if let Some((of, kept)) = &*self.inner.resolved.lock()
            && *of == key
        {
            return Ok(kept.clone());
        }
        let made = match self.is_deep() {
            true => with_deep_stack(|| resolver.statement(self))??,
            false => resolver.statement(self)?,
        };
        // One that stays as it is must not hold itself.
        let Some(made) = made else { return Ok(self.clone()) };
        *self.inner.resolved.lock() = Some((key, made.clone()));
        Ok(made)
    }

    /// Whether it names relations.
    pub(crate) fn names_relations(&self) -> bool {
        let kind = self.kind();
        let queries = matches!(
            kind,
            Kind::Query(_)
                | Kind::Explain { .. }
                | Kind::Insert(_)
                | Kind::Delete(_)
                | Kind::Update(_)
                | Kind::Truncate(_)
                | Kind::Merge(_)
                | Kind::Copy(_)
                | Kind::OfCursor(cursor::OfCursor::Declare { .. })
        );
        queries || kind.stands_alone()
    }
}

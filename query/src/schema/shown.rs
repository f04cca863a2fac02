//! Flat names in what users see become names with schemas again.

use tsdb::types::SCHEMA_TABLE_PREFIX;

use super::{Schema, Schemas};
use crate::catalog::quoted;
use crate::error::QueryError;

impl Schemas {
    /// A flat name as lists of tables show it: `schema.name`.
    pub(crate) fn listed(&self, name: &str) -> String {
        match self.place(name) {
            (Some(schema), bare) => format!("{}.{bare}", schema.name),
            (None, name) => name.to_string(),
        }
    }

    /// A flat name as SQL says it, with its schema.
    pub(crate) fn qualified(&self, name: &str) -> String {
        match self.place(name) {
            (Some(schema), bare) => format!("{}.{}", quoted(&schema.name), quoted(bare)),
            (None, name) => quoted(name),
        }
    }

    /// SQL in which flat names are, quoted or not.
    pub(crate) fn sql(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, schema, behind)) = self.next(rest) {
            let before = &rest[..at];
            let (before, is_quoted) = match before.strip_suffix('"') {
                Some(before) => (before, true),
                None => (before, false),
            };
            let end = match is_quoted {
                true => behind.find('"'),
                false => {
                    behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$'))
                }
            };
            let end = end.unwrap_or(behind.len());
            out.push_str(before.strip_suffix("public.").unwrap_or(before));
            out.push_str(&format!("{}.{}", quoted(&schema.name), quoted(&behind[..end])));
            rest = &behind[end..];
            if is_quoted {
                rest = rest.strip_prefix('"').unwrap_or(rest);
            }
        }
        out.push_str(rest);
        out
    }

    /// A message in which flat names are: as in Postgres the schema is told where something is
    /// missing.
    fn message(&self, text: &str) -> String {
        let whole = text.contains("does not exist");
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((at, schema, behind)) = self.next(rest) {
            out.push_str(&rest[..at]);
            if whole {
                out.push_str(&schema.name);
                out.push('.');
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    /// The next flat name of a text: where it begins, its schema, and all behind the mark.
    fn next<'a>(&self, text: &'a str) -> Option<(usize, &Schema, &'a str)> {
        text.match_indices(SCHEMA_TABLE_PREFIX).find_map(|(at, _)| {
            let (schema, behind) = self.place(&text[at..]);
            Some((at, schema?, behind))
        })
    }

    /// An error as users read it.
    pub(crate) fn error(&self, error: QueryError) -> QueryError {
        let is_there = |text: &String| text.contains(SCHEMA_TABLE_PREFIX);
        let any = is_there(&error.message)
            || error.detail.as_ref().is_some_and(is_there)
            || error.hint.as_ref().is_some_and(is_there);
        if !any {
            return error;
        }
        QueryError {
            message: self.message(&error.message),
            detail: error.detail.map(|text| self.message(&text)),
            hint: error.hint.map(|text| self.message(&text)),
            ..error
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_schemas() {
        let of = |number, name: &str| Schema { number, name: name.into() };
        let schemas = Schemas { list: vec![of(1, "a"), of(2, "My")], ..Schemas::default() };
        for (text, shown) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT x FROM \"_schema_1_t\" AS t", "SELECT x FROM a.t AS t"),
            ("FROM \"_schema_2_X y\" AS q, _schema_1_t", "FROM \"My\".\"X y\" AS q, a.t"),
            ("ON public._schema_1_t USING btree (a)", "ON a.t USING btree (a)"),
            ("nextval('_schema_1_t_a_seq'::regclass)", "nextval('a.t_a_seq'::regclass)"),
            ("FROM _schema_3_t", "FROM _schema_3_t"),
        ] {
            assert_eq!(schemas.sql(text), shown);
        }
        for (text, shown) in [
            ("relation \"_schema_1_t\" already exists", "relation \"t\" already exists"),
            ("relation \"_schema_1_t\" does not exist", "relation \"a.t\" does not exist"),
        ] {
            assert_eq!(schemas.error(QueryError::new("42P01", text)).message, shown);
        }
        assert_eq!(schemas.listed("_schema_2_t"), "My.t");
        assert_eq!(schemas.qualified("_schema_2_t"), "\"My\".t");
        assert_eq!(schemas.qualified("t"), "t");
    }
}

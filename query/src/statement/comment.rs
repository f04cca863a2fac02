//! COMMENT ON.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::Kind;
use super::words::Words;
use crate::error::{QueryError, QueryResult};
use crate::schema::resolve::marked;

/// COMMENT ON.
#[derive(Debug)]
pub(crate) struct Comment {
    /// Whether a view is meant, if the statement says which.
    pub(crate) view: Option<bool>,
    pub(crate) relation: String,
    pub(crate) column: Option<String>,
    /// `None` takes the comment away.
    pub(crate) text: Option<String>,
}

/// Reads `COMMENT ON TABLE | VIEW | COLUMN name IS 'text' | NULL`.
pub(super) fn parse(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take_all(&["COMMENT", "ON"]);
    words.take_if_before("MATERIALIZED", "VIEW");
    let kind = words.peek().unwrap_or_default();
    let view = match kind.as_str() {
        "TABLE" => Some(false),
        "VIEW" => Some(true),
        "COLUMN" => None,
        "" => return Err(words.unexpected()),
        other => {
            words.skip_all();
            return Ok(Kind::Unsupported(QueryError::unsupported(format!("COMMENT ON {other}"))));
        }
    };
    words.take(&kind);
    let mut name = vec![words.name()?];
    while words.take_token(&Token::Period) {
        name.push(words.name()?);
    }
    let column = match view {
        None if name.len() < 2 => {
            let message = "column name must be qualified";
            return Err(QueryError::new("42601", message));
        }
        None => name.pop(),
        Some(_) => None,
    };
    if !words.take("IS") {
        return Err(words.unexpected());
    }
    let text = if words.take("NULL") { None } else { Some(words.text()?) };
    let relation = marked(name);
    Ok(Kind::Comment(Comment { view, relation, column, text }))
}

//! What sqlparser does not know of ALTER TABLE: `RESET (…)` of options, as Postgres has it, and
//! `RESTORE` of archived partitions, which is our own.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Kind;
use super::own::relation;
use super::words::Words;
use crate::error::QueryResult;
use crate::schema::define::OfSchema;

/// Reads the statement if it is one of these.
pub(super) fn parse(piece: &[TokenWithSpan], sql: &str) -> QueryResult<Option<Kind>> {
    let mut words = Words::new(piece, sql);
    if !words.take_all(&["ALTER", "TABLE"]) {
        return Ok(None);
    }
    let if_exists = words.take_all(&["IF", "EXISTS"]);
    words.take("ONLY");
    // A name that does not follow is sqlparser's to refuse.
    let Ok(table) = relation(&mut words) else { return Ok(None) };
    if words.take("RESET") {
        let names = names(&mut words)?;
        words.end()?;
        return Ok(Some(Kind::ResetOptions { table, if_exists, names }));
    }
    if words.take_all(&["SET", "SCHEMA"]) {
        let schema = words.name()?;
        words.end()?;
        return Ok(Some(Kind::OfSchema(OfSchema::Move { table, if_exists, schema })));
    }
    if words.take("RESTORE") {
        let from = words.take("FROM").then(|| words.text()).transpose()?;
        let to = words.take("TO").then(|| words.text()).transpose()?;
        let hot_for = words.take("FOR").then(|| words.text()).transpose()?;
        words.end()?;
        return Ok(Some(Kind::Restore { table, times: (from, to), hot_for }));
    }
    Ok(None)
}

fn names(words: &mut Words<'_>) -> QueryResult<Vec<String>> {
    if !words.take_token(&Token::LParen) {
        return Err(words.unexpected());
    }
    let mut names = vec![words.name()?.to_lowercase()];
    while words.take_token(&Token::Comma) {
        names.push(words.name()?.to_lowercase());
    }
    match words.take_token(&Token::RParen) {
        true => Ok(names),
        false => Err(words.unexpected()),
    }
}

//! What sqlparser does not know of materialised views: ALTER, REFRESH, options without a value, and
//! WITH [NO] DATA.

use std::borrow::Cow;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Kind;
use super::own::relation;
use super::words::Words;
use crate::error::{QueryError, QueryResult};

/// ALTER MATERIALIZED VIEW … SET (…) or RESET (…).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alter {
    pub(crate) name: String,
    pub(crate) if_exists: bool,
    /// Options and their new values; `None`: the default.
    pub(crate) options: Vec<(String, Option<String>)>,
}

/// REFRESH MATERIALIZED VIEW.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refresh {
    pub(crate) name: String,
    pub(crate) concurrently: bool,
    pub(crate) with_data: bool,
}

/// `ALTER MATERIALIZED VIEW [IF EXISTS] name RENAME TO name | SET (option = 'value', …) | RESET (option, …)`.
pub(super) fn alter(words: &mut Words<'_>) -> QueryResult<Kind> {
    if !words.take_all(&["ALTER", "MATERIALIZED", "VIEW"]) {
        words.take_all(&["ALTER", "MATERIALIZED"]);
        return Err(words.unexpected());
    }
    let if_exists = words.take_all(&["IF", "EXISTS"]);
    let name = relation(words)?;
    if words.take_all(&["RENAME", "TO"]) {
        let to = words.name()?;
        return Ok(Kind::RenameView { name, to, if_exists, materialized: true });
    }
    let set = words.take("SET");
    if !(set || words.take("RESET")) || !words.take_token(&Token::LParen) {
        return Err(words.unexpected());
    }
    let mut options = Vec::new();
    loop {
        let option = words.name()?.to_lowercase();
        let value = match set {
            true if words.take_token(&Token::Eq) => match words.text() {
                Ok(text) => Some(text),
                Err(_) => Some(words.name()?),
            },
            true => return Err(words.unexpected()),
            false => None,
        };
        options.push((option, value));
        if !words.take_token(&Token::Comma) {
            break;
        }
    }
    match words.take_token(&Token::RParen) {
        true => Ok(Kind::AlterMaterialized(Alter { name, if_exists, options })),
        false => Err(words.unexpected()),
    }
}

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH [NO] DATA]`.
pub(super) fn refresh(words: &mut Words<'_>) -> QueryResult<Kind> {
    if !words.take_all(&["REFRESH", "MATERIALIZED", "VIEW"]) {
        words.take("REFRESH");
        return Err(words.unexpected());
    }
    // Readers never wait for a refresh.
    let concurrently = words.take("CONCURRENTLY");
    let name = relation(words)?;
    let with_data = words.take_all(&["WITH", "DATA"]) || !words.take_all(&["WITH", "NO", "DATA"]);
    if concurrently && !with_data {
        let message = "CONCURRENTLY and WITH NO DATA options cannot be used together";
        return Err(QueryError::new("42601", message));
    }
    Ok(Kind::Refresh(Refresh { name, concurrently, with_data }))
}

/// Whether a CREATE MATERIALIZED VIEW ends in WITH NO DATA.
pub(super) fn ends_without_data(piece: &[TokenWithSpan]) -> bool {
    let significant = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
    let last: Vec<_> = piece.iter().rev().filter(significant).take(3).collect();
    let words = last.iter().map(|t| word(&t.token)).collect::<Vec<_>>();
    let ends = ["DATA", "NO", "WITH"];
    words.len() == ends.len() && words.iter().zip(ends).all(|(w, end)| w.as_deref() == Some(end))
}

/// Whether a CREATE MATERIALIZED VIEW says WITH NO DATA.
pub(crate) fn without_data(create: &ast::CreateView) -> bool {
    // sqlparser has no place for it; this one is for what Postgres does not know.
    create.with_no_schema_binding
}

/// CREATE MATERIALIZED VIEW as sqlparser reads it: an option without a value is `true`, and WITH
/// [NO] DATA at the end is left out (`ends_without_data` tells it): a continuous aggregate answers at
/// once either way, and is stored in the background.
pub(super) fn readable(piece: &[TokenWithSpan]) -> Cow<'_, [TokenWithSpan]> {
    let significant = |t: &TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
    let places: Vec<usize> = (0..piece.len()).filter(|at| significant(&piece[*at])).collect();
    let words = |of: &[usize]| of.iter().map(|at| word(&piece[*at].token)).collect::<Vec<_>>();
    let is = |of: &[usize], text: &[&str]| {
        of.len() == text.len() && words(of).iter().zip(text).all(|(w, t)| w.as_deref() == Some(*t))
    };
    if !is(places.get(..3).unwrap_or_default(), &["CREATE", "MATERIALIZED", "VIEW"]) {
        return Cow::Borrowed(piece);
    }
    let ends = [&["WITH", "NO", "DATA"][..], &["WITH", "DATA"]];
    let ended = ends.into_iter().find_map(|end| {
        let from = places.len().checked_sub(end.len())?;
        is(&places[from..], end).then(|| places[from])
    });
    let piece = &piece[..ended.unwrap_or(piece.len())];
    let mut out = Vec::with_capacity(piece.len() + 4);
    let (mut inside, mut before) = (false, None);
    for (at, token) in piece.iter().enumerate() {
        if significant(token) {
            let ends = matches!(token.token, Token::Comma | Token::RParen);
            if inside && ends && before.as_deref() == Some("CONTINUOUS") {
                for value in [Token::Eq, Token::make_word("true", None)] {
                    out.push(TokenWithSpan { token: value, span: token.span });
                }
            }
            inside = match (&token.token, before.as_deref()) {
                (Token::LParen, Some("WITH")) => true,
                (Token::RParen, _) => false,
                _ => inside,
            };
            before = word(&token.token);
            if before.as_deref() == Some("AS") {
                // The query is what it is.
                out.extend_from_slice(&piece[at..]);
                break;
            }
        }
        out.push(token.clone());
    }
    Cow::Owned(out)
}

/// An unquoted word in upper case.
fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

//! What sqlparser does not know of materialised views: ALTER, REFRESH, options without a value, and
//! WITH [NO] DATA.

use std::borrow::Cow;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Kind;
use super::own::relation;
use super::words::Words;
use crate::error::QueryResult;

/// ALTER MATERIALIZED VIEW … SET (…) or RESET (…).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alter {
    pub(crate) name: String,
    pub(crate) if_exists: bool,
    /// Options and their new values; `None`: the default.
    pub(crate) options: Vec<(String, Option<String>)>,
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

/// `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH DATA]`.
pub(super) fn refresh(words: &mut Words<'_>) -> QueryResult<Kind> {
    if !words.take_all(&["REFRESH", "MATERIALIZED", "VIEW"]) {
        words.take("REFRESH");
        return Err(words.unexpected());
    }
    // Readers never wait for a refresh.
    words.take("CONCURRENTLY");
    let name = relation(words)?;
    words.take_all(&["WITH", "DATA"]);
    Ok(Kind::Refresh { name })
}

/// CREATE MATERIALIZED VIEW as sqlparser reads it: an option without a value is `true`, and WITH
/// [NO] DATA at the end is left out: either way the view answers at once and is stored in the
/// background.
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

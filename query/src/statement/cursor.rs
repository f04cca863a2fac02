//! DECLARE, FETCH, MOVE and CLOSE.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::words::Words;
use super::{Kind, Statement, prepared};
use crate::error::{QueryError, QueryResult};

/// What a statement asks of cursors.
#[derive(Debug)]
pub(crate) enum OfCursor {
    Declare {
        name: String,
        statement: Statement,
        options: Options,
    },
    /// FETCH, or MOVE where `rows` is false.
    Fetch {
        name: String,
        way: Way,
        rows: bool,
    },
    /// CLOSE, `None`: ALL.
    Close(Option<String>),
}

/// What a DECLARE says of its cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// SCROLL.
    pub(crate) scrolls: bool,
    /// WITH HOLD.
    pub(crate) held: bool,
}

/// Where a FETCH goes. Counts are as they are written: less than zero is the other way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// The next so many rows.
    Forward(i64),
    /// All rows that are left.
    All,
    /// The rows before, so many, the nearest first.
    Backward(i64),
    /// The row of that number, counted from 1, or from -1 at the end.
    Absolute(i64),
    /// The row so many further on.
    Relative(i64),
}

/// Reads `DECLARE name [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`.
pub(super) fn declare(words: &mut Words<'_>, sql: &str) -> QueryResult<Kind> {
    words.take("DECLARE");
    let name = words.name()?;
    let mut options = Options::default();
    let (mut binary, mut not) = (false, false);
    while !words.take("CURSOR") {
        if words.take("BINARY") {
            binary = true;
        } else if words.take("SCROLL") {
            options.scrolls = true;
        } else if words.take_all(&["NO", "SCROLL"]) {
            not = true;
        } else if !(words.take("ASENSITIVE") || words.take("INSENSITIVE")) {
            return Err(words.unexpected());
        }
    }
    if options.scrolls && not {
        return Err(QueryError::new("42P11", "cannot specify both SCROLL and NO SCROLL"));
    }
    options.held = words.take_all(&["WITH", "HOLD"]);
    if !options.held {
        words.take_all(&["WITHOUT", "HOLD"]);
    }
    if !words.take("FOR") {
        return Err(words.unexpected());
    }
    if binary {
        words.skip_all();
        let hint = "Ask for the result of FETCH in binary, which the extended protocol does.";
        let error = QueryError::unsupported("a BINARY cursor").with_hint(hint);
        return Ok(Kind::Unsupported(error));
    }
    let unexpected = words.unexpected();
    let statement = prepared::inner(&words.rest(), sql)?;
    match statement.kind() {
        Kind::Query(_) => Ok(Kind::OfCursor(OfCursor::Declare { name, statement, options })),
        Kind::Unsupported(error) => Ok(Kind::Unsupported(error.clone())),
        _ => Err(unexpected),
    }
}

/// Reads `FETCH | MOVE [direction] [FROM | IN] name`.
pub(super) fn fetch(words: &mut Words<'_>) -> QueryResult<Kind> {
    let rows = words.take("FETCH") || !words.take("MOVE");
    let way = way(words)?;
    let _ = words.take("FROM") || words.take("IN");
    let name = words.name()?;
    Ok(Kind::OfCursor(OfCursor::Fetch { name, way, rows }))
}

fn way(words: &mut Words<'_>) -> QueryResult<Way> {
    if let Some(count) = count(words)? {
        return Ok(Way::Forward(count));
    }
    let Some(word) = words.peek() else { return Ok(Way::Forward(1)) };
    // A cursor may be called like a direction: then nothing follows its name.
    if words.is_last() {
        return Ok(Way::Forward(1));
    }
    let way = match word.as_str() {
        "NEXT" => Way::Forward(1),
        "ALL" => Way::All,
        "FIRST" => Way::Absolute(1),
        "LAST" => Way::Absolute(-1),
        "PRIOR" => Way::Backward(1),
        "FORWARD" => {
            words.next_token();
            return Ok(match count(words)? {
                Some(count) => Way::Forward(count),
                None if words.take("ALL") => Way::All,
                None => Way::Forward(1),
            });
        }
        "BACKWARD" => {
            words.next_token();
            return Ok(match count(words)? {
                Some(count) => Way::Backward(count),
                None if words.take("ALL") => Way::Backward(i64::MAX),
                None => Way::Backward(1),
            });
        }
        "ABSOLUTE" | "RELATIVE" => {
            words.next_token();
            let Some(count) = count(words)? else { return Err(words.unexpected()) };
            return Ok(match word.as_str() {
                "ABSOLUTE" => Way::Absolute(count),
                _ => Way::Relative(count),
            });
        }
        _ => return Ok(Way::Forward(1)),
    };
    words.next_token();
    Ok(way)
}

/// A whole number, if one follows.
fn count(words: &mut Words<'_>) -> QueryResult<Option<i64>> {
    let minus = words.take_token(&Token::Minus);
    let plus = !minus && words.take_token(&Token::Plus);
    let unexpected = words.unexpected();
    match words.peek_token() {
        Some(Token::Number(text, _)) => {
            words.next_token();
            let number = text.parse::<i64>().map_err(|_| unexpected)?;
            Ok(Some(if minus { -number } else { number }))
        }
        _ if minus || plus => Err(unexpected),
        _ => Ok(None),
    }
}

/// Reads `CLOSE name | ALL`.
pub(super) fn close(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("CLOSE");
    let name = if words.take("ALL") { None } else { Some(words.name()?) };
    Ok(Kind::OfCursor(OfCursor::Close(name)))
}

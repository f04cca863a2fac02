//! Clauses that the parser does not know: `SAMPLE BY …`, `LATEST ON …` and `WINDOW JOIN …`, as
//! QuestDB has them, and the statement `TABLE t`, which is `SELECT * FROM t`.
//!
//! The first two become a GROUP BY of one marker that carries what they say, the third a LEFT JOIN
//! whose condition has such a marker, all in the places of their own tokens; `sugar.rs` makes
//! ordinary SQL of it once names can be looked up.

use std::borrow::Cow;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::position_of;
use crate::error::{QueryError, QueryResult};

/// Name of the marker of SAMPLE BY: (width, from, to, zone, offset minutes, fill …).
pub(crate) const SAMPLE: &str = "__sample_by";
/// Name of the marker of LATEST ON: (time, key …).
pub(crate) const LATEST: &str = "__latest_on";
/// Name of the marker of WINDOW JOIN: (from, before, to, before, prevailing).
pub(crate) const WINDOW: &str = "__window_join";

/// A WINDOW JOIN whose RANGE has not come yet.
struct Open {
    /// Parentheses that are open around it.
    depth: usize,
    /// Whether an ON has come.
    on: bool,
}

/// The tokens of a statement with those clauses as markers.
pub(super) fn replace<'a>(
    piece: &'a [TokenWithSpan],
    sql: &str,
) -> QueryResult<Cow<'a, [TokenWithSpan]>> {
    let starts =
        |t: &TokenWithSpan| is_word(t, "SAMPLE") || is_word(t, "LATEST") || is_word(t, "WINDOW");
    let blank = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_));
    let is_table = piece.iter().find(blank).is_some_and(|first| is_word(first, "TABLE"));
    if !is_table && !piece.iter().any(starts) {
        return Ok(Cow::Borrowed(piece));
    }
    let tokens: Vec<&TokenWithSpan> = piece.iter().filter(blank).collect();
    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut reader = Reader { tokens: &tokens, next: 0, sql };
    let (mut depth, mut open) = (0usize, Vec::<Open>::new());
    if is_table && let Some(first) = tokens.first() {
        reader.next = 1;
        let words = [word(Keyword::SELECT, "SELECT"), Token::Mul, word(Keyword::FROM, "FROM")];
        put(words, first, &mut out);
    }
    while let Some(token) = tokens.get(reader.next) {
        let at = reader.next;
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let here = open.last().is_some_and(|open| open.depth == depth);
        if reader.take_all(&["WINDOW", "JOIN"]) {
            open.push(Open { depth, on: false });
            let words = [(Keyword::LEFT, "LEFT"), (Keyword::JOIN, "JOIN")];
            put(words.map(|(keyword, text)| word(keyword, text)), token, &mut out);
        } else if here && reader.is_at("ON") && open.last().is_some_and(|open| !open.on) {
            reader.next += 1;
            if let Some(open) = open.last_mut() {
                open.on = true;
            }
            put([word(Keyword::ON, "ON"), Token::LParen], token, &mut out);
        } else if here && reader.take_all(&["RANGE", "BETWEEN"]) {
            let call = window(&mut reader)?;
            let before = match open.pop() {
                Some(Open { on: true, .. }) => vec![Token::RParen, word(Keyword::AND, "AND")],
                _ => vec![word(Keyword::ON, "ON")],
            };
            put(before, token, &mut out);
            emit_call(WINDOW, call, token, &mut out);
        } else if reader.take_all(&["SAMPLE", "BY"]) {
            let call = sample(&mut reader)?;
            emit(SAMPLE, call, token, &mut out);
        } else if let Some(call) = latest(&mut reader) {
            emit(LATEST, call, token, &mut out);
        } else {
            reader.next = at + 1;
            out.push((*token).clone());
        }
    }
    if !open.is_empty() {
        let error = QueryError::new("42601", "a WINDOW JOIN without its RANGE BETWEEN");
        return Err(error.with_hint(
            "WINDOW JOIN b ON a.key = b.key RANGE BETWEEN 1 minute PRECEDING AND CURRENT ROW",
        ));
    }
    Ok(Cow::Owned(out))
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn word(keyword: Keyword, value: &str) -> Token {
    Token::Word(Word { value: value.into(), quote_style: None, keyword })
}

fn quoted(text: impl Into<String>) -> Token {
    Token::SingleQuotedString(text.into())
}

/// `GROUP BY marker(arguments)` where the clause began.
fn emit(name: &str, arguments: Vec<Vec<Token>>, at: &TokenWithSpan, out: &mut Vec<TokenWithSpan>) {
    put([word(Keyword::GROUP, "GROUP"), word(Keyword::BY, "BY")], at, out);
    emit_call(name, arguments, at, out);
}

fn put(tokens: impl IntoIterator<Item = Token>, at: &TokenWithSpan, out: &mut Vec<TokenWithSpan>) {
    out.extend(tokens.into_iter().map(|token| TokenWithSpan { token, span: at.span }));
}

/// `marker(arguments)`.
fn emit_call(
    name: &str,
    arguments: Vec<Vec<Token>>,
    at: &TokenWithSpan,
    out: &mut Vec<TokenWithSpan>,
) {
    let mut tokens = vec![word(Keyword::NoKeyword, name), Token::LParen];
    for (i, argument) in arguments.into_iter().enumerate() {
        if i > 0 {
            tokens.push(Token::Comma);
        }
        tokens.extend(argument);
    }
    tokens.push(Token::RParen);
    put(tokens, at, out);
}

struct Reader<'a> {
    tokens: &'a [&'a TokenWithSpan],
    next: usize,
    sql: &'a str,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|t| &t.token)
    }

    fn is_at(&self, word: &str) -> bool {
        self.tokens.get(self.next).is_some_and(|t| is_word(t, word))
    }

    fn take(&mut self, word: &str) -> bool {
        let hit = self.is_at(word);
        self.next += usize::from(hit);
        hit
    }

    fn take_all(&mut self, words: &[&str]) -> bool {
        let at = self.next;
        let hit = words.iter().all(|word| self.take(word));
        if !hit {
            self.next = at;
        }
        hit
    }

    fn token(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    fn text(&mut self) -> QueryResult<String> {
        match self.peek() {
            Some(Token::SingleQuotedString(text)) => {
                self.next += 1;
                Ok(text.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Tokens of an expression up to one of these words, a comma or a closing parenthesis.
    fn expression(&mut self, stops: &[&str]) -> QueryResult<Vec<Token>> {
        let (mut open, mut taken) = (0usize, Vec::new());
        while let Some(token) = self.peek() {
            match token {
                Token::LParen => open += 1,
                Token::RParen | Token::Comma if open == 0 => break,
                Token::RParen => open -= 1,
                Token::EOF => break,
                _ if open == 0 && stops.iter().any(|word| self.is_at(word)) => break,
                _ => {}
            }
            taken.push(token.clone());
            self.next += 1;
        }
        if taken.is_empty() { Err(self.unexpected()) } else { Ok(taken) }
    }

    fn unexpected(&self) -> QueryError {
        match self.tokens.get(self.next).filter(|t| t.token != Token::EOF) {
            None => QueryError::new("42601", "syntax error at end of input"),
            Some(t) => {
                let place = position_of(self.sql, t.span.start.line, t.span.start.column);
                let message = format!("syntax error at or near \"{}\"", t.token);
                QueryError::new("42601", message).with_position(place)
            }
        }
    }
}

/// What ends an expression of SAMPLE BY.
const AFTER: &[&str] =
    &["TO", "FILL", "ALIGN", "ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"];

/// `1h [FROM a] [TO b] [FILL(…)] [ALIGN TO CALENDAR [TIME ZONE 'z'] [WITH OFFSET '+hh:mm']]`.
fn sample(reader: &mut Reader<'_>) -> QueryResult<Vec<Vec<Token>>> {
    let null = || vec![word(Keyword::NULL, "NULL")];
    let width = width(reader)?;
    let from = if reader.take("FROM") { reader.expression(AFTER)? } else { null() };
    let to = if reader.take("TO") { reader.expression(AFTER)? } else { null() };
    let mut fills = Vec::new();
    if reader.take("FILL") {
        if reader.token() != Some(&Token::LParen) {
            reader.next -= 1;
            return Err(reader.unexpected());
        }
        loop {
            let fill = ["NONE", "NULL", "PREV", "LINEAR"].into_iter().find(|w| reader.take(w));
            fills.push(match fill {
                Some(method) => vec![quoted(method)],
                None => reader.expression(&[])?,
            });
            match reader.token() {
                Some(Token::Comma) => {}
                Some(Token::RParen) => break,
                _ => {
                    reader.next -= 1;
                    return Err(reader.unexpected());
                }
            }
        }
    }
    let (mut zone, mut offset) = (null(), null());
    if reader.take("ALIGN") {
        if reader.take_all(&["TO", "FIRST", "OBSERVATION"]) {
            return Err(QueryError::unsupported("SAMPLE BY … ALIGN TO FIRST OBSERVATION")
                .with_hint("ALIGN TO CALENDAR is the default."));
        }
        if !reader.take_all(&["TO", "CALENDAR"]) {
            return Err(reader.unexpected());
        }
        if reader.take_all(&["TIME", "ZONE"]) {
            zone = vec![quoted(reader.text()?)];
        }
        if reader.take_all(&["WITH", "OFFSET"]) {
            let text = reader.text()?;
            offset = vec![quoted(format!("{} minutes", minutes(&text)?))];
        }
    }
    let mut call = vec![vec![quoted(width)], from, to, zone, offset];
    call.extend(fills);
    Ok(call)
}

/// `1h`, `15m`, `1 M` or an interval in quotes.
fn width(reader: &mut Reader<'_>) -> QueryResult<String> {
    let (number, unit) = match reader.peek() {
        Some(Token::SingleQuotedString(_)) => return reader.text(),
        Some(Token::Number(number, _)) => {
            reader.next += 1;
            match reader.peek() {
                Some(Token::Word(w)) if w.quote_style.is_none() => {
                    (number.clone(), w.value.clone())
                }
                _ => return Err(reader.unexpected()),
            }
        }
        Some(Token::Word(w)) if w.quote_style.is_none() => ("1".into(), w.value.clone()),
        _ => return Err(reader.unexpected()),
    };
    let unit = match &unit[..] {
        "n" => "nanoseconds",
        "U" | "u" | "us" => "microseconds",
        "T" | "ms" => "milliseconds",
        "s" => "seconds",
        "m" => "minutes",
        "h" | "H" => "hours",
        "d" | "D" => "days",
        "w" | "W" => "weeks",
        "M" => "months",
        "y" | "Y" => "years",
        _ => {
            return Err(reader.unexpected().with_hint(
                "SAMPLE BY takes U (µs), T (ms), s, m (minutes), h, d, w, M (months), y, or an \
                 interval in quotes.",
            ));
        }
    };
    reader.next += 1;
    Ok(format!("{number} {unit}"))
}

/// `+hh:mm` in minutes.
fn minutes(text: &str) -> QueryResult<i64> {
    let bad = || QueryError::new("22023", format!("an offset is '+hh:mm', not '{text}'"));
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(bad)?;
    let (hours, minutes): (u16, u16) =
        (hours.parse().map_err(|_| bad())?, minutes.parse().map_err(|_| bad())?);
    Ok(sign * (i64::from(hours) * 60 + i64::from(minutes)))
}

/// `LATEST ON time PARTITION BY key, …`; the reader stays where it is if this is no such clause.
fn latest(reader: &mut Reader<'_>) -> Option<Vec<Vec<Token>>> {
    let at = reader.next;
    let found = latest_from(reader);
    if found.is_none() {
        reader.next = at;
    }
    found
}

fn latest_from(reader: &mut Reader<'_>) -> Option<Vec<Vec<Token>>> {
    if !reader.take_all(&["LATEST", "ON"]) {
        return None;
    }
    let mut call = vec![name(reader)?];
    if !reader.take_all(&["PARTITION", "BY"]) {
        return None;
    }
    loop {
        call.push(name(reader)?);
        if reader.peek() != Some(&Token::Comma) {
            return Some(call);
        }
        reader.next += 1;
    }
}

/// A name with its qualifiers.
fn name(reader: &mut Reader<'_>) -> Option<Vec<Token>> {
    let mut taken = Vec::new();
    loop {
        match reader.token()? {
            word @ Token::Word(_) => taken.push(word.clone()),
            _ => return None,
        }
        if reader.peek() != Some(&Token::Period) {
            return Some(taken);
        }
        taken.push(Token::Period);
        reader.next += 1;
    }
}

/// `bound AND bound [INCLUDE | EXCLUDE PREVAILING]`, behind RANGE BETWEEN.
fn window(reader: &mut Reader<'_>) -> QueryResult<Vec<Vec<Token>>> {
    let truth = |yes: bool| match yes {
        true => vec![word(Keyword::TRUE, "TRUE")],
        false => vec![word(Keyword::FALSE, "FALSE")],
    };
    let mut call = Vec::with_capacity(5);
    for bound in 0..2 {
        if bound == 1 && !reader.take("AND") {
            return Err(reader.unexpected());
        }
        let (span, before) = window_bound(reader)?;
        call.extend([vec![quoted(span)], truth(before)]);
    }
    let excluded = reader.take_all(&["EXCLUDE", "PREVAILING"]);
    if !excluded {
        reader.take_all(&["INCLUDE", "PREVAILING"]);
    }
    call.push(truth(!excluded));
    Ok(call)
}

/// `1 minute PRECEDING`, `'1 minute' FOLLOWING`, `CURRENT ROW`: a span and whether it goes back.
fn window_bound(reader: &mut Reader<'_>) -> QueryResult<(String, bool)> {
    if reader.take_all(&["CURRENT", "ROW"]) {
        return Ok(("0 seconds".into(), true));
    }
    if reader.is_at("UNBOUNDED") {
        return Err(QueryError::unsupported("UNBOUNDED in the RANGE of a WINDOW JOIN")
            .with_hint("Give a span, which the window fits into."));
    }
    reader.take("INTERVAL");
    let span = match reader.peek() {
        Some(Token::SingleQuotedString(_)) => reader.text()?,
        Some(Token::Number(number, _)) => {
            reader.next += 1;
            let units = [
                "microsecond",
                "microseconds",
                "millisecond",
                "milliseconds",
                "second",
                "seconds",
                "minute",
                "minutes",
                "hour",
                "hours",
                "day",
                "days",
            ];
            match units.iter().find(|unit| reader.take(unit)) {
                Some(unit) => format!("{number} {unit}"),
                None => return Err(reader.unexpected()),
            }
        }
        _ => return Err(reader.unexpected()),
    };
    let before = reader.take("PRECEDING");
    match before || reader.take("FOLLOWING") {
        true => Ok((span, before)),
        false => Err(reader.unexpected()),
    }
}

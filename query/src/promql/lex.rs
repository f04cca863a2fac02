//! Words of PromQL.

use super::text;
use crate::error::{QueryError, QueryResult};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or keyword, colons included.
    Word(String),
    Number(f64),
    /// ns
    Span(i64),
    /// A quoted text, escapes taken out.
    Text(String),
    Symbol(&'static str),
    End,
}

impl Token {
    /// As it stands in an error.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => format!("\"{word}\""),
            Token::Number(value) => format!("number {}", text::number(*value)),
            Token::Span(_) => "a duration".to_owned(),
            Token::Text(text) => format!("string {text:?}"),
            Token::Symbol(symbol) => format!("\"{symbol}\""),
            Token::End => "end of input".to_owned(),
        }
    }
}

/// Longest first where one begins another.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "=~", "!~", "<=", ">=", "+", "-", "*", "/", "%", "^", "=", "<", ">", "(", ")", "{",
    "}", "[", "]", ",", "@", ":",
];

/// An error at a byte of the text: `1:5: parse error: …` with line and column, as Prometheus says it.
pub(super) fn error_at(source: &str, at: usize, message: impl std::fmt::Display) -> QueryError {
    let before = source.get(..at).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let position = u32::try_from(before.chars().count() + 1).ok();
    QueryError::new("42601", format!("{line}:{column}: parse error: {message}"))
        .with_position(position)
}

/// All words of a text with the bytes at which they begin; the last is [`Token::End`].
///
/// # Errors
/// `42601` with a position.
pub(super) fn tokens(source: &str) -> QueryResult<Vec<(Token, usize)>> {
    let mut lexer = Lexer { source, at: 0, brackets: 0 };
    let mut all = Vec::new();
    loop {
        let (token, at) = lexer.next()?;
        let done = token == Token::End;
        all.push((token, at));
        if done {
            return Ok(all);
        }
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// Open `[`: between them a colon stands alone.
    brackets: usize,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn next(&mut self) -> QueryResult<(Token, usize)> {
        self.skip();
        let at = self.at;
        let Some(first) = self.rest().chars().next() else { return Ok((Token::End, at)) };
        let second = self.rest().chars().nth(1);
        let token = match first {
            '"' | '\'' | '`' => self.text(first)?,
            '0'..='9' => self.number()?,
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => self.number()?,
            ':' if self.brackets > 0 => self.symbol()?,
            c if c.is_ascii_alphabetic() || c == '_' || c == ':' => self.word(),
            _ => self.symbol()?,
        };
        Ok((token, at))
    }

    /// Passes over blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let rest = &rest[blank..];
            let comment = match rest.starts_with('#') {
                true => rest.find('\n').unwrap_or(rest.len()),
                false => 0,
            };
            if blank + comment == 0 {
                return;
            }
            self.at += blank + comment;
        }
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'s str {
        let start = self.at;
        let len = self.rest().bytes().take_while(|byte| keep(*byte)).count();
        self.at += len;
        &self.source[start..start + len]
    }

    fn word(&mut self) -> Token {
        let colons = self.brackets == 0;
        let word =
            self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_' || (b == b':' && colons));
        Token::Word(word.to_owned())
    }

    fn symbol(&mut self) -> QueryResult<Token> {
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol))
        else {
            let shown = self.rest().chars().next().unwrap_or(' ');
            return Err(error_at(self.source, self.at, format!("unexpected character: {shown:?}")));
        };
        match symbol {
            "[" => self.brackets += 1,
            "]" => self.brackets = self.brackets.saturating_sub(1),
            _ => {}
        }
        self.at += symbol.len();
        Ok(Token::Symbol(symbol))
    }

    fn number(&mut self) -> QueryResult<Token> {
        let start = self.at;
        let mut word = self.take_while(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
        let hex = word.len() > 1 && matches!(&word.as_bytes()[..2], b"0x" | b"0X");
        let exponent = !hex && matches!(word.as_bytes().last(), Some(b'e' | b'E'));
        if exponent && matches!(self.source.as_bytes().get(self.at), Some(b'+' | b'-')) {
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit());
            word = &self.source[start..self.at];
        }
        let source = self.source;
        let bad = || error_at(source, start, format!("bad number or duration syntax: {word:?}"));
        if let Some(span) = text::parse_span(word) {
            return Ok(Token::Span(span));
        }
        if hex {
            let digits = word[2..].replace('_', "");
            let value = u64::from_str_radix(&digits, 16).map_err(|_| bad())?;
            return Ok(Token::Number(value as f64));
        }
        // Rust would also read words such as `infinity`, which do not begin with a digit.
        let plain = |b: u8| b.is_ascii_digit() || b"._eE+-".contains(&b);
        let between = word.split('_').all(|part| !part.is_empty());
        if !word.bytes().all(plain) || !between {
            return Err(bad());
        }
        word.replace('_', "").parse().map(Token::Number).map_err(|_| bad())
    }

    /// A quoted text with the escapes of Go; between backquotes there are none.
    fn text(&mut self, quote: char) -> QueryResult<Token> {
        let start = self.at;
        let error = |at: usize, message: &str| error_at(self.source, at, message);
        let mut bytes = Vec::new();
        let mut chars = self.source[start + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            let at = start + 1 + offset;
            match c {
                c if c == quote => {
                    let text = String::from_utf8(bytes)
                        .map_err(|_| error(start, "escapes of the string are not UTF-8"))?;
                    self.at = at + 1;
                    return Ok(Token::Text(text));
                }
                '\n' if quote != '`' => {
                    return Err(error(start, "unterminated quoted string"));
                }
                '\\' if quote != '`' => {
                    let len = unescape(&self.source[at..], quote, &mut bytes)
                        .ok_or_else(|| error(at, "unknown escape sequence"))?;
                    for _ in 1..len {
                        chars.next();
                    }
                }
                c => {
                    let mut buffer = [0; 4];
                    bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        Err(error(start, "unterminated quoted string"))
    }
}

/// Takes one escape, which `text` begins with; gives its length in characters, all of them ASCII.
fn unescape(text: &str, quote: char, out: &mut Vec<u8>) -> Option<usize> {
    let kind = *text.as_bytes().get(1)?;
    let simple = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        kind if char::from(kind) == quote => kind,
        _ => {
            let (from, len, radix) = match kind {
                b'x' => (2, 2, 16),
                b'u' => (2, 4, 16),
                b'U' => (2, 8, 16),
                b'0'..=b'7' => (1, 3, 8),
                _ => return None,
            };
            let digits = text.get(from..from + len)?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let code = u32::from_str_radix(digits, radix).ok()?;
            match kind {
                b'u' | b'U' => {
                    let mut buffer = [0; 4];
                    out.extend_from_slice(
                        char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes(),
                    );
                }
                _ => out.push(u8::try_from(code).ok()?),
            }
            return Some(from + len);
        }
    };
    out.push(simple);
    Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Token]) {
        let found: Vec<Token> = tokens(text).expect(text).into_iter().map(|(t, _)| t).collect();
        assert_eq!(found[..found.len() - 1], *expected, "{text}");
    }

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn words_numbers_spans_texts() {
        use Token::*;
        check("a:b _c9 # all of it\n9", &[word("a:b"), word("_c9"), Number(9.0)]);
        check(
            "m[5m:1m]",
            &[
                word("m"),
                Symbol("["),
                Span(300_000_000_000),
                Symbol(":"),
                Span(60_000_000_000),
                Symbol("]"),
            ],
        );
        check("1e3 1.5E-2 .5 0x1F 1_000", &[1000.0, 0.015, 0.5, 31.0, 1000.0].map(Number));
        check("1d2h 3ms", &[Span(93_600_000_000_000), Span(3_000_000)]);
        check("a>=b", &[word("a"), Symbol(">="), word("b")]);
    }

    #[test]
    fn escapes_of_strings() {
        let text = |text: &str| Token::Text(text.to_owned());
        check(
            r#""a\"\n\x41\u00e9\101" 'it\'s' `raw\n`"#,
            &[text("a\"\nAéA"), text("it's"), text("raw\\n")],
        );
        for bad in [r#""a"#, r#""\q""#, r#""\xff""#, "\"a\nb\"", r#""\ud800""#, r#""\400""#, "'\\"]
        {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let error = tokens("a +\n  5x").expect_err("no number");
        assert_eq!(error.message, "2:3: parse error: bad number or duration syntax: \"5x\"");
        assert_eq!(error.position, Some(7));
        assert!(tokens("a ~ b").is_err() && tokens("1__0").is_err() && tokens("1e").is_err());
    }
}

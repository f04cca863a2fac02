//! Finding the ends of names, values and lines.
//!
//! A comma, equals sign or space belongs to a name when the byte before it is a backslash; any
//! other backslash stands for itself. Inside double quotes `\"` and `\\` are escapes, everything
//! else, newlines too, is text. That is what InfluxDB 1 and 2 do.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::Reason;
use super::number::{Number, number};

/// A field value as it stands in the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// `1i`, `1u`
    Int(i64),
    /// `1`, `1.5`, `1e3`
    Float(f64),
    /// `t`, `true`, …
    Bool(bool),
    /// Between double quotes; valid UTF-8; `escaped` if it holds `\"` or `\\`.
    Text {
        /// The bytes between the quotes.
        bytes: &'a [u8],
        /// Whether [`unescape_text`] has something to do.
        escaped: bool,
    },
    /// A bad reading that came without a value. No line can say it; a stale marker of Prometheus does.
    Missing,
}

/// A refusal, and where the search for the next line starts.
#[derive(Clone, Debug)]
pub struct Bad {
    /// Why.
    pub reason: Reason,
    /// Byte offset in the body; the next newline from here ends the refused line.
    pub at: usize,
}

impl Bad {
    pub(super) fn new(reason: impl Into<Reason>, at: usize) -> Bad {
        Bad { reason: reason.into(), at }
    }
}

/// First space that ends measurement and tags, or the newline that comes before any.
#[inline]
pub fn key_end(body: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b' ', b'\n', body.get(at..)?)?;
        if body[at] == b'\n' || at == from || body[at - 1] != b'\\' {
            return Some(at);
        }
        at += 1;
    }
}

/// First of `,`, `=` or space from `from` on that is not escaped.
pub fn name_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr3(b',', b'=', b' ', bytes.get(at..)?)?;
        if at == from || bytes[at - 1] != b'\\' {
            return Some(at);
        }
        at += 1;
    }
}

/// First comma from `from` on that is not escaped.
pub fn comma(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b',', bytes.get(at..)?)?;
        if at == from || bytes[at - 1] != b'\\' {
            return Some(at);
        }
        at += 1;
    }
}

/// Skips spaces and tabs.
#[inline]
pub fn skip_blanks(body: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = body.get(at) {
        at += 1;
    }
    at
}

/// Whether a line ends at `at`: a newline, CR and newline, or the end of the body.
#[inline]
pub fn is_line_end(body: &[u8], at: usize) -> bool {
    match body.get(at) {
        None | Some(b'\n') => true,
        Some(b'\r') => matches!(body.get(at + 1), None | Some(b'\n')),
        Some(_) => false,
    }
}

/// Offset of the next newline from `at` on, or the length of the body.
#[inline]
pub fn newline(body: &[u8], at: usize) -> usize {
    body.get(at..).and_then(|rest| memchr(b'\n', rest)).map_or(body.len(), |n| at + n)
}

/// A name without its escapes; `special` are the bytes that can be escaped in it.
pub fn unescape<'a>(raw: &'a [u8], special: &[u8]) -> Cow<'a, [u8]> {
    if memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(next) if byte == b'\\' && special.contains(next) => {}
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// Appends a text value without its escapes to `out`.
pub fn unescape_text(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(next @ (b'"' | b'\\')) => {
                out.push(*next);
                rest = &rest[at + 2..];
            }
            _ => {
                out.push(b'\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

/// Reads the value at `at`: the value and the offset behind it.
#[inline]
pub fn value(body: &[u8], at: usize) -> Result<(RawValue<'_>, usize), Bad> {
    let rest = body.get(at..).unwrap_or_default();
    match rest.first() {
        Some(b'0'..=b'9' | b'-' | b'+' | b'.') => match number(rest) {
            Ok((Number::Int(v), len)) => Ok((RawValue::Int(v), at + len)),
            Ok((Number::Float(v), len)) => Ok((RawValue::Float(v), at + len)),
            Err(reason) => Err(Bad { reason, at }),
        },
        Some(b'"') => text(body, at),
        None | Some(b',' | b' ' | b'\n' | b'\r') => Err(Bad::new("a field without a value", at)),
        Some(_) => boolean(body, at),
    }
}

fn boolean(body: &[u8], at: usize) -> Result<(RawValue<'_>, usize), Bad> {
    let rest = &body[at..];
    let len = rest
        .iter()
        .take(64)
        .position(|b| matches!(b, b',' | b' ' | b'\n' | b'\r'))
        .unwrap_or(rest.len().min(64));
    let word = &rest[..len];
    match word {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok((RawValue::Bool(true), at + len)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok((RawValue::Bool(false), at + len)),
        _ => {
            let word = shown(word);
            let reason = format!(
                "{word} is no value: text stands in double quotes, integers end in i, \
                 booleans are true or false"
            );
            Err(Bad::new(reason, at))
        }
    }
}

/// Reads a text value; `at` is its opening quote.
fn text(body: &[u8], at: usize) -> Result<(RawValue<'_>, usize), Bad> {
    let start = at + 1;
    let mut end = start;
    let mut escaped = false;
    loop {
        let Some(step) = body.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            // Nothing behind here can close it: only this line is given up, not the rest.
            return Err(Bad::new("a text value without closing quote", at));
        };
        end += step;
        if body[end] == b'"' {
            break;
        }
        let escape = matches!(body.get(end + 1), Some(b'"' | b'\\'));
        escaped |= escape;
        end += if escape { 2 } else { 1 };
    }
    let bytes = &body[start..end];
    if std::str::from_utf8(bytes).is_err() {
        return Err(Bad::new("a text value that is not UTF-8", end + 1));
    }
    Ok((RawValue::Text { bytes, escaped }, end + 1))
}

/// Length of the longest front of `buffer` that ends where a line ends, quoted newlines not
/// counted; 0 if no line is complete.
pub fn complete_lines(buffer: &[u8]) -> usize {
    let mut done = 0;
    loop {
        let end = newline(buffer, done);
        if end == buffer.len() {
            return done;
        }
        if memchr(b'"', &buffer[done..end]).is_none() {
            done = end + 1;
            continue;
        }
        match quoted_line_end(buffer, done) {
            Some(end) => done = end + 1,
            None => return done,
        }
    }
}

/// The newline that ends the line at `start` when it may hold quoted newlines.
fn quoted_line_end(buffer: &[u8], start: usize) -> Option<usize> {
    let first = skip_blanks(buffer, start);
    if buffer.get(first) == Some(&b'#') {
        return memchr(b'\n', &buffer[first..]).map(|n| first + n);
    }
    let mut at = key_end(buffer, first)?;
    loop {
        let step = memchr2(b'"', b'\n', buffer.get(at..)?)?;
        at += step;
        if buffer[at] == b'\n' {
            return Some(at);
        }
        if at > 0 && buffer[at - 1] == b'=' && at.checked_sub(2).is_none_or(|b| buffer[b] != b'\\')
        {
            at = match text(buffer, at) {
                Ok((_, end)) => end,
                Err(bad) if bad.at > at => bad.at,
                Err(_) => return None,
            };
        } else {
            at += 1;
        }
    }
}

/// Bytes from outside as they can stand in a message: short, printable.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    let more = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    format!("{:?}{more}", text)
}

//! The text format: a line a row, columns between delimiters, backslash escapes.

use memchr::{memchr, memchr2};

use super::target::Sink;
use super::{Header, Options};
use crate::error::QueryResult;

/// Where the reader stands.
#[derive(Default)]
pub(super) struct Reader {
    /// Bytes of the row under way that hold no end of a line.
    searched: usize,
    /// The header was read, if there is one.
    begun: bool,
    /// `\.` was read: what follows does not count.
    ended: bool,
    scratch: Vec<u8>,
}

impl Reader {
    /// Reads one row off the front of `input`; the bytes it took, `None` if its end is not there.
    pub(super) fn row(
        &mut self,
        input: &[u8],
        options: &Options,
        sink: &mut Sink,
    ) -> QueryResult<Option<usize>> {
        if self.ended {
            return Ok((!input.is_empty()).then_some(input.len()));
        }
        let Some(end) = self.find_end(input) else {
            self.searched = input.len();
            return Ok(None);
        };
        self.searched = 0;
        sink.next_line(1);
        let line = &input[..end];
        self.line(line.strip_suffix(b"\r").unwrap_or(line), options, sink)?;
        Ok(Some(end + 1))
    }

    /// Reads a last line that no newline ends.
    pub(super) fn end(
        &mut self,
        rest: &[u8],
        options: &Options,
        sink: &mut Sink,
    ) -> QueryResult<()> {
        if rest.is_empty() || self.ended {
            return Ok(());
        }
        sink.next_line(1);
        self.line(rest.strip_suffix(b"\r").unwrap_or(rest), options, sink)
    }

    /// The first newline that no backslash stands before.
    fn find_end(&self, input: &[u8]) -> Option<usize> {
        let mut from = self.searched.min(input.len());
        loop {
            let at = from + memchr(b'\n', &input[from..])?;
            let before = input[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            if before % 2 == 0 {
                return Some(at);
            }
            from = at + 1;
        }
    }

    fn line(&mut self, line: &[u8], options: &Options, sink: &mut Sink) -> QueryResult<()> {
        if line == b"\\." {
            self.ended = true;
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) && options.header != Header::No {
            if options.header == Header::Match {
                sink.check_header(line.split(|byte| *byte == options.delimiter))?;
            }
            return Ok(());
        }
        let null = options.null.as_bytes();
        let mut rest = line;
        let mut at = 0;
        loop {
            let (raw, escaped) = match memchr2(options.delimiter, b'\\', rest) {
                None => (rest, false),
                Some(end) if rest[end] == options.delimiter => (&rest[..end], false),
                Some(first) => (&rest[..cell_end(rest, first, options.delimiter)], true),
            };
            if raw == null {
                sink.text(at, None)?;
            } else if escaped {
                unescape(raw, &mut self.scratch);
                sink.text(at, Some(&self.scratch))?;
            } else {
                sink.text(at, Some(raw))?;
            }
            at += 1;
            match rest.get(raw.len()..) {
                Some([_, more @ ..]) => rest = more,
                _ => break,
            }
        }
        sink.end_row(at)
    }
}

/// The end of a cell in which an escape was found at `from`.
fn cell_end(rest: &[u8], mut from: usize, delimiter: u8) -> usize {
    while let Some(found) = rest.get(from..).and_then(|tail| memchr2(delimiter, b'\\', tail)) {
        let at = from + found;
        if rest[at] == delimiter {
            return at;
        }
        from = at + 2;
    }
    rest.len()
}

/// What the escapes of a cell stand for.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(letter) = bytes.next() else {
            // A backslash at the very end stands for itself, as in Postgres.
            out.push(b'\\');
            break;
        };
        out.push(match letter {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(letter - b'0');
                for _ in 0..2 {
                    match bytes.next_if(|byte| matches!(byte, b'0'..=b'7')) {
                        Some(digit) => value = value * 8 + u32::from(digit - b'0'),
                        None => break,
                    }
                }
                value as u8
            }
            b'x' if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0u32;
                for _ in 0..2 {
                    let digit = bytes.next_if(u8::is_ascii_hexdigit);
                    match digit.and_then(|digit| char::from(digit).to_digit(16)) {
                        Some(digit) => value = value * 16 + digit,
                        None => break,
                    }
                }
                value as u8
            }
            other => other,
        });
    }
}

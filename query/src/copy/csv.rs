//! CSV: values between delimiters, quoted where they hold delimiters, quotes or ends of lines.

use memchr::{memchr_iter, memchr2, memchr3};

use super::target::Sink;
use super::{Header, Options};
use crate::error::{QueryError, QueryResult};

/// Where the reader stands.
#[derive(Default)]
pub(super) struct Reader {
    /// Bytes of the row under way that were searched for its end, and whether a quote is open
    /// behind them.
    searched: usize,
    quoted: bool,
    begun: bool,
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
        let Some(end) = self.find_end(input, options) else { return Ok(None) };
        self.searched = 0;
        let line = &input[..end];
        sink.next_line(1);
        self.line(line.strip_suffix(b"\r").unwrap_or(line), options, sink)?;
        sink.next_line(memchr_iter(b'\n', line).count() as u64);
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
        if self.quoted {
            let error = QueryError::new("22P04", "unterminated CSV quoted field");
            return Err(sink.at_line(error));
        }
        self.line(rest.strip_suffix(b"\r").unwrap_or(rest), options, sink)
    }

    /// The first newline outside of quotes.
    fn find_end(&mut self, input: &[u8], options: &Options) -> Option<usize> {
        let (quote, escape) = (options.quote, options.escape);
        let mut from = self.searched.min(input.len());
        while let Some(found) = memchr3(b'\n', quote, escape, &input[from..]) {
            let at = from + found;
            let byte = input[at];
            from = at + 1;
            if byte == b'\n' {
                if !self.quoted {
                    return Some(at);
                }
            } else if byte == escape && escape != quote {
                match input.get(from) {
                    Some(next) if self.quoted && (*next == quote || *next == escape) => from += 1,
                    Some(_) => {}
                    // What it escapes has not come yet.
                    None => {
                        self.searched = at;
                        return None;
                    }
                }
            } else {
                // Two quotes in a row close and open again.
                self.quoted = !self.quoted;
            }
        }
        self.searched = input.len();
        None
    }

    fn line(&mut self, line: &[u8], options: &Options, sink: &mut Sink) -> QueryResult<()> {
        if line == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let header = !std::mem::replace(&mut self.begun, true) && options.header != Header::No;
        let mut names = Vec::new();
        let null = options.null.as_bytes();
        let mut rest = line;
        let mut at = 0;
        loop {
            let (taken, value) = match memchr2(options.delimiter, options.quote, rest) {
                None => (rest.len(), Some(rest)),
                Some(end) if rest[end] == options.delimiter => (end, Some(&rest[..end])),
                Some(_) => (quoted(rest, options, &mut self.scratch), None),
            };
            match value {
                _ if header => names.push(value.unwrap_or(&self.scratch).to_vec()),
                Some(raw) if raw == null => sink.text(at, None)?,
                Some(raw) => sink.text(at, Some(raw))?,
                // A quoted value is never NULL.
                None => sink.text(at, Some(&self.scratch))?,
            }
            at += 1;
            match rest.get(taken..) {
                Some([_, more @ ..]) => rest = more,
                _ => break,
            }
        }
        if !header {
            return sink.end_row(at);
        }
        match options.header {
            Header::Match => sink.check_header(names.iter().map(Vec::as_slice)),
            _ => Ok(()),
        }
    }
}

/// Reads a value that holds quotes; the bytes it took.
fn quoted(rest: &[u8], options: &Options, out: &mut Vec<u8>) -> usize {
    let (quote, escape) = (options.quote, options.escape);
    out.clear();
    let (mut at, mut open) = (0, false);
    while let Some(byte) = rest.get(at).copied() {
        let next = rest.get(at + 1).copied();
        if !open && byte == options.delimiter {
            break;
        }
        if open && byte == escape && next.is_some_and(|next| next == quote || next == escape) {
            out.extend(next);
            at += 2;
        } else if byte == quote {
            open = !open;
            at += 1;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    at
}

//! Line protocol from a file to the server: cut into requests at ends of lines.

use std::io::{self, Read};

use super::send::Chunk;

/// Longest line taken, bytes: a file without line ends must not fill the memory.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Cuts a stream of line protocol into chunks of whole lines.
pub struct LineChunks<R> {
    reader: R,
    chunk_bytes: usize,
    rest: Vec<u8>,
    /// Number of the first line in `rest`, from 1.
    line: u64,
    ended: bool,
}

impl<R: Read> LineChunks<R> {
    /// Chunks of about `chunk_bytes`.
    pub fn new(reader: R, chunk_bytes: usize) -> LineChunks<R> {
        LineChunks { reader, chunk_bytes, rest: Vec::new(), line: 1, ended: false }
    }

    /// The next chunk; `None` at the end.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            if !self.ended {
                let want = (self.chunk_bytes + self.chunk_bytes / 4).max(self.rest.len() + 65_536);
                let missing = (want - self.rest.len()) as u64;
                let got = (&mut self.reader).take(missing).read_to_end(&mut self.rest)? as u64;
                self.ended = got < missing;
            }
            if self.rest.is_empty() {
                return Ok(None);
            }
            let cut = if self.ended && self.rest.len() <= self.chunk_bytes * 2 {
                self.rest.len()
            } else {
                last_line_end(&self.rest, self.chunk_bytes)
            };
            if cut == 0 && self.ended {
                // One last line longer than a chunk.
                return Ok(Some(self.cut(self.rest.len())));
            }
            if cut > 0 {
                return Ok(Some(self.cut(cut)));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {} is longer than 64 MiB", self.line),
                ));
            }
            self.chunk_bytes = self.chunk_bytes.max(self.rest.len());
        }
    }

    fn cut(&mut self, at: usize) -> Chunk {
        let rest = self.rest.split_off(at);
        let body = std::mem::replace(&mut self.rest, rest);
        let first = self.line;
        self.line += body.iter().filter(|b| **b == b'\n').count() as u64;
        Chunk { body, first_line: first, lines: Vec::new() }
    }
}

/// End of the last whole line in `bytes[..limit]` (just after its `\n`), or of the first one if
/// that is longer; 0 if no line ends. A line end inside a quoted field value is none.
fn last_line_end(bytes: &[u8], limit: usize) -> usize {
    let window = &bytes[..limit.min(bytes.len())];
    if !bytes.contains(&b'"') {
        let last = window.iter().rposition(|b| *b == b'\n');
        return last.or_else(|| bytes.iter().position(|b| *b == b'\n')).map_or(0, |at| at + 1);
    }
    let (mut end, mut at) = (0, 0);
    while let Some(length) = line_length(&bytes[at..]) {
        at += length;
        if end > 0 && at > limit {
            break;
        }
        end = at;
        if end >= limit {
            break;
        }
    }
    end
}

/// Length of the first line with its `\n`; `None` if it does not end. Quotes count in the field
/// section only: in a measurement or a tag they are ordinary characters.
fn line_length(bytes: &[u8]) -> Option<usize> {
    let (mut in_fields, mut quoted, mut at) = (false, false, 0);
    let comment = bytes.first() == Some(&b'#');
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' if !quoted => return Some(at + 1),
            b'\\' => {
                at += usize::from(bytes.get(at + 1).is_some_and(|next| *next != b'\n' || quoted))
            }
            b' ' if !comment => in_fields = true,
            b'"' if in_fields => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    //! Tests of cutting line protocol.
    use super::*;
    use proptest::prelude::*;

    fn chunks(text: &str, bytes: usize) -> Vec<(u64, String)> {
        let mut chunks = LineChunks::new(text.as_bytes(), bytes);
        let mut out = Vec::new();
        while let Some(chunk) = chunks.next_chunk().unwrap() {
            out.push((chunk.first_line, String::from_utf8(chunk.body).unwrap()));
        }
        out
    }

    #[test]
    fn line_ends() {
        assert_eq!(line_length(b"a b=1\nc"), Some(6));
        assert_eq!(line_length(b"a b=\"x\ny\"\nc"), Some(10));
        assert_eq!(line_length(b"a,t=\" b=1\nc"), Some(10));
        assert_eq!(line_length(b"a b=\"x\\\"\ny\"\nc"), Some(12));
        assert_eq!(line_length(b"# a \"b\nc"), Some(7));
        assert_eq!(line_length(b"a b=\"x\ny"), None);
    }

    proptest! {
        #[test]
        fn chunks_are_whole_lines_and_lose_nothing(
            lines in prop::collection::vec("m,t=[a-z\"]{0,3} f=(1i|2\\.5|\"[a-z\\n]{0,9}\")", 1..60),
            bytes in 8usize..200,
        ) {
            // Small chunks are cut from what is read; the reader hands over at least 64 KiB.
            let text = lines.join("\n") + "\n";
            let parts = chunks(&text, bytes);
            let whole: String = parts.iter().map(|(_, part)| part.as_str()).collect();
            prop_assert_eq!(&whole, &text);
            let mut line = 1;
            for (first, part) in &parts {
                prop_assert_eq!(*first, line);
                line += part.matches('\n').count() as u64;
                let mut rest = part.as_bytes();
                while !rest.is_empty() {
                    let length = line_length(rest);
                    prop_assert!(length.is_some());
                    rest = &rest[length.unwrap()..];
                }
            }
        }
    }
}

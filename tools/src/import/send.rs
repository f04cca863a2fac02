//! Chunks of line protocol into the database: over HTTP, or straight into a folder that no
//! server has open.

use std::sync::Arc;
use std::time::Duration;

use ingest::{LineWriter, Precision};

use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::http::Client;

/// Whole lines of line protocol, times in ns.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The lines.
    pub body: Vec<u8>,
    /// Number of the first line in its file, from 1.
    pub first_line: u64,
    /// For lines made from another format: where each comes from; empty otherwise.
    pub lines: Vec<u64>,
}

impl Chunk {
    /// Line of the file from which line `line` (from 1) of this chunk comes.
    pub fn source_line(&self, line: u64) -> u64 {
        match self.lines.get((line as usize).saturating_sub(1)) {
            Some(source) => *source,
            None => self.first_line + line.saturating_sub(1),
        }
    }
}

/// What became of a chunk.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Rows written.
    pub rows: u64,
    /// Lines refused.
    pub refused: u64,
    /// Some of them: line in the chunk, from 1, and reason.
    pub told: Vec<(u64, String)>,
}

/// A road into the database; one for each worker.
pub enum Sender {
    /// `POST /write` of a running server.
    Http(Box<Client>),
    /// A folder opened by this process.
    Folder(Arc<LineWriter>),
}

impl Sender {
    /// A road over HTTP.
    pub fn http(connection: &Connection) -> Result<Sender> {
        Ok(Sender::Http(Box::new(connection.http()?)))
    }

    /// Writes a chunk; returns when it is durable. While the server is busy it waits.
    pub fn send(&mut self, body: &[u8]) -> Result<Sent> {
        match self {
            Sender::Http(client) => send_http(client, body),
            Sender::Folder(writer) => {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |d| d.as_nanos() as i64);
                let report = writer.write(body, Precision::Nanos, now)?;
                let told = report.refused.into_iter().map(|r| (r.line, r.reason)).collect();
                Ok(Sent { rows: report.rows, refused: report.refused_count, told })
            }
        }
    }
}

fn send_http(client: &mut Client, body: &[u8]) -> Result<Sent> {
    let mut waits = 0;
    loop {
        let response = client
            .post("/write?precision=ns", "text/plain; charset=utf-8", body)
            .map_err(|error| Failure::doing("sending to the server", error))?;
        match response.status {
            // Rows of a request without refused lines are counted by the caller.
            204 => return Ok(Sent { rows: count_rows(body), ..Sent::default() }),
            400 => return refused(&response.body),
            401 | 403 => return Err(Failure::new(format!("log-in: {}", response.text()))),
            // Nothing was written: busy, or out of room for now.
            429 | 503 if waits < 60 => {
                waits += 1;
                std::thread::sleep(Duration::from_millis(100 * waits.min(20)));
            }
            status => {
                return Err(Failure::new(format!("the server says {status}: {}", response.text())));
            }
        }
    }
}

/// Reads the answer to a request with refused lines.
fn refused(body: &[u8]) -> Result<Sent> {
    let wrong = || Failure::new(format!("the server refuses: {}", String::from_utf8_lossy(body)));
    let answer: serde_json::Value = serde_json::from_slice(body).map_err(|_| wrong())?;
    let lines = answer.get("lines").and_then(|lines| lines.as_array()).ok_or_else(wrong)?;
    let told: Vec<(u64, String)> = lines
        .iter()
        .filter_map(|line| {
            let reason = line.get("reason")?.as_str()?.to_owned();
            Some((line.get("line")?.as_u64()?, reason))
        })
        .collect();
    let number = |name: &str| answer.get(name).and_then(serde_json::Value::as_u64);
    let refused = number("refused").unwrap_or(told.len() as u64);
    if refused == 0 {
        return Err(wrong());
    }
    Ok(Sent { rows: number("written").unwrap_or(0), refused, told })
}

/// Lines that are neither blank nor comments. A line end inside a quoted text counts as a line
/// too: this number is shown, nothing depends on it.
pub fn count_rows(body: &[u8]) -> u64 {
    let rows = body.split(|b| *b == b'\n').filter(|line| {
        let first = line.iter().find(|b| !b.is_ascii_whitespace());
        first.is_some_and(|b| *b != b'#')
    });
    rows.count() as u64
}

#[cfg(test)]
mod tests {
    //! Tests of reading answers.
    use super::*;

    #[test]
    fn refused_lines_are_read() {
        let sent =
            refused(br#"{"error":"x","lines":[{"line":3,"reason":"no"}],"refused":7,"written":2}"#)
                .unwrap();
        assert_eq!((sent.rows, sent.refused, sent.told), (2, 7, vec![(3, "no".to_owned())]));
        assert!(refused(b"plain text").is_err());
        assert!(refused(br#"{"error":"no such precision"}"#).is_err());
        assert_eq!(count_rows(b"a b=1\n\n# c\n d e=2"), 2);
    }

    #[test]
    fn lines_are_traced_to_their_file() {
        let chunk = Chunk { body: vec![], first_line: 10, lines: vec![] };
        assert_eq!(chunk.source_line(3), 12);
        let chunk = Chunk { body: vec![], first_line: 10, lines: vec![4, 9] };
        assert_eq!(chunk.source_line(2), 9);
    }
}

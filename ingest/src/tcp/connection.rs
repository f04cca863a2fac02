//! One TCP connection: log-in, gathering lines, answering refusals.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use memchr::{memchr, memchr_iter};
use query::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Login, TcpOptions};
use crate::line::scan::complete_lines;
use crate::{LineWriter, Precision, Report};

/// Bytes of the log-in line.
const LOGIN_BYTES_MAX: usize = 4096;
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 64 << 10;

/// What a connection works with.
pub struct Parts {
    pub writer: Arc<LineWriter>,
    pub login: Arc<dyn Login>,
    pub options: TcpOptions,
    pub shutdown: watch::Receiver<bool>,
}

/// Serves one connection to its end.
pub async fn run(stream: TcpStream, peer: SocketAddr, parts: Parts) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut connection = Connection {
        reader,
        answers: writer,
        parts,
        buffer: Vec::new(),
        lines_before: 0,
        skipping: false,
        ended: false,
        rows: 0,
        refused: 0,
    };
    if connection.log_in(peer).await? {
        connection.lines().await?;
    }
    Ok(())
}

type Writing = JoinHandle<tsdb::Result<Report>>;

struct Connection {
    reader: OwnedReadHalf,
    answers: OwnedWriteHalf,
    parts: Parts,
    /// Bytes received and not yet given to the writer; starts at the start of a line.
    buffer: Vec<u8>,
    /// Lines given to the writer or skipped so far.
    lines_before: u64,
    /// Whether the buffer starts inside a line that is too long, whose rest is thrown away.
    skipping: bool,
    ended: bool,
    rows: u64,
    refused: u64,
}

impl Connection {
    /// Checks the first line; false if the sender was turned away.
    async fn log_in(&mut self, peer: SocketAddr) -> io::Result<bool> {
        let wait = self.parts.options.answer_wait;
        let Ok(line) = timeout(wait, self.first_line()).await else {
            self.answer("error: no log-in in time\n").await?;
            return Ok(false);
        };
        let line = line?;
        let credentials = line.as_deref().and_then(|line| line.strip_prefix("auth "));
        let Some(credentials) = credentials else {
            let open = self.parts.options.anonymous_on_loopback && peer.ip().is_loopback();
            if !open {
                self.answer("error: the first line must be: auth <user>:<password>\n").await?;
            }
            return Ok(open);
        };
        let Some((user, password)) = credentials.split_once(':') else {
            self.answer("error: the first line must be: auth <user>:<password>\n").await?;
            return Ok(false);
        };
        let (user, password) = (user.to_string(), password.to_string());
        let login = self.parts.login.clone();
        let verified = tokio::task::spawn_blocking(move || login.verify(&user, &password));
        match verified.await.map_err(io::Error::other)? {
            Ok(Identity { superuser: false, can_write: false, .. }) => {
                self.answer("error: this user may not write\n").await?;
                Ok(false)
            }
            Ok(_) => {
                self.lines_before += 1;
                let length = memchr(b'\n', &self.buffer).map_or(self.buffer.len(), |at| at + 1);
                self.buffer.drain(..length);
                self.answer("ok\n").await?;
                Ok(true)
            }
            Err(failed) => {
                let reason = failed.reason_for_log;
                tracing::warn!(%peer, reason, "line protocol log-in failed");
                self.answer("error: log-in failed\n").await?;
                Ok(false)
            }
        }
    }

    /// Reads until the buffer holds a line; `None` if it is no short text. The line stays in the
    /// buffer, since without log-in it may be the first row.
    async fn first_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer) {
                let line = std::str::from_utf8(&self.buffer[..end]).ok();
                return Ok(line.map(|line| line.trim_end_matches('\r').to_string()));
            }
            if self.buffer.len() > LOGIN_BYTES_MAX {
                return Ok(None);
            }
            if self.fill(LOGIN_BYTES_MAX).await? == 0 {
                self.ended = true;
                return Ok(std::str::from_utf8(&self.buffer).ok().map(str::to_string));
            }
        }
    }

    async fn fill(&mut self, bytes: usize) -> io::Result<usize> {
        self.buffer.reserve(bytes);
        (&mut self.reader).take(bytes as u64).read_buf(&mut self.buffer).await
    }

    /// The main loop: read, gather, write, answer.
    async fn lines(&mut self) -> io::Result<()> {
        let options = self.parts.options.clone();
        let line_max = self.parts.writer.limits().line_bytes_max;
        let buffer_max = (2 * options.batch_bytes_max).max(line_max.saturating_add(READ_BYTES));
        let mut shutdown = self.parts.shutdown.clone();
        let mut writing: Option<Writing> = None;
        let mut due = (!self.buffer.is_empty()).then(|| Instant::now() + options.batch_wait);
        loop {
            let full = self.buffer.len() >= options.batch_bytes_max;
            let is_due = full || self.ended || due.is_some_and(|due| due <= Instant::now());
            if writing.is_none() && is_due {
                due = None;
                writing = self.start_write(line_max).await?;
                if writing.is_none() && self.ended {
                    return self.say_good_bye().await;
                }
            }
            let room = !self.ended && self.buffer.len() < buffer_max;
            tokio::select! {
                report = finished(&mut writing) => {
                    writing = None;
                    if !self.tell(report?).await? {
                        return Ok(());
                    }
                    // What came meanwhile has waited long enough.
                    due = (!self.buffer.is_empty()).then(Instant::now);
                }
                read = self.fill(READ_BYTES), if room => {
                    self.ended = read? == 0;
                    self.skip();
                    due = due.or(Some(Instant::now() + options.batch_wait));
                }
                () = sleep_until(due), if writing.is_none() && due.is_some() => {}
                () = super::stopped(&mut shutdown), if !self.ended => {
                    // A line cut in the middle is not a line.
                    self.ended = true;
                    let end = complete_lines(&self.buffer);
                    self.buffer.truncate(end);
                }
            }
        }
    }

    /// Throws away the rest of a line that is too long.
    fn skip(&mut self) {
        if !self.skipping {
            return;
        }
        match memchr(b'\n', &self.buffer) {
            Some(end) => {
                self.buffer.drain(..=end);
                self.skipping = false;
                self.lines_before += 1;
            }
            None => self.buffer.clear(),
        }
    }

    /// Gives the complete lines to the writer, if there are any.
    async fn start_write(&mut self, line_max: usize) -> io::Result<Option<Writing>> {
        loop {
            let end = match complete_lines(&self.buffer) {
                _ if self.ended => self.buffer.len(),
                0 if self.buffer.len() > line_max => {
                    self.refuse_long_line(line_max).await?;
                    continue;
                }
                end => end,
            };
            if end == 0 {
                return Ok(None);
            }
            let rest = self.buffer.split_off(end);
            let chunk = std::mem::replace(&mut self.buffer, rest);
            let writer = self.parts.writer.clone();
            let before = self.lines_before;
            self.lines_before += memchr_iter(b'\n', &chunk).count() as u64;
            return Ok(Some(tokio::task::spawn_blocking(move || {
                let mut report = writer.write(&chunk, Precision::Nanos, now_ns())?;
                report.refused.iter_mut().for_each(|refused| refused.line += before);
                Ok(report)
            })));
        }
    }

    async fn refuse_long_line(&mut self, line_max: usize) -> io::Result<()> {
        self.refused += 1;
        let line = self.lines_before + 1;
        let answer = format!("error line {line}: the line is longer than {line_max} bytes\n");
        self.skipping = true;
        self.skip();
        self.answer(&answer).await
    }

    /// Answers what a write refused; false if the connection has to end.
    async fn tell(&mut self, report: tsdb::Result<Report>) -> io::Result<bool> {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                tracing::warn!(%error, "line protocol rows were not written");
                self.answer(&format!("error: {error}\n")).await?;
                return Ok(false);
            }
        };
        self.rows += report.rows;
        self.refused += report.refused_count;
        let mut answer = String::new();
        for refused in &report.refused {
            answer.push_str(&format!("error line {}: {}\n", refused.line, refused.reason));
        }
        let more = report.refused_count.saturating_sub(report.refused.len() as u64);
        if more > 0 {
            answer.push_str(&format!("error: {more} more lines refused\n"));
        }
        if !answer.is_empty() {
            self.answer(&answer).await?;
        }
        Ok(true)
    }

    async fn say_good_bye(&mut self) -> io::Result<()> {
        let answer = format!("ok rows={} refused={}\n", self.rows, self.refused);
        self.answer(&answer).await?;
        self.answers.shutdown().await
    }

    /// A sender that takes in no answers is cut off, so that it holds no memory for ever.
    async fn answer(&mut self, text: &str) -> io::Result<()> {
        let wait = self.parts.options.answer_wait;
        let sent = timeout(wait, self.answers.write_all(text.as_bytes())).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

async fn finished(writing: &mut Option<Writing>) -> io::Result<tsdb::Result<Report>> {
    match writing {
        Some(handle) => handle.await.map_err(io::Error::other),
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Time of lines without timestamp.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

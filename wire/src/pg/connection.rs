//! A logged-in connection: the message loop, the simple protocol, and how errors are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use query::{Outcome, QueryError, QueryResult, TransactionStatus};
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{Backend, BackendSession, error};
use super::cancel::CancelKey;
use super::encode::RowEncoder;
use super::extended::{Portal, Prepared};
use super::message::{self, Message};
use super::out::{self, Bare, Severity};
use super::rows::{self, Cursor};
use super::signals;
use super::socket::{End, Frame, ReadLimits, Socket, fatal};
use super::startup::LoggedIn;
use super::{Shared, stopping};
use query::text::zone::Zone;

/// Texts above this are parsed on a blocking thread, so that other connections go on.
const PARSE_INLINE_BYTES_MAX: usize = 64 * 1024;

/// What went wrong with a message: its statement alone, or the connection.
#[derive(Debug)]
pub enum Failure {
    Statement(QueryError),
    End(End),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Failure::Statement(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Failure::End(end)
    }
}

pub type StatementOf<B> = <<B as Backend>::Session as BackendSession>::Statement;

/// See the head of this file.
pub struct Connection<'a, S, B: Backend> {
    pub(super) socket: &'a mut Socket<S>,
    pub(super) shared: &'a Arc<Shared<B>>,
    pub(super) session: Arc<B::Session>,
    pub(super) statements: HashMap<String, Arc<Prepared<StatementOf<B>>>>,
    pub(super) portals: HashMap<String, Portal<StatementOf<B>>>,
    /// Whether ReadyForQuery was the last that the client was told.
    settled: bool,
    /// After an error in the extended protocol everything up to Sync is passed over.
    skipping: bool,
    /// The setting last seen and what it means.
    zone: (String, Zone),
    /// Settings as the client was last told them, and whether they may have changed since.
    told: Vec<(String, String)>,
    untold: bool,
    _key: CancelKey,
}

impl<'a, S, B> Connection<'a, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    B: Backend,
{
    /// Makes the session and greets the client.
    pub fn open(
        socket: &'a mut Socket<S>,
        shared: &'a Arc<Shared<B>>,
        logged_in: LoggedIn,
    ) -> Result<Self, End> {
        let mut secret = [0u8; 4];
        let random = aws_lc_rs::default_provider().secure_random;
        random.fill(&mut secret).map_err(|_| fatal("XX000", "no random numbers"))?;
        let session = Arc::new(shared.backend.session(logged_in.identity, &logged_in.settings));
        let stopped = Arc::clone(&session);
        let stop = Arc::new(move || stopped.cancel());
        let key = shared.cancels.enter(i32::from_be_bytes(secret), stop);
        session.set_process(key.process);
        let told = session.reported();
        for (name, value) in &told {
            out::parameter_status(&mut socket.out, name, value);
        }
        out::backend_key(&mut socket.out, key.process, key.secret);
        out::ready(&mut socket.out, session.transaction());
        Ok(Connection {
            socket,
            shared,
            session,
            statements: HashMap::new(),
            portals: HashMap::new(),
            settled: true,
            skipping: false,
            zone: ("UTC".to_owned(), Zone::Utc),
            told,
            untold: false,
            _key: key,
        })
    }

    /// Serves messages until the connection ends, and says why it did.
    pub async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        // Whatever still runs for this client runs for nobody.
        self.session.cancel();
        end
    }

    /// Reads and answers one message.
    async fn turn(&mut self) -> Result<(), End> {
        self.wait_for_message().await?;
        let limits = self.read_limits();
        let frame = self.socket.frame(&limits).await?;
        let kind = frame.kind;
        self.settled = matches!(kind, b'Q' | b'F' | b'S');
        if self.skipping && !matches!(kind, b'S' | b'X') {
            return Ok(());
        }
        match self.handle(frame).await {
            Ok(()) => {}
            Err(Failure::End(end)) => return Err(end),
            Err(Failure::Statement(error)) => {
                self.report(&error);
                self.skipping = message::is_extended(kind);
                // As in Postgres, any error ends the block, also one the session never saw.
                if self.session.transaction() == TransactionStatus::InTransaction {
                    self.session.fail().await;
                }
            }
        }
        if matches!(kind, b'Q' | b'F' | b'S') {
            if self.session.transaction() == TransactionStatus::Idle {
                self.portals.clear();
            }
            self.tell_settings();
            self.tell_notifications();
            out::ready(&mut self.socket.out, self.session.transaction());
            self.socket.flush().await
        } else {
            self.socket.flush_if_full().await
        }
    }

    pub(super) fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            body_bytes_max: self.shared.options.limits.message_bytes_max,
            large_bytes: Some(Arc::clone(&self.shared.large_bytes)),
        }
    }

    /// Tells what other sessions have notified, unless a transaction is open.
    fn tell_notifications(&mut self) {
        if self.session.transaction() == TransactionStatus::Idle {
            for notification in self.session.take_notifications() {
                out::notification(&mut self.socket.out, &notification);
            }
        }
    }

    /// Waits for the client, and tells it meanwhile what others notify.
    async fn wait_for_message(&mut self) -> Result<(), End> {
        let idle = self.shared.options.limits.idle_seconds_max;
        let until = idle.map(|seconds| tokio::time::Instant::now() + Duration::from_secs(seconds));
        while !self.wait_once(until).await? {
            self.tell_notifications();
        }
        Ok(())
    }

    /// Whether a message has come; else a notification has.
    async fn wait_once(&mut self, until: Option<tokio::time::Instant>) -> Result<bool, End> {
        // Nothing more to read: what is written so far need not wait for Sync.
        if !self.socket.has_input() {
            self.socket.flush().await?;
        }
        let idle_over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        // Between the messages of the extended protocol they wait for Sync.
        let listens = self.settled && self.session.transaction() == TransactionStatus::Idle;
        let open = self.session.idle_timeout();
        let left_open = async {
            match open {
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Err(stopping()),
            () = self.session.terminated() => Err(stopping()),
            head = self.socket.head() => head.map(|()| true),
            () = self.session.notified(), if listens => Ok(false),
            () = left_open => {
                let words = "terminating connection due to idle-in-transaction timeout";
                Err(fatal("25P03", words))
            }
            () = idle_over => {
                Err(fatal("57P05", "terminating connection due to idle-session timeout"))
            }
        }
    }

    /// Tells settings that changed without being named, by ROLLBACK or RESET ALL.
    fn tell_settings(&mut self) {
        if !std::mem::take(&mut self.untold) {
            return;
        }
        let now = self.session.reported();
        for (name, value) in now.iter().filter(|setting| !self.told.contains(setting)) {
            out::parameter_status(&mut self.socket.out, name, value);
        }
        self.told = now;
    }

    fn report(&mut self, error: &QueryError) {
        signals::failed(error);
        tracing::debug!(code = error.code, message = %error.message, "a statement failed");
        out::report(&mut self.socket.out, Severity::Error, error);
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Failure> {
        let kind = frame.kind;
        let message = message::decode(kind, frame.body.clone()).map_err(|malformed| {
            let (code, words) = malformed.error(kind);
            error(code, words)
        })?;
        match message {
            Message::Query(sql) => self.simple_query(&sql).await,
            Message::Parse { name, sql, types } => self.parse_message(name, &sql, &types).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe(&target),
            Message::Close(target) => {
                self.close(&target);
                Ok(())
            }
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max).await,
            Message::Flush => Ok(self.socket.flush().await?),
            Message::Sync => {
                self.skipping = false;
                Ok(())
            }
            Message::Terminate => Err(End::Terminated.into()),
            Message::Password(_) => {
                Err(fatal("08P01", "unexpected message \"p\" after log-in").into())
            }
            // Still on their way from a client whose COPY has failed.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::FunctionCall => {
                Err(error("0A000", "function call messages are not supported".to_owned()).into())
            }
        }
    }

    /// Runs the statements of a text one after another up to the first that fails. Several share
    /// an implicit transaction block, as far as BEGIN has not opened another.
    async fn simple_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.portals.remove("");
        let mut statements = self.parse(sql).await?;
        statements.retain(|statement| !B::Session::is_empty(statement));
        if statements.is_empty() {
            out::bare(&mut self.socket.out, Bare::EmptyQuery);
        }
        let last = statements.len().saturating_sub(1);
        for (at, statement) in statements.iter().enumerate() {
            if last > 0 {
                self.session.begin_implicit();
            }
            let started = Instant::now();
            let done = self.run_simple(statement, at == last).await;
            signals::statement(started.elapsed());
            if done.is_err() {
                self.session.abort_implicit();
            }
            done?;
        }
        Ok(())
    }

    /// Runs one statement. The last of a text is told as done once its implicit block is committed.
    async fn run_simple(&mut self, statement: &StatementOf<B>, last: bool) -> Result<(), Failure> {
        let before = self.session.transaction();
        let Some((statement, params)) = self.resolve(statement, &[]).await? else {
            return match last {
                true => Ok(self.session.end_implicit().await?),
                false => Ok(()),
            };
        };
        let outcome = self.socket.watch(self.session.execute(&statement, &params)).await??;
        match outcome {
            Outcome::Rows { schema, stream, verb } => {
                let encoder = RowEncoder::new(&schema, &[], self.zone())?;
                encoder.describe(&mut self.socket.out);
                let mut cursor = Cursor::new(stream, encoder, verb);
                let sent = rows::send(self.socket, &mut cursor, u64::MAX).await?;
                if last {
                    self.session.end_implicit().await?;
                }
                self.warn();
                out::command_complete(&mut self.socket.out, &cursor.tag(sent.rows));
            }
            other => {
                let done = self.copy(other).await?;
                if last {
                    self.session.end_implicit().await?;
                }
                self.warn();
                match done {
                    Ok(tag) => out::command_complete(&mut self.socket.out, &tag),
                    Err(other) => self.finish(&other, before),
                }
            }
        }
        Ok(())
    }

    /// Tells what a statement has to warn of, before its end.
    pub(super) fn warn(&mut self) {
        for warning in self.session.take_warnings() {
            let severity = match warning.code {
                "00000" => Severity::Notice,
                _ => Severity::Warning,
            };
            out::report(&mut self.socket.out, severity, &warning);
        }
    }

    /// Tells the end of a statement without rows. `before`: state of the transaction before it.
    pub(super) fn finish(&mut self, outcome: &Outcome, before: TransactionStatus) {
        match outcome {
            Outcome::Done { tag } => {
                if let Some(warning) = warning(tag, before) {
                    out::report(&mut self.socket.out, Severity::Warning, &warning);
                }
                if tag == "DISCARD ALL" {
                    self.statements.clear();
                    self.portals.clear();
                }
                self.untold = true;
                out::command_complete(&mut self.socket.out, tag);
            }
            Outcome::Set { tag, name, value } => {
                out::parameter_status(&mut self.socket.out, name, value);
                out::command_complete(&mut self.socket.out, tag);
                for setting in self.told.iter_mut().filter(|setting| setting.0 == *name) {
                    setting.1.clone_from(value);
                }
            }
            Outcome::Empty => out::bare(&mut self.socket.out, Bare::EmptyQuery),
            // Rows are sent by whoever holds their stream.
            Outcome::Rows { .. } | Outcome::CopyIn { .. } | Outcome::CopyOut { .. } => {}
        }
    }

    /// Splits and parses a text.
    pub(super) async fn parse(&mut self, sql: &str) -> Result<Vec<StatementOf<B>>, Failure> {
        let max = self.shared.options.limits.statement_bytes_max;
        if sql.len() > max {
            let words = format!("a statement of {} bytes is above the limit of {max}", sql.len());
            return Err(error("54000", words).into());
        }
        if sql.len() <= PARSE_INLINE_BYTES_MAX {
            return Ok(self.session.parse(sql)?);
        }
        let (session, sql) = (Arc::clone(&self.session), sql.to_owned());
        let parsed = tokio::task::spawn_blocking(move || session.parse(&sql)).await;
        let parsed: QueryResult<_> = parsed.map_err(|_| fatal("XX000", "the parser failed"))?;
        Ok(parsed?)
    }

    /// The session's time zone. One that is unknown here shows as UTC, with its offset.
    pub(super) fn zone(&mut self) -> Zone {
        let setting = self.session.setting("TimeZone").unwrap_or_default();
        if setting != self.zone.0 {
            let zone = Zone::from_setting(&setting).unwrap_or_default();
            self.zone = (setting, zone);
        }
        self.zone.1
    }
}

/// What Postgres warns of when a block is opened within a block, or ended where there is none.
fn warning(tag: &str, before: TransactionStatus) -> Option<QueryError> {
    let idle = before == TransactionStatus::Idle;
    match tag {
        "BEGIN" | "START TRANSACTION" if !idle => {
            Some(error("25001", "there is already a transaction in progress".to_owned()))
        }
        "COMMIT" | "ROLLBACK" if idle => {
            Some(error("25P01", "there is no transaction in progress".to_owned()))
        }
        _ => None,
    }
}

//! One connection's side of SQL: user, settings, transaction, and how each statement runs.
//!
//! Statements of a session run one at a time; only [`Session::cancel`] may be called beside.
//! Planning and running happen on the query runtime; the caller's thread only waits.

mod cursor;
mod implicit;
mod known;
mod live;
mod named;
mod prom;
mod query;
mod savepoint;
mod setting;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::DataType;
use datafusion::execution::config::SessionConfig;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use tsdb::{LeftOut, Quarantined, Snapshot};

use crate::activity::{Client, Query};
use crate::copy::{self, CopyIn};
use crate::engine::Engine;
use crate::error::{QueryError, QueryResult, place};
use crate::names::Names;
use crate::notify::{Action, Notification};
use crate::plan::{self, PlanContext};
use crate::relational::def::Relations;
use crate::run::Stop;
use crate::settings::Settings;
use crate::statement::cursor::OfCursor;
use crate::statement::{self, Kind, OfPrepared, SetValue, Statement};
use crate::view::Views;
use crate::{Description, Identity, Outcome, change, ddl, insert, relational};

pub(crate) use cursor::CursorInfo;
use cursor::Cursors;
use known::Known;
pub(crate) use live::limit_rows;
pub(crate) use query::{AbortOnDrop, Change, Tree, has_params};
use transaction::Transaction;
pub use transaction::TransactionStatus;

/// State of one connection: user, settings, transaction.
pub struct Session {
    engine: Arc<Engine>,
    identity: Arc<Identity>,
    state: Mutex<State>,
    /// The connection as others see it.
    client: Arc<Client>,
    /// Statements that came lately, with the plans that are kept with them.
    known: Mutex<Known>,
    /// Never used again; temporary tables are known by it.
    number: u64,
    /// Whether it has made a temporary table or view.
    temporary: AtomicBool,
    /// What the client is to be told besides.
    notices: Mutex<Vec<QueryError>>,
    /// What readers were spared since bad blocks keep it.
    left_out: Arc<LeftOut>,
}

struct State {
    settings: Arc<Settings>,
    /// DataFusion's settings for the zone below, and those for small statements.
    config: (SessionConfig, SessionConfig),
    zone: String,
    transaction: Option<Transaction>,
    /// Cursors that have outlived their blocks.
    held: Cursors,
    /// The statement that runs, or ran last.
    query: Option<Arc<Query>>,
    /// Columns of its result whose objects are wanted as numbers.
    numbered: Arc<[bool]>,
    /// A COPY FROM STDIN under way.
    copy: Option<CopyIn>,
}

impl State {
    /// Whether nothing may be written.
    fn is_read_only(&self) -> bool {
        let read_only = match &self.transaction {
            Some(block) => block.read_only(),
            None => self.settings.is_on("default_transaction_read_only"),
        };
        read_only || self.settings.is_on("transaction_read_only")
    }
}

impl Session {
    pub(crate) fn new(
        engine: Arc<Engine>,
        identity: Identity,
        start_up: &[(String, String)],
    ) -> Session {
        let version = engine.options().version.clone();
        let mut settings = Settings::of_role(&identity, &version);
        for (name, value) in start_up {
            if let Err(error) = settings.start_up(name, value) {
                tracing::debug!(name, %error, "a start-up parameter was left out");
            }
        }
        let zone = settings.zone().to_string();
        let config = plan::config(&zone, engine.options().threads);
        let config = (config.clone(), plan::small(&config));
        let settings = Arc::new(settings);
        let identity = Arc::new(identity);
        let number = engine.relational().next_session();
        let client = engine.activity().connect(Arc::clone(&identity));
        client.set_application(settings.get("application_name").unwrap_or_default());
        Session {
            engine,
            identity,
            state: Mutex::new(State {
                settings,
                config,
                zone,
                transaction: None,
                held: Cursors::default(),
                query: None,
                numbered: Arc::default(),
                copy: None,
            }),
            client,
            known: Mutex::default(),
            number,
            temporary: AtomicBool::new(false),
            notices: Mutex::default(),
            left_out: Arc::default(),
        }
    }

    /// What the client is to be told and warned of since the last call, at the end of a statement;
    /// `00000` is a notice.
    pub fn take_warnings(&self) -> Vec<QueryError> {
        let told = std::mem::take(&mut *self.notices.lock());
        told.into_iter().chain(left_out(&self.left_out.take())).collect()
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Splits and parses a text of one or more statements.
    ///
    /// # Errors
    /// `42601` with a position, `54001` for texts nested too deeply.
    pub fn parse(&self, sql: &str) -> QueryResult<Vec<Statement>> {
        if let Some(known) = self.known.lock().find(sql) {
            self.engine.caches().statements.hit();
            return Ok(vec![known]);
        }
        self.engine.caches().statements.miss();
        let statements = statement::parse(sql)?;
        if let [statement] = &statements[..] {
            self.known.lock().keep(sql, statement);
        }
        Ok(statements)
    }

    /// Tells parameters and columns. `given`: parameter types the client declared, by number;
    /// `None` where it left them open.
    ///
    /// # Errors
    /// What planning finds wrong.
    pub async fn describe(
        &self,
        statement: &Statement,
        given: &[Option<DataType>],
    ) -> QueryResult<Description> {
        let none = || Description { params: Vec::new(), fields: None };
        let resolved = match self.has_failed() {
            true => Ok(statement.clone()),
            false => self.resolved(statement),
        };
        let statement = &resolved.map_err(|e| place(self.readable(e), statement.source()))?;
        let described = match statement.kind() {
            Kind::Query(_) | Kind::Insert(_) | Kind::Delete(_) | Kind::Update(_)
                if self.has_failed() =>
            {
                return Err(aborted());
            }
            Kind::Query(ast) => match self.describe_native(statement, ast, given) {
                Some(fields) => Ok(Description { fields: Some(fields), ..none() }),
                None => {
                    let names = Names::of(ast);
                    self.describe_query(Tree::of(statement), names, given).await
                }
            },
            Kind::Delete(_) | Kind::Update(_) => change::describe(self, statement, given).await,
            Kind::Insert(insert) => insert::describe(self, insert, statement, given).await,
            Kind::Merge(_) => {
                let tree = Tree::of_change(statement, change::By::Key);
                let inner = self.describe_query(tree, Names::default(), given).await;
                inner.map(|d| Description { fields: None, ..d })
            }
            Kind::OfCursor(OfCursor::Declare { statement, .. }) => match statement.kind() {
                Kind::Query(_) if self.has_failed() => return Err(aborted()),
                Kind::Query(ast) => {
                    let names = Names::of(ast);
                    let inner = self.describe_query(Tree::of(statement), names, given).await;
                    inner.map(|d| Description { fields: None, ..d })
                }
                _ => Ok(none()),
            },
            Kind::OfCursor(of) => {
                self.described_cursor(of).map(|fields| Description { fields, ..none() })
            }
            Kind::Explain { .. } => {
                let names = Names::default();
                let inner = self.describe_query(Tree::of(statement), names, given).await;
                inner.map(|d| Description { fields: Some(crate::explain::schema()), ..d })
            }
            Kind::Show(name) => self
                .show_schema(name)
                .map(|fields| Description { params: Vec::new(), fields: Some(fields) }),
            Kind::ShowAll => {
                Ok(Description { params: Vec::new(), fields: Some(setting::all_schema()) })
            }
            _ => Ok(none()),
        };
        described.map_err(|e| place(self.readable(e), statement.source()))
    }

    /// Runs a statement. Rows come as a stream; everything else is done when this returns.
    ///
    /// # Errors
    /// With the SQLSTATE that Postgres would give. In a transaction block an error makes it
    /// fail: until its end all statements but COMMIT and ROLLBACK give `25P02`.
    pub async fn execute(
        &self,
        statement: &Statement,
        params: &[ScalarValue],
    ) -> QueryResult<Outcome> {
        self.execute_numbered(statement, params, &[]).await
    }

    /// As [`Session::execute`]; columns of `regclass` and its kin that `numbered` marks by their
    /// place come as numbers, not as names.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn execute_numbered(
        &self,
        statement: &Statement,
        params: &[ScalarValue],
        numbered: &[bool],
    ) -> QueryResult<Outcome> {
        let numbered = if numbered.contains(&true) { numbered.into() } else { Arc::default() };
        self.state.lock().numbered = numbered;
        let live = self.enter(statement)?;
        let done = self.run(statement, params).await;
        self.state.lock().numbered = Arc::default();
        if done.is_err() {
            self.fail();
        }
        let done = done.map_err(|e| place(self.readable(e), statement.source()));
        self.leave(live, done)
    }

    async fn run(&self, statement: &Statement, params: &[ScalarValue]) -> QueryResult<Outcome> {
        let kind = statement.kind();
        let ends = matches!(
            kind,
            Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_) | Kind::Empty
        );
        if !ends && self.has_failed() {
            return Err(aborted());
        }
        let statement = &self.resolved(statement)?;
        let kind = statement.kind();
        self.commit_before(statement).await?;
        let done = |tag: &str| Ok(Outcome::Done { tag: tag.to_string() });
        match kind {
            Kind::Empty => Ok(Outcome::Empty),
            Kind::Nothing(tag) => done(tag),
            Kind::Unsupported(error) => Err(error.clone()),
            Kind::Query(ast) => {
                if let Some(call) = setting::config_call(ast) {
                    return self.select_config(ast, call, params).await;
                }
                self.query(statement, ast, params).await
            }
            Kind::Explain { asked, .. } => self.explain(statement, params, *asked).await,
            Kind::Insert(ast) => insert::run(self, statement, ast, params).await,
            Kind::Delete(ast) => change::delete(self, statement, ast, params).await,
            Kind::Update(ast) => change::update(self, statement, ast, params).await,
            Kind::Truncate(ast) => change::truncate(self, ast).await,
            Kind::Merge(ast) => relational::merge(self, statement, ast, params).await,
            Kind::Copy(ast) => copy::run(self, ast, statement.source()).await,
            Kind::Set { name, value, local } => self.set(name, value, *local),
            Kind::Show(name) => self.show(name),
            Kind::ShowAll => self.show_all(),
            Kind::Reset(name) => self.reset(name.as_deref()),
            Kind::Discard => {
                if self.in_block() {
                    return Err(in_block("DISCARD ALL"));
                }
                self.reset(None)?;
                self.client.numbers.clear();
                self.notify(&Action::Unlisten(None))?;
                if self.temporary.load(Ordering::Relaxed) {
                    relational::drop_of_session(&self.engine, self.number).await?;
                }
                self.close_cursors()?;
                done("DISCARD ALL")
            }
            Kind::Begin { read_only } => self.begin(*read_only),
            Kind::Commit { and_chain } => self.commit(*and_chain).await,
            Kind::Rollback { and_chain } => self.rollback(*and_chain),
            Kind::Savepoint(name) => self.savepoint(name),
            Kind::Release(name) => self.release(name),
            Kind::RollbackTo(name) => self.rollback_to(name),
            Kind::Notify(action) => self.notify(action),
            Kind::OfCursor(of) => self.of_cursor(statement, of, params).await,
            Kind::OfPrepared(OfPrepared::Deallocate(None)) => done("DEALLOCATE ALL"),
            Kind::OfPrepared(
                OfPrepared::Deallocate(Some(name)) | OfPrepared::Execute { name, .. },
            ) => {
                let message = format!("prepared statement \"{name}\" does not exist");
                Err(QueryError::new("26000", message))
            }
            Kind::OfPrepared(OfPrepared::Prepare { .. }) => Err(QueryError::unsupported("PREPARE")
                .with_hint("Statements are prepared over the Postgres protocol.")),
            Kind::SetTransaction { read_only, session } => {
                self.set_transaction(*read_only, *session)
            }
            _ => ddl::run(self, statement).await,
        }
    }

    /// State of the transaction block; an implicit one is none that clients know of.
    pub fn transaction(&self) -> TransactionStatus {
        match &self.state.lock().transaction {
            None => TransactionStatus::Idle,
            Some(block) if block.is_implicit() => TransactionStatus::Idle,
            Some(block) if block.has_failed() => TransactionStatus::Failed,
            Some(_) => TransactionStatus::InTransaction,
        }
    }

    /// Whether the session sees a table of that name, of series or relational.
    ///
    /// # Errors
    /// `XX001` for damaged definitions.
    pub fn has_table(&self, name: &str) -> QueryResult<bool> {
        let series = self.snapshot().table(name).is_some();
        Ok(series || relational::find(self, name)?.is_some())
    }

    /// Ends the running statement with 57014; from any thread.
    pub fn cancel(&self) {
        self.client.cancel.send_replace(true);
    }

    /// The number by which clients know this connection.
    pub fn set_process(&self, process: i32) {
        self.client.set_process(process);
    }

    /// Resolves when somebody wants the connection to end. May be dropped and called again.
    pub async fn terminated(&self) {
        self.client.ended().await;
    }

    /// Resolves when a notification waits. May be dropped and called again.
    pub async fn notified(&self) {
        self.client.inbox.come().await;
    }

    /// Takes the notifications that wait; to be asked between transactions.
    pub fn take_notifications(&self) -> Vec<Notification> {
        self.client.inbox.take()
    }

    /// Does it now, or when the open block commits.
    fn notify(&self, action: &Action) -> QueryResult<Outcome> {
        let tag = match action {
            Action::Listen(_) => "LISTEN",
            Action::Unlisten(_) => "UNLISTEN",
            Action::Notify { .. } => "NOTIFY",
        };
        let actions = vec![action.clone()];
        let waits = self.later(&actions)?;
        if !waits {
            self.engine.channels().check(&self.client.inbox, &actions)?;
            self.apply_actions(actions);
        }
        Ok(Outcome::Done { tag: tag.to_string() })
    }

    fn apply_actions(&self, actions: Vec<Action>) {
        if !actions.is_empty() {
            self.engine.channels().apply(self.client.process(), &self.client.inbox, actions);
        }
    }

    /// How long the client of an open transaction block may stay silent; `None`: no limit.
    pub fn idle_timeout(&self) -> Option<std::time::Duration> {
        let state = self.state.lock();
        let block = state.transaction.as_ref().filter(|block| !block.is_implicit());
        block.and_then(|_| state.settings.idle_in_transaction_timeout())
    }

    /// Sets a setting as SET does, for callers that have the value apart.
    ///
    /// # Errors
    /// As SET: `42704` for an unknown name, `22023` for a value that it cannot have.
    pub fn set_setting(&self, name: &str, value: &str) -> QueryResult<()> {
        self.set(name, &SetValue::Text(value.to_string()), false).map(drop)
    }

    /// Value of a setting as SHOW gives it.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings().get(name).map(str::to_string)
    }

    /// Settings to report at start-up: (name, value).
    pub fn reported(&self) -> Vec<(String, String)> {
        self.settings().reported()
    }

    /// What others know of this connection.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.state.lock().settings.clone()
    }

    /// The relational tables of a snapshot that this session sees.
    pub(crate) fn relations(&self, snapshot: &Snapshot) -> QueryResult<Arc<Relations>> {
        self.engine.relational().seen(snapshot, self.number)
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Tells the client something at the end of the statement.
    pub(crate) fn notice(&self, text: String) {
        self.notices.lock().push(QueryError::new("00000", text));
    }

    /// Tells the client what else a DROP takes along.
    pub(crate) fn notice_cascades(&self, told: &[String]) {
        let cascades = |what: &String| format!("drop cascades to {what}");
        match told {
            [] => {}
            [one] => self.notice(cascades(one)),
            several => {
                let message = format!("drop cascades to {} other objects", several.len());
                let all: Vec<String> = several.iter().map(cascades).collect();
                let notice = QueryError::new("00000", message).with_detail(all.join("\n"));
                self.notices.lock().push(notice);
            }
        }
    }

    /// It makes a temporary table or view.
    pub(crate) fn note_temporary(&self) {
        self.temporary.store(true, Ordering::Relaxed);
    }

    /// The views that this statement sees.
    pub(crate) fn views(&self) -> QueryResult<Arc<Views>> {
        self.engine.views().seen(&self.snapshot(), self.number)
    }

    /// What ends the statement that runs, for one more of its parts.
    pub(crate) fn stop(&self) -> Stop {
        match &self.state.lock().query {
            Some(query) => query.stop(),
            None => Stop::new(self.client.cancel.subscribe(), None),
        }
    }

    /// The statement that runs.
    pub(crate) fn query_now(&self) -> QueryResult<Arc<Query>> {
        let query = self.state.lock().query.clone();
        query.ok_or_else(|| QueryError::internal("a statement runs that never began"))
    }

    /// The snapshot of this statement: the transaction's, or the newest.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut state = self.state.lock();
        match &mut state.transaction {
            // Each statement of an implicit block sees what is newest.
            Some(block) if !block.is_implicit() || !block.pending.is_empty() => {
                block.snapshot(&self.engine)
            }
            _ => self.engine.db().snapshot(),
        }
    }

    /// All that planning a statement needs.
    pub(crate) fn context(&self, text: &str) -> PlanContext {
        let snapshot = self.snapshot();
        let mut state = self.state.lock();
        if state.zone != state.settings.zone() {
            state.zone = state.settings.zone().to_string();
            let config = plan::config(&state.zone, self.engine.options().threads);
            state.config = (config.clone(), plan::small(&config));
        }
        let query = state.query.clone();
        let block = state.transaction.as_ref().map(|b| (b.written(), b.is_implicit()));
        let pending = state.transaction.as_ref().map(|b| b.pending.clone()).unwrap_or_default();
        let of_block = state.transaction.as_ref().map(|b| &b.cursors);
        let cursors = of_block.into_iter().chain([&state.held]).flat_map(Cursors::shown).collect();
        let numbered = state.numbered.clone();
        let read_only = state.is_read_only();
        let context = PlanContext::new(
            self.engine.clone(),
            snapshot,
            state.settings.clone(),
            self.identity.clone(),
            state.config.clone(),
            text,
        );
        let mut context = context
            .with_cursors(cursors)
            .with_pending(pending)
            .of_session(self.number)
            .of_run(self.client.clone(), query);
        context.numbered = numbered;
        context.read_only = read_only;
        match block {
            Some((written, false)) => context.in_block(written),
            Some((written, true)) => context.after_writes(written),
            None => context,
        }
    }

    /// A context in which bad blocks do not fail a SELECT, if the session asks for that. Statements
    /// that change rows never pass them over.
    pub(crate) fn reading(&self, mut context: PlanContext) -> PlanContext {
        if context.settings.is_on("millrace.skip_quarantined") {
            let left_out = Arc::clone(&self.left_out);
            context.snapshot = context.snapshot.clone().without_quarantined(left_out);
        }
        context
    }

    pub(crate) fn keep_copy(&self, copy: CopyIn) {
        self.state.lock().copy = Some(copy);
    }

    /// The COPY under way, to go on with it.
    pub(crate) fn take_copy(&self) -> QueryResult<CopyIn> {
        let copy = self.state.lock().copy.take();
        copy.ok_or_else(|| QueryError::new("08P01", "there is no COPY under way"))
    }

    pub(crate) fn with_copy<T>(&self, look: impl FnOnce(&CopyIn) -> T) -> Option<T> {
        self.state.lock().copy.as_ref().map(look)
    }

    /// Runs work on the query runtime, whose stacks take deep trees.
    pub(crate) async fn on_workers<T: Send + 'static>(
        &self,
        work: impl Future<Output = QueryResult<T>> + Send + 'static,
    ) -> QueryResult<T> {
        match self.engine.runtime()?.spawn(work).await {
            Ok(done) => done,
            Err(error) => Err(QueryError::internal(format!("a statement's task: {error}"))),
        }
    }

    /// As [`Session::blocking`], for work that its client need not wait for: when the statement must
    /// end it does, and what was begun goes on behind it.
    pub(crate) async fn stoppable<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> QueryResult<T> + Send + 'static,
    ) -> QueryResult<T> {
        let done = self.stop().guard(self.blocking(work)).await;
        done.map_err(|error| match error.code {
            "57014" => error.with_detail("What was begun goes on in the background."),
            _ => error,
        })
    }

    /// Runs work that may block on a thread made for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> QueryResult<T> + Send + 'static,
    ) -> QueryResult<T> {
        let runtime = self.engine.runtime()?;
        match runtime.spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => Err(QueryError::internal(format!("a statement's task: {error}"))),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.temporary.load(Ordering::Relaxed) {
            relational::drop_all(&self.engine, self.number);
        }
        self.engine.activity().disconnect(&self.client);
    }
}

/// `01000`: rows were left out, and which.
fn left_out(bad: &[Quarantined]) -> Option<QueryError> {
    if bad.is_empty() {
        return None;
    }
    let message = format!("rows of {} bad blocks in quarantine were left out", bad.len());
    let shown = bad.iter().take(LEFT_OUT_SHOWN);
    let mut lines: Vec<String> = shown.map(|bad| format!("{}: {}", bad.path, bad.block)).collect();
    if bad.len() > LEFT_OUT_SHOWN {
        lines.push(format!("and {} more", bad.len() - LEFT_OUT_SHOWN));
    }
    Some(QueryError::new("01000", message).with_detail(lines.join("\n")).with_hint(QUARANTINE_HINT))
}

/// Bad blocks that a warning names.
const LEFT_OUT_SHOWN: usize = 5;
const QUARANTINE_HINT: &str = "See sys.quarantine; `millrace repair --from URL` brings them back.";

fn aborted() -> QueryError {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    QueryError::new("25P02", message)
}

/// `25001`: the statement cannot run in a transaction block.
pub(crate) fn in_block(what: &str) -> QueryError {
    QueryError::new("25001", format!("{what} cannot run inside a transaction block"))
}

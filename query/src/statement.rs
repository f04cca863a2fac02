//! From text to statements: splitting, and parsing into what the session knows how to run.
//!
//! Words of administration (SET, SHOW, BEGIN, VACUUM, CREATE USER …) are read here off the
//! tokens; everything that plans goes through sqlparser's Postgres dialect.

pub(crate) mod backup;
pub(crate) mod clauses;
pub(crate) mod comment;
pub(crate) mod copy;
mod created;
pub(crate) mod cursor;
mod depth;
mod life;
pub(crate) mod materialized;
pub(crate) mod merge;
mod own;
mod prepared;
mod reserved;
mod resolved;
pub(crate) mod rights;
pub(crate) mod sequence;
mod words;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use parking_lot::Mutex;

pub(crate) use reserved::words as reserved_words;

use crate::error::{QueryError, QueryResult};
use crate::explain;
use crate::notify::Action;
use crate::plan::bound::Bound;
use crate::relational::CreateAs;
use crate::schema::define::OfSchema;
use crate::schema::resolve::Key;
use crate::{NewRole, RoleChange};

pub use prepared::OfPrepared;
pub(crate) use reserved::is_reserved;

/// Tokens of a statement that is planned; more would let one text hold a core for minutes.
/// INSERT … VALUES is exempt: its rows are bounded by the message.
const TOKENS_MAX: usize = 200_000;
/// Depth of nested expressions; deeper texts are refused with 54001.
const NESTING_MAX: usize = 64;
/// Links of a chain of operators (`a OR b OR …`); longer ones are refused with 54001. Lists
/// (`IN (…)`, VALUES) are no chains. Planning takes the square of a chain's length.
const CHAIN_MAX: usize = 1_000;
/// Links that any thread's stack can take.
const CHAIN_PLAIN_MAX: usize = 100;
/// Stack of a thread that handles longer chains: each link takes a few KiB in a debug build.
const DEEP_STACK_BYTES: usize = 64 << 20;

/// One parsed statement with its text.
#[derive(Clone, Debug)]
pub struct Statement {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The whole text that the statement came in; positions count in it.
    source: Arc<str>,
    start: usize,
    end: usize,
    kind: Kind,
    /// Whether its tree is too deep for an ordinary stack.
    deep: bool,
    /// Plans that were bound for it.
    bound: Mutex<Vec<Arc<Bound>>>,
    /// The same with names as schemas make them, and what they depend on.
    resolved: Mutex<Option<(Key, Statement)>>,
}

impl Statement {
    fn new(source: Arc<str>, start: usize, end: usize, kind: Kind, deep: bool) -> Statement {
        let (bound, resolved) = (Mutex::default(), Mutex::default());
        Statement { inner: Arc::new(Inner { source, start, end, kind, deep, bound, resolved }) }
    }

    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.inner.source[self.inner.start..self.inner.end]
    }

    /// True for an empty statement (";" or only comments).
    pub fn is_empty(&self) -> bool {
        matches!(self.inner.kind, Kind::Empty)
    }

    /// What it asks of the keeper of prepared statements, if it is about those.
    pub fn of_prepared(&self) -> Option<&OfPrepared> {
        match &self.inner.kind {
            Kind::OfPrepared(of) => Some(of),
            _ => None,
        }
    }

    /// What it does to whatever lasts longer than itself.
    pub fn effect(&self) -> Effect {
        match &self.inner.kind {
            Kind::Empty | Kind::Query(_) | Kind::Explain { .. } | Kind::Show(_) | Kind::ShowAll => {
                Effect::Reads
            }
            Kind::Begin { .. }
            | Kind::Commit { .. }
            | Kind::Rollback { .. }
            | Kind::SetTransaction { session: false, .. } => Effect::Transaction,
            Kind::Set { name, local: false, .. } => Effect::Setting(Some(name.clone())),
            Kind::Reset(name) => Effect::Setting(name.clone()),
            Kind::SetTransaction { .. } => {
                Effect::Setting(Some("default_transaction_read_only".into()))
            }
            Kind::Discard => Effect::Setting(None),
            Kind::Notify(Action::Listen(_) | Action::Unlisten(_)) | Kind::OfPrepared(_) => {
                Effect::Session
            }
            _ => Effect::Changes,
        }
    }

    /// Whether its tree is too deep to be walked on any stack.
    pub(crate) fn is_deep(&self) -> bool {
        self.inner.deep
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.inner.kind
    }

    pub(crate) fn source(&self) -> &str {
        &self.inner.source
    }

    pub(crate) fn bound(&self) -> &Mutex<Vec<Arc<Bound>>> {
        &self.inner.bound
    }
}

/// What a statement does to whatever lasts longer than itself; for doors whose sessions end with a
/// statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it may run a second time.
    Reads,
    /// It begins, ends or changes a transaction block.
    Transaction,
    /// It changes this setting of the session; `None`: all of them.
    Setting(Option<String>),
    /// It is about the session alone, and pointless where that ends.
    Session,
    /// Whatever else.
    Changes,
}

/// What a statement is.
#[derive(Debug)]
pub(crate) enum Kind {
    Empty,
    /// SELECT, WITH, VALUES, TABLE.
    Query(Box<ast::Statement>),
    Explain {
        asked: explain::Asked,
        statement: Box<ast::Statement>,
    },
    Insert(Box<ast::Insert>),
    Delete(Box<ast::Delete>),
    Update(Box<ast::Update>),
    Truncate(Box<ast::Truncate>),
    Merge(Box<ast::Merge>),
    CreateTable(Box<ast::CreateTable>),
    /// CREATE TABLE … AS, SELECT … INTO.
    CreateAs(CreateAs),
    AlterTable(Box<ast::AlterTable>),
    /// ALTER TABLE … RESTORE [FROM 'time'] [TO 'time'] [FOR 'span'].
    Restore {
        table: String,
        times: (Option<String>, Option<String>),
        hot_for: Option<String>,
    },
    /// ALTER TABLE … RESET (…).
    ResetOptions {
        table: String,
        if_exists: bool,
        names: Vec<String>,
    },
    DropTable {
        names: Vec<ast::ObjectName>,
        if_exists: bool,
        cascade: bool,
    },
    CreateIndex(Box<ast::CreateIndex>),
    DropIndex {
        names: Vec<ast::ObjectName>,
        if_exists: bool,
    },
    CreateView(Box<ast::CreateView>),
    DropView {
        names: Vec<ast::ObjectName>,
        if_exists: bool,
        cascade: bool,
        materialized: bool,
    },
    /// ALTER [MATERIALIZED] VIEW … RENAME TO.
    RenameView {
        name: String,
        to: String,
        if_exists: bool,
        materialized: bool,
    },
    /// ALTER MATERIALIZED VIEW … SET (…) or RESET (…).
    AlterMaterialized(materialized::Alter),
    /// REFRESH MATERIALIZED VIEW.
    Refresh(materialized::Refresh),
    Set {
        name: String,
        value: SetValue,
        local: bool,
    },
    Show(String),
    ShowAll,
    Reset(Option<String>),
    Discard,
    Begin {
        read_only: bool,
    },
    Commit {
        and_chain: bool,
    },
    Rollback {
        and_chain: bool,
    },
    SetTransaction {
        read_only: Option<bool>,
        session: bool,
    },
    Copy(Box<copy::Copy>),
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// PREPARE, EXECUTE, DEALLOCATE.
    OfPrepared(OfPrepared),
    Comment(comment::Comment),
    /// LISTEN, UNLISTEN, NOTIFY.
    Notify(Action),
    /// DECLARE, FETCH, MOVE, CLOSE.
    OfCursor(cursor::OfCursor),
    /// BACKUP.
    Backup(backup::Backup),
    Checkpoint,
    Vacuum {
        full: bool,
        table: Option<String>,
    },
    CreateRole {
        role: NewRole,
        if_not_exists: bool,
    },
    AlterRole {
        role: NewRole,
    },
    /// ALTER ROLE … SET and RESET.
    ConfigureRole {
        role: String,
        change: RoleChange,
    },
    DropRole {
        names: Vec<String>,
        if_exists: bool,
    },
    /// GRANT, REVOKE, policies of rows, OWNER TO.
    Rights(rights::OfRights),
    /// CREATE, ALTER and DROP SCHEMA.
    OfSchema(OfSchema),
    /// CREATE, ALTER and DROP SEQUENCE.
    OfSequence(sequence::OfSequence),
    /// Nothing to do; the tag.
    Nothing(&'static str),
    /// Known, but not done.
    Unsupported(QueryError),
}

impl Kind {
    /// Whether it must not run in a block, nor what a block has collected wait for it.
    pub(crate) fn stands_alone(&self) -> bool {
        matches!(
            self,
            Kind::CreateTable(_)
                | Kind::CreateAs(_)
                | Kind::AlterTable(_)
                | Kind::ResetOptions { .. }
                | Kind::Restore { .. }
                | Kind::DropTable { .. }
                | Kind::CreateIndex(_)
                | Kind::DropIndex { .. }
                | Kind::CreateView(_)
                | Kind::DropView { .. }
                | Kind::RenameView { .. }
                | Kind::AlterMaterialized(_)
                | Kind::Refresh(_)
                | Kind::Comment(_)
                | Kind::OfSchema(_)
                | Kind::OfSequence(_)
                | Kind::Backup(_)
                | Kind::Checkpoint
                | Kind::Vacuum { .. }
                | Kind::CreateRole { .. }
                | Kind::AlterRole { .. }
                | Kind::ConfigureRole { .. }
                | Kind::DropRole { .. }
                | Kind::Rights(_)
                | Kind::Discard
        )
    }
}

/// Right side of a SET.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SetValue {
    Default,
    Text(String),
}

/// Splits and parses a text of one or more statements. An empty text gives one empty statement.
pub(crate) fn parse(sql: &str) -> QueryResult<Vec<Statement>> {
    let dialect = PostgreSqlDialect {};
    let mut tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| {
        let place = position_of(sql, e.location.line, e.location.column);
        QueryError::new("42601", format!("syntax error: {}", e.message)).with_position(place)
    })?;
    // SELECT TOP is T-SQL's; in Postgres the word is a name like others.
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token
            && word.keyword == Keyword::TOP
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
    check_names(&tokens, sql)?;
    let source: Arc<str> = sql.into();
    let lines = Lines::new(sql);
    let mut statements = Vec::new();
    for piece in tokens.split(|t| t.token == Token::SemiColon) {
        let significant =
            piece.iter().any(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
        if !significant {
            continue;
        }
        let (start, end) = extent(piece, &lines, sql);
        let links = depth::depth(piece);
        if links > CHAIN_MAX {
            let message = format!("a chain of more than {CHAIN_MAX} operators");
            return Err(QueryError::new("54001", message).with_hint("Use IN (…) or VALUES."));
        }
        let deep = links > CHAIN_PLAIN_MAX;
        let kind = match deep {
            true => with_deep_stack(|| parse_piece(piece, sql))??,
            false => parse_piece(piece, sql)?,
        };
        statements.push(Statement::new(source.clone(), start, end, kind, deep));
    }
    if statements.is_empty() {
        statements.push(Statement::new(source, 0, 0, Kind::Empty, false));
    }
    Ok(statements)
}

/// Names that the planner gives to what users must not name begin so: a table without its policies.
fn check_names(tokens: &[TokenWithSpan], sql: &str) -> QueryResult<()> {
    let is_inner =
        |t: &&TokenWithSpan| matches!(&t.token, Token::Word(word) if word.value.contains('\u{1}'));
    match tokens.iter().find(is_inner) {
        None => Ok(()),
        Some(t) => {
            let place = position_of(sql, t.span.start.line, t.span.start.column);
            let message = "a name with the control character U+0001";
            Err(QueryError::new("42602", message).with_position(place))
        }
    }
}

/// Runs work on a thread whose stack takes the deepest tree.
fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> QueryResult<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("deep".into())
            .stack_size(DEEP_STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|e| QueryError::new("53000", format!("starting a thread: {e}")))?;
        thread.join().map_err(|_| QueryError::internal("reading a deep statement panicked"))
    })
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.deep {
            let kind = std::mem::replace(&mut self.kind, Kind::Empty);
            let bound = std::mem::take(&mut *self.bound.lock());
            let resolved = self.resolved.lock().take();
            if let Err(error) = with_deep_stack(move || drop((kind, bound, resolved))) {
                tracing::error!(%error, "dropping a deep statement");
            }
        }
    }
}

/// Byte range of the significant tokens of a piece.
fn extent(piece: &[TokenWithSpan], lines: &Lines, sql: &str) -> (usize, usize) {
    let mut significant =
        piece.iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let Some(first) = significant.next() else { return (0, 0) };
    let last = significant.next_back().unwrap_or(first);
    let start = lines.byte(sql, first.span.start.line, first.span.start.column);
    let end = lines.byte(sql, last.span.end.line, last.span.end.column);
    (start.min(sql.len()), end.clamp(start.min(sql.len()), sql.len()))
}

fn parse_piece(piece: &[TokenWithSpan], sql: &str) -> QueryResult<Kind> {
    if let Some(kind) = own::parse(piece, sql)? {
        return Ok(kind);
    }
    let insert = piece.iter().find_map(|t| match &t.token {
        Token::Word(w) => Some(w.value.eq_ignore_ascii_case("insert")),
        _ => None,
    });
    if piece.len() > TOKENS_MAX && insert != Some(true) {
        let message = format!("a statement of more than {TOKENS_MAX} words");
        return Err(QueryError::new("54001", message));
    }
    if let Some((piece, names)) = created::cut(piece) {
        let kind = classify(checked(&piece, sql)?, sql)?;
        return Ok(match kind {
            Kind::CreateAs(create) => Kind::CreateAs(create.with_columns(names)),
            other => other,
        });
    }
    let mut kind = classify(checked(piece, sql)?, sql)?;
    if let Kind::CreateView(create) = &mut kind
        && create.materialized
    {
        create.with_no_schema_binding = materialized::ends_without_data(piece);
    }
    Ok(kind)
}

fn checked(piece: &[TokenWithSpan], sql: &str) -> QueryResult<ast::Statement> {
    let statement = parse_one(&merge::readable(&materialized::readable(piece)), sql)?;
    reserved::check(&statement, sql)?;
    Ok(statement)
}

/// Parses tokens as one statement of sqlparser.
fn parse_one(piece: &[TokenWithSpan], sql: &str) -> QueryResult<ast::Statement> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(sequence::ordered(clauses::replace(piece, sql)?.into_owned()));
    let failed = |error: ParserError| match error {
        ParserError::RecursionLimitExceeded => {
            QueryError::new("54001", "the statement is nested too deeply")
        }
        other => parser_error(&other.to_string(), sql),
    };
    let statement = parser.parse_statement().map_err(failed)?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let place = position_of(sql, rest.span.start.line, rest.span.start.column);
        let message = format!("syntax error at or near \"{}\"", rest.token);
        return Err(QueryError::new("42601", message).with_position(place));
    }
    Ok(statement)
}

fn classify(statement: ast::Statement, _sql: &str) -> QueryResult<Kind> {
    use ast::Statement as S;
    let refuse = |what: &str| Kind::Unsupported(QueryError::unsupported(what));
    Ok(match statement {
        S::Query(ref query) if into(&query.body) => Kind::CreateAs(CreateAs::of_into(query)?),
        S::Query(_) => Kind::Query(Box::new(statement)),
        S::Explain { analyze, verbose, statement, format, options, .. } => {
            if format.is_some() {
                return Ok(refuse("this form of EXPLAIN with FORMAT"));
            }
            let asked = explain::Asked { analyze, verbose, json: false };
            let asked = asked.with(options.as_deref().unwrap_or_default())?;
            if !matches!(*statement, S::Query(_)) {
                return Ok(refuse("EXPLAIN of a statement other than SELECT"));
            }
            Kind::Explain { asked, statement }
        }
        S::Insert(insert) => Kind::Insert(Box::new(insert)),
        S::CreateTable(create) => match CreateAs::of_create(&create)? {
            Some(create) => Kind::CreateAs(create),
            None => Kind::CreateTable(Box::new(create)),
        },
        S::AlterTable(alter) => Kind::AlterTable(Box::new(alter)),
        S::Drop { object_type: ast::ObjectType::Table, if_exists, names, cascade, .. } => {
            Kind::DropTable { names, if_exists, cascade }
        }
        S::Drop { object_type: ast::ObjectType::View, if_exists, names, cascade, .. } => {
            Kind::DropView { names, if_exists, cascade, materialized: false }
        }
        S::Drop {
            object_type: ast::ObjectType::MaterializedView,
            if_exists,
            names,
            cascade,
            ..
        } => Kind::DropView { names, if_exists, cascade, materialized: true },
        S::Update(update) => Kind::Update(Box::new(update)),
        S::Delete(delete) => Kind::Delete(Box::new(delete)),
        S::Truncate(truncate) => Kind::Truncate(Box::new(truncate)),
        S::Merge(merge) => Kind::Merge(Box::new(merge)),
        S::CreateView(create) => Kind::CreateView(Box::new(create)),
        S::CreateIndex(create) => Kind::CreateIndex(Box::new(create)),
        S::Drop { object_type: ast::ObjectType::Index, if_exists, names, .. } => {
            Kind::DropIndex { names, if_exists }
        }
        S::CreateDatabase { .. } => refuse("CREATE DATABASE"),
        S::CreateSchema {
            schema_name,
            if_not_exists,
            with: None,
            options: None,
            default_collate_spec: None,
            clone: None,
        } => Kind::OfSchema(OfSchema::create(&schema_name, if_not_exists)?),
        S::CreateSchema { .. } => refuse("this form of CREATE SCHEMA"),
        S::Drop { object_type: ast::ObjectType::Schema, if_exists, names, cascade, .. } => {
            Kind::OfSchema(OfSchema::drop(&names, if_exists, cascade)?)
        }
        S::Drop { object_type, .. } => refuse(&format!("DROP {object_type}")),
        other => {
            let text = other.to_string();
            let mut words = text.split_whitespace();
            let first = words.next().unwrap_or("this statement").to_uppercase();
            refuse(&match (first.as_str(), words.next()) {
                ("CREATE" | "ALTER" | "DROP", Some(second)) => {
                    format!("{first} {}", second.to_uppercase())
                }
                _ => first,
            })
        }
    })
}

/// Whether a SELECT says INTO.
fn into(body: &ast::SetExpr) -> bool {
    match body {
        ast::SetExpr::Select(select) => select.into.is_some(),
        ast::SetExpr::Query(query) => into(&query.body),
        ast::SetExpr::SetOperation { left, .. } => into(left),
        _ => false,
    }
}

/// A syntax error out of sqlparser's words, which end in " at Line: n, Column: m".
pub(crate) fn parser_error(message: &str, sql: &str) -> QueryError {
    let message = message.trim_start_matches("sql parser error: ");
    let Some((text, place)) = message.rsplit_once(" at Line: ") else {
        if message.ends_with("found: EOF") {
            let end = u32::try_from(sql.trim_end().chars().count() + 1).ok();
            return QueryError::new("42601", "syntax error at end of input").with_position(end);
        }
        return QueryError::new("42601", format!("syntax error: {message}"));
    };
    let mut numbers = place.split(", Column: ").map(|n| n.trim().parse::<u64>().unwrap_or(0));
    let (line, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let near = text.rsplit_once("found: ").map(|(_, found)| found.trim());
    let error = match near {
        Some("EOF") => QueryError::new("42601", "syntax error at end of input"),
        Some(found) => QueryError::new("42601", format!("syntax error at or near \"{found}\"")),
        None => QueryError::new("42601", format!("syntax error: {text}")),
    };
    let detail = near.and(text.split_once(", found:")).map(|(expected, _)| expected.to_string());
    QueryError { detail, ..error }.with_position(position_of(sql, line, column))
}

/// Position (characters from 1) of a line and column (both from 1); `None` where there is none.
pub(crate) fn position_of(sql: &str, line: u64, column: u64) -> Option<u32> {
    if line == 0 || column == 0 {
        return None;
    }
    let before: usize = sql
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).ok()?)
        .map(|l| l.chars().count())
        .sum();
    u32::try_from(before as u64 + column).ok()
}

/// Where the lines of a text start, to find bytes of many tokens.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(sql: &str) -> Lines {
        let mut starts = vec![0];
        starts.extend(sql.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        Lines { starts }
    }

    /// Byte of a line and column (both from 1, columns in characters).
    fn byte(&self, sql: &str, line: u64, column: u64) -> usize {
        let Some(start) = self.starts.get((line.max(1) - 1) as usize) else { return sql.len() };
        let rest = &sql[*start..];
        let chars = (column.max(1) - 1) as usize;
        rest.char_indices().nth(chars).map_or(sql.len(), |(i, _)| start + i)
    }
}

#[cfg(test)]
mod tests;

//! GRANT, REVOKE, policies of rows, and who owns what.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::Words;
use super::{Kind, NESTING_MAX};
use crate::error::{QueryError, QueryResult};
use crate::plan::names::{DATABASE, SCHEMA};
use crate::rights::acl::Mode;

/// A statement about rights.
#[derive(Debug)]
pub(crate) enum OfRights {
    Grant(Grant),
    /// ALTER TABLE … OWNER TO; `None`: to who asks.
    Owner {
        name: String,
        to: Option<String>,
        if_exists: bool,
    },
    /// ALTER TABLE … ENABLE | DISABLE ROW LEVEL SECURITY.
    Security {
        table: String,
        if_exists: bool,
        enable: bool,
    },
    CreatePolicy(Box<NewPolicy>),
    DropPolicy {
        name: String,
        table: String,
        if_exists: bool,
    },
}

impl OfRights {
    /// The tag of its completion.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            OfRights::Grant(Grant { revoke: false, .. }) => "GRANT",
            OfRights::Grant(_) => "REVOKE",
            OfRights::Owner { .. } | OfRights::Security { .. } => "ALTER TABLE",
            OfRights::CreatePolicy(_) => "CREATE POLICY",
            OfRights::DropPolicy { .. } => "DROP POLICY",
        }
    }
}

/// GRANT or REVOKE.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) revoke: bool,
    /// WITH GRANT OPTION, or GRANT OPTION FOR.
    pub(crate) option: bool,
    pub(crate) cascade: bool,
    pub(crate) rights: Vec<Granted>,
    pub(crate) on: On,
    pub(crate) roles: Vec<Who>,
}

/// One of the rights that a statement names.
#[derive(Debug)]
pub(crate) struct Granted {
    /// ALL [PRIVILEGES].
    pub(crate) all: bool,
    pub(crate) mode: Mode,
    /// None: the whole.
    pub(crate) columns: Vec<String>,
}

/// What rights are about.
#[derive(Debug)]
pub(crate) enum On {
    Relations(Vec<String>),
    /// ALL TABLES IN SCHEMA.
    AllTables(Vec<String>),
    Schemas(Vec<String>),
}

/// Who gets or loses them.
#[derive(Debug)]
pub(crate) enum Who {
    Public,
    Current,
    Named(String),
}

impl Who {
    /// The role's name; `None` for everybody.
    pub(crate) fn name<'a>(&'a self, user: &'a str) -> Option<&'a str> {
        match self {
            Who::Public => None,
            Who::Current => Some(user),
            Who::Named(name) => Some(name),
        }
    }
}

/// CREATE POLICY.
#[derive(Debug)]
pub(crate) struct NewPolicy {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) select_only: bool,
    pub(crate) roles: Vec<Who>,
    pub(crate) using: ast::Expr,
}

fn unsupported(words: &mut Words<'_>, what: &str) -> Kind {
    words.skip_all();
    Kind::Unsupported(QueryError::unsupported(what))
}

/// Reads GRANT and REVOKE.
pub(super) fn grant(words: &mut Words<'_>) -> QueryResult<Kind> {
    let revoke = words.take("REVOKE");
    if !revoke {
        words.take("GRANT");
    }
    if words.take_all(&["ADMIN", "OPTION", "FOR"]) {
        return Ok(unsupported(words, "GRANT of roles to roles"));
    }
    let mut option = revoke && words.take_all(&["GRANT", "OPTION", "FOR"]);
    let mut rights = Vec::new();
    loop {
        match granted(words)? {
            Some(granted) => rights.push(granted),
            None => {
                return Ok(unsupported(words, "GRANT of roles to roles, and of this privilege"));
            }
        }
        if !words.take_token(&Token::Comma) {
            break;
        }
    }
    if !words.take("ON") {
        return Err(words.unexpected());
    }
    let Some(on) = on(words)? else {
        return Ok(unsupported(words, "GRANT on anything but tables, views and schemas"));
    };
    if !words.take(if revoke { "FROM" } else { "TO" }) {
        return Err(words.unexpected());
    }
    let roles = roles(words)?;
    let mut cascade = false;
    if !revoke {
        option = words.take_all(&["WITH", "GRANT", "OPTION"]);
    }
    if words.take_all(&["GRANTED", "BY"]) {
        return Ok(unsupported(words, "GRANTED BY"));
    }
    if revoke {
        cascade = words.take("CASCADE");
        let _ = !cascade && words.take("RESTRICT");
    }
    Ok(Kind::Rights(OfRights::Grant(Grant { revoke, option, cascade, rights, on, roles })))
}

/// One right; `None` for what is none of tables, views and schemas.
fn granted(words: &mut Words<'_>) -> QueryResult<Option<Granted>> {
    let Some(word) = words.peek() else { return Err(words.unexpected()) };
    let (all, mode) = match word.as_str() {
        "ALL" => (true, Mode::NONE),
        word => match Mode::of_word(word) {
            Some(mode) => (false, mode),
            None => return Ok(None),
        },
    };
    words.take(&word);
    let _ = all && words.take("PRIVILEGES");
    let mut columns = Vec::new();
    if words.take_token(&Token::LParen) {
        columns = list(words, |words| words.name())?;
        if !words.take_token(&Token::RParen) {
            return Err(words.unexpected());
        }
    }
    Ok(Some(Granted { all, mode, columns }))
}

fn list<T>(
    words: &mut Words<'_>,
    one: impl Fn(&mut Words<'_>) -> QueryResult<T>,
) -> QueryResult<Vec<T>> {
    let mut out = vec![one(words)?];
    while words.take_token(&Token::Comma) {
        out.push(one(words)?);
    }
    Ok(out)
}

fn on(words: &mut Words<'_>) -> QueryResult<Option<On>> {
    if words.take_all(&["ALL", "TABLES", "IN", "SCHEMA"]) {
        return Ok(Some(On::AllTables(list(words, |words| words.name())?)));
    }
    match words.peek().as_deref() {
        Some("SCHEMA") => {
            words.take("SCHEMA");
            Ok(Some(On::Schemas(list(words, |words| words.name())?)))
        }
        // A table may have such a name, if the next word says so.
        Some(
            "ALL" | "SEQUENCE" | "DATABASE" | "DOMAIN" | "FOREIGN" | "FUNCTION" | "ROUTINE"
            | "PROCEDURE" | "LANGUAGE" | "LARGE" | "PARAMETER" | "TABLESPACE" | "TYPE",
        ) if !matches!(words.peek_at(1).as_deref(), Some("TO" | "FROM")) => Ok(None),
        _ => {
            words.take("TABLE");
            Ok(Some(On::Relations(list(words, relation)?)))
        }
    }
}

/// The name of a table or view, which may say its schema.
fn relation(words: &mut Words<'_>) -> QueryResult<String> {
    let mut parts = vec![words.name()?];
    while words.take_token(&Token::Period) {
        parts.push(words.name()?);
    }
    let shown = parts.join(".");
    let name = parts.pop().unwrap_or_default();
    if name.starts_with(tsdb::types::OWNED_TABLE_PREFIX) {
        return Err(crate::insert::owned(&name));
    }
    match parts.pop().as_deref() {
        None | Some(SCHEMA) => {}
        Some("pg_catalog" | "information_schema" | "sys") => {
            let what = format!("changing the rights of system table {shown}");
            return Err(QueryError::unsupported(what));
        }
        Some(_) => return Err(QueryError::no_table(&shown)),
    }
    match parts.pop().as_deref() {
        None | Some(DATABASE) => Ok(name),
        Some(_) => Err(QueryError::no_table(&shown)),
    }
}

fn roles(words: &mut Words<'_>) -> QueryResult<Vec<Who>> {
    list(words, |words| {
        words.take("GROUP");
        let word = words.peek();
        let name = words.name()?;
        Ok(match word.as_deref() {
            Some("PUBLIC") => Who::Public,
            Some("CURRENT_USER" | "CURRENT_ROLE" | "SESSION_USER") => Who::Current,
            _ => Who::Named(name),
        })
    })
}

/// Reads ALTER TABLE | VIEW | MATERIALIZED VIEW … OWNER TO, and … ROW LEVEL SECURITY; `None` for
/// others.
pub(super) fn alter(piece: &[TokenWithSpan], sql: &str) -> QueryResult<Option<Kind>> {
    let mut words = Words::new(piece, sql);
    words.take("ALTER");
    let _ = words.take("TABLE") || words.take_all(&["MATERIALIZED", "VIEW"]) || words.take("VIEW");
    let if_exists = words.take_all(&["IF", "EXISTS"]);
    words.take("ONLY");
    let Ok(name) = relation(&mut words) else { return Ok(None) };
    words.take_token(&Token::Mul);
    let security = ["ROW", "LEVEL", "SECURITY"];
    let kind = if words.take_all(&["OWNER", "TO"]) {
        let to = match roles(&mut words)?.pop() {
            Some(Who::Named(name)) => Some(name),
            Some(Who::Current) => None,
            _ => return Err(QueryError::new("42704", "role \"public\" does not exist")),
        };
        Kind::Rights(OfRights::Owner { name, to, if_exists })
    } else if words.take_if_before("ENABLE", "ROW") && words.take_all(&security) {
        Kind::Rights(OfRights::Security { table: name, if_exists, enable: true })
    } else if words.take_if_before("DISABLE", "ROW") && words.take_all(&security) {
        Kind::Rights(OfRights::Security { table: name, if_exists, enable: false })
    } else if words.take_all(&["NO", "FORCE"]) || words.take_if_before("FORCE", "ROW") {
        unsupported(&mut words, "FORCE ROW LEVEL SECURITY")
    } else {
        return Ok(None);
    };
    words.end()?;
    Ok(Some(kind))
}

/// Reads CREATE POLICY, ALTER POLICY and DROP POLICY.
pub(super) fn policy(words: &mut Words<'_>) -> QueryResult<Kind> {
    let verb = words.name()?;
    words.take("POLICY");
    if verb == "alter" {
        let error = QueryError::unsupported("ALTER POLICY").with_hint("Drop it, and create it.");
        words.skip_all();
        return Ok(Kind::Unsupported(error));
    }
    let if_exists = verb == "drop" && words.take_all(&["IF", "EXISTS"]);
    let name = words.name()?;
    if !words.take("ON") {
        return Err(words.unexpected());
    }
    let table = relation(words)?;
    if verb == "drop" {
        let _ = words.take("CASCADE") || words.take("RESTRICT");
        return Ok(Kind::Rights(OfRights::DropPolicy { name, table, if_exists }));
    }
    if words.take("AS") && !words.take("PERMISSIVE") {
        return Ok(unsupported(words, "a policy that is not PERMISSIVE"));
    }
    let mut select_only = false;
    if words.take("FOR") {
        match words.peek().as_deref() {
            Some("ALL") => {}
            Some("SELECT") => select_only = true,
            Some("INSERT" | "UPDATE" | "DELETE") => {
                return Ok(unsupported(words, "a policy FOR INSERT, UPDATE or DELETE"));
            }
            _ => return Err(words.unexpected()),
        }
        words.name()?;
    }
    let roles = match words.take("TO") {
        true => roles(words)?,
        false => vec![Who::Public],
    };
    if words.take_all(&["WITH", "CHECK"]) {
        return Ok(unsupported(words, "WITH CHECK of a policy"));
    }
    if !words.take("USING") || !words.take_token(&Token::LParen) {
        return Err(words.unexpected());
    }
    let using = expression(words.until_closed()?)?;
    if words.take_all(&["WITH", "CHECK"]) {
        return Ok(unsupported(words, "WITH CHECK of a policy"));
    }
    let policy = NewPolicy { name, table, select_only, roles, using };
    Ok(Kind::Rights(OfRights::CreatePolicy(Box::new(policy))))
}

/// Tokens as one expression.
fn expression(tokens: Vec<TokenWithSpan>) -> QueryResult<ast::Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let bad = |why: String| QueryError::new("42601", format!("the expression of USING: {why}"));
    let expr = parser.parse_expr().map_err(|error| bad(error.to_string()))?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        other => Err(bad(format!("syntax error at or near \"{other}\""))),
    }
}

/// A text as one expression.
pub(crate) fn expression_of(text: &str) -> QueryResult<ast::Expr> {
    let bad = |why: String| QueryError::new("XX001", format!("the expression of a policy: {why}"));
    let parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(NESTING_MAX);
    let mut parser = parser.try_with_sql(text).map_err(|error| bad(error.to_string()))?;
    let expr = parser.parse_expr().map_err(|error| bad(error.to_string()))?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        other => Err(bad(format!("ends before {other}"))),
    }
}

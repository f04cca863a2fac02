//! GRANT, REVOKE, policies of rows, and who owns what.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::Words;
use super::{Kind, NESTING_MAX};
use crate::error::{QueryError, QueryResult};
use crate::names::folded;
use crate::plan::names::DATABASE;
use crate::rights::acl::Mode;
use crate::rights::security::For;
use crate::schema::resolve::marked;

/// A statement about rights.
#[derive(Clone, Debug)]
pub(crate) enum OfRights {
    Grant(Grant),
    Roles(OfRoles),
    /// ALTER TABLE … OWNER TO; `None`: to who asks.
    Owner {
        name: String,
        to: Option<String>,
        if_exists: bool,
    },
    /// ALTER SCHEMA … OWNER TO; likewise.
    SchemaOwner {
        name: String,
        to: Option<String>,
    },
    /// ALTER TABLE … ENABLE | DISABLE ROW LEVEL SECURITY.
    Security {
        table: String,
        if_exists: bool,
        enable: bool,
    },
    CreatePolicy(Box<NewPolicy>),
    AlterPolicy(Box<AlterPolicy>),
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
            OfRights::Roles(OfRoles { revoke: false, .. }) => "GRANT ROLE",
            OfRights::Roles(_) => "REVOKE ROLE",
            OfRights::Owner { .. } | OfRights::Security { .. } => "ALTER TABLE",
            OfRights::SchemaOwner { .. } => "ALTER SCHEMA",
            OfRights::CreatePolicy(_) => "CREATE POLICY",
            OfRights::AlterPolicy(_) => "ALTER POLICY",
            OfRights::DropPolicy { .. } => "DROP POLICY",
        }
    }
}

/// GRANT or REVOKE.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) revoke: bool,
    /// WITH GRANT OPTION, or GRANT OPTION FOR.
    pub(crate) option: bool,
    pub(crate) cascade: bool,
    pub(crate) rights: Vec<Granted>,
    pub(crate) on: On,
    pub(crate) roles: Vec<Who>,
}

/// GRANT or REVOKE of roles.
#[derive(Clone, Debug)]
pub(crate) struct OfRoles {
    pub(crate) revoke: bool,
    /// WITH ADMIN OPTION, or ADMIN OPTION FOR.
    pub(crate) admin: bool,
    pub(crate) roles: Vec<String>,
    pub(crate) members: Vec<Who>,
}

/// One of the rights that a statement names.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// ALL [PRIVILEGES].
    pub(crate) all: bool,
    pub(crate) mode: Mode,
    /// None: the whole.
    pub(crate) columns: Vec<String>,
}

/// What rights are about.
#[derive(Clone, Debug)]
pub(crate) enum On {
    Relations(Vec<String>),
    /// ALL TABLES IN SCHEMA.
    AllTables(Vec<String>),
    Schemas(Vec<String>),
}

/// Who gets or loses them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Who {
    Public,
    Current,
    Named(String),
}

impl Who {
    /// The role that a word of a statement names.
    pub(crate) fn of(name: &ast::Ident) -> Who {
        let word = name.value.to_uppercase();
        match word.as_str() {
            "CURRENT_USER" | "CURRENT_ROLE" | "SESSION_USER" if name.quote_style.is_none() => {
                Who::Current
            }
            _ => Who::Named(folded(name)),
        }
    }

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
#[derive(Clone, Debug)]
pub(crate) struct NewPolicy {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) command: For,
    pub(crate) restrictive: bool,
    pub(crate) roles: Vec<Who>,
    pub(crate) using: Option<ast::Expr>,
    pub(crate) check: Option<ast::Expr>,
}

/// ALTER POLICY: what is `None` stays.
#[derive(Clone, Debug)]
pub(crate) struct AlterPolicy {
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) rename: Option<String>,
    pub(crate) roles: Option<Vec<Who>>,
    pub(crate) using: Option<ast::Expr>,
    pub(crate) check: Option<ast::Expr>,
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
    if let Some(of) = of_roles(words, revoke)? {
        return Ok(of);
    }
    let mut option = revoke && words.take_all(&["GRANT", "OPTION", "FOR"]);
    let mut rights = Vec::new();
    loop {
        match granted(words)? {
            Some(granted) => rights.push(granted),
            None => return Ok(unsupported(words, "GRANT of this privilege")),
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

/// GRANT and REVOKE of roles; `None` where rights on something are meant.
fn of_roles(words: &mut Words<'_>, revoke: bool) -> QueryResult<Option<Kind>> {
    let mut admin = revoke && words.take_all(&["ADMIN", "OPTION", "FOR"]);
    // Rights have an ON behind them, and no role is called so without quotes.
    if !admin && !words.comes_before(if revoke { "FROM" } else { "TO" }, "ON") {
        return Ok(None);
    }
    let granted = list(words, |words| words.name())?;
    if !words.take(if revoke { "FROM" } else { "TO" }) {
        return Err(words.unexpected());
    }
    let members = roles(words)?;
    if !revoke {
        admin = words.take_all(&["WITH", "ADMIN", "OPTION"]);
        if words.take("WITH") {
            return Ok(Some(unsupported(words, "options of a GRANT of roles but ADMIN")));
        }
    }
    if words.take_all(&["GRANTED", "BY"]) {
        return Ok(Some(unsupported(words, "GRANTED BY")));
    }
    let _ = revoke && (words.take("CASCADE") || words.take("RESTRICT"));
    let of = OfRoles { revoke, admin, roles: granted, members };
    Ok(Some(Kind::Rights(OfRights::Roles(of))))
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

/// The name of a table or view, which may say its schema: `public` too, whatever `search_path` is.
fn relation(words: &mut Words<'_>) -> QueryResult<String> {
    let mut parts = vec![words.name()?];
    while words.take_token(&Token::Period) {
        parts.push(words.name()?);
    }
    if parts.len() > 2 && parts.first().is_some_and(|first| first == DATABASE) {
        parts.remove(0);
    }
    let shown = parts.join(".");
    match &parts[..] {
        [.., name] if name.starts_with(tsdb::types::OWNED_TABLE_PREFIX) => {
            Err(crate::insert::owned(name))
        }
        [schema, _] if matches!(schema.as_str(), "pg_catalog" | "information_schema" | "sys") => {
            let what = format!("changing the rights of system table {shown}");
            Err(QueryError::unsupported(what))
        }
        [_] | [_, _] => Ok(marked(parts)),
        _ => Err(QueryError::no_table(&shown)),
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

/// The role of OWNER TO; `None`: who asks.
pub(super) fn owner(words: &mut Words<'_>) -> QueryResult<Option<String>> {
    match roles(words)?.pop() {
        Some(Who::Named(name)) => Ok(Some(name)),
        Some(Who::Current) => Ok(None),
        _ => Err(QueryError::new("42704", "role \"public\" does not exist")),
    }
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
        let to = owner(&mut words)?;
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
    if verb == "alter" {
        return alter_policy(words, name, table);
    }
    let restrictive = match words.take("AS") {
        true if words.take("RESTRICTIVE") => true,
        true if words.take("PERMISSIVE") => false,
        true => return Err(words.unexpected()),
        false => false,
    };
    let mut command = For::All;
    if words.take("FOR") {
        let word = words.peek().unwrap_or_default();
        command = For::of_word(&word).ok_or_else(|| words.unexpected())?;
        words.take(&word);
    }
    let roles = match words.take("TO") {
        true => roles(words)?,
        false => vec![Who::Public],
    };
    let (using, check) = expressions(words)?;
    let policy = NewPolicy { name, table, command, restrictive, roles, using, check };
    Ok(Kind::Rights(OfRights::CreatePolicy(Box::new(policy))))
}

fn alter_policy(words: &mut Words<'_>, name: String, table: String) -> QueryResult<Kind> {
    let rename = match words.take_all(&["RENAME", "TO"]) {
        true => Some(words.name()?),
        false => None,
    };
    let roles = match rename.is_none() && words.take("TO") {
        true => Some(roles(words)?),
        false => None,
    };
    let (using, check) = match rename {
        None => expressions(words)?,
        Some(_) => (None, None),
    };
    let alter = AlterPolicy { name, table, rename, roles, using, check };
    Ok(Kind::Rights(OfRights::AlterPolicy(Box::new(alter))))
}

/// `USING (…)` and `WITH CHECK (…)`, as far as they are there.
fn expressions(words: &mut Words<'_>) -> QueryResult<(Option<ast::Expr>, Option<ast::Expr>)> {
    let mut one = |first: &[&str]| {
        if !words.take_all(first) {
            return Ok(None);
        }
        match words.take_token(&Token::LParen) {
            true => expression(words.until_closed()?).map(Some),
            false => Err(words.unexpected()),
        }
    };
    Ok((one(&["USING"])?, one(&["WITH", "CHECK"])?))
}

/// Tokens as one expression.
fn expression(tokens: Vec<TokenWithSpan>) -> QueryResult<ast::Expr> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let bad = |why: String| QueryError::new("42601", format!("the expression of a policy: {why}"));
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

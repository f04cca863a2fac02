//! Statements of administration, read off the tokens.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use tsdb::types::OWNED_TABLE_PREFIX;

use super::rights::OfRights;
use super::words::Words;
use super::{
    Kind, SetValue, backup, comment, copy, cursor, life, materialized, prepared, rights, sequence,
};
use crate::error::{QueryError, QueryResult};
use crate::notify::{Action, check_words};
use crate::schema::define::OfSchema;
use crate::schema::resolve::marked;
use crate::{NewRole, RoleChange};

/// Reads the statement if it is one of ours; `None` leaves it to sqlparser.
pub(super) fn parse(piece: &[TokenWithSpan], sql: &str) -> QueryResult<Option<Kind>> {
    let mut words = Words::new(piece, sql);
    let Some(first) = words.peek() else { return Ok(None) };
    if first == "ALTER"
        && let Some(kind) = rights::alter(piece, sql)?
    {
        return Ok(Some(kind));
    }
    let kind = match first.as_str() {
        "SET" => set(&mut words)?,
        "SHOW" => show(&mut words)?,
        "RESET" => reset(&mut words)?,
        "DISCARD" => {
            words.skip_all();
            Kind::Discard
        }
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => transaction(&mut words)?,
        "CHECKPOINT" => {
            words.take("CHECKPOINT");
            Kind::Checkpoint
        }
        "BACKUP" => backup::parse(&mut words)?,
        "VACUUM" => vacuum(&mut words)?,
        "CREATE" | "ALTER" | "DROP"
            if matches!(words.peek_at(1).as_deref(), Some("USER" | "ROLE" | "GROUP")) =>
        {
            role(&mut words)?
        }
        "CREATE" | "ALTER" | "DROP" if words.peek_at(1).as_deref() == Some("POLICY") => {
            rights::policy(&mut words)?
        }
        "GRANT" | "REVOKE" => rights::grant(&mut words)?,
        "CREATE" | "ALTER" | "DROP" if words.peek_at(1).as_deref() == Some("SEQUENCE") => {
            sequence::parse(&mut words)?
        }
        "CREATE"
            if matches!(words.peek_at(1).as_deref(), Some("TEMP" | "TEMPORARY"))
                && words.peek_at(2).as_deref() == Some("SEQUENCE") =>
        {
            sequence::parse(&mut words)?
        }
        "ALTER" if words.peek_at(1).as_deref() == Some("SCHEMA") => alter_schema(&mut words)?,
        "ALTER" if words.peek_at(1).as_deref() == Some("VIEW") => return alter_view(&mut words),
        "ALTER" if words.peek_at(1).as_deref() == Some("MATERIALIZED") => {
            materialized::alter(&mut words)?
        }
        "REFRESH" => materialized::refresh(&mut words)?,
        "ALTER" => return life::parse(piece, sql),
        "COMMENT" => comment::parse(&mut words)?,
        "DECLARE" => cursor::declare(&mut words, sql)?,
        "FETCH" | "MOVE" => cursor::fetch(&mut words)?,
        "CLOSE" => cursor::close(&mut words)?,
        "LISTEN" | "UNLISTEN" | "NOTIFY" => notify(&mut words)?,
        "COPY" => copy::parse(&mut words, sql)?,
        "DEALLOCATE" => prepared::deallocate(&mut words)?,
        "PREPARE" => prepared::prepare(&mut words, sql)?,
        "EXECUTE" => prepared::execute(&mut words, sql)?,
        "SAVEPOINT" => {
            words.take("SAVEPOINT");
            Kind::Savepoint(words.name()?)
        }
        "RELEASE" => {
            words.take("RELEASE");
            words.take("SAVEPOINT");
            Kind::Release(words.name()?)
        }
        "LOCK" | "CALL" | "DO" | "CLUSTER" | "REINDEX" | "SECURITY" | "REASSIGN" | "IMPORT"
        | "LOAD" => {
            words.skip_all();
            Kind::Unsupported(QueryError::unsupported(&first))
        }
        "ANALYZE" => {
            // Statistics are kept with the data, so there is nothing to gather.
            words.skip_all();
            Kind::Nothing("ANALYZE")
        }
        _ => return Ok(None),
    };
    words.end()?;
    Ok(Some(kind))
}

fn set(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("SET");
    if words.take("TRANSACTION") {
        let read_only = modes(words)?;
        return Ok(Kind::SetTransaction { read_only, session: false });
    }
    if words.take_all(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        let read_only = modes(words)?;
        return Ok(Kind::SetTransaction { read_only, session: true });
    }
    if words.take_all(&["SESSION", "AUTHORIZATION"]) || words.take("ROLE") {
        let back = words.take("DEFAULT") || words.take("NONE");
        words.skip_all();
        return Ok(match back {
            true => Kind::Nothing("SET"),
            false => Kind::Unsupported(QueryError::unsupported("changing the role of a session")),
        });
    }
    if words.take("CONSTRAINTS") {
        words.skip_all();
        return Ok(Kind::Nothing("SET CONSTRAINTS"));
    }
    let local = words.take("LOCAL");
    if !local {
        words.take("SESSION");
    }
    if words.take_all(&["TIME", "ZONE"]) {
        let value = match words.peek().as_deref() {
            Some("DEFAULT" | "LOCAL") => {
                words.skip_all();
                SetValue::Default
            }
            _ => values(words)?,
        };
        return Ok(Kind::Set { name: "timezone".into(), value, local });
    }
    if words.take("NAMES") {
        let value = values(words)?;
        return Ok(Kind::Set { name: "client_encoding".into(), value, local });
    }
    let name = setting_name(words)?;
    if !words.take_token(&Token::Eq) && !words.take("TO") {
        return Err(words.unexpected());
    }
    if words.take("DEFAULT") {
        return Ok(Kind::Set { name, value: SetValue::Default, local });
    }
    let value = values(words)?;
    Ok(Kind::Set { name, value, local })
}

/// `name` or `prefix.name`, in lower case: settings fold even where they are quoted.
fn setting_name(words: &mut Words<'_>) -> QueryResult<String> {
    let mut name = words.name()?.to_lowercase();
    while words.take_token(&Token::Period) {
        name.push('.');
        name.push_str(&words.name()?.to_lowercase());
    }
    Ok(name)
}

/// A list of values, joined by ", " as Postgres keeps it.
fn values(words: &mut Words<'_>) -> QueryResult<SetValue> {
    let mut list = Vec::new();
    loop {
        list.push(value(words)?);
        if !words.take_token(&Token::Comma) {
            break;
        }
    }
    Ok(SetValue::Text(list.join(", ")))
}

fn value(words: &mut Words<'_>) -> QueryResult<String> {
    if let Ok(text) = words.text() {
        return Ok(text);
    }
    let sign = if words.take_token(&Token::Minus) {
        "-"
    } else {
        words.take_token(&Token::Plus);
        ""
    };
    if words.take("INTERVAL") {
        return words.text();
    }
    let error = words.unexpected();
    match words.next_token() {
        Some(Token::Number(n, _)) => Ok(format!("{sign}{n}")),
        Some(Token::Word(w)) if sign.is_empty() => Ok(w.value.clone()),
        _ => Err(error),
    }
}

fn show(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("SHOW");
    if words.take("ALL") {
        return Ok(Kind::ShowAll);
    }
    if words.take_all(&["TIME", "ZONE"]) {
        return Ok(Kind::Show("timezone".into()));
    }
    if words.take_all(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        return Ok(Kind::Show("transaction_isolation".into()));
    }
    if words.take_all(&["SESSION", "AUTHORIZATION"]) {
        return Ok(Kind::Show("session_authorization".into()));
    }
    Ok(Kind::Show(setting_name(words)?))
}

fn reset(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("RESET");
    if words.take("ALL") {
        return Ok(Kind::Reset(None));
    }
    if words.take_all(&["TIME", "ZONE"]) {
        return Ok(Kind::Reset(Some("timezone".into())));
    }
    if words.take_all(&["SESSION", "AUTHORIZATION"]) || words.take("ROLE") {
        return Ok(Kind::Nothing("RESET"));
    }
    Ok(Kind::Reset(Some(setting_name(words)?)))
}

fn transaction(words: &mut Words<'_>) -> QueryResult<Kind> {
    let verb = words.name()?;
    match verb.as_str() {
        "begin" => {
            let _ = words.take("WORK") || words.take("TRANSACTION");
            Ok(Kind::Begin { read_only: modes(words)?.unwrap_or(false) })
        }
        "start" => {
            if !words.take("TRANSACTION") {
                return Err(words.unexpected());
            }
            Ok(Kind::Begin { read_only: modes(words)?.unwrap_or(false) })
        }
        _ => {
            let _ = words.take("WORK") || words.take("TRANSACTION");
            if verb == "rollback" && words.take("TO") {
                words.take("SAVEPOINT");
                return Ok(Kind::RollbackTo(words.name()?));
            }
            if words.take("PREPARED") {
                words.skip_all();
                return Ok(Kind::Unsupported(QueryError::unsupported("two-phase commit")));
            }
            let mut and_chain = false;
            if words.take("AND") {
                and_chain = !words.take("NO");
                if !words.take("CHAIN") {
                    return Err(words.unexpected());
                }
            }
            Ok(match verb.as_str() {
                "commit" | "end" => Kind::Commit { and_chain },
                _ => Kind::Rollback { and_chain },
            })
        }
    }
}

/// Transaction modes; what READ ONLY or READ WRITE says, if it is there.
fn modes(words: &mut Words<'_>) -> QueryResult<Option<bool>> {
    let mut read_only = None;
    while !words.at_end() {
        if words.take_all(&["ISOLATION", "LEVEL"]) {
            let known = words.take("SERIALIZABLE")
                || words.take_all(&["REPEATABLE", "READ"])
                || words.take_all(&["READ", "COMMITTED"])
                || words.take_all(&["READ", "UNCOMMITTED"]);
            if !known {
                return Err(words.unexpected());
            }
        } else if words.take_all(&["READ", "ONLY"]) {
            read_only = Some(true);
        } else if words.take_all(&["READ", "WRITE"]) {
            read_only = Some(false);
        } else if !(words.take_all(&["NOT", "DEFERRABLE"])
            || words.take("DEFERRABLE")
            || words.take_token(&Token::Comma))
        {
            return Err(words.unexpected());
        }
    }
    Ok(read_only)
}

fn vacuum(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("VACUUM");
    let mut full = false;
    if words.take_token(&Token::LParen) {
        while !words.take_token(&Token::RParen) {
            full |= words.peek().as_deref() == Some("FULL");
            if words.next_token().is_none() {
                return Err(words.unexpected());
            }
        }
    }
    loop {
        if words.take("FULL") {
            full = true;
        } else if !(words.take("FREEZE") || words.take("VERBOSE") || words.take("ANALYZE")) {
            break;
        }
    }
    let table = if words.at_end() { None } else { Some(relation(words)?) };
    Ok(Kind::Vacuum { full, table })
}

/// ALTER SCHEMA name RENAME TO name, and OWNER TO role.
fn alter_schema(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take_all(&["ALTER", "SCHEMA"]);
    let name = words.name()?;
    if words.take_all(&["OWNER", "TO"]) {
        let to = rights::owner(words)?;
        return Ok(Kind::Rights(OfRights::SchemaOwner { name, to }));
    }
    if !words.take_all(&["RENAME", "TO"]) {
        words.skip_all();
        let what = "ALTER SCHEMA other than RENAME TO and OWNER TO";
        return Ok(Kind::Unsupported(QueryError::unsupported(what)));
    }
    let to = words.name()?;
    Ok(Kind::OfSchema(OfSchema::Rename { name, to }))
}

/// ALTER VIEW [IF EXISTS] name RENAME TO name; `None` for other forms.
fn alter_view(words: &mut Words<'_>) -> QueryResult<Option<Kind>> {
    words.take_all(&["ALTER", "VIEW"]);
    let if_exists = words.take_all(&["IF", "EXISTS"]);
    let name = relation(words)?;
    if !words.take_all(&["RENAME", "TO"]) {
        return Ok(Some(Kind::Unsupported(QueryError::unsupported(
            "ALTER VIEW other than RENAME TO",
        ))));
    }
    let to = words.name()?;
    words.end()?;
    Ok(Some(Kind::RenameView { name, to, if_exists, materialized: false }))
}

/// A name that may have a schema and the database in front (`schema::resolve`).
pub(super) fn relation(words: &mut Words<'_>) -> QueryResult<String> {
    let mut parts = vec![words.name()?];
    while words.take_token(&Token::Period) {
        parts.push(words.name()?);
    }
    match parts.last() {
        Some(name) if name.starts_with(OWNED_TABLE_PREFIX) => Err(crate::insert::owned(name)),
        _ => Ok(marked(parts)),
    }
}

fn role(words: &mut Words<'_>) -> QueryResult<Kind> {
    let verb = words.name()?;
    let user = words.peek().as_deref() == Some("USER");
    words.name()?;
    let if_exists = match verb.as_str() {
        "drop" => words.take_all(&["IF", "EXISTS"]),
        "create" => words.take_all(&["IF", "NOT", "EXISTS"]),
        _ => false,
    };
    if verb == "drop" {
        let mut names = vec![words.name()?];
        while words.take_token(&Token::Comma) {
            names.push(words.name()?);
        }
        return Ok(Kind::DropRole { names, if_exists });
    }
    let name = words.name()?;
    if verb == "alter" && matches!(words.peek().as_deref(), Some("SET" | "RESET" | "IN")) {
        return role_setting(words, name);
    }
    let mut role = NewRole { name, ..NewRole::default() };
    if verb == "create" && user {
        role.can_login = Some(true);
    }
    words.take("WITH");
    while !words.at_end() {
        role_option(words, &mut role)?;
    }
    Ok(match verb.as_str() {
        "create" => Kind::CreateRole { role, if_not_exists: if_exists },
        _ => Kind::AlterRole { role },
    })
}

/// `SET name = value`, `SET name TO DEFAULT`, `RESET name | ALL` of ALTER ROLE.
fn role_setting(words: &mut Words<'_>, role: String) -> QueryResult<Kind> {
    if words.take("IN") {
        words.skip_all();
        let error = QueryError::unsupported("ALTER ROLE … IN DATABASE");
        return Ok(Kind::Unsupported(error.with_hint("There is one database: leave it out.")));
    }
    let resets = words.peek().as_deref() == Some("RESET");
    if role == "all" {
        words.skip_all();
        return Ok(Kind::Unsupported(QueryError::unsupported("ALTER ROLE ALL")));
    }
    let (name, value) = match resets {
        true => match reset(words)? {
            Kind::Reset(name) => (name, SetValue::Default),
            _ => return Err(words.unexpected()),
        },
        false => match set(words)? {
            Kind::Set { name, value, local: false } => (Some(name), value),
            _ => return Err(QueryError::new("42601", "ALTER ROLE takes SET name TO value")),
        },
    };
    let change = match (name, value) {
        (None, _) => RoleChange::ResetAll,
        (Some(name), SetValue::Text(value)) => RoleChange::Set { name, value },
        (Some(name), SetValue::Default) => RoleChange::Reset(name),
    };
    Ok(Kind::ConfigureRole { role, change })
}

fn role_option(words: &mut Words<'_>, role: &mut NewRole) -> QueryResult<()> {
    let Some(option) = words.peek() else { return Err(words.unexpected()) };
    match option.as_str() {
        "SUPERUSER" => role.superuser = Some(true),
        "NOSUPERUSER" => role.superuser = Some(false),
        "LOGIN" => role.can_login = Some(true),
        "NOLOGIN" => role.can_login = Some(false),
        // Rights of this database, named like Postgres' role attributes.
        "READ" => role.can_read = Some(true),
        "NOREAD" => role.can_read = Some(false),
        "WRITE" => role.can_write = Some(true),
        "NOWRITE" => role.can_write = Some(false),
        "DEFINE" | "CREATEDB" => role.can_define = Some(true),
        "NODEFINE" | "NOCREATEDB" => role.can_define = Some(false),
        "READONLY" => {
            role.can_read = Some(true);
            role.can_write = Some(false);
            role.can_define = Some(false);
        }
        "INHERIT" | "NOREPLICATION" | "NOBYPASSRLS" | "NOCREATEROLE" => {}
        "ENCRYPTED" | "PASSWORD" => {
            words.take("ENCRYPTED");
            if !words.take("PASSWORD") {
                return Err(words.unexpected());
            }
            if words.take("NULL") {
                return Err(QueryError::unsupported("PASSWORD NULL")
                    .with_hint("Use NOLOGIN to keep a user out."));
            }
            role.password = Some(words.text()?);
            return Ok(());
        }
        _ => {
            return Err(match option.as_str() {
                "CREATEROLE" | "REPLICATION" | "BYPASSRLS" | "CONNECTION" | "VALID" | "IN"
                | "ROLE" | "ADMIN" | "SET" | "RESET" | "RENAME" | "NOINHERIT" => {
                    QueryError::unsupported(format!("role option {option}"))
                }
                _ => words.unexpected(),
            });
        }
    }
    words.next_token();
    Ok(())
}

/// `LISTEN channel`, `UNLISTEN channel | *`, `NOTIFY channel [, 'payload']`.
fn notify(words: &mut Words<'_>) -> QueryResult<Kind> {
    let verb = words.name()?;
    if verb == "unlisten" && words.take_token(&Token::Mul) {
        return Ok(Kind::Notify(Action::Unlisten(None)));
    }
    let channel = words.name()?;
    let payload = match verb == "notify" && words.take_token(&Token::Comma) {
        true => words.text()?,
        false => String::new(),
    };
    check_words(&channel, &payload)?;
    Ok(Kind::Notify(match verb.as_str() {
        "listen" => Action::Listen(channel),
        "unlisten" => Action::Unlisten(Some(channel)),
        _ => Action::Notify { channel, payload },
    }))
}

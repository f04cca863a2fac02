//! PREPARE, EXECUTE and DEALLOCATE: the words are read here, the statements are kept by whoever
//! holds the connection, since the wire protocol names the same ones.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::words::Words;
use super::{CHAIN_PLAIN_MAX, Kind, Lines, Statement, depth, extent, parse_piece};
use crate::error::{QueryError, QueryResult};
use crate::uuid::UUID_TYPE;

/// What a statement asks of the keeper of prepared statements.
#[derive(Clone, Debug)]
pub enum OfPrepared<S = Statement> {
    /// PREPARE.
    Prepare {
        /// Name.
        name: String,
        /// Declared types of the parameters; `None` where they are left open.
        types: Vec<Option<DataType>>,
        /// What is prepared.
        statement: S,
    },
    /// EXECUTE.
    Execute {
        /// Name.
        name: String,
        /// A SELECT of one row whose columns are the arguments; `None` without any.
        arguments: Option<S>,
    },
    /// DEALLOCATE, `None`: ALL.
    Deallocate(Option<String>),
}

/// Reads `PREPARE name [(types)] AS statement`.
pub(super) fn prepare(words: &mut Words<'_>, sql: &str) -> QueryResult<Kind> {
    words.take("PREPARE");
    if words.take("TRANSACTION") {
        words.skip_all();
        return Ok(Kind::Unsupported(QueryError::unsupported("two-phase commit")));
    }
    let name = words.name()?;
    let mut types = Vec::new();
    if words.take_token(&Token::LParen) {
        loop {
            types.push(parameter_type(words)?);
            if words.take_token(&Token::RParen) {
                break;
            }
            if !words.take_token(&Token::Comma) {
                return Err(words.unexpected());
            }
        }
    }
    if !words.take("AS") {
        return Err(words.unexpected());
    }
    let unexpected = words.unexpected();
    let statement = inner(&words.rest(), sql)?;
    match statement.kind() {
        Kind::Query(_)
        | Kind::Insert(_)
        | Kind::Delete(_)
        | Kind::Update(_)
        | Kind::Unsupported(_) => {}
        _ => return Err(unexpected),
    }
    Ok(Kind::OfPrepared(OfPrepared::Prepare { name, types, statement }))
}

/// Reads `EXECUTE name [(arguments)]`.
pub(super) fn execute(words: &mut Words<'_>, sql: &str) -> QueryResult<Kind> {
    words.take("EXECUTE");
    let name = words.name()?;
    if words.at_end() {
        return Ok(Kind::OfPrepared(OfPrepared::Execute { name, arguments: None }));
    }
    let unexpected = words.unexpected();
    let rest = words.rest();
    let [open, between @ .., close] = &rest[..] else { return Err(unexpected) };
    if open.token != Token::LParen || close.token != Token::RParen {
        return Err(unexpected);
    }
    if between.is_empty() {
        return Ok(Kind::OfPrepared(OfPrepared::Execute { name, arguments: None }));
    }
    let mut select = vec![TokenWithSpan::new(Token::make_keyword("SELECT"), open.span)];
    select.extend_from_slice(between);
    let statement = inner(&select, sql)?;
    // Nothing but a list of expressions: `1 FROM t` is none.
    let plain = match statement.kind() {
        Kind::Query(ast) => is_list(ast),
        _ => false,
    };
    if !plain {
        return Err(unexpected);
    }
    Ok(Kind::OfPrepared(OfPrepared::Execute { name, arguments: Some(statement) }))
}

/// Reads `DEALLOCATE [PREPARE] name | ALL`.
pub(super) fn deallocate(words: &mut Words<'_>) -> QueryResult<Kind> {
    words.take("DEALLOCATE");
    words.take("PREPARE");
    let name = if words.take("ALL") { None } else { Some(words.name()?) };
    Ok(Kind::OfPrepared(OfPrepared::Deallocate(name)))
}

fn is_list(statement: &ast::Statement) -> bool {
    let ast::Statement::Query(query) = statement else { return false };
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    match query.body.as_ref() {
        ast::SetExpr::Select(select) if bare => {
            select.from.is_empty()
                && select.selection.is_none()
                && select.having.is_none()
                && select.projection.iter().all(|p| matches!(p, ast::SelectItem::UnnamedExpr(_)))
        }
        _ => false,
    }
}

/// A statement of its own out of tokens of another.
pub(super) fn inner(tokens: &[TokenWithSpan], sql: &str) -> QueryResult<Statement> {
    let kind = parse_piece(tokens, sql)?;
    let (start, end) = extent(tokens, &Lines::new(sql), sql);
    let deep = depth::depth(tokens) > CHAIN_PLAIN_MAX;
    Ok(Statement::new(Arc::from(sql), start, end, kind, deep))
}

/// The type of a parameter in words; `unknown` leaves it open.
fn parameter_type(words: &mut Words<'_>) -> QueryResult<Option<DataType>> {
    let mut name = words.name()?;
    for (first, rest) in [
        ("double", &["PRECISION"][..]),
        ("timestamp", &["WITH", "TIME", "ZONE"]),
        ("timestamp", &["WITHOUT", "TIME", "ZONE"]),
        ("character", &["VARYING"]),
    ] {
        if name == first && words.take_all(rest) {
            name = format!("{name} {}", rest.join(" ").to_lowercase());
        }
    }
    let micros = |zone: Option<&str>| {
        DataType::Timestamp(TimeUnit::Microsecond, zone.map(std::convert::Into::into))
    };
    Ok(Some(match name.as_str() {
        "unknown" => return Ok(None),
        "bool" | "boolean" => DataType::Boolean,
        "int2" | "smallint" => DataType::Int16,
        "int" | "int4" | "integer" => DataType::Int32,
        "int8" | "bigint" => DataType::Int64,
        "float4" | "real" => DataType::Float32,
        "float8" | "float" | "double precision" => DataType::Float64,
        "text" | "varchar" | "character varying" | "bpchar" | "name" => DataType::Utf8View,
        "bytea" => DataType::Binary,
        "uuid" => UUID_TYPE,
        "date" => DataType::Date32,
        "timestamptz" | "timestamp with time zone" => micros(Some("+00:00")),
        "timestamp" | "timestamp without time zone" => micros(None),
        other => {
            let message = format!("type \"{other}\" does not exist");
            return Err(QueryError::new("42704", message));
        }
    }))
}

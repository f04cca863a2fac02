//! CREATE, ALTER and DROP SEQUENCE, read off the tokens.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::Kind;
use super::words::Words;
use crate::error::{QueryError, QueryResult};
use crate::relational::kind::Kind as Type;
use crate::schema::resolve::marked;

/// What a statement says of a sequence; what it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) kind: Option<Type>,
    pub(crate) increment: Option<i64>,
    /// `Some(None)`: NO MINVALUE.
    pub(crate) min: Option<Option<i64>>,
    pub(crate) max: Option<Option<i64>>,
    pub(crate) start: Option<i64>,
    /// `Some(None)`: RESTART alone.
    pub(crate) restart: Option<Option<i64>>,
    pub(crate) cache: Option<i64>,
    pub(crate) cycle: Option<bool>,
    /// Table and column; `Some(None)`: OWNED BY NONE.
    pub(crate) owned: Option<Option<(String, String)>>,
}

/// A statement about sequences.
#[derive(Clone, Debug)]
pub(crate) enum OfSequence {
    Create { name: String, if_not_exists: bool, asked: Box<Asked> },
    Alter { name: String, if_exists: bool, asked: Box<Asked> },
    Rename { name: String, if_exists: bool, to: String },
    Drop { names: Vec<String>, if_exists: bool, cascade: bool },
}

impl OfSequence {
    /// Names of sequences that are meant, and of the table of OWNED BY.
    pub(crate) fn names_mut(&mut self) -> Vec<&mut String> {
        match self {
            OfSequence::Create { name, asked, .. } | OfSequence::Alter { name, asked, .. } => {
                let table = asked.owned.as_mut().and_then(Option::as_mut).map(|(table, _)| table);
                std::iter::once(name).chain(table).collect()
            }
            OfSequence::Rename { name, .. } => vec![name],
            OfSequence::Drop { names, .. } => names.iter_mut().collect(),
        }
    }
}

/// Reads the statement, whose first two words are known.
pub(super) fn parse(words: &mut Words<'_>) -> QueryResult<Kind> {
    let verb = words.name()?;
    if words.take("TEMPORARY") || words.take("TEMP") {
        words.skip_all();
        return Ok(Kind::Unsupported(QueryError::unsupported("temporary sequences")));
    }
    words.take("SEQUENCE");
    Ok(Kind::OfSequence(match verb.as_str() {
        "create" => {
            let if_not_exists = words.take_all(&["IF", "NOT", "EXISTS"]);
            let name = relation(words)?;
            let asked = Box::new(options(words, false)?);
            OfSequence::Create { name, if_not_exists, asked }
        }
        "drop" => {
            let if_exists = words.take_all(&["IF", "EXISTS"]);
            let mut names = vec![relation(words)?];
            while words.take_token(&Token::Comma) {
                names.push(relation(words)?);
            }
            let cascade = words.take("CASCADE");
            if !cascade {
                words.take("RESTRICT");
            }
            OfSequence::Drop { names, if_exists, cascade }
        }
        _ => {
            let if_exists = words.take_all(&["IF", "EXISTS"]);
            let name = relation(words)?;
            if words.take_all(&["RENAME", "TO"]) {
                OfSequence::Rename { name, if_exists, to: words.name()? }
            } else if matches!(words.peek().as_deref(), Some("OWNER"))
                || words.peek_at(1).as_deref() == Some("SCHEMA")
                || words.peek_at(1).as_deref() == Some("LOGGED")
            {
                words.skip_all();
                let what = "ALTER SEQUENCE … OWNER TO, SET SCHEMA and SET LOGGED";
                return Ok(Kind::Unsupported(QueryError::unsupported(what)));
            } else {
                if words.at_end() {
                    return Err(words.unexpected());
                }
                let asked = Box::new(options(words, true)?);
                OfSequence::Alter { name, if_exists, asked }
            }
        }
    }))
}

fn relation(words: &mut Words<'_>) -> QueryResult<String> {
    let mut parts = vec![words.name()?];
    while words.take_token(&Token::Period) {
        parts.push(words.name()?);
    }
    Ok(marked(parts))
}

fn options(words: &mut Words<'_>, alters: bool) -> QueryResult<Asked> {
    let mut asked = Asked::default();
    while !words.at_end() {
        let twice = if words.take("AS") {
            asked.kind.replace(kind(&words.name()?)?).is_some()
        } else if words.take("INCREMENT") {
            words.take("BY");
            asked.increment.replace(number(words)?).is_some()
        } else if words.take_all(&["NO", "MINVALUE"]) {
            asked.min.replace(None).is_some()
        } else if words.take("MINVALUE") {
            asked.min.replace(Some(number(words)?)).is_some()
        } else if words.take_all(&["NO", "MAXVALUE"]) {
            asked.max.replace(None).is_some()
        } else if words.take("MAXVALUE") {
            asked.max.replace(Some(number(words)?)).is_some()
        } else if words.take("START") {
            words.take("WITH");
            asked.start.replace(number(words)?).is_some()
        } else if alters && words.take("RESTART") {
            let with = words.take("WITH");
            let is_number =
                matches!(words.peek_token(), Some(Token::Number(..) | Token::Minus | Token::Plus));
            let to = if with || is_number { Some(number(words)?) } else { None };
            asked.restart.replace(to).is_some()
        } else if words.take("CACHE") {
            asked.cache.replace(number(words)?).is_some()
        } else if words.take_all(&["NO", "CYCLE"]) {
            asked.cycle.replace(false).is_some()
        } else if words.take("CYCLE") {
            asked.cycle.replace(true).is_some()
        } else if words.take_all(&["OWNED", "BY"]) {
            asked.owned.replace(owner(words)?).is_some()
        } else {
            return Err(words.unexpected());
        };
        if twice {
            return Err(QueryError::new("42601", "conflicting or redundant options"));
        }
    }
    Ok(asked)
}

fn owner(words: &mut Words<'_>) -> QueryResult<Option<(String, String)>> {
    if words.take("NONE") {
        return Ok(None);
    }
    let mut parts = vec![words.name()?];
    while words.take_token(&Token::Period) {
        parts.push(words.name()?);
    }
    match parts.pop() {
        Some(column) if !parts.is_empty() => Ok(Some((marked(parts), column))),
        _ => Err(QueryError::new("42601", "invalid OWNED BY option")
            .with_hint("Specify OWNED BY table.column or OWNED BY NONE.")),
    }
}

fn kind(name: &str) -> QueryResult<Type> {
    match name {
        "smallint" | "int2" => Ok(Type::Int2),
        "integer" | "int" | "int4" => Ok(Type::Int4),
        "bigint" | "int8" => Ok(Type::Int8),
        _ => Err(QueryError::new("22023", "sequence type must be smallint, integer, or bigint")),
    }
}

fn number(words: &mut Words<'_>) -> QueryResult<i64> {
    let negative = words.take_token(&Token::Minus);
    if !negative {
        words.take_token(&Token::Plus);
    }
    let unexpected = words.unexpected();
    match words.next_token() {
        Some(Token::Number(digits, _)) => {
            let text = if negative { format!("-{digits}") } else { digits.clone() };
            let out_of_range = || format!("value \"{text}\" is out of range for type bigint");
            text.parse().map_err(|_| QueryError::new("22003", out_of_range()))
        }
        _ => Err(unexpected),
    }
}

/// The options behind GENERATED … AS IDENTITY in the one order in which the parser takes them.
pub(super) fn ordered(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while let Some(from) = identity(&tokens, at) {
        let Some(length) = tokens[from..].iter().position(|t| t.token == Token::RParen) else {
            break;
        };
        let mut options: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
        for token in &tokens[from..from + length] {
            let begins = rank(&token.token);
            let follows_no = options.last().is_some_and(|(rank, _)| *rank == NO);
            match (begins, options.last_mut()) {
                (Some(begins), Some((rank, option))) if follows_no => {
                    *rank = begins;
                    option.push(token.clone());
                }
                (Some(begins), _) => options.push((begins, vec![token.clone()])),
                (None, Some((_, option))) => option.push(token.clone()),
                (None, None) => options.push((0, vec![token.clone()])),
            }
        }
        options.sort_by_key(|(rank, _)| *rank);
        let blank = TokenWithSpan::wrap(Token::Whitespace(Whitespace::Space));
        let options: Vec<TokenWithSpan> = options
            .into_iter()
            .flat_map(|(_, mut option)| {
                option.push(blank.clone());
                option
            })
            .collect();
        at = from + options.len();
        tokens.splice(from..from + length, options);
    }
    tokens
}

/// NO, before the option that it takes away is known.
const NO: usize = 7;

/// The place of an option in the parser's order, from 1, by its first word.
fn rank(token: &Token) -> Option<usize> {
    let Token::Word(word) = token else { return None };
    let all = ["INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "CYCLE", "NO"];
    all.iter().position(|name| word.value.eq_ignore_ascii_case(name)).map(|at| at + 1)
}

/// The place behind the next `IDENTITY (`.
fn identity(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    let is_blank = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let is_word = |token: &TokenWithSpan| {
        matches!(&token.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("IDENTITY"))
    };
    let words = (from..tokens.len()).filter(|at| is_word(&tokens[*at]));
    words.into_iter().find_map(|at| {
        let next = (at + 1..tokens.len()).find(|at| !is_blank(&tokens[*at]))?;
        (tokens[next].token == Token::LParen).then_some(next + 1)
    })
}

impl Asked {
    /// The options behind GENERATED AS IDENTITY.
    pub(crate) fn of_identity(options: &[ast::SequenceOptions]) -> QueryResult<Asked> {
        let mut asked = Asked::default();
        let whole = |expr: &ast::Expr| {
            let found = expr.to_string().replace(' ', "").parse();
            found.map_err(|_| QueryError::new("22023", format!("invalid sequence option {expr}")))
        };
        for option in options {
            use ast::SequenceOptions as S;
            match option {
                S::IncrementBy(expr, _) => asked.increment = Some(whole(expr)?),
                S::MinValue(expr) => asked.min = Some(expr.as_ref().map(whole).transpose()?),
                S::MaxValue(expr) => asked.max = Some(expr.as_ref().map(whole).transpose()?),
                S::StartWith(expr, _) => asked.start = Some(whole(expr)?),
                S::Cache(expr) => asked.cache = Some(whole(expr)?),
                // The parser says NO CYCLE by true.
                S::Cycle(no) => asked.cycle = Some(!no),
            }
        }
        Ok(asked)
    }
}

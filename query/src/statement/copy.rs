//! The words of COPY: `COPY t FROM STDIN | 'file'` and `COPY t | (query) TO STDOUT | 'file'`, with
//! options in parentheses or in the older form that psql's \copy still sends.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::words::Words;
use super::{Kind, Statement, prepared};
use crate::copy::{Compression, Format, Header, Options};
use crate::error::{QueryError, QueryResult};

/// A COPY as it is written.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) what: What,
    /// The file of the server; `None`: the client.
    pub(crate) file: Option<String>,
    pub(crate) options: Options,
}

/// Which way the rows go.
#[derive(Debug)]
pub(crate) enum What {
    /// Into columns of a table; no columns: all.
    In { table: Vec<String>, columns: Vec<String> },
    /// The rows of a query, or of the table or view that it is made for.
    Out { query: Statement, table: Option<Vec<String>> },
}

/// Reads a COPY.
pub(super) fn parse(words: &mut Words<'_>, sql: &str) -> QueryResult<Kind> {
    words.take("COPY");
    let mut options = Written::default();
    if words.take("BINARY") {
        options.format = Some("binary".into());
    }
    let source = source(words, sql)?;
    let inward = match words.peek().as_deref() {
        Some("FROM") => true,
        Some("TO") => false,
        _ => return Err(words.unexpected()),
    };
    words.next_token();
    let mut file = None;
    if !words.take(if inward { "STDIN" } else { "STDOUT" }) {
        if words.take("PROGRAM") {
            words.skip_all();
            return Ok(Kind::Unsupported(QueryError::unsupported("COPY with programs")));
        }
        let unexpected = words.unexpected();
        file = Some(words.text().map_err(|_| unexpected)?);
    }
    words.take("WITH");
    match words.take_token(&Token::LParen) {
        true => options.list(words)?,
        false => options.legacy(words)?,
    }
    if words.take("WHERE") {
        words.skip_all();
        return Ok(Kind::Unsupported(QueryError::unsupported("COPY … WHERE")));
    }
    let options = options.finish(inward, file.is_some())?;
    let what = match (source, inward) {
        (Source::Query(_), true) => return Err(QueryError::new("42601", "COPY FROM a query")),
        (Source::Query(query), false) => What::Out { query, table: None },
        (Source::Table(table, columns), true) => What::In { table, columns },
        (Source::Table(table, columns), false) => {
            What::Out { query: select(&table, &columns)?, table: Some(table) }
        }
    };
    Ok(Kind::Copy(Box::new(Copy { what, file, options })))
}

enum Source {
    Table(Vec<String>, Vec<String>),
    Query(Statement),
}

fn source(words: &mut Words<'_>, sql: &str) -> QueryResult<Source> {
    let unexpected = words.unexpected();
    if words.take_token(&Token::LParen) {
        let query = prepared::inner(&words.until_closed()?, sql)?;
        return match query.kind() {
            Kind::Query(_) => Ok(Source::Query(query)),
            Kind::Unsupported(error) => Err(error.clone()),
            _ => Err(unexpected),
        };
    }
    let mut table = vec![words.name()?];
    while words.take_token(&Token::Period) {
        table.push(words.name()?);
    }
    let mut columns = Vec::new();
    if words.take_token(&Token::LParen) {
        loop {
            columns.push(words.name()?);
            if words.take_token(&Token::RParen) {
                break;
            }
            if !words.take_token(&Token::Comma) {
                return Err(words.unexpected());
            }
        }
    }
    Ok(Source::Table(table, columns))
}

/// The query that COPY of a table is short for.
fn select(table: &[String], columns: &[String]) -> QueryResult<Statement> {
    let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let list: Vec<String> = columns.iter().map(quoted).collect();
    let list = if list.is_empty() { "*".to_string() } else { list.join(", ") };
    let table: Vec<String> = table.iter().map(quoted).collect();
    let sql = format!("SELECT {list} FROM {}", table.join("."));
    let mut statements = super::parse(&sql)?;
    statements.pop().ok_or_else(|| QueryError::internal("COPY of a table made no query"))
}

/// Options as they are written; each at most once.
#[derive(Default)]
struct Written {
    format: Option<String>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    compression: Option<String>,
}

impl Written {
    /// `(name value, …)`, after the parenthesis.
    fn list(&mut self, words: &mut Words<'_>) -> QueryResult<()> {
        loop {
            let name = words.name()?;
            match name.as_str() {
                "format" => once(&mut self.format, &name, value(words)?)?,
                "compression" => once(&mut self.compression, &name, value(words)?)?,
                "delimiter" => once(&mut self.delimiter, &name, words.text()?)?,
                "null" => once(&mut self.null, &name, words.text()?)?,
                "quote" => once(&mut self.quote, &name, words.text()?)?,
                "escape" => once(&mut self.escape, &name, words.text()?)?,
                "header" => {
                    let header = header(words)?;
                    once(&mut self.header, &name, header)?;
                }
                // Rows are loaded the same way with and without it.
                "freeze" => {
                    flag(words)?;
                }
                "encoding" => encoding(&words.text()?)?,
                other => return Err(unknown(other)),
            }
            if words.take_token(&Token::RParen) {
                return Ok(());
            }
            if !words.take_token(&Token::Comma) {
                return Err(words.unexpected());
            }
        }
    }

    /// `CSV HEADER DELIMITER AS ';' …`.
    fn legacy(&mut self, words: &mut Words<'_>) -> QueryResult<()> {
        while let Some(name) = words.peek() {
            if name == "WHERE" {
                break;
            }
            words.next_token();
            let name = name.to_lowercase();
            match name.as_str() {
                "binary" | "csv" => once(&mut self.format, "format", name.clone())?,
                "header" => once(&mut self.header, &name, Header::Yes)?,
                "freeze" => {}
                "delimiter" | "delimiters" | "null" | "quote" | "escape" | "encoding" => {
                    words.take("AS");
                    let text = words.text()?;
                    match name.as_str() {
                        "null" => once(&mut self.null, &name, text)?,
                        "quote" => once(&mut self.quote, &name, text)?,
                        "escape" => once(&mut self.escape, &name, text)?,
                        "encoding" => encoding(&text)?,
                        _ => once(&mut self.delimiter, &name, text)?,
                    }
                }
                other => return Err(unknown(other)),
            }
        }
        Ok(())
    }

    fn finish(self, inward: bool, file: bool) -> QueryResult<Options> {
        let mut options = match self.format.as_deref() {
            None | Some("text") => Options::text(),
            Some("csv") => Options::csv(),
            Some("binary") => Options::binary(),
            Some("parquet") if file => Options::parquet(),
            Some("parquet") => {
                let error = QueryError::unsupported("COPY in Parquet over the wire");
                return Err(error.with_hint("Parquet goes with files of the server."));
            }
            Some(other) => {
                let message = format!("COPY format \"{other}\" not recognized");
                return Err(QueryError::new("22023", message));
            }
        };
        if let Some(header) = self.header {
            if header == Header::Match && !inward {
                return Err(QueryError::new("22023", "HEADER MATCH goes with COPY FROM only"));
            }
            options.header = header;
        }
        if let Some(name) = self.compression {
            if options.format != Format::Parquet || inward {
                let message = "COPY compression goes with COPY TO in Parquet only";
                return Err(QueryError::new("22023", message));
            }
            options.compression = match name.as_str() {
                "zstd" => Compression::Zstd,
                "snappy" => Compression::Snappy,
                "none" => Compression::None,
                _ => {
                    let message = format!("COPY compression \"{name}\" not recognized");
                    return Err(QueryError::new("22023", message)
                        .with_hint("Known are zstd, snappy and none."));
                }
            };
        }
        options.set_bytes(self.delimiter, self.null, self.quote, self.escape)?;
        options.check()?;
        Ok(options)
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> QueryResult<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => {
            let message = format!("conflicting or redundant options: \"{name}\"");
            Err(QueryError::new("42601", message))
        }
    }
}

fn unknown(name: &str) -> QueryError {
    match name {
        "force_quote" | "force_not_null" | "force_null" | "force" | "on_error"
        | "log_verbosity" | "default" | "oids" => {
            QueryError::unsupported(format!("COPY option {name}"))
        }
        _ => QueryError::new("42601", format!("option \"{name}\" not recognized")),
    }
}

fn encoding(name: &str) -> QueryResult<()> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(QueryError::unsupported(format!("COPY in encoding \"{name}\""))
            .with_hint("Only UTF8 is read and written.")),
    }
}

/// A word or a quoted text, in lower case.
fn value(words: &mut Words<'_>) -> QueryResult<String> {
    match words.text() {
        Ok(text) => Ok(text.to_lowercase()),
        Err(_) => Ok(words.name()?.to_lowercase()),
    }
}

/// A truth value; it may be left out, and then is true.
fn flag(words: &mut Words<'_>) -> QueryResult<bool> {
    match words.peek_token() {
        Some(Token::Comma | Token::RParen) | None => return Ok(true),
        Some(Token::Number(n, _)) if n == "0" || n == "1" => {
            let yes = n == "1";
            words.next_token();
            return Ok(yes);
        }
        _ => {}
    }
    let unexpected = words.unexpected();
    match value(words)?.as_str() {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(unexpected),
    }
}

fn header(words: &mut Words<'_>) -> QueryResult<Header> {
    if words.take("MATCH") {
        return Ok(Header::Match);
    }
    Ok(if flag(words)? { Header::Yes } else { Header::No })
}

impl Copy {
    /// The query whose rows go out.
    pub(crate) fn query(&self) -> Option<&Statement> {
        match &self.what {
            What::Out { query, .. } => Some(query),
            What::In { .. } => None,
        }
    }
}

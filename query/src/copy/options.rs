//! How rows of a COPY are written.

use crate::error::{QueryError, QueryResult};

/// Form of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns between tabs, `\N` for NULL, backslash escapes.
    Text,
    /// Comma-separated values.
    Csv,
    /// Postgres' binary form.
    Binary,
    /// Parquet, in files of the server alone.
    Parquet,
}

/// How columns of Parquet are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Small.
    #[default]
    Zstd,
    /// Quick.
    Snappy,
    /// Not at all.
    None,
}

/// What the first line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// A row.
    No,
    /// Names of columns, passed over on the way in.
    Yes,
    /// Names of columns, which must be those of the COPY.
    Match,
}

/// How rows are written. Delimiter, quote and escape are one ASCII byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Form of the rows.
    pub format: Format,
    /// Between two columns.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// What the first line is.
    pub header: Header,
    /// Around values of CSV that need it.
    pub quote: u8,
    /// Before a quote in a quoted value of CSV.
    pub escape: u8,
    /// How columns of Parquet are packed.
    pub compression: Compression,
}

impl Options {
    pub(crate) fn text() -> Options {
        Options {
            format: Format::Text,
            delimiter: b'\t',
            null: "\\N".into(),
            header: Header::No,
            quote: b'"',
            escape: b'"',
            compression: Compression::default(),
        }
    }

    pub(crate) fn csv() -> Options {
        Options { format: Format::Csv, delimiter: b',', null: String::new(), ..Options::text() }
    }

    pub(crate) fn binary() -> Options {
        Options { format: Format::Binary, ..Options::text() }
    }

    pub(crate) fn parquet() -> Options {
        Options { format: Format::Parquet, ..Options::text() }
    }

    /// Sets what is given; `None` leaves the default of the format.
    pub(crate) fn set_bytes(
        &mut self,
        delimiter: Option<String>,
        null: Option<String>,
        quote: Option<String>,
        escape: Option<String>,
    ) -> QueryResult<()> {
        let given = [("DELIMITER", &delimiter), ("NULL", &null)];
        for (name, _) in given.iter().filter(|(_, value)| value.is_some()) {
            if let Some(mode) = self.is_of_columns() {
                let message = format!("cannot specify {name} in {mode} mode");
                return Err(QueryError::new("42601", message));
            }
        }
        for (name, _) in [("quote", &quote), ("escape", &escape)].iter().filter(|o| o.1.is_some()) {
            if self.format != Format::Csv {
                let message = format!("COPY {name} requires CSV mode");
                return Err(QueryError::new("22023", message));
            }
        }
        if let Some(text) = delimiter {
            self.delimiter = one_byte("delimiter", &text)?;
        }
        if let Some(text) = null {
            self.null = text;
        }
        if let Some(text) = quote {
            self.quote = one_byte("quote", &text)?;
            self.escape = self.quote;
        }
        if let Some(text) = escape {
            self.escape = one_byte("escape", &text)?;
        }
        Ok(())
    }

    /// The name of a format that is no text.
    fn is_of_columns(&self) -> Option<&'static str> {
        match self.format {
            Format::Text | Format::Csv => None,
            Format::Binary => Some("BINARY"),
            Format::Parquet => Some("PARQUET"),
        }
    }

    /// Whether a row can be told from its separators.
    pub(crate) fn check(&self) -> QueryResult<()> {
        let wrong = |message: &str| Err(QueryError::new("22023", message));
        let is_line = |byte: u8| matches!(byte, b'\n' | b'\r');
        if let Some(mode) = self.is_of_columns() {
            return match self.header {
                Header::No => Ok(()),
                _ => {
                    let message = format!("cannot specify HEADER in {mode} mode");
                    Err(QueryError::new("42601", message))
                }
            };
        }
        if is_line(self.delimiter) || is_line(self.quote) || is_line(self.escape) {
            return wrong("COPY delimiter, quote and escape cannot be newline or carriage return");
        }
        if self.null.bytes().any(is_line) {
            return wrong("COPY null representation cannot use newline or carriage return");
        }
        if self.null.bytes().any(|byte| byte == self.delimiter) {
            return wrong("COPY delimiter must not appear in the NULL specification");
        }
        if self.format == Format::Text {
            let d = self.delimiter;
            if d.is_ascii_lowercase() || d.is_ascii_digit() || matches!(d, b'\\' | b'.') {
                let message = format!("COPY delimiter cannot be \"{}\"", char::from(d));
                return Err(QueryError::new("22023", message));
            }
        } else if self.delimiter == self.quote {
            return wrong("COPY delimiter and quote must be different");
        } else if self.null.bytes().any(|byte| byte == self.quote) {
            return wrong("CSV quote character must not appear in the NULL specification");
        }
        Ok(())
    }
}

fn one_byte(name: &str, text: &str) -> QueryResult<u8> {
    match text.as_bytes() {
        [byte] if *byte != 0 => Ok(*byte),
        _ => {
            let message = format!("COPY {name} must be a single one-byte character");
            Err(QueryError::new("22023", message))
        }
    }
}

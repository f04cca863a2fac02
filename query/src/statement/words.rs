//! A reader over the significant tokens of a statement.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::position_of;
use crate::error::{QueryError, QueryResult};

/// A cursor over tokens without blanks and comments.
pub(super) struct Words<'a> {
    tokens: Vec<&'a TokenWithSpan>,
    next: usize,
    sql: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(piece: &'a [TokenWithSpan], sql: &'a str) -> Words<'a> {
        let significant =
            |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
        Words { tokens: piece.iter().filter(significant).collect(), next: 0, sql }
    }

    /// The next word in upper case if it is not quoted.
    pub(super) fn peek(&self) -> Option<String> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<String> {
        match &self.tokens.get(self.next + ahead)?.token {
            Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_uppercase()),
            _ => None,
        }
    }

    /// Takes the next word if it is this one.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let hit = self.peek().as_deref() == Some(word);
        self.next += usize::from(hit);
        hit
    }

    /// Takes a word if this other one follows.
    pub(super) fn take_if_before(&mut self, word: &str, next: &str) -> bool {
        self.peek_at(1).as_deref() == Some(next) && self.take(word)
    }

    /// Whether one word is among the next ones, and no other before it.
    pub(super) fn comes_before(&self, word: &str, other: &str) -> bool {
        let left = self.tokens.len().saturating_sub(self.next);
        let words = (0..left).filter_map(|ahead| self.peek_at(ahead));
        words.take_while(|found| found != other).any(|found| found == word)
    }

    /// Takes the words in order, or none of them.
    pub(super) fn take_all(&mut self, words: &[&str]) -> bool {
        let hit = words.iter().enumerate().all(|(i, w)| self.peek_at(i).as_deref() == Some(w));
        if hit {
            self.next += words.len();
        }
        hit
    }

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        let hit = self.tokens.get(self.next).is_some_and(|t| t.token == *token);
        self.next += usize::from(hit);
        hit
    }

    pub(super) fn next_token(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(&token.token)
    }

    /// Whether one token is left.
    pub(super) fn is_last(&self) -> bool {
        self.next + 1 == self.tokens.len()
    }

    pub(super) fn at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub(super) fn peek_token(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|token| &token.token)
    }

    /// The tokens up to the parenthesis that closes the one before; both are taken.
    pub(super) fn until_closed(&mut self) -> QueryResult<Vec<TokenWithSpan>> {
        let mut open = 0usize;
        let mut taken = Vec::new();
        while let Some(token) = self.tokens.get(self.next) {
            self.next += 1;
            match token.token {
                Token::LParen => open += 1,
                Token::RParen if open == 0 => return Ok(taken),
                Token::RParen => open -= 1,
                _ => {}
            }
            taken.push((*token).clone());
        }
        Err(self.unexpected())
    }

    /// All tokens that are left.
    pub(super) fn rest(&mut self) -> Vec<TokenWithSpan> {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        self.next = self.tokens.len();
        rest.iter().map(|token| (*token).clone()).collect()
    }

    pub(super) fn skip_all(&mut self) {
        self.next = self.tokens.len();
    }

    /// An identifier, folded as Postgres does.
    pub(super) fn name(&mut self) -> QueryResult<String> {
        match self.tokens.get(self.next).map(|t| &t.token) {
            Some(Token::Word(w)) => {
                self.next += 1;
                Ok(match w.quote_style {
                    Some(_) => w.value.clone(),
                    None => w.value.to_lowercase(),
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A quoted text.
    pub(super) fn text(&mut self) -> QueryResult<String> {
        match self.tokens.get(self.next).map(|t| &t.token) {
            Some(
                Token::SingleQuotedString(s)
                | Token::EscapedStringLiteral(s)
                | Token::UnicodeStringLiteral(s),
            ) => {
                self.next += 1;
                Ok(s.clone())
            }
            Some(Token::DollarQuotedString(s)) => {
                self.next += 1;
                Ok(s.value.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// The end, or a syntax error.
    pub(super) fn end(&self) -> QueryResult<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn unexpected(&self) -> QueryError {
        match self.tokens.get(self.next) {
            None => {
                let place = u32::try_from(self.sql.chars().count() + 1).ok();
                QueryError::new("42601", "syntax error at end of input").with_position(place)
            }
            Some(t) => {
                let place = position_of(self.sql, t.span.start.line, t.span.start.column);
                let message = format!("syntax error at or near \"{}\"", t.token);
                QueryError::new("42601", message).with_position(place)
            }
        }
    }
}

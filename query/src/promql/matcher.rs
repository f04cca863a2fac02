//! Tests of one label.

use regex::{Regex, RegexBuilder};

use crate::error::{QueryError, QueryResult};

/// Bytes of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// How a label's value is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    NotMatches,
}

/// A test of one label; a label that is missing has the empty value.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Name of the label.
    pub name: String,
    /// The test.
    pub op: MatchOp,
    /// What the value is tested with.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A test.
    ///
    /// # Errors
    /// `42601` for a regular expression that is none, or too large.
    pub fn new(name: &str, op: MatchOp, value: &str) -> QueryResult<Matcher> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::NotMatches => Some(anchored(value)?),
        };
        Ok(Matcher { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Whether a value passes.
    pub(crate) fn passes(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Matches, Some(regex)) => regex.is_match(value),
            (MatchOp::NotMatches, Some(regex)) => !regex.is_match(value),
            (MatchOp::Matches | MatchOp::NotMatches, None) => false,
        }
    }
}

/// An expression that must match a whole text.
pub(crate) fn anchored(text: &str) -> QueryResult<Regex> {
    let built = RegexBuilder::new(&format!("^(?s:{text})$")).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| {
        let cause = match error {
            regex::Error::CompiledTooBig(bytes) => {
                format!("it compiles to more than {bytes} bytes")
            }
            other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        };
        QueryError::new("42601", format!("bad regular expression {text:?}: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_anchored_and_dots_match_all() {
        let check = |op, value: &str, given: &str| {
            Matcher::new("l", op, value).expect("a matcher").passes(given)
        };
        assert!(check(MatchOp::Equal, "a", "a") && !check(MatchOp::Equal, "a", "ab"));
        assert!(check(MatchOp::NotEqual, "a", "") && !check(MatchOp::NotEqual, "", ""));
        assert!(check(MatchOp::Matches, "a|b.*", "bcd\ne"));
        assert!(!check(MatchOp::Matches, "a|b", "ab") && !check(MatchOp::Matches, "a", "xa"));
        assert!(check(MatchOp::Matches, ".*", "") && !check(MatchOp::Matches, ".+", ""));
        assert!(
            check(MatchOp::NotMatches, "a.*", "ba") && !check(MatchOp::NotMatches, "a.*", "ab")
        );
        let error = Matcher::new("l", MatchOp::Matches, "a(").expect_err("no expression");
        assert!(error.code == "42601" && error.message.contains("a("), "{error}");
        let error = Matcher::new("l", MatchOp::Matches, "(a{1000}){1000}").expect_err("too large");
        assert!(error.message.contains("bytes"), "{error}");
    }
}

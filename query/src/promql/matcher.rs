//! Tests of one label.

use regex::{Regex, RegexBuilder};

use crate::error::{QueryError, QueryResult};

/// Bytes of a compiled regular expression, and from which on it is a large one.
const REGEX_BYTES_MAX: usize = 1 << 20;
const REGEX_BYTES_LARGE: usize = 64 << 10;

/// Regular expressions that one request may still have compiled: each takes up to some
/// milliseconds, a large one up to a hundred.
#[derive(Debug)]
pub struct RegexBudget {
    all: usize,
    large: usize,
}

impl Default for RegexBudget {
    fn default() -> RegexBudget {
        RegexBudget { all: 100, large: 8 }
    }
}

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
    /// `42601` for a regular expression that is none, too large, or above the budget.
    pub fn new(
        name: &str,
        op: MatchOp,
        value: &str,
        budget: &mut RegexBudget,
    ) -> QueryResult<Matcher> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::NotMatches => Some(anchored(value, budget)?),
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
pub(crate) fn anchored(text: &str, budget: &mut RegexBudget) -> QueryResult<Regex> {
    let many = |what: &str| QueryError::new("42601", format!("too many {what} in one request"));
    budget.all = budget.all.checked_sub(1).ok_or_else(|| many("regular expressions"))?;
    let mut builder = RegexBuilder::new(&format!("^(?s:{text})$"));
    let built = match builder.size_limit(REGEX_BYTES_LARGE).build() {
        Err(regex::Error::CompiledTooBig(_)) => {
            let left = budget.large.checked_sub(1);
            budget.large = left.ok_or_else(|| many("large regular expressions"))?;
            builder.size_limit(REGEX_BYTES_MAX).build()
        }
        built => built,
    };
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
            let budget = &mut RegexBudget::default();
            Matcher::new("l", op, value, budget).expect("a matcher").passes(given)
        };
        assert!(check(MatchOp::Equal, "a", "a") && !check(MatchOp::Equal, "a", "ab"));
        assert!(check(MatchOp::NotEqual, "a", "") && !check(MatchOp::NotEqual, "", ""));
        assert!(check(MatchOp::Matches, "a|b.*", "bcd\ne"));
        assert!(!check(MatchOp::Matches, "a|b", "ab") && !check(MatchOp::Matches, "a", "xa"));
        assert!(check(MatchOp::Matches, ".*", "") && !check(MatchOp::Matches, ".+", ""));
        assert!(
            check(MatchOp::NotMatches, "a.*", "ba") && !check(MatchOp::NotMatches, "a.*", "ab")
        );
        let refused = |value: &str| {
            let budget = &mut RegexBudget::default();
            Matcher::new("l", MatchOp::Matches, value, budget).expect_err("no expression")
        };
        let error = refused("a(");
        assert!(error.code == "42601" && error.message.contains("a("), "{error}");
        let error = refused("(a{1000}){1000}");
        assert!(error.message.contains("bytes"), "{error}");
    }

    #[test]
    fn expressions_of_a_request_are_counted() {
        let taken = |value: &str| {
            let mut budget = RegexBudget::default();
            let new = |_: &usize| Matcher::new("l", MatchOp::Matches, value, &mut budget).is_ok();
            (0..200).take_while(new).count()
        };
        assert_eq!((taken("a.*b"), taken(r"\w{20}")), (100, 8));
        let hosts: Vec<String> = (0..1000).map(|host| format!("host-{host}")).collect();
        assert_eq!(taken(&hosts.join("|")), 8);
    }
}

//! The door for fuzzers of PromQL, compiled for tests and fuzzers only (`tests/fuzz`).

use crate::promql::{RegexBudget, parse_selector, read_query};

#[cfg(test)]
#[path = "../../tests/fuzz/smoke.rs"]
mod smoke;

/// Reads a query, and the same text as a selector. Whether it is a query.
pub fn promql(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let selector = parse_selector(text, &mut RegexBudget::default());
    let query = read_query(text);
    // A selector is a query, too.
    assert!(selector.is_err() || query.is_ok(), "{text}");
    query.is_ok()
}

#[cfg(test)]
mod tests {
    //! The smoke run: `tests/fuzz/smoke.rs`.
    use super::*;

    #[test]
    fn promql_texts() {
        // Queries are read on threads with large stacks (`engine.rs`).
        let large = std::thread::Builder::new().stack_size(64 << 20);
        let run = large.spawn(|| smoke::check("promql", promql)).expect("a thread");
        run.join().expect("no panic");
    }
}

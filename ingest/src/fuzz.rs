//! The door for fuzzers of line protocol, compiled for tests and fuzzers only (`tests/fuzz`).

use crate::line::compare::both;
use crate::line::scan::complete_lines;

#[cfg(test)]
#[path = "../../tests/fuzz/smoke.rs"]
mod smoke;

/// Reads a request: the fast reader must see the rows and refusals that its slow twin sees, now
/// and once its cache knows the series, and whole lines must be found in any piece. Whether every
/// line was good.
///
/// # Panics
/// If anything differs.
pub fn line(body: &[u8]) -> bool {
    let whole = complete_lines(body);
    assert!(whole <= body.len(), "lines end behind the bytes");
    let (rows, refused) = both(body);
    !rows.is_empty() && refused.is_empty()
}

#[cfg(test)]
mod tests {
    //! The smoke run: `tests/fuzz/smoke.rs`.
    use super::*;

    #[test]
    fn line_protocol() {
        smoke::check("line", line);
    }
}

//! The doors for fuzzers of line protocol and remote write, compiled for tests and fuzzers only
//! (`tests/fuzz`).

use std::collections::BTreeMap;

use crate::line::cache::SeriesCache;
use crate::line::compare::{LIMITS, NOW, both, tables};
use crate::line::request::Context;
use crate::line::scan::complete_lines;
use crate::{LineLimits, Metadata, Precision, remote};

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

/// Reads a `WriteRequest` of remote write, with its metadata. Whether every sample was good.
///
/// # Panics
/// If a request that is read has more rows than its bytes can hold samples.
pub fn remote(body: &[u8]) -> bool {
    let (tables, cache, denied) = (tables(), SeriesCache::new(1 << 16), BTreeMap::new());
    let context = Context {
        catalogue: &tables,
        cache: &cache,
        limits: LIMITS,
        line_limits: &LineLimits::default(),
        precision: Precision::Millis,
        now_ns: NOW,
        only: None,
        denied: &denied,
    };
    let Ok(parsed) = remote::parse(body, &context) else { return false };
    Metadata::default().take(body);
    let all = parsed.rows as usize + parsed.refusals.lines.len();
    assert!(2 * all <= body.len(), "{all} samples of {} bytes", body.len());
    parsed.rows > 0 && parsed.refusals.lines.is_empty()
}

#[cfg(test)]
mod tests {
    //! The smoke run: `tests/fuzz/smoke.rs`.
    use super::*;

    #[test]
    fn line_protocol() {
        smoke::check("line", line);
    }

    #[test]
    fn remote_write() {
        smoke::check("remote", remote);
    }

    /// Requests that Prometheus could have sent.
    #[test]
    #[ignore = "writes the corpus anew"]
    fn write_the_corpus() {
        use crate::remote::proto::{put_bytes, put_double, put_int};

        let label = |name: &str, value: &str, series: &mut Vec<u8>| {
            let mut label = Vec::new();
            put_bytes(1, name.as_bytes(), &mut label);
            put_bytes(2, value.as_bytes(), &mut label);
            put_bytes(1, &label, series);
        };
        let sample = |ms: i64, value: f64, series: &mut Vec<u8>| {
            let mut sample = Vec::new();
            put_double(1, value, &mut sample);
            put_int(2, ms, &mut sample);
            put_bytes(2, &sample, series);
        };
        let (mut small, mut many) = (Vec::new(), Vec::new());
        let mut series = Vec::new();
        label("__name__", "up", &mut series);
        label("job", "millrace", &mut series);
        sample(1_700_000_000_000, 1.0, &mut series);
        put_bytes(1, &series, &mut small);
        for number in 0..20 {
            series.clear();
            label("__name__", "requests_total", &mut series);
            label("time", &number.to_string(), &mut series);
            for n in 0..number {
                let stale = f64::from_bits(query::promql::STALE_BITS);
                let value = if n == 7 { stale } else { n as f64 };
                sample(1_700_000_000_000 + n * 15_000, value, &mut series);
            }
            put_bytes(1, &series, &mut many);
        }
        let mut metadata = Vec::new();
        put_int(1, 1, &mut metadata);
        put_bytes(2, b"requests_total", &mut metadata);
        put_bytes(4, b"How many.", &mut metadata);
        put_bytes(3, &metadata, &mut many);
        let mut bad = small.clone();
        put_bytes(1, &[0x12, 0x00], &mut bad);
        std::fs::create_dir_all(smoke::folder("remote")).expect("a folder");
        for (name, bytes) in [("small", small), ("many", many), ("bad-nameless", bad)] {
            std::fs::write(smoke::folder("remote").join(name), bytes).expect("a seed");
        }
    }
}

//! What senders say about their metrics: type, help, unit. Kept in memory, as Prometheus does: senders
//! say it again every minute.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::field::REQUEST_METADATA;
use super::proto::{Field, Fields};

/// Bytes of all that is kept; metrics beyond are not described.
const BYTES_MAX: usize = 8 << 20;
/// Bytes of one text.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Bytes of an entry beside its texts.
const ENTRY_BYTES: usize = 128;

/// Names of the types by their numbers (prompb/types.proto, `MetricMetadata.MetricType`).
const KINDS: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// `counter`, `gauge` …
    pub kind: &'static str,
    /// What it measures.
    pub help: String,
    /// Its unit.
    pub unit: String,
}

/// Descriptions by the names of metrics.
#[derive(Debug, Default)]
pub struct Metadata {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_name: BTreeMap<String, Described>,
    bytes: usize,
}

impl Metadata {
    /// Keeps what a `WriteRequest` that was found to be one says.
    pub(crate) fn take(&self, request: &[u8]) {
        for found in Fields::new(request).flatten() {
            if let (REQUEST_METADATA, Field::Bytes(bytes)) = found
                && let Some((name, described)) = described(bytes)
            {
                self.keep(name, described);
            }
        }
    }

    fn keep(&self, name: String, described: Described) {
        if self.inner.read().by_name.get(&name) == Some(&described) {
            return;
        }
        let mut inner = self.inner.write();
        if let Some(old) = inner.by_name.remove(&name) {
            inner.bytes -= bytes(&name, &old);
        }
        let more = bytes(&name, &described);
        if inner.bytes + more <= BYTES_MAX {
            inner.bytes += more;
            inner.by_name.insert(name, described);
        }
    }

    /// All metrics, or the one of this name, in order of name; at most `limit`.
    pub fn list(&self, name: Option<&str>, limit: usize) -> Vec<(String, Described)> {
        let inner = self.inner.read();
        let wanted = |found: &str| name.is_none_or(|name| name == found);
        let all = inner.by_name.iter().filter(|(found, _)| wanted(found));
        all.take(limit).map(|(name, described)| (name.clone(), described.clone())).collect()
    }
}

fn bytes(name: &str, described: &Described) -> usize {
    name.len() + described.help.len() + described.unit.len() + ENTRY_BYTES
}

/// One `MetricMetadata`; `None` for what is none, or has no name.
fn described(bytes: &[u8]) -> Option<(String, Described)> {
    let (mut name, mut kind, mut help, mut unit) = ("", 0, "", "");
    for found in Fields::new(bytes) {
        match found.ok()? {
            (1, Field::Varint(number)) => kind = number,
            (2, Field::Bytes(bytes)) => name = std::str::from_utf8(bytes).ok()?,
            (4, Field::Bytes(bytes)) => help = std::str::from_utf8(bytes).ok()?,
            (5, Field::Bytes(bytes)) => unit = std::str::from_utf8(bytes).ok()?,
            _ => {}
        }
    }
    if name.is_empty() || [name, help, unit].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return None;
    }
    let kind = usize::try_from(kind).ok().and_then(|n| KINDS.get(n)).unwrap_or(&KINDS[0]);
    Some((name.to_owned(), Described { kind, help: help.to_owned(), unit: unit.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::super::proto::{put_bytes, put_int};
    use super::*;

    fn request(name: &str, kind: i64, help: &str) -> Vec<u8> {
        let (mut one, mut all) = (Vec::new(), Vec::new());
        put_int(1, kind, &mut one);
        put_bytes(2, name.as_bytes(), &mut one);
        put_bytes(4, help.as_bytes(), &mut one);
        put_bytes(REQUEST_METADATA, &one, &mut all);
        all
    }

    #[test]
    fn the_latest_description_counts_and_all_are_bounded() {
        let metadata = Metadata::default();
        metadata.take(&request("up", 2, "first"));
        metadata.take(&request("up", 1, "second"));
        metadata.take(&request("odd", 77, ""));
        let list = metadata.list(None, 10);
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].1.kind, "unknown");
        assert_eq!((list[1].1.kind, list[1].1.help.as_str()), ("counter", "second"));
        assert_eq!(metadata.list(Some("up"), 10).len(), 1);
        assert_eq!(metadata.list(None, 1).len(), 1);
        let help = "x".repeat(TEXT_BYTES_MAX);
        for number in 0..4000 {
            metadata.take(&request(&format!("m{number}"), 1, &help));
        }
        assert!(metadata.inner.read().bytes <= BYTES_MAX && metadata.list(None, 9999).len() < 4000);
        metadata.take(&request("long", 1, &"x".repeat(TEXT_BYTES_MAX + 1)));
        assert!(metadata.list(Some("long"), 1).is_empty());
    }
}

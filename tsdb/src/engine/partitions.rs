//! Partitions of a table as `sys.partitions` shows them.

use std::collections::BTreeMap;

use crate::types::TimeRange;

use super::groups::KeyGroup;
use super::state::{Table, TableState};
use super::version::PartEntry;

/// Parts of one table and key group over the same partition, or over the same several.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionInfo {
    /// From the start of the first partition that the parts have rows in to the end of the last.
    pub span: TimeRange,
    /// `hot`, `archive`, or `mixed` where hot rows lie beside archived ones.
    pub tier: &'static str,
    /// `open` while newer rows are expected, `closed` behind that, `restored` for parts brought
    /// back from the archive.
    pub state: &'static str,
    /// Parts.
    pub parts: u64,
    /// Rows; those of overlapping parts count each, deleted ones too until a merge.
    pub rows: u64,
    /// Bytes of parts in the data folder.
    pub hot_bytes: u64,
    /// Bytes of archived parts.
    pub archived_bytes: u64,
    /// What the keys of the rows have in common, in tables that are partitioned by key columns;
    /// `None` where parts are not split by keys (yet).
    pub keys: Option<KeyGroup>,
}

impl Table {
    /// Partitions in the order of time; rows of the head are in none yet.
    pub fn partitions(&self) -> Vec<PartitionInfo> {
        partitions(self.table_state())
    }
}

fn partitions(table: &TableState) -> Vec<PartitionInfo> {
    let length = table.schema.options.partition_ns.max(1);
    let newest = table.parts.iter().map(|part| part.entry.times.max).max().unwrap_or(i64::MIN);
    let mut spans: BTreeMap<(i64, i64, u32), Vec<&PartEntry>> = BTreeMap::new();
    for part in table.parts.iter().filter(|part| !part.entry.times.is_empty()) {
        let times = part.entry.times;
        let (first, last) = (times.min.div_euclid(length), times.max.div_euclid(length));
        let numbers = (first, last, part.entry.group);
        spans.entry(numbers).or_default().push(&part.entry);
    }
    let of = |((first, last, group), entries): ((i64, i64, u32), Vec<&PartEntry>)| {
        let end = last.saturating_add(1).saturating_mul(length).saturating_sub(1);
        let archived = || entries.iter().filter(|entry| entry.object.is_some());
        let hot = || entries.iter().filter(|entry| entry.object.is_none());
        let open = newest <= end.saturating_add(length / 8);
        PartitionInfo {
            span: TimeRange::new(first.saturating_mul(length), end),
            tier: match (hot().count(), archived().count()) {
                (_, 0) => "hot",
                (0, _) => "archive",
                _ => "mixed",
            },
            state: match entries.iter().any(|entry| entry.hot_until > 0) {
                true => "restored",
                false if open => "open",
                false => "closed",
            },
            parts: entries.len() as u64,
            rows: entries.iter().map(|entry| entry.rows).sum(),
            hot_bytes: hot().map(|entry| entry.bytes).sum(),
            archived_bytes: archived().map(|entry| entry.bytes).sum(),
            keys: table.groups.get(group).cloned(),
        }
    };
    spans.into_iter().map(of).collect()
}

//! EXPLAIN of a native aggregation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tsdb::series::Bitmap;
use tsdb::types::{ColumnId, TimeRange};
use tsdb::{ScanStats, Table};

use super::answer::NativeAggregate;
use super::spec::{AggregateSpec, Function, GroupBy, Measure};
use crate::table::ShownTime;

/// A counter of a scan.
pub(super) type Counter = fn(&ScanStats) -> &AtomicU64;

pub(super) const COUNTERS: [(&str, Counter); 9] = [
    ("partitions", |s| &s.partitions),
    ("partitions_pruned", |s| &s.partitions_pruned),
    ("parts", |s| &s.parts),
    ("parts_pruned", |s| &s.parts_pruned),
    ("row_groups", |s| &s.groups),
    ("row_groups_read", |s| &s.groups_read),
    ("zones", |s| &s.zones),
    ("zones_from_statistics", |s| &s.zones_pruned),
    ("head_runs", |s| &s.head_runs),
];

/// The sum of one counter over several readings.
pub(super) fn read(told: &[Arc<ScanStats>], counter: Counter) -> u64 {
    told.iter().map(|stats| counter(stats).load(Ordering::Relaxed)).sum()
}

/// An aggregation in one line.
pub(super) fn described(spec: &AggregateSpec, table: &Table, series: Option<&Bitmap>) -> String {
    let name = |id: ColumnId| {
        let column = table.schema().column_by_id(id);
        column.map_or_else(|| format!("#{id}"), |c| c.name.clone())
    };
    let groups = spec.groups.iter().map(|group| match group {
        GroupBy::Bucket(buckets) => format!("time by {} s", buckets.width as f64 / 1e9),
        GroupBy::Key(id, _) | GroupBy::Field(id, _) => name(*id),
    });
    let measures = spec.measures.iter().map(|m| measure(m, &name));
    let of = table.series_count();
    let series = series.map_or(u64::from(of), Bitmap::cardinality);
    let mut line = format!(
        "Aggregate: table={}, groups=[{}], measures=[{}], series={series} of {of}",
        table.schema().name,
        groups.collect::<Vec<_>>().join(", "),
        measures.collect::<Vec<_>>().join(", "),
    );
    let times = spec.times;
    if times.is_empty() {
        line += ", time=none";
    } else if times != TimeRange::ALL {
        line += &format!(", time={} to {}", ShownTime(times.min), ShownTime(times.max));
    }
    if !spec.filters.is_empty() {
        let tested: Vec<_> = spec.filters.iter().map(|f| name(f.column)).collect();
        line += &format!(", tests of=[{}]", tested.join(", "));
    }
    line
}

impl NativeAggregate {
    /// The plan in one line.
    pub(crate) fn plan(&self) -> String {
        let line = described(&self.spec, &self.table, self.series.as_ref());
        match self.limit {
            Some(limit) => format!("{line}, fetch={limit}"),
            None => line,
        }
    }

    /// Rows that were decoded so far, row groups that were read, and those that may have to be.
    pub(crate) fn progress(&self) -> (u64, u64, u64) {
        let told = self.told.lock();
        let groups = read(&told, |s| &s.groups);
        (
            read(&told, |s| &s.rows_decoded).max(read(&told, |s| &s.rows)),
            read(&told, |s| &s.groups_read),
            groups.saturating_sub(read(&told, |s| &s.groups_pruned)),
        )
    }

    /// What was read so far, as metrics.
    pub(crate) fn metrics(&self) -> String {
        let told = self.told.lock();
        let all: Vec<String> = COUNTERS
            .iter()
            .map(|(name, counter)| format!("{name}={}", read(&told, *counter)))
            .collect();
        format!("metrics=[{}]", all.join(", "))
    }
}

fn measure(measure: &Measure, name: &impl Fn(ColumnId) -> String) -> String {
    let function = match measure.function {
        Function::Count => "count",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
        Function::First => "first",
        Function::Last => "last",
    };
    if let Some(case) = &measure.case {
        return format!("{function}(rows by a test of {})", name(case.test.column));
    }
    match measure.column {
        Some((id, _)) => format!("{function}({})", name(id)),
        None => format!("{function}(*)"),
    }
}

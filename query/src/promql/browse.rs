//! What there is: metrics, label names, label values and series, for those who build queries.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use tsdb::scan::aggregate::{AggregateColumn, AggregateRequest, GroupOf, Wants};
use tsdb::series::Bitmap;
use tsdb::types::TimeRange;
use tsdb::{Snapshot, Table};

use super::labels::{Labels, METRIC_NAME};
use super::matcher::Matcher;
use super::select::{
    Chosen, choose, column_of_label, is_users, key_text, label_of_column, labels_of, metrics, named,
};
use crate::error::QueryResult;
use crate::run::Stop;

/// Bytes of a value beside its text.
const VALUE_BYTES: usize = 48;
/// Series whose labels are made at a time.
const SERIES_AT_A_TIME: usize = 4096;

/// What is asked.
#[derive(Clone, Debug)]
pub struct PromBrowse {
    /// Selectors, of which a series must pass one; none: all series.
    pub selectors: Vec<Vec<Matcher>>,
    /// Series that have samples in these times, ns.
    pub times: TimeRange,
    /// Results at most; 0: all.
    pub limit: usize,
}

/// Results, and whether there are more.
#[derive(Clone, Debug, Default)]
pub struct Found<T> {
    /// In ascending order.
    pub all: Vec<T>,
    /// Whether the limit cut some off.
    pub cut: bool,
}

/// One who looks around.
pub(crate) struct Browser<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) pool: &'a Arc<dyn MemoryPool>,
    pub(crate) stop: &'a Stop,
    pub(crate) asked: &'a PromBrowse,
}

impl Browser<'_> {
    /// Names of labels.
    pub(crate) fn label_names(&self) -> QueryResult<Found<String>> {
        let mut names = BTreeSet::new();
        if self.asked.selectors.is_empty() {
            for table in self.tables() {
                names.insert(METRIC_NAME.to_owned());
                let keys = table.schema().keys();
                names.extend(keys.map(|key| label_of_column(&key.name).to_owned()));
            }
        }
        self.each(&mut |chosen| {
            names.insert(METRIC_NAME.to_owned());
            let numbers: Vec<u32> = chosen.series.iter().collect();
            for key in chosen.table.schema().keys() {
                let name = label_of_column(&key.name);
                if !names.contains(name)
                    && !chosen.table.series().values_of(key.id, &numbers).1.is_empty()
                {
                    names.insert(name.to_owned());
                }
            }
            Ok(true)
        })?;
        Ok(self.cut(names))
    }

    /// Values of a label.
    pub(crate) fn label_values(&self, label: &str) -> QueryResult<Found<String>> {
        let held = MemoryConsumer::new("promql label values").register(self.pool);
        let mut values = BTreeSet::new();
        let mut take = |value: String| {
            let bytes = value.len() + VALUE_BYTES;
            if values.insert(value) { held.try_grow(bytes) } else { Ok(()) }
        };
        let column = column_of_label(label);
        if self.asked.selectors.is_empty() {
            if label == METRIC_NAME {
                let all = metrics(self.snapshot).into_iter();
                let mut all = all.filter(|(_, t)| self.overlaps(t)).map(|(name, _)| name);
                all.try_for_each(&mut take)?;
                return Ok(self.cut(values));
            }
            for table in self.tables() {
                let Some(key) = table.schema().column(&column).filter(|spec| spec.key) else {
                    continue;
                };
                self.stop.check()?;
                let found = table.series().distinct(key.id, table.series_count());
                found.iter().try_for_each(|bytes| take(key_text(key.kind, bytes)))?;
            }
            return Ok(self.cut(values));
        }
        self.each(&mut |chosen| {
            if label == METRIC_NAME {
                take(chosen.name.to_string())?;
            } else if let Some(key) = chosen.table.schema().column(&column).filter(|spec| spec.key)
            {
                let numbers: Vec<u32> = chosen.series.iter().collect();
                let (_, found) = chosen.table.series().values_of(key.id, &numbers);
                found.iter().try_for_each(|bytes| take(key_text(key.kind, bytes)))?;
            }
            Ok(true)
        })?;
        Ok(self.cut(values))
    }

    /// Series.
    pub(crate) fn series(&self) -> QueryResult<Found<Labels>> {
        let held = MemoryConsumer::new("promql series").register(self.pool);
        let mut found = BTreeSet::new();
        let limit = self.asked.limit;
        self.each(&mut |chosen| {
            let numbers: Vec<u32> = chosen.series.iter().collect();
            for part in numbers.chunks(SERIES_AT_A_TIME) {
                self.stop.check()?;
                for labels in labels_of(&chosen.table, part) {
                    let labels = named(&chosen.name, labels);
                    held.try_grow(labels.memory() + 64)?;
                    found.insert(labels);
                }
                if limit > 0 && found.len() > limit {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(self.cut(found))
    }

    /// Metrics that selectors mean, with the series that have samples; until one says enough.
    fn each(&self, take: &mut dyn FnMut(Chosen) -> QueryResult<bool>) -> QueryResult<()> {
        for selector in &self.asked.selectors {
            for mut chosen in choose(self.snapshot, selector) {
                self.stop.check()?;
                chosen.series = self.with_samples(&chosen)?;
                if !chosen.series.is_empty() && !take(chosen)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Series with samples in the times asked for; the statistics of row groups answer most of it.
    fn with_samples(&self, chosen: &Chosen) -> QueryResult<Bitmap> {
        let times = self.asked.times;
        let held = chosen.table.stats().times;
        if times.encloses(&held) {
            return Ok(chosen.series.clone());
        }
        if !times.overlaps(&held) {
            return Ok(Bitmap::new());
        }
        let aggregation = chosen.table.aggregate(AggregateRequest {
            series: Some(chosen.series.clone()),
            times,
            buckets: None,
            groups: GroupOf::Each,
            split: None,
            columns: vec![AggregateColumn { column: chosen.field, wants: Wants::COUNT }],
            counted: Vec::new(),
            filters: Vec::new(),
            streams: 1,
            use_zones: true,
        })?;
        let mut found = Bitmap::new();
        for mut stream in aggregation.streams {
            let mut more = true;
            while more {
                self.stop.check()?;
                for _ in 0..64 {
                    more = stream.step()?;
                    if !more {
                        break;
                    }
                }
                if stream.is_midway() {
                    continue;
                }
                let slots = stream.take();
                let counts = slots.columns.first().map_or(&[][..], |column| column.count());
                let seen = slots.keys.iter().zip(counts).filter(|(_, count)| **count > 0);
                found.extend(seen.map(|((series, _, _), _)| *series));
            }
        }
        Ok(found)
    }

    /// Tables with series and with rows about those times.
    fn tables(&self) -> Vec<Table> {
        let all = self.snapshot.tables();
        let all = all.iter().filter_map(|schema| self.snapshot.table_by_id(schema.id));
        all.filter(|table| is_users(table) && table.series_count() > 0 && self.overlaps(table))
            .collect()
    }

    fn overlaps(&self, table: &Table) -> bool {
        self.asked.times == TimeRange::ALL || self.asked.times.overlaps(&table.stats().times)
    }

    fn cut<T: Ord>(&self, found: BTreeSet<T>) -> Found<T> {
        let limit = if self.asked.limit == 0 { usize::MAX } else { self.asked.limit };
        Found { cut: found.len() > limit, all: found.into_iter().take(limit).collect() }
    }
}

//! Schema `sys`: what the database itself holds and does.

use super::jobs;
use super::keys;
use super::rows::{Rows, V};
use super::{Def, Image, T};
use crate::error::QueryResult;

pub(super) const DEFS: &[Def] = &[
    Def {
        schema: "sys",
        name: "tables",
        columns: &[
            ("name", T::Text),
            ("series", T::Int8),
            ("columns", T::Int8),
            ("rows", T::Int8),
            ("rows_exact", T::Bool),
            ("first_time", T::Time),
            ("last_time", T::Time),
            ("head_rows", T::Int8),
            ("head_bytes", T::Int8),
            ("part_rows", T::Int8),
            ("part_values", T::Int8),
            ("part_bytes", T::Int8),
            ("series_bytes", T::Int8),
            ("parts", T::Int8),
            ("bytes_per_value", T::Float8),
            ("partition_seconds", T::Int8),
            ("retention_seconds", T::Int8),
            ("archive_after_seconds", T::Int8),
            ("cut", T::Time),
            ("merge", T::Text),
            ("partition_columns", T::Text),
        ],
        fill: tables,
    },
    Def {
        schema: "sys",
        name: "parts",
        columns: &[
            ("table", T::Text),
            ("part", T::Int8),
            ("level", T::Text),
            ("path", T::Text),
            ("bytes", T::Int8),
            ("index_bytes", T::Int8),
            ("rows", T::Int8),
            ("series", T::Int8),
            ("values", T::Int8),
            ("first_time", T::Time),
            ("last_time", T::Time),
            ("partition_start", T::Time),
            ("position_min", T::Int8),
            ("position_max", T::Int8),
            ("tier", T::Text),
            ("object", T::Text),
            ("hot_until", T::Time),
            ("keys", T::Text),
        ],
        fill: parts,
    },
    Def {
        schema: "sys",
        name: "partitions",
        columns: &[
            ("table", T::Text),
            ("start", T::Time),
            ("end", T::Time),
            ("tier", T::Text),
            ("state", T::Text),
            ("parts", T::Int8),
            ("rows", T::Int8),
            ("bytes", T::Int8),
            ("hot_bytes", T::Int8),
            ("archived_bytes", T::Int8),
            ("keys", T::Text),
        ],
        fill: partitions,
    },
    Def {
        schema: "sys",
        name: "quarantine",
        columns: &[
            ("table", T::Text),
            ("part", T::Int8),
            ("path", T::Text),
            ("object", T::Text),
            ("row_group", T::Int8),
            ("column", T::Text),
            ("offset", T::Int8),
            ("length", T::Int8),
            ("series_min", T::Int8),
            ("series_max", T::Int8),
            ("first_time", T::Time),
            ("last_time", T::Time),
            ("cause", T::Text),
            ("since", T::Time),
            ("state", T::Text),
        ],
        fill: quarantine,
    },
    Def {
        schema: "sys",
        name: "scrub",
        columns: &[
            ("path", T::Text),
            ("bytes", T::Int8),
            ("bytes_all", T::Int8),
            ("bytes_read", T::Int8),
            ("files_read", T::Int8),
            ("found", T::Int8),
            ("finished", T::Time),
            ("damaged", T::Text),
        ],
        fill: scrub,
    },
    Def {
        schema: "sys",
        name: "log",
        columns: &[
            ("visible_position", T::Int8),
            ("durable_position", T::Int8),
            ("commit_time", T::Time),
            ("archived_position", T::Int8),
            ("bytes", T::Int8),
            ("segments", T::Int8),
            ("queue_bytes", T::Int8),
            ("commits", T::Int8),
            ("syncs", T::Int8),
        ],
        fill: log,
    },
    Def {
        schema: "sys",
        name: "stats",
        columns: &[("name", T::Text), ("value", T::Int8)],
        fill: stats,
    },
    Def {
        schema: "sys",
        name: "memory",
        columns: &[("pool", T::Text), ("used", T::Int8), ("limit", T::Int8), ("peak", T::Int8)],
        fill: memory,
    },
    Def {
        schema: "sys",
        name: "keys",
        columns: &[("key", T::Text), ("current", T::Bool), ("files", T::Int8)],
        fill: keys,
    },
    jobs::HISTORY,
    jobs::AGGREGATES,
];

/// ns as µs; the ends of the axis have no time.
pub(super) fn micros(ns: i64) -> V {
    match ns {
        i64::MIN | i64::MAX => V::Null,
        ns => V::Int(ns.div_euclid(1_000)),
    }
}

fn seconds(ns: Option<i64>) -> V {
    ns.map(|ns| ns / 1_000_000_000).into()
}

fn tables(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.all_tables {
        let schema = table.schema();
        let stats = table.stats();
        let parts = table.parts();
        let part_rows: u64 = parts.iter().map(|p| p.rows).sum();
        // Values of fields; times and keys ride along.
        let values: u64 = parts.iter().map(|p| p.values).sum();
        let bytes = stats.part_bytes + stats.series_bytes;
        let empty = stats.times.is_empty();
        rows.push([
            schema.name.as_str().into(),
            table.series_count().into(),
            (schema.columns.len() + 1).into(),
            stats.rows.into(),
            stats.exact.into(),
            if empty { V::Null } else { micros(stats.times.min) },
            if empty { V::Null } else { micros(stats.times.max) },
            stats.head_rows.into(),
            stats.head_bytes.into(),
            part_rows.into(),
            values.into(),
            stats.part_bytes.into(),
            stats.series_bytes.into(),
            parts.len().into(),
            if values == 0 { V::Null } else { V::Float(bytes as f64 / values as f64) },
            (schema.options.partition_ns / 1_000_000_000).into(),
            seconds(schema.options.retention_ns),
            seconds(schema.options.archive_after_ns),
            table.cut().map_or(V::Null, micros),
            schema.options.merge.name().into(),
            keys::columns(schema).map_or(V::Null, V::from),
        ]);
    }
    Ok(())
}

fn parts(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.all_tables {
        let shows = image.reads_keys(table.schema());
        for part in table.parts() {
            rows.push([
                table.schema().name.as_str().into(),
                part.id.into(),
                part.level.into(),
                part.path.into(),
                part.bytes.into(),
                part.index_bytes.into(),
                part.rows.into(),
                part.series.into(),
                part.values.into(),
                micros(part.times.min),
                micros(part.times.max),
                part.partition.map_or(V::Null, |p| micros(p.min)),
                part.position_min.into(),
                part.position_max.into(),
                if part.object.is_some() { "archive" } else { "hot" }.into(),
                part.object.map_or(V::Null, V::from),
                if part.hot_until > 0 { micros(part.hot_until) } else { V::Null },
                part.keys
                    .filter(|_| shows)
                    .map_or(V::Null, |group| keys::text(table.schema(), &group).into()),
            ]);
        }
    }
    Ok(())
}

fn partitions(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.all_tables {
        let shows = image.reads_keys(table.schema());
        for partition in table.partitions() {
            rows.push([
                table.schema().name.as_str().into(),
                micros(partition.span.min),
                micros(partition.span.max.saturating_add(1)),
                partition.tier.into(),
                partition.state.into(),
                partition.parts.into(),
                partition.rows.into(),
                (partition.hot_bytes + partition.archived_bytes).into(),
                partition.hot_bytes.into(),
                partition.archived_bytes.into(),
                partition
                    .keys
                    .filter(|_| shows)
                    .map_or(V::Null, |group| keys::text(table.schema(), &group).into()),
            ]);
        }
    }
    Ok(())
}

/// Bad blocks; `state` is `new` until a restart would know of it.
fn quarantine(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for table in &image.all_tables {
        let schema = table.schema();
        for bad in table.quarantined() {
            let block = bad.block;
            let column = block.column.map_or(V::Null, |id| match schema.column_by_id(id) {
                Some(spec) => spec.name.as_str().into(),
                // Dropped since.
                None => format!("#{id}").into(),
            });
            rows.push([
                schema.name.as_str().into(),
                bad.part.into(),
                bad.path.into(),
                bad.object.map_or(V::Null, V::from),
                block.group.map_or(V::Null, V::from),
                column,
                block.offset.into(),
                block.len.into(),
                block.series.0.into(),
                block.series.1.into(),
                micros(block.times.min),
                micros(block.times.max),
                block.cause.into(),
                micros(block.since),
                if bad.recorded { "recorded" } else { "new" }.into(),
            ]);
        }
    }
    Ok(())
}

fn scrub(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let s = image.live().db.scrub_status();
    let damaged: Vec<String> =
        s.damaged.iter().map(|(path, cause)| format!("{path}: {cause}")).collect();
    rows.push([
        if s.path.is_empty() { V::Null } else { s.path.into() },
        s.bytes_read.into(),
        s.bytes_total.into(),
        s.bytes_ever.into(),
        s.files_ever.into(),
        s.found_ever.into(),
        if s.round_ended == 0 { V::Null } else { micros(s.round_ended) },
        if damaged.is_empty() { V::Null } else { damaged.join("\n").into() },
    ]);
    Ok(())
}

fn log(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let s = image.stats();
    let archive = image.live().db.archive_status();
    rows.push([
        s.visible_position.into(),
        s.durable_position.into(),
        image.live().db.snapshot().time().map_or(V::Null, micros),
        if archive.url.is_empty() { V::Null } else { archive.position.into() },
        s.log_bytes.into(),
        s.log_segments.into(),
        s.queue_bytes.into(),
        s.commits.into(),
        s.syncs.into(),
    ]);
    Ok(())
}

fn memory(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for pool in &image.pools() {
        rows.push([pool.name.into(), pool.used.into(), pool.limit.into(), pool.peak.into()]);
    }
    Ok(())
}

/// The master keys of an encrypted database by their ids; no rows for another.
fn keys(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    for key in image.live().db.seals()?.map(|seals| seals.keys).unwrap_or_default() {
        rows.push([key.id.to_string().into(), key.current.into(), key.files.into()]);
    }
    Ok(())
}

fn stats(image: &Image, rows: &mut Rows) -> QueryResult<()> {
    let s = image.stats();
    let all = [
        ("visible_position", s.visible_position),
        ("durable_position", s.durable_position),
        ("log_bytes", s.log_bytes),
        ("log_segments", s.log_segments),
        ("read_only", u64::from(image.live().db.read_only().is_some())),
        ("disk_full", u64::from(image.live().db.full().is_some())),
        ("disk_free_bytes", s.disk_free_bytes),
        ("disk_reserve_bytes", s.disk_reserve_bytes),
        ("row_store_bytes", s.row_store_bytes),
        ("head_bytes", s.head_bytes),
        ("head_rows", s.head_rows),
        ("parts", s.parts),
        ("part_bytes", s.part_bytes),
        ("part_rows", s.part_rows),
        ("series", s.series),
        ("series_bytes", s.series_bytes),
        ("commits", s.commits),
        ("syncs", s.syncs),
        ("rows_written", s.rows_written),
        ("rows_expired", s.rows_expired),
        ("flushes", s.flushes),
        ("merges", s.merges),
        ("flush_bytes", s.flush_bytes),
        ("merge_bytes", s.merge_bytes),
        ("last_bytes", s.last_bytes),
        ("queue_bytes", s.queue_bytes),
        ("quarantined_blocks", s.quarantined_blocks),
        ("scrub_bytes", s.scrub_bytes),
        ("scrub_files", s.scrub_files),
        ("scrub_found", s.scrub_found),
        ("cache_bytes", s.cache_bytes),
        ("archived_bytes", s.archived_bytes),
        ("archive_fetched_bytes", s.archive_fetched_bytes),
        ("archive_cache_bytes", s.archive_cache_bytes),
        ("archive_dead_objects", s.archive_dead_objects),
        ("archive_failures", s.archive_failures),
        ("log_archive_position", s.log_archive_position),
        ("log_archive_held_bytes", s.log_archive_held_bytes),
        ("log_archive_failing_seconds", s.log_archive_failing_seconds),
        ("log_archive_given_up", s.log_archive_given_up),
    ];
    let (statement_hits, statement_misses) = image.live().caches.statements.counts();
    let (plan_hits, plan_misses) = image.live().caches.plans.counts();
    let of_queries = [
        ("statement_cache_hits", statement_hits),
        ("statement_cache_misses", statement_misses),
        ("plan_cache_hits", plan_hits),
        ("plan_cache_misses", plan_misses),
    ];
    for (name, value) in all.into_iter().chain(of_queries) {
        rows.push([name.into(), value.into()]);
    }
    Ok(())
}

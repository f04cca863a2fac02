//! A part in words.

use tsdb::io::Storage;
use tsdb::part::{ColumnRange, Level, Part};
use tsdb::types::{PhysicalType, TimeRange};

use super::{damaged, times};
use crate::failure::Result;

/// Explains a part and reads all of its checksums.
pub fn explain(storage: &dyn Storage, name: &str, groups_max: usize) -> Result<bool> {
    let part = match Part::open(storage, name) {
        Ok(part) => part,
        Err(error) => return Ok(damaged(&error)),
    };
    let meta = part.meta();
    let level = match meta.level {
        Level::Light => "light, as flushed or merged in passing",
        Level::Dense => "dense, merged to the end",
    };
    println!("  a part of table {}, number {}; codecs: {level}", meta.table, meta.id);
    println!("  rows         {} in {} row groups", meta.rows, meta.groups);
    println!(
        "  series       {} from {} to {}",
        meta.series_count, meta.series_min, meta.series_max
    );
    println!("  times        {}", times(&meta.times));
    println!("  positions    {} to {} of the log", meta.positions.start(), meta.positions.end());
    match &meta.partition {
        Some(range) => println!("  partition    {}", times(range)),
        None => println!("  partition    none: it may span several"),
    }
    println!("  index        {} bytes, keys and times {} bytes", meta.index_bytes, meta.key_bytes);
    println!("  columns      {}", meta.columns.len());
    for column in &meta.columns {
        let kind = match column.physical {
            PhysicalType::Int => "integers",
            PhysicalType::Float => "floats",
            PhysicalType::Bool => "booleans",
            PhysicalType::Bytes => "texts",
        };
        let values = column.good + column.not_good;
        let each = column.bytes as f64 / values.max(1) as f64;
        println!(
            "    {:>5}  {kind}: {} good, {} not good, {} nulls; {} bytes, {each:.3} a value; {}",
            column.id,
            column.good,
            column.not_good,
            column.nulls,
            column.bytes,
            range(&column.range)
        );
    }
    let all = meta.series_min..=meta.series_max;
    match part.groups_for(all, TimeRange::ALL) {
        Err(error) => return Ok(damaged(&error)),
        Ok(groups) => {
            for group in groups.iter().take(groups_max) {
                println!(
                    "    group {:>5}  series {} to {}, {} rows, {} zones, {}",
                    group.index,
                    group.series_first,
                    group.series_last,
                    group.rows,
                    group.zones,
                    times(&group.times)
                );
            }
            if groups.len() > groups_max {
                println!("    … {} more", groups.len() - groups_max);
            }
        }
    }
    match part.verify() {
        Ok(()) => {
            println!("  every checksum holds");
            Ok(true)
        }
        Err(error) => Ok(damaged(&error)),
    }
}

fn range(range: &ColumnRange) -> String {
    match range {
        ColumnRange::Empty => "no value".into(),
        ColumnRange::Int { min, max } => format!("{min} to {max}"),
        ColumnRange::Float { min, max, nan } => {
            format!("{min} to {max}{}", if *nan { ", and NaN" } else { "" })
        }
        ColumnRange::Bytes(texts) => format!(
            "'{}' to '{}'{}",
            String::from_utf8_lossy(&texts.min),
            String::from_utf8_lossy(&texts.max),
            if texts.max_cut { "…" } else { "" }
        ),
    }
}

//! A version file in words: an edit log of the files that make up a database.

use tsdb::engine::{Edit, Version, read_edits};
use tsdb::io::Storage;

use super::{damaged, times};
use crate::failure::Result;

/// Explains a version file: its edits, and the files that they come to.
pub fn explain(storage: &dyn Storage, name: &str, edits_max: usize) -> Result<bool> {
    let file = storage.open(name)?;
    let edits = match read_edits(&file, name) {
        Ok(edits) => edits,
        Err(error) => return Ok(damaged(&error)),
    };
    println!("  a version: {} edits, the first one is a snapshot", edits.len());
    let mut version = Version::default();
    for (at, edit) in edits.iter().enumerate() {
        version.apply(edit);
        // The newest edits tell what happened last.
        if at + edits_max >= edits.len() {
            println!("    edit {at:>5}  {}", words(edit));
        }
    }
    println!("  they come to {} tables, next part {}", version.tables.len(), version.next_part);
    for (table, files) in &version.tables {
        let bytes: u64 = files.parts.values().map(|part| part.bytes).sum();
        let rows: u64 = files.parts.values().map(|part| part.rows).sum();
        let series = files.series.last().map_or(0, |(_, to, _)| *to);
        println!(
            "    table {table}: {} parts, {rows} rows, {bytes} bytes; {series} series in {} files; \
             flushed up to {}",
            files.parts.len(),
            files.series.len(),
            files.flushed
        );
        for tombstone in files.tombstones.values() {
            let count = tombstone.selections.len();
            println!("      deletes at {}, {count} selections", tombstone.position);
        }
        for part in files.parts.values() {
            println!(
                "      part {} level {} rows {} positions {} to {}, {}",
                part.id,
                part.level,
                part.rows,
                part.positions.0,
                part.positions.1,
                times(&part.times)
            );
        }
    }
    Ok(true)
}

fn words(edit: &Edit) -> String {
    let mut words = Vec::new();
    let ids = |list: &mut dyn Iterator<Item = u64>| {
        list.map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
    };
    if !edit.add.is_empty() {
        words.push(format!("parts come: {}", ids(&mut edit.add.iter().map(|part| part.id))));
    }
    if !edit.remove.is_empty() {
        words.push(format!("parts go: {}", ids(&mut edit.remove.iter().map(|(_, id)| *id))));
    }
    for (table, position) in &edit.flushed {
        words.push(format!("table {table} flushed up to {position}"));
    }
    for (table, from, to, _) in &edit.series {
        words.push(format!("table {table} series {from} to {to}"));
    }
    for (table, id) in &edit.last {
        words.push(format!("table {table} last rows in {id}"));
    }
    for (table, tombstone) in &edit.hide {
        words.push(format!("table {table} hides rows deleted at {}", tombstone.position));
    }
    for (table, position) in &edit.clear {
        words.push(format!("table {table} has no more rows deleted at {position}"));
    }
    if !edit.drop.is_empty() {
        words.push(format!("tables go: {}", ids(&mut edit.drop.iter().map(|id| u64::from(*id)))));
    }
    if words.is_empty() { "nothing".into() } else { words.join("; ") }
}

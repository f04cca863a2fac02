//! A segment of the log in words.

use tsdb::io::Storage;
use tsdb::log::{Inspected, Kind, Verdict, inspect_segment};

use super::damaged;
use crate::failure::Result;
use crate::import::time::format_ns;

/// Explains a segment: its header, and its records with the commands in them.
pub fn explain(storage: &dyn Storage, name: &str, records_max: usize) -> Result<bool> {
    let mut inspection = inspect_segment(storage, name)?;
    let header = &inspection.header;
    let id: String = header.database_id.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("  a segment of the log of database {id}, group {}", header.group);
    println!("  made         {} UTC", format_ns(header.created_ns));
    println!("  first record {}", header.first_index);
    let mut sound = match &inspection.verdict {
        Verdict::Good => true,
        Verdict::Damaged(why) => damaged(&format!("header: {why}")),
    };
    let (mut good, mut bad, mut shown) = (0u64, 0u64, 0usize);
    let mut last = None;
    while let Some(inspected) = inspection.next() {
        let inspected = inspected?;
        match &inspected.verdict {
            Verdict::Good => {
                good += 1;
                last = inspected.header.map(|header| header.index).or(last);
                if shown < records_max {
                    shown += 1;
                    println!(
                        "    at {:>10}  {}",
                        inspected.offset,
                        record(&inspected, inspection.payload.as_deref())
                    );
                }
            }
            // Damage is always shown: it is what one looks for.
            Verdict::Damaged(why) => {
                bad += 1;
                println!(
                    "    at {:>10}  DAMAGED, {} bytes: {why}",
                    inspected.offset, inspected.bytes
                );
            }
        }
    }
    println!("  {good} good records, {bad} damaged stretches");
    if let Some(last) = last {
        println!("  last record  {last}");
    }
    sound &= bad == 0;
    if !sound {
        println!("  Damage at the very end is what a crash leaves: recovery cuts it.");
    }
    Ok(sound)
}

/// One sound record in words.
fn record(inspected: &Inspected, payload: Option<&[u8]>) -> String {
    let Some(header) = &inspected.header else { return "no header".into() };
    let (index, term) = (header.index, header.term);
    match header.kind {
        Kind::Mark => format!("mark: durable up to {}", header.durable),
        Kind::NoOp => format!("{index}: opens term {term}"),
        Kind::Vote => format!("vote in term {term}"),
        Kind::Commands => {
            let Some(payload) = payload else {
                return format!("{index}: {} bytes, sealed", header.payload_bytes);
            };
            // The checksum holds, so this is a record of a newer version rather than damage.
            let commands = tsdb::engine::explain_record(payload)
                .unwrap_or_else(|error| vec![format!("commands not known here: {error}")]);
            format!("{index}: {} bytes: {}", header.payload_bytes, commands.join("; "))
        }
    }
}

//! Tests of the log, by what can befall it.

use std::sync::Arc;

use super::*;
use crate::crypto::tests::shape::{is_sealed, sealed, shaped};
use crate::io::MemoryStorage;
use crate::{Error, Result};

mod append;
mod crash;
mod damage;
mod full;
mod golden;

fn options(segment_bytes_max: u64) -> LogOptions {
    LogOptions {
        group: 3,
        segment_bytes_max,
        record_bytes_max: 1 << 20,
        database_id: *b"database id 0123",
    }
}

fn open(storage: &MemoryStorage, options: &LogOptions) -> Result<(Log, Recovered)> {
    Log::open(shaped(Arc::new(storage.clone())), options.clone())
}

/// Appends payloads as one group of commands.
fn append(log: &mut Log, payloads: &[&[u8]]) -> Result<std::ops::RangeInclusive<u64>> {
    let parts: Vec<[&[u8]; 1]> = payloads.iter().map(|payload| [*payload]).collect();
    let records: Vec<RecordIn<'_>> =
        parts.iter().map(|payload| RecordIn { kind: Kind::Commands, term: 7, payload }).collect();
    log.append_group(&records)
}

/// All payloads from `index` on; checks that the positions are consecutive.
fn payloads(log: &Log, index: u64) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (record, index) in log.read_from(index).unwrap().zip(index..) {
        let record = record.unwrap();
        assert_eq!(record.index, index);
        out.push(record.payload);
    }
    out
}

#[test]
fn sealed_logs_recover_as_others_do() {
    sealed(|| {
        append::records_come_back();
        append::truncation_at_every_index();
        append::votes_survive_purging_and_are_not_taken_back();
        append::a_failed_log_is_read_only();
        append::what_a_failed_sync_left_is_written_again();
        append::an_empty_log_keeps_its_place();
    });
}

#[test]
fn sealed_logs_survive_full_disks() {
    sealed(|| {
        full::nothing_of_a_group_without_room_stays();
        full::a_device_that_fills_up_is_written_on_when_there_is_room();
    });
}

#[test]
fn sealed_logs_survive_crashes() {
    sealed(crash::crash_images);
}

#[test]
fn sealed_logs_survive_every_error() {
    sealed(crash::errors_by_countdown);
}

#[test]
fn damage_of_sealed_logs_is_found() {
    sealed(|| {
        damage::every_flipped_bit();
        damage::every_prefix();
        damage::zero_tails_are_cut();
    });
}

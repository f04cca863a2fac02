//! STUB of the ingest crate's face: signatures are the contract.
#![allow(unused_variables)]
use std::sync::Arc;
use tsdb::Db;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision { Nanos, Micros, Millis, Seconds, Minutes, Hours }
impl Precision {
    /// InfluxDB v1 and v2 names: ns n, us u µ, ms, s, m, h.
    pub fn from_name(name: &str) -> Option<Precision> { unimplemented!() }
}

/// Limits of line protocol; each a setting.
#[derive(Clone, Debug)]
pub struct LineLimits {
    /// One line. Default 4 MiB.
    pub line_bytes_max: usize,
    /// Refused lines told one by one; the rest are only counted. Default 100.
    pub refused_told_max: usize,
}
impl Default for LineLimits { fn default() -> Self { unimplemented!() } }

#[derive(Clone, Debug)]
pub struct Refused { /* from 1 */ pub line: u64, pub reason: String }
#[derive(Clone, Debug, Default)]
pub struct Report { pub rows: u64, pub refused: Vec<Refused>, pub refused_count: u64, /* 0 if nothing was written */ pub position: u64 }

/// The road from line protocol to the log, shared by HTTP and TCP.
pub struct LineWriter { _p: () }
impl LineWriter {
    pub fn new(db: Arc<Db>, limits: LineLimits) -> Arc<LineWriter> { unimplemented!() }
    /// Parses, makes missing tables and columns, writes all good lines in one record; returns when durable and visible.
    /// Blocks (CPU and disk): call from a blocking thread. `now_ns`: time of lines without one.
    pub fn write(&self, body: &[u8], precision: Precision, now_ns: i64) -> tsdb::Result<Report> { unimplemented!() }
}

//! Data like that of the Time Series Benchmark Suite, of any scale, made as fast as it is sent.
//!
//! The distributions, names and the disorder are those of TSBS's `cpu-only` and `iot` cases;
//! the random numbers are our own, so one seed gives one data set here, but not TSBS's bytes.

mod cpu;
mod iot;
mod random;
mod text;

#[cfg(test)]
mod tests;

pub use cpu::{CPU_CSV_HEADER, CPU_FIELDS, CPU_TAGS, CpuOnly, CpuSpec};
pub use iot::{DIAGNOSTICS_FIELDS, IOT_TAGS, Iot, IotSpec, READINGS_FIELDS};

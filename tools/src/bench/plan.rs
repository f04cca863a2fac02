//! Rows without end whose every sum is known: the suite's hosts, whose values come round again
//! after a period of steps. A step is one row of each host at one time. Making a request costs a
//! copy and the digits of its times, so that the client leaves the machine to the server.

use super::queries::METRICS;
use crate::failure::{Failure, Result};
use crate::simulate::{CpuOnly, CpuSpec};

/// Digits of a time in ns, from 2001 to 2286.
const TIME_DIGITS: usize = 19;

/// The rows.
pub struct Plan {
    /// Hosts, `host_0` upwards.
    pub hosts: u32,
    /// Time of step 0, ns.
    pub start_ns: i64,
    /// Between two steps, ns.
    pub interval_ns: i64,
    /// Line protocol of each step of a period, and where its times begin.
    steps: Vec<(Vec<u8>, Vec<usize>)>,
    /// By step of the period, host and metric.
    values: Vec<u8>,
}

impl Plan {
    /// Rows for `hosts`, with a period of so many steps.
    pub fn new(
        hosts: u32,
        period: u32,
        start_ns: i64,
        interval_ns: i64,
        seed: u64,
    ) -> Result<Plan> {
        let end_ns = start_ns + i64::from(period) * interval_ns;
        let mut source = CpuOnly::new(CpuSpec { hosts, start_ns, end_ns, interval_ns, seed });
        let mut plan = Plan { hosts, start_ns, interval_ns, steps: Vec::new(), values: Vec::new() };
        for _ in 0..period {
            let mut lines = Vec::new();
            source.next_chunk(&mut lines, hosts as usize);
            let mut marks = Vec::with_capacity(hosts as usize);
            let mut end = 0;
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                end += line.len();
                marks.push(end - 1 - TIME_DIGITS);
                plan.values.extend(values(line)?);
            }
            plan.steps.push((lines, marks));
        }
        Ok(plan)
    }

    /// Steps after which values come round again.
    pub fn period(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Time of a step, ns.
    pub fn time(&self, step: u64) -> i64 {
        self.start_ns + step as i64 * self.interval_ns
    }

    /// First step at or after a time.
    pub fn step_at(&self, time_ns: i64) -> u64 {
        let since = (time_ns - self.start_ns).max(0) as u64;
        since.div_ceil(self.interval_ns.unsigned_abs())
    }

    /// Appends the lines of a step.
    pub fn append(&self, step: u64, out: &mut Vec<u8>) {
        let (lines, marks) = &self.steps[(step % self.period()) as usize];
        let start = out.len();
        out.extend_from_slice(lines);
        let digits = format!("{:0TIME_DIGITS$}", self.time(step));
        for mark in marks {
            let at = start + mark;
            out[at..at + TIME_DIGITS].copy_from_slice(digits.as_bytes());
        }
    }

    /// A value.
    pub fn value(&self, step: u64, host: u32, metric: usize) -> i64 {
        let row = (step % self.period()) * u64::from(self.hosts) + u64::from(host);
        i64::from(self.values[row as usize * METRICS.len() + metric])
    }

    /// Sum of a metric over all hosts and the steps below `end`.
    pub fn sum(&self, end: u64, metric: usize) -> i64 {
        let of =
            |step: u64| -> i64 { (0..self.hosts).map(|host| self.value(step, host, metric)).sum() };
        let whole = (end / self.period()) as i64;
        let period: i64 = if whole > 0 { (0..self.period()).map(of).sum() } else { 0 };
        whole * period + (0..end % self.period()).map(of).sum::<i64>()
    }
}

/// Values of a line such as `cpu,hostname=… usage_user=58i,… 1704067200000000000`.
fn values(line: &[u8]) -> Result<[u8; METRICS.len()]> {
    let text = String::from_utf8_lossy(line);
    let wrong = || Failure::new(format!("not a line of the generator: {text}"));
    let fields = text.split(' ').nth(1).ok_or_else(wrong)?;
    let mut values = [0; METRICS.len()];
    let mut fields = fields.split(',');
    for value in &mut values {
        let (_, digits) =
            fields.next().and_then(|field| field.split_once('=')).ok_or_else(wrong)?;
        *value = digits.trim_end_matches('i').parse().map_err(|_| wrong())?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    //! The closed forms against the lines themselves.
    use super::*;

    #[test]
    fn sums_are_those_of_the_lines() {
        let start = 1_704_067_200_000_000_000;
        let plan = Plan::new(3, 4, start, 10_000_000_000, 7).unwrap();
        let mut lines = Vec::new();
        (0..11).for_each(|step| plan.append(step, &mut lines));
        let text = String::from_utf8(lines).unwrap();
        assert_eq!(text.lines().count(), 33);
        let mut sums = [0i64; 10];
        for (at, line) in text.lines().enumerate() {
            let (step, host) = (at as u64 / 3, at as u32 % 3);
            let found = values(line.as_bytes()).unwrap();
            for metric in 0..10 {
                assert_eq!(plan.value(step, host, metric), i64::from(found[metric]));
                sums[metric] += i64::from(found[metric]);
            }
            assert!(line.starts_with(&format!("cpu,hostname=host_{host},")), "{line}");
            assert!(line.ends_with(&format!(" {}", start + step as i64 * 10_000_000_000)));
            assert_eq!(plan.step_at(plan.time(step)), step);
            assert_eq!(plan.step_at(plan.time(step) + 1), step + 1);
        }
        let closed: Vec<i64> = (0..10).map(|metric| plan.sum(11, metric)).collect();
        assert_eq!(closed, sums);
        assert_eq!(plan.sum(0, 0), 0);
        assert!(values(b"cpu x").is_err() && values(b"cpu usage_user=ai 3").is_err());
    }
}

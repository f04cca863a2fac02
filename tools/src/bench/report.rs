//! Figures of a run, as a table for people and as JSON.

use serde::Serialize;

/// Latencies of one query.
#[derive(Clone, Debug, Serialize)]
pub struct QueryFigures {
    /// Name in the suite.
    pub name: String,
    /// Runs measured.
    pub runs: usize,
    /// Rows that came back in the last run.
    pub rows: u64,
    /// Fastest run, ms.
    pub min_ms: f64,
    /// Median, ms.
    pub median_ms: f64,
    /// 95th percentile, ms.
    pub p95_ms: f64,
    /// Cause, if the query failed.
    pub error: Option<String>,
}

/// Figures of a whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// `cpu-only` or `iot`.
    pub case: String,
    /// Hosts or trucks.
    pub scale: u32,
    /// Rows loaded.
    pub rows: u64,
    /// Field values in them.
    pub values: u64,
    /// Bytes of line protocol sent.
    pub sent_bytes: u64,
    /// Time of loading, s.
    pub load_seconds: f64,
    /// Rows a second, each durable when it is counted.
    pub rows_per_second: f64,
    /// Median latency of a request while loading, ms.
    pub request_median_ms: f64,
    /// 95th percentile of it, ms.
    pub request_p95_ms: f64,
    /// Time of CHECKPOINT and VACUUM FULL after loading, s.
    pub settle_seconds: f64,
    /// Bytes of parts.
    pub part_bytes: u64,
    /// Bytes of the series index.
    pub series_bytes: u64,
    /// Bytes of parts and series index for each value.
    pub bytes_per_value: f64,
    /// Most memory the server held after loading, bytes.
    pub peak_memory_load: Option<u64>,
    /// Most memory the server held in the whole run, bytes.
    pub peak_memory: Option<u64>,
    /// The queries.
    pub queries: Vec<QueryFigures>,
}

/// The value at a share (0 to 1) of sorted values; 0 if there are none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

impl Figures {
    /// Prints the table.
    pub fn print(&self) {
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        println!("\n{} · {} · {} rows · {} values", self.case, self.scale, self.rows, self.values);
        if self.load_seconds > 0.0 {
            println!(
                "load      {:.1} s   {:.0} rows/s   request median {:.1} ms, p95 {:.1} ms",
                self.load_seconds,
                self.rows_per_second,
                self.request_median_ms,
                self.request_p95_ms
            );
        }
        println!(
            "size      {:.1} MiB parts + {:.2} MiB series index = {:.3} bytes/value \
             (settled in {:.1} s)",
            mib(self.part_bytes),
            mib(self.series_bytes),
            self.bytes_per_value,
            self.settle_seconds
        );
        if let (Some(load), Some(all)) = (self.peak_memory_load, self.peak_memory) {
            println!("memory    peak {:.0} MiB loading, {:.0} MiB in all", mib(load), mib(all));
        }
        println!(
            "\n{:<36}{:>6}{:>9}{:>11}{:>11}{:>11}",
            "query", "runs", "rows", "min ms", "median ms", "p95 ms"
        );
        for query in &self.queries {
            match &query.error {
                Some(error) => println!("{:<36}FAILED: {error}", query.name),
                None => println!(
                    "{:<36}{:>6}{:>9}{:>11.2}{:>11.2}{:>11.2}",
                    query.name, query.runs, query.rows, query.min_ms, query.median_ms, query.p95_ms
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of percentiles.
    use super::percentile;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 51.0);
        assert_eq!(percentile(&values, 0.95), 96.0);
        assert_eq!(percentile(&values, 1.0), 101.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}

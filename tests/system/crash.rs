//! kill -9 in the middle of a load and of the data's life, ten rounds; `millrace bench crash` runs as many as asked.

use std::time::Duration;

use tools::bench::crash::{CrashOptions, run_rounds};
use tools::process::ServerOptions;

use crate::server::program;

#[test]
fn acknowledged_rows_survive_kills() {
    // A run in which nothing was written or deleted would prove nothing; a slow machine gets longer
    // until its servers are killed.
    let found = [1200, 4800, 19_200].into_iter().any(|kill_max| {
        let folder = tempfile::tempdir().unwrap();
        let mut server = ServerOptions::new(program(), &folder.path().join("data"));
        server.log = Some(folder.path().join("log"));
        let options = CrashOptions {
            server,
            rounds: 10,
            workers: 3,
            kill_max: Duration::from_millis(kill_max),
            seed: 4,
        };
        let report = run_rounds(&options, |round, line| println!("round {round}: {line}"));
        let report = report.unwrap_or_else(|failure| {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("{failure}\nlog of the server:\n{log}");
        });
        report.acknowledged > 20 && report.deleted > 0
    });
    assert!(found, "next to nothing was written and deleted before the kills");
}

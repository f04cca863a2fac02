//! The program as it is built: this test also makes cargo build it, for the tests of the whole
//! system to find.

use std::process::{Command, Output};

fn millrace(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace")).args(arguments).output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_and_version() {
    let version = millrace(&["--version"]);
    assert_eq!(text(&version), format!("millrace {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["serve", "sql", "import", "inspect", "verify", "simulate", "bench"] {
        assert!(text(&millrace(&["--help"])).contains(command), "{command}");
        let help = millrace(&[command, "--help"]);
        assert!(help.status.success() && !help.stdout.is_empty(), "{command}");
    }
    assert!(text(&millrace(&["serve", "--help"])).contains("--head-bytes-max"));
    assert_eq!(millrace(&["no-such-command"]).status.code(), Some(2));
}

#[test]
fn simulated_rows_go_to_standard_output() {
    let output = millrace(&["simulate", "cpu-only", "--scale", "3", "--hours", "0.1"]);
    assert!(output.status.success());
    let text = text(&output);
    assert_eq!(text.lines().count(), 3 * 36);
    assert!(text.starts_with("cpu,hostname=host_0,region="), "{text}");
    let arguments = ["simulate", "cpu-only", "--scale", "3", "--hours", "0.1", "--seed", "124"];
    let other = millrace(&arguments);
    assert_ne!(String::from_utf8_lossy(&other.stdout), text);
    assert_eq!(millrace(&["simulate", "iot", "--csv"]).status.code(), Some(2));
}

#[test]
fn a_missing_folder_is_told() {
    for command in [["verify", "--data-dir", "/nowhere/at/all"], ["inspect", "x.part", "y.log"]] {
        let output = millrace(&command);
        assert_ne!(output.status.code(), Some(0), "{command:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("millrace: "), "{command:?}");
    }
}

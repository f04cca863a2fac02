//! A server of a benchmark's own: its folder, its process, and how to reach it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::process::{Server, ServerOptions};

/// Arguments of every benchmark that starts servers.
#[derive(Args, Clone, Debug)]
pub struct OwnArgs {
    /// Folder for databases; default: a temporary one, removed at the end.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// More arguments for the server, such as --server-arg=--memory-bytes-max=1GiB.
    #[arg(long)]
    pub server_arg: Vec<String>,
    /// Also write the figures to this file as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Fail where a measured bound is not kept; without it, only wrong answers fail.
    #[arg(long)]
    pub strict: bool,
}

impl OwnArgs {
    /// Writes figures where they were asked for.
    pub fn write_json(&self, figures: &impl serde::Serialize) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(figures)
            .map_err(|error| Failure::doing("writing JSON", error))?;
        Ok(std::fs::write(path, text)?)
    }

    /// Prints verdicts, and fails by those that do not hold where that was asked for.
    pub fn judge(&self, verdicts: &[Verdict]) -> Result<()> {
        println!();
        for verdict in verdicts {
            println!("{:<8}{}", if verdict.holds { "ok" } else { "MISSED" }, verdict.words);
        }
        match verdicts.iter().filter(|verdict| !verdict.holds).count() {
            missed if missed > 0 && self.strict => {
                Err(Failure::new(format!("{missed} bounds were not kept")))
            }
            _ => Ok(()),
        }
    }
}

/// A bound, and whether it was kept.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Verdict {
    /// Whether it was.
    pub holds: bool,
    /// The bound and the figure.
    pub words: String,
}

impl Verdict {
    /// A verdict in words.
    pub fn new(holds: bool, words: impl Into<String>) -> Verdict {
        Verdict { holds, words: words.into() }
    }
}

/// Starts a server over a folder of the benchmark.
pub fn start(folder: &Path, arguments: &[String]) -> Result<(Server, Connection)> {
    let mut options = ServerOptions::new(&std::env::current_exe()?, folder);
    options.arguments = ["--log", "warn"].map(str::to_owned).to_vec();
    options.arguments.extend(arguments.iter().cloned());
    let server = Server::start(&options)?;
    let connection = Connection {
        url: format!("http://{}", server.http),
        pg: server.pg.to_string(),
        user: "admin".into(),
        password: Some(server.password.clone()),
    };
    Ok((server, connection))
}

/// Stops a server; its peak memory, bytes.
pub fn stop(mut server: Server) -> Result<u64> {
    let peak = server.peak_memory()?;
    server.terminate(Duration::from_secs(120))?;
    Ok(peak)
}

/// A folder that goes when it is dropped, unless it was given.
pub struct TemporaryFolder {
    path: PathBuf,
    temporary: bool,
}

impl TemporaryFolder {
    /// The given folder, or a new one beside other temporary files.
    pub fn new(given: Option<&Path>) -> Result<TemporaryFolder> {
        let path = match given {
            Some(path) => path.to_path_buf(),
            None => {
                let name = format!("millrace-bench-{}", std::process::id());
                std::env::temp_dir().join(name)
            }
        };
        std::fs::create_dir_all(&path).map_err(|error| Failure::doing(path.display(), error))?;
        Ok(TemporaryFolder { path, temporary: given.is_none() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}

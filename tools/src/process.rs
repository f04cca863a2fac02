//! A server as a child process, for benchmarks and tests: started on free ports, its doors read
//! from what it prints, watched through /proc.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The `millrace` program.
    pub program: PathBuf,
    /// Data folder.
    pub folder: PathBuf,
    /// Password of `admin` if the database is new; the one to log in with.
    pub password: String,
    /// More arguments of `serve`.
    pub arguments: Vec<String>,
    /// Where its standard error goes; `None`: inherited.
    pub log: Option<PathBuf>,
    /// How long to wait for its welcome.
    pub start_max: Duration,
}

impl ServerOptions {
    /// Defaults for a folder.
    pub fn new(program: &Path, folder: &Path) -> ServerOptions {
        ServerOptions {
            program: program.to_path_buf(),
            folder: folder.to_path_buf(),
            password: "correct horse battery".into(),
            arguments: Vec::new(),
            log: None,
            start_max: Duration::from_secs(120),
        }
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Postgres wire.
    pub pg: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// Flight SQL.
    pub grpc: Option<SocketAddr>,
    /// Line protocol over TCP, if asked for.
    pub line: Option<SocketAddr>,
    /// Password of `admin`.
    pub password: String,
    /// All that it printed until it was ready.
    pub welcome: String,
    /// From the start to the welcome: recovery and a little.
    pub start_seconds: f64,
}

impl Server {
    /// Starts a server and waits for its welcome.
    pub fn start(options: &ServerOptions) -> Result<Server> {
        let mut command = Command::new(&options.program);
        command
            .arg("serve")
            .args(["--listen-pg", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"])
            .args(["--listen-grpc", "127.0.0.1:0", "--data-dir"])
            .arg(&options.folder)
            .args(&options.arguments)
            .env("MILLRACE_ADMIN_PASSWORD", &options.password)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(log) = &options.log {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
            command.stderr(file);
        }
        let started = Instant::now();
        let mut child =
            command.spawn().map_err(|error| Failure::doing(options.program.display(), error))?;
        let stdout =
            child.stdout.take().ok_or_else(|| Failure::new("the server has no standard output"))?;
        let welcome = read_welcome(stdout, options.start_max);
        let start_seconds = started.elapsed().as_secs_f64();
        let address = |name: &str| {
            let line = welcome.lines().find(|line| line.trim_start().starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<SocketAddr>().ok()
        };
        match (address("postgres "), address("http ")) {
            (Some(pg), Some(http)) => Ok(Server {
                child,
                pg,
                http,
                grpc: address("grpc "),
                line: address("line "),
                password: options.password.clone(),
                welcome,
                start_seconds,
            }),
            _ => {
                // It may be alive without a welcome; its end is what its log is read for.
                let _gone = child.kill();
                let status = child.wait()?;
                Err(Failure::new(format!("the server did not start ({status}): {welcome}")))
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits; its exit code.
    pub fn terminate(&mut self, wait_max: Duration) -> Result<i32> {
        // A signal needs an unsafe call or this: the program is on every Unix.
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        if !sent.success() {
            return Err(Failure::new("kill -TERM failed"));
        }
        let started = Instant::now();
        while started.elapsed() < wait_max {
            if let Some(status) = self.child.try_wait()? {
                return status
                    .code()
                    .ok_or_else(|| Failure::new(format!("the server ended by {status}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::new(format!("the server did not stop within {wait_max:?}")))
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Most memory it ever held resident, bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        memory(self.pid(), "VmHWM:")
    }

    /// Memory it holds resident, bytes.
    pub fn memory(&self) -> Result<u64> {
        memory(self.pid(), "VmRSS:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about an error here: the process is gone or not ours.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Resident memory of this process as a pool: all of the others are in it.
pub fn own_memory(bytes_max: u64) -> tsdb::PoolUsage {
    // Where there is no /proc nothing is known.
    let own = |name| memory(std::process::id(), name).unwrap_or(0);
    let (used, peak) = (own("VmRSS:"), own("VmHWM:"));
    tsdb::PoolUsage { name: "process", used, limit: bytes_max, peak }
}

/// A line such as `VmHWM:  1234 kB` of a process's status, bytes.
fn memory(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).map_err(|error| Failure::doing(&path, error))?;
    let kib = status.lines().find_map(|line| {
        line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new(format!("{path} has no {name}")))
}

/// Reads lines until the one that ends the welcome; a thread goes on reading after it, so that
/// the pipe never fills.
fn read_welcome(stdout: impl Read + Send + 'static, wait_max: Duration) -> String {
    let (lines, read) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            // After the welcome nobody listens; reading goes on all the same.
            let _nobody = lines.send(line);
        }
    });
    let (started, mut welcome) = (Instant::now(), String::new());
    while let Some(left) = wait_max.checked_sub(started.elapsed()) {
        let Ok(line) = read.recv_timeout(left) else { break };
        welcome.push_str(&line);
        welcome.push('\n');
        if line.starts_with("Ctrl-C stops") {
            break;
        }
    }
    welcome
}

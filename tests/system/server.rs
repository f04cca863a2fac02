//! A server of its own for a test, and clients for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tools::client::Connection;
use tools::http::{Client, Response, Target};
use tools::process::{Server, ServerOptions};

/// How long a test waits for what a server does by itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server with a temporary folder.
pub struct TestServer {
    /// The process.
    pub server: Server,
    /// How it was started.
    pub options: ServerOptions,
    folder: TempDir,
}

impl TestServer {
    /// Starts a server with default settings.
    pub fn start() -> TestServer {
        TestServer::with(&[])
    }

    /// Starts a server with more arguments.
    pub fn with(arguments: &[&str]) -> TestServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = ServerOptions::new(program(), &folder.path().join("data"));
        options.log = Some(folder.path().join("log"));
        options.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let server = match Server::start(&options) {
            Ok(server) => server,
            Err(failure) => panic!("{failure}\n{}", read_log(folder.path())),
        };
        TestServer { server, options, folder }
    }

    /// Starts it again after it has ended.
    pub fn restart(&mut self) {
        self.server = match Server::start(&self.options) {
            Ok(server) => server,
            Err(failure) => panic!("{failure}\n{}", self.log()),
        };
    }

    /// The folder beside its data, for files of a test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// Addresses and log-in.
    pub fn connection(&self) -> Connection {
        Connection {
            url: format!("http://{}", self.server.http),
            pg: self.server.pg.to_string(),
            user: "admin".into(),
            password: Some(self.server.password.clone()),
        }
    }

    /// A client of HTTP.
    pub fn http(&self) -> Client {
        self.http_as("admin", &self.server.password)
    }

    /// A client of HTTP for some user.
    pub fn http_as(&self, user: &str, password: &str) -> Client {
        Client::new(Target::parse(&format!("http://{}", self.server.http)).unwrap(), user, password)
    }

    /// Writes line protocol that must be taken whole.
    pub fn write(&self, lines: &str) {
        let response = self.write_response(lines);
        assert_eq!(response.status, 204, "{}", response.text());
    }

    /// Writes line protocol.
    pub fn write_response(&self, lines: &str) -> Response {
        self.http().post("/write", "text/plain", lines.as_bytes()).expect("an answer")
    }

    /// A client of the Postgres wire.
    pub async fn sql(&self) -> tokio_postgres::Client {
        self.connection().postgres().await.unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// A connection, and the task that moves its bytes: aborted, the socket closes at once.
    pub async fn sql_apart(&self) -> (tokio_postgres::Client, tokio::task::JoinHandle<()>) {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.server.pg.ip().to_string())
            .port(self.server.pg.port())
            .dbname("millrace")
            .user("admin")
            .password(&self.server.password);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a door");
        // How the connection ends is what the test is about.
        let task = tokio::spawn(async move {
            let _ended = connection.await;
        });
        (client, task)
    }

    /// First row of a query over the simple protocol, columns joined with `|`, null as nothing.
    pub async fn one(&self, sql: &str) -> String {
        first_row(&self.sql().await, sql).await
    }

    /// Waits until a query answers so.
    pub fn wait_for(&self, sql: &str, answer: &str) {
        let started = Instant::now();
        loop {
            let found = block_on(self.one(sql));
            if found == answer {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{sql}: {found}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A command of the program, with addresses and password in its variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("MILLRACE_URL", format!("http://{}", self.server.http))
            .env("MILLRACE_PG", self.server.pg.to_string())
            .env("MILLRACE_PASSWORD", &self.server.password);
        command
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of the server:\n{}", self.log());
        }
    }
}

fn read_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// First row of a query over the simple protocol, columns joined with `|`, null as nothing.
pub async fn first_row(client: &tokio_postgres::Client, sql: &str) -> String {
    let messages =
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
            return cells.join("|");
        }
    }
    String::new()
}

/// Runs a command that needs no server.
pub fn alone(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().expect("the program")
}

/// What a command said and how it ended.
pub fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{errors}");
    assert!(out.contains(stdout), "`{stdout}` is not in\n{out}");
    assert!(errors.contains(stderr), "`{stderr}` is not in\n{errors}");
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder above this crate")
}

/// The `millrace` program; built once if it is missing or older than its sources.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("the path of this test");
        // target/PROFILE/deps/system-…
        let profile = test.ancestors().nth(2).expect("the folder of the profile");
        let program = profile.join("millrace");
        if !is_fresh(&program) {
            build(profile);
        }
        assert!(program.exists(), "{} is still missing", program.display());
        program
    })
}

/// Tests of one workspace may run at once in several processes; cargo's own lock makes them wait.
fn build(profile: &Path) {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["test", "--locked", "--workspace", "--no-run"]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    command.env("CARGO_TARGET_DIR", profile.parent().expect("the target folder"));
    let status = command.status().expect("cargo");
    assert!(status.success(), "building the program failed");
}

fn is_fresh(program: &Path) -> bool {
    let Ok(built) = program.metadata().and_then(|metadata| metadata.modified()) else {
        return false;
    };
    ["tsdb", "query", "management", "ingest", "wire", "tools"]
        .iter()
        .all(|room| newest_in(&root().join(room)) <= built)
}

/// Time of the newest source file under a folder.
fn newest_in(folder: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "tests" && name != "target" {
            newest = newest.max(newest_in(&path));
        } else if path.extension().is_some_and(|e| e == "rs") || name == "Cargo.toml" {
            newest = newest.max(entry.metadata().and_then(|m| m.modified()).expect("a time"));
        }
    }
    newest
}

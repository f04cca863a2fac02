//! The doors of a server: bound before the database is opened, so that an address in use is
//! known at once. HTTP opens first and says 503 during recovery, the others open after it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ingest::LineWriter;
use management::Users;
use query::Engine;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tsdb::Db;
use wire::http::HttpState;
use wire::pg::{LocalSocket, PgListeners};

use super::wiring;
use crate::failure::{Failure, Result};
use crate::process;
use crate::settings::Settings;

/// What the doors themselves need beyond the time of running requests, to cancel and say goodbye.
const CLOSING: Duration = Duration::from_secs(8);

/// Listeners that do not accept yet.
pub struct Doors {
    pg: Option<std::net::TcpListener>,
    pg_socket: Option<LocalSocket>,
    http: Option<std::net::TcpListener>,
    grpc: Option<std::net::TcpListener>,
    line: Option<std::net::TcpListener>,
}

/// An open door.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// `postgres`, `http`, `grpc` or `line`.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The open doors.
pub struct Running {
    /// Each of them.
    pub doors: Vec<Door>,
    /// Folder and port of the door in the file system.
    pub socket: Option<(PathBuf, u16)>,
    tasks: TaskTracker,
    failure: Failed,
    stop_max: Duration,
    tls: Option<Arc<rustls::ServerConfig>>,
    state: HttpState,
    /// Doors that open after the database.
    waiting: Doors,
    stop: CancellationToken,
}

/// The first door that failed, if one did.
#[derive(Clone, Default)]
struct Failed {
    cause: Arc<OnceLock<String>>,
    told: CancellationToken,
}

/// What every door serves.
pub struct House {
    /// The database.
    pub db: Arc<Db>,
    /// Its users.
    pub users: Arc<Users>,
    /// SQL.
    pub engine: Arc<Engine>,
    /// Line protocol.
    pub lines: Arc<LineWriter>,
}

impl House {
    /// Opens what stands between the doors and an open database. Blocks; the first password that
    /// was made comes back too.
    pub fn open(
        settings: &Settings,
        folder: &Path,
        db: Arc<Db>,
    ) -> Result<(House, Option<String>)> {
        let password = Some(settings.text("admin_password")).filter(|text| !text.is_empty());
        let (users, made) = Users::open(db.clone(), password.map(str::to_owned))?;
        let options = wiring::query_options(settings, folder);
        let engine = Engine::new(db.clone(), users.clone(), options)?;
        let lines = LineWriter::new(db.clone(), wiring::line_limits(settings));
        let writer = lines.clone();
        engine.pools().register(move || writer.cache_usage());
        let most = settings.number("memory_bytes_max");
        engine.pools().register(move || process::own_memory(most));
        engine.start_jobs()?;
        // A password that was asked for is known already.
        let made = made.filter(|_| password.is_none());
        Ok((House { db, users, engine, lines }, made))
    }
}

/// The port that a local socket is called by where there is no other.
const PG_PORT: u16 = 5433;

fn bind_socket(
    settings: &Settings,
    tcp: Option<&std::net::TcpListener>,
) -> Result<Option<LocalSocket>> {
    let Some(folder) = settings.path("listen_pg_socket") else { return Ok(None) };
    let port = match tcp {
        Some(tcp) => tcp.local_addr()?.port(),
        None => PG_PORT,
    };
    // Clients are told the folder, wherever they are.
    let bound = std::path::absolute(&folder).and_then(|folder| LocalSocket::bind(&folder, port));
    let doing = || format!("`listen_pg_socket = \"{}\"`", folder.display());
    bound.map(Some).map_err(|error| Failure::doing(doing(), error))
}

impl Doors {
    /// Binds every address of the settings.
    pub fn bind(settings: &Settings) -> Result<Doors> {
        let bind = |name: &str| -> Result<Option<std::net::TcpListener>> {
            let Some(address) = settings.address(name)? else { return Ok(None) };
            let listener = std::net::TcpListener::bind(address)
                .map_err(|error| Failure::doing(format!("`{name} = \"{address}\"`"), error))?;
            listener.set_nonblocking(true)?;
            Ok(Some(listener))
        };
        let pg = bind("listen_pg")?;
        Ok(Doors {
            pg_socket: bind_socket(settings, pg.as_ref())?,
            pg,
            http: bind("listen_http")?,
            grpc: bind("listen_grpc")?,
            line: bind("listen_line")?,
        })
    }

    /// Opens the HTTP door, which says how things stand while the database is still recovering.
    pub fn open_http(
        mut self,
        settings: &Settings,
        folder: &Path,
        stop: CancellationToken,
    ) -> Result<Running> {
        let http = self.http.take();
        let mut running = Running {
            doors: Vec::new(),
            socket: None,
            tasks: TaskTracker::new(),
            failure: Failed::default(),
            stop_max: Duration::from_secs(settings.number("stop_seconds_max")),
            tls: wiring::tls(settings, folder)?,
            state: HttpState::starting(wiring::http_options(settings)),
            waiting: self,
            stop,
        };
        if let Some(listener) = http {
            let listener = running.door("http", listener)?;
            let (state, tls, stop) =
                (running.state.clone(), running.tls.clone(), running.stop.clone());
            running.spawn("http", wire::http::serve(listener, state, tls, stop));
        }
        Ok(running)
    }
}

impl Running {
    /// The database is open: HTTP serves it from now on, and the other doors open.
    pub fn open_all(&mut self, settings: &Settings, house: House) -> Result<()> {
        let House { db, users, engine, lines } = house;
        self.state.opened(engine.clone(), users.clone(), lines.clone(), db);
        let (tcp, local) = (self.waiting.pg.take(), self.waiting.pg_socket.take());
        if tcp.is_some() || local.is_some() {
            let tcp = tcp.map(|listener| self.door("postgres", listener)).transpose()?;
            self.socket = local.as_ref().map(|local| (local.folder().to_owned(), local.port()));
            let options = wiring::pg_options(settings);
            let (tls, stop) = (self.tls.clone(), self.stop.clone());
            let listeners = PgListeners { tcp, local };
            let served =
                wire::pg::serve(listeners, engine.clone(), users.clone(), tls, options, stop);
            self.spawn("postgres", served);
        }
        if let Some(listener) = self.waiting.grpc.take() {
            let listener = self.door("grpc", listener)?;
            let options = wiring::flight_options(settings);
            let (tls, stop) = (self.tls.clone(), self.stop.clone());
            let served = wire::flight::serve(listener, engine, users.clone(), tls, options, stop);
            self.spawn("grpc", served);
        }
        if let Some(listener) = self.waiting.line.take() {
            let listener = self.door("line", listener)?;
            let (told, stopped) = watch::channel(false);
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                stop.cancelled().await;
                told.send_replace(true);
            });
            let options = wiring::tcp_options(settings);
            self.spawn("line", ingest::tcp::serve(listener, lines, users, options, stopped));
        }
        self.tasks.close();
        Ok(())
    }

    /// Closes every door: no connection is taken any more, running requests get their time.
    pub fn close(&self) {
        self.state.closing();
        self.stop.cancel();
    }

    fn door(
        &mut self,
        name: &'static str,
        listener: std::net::TcpListener,
    ) -> Result<tokio::net::TcpListener> {
        self.doors.push(Door { name, address: listener.local_addr()? });
        Ok(tokio::net::TcpListener::from_std(listener)?)
    }

    fn spawn(
        &self,
        name: &'static str,
        served: impl Future<Output = std::io::Result<()>> + Send + 'static,
    ) {
        let failure = self.failure.clone();
        self.tasks.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(door = name, %error, "a door failed");
                // Only the first cause is kept: the others follow from the stop.
                let _later = failure.cause.set(format!("{name}: {error}"));
                failure.told.cancel();
            }
        });
    }

    /// Waits for a door to fail; its cause.
    pub async fn failed(&self) -> String {
        self.failure.told.cancelled().await;
        self.failure()
    }

    /// Whether a door has failed.
    pub fn any_failed(&self) -> bool {
        self.failure.cause.get().is_some()
    }

    fn failure(&self) -> String {
        self.failure.cause.get().cloned().unwrap_or_default()
    }

    /// Waits until every door is closed and its requests are done, at most `stop_seconds_max`
    /// and a little, since the doors themselves grant that time.
    pub async fn finished(&self) {
        let limit = self.stop_max + CLOSING;
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(seconds = limit.as_secs(), "requests still ran: they are cut off");
        }
    }
}

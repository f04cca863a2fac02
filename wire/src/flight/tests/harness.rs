//! A server in this process, and clients for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use management::{Users, UsersOptions};
use query::{Engine, QueryOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;
use tsdb::Db;
use tsdb::io::MemoryStorage;

use crate::flight::FlightOptions;
use crate::flight::house::House;
use crate::flight::server::accept_all;

pub type Client = FlightSqlServiceClient<Channel>;

/// Password of `admin` and of every user that tests make.
pub const PASSWORD: &str = "correct horse";
/// How long a test waits for what a server does by itself.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Server {
    pub house: Arc<House>,
    pub users: Arc<Users>,
    pub stop: CancellationToken,
    pub served: Option<tokio::task::JoinHandle<()>>,
    url: String,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(FlightOptions::default()).await
    }

    pub async fn with(options: FlightOptions) -> Server {
        let (engine, users) = tokio::task::spawn_blocking(open).await.unwrap();
        let house = Arc::new(House::new(engine, users.clone(), options));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let served = tokio::spawn(accept_all(listener, house.clone(), None, stop.clone()));
        Server { house, users, stop, served: Some(served), url }
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// A client that has not logged in.
    pub async fn stranger(&self) -> Client {
        FlightSqlServiceClient::new(self.channel().await)
    }

    pub async fn client(&self, user: &str) -> Client {
        let mut client = self.stranger().await;
        client.handshake(user, PASSWORD).await.unwrap();
        client
    }

    pub async fn admin(&self) -> Client {
        self.client("admin").await
    }

    /// Makes a user that reads everything, with rights such as `WRITE`.
    pub async fn user(&self, name: &str, rights: &str) {
        let sql = format!("CREATE USER {name} PASSWORD '{PASSWORD}' READ {rights}");
        update(&mut self.admin().await, &sql).await.unwrap();
    }

    /// A table `m` of readings with the rows that tests know.
    pub async fn table(&self) -> Client {
        let mut admin = self.admin().await;
        let sql = "CREATE TABLE m (time timestamptz NOT NULL, device text NOT NULL, x double precision, \
                   n bigint, on_line boolean, note text, PRIMARY KEY (device, time))";
        update(&mut admin, sql).await.unwrap();
        let sql = "INSERT INTO m VALUES ('2026-01-01 00:00:00+00', 'a', 1.5, 1, true, 'first'), \
                   ('2026-01-01 00:01:00+00', 'a', 2.5, 2, false, NULL), \
                   ('2026-01-01 00:00:00+00', 'b', NULL, 3, NULL, 'it''s')";
        assert_eq!(update(&mut admin, sql).await.unwrap(), 3);
        admin
    }

    /// Waits until nothing of what calls have held is left, beside what is kept.
    pub async fn until_free(&self) {
        self.house.tickets.sweep(|_, _| false);
        self.until("free memory", |house| house.memory.usage().used == 0).await;
    }

    /// Waits until it is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&House) -> bool) {
        let started = Instant::now();
        while !is_so(&self.house) {
            assert!(started.elapsed() < PATIENCE, "{what} did not come about");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn open() -> (Arc<Engine>, Arc<Users>) {
    let db = Db::open(Arc::new(MemoryStorage::new()), tsdb::Options::default()).unwrap();
    // Cheap hashes: what they cost is not what these tests are about.
    let options = UsersOptions { argon2_memory_kib: 64, argon2_passes: 1, ..Default::default() };
    let store = Box::new(db.clone());
    let (users, _) = Users::open_with(store, options, Some(PASSWORD.to_owned())).unwrap();
    let options = QueryOptions { threads: 2, ..QueryOptions::default() };
    (Engine::new(db, users.clone(), options).unwrap(), users)
}

/// What the server said, whichever way the client passes it on.
pub fn status(error: arrow_flight::error::FlightError) -> Status {
    match error {
        arrow_flight::error::FlightError::Tonic(status) => *status,
        other => panic!("not an answer of the server: {other}"),
    }
}

pub type Answer<T> = Result<T, Status>;

pub async fn update(client: &mut Client, sql: &str) -> Answer<i64> {
    client.execute_update(sql.to_owned(), None).await.map_err(status)
}

pub async fn info(client: &mut Client, sql: &str) -> Answer<FlightInfo> {
    client.execute(sql.to_owned(), None).await.map_err(status)
}

pub async fn read(client: &mut Client, ticket: Ticket) -> Answer<Vec<RecordBatch>> {
    let stream = client.do_get(ticket).await.map_err(status)?;
    stream.try_collect().await.map_err(status)
}

/// Rows of every ticket of an info.
pub async fn rows_of(client: &mut Client, info: FlightInfo) -> Answer<Vec<String>> {
    let mut rows = Vec::new();
    for endpoint in info.endpoint {
        let batches = read(client, endpoint.ticket.expect("a ticket")).await?;
        rows.extend(batches.iter().flat_map(shown));
    }
    Ok(rows)
}

pub async fn query_in(client: &mut Client, sql: &str, id: Option<Bytes>) -> Answer<Vec<String>> {
    let info = client.execute(sql.to_owned(), id).await.map_err(status)?;
    rows_of(client, info).await
}

pub async fn query(client: &mut Client, sql: &str) -> Answer<Vec<String>> {
    query_in(client, sql, None).await
}

/// Rows as texts, cells joined by `|`.
pub fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let nullable = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
}

/// The answer must be an error of this state.
pub fn refused<T>(answer: Answer<T>, sqlstate: &str) -> Status {
    let Err(status) = answer else { panic!("not refused with {sqlstate}") };
    let told = status.metadata().get("sqlstate").map(|state| state.to_str().unwrap());
    assert_eq!(told, Some(sqlstate), "{status:?}");
    status
}

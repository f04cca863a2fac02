//! `millrace bench rows`: how quickly many whole rows leave, beside the same bytes sent raw.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use bytes::BytesMut;
use clap::Args;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use serde::Serialize;

use super::data::Data;
use super::load::load;
use super::own::{self, OwnArgs, TemporaryFolder, Verdict};
use super::report::percentile;
use crate::failure::{Failure, Result};
use crate::generate::{Case, DEFAULT_START, Generator, GeneratorSpec};
use crate::process::Server;
use crate::settings::parse_day_ns;

/// What a client reads at once, bytes.
const READ_BYTES: usize = 256 << 10;
/// What the raw sender writes at once, bytes: as the server does.
const WRITE_BYTES: usize = 64 << 10;

/// A result may take so many times as long as its bytes sent raw.
const RATIO_MAX: f64 = 1.5;

/// Twelve columns of whole numbers.
const CPU: &str = "SELECT time, hostname, usage_user, usage_system, usage_idle, usage_nice, \
    usage_iowait, usage_irq, usage_softirq, usage_steal, usage_guest, usage_guest_nice FROM cpu";
/// Twelve columns, most of them doubles.
const IOT: &str = "SELECT time, name, driver, fleet, model, latitude, longitude, elevation, \
    velocity, heading, grade, fuel_consumption FROM readings";

/// Arguments of `bench rows`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench rows                        one million rows of twelve columns
  millrace bench rows --scale 20 --runs 3    fewer")]
pub struct RowsArgs {
    /// Hosts, and trucks, whose 12 hours at 10 s are read.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..))]
    pub scale: u32,
    /// Runs of each.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    #[command(flatten)]
    own: OwnArgs,
}

/// Runs the command.
pub fn run(args: &RowsArgs) -> Result<()> {
    let temporary = TemporaryFolder::new(args.own.folder.as_deref())?;
    let folder = temporary.path();
    let mut arguments = vec![format!("--listen-pg-socket={}", folder.display())];
    arguments.extend(args.own.server_arg.iter().cloned());
    let (server, connection) = own::start(&folder.join("database"), &arguments)?;
    for case in [Case::CpuOnly, Case::Iot] {
        eprintln!("loading …");
        let start_ns = parse_day_ns(DEFAULT_START).unwrap_or(0);
        let end_ns = start_ns + 12 * 3_600_000_000_000;
        let (scale, interval_ns, seed) = (args.scale, 10_000_000_000, 123);
        let spec = GeneratorSpec { case, scale, start_ns, end_ns, interval_ns, seed };
        let data = Data::make(&folder.join("data.lp"), &mut Generator::new(&spec)?, 10_000)?;
        load(&data, &connection, 2, 0)?;
    }
    let mut clients = [Way::Loopback, Way::Local]
        .map(|way| Client::connect(&server, way, folder))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for sql in ["CHECKPOINT", "VACUUM FULL"] {
        clients[0].read(sql, &mut |_| {})?;
    }
    println!(
        "{:<28} {:<9} {:>9} {:>8} {:>11} {:>9} {:>6}",
        "", "through", "rows", "MB", "server ms", "raw ms", "ratio"
    );
    let mut figures = Vec::new();
    for (name, sql) in [("12 columns, whole numbers", CPU), ("12 columns, most doubles", IOT)] {
        for client in &mut clients {
            figures.push(compare(client, name, sql, args.runs)?);
        }
    }
    own::stop(server)?;
    args.own.write_json(&figures)?;
    let verdicts: Vec<Verdict> = figures
        .iter()
        .map(|found| {
            let (name, through) = (found.name, found.through.name());
            let words = format!("{name}, {through}: at most {RATIO_MAX} times raw");
            Verdict::new(found.ratio <= RATIO_MAX, words)
        })
        .collect();
    args.own.judge(&verdicts)
}

/// One result and what it took.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    name: &'static str,
    through: Way,
    rows: u64,
    bytes: usize,
    /// Medians, ms.
    server_ms: f64,
    raw_ms: f64,
    ratio: f64,
}

/// Reads a result again and again, each time followed by its bytes sent raw.
fn compare(client: &mut Client, name: &'static str, sql: &str, runs: u32) -> Result<Figures> {
    let mut bytes = Vec::new();
    let rows = client.read(sql, &mut |piece| bytes.extend_from_slice(piece))?;
    let (mut server_ms, mut raw_ms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let started = Instant::now();
        if client.read(sql, &mut |_| {})? != rows {
            return Err(Failure::new("the number of rows changed between two runs"));
        }
        server_ms.push(started.elapsed().as_secs_f64() * 1000.0);
        raw_ms.push(client.way.send_raw(&bytes)?);
    }
    server_ms.sort_by(f64::total_cmp);
    raw_ms.sort_by(f64::total_cmp);
    let (server_ms, raw_ms) = (percentile(&server_ms, 0.5), percentile(&raw_ms, 0.5));
    let (bytes, ratio) = (bytes.len(), server_ms / raw_ms);
    println!(
        "{name:<28} {:<9} {rows:>9} {:>8.1} {server_ms:>11.1} {raw_ms:>9.1} {ratio:>6.2}",
        client.way.name(),
        bytes as f64 / 1e6,
    );
    Ok(Figures { name, through: client.way, rows, bytes, server_ms, raw_ms, ratio })
}

/// What bytes go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Way {
    /// TCP.
    Loopback,
    /// A socket in the file system.
    Local,
}

/// Both ends of a way.
trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Loopback => "loopback",
            Way::Local => "socket",
        }
    }

    /// Two ends that are connected.
    fn pair(self) -> std::io::Result<(Box<dyn Stream>, Box<dyn Stream>)> {
        match self {
            Way::Loopback => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let near = TcpStream::connect(listener.local_addr()?)?;
                Ok((Box::new(near), Box::new(listener.accept()?.0)))
            }
            Way::Local => {
                let (near, far) = UnixStream::pair()?;
                Ok((Box::new(near), Box::new(far)))
            }
        }
    }

    /// Sends bytes from a thread of its own to this one, ms.
    fn send_raw(self, bytes: &[u8]) -> Result<f64> {
        let (near, far) = self.pair()?;
        send_raw(near, far, bytes)
    }
}

fn send_raw(mut socket: Box<dyn Stream>, mut far: Box<dyn Stream>, bytes: &[u8]) -> Result<f64> {
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> std::io::Result<()> {
            let mut ready = [0];
            far.read_exact(&mut ready)?;
            bytes.chunks(WRITE_BYTES).try_for_each(|piece| far.write_all(piece))
        });
        let mut buffer = vec![0; READ_BYTES];
        let started = Instant::now();
        socket.write_all(&[1])?;
        let mut left = bytes.len();
        while left > 0 {
            match socket.read(&mut buffer)? {
                0 => return Err(Failure::new("the raw sender stopped early")),
                read => left = left.saturating_sub(read),
            }
        }
        let took = started.elapsed().as_secs_f64() * 1000.0;
        sender.join().map_err(|_| Failure::new("the raw sender panicked"))??;
        Ok(took)
    })
}

/// A client that does as little as can be done: it walks over messages without reading their
/// values, so that the server is what is measured.
struct Client {
    way: Way,
    socket: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Client {
    /// `folder`: of the server's socket.
    fn connect(server: &Server, way: Way, folder: &Path) -> Result<Client> {
        let socket: Box<dyn Stream> = match way {
            Way::Loopback => {
                let socket = TcpStream::connect(server.pg)?;
                socket.set_nodelay(true)?;
                Box::new(socket)
            }
            Way::Local => {
                let path = folder.join(format!(".s.PGSQL.{}", server.pg.port()));
                Box::new(UnixStream::connect(path)?)
            }
        };
        let mut client = Client { way, socket, buffer: vec![0; READ_BYTES] };
        let mut out = BytesMut::new();
        let parameters = [("user", "admin"), ("database", "millrace")];
        frontend::startup_message(parameters, &mut out)?;
        client.socket.write_all(&out)?;
        client.log_in(server.password.as_bytes())?;
        Ok(client)
    }

    fn log_in(&mut self, password: &[u8]) -> Result<()> {
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let mut input = BytesMut::new();
        loop {
            let Some(message) = Message::parse(&mut input)? else {
                let read = self.socket.read(&mut self.buffer)?;
                if read == 0 {
                    return Err(Failure::new("the server closed the connection at log-in"));
                }
                input.extend_from_slice(&self.buffer[..read]);
                continue;
            };
            let mut out = BytesMut::new();
            match message {
                Message::AuthenticationSasl(_) => {
                    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out)?;
                }
                Message::AuthenticationSaslContinue(body) => {
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut out)?;
                }
                Message::AuthenticationSaslFinal(body) => scram.finish(body.data())?,
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => {
                    let fields: Vec<_> = body
                        .fields()
                        .map(|field| Ok(String::from_utf8_lossy(field.value_bytes()).into_owned()))
                        .collect()?;
                    return Err(Failure::new(fields.join(" ")));
                }
                _ => {}
            }
            self.socket.write_all(&out)?;
        }
    }

    /// Runs a statement, hands every piece of the answer on, and returns the rows it had.
    fn read(&mut self, sql: &str, piece: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        self.socket.write_all(&out)?;
        let mut walk = Walk::default();
        loop {
            let read = self.socket.read(&mut self.buffer)?;
            if read == 0 {
                return Err(Failure::new("the server closed the connection"));
            }
            let bytes = &self.buffer[..read];
            piece(bytes);
            if walk.over(bytes) {
                return match walk.failed {
                    false => Ok(walk.rows),
                    true => Err(Failure::new(format!("the server refused: {sql}"))),
                };
            }
        }
    }
}

/// Walks over the messages of a stream that comes in pieces.
#[derive(Debug, Default)]
struct Walk {
    /// The kind and the length of the message at hand, as far as they came.
    header: [u8; 5],
    header_bytes: usize,
    /// Bytes of its body still to come.
    body_left: usize,
    rows: u64,
    failed: bool,
}

impl Walk {
    /// Takes a piece; true after ReadyForQuery.
    fn over(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.body_left.min(bytes.len());
            self.body_left -= skipped;
            bytes = &bytes[skipped..];
            if self.body_left == 0 && self.header_bytes == 5 {
                self.header_bytes = 0;
                if self.header[0] == b'Z' {
                    return true;
                }
            }
            if bytes.is_empty() {
                return false;
            }
            let taken = (5 - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..self.header_bytes + taken]
                .copy_from_slice(&bytes[..taken]);
            self.header_bytes += taken;
            bytes = &bytes[taken..];
            if self.header_bytes == 5 {
                let [kind, length @ ..] = self.header;
                self.body_left = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.rows += u64::from(kind == b'D');
                self.failed |= kind == b'E';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! Tests of walking.
    use super::Walk;

    #[test]
    fn messages_are_walked_over_in_pieces_of_any_length() {
        let mut stream = vec![b'T', 0, 0, 0, 6, 0, 0];
        for _ in 0..3 {
            stream.extend_from_slice(&[b'D', 0, 0, 0, 9, b'Z', 0, 0, 0, 4]);
        }
        stream.extend_from_slice(&[b'C', 0, 0, 0, 4, b'Z', 0, 0, 0, 5, b'I']);
        for piece in 1..=stream.len() {
            let mut walk = Walk::default();
            let ends: Vec<bool> = stream.chunks(piece).map(|bytes| walk.over(bytes)).collect();
            assert_eq!(walk.rows, 3, "pieces of {piece}");
            assert!(!walk.failed);
            assert!(ends.iter().rev().skip(1).all(|end| !end) && ends[ends.len() - 1]);
        }
    }
}

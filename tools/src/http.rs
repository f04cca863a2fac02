//! A small HTTP/1.1 client for loading: one kept-alive connection, blocking, and little CPU, since
//! in a benchmark it shares the machine with the server it measures.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;

/// Longest head of a response, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest body of a response kept, bytes.
const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Where to send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    /// Path before every path of ours, without a slash at its end.
    pub prefix: String,
}

impl Target {
    /// Reads `http://host[:port][/prefix]`; port 8080 if none is given.
    pub fn parse(url: &str) -> Result<Target, String> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!("{scheme}:// is not spoken here: give an http:// address"));
            }
            None => url,
        };
        let (authority, prefix) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let bare_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        if authority.is_empty() || authority.contains('@') {
            return Err(format!("`{url}` is no address of the form http://host:port"));
        }
        let authority = if bare_port { authority.to_owned() } else { format!("{authority}:8080") };
        Ok(Target { authority, prefix: prefix.trim_end_matches('/').to_owned() })
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with at most one open connection.
pub struct Client {
    target: Target,
    authorization: String,
    stream: Option<TcpStream>,
    /// Bytes read and not used yet.
    pending: Vec<u8>,
    timeout: Duration,
}

impl Client {
    /// A client that logs in with Basic; nothing is sent before the first request.
    pub fn new(target: Target, user: &str, password: &str) -> Client {
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Client {
            target,
            authorization: format!("Basic {secret}"),
            stream: None,
            pending: Vec::new(),
            timeout: Duration::from_secs(300),
        }
    }

    /// Sends a POST and reads the answer. A request is never sent twice: after an error nobody
    /// but the server knows whether it was carried out.
    pub fn post(&mut self, path: &str, kind: &str, body: &[u8]) -> io::Result<Response> {
        self.request("POST", path, kind, body)
    }

    /// Sends a GET.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, "", b"")
    }

    fn request(&mut self, verb: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.pending.clear();
                let stream = TcpStream::connect(&self.target.authority)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.timeout))?;
                stream.set_write_timeout(Some(self.timeout))?;
                stream
            }
        };
        let mut head = format!(
            "{verb} {}{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Length: {}\r\n",
            self.target.prefix,
            self.target.authority,
            self.authorization,
            body.len()
        );
        if !kind.is_empty() {
            head.push_str(&format!("Content-Type: {kind}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let (response, keep) = read_response(&mut stream, &mut self.pending)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

/// Reads one response; the flag says whether the connection can be used again.
fn read_response(stream: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<(Response, bool)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("bad answer: {why}"));
    loop {
        let head_end = loop {
            if let Some(at) = find(pending, b"\r\n\r\n") {
                break at;
            }
            if pending.len() > HEAD_BYTES_MAX {
                return Err(bad("its head does not end"));
            }
            fill(stream, pending)?;
        };
        let head = String::from_utf8_lossy(&pending[..head_end]).into_owned();
        pending.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status: u16 = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .ok_or_else(|| bad("its first line is not of HTTP/1"))?;
        let header = |name: &str| {
            head.split("\r\n").skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
            })
        };
        if status == 100 {
            continue;
        }
        let mut keep = header("connection").as_deref() != Some("close");
        let body = if status == 204 || status == 304 {
            Vec::new()
        } else if header("transfer-encoding").is_some_and(|t| t.contains("chunked")) {
            read_chunks(stream, pending)?
        } else if let Some(length) = header("content-length") {
            let length: u64 = length.parse().map_err(|_| bad("its length is no number"))?;
            if length > BODY_BYTES_MAX {
                return Err(bad("it is too long"));
            }
            take(stream, pending, length as usize)?
        } else {
            keep = false;
            let mut body = std::mem::take(pending);
            stream.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
            body
        };
        return Ok((Response { status, body }, keep));
    }
}

fn read_chunks(stream: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(pending, b"\r\n") {
                break at;
            }
            if pending.len() > HEAD_BYTES_MAX {
                return Err(bad("bad answer: a chunk without a size"));
            }
            fill(stream, pending)?;
        };
        let line = String::from_utf8_lossy(&pending[..line_end]).into_owned();
        pending.drain(..line_end + 2);
        let digits = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| bad("bad answer: the size of a chunk is no number"))?;
        if body.len() as u64 + size as u64 > BODY_BYTES_MAX {
            return Err(bad("bad answer: it is too long"));
        }
        body.extend(take(stream, pending, size)?);
        // The line end after a chunk; after the last one there are no trailers from our server.
        take(stream, pending, 2)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn take(stream: &mut impl Read, pending: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while pending.len() < length {
        fill(stream, pending)?;
    }
    let rest = pending.split_off(length);
    Ok(std::mem::replace(pending, rest))
}

fn fill(stream: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let read = stream.read(&mut buffer)?;
    if read == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection before its answer was complete",
        ));
    }
    pending.extend_from_slice(&buffer[..read]);
    Ok(())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    //! Tests of reading responses and addresses.
    use super::*;

    /// Gives its bytes a few at a time, as a slow network does.
    struct Slow<'a>(&'a [u8], usize);
    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn check_read(bytes: &[u8], status: u16, body: &str, keep: bool) {
        for step in [1, 3, 1000] {
            let (response, kept) = read_response(&mut Slow(bytes, step), &mut Vec::new()).unwrap();
            assert_eq!((response.status, response.text().as_str(), kept), (status, body, keep));
        }
        for cut in 0..bytes.len() {
            let read = read_response(&mut Slow(&bytes[..cut], 1000), &mut Vec::new());
            assert!(read.is_err() || !keep, "cut at {cut} passed");
        }
    }

    #[test]
    fn responses() {
        check_read(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 204, "", true);
        check_read(b"HTTP/1.1 400 Bad\r\ncontent-length: 5\r\n\r\nhello", 400, "hello", true);
        check_read(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            200,
            "abcde",
            true,
        );
        check_read(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nrest", 200, "rest", false);
        check_read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", 204, "", true);
    }

    #[test]
    fn two_answers_on_one_connection() {
        let bytes = b"HTTP/1.1 204 A\r\n\r\nHTTP/1.1 401 B\r\ncontent-length: 1\r\n\r\nx";
        let (mut stream, mut pending) = (Slow(bytes, 7), Vec::new());
        assert_eq!(read_response(&mut stream, &mut pending).unwrap().0.status, 204);
        assert_eq!(read_response(&mut stream, &mut pending).unwrap().0.status, 401);
    }

    #[test]
    fn addresses() {
        let target = Target::parse("http://a.example/base/").unwrap();
        assert_eq!(
            (target.authority.as_str(), target.prefix.as_str()),
            ("a.example:8080", "/base")
        );
        assert_eq!(Target::parse("127.0.0.1:9").unwrap().authority, "127.0.0.1:9");
        assert_eq!(Target::parse("http://[::1]:9").unwrap().authority, "[::1]:9");
        assert_eq!(Target::parse("http://[::1]").unwrap().authority, "[::1]:8080");
        assert!(Target::parse("https://a").is_err());
        assert!(Target::parse("http://u:p@a").is_err());
    }
}

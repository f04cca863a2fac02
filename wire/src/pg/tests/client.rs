//! The client's side of a conversation, on pgwire's codec, and a short notation for answers:
//! `T(n:20)` RowDescription, `D(7)` DataRow, `C(SELECT 1)` CommandComplete, `Z(I)` ReadyForQuery …

use std::fmt::Write;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::extendedquery as ext;
use pgwire::messages::startup::{
    Authentication, PasswordMessageFamily, SASLInitialResponse, SASLResponse, SecretKey,
};
use pgwire::messages::{
    DecodeContext, PgWireBackendMessage as Back, PgWireFrontendMessage as Front, ProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

pub struct Client {
    stream: Box<dyn Wire>,
    input: BytesMut,
    context: DecodeContext,
    /// Process and secret of the last log-in.
    pub key: (i32, i32),
    pub database: &'static str,
    /// Minor version to ask for.
    pub minor: u16,
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Front {
    Front::Parse(ext::Parse::new(Some(name.to_owned()), sql.to_owned(), types.to_vec()))
}

/// Parameters in text, results in the given formats.
pub fn bind(portal: &str, statement: &str, params: &[Option<&[u8]>], results: &[i16]) -> Front {
    let params = params.iter().map(|param| param.map(Bytes::copy_from_slice)).collect();
    let (portal, statement) = (Some(portal.to_owned()), Some(statement.to_owned()));
    Front::Bind(ext::Bind::new(portal, statement, vec![], params, results.to_vec()))
}

pub fn execute(portal: &str, rows_max: i32) -> Front {
    Front::Execute(ext::Execute::new(Some(portal.to_owned()), rows_max))
}

/// A message of any kind whose body the twin does not know; only its bytes count.
pub fn plain(kind: u8, body: &[u8]) -> Front {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    // Raw bodies of this family are written as they are; the frame is put in by `bytes_of`.
    Front::PasswordMessageFamily(PasswordMessageFamily::Raw(BytesMut::from(bytes.as_slice())))
}

pub fn bytes_of(message: &Front) -> Vec<u8> {
    if let Front::PasswordMessageFamily(PasswordMessageFamily::Raw(bytes)) = message {
        return bytes.to_vec();
    }
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer).unwrap();
    buffer.to_vec()
}

/// Messages cannot be cloned, but their bytes can.
pub fn copy(message: &Front) -> Front {
    let bytes = bytes_of(message);
    Front::PasswordMessageFamily(PasswordMessageFamily::Raw(BytesMut::from(bytes.as_slice())))
}

impl Client {
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Client {
        Client {
            stream: Box::new(stream),
            input: BytesMut::new(),
            context: DecodeContext::new(ProtocolVersion::PROTOCOL3_0),
            key: (0, 0),
            database: "millrace",
            minor: 0,
        }
    }

    /// Writes; a server that closed already is no failure of the test's client.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub async fn read_byte(&mut self) -> u8 {
        self.stream.read_u8().await.unwrap()
    }

    /// Ends this side's writing.
    pub async fn hang_up(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    pub async fn send(&mut self, messages: &[Front]) {
        let bytes: Vec<u8> = messages.iter().flat_map(bytes_of).collect();
        self.write(&bytes).await;
    }

    /// The next message; None when the server closed.
    async fn next(&mut self) -> Option<Back> {
        loop {
            let before = self.input.len();
            // The twin looks at one byte beyond the kind before it knows the length.
            if before > 4
                && let Some(message) = Back::decode(&mut self.input, &self.context).unwrap()
            {
                return Some(message);
            }
            let read = self.stream.read_buf(&mut self.input).await.unwrap_or(0);
            if read == 0 {
                assert!(self.input.is_empty(), "cut message {:?}", self.input);
                return None;
            }
        }
    }

    /// Sends, and reads as many ReadyForQuery as Query, FunctionCall and Sync were sent.
    pub async fn ask(&mut self, messages: &[Front]) -> String {
        let ready =
            messages.iter().filter(|message| matches!(bytes_of(message)[0], b'Q' | b'S' | b'F'));
        let ready = ready.count();
        self.send(messages).await;
        self.answer(ready).await
    }

    /// Answers up to the `ready`th ReadyForQuery.
    pub async fn answer(&mut self, ready: usize) -> String {
        let (mut answer, mut seen) = (Vec::new(), 0);
        while seen < ready {
            let Some(message) = self.next().await else {
                answer.push("closed".to_owned());
                break;
            };
            seen += usize::from(matches!(message, Back::ReadyForQuery(_)));
            answer.push(short(&message));
        }
        answer.join(" ")
    }

    /// Answers until the server closes.
    pub async fn rest(&mut self) -> String {
        // An answer to a request for encryption is one byte without a frame.
        let mut answer = Vec::new();
        loop {
            if self.input.first() == Some(&b'N') && self.input.get(1).is_none_or(|next| *next != 0)
            {
                self.input.advance(1);
                continue;
            }
            match self.next_or_byte().await {
                Some(text) => answer.push(text),
                None => break,
            }
        }
        answer.push("closed".to_owned());
        answer.retain(|text| !text.is_empty() && !text.starts_with("R("));
        answer.join(" ")
    }

    async fn next_or_byte(&mut self) -> Option<String> {
        if self.input.len() < 5 {
            let read = self.stream.read_buf(&mut self.input).await.unwrap_or(0);
            if read == 0 {
                assert!(self.input.is_empty(), "cut message {:?}", self.input);
                return None;
            }
            return Some(String::new());
        }
        self.next().await.map(|message| short(&message))
    }

    pub async fn log_in(&mut self, user: &str, proof: &str) {
        self.try_log_in(user, proof).await.unwrap();
    }

    /// The greeting, or the refusal.
    pub async fn try_log_in(&mut self, user: &str, proof: &str) -> Result<String, String> {
        let body = format!("user\0{user}\0database\0{}\0\0", self.database);
        let mut packet = (body.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend([0, 3]);
        packet.extend(self.minor.to_be_bytes());
        packet.extend(body.as_bytes());
        self.write(&packet).await;
        let mut greeting = Vec::new();
        loop {
            let Some(message) = self.next().await else {
                return Err("closed".to_owned());
            };
            match &message {
                Back::Authentication(Authentication::SASL(mechanisms)) => {
                    assert_eq!(mechanisms, &["SCRAM-SHA-256"]);
                    let data = Some(Bytes::from_static(b"hello"));
                    self.sasl(PasswordMessageFamily::SASLInitialResponse(
                        SASLInitialResponse::new(mechanisms[0].clone(), data),
                    ))
                    .await;
                }
                Back::Authentication(Authentication::SASLContinue(data)) => {
                    assert_eq!(data.as_ref(), b"challenge");
                    let data = Bytes::copy_from_slice(proof.as_bytes());
                    self.sasl(PasswordMessageFamily::SASLResponse(SASLResponse::new(data))).await;
                }
                Back::Authentication(_) => {}
                Back::BackendKeyData(data) => {
                    let SecretKey::I32(secret) = data.secret_key else { panic!("a long key") };
                    self.key = (data.pid, secret);
                }
                Back::ErrorResponse(error) => {
                    let words = error.fields.iter().find(|field| field.0 == b'M').unwrap();
                    let closed = self.rest().await;
                    return Err(format!("{} {:?} {closed}", short(&message), words.1));
                }
                Back::ReadyForQuery(_) => {
                    greeting.push(short(&message));
                    return Ok(greeting.join(" "));
                }
                other => greeting.push(short(other)),
            }
        }
    }

    async fn sasl(&mut self, message: PasswordMessageFamily) {
        let mut buffer = BytesMut::new();
        Front::PasswordMessageFamily(message).encode(&mut buffer).unwrap();
        self.write(&buffer).await;
    }
}

fn short(message: &Back) -> String {
    match message {
        Back::ParseComplete(_) => "1".into(),
        Back::BindComplete(_) => "2".into(),
        Back::CloseComplete(_) => "3".into(),
        Back::NoData(_) => "n".into(),
        Back::EmptyQueryResponse(_) => "I".into(),
        Back::PortalSuspended(_) => "s".into(),
        Back::CommandComplete(done) => format!("C({})", done.tag),
        Back::ReadyForQuery(ready) => format!("Z({})", char::from(ready.status as u8)),
        Back::ParameterStatus(status) => format!("S({}={})", status.name, status.value),
        Back::ParameterDescription(params) => format!("t({})", join(&params.types)),
        Back::RowDescription(row) => {
            let fields = row.fields.iter().map(|field| format!("{}:{}", field.name, field.type_id));
            format!("T({})", join(&fields.collect::<Vec<_>>()))
        }
        Back::ErrorResponse(error) => {
            let code = error.fields.iter().find(|field| field.0 == b'C');
            format!("E({})", code.map_or("none", |field| field.1.as_str()))
        }
        Back::NoticeResponse(notice) => {
            let code = notice.fields.iter().find(|field| field.0 == b'C');
            format!("N({})", code.map_or("none", |field| field.1.as_str()))
        }
        Back::NegotiateProtocolVersion(version) => format!("v({})", version.newest_minor_protocol),
        Back::DataRow(row) => format!("D({})", join(&cells(row.data.clone(), row.field_count))),
        Back::CopyInResponse(copy) => format!("G({})", join(&copy.column_formats)),
        Back::CopyOutResponse(copy) => format!("H({})", join(&copy.column_formats)),
        Back::CopyData(copy) => {
            format!("d({})", printable(copy.data.strip_suffix(b"\n").unwrap_or(&copy.data)))
        }
        Back::CopyDone(_) => "c".into(),
        Back::Authentication(_) => "R()".into(),
        Back::BackendKeyData(_) => "K".into(),
        other => format!("{other:?}"),
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Printable values as text, others in hex.
fn cells(mut data: BytesMut, count: i16) -> Vec<String> {
    let cell = |_| {
        let length = data.get_i32();
        if length < 0 {
            return "NULL".to_owned();
        }
        printable(&data.split_to(length as usize))
    };
    (0..count).map(cell).collect()
}

fn printable(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if value.iter().all(u8::is_ascii_graphic) => text.to_owned(),
        _ => value.iter().fold("\\x".to_owned(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
    }
}

impl Client {
    /// Raw bytes until the server closes.
    pub async fn read_to_end(&mut self, bytes: &mut Vec<u8>) {
        let _ = self.stream.read_to_end(bytes).await;
    }
}

//! Messages from the client. Every length is checked before it is believed: a body that is too
//! short, too long or not UTF-8 is an error, never a panic and never a silent repair.

use bytes::{Buf, Bytes};

/// What is wrong with the body of a message whose frame was sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The body ends before its content does.
    Short,
    /// Bytes follow the content.
    Long,
    /// A text is not UTF-8.
    NotUtf8,
    /// Close or Describe of something that is neither statement nor portal.
    Target(u8),
}

impl Malformed {
    /// SQLSTATE and words.
    pub fn error(self, kind: u8) -> (&'static str, String) {
        let kind = char::from(kind);
        match self {
            Malformed::Short => ("08P01", format!("insufficient data left in message \"{kind}\"")),
            Malformed::Long => ("08P01", format!("invalid message format in message \"{kind}\"")),
            Malformed::NotUtf8 => {
                ("22021", "invalid byte sequence for encoding \"UTF8\"".to_owned())
            }
            Malformed::Target(byte) => {
                ("08P01", format!("invalid subtype {byte} of message \"{kind}\""))
            }
        }
    }
}

/// What Describe and Close point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Statement(String),
    Portal(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub portal: String,
    pub statement: String,
    pub param_formats: Vec<i16>,
    /// None: null.
    pub params: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

/// A message after start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe(Target),
    Close(Target),
    Execute {
        portal: String,
        rows_max: i32,
    },
    Flush,
    Sync,
    Terminate,
    /// Password and SASL answers, read further by log-in alone.
    Password(Bytes),
    CopyData(Bytes),
    CopyDone,
    /// With the client's words.
    CopyFail(String),
    FunctionCall,
}

/// Whether a message belongs to the extended protocol, where an error skips up to Sync.
pub fn is_extended(kind: u8) -> bool {
    matches!(kind, b'P' | b'B' | b'D' | b'C' | b'E' | b'H')
}

/// Whether a message kind exists at all.
pub fn is_known(kind: u8) -> bool {
    is_extended(kind) || matches!(kind, b'Q' | b'S' | b'X' | b'p' | b'd' | b'c' | b'f' | b'F')
}

/// Whether bodies of a kind grow with what users write; others stay small.
pub fn may_be_large(kind: u8) -> bool {
    matches!(kind, b'Q' | b'P' | b'B' | b'd' | b'F')
}

/// Reads the body of a message.
pub fn decode(kind: u8, body: Bytes) -> Result<Message, Malformed> {
    let mut body = Reader(body);
    let message = match kind {
        b'Q' => Message::Query(body.text()?),
        b'P' => {
            let (name, sql) = (body.text()?, body.text()?);
            Message::Parse { name, sql, types: body.list(4, Reader::u32)? }
        }
        b'B' => Message::Bind(bind(&mut body)?),
        b'D' => Message::Describe(body.target()?),
        b'C' => Message::Close(body.target()?),
        b'E' => Message::Execute { portal: body.text()?, rows_max: body.u32()? as i32 },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'p' => return Ok(Message::Password(body.0)),
        b'F' => return Ok(Message::FunctionCall),
        b'd' => return Ok(Message::CopyData(body.0)),
        b'f' => Message::CopyFail(body.text()?),
        _ => Message::CopyDone,
    };
    if body.0.has_remaining() { Err(Malformed::Long) } else { Ok(message) }
}

fn bind(body: &mut Reader) -> Result<Bind, Malformed> {
    let (portal, statement) = (body.text()?, body.text()?);
    let param_formats = body.list(2, Reader::i16)?;
    let params = body.list(4, |body| match body.u32()? as i32 {
        -1 => Ok(None),
        length => body.bytes(usize::try_from(length).map_err(|_| Malformed::Short)?).map(Some),
    })?;
    let result_formats = body.list(2, Reader::i16)?;
    Ok(Bind { portal, statement, param_formats, params, result_formats })
}

/// First SASL answer: mechanism and the client's first message, if it sent one.
pub fn decode_sasl_first(body: Bytes) -> Result<(String, Option<Bytes>), Malformed> {
    let mut body = Reader(body);
    let mechanism = body.text()?;
    let data = match body.u32()? as i32 {
        -1 => None,
        length => Some(body.bytes(usize::try_from(length).map_err(|_| Malformed::Short)?)?),
    };
    if body.0.has_remaining() { Err(Malformed::Long) } else { Ok((mechanism, data)) }
}

/// Names and values of a start-up message, after its version.
pub fn decode_startup(body: Bytes) -> Result<Vec<(String, String)>, Malformed> {
    let mut body = Reader(body);
    let mut settings = Vec::new();
    loop {
        let name = body.text()?;
        if name.is_empty() {
            break;
        }
        settings.push((name, body.text()?));
    }
    if body.0.has_remaining() { Err(Malformed::Long) } else { Ok(settings) }
}

/// The unread rest of a body.
struct Reader(Bytes);

impl Reader {
    fn bytes(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if self.0.len() < length {
            return Err(Malformed::Short);
        }
        Ok(self.0.split_to(length))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| Malformed::Short)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.0.try_get_i16().map_err(|_| Malformed::Short)
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Short)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(Vec::from(text)).map_err(|_| Malformed::NotUtf8)
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        let kind = self.0.try_get_u8().map_err(|_| Malformed::Short)?;
        match kind {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            other => Err(Malformed::Target(other)),
        }
    }

    /// A list behind its 16-bit count; `bytes_min` is the least an item takes, so that a count the
    /// body cannot hold reserves nothing.
    fn list<T>(
        &mut self,
        bytes_min: usize,
        item: impl Fn(&mut Reader) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.0.try_get_u16().map_err(|_| Malformed::Short)?);
        if self.0.len() < count * bytes_min {
            return Err(Malformed::Short);
        }
        (0..count).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests;

//! Messages to the client, appended to a plain buffer.
//!
//! Only what has a fixed, small shape is here; rows and their description are in `encode`.

use query::{Notification, QueryError, TransactionStatus};

/// Appends a message of one kind; `body` appends what follows the length.
pub fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A text that ends in a zero byte; zero bytes inside it would end it early and are left out.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

/// Messages without a body.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Bare {
    ParseComplete = b'1',
    BindComplete = b'2',
    CloseComplete = b'3',
    NoData = b'n',
    EmptyQuery = b'I',
    PortalSuspended = b's',
}

pub fn bare(out: &mut Vec<u8>, kind: Bare) {
    message(out, kind as u8, |_| {});
}

/// How bad an error is for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection closes after it.
    Fatal,
    Warning,
    Notice,
}

/// ErrorResponse, or NoticeResponse for a warning or a notice.
pub fn report(out: &mut Vec<u8>, severity: Severity, error: &QueryError) {
    let (kind, word) = match severity {
        Severity::Error => (b'E', "ERROR"),
        Severity::Fatal => (b'E', "FATAL"),
        Severity::Warning => (b'N', "WARNING"),
        Severity::Notice => (b'N', "NOTICE"),
    };
    message(out, kind, |out| {
        let mut field = |code: u8, text: &str| {
            out.push(code);
            put_text(out, text);
        };
        field(b'S', word);
        field(b'V', word);
        field(b'C', error.code);
        field(b'M', &error.message);
        if let Some(detail) = &error.detail {
            field(b'D', detail);
        }
        if let Some(hint) = &error.hint {
            field(b'H', hint);
        }
        if let Some(position) = error.position {
            field(b'P', &position.to_string());
        }
        out.push(0);
    });
}

pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| put_text(out, tag));
}

pub fn ready(out: &mut Vec<u8>, status: TransactionStatus) {
    message(out, b'Z', |out| {
        out.push(match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        });
    });
}

/// NotificationResponse.
pub fn notification(out: &mut Vec<u8>, notification: &Notification) {
    message(out, b'A', |out| {
        out.extend_from_slice(&notification.process.to_be_bytes());
        put_text(out, &notification.channel);
        put_text(out, &notification.payload);
    });
}

pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

pub fn parameter_description(out: &mut Vec<u8>, oids: &[u32]) {
    message(out, b't', |out| {
        put_u16(out, oids.len() as u16);
        for oid in oids {
            put_u32(out, *oid);
        }
    });
}

/// Authentication messages: request code and what follows it.
pub fn authentication(out: &mut Vec<u8>, code: u32, data: &[u8]) {
    message(out, b'R', |out| {
        put_u32(out, code);
        out.extend_from_slice(data);
    });
}

pub fn backend_key(out: &mut Vec<u8>, process: i32, secret: i32) {
    message(out, b'K', |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(&secret.to_be_bytes());
    });
}

/// Tells a client that asked for a newer minor version, or for options, what it gets: 3.0.
pub fn negotiate_version(out: &mut Vec<u8>, unknown_options: &[String]) {
    message(out, b'v', |out| {
        put_u32(out, 3 << 16);
        put_u32(out, unknown_options.len() as u32);
        for option in unknown_options {
            put_text(out, option);
        }
    });
}

//! The server's side of SCRAM-SHA-256 (RFC 5802, 7677), without channel binding: only
//! `SCRAM-SHA-256` is offered, so the headers `n` and `y` are both in order.
//!
//! The user is the one named at the start of the connection; the name inside the messages is
//! checked for form and else ignored, as Postgres does (its clients send it empty).

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use query::Identity;

use crate::LoginFailed;
use crate::rows::UserRow;
use crate::secret::{ScramSecret, hmac_sha256, random, sha256};
use crate::users::Inner;
use crate::verified::Stamp;

/// Longest message of a client, bytes.
const MESSAGE_BYTES_MAX: usize = 8192;
/// Longest nonce of a client, bytes.
const NONCE_BYTES_MAX: usize = 1024;

/// One exchange, server side. After an error it is over.
pub struct ScramExchange {
    inner: Arc<Inner>,
    user: String,
    source: Option<IpAddr>,
    state: State,
}

enum State {
    Start,
    Challenged(Box<Challenge>),
    Over,
}

/// What the second message is checked against.
struct Challenge {
    /// The header of the first message, which the second repeats in base64.
    header: String,
    first_bare: String,
    server_first: String,
    nonce: String,
    secret: ScramSecret,
    /// None for a user without a secret: the exchange is for show.
    stamp: Option<Stamp>,
}

impl std::fmt::Debug for ScramExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramExchange({})", self.user)
    }
}

impl ScramExchange {
    pub(crate) fn new(inner: Arc<Inner>, user: &str, source: Option<IpAddr>) -> ScramExchange {
        ScramExchange { inner, user: user.to_owned(), source, state: State::Start }
    }

    /// client-first-message -> server-first-message
    pub fn first(&mut self, client_first: &[u8]) -> Result<Vec<u8>, LoginFailed> {
        // 18 bytes make 24 characters without padding, as Postgres sends them.
        self.first_with_nonce(client_first, &BASE64.encode(random::<18>()))
    }

    fn first_with_nonce(
        &mut self,
        client_first: &[u8],
        server_nonce: &str,
    ) -> Result<Vec<u8>, LoginFailed> {
        if !matches!(std::mem::replace(&mut self.state, State::Over), State::Start) {
            return Err(LoginFailed::new("SCRAM: a first message out of turn"));
        }
        self.inner.may_try(&self.user, self.source)?;
        let first = ClientFirst::decode(client_first)?;
        let row = self.inner.row_for_login(&self.user)?;
        let (secret, stamp) = self.secret(row);
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = BASE64.encode(&secret.salt);
        let server_first = format!("r={nonce},s={salt},i={}", secret.iterations);
        let answer = server_first.clone().into_bytes();
        self.state = State::Challenged(Box::new(Challenge {
            header: first.header.to_owned(),
            first_bare: first.bare.to_owned(),
            server_first,
            nonce,
            secret,
            stamp,
        }));
        Ok(answer)
    }

    /// client-final-message -> (server-final-message, who)
    pub fn last(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, Identity), LoginFailed> {
        let State::Challenged(challenge) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(LoginFailed::new("SCRAM: a final message out of turn"));
        };
        let last = ClientFinal::decode(client_final)?;
        if last.header != BASE64.encode(&challenge.header) {
            return Err(LoginFailed::new("SCRAM: the header differs from the first message's"));
        }
        if last.nonce != challenge.nonce {
            return Err(LoginFailed::new("SCRAM: the nonce is not the one sent"));
        }
        // Asked again: other exchanges of this user may have failed since this one began.
        self.inner.may_try(&self.user, self.source)?;
        let Challenge { first_bare, server_first, secret, stamp, .. } = &*challenge;
        let message = format!("{first_bare},{server_first},{}", last.without_proof);
        let proven = proves(secret, message.as_bytes(), &last.proof);
        match self.who(*stamp, proven) {
            Ok(identity) => {
                self.inner.throttle.succeeded(&self.user, self.source);
                let signature = hmac_sha256(&secret.server_key, message.as_bytes());
                Ok((format!("v={}", BASE64.encode(signature)).into_bytes(), identity))
            }
            Err(failed) => {
                self.inner.throttle.failed(&self.user, self.source, Instant::now());
                Err(failed)
            }
        }
    }

    /// The secret to prove, made up for a user that has none: the salt is always the same for
    /// one name, so that asking twice tells nothing either.
    fn secret(&self, row: Option<UserRow>) -> (ScramSecret, Option<Stamp>) {
        let stamp = row.as_ref().map(UserRow::stamp);
        // Computed for known users too, so that the time does not tell.
        let salt = hmac_sha256(&self.inner.fake_salt_key, self.user.as_bytes());
        match row.and_then(|row| row.scram) {
            Some(secret) => (secret, stamp),
            None => {
                let made_up = ScramSecret {
                    iterations: self.inner.options.scram_iterations,
                    salt: salt[..16].to_vec(),
                    stored_key: random(),
                    server_key: random(),
                };
                (made_up, None)
            }
        }
    }

    /// The user as of now: a change since the first message ends the exchange.
    fn who(&self, stamp: Option<Stamp>, proven: bool) -> Result<Identity, LoginFailed> {
        let row = self.inner.row_for_login(&self.user)?;
        let Some(stamp) = stamp else {
            let why = if row.is_some() { "the user has no password" } else { "unknown user" };
            return Err(LoginFailed::new(why));
        };
        if !proven {
            return Err(LoginFailed::new("wrong password"));
        }
        match row {
            Some(row) if row.stamp() != stamp => {
                Err(LoginFailed::new("the user was changed during the log-in"))
            }
            Some(row) if row.can_login => Ok(row.identity()),
            Some(_) => Err(LoginFailed::new("the role may not log in")),
            None => Err(LoginFailed::new("the user was dropped during the log-in")),
        }
    }
}

/// RFC 5802 section 3: the proof is ClientKey XOR HMAC(StoredKey, AuthMessage), and the hash of
/// ClientKey is StoredKey.
fn proves(secret: &ScramSecret, message: &[u8], proof: &[u8; 32]) -> bool {
    let mut client_key = hmac_sha256(&secret.stored_key, message);
    for (byte, proof) in client_key.iter_mut().zip(proof) {
        *byte ^= proof;
    }
    constant_time::verify_slices_are_equal(&sha256(&client_key), &secret.stored_key).is_ok()
}

struct ClientFirst<'a> {
    /// `n,,` or `y,,`
    header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    fn decode(message: &'a [u8]) -> Result<ClientFirst<'a>, LoginFailed> {
        let text = text(message)?;
        let mut parts = text.splitn(3, ',');
        let (flag, authzid, bare) = match (parts.next(), parts.next(), parts.next()) {
            (Some(flag), Some(authzid), Some(bare)) => (flag, authzid, bare),
            _ => return Err(malformed("the first message has no header")),
        };
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => {
                return Err(malformed("channel binding is asked for and was not offered"));
            }
            _ => return Err(malformed("unknown channel binding flag")),
        }
        if !authzid.is_empty() {
            return Err(malformed("an authorization identity is not supported"));
        }
        let header = &text[..flag.len() + 2];
        let mut attributes = bare.split(',');
        let name = match attributes.next() {
            Some(first) if first.starts_with("m=") => {
                return Err(malformed("a mandatory extension is not supported"));
            }
            Some(first) => first.strip_prefix("n="),
            None => None,
        };
        check_saslname(name.ok_or_else(|| malformed("no user name"))?)?;
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r="));
        let nonce = nonce.ok_or_else(|| malformed("no nonce"))?;
        let printable = nonce.bytes().all(|b| b.is_ascii_graphic());
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !printable {
            return Err(malformed("a nonce that is empty, too long or not printable"));
        }
        check_extensions(attributes)?;
        Ok(ClientFirst { header, bare, nonce })
    }
}

struct ClientFinal<'a> {
    /// In base64.
    header: &'a str,
    nonce: &'a str,
    without_proof: &'a str,
    proof: [u8; 32],
}

impl<'a> ClientFinal<'a> {
    fn decode(message: &'a [u8]) -> Result<ClientFinal<'a>, LoginFailed> {
        let text = text(message)?;
        // The proof is the last attribute, and base64 holds no comma.
        let (without_proof, proof) =
            text.rsplit_once(",p=").ok_or_else(|| malformed("no proof at the end"))?;
        let proof = BASE64.decode(proof).ok().and_then(|bytes| bytes.try_into().ok());
        let proof = proof.ok_or_else(|| malformed("a proof that is not 32 bytes in base64"))?;
        let mut attributes = without_proof.split(',');
        let header = attributes.next().and_then(|a| a.strip_prefix("c="));
        let header = header.ok_or_else(|| malformed("no channel binding"))?;
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r="));
        let nonce = nonce.ok_or_else(|| malformed("no nonce"))?;
        check_extensions(attributes)?;
        Ok(ClientFinal { header, nonce, without_proof, proof })
    }
}

/// `=2C` and `=3D` stand for comma and equals sign; any other `=` is an error (5.1).
fn check_saslname(name: &str) -> Result<(), LoginFailed> {
    let mut pieces = name.split('=');
    pieces.next();
    if pieces.all(|piece| piece.starts_with("2C") || piece.starts_with("3D")) {
        return Ok(());
    }
    Err(malformed("a user name with a stray equals sign"))
}

/// Optional extensions are passed over; each is a letter, `=` and a value.
fn check_extensions<'a>(mut rest: impl Iterator<Item = &'a str>) -> Result<(), LoginFailed> {
    let fits = |attribute: &str| match attribute.as_bytes() {
        [letter, b'=', _, ..] => letter.is_ascii_alphabetic() && *letter != b'm',
        _ => false,
    };
    if rest.all(fits) { Ok(()) } else { Err(malformed("an attribute of unknown form")) }
}

fn text(message: &[u8]) -> Result<&str, LoginFailed> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(malformed("a message that is too long"));
    }
    match std::str::from_utf8(message) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(malformed("a message that is not UTF-8 text")),
    }
}

fn malformed(what: &str) -> LoginFailed {
    LoginFailed::new(format!("SCRAM: {what}"))
}

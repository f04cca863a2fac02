//! Secrets made from passwords: SCRAM-SHA-256 keys and argon2id hashes. Neither the password nor
//! the salted password is kept, and no secret is shown by `Debug`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use query::QueryResult;

use crate::options::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, UsersOptions};
use crate::refuse;

/// Longest password, bytes: hashing must not be a lever.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1024;
/// Salt of either secret, bytes.
const SALT_BYTES: usize = 16;
/// Longest salt read from a row or from a secret made elsewhere, bytes.
const SALT_BYTES_MAX: usize = 1024;
/// Most memory that a stored hash may ask for, KiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 1 << 20;
/// Most passes that a stored hash may ask for.
const ARGON2_PASSES_MAX: u32 = 100;
/// Letters and digits that are not mistaken for one another.
const PASSWORD_ALPHABET: &[u8; 55] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz2345678";
/// Characters of a made-up password: 138 bits.
const PASSWORD_CHARS: usize = 24;

/// Random bytes of the operating system's generator.
///
/// # Panics
/// If the operating system has no randomness to give; nothing secret can be made then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A password that is easy to read aloud and hard to guess.
pub(crate) fn random_password() -> String {
    let letters = PASSWORD_ALPHABET.len();
    // The largest multiple of the alphabet's size in a byte: what lies above would favour the
    // first letters.
    let limit = 256 / letters * letters;
    let mut password = String::with_capacity(PASSWORD_CHARS);
    while password.len() < PASSWORD_CHARS {
        for byte in random::<32>() {
            if usize::from(byte) < limit && password.len() < PASSWORD_CHARS {
                password.push(char::from(PASSWORD_ALPHABET[usize::from(byte) % letters]));
            }
        }
    }
    password
}

/// The form of a password that is hashed: SASLprep (RFC 4013), and the password itself where
/// SASLprep refuses it, as Postgres and its clients do.
pub(crate) fn prepare(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(password),
    }
}

/// Both secrets of one password.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Secrets {
    pub scram: ScramSecret,
    /// None where the client sent a SCRAM secret and no password.
    pub argon2: Option<ArgonSecret>,
}

impl Secrets {
    /// Checks the password against the rules and hashes it. A text in the form of a Postgres
    /// SCRAM secret (what `\password` of psql sends) is taken as one. Slow.
    pub fn new(password: &str, options: &UsersOptions) -> QueryResult<Secrets> {
        if let Some(scram) = ScramSecret::from_postgres(password) {
            return Ok(Secrets { scram, argon2: None });
        }
        let hex = password.strip_prefix("md5").unwrap_or_default();
        if hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse("0A000", "MD5 password secrets are not supported"));
        }
        let least = options.password_chars_min;
        if password.chars().count() < least {
            return Err(refuse("22023", format!("a password needs at least {least} characters")));
        }
        if password.len() > PASSWORD_BYTES_MAX {
            let text = format!("a password may have at most {PASSWORD_BYTES_MAX} bytes");
            return Err(refuse("22023", text));
        }
        if password.contains('\0') {
            return Err(refuse("22023", "a password may not contain the character NUL"));
        }
        let prepared = prepare(password);
        let scram = ScramSecret::new(&prepared, &random::<SALT_BYTES>(), options.scram_iterations);
        Ok(Secrets { scram, argon2: Some(ArgonSecret::new(&prepared, options)?) })
    }
}

/// What a SCRAM-SHA-256 server keeps (RFC 5802 section 3).
#[derive(Clone, PartialEq)]
pub(crate) struct ScramSecret {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramSecret(hidden)")
    }
}

impl ScramSecret {
    /// From a prepared password.
    pub fn new(prepared: &str, salt: &[u8], iterations: u32) -> ScramSecret {
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, salt, prepared.as_bytes(), &mut salted);
        let client_key = hmac_sha256(&salted, b"Client Key");
        let server_key = hmac_sha256(&salted, b"Server Key");
        let stored_key = sha256(&client_key);
        ScramSecret { iterations, salt: salt.to_vec(), stored_key, server_key }
    }

    /// From its parts; None where one is outside of its limits.
    pub fn from_parts(iterations: u32, salt: &str, stored: &str, server: &str) -> Option<Self> {
        let salt = BASE64.decode(salt).ok()?;
        let salt_fits = !salt.is_empty() && salt.len() <= SALT_BYTES_MAX;
        let rounds_fit = (SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations);
        let stored_key = BASE64.decode(stored).ok()?.try_into().ok()?;
        let server_key = BASE64.decode(server).ok()?.try_into().ok()?;
        let secret = ScramSecret { iterations, salt, stored_key, server_key };
        (salt_fits && rounds_fit).then_some(secret)
    }

    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the binary parts in base64.
    fn from_postgres(text: &str) -> Option<ScramSecret> {
        let (first, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = first.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        ScramSecret::from_parts(iterations.parse().ok()?, salt, stored, server)
    }

    /// Whether this is the password, in constant time.
    pub fn matches(&self, prepared: &str) -> bool {
        let other = ScramSecret::new(prepared, &self.salt, self.iterations);
        constant_time::verify_slices_are_equal(&other.stored_key, &self.stored_key).is_ok()
    }
}

/// An argon2id hash (RFC 9106) with its costs.
#[derive(Clone, PartialEq)]
pub(crate) struct ArgonSecret {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    pub salt: Vec<u8>,
    pub hash: [u8; 32],
}

impl fmt::Debug for ArgonSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArgonSecret(hidden)")
    }
}

impl ArgonSecret {
    /// From a prepared password, with fresh salt and the costs of the settings.
    pub fn new(prepared: &str, options: &UsersOptions) -> QueryResult<ArgonSecret> {
        let mut secret = ArgonSecret {
            memory_kib: options.argon2_memory_kib,
            passes: options.argon2_passes,
            lanes: options.argon2_lanes,
            salt: random::<SALT_BYTES>().to_vec(),
            hash: [0; 32],
        };
        secret.hash = secret.derive(prepared).map_err(|why| refuse("22023", why))?;
        Ok(secret)
    }

    /// Whether this is the password, in constant time. A stored hash whose costs or salt are
    /// outside of the limits matches nothing.
    pub fn matches(&self, prepared: &str) -> bool {
        match self.derive(prepared) {
            Ok(hash) => constant_time::verify_slices_are_equal(&hash, &self.hash).is_ok(),
            Err(_) => false,
        }
    }

    fn derive(&self, prepared: &str) -> Result<[u8; 32], String> {
        if self.memory_kib > ARGON2_MEMORY_KIB_MAX || self.passes > ARGON2_PASSES_MAX {
            return Err("the costs of argon2 are too high".to_owned());
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| format!("the costs of argon2 cannot be used: {error}"))?;
        let mut hash = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(prepared.as_bytes(), &self.salt, &mut hash)
            .map_err(|error| format!("argon2 failed: {error}"))?;
        Ok(hash)
    }
}

pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> UsersOptions {
        UsersOptions { argon2_memory_kib: 16, argon2_passes: 1, ..UsersOptions::default() }
    }

    #[test]
    fn random_passwords_are_long_readable_and_differ() {
        let (a, b) = (random_password(), random_password());
        assert_eq!(a.len(), PASSWORD_CHARS);
        assert_ne!(a, b);
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric() && !"0O1Ilo9".contains(c)));
    }

    #[test]
    fn both_secrets_know_their_password() {
        let secrets = Secrets::new("correct horse", &options()).expect("a good password");
        let argon2 = secrets.argon2.as_ref().expect("made from a password");
        assert!(secrets.scram.matches("correct horse") && argon2.matches("correct horse"));
        assert!(!secrets.scram.matches("correct horsf") && !argon2.matches("correct horsf"));
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("horse") && shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn password_rules() {
        let code = |p: &str| Secrets::new(p, &options()).map_err(|e| e.code).err();
        assert_eq!(code("1234567"), Some("22023"));
        assert_eq!(code("12345678"), None);
        assert_eq!(code("ä234567"), Some("22023"));
        assert_eq!(code("\u{e4}\u{f6}\u{fc}45678"), None);
        assert_eq!(code("1234\u{0}5678"), Some("22023"));
        assert_eq!(code(&"x".repeat(PASSWORD_BYTES_MAX)), None);
        assert_eq!(code(&"x".repeat(PASSWORD_BYTES_MAX + 1)), Some("22023"));
        assert_eq!(code("md50123456789abcdef0123456789abcdef"), Some("0A000"));
    }

    #[test]
    fn saslprep_maps_as_rfc_4013_and_falls_back() {
        assert_eq!(prepare("I\u{ad}X"), "IX");
        assert_eq!(prepare("\u{aa}"), "a");
        assert_eq!(prepare("\u{2168}"), "IX");
        assert_eq!(prepare("a\u{a0}b"), "a b");
        // Prohibited: a control character and a right-to-left text with a digit at its end.
        assert_eq!(prepare("\u{85}x"), "\u{85}x");
        assert_eq!(prepare("\u{627}1"), "\u{627}1");
        assert_eq!(prepare("\u{7}bell"), "\u{7}bell");
    }

    #[test]
    fn a_secret_in_the_form_of_postgres_is_taken() {
        // Made from RFC 7677's example: user "user", password "pencil".
        let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let secrets = Secrets::new(text, &options()).expect("a good secret");
        assert!(secrets.argon2.is_none());
        assert!(secrets.scram.matches("pencil"));
        assert!(!secrets.scram.matches("pencils"));
        // With too few rounds it is only a long password.
        let weak = text.replace("$4096:", "$1:");
        assert!(Secrets::new(&weak, &options()).expect("a password").argon2.is_some());
    }

    #[test]
    fn stored_costs_are_limited() {
        let mut secret = ArgonSecret::new("correct horse", &options()).expect("costs are fine");
        secret.memory_kib = u32::MAX;
        assert!(!secret.matches("correct horse"));
        secret.memory_kib = 16;
        secret.salt.clear();
        assert!(!secret.matches("correct horse"));
    }
}

//! The rows of this crate and their encoding: JSON objects with a version `v`, unknown fields
//! refused. README.md, section "Rows", is the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use query::{Identity, RoleInfo, RoleSettings};
use serde::{Deserialize, Serialize};

use crate::secret::{ArgonSecret, ScramSecret};
use crate::verified::Stamp;

/// Users by name.
pub(crate) const SPACE_USERS: u16 = 256;
/// Tokens by the SHA-256 of their text.
pub(crate) const SPACE_TOKENS: u16 = 257;
/// One row, [`META_KEY`].
pub(crate) const SPACE_META: u16 = 258;
/// Key of the row that orders all changes of users.
pub(crate) const META_KEY: &[u8] = b"users";
/// The version of rows without anything newer.
const VERSION: u32 = 1;
/// The version of users with settings.
const VERSION_SETTINGS: u32 = 2;
/// The version of users that do not read everything; those of earlier ones do.
const VERSION_NOREAD: u32 = 3;

/// A user or role.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UserRow {
    pub name: String,
    pub oid: u32,
    /// Counts changes of this user.
    pub revision: u64,
    pub superuser: bool,
    pub can_login: bool,
    pub can_read: bool,
    pub can_write: bool,
    pub can_define: bool,
    pub created_unix_ms: i64,
    pub scram: Option<ScramSecret>,
    pub argon2: Option<ArgonSecret>,
    /// What sessions begin with, by name.
    pub settings: BTreeMap<String, String>,
}

impl UserRow {
    /// What sessions know of the user; a superuser has every right.
    pub fn identity(&self) -> Identity {
        Identity {
            user: self.name.clone(),
            oid: self.oid,
            superuser: self.superuser,
            can_read: self.superuser || self.can_read,
            can_write: self.superuser || self.can_write,
            can_define: self.superuser || self.can_define,
            settings: self.settings(),
        }
    }

    fn settings(&self) -> RoleSettings {
        let pair = |(name, value): (&String, &String)| (name.clone(), value.clone());
        Arc::new(self.settings.iter().map(pair).collect())
    }

    pub fn role(&self) -> RoleInfo {
        RoleInfo {
            oid: self.oid,
            name: self.name.clone(),
            superuser: self.superuser,
            can_login: self.can_login,
            can_read: self.superuser || self.can_read,
            can_write: self.superuser || self.can_write,
            can_define: self.superuser || self.can_define,
            created_unix_ms: self.created_unix_ms,
            settings: self.settings(),
        }
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { oid: self.oid, revision: self.revision }
    }

    pub fn encode(&self) -> Vec<u8> {
        to_json(&UserJson {
            v: match (self.can_read, self.settings.is_empty()) {
                (false, _) => VERSION_NOREAD,
                (true, false) => VERSION_SETTINGS,
                (true, true) => VERSION,
            },
            name: self.name.clone(),
            oid: self.oid,
            revision: self.revision,
            superuser: self.superuser,
            can_login: self.can_login,
            can_read: (!self.can_read).then_some(false),
            can_write: self.can_write,
            can_define: self.can_define,
            created_unix_ms: self.created_unix_ms,
            scram: self.scram.as_ref().map(|s| ScramJson {
                iterations: s.iterations,
                salt: BASE64.encode(&s.salt),
                stored_key: BASE64.encode(s.stored_key),
                server_key: BASE64.encode(s.server_key),
            }),
            argon2: self.argon2.as_ref().map(|a| ArgonJson {
                memory_kib: a.memory_kib,
                passes: a.passes,
                lanes: a.lanes,
                salt: BASE64.encode(&a.salt),
                hash: BASE64.encode(a.hash),
            }),
            settings: self.settings.clone(),
        })
    }

    /// Err(Corrupt) for bytes that are no user row of a known version.
    pub fn decode(bytes: &[u8]) -> tsdb::Result<UserRow> {
        let json: UserJson = from_json(bytes, "user")?;
        check_version(json.v, VERSION_NOREAD, "user")?;
        if (json.v == VERSION_NOREAD) != json.can_read.is_some() {
            let text = format!("row of user {}: can_read in version {}", json.name, json.v);
            return Err(tsdb::Error::Corrupt(text));
        }
        if json.v == VERSION && !json.settings.is_empty() {
            let text = format!("row of user {}: settings in version 1", json.name);
            return Err(tsdb::Error::Corrupt(text));
        }
        let bad = |what| tsdb::Error::Corrupt(format!("row of user {}: bad {what}", json.name));
        let scram = match &json.scram {
            None => None,
            Some(s) => Some(
                ScramSecret::from_parts(s.iterations, &s.salt, &s.stored_key, &s.server_key)
                    .ok_or_else(|| bad("SCRAM secret"))?,
            ),
        };
        let argon2 = match &json.argon2 {
            None => None,
            Some(a) => Some(a.secret().ok_or_else(|| bad("argon2 hash"))?),
        };
        Ok(UserRow {
            name: json.name,
            oid: json.oid,
            revision: json.revision,
            superuser: json.superuser,
            can_login: json.can_login,
            can_read: json.can_read.unwrap_or(true),
            can_write: json.can_write,
            can_define: json.can_define,
            created_unix_ms: json.created_unix_ms,
            scram,
            argon2,
            settings: json.settings,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserJson {
    v: u32,
    name: String,
    oid: u32,
    revision: u64,
    superuser: bool,
    can_login: bool,
    /// Since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    can_read: Option<bool>,
    can_write: bool,
    can_define: bool,
    created_unix_ms: i64,
    scram: Option<ScramJson>,
    argon2: Option<ArgonJson>,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScramJson {
    iterations: u32,
    salt: String,
    stored_key: String,
    server_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgonJson {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

impl ArgonJson {
    fn secret(&self) -> Option<ArgonSecret> {
        Some(ArgonSecret {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: self.lanes,
            salt: BASE64.decode(&self.salt).ok()?,
            hash: BASE64.decode(&self.hash).ok()?.try_into().ok()?,
        })
    }
}

/// The row that every change of a user rewrites and expects unchanged, so that changes happen
/// one after another whoever makes them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    v: u32,
    /// Counts changes.
    pub revision: u64,
    /// Given to the next user.
    pub next_oid: u32,
    /// Makes the salts of users that do not exist; base64 of 32 bytes.
    fake_salt_key: String,
}

impl Meta {
    pub fn new(next_oid: u32, fake_salt_key: &[u8; 32]) -> Meta {
        Meta { v: VERSION, revision: 1, next_oid, fake_salt_key: BASE64.encode(fake_salt_key) }
    }

    pub fn fake_salt_key(&self) -> tsdb::Result<[u8; 32]> {
        let bytes = BASE64.decode(&self.fake_salt_key).ok().and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| tsdb::Error::Corrupt("row of users: bad key of fake salts".to_owned()))
    }

    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    pub fn decode(bytes: &[u8]) -> tsdb::Result<Meta> {
        let meta: Meta = from_json(bytes, "users")?;
        check_version(meta.v, VERSION, "users")?;
        Ok(meta)
    }
}

/// A token; its key is the SHA-256 of its text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRow {
    v: u32,
    pub user: String,
    /// Of the user it was made for: a later user of that name does not inherit it.
    pub oid: u32,
    pub created_unix_ms: i64,
}

impl TokenRow {
    pub fn new(user: &UserRow, created_unix_ms: i64) -> TokenRow {
        TokenRow { v: VERSION, user: user.name.clone(), oid: user.oid, created_unix_ms }
    }

    pub fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    pub fn decode(bytes: &[u8]) -> tsdb::Result<TokenRow> {
        let row: TokenRow = from_json(bytes, "token")?;
        check_version(row.v, VERSION, "token")?;
        Ok(row)
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of strings and numbers always encode")
}

/// The error does not quote the bytes: they may be secrets.
fn from_json<T: for<'a> Deserialize<'a>>(bytes: &[u8], what: &str) -> tsdb::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = format!("row of {what}: not readable at line {line}, column {column}");
        tsdb::Error::Corrupt(why)
    })
}

fn check_version(v: u32, newest: u32, what: &str) -> tsdb::Result<()> {
    if (VERSION..=newest).contains(&v) {
        return Ok(());
    }
    Err(tsdb::Error::Corrupt(format!("row of {what}: version {v} is not known to this program")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserRow {
        UserRow {
            name: "ann".to_owned(),
            oid: 16384,
            revision: 3,
            superuser: false,
            can_login: true,
            can_read: true,
            can_write: true,
            can_define: false,
            created_unix_ms: 1_700_000_000_000,
            scram: Some(ScramSecret {
                iterations: 4096,
                salt: vec![1; 16],
                stored_key: [2; 32],
                server_key: [3; 32],
            }),
            argon2: Some(ArgonSecret {
                memory_kib: 19_456,
                passes: 2,
                lanes: 1,
                salt: vec![4; 16],
                hash: [5; 32],
            }),
            settings: BTreeMap::new(),
        }
    }

    /// Bytes of version 1 as they stand in databases: a change of the encoding must fail here.
    const GOLDEN: &str = concat!(
        r#"{"v":1,"name":"ann","oid":16384,"revision":3,"superuser":false,"can_login":true,"#,
        r#""can_write":true,"can_define":false,"created_unix_ms":1700000000000,"#,
        r#""scram":{"iterations":4096,"salt":"AQEBAQEBAQEBAQEBAQEBAQ==","#,
        r#""stored_key":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=","#,
        r#""server_key":"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="},"#,
        r#""argon2":{"memory_kib":19456,"passes":2,"lanes":1,"#,
        r#""salt":"BAQEBAQEBAQEBAQEBAQEBA==","#,
        r#""hash":"BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU="}}"#
    );

    #[test]
    fn golden_user_row() {
        assert_eq!(String::from_utf8(user().encode()).expect("JSON is text"), GOLDEN);
        assert_eq!(UserRow::decode(GOLDEN.as_bytes()).expect("a good row"), user());
    }

    #[test]
    fn golden_user_row_with_settings() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let settings = [pair("statement_timeout", "5s"), pair("TimeZone", "UTC")];
        let user = UserRow { settings: settings.into(), ..user() };
        let golden = GOLDEN.replace(r#""v":1"#, r#""v":2"#);
        let golden = golden.strip_suffix('}').expect("an object");
        let golden =
            format!(r#"{golden},"settings":{{"TimeZone":"UTC","statement_timeout":"5s"}}}}"#);
        assert_eq!(String::from_utf8(user.encode()).expect("JSON is text"), golden);
        assert_eq!(UserRow::decode(golden.as_bytes()).expect("a good row"), user);
        let old = golden.replace(r#""v":2"#, r#""v":1"#);
        assert!(matches!(UserRow::decode(old.as_bytes()), Err(tsdb::Error::Corrupt(_))));
    }

    #[test]
    fn golden_user_row_without_read() {
        let user = UserRow { can_read: false, ..user() };
        let golden = GOLDEN.replace(r#""v":1"#, r#""v":3"#);
        let golden = golden.replace(r#""can_write"#, r#""can_read":false,"can_write"#);
        assert_eq!(String::from_utf8(user.encode()).expect("JSON is text"), golden);
        assert_eq!(UserRow::decode(golden.as_bytes()).expect("a good row"), user);
        for bad in
            [golden.replace(r#""v":3"#, r#""v":1"#), golden.replace(r#""can_read":false,"#, "")]
        {
            assert!(matches!(UserRow::decode(bad.as_bytes()), Err(tsdb::Error::Corrupt(_))));
        }
    }

    #[test]
    fn truncation_is_an_error_and_flips_never_panic() {
        let bytes = user().encode();
        for end in 0..bytes.len() {
            assert!(UserRow::decode(&bytes[..end]).is_err(), "prefix of {end} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // Rows lie under the row store's checksums; here only panics and quoted secrets count.
            if let Err(error) = UserRow::decode(&flipped) {
                assert!(!error.to_string().contains("AgIC"), "{error}");
            }
        }
    }

    #[test]
    fn newer_versions_and_unknown_fields_are_refused() {
        for bad in [GOLDEN.replace(r#""v":1"#, r#""v":4"#), GOLDEN.replace("oid", "oids")] {
            assert!(matches!(UserRow::decode(bad.as_bytes()), Err(tsdb::Error::Corrupt(_))));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", user());
        assert!(!shown.contains("[2") && !shown.contains("[5"), "{shown}");
    }
}

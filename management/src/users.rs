//! Users: opening, log-in by password and by token.
//!
//! Invariants: every change of users or tokens rewrites the meta row and expects it unchanged,
//! so changes happen one after another. A log-in of an unknown user does the work of a known one.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use query::{Identity, QueryResult, RoleInfo};
use tsdb::Db;
use tsdb::rows::{RowChange, RowCommand, RowExpect, RowOutcome};

use crate::gate::Gate;
use crate::options::UsersOptions;
use crate::rows::{META_KEY, Meta, SPACE_META, SPACE_TOKENS, SPACE_USERS, TokenRow, UserRow};
use crate::scram::ScramExchange;
use crate::secret::{self, ArgonSecret, PASSWORD_BYTES_MAX, Secrets, prepare, sha256};
use crate::store::RowStore;
use crate::throttle::Throttle;
use crate::verified::Verified;
use crate::{LoginFailed, from_engine, refuse};

/// Name of the first user.
const FIRST_USER: &str = "admin";
/// Oid of the first user, as Postgres numbers its bootstrap superuser.
const FIRST_OID: u32 = 10;
/// Oid of the second user: where Postgres begins to number what users make.
const NEXT_OID: u32 = 16_384;
/// Every token begins so, which lets scanners find leaked ones.
const TOKEN_PREFIX: &str = "mr_";
/// Longest text that may be a token, bytes.
const TOKEN_BYTES_MAX: usize = 128;
/// Times that a change is planned anew because another came between.
const CHANGE_TRIES: usize = 64;

/// Users and their secrets, rows of the row store.
pub struct Users {
    pub(crate) inner: Arc<Inner>,
}

/// A log-in by password that was right: whose it was, and by which password.
#[derive(Clone, PartialEq, Eq)]
pub struct Standing {
    user: String,
    oid: u32,
    /// SHA-256 of the stored keys, which every change of the password changes.
    secret: [u8; 32],
}

impl Standing {
    fn of(row: &UserRow) -> Standing {
        let mut bytes = Vec::new();
        if let Some(scram) = &row.scram {
            bytes.extend_from_slice(&scram.salt);
            bytes.extend_from_slice(&scram.stored_key);
        }
        if let Some(argon2) = &row.argon2 {
            bytes.extend_from_slice(&argon2.salt);
            bytes.extend_from_slice(&argon2.hash);
        }
        Standing { user: row.name.clone(), oid: row.oid, secret: sha256(&bytes) }
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Roles as they were last read, with the row of meta that was read before.
type KnownRoles = (Vec<u8>, Arc<[RoleInfo]>);

/// Shared with the SCRAM exchanges under way.
pub(crate) struct Inner {
    store: Box<dyn RowStore>,
    pub options: UsersOptions,
    pub throttle: Throttle,
    verified: Verified,
    gate: Gate,
    /// Compared with in place of an unknown user's hash.
    dummy: ArgonSecret,
    /// Makes the salts of unknown users.
    pub fake_salt_key: [u8; 32],
    roles: Mutex<Option<KnownRoles>>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Users")
    }
}

impl Users {
    /// Opens with the default settings. On a database without users makes `admin` (superuser)
    /// with `first_password` or a random one, which is returned this once.
    ///
    /// # Errors
    /// 22023 if `first_password` breaks the rules; otherwise what the engine says.
    pub fn open(
        db: Arc<Db>,
        first_password: Option<String>,
    ) -> QueryResult<(Arc<Users>, Option<String>)> {
        Users::open_with(Box::new(db), UsersOptions::default(), first_password)
    }

    /// As [`Users::open`], over any rows and with settings.
    pub fn open_with(
        store: Box<dyn RowStore>,
        options: UsersOptions,
        first_password: Option<String>,
    ) -> QueryResult<(Arc<Users>, Option<String>)> {
        options.check()?;
        let read = || store.get(SPACE_META, META_KEY).map_err(from_engine);
        let mut shown = None;
        if read()?.is_none() {
            shown = make_first_user(&*store, &options, first_password)?;
        }
        let bytes = read()?.ok_or_else(|| refuse("XX000", "the row of users did not appear"))?;
        let meta = Meta::decode(&bytes).map_err(from_engine)?;
        let inner = Inner {
            throttle: Throttle::new(
                options.failures_free,
                options.delay_max,
                options.failures_tracked_max,
            ),
            verified: Verified::new(options.verified_for, options.verified_max),
            gate: Gate::new(options.hashes_at_once_max, options.hashes_waiting_max),
            dummy: ArgonSecret::new(&secret::random_password(), &options)?,
            fake_salt_key: meta.fake_salt_key().map_err(from_engine)?,
            roles: Mutex::new(None),
            store,
            options,
        };
        Ok((Arc::new(Users { inner: Arc::new(inner) }), shown))
    }

    /// Password log-in (HTTP Basic). Slow by design (argon2id), with a short memory of verified
    /// passwords; call it from a thread that may block.
    pub fn verify(&self, user: &str, password: &str) -> Result<Identity, LoginFailed> {
        self.verify_from(user, password, None)
    }

    /// As [`Users::verify`]; failures are counted for this user and source together.
    pub fn verify_from(
        &self,
        user: &str,
        password: &str,
        source: Option<IpAddr>,
    ) -> Result<Identity, LoginFailed> {
        Ok(self.verified(user, password, source)?.identity())
    }

    /// As [`Users::verify_from`], for a log-in that is asked for again later, without the password.
    pub fn verify_standing(
        &self,
        user: &str,
        password: &str,
        source: Option<IpAddr>,
    ) -> Result<(Identity, Standing), LoginFailed> {
        let row = self.verified(user, password, source)?;
        Ok((row.identity(), Standing::of(&row)))
    }

    /// Who a log-in of before is now; none if the user is gone, may not log in any more, or has
    /// another password.
    pub fn identity_of(&self, standing: &Standing) -> Result<Identity, LoginFailed> {
        match self.inner.row_for_login(&standing.user)? {
            Some(row) if row.can_login && Standing::of(&row) == *standing => Ok(row.identity()),
            _ => Err(LoginFailed::new("the user is gone, may not log in or has a new password")),
        }
    }

    fn verified(
        &self,
        user: &str,
        password: &str,
        source: Option<IpAddr>,
    ) -> Result<UserRow, LoginFailed> {
        let inner = &*self.inner;
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(LoginFailed::new("the password is too long"));
        }
        let row = inner.row_for_login(user)?;
        let known = row.as_ref().filter(|row| row.can_login);
        // Asked for unknown users too, so that the time does not tell.
        let stamp = row.as_ref().map(UserRow::stamp).unwrap_or_default();
        if inner.verified.holds(user, stamp, password, Instant::now())
            && let Some(row) = known
        {
            return Ok(row.clone());
        }
        inner.may_try(user, source)?;
        let _permit = inner
            .gate
            .enter()
            .ok_or_else(|| LoginFailed::new("too many log-ins wait for their hash"))?;
        // Again: others of this user may have failed while this one waited.
        inner.may_try(user, source)?;
        let right = inner.password_matches(row.as_ref(), password);
        match known.filter(|_| right) {
            Some(row) => {
                inner.throttle.succeeded(user, source);
                inner.verified.put(user, row.stamp(), password, Instant::now());
                Ok(row.clone())
            }
            None => {
                inner.throttle.failed(user, source, Instant::now());
                Err(LoginFailed::new(why_refused(row.as_ref(), right)))
            }
        }
    }

    /// An API token `mr_…` made by [`Users::create_token`] (HTTP Bearer).
    pub fn verify_token(&self, token: &str) -> Result<Identity, LoginFailed> {
        if token.len() > TOKEN_BYTES_MAX || !token.starts_with(TOKEN_PREFIX) {
            return Err(LoginFailed::new("not a token of this database"));
        }
        let inner = &*self.inner;
        // What is looked up is a hash of 256 random bits: the time tells nothing about others.
        let bytes = inner.store.get(SPACE_TOKENS, &sha256(token.as_bytes())).map_err(unreadable)?;
        let bytes = bytes.ok_or_else(|| LoginFailed::new("unknown token"))?;
        let token = TokenRow::decode(&bytes).map_err(unreadable)?;
        match inner.row_for_login(&token.user)? {
            Some(row) if row.oid == token.oid && row.can_login => Ok(row.identity()),
            _ => Err(LoginFailed::new("the token's user is gone or may not log in")),
        }
    }

    /// Makes a token for a user: 32 random bytes, returned this once and kept as their SHA-256.
    ///
    /// # Errors
    /// 42704 for an unknown user, 54000 over the limit of tokens.
    pub fn create_token(&self, user: &str) -> QueryResult<String> {
        let inner = &*self.inner;
        let random = URL_SAFE_NO_PAD.encode(secret::random::<32>());
        let token = format!("{TOKEN_PREFIX}{random}");
        let key = sha256(token.as_bytes()).to_vec();
        inner.change(|_| {
            let row = inner.user(user)?.ok_or_else(|| no_such_user(user))?;
            if inner.tokens_of(user)?.len() >= inner.options.tokens_max {
                let text = format!("user \"{user}\" has as many tokens as are allowed");
                return Err(refuse("54000", text));
            }
            let value = TokenRow::new(&row, now_unix_ms()).encode();
            Ok(vec![RowChange::Put { space: SPACE_TOKENS, key: key.clone(), value }])
        })?;
        tracing::info!(user, "token created");
        Ok(token)
    }

    /// Makes every token of a user worthless; how many there were.
    pub fn drop_tokens(&self, user: &str) -> QueryResult<usize> {
        let inner = &*self.inner;
        let mut count = 0;
        inner.change(|_| {
            let keys = inner.tokens_of(user)?;
            count = keys.len();
            Ok(keys.into_iter().map(|key| delete(SPACE_TOKENS, key)).collect())
        })?;
        tracing::info!(user, count, "tokens dropped");
        Ok(count)
    }

    /// A SCRAM-SHA-256 exchange for one connection (RFC 5802, 7677). Unknown users get a
    /// believable exchange that fails at its end.
    pub fn scram(&self, user: &str) -> ScramExchange {
        self.scram_from(user, None)
    }

    /// As [`Users::scram`]; failures are counted for this user and source together.
    pub fn scram_from(&self, user: &str, source: Option<IpAddr>) -> ScramExchange {
        ScramExchange::new(self.inner.clone(), user, source)
    }
}

impl Inner {
    /// The user's row; None if there is none.
    pub fn user(&self, name: &str) -> QueryResult<Option<UserRow>> {
        self.read_user(name).map_err(from_engine)
    }

    /// As [`Inner::user`] where a damaged row is a failed log-in.
    pub fn row_for_login(&self, name: &str) -> Result<Option<UserRow>, LoginFailed> {
        self.read_user(name).map_err(unreadable)
    }

    fn read_user(&self, name: &str) -> tsdb::Result<Option<UserRow>> {
        let bytes = self.store.get(SPACE_USERS, name.as_bytes())?;
        bytes.map(|bytes| UserRow::decode(&bytes)).transpose()
    }

    /// All users in order of name.
    pub fn all(&self) -> QueryResult<Vec<UserRow>> {
        let rows = self.store.scan(SPACE_USERS).map_err(from_engine)?;
        rows.iter().map(|(_, bytes)| UserRow::decode(bytes).map_err(from_engine)).collect()
    }

    /// All users as roles, in order of name. They are read anew once a user has changed: statements
    /// over the catalogue ask for them each time.
    pub fn roles(&self) -> QueryResult<Arc<[RoleInfo]>> {
        // Read first: what changes meanwhile is not taken for what this revision has.
        let meta = self.store.get(SPACE_META, META_KEY).map_err(from_engine)?;
        let meta = meta.ok_or_else(|| refuse("XX001", "the row of users is missing"))?;
        if let Some((of, roles)) = &*self.roles.lock()
            && *of == meta
        {
            return Ok(Arc::clone(roles));
        }
        let roles: Arc<[RoleInfo]> = self.all()?.iter().map(UserRow::role).collect();
        *self.roles.lock() = Some((meta, Arc::clone(&roles)));
        Ok(roles)
    }

    /// Keys of a user's tokens.
    pub fn tokens_of(&self, user: &str) -> QueryResult<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        for (key, value) in self.store.scan(SPACE_TOKENS).map_err(from_engine)? {
            if TokenRow::decode(&value).map_err(from_engine)?.user == user {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Err while log-ins of this user from this source are delayed.
    pub fn may_try(&self, user: &str, source: Option<IpAddr>) -> Result<(), LoginFailed> {
        match self.throttle.wait(user, source, Instant::now()) {
            None => Ok(()),
            Some(left) => {
                let seconds = left.as_secs_f32();
                let reason = format!("too many failures, delayed for another {seconds:.1} s");
                Err(LoginFailed::new(reason))
            }
        }
    }

    /// One argon2id hash is computed whatever the user has, so that the time does not tell.
    fn password_matches(&self, row: Option<&UserRow>, password: &str) -> bool {
        let prepared = prepare(password);
        let argon2 = row.and_then(|row| row.argon2.as_ref());
        let by_argon2 = argon2.unwrap_or(&self.dummy).matches(&prepared);
        match (argon2, row.and_then(|row| row.scram.as_ref())) {
            (Some(_), _) => by_argon2,
            (None, Some(scram)) => scram.matches(&prepared),
            (None, None) => false,
        }
    }

    /// Plans changes and applies them if no other change came between; else plans anew. `plan`
    /// may take oids from the meta row, and must read what it builds on itself.
    pub fn change(
        &self,
        mut plan: impl FnMut(&mut Meta) -> QueryResult<Vec<RowChange>>,
    ) -> QueryResult<()> {
        for _ in 0..CHANGE_TRIES {
            let old = self.store.get(SPACE_META, META_KEY).map_err(from_engine)?;
            let old = old.ok_or_else(|| refuse("XX001", "the row of users is missing"))?;
            let mut meta = Meta::decode(&old).map_err(from_engine)?;
            let mut changes = plan(&mut meta)?;
            if changes.is_empty() {
                return Ok(());
            }
            meta.revision += 1;
            changes.push(put(SPACE_META, META_KEY.to_vec(), meta.encode()));
            let expects = vec![expect_meta(Some(old))];
            let outcome = self.store.apply(RowCommand { expects, changes });
            if outcome.map_err(from_engine)? == RowOutcome::Applied {
                return Ok(());
            }
        }
        Err(refuse("40001", "users are changed by too many at once; try again"))
    }
}

/// What the operator reads; the client is told the same words for each.
fn why_refused(row: Option<&UserRow>, right: bool) -> &'static str {
    match row {
        None => "unknown user",
        Some(row) if row.scram.is_none() => "the user has no password",
        Some(_) if right => "the role may not log in",
        Some(_) => "wrong password",
    }
}

fn make_first_user(
    store: &dyn RowStore,
    options: &UsersOptions,
    first_password: Option<String>,
) -> QueryResult<Option<String>> {
    let made_up = first_password.is_none();
    let password = first_password.unwrap_or_else(secret::random_password);
    let Secrets { scram, argon2 } = Secrets::new(&password, options)?;
    let row = UserRow {
        name: FIRST_USER.to_owned(),
        oid: FIRST_OID,
        revision: 1,
        superuser: true,
        can_login: true,
        can_read: true,
        can_write: true,
        can_define: true,
        created_unix_ms: now_unix_ms(),
        scram: Some(scram),
        argon2,
        settings: std::collections::BTreeMap::new(),
    };
    let meta = Meta::new(NEXT_OID, &secret::random());
    let changes = vec![
        put(SPACE_USERS, FIRST_USER.as_bytes().to_vec(), row.encode()),
        put(SPACE_META, META_KEY.to_vec(), meta.encode()),
    ];
    let command = RowCommand { expects: vec![expect_meta(None)], changes };
    let applied = store.apply(command).map_err(from_engine)? == RowOutcome::Applied;
    Ok((applied && made_up).then_some(password))
}

fn unreadable(error: tsdb::Error) -> LoginFailed {
    LoginFailed::new(format!("users cannot be read: {error}"))
}

pub(crate) fn no_such_user(name: &str) -> query::QueryError {
    refuse("42704", format!("role \"{name}\" does not exist"))
}

pub(crate) fn put(space: u16, key: Vec<u8>, value: Vec<u8>) -> RowChange {
    RowChange::Put { space, key, value }
}

pub(crate) fn delete(space: u16, key: Vec<u8>) -> RowChange {
    RowChange::Delete { space, key }
}

fn expect_meta(value: Option<Vec<u8>>) -> RowExpect {
    RowExpect { space: SPACE_META, key: META_KEY.to_vec(), value }
}

pub(crate) fn now_unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

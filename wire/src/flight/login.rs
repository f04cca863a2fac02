//! Log-in: a password once, by Handshake, which gives a token for a while; or Basic and API tokens
//! on each call.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use management::{LoginFailed, Standing};
use parking_lot::Mutex;
use query::{Identity, QueryError, QueryResult, Session};
use tonic::Status;

use super::house::House;
use super::shelf::Key;
use super::{refusal, signals};
use crate::http::login::{Credentials, from_headers};

/// Every token of a log-in begins so; API tokens begin otherwise.
const TOKEN_PREFIX: &str = "mf_";
/// Where older clients send the token, in the place of `authorization`.
const TOKEN_HEADER: &str = "auth-token-bin";
/// Settings that a log-in keeps.
const SETTINGS_MAX: usize = 200;

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub identity: Identity,
    /// The log-in whose token was shown.
    pub login: Option<Arc<Login>>,
}

/// Somebody who has not logged in: what was shown, and from where.
#[derive(Clone)]
pub(super) struct Visitor {
    pub shown: Option<Arc<Credentials>>,
    pub source: Option<IpAddr>,
}

/// A log-in by Handshake.
pub(super) struct Login {
    standing: Standing,
    made: Mutex<Instant>,
    /// What its sessions begin with; shared with the log-in that follows it.
    settings: Arc<Mutex<BTreeMap<String, String>>>,
    /// The token in the place of this one.
    next: OnceLock<Key>,
    /// Its own key, once it is known.
    key: OnceLock<Key>,
}

impl Login {
    pub(super) fn settings(&self) -> Vec<(String, String)> {
        self.settings.lock().iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Keeps a setting whose value was checked; `None` forgets it.
    pub(super) fn set(&self, name: &str, value: Option<String>) -> QueryResult<()> {
        let mut settings = self.settings.lock();
        let name = name.to_ascii_lowercase();
        match value {
            None => drop(settings.remove(&name)),
            Some(value) => {
                if settings.len() >= SETTINGS_MAX && !settings.contains_key(&name) {
                    let message = format!("a log-in keeps {SETTINGS_MAX} settings at most");
                    return Err(QueryError::new("54000", message));
                }
                settings.insert(name, value);
            }
        }
        Ok(())
    }

    /// Whether the two are one log-in, by its first token or one that followed.
    pub(super) fn is_same(&self, other: &Login) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
    }

    pub(super) fn reset(&self) {
        self.settings.lock().clear();
    }

    fn age(&self) -> Duration {
        self.made.lock().elapsed()
    }

    /// Makes it older, for tests of what age does.
    #[cfg(test)]
    pub(super) fn grow_older(&self, by: Duration) {
        let mut made = self.made.lock();
        *made = made.checked_sub(by).unwrap_or(*made);
    }

    pub(super) fn is_over(&self, life: Duration) -> bool {
        self.age() >= life
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.key.get()
    }
}

impl Caller {
    pub(super) fn user(&self) -> &str {
        &self.identity.user
    }

    /// A session for one statement or one transaction.
    pub(super) fn session(&self, house: &House) -> Arc<Session> {
        let mut settings = vec![("application_name".to_owned(), "flight".to_owned())];
        if let Some(login) = &self.login {
            settings.extend(login.settings());
        }
        Arc::new(house.engine.session(self.identity.clone(), &settings))
    }
}

/// What the headers show.
pub(super) fn shown(headers: &HeaderMap) -> Option<Credentials> {
    from_headers(headers).or_else(|| {
        // gRPC sends headers of this ending in base64.
        let sent = headers.get(TOKEN_HEADER)?.to_str().ok()?;
        let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
        let token = engine.decode(sent.trim_end_matches('=')).ok()?;
        Some(Credentials::Token(String::from_utf8(token).ok()?))
    })
}

/// The text of a token.
pub(super) fn text(key: &Key) -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(key))
}

fn key_of(token: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token.strip_prefix(TOKEN_PREFIX)?).ok()
}

impl House {
    /// Who calls, by what was shown; also the token that this caller is to use from now on.
    pub(super) async fn log_in(
        self: &Arc<House>,
        visitor: Visitor,
    ) -> Result<(Caller, Option<Key>), Status> {
        let Some(shown) = visitor.shown else { return Err(refusal::unauthenticated()) };
        let house = Arc::clone(self);
        let source = visitor.source;
        let checked = self.checked(source, move || house.check(&shown, source)).await?;
        let next = checked.login.as_ref().and_then(|login| self.next_token(&checked, login));
        Ok((checked, next))
    }

    /// A new log-in by password; its token.
    pub(super) async fn open_login(
        self: &Arc<House>,
        user: String,
        password: String,
        source: Option<IpAddr>,
    ) -> Result<Key, Status> {
        let house = Arc::clone(self);
        let check = move || house.users.verify_standing(&user, &password, source);
        let (identity, standing) = self.checked(source, check).await?;
        let login = Login {
            standing,
            made: Mutex::new(Instant::now()),
            settings: Arc::default(),
            next: OnceLock::new(),
            key: OnceLock::new(),
        };
        self.keep_login(&identity.user, login).map_err(refusal::status)
    }

    fn keep_login(&self, user: &str, login: Login) -> QueryResult<Key> {
        let key = self.logins.put_over(user, login)?;
        if let Some(login) = self.logins.get(user, &key) {
            // Nobody else has set it: the key was made a moment ago.
            let _same = login.key.set(key);
        }
        Ok(key)
    }

    /// Checks a log-in on a thread that may block.
    async fn checked<T: Send + 'static>(
        &self,
        source: Option<IpAddr>,
        check: impl FnOnce() -> Result<T, LoginFailed> + Send + 'static,
    ) -> Result<T, Status> {
        let wait = self.logins_at_once.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.options.queue_wait, wait).await else {
            return Err(refusal::status(QueryError::new("53300", "too many log-ins at once")));
        };
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            check()
        });
        match checked.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(failed)) => {
                signals::login_failed();
                tracing::warn!(?source, reason = failed.reason_for_log, "log-in over gRPC failed");
                Err(refusal::unauthenticated())
            }
            Err(error) => Err(refusal::internal("logging in", error)),
        }
    }

    fn check(&self, shown: &Credentials, source: Option<IpAddr>) -> Result<Caller, LoginFailed> {
        match shown {
            Credentials::Token(token) => match key_of(token) {
                Some(key) => {
                    let life = self.options.token_life;
                    let login = self.logins.get_by_key(&key);
                    let login = login.filter(|login| !login.is_over(life));
                    let login = login.ok_or_else(|| LoginFailed {
                        reason_for_log: "a token that is unknown or too old".to_owned(),
                    })?;
                    let identity = self.users.identity_of(&login.standing)?;
                    Ok(Caller { identity, login: Some(login) })
                }
                None => {
                    let identity = self.users.verify_token(token)?;
                    Ok(Caller { identity, login: None })
                }
            },
            Credentials::Password { user, password } => {
                // The name is for the log only; a long one is somebody's mischief.
                let failed = |e: LoginFailed| {
                    let name: String = user.chars().take(63).collect();
                    LoginFailed { reason_for_log: format!("user {name:?}: {}", e.reason_for_log) }
                };
                let identity = self.users.verify_from(user, password, source).map_err(failed)?;
                Ok(Caller { identity, login: None })
            }
        }
    }

    /// The token that follows one that has lived for half of its time.
    fn next_token(&self, caller: &Caller, login: &Arc<Login>) -> Option<Key> {
        if login.age() < self.options.token_life / 2 {
            return None;
        }
        if let Some(next) = login.next.get() {
            return Some(*next);
        }
        let next = Login {
            standing: login.standing.clone(),
            made: Mutex::new(Instant::now()),
            settings: Arc::clone(&login.settings),
            next: OnceLock::new(),
            key: OnceLock::new(),
        };
        match self.keep_login(caller.user(), next) {
            // Of two calls at once one wins; the other's token is good as well.
            Ok(key) => Some(*login.next.get_or_init(|| key)),
            Err(error) => {
                tracing::error!(%error, "making a token");
                None
            }
        }
    }
}

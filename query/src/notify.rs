//! LISTEN, NOTIFY and UNLISTEN between the sessions of one process.
//!
//! What a transaction notifies is handed out when it has committed, each pair of channel and
//! payload once, in order. A session takes its notifications between transactions; those that it does
//! not take wait, up to a bound beyond which NOTIFY fails.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{QueryError, QueryResult};

/// Bytes of a channel's name, as in Postgres.
pub(crate) const CHANNEL_BYTES_MAX: usize = 63;
/// Bytes of a payload are below this, as in Postgres.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 8_000;
/// Channels of a session.
const CHANNELS_MAX: usize = 1_000;
/// Notifications that may wait for one session.
const WAITING_MAX: usize = 10_000;

/// What a session that listens is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Number of the connection that notified.
    pub process: i32,
    /// Channel.
    pub channel: String,
    /// Payload, empty where there is none.
    pub payload: String,
}

/// One thing that LISTEN, UNLISTEN or NOTIFY asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Listen(String),
    /// `None`: from all channels.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: String,
    },
}

/// `22023` for what is no channel or payload.
pub(crate) fn check_words(channel: &str, payload: &str) -> QueryResult<()> {
    let refused = match (channel.len(), payload.len()) {
        (0, _) => "channel name cannot be empty",
        (CHANNEL_BYTES_MAX.., _) if channel.len() > CHANNEL_BYTES_MAX => "channel name too long",
        (_, PAYLOAD_BYTES_MAX..) => "payload string too long",
        _ => return Ok(()),
    };
    Err(QueryError::new("22023", refused))
}

/// What calls of `pg_notify` have asked for: it waits for the end of their transaction.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Vec<Action>>);

impl Asked {
    /// Adds one.
    ///
    /// # Errors
    /// `22023` as for NOTIFY, `54000` where a statement asks for too much.
    pub(crate) fn notify(&self, channel: &str, payload: &str) -> QueryResult<()> {
        check_words(channel, payload)?;
        let mut asked = self.0.lock();
        if asked.len() >= ACTIONS_MAX {
            return Err(too_many());
        }
        let (channel, payload) = (channel.to_string(), payload.to_string());
        asked.push(Action::Notify { channel, payload });
        Ok(())
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<Action> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// LISTEN, UNLISTEN and NOTIFY of one transaction: they wait for its COMMIT.
pub(crate) const ACTIONS_MAX: usize = 10_000;

pub(crate) fn too_many() -> QueryError {
    QueryError::new("54000", format!("a transaction may notify {ACTIONS_MAX} times"))
}

/// What waits for one session.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<VecDeque<Notification>>,
    come: Notify,
}

impl Inbox {
    /// Takes what waits.
    pub(crate) fn take(&self) -> Vec<Notification> {
        self.waiting.lock().drain(..).collect()
    }

    /// Resolves when something waits. May be dropped and called again.
    pub(crate) async fn come(&self) {
        loop {
            let come = self.come.notified();
            if !self.waiting.lock().is_empty() {
                return;
            }
            come.await;
        }
    }

    fn put(&self, notification: Notification) {
        self.waiting.lock().push_back(notification);
        self.come.notify_one();
    }
}

/// Who listens to what.
#[derive(Debug, Default)]
pub(crate) struct Channels(Mutex<HashMap<String, Vec<Weak<Inbox>>>>);

impl Channels {
    /// `54000` or `22023` where these could not be done.
    pub(crate) fn check(&self, inbox: &Arc<Inbox>, actions: &[Action]) -> QueryResult<()> {
        let channels = self.0.lock();
        let is_mine = |other: &Weak<Inbox>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(inbox));
        let mine = channels.values().filter(|list| list.iter().any(is_mine)).count();
        let more = actions.iter().filter(|action| matches!(action, Action::Listen(_))).count();
        if more > 0 && mine + more > CHANNELS_MAX {
            let message = format!("a session may listen to {CHANNELS_MAX} channels");
            return Err(QueryError::new("54000", message));
        }
        for action in actions {
            let Action::Notify { channel, .. } = action else { continue };
            let listeners = channels.get(channel).into_iter().flatten().filter_map(Weak::upgrade);
            for listener in listeners {
                if listener.waiting.lock().len() >= WAITING_MAX {
                    let message = format!("too many notifications wait on channel \"{channel}\"");
                    return Err(QueryError::new("54000", message).with_hint(
                        "A session that listens takes them when its transaction ends.",
                    ));
                }
            }
        }
        Ok(())
    }

    /// The channels that a session listens to, in order.
    pub(crate) fn of(&self, inbox: &Arc<Inbox>) -> Vec<String> {
        let channels = self.0.lock();
        let is_mine = |other: &Weak<Inbox>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(inbox));
        let mine = channels.iter().filter(|(_, list)| list.iter().any(is_mine));
        let mut names: Vec<String> = mine.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Does what a transaction has asked for.
    pub(crate) fn apply(&self, process: i32, inbox: &Arc<Inbox>, actions: Vec<Action>) {
        let mut channels = self.0.lock();
        let is_mine = |other: &Weak<Inbox>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(inbox));
        // As in Postgres, a transaction that listens hears itself, whatever came first.
        for action in &actions {
            match action {
                Action::Listen(channel) => {
                    let list = channels.entry(channel.clone()).or_default();
                    if !list.iter().any(is_mine) {
                        list.push(Arc::downgrade(inbox));
                    }
                }
                Action::Unlisten(channel) => {
                    for (name, list) in channels.iter_mut() {
                        if channel.as_ref().is_none_or(|channel| channel == name) {
                            list.retain(|other| !is_mine(other));
                        }
                    }
                }
                Action::Notify { .. } => {}
            }
        }
        let mut told = HashSet::new();
        for action in actions {
            let Action::Notify { channel, payload } = action else { continue };
            if !told.insert((channel.clone(), payload.clone())) {
                continue;
            }
            for listener in channels.get(&channel).into_iter().flatten().filter_map(Weak::upgrade) {
                let (channel, payload) = (channel.clone(), payload.clone());
                listener.put(Notification { process, channel, payload });
            }
        }
        channels.retain(|_, list| {
            list.retain(|listener| listener.strong_count() > 0);
            !list.is_empty()
        });
    }
}

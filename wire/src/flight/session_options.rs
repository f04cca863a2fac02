//! Session options: settings of SQL that last as long as the log-in. Messages as in Flight.proto
//! of Arrow, which the crate does not have yet.

use std::collections::HashMap;

use prost::Message;
use query::{QueryError, QueryResult};
use tonic::Status;

use super::house::House;
use super::login::{Caller, Login};
use super::metadata::{CATALOG, SCHEMA};
use super::refusal;

#[derive(Clone, PartialEq, Message)]
pub(super) struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(StringListValue),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionOptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OptionError {
    #[prost(int32, tag = "1")]
    pub value: i32,
}

const INVALID_NAME: i32 = 1;
const INVALID_VALUE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, OptionError>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseSessionResult {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

const CLOSED: i32 = 1;
const NOT_CLOSEABLE: i32 = 3;

impl House {
    /// Sets options; what is wrong with one keeps none of the others away.
    pub(super) fn set_options(
        &self,
        caller: &Caller,
        asked: SetSessionOptionsRequest,
    ) -> Result<SetSessionOptionsResult, Status> {
        let login = login_of(caller)?;
        let mut errors = HashMap::new();
        for (name, value) in asked.session_options {
            if let Err(error) = self.set_option(caller, login, &name, value.value) {
                tracing::debug!(name, %error, "a session option was refused");
                let value = if error.code == "42704" { INVALID_NAME } else { INVALID_VALUE };
                errors.insert(name, OptionError { value });
            }
        }
        Ok(SetSessionOptionsResult { errors })
    }

    fn set_option(
        &self,
        caller: &Caller,
        login: &Login,
        name: &str,
        value: Option<Value>,
    ) -> QueryResult<()> {
        let text = match value {
            None => return login.set(name, None),
            Some(Value::Text(text)) => text,
            Some(Value::Bool(on)) => if on { "on" } else { "off" }.to_owned(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Double(number)) => number.to_string(),
            Some(Value::List(list)) => list.values.join(", "),
        };
        let fixed = [("catalog", CATALOG), ("schema", SCHEMA)];
        if let Some((_, only)) = fixed.iter().find(|(fixed, _)| *fixed == name) {
            return match text == *only {
                true => Ok(()),
                false => Err(QueryError::new("3D000", format!("the one {name} is {only}"))),
            };
        }
        // A session of its own tells whether the setting is one, and what the value means.
        let session = caller.session(self);
        session.set_setting(name, &text)?;
        login.set(name, session.setting(name))
    }

    pub(super) fn get_options(&self, caller: &Caller) -> Result<GetSessionOptionsResult, Status> {
        let text = |text: String| SessionOptionValue { value: Some(Value::Text(text)) };
        let kept = login_of(caller)?.settings().into_iter();
        let fixed = [("catalog", CATALOG), ("schema", SCHEMA)];
        let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let session_options = kept.chain(fixed).map(|(name, value)| (name, text(value))).collect();
        Ok(GetSessionOptionsResult { session_options })
    }

    /// Forgets the log-in; its token is worthless from now on.
    pub(super) fn close_login(&self, caller: &Caller) -> CloseSessionResult {
        let key = caller.login.as_ref().and_then(|login| login.key());
        let closed = key.and_then(|key| self.logins.take(caller.user(), key)).is_some();
        CloseSessionResult { status: if closed { CLOSED } else { NOT_CLOSEABLE } }
    }
}

fn login_of(caller: &Caller) -> Result<&Login, Status> {
    caller.login.as_deref().ok_or_else(|| {
        let hint = "Log in by Handshake, as drivers do with user and password.";
        refusal::unsupported("an option of a session without a log-in that lasts", hint)
    })
}

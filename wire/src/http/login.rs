//! Log-in: Basic, Bearer, InfluxDB's `Token`, and `u`/`p` parameters where InfluxDB has them.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use management::LoginFailed;
use query::Identity;

use super::refusal::Refusal;
use super::state::HttpState;

/// Base64 with its padding or without: drivers of Flight SQL leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Every token begins so.
const TOKEN_PREFIX: &str = "mr_";

/// The other end of the connection; put into each request by the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// The other end's address, if the request came through a socket.
pub(super) fn source(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0.ip())
}

/// What a client shows. No `Debug`: it holds secrets.
#[derive(PartialEq)]
pub(crate) enum Credentials {
    Password { user: String, password: String },
    Token(String),
}

/// `u` and `p` of InfluxDB 1; as there, they count before the header.
pub(super) fn from_params(user: Option<&String>, password: Option<&String>) -> Option<Credentials> {
    let (user, password) = (user?.clone(), password?.clone());
    Some(Credentials::Password { user, password })
}

/// From the Authorization header.
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Credentials> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => {
            let bytes = BASE64.decode(rest).ok()?;
            split(std::str::from_utf8(&bytes).ok()?)
        }
        "bearer" => Some(Credentials::Token(rest.to_owned())),
        "token" if rest.starts_with(TOKEN_PREFIX) && !rest.contains(':') => {
            Some(Credentials::Token(rest.to_owned()))
        }
        "token" => split(rest),
        _ => None,
    }
}

fn split(text: &str) -> Option<Credentials> {
    let (user, password) = text.split_once(':')?;
    let (user, password) = (user.to_owned(), password.to_owned());
    Some(Credentials::Password { user, password })
}

/// Who asks. 401 for no or wrong credentials, in the same words.
pub(super) async fn log_in(
    state: &HttpState,
    credentials: Option<Credentials>,
    source: Option<IpAddr>,
) -> Result<Identity, Refusal> {
    let backend = state.backend()?.clone();
    let Some(credentials) = credentials else { return Err(Refusal::unauthorized()) };
    let wait =
        tokio::time::timeout(state.options().queue_wait, state.logins().clone().acquire_owned());
    let Ok(Ok(permit)) = wait.await else {
        return Err(Refusal::busy("too many log-ins at once"));
    };
    let checked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        match &credentials {
            Credentials::Token(token) => backend.log_in_by_token(token),
            Credentials::Password { user, password } => {
                // The name is for the log only; a long one is somebody's mischief.
                let failed = |e: LoginFailed| {
                    let name: String = user.chars().take(63).collect();
                    LoginFailed { reason_for_log: format!("user {name:?}: {}", e.reason_for_log) }
                };
                backend.log_in(user, password, source).map_err(failed)
            }
        }
    });
    match checked.await {
        Ok(Ok(identity)) => Ok(identity),
        Ok(Err(failed)) => {
            metrics::counter!("millrace_http_login_failures_total").increment(1);
            tracing::warn!(?source, reason = failed.reason_for_log, "log-in over HTTP failed");
            Err(Refusal::unauthorized())
        }
        Err(error) => Err(Refusal::internal("logging in", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(header: &'static str, expected: Option<Credentials>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(header));
        assert!(from_headers(&headers) == expected, "{header}");
    }

    fn password(user: &str, password: &str) -> Option<Credentials> {
        let (user, password) = (user.to_owned(), password.to_owned());
        Some(Credentials::Password { user, password })
    }

    #[test]
    fn forms_of_the_header() {
        check("Basic YW5uOnNlY3JldA==", password("ann", "secret"));
        check("bASIC YW5uOnNlY3JldA==", password("ann", "secret"));
        check("Basic YW5uOnNlY3JldA", password("ann", "secret"));
        check("Basic YW5uOmE6Yjpj", password("ann", "a:b:c"));
        check("Basic YW5u", None);
        check("Basic !!!", None);
        check("Basic /w==", None);
        check("Basic", None);
        check("", None);
        check("Bearer mr_abc", Some(Credentials::Token("mr_abc".to_owned())));
        check("Token mr_abc", Some(Credentials::Token("mr_abc".to_owned())));
        check("Token ann:secret", password("ann", "secret"));
        check("Token mr_x:secret", password("mr_x", "secret"));
        check("Token ann", None);
        check("Digest ann:secret", None);
    }
}

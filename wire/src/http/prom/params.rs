//! Parameters out of the address and a form, and who asks.

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use chrono::DateTime;
use query::Identity;
use query::promql::{parse_span, seconds_to_ns};

use super::refusal::bad_parameter;
use crate::http::body::{self, Packing, Reservation};
use crate::http::login;
use crate::http::refusal::Refusal;
use crate::http::state::HttpState;
use crate::http::text_of;

/// What a request asks.
pub(super) struct Asked {
    pub identity: Identity,
    pairs: Vec<(String, String)>,
}

impl Asked {
    /// Logs in, then reads.
    pub async fn take(state: &HttpState, request: Request) -> Result<Asked, Refusal> {
        let shown = login::from_headers(request.headers());
        let identity = login::log_in(state, shown, login::source(&request)).await?;
        let mut pairs = form(request.uri().query().unwrap_or_default().as_bytes());
        if request.method() == Method::POST {
            let limit = state.options().sql_bytes_max;
            let mut memory = Reservation::new(state);
            let packing = Packing::of(request.headers())?;
            let (parts, body) = request.into_parts();
            let sent = body::read(state, &parts.headers, body, limit, &mut memory).await?;
            check_form(&parts.headers, &sent)?;
            let sent = match packing {
                Packing::Plain => sent,
                Packing::Gzip => body::gunzip(&sent, limit, &mut memory)?,
            };
            // As in Go's forms, what the body says comes first.
            let mut body = form(&sent);
            body.append(&mut pairs);
            pairs = body;
        }
        Ok(Asked { identity, pairs })
    }

    /// A parameter that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All of one name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A time, ns.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        time(text).map(Some).ok_or_else(|| {
            bad_parameter(name, format!("cannot parse {text:?} to a valid timestamp"))
        })
    }

    /// A time that must be there, ns.
    pub fn needed_time(&self, name: &str) -> Result<i64, Refusal> {
        let missing = || bad_parameter(name, "cannot parse \"\" to a valid timestamp");
        self.time(name)?.ok_or_else(missing)
    }

    /// A span of time, ns.
    pub fn span(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        span(text).map(Some).ok_or_else(|| {
            bad_parameter(name, format!("cannot parse {text:?} to a valid duration"))
        })
    }

    /// A number of results; 0 where nothing is said.
    pub fn limit(&self, name: &str) -> Result<usize, Refusal> {
        let Some(text) = self.get(name) else { return Ok(0) };
        text.parse().map_err(|_| bad_parameter(name, "limit must be non-negative"))
    }
}

fn form(bytes: &[u8]) -> Vec<(String, String)> {
    let pairs = form_urlencoded::parse(bytes);
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// A body that is no form is a mistake that would go unnoticed otherwise.
fn check_form(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let kind = text_of(headers, "content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if body.is_empty() || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Ok(());
    }
    let text = "the body is a form: Content-Type application/x-www-form-urlencoded";
    Err(Refusal::invalid(text))
}

/// Seconds since 1970, or RFC 3339; ns. What is before or after all time that fits is its end.
fn time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() {
            return None;
        }
        return Some(seconds_to_ns(seconds).unwrap_or(match seconds < 0.0 {
            true => i64::MIN,
            false => i64::MAX,
        }));
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_nanos_opt().unwrap_or(match time.timestamp() < 0 {
        true => i64::MIN,
        false => i64::MAX,
    }))
}

/// Seconds, or a span such as `5m`; ns.
fn span(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => seconds_to_ns(seconds).ok(),
        Err(_) => parse_span(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans() {
        const SECOND: i64 = 1_000_000_000;
        assert_eq!(time("1435781430.781"), Some(1_435_781_430_781_000_000));
        assert_eq!(time("2015-07-01T20:10:30.781Z"), Some(1_435_781_430_781_000_000));
        assert_eq!(time("2015-07-01T22:10:30+02:00"), Some(1_435_781_430 * SECOND));
        assert_eq!([time("-1e300"), time("1e12")], [Some(i64::MIN), Some(i64::MAX)]);
        assert_eq!([time("NaN"), time("yesterday"), time("")], [None; 3]);
        assert_eq!(
            [span("15"), span("0.5"), span("1m")].map(|s| s.unwrap_or(0) as f64 / 1e9),
            [15.0, 0.5, 60.0]
        );
        assert_eq!([span("NaN"), span("1e300"), span("soon"), span("-")], [None; 4]);
    }
}

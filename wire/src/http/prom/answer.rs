//! Answers as Prometheus' JSON, made as fast as they are read.

use std::fmt::Write as _;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use query::promql::{Labels, Point, PromAnswer, PromSeries, PromValue, number, timestamp};
use serde_json::{Value, json};

use super::CancelOnDrop;
use crate::http::encode::json_text;
use crate::http::sql::PIECE_BYTES;

/// `{"status":"success","data":…}`
pub(super) fn success(data: Value, cut: bool) -> Response {
    let mut answer = json!({ "status": "success", "data": data });
    if cut && let Value::Object(fields) = &mut answer {
        fields.insert("warnings".to_owned(), json!(["results truncated due to limit"]));
    }
    axum::Json(answer).into_response()
}

/// The answer to a query, piece by piece.
pub(super) fn respond(answer: PromAnswer, guard: CancelOnDrop) -> Response {
    let mut out = String::from(r#"{"status":"success","data":"#);
    let place = match &answer.value {
        PromValue::Scalar(point) => {
            out += r#"{"resultType":"scalar","result":"#;
            pair(*point, &mut out);
            None
        }
        PromValue::Text(time, text) => {
            let _ = write!(out, r#"{{"resultType":"string","result":[{},"#, timestamp(*time));
            text_of(text, &mut out);
            out.push(']');
            None
        }
        PromValue::Vector(_) => {
            out += r#"{"resultType":"vector","result":["#;
            Some((0, 0))
        }
        PromValue::Matrix(_) => {
            out += r#"{"resultType":"matrix","result":["#;
            Some((0, 0))
        }
    };
    let state = Pieces { answer, guard, place, begun: false };
    let pieces = futures::stream::unfold(Some((state, out)), |state| async move {
        let (mut pieces, mut out) = state?;
        let more = pieces.fill(&mut out);
        let piece = Bytes::from(std::mem::take(&mut out));
        Some((Ok::<_, std::convert::Infallible>(piece), more.then_some((pieces, out))))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

/// What is left of an answer.
struct Pieces {
    answer: PromAnswer,
    guard: CancelOnDrop,
    /// The next series and the next place in it; `None`: no series.
    place: Option<(usize, usize)>,
    /// Whether a value of the series is written.
    begun: bool,
}

impl Pieces {
    /// Fills one piece; false: it was the last.
    fn fill(&mut self, out: &mut String) -> bool {
        while let Some((at, from)) = self.place {
            let all: &[PromSeries] = match &self.answer.value {
                PromValue::Vector(all) | PromValue::Matrix(all) => all,
                PromValue::Scalar(_) | PromValue::Text(..) => &[],
            };
            let Some(series) = all.get(at) else {
                self.place = None;
                out.push(']');
                break;
            };
            let matrix = matches!(self.answer.value, PromValue::Matrix(_));
            if from == 0 {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(r#"{"metric":"#);
                metric(&series.labels, out);
                out.push_str(if matrix { r#","values":["# } else { r#","value":"# });
                self.begun = false;
            }
            let mut next = from;
            while next < series.places() && out.len() < PIECE_BYTES {
                if let Some(point) = series.point(next) {
                    if std::mem::replace(&mut self.begun, true) {
                        out.push(',');
                    }
                    pair(point, out);
                }
                next += 1;
            }
            if next < series.places() {
                self.place = Some((at, next));
                return true;
            }
            out.push_str(if matrix { "]}" } else { "}" });
            self.place = Some((at + 1, 0));
            if out.len() >= PIECE_BYTES {
                return true;
            }
        }
        out.push('}');
        if !self.answer.warnings.is_empty() {
            let _ = write!(out, r#","warnings":{}"#, json!(self.answer.warnings));
        }
        out.push_str("}\n");
        self.guard.0 = None;
        false
    }
}

/// `[1435781430.781,"1"]`
fn pair(point: Point, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "[{},\"{}\"]", timestamp(point.time), number(point.value));
}

fn metric(labels: &Labels, out: &mut String) {
    out.push('{');
    for (n, (name, value)) in labels.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        text_of(name, out);
        out.push(':');
        text_of(value, out);
    }
    out.push('}');
}

fn text_of(text: &str, out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    json_text(text, &mut bytes);
    // What is appended is the JSON of a text.
    *out = String::from_utf8(bytes).unwrap_or_default();
}

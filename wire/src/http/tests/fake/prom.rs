//! A played session of PromQL: the text of a query chooses what is played.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use query::promql::{
    Found, Labels, Point, PromAnswer, PromBrowse, PromQuery, PromRead, PromReadSeries, PromSeries,
    PromValue,
};
use query::{QueryError, QueryResult};
use tokio::sync::mpsc;

use crate::http::prom::PromSession;

pub struct Session {
    pub cancelled: Arc<AtomicUsize>,
}

fn error(code: &'static str, message: &str) -> QueryError {
    QueryError { code, message: message.to_owned(), detail: None, hint: None, position: None }
}

pub fn series(k: &str, points: &[(i64, f64)]) -> PromSeries {
    let points = points.iter().map(|(time, value)| Point { time: *time, value: *value });
    PromSeries::new(Labels::of(&[("__name__", "m"), ("k", k)]), points.collect())
}

fn found<T>(all: Vec<T>, asked: &PromBrowse) -> Found<T> {
    let limit = if asked.limit == 0 { usize::MAX } else { asked.limit };
    Found { cut: all.len() > limit, all: all.into_iter().take(limit).collect() }
}

#[async_trait]
impl PromSession for Session {
    async fn query(&self, asked: PromQuery) -> QueryResult<PromAnswer> {
        let at = asked.end;
        let value = match asked.text.as_str() {
            "scalar" => PromValue::Scalar(Point { time: at, value: 0.5 }),
            "text" => PromValue::Text(at, "a\"b".to_owned()),
            "vector" => PromValue::Vector(vec![
                series("a\n", &[(at, f64::NAN)]),
                series("b", &[(at, f64::INFINITY)]),
            ]),
            "nothing" => PromValue::Vector(Vec::new()),
            "matrix" => PromValue::Matrix(vec![
                series("a", &[(asked.start, 1.0), (at, 1e21)]),
                series("b", &[]),
            ]),
            "large" => {
                let points: Vec<(i64, f64)> = (0..20_000).map(|n| (n * 1_000_000, 0.5)).collect();
                PromValue::Matrix(vec![series("a", &points), series("b", &points)])
            }
            "echo" => {
                let step = asked.step.unwrap_or(0) as f64;
                let lookback = asked.lookback.unwrap_or(0) as f64;
                let timeout = asked.timeout.map_or(0.0, |timeout| timeout.as_secs_f64());
                let all = [asked.start as f64, at as f64, step, lookback, timeout];
                let all = all.iter().enumerate().map(|(n, v)| (n as i64 * 1_000_000_000, *v));
                PromValue::Matrix(vec![series("", &all.collect::<Vec<_>>())])
            }
            "never" => {
                let () = futures::future::pending().await;
                PromValue::Vector(Vec::new())
            }
            code if code.starts_with("code ") => {
                return Err(match &code[5..] {
                    "42601" => error("42601", "1:2: parse error: played"),
                    "0A000" => error("0A000", "played"),
                    "54000" => error("54000", "played"),
                    "53200" => error("53200", "played"),
                    "53300" => error("53300", "played"),
                    "57014" => error("57014", "canceling statement due to user request"),
                    "timeout" => error("57014", "canceling statement due to statement timeout"),
                    _ => error("XX000", "played"),
                });
            }
            _ => return Err(error("42601", "1:1: parse error: unexpected")),
        };
        Ok(PromAnswer::played(value))
    }

    async fn labels(&self, asked: PromBrowse) -> QueryResult<Found<String>> {
        Ok(found(vec!["__name__".into(), "k".into(), format!("{:?}", asked.times)], &asked))
    }

    async fn label_values(&self, label: String, asked: PromBrowse) -> QueryResult<Found<String>> {
        Ok(found(vec![label, asked.selectors.len().to_string()], &asked))
    }

    async fn series(&self, asked: PromBrowse) -> QueryResult<Found<Labels>> {
        Ok(found(vec![Labels::of(&[("__name__", "m"), ("k", "v")])], &asked))
    }

    /// A series for each question; a range that ends at 0 fails.
    async fn read(
        &self,
        asked: Vec<PromRead>,
    ) -> QueryResult<mpsc::Receiver<QueryResult<PromReadSeries>>> {
        let (sender, receiver) = mpsc::channel(asked.len() + 1);
        for (question, one) in asked.iter().enumerate() {
            let labels = Labels::of(&[("__name__", "m"), ("k", "v")]);
            let point = |n: i64| Point { time: n * 15_000_000_000, value: n as f64 / 4.0 };
            let points = (1..=250).map(point).collect();
            let given = match one.times.max {
                999_999 => Err(error("XX001", "played")),
                _ => Ok(PromReadSeries { question, labels, points }),
            };
            sender.try_send(given).expect("room");
        }
        Ok(receiver)
    }

    fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

//! Tests over a database in memory: scripts in Prometheus' test format, a twin that evaluates each step
//! by itself, limits, and what query builders ask.

mod browse;
mod limits;
mod load;
mod script;
mod twin;

use futures::executor::block_on;

use super::*;
use crate::tests::harness::World;
use load::load;

const SECOND: i64 = 1_000_000_000;

/// An instant query at a time in s.
fn instant(text: &str, at: i64) -> PromQuery {
    PromQuery {
        text: text.to_owned(),
        start: at * SECOND,
        end: at * SECOND,
        step: None,
        lookback: None,
        timeout: None,
        limit: 0,
    }
}

/// A range query in s.
fn range(text: &str, start: i64, end: i64, step: i64) -> PromQuery {
    let (start, end, step) = (start * SECOND, end * SECOND, Some(step * SECOND));
    PromQuery { start, end, step, ..instant(text, 0) }
}

fn run(world: &World, query: PromQuery) -> QueryResult<PromAnswer> {
    block_on(world.session.prom_query(query))
}

fn series(answer: &PromAnswer) -> &[PromSeries] {
    match &answer.value {
        PromValue::Vector(all) | PromValue::Matrix(all) => all,
        other => panic!("no series: {other:?}"),
    }
}

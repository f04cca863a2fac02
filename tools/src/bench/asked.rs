//! Questions about the rows of a [`Plan`] with answers known beforehand: the kinds of the suite,
//! over windows of fixed length that end at the newest rows.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::index::sample;

use super::plan::Plan;
use super::queries::{HOUR, METRICS, aggregates};
use crate::import::time::{TimeFormat, format_ns};

const MINUTE: i64 = HOUR / 60;
/// Longest window of any question, ns.
pub const WINDOW_MAX: i64 = 12 * HOUR;

/// What is wrong with an answer, or nothing.
type Check<'p> = Box<dyn Fn(&[Vec<String>]) -> Result<(), String> + 'p>;

/// A statement and what its answer must be.
pub struct Question<'p> {
    /// The statement.
    pub sql: String,
    /// Compares an answer.
    pub check: Check<'p>,
}

/// A kind of question: its name, and one with fresh literals about the steps below `newest`.
pub type Kind = (&'static str, for<'p> fn(&'p Plan, &mut StdRng, u64) -> Question<'p>);

/// All kinds.
pub const KINDS: [Kind; 8] = [
    ("single-groupby-1-1-1", |plan, rng, newest| maxima(plan, rng, newest, (1, 1), HOUR, MINUTE)),
    ("single-groupby-5-8-1", |plan, rng, newest| maxima(plan, rng, newest, (5, 8), HOUR, MINUTE)),
    ("cpu-max-all-8", |plan, rng, newest| maxima(plan, rng, newest, (10, 8), 8 * HOUR, HOUR)),
    ("double-groupby-1", double_group_by),
    ("groupby-orderby-limit", order_by_limit),
    ("high-cpu-1", high_cpu),
    ("lastpoint", last_point),
    ("count-and-sum", count_and_sum),
];

/// The steps of a window before `newest`, and a condition for it.
fn window(plan: &Plan, newest: u64, length: i64) -> (std::ops::Range<u64>, String) {
    let end = plan.time(newest);
    let start = (end - length).max(plan.start_ns);
    let condition = format!("time >= '{}+00' AND time < '{}+00'", format_ns(start), format_ns(end));
    (plan.step_at(start)..newest, condition)
}

fn hosts(plan: &Plan, rng: &mut StdRng, count: usize) -> (Vec<u32>, String) {
    let all = plan.hosts as usize;
    let hosts: Vec<u32> = sample(rng, all, count.min(all)).iter().map(|host| host as u32).collect();
    let tests: Vec<String> = hosts.iter().map(|h| format!("hostname = 'host_{h}'")).collect();
    (hosts, format!("({})", tests.join(" OR ")))
}

/// Rows of whole numbers behind one column of time, in order.
fn whole_numbers(expected: Vec<Vec<i64>>) -> Check<'static> {
    Box::new(move |rows| {
        let read = |row: &Vec<String>| row.iter().skip(1).map(|cell| cell.parse().ok()).collect();
        let found: Vec<Option<Vec<i64>>> = rows.iter().map(read).collect();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, want)| found.as_ref() == Some(want));
        if same { Ok(()) } else { Err(format!("{rows:?} instead of {expected:?}")) }
    })
}

/// Largest values by bucket of time.
fn by_bucket(
    plan: &Plan,
    steps: std::ops::Range<u64>,
    bucket: i64,
    hosts: &[u32],
    metrics: usize,
) -> BTreeMap<i64, Vec<i64>> {
    let mut buckets: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for step in steps {
        let most =
            buckets.entry(plan.time(step).div_euclid(bucket)).or_insert_with(|| vec![0; metrics]);
        for host in hosts {
            for (metric, most) in most.iter_mut().enumerate() {
                *most = plan.value(step, *host, metric).max(*most);
            }
        }
    }
    buckets
}

fn maxima<'p>(
    plan: &'p Plan,
    rng: &mut StdRng,
    newest: u64,
    (metrics, count): (usize, usize),
    length: i64,
    bucket: i64,
) -> Question<'p> {
    let ((steps, window), (hosts, tests)) = (window(plan, newest, length), hosts(plan, rng, count));
    let sql = format!(
        "SELECT time_bucket('{} seconds', time) AS bucket, {} FROM cpu WHERE {tests} AND {window} \
         GROUP BY bucket ORDER BY bucket",
        bucket / 1_000_000_000,
        aggregates("max", metrics)
    );
    let expected = by_bucket(plan, steps, bucket, &hosts, metrics).into_values().collect();
    Question { sql, check: whole_numbers(expected) }
}

fn order_by_limit<'p>(plan: &'p Plan, _rng: &mut StdRng, newest: u64) -> Question<'p> {
    let (steps, window) = window(plan, newest, HOUR);
    let sql = format!(
        "SELECT time_bucket('60 seconds', time) AS minute, max(usage_user) FROM cpu WHERE {window} \
         GROUP BY minute ORDER BY minute DESC LIMIT 5"
    );
    // No more steps than the last five minutes can touch.
    let per_minute = (MINUTE / plan.interval_ns).max(1) as u64;
    let first = steps.start.max(newest.saturating_sub(7 * per_minute));
    let all: Vec<u32> = (0..plan.hosts).collect();
    let buckets = by_bucket(plan, first..newest, MINUTE, &all, 1);
    let expected = buckets.into_values().rev().take(5).collect();
    Question { sql, check: whole_numbers(expected) }
}

fn double_group_by<'p>(plan: &'p Plan, _rng: &mut StdRng, newest: u64) -> Question<'p> {
    let (steps, window) = window(plan, newest, WINDOW_MAX);
    let sql = format!(
        "SELECT time_bucket('3600 seconds', time) AS hour, hostname, avg(usage_user) FROM cpu \
         WHERE {window} GROUP BY hour, hostname ORDER BY hour, hostname"
    );
    let check = move |rows: &[Vec<String>]| {
        let mut sums: BTreeMap<(i64, String), (i64, i64)> = BTreeMap::new();
        let names: Vec<String> = (0..plan.hosts).map(|host| format!("host_{host}")).collect();
        let mut per_hour: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for step in steps.clone() {
            per_hour.entry(plan.time(step).div_euclid(HOUR)).or_default().push(step);
        }
        for (hour, steps) in per_hour {
            for host in 0..plan.hosts {
                let sum = steps.iter().map(|step| plan.value(*step, host, 0)).sum();
                sums.insert((hour, names[host as usize].clone()), (sum, steps.len() as i64));
            }
        }
        if rows.len() != sums.len() {
            return Err(format!("{} rows instead of {}", rows.len(), sums.len()));
        }
        for (row, ((_, host), (sum, count))) in rows.iter().zip(&sums) {
            let wanted = *sum as f64 / *count as f64;
            let near = |found: f64| (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0);
            if row[1] != *host || !row[2].parse().is_ok_and(near) {
                return Err(format!("{row:?} instead of {host}, {wanted}"));
            }
        }
        Ok(())
    };
    Question { sql, check: Box::new(check) }
}

fn high_cpu<'p>(plan: &'p Plan, rng: &mut StdRng, newest: u64) -> Question<'p> {
    let ((steps, window), (hosts, tests)) = (window(plan, newest, WINDOW_MAX), hosts(plan, rng, 1));
    let sql = format!("SELECT * FROM cpu WHERE usage_user > 90.0 AND {window} AND {tests}");
    let wanted = steps.filter(|step| plan.value(*step, hosts[0], 0) > 90).count();
    let check = move |rows: &[Vec<String>]| match rows.len() {
        found if found == wanted => Ok(()),
        found => Err(format!("{found} rows instead of {wanted}")),
    };
    Question { sql, check: Box::new(check) }
}

fn last_point<'p>(plan: &'p Plan, _rng: &mut StdRng, newest: u64) -> Question<'p> {
    let sql = "SELECT DISTINCT ON (hostname) hostname, time, usage_user FROM cpu \
               ORDER BY hostname, time DESC";
    let check = move |rows: &[Vec<String>]| {
        if rows.len() != plan.hosts as usize {
            return Err(format!("{} rows instead of {}", rows.len(), plan.hosts));
        }
        for row in rows {
            let host = row[0].strip_prefix("host_").and_then(|host| host.parse::<u32>().ok());
            let time = TimeFormat::Calendar.parse(&row[1]);
            let (Some(host), Some(time)) = (host, time) else {
                return Err(format!("{row:?} is no host and time"));
            };
            // Rows go on coming: newer ones than were known when the question was put are right.
            let step = plan.step_at(time);
            let right = host < plan.hosts
                && step + 1 >= newest
                && plan.time(step) == time
                && row[2] == plan.value(step, host, 0).to_string();
            if !right {
                return Err(format!("{row:?} is not the newest of {newest} steps"));
            }
        }
        Ok(())
    };
    Question { sql: sql.to_owned(), check: Box::new(check) }
}

/// A window of random length: every row of it must be there, once.
fn count_and_sum<'p>(plan: &'p Plan, rng: &mut StdRng, newest: u64) -> Question<'p> {
    let length = rng.random_range(1..=WINDOW_MAX / HOUR) * HOUR;
    let (steps, window) = window(plan, newest, length);
    let sql = format!("SELECT count(*), sum(usage_user), sum(usage_idle) FROM cpu WHERE {window}");
    let count = (steps.end - steps.start) * u64::from(plan.hosts);
    let sum = |metric: usize| plan.sum(steps.end, metric) - plan.sum(steps.start, metric);
    let idle = METRICS.iter().position(|name| *name == "usage_idle").unwrap_or(0);
    let wanted = [count.to_string(), sum(0).to_string(), sum(idle).to_string()];
    let check = move |rows: &[Vec<String>]| match rows {
        [row] if row[..] == wanted[..] => Ok(()),
        _ => Err(format!("{rows:?} instead of {wanted:?}")),
    };
    Question { sql, check: Box::new(check) }
}

#[cfg(test)]
mod tests {
    //! Checks must be able to fail.
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn wrong_answers_are_found() {
        let plan = Plan::new(4, 50, 1_704_067_200_000_000_000, 10_000_000_000, 3).unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        for (name, kind) in KINDS {
            let question = kind(&plan, &mut rng, 700);
            assert!(question.sql.contains("FROM cpu"), "{name}");
            let wrong = vec![vec!["2024-01-01".to_owned(), "999".to_owned(), "x".to_owned()]];
            assert!((question.check)(&wrong).is_err(), "{name}");
            // An empty answer is right nowhere, but where nothing was above 90.
            assert!(name == "high-cpu-1" || (question.check)(&[]).is_err(), "{name}");
        }
    }

    #[test]
    fn right_answers_pass() {
        let plan = Plan::new(2, 50, 1_704_067_200_000_000_000, 10_000_000_000, 3).unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let rows = |host: u32| {
            let value = plan.value(699, host, 0).to_string();
            vec![format!("host_{host}"), "2024-01-01 01:56:30+00".to_owned(), value]
        };
        let question = last_point(&plan, &mut rng, 700);
        (question.check)(&[rows(0), rows(1)]).unwrap();
        assert!((last_point(&plan, &mut rng, 701).check)(&[rows(0), rows(1)]).is_err());
        let question = order_by_limit(&plan, &mut rng, 700);
        let most = |steps: std::ops::Range<u64>| {
            let all = steps.flat_map(|step| [plan.value(step, 0, 0), plan.value(step, 1, 0)]);
            vec!["minute".to_owned(), all.max().unwrap().to_string()]
        };
        // 700 steps end at 1:56:40: the newest minute has four.
        let minutes = [696..700, 690..696, 684..690, 678..684, 672..678];
        (question.check)(&minutes.map(most)).unwrap();
    }
}

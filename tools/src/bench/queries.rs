//! The queries of the Time Series Benchmark Suite (`cpu-only` and `iot`), written for tables as
//! line protocol makes them: tags are key columns, so the suite's join with a table of tags
//! falls away. Hosts, fleets and windows are drawn anew for each run, as the suite does.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::index::sample;

use crate::import::time::format_ns;

pub const HOUR: i64 = 3_600_000_000_000;
const MINUTE: i64 = HOUR / 60;

/// Fields of `cpu` in the suite's order.
pub const METRICS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];
const FLEETS: [&str; 4] = ["East", "West", "North", "South"];

/// Draws literals from the data that is there.
#[derive(Debug)]
pub struct Draw {
    /// Source of chance.
    pub rng: StdRng,
    /// Hosts or trucks.
    pub scale: u32,
    /// First time of the data, ns.
    pub start_ns: i64,
    /// End of the data, ns.
    pub end_ns: i64,
}

impl Draw {
    /// A condition for a random window; the whole range if the data is shorter than the window.
    pub fn window(&mut self, length: i64) -> String {
        let (start, end) = self.span(length);
        format!("time >= '{}+00' AND time < '{}+00'", format_ns(start), format_ns(end))
    }

    pub fn span(&mut self, length: i64) -> (i64, i64) {
        let room = self.end_ns - self.start_ns - length;
        if room <= 0 {
            return (self.start_ns, self.end_ns);
        }
        // To the second, as windows of people are.
        let start = self.start_ns + self.rng.random_range(0..=room) / 1_000_000_000 * 1_000_000_000;
        (start, start + length)
    }

    /// `(hostname = 'host_3' OR …)` for `count` different hosts.
    pub fn hosts(&mut self, count: usize) -> String {
        let hosts = sample(&mut self.rng, self.scale as usize, count.min(self.scale as usize));
        let tests: Vec<String> = hosts.iter().map(|h| format!("hostname = 'host_{h}'")).collect();
        format!("({})", tests.join(" OR "))
    }

    fn truck(&mut self) -> u32 {
        self.rng.random_range(0..self.scale)
    }

    fn fleet(&mut self) -> &'static str {
        FLEETS[self.rng.random_range(0..FLEETS.len())]
    }
}

/// A query: its name in the suite, and its text with fresh literals.
pub type Query = (&'static str, fn(&mut Draw) -> String);

/// The queries of `cpu-only`.
pub const CPU: &[Query] = &[
    ("single-groupby-1-1-1", |draw| group_by_minute(draw, 1, 1, HOUR)),
    ("single-groupby-1-8-1", |draw| group_by_minute(draw, 1, 8, HOUR)),
    ("single-groupby-5-8-1", |draw| group_by_minute(draw, 5, 8, HOUR)),
    ("cpu-max-all-1", |draw| max_all(draw, 1)),
    ("cpu-max-all-8", |draw| max_all(draw, 8)),
    ("double-groupby-1", |draw| double_group_by(draw, 1)),
    ("double-groupby-5", |draw| double_group_by(draw, 5)),
    ("double-groupby-all", |draw| double_group_by(draw, 10)),
    ("groupby-orderby-limit", |draw| {
        let (_, end) = draw.span(HOUR);
        format!(
            "SELECT time_bucket('60 seconds', time) AS minute, max(usage_user) FROM cpu \
             WHERE time < '{}+00' GROUP BY minute ORDER BY minute DESC LIMIT 5",
            format_ns(end)
        )
    }),
    ("high-cpu-1", |draw| {
        let (window, hosts) = (draw.window(12 * HOUR), draw.hosts(1));
        format!("SELECT * FROM cpu WHERE usage_user > 90.0 AND {window} AND {hosts}")
    }),
    ("high-cpu-all", |draw| {
        let window = draw.window(12 * HOUR);
        format!("SELECT * FROM cpu WHERE usage_user > 90.0 AND {window}")
    }),
    ("lastpoint", |_| {
        "SELECT DISTINCT ON (hostname) * FROM cpu ORDER BY hostname, time DESC".into()
    }),
];

pub fn aggregates(function: &str, count: usize) -> String {
    let all: Vec<String> = METRICS[..count]
        .iter()
        .map(|metric| format!("{function}({metric}) AS {function}_{metric}"))
        .collect();
    all.join(", ")
}

/// `metrics` maxima a minute of `hosts` hosts.
pub fn group_by_minute(draw: &mut Draw, metrics: usize, hosts: usize, length: i64) -> String {
    let (hosts, window) = (draw.hosts(hosts), draw.window(length));
    format!(
        "SELECT time_bucket('60 seconds', time) AS minute, {} FROM cpu WHERE {hosts} AND {window} \
         GROUP BY minute ORDER BY minute ASC",
        aggregates("max", metrics)
    )
}

pub fn max_all(draw: &mut Draw, hosts: usize) -> String {
    let (hosts, window) = (draw.hosts(hosts), draw.window(8 * HOUR));
    format!(
        "SELECT time_bucket('3600 seconds', time) AS hour, {} FROM cpu WHERE {hosts} AND {window} \
         GROUP BY hour ORDER BY hour",
        aggregates("max", METRICS.len())
    )
}

fn double_group_by(draw: &mut Draw, metrics: usize) -> String {
    let window = draw.window(12 * HOUR);
    format!(
        "SELECT time_bucket('3600 seconds', time) AS hour, hostname, {} FROM cpu WHERE {window} \
         GROUP BY hour, hostname ORDER BY hour, hostname",
        aggregates("avg", metrics)
    )
}

/// The queries of `iot`.
pub const IOT: &[Query] = &[
    ("last-loc", |draw| {
        let fleet = draw.fleet();
        format!(
            "SELECT DISTINCT ON (name, driver) name, driver, longitude, latitude FROM readings \
             WHERE name IS NOT NULL AND fleet = '{fleet}' ORDER BY name, driver, time DESC"
        )
    }),
    ("single-last-loc", |draw| {
        let truck = draw.truck();
        format!(
            "SELECT DISTINCT ON (name, driver) name, driver, longitude, latitude FROM readings \
             WHERE name IN ('truck_{truck}') ORDER BY name, driver, time DESC"
        )
    }),
    ("low-fuel", |draw| last_diagnostics(draw, "fuel_state", "fuel_state < 0.1")),
    ("high-load", |draw| {
        last_diagnostics(draw, "current_load, load_capacity", "current_load / load_capacity > 0.9")
    }),
    ("stationary-trucks", |draw| {
        let (window, fleet) = (draw.window(10 * MINUTE), draw.fleet());
        format!(
            "SELECT name, driver FROM readings WHERE {window} AND name IS NOT NULL \
             AND fleet = '{fleet}' GROUP BY name, driver HAVING avg(velocity) < 1"
        )
    }),
    // Of 24 periods of ten minutes, five minutes an hour are rest; of 144, 35 minutes an hour.
    ("long-driving-sessions", |draw| long_sessions(draw, 4 * HOUR, 22)),
    ("long-daily-sessions", |draw| long_sessions(draw, 24 * HOUR, 60)),
    ("avg-vs-projected-fuel-consumption", |_| {
        "SELECT fleet, avg(fuel_consumption) AS avg_fuel_consumption, \
         avg(nominal_fuel_consumption) AS projected_fuel_consumption FROM readings \
         WHERE velocity > 1 AND fleet IS NOT NULL AND nominal_fuel_consumption IS NOT NULL \
         AND name IS NOT NULL GROUP BY fleet"
            .into()
    }),
    ("avg-daily-driving-duration", |_| {
        "WITH sessions AS (\
           SELECT time_bucket('10 minutes', time) AS ten_minutes, fleet, name, driver \
           FROM readings GROUP BY ten_minutes, fleet, name, driver HAVING avg(velocity) > 1\
         ), days AS (\
           SELECT time_bucket('24 hours', ten_minutes) AS day, fleet, name, driver, \
           count(*) / 6.0 AS hours FROM sessions GROUP BY day, fleet, name, driver\
         ) SELECT fleet, name, driver, avg(hours) AS avg_daily_hours FROM days \
         GROUP BY fleet, name, driver"
            .into()
    }),
    ("avg-daily-driving-session", |_| {
        "WITH status AS (\
           SELECT name, time_bucket('10 minutes', time) AS ten_minutes, avg(velocity) > 5 AS driving \
           FROM readings WHERE name IS NOT NULL GROUP BY name, ten_minutes\
         ), before AS (\
           SELECT name, ten_minutes, driving, \
           lag(driving) OVER (PARTITION BY name ORDER BY ten_minutes) AS prev_driving FROM status\
         ), change AS (\
           SELECT name, ten_minutes AS start, \
           lead(ten_minutes) OVER (PARTITION BY name ORDER BY ten_minutes) AS stop, driving \
           FROM before WHERE driving <> prev_driving\
         ) SELECT name, time_bucket('24 hours', start) AS day, \
         avg(date_part('epoch', stop) - date_part('epoch', start)) AS duration_seconds \
         FROM change WHERE driving GROUP BY name, day ORDER BY name, day"
            .into()
    }),
    ("avg-load", |_| {
        "SELECT fleet, model, load_capacity, avg(avg_load / load_capacity) AS avg_load_percentage \
         FROM (SELECT fleet, model, name, load_capacity, avg(current_load) AS avg_load \
         FROM diagnostics WHERE name IS NOT NULL GROUP BY fleet, model, name, load_capacity) AS d \
         GROUP BY fleet, model, load_capacity"
            .into()
    }),
    ("daily-activity", |_| {
        "SELECT fleet, model, day, sum(ten_mins_per_day) / 144 AS daily_activity FROM (\
           SELECT time_bucket('24 hours', time) AS day, \
           time_bucket('10 minutes', time) AS ten_minutes, fleet, model, name, \
           count(*) AS ten_mins_per_day FROM diagnostics WHERE name IS NOT NULL \
           GROUP BY day, ten_minutes, fleet, model, name HAVING avg(status) < 1\
         ) AS y GROUP BY fleet, model, day ORDER BY day"
            .into()
    }),
    ("breakdown-frequency", |_| {
        "WITH periods AS (\
           SELECT time_bucket('10 minutes', time) AS ten_minutes, model, name, \
           avg(CASE WHEN status = 0 THEN 1.0 ELSE 0.0 END) < 0.5 AS broken_down \
           FROM diagnostics WHERE name IS NOT NULL GROUP BY ten_minutes, model, name\
         ), pairs AS (\
           SELECT model, broken_down, \
           lead(broken_down) OVER (PARTITION BY model, name ORDER BY ten_minutes) AS next_broken \
           FROM periods\
         ) SELECT model, count(*) FROM pairs WHERE NOT broken_down AND next_broken GROUP BY model"
            .into()
    }),
];

/// Trucks of a fleet whose newest diagnostics fulfil a condition.
fn last_diagnostics(draw: &mut Draw, columns: &str, condition: &str) -> String {
    let fleet = draw.fleet();
    format!(
        "SELECT * FROM (SELECT DISTINCT ON (name, driver) name, driver, {columns} \
         FROM diagnostics WHERE name IS NOT NULL AND fleet = '{fleet}' \
         ORDER BY name, driver, time DESC) AS d WHERE {condition}"
    )
}

/// Trucks that drove in more than `periods` periods of ten minutes of a window.
fn long_sessions(draw: &mut Draw, length: i64, periods: u32) -> String {
    let (window, fleet) = (draw.window(length), draw.fleet());
    format!(
        "SELECT name, driver FROM (SELECT time_bucket('10 minutes', time) AS ten_minutes, name, \
         driver FROM readings WHERE {window} AND name IS NOT NULL AND fleet = '{fleet}' \
         GROUP BY ten_minutes, name, driver HAVING avg(velocity) > 1) AS r \
         GROUP BY name, driver HAVING count(ten_minutes) > {periods}"
    )
}

#[cfg(test)]
mod tests {
    //! Tests of drawing literals.
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn literals_are_drawn_anew_and_inside_the_data() {
        let mut draw =
            Draw { rng: StdRng::seed_from_u64(1), scale: 100, start_ns: 0, end_ns: 12 * HOUR };
        assert_eq!(CPU.len(), 12);
        assert_eq!(IOT.len(), 13);
        let texts: Vec<String> = (0..20).map(|_| (CPU[0].1)(&mut draw)).collect();
        assert!(texts.iter().any(|text| *text != texts[0]));
        for _ in 0..1000 {
            let (start, end) = draw.span(HOUR);
            assert!(start >= 0 && end <= 12 * HOUR && end - start == HOUR);
        }
        assert_eq!(draw.span(24 * HOUR), (0, 12 * HOUR));
        assert_eq!(draw.hosts(8).matches("hostname").count(), 8);
        for (name, text) in CPU.iter().chain(IOT) {
            let text = text(&mut draw);
            assert!(text.matches('(').count() == text.matches(')').count(), "{name}: {text}");
        }
    }
}

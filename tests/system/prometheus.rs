//! A real Prometheus beside the server: the same samples and questions to both, and remote write and
//! read between them. Skipped where there is no `prometheus`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ingest::remote::proto::{put_bytes, put_double, put_int};
use serde_json::Value;
use tools::http::{Client, Target};

use crate::server::{TestServer, block_on};

const PATIENCE: Duration = Duration::from_secs(120);
/// The NaN that ends a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Names and values.
type Labels = Vec<(String, String)>;
/// Times in ms and values.
type Samples = Vec<(i64, f64)>;

/// A Prometheus of this test; killed when dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one with these settings; `None`, and a word of it, where there is none.
    fn start(folder: &Path, settings: &str) -> Option<Prometheus> {
        if Command::new("prometheus").arg("--version").output().is_err() {
            println!("no prometheus here: its test is skipped");
            return None;
        }
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, settings).expect("a file");
        let port =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus runs");
        let prometheus = Prometheus { child, port };
        wait_for("prometheus to be ready", || {
            let ready = prometheus.client().get("/-/ready");
            ready.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        Some(prometheus)
    }

    fn client(&self) -> Client {
        let target = Target::parse(&format!("http://127.0.0.1:{}", self.port)).expect("an address");
        Client::new(target, "", "")
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A `WriteRequest`, packed: series as labels and samples of (ms, value).
fn write_request(all: &[(Labels, Samples)]) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, samples) in all {
        let (mut series, mut part) = (Vec::new(), Vec::new());
        for (name, value) in labels {
            part.clear();
            put_bytes(1, name.as_bytes(), &mut part);
            put_bytes(2, value.as_bytes(), &mut part);
            put_bytes(1, &part, &mut series);
        }
        for (time, value) in samples {
            part.clear();
            put_double(1, *value, &mut part);
            put_int(2, *time, &mut part);
            put_bytes(2, &part, &mut series);
        }
        put_bytes(1, &series, &mut request);
    }
    snap::raw::Encoder::new().compress_vec(&request).expect("packs")
}

fn write(client: &mut Client, body: &[u8]) {
    let answer = client.post("/api/v1/write", "application/x-protobuf", body).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn labels(text: &str) -> Labels {
    let mut labels: Labels = text
        .split(',')
        .enumerate()
        .map(|(n, part)| match part.split_once('=') {
            Some((name, value)) if n > 0 => (name.to_owned(), value.to_owned()),
            _ => ("__name__".to_owned(), part.to_owned()),
        })
        .collect();
    labels.sort();
    labels
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn ask(client: &mut Client, path: &str) -> Value {
    let answer = loop {
        match client.get(path) {
            Ok(answer) => break answer,
            // A signal came in between; questions can be asked again.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("{path}: {error}"),
        }
    };
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn now_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs() as i64
}

/// An hour of counters, gauges and buckets, one sample each 15 s, half a second beside the times that
/// are asked for: Prometheus 2 closes windows at their start, Prometheus 3 and Millrace do not.
fn data(base: i64) -> Vec<(Labels, Samples)> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let time = |n: i64| (base + n * 15) * 1000 + 500;
    let mut all = Vec::new();
    for job in ["api", "web"] {
        for instance in ["1", "2"] {
            let mut total = 1e6 + (random() * 1e6).floor();
            let counter = (0..240)
                .filter_map(|n| {
                    total += (random() * 100.0).floor();
                    // The second begins anew once, and is not there for a while.
                    if instance == "2" && n == 120 {
                        total = 50_000.0;
                    }
                    (instance == "1" || !(60..90).contains(&n)).then_some((time(n), total))
                })
                .collect();
            all.push((labels(&format!("requests_total,job={job},instance={instance}")), counter));
            let gauge = (0..240)
                .map(|n| match (job, n) {
                    ("web", 100) => (time(n), f64::from_bits(STALE)),
                    ("api", 50) => (time(n), f64::NAN),
                    _ => (time(n), (random() * 1000.0).floor() / 8.0 - 40.0),
                })
                .filter(|(t, _)| job == "api" || !(time(101)..time(110)).contains(t))
                .collect();
            all.push((labels(&format!("temperature,job={job},instance={instance}")), gauge));
        }
        let mut counts = [1e5; 4];
        let mut buckets = vec![Vec::new(); 4];
        for n in 0..240 {
            let mut below = 0.0;
            for (count, samples) in counts.iter_mut().zip(&mut buckets) {
                below += (random() * 20.0).floor();
                *count += below;
                samples.push((time(n), *count));
            }
        }
        for (le, samples) in ["0.1", "0.5", "2.5", "+Inf"].into_iter().zip(buckets) {
            all.push((labels(&format!("latency_bucket,job={job},le={le}")), samples));
        }
        all.push((labels(&format!("build_info,job={job},version=v{job}")), {
            (0..240).map(|n| (time(n), 1.0)).collect()
        }));
    }
    all
}

const EXPRESSIONS: &[&str] = &[
    "requests_total",
    "requests_total{job=\"api\"}",
    "requests_total{job=~\"a.*\",instance!=\"1\"}",
    "requests_total{job!~\"a.*\"}",
    "{__name__=~\"req.*|temp.*\",instance=\"2\"}",
    "requests_total offset 7m",
    "requests_total offset -7m",
    "requests_total @ end() - requests_total @ start()",
    "rate(requests_total[5m])",
    "rate(requests_total[20s])",
    "rate(requests_total[2m] offset 3m)",
    "irate(requests_total[5m])",
    "increase(requests_total[10m])",
    "increase(requests_total[47s])",
    "delta(temperature[7m])",
    "idelta(temperature[7m])",
    "deriv(temperature[9m])",
    "predict_linear(temperature[9m], 600)",
    "changes(temperature[13m])",
    "resets(requests_total[30m])",
    "holt_winters(temperature[5m], 0.3, 0.7)",
    "avg_over_time(temperature[5m])",
    "min_over_time(temperature[5m])",
    "max_over_time(temperature[5m])",
    "sum_over_time(temperature[5m])",
    "count_over_time(temperature[5m])",
    "quantile_over_time(0.9, temperature[5m])",
    "quantile_over_time(scalar(vector(0.25)), temperature[5m])",
    "stddev_over_time(temperature[5m])",
    "stdvar_over_time(temperature[5m])",
    "last_over_time(temperature[3m])",
    "present_over_time(temperature[1m])",
    "absent_over_time(temperature{job=\"web\",instance=\"1\"}[1m])",
    "absent_over_time(nothing{a=\"b\",c=~\"d\"}[1m])",
    "absent(temperature{job=\"web\",instance=\"1\"})",
    "absent(nothing{a=\"b\",c!=\"d\"})",
    "sum(requests_total)",
    "sum by (job) (rate(requests_total[5m]))",
    "sum without (instance) (temperature)",
    "avg by (job) (temperature)",
    "min by (instance) (temperature)",
    "max(temperature)",
    "count by (job) (temperature > 0)",
    "group by (job) (temperature)",
    "stddev(temperature)",
    "stdvar by (job) (temperature)",
    "topk(2, temperature)",
    "bottomk by (job) (1, temperature)",
    "quantile(0.75, temperature)",
    "quantile by (job) (0.5, temperature)",
    "count_values(\"value\", build_info)",
    "count_values by (job) (\"up\", temperature > bool 20)",
    "histogram_quantile(0.9, rate(latency_bucket[5m]))",
    "histogram_quantile(0.5, sum by (le) (rate(latency_bucket[5m])))",
    "histogram_quantile(0.99, latency_bucket)",
    "histogram_quantile(1.5, latency_bucket)",
    "temperature + 1",
    "-temperature",
    "2 * temperature ^ 2 % 7",
    "(temperature atan2 10) * 1",
    "100 - temperature / 3",
    "temperature > 20",
    "temperature <= bool 20",
    "temperature == temperature",
    "20 < temperature",
    "temperature / requests_total",
    "temperature / on(job, instance) requests_total",
    "requests_total * on(job) group_left(version) build_info",
    "build_info * on(job) group_right(version) requests_total",
    "requests_total > on(job) group_left build_info",
    "requests_total - ignoring(instance) group_left sum without (instance) (requests_total)",
    "requests_total and temperature > 20",
    "requests_total unless on(job, instance) temperature > 20",
    "temperature > 40 or temperature < -20",
    "requests_total or on(job) build_info",
    "abs(temperature)",
    "ceil(temperature)",
    "floor(temperature)",
    "round(temperature)",
    "round(temperature, 0.3)",
    "clamp(temperature, -10, 10)",
    "clamp_min(temperature, 0)",
    "clamp_max(temperature, 0)",
    "sgn(temperature)",
    "exp(temperature / 100)",
    "ln(temperature)",
    "log2(requests_total)",
    "log10(requests_total)",
    "sqrt(requests_total)",
    "sin(temperature) + cos(temperature) + tan(temperature)",
    "asin(temperature / 100) + acos(temperature / 100) + atan(temperature)",
    "sinh(temperature / 10) + cosh(temperature / 10) + tanh(temperature)",
    "asinh(temperature) + acosh(abs(temperature) + 1) + atanh(temperature / 100)",
    "deg(temperature) + rad(temperature) + pi()",
    "time()",
    "timestamp(temperature)",
    "timestamp(temperature * 2)",
    "minute(temperature * 3600) + hour(requests_total * 777)",
    "day_of_week(requests_total * 777) + day_of_month(requests_total * 777)",
    "days_in_month(requests_total * 777) + day_of_year(requests_total * 777)",
    "month(requests_total * 777) + year(requests_total * 777)",
    "hour() + minute() / 100",
    "scalar(build_info{job=\"api\"}) + 1",
    "scalar(build_info)",
    "vector(time() / 7)",
    "sort(temperature)",
    "sort_desc(temperature)",
    "label_replace(temperature, \"place\", \"$1-x\", \"job\", \"(.).*\")",
    "label_replace(temperature, \"job\", \"\", \"job\", \"web\")",
    "label_join(temperature, \"both\", \"-\", \"job\", \"instance\", \"nope\")",
    "max_over_time(rate(requests_total[2m])[10m:1m])",
    "avg_over_time(temperature[10m:30s])",
    "sum_over_time(sum(temperature)[10m:])",
    "min_over_time((temperature - temperature offset 5m)[10m:1m] offset 2m)",
    "count_over_time(temperature[10m:2m] @ end())",
    "rate(requests_total[5m] @ start())",
    "requests_total[1m]",
    "temperature[3m:1m]",
    "\"a text\"",
    "42",
    "1 / 0 - 1 / 0",
    // What both refuse.
    "temperature * requests_total{job=\"api\"} * on() build_info",
    "temperature + on(job) build_info",
    "build_info + on() group_left requests_total",
    "label_replace(temperature, \"instance\", \"x\", \"instance\", \".*\")",
    "sum(",
    "temperature{",
    "rate(temperature)",
    "temperature[5m] + 1",
    "nope(temperature)",
    "1 == 1",
    "{}",
    "temperature[0s]",
    "topk(temperature)",
];

/// A result in order, numbers as such.
fn sorted(answer: &Value) -> Vec<Value> {
    let result = &answer["data"]["result"];
    let mut all = match result.as_array() {
        Some(all) if all.first().is_some_and(Value::is_object) => all.clone(),
        _ => vec![result.clone()],
    };
    all.sort_by_key(|series| series["metric"].to_string());
    all
}

/// Whether two values are the same but for the last digits of numbers.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, value)| b.get(name).is_some_and(|other| alike(value, other)))
        }
        (Value::String(a), Value::String(b)) => {
            let (x, y) = (a.parse::<f64>(), b.parse::<f64>());
            match (x, y) {
                (Ok(x), Ok(y)) => a == b || (x - y).abs() <= 1e-9 * x.abs().max(y.abs()).max(1e-3),
                _ => a == b,
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().unwrap_or(0.0) - b.as_f64().unwrap_or(1.0)).abs() < 1e-3
        }
        _ => a == b,
    }
}

#[test]
fn answers_are_those_of_prometheus() {
    let server = TestServer::start();
    let Some(prometheus) = Prometheus::start(server.folder(), "global: {}\n") else { return };
    let (mut ours, mut theirs) = (server.http(), prometheus.client());
    let base = (now_seconds() / 60 - 70) * 60 + 7;
    let body = write_request(&data(base));
    write(&mut ours, &body);
    write(&mut theirs, &body);
    let mut differ = Vec::new();
    let mut compare = |path: &str| {
        let (mine, other) = (ask(&mut ours, path), ask(&mut theirs, path));
        let same = mine["status"] == other["status"]
            && match mine["status"] == "success" {
                true => {
                    let (mine_all, other_all) = (sorted(&mine), sorted(&other));
                    mine["data"]["resultType"] == other["data"]["resultType"]
                        && mine_all.len() == other_all.len()
                        && mine_all.iter().zip(&other_all).all(|(a, b)| alike(a, b))
                }
                false => mine["errorType"] == other["errorType"],
            };
        (!same).then(|| format!("ours   {mine}\ntheirs {other}"))
    };
    for text in EXPRESSIONS {
        let query = encoded(text);
        for minutes in [1, 17, 28, 45, 66] {
            let time = base + minutes * 60;
            let found = compare(&format!("/api/v1/query?query={query}&time={time}"));
            differ.extend(found.map(|found| format!("{text} at {minutes} min\n{found}")));
        }
        let (start, end) = (base, base + 66 * 60);
        for step in [60, 420] {
            let path =
                format!("/api/v1/query_range?query={query}&start={start}&end={end}&step={step}");
            let found = compare(&path);
            differ.extend(found.map(|found| format!("{text} by {step} s\n{found}")));
        }
    }
    for path in [
        format!("/api/v1/series?match[]=temperature&start={base}&end={}", base + 3600),
        format!("/api/v1/labels?match[]=latency_bucket&start={base}&end={}", base + 3600),
        "/api/v1/labels".to_owned(),
        "/api/v1/label/job/values".to_owned(),
        "/api/v1/label/__name__/values".to_owned(),
        "/api/v1/label/le/values?match[]=latency_bucket".to_owned(),
        "/api/v1/label/nope/values".to_owned(),
    ] {
        let order = |value: &Value| {
            let mut all: Vec<String> =
                value["data"].as_array().expect("a list").iter().map(Value::to_string).collect();
            all.sort();
            all
        };
        let (mine, other) = (ask(&mut server.http(), &path), ask(&mut prometheus.client(), &path));
        if order(&mine) != order(&other) {
            differ.push(format!("{path}\nours   {mine}\ntheirs {other}"));
        }
    }
    let shown: Vec<String> =
        differ.iter().take(12).map(|text| text.chars().take(1500).collect()).collect();
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), shown.join("\n\n"));
}

#[test]
fn prometheus_writes_here_and_reads_here() {
    let server = TestServer::start();
    let (address, password) = (server.server.http, &server.server.password);
    let login = format!("basic_auth: {{ username: admin, password: {password:?} }}");
    let settings = format!(
        "global: {{ scrape_interval: 5s, scrape_timeout: 5s }}
scrape_configs:
  - job_name: millrace
    {login}
    static_configs: [{{ targets: ['{address}'] }}]
remote_write:
  - url: http://{address}/api/v1/write
    {login}
    queue_config: {{ batch_send_deadline: 200ms }}
    metadata_config: {{ send_interval: 1s }}
remote_read:
  - url: http://{address}/api/v1/read
    {login}
    read_recent: true
"
    );
    let Some(prometheus) = Prometheus::start(server.folder(), &settings) else { return };
    let mut ours = server.http();
    // What it scrapes arrives, as rows and as metrics, with what it knows about them.
    wait_for("samples of `up`", || {
        let answer = ask(&mut ours, "/api/v1/query?query=sum(sum_over_time(up[5m]))");
        let count: f64 = answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()?;
        (count >= 2.0).then_some(())
    });
    let row = block_on(server.one("SELECT job, max(value) FROM up GROUP BY job"));
    assert_eq!(row, "millrace|1");
    wait_for("metadata", || {
        let answer = ask(&mut ours, "/api/v1/metadata?metric=millrace_rows_written_total");
        (answer["data"]["millrace_rows_written_total"][0]["type"] == "counter").then_some(())
    });
    let quick = "/api/v1/query?query=rate(millrace_rows_written_total[1m])%20%3E%200";
    wait_for("a rate of its own rows", || {
        (!ask(&mut ours, quick)["data"]["result"].as_array()?.is_empty()).then_some(())
    });
    // What only the server has is read through Prometheus, more samples than a chunk and a frame hold.
    let base = (now_seconds() - 3600) * 1000;
    let sample = |n: i64| (base + n * 7, (n % 1000) as f64 / 8.0);
    let long: Vec<(i64, f64)> = (0..50_000).map(sample).collect();
    let mut all = vec![(labels("only_here,k=long"), long)];
    for k in ["b", "a"] {
        all.push((labels(&format!("only_here,k={k}")), vec![(base, 1.0), (base + 1000, f64::NAN)]));
    }
    write(&mut ours, &write_request(&all));
    let mut theirs = prometheus.client();
    let time = base / 1000 + 400;
    let query = encoded("sum by (k) (count_over_time(only_here[10m]))");
    let answer = ask(&mut theirs, &format!("/api/v1/query?query={query}&time={time}"));
    let counts: Vec<(String, String)> = sorted(&answer)
        .iter()
        .map(|series| {
            let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            (text(&series["metric"]["k"]), text(&series["value"][1]))
        })
        .collect();
    let expected = [("a", "2"), ("b", "2"), ("long", "50000")];
    let expected: Vec<_> = expected.map(|(k, n)| (k.to_owned(), n.to_owned())).to_vec();
    assert_eq!(counts, expected, "{answer}");
    for text in ["sum_over_time(only_here{k=\"long\"}[10m])", "changes(only_here{k=\"long\"}[10m])"]
    {
        let path = format!("/api/v1/query?query={}&time={time}", encoded(text));
        let (mine, other) = (ask(&mut ours, &path), ask(&mut theirs, &path));
        assert!(alike(&mine["data"]["result"], &other["data"]["result"]), "{mine}\n{other}");
    }
}

//! TSBS `cpu-only`: ten clamped random walks a host.

use super::random::Random;
use super::text;

/// Tags in the order of the lines.
pub const CPU_TAGS: [&str; 10] = [
    "hostname",
    "region",
    "datacenter",
    "rack",
    "os",
    "arch",
    "team",
    "service",
    "service_version",
    "service_environment",
];

/// Fields in the order of the lines, all integers 0-100.
pub const CPU_FIELDS: [&str; 10] = [
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

/// First line of the CSV form.
pub const CPU_CSV_HEADER: &str = "time,hostname,region,datacenter,rack,os,arch,team,service,\
    service_version,service_environment,usage_user,usage_system,usage_idle,usage_nice,\
    usage_iowait,usage_irq,usage_softirq,usage_steal,usage_guest,usage_guest_nice\n";

const REGIONS: [(&str, &[&str]); 9] = [
    ("us-east-1", &["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1e"]),
    ("us-west-1", &["us-west-1a", "us-west-1b"]),
    ("us-west-2", &["us-west-2a", "us-west-2b", "us-west-2c"]),
    ("eu-west-1", &["eu-west-1a", "eu-west-1b", "eu-west-1c"]),
    ("eu-central-1", &["eu-central-1a", "eu-central-1b"]),
    ("ap-southeast-1", &["ap-southeast-1a", "ap-southeast-1b"]),
    ("ap-southeast-2", &["ap-southeast-2a", "ap-southeast-2b"]),
    ("ap-northeast-1", &["ap-northeast-1a", "ap-northeast-1c"]),
    ("sa-east-1", &["sa-east-1a", "sa-east-1b", "sa-east-1c"]),
];
const SYSTEMS: [&str; 3] = ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"];
const ARCHITECTURES: [&str; 2] = ["x64", "x86"];
const TEAMS: [&str; 4] = ["SF", "NYC", "LON", "CHI"];
const ENVIRONMENTS: [&str; 3] = ["production", "staging", "test"];
const RACKS: usize = 100;
const SERVICES: usize = 20;
const SERVICE_VERSIONS: usize = 2;

/// What to make.
#[derive(Clone, Debug)]
pub struct CpuSpec {
    /// Number of hosts, `host_0` upwards.
    pub hosts: u32,
    /// Time of the first row of each host, ns.
    pub start_ns: i64,
    /// End of time, ns; no row has it or is later.
    pub end_ns: i64,
    /// Time between two rows of a host, ns; TSBS: 10 s.
    pub interval_ns: i64,
    /// One seed, one data set.
    pub seed: u64,
}

impl CpuSpec {
    /// Rows in all.
    pub fn rows(&self) -> u64 {
        steps(self.start_ns, self.end_ns, self.interval_ns) * u64::from(self.hosts)
    }
}

/// Times of a series that starts at `start` and ends before `end`.
pub(super) fn steps(start: i64, end: i64, interval: i64) -> u64 {
    let span = u64::try_from(i128::from(end) - i128::from(start)).unwrap_or(0);
    span.div_ceil(interval.max(1).unsigned_abs())
}

/// How a row is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Line,
    Csv,
}

/// The generator: all hosts at one time, then all at the next.
#[derive(Clone)]
pub struct CpuOnly {
    spec: CpuSpec,
    random: Random,
    /// Start of each host's line (`cpu,hostname=…,… `) and its CSV values, with their ends.
    lines: Prefixes,
    csv: Prefixes,
    /// Ten walks a host.
    walks: Vec<[f64; 10]>,
    host: usize,
    rows_left: u64,
    time_ns: i64,
    /// `0i` to `100i`, and how many bytes of it a number takes without the `i`.
    numbers: Vec<([u8; 4], u8)>,
    /// `usage_user=` with a comma before all but the first.
    labels: Vec<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Prefixes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Prefixes {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }
}

impl CpuOnly {
    /// Starts at the first row.
    pub fn new(spec: CpuSpec) -> CpuOnly {
        let mut random = Random::new(spec.seed);
        let (mut lines, mut csv) = (Prefixes::default(), Prefixes::default());
        let mut walks = Vec::with_capacity(spec.hosts as usize);
        for host in 0..spec.hosts {
            let (region, datacenters) = random.choice(&REGIONS);
            let values = [
                format!("host_{host}"),
                region.to_string(),
                random.choice(datacenters).to_string(),
                random.below(RACKS).to_string(),
                random.choice(&SYSTEMS).to_string(),
                random.choice(&ARCHITECTURES).to_string(),
                random.choice(&TEAMS).to_string(),
                random.below(SERVICES).to_string(),
                random.below(SERVICE_VERSIONS).to_string(),
                random.choice(&ENVIRONMENTS).to_string(),
            ];
            let tags = CPU_TAGS.iter().zip(&values).map(|(tag, value)| format!(",{tag}={value}"));
            lines.push(&format!("cpu{} ", tags.collect::<String>()));
            csv.push(&format!(",{}", values.join(",")));
            walks.push(std::array::from_fn(|_| random.between(0.0, 100.0)));
        }
        let number = |value: u8| {
            let text = format!("{value}i");
            let mut bytes = [0; 4];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            (bytes, text.len() as u8 - 1)
        };
        let label = |(at, field): (usize, &&str)| {
            let comma = if at == 0 { "" } else { "," };
            format!("{comma}{field}=").into_bytes()
        };
        CpuOnly {
            rows_left: spec.rows(),
            time_ns: spec.start_ns,
            random,
            lines,
            csv,
            walks,
            host: 0,
            numbers: (0..=100).map(number).collect(),
            labels: CPU_FIELDS.iter().enumerate().map(label).collect(),
            spec,
        }
    }

    /// Rows still to come.
    pub fn rows_left(&self) -> u64 {
        self.rows_left
    }

    /// Appends at most `rows_max` lines of line protocol to `out`; the number appended, 0 at the
    /// end.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, rows_max: usize) -> usize {
        self.rows(out, rows_max, Form::Line)
    }

    /// Appends [`CPU_CSV_HEADER`] to `out`.
    pub fn csv_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(CPU_CSV_HEADER.as_bytes());
    }

    /// Appends at most `rows_max` rows of CSV to `out`, without [`CPU_CSV_HEADER`]; times are
    /// RFC 3339 in UTC.
    pub fn next_chunk_csv(&mut self, out: &mut Vec<u8>, rows_max: usize) -> usize {
        self.rows(out, rows_max, Form::Csv)
    }

    fn rows(&mut self, out: &mut Vec<u8>, rows_max: usize, form: Form) -> usize {
        let rows = rows_max.min(usize::try_from(self.rows_left).unwrap_or(usize::MAX));
        out.reserve(rows.min(1 << 16) * 400);
        let mut time = Vec::new();
        self.write_time(&mut time, form);
        for _ in 0..rows {
            if self.host == self.walks.len() {
                self.host = 0;
                self.time_ns += self.spec.interval_ns;
                self.write_time(&mut time, form);
                self.advance();
            }
            match form {
                Form::Line => self.line(out, &time),
                Form::Csv => self.csv_row(out, &time),
            }
            self.host += 1;
        }
        self.rows_left -= rows as u64;
        rows
    }

    fn write_time(&self, time: &mut Vec<u8>, form: Form) {
        time.clear();
        match form {
            Form::Line => {
                time.push(b' ');
                text::integer(time, self.time_ns);
                time.push(b'\n');
            }
            Form::Csv => text::rfc3339(time, self.time_ns),
        }
    }

    #[inline]
    fn line(&self, out: &mut Vec<u8>, time: &[u8]) {
        out.extend_from_slice(self.lines.get(self.host));
        for (label, walk) in self.labels.iter().zip(&self.walks[self.host]) {
            out.extend_from_slice(label);
            let (digits, count) = &self.numbers[*walk as usize];
            out.extend_from_slice(&digits[..usize::from(*count) + 1]);
        }
        out.extend_from_slice(time);
    }

    #[inline]
    fn csv_row(&self, out: &mut Vec<u8>, time: &[u8]) {
        out.extend_from_slice(time);
        out.extend_from_slice(self.csv.get(self.host));
        for walk in &self.walks[self.host] {
            out.push(b',');
            let (digits, count) = &self.numbers[*walk as usize];
            out.extend_from_slice(&digits[..usize::from(*count)]);
        }
        out.push(b'\n');
    }

    /// One step of every walk.
    fn advance(&mut self) {
        for walks in &mut self.walks {
            for walk in walks {
                *walk = (*walk + self.random.normal()).clamp(0.0, 100.0);
            }
        }
    }
}

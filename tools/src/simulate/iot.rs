//! TSBS `iot`: trucks that send `readings` and `diagnostics`, with rows lost, late or without
//! a tag or field, in batches of ten that are lost or late as a whole too.

use std::collections::VecDeque;

use super::cpu::steps;
use super::random::Random;
use super::text;

/// Tags in the order of the lines.
pub const IOT_TAGS: [&str; 5] = ["name", "fleet", "driver", "model", "device_version"];

/// Fields of `readings`; the first three are the truck's own and never change.
pub const READINGS_FIELDS: [&str; 10] = [
    "load_capacity",
    "fuel_capacity",
    "nominal_fuel_consumption",
    "latitude",
    "longitude",
    "elevation",
    "velocity",
    "heading",
    "grade",
    "fuel_consumption",
];

/// Fields of `diagnostics`; `status` alone is an integer.
pub const DIAGNOSTICS_FIELDS: [&str; 6] = [
    "load_capacity",
    "fuel_capacity",
    "nominal_fuel_consumption",
    "fuel_state",
    "current_load",
    "status",
];

const FLEETS: [&str; 4] = ["East", "West", "North", "South"];
const DRIVERS: [&str; 6] = ["Derek", "Rodney", "Albert", "Andy", "Seth", "Trish"];
const VERSIONS: [&str; 4] = ["v1.0", "v1.5", "v2.0", "v2.3"];
/// Model, load capacity, fuel capacity, nominal fuel consumption.
const MODELS: [(&str, [i64; 3]); 3] =
    [("F-150", [2000, 200, 15]), ("G-2000", [5000, 300, 19]), ("H-2", [1500, 150, 12])];
/// Decimals of the fields that change, as in the files of TSBS.
const READINGS_DIGITS: [u32; 7] = [5, 5, 0, 0, 0, 0, 1];
const DIAGNOSTICS_DIGITS: [u32; 3] = [1, 0, 0];

const BATCH_ROWS: usize = 10;
/// Tags as TSBS counts them: the three constant fields are tags there, so clearing one of eight
/// at random clears a constant field as often as a tag.
const TAG_CHOICES: usize = 8;
/// Most changing fields that a row can have.
const FIELD_CHOICES: usize = 7;
const BATCH_LOST: f64 = 0.01;
const BATCH_LATE: f64 = 0.05;
const BATCH_RETURNS: f64 = 0.5;
const ROW_LOST: f64 = 0.1;
const ROW_LATE: f64 = 0.3;
const ROW_RETURNS: f64 = 0.5;
const TAG_CLEARED: f64 = 0.01;
const FIELD_CLEARED: f64 = 0.1;
const LOAD_CHANGES: f64 = 0.05;

/// What to make.
#[derive(Clone, Debug)]
pub struct IotSpec {
    /// Number of trucks, `truck_0` upwards.
    pub trucks: u32,
    /// Time of the first row of each truck, ns.
    pub start_ns: i64,
    /// End of time, ns; no row has it or is later.
    pub end_ns: i64,
    /// Time between two rows of a truck and measurement, ns; TSBS: 10 s.
    pub interval_ns: i64,
    /// One seed, one data set.
    pub seed: u64,
}

impl IotSpec {
    /// Rows before some are lost (about a tenth is).
    pub fn rows_before_loss(&self) -> u64 {
        steps(self.start_ns, self.end_ns, self.interval_ns) * u64::from(self.trucks) * 2
    }
}

#[derive(Clone)]
struct Truck {
    /// `,name=truck_0` …, and `load_capacity=1500` … with what each adds to a line.
    tags: [String; 5],
    constants: [String; 3],
    /// Latitude, longitude, elevation, velocity, heading, grade, fuel consumption.
    readings: [f64; 7],
    fuel: f64,
    status: f64,
}

/// A row on its way: values are scaled by their decimals.
#[derive(Clone, Copy, Debug)]
struct Row {
    truck: u32,
    diagnostics: bool,
    time_ns: i64,
    values: [i64; 7],
    /// Field cleared, among the changing ones.
    field: Option<u8>,
    /// Tag or constant field cleared.
    tag: Option<u8>,
}

/// What happens to the rows of a batch.
#[derive(Default)]
struct Fate {
    returns: [bool; BATCH_ROWS],
    lost: [bool; BATCH_ROWS],
    late: [bool; BATCH_ROWS],
    fields: [Option<u8>; BATCH_ROWS],
    tags: [Option<u8>; BATCH_ROWS],
}

/// The generator.
#[derive(Clone)]
pub struct Iot {
    random: Random,
    trucks: Vec<Truck>,
    /// TSBS has one load for all trucks, changed by any of them; so it is in its files.
    load: f64,
    interval_ns: i64,
    time_ns: i64,
    truck: usize,
    diagnostics: bool,
    rows_left: u64,
    batch: VecDeque<Row>,
    late_batches: VecDeque<VecDeque<Row>>,
    late_rows: VecDeque<Row>,
}

impl Iot {
    /// Starts at the first row.
    pub fn new(spec: IotSpec) -> Iot {
        let mut random = Random::new(spec.seed);
        let trucks = (0..spec.trucks).map(|number| Truck::new(number, &mut random)).collect();
        Iot {
            random,
            trucks,
            load: 0.0,
            interval_ns: spec.interval_ns,
            time_ns: spec.start_ns,
            truck: 0,
            diagnostics: false,
            rows_left: spec.rows_before_loss(),
            batch: VecDeque::new(),
            late_batches: VecDeque::new(),
            late_rows: VecDeque::new(),
        }
    }

    /// Appends at most `rows_max` lines of line protocol to `out`; the number appended, 0 at the
    /// end.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, rows_max: usize) -> usize {
        out.reserve(rows_max.min(1 << 16) * 260);
        let mut rows = 0;
        while rows < rows_max {
            match self.batch.pop_front() {
                Some(row) => {
                    self.write(out, &row);
                    rows += 1;
                }
                None if self.next_batch() => {}
                None => break,
            }
        }
        rows
    }

    /// Fills the batch; false at the end of all.
    fn next_batch(&mut self) -> bool {
        while self.batch.is_empty() {
            if self.rows_left == 0 {
                if let Some(batch) = self.late_batches.pop_front() {
                    self.batch = batch;
                } else {
                    let count = self.late_rows.len().min(BATCH_ROWS);
                    self.batch = self.late_rows.drain(..count).collect();
                }
                return !self.batch.is_empty();
            }
            if self.random.chance(BATCH_LOST) {
                for _ in 0..BATCH_ROWS {
                    self.next_row();
                }
                continue;
            }
            let late = self.random.chance(BATCH_LATE);
            let returns = !self.late_batches.is_empty() && self.random.chance(BATCH_RETURNS);
            let fate = self.fate();
            if returns {
                self.batch = self.late_batches.pop_front().unwrap_or_default();
                continue;
            }
            let batch = self.make_batch(&fate);
            if late && !batch.is_empty() {
                self.late_batches.push_back(batch);
            } else {
                self.batch = batch;
            }
        }
        true
    }

    fn fate(&mut self) -> Fate {
        let mut fate = Fate::default();
        let mut waiting = self.late_rows.len();
        for at in 0..BATCH_ROWS {
            if waiting > 0 && self.random.chance(ROW_RETURNS) {
                fate.returns[at] = true;
                waiting -= 1;
            }
            fate.lost[at] = self.random.chance(ROW_LOST);
            if fate.lost[at] {
                continue;
            }
            if self.random.chance(FIELD_CLEARED) {
                fate.fields[at] = Some(self.random.below(FIELD_CHOICES) as u8);
            }
            if self.random.chance(TAG_CLEARED) {
                fate.tags[at] = Some(self.random.below(TAG_CHOICES) as u8);
            }
            fate.late[at] = self.random.chance(ROW_LATE);
        }
        fate
    }

    fn make_batch(&mut self, fate: &Fate) -> VecDeque<Row> {
        let mut batch = VecDeque::with_capacity(BATCH_ROWS);
        // Lost and late rows use up their place in the fate, not in the batch.
        let mut place = 0;
        while batch.len() < BATCH_ROWS && self.rows_left > 0 {
            let is = |what: &[bool; BATCH_ROWS]| what.get(place).copied().unwrap_or(false);
            let returned = if is(&fate.returns) { self.late_rows.pop_front() } else { None };
            let Some(mut row) = returned.or_else(|| self.next_row()) else {
                break;
            };
            place += 1;
            let at = place - 1;
            if fate.lost.get(at) == Some(&true) {
                continue;
            }
            if fate.late.get(at) == Some(&true) {
                self.late_rows.push_back(row);
                continue;
            }
            let number = batch.len();
            let fields = if row.diagnostics { 3 } else { 7 };
            row.field = fate.fields[number].map(|field| field % fields).or(row.field);
            row.tag = fate.tags[number].or(row.tag);
            batch.push_back(row);
        }
        batch
    }

    /// The next row as the truck measures it.
    fn next_row(&mut self) -> Option<Row> {
        if self.rows_left == 0 {
            return None;
        }
        if self.truck == self.trucks.len() {
            self.truck = 0;
            if self.diagnostics {
                self.advance();
            }
            self.diagnostics = !self.diagnostics;
        }
        let truck = &self.trucks[self.truck];
        let mut values = [0; 7];
        // Cut off, not rounded, as TSBS does.
        if self.diagnostics {
            values[..3].copy_from_slice(&[
                (truck.fuel * 10.0) as i64,
                self.load as i64,
                truck.status as i64,
            ]);
        } else {
            for at in 0..7 {
                values[at] = (truck.readings[at] * 10f64.powi(READINGS_DIGITS[at] as i32)) as i64;
            }
        }
        let row = Row {
            truck: self.truck as u32,
            diagnostics: self.diagnostics,
            time_ns: self.time_ns,
            values,
            field: None,
            tag: None,
        };
        self.truck += 1;
        self.rows_left -= 1;
        Some(row)
    }

    fn advance(&mut self) {
        self.time_ns += self.interval_ns;
        for truck in &mut self.trucks {
            truck.advance(&mut self.random);
            if self.random.chance(LOAD_CHANGES) {
                self.load = self.random.between(0.0, 5000.0);
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>, row: &Row) {
        let truck = &self.trucks[row.truck as usize];
        let (table, labels, digits): (&str, &[&str], &[u32]) = if row.diagnostics {
            ("diagnostics", &DIAGNOSTICS_FIELDS, &DIAGNOSTICS_DIGITS)
        } else {
            ("readings", &READINGS_FIELDS, &READINGS_DIGITS)
        };
        out.extend_from_slice(table.as_bytes());
        for (at, tag) in truck.tags.iter().enumerate() {
            if row.tag != Some(at as u8) {
                out.extend_from_slice(tag.as_bytes());
            }
        }
        let mut separator = b' ';
        for (at, constant) in truck.constants.iter().enumerate() {
            if row.tag != Some((IOT_TAGS.len() + at) as u8) {
                out.push(separator);
                out.extend_from_slice(constant.as_bytes());
                separator = b',';
            }
        }
        for (at, digits) in digits.iter().enumerate() {
            if row.field == Some(at as u8) {
                continue;
            }
            out.push(separator);
            separator = b',';
            let label = labels[3 + at];
            out.extend_from_slice(label.as_bytes());
            out.push(b'=');
            text::decimal(out, row.values[at], *digits);
            if label == "status" {
                out.push(b'i');
            }
        }
        out.push(b' ');
        text::integer(out, row.time_ns);
        out.push(b'\n');
    }
}

impl Truck {
    fn new(number: u32, random: &mut Random) -> Truck {
        let (model, [load, fuel, consumption]) = random.choice(&MODELS);
        Truck {
            tags: [
                format!(",name=truck_{number}"),
                format!(",fleet={}", random.choice(&FLEETS)),
                format!(",driver={}", random.choice(&DRIVERS)),
                format!(",model={model}"),
                format!(",device_version={}", random.choice(&VERSIONS)),
            ],
            constants: [
                format!("load_capacity={load}"),
                format!("fuel_capacity={fuel}"),
                format!("nominal_fuel_consumption={consumption}"),
            ],
            readings: [
                random.between(0.0, 90.0),
                random.between(0.0, 180.0),
                random.between(0.0, 500.0),
                0.0,
                random.between(0.0, 360.0),
                0.0,
                25.0,
            ],
            fuel: 1.0,
            status: 0.0,
        }
    }

    fn advance(&mut self, random: &mut Random) {
        /// Largest step to either side, least and greatest value.
        const WALKS: [(f64, f64, f64); 7] = [
            (0.005, -90.0, 90.0),
            (0.005, -180.0, 180.0),
            (10.0, 0.0, 5000.0),
            (10.0, 0.0, 100.0),
            (5.0, 0.0, 360.0),
            (5.0, 0.0, 100.0),
            (5.0, 0.0, 50.0),
        ];
        for (value, (step, min, max)) in self.readings.iter_mut().zip(WALKS) {
            *value = (*value + random.between(-step, step)).clamp(min, max);
        }
        self.fuel -= random.between(0.0, 0.001);
        if self.fuel <= 0.0 {
            self.fuel = 1.0;
        }
        self.status = (self.status + random.normal()).clamp(0.0, 5.0);
    }
}

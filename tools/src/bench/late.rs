//! `millrace bench late`: rows that come late, by seconds to months, and a backlog of half a year
//! at once. Shows how many parts there are, how much is written again, and that no row is lost,
//! doubled or misplaced.

use std::collections::BTreeMap;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::own::{self, OwnArgs, TemporaryFolder, Verdict};
use super::stream::stream;
use super::timing::{self, Inside};
use crate::client::Connection;
use crate::failure::{Failure, Result};
use crate::generate::DEFAULT_START;
use crate::import::time::{TimeFormat, format_ns};
use crate::settings::parse_day_ns;

const DAY: i64 = 86_400_000_000_000;
/// Requests between two looks at the parts.
const LOOK_EVERY: u64 = 20;
/// Times that a value may be written in all, the first flush included.
const AMPLIFICATION_MAX: f64 = 10.0;

/// Arguments of `bench late`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  millrace bench late                                     100 devices, half a year, 30 % late
  millrace bench late --scale 20 --days 30 --late-share 0.5
  millrace bench late --backlog 50 --server-arg=--memory-bytes-max=512MiB --json late.json")]
pub struct LateArgs {
    /// Devices that send as time goes by, some rows late.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub scale: u32,
    /// Devices whose rows of all the time come at once, at the end.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub backlog: u32,
    /// Days of data.
    #[arg(long, default_value_t = 182, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Seconds between two rows of a device.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub interval_seconds: u32,
    /// Share of the rows that come late: by one interval to half of the time, each magnitude as
    /// often as the next.
    #[arg(long, default_value_t = 0.3)]
    pub late_share: f64,
    /// Share of the rows that come twice.
    #[arg(long, default_value_t = 0.01)]
    pub twice_share: f64,
    /// Seed of values and delays.
    #[arg(long, default_value_t = 123)]
    pub seed: u64,
    /// Connections that write.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Rows of one request.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: u32,
    /// Servers and figures.
    #[command(flatten)]
    pub own: OwnArgs,
}

/// Figures of a run.
#[derive(Debug, Default, Serialize)]
struct Figures {
    rows: u64,
    sent: u64,
    late: u64,
    seconds: f64,
    partitions: u64,
    parts_peak: u64,
    parts_before: u64,
    parts_settled: u64,
    part_bytes: u64,
    flush_bytes: u64,
    merge_bytes: u64,
    merge_bytes_settled: u64,
    settle_seconds: f64,
    peak_memory: u64,
}

/// The rows in the order in which they come.
struct Source {
    rng: StdRng,
    start_ns: i64,
    interval_ns: i64,
    slots: u32,
    devices: u32,
    backlog: u32,
    late_share: f64,
    twice_share: f64,
    batch: usize,
    /// Next row in time of those that are not late: slot and device.
    slot: u32,
    device: u32,
    /// Rows that come later, by the slot at which they do.
    waiting: BTreeMap<u32, Vec<(u32, u32)>>,
    /// Rows due now.
    due: Vec<(u32, u32)>,
    /// Next row of the backlog.
    behind: (u32, u32),
    late: u64,
    sent: u64,
    ledger: Ledger,
}

/// What must be there, by day.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ledger(BTreeMap<i64, (u64, i64)>);

/// Value of a row, told by its place: spread like noise, so that no codec finds the rule.
fn value(device: u32, slot: u32) -> i64 {
    let mut mixed = (u64::from(device) << 32 | u64::from(slot)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) % 10_007) as i64
}

impl Source {
    fn new(args: &LateArgs, start_ns: i64) -> Source {
        let interval_ns = i64::from(args.interval_seconds) * 1_000_000_000;
        let slots = u32::try_from(i64::from(args.days) * DAY / interval_ns).unwrap_or(u32::MAX);
        Source {
            rng: StdRng::seed_from_u64(args.seed),
            start_ns,
            interval_ns,
            slots,
            devices: args.scale,
            backlog: args.backlog,
            late_share: args.late_share,
            twice_share: args.twice_share,
            batch: args.batch_rows as usize,
            slot: 0,
            device: 0,
            waiting: BTreeMap::new(),
            due: Vec::new(),
            behind: (0, 0),
            late: 0,
            sent: 0,
            ledger: Ledger::default(),
        }
    }

    fn time(&self, slot: u32) -> i64 {
        self.start_ns + i64::from(slot) * self.interval_ns
    }

    fn push(&mut self, out: &mut Vec<u8>, device: u32, slot: u32) {
        let (time, value) = (self.time(slot), value(device, slot));
        let kind = if device < self.devices { "live" } else { "backlog" };
        let line = format!(
            "press,device=d{device},kind={kind} heat={}.5,strokes={value}i {time}\n",
            value % 400
        );
        out.extend_from_slice(line.as_bytes());
        self.sent += 1;
    }

    /// A delay in slots: every magnitude up to half of the time is as likely as the next.
    fn delay(&mut self) -> u32 {
        let most = f64::from(self.slots / 2).max(1.0);
        most.powf(self.rng.random_range(0.0..=1.0)).round() as u32
    }

    /// Enters a row into the ledger.
    fn enter(&mut self, device: u32, slot: u32) {
        let day = self.ledger.0.entry(self.time(slot).div_euclid(DAY)).or_default();
        day.0 += 1;
        day.1 += value(device, slot);
    }

    /// The next request; 0 at the end.
    fn next(&mut self, out: &mut Vec<u8>) -> u64 {
        let before = self.sent;
        while ((self.sent - before) as usize) < self.batch {
            if let Some((device, slot)) = self.due.pop() {
                self.push(out, device, slot);
            } else if self.slot < self.slots {
                self.next_in_time(out);
            } else if let Some((_, rows)) = self.waiting.pop_first() {
                // The last of the late ones.
                self.due = rows;
            } else if self.behind.0 < self.backlog {
                let (nth, slot) = self.behind;
                let device = self.devices + nth;
                self.enter(device, slot);
                self.push(out, device, slot);
                self.behind = if slot + 1 < self.slots { (nth, slot + 1) } else { (nth + 1, 0) };
            } else {
                break;
            }
        }
        self.sent - before
    }

    fn next_in_time(&mut self, out: &mut Vec<u8>) {
        let (device, slot) = (self.device, self.slot);
        self.enter(device, slot);
        if self.rng.random_bool(self.late_share) {
            let at = slot.saturating_add(self.delay());
            self.waiting.entry(at).or_default().push((device, slot));
            self.late += 1;
        } else {
            self.push(out, device, slot);
        }
        if self.rng.random_bool(self.twice_share) {
            let at = slot.saturating_add(self.delay());
            self.waiting.entry(at).or_default().push((device, slot));
        }
        self.device += 1;
        if self.device == self.devices {
            self.device = 0;
            self.due.extend(self.waiting.remove(&slot).unwrap_or_default());
            self.slot += 1;
        }
    }
}

/// Runs the command.
pub fn run(args: &LateArgs) -> Result<()> {
    let shares = [args.late_share, args.twice_share];
    if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(Failure::usage("--late-share and --twice-share are from 0 to 1"));
    }
    let temporary = TemporaryFolder::new(args.own.folder.as_deref())?;
    let (server, connection) =
        own::start(&temporary.path().join("database"), &args.own.server_arg)?;
    let start_ns = parse_day_ns(DEFAULT_START).unwrap_or(0);
    let mut source = Source::new(args, start_ns);
    let mut figures = Figures::default();
    eprintln!("writing {} slots of {} devices, some late …", source.slots, args.scale);
    load(args, &connection, &mut source, &mut figures)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.block_on(async {
        let client = connection.postgres().await?;
        check(&client, &source).await?;
        let before = Inside::ask(&client).await?;
        figures.parts_before = before.parts;
        figures.merge_bytes = before.stat("merge_bytes");
        eprintln!("settling …");
        figures.settle_seconds = timing::settle(&client).await?;
        check(&client, &source).await?;
        Inside::ask(&client).await
    })?;
    figures.rows = source.ledger.0.values().map(|(count, _)| count).sum();
    figures.partitions = source.ledger.0.len() as u64;
    figures.parts_settled = inside.parts;
    figures.part_bytes = inside.stat("part_bytes");
    figures.flush_bytes = inside.stat("flush_bytes");
    figures.merge_bytes_settled = inside.stat("merge_bytes");
    (figures.sent, figures.late) = (source.sent, source.late);
    figures.peak_memory = own::stop(server)?;
    args.own.write_json(&figures)?;
    print(&figures);
    inside.print_memory();
    args.own.judge(&verdicts(&figures))
}

/// Writes everything; the parts are counted on the way.
fn load(
    args: &LateArgs,
    connection: &Connection,
    source: &mut Source,
    figures: &mut Figures,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(connection.postgres())?;
    let (mut requests, mut peak, mut failed) = (0, 0, None);
    let next = |out: &mut Vec<u8>| {
        requests += 1;
        if requests % LOOK_EVERY == 0 {
            match runtime.block_on(Inside::ask(&client)) {
                Ok(inside) => peak = peak.max(inside.parts),
                Err(failure) => failed = Some(failure),
            }
        }
        if failed.is_some() { 0 } else { source.next(out) }
    };
    let (_, loaded) = stream(connection, args.workers, next)?;
    figures.seconds = loaded.seconds;
    figures.parts_peak = peak;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Every day's rows against the ledger, and some devices' against their own.
async fn check(client: &tokio_postgres::Client, source: &Source) -> Result<()> {
    let sql = "SELECT time_bucket('1 day', time) AS day, count(*), sum(strokes) FROM press \
               GROUP BY day ORDER BY day";
    let mut found = Ledger::default();
    for row in timing::rows(client, sql).await? {
        let day = TimeFormat::Calendar.parse(&row[0]).map(|ns| ns.div_euclid(DAY));
        let (Some(day), Ok(count), Ok(sum)) = (day, row[1].parse(), row[2].parse()) else {
            return Err(Failure::new(format!("{row:?} is no day with its figures")));
        };
        found.0.insert(day, (count, sum));
    }
    if found != source.ledger {
        let differs = source.ledger.0.iter().find(|(day, want)| found.0.get(day) != Some(want));
        return Err(Failure::new(format!(
            "{} days instead of {}; first difference: {differs:?}, found {:?}",
            found.0.len(),
            source.ledger.0.len(),
            differs.and_then(|(day, _)| found.0.get(day))
        )));
    }
    let last = source.slots - 1;
    for device in [0, source.devices - 1, source.devices + source.backlog.max(1) - 1] {
        if device >= source.devices + source.backlog {
            continue;
        }
        let sql = format!(
            "SELECT time, strokes FROM press WHERE device = 'd{device}' ORDER BY time DESC LIMIT 1"
        );
        let wanted = value(device, last).to_string();
        let rows = timing::rows(client, &sql).await?;
        let right = matches!(&rows[..], [row] if row[1] == wanted
            && TimeFormat::Calendar.parse(&row[0]) == Some(source.time(last)));
        if !right {
            let time = format_ns(source.time(last));
            return Err(Failure::new(format!("{sql}: {rows:?} instead of {wanted} at {time}")));
        }
    }
    Ok(())
}

/// How many times a byte of flushed parts was written in all.
fn amplification(figures: &Figures, merged: u64) -> f64 {
    (figures.flush_bytes + merged) as f64 / figures.flush_bytes.max(1) as f64
}

fn print(figures: &Figures) {
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    println!(
        "\n{} rows ({} sent, {} late) in {:.1} s: {:.0} rows/s; peak memory {:.0} MiB",
        figures.rows,
        figures.sent,
        figures.late,
        figures.seconds,
        figures.sent as f64 / figures.seconds,
        mib(figures.peak_memory)
    );
    println!(
        "parts     at most {} while writing, {} at its end, {} settled (in {:.1} s); \
         {} partitions",
        figures.parts_peak,
        figures.parts_before,
        figures.parts_settled,
        figures.settle_seconds,
        figures.partitions
    );
    println!(
        "written   {:.1} MiB by flushes, {:.1} MiB by merges until the end of writing, {:.1} MiB \
         until settled; {:.1} MiB are left",
        mib(figures.flush_bytes),
        mib(figures.merge_bytes),
        mib(figures.merge_bytes_settled),
        mib(figures.part_bytes)
    );
    println!(
        "          {:.2} times in all until the end of writing, {:.2} times until settled",
        amplification(figures, figures.merge_bytes),
        amplification(figures, figures.merge_bytes_settled)
    );
}

fn verdicts(figures: &Figures) -> Vec<Verdict> {
    // A merge may write each partition anew before the old parts go, and flushes come meanwhile.
    let bound = 2 * figures.partitions + 32;
    let settled = amplification(figures, figures.merge_bytes_settled);
    vec![
        Verdict::new(
            figures.parts_peak.max(figures.parts_before) <= bound,
            format!(
                "at most {} parts; bound {bound}",
                figures.parts_peak.max(figures.parts_before)
            ),
        ),
        Verdict::new(
            figures.parts_settled <= figures.partitions,
            format!("{} parts settled of {} partitions", figures.parts_settled, figures.partitions),
        ),
        Verdict::new(
            settled <= AMPLIFICATION_MAX,
            format!("bytes written {settled:.2} times; bound {AMPLIFICATION_MAX}"),
        ),
        Verdict::new(true, "every day's rows and sums, twice, and the newest of three devices"),
    ]
}

#[cfg(test)]
mod tests {
    //! Tests of the order in which rows come.
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LateArgs,
    }

    #[test]
    fn every_row_comes_and_late_ones_come_late() {
        let words = "x --scale 3 --backlog 2 --days 2 --batch-rows 100 --twice-share 0.1";
        let args = Line::parse_from(words.split(' ')).args;
        let mut source = Source::new(&args, 1_704_067_200_000_000_000);
        let (mut out, mut rows) = (Vec::new(), 0);
        loop {
            let got = source.next(&mut out);
            assert!(got <= 100);
            rows += got;
            if got == 0 {
                break;
            }
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, rows);
        let distinct: BTreeSet<&str> = text.lines().collect();
        // Five devices, a row every five minutes of two days.
        assert_eq!(distinct.len(), 5 * 576);
        assert!(text.lines().count() > distinct.len());
        let entered: u64 = source.ledger.0.values().map(|(count, _)| count).sum();
        assert_eq!((entered, source.ledger.0.len()), (5 * 576, 2));
        let sum: i64 = distinct
            .iter()
            .map(|line| {
                let strokes = line.split("strokes=").nth(1).unwrap();
                strokes.split('i').next().unwrap().parse::<i64>().unwrap()
            })
            .sum();
        assert_eq!(sum, source.ledger.0.values().map(|(_, sum)| sum).sum::<i64>());
        assert!((300..700).contains(&source.late), "{}", source.late);
    }

    #[test]
    fn explosions_are_judged() {
        let good = Figures {
            partitions: 10,
            parts_peak: 52,
            parts_settled: 10,
            flush_bytes: 100,
            merge_bytes_settled: 900,
            ..Figures::default()
        };
        assert!(verdicts(&good).iter().all(|verdict| verdict.holds));
        let bad = Figures { parts_peak: 53, parts_settled: 11, merge_bytes_settled: 901, ..good };
        let holds: Vec<bool> = verdicts(&bad).iter().map(|verdict| verdict.holds).collect();
        assert_eq!(holds, [false, false, false, true]);
    }
}

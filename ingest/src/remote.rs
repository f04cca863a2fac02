//! Prometheus' remote write 1.0: from a `WriteRequest` to the tables of line protocol.
//!
//! A series `name{labels}` is a row's table and key, a sample its field `value`
//! (`query/PROMQL.md` has the rules). The request is read in place, series by series: decoded as a
//! whole, two bytes of an empty series would take a hundred of memory.

mod metadata;
pub mod proto;
#[cfg(test)]
mod tests;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use query::promql::{METRIC_NAME, STALE_BITS, VALUE_FIELD, column_of_label};
use tsdb::types::{OWNED_TABLE_PREFIX, SCHEMA_TABLE_PREFIX};
use tsdb::{Error, Result};

use crate::line::key::Tag;
use crate::line::request::{Context, Parsed, Refusals};
use crate::line::scan::RawValue;
use crate::line::table::TableBatch;
use crate::line::{KEY_BYTES_MAX, NAME_BYTES_MAX, Precision, Reason};
use proto::{Field, Fields, Malformed};

pub use metadata::{Described, Metadata};

/// Fields of the messages (prometheus/prompb: remote.proto, types.proto).
mod field {
    pub const REQUEST_SERIES: u32 = 1;
    pub const REQUEST_METADATA: u32 = 3;
    pub const SERIES_LABELS: u32 = 1;
    pub const SERIES_SAMPLES: u32 = 2;
    pub const SERIES_HISTOGRAMS: u32 = 4;
    pub const LABEL_NAME: u32 = 1;
    pub const LABEL_VALUE: u32 = 2;
    pub const SAMPLE_VALUE: u32 = 1;
    pub const SAMPLE_TIME: u32 = 2;
}

/// Reads a request.
///
/// # Errors
/// [`Error::Invalid`] for bytes that are no `WriteRequest`.
pub(crate) fn parse(body: &[u8], context: &Context<'_>) -> Result<Parsed> {
    let mut request = Request {
        context,
        hasher: RandomState::default(),
        tables: Vec::new(),
        slots: HashMap::new(),
        number: 0,
        rows: 0,
        refusals: Refusals::default(),
    };
    let malformed =
        |Malformed| Error::Invalid("the body is not a WriteRequest of remote write 1.0".to_owned());
    for found in Fields::new(body) {
        if let (field::REQUEST_SERIES, Field::Bytes(series)) = found.map_err(malformed)? {
            request.series(series).map_err(malformed)?;
        }
    }
    let Request { mut tables, refusals, rows, .. } = request;
    tables.iter_mut().for_each(TableBatch::seal);
    tables.retain(|table| !table.sealed.is_empty());
    Ok(Parsed { tables, refusals, rows })
}

struct Request<'a, 'c> {
    context: &'c Context<'c>,
    hasher: RandomState,
    tables: Vec<TableBatch>,
    slots: HashMap<&'a str, u32>,
    /// Number of the sample that was read last.
    number: u64,
    rows: u64,
    refusals: Refusals,
}

impl<'a> Request<'a, '_> {
    /// Takes the samples of one series; what cannot be taken is refused and not an error.
    fn series(&mut self, bytes: &'a [u8]) -> std::result::Result<(), Malformed> {
        let labels = labels(bytes, self.context.limits.columns_max)?;
        let place = labels.and_then(|labels| self.place(&labels));
        for found in Fields::new(bytes) {
            match found? {
                (field::SERIES_SAMPLES, Field::Bytes(sample)) => {
                    let (time, value) = sample_of(sample)?;
                    self.number += 1;
                    let done = match &place {
                        Ok(place) => self.sample(*place, time, value),
                        Err(reason) => Err(reason.clone()),
                    };
                    if let Err(reason) = done {
                        self.refuse(reason);
                    }
                }
                (field::SERIES_HISTOGRAMS, Field::Bytes(_)) => {
                    self.number += 1;
                    self.refuse("native histograms are not supported".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refuse(&mut self, reason: Reason) {
        // A later round tells nothing anew.
        if self.context.only.is_none() {
            let told_max = self.context.line_limits.refused_told_max;
            self.refusals.add(self.number, reason, told_max);
        }
    }

    /// Table and series that labels name.
    fn place(&mut self, labels: &[(&'a str, &'a str)]) -> std::result::Result<(u32, u32), Reason> {
        let name =
            labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, name)| name);
        if name.is_empty() {
            return Err("a series without __name__".into());
        }
        let slot = self.table(name)?;
        let mut tags = Vec::with_capacity(labels.len());
        for (label, value) in labels.iter().filter(|(label, _)| *label != METRIC_NAME) {
            let column = column_of_label(label);
            check_name(&column, "label")?;
            tags.push(Tag { name: column, value: (*value).into() });
        }
        let table = &mut self.tables[slot as usize];
        let series = table
            .series_of_tags(&tags, self.context.catalogue)
            .map_err(|reason| Reason::from(format!("metric {name:?}: {reason}")))?;
        Ok((slot, series))
    }

    fn table(&mut self, name: &'a str) -> std::result::Result<u32, Reason> {
        if let Some(slot) = self.slots.get(name) {
            return Ok(*slot);
        }
        check_name(name, "metric")?;
        if let Some(why) = self.context.denied.get(name) {
            return Err(why.clone().into());
        }
        if name.starts_with(OWNED_TABLE_PREFIX) {
            let why = format!("metrics that begin with {OWNED_TABLE_PREFIX} are reserved");
            return Err(why.into());
        }
        if name.starts_with(SCHEMA_TABLE_PREFIX) {
            let why = format!("metrics that begin with {SCHEMA_TABLE_PREFIX} are reserved");
            return Err(why.into());
        }
        let schema = self.context.catalogue.table(name);
        let slot = self.tables.len() as u32;
        self.tables.push(TableBatch::new(name, schema, &self.hasher));
        self.slots.insert(name, slot);
        Ok(slot)
    }

    fn sample(
        &mut self,
        (slot, series): (u32, u32),
        time_ms: i64,
        value: RawValue<'_>,
    ) -> std::result::Result<(), Reason> {
        let context = self.context;
        let times = context.limits.times;
        let time = time_ms.checked_mul(Precision::Millis.nanos()).filter(|t| times.contains(*t));
        let Some(time) = time else {
            let (min, max) = (times.min / 1_000_000, times.max / 1_000_000);
            return Err(format!("the time {time_ms} ms lies outside {min} to {max}").into());
        };
        let table = &mut self.tables[slot as usize];
        let number = self.number;
        if let Some(only) = context.only
            && !only.get(&*table.name).is_some_and(|spans| {
                spans.iter().any(|(first, last)| (*first..=*last).contains(&number))
            })
        {
            return Ok(());
        }
        let taken = table.named_field(VALUE_FIELD, &context.limits).and_then(|column| {
            table.commit(series, time, &[(column, value)], number, &context.limits)
        });
        match taken {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(reason) => {
                table.forget();
                Err(format!("metric {:?}: {reason}", table.name).into())
            }
        }
    }
}

/// Labels of a series, or why they cannot be taken; those without a value are left out, as Prometheus
/// means it.
type Labels<'a> = std::result::Result<Vec<(&'a str, &'a str)>, Reason>;

fn labels(series: &[u8], labels_max: usize) -> std::result::Result<Labels<'_>, Malformed> {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    let mut bytes = 0;
    for found in Fields::new(series) {
        let (field::SERIES_LABELS, Field::Bytes(label)) = found? else { continue };
        let (mut name, mut value) = ("", "");
        for found in Fields::new(label) {
            match found? {
                (field::LABEL_NAME, Field::Bytes(bytes)) => name = utf8(bytes)?,
                (field::LABEL_VALUE, Field::Bytes(bytes)) => value = utf8(bytes)?,
                _ => {}
            }
        }
        if value.is_empty() {
            continue;
        }
        bytes += name.len() + value.len();
        if labels.len() > labels_max {
            return Ok(Err(format!("a series of more than {labels_max} labels").into()));
        }
        if bytes > KEY_BYTES_MAX {
            let why = format!("the labels of a series are longer than {KEY_BYTES_MAX} bytes");
            return Ok(Err(why.into()));
        }
        labels.push((name, value));
    }
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Ok(Err(format!("label {:?} is there twice", pair[0]).into()));
    }
    Ok(Ok(labels))
}

fn check_name(name: &str, what: &str) -> std::result::Result<(), Reason> {
    if name.is_empty() {
        return Err(format!("a {what} without a name").into());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the name of a {what} is longer than {NAME_BYTES_MAX} bytes").into());
    }
    if name.contains('\0') {
        return Err(format!("the name of a {what} holds a NUL byte").into());
    }
    Ok(())
}

/// Time in ms and value. A stale marker is a reading without a value.
fn sample_of(bytes: &[u8]) -> std::result::Result<(i64, RawValue<'_>), Malformed> {
    let (mut time, mut value) = (0, 0.0);
    for found in Fields::new(bytes) {
        match found? {
            (field::SAMPLE_VALUE, Field::Fixed64(bits)) => value = f64::from_bits(bits),
            (field::SAMPLE_TIME, Field::Varint(ms)) => time = ms as i64,
            (field::SAMPLE_VALUE | field::SAMPLE_TIME, _) => return Err(Malformed),
            _ => {}
        }
    }
    let value = match value.to_bits() == STALE_BITS {
        true => RawValue::Missing,
        false => RawValue::Float(value),
    };
    Ok((time, value))
}

fn utf8(bytes: &[u8]) -> std::result::Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

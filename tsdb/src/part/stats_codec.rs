//! Zone statistics of one column over an index page, figure by figure (FORMAT.md, "Statistics").
//!
//! Each figure is written against one that is known by then, so that the numbers are small: the
//! first value against the last one of the zone before, extremes against first and last, the sum
//! against the middle of the extremes. All of it wraps and so loses nothing. Floats with few
//! digits behind the point are written as such integers, and how many floats their sum lies off.

use super::TextRange;
use super::zones::{ZoneStats, ZoneValues};
use crate::codec::bytes::{Reader, put_nested};
use crate::codec::{
    Level, TextsRef, corrupt, decimal, decode_floats, decode_ints, decode_texts, digits_of,
    encode_floats, encode_ints, encode_texts, nearest_decimal, undo_decimal,
};
use crate::error::Result;
use crate::types::{BytesColumn, PhysicalType};

/// The sum left `i64`.
const FLAG_OVERFLOW: i64 = 1;
/// A value is NaN.
const FLAG_NAN: i64 = 2;
/// The float figures are written as they are, not as decimals.
const FLAG_PLAIN: i64 = 4;

fn put_ints(values: impl Iterator<Item = i64>, level: Level, out: &mut Vec<u8>) {
    let values: Vec<i64> = values.collect();
    put_nested(out, |nested| encode_ints(&values, level, nested));
}

fn take_ints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>> {
    decode_ints(reader.nested()?, count)
}

/// Appends the statistics of all zones; `zone_rows` are their rows.
pub fn encode_stats(
    kind: PhysicalType,
    stats: &[ZoneStats],
    zone_rows: &[u32],
    level: Level,
    out: &mut Vec<u8>,
) {
    let missing = stats.iter().zip(zone_rows).map(|(s, rows)| i64::from(*rows) - i64::from(s.good));
    put_ints(missing, level, out);
    put_ints(stats.iter().map(|s| i64::from(s.not_good)), level, out);
    put_ints(stats.iter().map(|s| i64::from(s.nulls)), level, out);
    match kind {
        PhysicalType::Int | PhysicalType::Bool => encode_int_figures(stats, level, out),
        PhysicalType::Float => encode_float_figures(stats, level, out),
        PhysicalType::Bytes => {}
    }
}

/// Reads what [`encode_stats`] wrote.
pub fn decode_stats(
    kind: PhysicalType,
    reader: &mut Reader<'_>,
    zone_rows: &[u32],
) -> Result<Vec<ZoneStats>> {
    let missing = take_ints(reader, zone_rows.len())?;
    let not_good = take_ints(reader, zone_rows.len())?;
    let nulls = take_ints(reader, zone_rows.len())?;
    let mut stats = Vec::with_capacity(zone_rows.len());
    for (((rows, missing), not_good), nulls) in
        zone_rows.iter().zip(&missing).zip(&not_good).zip(&nulls)
    {
        let count = |n: i64| u32::try_from(n).map_err(|_| corrupt("a count of cells"));
        let good = count(i64::from(*rows).wrapping_sub(*missing))?;
        let (not_good, nulls) = (count(*not_good)?, count(*nulls)?);
        if u64::from(good) + u64::from(not_good) + u64::from(nulls) > u64::from(*rows) {
            return Err(corrupt("more cells than rows in a zone"));
        }
        stats.push(ZoneStats { good, not_good, nulls, values: ZoneValues::None });
    }
    match kind {
        PhysicalType::Int | PhysicalType::Bool => decode_int_figures(&mut stats, reader)?,
        PhysicalType::Float => decode_float_figures(&mut stats, reader)?,
        PhysicalType::Bytes => {}
    }
    Ok(stats)
}

/// What the sum is expected to be: the middle of the extremes for every value.
fn expected_sum(min: i64, max: i64, count: u32) -> i64 {
    ((i128::from(min) + i128::from(max)) * i128::from(count) / 2) as i64
}

/// First, last, min and max, each against what is known by then; `before` is the last value of
/// the zone before.
fn differences([first, last, min, max]: [i64; 4], before: i64) -> [i64; 4] {
    [
        first.wrapping_sub(before),
        last.wrapping_sub(first),
        first.min(last).wrapping_sub(min),
        max.wrapping_sub(first.max(last)),
    ]
}

/// Undoes [`differences`].
fn undo_differences([first, last, min, max]: [i64; 4], before: i64) -> [i64; 4] {
    let first = before.wrapping_add(first);
    let last = first.wrapping_add(last);
    [first, last, first.min(last).wrapping_sub(min), first.max(last).wrapping_add(max)]
}

fn encode_int_figures(stats: &[ZoneStats], level: Level, out: &mut Vec<u8>) {
    let mut columns: [Vec<i64>; 6] = Default::default();
    let mut before = 0i64;
    for stats in stats {
        let ZoneValues::Int { min, max, sum, first, last } = stats.values else {
            continue;
        };
        let expected = expected_sum(min, max, stats.count());
        let [a, b, c, d] = differences([first, last, min, max], before);
        let flags = if sum.is_none() { FLAG_OVERFLOW } else { 0 };
        let figures = [flags, a, b, c, d, sum.map_or(0, |sum| sum.wrapping_sub(expected))];
        before = last;
        columns.iter_mut().zip(figures).for_each(|(column, figure)| column.push(figure));
    }
    for column in columns {
        put_nested(out, |nested| encode_ints(&column, level, nested));
    }
}

fn decode_int_figures(stats: &mut [ZoneStats], reader: &mut Reader<'_>) -> Result<()> {
    let count = stats.iter().filter(|s| s.count() > 0).count();
    let mut next = || Ok::<_, crate::Error>(take_ints(reader, count)?.into_iter());
    let (flags, firsts, lasts) = (next()?, next()?, next()?);
    let (mins, maxes, sums) = (next()?, next()?, next()?);
    let figures = flags.zip(firsts).zip(lasts).zip(mins).zip(maxes).zip(sums);
    let mut before = 0i64;
    let zones = stats.iter_mut().filter(|s| s.count() > 0);
    for (stats, (((((flags, first), last), min), max), sum)) in zones.zip(figures) {
        let [first, last, min, max] = undo_differences([first, last, min, max], before);
        let expected = expected_sum(min, max, stats.count());
        let sum = (flags & FLAG_OVERFLOW == 0).then(|| sum.wrapping_add(expected));
        before = last;
        stats.values = ZoneValues::Int { min, max, sum, first, last };
    }
    Ok(())
}

/// The five figures of a float zone: first, last, min, max, sum.
type Figures = [f64; 5];

/// First, last, least and greatest as integers, the sum as the nearest such integer and how many
/// floats away it lies. `None` where a figure has no such form.
fn to_scaled(figures: &Figures, digits: u8) -> Option<([i64; 5], i64)> {
    let [first, last, min, max, sum] = *figures;
    let whole = |value| decimal(value, digits);
    let near = nearest_decimal(sum, digits)?;
    let away = (sum.to_bits() as i64).wrapping_sub(undo_decimal(near, digits)?.to_bits() as i64);
    Some(([whole(first)?, whole(last)?, whole(min)?, whole(max)?, near], away))
}

/// The fewest digits that suit every zone that has some at all.
fn common_digits(figures: &[Figures]) -> u8 {
    let of_zone = |figures: &Figures| {
        let mut digits = 0;
        for figure in &figures[..4] {
            digits = digits.max(digits_of(*figure)?);
        }
        Some(digits)
    };
    figures.iter().filter_map(of_zone).max().unwrap_or(0)
}

fn encode_float_figures(stats: &[ZoneStats], level: Level, out: &mut Vec<u8>) {
    let mut flags: Vec<i64> = Vec::new();
    let mut figures: Vec<Figures> = Vec::new();
    let mut counts: Vec<u32> = Vec::new();
    for stats in stats {
        if let ZoneValues::Float { min, max, sum, first, last, nan } = stats.values {
            flags.push(if nan { FLAG_NAN } else { 0 });
            figures.push([first, last, min, max, sum]);
            counts.push(stats.count());
        }
    }
    let digits = common_digits(&figures);
    let mut ints: [Vec<i64>; 6] = Default::default();
    let mut plain: [Vec<f64>; 5] = Default::default();
    let mut before = 0i64;
    for ((flags, figures), count) in flags.iter_mut().zip(&figures).zip(&counts) {
        let Some(([first, last, min, max, sum], away)) = to_scaled(figures, digits) else {
            *flags |= FLAG_PLAIN;
            plain.iter_mut().zip(figures).for_each(|(column, figure)| column.push(*figure));
            continue;
        };
        let differences = differences([first, last, min, max], before);
        let sum = sum.wrapping_sub(expected_sum(min, max, *count));
        before = last;
        let figures = differences.into_iter().chain([sum, away]);
        ints.iter_mut().zip(figures).for_each(|(column, figure)| column.push(figure));
    }
    put_nested(out, |nested| encode_ints(&flags, level, nested));
    out.push(digits);
    for column in ints {
        put_nested(out, |nested| encode_ints(&column, level, nested));
    }
    for column in plain {
        put_nested(out, |nested| encode_floats(&column, level, nested));
    }
}

fn decode_float_figures(stats: &mut [ZoneStats], reader: &mut Reader<'_>) -> Result<()> {
    let count = stats.iter().filter(|s| s.count() > 0).count();
    let flags = take_ints(reader, count)?;
    let digits = reader.u8()?;
    let plain = flags.iter().filter(|f| **f & FLAG_PLAIN != 0).count();
    let mut ints = || Ok::<_, crate::Error>(take_ints(reader, count - plain)?.into_iter());
    let (firsts, lasts, mins) = (ints()?, ints()?, ints()?);
    let (maxes, sums, aways) = (ints()?, ints()?, ints()?);
    let mut ints = firsts.zip(lasts).zip(mins).zip(maxes).zip(sums).zip(aways);
    let mut floats = || Ok::<_, crate::Error>(decode_floats(reader.nested()?, plain)?.into_iter());
    let (firsts, lasts, mins) = (floats()?, floats()?, floats()?);
    let mut floats = firsts.zip(lasts).zip(mins).zip(floats()?).zip(floats()?);
    let mut before = 0i64;
    let wrong = || corrupt("a float's digits");
    for (stats, flags) in stats.iter_mut().filter(|s| s.count() > 0).zip(flags) {
        let nan = flags & FLAG_NAN != 0;
        stats.values = if flags & FLAG_PLAIN != 0 {
            let ((((first, last), min), max), sum) = floats.next().ok_or_else(wrong)?;
            ZoneValues::Float { min, max, sum, first, last, nan }
        } else {
            let (((((a, b), c), d), sum), away) = ints.next().ok_or_else(wrong)?;
            let [first, last, min, max] = undo_differences([a, b, c, d], before);
            let near = sum.wrapping_add(expected_sum(min, max, stats.count()));
            before = last;
            let float = |int| undo_decimal(int, digits).ok_or_else(wrong);
            let sum = f64::from_bits(float(near)?.to_bits().wrapping_add(away as u64));
            let (min, max) = (float(min)?, float(max)?);
            ZoneValues::Float { min, max, sum, first: float(first)?, last: float(last)?, nan }
        };
    }
    Ok(())
}

/// Appends the ranges of text blocks; a block without a value has none.
pub fn encode_text_ranges(ranges: &[Option<TextRange>], level: Level, out: &mut Vec<u8>) {
    let flags = ranges.iter().map(|r| match r {
        None => 0,
        Some(range) => 1 + i64::from(range.max_cut),
    });
    put_ints(flags, level, out);
    let (mut mins, mut maxes) = (BytesColumn::default(), BytesColumn::default());
    for range in ranges.iter().flatten() {
        mins.push(&range.min);
        maxes.push(&range.max);
    }
    for texts in [mins, maxes] {
        let texts = TextsRef { offsets: &texts.offsets, data: &texts.data };
        put_nested(out, |nested| encode_texts(texts, level, nested));
    }
}

/// Reads what [`encode_text_ranges`] wrote.
pub fn decode_text_ranges(
    reader: &mut Reader<'_>,
    blocks: usize,
) -> Result<Vec<Option<TextRange>>> {
    let flags = take_ints(reader, blocks)?;
    let count = flags.iter().filter(|f| **f != 0).count();
    let mins = decode_texts(reader.nested()?, count)?;
    let maxes = decode_texts(reader.nested()?, count)?;
    let mut next = 0;
    let ranges = flags.iter().map(|flag| {
        (*flag != 0).then(|| {
            next += 1;
            TextRange {
                min: mins.get(next - 1).to_vec(),
                max: maxes.get(next - 1).to_vec(),
                max_cut: *flag == 2,
            }
        })
    });
    Ok(ranges.collect())
}

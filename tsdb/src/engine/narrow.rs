//! Narrow arrays: the light encoding of columns inside log records (FORMAT.md, "Write commands").
//!
//! The log is written once and read only after a crash, so the encoding spends no time on size
//! beyond cutting the bytes that a batch does not use: integers as offsets from their least in
//! 0, 1, 2, 4 or 8 bytes; floats as scaled integers where that is exact, else as they are.

use super::bytes::Reader;
use crate::error::Result;
use crate::types::{BytesColumn, CellState, Column, PhysicalType, Values};

const FLOAT_RAW: u8 = 0xff;
const POWERS: [f64; 6] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];

/// Appends integers: least value `i64`, width `u8`, then `width` bytes each.
pub fn put_ints(out: &mut Vec<u8>, values: &[i64]) {
    let min = values.iter().copied().min().unwrap_or(0);
    let max = values.iter().copied().max().unwrap_or(0);
    let span = max.wrapping_sub(min) as u64;
    let width = match span {
        0 => 0u8,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    out.extend_from_slice(&min.to_le_bytes());
    out.push(width);
    let offset = |v: &i64| v.wrapping_sub(min) as u64;
    match width {
        0 => {}
        1 => out.extend(values.iter().map(|v| offset(v) as u8)),
        2 => out.extend(values.iter().flat_map(|v| (offset(v) as u16).to_le_bytes())),
        4 => out.extend(values.iter().flat_map(|v| (offset(v) as u32).to_le_bytes())),
        _ => out.extend(values.iter().flat_map(|v| offset(v).to_le_bytes())),
    }
}

/// Reads `count` integers that [`put_ints`] wrote.
pub fn ints(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>> {
    let min = reader.i64()?;
    let width = reader.u8()? as usize;
    if !matches!(width, 0 | 1 | 2 | 4 | 8) {
        return Err(reader.error(format_args!("no integers are {width} bytes wide")));
    }
    let Some(len) = count.checked_mul(width) else {
        return Err(reader.error("too many integers"));
    };
    let bytes = reader.take(len)?;
    let add = |offset: u64| min.wrapping_add(offset as i64);
    Ok(match width {
        0 => vec![min; count],
        1 => bytes.iter().map(|b| add(u64::from(*b))).collect(),
        2 => bytes.as_chunks().0.iter().map(|c| add(u64::from(u16::from_le_bytes(*c)))).collect(),
        4 => bytes.as_chunks().0.iter().map(|c| add(u64::from(u32::from_le_bytes(*c)))).collect(),
        _ => bytes.as_chunks().0.iter().map(|c| add(u64::from_le_bytes(*c))).collect(),
    })
}

/// Appends times: the largest power of ten up to 10^9 that divides all of them, then the
/// quotients as integers.
pub fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    let mut unit = 1_000_000_000i64;
    for time in times {
        while time % unit != 0 {
            unit /= 10;
        }
        if unit == 1 {
            break;
        }
    }
    out.extend_from_slice(&unit.to_le_bytes());
    if unit == 1 {
        put_ints(out, times);
    } else {
        let cut: Vec<i64> = times.iter().map(|t| t / unit).collect();
        put_ints(out, &cut);
    }
}

/// Reads `count` times that [`put_times`] wrote.
pub fn times(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>> {
    let unit = reader.i64()?;
    if !(1..=1_000_000_000).contains(&unit) {
        return Err(reader.error(format_args!("{unit} is no unit of time")));
    }
    let mut times = ints(reader, count)?;
    if unit != 1 {
        for time in &mut times {
            *time = time.wrapping_mul(unit);
        }
    }
    Ok(times)
}

/// The least power of ten that makes `value` an integer exactly, if one up to 10^5 does.
fn decimals(value: f64, from: usize) -> Option<usize> {
    (from..POWERS.len()).find(|k| scaled(value, *k).is_some())
}

fn scaled(value: f64, k: usize) -> Option<i64> {
    let product = (value * POWERS[k]).round();
    let fits = product.abs() < 9_007_199_254_740_992.0;
    // Through the integer, as the reader does it: a negative zero does not survive that.
    let back = (product as i64) as f64 / POWERS[k];
    (fits && back.to_bits() == value.to_bits()).then_some(product as i64)
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    let mut k = 0;
    let fits = values.iter().take(64).all(|v| match decimals(*v, k) {
        Some(wanted) => {
            k = wanted;
            true
        }
        None => false,
    });
    let ints: Option<Vec<i64>> =
        if fits { values.iter().map(|v| scaled(*v, k)).collect() } else { None };
    match ints {
        Some(ints) => {
            out.push(k as u8);
            put_ints(out, &ints);
        }
        None => {
            out.push(FLOAT_RAW);
            out.extend(values.iter().flat_map(|v| v.to_bits().to_le_bytes()));
        }
    }
}

fn floats(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>> {
    let kind = reader.u8()?;
    if kind == FLOAT_RAW {
        let Some(len) = count.checked_mul(8) else { return Err(reader.error("too many floats")) };
        let bytes = reader.take(len)?;
        let bits = bytes.as_chunks().0.iter().map(|c| f64::from_bits(u64::from_le_bytes(*c)));
        return Ok(bits.collect());
    }
    let Some(power) = POWERS.get(usize::from(kind)) else {
        return Err(reader.error(format_args!("no floats are scaled by 10^{kind}")));
    };
    Ok(ints(reader, count)?.into_iter().map(|v| v as f64 / power).collect())
}

/// Appends a column: physical type `u8`, flag of states `u8`, states, values.
pub fn put_column(out: &mut Vec<u8>, column: &Column) {
    out.push(column.values.physical() as u8);
    match &column.states {
        None => out.push(0),
        Some(states) => {
            out.push(1);
            out.extend_from_slice(states);
        }
    }
    match &column.values {
        Values::Int(values) => put_ints(out, values),
        Values::Float(values) => put_floats(out, values),
        Values::Bool(values) => out.extend(values.iter().map(|v| u8::from(*v))),
        Values::Bytes(values) => {
            let lengths: Vec<i64> =
                values.offsets.windows(2).map(|w| i64::from(w[1] - w[0])).collect();
            put_ints(out, &lengths);
            out.extend_from_slice(&values.data);
        }
    }
}

/// Reads a column of `count` cells that [`put_column`] wrote.
pub fn column(reader: &mut Reader<'_>, count: usize) -> Result<Column> {
    let number = reader.u8()?;
    let Some(kind) = PhysicalType::from_number(number) else {
        return Err(reader.error(format_args!("no physical type has the number {number}")));
    };
    let states = match reader.u8()? {
        0 => None,
        1 => {
            let states = reader.take(count)?.to_vec();
            if states.iter().any(|s| !CellState(*s).is_valid()) {
                return Err(reader.error("a cell state that no writer writes"));
            }
            Some(states)
        }
        _ => return Err(reader.error("a flag is neither 0 nor 1")),
    };
    let values = match kind {
        PhysicalType::Int => Values::Int(ints(reader, count)?),
        PhysicalType::Float => Values::Float(floats(reader, count)?),
        PhysicalType::Bool => {
            let bytes = reader.take(count)?;
            if bytes.iter().any(|b| *b > 1) {
                return Err(reader.error("a boolean is neither 0 nor 1"));
            }
            Values::Bool(bytes.iter().map(|b| *b == 1).collect())
        }
        PhysicalType::Bytes => Values::Bytes(byte_strings(reader, count)?),
    };
    Ok(Column { values, states })
}

fn byte_strings(reader: &mut Reader<'_>, count: usize) -> Result<BytesColumn> {
    let lengths = ints(reader, count)?;
    let mut offsets = Vec::with_capacity(count + 1);
    let mut end = 0u32;
    offsets.push(0);
    for length in lengths {
        let next = u32::try_from(length).ok().and_then(|length| end.checked_add(length));
        let Some(next) = next else { return Err(reader.error("byte strings past 4 GiB")) };
        end = next;
        offsets.push(end);
    }
    Ok(BytesColumn { offsets, data: reader.take(end as usize)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(column: Column) {
        let mut out = Vec::new();
        put_column(&mut out, &column);
        let mut reader = Reader::new(&out, "test");
        let back = super::column(&mut reader, column.len()).unwrap();
        reader.end().unwrap();
        assert_eq!(back.states, column.states);
        match (&back.values, &column.values) {
            (Values::Float(a), Values::Float(b)) => {
                let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(a), bits(b));
            }
            (a, b) => assert_eq!(a, b),
        }
        for cut in 0..out.len() {
            let mut reader = Reader::new(&out[..cut], "test");
            let short = super::column(&mut reader, column.len());
            assert!(short.is_err() || column.is_empty(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn ints_come_back(values in prop::collection::vec(any::<i64>(), 0..40), shift in 0u32..63) {
            check(Column::good(Values::Int(values.iter().map(|v| v >> shift).collect())));
        }

        #[test]
        fn floats_come_back(values in prop::collection::vec(any::<u64>(), 0..40)) {
            check(Column::good(Values::Float(values.iter().map(|v| f64::from_bits(*v)).collect())));
        }

        #[test]
        fn decimals_come_back(values in prop::collection::vec(-1_000_000i64..1_000_000, 0..90)) {
            let floats = values.iter().map(|v| *v as f64 / 100.0).collect();
            check(Column::good(Values::Float(floats)));
        }

        #[test]
        fn texts_come_back(values in prop::collection::vec(".{0,9}", 0..20)) {
            let mut column = BytesColumn::default();
            values.iter().for_each(|v| column.push(v.as_bytes()));
            let states = vec![CellState::GOOD.0; values.len()];
            check(Column { values: Values::Bytes(column), states: Some(states) });
        }

        #[test]
        fn times_come_back(values in prop::collection::vec(any::<i64>(), 0..20), unit in 0u32..10) {
            let unit = 10i64.pow(unit);
            let times: Vec<i64> = values.iter().map(|v| v / unit * unit).collect();
            let mut out = Vec::new();
            put_times(&mut out, &times);
            let mut reader = Reader::new(&out, "test");
            prop_assert_eq!(super::times(&mut reader, times.len()).unwrap(), times);
        }
    }

    #[test]
    fn negative_zero_and_nan_stay() {
        check(Column::good(Values::Float(vec![-0.0, 0.0, f64::NAN, f64::INFINITY, 1e300])));
        check(Column::good(Values::Float(vec![-0.0])));
        check(Column::good(Values::Float(vec![-0.0, 0.5, -1.25])));
        check(Column::good(Values::Bool(vec![true, false])));
    }
}

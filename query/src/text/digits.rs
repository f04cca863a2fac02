//! Numbers into buffers of fixed width, for the fast road of the row encoder. Prints what
//! `number` prints.

use super::number;

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < 100 {
        pairs[at] = [b'0' + (at / 10) as u8, b'0' + (at % 10) as u8];
        at += 1;
    }
    pairs
};

/// Puts two digits of `value`, below 100, at `at`.
#[inline]
pub fn put_pair<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, value: usize) {
    out[at..at + 2].copy_from_slice(&PAIRS[value]);
}

/// Puts a whole number at `at` and returns where it ends; 20 bytes at most.
#[inline]
pub fn put_signed<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, value: i64) -> usize {
    let mut at = at;
    if value < 0 {
        out[at] = b'-';
        at += 1;
    }
    put_unsigned(out, at, value.unsigned_abs())
}

#[inline]
fn put_unsigned<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, value: u64) -> usize {
    if value < FOUR_MAX {
        let digits = four(value);
        // The last digit stays.
        let zeros = ((digits ^ ZEROS) | 1 << 24).trailing_zeros() / 8;
        out[at..at + 4].copy_from_slice(&(digits >> (8 * zeros)).to_le_bytes());
        return at + 4 - zeros as usize;
    }
    let end = at + value.ilog10() as usize + 1;
    put_backwards(out, at, end, value);
    end
}

/// Numbers below it have at most four digits.
const FOUR_MAX: u64 = 10_000;
/// `0000`.
const ZEROS: u32 = u32::from_le_bytes([b'0'; 4]);

/// The four digits of a number below [`FOUR_MAX`], the first in the lowest byte.
#[inline]
fn four(value: u64) -> u32 {
    let pair = |value: u64| u32::from(u16::from_le_bytes(PAIRS[value as usize]));
    let high = value / 100;
    pair(high) | pair(value - 100 * high) << 16
}

/// Puts a point and four digits of a fraction at `at`, without its last zeros, and returns where
/// it ends; nothing of it counts for 0. Writes five bytes.
#[inline]
fn put_four<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, value: u64) -> usize {
    let digits = four(value);
    out[at] = b'.';
    out[at + 1..at + 5].copy_from_slice(&digits.to_le_bytes());
    match digits ^ ZEROS {
        0 => at,
        digits => at + 5 - digits.leading_zeros() as usize / 8,
    }
}

/// Puts the digits of `value` so that they end at `end`, with zeros from `start` on.
#[inline]
fn put_backwards<const WIDTH: usize>(
    out: &mut [u8; WIDTH],
    start: usize,
    end: usize,
    mut value: u64,
) {
    let mut at = end;
    while at >= start + 2 {
        at -= 2;
        put_pair(out, at, (value % 100) as usize);
        value /= 100;
    }
    if at > start {
        out[start] = b'0' + (value % 10) as u8;
    }
}

/// Powers of ten up to the most decimals tried.
const POWERS: [f64; DECIMALS_MAX + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
const DECIMALS_MAX: usize = 6;
/// Values below it have at most fifteen digits with six decimals.
const WHOLE_MAX: f64 = 1e9;
/// Values below it are written with an exponent.
const PLAIN_MIN: f64 = 1e-4;
/// After so many values in a row that are no short decimals, none is looked for any more.
const MISSES_MAX: u32 = 32;

/// Writes doubles that are short decimals, as readings of instruments are, by whole numbers.
///
/// If r / 10^k, divided as IEEE 754 says, is the double, then r with k decimals reads back as it;
/// and with at most fifteen digits no other decimal as short does, since decimals of fifteen
/// digits are told apart by doubles (`DBL_DIG`). So r without its last zeros is what the shortest
/// printing gives. A property test compares the two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimals {
    /// Decimals of the values so far, at most.
    decimals: usize,
    misses: u32,
}

impl Decimals {
    /// Puts a double as `float8out` prints it at `at` and returns where it ends; 25 bytes at most.
    #[inline]
    pub fn put<const WIDTH: usize>(
        &mut self,
        out: &mut [u8; WIDTH],
        at: usize,
        value: f64,
    ) -> usize {
        let magnitude = value.abs();
        let plain = (PLAIN_MIN..WHOLE_MAX).contains(&magnitude);
        if !plain || self.misses >= MISSES_MAX {
            return put_any(out, at, value);
        }
        let Some(scaled) = self.find(magnitude) else {
            self.misses += 1;
            return put_any(out, at, value);
        };
        self.misses = 0;
        let mut at = at;
        if value.is_sign_negative() {
            out[at] = b'-';
            at += 1;
        }
        // Constant divisors are multiplications.
        let (whole, rest) = match self.decimals {
            0 => return put_unsigned(out, at, scaled),
            1 => (scaled / 10, scaled % 10 * 1_000),
            2 => (scaled / 100, scaled % 100 * 100),
            3 => (scaled / 1_000, scaled % 1_000 * 10),
            4 => (scaled / 10_000, scaled % 10_000),
            5 => (scaled / 100_000, scaled % 100_000 * 10),
            _ => (scaled / 1_000_000, scaled % 1_000_000),
        };
        let end = put_unsigned(out, at, whole);
        if self.decimals <= 4 {
            return put_four(out, end, rest);
        }
        match (rest / 100, rest % 100) {
            (first, 0) => put_four(out, end, first),
            (first, last) => {
                put_four(out, end, first);
                put_pair(out, end + 5, last as usize);
                end + 7 - usize::from(last % 10 == 0)
            }
        }
    }

    /// The value in units of the last decimal, if it has one that is near enough.
    #[inline]
    fn find(&mut self, magnitude: f64) -> Option<u64> {
        for (decimals, power) in POWERS.iter().enumerate().skip(self.decimals) {
            // Signed, which is what processors convert.
            let scaled = (magnitude * power + 0.5) as i64;
            if scaled as f64 / power == magnitude {
                self.decimals = decimals;
                return Some(scaled.unsigned_abs());
            }
        }
        None
    }
}

#[cold]
fn put_any<const WIDTH: usize>(out: &mut [u8; WIDTH], at: usize, value: f64) -> usize {
    let mut text = Vec::with_capacity(32);
    number::put_float8(&mut text, value);
    out[at..at + text.len()].copy_from_slice(&text);
    at + text.len()
}

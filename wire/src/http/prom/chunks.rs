//! Streamed chunks of remote read: samples packed as Prometheus packs them (tsdb/docs/format/chunks.md,
//! XOR chunks), in `ChunkedReadResponse` messages, each framed by its length and a checksum.

use ingest::remote::proto::{put_bytes, put_int, put_varint};
use query::promql::PromReadSeries;

use super::read::{in_ms, put_labels};

/// A frame is closed at about this size, bytes; Prometheus takes 50 MiB and makes 1 MiB.
pub(super) const FRAME_BYTES: usize = 256 << 10;
/// Samples of a chunk, as Prometheus makes them.
const CHUNK_SAMPLES: usize = 120;
/// `Chunk.Encoding.XOR`
const XOR: i64 = 1;

/// Frames that are made so far.
#[derive(Default)]
pub(super) struct Frames {
    out: Vec<u8>,
}

impl Frames {
    /// Adds a series: one frame, or several where it is long.
    pub fn add(&mut self, found: &PromReadSeries) {
        let mut series = Vec::new();
        put_labels(1, &found.labels, &mut series);
        let head = series.len();
        let mut chunk = Chunk::default();
        let mut done = false;
        let mut samples = in_ms(&found.points);
        while !done {
            match samples.next() {
                Some((time, value)) => chunk.push(time, value),
                None => done = true,
            }
            if chunk.count as usize == CHUNK_SAMPLES || (done && chunk.count > 0) {
                std::mem::take(&mut chunk).put(&mut series);
            }
            if series.len() >= FRAME_BYTES || (done && series.len() > head) {
                self.frame(&series, found.question);
                series.truncate(head);
            }
        }
    }

    fn frame(&mut self, series: &[u8], question: usize) {
        let mut message = Vec::with_capacity(series.len() + 16);
        put_bytes(1, series, &mut message);
        put_int(2, question as i64, &mut message);
        put_varint(message.len() as u64, &mut self.out);
        self.out.extend_from_slice(&crc32c(&message).to_be_bytes());
        self.out.extend_from_slice(&message);
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// What is made so far.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The last frames.
    pub fn finish(mut self) -> Vec<u8> {
        self.take()
    }
}

/// A chunk under construction.
#[derive(Default)]
struct Chunk {
    count: u16,
    first: i64,
    last: i64,
    delta: u64,
    bits: u64,
    /// Leading and trailing zeros of the last window of bits that was written.
    window: Option<(u32, u32)>,
    out: Bits,
}

impl Chunk {
    fn push(&mut self, time: i64, value: f64) {
        match self.count {
            0 => {
                self.first = time;
                // A zigzag varint, byte by byte.
                let zigzag = ((time << 1) ^ (time >> 63)) as u64;
                self.varint(zigzag);
                self.out.put(value.to_bits(), 64);
            }
            1 => {
                self.delta = time.wrapping_sub(self.last) as u64;
                self.varint(self.delta);
                self.value(value);
            }
            _ => {
                let delta = time.wrapping_sub(self.last) as u64;
                self.change(delta.wrapping_sub(self.delta) as i64);
                self.delta = delta;
                self.value(value);
            }
        }
        self.bits = value.to_bits();
        self.last = time;
        self.count += 1;
    }

    fn varint(&mut self, value: u64) {
        let mut bytes = Vec::new();
        put_varint(value, &mut bytes);
        bytes.iter().for_each(|byte| self.out.put(u64::from(*byte), 8));
    }

    /// How much the distance of times has changed.
    fn change(&mut self, change: i64) {
        let fits = |bits: u32| {
            let half = 1i64 << (bits - 1);
            (1 - half..=half).contains(&change)
        };
        let (prefix, prefix_bits, bits) = match change {
            0 => (0, 1, 0),
            _ if fits(14) => (0b10, 2, 14),
            _ if fits(17) => (0b110, 3, 17),
            _ if fits(20) => (0b1110, 4, 20),
            _ => (0b1111, 4, 64),
        };
        self.out.put(prefix, prefix_bits);
        self.out.put(change as u64, bits);
    }

    fn value(&mut self, value: f64) {
        let delta = value.to_bits() ^ self.bits;
        if delta == 0 {
            self.out.put(0, 1);
            return;
        }
        self.out.put(1, 1);
        // Leading zeros are told in five bits.
        let (leading, trailing) = (delta.leading_zeros().min(31), delta.trailing_zeros());
        if let Some((known_leading, known_trailing)) = self.window
            && leading >= known_leading
            && trailing >= known_trailing
        {
            self.out.put(0, 1);
            self.out.put(delta >> known_trailing, 64 - known_leading - known_trailing);
            return;
        }
        self.window = Some((leading, trailing));
        let significant = 64 - leading - trailing;
        self.out.put(1, 1);
        self.out.put(u64::from(leading), 5);
        // 64 is told as 0.
        self.out.put(u64::from(significant), 6);
        self.out.put(delta >> trailing, significant);
    }

    /// Appends the `Chunk` to a `ChunkedSeries`.
    fn put(self, series: &mut Vec<u8>) {
        let mut data = self.count.to_be_bytes().to_vec();
        data.extend_from_slice(&self.out.bytes);
        let mut message = Vec::with_capacity(data.len() + 32);
        put_int(1, self.first, &mut message);
        put_int(2, self.last, &mut message);
        put_int(3, XOR, &mut message);
        put_bytes(4, &data, &mut message);
        put_bytes(2, &message, series);
    }
}

/// Bits, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of a number.
    fn put(&mut self, value: u64, count: u32) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> at & 1) as u8) << self.free;
            }
        }
    }
}

/// CRC-32C (Castagnoli), of which the rest of the house has no use.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = n as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| crc >> 8 ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize];
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
pub(super) mod tests {
    //! A reader of chunks, after the format's description.

    use super::*;
    use ingest::remote::proto::{Field, Fields, take_varint};
    use proptest::prelude::*;

    struct Reader<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Reader<'_> {
        fn bits(&mut self, count: u32) -> u64 {
            let mut value = 0;
            for _ in 0..count {
                let bit = self.bytes[self.at / 8] >> (7 - self.at % 8) & 1;
                value = value << 1 | u64::from(bit);
                self.at += 1;
            }
            value
        }

        fn varint(&mut self) -> u64 {
            let mut bytes = Vec::new();
            loop {
                bytes.push(self.bits(8) as u8);
                if bytes.last().is_some_and(|byte| byte & 0x80 == 0) {
                    return take_varint(&mut &bytes[..]).expect("a varint");
                }
            }
        }

        /// A number of so many bits, of which the upper half are negative but for the half itself.
        fn signed(&mut self, count: u32) -> i64 {
            let value = self.bits(count) as i64;
            if count < 64 && value > 1 << (count - 1) { value - (1 << count) } else { value }
        }
    }

    /// Samples of a chunk.
    pub fn samples(data: &[u8]) -> Vec<(i64, u64)> {
        let count = u16::from_be_bytes([data[0], data[1]]);
        let mut reader = Reader { bytes: &data[2..], at: 0 };
        let mut all: Vec<(i64, u64)> = Vec::new();
        let (mut delta, mut leading, mut significant) = (0i64, 0, 0);
        for n in 0..count {
            if n == 0 {
                let zigzag = reader.varint();
                let time = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                all.push((time, reader.bits(64)));
                continue;
            }
            let (last, bits) = all[all.len() - 1];
            match n {
                1 => delta = reader.varint() as i64,
                _ => {
                    let mut ones = 0;
                    while ones < 4 && reader.bits(1) == 1 {
                        ones += 1;
                    }
                    delta += match ones {
                        0 => 0,
                        1 => reader.signed(14),
                        2 => reader.signed(17),
                        3 => reader.signed(20),
                        _ => reader.signed(64),
                    };
                }
            }
            let mut value = bits;
            if reader.bits(1) == 1 {
                if reader.bits(1) == 1 {
                    leading = reader.bits(5) as u32;
                    significant = match reader.bits(6) as u32 {
                        0 => 64,
                        given => given,
                    };
                }
                let trailing = 64 - leading - significant;
                value ^= reader.bits(significant) << trailing;
            }
            all.push((last + delta, value));
        }
        all
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read(
            first in -1_000_000_000_000i64..4_000_000_000_000,
            steps in prop::collection::vec(
                (prop_oneof![1i64..20_000, 1i64..100_000_000, Just(15_000i64)],
                 prop_oneof![any::<f64>(), (0i64..100).prop_map(|v| v as f64)]),
                1..120),
        ) {
            let mut chunk = Chunk::default();
            let (mut time, mut expected) = (first, Vec::new());
            for (step, value) in steps {
                chunk.push(time, value);
                expected.push((time, value.to_bits()));
                time += step;
            }
            let mut series = Vec::new();
            chunk.put(&mut series);
            let (_, Field::Bytes(message)) = Fields::new(&series).next().unwrap().unwrap() else {
                panic!("no message");
            };
            let data = Fields::new(message).find_map(|field| match field.unwrap() {
                (4, Field::Bytes(data)) => Some(data.to_vec()),
                _ => None,
            });
            prop_assert_eq!(samples(&data.unwrap()), expected);
        }
    }

    #[test]
    fn checksums_are_those_of_castagnoli() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}

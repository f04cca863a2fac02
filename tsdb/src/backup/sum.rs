//! What tells whether two files are the same, and whether an object is what was written.
//!
//! A CRC-32 alone tells damage, but not one file from another: over bytes that end in their own
//! CRC-32, as series files and version logs do, it is the same for all of one length.

use std::fmt;

/// Odd, and its bits are in no order.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Checksums of some bytes (FORMAT.md, "Backups").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum {
    /// CRC-32/IEEE: tells every short burst of damage.
    pub crc: u32,
    /// Follows from the bytes by multiplication, not by division as a CRC does: it tells files
    /// apart.
    pub mark: u64,
}

/// In names of objects.
impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:016x}", self.crc, self.mark)
    }
}

impl Sum {
    /// Checksums of bytes at hand.
    pub fn of(bytes: &[u8]) -> Sum {
        let mut summer = Summer::default();
        summer.update(bytes);
        summer.finish()
    }

    /// Reads what the name of an object shows.
    pub fn read(text: &str) -> Option<Sum> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 24 || !text.bytes().all(hex) {
            return None;
        }
        let crc = u32::from_str_radix(text.get(..8)?, 16).ok()?;
        Some(Sum { crc, mark: u64::from_str_radix(text.get(8..)?, 16).ok()? })
    }
}

/// Sums bytes up as they come.
#[derive(Clone, Default)]
pub struct Summer {
    crc: crc32fast::Hasher,
    mark: u64,
    bytes: u64,
    /// The bytes of a word that is not whole yet.
    word: u64,
}

impl Summer {
    /// Takes more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.crc.update(bytes);
        while !self.bytes.is_multiple_of(8)
            && let Some((byte, rest)) = bytes.split_first()
        {
            self.push(*byte);
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        self.bytes += words.len() as u64 * 8;
        rest.iter().for_each(|byte| self.push(*byte));
    }

    fn push(&mut self, byte: u8) {
        self.word |= u64::from(byte) << (self.bytes % 8 * 8);
        self.bytes += 1;
        if self.bytes.is_multiple_of(8) {
            let word = std::mem::take(&mut self.word);
            self.mix(word);
        }
    }

    /// Each step can be undone, so that no change of a single word is lost.
    fn mix(&mut self, word: u64) {
        let mixed = (self.mark ^ word).wrapping_mul(FACTOR);
        self.mark = mixed ^ (mixed >> 32);
    }

    /// The checksums of all that came.
    pub fn finish(mut self) -> Sum {
        let (word, bytes) = (self.word, self.bytes);
        self.mix(word);
        self.mix(bytes);
        Sum { crc: self.crc.finalize(), mark: self.mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference_and_every_bit_does() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let whole = Sum::of(&bytes);
        assert_eq!(whole.to_string(), "58c932f58a7864de9ce52aa7");
        assert_eq!(Sum::read(&whole.to_string()), Some(whole));
        for wrong in ["", "0", "zzc932f58a7864de9ce52aa7", "58c932f58a7864de9ce52aa7a"] {
            assert_eq!(Sum::read(wrong), None);
        }
        for cut in 0..=bytes.len() {
            for second in [cut, (cut + 3).min(bytes.len()), bytes.len()] {
                let mut summer = Summer::default();
                summer.update(&bytes[..cut]);
                summer.update(&bytes[cut..second]);
                summer.update(&bytes[second..]);
                assert_eq!(summer.finish(), whole, "{cut} {second}");
            }
            assert_ne!(Sum::of(&bytes[..cut]) == whole, cut < bytes.len());
        }
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sum::of(&other).mark, whole.mark);
        }
        assert_ne!(Sum::of(&[0]).mark, Sum::of(&[0, 0]).mark);
    }

    /// Why there are two checksums.
    #[test]
    fn files_that_end_in_their_own_crc_are_told_apart() {
        let sealed = |byte: u8| {
            let mut bytes = vec![byte; 40];
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
            Sum::of(&bytes)
        };
        assert_eq!(sealed(1).crc, sealed(2).crc);
        assert_ne!(sealed(1).mark, sealed(2).mark);
    }
}

//! The wire format of protocol buffers, read in place and written by hand.
//! <https://protobuf.dev/programming-guides/encoding/>

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// `int64`, `uint64`, `bool`, enums.
    Varint(u64),
    /// `double`, `fixed64`.
    Fixed64(u64),
    /// Messages, strings, bytes, packed lists.
    Bytes(&'a [u8]),
    /// `float`, `fixed32`.
    Fixed32(u32),
}

/// The fields of a message with their numbers, in the order in which they stand. Nothing follows an
/// error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of a message's bytes.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Field<'a>), Malformed> {
        let key = take_varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let field = match key & 7 {
            0 => Field::Varint(take_varint(&mut self.rest)?),
            1 => {
                Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?))
            }
            2 => {
                let length = take_varint(&mut self.rest)?;
                Field::Bytes(self.take(usize::try_from(length).map_err(|_| Malformed)?)?)
            }
            5 => {
                Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
            }
            // Groups (3, 4) were given up before any of these messages was made.
            _ => return Err(Malformed),
        };
        Ok((number.ok_or(Malformed)?, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = self.field();
        if found.is_err() {
            self.rest = &[];
        }
        Some(found)
    }
}

/// Reads a varint off the front.
///
/// # Errors
/// [`Malformed`] where it does not end or does not fit 64 bits.
pub fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Malformed);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Appends a varint.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of an integer.
pub fn put_int(number: u32, value: i64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value as u64, out);
}

/// Appends a field of a double.
pub fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a field of bytes, a string or a message.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        put_int(1, -1, &mut bytes);
        put_double(2, f64::MIN_POSITIVE, &mut bytes);
        put_bytes(3, b"abc", &mut bytes);
        put_int(500, 300, &mut bytes);
        bytes.extend_from_slice(&[4 << 3 | 5, 1, 0, 0, 0]);
        let fields: Vec<_> = Fields::new(&bytes).map(|f| f.expect("a field")).collect();
        assert_eq!(
            fields,
            [
                (1, Field::Varint(u64::MAX)),
                (2, Field::Fixed64(f64::MIN_POSITIVE.to_bits())),
                (3, Field::Bytes(b"abc")),
                (500, Field::Varint(300)),
                (4, Field::Fixed32(1)),
            ]
        );
        // The bytes of the documentation's example: field 1, 150.
        assert_eq!(Fields::new(&[0x08, 0x96, 0x01]).next(), Some(Ok((1, Field::Varint(150)))));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let bad: [&[u8]; 9] = [
            &[0x08],
            &[0x08, 0x80],
            &[0x09, 0, 0, 0],
            &[0x0a, 5, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0b],
            &[0x00, 0x01],
            &[0x0d, 1],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ];
        for bytes in bad {
            let found: Vec<_> = Fields::new(bytes).collect();
            assert_eq!(found, [Err(Malformed)], "{bytes:?}");
        }
    }
}

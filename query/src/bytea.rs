//! Bytes in texts, as PostgreSQL reads them.

/// Reads `\x` and hexadecimal digits, or the older form with `\\` and `\ooo`; `None` for what is
/// neither (PostgreSQL 15, 8.4 "Binary Data Types").
pub fn parse_bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits = hex.bytes().filter(|byte| !byte.is_ascii_whitespace());
        let digits: Vec<u8> = digits
            .map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()?;
        let pairs = digits.chunks_exact(2);
        return pairs
            .remainder()
            .is_empty()
            .then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect());
    }
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'\\' => out.push(b'\\'),
            first @ b'0'..=b'3' => {
                let mut value = first - b'0';
                for _ in 0..2 {
                    let digit = bytes.next().filter(|digit| (b'0'..=b'7').contains(digit))?;
                    value = value << 3 | (digit - b'0');
                }
                out.push(value);
            }
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(parse_bytea(text).as_deref(), expected, "{text}");
        };
        check("", Some(b""));
        check("\\x", Some(b""));
        check("\\x61fF", Some(b"a\xff"));
        check("\\x61 62\n63", Some(b"abc"));
        check("\\x616", None);
        check("\\x6g", None);
        check("\\xé0", None);
        check("a\\\\b\\001\\377", Some(b"a\\b\x01\xff"));
        check("é", Some("é".as_bytes()));
        check("\\400", None);
        check("\\08", None);
        check("\\", None);
        check("\\q", None);
    }
}

//! Bounded decompression of request bodies.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use tsdb::{Error, Result};

/// Unpacks a gzip body of one or more members (RFC 1952).
///
/// # Errors
/// `Invalid` if the bytes are not gzip or would unpack to more than `bytes_max`: a few kilobytes
/// can claim gigabytes, so the limit is watched while unpacking.
pub fn decode(body: &[u8], bytes_max: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max));
    let mut reader = MultiGzDecoder::new(body).take(bytes_max as u64 + 1);
    reader
        .read_to_end(&mut out)
        .map_err(|error| Error::Invalid(format!("the body is not valid gzip: {error}")))?;
    if out.len() > bytes_max {
        return Err(Error::Invalid(format!("the body unpacks to more than {bytes_max} bytes")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unpacks_up_to_the_limit_and_not_beyond() {
        let body = vec![b'a'; 100_000];
        let mut packed = encode(&body);
        assert_eq!(decode(&packed, 100_000).unwrap(), body);
        assert!(matches!(decode(&packed, 99_999), Err(Error::Invalid(_))));
        packed.extend(encode(b"xyz"));
        assert_eq!(decode(&packed, 200_000).unwrap().len(), 100_003);
    }

    #[test]
    fn every_truncation_is_refused() {
        let packed = encode(b"cpu,host=a usage=1i 1\n");
        for end in 1..packed.len() {
            assert!(matches!(decode(&packed[..end], 1000), Err(Error::Invalid(_))), "{end}");
        }
        assert!(decode(b"not gzip", 1000).is_err());
    }
}

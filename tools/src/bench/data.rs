//! Data of a benchmark, made before the clock starts: a file of line protocol and where its
//! requests begin, so that loading costs the client little more than reading.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::failure::Result;
use crate::generate::Generator;

/// One request's worth of the file.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// First byte.
    pub offset: u64,
    /// Length, bytes.
    pub bytes: usize,
    /// Rows.
    pub rows: u64,
}

/// A file of line protocol cut into requests.
#[derive(Debug)]
pub struct Data {
    file: File,
    /// The requests in order.
    pub pieces: Vec<Piece>,
    /// All rows.
    pub rows: u64,
    /// Field values in all rows.
    pub values: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Data {
    /// Makes the file.
    pub fn make(path: &Path, generator: &mut Generator, rows_per_request: usize) -> Result<Data> {
        let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let mut data = Data { file: options?, pieces: vec![], rows: 0, values: 0, bytes: 0 };
        let mut chunk = Vec::new();
        loop {
            chunk.clear();
            let rows = generator.next_chunk(&mut chunk, rows_per_request) as u64;
            if rows == 0 {
                return Ok(data);
            }
            data.file.write_all(&chunk)?;
            data.pieces.push(Piece { offset: data.bytes, bytes: chunk.len(), rows });
            data.bytes += chunk.len() as u64;
            data.rows += rows;
            data.values += count_values(&chunk);
        }
    }

    /// Reads a request into `out`.
    pub fn read(&self, piece: Piece, out: &mut Vec<u8>) -> Result<()> {
        out.resize(piece.bytes, 0);
        Ok(self.file.read_exact_at(out, piece.offset)?)
    }
}

/// Field values of lines without escapes and quoted texts, as the suite makes them.
fn count_values(lines: &[u8]) -> u64 {
    lines
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(1))
        .map(|fields| 1 + fields.iter().filter(|b| **b == b',').count() as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    //! Tests of counting.
    #[test]
    fn values_are_counted() {
        assert_eq!(super::count_values(b"cpu,a=b,c=d x=1i,y=2 5\ncpu x=1 6\n"), 3);
    }
}

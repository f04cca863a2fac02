//! pco in its wrapped form, without pco's own header: one chunk of one page, or of several that
//! decode alone (FORMAT.md, "Codecs", 5 and 11).

use std::ops::Range;

use pco::data_types::Number;
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, FULL_BATCH_N, PagingSpec};

use super::bytes::{Reader, put_varint, put_zigzag};
use super::{corrupt, number};
use crate::error::Result;

/// pco's format version that the codec numbers stand for; its header would be these bytes.
const HEADER: [u8; 2] = [4, 1];
/// Compression level. 8, pco's own choice, takes two to three times as long on floats and wide
/// integers and wins 0.3 % or less on plant data; its larger tables also decode slower.
const LEVEL: usize = 6;
/// Values of a page; the last one takes up to half as many more. A page costs some six bytes; the
/// tables are shared. One more than whole batches of pco, whose deltas are one fewer: it decodes
/// a batch that is not full slower.
const PAGE_VALUES: usize = 8 * FULL_BATCH_N + 1;
/// More values are not compressed, which keeps pages to the 255 that a byte counts.
const COUNT_MAX: usize = 1 << 18;
const _: () = assert!(COUNT_MAX / PAGE_VALUES < 255);

/// Where page `page` of `pages` would begin in `len` bytes if they were even: `len * page / pages`,
/// without leaving 64 bits.
fn even_start(len: usize, pages: usize, page: usize) -> usize {
    len / pages * page + len % pages * page / pages
}

/// Compresses values, in pages where there are enough of them: the codec number and the payload;
/// `None` if pco declines or would write another format version.
pub fn compress<T: Number>(values: &[T]) -> Option<(u8, Vec<u8>)> {
    let count = values.len();
    if values.is_empty() || count > COUNT_MAX {
        return None;
    }
    let pages = ((count + PAGE_VALUES / 2) / PAGE_VALUES).max(1);
    let mut lengths = vec![PAGE_VALUES; pages - 1];
    lengths.push(count - PAGE_VALUES * (pages - 1));
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_enable_8_bit(true)
        .with_paging_spec(PagingSpec::Exact(lengths));
    let file = FileCompressor::default();
    if file.write_header(Vec::new()).ok()? != HEADER {
        return None;
    }
    let mut chunk = file.chunk_compressor(values, &config).ok()?;
    let hint: usize = (0..pages).map(|page| chunk.page_size_hint(page)).sum();
    let mut body = Vec::with_capacity(hint);
    let mut ends = Vec::with_capacity(pages);
    for page in 0..pages {
        chunk.write_page(page, &mut body).ok()?;
        ends.push(body.len());
    }
    let mut out = Vec::with_capacity(chunk.meta_size_hint() + body.len() + 2 * pages);
    if pages > 1 {
        out.push(pages as u8);
        put_varint(&mut out, PAGE_VALUES as u64);
        for (page, end) in (1..pages).zip(&ends) {
            put_zigzag(&mut out, *end as i64 - even_start(body.len(), pages, page) as i64);
        }
    }
    chunk.write_meta(&mut out).ok()?;
    out.extend_from_slice(&body);
    let codec = if pages > 1 { number::PCO_PAGES } else { number::PCO };
    Some((codec, out))
}

/// Compressed values in pages.
pub struct Pages<'a> {
    count: usize,
    /// Values of every page but the last.
    page_values: usize,
    /// Where pages end, but the last: bytes past an even share of them.
    ends: Vec<i64>,
    /// Chunk metadata and the pages.
    bytes: &'a [u8],
}

impl<'a> Pages<'a> {
    /// Reads the table of pages of `count` values, at least one, that fill the reader.
    pub fn read(codec: u8, mut reader: Reader<'a>, count: usize) -> Result<Pages<'a>> {
        let mut ends = Vec::new();
        let mut page_values = count;
        if codec == number::PCO_PAGES {
            let pages = usize::from(reader.u8()?);
            page_values = reader.varint_max(count)?;
            let before = page_values.saturating_mul(pages.saturating_sub(1));
            if pages < 2 || before == 0 || before >= count {
                return Err(corrupt(format_args!("pco: {pages} pages of {page_values} values")));
            }
            for _ in 1..pages {
                ends.push(reader.zigzag()?);
            }
        }
        Ok(Pages { count, page_values, ends, bytes: reader.rest() })
    }

    /// Where pages begin in a body of `len` bytes, and where the last ends.
    fn starts(&self, len: usize) -> Result<Vec<usize>> {
        let pages = self.ends.len() + 1;
        let mut starts = Vec::with_capacity(pages + 1);
        starts.push(0);
        for (page, past) in (1..).zip(&self.ends) {
            let start = (even_start(len, pages, page) as i64).checked_add(*past);
            let start = start.and_then(|start| usize::try_from(start).ok());
            let before = starts.last().copied().unwrap_or_default();
            match start {
                Some(start) if before <= start && start <= len => starts.push(start),
                _ => return Err(corrupt("pco: pages out of order")),
            }
        }
        starts.push(len);
        Ok(starts)
    }

    /// Values `rows`; pages that hold none of them are passed over.
    pub fn decompress<T: Number + Default>(&self, rows: Range<usize>) -> Result<Vec<T>> {
        let (file, _) = FileDecompressor::new(&HEADER[..]).map_err(wrong)?;
        let (mut chunk, body) = file.chunk_decompressor::<T, _>(self.bytes).map_err(wrong)?;
        let starts = self.starts(body.len())?;
        let pages = self.ends.len() + 1;
        let mut values = vec![T::default(); rows.len()];
        let mut left = &mut values[..];
        for (page, bytes) in starts.windows(2).enumerate() {
            let first = self.page_values * page;
            let end = if page + 1 < pages { first + self.page_values } else { self.count };
            let (from, to) = (rows.start.max(first), rows.end.min(end));
            if from >= to {
                continue;
            }
            let (out, rest) = left.split_at_mut(to - from);
            left = rest;
            let source = body.get(bytes[0]..bytes[1]).unwrap_or_default();
            read_page(&mut chunk, source, end - first, from - first, out)?;
        }
        Ok(values)
    }
}

fn wrong(error: pco::errors::PcoError) -> crate::error::Error {
    corrupt(format_args!("pco: {error}"))
}

/// Reads values from `skip` on of a page of `count` values that fill `source`. A page is read from
/// its start up to the last value wanted.
fn read_page<T: Number + Default>(
    chunk: &mut ChunkDecompressor<T>,
    source: &[u8],
    count: usize,
    skip: usize,
    out: &mut [T],
) -> Result<()> {
    let mut page = chunk.page_decompressor(source, count).map_err(wrong)?;
    let reach = (skip + out.len()).next_multiple_of(FULL_BATCH_N).min(count);
    let progress = if out.len() == count {
        page.read(out).map_err(wrong)?
    } else {
        let mut values = vec![T::default(); reach];
        let progress = page.read(&mut values).map_err(wrong)?;
        let wanted = values.get(skip..skip + out.len());
        out.copy_from_slice(wanted.ok_or_else(|| corrupt("pco: too few values"))?);
        progress
    };
    let whole = progress.finished && page.into_src().is_empty();
    if progress.n_processed != reach || (reach == count && !whole) {
        return Err(corrupt("pco: another number of values"));
    }
    Ok(())
}

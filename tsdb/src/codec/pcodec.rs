//! pco in its wrapped form: one chunk of one page, without pco's own header.

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};

use super::corrupt;
use crate::error::Result;

/// pco's format version that the codec number stands for; its header would be these bytes.
const HEADER: [u8; 2] = [4, 1];
/// Compression level. 8, pco's own choice, takes two to three times as long on floats and wide
/// integers and wins 0.3 % or less on plant data; its larger tables also decode slower.
const LEVEL: usize = 6;
/// pco would cut more values than this into pages.
const COUNT_MAX: usize = 1 << 18;

/// Compresses values; `None` if pco declines or would write another format version.
pub fn compress<T: Number>(values: &[T]) -> Option<Vec<u8>> {
    if values.is_empty() || values.len() > COUNT_MAX {
        return None;
    }
    let config = ChunkConfig::default().with_compression_level(LEVEL).with_enable_8_bit(true);
    let file = FileCompressor::default();
    if file.write_header(Vec::new()).ok()? != HEADER {
        return None;
    }
    let mut chunk = file.chunk_compressor(values, &config).ok()?;
    let mut out = Vec::with_capacity(chunk.meta_size_hint() + chunk.page_size_hint(0));
    chunk.write_meta(&mut out).ok()?;
    chunk.write_page(0, &mut out).ok()?;
    Some(out)
}

/// Reads `count` values that fill `bytes`.
pub fn decompress<T: Number + Default>(bytes: &[u8], count: usize) -> Result<Vec<T>> {
    let wrong = |e: pco::errors::PcoError| corrupt(format_args!("pco: {e}"));
    let (file, _) = FileDecompressor::new(&HEADER[..]).map_err(wrong)?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(bytes).map_err(wrong)?;
    let mut values = vec![T::default(); count];
    let mut page = chunk.page_decompressor(rest, count).map_err(wrong)?;
    let progress = page.read(&mut values).map_err(wrong)?;
    if !progress.finished || progress.n_processed != count || !page.into_src().is_empty() {
        return Err(corrupt("pco: another number of values"));
    }
    Ok(values)
}

//! Parquet files: their columns by name into columns of a table, rows of a query out of it.
//!
//! What a file says is not believed: the crate's decoder runs on a thread of its own, and whatever
//! ends it, panics too, is told as a malformed file.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::file::NewFile;
use super::options::Compression;
use crate::error::{QueryError, QueryResult};
use crate::run;
use crate::table::BATCH_ROWS;

/// Bytes of one column of a row group, unpacked: its pages are held in memory.
const CHUNK_BYTES_MAX: i64 = 2 << 30;
/// Bytes of encoded pages that are held before a row group is written.
const GROUP_BYTES: usize = 64 << 20;
/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;

/// A file whose metadata was read.
pub(super) struct Source {
    builder: ParquetRecordBatchReaderBuilder<File>,
}

/// `22P04`, with what the decoder says.
fn malformed(error: impl std::fmt::Display) -> QueryError {
    QueryError::new("22P04", "malformed Parquet file").with_detail(error.to_string())
}

/// As [`malformed`], for a decoder that has panicked.
pub(super) fn panicked() -> QueryError {
    malformed("Its decoder gave up.")
}

impl Source {
    /// Reads the metadata. Blocks.
    ///
    /// # Errors
    /// `22P04` for what is no Parquet, `54000` for columns too large to be unpacked.
    pub(super) fn open(file: File) -> QueryResult<Source> {
        let options = ArrowReaderOptions::new();
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(malformed)?;
        for group in builder.metadata().row_groups() {
            for column in group.columns() {
                if !matches!(
                    column.compression(),
                    Codec::UNCOMPRESSED | Codec::SNAPPY | Codec::ZSTD(_)
                ) {
                    let what = format!("Parquet packed with {}", column.compression());
                    return Err(QueryError::unsupported(what)
                        .with_hint("Files may be packed with zstd or snappy, or not at all."));
                }
                if column.uncompressed_size() > CHUNK_BYTES_MAX {
                    let message = format!(
                        "a row group's column \"{}\" has {} bytes, which is above {CHUNK_BYTES_MAX}",
                        column.column_path(),
                        column.uncompressed_size()
                    );
                    return Err(QueryError::new("54000", message)
                        .with_hint("Write the file in smaller row groups."));
                }
            }
        }
        Ok(Source { builder })
    }

    /// Names of the columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.builder.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Gives batches of the columns of these names, in their order, until the end or until `give`
    /// says that no more are wanted. Blocks.
    ///
    /// # Errors
    /// `22P04` for pages that cannot be read, `42703` for columns that are not there.
    pub(super) fn read(
        self,
        names: &[String],
        mut give: impl FnMut(Vec<ArrayRef>) -> bool,
    ) -> QueryResult<()> {
        let schema = Arc::clone(self.builder.schema());
        let place = |name: &String| {
            schema.index_of(name).map_err(|_| {
                let message = format!("column \"{name}\" is not in the file");
                let there = self.names().join(", ");
                QueryError::new("42703", message).with_hint(format!("Its columns are {there}."))
            })
        };
        let places = names.iter().map(place).collect::<QueryResult<Vec<usize>>>()?;
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), places.iter().copied());
        let reader = self
            .builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(malformed)?;
        for batch in reader {
            let batch = batch.map_err(malformed)?;
            let column = |name: &String| {
                let array =
                    batch.column_by_name(name).ok_or_else(|| malformed("a column is lost"))?;
                crate::write_out(array)
            };
            let columns = names.iter().map(column).collect::<QueryResult<Vec<_>>>()?;
            if !give(columns) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Writes rows into a file.
pub(super) struct Target {
    schema: SchemaRef,
    writer: ArrowWriter<NewFile>,
}

fn unwritten(error: ParquetError) -> QueryError {
    match error {
        ParquetError::NYI(what) => QueryError::unsupported(what),
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => {
                let full = error.kind() == std::io::ErrorKind::StorageFull;
                let code = if full { "53100" } else { "58030" };
                QueryError::new(code, format!("could not write file: {error}"))
            }
            Err(other) => QueryError::internal(format!("writing Parquet: {other}")),
        },
        other => QueryError::internal(format!("writing Parquet: {other}")),
    }
}

impl Target {
    /// Begins a file for rows of a schema.
    ///
    /// # Errors
    /// `0A000` for columns of a type that Parquet does not have.
    pub(super) fn new(file: NewFile, schema: &Schema, by: Compression) -> QueryResult<Target> {
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Interval(_) | DataType::Duration(_)) {
                let what = format!("column \"{}\" of type interval in Parquet", field.name());
                return Err(QueryError::unsupported(what).with_hint("Cast it to text."));
            }
        }
        // What the wire wants to know of columns is no business of the file's readers.
        let plain = |field: &Arc<Field>| field.as_ref().clone().with_metadata(Default::default());
        let fields: Vec<Field> = schema.fields().iter().map(plain).collect();
        let schema = Arc::new(Schema::new(fields));
        let codec = match by {
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Snappy => Codec::SNAPPY,
            Compression::None => Codec::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(format!("Millrace {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(unwritten)?;
        Ok(Target { schema, writer })
    }

    /// Adds rows; the bytes written so far. Blocks.
    pub(super) fn write(&mut self, batch: RecordBatch) -> QueryResult<u64> {
        let batch = run::relabel(batch, &self.schema)?;
        self.writer.write(&batch).map_err(unwritten)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush().map_err(unwritten)?;
        }
        Ok(self.writer.bytes_written() as u64)
    }

    /// Ends the file and gives it its name. Blocks.
    pub(super) fn finish(self) -> QueryResult<u64> {
        let mut writer = self.writer;
        writer.finish().map_err(unwritten)?;
        let bytes = writer.bytes_written() as u64;
        let file = writer.inner_mut();
        let flushed = file.flush();
        flushed
            .map_err(|error| QueryError::new("58030", format!("could not write file: {error}")))?;
        file.finish()?;
        Ok(bytes)
    }
}

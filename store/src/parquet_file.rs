//! A Parquet file from its first row to its durable name, and how its columns are encoded.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use model::Table;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, LogicalType, Type, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;

use crate::faults::Step;
use crate::manifest::{Parquet, sync_folder};
use crate::shared::Shared;
use crate::{layout, order};

/// Rows and encoded bytes of a row group: small enough to skip, large enough to compress.
const ROW_GROUP_ROWS_MAX: usize = 100_000;
const ROW_GROUP_BYTES_MAX: usize = 128 << 20;
/// How often the bloom filter of a row group sends a search for a trace into it in vain.
const BLOOM_FILTER_FALSE_POSITIVES: f64 = 0.01;

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Files that will be merged.
    Fast,
    /// Files that stay.
    Small,
}

/// A file being written under a temporary name; removed when dropped unfinished.
pub(crate) struct ParquetFile<'a> {
    shared: &'a Shared,
    table: Table,
    path: String,
    temporary: PathBuf,
    writer: Option<ArrowWriter<File>>,
    rows: u64,
    time_min: i64,
    time_max: i64,
}

impl<'a> ParquetFile<'a> {
    pub(crate) fn create(
        shared: &'a Shared,
        table: Table,
        folder: &str,
        effort: Effort,
    ) -> io::Result<ParquetFile<'a>> {
        make_folder(shared.layout.root(), &shared.layout.path(folder))?;
        let path = layout::parquet(folder);
        let temporary = layout::temporary(&shared.layout.path(&path));
        shared.faults.at(Step::WriteFile)?;
        let file = File::create_new(&temporary)?;
        let properties = properties(table, effort).map_err(io::Error::other)?;
        let writer = ArrowWriter::try_new(file, table.schema().clone(), Some(properties)).map_err(io::Error::other)?;
        let (rows, time_min, time_max) = (0, i64::MAX, i64::MIN);
        Ok(ParquetFile { shared, table, path, temporary, writer: Some(writer), rows, time_min, time_max })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        for time in order::times(rows).map_err(io::Error::other)? {
            self.time_min = self.time_min.min(*time);
            self.time_max = self.time_max.max(*time);
        }
        self.rows += rows.num_rows() as u64;
        match &mut self.writer {
            Some(writer) => writer.write(rows).map_err(io::Error::other),
            None => Err(io::Error::other("the file is finished")),
        }
    }

    /// Durable under its name, which no manifest knows yet.
    pub(crate) fn finish(mut self) -> io::Result<Parquet> {
        let writer = self.writer.take().ok_or_else(|| io::Error::other("the file is finished"))?;
        let file = writer.into_inner().map_err(io::Error::other)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        let path = self.shared.layout.path(&self.path);
        self.shared.faults.at(Step::RenameFile)?;
        fs::rename(&self.temporary, &path)?;
        sync_folder(path.parent().unwrap_or(self.shared.layout.root()))?;
        Ok(Parquet {
            table: self.table,
            path: self.path.clone(),
            rows: self.rows,
            bytes,
            time_min: self.time_min,
            time_max: self.time_max,
            created_ms: layout::now_ms(),
        })
    }
}

impl Drop for ParquetFile<'_> {
    fn drop(&mut self) {
        // Renamed when finished; otherwise the next open would remove it too.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes a folder and the names of it and of those above it durable.
fn make_folder(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    folder.ancestors().skip(1).take_while(|above| above.starts_with(root)).try_for_each(sync_folder)
}

/// Derived from the schema, so that a new column needs nothing here.
fn properties(table: Table, effort: Effort) -> Result<WriterProperties, ParquetError> {
    let level = match effort {
        Effort::Fast => ZstdLevel::try_new(1)?,
        Effort::Small => ZstdLevel::try_new(3)?,
    };
    let schema = ArrowSchemaConverter::new().convert(table.schema())?;
    let sorting = table.sort_columns().iter().filter_map(|name| {
        let index = schema.columns().iter().position(|column| column.path().string() == *name)?;
        Some(SortingColumn { column_idx: index as i32, descending: false, nulls_first: false })
    });
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .set_sorting_columns(Some(sorting.collect()));
    for column in schema.columns() {
        let path = column.path().clone();
        match (column.physical_type(), column.logical_type_ref()) {
            // Times and durations are close to their neighbours, and rarely twice the same.
            (Type::INT64, Some(LogicalType::Timestamp(_))) => {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            (Type::INT64, None) if path.string() == "duration_ns" => {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            }
            // Ids are random: a dictionary would hold each of them once more.
            (Type::FIXED_LEN_BYTE_ARRAY, _) => {
                properties = properties.set_column_dictionary_enabled(path.clone(), false);
                if path.string() == "trace_id" {
                    properties = properties
                        .set_column_bloom_filter_enabled(path.clone(), true)
                        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FILTER_FALSE_POSITIVES)
                        .set_column_bloom_filter_max_ndv(path, ROW_GROUP_ROWS_MAX as u64);
                }
            }
            _ => {}
        }
    }
    Ok(properties.build())
}

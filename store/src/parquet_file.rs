//! A Parquet file from its first row to its durable name, and how its columns are encoded.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use model::Table;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, LogicalType, Type, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData, SortingColumn,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::reader::ChunkReader;
use parquet::file::writer::SerializedFileWriter;

use crate::faults::Step;
use crate::manifest::{Parquet, sync_folder};
use crate::merge::row_bytes;
use crate::order::BATCH_ROWS;
use crate::packed::{Packed, origin_first};
use crate::promotion::{self, Promotion};
use crate::shared::Shared;
use crate::trace_index::{self, TraceIndex, Traces};
use crate::{layout, order};

/// Rows and encoded bytes of a row group: small enough to skip, large enough to compress. One compaction of a full segment
/// makes one or two.
pub(crate) const GROUP_ROWS_MAX: usize = if cfg!(test) { 16 << 10 } else { 128 << 10 };
pub(crate) const GROUP_BYTES_MAX: usize = 32 << 20;
/// A group of this many rows or bytes stays as it is: sorted together with others it would be hardly smaller or quicker.
pub(crate) const GROUP_ROWS_LARGE: usize = GROUP_ROWS_MAX / 3;
pub(crate) const GROUP_BYTES_LARGE: usize = GROUP_BYTES_MAX / 2;
/// How often the bloom filter of a row group sends a search for a trace into it in vain.
const BLOOM_FILTER_FALSE_POSITIVES: f64 = 0.01;
/// A dictionary of all trace ids of a group fits.
const ID_DICTIONARY_BYTES_MAX: usize = 2 << 20;
/// Rows looked at to see whether ids or texts repeat.
const SAMPLE_ROWS: usize = 16 << 10;
/// Decoded maps held at a time while promoted attributes are taken out of a group that is copied.
const DERIVED_BYTES_MAX: u64 = 8 << 20;

/// How the columns of a file are encoded, where that is not the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) effort: Effort,
    /// Columns of ids that repeat so often that a dictionary makes them smaller.
    pub(crate) repeating_ids: Vec<&'static str>,
    /// Columns of ids that repeat in neighbouring rows: compressed they are smaller than with a dictionary.
    pub(crate) neighbouring_ids: Vec<&'static str>,
    /// Columns of text in which every row is '', for which a dictionary would compare each with the one before, at 80 ns; and those
    /// in which most rows are different, which are smaller without and take less time.
    pub(crate) without_dictionary: Vec<&'static str>,
    /// Attributes with columns of their own.
    pub(crate) promotion: Promotion,
}

/// How hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Groups that will be sorted together with others.
    Fast,
    /// Groups that stay as they are.
    Small,
}

impl Effort {
    pub(crate) fn of(rows: usize) -> Effort {
        if rows < GROUP_ROWS_LARGE { Effort::Fast } else { Effort::Small }
    }
}

impl Shape {
    /// For `rows` rows of these frames; `before` is what the file before had columns for.
    pub(crate) fn of(table: Table, frames: &[Packed], rows: usize, before: &Promotion) -> Shape {
        let repeats = |index: usize, bytes: i32| {
            let ids = frames.iter().filter_map(|frame| frame.column(index).as_fixed_size_binary_opt());
            repeat(ids.flat_map(|ids| ids.iter().flatten()).take(SAMPLE_ROWS), bytes as usize)
        };
        let is_blank = |index: usize| frames.iter().all(|frame| is_blank(frame.column(index)));
        let differ = |index: usize| {
            let texts = frames.iter().filter_map(|frame| frame.column(index).as_string_opt::<i32>());
            mostly_differ(texts.flat_map(|texts| texts.iter().flatten()).take(SAMPLE_ROWS))
        };
        let promotion = Promotion::choose(table, frames, before);
        let mut shape = Shape::plain(Effort::of(rows), promotion);
        for (index, column) in table.columns().iter().enumerate() {
            let name = column.field.name().as_str();
            match column.field.data_type() {
                DataType::FixedSizeBinary(bytes) if repeats(index, *bytes) => match (table, name) {
                    // Of one service and within milliseconds: sorting leaves the records of a span side by side.
                    (Table::Logs, "span_id") => shape.neighbouring_ids.push(name),
                    _ => shape.repeating_ids.push(name),
                },
                DataType::Utf8 | DataType::Dictionary(_, _) if is_blank(index) => shape.without_dictionary.push(name),
                // Of resource and scope a frame has one value for many rows.
                DataType::Utf8 if index < origin_first(table) && differ(index) => shape.without_dictionary.push(name),
                _ => {}
            }
        }
        shape
    }

    /// For rows of a group that exists.
    pub(crate) fn like(table: Table, group: &RowGroupMetaData, rows: usize, promotion: Promotion) -> Shape {
        let columns = group.columns().iter();
        let encoded: HashMap<String, (bool, bool)> = columns
            .map(|column| {
                let is_compressed = column.compression() != Compression::UNCOMPRESSED;
                (column.column_path().string(), (column.dictionary_page_offset().is_some(), is_compressed))
            })
            .collect();
        let mut shape = Shape::plain(Effort::of(rows), promotion);
        for column in table.columns() {
            let name = column.field.name().as_str();
            match (column.field.data_type(), encoded.get(name)) {
                (DataType::FixedSizeBinary(_), Some((true, _))) => shape.repeating_ids.push(name),
                (DataType::FixedSizeBinary(_), Some((false, true))) => shape.neighbouring_ids.push(name),
                (DataType::Utf8 | DataType::Dictionary(_, _), Some((false, _))) => shape.without_dictionary.push(name),
                _ => {}
            }
        }
        shape
    }

    fn plain(effort: Effort, promotion: Promotion) -> Shape {
        let (repeating_ids, neighbouring_ids, without_dictionary) = (Vec::new(), Vec::new(), Vec::new());
        Shape { effort, repeating_ids, neighbouring_ids, without_dictionary, promotion }
    }

    fn repeats(&self, column: &str) -> bool {
        self.repeating_ids.contains(&column)
    }
}

fn is_blank(column: &ArrayRef) -> bool {
    let labels = column.as_dictionary_opt::<Int32Type>().map(|labels| labels.values());
    labels.unwrap_or(column).as_string_opt::<i32>().is_some_and(|texts| {
        let (Some(first), Some(last)) = (texts.value_offsets().first(), texts.value_offsets().last()) else {
            return true;
        };
        first == last
    })
}

fn mostly_differ<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let mut distinct = HashSet::new();
    let count = texts.map(|text| distinct.insert(text)).count();
    distinct.len() * 2 > count
}

/// Whether a dictionary and the places in it are smaller than the ids, in a full group.
fn repeat<'a>(ids: impl Iterator<Item = &'a [u8]>, bytes: usize) -> bool {
    let mut distinct = HashSet::new();
    let count = ids.map(|id| distinct.insert(id)).count();
    let place_bits = GROUP_ROWS_MAX.ilog2() as usize;
    distinct.len() * bytes * 8 + count * place_bits < count * bytes * 8
}

/// A file being written under a temporary name; removed when dropped unfinished.
pub(crate) struct ParquetFile<'a> {
    shared: &'a Shared,
    table: Table,
    path: String,
    temporary: PathBuf,
    file: Option<SerializedFileWriter<File>>,
    columns: Columns,
    promotion: Promotion,
    /// The group being written.
    group: Option<Vec<ArrowColumnWriter>>,
    rows: u64,
    time_min: i64,
    time_max: i64,
    /// `None`: its rows have no trace ids.
    traces: Option<Traces>,
}

impl<'a> ParquetFile<'a> {
    pub(crate) fn create(shared: &'a Shared, table: Table, folder: &str, shape: &Shape) -> io::Result<ParquetFile<'a>> {
        make_folder(shared.layout.root(), &shared.layout.path(folder))?;
        let path = layout::parquet(folder);
        let temporary = layout::temporary(&shared.layout.path(&path));
        shared.faults.at(Step::WriteFile)?;
        let file = File::create_new(&temporary)?;
        let (file, columns) = Columns::of(file, table, shape).map_err(io::Error::other)?;
        let (rows, time_min, time_max) = (0, i64::MAX, i64::MIN);
        let (file, group) = (Some(file), None);
        let traces = table.schema().index_of(trace_index::COLUMN).is_ok().then(Traces::default);
        let promotion = shape.promotion.clone();
        Ok(ParquetFile {
            shared,
            table,
            path,
            temporary,
            file,
            columns,
            promotion,
            group,
            rows,
            time_min,
            time_max,
            traces,
        })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        for time in order::times(rows).map_err(io::Error::other)? {
            self.time_min = self.time_min.min(*time);
            self.time_max = self.time_max.max(*time);
        }
        self.rows += rows.num_rows() as u64;
        if let Some(traces) = &mut self.traces {
            traces.add(rows);
        }
        let group = match &mut self.group {
            Some(group) => group,
            None => {
                let number = self.writer()?.flushed_row_groups().len();
                self.group.insert(self.columns.writers(number).map_err(io::Error::other)?)
            }
        };
        let promoted = self.promotion.columns(rows);
        encode(&self.columns.schema, rows.columns().iter().chain(&promoted), group).map_err(io::Error::other)?;
        match group.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>() > GROUP_BYTES_MAX {
            true => self.end_group(),
            false => Ok(()),
        }
    }

    /// What is written next belongs to another row group.
    pub(crate) fn end_group(&mut self) -> io::Result<()> {
        let Some(columns) = self.group.take() else { return Ok(()) };
        if let Some(traces) = &mut self.traces {
            traces.end_group();
        }
        let mut group = self.writer()?.next_row_group().map_err(io::Error::other)?;
        for column in columns {
            let chunk = column.close().map_err(io::Error::other)?;
            chunk.append_to_row_group(&mut group).map_err(io::Error::other)?;
        }
        group.close().map(|_| ()).map_err(io::Error::other)
    }

    /// The columns of promoted attributes that a group of another file does not have as we do, taken out of its maps. An error is
    /// one of reading.
    pub(crate) fn derive(&mut self, from: &Source, group: usize) -> io::Result<Derived> {
        let missing = |slot: &usize| !from.has_slots(self.table) || !self.promotion.agrees(&from.promotion, *slot);
        let missing: Vec<usize> = (0..promotion::SLOTS).filter(missing).collect();
        if missing.is_empty() {
            return Ok(Derived::default());
        }
        let number = self.file.as_ref().ok_or_else(finished)?.flushed_row_groups().len();
        let writers = self.columns.writers(number).map_err(io::Error::other)?;
        let first = writers.len() - promotion::SLOTS;
        let mut writers: HashMap<usize, ArrowColumnWriter> = writers
            .into_iter()
            .enumerate()
            .filter_map(|(leaf, writer)| Some((leaf.checked_sub(first)?, writer)))
            .collect();
        writers.retain(|slot, _| missing.contains(slot));
        let fields = &self.columns.schema.fields()[self.table.columns().len()..];
        let mut write = |columns: Vec<ArrayRef>| {
            for (slot, writer) in &mut writers {
                compute_leaves(&fields[*slot], &columns[*slot])?.iter().try_for_each(|leaf| writer.write(leaf))?;
            }
            Ok::<_, ParquetError>(())
        };
        match missing.iter().any(|slot| self.promotion.is_used(*slot)) {
            true => from.read_maps(self.table, group)?.try_for_each(|rows| write(self.promotion.columns(&rows?))),
            false => {
                let rows = from.metadata.row_group(group).num_rows() as usize;
                write(vec![new_null_array(&DataType::Utf8, rows); promotion::SLOTS])
            }
        }
        .map_err(io::Error::other)?;
        let closed = writers.into_iter().map(|(slot, writer)| Ok((slot, writer.close()?)));
        closed.collect::<Result<_, ParquetError>>().map_err(io::Error::other)
    }

    /// A row group of another file as it is, but for the columns it does not have.
    pub(crate) fn copy_group(&mut self, from: &Source, group: usize, mut derived: Derived) -> io::Result<()> {
        self.end_group()?;
        // Damage in it must not hold up merging: without an index a search looks in the file.
        if self.traces.as_mut().is_some_and(|traces| from.read_traces(group, traces).is_err()) {
            self.traces = None;
        }
        let Source { file, metadata, time_min, time_max, .. } = from;
        (self.time_min, self.time_max) = (self.time_min.min(*time_min), self.time_max.max(*time_max));
        let leaves = self.columns.leaves;
        let own = leaves - promotion::SLOTS;
        self.rows += metadata.row_group(group).num_rows() as u64;
        let rows_written = metadata.row_group(group).num_rows() as u64;
        let mut copy = self.writer()?.next_row_group().map_err(io::Error::other)?;
        for index in 0..leaves {
            if let Some(chunk) = index.checked_sub(own).and_then(|slot| derived.remove(&slot)) {
                chunk.append_to_row_group(&mut copy).map_err(io::Error::other)?;
                continue;
            }
            let column = metadata.row_group(group).column(index);
            let closed = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written,
                metadata: column.clone(),
                bloom_filter: Sbbf::read_from_column_chunk(column, file).map_err(io::Error::other)?,
                column_index: metadata.column_index().map(|of_groups| of_groups[group][index].clone()),
                offset_index: metadata.offset_index().map(|of_groups| of_groups[group][index].clone()),
            };
            copy.append_column(file, closed).map_err(io::Error::other)?;
        }
        copy.close().map(|_| ()).map_err(io::Error::other)
    }

    /// Durable under its name, which no manifest knows yet.
    pub(crate) fn finish(mut self) -> io::Result<Parquet> {
        self.end_group()?;
        let mut writer = self.file.take().ok_or_else(finished)?;
        let trace_index = self.traces.take().map(|traces| write_index(&mut writer, traces)).transpose()?;
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
            elsewhere: Default::default(),
            trace_index,
            promoted: self.promotion.names().into(),
            promotion: None,
        })
    }

    fn writer(&mut self) -> io::Result<&mut SerializedFileWriter<File>> {
        self.file.as_mut().ok_or_else(finished)
    }
}

/// After the last row group, where readers of Parquet find nothing to read.
fn write_index(writer: &mut SerializedFileWriter<File>, traces: Traces) -> io::Result<TraceIndex> {
    let (bytes, traces) = traces.encode();
    let offset = writer.bytes_written() as u64;
    writer.write_all(&bytes)?;
    Ok(TraceIndex { offset, traces })
}

fn finished() -> io::Error {
    io::Error::other("the file is finished")
}

/// Columns written apart from those of their group, by slot.
pub(crate) type Derived = HashMap<usize, ArrowColumnChunk>;

fn encode<'c>(
    schema: &SchemaRef,
    columns: impl Iterator<Item = &'c ArrayRef>,
    group: &mut [ArrowColumnWriter],
) -> Result<(), ParquetError> {
    let mut writers = group.iter_mut();
    for (field, column) in schema.fields().iter().zip(columns) {
        for leaf in compute_leaves(field, column)? {
            writers
                .next()
                .ok_or_else(|| ParquetError::General("more columns than writers".to_owned()))?
                .write(&leaf)?;
        }
    }
    Ok(())
}

/// Makes the writers of a row group's columns. Pages of version 1 compress what they say about nesting along with the values,
/// which for our maps is most of a page; only version 2 has dictionaries for ids. So columns of repeating ids have the one,
/// all others the other.
struct Columns {
    /// Of the table and of promoted attributes.
    schema: SchemaRef,
    /// Of the schema in Parquet; the last are those of promoted attributes.
    leaves: usize,
    version_1: ArrowRowGroupWriterFactory,
    version_2: ArrowRowGroupWriterFactory,
    /// Leaves of the schema in version 2.
    repeating: Vec<usize>,
}

impl Columns {
    fn of(file: File, table: Table, shape: &Shape) -> Result<(SerializedFileWriter<File>, Columns), ParquetError> {
        let schema = shape.promotion.schema(table);
        let of_version = |version| {
            properties(table, shape, &schema).map(|properties| properties.set_writer_version(version).build())
        };
        let properties = of_version(WriterVersion::PARQUET_1_0)?;
        let (file, version_1) =
            ArrowWriter::try_new(file, schema.clone(), Some(properties))?.into_serialized_writer()?;
        let root = file.schema_descr().root_schema_ptr();
        let nowhere = SerializedFileWriter::new(io::sink(), root, of_version(WriterVersion::PARQUET_2_0)?.into())?;
        let version_2 = ArrowRowGroupWriterFactory::new(&nowhere, schema.clone());
        let leaves = file.schema_descr().columns().iter().enumerate();
        let repeating =
            leaves.filter(|(_, leaf)| shape.repeats(&leaf.path().string())).map(|(index, _)| index).collect();
        let leaves = file.schema_descr().num_columns();
        Ok((file, Columns { schema, leaves, version_1, version_2, repeating }))
    }

    fn writers(&self, group: usize) -> Result<Vec<ArrowColumnWriter>, ParquetError> {
        let mut writers = self.version_1.create_column_writers(group)?;
        if !self.repeating.is_empty() {
            for (index, writer) in self.version_2.create_column_writers(group)?.into_iter().enumerate() {
                if self.repeating.contains(&index) {
                    writers[index] = writer;
                }
            }
        }
        Ok(writers)
    }
}

/// A finished file whose rows or row groups go into another.
pub(crate) struct Source {
    /// Relative, as the manifest has it.
    pub(crate) path: String,
    pub(crate) file: File,
    pub(crate) metadata: Arc<ParquetMetaData>,
    promotion: Promotion,
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
}

impl Source {
    pub(crate) fn open(shared: &Shared, named: &Parquet) -> io::Result<Source> {
        let file = File::open(shared.layout.path(&named.path))?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .map_err(io::Error::other)?;
        let Parquet { path, time_min, time_max, promoted, .. } = named.clone();
        let promotion = Promotion::parse(&promoted);
        Ok(Source { path, file, metadata: Arc::new(metadata), promotion, time_min, time_max })
    }

    /// Reads a group once, so that what fails afterwards is writing.
    pub(crate) fn check(&self, group: usize) -> io::Result<()> {
        for column in self.metadata.row_group(group).columns() {
            let (start, bytes) = column.byte_range();
            let read =
                io::copy(&mut self.file.get_read(start).map_err(io::Error::other)?.take(bytes), &mut io::sink())?;
            if read != bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The trace ids of a group, which go into the index of another file.
    fn read_traces(&self, group: usize, traces: &mut Traces) -> Result<(), ParquetError> {
        for rows in self.read(group, &[trace_index::COLUMN], BATCH_ROWS)? {
            traces.add(&rows?);
        }
        traces.end_group();
        Ok(())
    }

    /// The maps of a group that promoted attributes are taken out of.
    fn read_maps(
        &self,
        table: Table,
        group: usize,
    ) -> io::Result<impl Iterator<Item = Result<RecordBatch, ParquetError>>> {
        let maps: Vec<&str> = promotion::maps().filter(|map| table.schema().index_of(map).is_ok()).collect();
        let rows = DERIVED_BYTES_MAX / row_bytes(self.metadata.row_group(group));
        let reader = self.read(group, &maps, (rows as usize).clamp(1, BATCH_ROWS)).map_err(io::Error::other)?;
        Ok(reader.map(|rows| Ok(rows?)))
    }

    fn read(&self, group: usize, columns: &[&str], rows: usize) -> Result<ParquetRecordBatchReader, ParquetError> {
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), ArrowReaderOptions::new())?;
        let columns = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, metadata)
            .with_row_groups(vec![group])
            .with_projection(columns)
            .with_batch_size(rows)
            .build()
    }

    /// Whether it has columns for promoted attributes at all.
    fn has_slots(&self, table: Table) -> bool {
        self.metadata.file_metadata().schema_descr().root_schema().get_fields().len() > table.columns().len()
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
fn properties(table: Table, shape: &Shape, schema: &SchemaRef) -> Result<WriterPropertiesBuilder, ParquetError> {
    let level = match shape.effort {
        Effort::Fast => ZstdLevel::try_new(1)?,
        Effort::Small => ZstdLevel::try_new(3)?,
    };
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let sorting = table.sort_columns().iter().filter_map(|name| {
        let index = columns.columns().iter().position(|column| column.path().string() == *name)?;
        Some(SortingColumn { column_idx: index as i32, descending: false, nulls_first: false })
    });
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        // Where a dictionary grew too large, in either version of pages.
        .set_encoding(Encoding::PLAIN)
        .set_sorting_columns(Some(sorting.collect()));
    for column in columns.columns() {
        let path = column.path().clone();
        let name = path.string();
        let slot = promotion::slot(&name);
        let without_dictionary = match slot {
            Some(slot) => !shape.promotion.is_used(slot),
            None => shape.without_dictionary.contains(&name.as_str()),
        };
        // Nobody asks for a range of free text or of what is in a map, and bounds cost two comparisons a value.
        let field = table.schema().field_with_name(&name);
        let has_range = slot.is_some() || field.is_ok_and(|field| *field.data_type() != DataType::Utf8);
        if without_dictionary || !has_range {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if without_dictionary {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
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
            (Type::FIXED_LEN_BYTE_ARRAY, _) if shape.neighbouring_ids.contains(&name.as_str()) => {
                properties = properties.set_column_dictionary_enabled(path, false);
            }
            // Ids are random: nothing compresses them, and a dictionary only helps those that repeat within a group.
            (Type::FIXED_LEN_BYTE_ARRAY, _) => {
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), shape.repeats(&path.string()))
                    .set_column_dictionary_page_size_limit(path.clone(), ID_DICTIONARY_BYTES_MAX)
                    .set_column_compression(path.clone(), Compression::UNCOMPRESSED);
                if path.string() == "trace_id" {
                    properties = properties
                        .set_column_bloom_filter_enabled(path.clone(), true)
                        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FILTER_FALSE_POSITIVES)
                        .set_column_bloom_filter_max_ndv(path, GROUP_ROWS_MAX as u64);
                }
            }
            _ => {}
        }
    }
    Ok(properties)
}

//! Parquet as others find it.

use std::fs::File;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use model::{Signal, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use store::PROMOTED_KEY;

use crate::{Store, now_ns, rows, segments, until};

#[tokio::test]
async fn rows_rest_by_hour_sorted_with_what_a_search_needs() {
    let store = Store::open(|args| args.segment_bytes_max = 1).await;
    let hour = 3_600_000_000_000;
    let now = now_ns();
    let times = [now, now - 5 * hour, 0, i64::MAX, now - 1];
    let spans: Vec<_> = (0..500).map(|id| (times[id % times.len()] - id as i64, id as u64)).collect();
    store.append(vec![rows::spans(&spans)]).await.unwrap();
    until("compaction", || store.writer.status().file_rows == 500).await;
    let snapshot = store.snapshot(Table::Spans).await;
    assert_eq!(rows::ids_of(&snapshot), (0..500).collect::<Vec<_>>());

    let root = store.folder.path().join("telemetry/spans");
    for file in snapshot.files.iter() {
        let path = file.path.strip_prefix(&root).unwrap().to_str().unwrap();
        let absurd = file.time_min < now - 366 * 24 * hour || file.time_max > now + 25 * hour;
        assert_eq!(path.starts_with("date=quarantine/"), absurd, "{path}");
        if !absurd {
            assert!(path.starts_with("date=20") && path.contains("/hour="), "{path}");
            assert_eq!(file.time_min / hour, file.time_max / hour);
        }
        let opened = File::open(&file.path).unwrap();
        assert_eq!(opened.metadata().unwrap().len(), file.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let keys: Vec<_> = batches.iter().flat_map(keys).collect();
        assert!(keys.is_sorted(), "{path}");
        let times: Vec<i64> = keys.iter().map(|(_, _, time)| *time).collect();
        assert_eq!(times.iter().min(), Some(&file.time_min));
        assert_eq!(times.iter().max(), Some(&file.time_max));
    }
    check_encoding(&snapshot.files[0].path);
}

fn keys(rows: &RecordBatch) -> Vec<(String, String, i64)> {
    let text = |name: &str, row: usize| {
        let column = rows.column_by_name(name).unwrap().as_dictionary::<arrow::datatypes::Int32Type>();
        let values = column.values().as_string::<i32>();
        values.value(column.keys().value(row) as usize).to_owned()
    };
    let times = rows.column_by_name("time").unwrap().as_primitive::<TimestampNanosecondType>();
    (0..rows.num_rows()).map(|row| (text("service", row), text("name", row), times.value(row))).collect()
}

#[tokio::test]
async fn frequent_attributes_have_a_column_and_stay_in_their_map() {
    let store = Store::open(|args| args.segment_bytes_max = 1).await;
    let spans = rows::spans(&(0..500).map(|id| (now_ns(), id)).collect::<Vec<_>>());
    let routes = |row: usize| vec![("http.route".to_owned(), Some(format!("/{}", row % 5)))];
    store.append(vec![rows::with_attributes(spans, routes)]).await.unwrap();
    until("compaction", || store.writer.status().file_rows == 500).await;
    let snapshot = store.snapshot(Table::Spans).await;
    for file in snapshot.files.iter() {
        let used: Vec<_> = file.promoted.iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(used, ["attributes['http.route']"], "ids are in every row and never twice");
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.path).unwrap()).unwrap();
        let column =
            builder.schema().fields().iter().find(|field| field.metadata().contains_key(PROMOTED_KEY)).unwrap();
        assert_eq!((column.name().as_str(), &column.metadata()[PROMOTED_KEY]), ("promoted_01", used[0]));
        // The same columns in every file, so that others read many as one.
        assert_eq!(builder.schema().fields().len(), Table::Spans.columns().len() + 16);
        for rows in builder.build().unwrap().map(Result::unwrap) {
            let routes = rows.column_by_name("promoted_01").unwrap().as_string::<i32>();
            let maps = rows.column_by_name("attributes").unwrap().as_map();
            assert!(
                (0..rows.num_rows())
                    .all(|row| maps.value(row).column(1).as_string::<i32>().value(1) == routes.value(row))
            );
        }
    }
}

fn check_encoding(path: &std::path::Path) {
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(File::open(path).unwrap(), options).unwrap();
    let metadata = reader.metadata();
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    let group = metadata.row_group(0);
    assert_eq!(group.sorting_columns().unwrap().len(), 3);
    for column in group.columns() {
        let name = column.column_path().string();
        let encodings: Vec<Encoding> = column.encodings().collect();
        assert_eq!(column.bloom_filter_offset().is_some(), name == "trace_id", "{name}");
        if ["time", "end_time", "duration_ns"].contains(&name.as_str()) {
            assert!(encodings.contains(&Encoding::DELTA_BINARY_PACKED), "{name}: {encodings:?}");
        }
        // Ten spans have one trace id, and none has the span id of another.
        if ["trace_id", "span_id", "parent_span_id"].contains(&name.as_str()) {
            assert_eq!(column.dictionary_page_offset().is_some(), name == "trace_id", "{name}");
        }
    }
}

#[tokio::test]
async fn an_idle_segment_is_sealed_by_age() {
    let store = Store::open(|args| args.segment_age_max_ms = 20).await;
    for (table, id) in [(Table::Spans, 1), (Table::Logs, 2), (Table::Metrics, 3)] {
        store.append(vec![rows::table(table, &[(now_ns(), id)])]).await.unwrap();
    }
    until("compaction", || store.writer.status().files == 3).await;
    assert_eq!(store.ids(Table::Logs).await, [2]);
    let sealed: Vec<u64> = store.writer.status().signals.iter().map(|signal| signal.segments_sealed).collect();
    assert_eq!(sealed, vec![0; Signal::ALL.len()]);
    // What was compacted goes soon; the one being written stays.
    until("deletion", || store.writer.status().replaced == 0).await;
    assert_eq!(segments(store.folder.path(), Signal::Logs).len(), 1);
}

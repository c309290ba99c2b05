//! Batches: the proof of the schema, and putting many together.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use model::{Batch, Signal, Table, concat, decode_json};

fn spans(names: &[&str]) -> RecordBatch {
    let spans: Vec<String> = names
        .iter()
        .map(|name| {
            format!(r#"{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"{name}"}}"#)
        })
        .collect();
    let request = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    decode_json(Signal::Traces, request.as_bytes()).unwrap().batches.remove(0).into_rows()
}

#[test]
fn rows_of_another_table_are_refused_in_words() {
    let error = Batch::new(Table::Logs, spans(&["a"])).unwrap_err();
    assert!(error.to_string().starts_with("rows do not fit table logs: expected "), "{error}");
    let narrow = spans(&["a"]).project(&[0, 1]).unwrap();
    assert_eq!(
        Batch::new(Table::Spans, narrow).unwrap_err().difference,
        format!("expected {} columns, found 2", Table::Spans.columns().len())
    );
}

#[test]
fn metadata_of_a_file_does_not_matter() {
    let rows = spans(&["a"]);
    let schema = rows.schema().as_ref().clone().with_metadata([("k".to_owned(), "v".to_owned())].into());
    let batch = Batch::new(Table::Spans, rows.with_schema(schema.into()).unwrap()).unwrap();
    assert_eq!(batch.rows().schema_ref(), Table::Spans.schema());
}

#[test]
fn concat_keeps_every_row_and_each_label_once() {
    let parts = [spans(&["a", "b"]), spans(&["b", "c", "a"]), spans(&["d", "e"]).slice(1, 1)];
    let whole = concat(Table::Spans, &parts).unwrap();
    let names = whole.column_by_name("name").unwrap().as_dictionary::<Int32Type>();
    let texts: Vec<&str> = names.downcast_dict::<arrow::array::StringArray>().unwrap().into_iter().flatten().collect();
    assert_eq!(texts, ["a", "b", "b", "c", "a", "e"]);
    assert_eq!(names.values().len(), 4);
    assert!(Batch::new(Table::Spans, whole).is_ok());
}

#[test]
fn concat_of_nothing_is_an_empty_batch_of_the_table() {
    for table in Table::ALL {
        let empty = concat(table, &[]).unwrap();
        assert_eq!((empty.num_rows(), empty.schema_ref()), (0, table.schema()));
    }
    assert!(concat(Table::Logs, &[spans(&["a"])]).is_err());
}

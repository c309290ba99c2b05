//! Rows as export requests of OTLP, as many as the far end can take at once.

use axum::body::Bytes;
use model::{Batch, Signal};
use store::Handover;

use super::{Address, Parcel};

/// Rows and encoded bytes of one request. A single row is never divided: whether it is too large the far end will say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

pub(super) fn requests(handover: &Handover, size: Size) -> Vec<Parcel> {
    let mut encoded = Vec::new();
    for part in portions(&handover.batches, size.rows_max) {
        encode(handover.signal, part, size.bytes_max, &mut encoded);
    }
    let named = encoded.into_iter().enumerate().map(|(index, (rows, body))| Parcel {
        to: Address::Signal(handover.signal),
        name: format!("{}-{index}", handover.name),
        rows,
        body: Bytes::from(body),
    });
    named.collect()
}

/// Rows in order; rows of several tables may share a portion.
fn portions(batches: &[Batch], rows_max: usize) -> Vec<Vec<Batch>> {
    let rows_max = rows_max.max(1);
    let (mut portions, mut portion, mut room) = (Vec::new(), Vec::new(), rows_max);
    for batch in batches {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = room.min(batch.num_rows() - from);
            portion.push(slice(batch, from, rows));
            (from, room) = (from + rows, room - rows);
            if room == 0 {
                portions.push(std::mem::take(&mut portion));
                room = rows_max;
            }
        }
    }
    if !portion.is_empty() {
        portions.push(portion);
    }
    portions
}

/// Halves what is too large.
fn encode(signal: Signal, batches: Vec<Batch>, bytes_max: usize, encoded: &mut Vec<(u64, Vec<u8>)>) {
    let rows: usize = batches.iter().map(Batch::num_rows).sum();
    let body = model::encode_protobuf(signal, &batches);
    if body.len() <= bytes_max || rows <= 1 {
        encoded.push((rows as u64, body));
        return;
    }
    drop(body);
    for half in portions(&batches, rows.div_ceil(2)) {
        encode(signal, half, bytes_max, encoded);
    }
}

fn slice(batch: &Batch, from: usize, rows: usize) -> Batch {
    Batch::new(batch.table(), batch.rows().slice(from, rows)).expect("a slice has the schema of the whole")
}

#[cfg(test)]
mod tests {
    use model::decode_json;

    use super::*;

    fn batches(signal: Signal, request: &str) -> Vec<Batch> {
        decode_json(signal, request.as_bytes()).expect("it is OTLP").batches
    }

    fn logs(count: usize) -> Vec<Batch> {
        let records: Vec<String> =
            (0..count).map(|n| format!(r#"{{"body":{{"stringValue":"record {n}"}}}}"#)).collect();
        let request = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, records.join(","));
        batches(Signal::Logs, &request)
    }

    /// Rows of each request, and the bodies of all records in order.
    fn check(batches: Vec<Batch>, rows_max: usize, bytes_max: usize) -> (Vec<u64>, Vec<String>) {
        let mut encoded = Vec::new();
        for part in portions(&batches, rows_max) {
            encode(Signal::Logs, part, bytes_max, &mut encoded);
        }
        let mut bodies = Vec::new();
        for (rows, body) in &encoded {
            assert!(body.len() <= bytes_max || *rows == 1);
            let again = model::decode_protobuf(Signal::Logs, body).expect("we wrote it").batches;
            assert_eq!(again.iter().map(Batch::num_rows).sum::<usize>() as u64, *rows);
            let json = model::encode_json(Signal::Logs, &again).to_string();
            bodies.extend(
                json.match_indices("record ").map(|(at, _)| json[at..].split('"').next().unwrap_or("").to_owned()),
            );
        }
        (encoded.iter().map(|(rows, _)| *rows).collect(), bodies)
    }

    #[test]
    fn requests_keep_to_both_limits_and_lose_nothing() {
        let all: Vec<String> = (0..10).map(|n| format!("record {n}")).collect();
        assert_eq!(check(logs(10), 100, 1 << 20), (vec![10], all.clone()));
        assert_eq!(check(logs(10), 4, 1 << 20), (vec![4, 4, 2], all.clone()));
        assert_eq!(check(logs(10), 10, 1), (vec![1; 10], all.clone()));
        let (rows, bodies) = check(logs(10), 10, 100);
        assert!(rows.len() > 1 && rows.len() < 10, "{rows:?}");
        assert_eq!(bodies, all);
    }

    #[test]
    fn tables_of_a_signal_share_a_request() {
        let request = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
            {"name":"a","gauge":{"dataPoints":[{"asInt":"1"},{"asInt":"2"}]}},
            {"name":"b","summary":{"dataPoints":[{"count":"1"},{"count":"2"}]}}]}]}]}"#;
        let batches = batches(Signal::Metrics, request);
        assert_eq!(batches.iter().filter(|batch| batch.num_rows() > 0).count(), 2);
        let portions = portions(&batches, 3);
        let rows: Vec<Vec<usize>> =
            portions.iter().map(|portion| portion.iter().map(Batch::num_rows).collect()).collect();
        assert_eq!(rows, [vec![2, 1], vec![1]]);
    }
}

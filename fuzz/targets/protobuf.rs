//! A request as protobuf: never a panic, and what was understood comes back from the columns the same.
//!
//! Input: the signal (first byte), the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Signal;

fuzz_target!(|input: &[u8]| {
    let Some((signal, body)) = input.split_first() else { return };
    let signal = Signal::ALL[usize::from(*signal) % Signal::ALL.len()];
    let Ok(first) = model::decode_protobuf(signal, body) else { return };
    let wire = model::encode_protobuf(signal, &first.batches);
    let second = model::decode_protobuf(signal, &wire).expect("what we write, we read");
    assert_eq!(second.rejected, model::Rejected::default());
    // Which records share an envelope is settled by the first writing.
    let again = model::encode_protobuf(signal, &second.batches);
    assert_eq!(rows(&first), rows(&second));
    assert_eq!(wire, again);
});

fn rows(converted: &model::Converted) -> Vec<(&'static str, usize)> {
    converted.batches.iter().map(|batch| (batch.table().name(), batch.num_rows())).collect()
}

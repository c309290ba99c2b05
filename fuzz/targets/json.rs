//! A request as OTLP/JSON: never a panic, and what was understood comes back from the columns the same.
//!
//! Input: the signal (first byte), the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::Signal;

fuzz_target!(|input: &[u8]| {
    let Some((signal, body)) = input.split_first() else { return };
    let signal = Signal::ALL[usize::from(*signal) % Signal::ALL.len()];
    let Ok(first) = model::decode_json(signal, body) else { return };
    let text = model::encode_json(signal, &first.batches).to_string();
    let second = model::decode_json(signal, text.as_bytes()).expect("what we write, we read");
    assert_eq!(second.rejected, model::Rejected::default());
    assert_eq!(
        model::encode_protobuf(signal, &first.batches),
        model::encode_protobuf(signal, &second.batches),
        "{text}"
    );
});

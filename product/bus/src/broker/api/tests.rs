//! Requests as bytes, without a socket.

use std::{net::Ipv4Addr, sync::Arc};

use super::*;
use crate::broker::{batch::made::Made, groups::Groups, log::Log};

const TOPIC: &str = "things";

fn node() -> Node {
    let node = Node {
        address: (Ipv4Addr::LOCALHOST, 7092).into(),
        cluster_id: "cluster".to_owned(),
        log: Arc::new(Log::new()),
        groups: Groups::default(),
    };
    assert_eq!(node.log.create(TOPIC, 1, false), ErrorCode::None);
    node
}

fn request(api: Api, version: i16, body: &[u8]) -> Bytes {
    let mut request = [(api as i16).to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(7_i32.to_be_bytes());
    request.extend(b"\0\x02me");
    request.extend(body);
    request.into()
}

/// The parts of an answer or a request that are the same in all versions asked for here.
async fn ask(node: &Node, api: Api, version: i16, body: impl FnOnce(&mut Writer)) -> Reader {
    let mut written = Writer::answer_to(0);
    body(&mut written);
    let body = written.frame().split_off(8);
    let answer = answer(node, request(api, version, &body)).await.expect("well-formed").expect("an answer");
    let mut answer = Reader::new(answer);
    answer.i32().expect("a length");
    assert_eq!(answer.i32(), Ok(7), "the correlation id");
    answer
}

async fn produce(node: &Node, acks: i16, records: &[u8]) -> (Result<i16, Malformed>, Result<i64, Malformed>) {
    let mut answer = ask(node, Api::Produce, 3, |to| {
        to.null_string();
        to.i16(acks);
        to.i32(1_000);
        to.list([records], |to, records| {
            to.string(TOPIC);
            to.list([records], |to, records| {
                to.i32(0);
                to.bytes(records);
            });
        });
    })
    .await;
    assert_eq!((answer.i32(), answer.string(), answer.i32(), answer.i32()), (Ok(1), Ok(TOPIC.into()), Ok(1), Ok(0)));
    (answer.i16(), answer.i64())
}

/// Batches from `offset` on.
async fn fetch(node: &Node, version: i16, offset: i64) -> (i16, Bytes) {
    let mut answer = ask(node, Api::Fetch, version, |to| {
        [-1, 10, 1, 1 << 20].into_iter().for_each(|number| to.i32(number));
        to.i8(0);
        if version >= 7 {
            to.i32(0);
            to.i32(-1);
        }
        to.list([offset], |to, offset| {
            to.string(TOPIC);
            to.list([offset], |to, offset| {
                to.i32(0);
                if version >= 9 {
                    to.i32(0);
                }
                to.i64(offset);
                if version >= 5 {
                    to.i64(-1);
                }
                to.i32(1 << 20);
            });
        });
        if version >= 7 {
            to.i32(0);
        }
        if version >= 11 {
            to.string("");
        }
    })
    .await;
    assert_eq!(answer.i32(), Ok(0));
    if version >= 7 {
        assert_eq!((answer.i16(), answer.i32()), (Ok(0), Ok(0)));
    }
    assert_eq!((answer.i32(), answer.string(), answer.i32(), answer.i32()), (Ok(1), Ok(TOPIC.into()), Ok(1), Ok(0)));
    let error = answer.i16().expect("an error code");
    let ends = if version >= 5 { 3 } else { 2 };
    (0..ends).for_each(|_| assert!(answer.i64().is_ok()));
    assert_eq!(answer.maybe_list(Reader::i8), Ok(None));
    if version >= 11 {
        assert_eq!(answer.i32(), Ok(-1));
    }
    let batches = answer.bytes().expect("batches");
    assert_eq!(answer.end(), Ok(()));
    (error, batches)
}

#[tokio::test]
async fn what_is_produced_is_fetched_in_every_version() {
    let node = node();
    let sent = Made { records: 2, value_bytes: 9, ..Made::default() }.bytes();
    assert_eq!(produce(&node, -1, &sent).await, (Ok(0), Ok(0)));
    assert_eq!(produce(&node, 1, &sent).await, (Ok(0), Ok(2)));
    assert_eq!(produce(&node, 1, &sent[..sent.len() - 1]).await.0, Ok(ErrorCode::CorruptMessage.into()));
    assert_eq!(produce(&node, 7, &sent).await.0, Ok(ErrorCode::InvalidRequiredAcks.into()));
    for version in 4..=11 {
        let (error, batches) = fetch(&node, version, 1).await;
        assert_eq!((error, batches.len()), (0, 2 * sent.len()));
        assert_eq!((&batches[8..sent.len()], &batches[sent.len()..][..8]), (&sent[8..], &2_i64.to_be_bytes()[..]));
        assert_eq!(fetch(&node, version, 4).await, (0, Bytes::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_records_and_no_longer() {
    let node = Arc::new(node());
    let started = tokio::time::Instant::now();
    assert_eq!(fetch(&node, 4, 0).await, (0, Bytes::new()));
    assert_eq!(started.elapsed().as_millis() / 10, 1, "as long as was asked for");

    let waiting = tokio::spawn({
        let node = node.clone();
        async move { fetch(&node, 4, 0).await }
    });
    tokio::task::yield_now().await;
    let sent = Made::default().bytes();
    assert_eq!(produce(&node, 1, &sent).await, (Ok(0), Ok(0)));
    assert_eq!(waiting.await.expect("an answer").1.len(), sent.len());

    node.log.delete(TOPIC);
    let started = tokio::time::Instant::now();
    assert_eq!(fetch(&node, 4, 0).await.0, i16::from(ErrorCode::UnknownTopicOrPartition));
    assert!(started.elapsed().is_zero());
}

#[tokio::test]
async fn without_acks_there_is_no_answer() {
    let node = node();
    let mut body = b"\xff\xff\0\0\0\0\0\0\0\0\0\x01\0\x06things\0\0\0\x01\0\0\0\0".to_vec();
    let sent = Made::default().bytes();
    body.extend((sent.len() as i32).to_be_bytes());
    body.extend(sent);
    assert_eq!(answer(&node, request(Api::Produce, 8, &body)).await, Ok(None));
    assert_eq!(node.log.with(TOPIC, 0, |log| log.end()), Ok(1));
}

/// Numbers that are the same at each run.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Mostly small: what is large ends at the first length.
        match state >> 56 {
            0..160 => 0,
            160..220 => 1,
            220..235 => 2,
            235..245 => 0xff,
            _ => (state >> 32) as u8,
        }
    })
}

#[tokio::test(start_paused = true)]
async fn noise_is_answered_or_refused_and_harms_nothing() {
    let (node, mut answered) = (node(), 0);
    for (api, versions) in &SPOKEN {
        for version in versions.clone() {
            for seed in 0..300 {
                let length = seed as usize % 90;
                let body: Vec<_> = noise(seed + 1).take(length).collect();
                answered += u32::from(answer(&node, request(*api, version, &body)).await.is_ok());
            }
        }
    }
    assert!(answered > 0, "some of it makes sense");
    let whole = Made::default().bytes();
    for cut in 0..whole.len() {
        assert_eq!(produce(&node, 1, &whole[..cut]).await.0.map(|error| error != 0), Ok(true));
    }
    assert_eq!(produce(&node, 1, &whole).await.0, Ok(0));
}

//! Bytes on a socket, as no client should send them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::bench::TestBroker;

/// No answer takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
/// Kafka's UNSUPPORTED_VERSION.
const UNSUPPORTED: i16 = 35;

struct Client(TcpStream);

impl Client {
    async fn connect(broker: &TestBroker) -> Self {
        Self(TcpStream::connect(broker.kafka().bootstrap_servers).await.expect("a broker"))
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("an open connection");
    }

    /// The correlation id of the next answer, and what follows it.
    async fn answer(&mut self) -> (i32, Vec<u8>) {
        let answer = async {
            let length = self.0.read_i32().await?;
            let correlation_id = self.0.read_i32().await?;
            let mut rest = vec![0; length as usize - 4];
            self.0.read_exact(&mut rest).await?;
            std::io::Result::Ok((correlation_id, rest))
        };
        timeout(PATIENCE, answer).await.expect("in time").expect("an answer")
    }

    /// The broker ends the connection and says nothing.
    async fn is_closed(&mut self) -> bool {
        let read = timeout(PATIENCE, self.0.read_u8()).await.expect("in time");
        read.is_err()
    }
}

fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut request = [key.to_be_bytes(), version.to_be_bytes()].concat();
    request.extend(correlation_id.to_be_bytes());
    request.extend([0xff, 0xff]); // a client without a name
    request.extend(body);
    framed(&request)
}

fn framed(request: &[u8]) -> Vec<u8> {
    [&(request.len() as i32).to_be_bytes(), request].concat()
}

/// Metadata of no topic.
fn metadata(correlation_id: i32) -> Vec<u8> {
    request(METADATA, 1, correlation_id, &[0; 4])
}

async fn assert_well(broker: &TestBroker) {
    let mut client = Client::connect(broker).await;
    client.send(&metadata(1)).await;
    assert_eq!(client.answer().await.0, 1);
}

async fn embedded() -> TestBroker {
    TestBroker::start_mortal().await
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order() {
    let broker = embedded().await;
    let mut client = Client::connect(&broker).await;
    let all: Vec<_> = (0..100).flat_map(metadata).collect();
    client.send(&all).await;
    for number in 0..100 {
        assert_eq!(client.answer().await.0, number);
    }
    broker.end().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_alone() {
    let broker = embedded().await;
    let mut neighbour = Client::connect(&broker).await;
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n".to_vec(),
        vec![0xff; 100],
        framed(&[]),
        framed(b"\0"),
        framed(&[0xff; 1_000]),
        // A known request whose body is cut off, goes on after its end, or announces more than there is.
        request(METADATA, 1, 1, &[]),
        request(METADATA, 1, 1, &[0; 5]),
        request(METADATA, 1, 1, b"\x7f\xff\xff\xff"),
        request(METADATA, 1, 1, b"\0\0\0\x01\x7f\xffab"),
        request(METADATA, 1, 1, b"\0\0\0\x01\0\x01\xff"),
    ] {
        let mut client = Client::connect(&broker).await;
        client.send(&garbage).await;
        assert!(client.is_closed().await, "{garbage:?}");
    }
    neighbour.send(&metadata(7)).await;
    assert_eq!(neighbour.answer().await.0, 7);
    assert_well(&broker).await;
    broker.end().await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_refused_before_it_comes() {
    let broker = embedded().await;
    for length in [i32::MAX, (16 << 20) + 1, -1, i32::MIN] {
        let mut client = Client::connect(&broker).await;
        client.send(&length.to_be_bytes()).await;
        assert!(client.is_closed().await, "{length}");
    }
    assert_well(&broker).await;
    broker.end().await;
}

#[tokio::test]
async fn half_a_frame_holds_up_nobody() {
    let broker = embedded().await;
    let whole = metadata(5);
    let mut patient = Client::connect(&broker).await;
    patient.send(&whole[..9]).await;
    let mut gone = Client::connect(&broker).await;
    gone.send(&whole[..9]).await;
    gone.0.shutdown().await.expect("an open connection");
    assert!(gone.is_closed().await);
    assert_well(&broker).await;
    patient.send(&whole[9..]).await;
    assert_eq!(patient.answer().await.0, 5);
    // A stop does not wait for the rest of a frame either.
    patient.send(&whole[..9]).await;
    broker.end().await;
    assert!(patient.is_closed().await);
}

#[tokio::test]
async fn what_is_not_spoken_ends_the_connection() {
    let broker = embedded().await;
    for (key, version) in [(9_999, 0), (-1, 0), (i16::MIN, i16::MIN), (METADATA, 99), (METADATA, 0), (METADATA, -1)] {
        let mut client = Client::connect(&broker).await;
        client.send(&request(key, version, 1, &[])).await;
        assert!(client.is_closed().await, "{key} in version {version}");
    }
    broker.end().await;
}

#[tokio::test]
async fn who_asks_for_versions_in_an_unknown_version_is_told_which_there_are() {
    let broker = embedded().await;
    let mut client = Client::connect(&broker).await;
    // The error, the number of requests, and of each its key and versions.
    client.send(&request(API_VERSIONS, 99, 1, b"\x07unknown")).await;
    let (_, unknown) = client.answer().await;
    client.send(&request(API_VERSIONS, 0, 2, &[])).await;
    let (_, known) = client.answer().await;
    assert_eq!((&unknown[..2], &known[..2]), (&UNSUPPORTED.to_be_bytes()[..], &[0, 0][..]));
    assert_eq!(unknown[2..], known[2..]);
    let count = i32::from_be_bytes(known[2..6].try_into().expect("a number"));
    assert_eq!(known.len(), 6 + 6 * count as usize);
    broker.end().await;
}

//! One direction of one connection: bytes wait until they are due, and leave in the order they came.

use std::io;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::network::{Network, SEGMENT_BYTES};

/// Read at once: some segments, as they come in a burst.
const CHUNK_BYTES_MAX: usize = 11 * SEGMENT_BYTES;
/// On the way in one direction. Beyond it nothing more is read and the sender's window fills, as on a long wire.
const CHUNKS_ON_THE_WAY_MAX: usize = 64;

/// Carries bytes until the sender has closed and everything is delivered, then closes the other end.
pub(super) async fn carry(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    network: watch::Receiver<Network>,
    luck: StdRng,
    delivered: &impl Fn(u64),
) -> io::Result<()> {
    let (send, receive) = mpsc::channel(CHUNKS_ON_THE_WAY_MAX);
    tokio::try_join!(take_in(from, send, network, luck), hand_out(receive, to, delivered))?;
    Ok(())
}

/// Notes of each chunk when it is due at the other end.
async fn take_in(
    mut from: impl AsyncRead + Unpin,
    on_the_way: mpsc::Sender<(Instant, Bytes)>,
    network: watch::Receiver<Network>,
    mut luck: StdRng,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    // When the sender's end is free again, and when the chunk before is due: none may overtake it.
    let (mut free, mut due) = (Instant::now(), Instant::now());
    loop {
        buffer.reserve(CHUNK_BYTES_MAX);
        if (&mut from).take(CHUNK_BYTES_MAX as u64).read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let chunk = buffer.split().freeze();
        let now = *network.borrow();
        free = free.max(Instant::now()) + now.sending(chunk.len());
        due = due.max(free + now.travel(chunk.len(), &mut luck));
        if on_the_way.send((due, chunk)).await.is_err() {
            return Ok(()); // the other end is gone and says why
        }
    }
}

async fn hand_out(
    mut on_the_way: mpsc::Receiver<(Instant, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    delivered: &impl Fn(u64),
) -> io::Result<()> {
    while let Some((due, chunk)) = on_the_way.recv().await {
        // Even a sleep of nothing would last until the timer's next millisecond.
        if due > Instant::now() {
            sleep_until(due).await;
        }
        to.write_all(&chunk).await?;
        delivered(chunk.len() as u64);
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    struct Ends {
        near: DuplexStream,
        far: DuplexStream,
        network: watch::Sender<Network>,
    }

    fn wire(network: Network) -> Ends {
        let ((near, from), (to, far)) = (duplex(1 << 20), duplex(1 << 20));
        let network = watch::Sender::new(network);
        let conditions = network.subscribe();
        tokio::spawn(async move { carry(from, to, conditions, StdRng::seed_from_u64(1), &|_| {}).await });
        Ends { near, far, network }
    }

    impl Ends {
        /// When so many bytes have arrived, since `start`.
        async fn arrived(&mut self, bytes: usize, start: Instant) -> Duration {
            let mut buffer = vec![0; bytes];
            self.far.read_exact(&mut buffer).await.expect("bytes");
            start.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_takes_the_delay_and_none_overtakes_another() {
        let mut ends = wire(Network { delay_ms: 100, jitter_ms: 50, ..Network::default() });
        let start = Instant::now();
        let sent: Vec<u8> = (0..=255).collect();
        for byte in &sent {
            ends.near.write_all(&[*byte]).await.expect("written");
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(ends.arrived(1, start).await >= Duration::from_millis(100));
        let mut rest = vec![0; 255];
        ends.far.read_exact(&mut rest).await.expect("bytes");
        assert_eq!(rest, sent[1..]);
        assert!(start.elapsed() <= Duration::from_millis(255 + 150 + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_bytes_a_second() {
        let mut ends = wire(Network { bandwidth_bytes_s: 100_000, ..Network::default() });
        let start = Instant::now();
        ends.near.write_all(&vec![7; 500_000]).await.expect("written");
        let taken = ends.arrived(500_000, start).await;
        assert!((4_999..5_100).contains(&taken.as_millis()), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_stalls_what_comes_after_it_too() {
        let mut ends = wire(Network { loss: 0.9, ..Network::default() });
        let start = Instant::now();
        ends.near.write_all(b"lost").await.expect("written");
        let first = ends.arrived(4, start).await;
        assert!(first >= Duration::from_millis(200), "{first:?}");
        ends.near.write_all(b"lost").await.expect("written");
        tokio::task::yield_now().await;
        ends.network.send_replace(Network::default());
        ends.near.write_all(b"next").await.expect("written");
        let start = Instant::now();
        ends.arrived(4, start).await;
        let (mut next, stalled) = (vec![0; 4], start.elapsed());
        ends.far.read_exact(&mut next).await.expect("bytes");
        assert_eq!((next.as_slice(), start.elapsed()), (&b"next"[..], stalled), "it waited for the one before");
        assert!(stalled >= Duration::from_millis(200), "{stalled:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_changes_while_it_carries() {
        let mut ends = wire(Network { delay_ms: 5_000, ..Network::default() });
        let start = Instant::now();
        ends.near.write_all(b"a").await.expect("written");
        assert_eq!(ends.arrived(1, start).await, Duration::from_secs(5));
        ends.network.send_replace(Network::default());
        let start = Instant::now();
        ends.near.write_all(b"b").await.expect("written");
        assert_eq!(ends.arrived(1, start).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_close_arrives_before_it() {
        let mut ends = wire(Network { delay_ms: 100, ..Network::default() });
        ends.near.write_all(b"last words").await.expect("written");
        ends.near.shutdown().await.expect("closed");
        let mut all = Vec::new();
        ends.far.read_to_end(&mut all).await.expect("bytes");
        assert_eq!(all, b"last words");
    }
}

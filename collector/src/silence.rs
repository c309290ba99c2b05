//! A socket that gives up on a peer from which nothing arrives, or which reads nothing of what it asked for.
//!
//! hyper times a header once its protocol is known and pings once HTTP/2 is agreed; a peer that stalls before either, or leaves
//! its answer in the socket, would hold a connection for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub(crate) struct Silence<S> {
    stream: S,
    time_max: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    /// Runs while the peer reads nothing; there is none while it does.
    unread: Option<Pin<Box<Sleep>>>,
}

impl<S> Silence<S> {
    pub(crate) fn new(stream: S, time_max: Duration) -> Silence<S> {
        let timer = Box::pin(tokio::time::sleep(time_max));
        Silence { stream, time_max, last: Instant::now(), timer, unread: None }
    }

    /// What became of a write: an error once nothing could be written for `time_max`.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let time_max = self.time_max;
        let timer = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(time_max)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer read nothing for too long")))
    }

    /// Ready once nothing arrived for `time_max`. The timer is moved when it fires, not with every packet.
    fn poll_silent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let deadline = self.last + self.time_max;
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Silence<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.last = Instant::now();
                Poll::Ready(read)
            }
            Poll::Pending => {
                ready!(self.poll_silent(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer was silent for too long")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Silence<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_keep_a_connection_and_silence_ends_it() {
        let (mut peer, ours) = tokio::io::duplex(64);
        let mut socket = Silence::new(ours, Duration::from_secs(10));
        let mut byte = [0];
        for _ in 0..3 {
            let (wrote, read) = tokio::join!(
                async {
                    tokio::time::advance(Duration::from_secs(9)).await;
                    peer.write_all(b"x").await
                },
                socket.read_exact(&mut byte),
            );
            wrote.expect("the other end is open");
            read.expect("nine seconds are not ten");
        }
        let silence = socket.read_exact(&mut byte).await.expect_err("ten seconds of nothing");
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_ends_a_connection() {
        let (mut peer, ours) = tokio::io::duplex(4);
        let mut socket = Silence::new(ours, Duration::from_secs(10));
        socket.write_all(b"four").await.expect("the buffer takes it");
        let mut byte = [0];
        let (wrote, read) = tokio::join!(socket.write_all(b"x"), async {
            tokio::time::advance(Duration::from_secs(9)).await;
            peer.read_exact(&mut byte).await
        });
        wrote.expect("nine seconds are not ten");
        read.expect("the other end is open");
        let unread = socket.write_all(b"yz").await.expect_err("ten seconds of nothing");
        assert_eq!(unread.kind(), io::ErrorKind::TimedOut);
    }
}

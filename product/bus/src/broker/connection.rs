//! One connection: frames in, answers out, one after the other and in order, as Kafka has it.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Node,
    api::{self, Refusal},
};

/// A request. Producers send batches of a megabyte at most unless they are told otherwise.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Room made before anything of a frame has arrived; more is made as it arrives.
const FRAME_BYTES_AT_FIRST: usize = 64 << 10;
/// From the length of a frame to its end.
const FRAME_TIME_MAX: Duration = Duration::from_secs(30);
/// Without a request; Kafka's own default. Clients connect again when they need to.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// For a client to take an answer. A stop waits for it too.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it asked for nothing for {} s", IDLE_MAX.as_secs())]
    Idle,
    #[error("a frame of {0} bytes is announced, {FRAME_BYTES_MAX} is the most")]
    FrameBytes(i32),
    #[error("a frame took longer than {} s", FRAME_TIME_MAX.as_secs())]
    FrameTime,
    #[error("an answer was not taken within {} s", ANSWER_TIME_MAX.as_secs())]
    AnswerTime,
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A client that leaves, or dies, is no news.
    #[error("it is gone: {0}")]
    Gone(#[from] io::Error),
}

/// Until the client leaves or has to, or `stop`.
pub(super) async fn serve(node: &Node, mut stream: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
    match converse(node, &mut stream, stop).await {
        Ok(()) => {}
        Err(end @ (End::Idle | End::Gone(_))) => debug!("closed the connection of {peer}: {end}"),
        Err(end) => warn!(client.address = %peer.ip(), "closed the connection of {peer}: {end}"),
    }
}

async fn converse(node: &Node, stream: &mut TcpStream, stop: &CancellationToken) -> Result<(), End> {
    stream.set_nodelay(true)?;
    loop {
        let asked = async {
            let request = frame(stream).await?;
            Ok::<_, End>(api::answer(node, request).await?)
        };
        let Some(answer) = stop.run_until_cancelled(asked).await else { return Ok(()) };
        if let Some(answer) = answer? {
            timeout(ANSWER_TIME_MAX, stream.write_all(&answer)).await.map_err(|_| End::AnswerTime)??;
        }
    }
}

/// What follows the length.
async fn frame(stream: &mut TcpStream) -> Result<Bytes, End> {
    let announced = timeout(IDLE_MAX, stream.read_i32()).await.map_err(|_| End::Idle)??;
    let length = usize::try_from(announced).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or(End::FrameBytes(announced))?;
    let mut frame = BytesMut::with_capacity(length.min(FRAME_BYTES_AT_FIRST));
    let reading = async {
        let mut rest = stream.take(length as u64);
        while frame.len() < length {
            if rest.read_buf(&mut frame).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(())
    };
    timeout(FRAME_TIME_MAX, reading).await.map_err(|_| End::FrameTime)??;
    Ok(frame.freeze())
}

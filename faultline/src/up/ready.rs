//! When a part that was started serves: it says so itself, or its addresses take connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpStream, UnixDatagram};
use tokio_util::sync::CancellationToken;

use super::supervisor::Supervised;

/// Between two attempts to connect to a part that has just been started.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest message of the protocol that is of interest: `READY=1`.
const MESSAGE_BYTES_MAX: usize = 64;

/// Where one instance says `READY=1` by systemd's protocol. A port that is held for it takes connections before it serves,
/// and while two instances share a port nobody else can tell which of them answers.
#[derive(Debug)]
pub(crate) struct Readiness {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Readiness {
    pub(crate) fn at(path: PathBuf) -> anyhow::Result<Readiness> {
        let _ = std::fs::remove_file(&path); // of a run that was killed
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("could not make the socket {}; a shorter --data-dir may help", path.display()))?;
        Ok(Readiness { socket, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    async fn said(&self) {
        let mut message = [0; MESSAGE_BYTES_MAX];
        while !matches!(self.socket.recv(&mut message).await, Ok(bytes) if message[..bytes].starts_with(b"READY=1")) {}
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What there is to wait for of an instance that was just started.
pub(crate) struct Waiting {
    name: &'static str,
    patience: Duration,
    readiness: Option<Arc<Readiness>>,
    over: CancellationToken,
}

pub(crate) fn watch(part: &Supervised) -> Waiting {
    Waiting {
        name: part.part.name(),
        patience: part.launch.patience,
        readiness: part.readiness.clone(),
        over: part.over(),
    }
}

impl Waiting {
    /// Until the part serves, is not kept alive any more, or has used up its time.
    pub(crate) async fn until(self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let Waiting { name, patience, readiness, over } = self;
        let serving = async {
            match &readiness {
                Some(readiness) => readiness.said().await,
                None => answers(addresses).await,
            }
        };
        tokio::select! {
            () = serving => Ok(()),
            () = over.cancelled() => bail!("the {name} did not stay alive until it served"),
            () = tokio::time::sleep(patience) => bail!("the {name} did not serve within {patience:?}"),
        }
    }
}

async fn answers(addresses: &[SocketAddr]) {
    for address in addresses {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

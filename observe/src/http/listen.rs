//! The socket a service listens on: one that whoever started us already holds, or one of our own.

use std::net::{SocketAddr, TcpListener as Socket};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::Context as _;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::TcpListener;
use tracing::warn;

use crate::parent;

/// `SD_LISTEN_FDS_START`: where the protocol says that descriptors begin.
const FIRST: RawFd = 3;

/// Sockets given to this process by systemd's LISTEN_FDS protocol: by systemd itself, or by `faultline up`, which hands a
/// port from an old instance to a new one without closing it. Each is given out once.
static INHERITED: LazyLock<Mutex<Vec<Socket>>> = LazyLock::new(|| Mutex::new(inherited()));

/// Listens on `address`: with the inherited socket that is bound to it, or a new one. When the port is taken the error is
/// one sentence with the next step; `flag` is the setting that names the address.
pub async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    if let Some(socket) = take(address) {
        socket.set_nonblocking(true).context("could not make an inherited socket non-blocking")?;
        return TcpListener::from_std(socket).with_context(|| format!("could not use the inherited socket {address}"));
    }
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "could not listen on {address}: address already in use; another process holds it, choose another with {flag} \
             or move everything with --port-offset 10000"
        ),
        _ => anyhow::Error::new(error).context(format!("could not listen on {address}; choose another with {flag}")),
    })
}

fn take(address: SocketAddr) -> Option<Socket> {
    let mut sockets = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    let place = sockets.iter().position(|socket| socket.local_addr().is_ok_and(|bound| bound == address))?;
    Some(sockets.swap_remove(place))
}

#[allow(unsafe_code)]
fn inherited() -> Vec<Socket> {
    // SAFETY: by the protocol these descriptors were made for us, are open, and nobody else in this process knows them;
    // `INHERITED` runs this once.
    let own = |descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) };
    (FIRST..FIRST + announced())
        .map(|descriptor| {
            let socket = own(descriptor);
            if let Err(error) = fcntl_setfd(&socket, FdFlags::CLOEXEC) {
                warn!("a child of ours would inherit descriptor {descriptor}: {error}");
            }
            Socket::from(socket)
        })
        .collect()
}

/// How many descriptors are meant for this process. A variable that a shell handed on from elsewhere names another pid; `up`
/// cannot know ours before we exist, and is known by its lifeline.
fn announced() -> RawFd {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let ours = parent::is_up() || number("LISTEN_PID") == Some(std::process::id());
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    RawFd::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_inherited_socket_is_used_once_and_a_taken_port_is_a_sentence() {
        let held = Socket::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("bound");
        INHERITED.lock().expect("unused so far").push(held.try_clone().expect("a second descriptor"));
        let listener = listen(address, "--till-listen").await.expect("the inherited one");
        drop(listener);
        let error = listen(address, "--till-listen").await.expect_err("it is taken").to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--till-listen"), "{error}");
    }
}

//! What a child of `faultline up` owes it: to say when it serves, and never to outlive it.

use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::warn;

/// Descriptor of a pipe's read end whose other end only `faultline up` holds.
pub(crate) const LIFELINE: &str = "FAULTLINE_PARENT_FD";
/// Where systemd, and `faultline up`, hear that a service is ready (sd_notify).
const NOTIFY: &str = "NOTIFY_SOCKET";

/// Whether `faultline up` started this process.
pub(crate) fn is_up() -> bool {
    std::env::var_os(LIFELINE).is_some()
}

/// Tells whoever started us and wants to know that requests are answered from now on.
pub(crate) fn ready() {
    let Some(path) = std::env::var_os(NOTIFY) else { return };
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path)) {
        warn!("could not say that we are ready: {error}");
    }
}

/// Asks the kernel to kill this process when its parent dies.
///
/// The kernel means the parent's *thread*: `up` has to start children from a thread that lives as long as itself.
/// The signal is SIGTERM, for an orderly end; `shutdown_signal` makes sure that the end comes.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(()) // the pipe that closes does it alone
}

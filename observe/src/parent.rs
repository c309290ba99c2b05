//! A child of `faultline up` never outlives it.

use std::io;

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

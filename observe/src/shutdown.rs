//! When to stop: SIGINT, SIGTERM, or the end of the parent.

use tokio_util::sync::CancellationToken;

/// Cancelled on SIGINT, SIGTERM and, in a child of `faultline up`, when the pipe `FAULTLINE_PARENT_FD` closes.
/// A second SIGINT ends the process at once. Call inside a tokio runtime.
pub fn shutdown_signal() -> CancellationToken {
    todo!()
}

//! A port: its listener, how it is spoken to, and what is counted about its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::Serialize;
use tokio::net::TcpListener;

use crate::access::Tls;
use crate::args::Limits;

/// What `connections` serves.
pub(crate) struct Listening {
    pub listener: TcpListener,
    /// None: in the clear.
    pub tls: Option<Tls>,
    pub counts: Arc<PortCounts>,
}

pub(crate) struct PortCounts {
    name: &'static str,
    queue: &'static str,
    open_max: usize,
    open: AtomicUsize,
    handshakes_failed: AtomicU64,
}

/// A moment of a port.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Port {
    pub name: &'static str,
    /// What its connections are called among the queues.
    #[serde(skip)]
    pub queue: &'static str,
    pub open: usize,
    pub open_max: usize,
    /// Connections that never got through TLS, since the start.
    pub handshakes_failed: u64,
}

/// An open connection; closed when dropped.
pub(crate) struct Open(Arc<PortCounts>);

impl PortCounts {
    pub(crate) fn grpc(limits: &Limits) -> PortCounts {
        PortCounts::new("grpc", "grpc_connections", limits)
    }

    pub(crate) fn http(limits: &Limits) -> PortCounts {
        PortCounts::new("http", "http_connections", limits)
    }

    /// Of probes: counted like the others, and shown nowhere.
    pub(crate) fn probe(limits: &Limits) -> PortCounts {
        PortCounts::new("probe", "probe_connections", limits)
    }

    fn new(name: &'static str, queue: &'static str, limits: &Limits) -> PortCounts {
        let open_max = limits.otlp_connections_max;
        PortCounts { name, queue, open_max, open: AtomicUsize::new(0), handshakes_failed: AtomicU64::new(0) }
    }

    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn port(&self) -> Port {
        Port {
            name: self.name,
            queue: self.queue,
            open: self.open.load(Relaxed),
            open_max: self.open_max,
            handshakes_failed: self.handshakes_failed.load(Relaxed),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

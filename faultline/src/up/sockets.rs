//! Ports that `up` holds itself: a service's instances come and go, and whoever connects meanwhile waits instead of being
//! refused.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use super::part::Part;
use super::settings::Args;

/// Listens where the part would; none for a part that binds its own. Every address must be free before anything starts, so
/// that the reason is one sentence instead of nine logs.
pub(crate) async fn claim(part: Part, args: &Args) -> anyhow::Result<Option<Arc<TcpListener>>> {
    let mut held = None;
    for (id, address) in args.addresses(part) {
        let listener = bind(part, id, address).await?;
        if part.is_handed_over() {
            held = Some(Arc::new(listener.into_std()?));
        }
    }
    Ok(held)
}

async fn bind(part: Part, id: &str, address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await.map_err(|error| {
        let flag = id.replace('_', "-");
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process listens there".to_owned(),
            _ => error.to_string(),
        };
        anyhow::anyhow!(
            "the {} cannot listen on {address}: {why}; give --{flag} another address, or move all of them with --port-offset 10000",
            part.name()
        )
    })
}

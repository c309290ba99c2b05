//! Telemetry to another OTLP receiver, as it came: what one request held may be parted or joined with others, rows and their
//! order stay. A receiver cannot tell a request it had before: after a crash, or an answer that was lost, it may get one twice.

mod args;
mod grpc;
mod http;
mod retry;

use std::time::Duration;

use observe::tls::Files;
use store::{Handover, Portion};

pub(super) use args::Args;

use args::Protocol;
use grpc::Grpc;
use http::Http;

use super::args::is_http;
use super::requests::{Size, requests};
use super::{Address, Failure, Parcel, Sent};

pub(crate) struct Otlp {
    client: Client,
    size: Size,
    portion: Portion,
}

#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Client {
    Grpc(Grpc),
    Http(Http),
}

impl Otlp {
    pub(super) fn new(url: &str, args: &Args, tls: Files<'_>, timeout: Duration) -> anyhow::Result<Otlp> {
        is_http(url)?;
        let client = match args.otlp_out_protocol {
            Protocol::Grpc => Client::Grpc(Grpc::new(url, args, tls, timeout)?),
            Protocol::Http => Client::Http(Http::new(url, args, tls, timeout)?),
        };
        Ok(Otlp { client, size: args.size(), portion: args.portion() })
    }

    pub(super) fn portion(&self) -> Portion {
        self.portion
    }

    pub(super) fn pack(&self, handover: &Handover) -> anyhow::Result<Vec<Parcel>> {
        let mut parcels = requests(handover, self.size);
        if let Client::Http(http) = &self.client {
            for parcel in &mut parcels {
                parcel.body = http.compressed(std::mem::take(&mut parcel.body))?;
            }
        }
        Ok(parcels)
    }

    pub(super) async fn send(&self, parcel: &Parcel) -> Result<Sent, Failure> {
        let Address::Signal(signal) = parcel.to else {
            return Err(Failure::Never { reason: "it is addressed to no signal".to_owned() });
        };
        match &self.client {
            Client::Grpc(grpc) => grpc.send(signal, parcel.body.clone()).await,
            Client::Http(http) => http.send(signal, parcel.body.clone()).await,
        }
    }
}

//! OTLP/gRPC. The requests are bytes already, so the codec passes them on.

use std::time::Duration;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::uri::PathAndQuery;
use model::Signal;
use observe::channel;
use observe::tls::Files;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::args::{Args, Compression};
use super::retry::{of_grpc, of_success};
use crate::grpc::path;
use crate::sinks::{Failure, Sent};

pub(super) struct Grpc {
    client: tonic::client::Grpc<Channel>,
    metadata: MetadataMap,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(url: &str, args: &Args, tls: Files<'_>, timeout: Duration) -> anyhow::Result<Grpc> {
        let tls = channel::tls(url, tls)?;
        let channel = channel::channel(url, tls, timeout).with_context(|| format!("{url} is no address"))?;
        let mut client = tonic::client::Grpc::new(channel);
        if args.otlp_out_compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client = client.accept_compressed(CompressionEncoding::Gzip);
        let metadata = MetadataMap::from_headers(args.headers()?.into_iter().collect());
        Ok(Grpc { client, metadata, timeout })
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Result<Sent, Failure> {
        match tokio::time::timeout(self.timeout, self.call(signal, body)).await {
            Ok(Ok(answer)) => Ok(of_success(signal, &answer)),
            Ok(Err(status)) => Err(of_grpc(&status)),
            Err(_) => Err(Failure::later(format!("no answer within {} s", self.timeout.as_secs()))),
        }
    }

    async fn call(&self, signal: Signal, body: Bytes) -> Result<Bytes, Status> {
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        // Clones share the connection.
        let mut client = self.client.clone();
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.unary(request, PathAndQuery::from_static(path(signal)), Raw).await?;
        Ok(answer.into_inner())
    }
}

#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(buffer, item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = bytes::Buf::remaining(buffer);
        Ok(Some(bytes::Buf::copy_to_bytes(buffer, length)))
    }
}

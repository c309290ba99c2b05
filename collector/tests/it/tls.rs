//! TLS on the OTLP ports: our certificate, and the clients' where it is asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Table;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::Code;

use crate::far_end::{FakeClickHouse, Way};
use crate::harness::{
    TRACES, TestCollector, call_over, eventually, framed, post, recent_span, request, request_over, span, traces,
};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

/// Somebody whose signature is trusted, and a folder for what it signs.
pub(crate) struct Authority {
    folder: TempDir,
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let root = params.self_signed(&key).expect("a root").pem();
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("root.pem"), &root).expect("it can be written");
        Authority { folder, root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for `host` and writes `<name>.pem` and `<name>.key`.
    pub(crate) fn sign(&self, name: &str, host: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a valid name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("it can be written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("it can be written");
    }

    /// The settings of a collector with the certificate of that name.
    pub(crate) fn settings(&self, name: &str) -> Vec<String> {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        vec![format!("--otlp-tls-cert={}", certificate.display()), format!("--otlp-tls-key={}", key.display())]
    }

    /// A client that trusts this authority, with a certificate of its own if `own` names one.
    fn client(&self, own: Option<(&Path, &Path)>, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.root.as_bytes()).expect("a certificate")).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// The files of `Authority::settings`, as a server that asks clients for a certificate.
fn acceptor(authority: &Authority, name: &str) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.path("root.pem")).expect("a certificate")).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let chain = vec![CertificateDer::from_pem_file(authority.path(&format!("{name}.pem"))).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key"))).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS")
        .with_client_cert_verifier(verifier.expect("it has roots"))
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("they fit")))
}

async fn started(settings: &[String]) -> TestCollector {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    TestCollector::with(&settings).await
}

async fn connect(client: &TlsConnector, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(to).await.expect("it listens");
    client.connect(ServerName::try_from("localhost").expect("a name"), socket).await
}

/// With TLS 1.3 a client learns only from the first answer that its certificate is not good enough.
async fn is_let_in(client: &TlsConnector, to: SocketAddr) -> bool {
    let Ok(mut socket) = connect(client, to).await else { return false };
    let asked = socket.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await;
    let mut first = [0; 12];
    asked.is_ok() && socket.read_exact(&mut first).await.is_ok() && first == *b"HTTP/1.1 200"
}

#[tokio::test]
async fn both_protocols_are_served_over_tls() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let collector = started(&authority.settings("server")).await;
    let message = traces(vec![span(1)]).encode_to_vec();

    let mut socket = connect(&authority.client(None, "http/1.1"), collector.http).await.expect("it is trusted");
    let answer = request_over(&mut socket, "POST", "/v1/traces", &PROTOBUF, &message).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let socket = connect(&authority.client(None, "h2"), collector.grpc).await.expect("it is trusted");
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "gRPC clients insist on it");
    let call = call_over(socket, TRACES, &[], framed(0, &message)).await;
    assert_eq!(call.status.code(), Code::Ok);
    assert_eq!(collector.count(Table::Spans).await, 2);
    collector.stopped().await;
}

#[tokio::test]
async fn who_speaks_no_tls_or_nothing_at_all_is_counted_and_cut_off() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    let mut settings = authority.settings("server");
    settings.extend(["--otlp-handshake-seconds-max=1".to_owned(), "--otlp-probe=127.0.0.1:0".to_owned()]);
    let collector = started(&settings).await;
    let mut plain = TcpStream::connect(collector.http).await.expect("it listens");
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await.expect("the kernel takes it");
    let mut silent = TcpStream::connect(collector.grpc).await.expect("it listens");
    for socket in [&mut plain, &mut silent] {
        let mut said = Vec::new();
        // A reset is an end as well.
        let _ = socket.read_to_end(&mut said).await;
        assert!(!said.starts_with(b"HTTP"), "nothing is said in the clear");
    }
    let probe = collector.probe.expect("it was asked for");
    eventually("both are counted", async || {
        let ports = request(probe, "GET", "/health", &[], b"").await.json()["connections"].clone();
        ports[0]["handshakes_failed"] == 1 && ports[1]["handshakes_failed"] == 1
    })
    .await;
    collector.stopped().await;
}

#[tokio::test]
async fn with_client_certificates_only_their_holders_are_let_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server", "localhost");
    authority.sign("agent", "agent.example");
    stranger.sign("agent", "agent.example");
    let mut settings = authority.settings("server");
    settings.push(format!("--otlp-tls-client-ca={}", authority.path("root.pem").display()));
    settings.push("--otlp-probe=127.0.0.1:0".to_owned());
    let collector = started(&settings).await;

    let own = |of: &Authority| (of.path("agent.pem"), of.path("agent.key"));
    let with = |(certificate, key): &(PathBuf, PathBuf)| {
        authority.client(Some((certificate.as_path(), key.as_path())), "http/1.1")
    };
    let (good, bad) = (with(&own(&authority)), with(&own(&stranger)));
    for port in [collector.http, collector.grpc] {
        assert!(is_let_in(&good, port).await);
        assert!(!is_let_in(&bad, port).await);
        assert!(!is_let_in(&authority.client(None, "http/1.1"), port).await);
    }
    let probe = collector.probe.expect("it was asked for");
    assert_eq!(request(probe, "GET", "/health", &[], b"").await.status, 200, "probes have no certificate");
    collector.stopped().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    old.sign("server", "localhost");
    new.sign("server", "localhost");
    let mut settings = old.settings("server");
    settings.push("--otlp-reload-seconds=1".to_owned());
    let collector = started(&settings).await;
    assert!(is_let_in(&old.client(None, "http/1.1"), collector.http).await);
    for file in ["server.pem", "server.key"] {
        std::fs::copy(new.path(file), old.path(file)).expect("it can be copied");
    }
    eventually("the new one is shown", async || is_let_in(&new.client(None, "http/1.1"), collector.http).await).await;
    assert!(!is_let_in(&old.client(None, "http/1.1"), collector.http).await);
    collector.stopped().await;
}

#[tokio::test]
async fn sinks_trust_whom_they_are_told_to_and_prove_who_they_are() {
    let authority = Authority::new();
    authority.sign("server", "localhost");
    authority.sign("agent", "agent.example");
    let file = |name: &str| authority.path(name).display().to_string();
    let mut settings = authority.settings("server");
    settings.push(format!("--otlp-tls-client-ca={}", file("root.pem")));
    let far = started(&settings).await;
    let clickhouse = FakeClickHouse::start().await;
    let way = Way::secured(acceptor(&authority, "server"), clickhouse.server.address).await;

    for (protocol, port) in [("grpc", far.grpc), ("http", far.http)] {
        let before = far.count(Table::Spans).await;
        let near = started(&[
            format!("--otlp-out-url=https://localhost:{}", port.port()),
            format!("--otlp-out-protocol={protocol}"),
            "--otlp-out-wait-max-ms=1".to_owned(),
            format!("--clickhouse-url=https://localhost:{}", way.address.port()),
            "--clickhouse-wait-max-ms=1".to_owned(),
            "--clickhouse-compression=none".to_owned(),
            format!("--sink-certificate={}", file("root.pem")),
            format!("--sink-client-certificate={}", file("agent.pem")),
            format!("--sink-client-key={}", file("agent.key")),
        ])
        .await;
        let body = traces((0..3).map(recent_span).collect()).encode_to_vec();
        assert_eq!(post(near.http, "/v1/traces", &PROTOBUF, &body).await.status, 200);
        let wanted = before + near.count(Table::Spans).await;
        eventually("they are there", async || far.count(Table::Spans).await == wanted).await;
        eventually("they are in ClickHouse", async || clickhouse.rows("otel_traces") == wanted).await;
        near.stopped().await;
    }
    far.stopped().await;
}

#[tokio::test]
async fn a_sink_that_nobody_vouches_for_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    stranger.sign("server", "localhost");
    let far = started(&stranger.settings("server")).await;
    let near = started(&[
        format!("--otlp-out-url=https://localhost:{}", far.grpc.port()),
        "--otlp-out-wait-max-ms=1".to_owned(),
        format!("--sink-certificate={}", authority.path("root.pem").display()),
    ])
    .await;
    let body = traces(vec![recent_span(1)]).encode_to_vec();
    assert_eq!(post(near.http, "/v1/traces", &PROTOBUF, &body).await.status, 200, "receiving goes on");
    eventually("it says why", async || {
        let (_, health) = near.health().await;
        health["sinks"]
            .as_array()
            .is_some_and(|sinks| sinks.iter().any(|sink| sink.to_string().contains("invalid peer certificate")))
    })
    .await;
    assert_eq!(far.count(Table::Spans).await, 0);
    near.stopped().await;
    far.stopped().await;
}

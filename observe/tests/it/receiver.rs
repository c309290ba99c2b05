//! The smallest OTLP receiver: keeps what arrives, rejects what it is told to.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering::SeqCst},
    },
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{AnyValue, any_value::Value},
    metrics::v1::{Exemplar, metric::Data},
    trace::v1::Span,
};
use tokio::{net::TcpSocket, sync::watch};
use tonic::{Request, Response, Status, transport::Server};

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) body: String,
    pub(crate) uid: String,
    pub(crate) trace_id: Vec<u8>,
    pub(crate) span_id: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) spans: Vec<Span>,
    pub(crate) logs: Vec<Log>,
    pub(crate) points: u64,
    pub(crate) metrics: BTreeSet<String>,
    /// Of histograms, each with the name of its metric.
    pub(crate) exemplars: Vec<(String, Exemplar)>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<()>,
    reject: Arc<AtomicI64>,
    cut: Arc<AtomicBool>,
}

/// A bound port that does not listen: connections are refused.
pub(crate) struct Reserved {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Receiver {
    pub(crate) async fn reserve() -> Reserved {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("a bound address");
        Reserved { socket, address }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("nobody panics here").clone()
    }

    pub(crate) fn reject_next_spans(&self, count: i64) {
        self.reject.store(count, SeqCst);
    }

    /// The next request for spans ends as if its connection had broken.
    pub(crate) fn cut_next_spans(&self) {
        self.cut.store(true, SeqCst);
    }

    pub(crate) async fn until(&self, condition: impl Fn(&Seen) -> bool) {
        let mut changes = self.changed.subscribe();
        while !condition(&self.seen()) {
            changes.changed().await.expect("the sender is in self");
        }
    }

    fn keep(&self, keep: impl FnOnce(&mut Seen)) {
        keep(&mut self.seen.lock().expect("nobody panics here"));
        self.changed.send_replace(());
    }
}

impl Reserved {
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn start(self) -> Receiver {
        let receiver = Receiver {
            seen: Arc::default(),
            changed: watch::Sender::new(()),
            reject: Arc::default(),
            cut: Arc::default(),
        };
        let listener = self.socket.listen(64).expect("the port is ours");
        let server = Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()))
            .add_service(LogsServiceServer::new(receiver.clone()))
            .add_service(MetricsServiceServer::new(receiver.clone()))
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        tokio::spawn(server);
        receiver
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.cut.swap(false, SeqCst) {
            return Err(Status::unknown("transport error"));
        }
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.keep(|seen| seen.spans.extend(spans));
        let rejected_spans = self.reject.swap(0, SeqCst);
        let partial_success = (rejected_spans > 0)
            .then(|| ExportTracePartialSuccess { rejected_spans, error_message: "not these".to_owned() });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let resources = request.into_inner().resource_logs;
        let records =
            resources.into_iter().flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
        let logs = records.map(|record| Log {
            body: text(record.body.as_ref()),
            uid: text(
                record
                    .attributes
                    .iter()
                    .find(|attribute| attribute.key == "log.record.uid")
                    .and_then(|attribute| attribute.value.as_ref()),
            ),
            trace_id: record.trace_id,
            span_id: record.span_id,
        });
        self.keep(|seen| seen.logs.extend(logs));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let metrics = resources.into_iter().flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics);
        self.keep(|seen| {
            for metric in metrics {
                seen.points += match metric.data.expect("a metric holds data") {
                    Data::Gauge(gauge) => gauge.data_points.len(),
                    Data::Sum(sum) => sum.data_points.len(),
                    Data::Histogram(histogram) => {
                        let exemplars = histogram.data_points.iter().flat_map(|point| point.exemplars.clone());
                        seen.exemplars.extend(exemplars.map(|exemplar| (metric.name.clone(), exemplar)));
                        histogram.data_points.len()
                    }
                    other => panic!("nothing here makes {other:?}"),
                } as u64;
                seen.metrics.insert(metric.name);
            }
        });
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

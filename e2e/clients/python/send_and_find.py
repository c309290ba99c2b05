"""The Python OpenTelemetry SDK writes spans, logs and metrics over one protocol; SQL finds each of them.

Usage: send_and_find.py grpc|http OTLP_ENDPOINT QUERY_URL
"""

import json
import logging
import sys
import time
import urllib.request
import uuid

from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

SPANS = 50


def exporters(protocol, endpoint):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return tuple(kind(endpoint=endpoint, insecure=endpoint.startswith("http:")) for kind in (OTLPSpanExporter, OTLPLogExporter, OTLPMetricExporter))
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=Compression.Gzip),
        OTLPLogExporter(endpoint=f"{endpoint}/v1/logs", compression=Compression.Gzip),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", compression=Compression.Gzip),
    )


def send(protocol, endpoint, run):
    spans, logs, metrics = exporters(protocol, endpoint)
    resource = Resource.create({"service.name": f"python-{protocol}", "run": run})
    tracer_provider = TracerProvider(resource=resource)
    tracer_provider.add_span_processor(BatchSpanProcessor(spans))
    logger_provider = LoggerProvider(resource=resource)
    logger_provider.add_log_record_processor(BatchLogRecordProcessor(logs))
    set_logger_provider(logger_provider)
    meter_provider = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics)])

    tracer = tracer_provider.get_tracer("e2e", "1.0")
    logger = logging.getLogger("e2e")
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=logger_provider))
    meter = meter_provider.get_meter("e2e")
    orders = meter.create_counter("orders", unit="{order}")
    latency = meter.create_histogram("latency", unit="s")
    for number in range(SPANS):
        with tracer.start_as_current_span("order", kind=trace.SpanKind.SERVER) as span:
            span.set_attributes({"order.number": number, "order.gift": True, "order.weights": [0.5, 1.0]})
            span.add_event("packed", {"boxes": 2})
            logger.info("order %d packed", number)
            orders.add(1, {"kind": "book"})
            latency.record(number / 100)
    for provider in (tracer_provider, logger_provider, meter_provider):
        provider.shutdown()


def sql(query_url, text):
    request = urllib.request.Request(f"{query_url}/v1/sql", data=text.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def expect(query_url, text, wanted):
    deadline = time.monotonic() + 10
    while (found := sql(query_url, text)) != wanted:
        if time.monotonic() > deadline:
            sys.exit(f"{text}\n  wanted {wanted}\n  found  {found}")
        time.sleep(0.1)
    print(f"ok: {text} -> {found}")


def main():
    protocol, endpoint, query_url = sys.argv[1:]
    run = uuid.uuid4().hex
    send(protocol, endpoint, run)
    mine = f"resource['run'] = '{run}'"
    expect(query_url, f"SELECT count(*) AS n, count(DISTINCT span_id) AS ids FROM spans WHERE {mine} AND kind = 'Server'", [{"n": SPANS, "ids": SPANS}])
    expect(query_url, f"SELECT count(*) AS n FROM spans WHERE {mine} AND attributes['order.number'] = '49' AND cardinality(events) = 1", [{"n": 1}])
    expect(query_url, f"SELECT count(*) AS n FROM logs AS l JOIN spans AS s ON l.trace_id = s.trace_id AND l.span_id = s.span_id WHERE l.{mine} AND l.severity_text = 'INFO'", [{"n": SPANS}])
    expect(query_url, f"SELECT max(value) AS orders FROM metrics WHERE {mine} AND name = 'orders' AND is_monotonic", [{"orders": float(SPANS)}])
    expect(query_url, f"SELECT max(count) AS n FROM metric_histograms WHERE {mine} AND name = 'latency' AND unit = 's'", [{"n": SPANS}])


if __name__ == "__main__":
    main()

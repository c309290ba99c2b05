//! The measures as instruments of OpenTelemetry: read on the exporter's clock.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::Seen;
use super::measures::{Kind, MEASURES};
use crate::collector::Collector;

/// Registers them all. They hold nothing: a collector that ended stays silent.
pub(crate) fn export(collector: &Arc<Collector>, meter: &Meter) {
    for measure in MEASURES {
        let of = Arc::downgrade(collector);
        let callback = move |instrument: &dyn AsyncInstrument<u64>| {
            let Some(of) = of.upgrade() else { return };
            (measure.read)(&Seen::of(&of), &mut |value, labels| {
                let attributes: Vec<KeyValue> =
                    labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect();
                instrument.observe(value, &attributes);
            });
        };
        match measure.kind {
            Kind::Counter => {
                let builder = meter.u64_observable_counter(measure.name).with_description(measure.help);
                builder.with_unit(measure.unit).with_callback(callback).build();
            }
            Kind::Gauge => {
                let builder = meter.u64_observable_gauge(measure.name).with_description(measure.help);
                builder.with_unit(measure.unit).with_callback(callback).build();
            }
        }
    }
}

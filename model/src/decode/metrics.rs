//! `Metric` to rows of the four metric tables, one a data point. A metric without points has no row.

mod exponential;
mod histograms;
mod numbers;
mod summaries;

use super::origin::Origin;
use super::points::Head;
use super::{Records, Request};
use crate::json;
use crate::wire::Message;
use crate::{Batch, DecodeError};

/// Fields of `Metric.data`.
const GAUGE: u32 = 5;
const SUM: u32 = 7;
const HISTOGRAM: u32 = 9;
const EXPONENTIAL_HISTOGRAM: u32 = 10;
const SUMMARY: u32 = 11;

#[derive(Default)]
pub(super) struct Metrics {
    numbers: numbers::Numbers,
    histograms: histograms::Histograms,
    exponential_histograms: exponential::ExponentialHistograms,
    summaries: summaries::Summaries,
}

impl Records for Metrics {
    const NAME: &str = "data point";

    fn push(&mut self, metric: Message<'_>, request: &mut Request) -> Result<(), DecodeError> {
        let mut head =
            Head { name: &[], description: &[], unit: &[], metadata: json::list_from_wire(metric, &json::METADATA)? };
        let mut data = None;
        let mut fields = metric;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => head.name = field.bytes()?,
                2 => head.description = field.bytes()?,
                3 => head.unit = field.bytes()?,
                number @ (GAUGE | SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM | SUMMARY) => {
                    data = Some((number, field.message()?))
                }
                _ => {}
            }
        }
        let Some((number, data)) = data else { return Ok(()) };
        let kind = Kind::read(number, data)?;
        let mut fields = data;
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                self.push_point(field.message()?, &head, kind, request)?;
            }
        }
        Ok(())
    }

    fn end_scope(&mut self, origin: &Origin) {
        self.numbers.points.end_scope(origin);
        self.histograms.points.end_scope(origin);
        self.exponential_histograms.points.end_scope(origin);
        self.summaries.points.end_scope(origin);
    }

    fn finish(self) -> Vec<Batch> {
        let batches = [
            self.numbers.finish(),
            self.histograms.finish(),
            self.exponential_histograms.finish(),
            self.summaries.finish(),
        ];
        batches.into_iter().flatten().collect()
    }
}

impl Metrics {
    fn push_point(
        &mut self,
        point: Message<'_>,
        head: &Head<'_>,
        kind: Kind,
        request: &mut Request,
    ) -> Result<(), DecodeError> {
        if !request.admit(count_items(point, kind.items)?, head.bytes()) {
            return Ok(());
        }
        match kind.data {
            GAUGE | SUM => self.numbers.push(point, head, kind),
            HISTOGRAM => self.histograms.push(point, head, kind),
            EXPONENTIAL_HISTOGRAM => self.exponential_histograms.push(point, head, kind),
            _ => self.summaries.push(point, head),
        }
    }
}

/// What the points of one metric share beside its head.
#[derive(Clone, Copy)]
struct Kind {
    /// The field of `Metric.data`.
    data: u32,
    /// The field of a point that repeats exemplars, or the quantiles of a summary.
    items: u32,
    temporality: i32,
    is_monotonic: bool,
}

impl Kind {
    fn read(data: u32, mut message: Message<'_>) -> Result<Kind, DecodeError> {
        let items = match data {
            GAUGE | SUM => numbers::EXEMPLARS,
            HISTOGRAM => histograms::EXEMPLARS,
            EXPONENTIAL_HISTOGRAM => exponential::EXEMPLARS,
            _ => summaries::QUANTILES,
        };
        let mut kind = Kind { data, items, temporality: 0, is_monotonic: false };
        if data == GAUGE || data == SUMMARY {
            return Ok(kind);
        }
        while let Some(field) = message.next()? {
            match field.number {
                2 => kind.temporality = field.int32()?,
                3 if data == SUM => kind.is_monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        Ok(kind)
    }
}

fn count_items(mut point: Message<'_>, number: u32) -> Result<usize, DecodeError> {
    let mut count = 0;
    while let Some(field) = point.next()? {
        count += usize::from(field.number == number);
    }
    Ok(count)
}

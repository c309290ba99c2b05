//! What of the log is on the disk, for those who read it in order: segments that are compacted stay a while, and longer for
//! whoever holds them.

use model::Signal;

use crate::frame::SEGMENT_HEADER_BYTES;
use crate::layout;
use crate::manifest::{Manifest, Tally};
use crate::shared::{Shared, Synced};

/// A segment up to where it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) number: u64,
    /// Relative to the folder of the manifest.
    pub(crate) path: String,
    pub(crate) end: u64,
    /// Nothing will follow in it.
    pub(crate) sealed: bool,
    pub(crate) tally: Tally,
}

/// A place in the log; what is before it in the order of the log is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Rows of the segment before `offset`.
    pub(crate) rows: u64,
}

/// What of a trail lies behind a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// When the first segment of it began; none when there is nothing.
    pub(crate) first_ms: Option<u64>,
}

pub(crate) fn left(trail: &[Stretch], from: Place) -> Left {
    let mut left = Left::default();
    for stretch in trail.iter().filter(|stretch| stretch.number >= from.segment) {
        let here = stretch.number == from.segment;
        let (offset, rows) = if here { (from.offset, from.rows) } else { (0, 0) };
        let bytes = stretch.end.saturating_sub(offset.max(SEGMENT_HEADER_BYTES as u64));
        if bytes > 0 {
            left.bytes += bytes;
            left.rows += stretch.tally.rows.saturating_sub(rows);
            left.first_ms.get_or_insert(stretch.tally.first_ms);
        }
    }
    left
}

/// What of a trail lies before a place.
pub(crate) fn before(trail: Vec<Stretch>, fence: Place) -> Vec<Stretch> {
    let near = trail.into_iter().filter(|stretch| stretch.number <= fence.segment);
    near.map(|stretch| match stretch.number == fence.segment && fence.offset < stretch.end {
        true => Stretch { end: fence.offset, sealed: false, ..stretch },
        false => stretch,
    })
    .collect()
}

/// Oldest first.
pub(crate) fn trail(shared: &Shared, signal: Signal) -> Vec<Stretch> {
    // Before the manifest: a segment that is sealed between the two is then found sealed.
    let synced = *shared.synced(signal).borrow();
    let manifest = shared.catalog.current();
    stretches(&manifest, signal, synced)
}

fn stretches(manifest: &Manifest, signal: Signal, synced: Synced) -> Vec<Stretch> {
    let live = manifest.segments(signal).map(|segment| {
        let (path, number) = (segment.path(), segment.number);
        match segment.sealed_bytes {
            Some(end) => Stretch { number, path, end, sealed: true, tally: segment.tally },
            None if number == synced.number => {
                Stretch { number, path, end: synced.bytes, sealed: false, tally: synced.tally }
            }
            // It failed and waits to be sealed, or its first row is just being written.
            None => Stretch { number, path, end: SEGMENT_HEADER_BYTES as u64, sealed: false, tally: Tally::default() },
        }
    });
    let compacted = manifest.replaced.iter().filter_map(|gone| {
        let number = layout::segment_number(signal, &gone.path)?;
        Some(Stretch { number, path: gone.path.clone(), end: gone.bytes, sealed: true, tally: gone.tally })
    });
    let mut stretches: Vec<Stretch> = live.chain(compacted).collect();
    stretches.sort_unstable_by_key(|stretch| stretch.number);
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Segment;

    #[test]
    fn compacted_segments_come_before_live_ones_and_the_last_ends_where_it_is_durable() {
        let mut manifest = Manifest::empty();
        let tally = Tally { rows: 3, first_ms: 1 };
        for (number, sealed_bytes) in [(2, Some(500)), (5, Some(700)), (9, None)] {
            manifest.segments.push(Segment { signal: Signal::Logs, number, sealed_bytes, tally });
        }
        manifest.segments.push(Segment { signal: Signal::Traces, number: 3, sealed_bytes: Some(1), tally });
        manifest.replace_segment(Signal::Logs, 2, 500, 0);
        let synced = Synced { number: 9, bytes: 40, tally: Tally { rows: 1, first_ms: 2 } };
        let found = stretches(&manifest, Signal::Logs, synced);
        let short: Vec<_> =
            found.iter().map(|stretch| (stretch.number, stretch.end, stretch.sealed, stretch.tally.rows)).collect();
        assert_eq!(short, [(2, 500, true, 3), (5, 700, true, 3), (9, 40, false, 1)]);
        assert_eq!(found[0].path, "log/logs/2.log");
        let before_the_first_row = Synced { number: 5, bytes: 700, tally };
        assert_eq!(stretches(&manifest, Signal::Logs, before_the_first_row)[2].end, SEGMENT_HEADER_BYTES as u64);
    }
}

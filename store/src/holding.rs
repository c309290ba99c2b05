//! Which compacted segments stay for the cursors, and which leave although a cursor is not through with them.
//!
//! A sink that is dead or slow costs disk, up to a limit, and never a request: what is held does not count towards the size at
//! which requests are refused, and it leaves, oldest first, when it is too much or the disk gets short.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use model::Signal;

use crate::bookmark::Bookmark;
use crate::layout;
use crate::lock;
use crate::manifest::{Manifest, Replaced};
use crate::shared::Shared;

/// What is held leaves when the disk has less free than this many times what is kept free: well before requests are refused.
const FREE_TIMES_MIN: u64 = 2;

/// The paths that may not be deleted. Cursors are told of what leaves over their heads.
pub(crate) fn hold<'a>(shared: &Shared, manifest: &'a Manifest) -> HashSet<&'a str> {
    let bookmarks = lock(&shared.bookmarks).clone();
    let mut held = needed(manifest, &bookmarks);
    let mut bytes: u64 = held.iter().map(|(_, _, gone)| gone.bytes).sum();
    let mut excess = bytes.saturating_sub(shared.args.log_held_bytes_max).max(short_of_disk(shared));
    held.sort_unstable_by_key(|(number, _, _)| std::cmp::Reverse(*number));
    while excess > 0
        && let Some((number, signal, gone)) = held.pop()
    {
        for bookmark in readers(&bookmarks, signal, number, gone.bytes) {
            let (sink, lost) = (&bookmark.sink, bookmark.give_up(shared, number, gone.tally));
            tracing::error!(
                sink.name = %sink,
                otlp.signal = signal.name(),
                sink.lost = lost,
                "{sink} is too far behind: {lost} rows of {} leave the disk before it took them",
                signal.name(),
            );
        }
        bytes -= gone.bytes;
        excess = excess.saturating_sub(gone.bytes);
    }
    shared.held_bytes.store(bytes, Relaxed);
    held.into_iter().map(|(_, _, gone)| gone.path.as_str()).collect()
}

/// Counts what is held without letting anything go: before the first row is taken after a start.
pub(crate) fn recount(shared: &Shared) {
    let bookmarks = lock(&shared.bookmarks).clone();
    let bytes = needed(&shared.catalog.current(), &bookmarks).iter().map(|(_, _, gone)| gone.bytes).sum();
    shared.held_bytes.store(bytes, Relaxed);
}

fn needed<'a>(manifest: &'a Manifest, bookmarks: &[Arc<Bookmark>]) -> Vec<(u64, Signal, &'a Replaced)> {
    let segments = manifest.replaced.iter().filter_map(|gone| {
        let known = |signal| Some((layout::segment_number(signal, &gone.path)?, signal, gone));
        Signal::ALL.into_iter().find_map(known)
    });
    segments
        .filter(|(number, signal, gone)| readers(bookmarks, *signal, *number, gone.bytes).next().is_some())
        .collect()
}

fn readers(bookmarks: &[Arc<Bookmark>], signal: Signal, number: u64, end: u64) -> impl Iterator<Item = &Arc<Bookmark>> {
    bookmarks.iter().filter(move |bookmark| bookmark.signal == signal && bookmark.needs(number, end))
}

/// Bytes that should be free and are not.
pub(crate) fn short_of_disk(shared: &Shared) -> u64 {
    let wanted = shared.args.disk_free_bytes_min.saturating_mul(FREE_TIMES_MIN);
    wanted.saturating_sub(shared.disk.free_bytes())
}

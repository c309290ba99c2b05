//! How much the broker remembers, so that its memory stays flat.

/// The newest batches stay even when read: a group that starts a little later finds them. The relay sends one event a
/// batch at low load, so this is two minutes of a busy partition in about 3 MB.
pub(super) const KEPT_BATCHES: usize = 1_000;

/// Beyond it the oldest go, read or not, as Kafka's `retention.bytes` would have it. A group that was away for so long
/// gets them when the relay publishes again.
pub(super) const BYTES_MAX: usize = 32 << 20;

/// Whether the oldest of a partition's batches may go.
pub(super) fn may_go(batches: usize, bytes: usize, is_read: bool) -> bool {
    (is_read && batches > KEPT_BATCHES) || (bytes > BYTES_MAX && batches > 1)
}

//! How far each partition is: what of it is in hand, and the offset before which everything is dealt with.

use std::collections::{BTreeSet, HashMap};

use model::Signal;

/// A partition. A topic holds one signal.
pub(super) type Place = (Signal, i32);

#[derive(Default)]
pub(super) struct Positions {
    ours: HashMap<Place, Partition>,
    /// Partitions taken so far.
    turns: u64,
}

struct Partition {
    /// One that comes back to us starts where the group committed: what was in hand before counts no more.
    turn: u64,
    in_hand: BTreeSet<i64>,
    /// One past the last that was begun.
    end: i64,
    /// Wanted by the group: nothing of it is begun.
    leaving: bool,
}

/// A message in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) place: Place,
    pub(super) offset: i64,
    turn: u64,
}

impl Positions {
    /// A partition is given to us.
    pub(super) fn take(&mut self, place: Place) {
        self.turns += 1;
        self.ours.insert(place, Partition { turn: self.turns, in_hand: BTreeSet::new(), end: 0, leaving: false });
    }

    /// None: its partition is about to be another's, who will have it.
    pub(super) fn begin(&mut self, place: Place, offset: i64) -> Option<Begun> {
        let partition = self.ours.get_mut(&place).filter(|partition| !partition.leaving)?;
        partition.in_hand.insert(offset);
        // Not the largest ever: a topic that was made anew begins at 0 again.
        partition.end = offset + 1;
        Some(Begun { place, offset, turn: partition.turn })
    }

    /// Dealt with. Returns the offset before which everything is; None when the partition is no longer ours.
    pub(super) fn done(&mut self, begun: Begun) -> Option<i64> {
        let partition = self.ours.get_mut(&begun.place).filter(|partition| partition.turn == begun.turn)?;
        partition.in_hand.remove(&begun.offset);
        Some(partition.in_hand.first().copied().unwrap_or(partition.end))
    }

    /// Whether its partition is still ours.
    pub(super) fn counts(&self, begun: Begun) -> bool {
        self.ours.get(&begun.place).is_some_and(|partition| partition.turn == begun.turn)
    }

    pub(super) fn leave(&mut self, places: &[Place]) {
        for place in places {
            if let Some(partition) = self.ours.get_mut(place) {
                partition.leaving = true;
            }
        }
    }

    pub(super) fn give_up(&mut self, places: &[Place]) {
        places.iter().for_each(|place| drop(self.ours.remove(place)));
    }

    /// Whether anything of them is in hand.
    pub(super) fn are_busy(&self, places: &[Place]) -> bool {
        places.iter().filter_map(|place| self.ours.get(place)).any(|partition| !partition.in_hand.is_empty())
    }

    pub(super) fn ours(&self) -> impl Iterator<Item = Place> {
        self.ours.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = (Signal::Traces, 3);

    fn begun(positions: &mut Positions, offset: i64) -> Begun {
        positions.begin(PLACE, offset).expect("the partition is ours")
    }

    #[test]
    fn an_offset_is_passed_when_all_before_it_are() {
        let mut positions = Positions::default();
        positions.take(PLACE);
        // What a transaction or a compaction left out has no offset of its own.
        let [first, second, third] = [10, 11, 14].map(|offset| begun(&mut positions, offset));
        assert_eq!(positions.done(second), Some(10));
        assert_eq!(positions.done(third), Some(10));
        assert_eq!(positions.done(first), Some(15));
        let fourth = begun(&mut positions, 15);
        assert_eq!(positions.done(fourth), Some(16));
    }

    #[test]
    fn what_was_in_hand_before_a_partition_left_counts_no_more() {
        let mut positions = Positions::default();
        positions.take(PLACE);
        let [first, second] = [5, 6].map(|offset| begun(&mut positions, offset));
        positions.leave(&[PLACE]);
        assert_eq!(positions.begin(PLACE, 7), None, "the next owner has it");
        assert_eq!(positions.done(first), Some(6), "what is in hand still counts");
        assert!(positions.are_busy(&[PLACE]));
        assert!(positions.counts(second));
        positions.give_up(&[PLACE]);
        assert!(!positions.are_busy(&[PLACE]) && !positions.counts(second));
        assert_eq!(positions.done(second), None);
        positions.take(PLACE);
        let again = begun(&mut positions, 6);
        assert_eq!(positions.done(second), None, "of another turn");
        assert_eq!(positions.done(again), Some(7));
    }

    #[test]
    fn a_topic_made_anew_is_read_from_its_beginning() {
        let mut positions = Positions::default();
        positions.take(PLACE);
        let old = begun(&mut positions, 900);
        assert_eq!(positions.done(old), Some(901));
        let new = begun(&mut positions, 0);
        assert_eq!(positions.done(new), Some(1));
    }
}

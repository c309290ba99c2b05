//! The messages a reader has in hand: of one key one at a time and in order, of different keys at once.

use std::collections::{HashMap, VecDeque};

use rdkafka::message::{Message, OwnedMessage};

/// Bounded: whoever takes asks for room first.
pub(super) struct Hand {
    /// Keys with a message at work, and the messages that wait behind it.
    keys: HashMap<Vec<u8>, VecDeque<OwnedMessage>>,
    messages: usize,
    messages_max: usize,
}

impl Hand {
    pub(super) fn new(messages_max: usize) -> Self {
        Self { keys: HashMap::new(), messages: 0, messages_max }
    }

    pub(super) fn has_room(&self) -> bool {
        self.messages < self.messages_max
    }

    /// Returns the message when work on it may begin; else it waits for its key.
    pub(super) fn take(&mut self, message: OwnedMessage) -> Option<OwnedMessage> {
        self.messages += 1;
        match self.keys.get_mut(message.key().unwrap_or_default()) {
            Some(waiting) => {
                waiting.push_back(message);
                None
            }
            None => {
                self.keys.insert(message.key().unwrap_or_default().to_owned(), VecDeque::new());
                Some(message)
            }
        }
    }

    /// Work on a message of `key` has ended; returns the next of that key.
    pub(super) fn finished(&mut self, key: &[u8]) -> Option<OwnedMessage> {
        self.messages -= 1;
        let next = self.keys.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.keys.remove(key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;

    use super::*;

    fn message(key: &str, offset: i64) -> OwnedMessage {
        OwnedMessage::new(None, Some(key.into()), "orders".to_owned(), Timestamp::NotAvailable, 0, offset, None)
    }

    #[test]
    fn a_key_has_one_at_work_and_the_next_in_order() {
        let mut hand = Hand::new(4);
        let begun = [("a", 0), ("b", 1), ("a", 2), ("a", 3)].map(|(key, offset)| {
            assert!(hand.has_room());
            hand.take(message(key, offset)).map(|message| message.offset())
        });
        assert_eq!(begun, [Some(0), Some(1), None, None]);
        assert!(!hand.has_room());
        let next = ["b", "a", "a", "a"].map(|key| hand.finished(key.as_bytes()).map(|message| message.offset()));
        assert_eq!(next, [None, Some(2), Some(3), None]);
        assert!(hand.has_room() && hand.take(message("a", 4)).is_some());
    }
}

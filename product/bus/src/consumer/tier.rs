//! The topics of a consumer: what it reads, where it retries, where it gives up.

use std::time::Duration;

use crate::Topic;

/// Retried and dead events are few, and their order is given up anyway.
const SIDE_PARTITIONS: i32 = 1;

/// Topics that are read together: the given ones, or those of one retry delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tier {
    /// 0 for the first attempt.
    pub(super) attempt: usize,
    /// Group of the main topics, or a group of its own beside it.
    pub(super) group: String,
    pub(super) topics: Vec<String>,
    /// How long a message waits here.
    pub(super) delay: Duration,
}

impl Tier {
    pub(super) fn all(group: &str, topics: &[Topic], delays: &[Duration]) -> Vec<Self> {
        let main = Self {
            attempt: 0,
            group: group.to_owned(),
            topics: topics.iter().map(|topic| topic.name.clone()).collect(),
            delay: Duration::ZERO,
        };
        let retries = delays.iter().zip(1..).map(|(delay, attempt)| Self {
            attempt,
            group: format!("{group}.retry.{attempt}"),
            topics: topics.iter().map(|topic| retry_topic(&topic.name, group, attempt)).collect(),
            delay: *delay,
        });
        std::iter::once(main).chain(retries).collect()
    }
}

pub(super) fn retry_topic(topic: &str, group: &str, attempt: usize) -> String {
    format!("{topic}.{group}.retry.{attempt}")
}

pub(super) fn dead_letter_topic(topic: &str, group: &str) -> String {
    format!("{topic}{}", dead_letter_suffix(group))
}

/// How the names of a group's dead-letter topics end.
pub(crate) fn dead_letter_suffix(group: &str) -> String {
    format!(".{group}.dlq")
}

/// Everything a group needs to exist.
pub(super) fn all_topics(group: &str, topics: &[Topic], retries: usize) -> Vec<Topic> {
    let side = |name| Topic { name, partitions: SIDE_PARTITIONS };
    let sides = topics.iter().flat_map(|topic| {
        let retries = (1..=retries).map(|attempt| retry_topic(&topic.name, group, attempt));
        retries.chain([dead_letter_topic(&topic.name, group)]).map(side)
    });
    topics.iter().cloned().chain(sides).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delay_has_topics_and_a_group_of_its_own() {
        let topics = [Topic { name: "orders".to_owned(), partitions: 4 }];
        let names: Vec<_> = all_topics("mail", &topics, 2).into_iter().map(|topic| topic.name).collect();
        assert_eq!(names, ["orders", "orders.mail.retry.1", "orders.mail.retry.2", "orders.mail.dlq"]);
        let tiers = Tier::all("mail", &topics, &[Duration::from_secs(1)]);
        assert_eq!((tiers.len(), tiers[1].group.as_str()), (2, "mail.retry.1"));
    }
}

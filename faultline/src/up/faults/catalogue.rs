//! Every fault that can be switched on: what it does, and what one will see of it.

use serde::Serialize;

/// A fault as it is listed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// What is done, and to whom.
    pub(crate) does: &'static str,
    /// Where it shows.
    pub(crate) shows: &'static str,
    #[serde(skip)]
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SlowAnalyticsQuery,
    LockContention,
    JobsStuck,
    ServiceDown,
    BrokerDown,
    BrokerSlow,
    AcquirerSlow,
    AcquirerFailing,
    MailRefusing,
    WebhookRefusing,
    MemoryPressure,
    CpuHog,
    NetworkDelay,
    NetworkLoss,
    BadDeploy,
    PoisonMessage,
    ThunderingHerd,
    ExpiredTokens,
    DiskFull,
}

pub(crate) const FAULTS: [Fault; 19] = [
    Fault {
        name: "slow-analytics-query",
        does: "somebody's report that joins all payments with each other runs again and again on the database that analytics \
               uses: core's while analytics is inline, its own once it is extracted",
        shows: "process.cpu.time of `hog` (the database's on PostgreSQL). inline: p95 of every endpoint of core. events: only \
                /v1/analytics/*",
        kind: Kind::SlowAnalyticsQuery,
    },
    Fault {
        name: "lock-contention",
        does: "a settlement holds its transaction open, one and a half seconds out of two, on the database that jobs uses",
        shows: "inline: writes of core wait (BEGIN, INSERT and UPDATE spans of a second), payments and logins with them. events: \
                the lag of jobs",
        kind: Kind::LockContention,
    },
    Fault {
        name: "jobs-stuck",
        does: "the process of jobs is stopped where it is (SIGSTOP) and continued at the end",
        shows: "no spans and metrics of jobs, so its lag is not told either; afterwards a burst of receipts, mails and webhooks",
        kind: Kind::JobsStuck,
    },
    Fault {
        name: "service-down",
        does: "the part (jobs unless named) is stopped and held down by the supervisor, its port given back",
        shows: "nothing of the part in telemetry; callers are refused at once, what was meant for it waits in the topic",
        kind: Kind::ServiceDown,
    },
    Fault {
        name: "broker-down",
        does: "the embedded broker is stopped, with all it had in memory, and started again at the end",
        shows: "faultline.outbox.pending and its age grow, `send` spans end; afterwards everything retained is published \
                again and consumers skip what they know (outcome duplicate)",
        kind: Kind::BrokerDown,
    },
    Fault {
        name: "broker-slow",
        does: "the broker works a tenth of a second out of each second",
        shows: "`send` spans of up to a second, lag comes and goes; requests do not wait for it",
        kind: Kind::BrokerSlow,
    },
    Fault {
        name: "acquirer-slow",
        does: "the acquirer takes two seconds longer for each answer",
        shows: "client spans core → acquirer of two seconds, p95 of POST /v1/payments in every mode: this coupling stays",
        kind: Kind::AcquirerSlow,
    },
    Fault {
        name: "acquirer-failing",
        does: "the acquirer answers half of its requests with 500",
        shows: "errors in the edge core → acquirer, 502 and repeated payment requests; no payment is charged twice",
        kind: Kind::AcquirerFailing,
    },
    Fault {
        name: "mail-refusing",
        does: "the mail receiver refuses every message (SMTP 451)",
        shows: "inline: payments answer after a failed mail, the sweeper catches up. events: jobs retries, retry topics fill",
        kind: Kind::MailRefusing,
    },
    Fault {
        name: "webhook-refusing",
        does: "the merchant's receiver answers every webhook with 503",
        shows: "inline: payments answer after a failed webhook. events: errors in the edge jobs → receiver, \
                faultline.consumer.retries",
        kind: Kind::WebhookRefusing,
    },
    Fault {
        name: "memory-pressure",
        does: "a process takes a quarter of the memory that is free, two GiB at most, and rewrites it without pause",
        shows: "process.memory.usage of `hog`; caches and memory bandwidth are shared, so everything gets a little slower",
        kind: Kind::MemoryPressure,
    },
    Fault {
        name: "cpu-hog",
        does: "a process computes on every CPU that the part (core unless named) may use",
        shows: "process.cpu.time of `hog`; the part gets about half of its CPU, and its latencies grow, where it has a use for all of it",
        kind: Kind::CpuHog,
    },
    Fault {
        name: "network-delay",
        does: "100 ms each way, give or take 25, between core and the acquirer, and between jobs and its receivers (needs up --proxied)",
        shows: "client spans core → acquirer and jobs → receiver get longer while the servers' own spans do not",
        kind: Kind::NetworkDelay,
    },
    Fault {
        name: "network-loss",
        does: "one packet in twenty is lost on those ways, which TCP notices after 200 ms (needs up --proxied)",
        shows: "p99 of the same client spans, not their median",
        kind: Kind::NetworkLoss,
    },
    Fault {
        name: "bad-deploy",
        does: "a version of the part (jobs unless named) is deployed whose settings point to nobody; the watch takes it back",
        shows: "spans with another service.version that fail, then faultline.deploy.rolled_back; retries repair what was missed",
        kind: Kind::BadDeploy,
    },
    Fault {
        name: "poison-message",
        does: "an event that cannot be read is put on the topic `payments`, once a second",
        shows: "faultline.consumer.dead_letters; its neighbours in the partition go on",
        kind: Kind::PoisonMessage,
    },
    Fault {
        name: "thundering-herd",
        does: "a second crowd of customers, who send at the same moment what others send in four seconds, again and again",
        shows: "requests and p95 of core go up and down together, 429 and 503 where a queue is full",
        kind: Kind::ThunderingHerd,
    },
    Fault {
        name: "expired-token-key",
        does: "every session is void at once, as after the loss of a signing key: sessions here are rows, so the rows expire",
        shows: "401 on every endpoint, once for each customer; all have to sign in again (POST /v1/login) and do so at their usual pace",
        kind: Kind::ExpiredTokens,
    },
    Fault {
        name: "disk-full",
        does: "core's SQLite database may not grow any more (max_page_count)",
        shows: "writes fail with \"database or disk is full\", 503 on what writes, reads go on",
        kind: Kind::DiskFull,
    },
];

pub(crate) fn named(name: &str) -> anyhow::Result<&'static Fault> {
    FAULTS.iter().find(|fault| fault.name == name).ok_or_else(|| {
        let close = FAULTS.iter().find(|fault| fault.name.contains(name) || name.contains(fault.name));
        let hint = close.map_or(String::new(), |fault| format!(", did you mean {:?}?", fault.name));
        anyhow::anyhow!("there is no fault {name:?}{hint} `faultline product faults` lists them all")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_and_a_misspelt_one_is_helped() {
        for (place, fault) in FAULTS.iter().enumerate() {
            assert!(
                FAULTS[..place].iter().all(|other| other.name != fault.name && other.kind != fault.kind),
                "{}",
                fault.name
            );
        }
        assert_eq!(named("jobs-stuck").expect("it exists").kind, Kind::JobsStuck);
        assert!(named("stuck").expect_err("no such name").to_string().contains("\"jobs-stuck\""));
    }
}

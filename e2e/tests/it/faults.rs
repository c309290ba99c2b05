//! Each fault leaves the trace that its description promises (`faultline product faults`), and leaves none of it otherwise.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use e2e::{PATIENCE, Query};
use tokio::task::JoinSet;

use crate::operations::Stack;

/// How long the product is looked at before a fault: about as long as the longest of them takes to show.
const BEFORE: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(250);

/// A fault and what SQL finds of it, in the default mode `events`.
///
/// A condition is a boolean. In it `$during` says of a row that its time lies between start and end of the fault (or now, while
/// the fault is at work), `$after` that it lies later; `$start` and `$end` are those two times.
struct Trace {
    /// As it is typed: the name, and the part where there is a choice.
    fault: &'static str,
    /// Comes true while the fault is at work, which ends then.
    during: &'static str,
    /// Comes true when it is over.
    after: &'static str,
}

/// One after the other; those of one round are at work at the same time and do not hide each other.
///
/// What depends on the machine is left out: how much slower neighbours get beside `memory-pressure`, `cpu-hog` and
/// `slow-analytics-query`, and whether `thundering-herd` fills a queue.
const ROUNDS: [&[Trace]; 8] = [
    &[
        Trace {
            fault: "acquirer-failing",
            during: "
                (SELECT count(*) FROM spans AS caller
                 JOIN spans AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
                 WHERE caller.$during AND caller.service = 'core' AND caller.status = 'Error'
                   AND answer.service = 'acquirer' AND answer.attributes['http.response.status_code'] = '500') >= 3
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name = 'POST /v1/payments'
                   AND attributes['http.response.status_code'] = '502') >= 3
                AND (SELECT count(*) FROM (SELECT 1 FROM spans WHERE $during AND service = 'core' AND name = 'POST /v1/payments'
                   GROUP BY trace_id HAVING count(*) > 1)) >= 1",
            after: "(SELECT count(*) FROM spans WHERE $after AND service = 'core' AND name = 'POST /v1/payments'
                   AND attributes['http.response.status_code'] = '201') >= 1",
        },
        Trace {
            fault: "mail-refusing",
            during: "
                (SELECT count(*) FROM spans WHERE $during AND service = 'jobs' AND name = 'SMTP DATA' AND status = 'Error') >= 3
                AND (SELECT count(*) FROM metrics WHERE $during AND service = 'jobs' AND name = 'faultline.consumer.retries'
                   AND attributes['messaging.destination.name'] LIKE '%.jobs.retry.2') >= 1
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'jobs' AND name = 'send payments.jobs.retry.2') >= 1",
            after: "(SELECT count(*) FROM spans WHERE $after AND service = 'jobs' AND status <> 'Error'
                   AND name LIKE 'process payments.jobs.retry.%') >= 1",
        },
        Trace {
            fault: "poison-message",
            during: "
                (SELECT count(DISTINCT service) FROM metrics WHERE $during AND name = 'faultline.consumer.dead_letters'
                   AND attributes['messaging.destination.name'] LIKE 'payments.%.dlq' AND value >= 2) = 2
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'analytics' AND name = 'process payments'
                   AND status <> 'Error') >= 3",
            after: "true",
        },
        Trace {
            fault: "memory-pressure",
            during: "(SELECT count(*) FROM metrics WHERE $during AND service = 'hog' AND name = 'process.memory.usage'
                   AND value > 100e6) >= 1",
            after: "true",
        },
    ],
    &[
        Trace {
            fault: "webhook-refusing",
            during: "
                (SELECT count(*) FROM spans AS caller
                 JOIN spans AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
                 WHERE caller.$during AND caller.service = 'jobs' AND caller.status = 'Error'
                   AND answer.service = 'receiver' AND answer.attributes['http.response.status_code'] = '503') >= 3
                AND (SELECT count(*) FROM (SELECT 1 FROM metrics WHERE $during AND service = 'jobs' AND name = 'faultline.consumer.retries'
                   AND attributes['messaging.destination.name'] = 'payments.jobs.retry.1' HAVING max(value) > min(value))) >= 1",
            after: "(SELECT count(*) FROM spans WHERE $after AND service = 'jobs' AND name = 'POST' AND status <> 'Error') >= 1",
        },
        Trace {
            fault: "acquirer-slow",
            during: "
                (SELECT count(*) FROM spans AS caller
                 JOIN spans AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
                 WHERE caller.$during AND caller.service = 'core' AND caller.kind = 'Client' AND caller.duration_ns >= 2e9
                   AND answer.service = 'acquirer') >= 3
                AND (SELECT approx_percentile_cont(duration_ns, 0.95) FROM spans WHERE $during AND service = 'core'
                   AND name = 'POST /v1/payments') >= 2e9",
            after: "true",
        },
        Trace {
            fault: "network-loss",
            during: "
                (SELECT count(*) FROM (SELECT 1 FROM spans AS caller
                   JOIN spans AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
                   WHERE caller.$during AND answer.kind = 'Server'
                     AND (caller.service, answer.service) IN (('core', 'acquirer'), ('jobs', 'receiver'))
                   HAVING sum(CASE WHEN caller.duration_ns - answer.duration_ns >= 190e6 THEN 1 ELSE 0 END) >= 3
                     AND approx_percentile_cont(caller.duration_ns - answer.duration_ns, 0.5) < 100e6)) >= 1",
            after: "true",
        },
        Trace {
            fault: "slow-analytics-query",
            during: "
                (SELECT count(*) FROM logs WHERE time BETWEEN $start - INTERVAL '2 seconds' AND $end AND service = 'hog'
                   AND body LIKE 'taking SlowQuery %') >= 1
                AND (SELECT max(value) FROM metrics WHERE $during AND service = 'hog' AND name = 'process.cpu.time') >= 1",
            after: "(SELECT count(*) FROM logs WHERE time >= $start AND service = 'hog' AND body LIKE 'the slow query ran %') >= 1",
        },
    ],
    &[
        Trace {
            fault: "network-delay",
            during: "
                (SELECT count(*) FROM (
                   SELECT caller.service FROM spans AS caller
                   JOIN spans AS answer ON answer.trace_id = caller.trace_id AND answer.parent_span_id = caller.span_id
                   WHERE caller.$during AND answer.kind = 'Server'
                     AND (caller.service, answer.service) IN (('core', 'acquirer'), ('jobs', 'receiver'))
                   GROUP BY caller.service
                   HAVING count(*) >= 5 AND approx_percentile_cont(caller.duration_ns - answer.duration_ns, 0.5) > 140e6)) = 2",
            after: "true",
        },
        Trace {
            fault: "cpu-hog",
            during: "
                (SELECT count(*) FROM logs WHERE time BETWEEN $start - INTERVAL '2 seconds' AND $end AND service = 'hog'
                   AND body LIKE 'taking Cpu %') >= 1
                AND (SELECT max(value) FROM metrics WHERE $during AND service = 'hog' AND name = 'process.cpu.time') >= 1",
            after: "true",
        },
        Trace {
            fault: "lock-contention",
            during: "
                (SELECT count(*) FROM spans WHERE $during AND service = 'jobs' AND name = 'BEGIN' AND duration_ns >= 1e9) >= 1
                AND (SELECT max(behind) FROM (SELECT sum(value) AS behind FROM metrics WHERE $during AND service = 'jobs'
                   AND name = 'kafka.consumer_group.lag' GROUP BY time)) >= 5",
            after: "true",
        },
    ],
    &[
        Trace {
            fault: "broker-slow",
            during: "
                (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name LIKE 'send %' AND duration_ns >= 5e8) >= 3
                AND (SELECT approx_percentile_cont(duration_ns, 0.5) FROM spans WHERE $during AND service = 'core'
                   AND kind = 'Server') < 4e8",
            after: "true",
        },
        Trace {
            fault: "expired-token-key",
            during: "
                (SELECT count(DISTINCT name) FROM spans WHERE $during AND service = 'core' AND kind = 'Server'
                   AND attributes['http.response.status_code'] = '401') >= 4
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name = 'POST /v1/login'
                   AND attributes['http.response.status_code'] = '200') >= 3",
            after: "true",
        },
    ],
    &[
        Trace {
            fault: "jobs-stuck",
            // Others work on, and have something for it to do.
            during: "(SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name = 'send payments') >= 15",
            after: "
                (SELECT count(*) FROM spans WHERE service = 'jobs' AND time > $start AND time < $end) = 0
                AND (SELECT count(*) FROM metrics WHERE service = 'jobs' AND time > $start AND time < $end) = 0
                AND (SELECT count(*) FROM spans AS sent JOIN spans AS processed ON processed.parent_span_id = sent.span_id
                   WHERE sent.$during AND sent.service = 'core' AND sent.name = 'send payments'
                     AND processed.$after AND processed.service = 'jobs') >= 10",
        },
        Trace {
            fault: "service-down analytics",
            during: "
                (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND kind = 'Client'
                   AND attributes['error.type'] = 'connect' AND duration_ns < 1e9) >= 1
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name LIKE 'GET /v1/analytics/%'
                   AND attributes['http.response.status_code'] = '503') >= 1
                AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND kind = 'Producer') >= 10",
            after: "
                (SELECT count(*) FROM spans WHERE service = 'analytics' AND time > $start AND time < $end) = 0
                AND (SELECT count(*) FROM metrics WHERE service = 'analytics' AND time > $start AND time < $end) = 0
                AND (SELECT count(*) FROM spans AS sent JOIN spans AS processed ON processed.parent_span_id = sent.span_id
                   WHERE sent.$during AND sent.service = 'core' AND sent.kind = 'Producer'
                     AND processed.$after AND processed.service = 'analytics') >= 5",
        },
    ],
    &[Trace {
        fault: "broker-down",
        // Customers do not notice.
        during: "
            (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name = 'POST /v1/payments'
               AND attributes['http.response.status_code'] = '201') >= 20
            AND (SELECT max(value) FROM metrics WHERE $during AND name = 'faultline.outbox.pending') >= 10
            AND (SELECT max(value) FROM metrics WHERE $during AND name = 'faultline.outbox.age') >= 2",
        after: "
            (SELECT count(*) FROM metrics WHERE $after AND service = 'core' AND name = 'faultline.outbox.republished') >= 1
            AND (SELECT count(DISTINCT service) FROM metrics WHERE $after AND name = 'messaging.client.consumed.messages'
               AND attributes['outcome'] = 'duplicate') = 2",
    }],
    &[
        Trace {
            fault: "bad-deploy",
            during: "
                (SELECT count(*) FROM spans WHERE $during AND service = 'jobs' AND status = 'Error'
                   AND resource['service.version'] <> (SELECT max(resource['service.version']) FROM spans WHERE service = 'core')) >= 1
                AND (SELECT count(*) FROM logs WHERE $during AND event_name = 'faultline.deploy.rolled_back') >= 1",
            // What the bad version put off is done by the good one.
            after: "(SELECT count(*) FROM spans WHERE time >= $start AND service = 'jobs' AND status <> 'Error'
               AND name LIKE 'process payments.jobs.retry.%'
               AND resource['service.version'] = (SELECT max(resource['service.version']) FROM spans WHERE service = 'core')) >= 1",
        },
        Trace {
            fault: "thundering-herd",
            during: "
                (SELECT count(*) FROM (SELECT 1 FROM spans WHERE $during AND service = 'core' AND kind = 'Server'
                   GROUP BY date_bin(INTERVAL '500 milliseconds', time) HAVING count(*) >= 40)) >= 2
                AND (SELECT count(*) FROM (SELECT 1 FROM spans WHERE $during AND service = 'core' AND kind = 'Server'
                   GROUP BY date_bin(INTERVAL '500 milliseconds', time) HAVING count(*) <= 20)) >= 1",
            after: "true",
        },
    ],
    &[Trace {
        fault: "disk-full",
        during: "
            (SELECT count(*) FROM logs WHERE $during AND service = 'core' AND body LIKE '%database or disk is full%') >= 1
            AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name = 'POST /v1/payments'
               AND attributes['http.response.status_code'] = '503') >= 3
            AND (SELECT count(*) FROM spans WHERE $during AND service = 'core' AND name LIKE 'GET /v1/%'
               AND attributes['http.response.status_code'] = '200') >= 3",
        after: "(SELECT count(*) FROM spans WHERE $after AND service = 'core' AND name = 'POST /v1/payments'
               AND attributes['http.response.status_code'] = '201') >= 3",
    }],
];

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_leaves_the_trace_that_it_promises() -> anyhow::Result<()> {
    // Metrics come often, so that a fault need not last long to be seen in them.
    let stack = Arc::new(Stack::start(&["--proxied", "--metric-interval-ms", "500"]).await?);
    let list = stack.done(&["faults"]).await?;
    // Names start a line; what they do is indented below.
    let mut known: Vec<_> = list.lines().filter(|line| is_name(line)).collect();
    let mut tried: Vec<_> = ROUNDS.into_iter().flatten().map(Trace::name).collect();
    known.sort_unstable();
    tried.sort_unstable();
    assert_eq!(known, tried, "{list}");

    let mut missing = Vec::new();
    for round in ROUNDS {
        for trace in round {
            missing.extend(trace.is_not_there_before(&stack).await.err().map(|error| format!("{error:#}")));
        }
        let mut looking = JoinSet::new();
        for trace in round {
            let stack = stack.clone();
            looking.spawn(async move { trace.is_left(&stack).await.with_context(|| trace.fault) });
        }
        while let Some(seen) = looking.join_next().await {
            missing.extend(seen?.err().map(|error| format!("{error:#}")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n\n"));
    let ended = "SELECT count(DISTINCT attributes['fault.name']) FROM logs WHERE event_name = 'faultline.fault.ended' \
                 AND severity_text = 'INFO'";
    e2e::wait_for("every fault to be told over", || async {
        (stack.query.number(ended).await.ok()? == known.len() as i64).then_some(())
    })
    .await?;
    // And nothing was lost or done twice.
    Arc::into_inner(stack).context("somebody still looks")?.end();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_ends_by_itself_when_its_time_is_over() -> anyhow::Result<()> {
    let stack = Stack::start(&[]).await?;
    stack.done(&["fault", "memory-pressure", "--for", "1s"]).await?;
    stack.done(&["fault", "service-down", "jobs", "--for", "1s"]).await?;
    let ended = "SELECT count(*) FROM logs WHERE event_name = 'faultline.fault.ended' AND severity_text = 'INFO'";
    e2e::wait_for("both ends to be told", || async { (stack.query.number(ended).await.ok()? == 2).then_some(()) })
        .await?;
    assert!(stack.done(&["faults"]).await?.contains("none is at work"));
    Ok(())
}

fn is_name(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

impl Trace {
    fn name(&self) -> &'static str {
        self.fault.split(' ').next().unwrap_or_default()
    }

    /// Conditions that hold without the fault would prove nothing.
    async fn is_not_there_before(&self, stack: &Stack) -> anyhow::Result<()> {
        let now = SystemTime::now();
        let time = Time { start: now - BEFORE, end: now - BEFORE / 4 };
        let there = time.holds(self.during, &stack.query).await? && time.holds(self.after, &stack.query).await?;
        ensure!(!there, "{} shows before it starts: {} AND {}", self.fault, self.during, self.after);
        Ok(())
    }

    /// It is there while the fault is at work, and what follows is there later.
    async fn is_left(&self, stack: &Stack) -> anyhow::Result<()> {
        let words = || ["fault"].into_iter().chain(self.fault.split(' '));
        stack.done(&words().chain(["--for", "10m"]).collect::<Vec<_>>()).await?;
        let start = SystemTime::now();
        let shown =
            until(|| async move { Time { start, end: SystemTime::now() }.holds(self.during, &stack.query).await })
                .await;
        let end = SystemTime::now();
        stack.done(&words().chain(["--end"]).collect::<Vec<_>>()).await?;
        ensure!(shown?, "waited {PATIENCE:?} in vain for {}", self.during);
        let time = Time { start, end };
        ensure!(
            until(|| time.holds(self.after, &stack.query)).await?,
            "waited {PATIENCE:?} in vain for {}",
            self.after
        );
        let [during, later] = [end.duration_since(start)?, end.elapsed()?].map(|time| time.as_secs_f64());
        println!("{}: shown in {during:.1} s, all of it {later:.1} s later", self.fault);
        Ok(())
    }
}

/// Whether it comes true while there is patience. Questions cost what the product needs, so there is a pause between two.
async fn until<F>(mut condition: impl FnMut() -> F) -> anyhow::Result<bool>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let deadline = Instant::now() + PATIENCE;
    while !condition().await? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

/// From the start of a fault to its end.
struct Time {
    start: SystemTime,
    end: SystemTime,
}

impl Time {
    async fn holds(&self, condition: &str, query: &Query) -> anyhow::Result<bool> {
        let [start, end] = [self.start, self.end].map(|time| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("to_timestamp_nanos({})", since.as_nanos())
        });
        let sql = condition
            .replace("$during", &format!("time BETWEEN {start} AND {end}"))
            .replace("$after", &format!("time > {end}"))
            .replace("$start", &start)
            .replace("$end", &end);
        let rows = query.sql(&format!("SELECT {sql} AS holds")).await.with_context(|| sql.clone())?;
        // Null: no row to take a maximum of.
        Ok(rows.first().is_some_and(|row| row["holds"] == true))
    }
}

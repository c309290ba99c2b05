//! Asks the query node: SQL out, Arrow back, at most one request in flight per panel.
//!
//! The screen in front says what it wants to know; this part decides when to ask. A panel is asked again after the
//! refresh time, later when its query is slow or fails, and not at all once it has left the screen.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::panel::{Panel, Question};
use crate::rows::Rows;

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// A screen is of no use to its reader after this long; the next step is a narrower window.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// Largest answer held in memory: far above what a screen can show, far below what hurts.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest sentence taken from an error answer.
const ERROR_BYTES_MAX: usize = 16 << 10;
/// A query may keep the node busy for one part in this many of the time, however short the refresh.
const IDLE_SHARE: u32 = 10;
/// Failures double the wait up to here, so that a node that comes back is seen soon.
const RETRY_TIME_MAX: Duration = Duration::from_secs(15);

/// What came back for one question.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) question: Question,
    /// When it arrived, nanoseconds since the Unix epoch.
    pub(crate) at_ns: i64,
    pub(crate) result: Result<Rows, Failure>,
}

/// Why there is no answer, as sentences for the status line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// False when the node answered, only not with rows.
    pub(crate) unreachable: bool,
    pub(crate) what: String,
    pub(crate) next_step: String,
}

/// The requests of the screen in front.
pub(crate) struct Conn {
    client: reqwest::Client,
    url: String,
    refresh: Duration,
    slots: BTreeMap<Panel, Slot>,
    requests: JoinSet<(Answer, Duration)>,
}

struct Slot {
    question: Question,
    phase: Phase,
    failures: u32,
}

enum Phase {
    InFlight(AbortHandle),
    Due(Instant),
}

impl Conn {
    pub(crate) fn new(query_url: &str, refresh: Duration) -> anyhow::Result<Conn> {
        let base = query_url.trim_end_matches('/');
        reqwest::Url::parse(base)
            .with_context(|| format!("--query-url {query_url} is not a URL; try http://127.0.0.1:7317"))?;
        let client = reqwest::Client::builder()
            .no_proxy() // the node is addressed directly, mostly on loopback
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .build()
            .context("could not set up the HTTP client")?;
        let url = format!("{base}/v1/sql");
        Ok(Conn { client, url, refresh, slots: BTreeMap::new(), requests: JoinSet::new() })
    }

    /// Brings the requests in line with what the screen wants: starts what is new or due, ends what nobody looks at.
    pub(crate) fn ask(&mut self, wanted: Vec<Question>, now: Instant) {
        self.slots.retain(|panel, slot| {
            let keep = wanted.iter().any(|question| question.panel == *panel && question.sql == slot.question.sql);
            if let (false, Phase::InFlight(request)) = (keep, &slot.phase) {
                request.abort();
            }
            keep
        });
        for question in wanted {
            match self.slots.get_mut(&question.panel) {
                Some(slot) => {
                    slot.question.live = question.live;
                    if slot.is_due(now) {
                        slot.phase = Phase::InFlight(start(&mut self.requests, &self.client, &self.url, &question));
                    }
                }
                None => {
                    let request = start(&mut self.requests, &self.client, &self.url, &question);
                    let slot = Slot { phase: Phase::InFlight(request), failures: 0, question };
                    self.slots.insert(slot.question.panel, slot);
                }
            }
        }
    }

    /// Makes everything on the screen due now.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            if let Phase::Due(due) = &mut slot.phase {
                *due = now;
            }
        }
    }

    /// When `ask` has something to start again; never, when all is in flight or paused.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.slots.values().filter_map(Slot::due).min()
    }

    /// The next answer that somebody still waits for. Pends while nothing is in flight.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            match self.requests.join_next().await {
                Some(Ok((answer, took))) => {
                    if self.settle(&answer, took) {
                        return answer;
                    }
                }
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => {} // aborted: its panel left the screen
                None => std::future::pending().await,
            }
        }
    }

    /// Books the answer; false when its question is no longer asked.
    fn settle(&mut self, answer: &Answer, took: Duration) -> bool {
        let Some(slot) = self.slots.get_mut(&answer.question.panel) else { return false };
        if slot.question.sql != answer.question.sql {
            return false;
        }
        let wait = match &answer.result {
            Ok(_) => {
                slot.failures = 0;
                self.refresh.max(took * IDLE_SHARE)
            }
            Err(_) => {
                slot.failures += 1;
                let doubled = self.refresh * 2_u32.saturating_pow(slot.failures.min(10));
                doubled.min(RETRY_TIME_MAX).max(self.refresh)
            }
        };
        slot.phase = Phase::Due(Instant::now() + wait);
        true
    }
}

impl Slot {
    /// A failed question stays due even when it need not be repeated.
    fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Due(due) if self.question.live || self.failures > 0 => Some(due),
            _ => None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

fn start(
    requests: &mut JoinSet<(Answer, Duration)>,
    client: &reqwest::Client,
    url: &str,
    question: &Question,
) -> AbortHandle {
    let (client, url, question) = (client.clone(), url.to_owned(), question.clone());
    requests.spawn(async move {
        let started = Instant::now();
        let result = fetch(&client, &url, &question).await;
        (Answer { question, at_ns: now_ns(), result }, started.elapsed())
    })
}

async fn fetch(client: &reqwest::Client, url: &str, question: &Question) -> Result<Rows, Failure> {
    let request = client
        .post(url)
        .header(CONTENT_TYPE, "application/sql")
        .header(ACCEPT, ARROW_STREAM)
        .body(question.sql.clone());
    let response = request.send().await.map_err(|error| no_answer(url, &error))?;
    let status = response.status();
    if status != StatusCode::OK {
        let body = body(response, url, ERROR_BYTES_MAX).await.unwrap_or_default();
        return Err(refused(question.panel, status, &body));
    }
    let stream = body(response, url, ANSWER_BYTES_MAX).await?;
    Rows::decode(question.panel.columns(), &stream).map_err(|what| Failure {
        unreachable: false,
        what: format!("{}: {what}", question.panel.file()),
        next_step: "press s to see its SQL".to_owned(),
    })
}

async fn body(mut response: reqwest::Response, url: &str, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(url, &error))? {
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Failure {
                unreachable: false,
                what: format!("the answer is larger than {} MiB", bytes_max >> 20),
                next_step: "press t for a shorter window".to_owned(),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn no_answer(url: &str, error: &reqwest::Error) -> Failure {
    let node = url.trim_end_matches("/v1/sql");
    if error.is_timeout() && !error.is_connect() {
        return Failure {
            unreachable: false,
            what: format!("{node} took longer than {} s", ANSWER_TIME_MAX.as_secs()),
            next_step: "press t for a shorter window".to_owned(),
        };
    }
    if error.is_connect() {
        return Failure {
            unreachable: true,
            what: format!("no query node at {node}"),
            next_step: "start `faultline query` or choose another with --query-url; trying again".to_owned(),
        };
    }
    Failure {
        unreachable: true,
        what: format!("{node} broke off: {error}"),
        next_step: "is the query node still running? trying again".to_owned(),
    }
}

/// What the node says in `{"error": …}`, or whatever else it sent.
fn refused(panel: Panel, status: StatusCode, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|answer| answer.get("error")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
        .replace(['\n', '\r', '\t'], " ");
    let next_step = match status {
        StatusCode::BAD_REQUEST => "press s to see its SQL",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
            "press t for a shorter window"
        }
        StatusCode::NOT_FOUND => "is --query-url a Faultline query node?",
        _ => "trying again",
    };
    Failure {
        unreachable: false,
        what: format!("{} ({}): {said}", panel.file(), status.as_u16()),
        next_step: next_step.to_owned(),
    }
}

fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::sleep_until;

    use super::*;

    fn question(panel: Panel, sql: &str) -> Question {
        let subject = String::new();
        let (window, step) = (Duration::from_secs(60), Duration::ZERO);
        Question { panel, sql: sql.to_owned(), subject, window, step, live: true }
    }

    /// Answers one request after the other with `status` and `body`; the requests come back as text.
    async fn node(status: &'static str, body: Vec<u8>) -> (Conn, tokio::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (seen, requests) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let length = socket.read(&mut request).await.expect("a request");
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                socket.write_all(&[head.as_bytes(), &body].concat()).await.expect("an answer");
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                if seen.send(request).await.is_err() {
                    return;
                }
            }
        });
        (Conn::new(&url, Duration::from_millis(1)).expect("a URL"), requests)
    }

    fn lags() -> Vec<u8> {
        let batch = RecordBatch::try_from_iter([
            ("topic", std::sync::Arc::new(StringArray::from(vec!["payments"])) as ArrayRef),
            ("consumer", std::sync::Arc::new(StringArray::from(vec!["jobs"]))),
            ("waiting", std::sync::Arc::new(Float64Array::from(vec![7.0]))),
        ]);
        crate::rows::tests::stream(&batch.expect("columns of one length"))
    }

    #[tokio::test]
    async fn sql_goes_out_and_rows_come_back_and_it_is_asked_again() {
        let (mut conn, mut requests) = node("200 OK", lags()).await;
        for _ in 0..2 {
            conn.ask(vec![question(Panel::ConsumerLag, "select 1")], Instant::now());
            let answer = conn.answer().await;
            assert_eq!(answer.result.expect("rows").real("waiting", 0), 7.0);
            let request = requests.recv().await.expect("a request").to_lowercase();
            assert!(request.starts_with("post /v1/sql "), "{request}");
            assert!(request.contains(ARROW_STREAM) && request.ends_with("select 1"), "{request}");
            sleep_until(conn.next_due().expect("it is asked again")).await;
        }
    }

    #[tokio::test]
    async fn a_refused_query_is_told_apart_from_a_node_that_is_not_there() {
        let (mut conn, _requests) = node("400 Bad Request", br#"{"error":"no table spanz"}"#.to_vec()).await;
        conn.ask(vec![question(Panel::Services, "select")], Instant::now());
        let failure = conn.answer().await.result.expect_err("refused");
        assert!(!failure.unreachable && failure.what.contains("no table spanz"), "{failure:?}");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let mut conn = Conn::new(&url, Duration::from_secs(1)).expect("a URL");
        conn.ask(vec![question(Panel::Services, "select")], Instant::now());
        let failure = conn.answer().await.result.expect_err("nobody listens");
        assert!(failure.unreachable && failure.what.contains(&url), "{failure:?}");
    }

    #[tokio::test]
    async fn what_leaves_the_screen_is_not_answered() {
        let (mut conn, _requests) = node("200 OK", lags()).await;
        conn.ask(vec![question(Panel::ConsumerLag, "select 1")], Instant::now());
        conn.ask(vec![question(Panel::ConsumerLag, "select 2")], Instant::now());
        assert_eq!(conn.answer().await.question.sql, "select 2");
        conn.ask(Vec::new(), Instant::now());
        assert!(conn.next_due().is_none());
    }

    #[test]
    fn a_refusal_says_what_the_node_said_and_what_to_do() {
        let failure = refused(Panel::Services, StatusCode::BAD_REQUEST, br#"{"error":"no table spanz"}"#);
        assert_eq!(failure.what, "services.sql (400): no table spanz");
        assert_eq!(failure.next_step, "press s to see its SQL");
        let failure = refused(Panel::Services, StatusCode::SERVICE_UNAVAILABLE, b"busy");
        assert_eq!(failure.what, "services.sql (503): busy");
    }
}

//! Requests between services: the two sides of each are found and counted as one edge of a graph.
//!
//! A client or producer span is paired with the server or consumer span whose parent it is, or which links to it. Whichever comes
//! first waits for the other, a while and in a bounded place. A producer waits on after it was paired: others may consume the
//! same message. Some edges need one side only: a call to a database, which says its name, a call to a peer that makes no spans,
//! and a request that nobody we know has made.

use std::collections::{HashMap, HashSet, VecDeque};

use model::ids::{SpanId, TraceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::series::{Clock, Histogram, Table, shortened, write_key};
use crate::spans::Spans;

pub(super) const ATTRIBUTES: [&str; 4] = ["client", "server", "connection_type", FAILED];
pub(super) const FAILED: &str = "failed";

const MESSAGING: &str = "messaging_system";
const DATABASE: &str = "database";
const VIRTUAL: &str = "virtual_node";
/// The client of a request without a parent, as the connector calls it.
const USER: &str = "user";

/// What names a database, in the conventions of before and after their change; the first that is there counts.
const DATABASE_ATTRIBUTES: [&str; 4] = ["db.name", "db.namespace", "db.system.name", "db.system"];
/// What names the other side of a call that makes no span.
const PEER_ATTRIBUTES: [&str; 3] = ["peer.service", "server.address", "net.peer.name"];

/// Sides of servers that wait for one client; a message has as many consumers as it has groups.
const SERVERS_MAX: usize = 16;
/// Entries of the list of what is due, as a multiple of what may wait.
const DUE_TIMES_MAX: usize = 4;

/// How much waits, how long, and how many edges there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) waiting_max: usize,
    pub(super) wait_ms_max: u64,
    pub(super) series_max: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Graph {
    pub(super) edges: Table<Edge>,
    #[serde(with = "as_list")]
    waiting: HashMap<Key, Waiting>,
    /// In the order they are given up.
    #[serde(skip)]
    due: VecDeque<(u64, Key)>,
    /// Sides that nothing came for.
    pub(super) expired: u64,
    /// Sides that were not waited with because there were too many.
    pub(super) dropped: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Edge {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// As the server saw it, and as the client did; either may be unknown.
    pub(super) server: Histogram,
    pub(super) client: Histogram,
}

/// Trace and span of the client's side.
type Key = [u64; 3];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Waiting {
    until_ms: u64,
    client: Option<Client>,
    servers: Vec<Side>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Client {
    side: Side,
    is_producer: bool,
    peer: Option<Box<str>>,
    paired: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Side {
    service: Box<str>,
    duration_ns: u64,
    failed: bool,
}

impl Graph {
    /// After it was read from a file.
    pub(super) fn restored(mut self) -> Graph {
        let mut due: Vec<_> = self.waiting.iter().map(|(key, waiting)| (waiting.until_ms, *key)).collect();
        due.sort_unstable();
        self.due = due.into();
        self
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn count(&mut self, spans: &Spans<'_>, limits: Limits, clock: Clock) {
        let mut of_links = HashSet::new();
        for row in 0..spans.len() {
            let service = spans.service(row);
            let side = || Side {
                service: shortened(service).into(),
                duration_ns: spans.duration_ns(row),
                failed: spans.status(row) == "Error",
            };
            let kind = spans.kind(row);
            match kind {
                _ if service.is_empty() => {}
                "Client" | "Producer" => {
                    if let Some(name) = first_of(spans, row, &DATABASE_ATTRIBUTES) {
                        let (client, server) = (side(), Side { service: shortened(name).into(), ..side() });
                        self.edge(Some(&client), Some(&server), "", DATABASE, limits, clock);
                        continue;
                    }
                    let peer = first_of(spans, row, &PEER_ATTRIBUTES).map(|name| shortened(name).into());
                    let client = Client { side: side(), is_producer: kind == "Producer", peer, paired: false };
                    self.client(key(spans.trace_id(row), spans.span_id(row)), client, limits, clock);
                }
                "Server" | "Consumer" => {
                    // A batch links to each of its messages; one message may be parent and link in one.
                    of_links.clear();
                    if kind == "Consumer" {
                        of_links.extend(spans.links(row).map(|(trace_id, span_id)| key(trace_id, span_id)));
                    }
                    match spans.parent_span_id(row) {
                        _ if !of_links.is_empty() => {
                            for key in of_links.drain() {
                                self.server(key, side(), limits, clock);
                            }
                        }
                        Some(parent) => self.server(key(spans.trace_id(row), parent), side(), limits, clock),
                        None if kind == "Server" => self.edge(None, Some(&side()), USER, VIRTUAL, limits, clock),
                        None => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Gives up what waited long enough.
    pub(super) fn expire(&mut self, limits: Limits, clock: Clock) {
        while let Some((until_ms, key)) = self.due.front().copied()
            && until_ms <= clock.now_ms
        {
            self.due.pop_front();
            // One that was paired has left, and may have come again.
            if self.waiting.get(&key).is_none_or(|waiting| waiting.until_ms != until_ms) {
                continue;
            }
            let Some(waiting) = self.waiting.remove(&key) else { continue };
            match waiting.client {
                Some(client) if client.paired => {}
                Some(Client { side, peer: Some(peer), .. }) => {
                    self.edge(Some(&side), None, &peer, VIRTUAL, limits, clock);
                }
                _ => self.expired += 1,
            }
        }
    }

    fn client(&mut self, key: Key, mut client: Client, limits: Limits, clock: Clock) {
        let servers = self.waiting.get_mut(&key).map(|waiting| std::mem::take(&mut waiting.servers));
        for server in servers.iter().flatten() {
            client.paired = true;
            self.edge(Some(&client.side), Some(server), "", connection(&client), limits, clock);
        }
        match client.paired && !client.is_producer {
            true => drop(self.waiting.remove(&key)),
            false => {
                if let Some(waiting) = self.wait(key, limits, clock) {
                    waiting.client = Some(client);
                }
            }
        }
    }

    fn server(&mut self, key: Key, server: Side, limits: Limits, clock: Clock) {
        let Some(waiting) = self.wait(key, limits, clock) else { return };
        let Some(client) = &mut waiting.client else {
            match waiting.servers.len() < SERVERS_MAX {
                true => waiting.servers.push(server),
                false => self.dropped += 1,
            }
            return;
        };
        client.paired = true;
        let client = client.clone();
        if !client.is_producer {
            self.waiting.remove(&key);
        }
        self.edge(Some(&client.side), Some(&server), "", connection(&client), limits, clock);
    }

    /// The place where the sides of a request meet, unless there are too many.
    fn wait(&mut self, key: Key, limits: Limits, clock: Clock) -> Option<&mut Waiting> {
        if !self.waiting.contains_key(&key) {
            if self.waiting.len() >= limits.waiting_max {
                self.expire(limits, clock);
            }
            if self.waiting.len() >= limits.waiting_max {
                self.dropped += 1;
                return None;
            }
            if self.due.len() >= limits.waiting_max.saturating_mul(DUE_TIMES_MAX).max(1) {
                // Most of them are of what was paired long since.
                let waiting = &self.waiting;
                self.due.retain(|(until_ms, key)| waiting.get(key).is_some_and(|of| of.until_ms == *until_ms));
            }
            let until_ms = clock.now_ms.saturating_add(limits.wait_ms_max);
            self.due.push_back((until_ms, key));
            self.waiting.insert(key, Waiting { until_ms, client: None, servers: Vec::new() });
        }
        self.waiting.get_mut(&key)
    }

    /// `other` is the name of the side that is not there.
    fn edge(
        &mut self,
        client: Option<&Side>,
        server: Option<&Side>,
        other: &str,
        connection: &str,
        limits: Limits,
        clock: Clock,
    ) {
        let name = |side: Option<&Side>| side.map_or_else(|| other.to_owned(), |side| side.service.to_string());
        let failed = client.is_some_and(|side| side.failed) || server.is_some_and(|side| side.failed);
        let mut key = String::new();
        write_key(&mut key, [&*name(client), &*name(server), connection, if failed { "true" } else { "false" }]);
        let edge = self.edges.entry(&key, limits.series_max, clock);
        edge.requests += 1;
        edge.failed += u64::from(failed);
        if let Some(side) = server {
            edge.server.add(side.duration_ns, None);
        }
        if let Some(side) = client {
            edge.client.add(side.duration_ns, None);
        }
    }
}

fn connection(client: &Client) -> &'static str {
    match client.is_producer {
        true => MESSAGING,
        false => "",
    }
}

fn first_of<'a>(spans: &Spans<'a>, row: usize, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| spans.attribute(row, name)).filter(|value| !value.is_empty())
}

fn key(trace_id: TraceId, span_id: SpanId) -> Key {
    let [high, low] = [&trace_id[..8], &trace_id[8..]].map(|half| half.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
    [high, low, u64::from_be_bytes(span_id)]
}

/// Keys of JSON are text.
mod as_list {
    use super::{Deserialize, Deserializer, HashMap, Key, Serializer, Waiting};

    pub(super) fn serialize<S: Serializer>(waiting: &HashMap<Key, Waiting>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(waiting)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HashMap<Key, Waiting>, D::Error> {
        Ok(Vec::<(Key, Waiting)>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use model::{Signal, decode_json};

    use super::*;

    const LIMITS: Limits = Limits { waiting_max: 3, wait_ms_max: 1000, series_max: 100 };

    /// Clients of these requests, or their servers.
    fn count(graph: &mut Graph, is_client: bool, requests: std::ops::Range<u64>, now_ms: u64) {
        let spans: Vec<String> = requests
            .map(|request| match is_client {
                true => format!(r#"{{"traceId":"{request:032x}","spanId":"{request:016x}","kind":3}}"#),
                false => format!(
                    r#"{{"traceId":"{request:032x}","spanId":"00000000000000ff","parentSpanId":"{request:016x}","kind":2}}"#
                ),
            })
            .collect();
        let service = if is_client { "web" } else { "shop" };
        let request = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[
                {{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            spans.join(",")
        );
        let batches = decode_json(Signal::Traces, request.as_bytes()).expect("it is OTLP").batches;
        let clock = Clock { now_ms, told_ms: 0 };
        batches.iter().filter_map(Spans::of).for_each(|spans| graph.count(&spans, LIMITS, clock));
        graph.expire(LIMITS, clock);
    }

    fn requests(graph: &mut Graph) -> u64 {
        graph.edges.sorted().into_iter().map(|(_, edge)| edge.value.requests).sum()
    }

    #[test]
    fn what_waits_is_bounded_and_expires() {
        let mut graph = Graph::default();
        count(&mut graph, true, 1..6, 0);
        assert_eq!((graph.waiting(), graph.dropped, graph.expired), (3, 2, 0));
        count(&mut graph, false, 1..2, 500);
        assert_eq!((graph.waiting(), requests(&mut graph)), (2, 1));
        count(&mut graph, true, 7..8, 600);
        count(&mut graph, true, 8..9, 1000);
        assert_eq!((graph.expired, graph.waiting(), graph.dropped), (2, 2, 2), "what is due makes room");
        count(&mut graph, false, 2..4, 1001);
        assert_eq!(
            (graph.waiting(), graph.dropped, requests(&mut graph)),
            (3, 3, 1),
            "it came too late, and waits in turn"
        );
    }

    #[test]
    fn the_list_of_what_is_due_does_not_grow_with_what_was_paired() {
        let mut graph = Graph::default();
        for request in 1..1000 {
            count(&mut graph, true, request..request + 1, 0);
            count(&mut graph, false, request..request + 1, 0);
        }
        assert_eq!((requests(&mut graph), graph.waiting()), (999, 0));
        assert!(graph.due.len() <= 3 * DUE_TIMES_MAX, "{}", graph.due.len());
    }

    #[test]
    fn what_waits_is_known_after_it_was_in_a_file() {
        let mut graph = Graph::default();
        count(&mut graph, true, 1..3, 0);
        let text = serde_json::to_string(&graph).expect("it is JSON");
        let mut graph = serde_json::from_str::<Graph>(&text).expect("it was written here").restored();
        count(&mut graph, false, 1..2, 900);
        count(&mut graph, true, 9..9, 1000);
        assert_eq!((requests(&mut graph), graph.expired, graph.waiting()), (1, 1, 0));
    }
}

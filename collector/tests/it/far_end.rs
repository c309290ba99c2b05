//! Far ends of sinks: an HTTP server that answers as it is told and remembers what it was asked, one that keeps the books of a
//! ClickHouse as far as a sink can tell, and a way to either that can be closed. Real ones are in `deploy/testbed`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arrow::ipc::reader::StreamReader;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const BODY_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Still encoded.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    async fn read(request: Request) -> Asked {
        let (head, body) = request.into_parts();
        Asked {
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: to_bytes(body, BODY_BYTES_MAX).await.expect("the body is whole"),
        }
    }

    /// The statement of an insert: its rows are the body.
    pub(crate) fn insert(&self) -> Option<String> {
        self.parameter("query").filter(|query| query.starts_with("INSERT"))
    }

    /// A parameter of the URL, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let found = self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        found.map(|(_, value)| decoded(value))
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hex is ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).expect("parameters are text")
}

pub(crate) struct FarEnd {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl FarEnd {
    /// `answer` also gets how many were asked before.
    pub(crate) async fn start(
        answer: impl Fn(&Asked, usize) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> FarEnd {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let book = Arc::clone(&asked);
        let handler = move |request: Request| {
            let (book, answer) = (Arc::clone(&book), answer.clone());
            async move {
                let asked = Asked::read(request).await;
                let before = {
                    let mut book = book.lock().expect("no test panics in here");
                    book.push(asked.clone());
                    book.len() - 1
                };
                answer(&asked, before)
            }
        };
        let router = Router::new().fallback(handler);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        FarEnd { address, asked, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics in here").clone()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The way to a far end: it can be closed for a while, and whoever is under way can be cut off.
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Way {
    pub(crate) async fn to(far: SocketAddr) -> Way {
        Way::laid(None, far).await
    }

    /// TLS ends on the way.
    pub(crate) async fn secured(tls: TlsAcceptor, far: SocketAddr) -> Way {
        Way::laid(Some(tls), far).await
    }

    async fn laid(tls: Option<TlsAcceptor>, far: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (open, seen) = watch::channel(true);
        let serving = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (mut seen, tls) = (seen.clone(), tls.clone());
                if !*seen.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(far).await else { return };
                    let mut near: Box<dyn Duplex> = match tls {
                        None => Box::new(near),
                        Some(tls) => match tls.accept(near).await {
                            Ok(near) => Box::new(near),
                            Err(_) => return,
                        },
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Way { address, open, serving }
    }

    /// Also ends what is under way.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Ends what is under way; who comes again gets through.
    pub(crate) fn cut(&self) {
        self.open();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).expect("a valid answer")
}

/// Tables and inserts of something that speaks like a ClickHouse: creates, tells columns, counts rows, and knows tokens.
pub(crate) struct FakeClickHouse {
    pub(crate) server: FarEnd,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    columns: BTreeMap<String, Vec<String>>,
    rows: BTreeMap<String, usize>,
    tokens: Vec<String>,
    /// Answers of inserts that get lost after the insert was made.
    lost_answers: usize,
    statements: Vec<String>,
}

impl FakeClickHouse {
    pub(crate) async fn start() -> FakeClickHouse {
        FakeClickHouse::losing_answers(0).await
    }

    pub(crate) async fn losing_answers(lost_answers: usize) -> FakeClickHouse {
        let books = Arc::new(Mutex::new(Books { lost_answers, ..Books::default() }));
        let of = Arc::clone(&books);
        let server = FarEnd::start(move |asked, _| of.lock().expect("no test panics in here").answer(asked)).await;
        FakeClickHouse { server, books }
    }

    pub(crate) fn rows(&self, table: &str) -> usize {
        self.books().rows.get(table).copied().unwrap_or(0)
    }

    /// Each once, in the order they came.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.books().tokens.clone()
    }

    pub(crate) fn statements(&self) -> Vec<String> {
        self.books().statements.clone()
    }

    /// A table that somebody else made.
    pub(crate) fn has(&self, table: &str, columns: &[&str]) {
        self.books().columns.insert(table.to_owned(), columns.iter().map(ToString::to_string).collect());
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("no test panics in here")
    }
}

impl Books {
    fn answer(&mut self, asked: &Asked) -> Response<Body> {
        match (asked.insert(), asked.parameter("query")) {
            (Some(insert), _) => self.insert(&insert, asked),
            (None, Some(question)) => self.statement(&question),
            (None, None) => self.statement(&String::from_utf8_lossy(&asked.body)),
        }
    }

    fn statement(&mut self, sql: &str) -> Response<Body> {
        // The crate puts values into the text: the last word in quotes is the table.
        let table = sql.rsplit('\'').nth(1).unwrap_or_default().to_owned();
        if sql.contains("system.columns") {
            let columns = self.columns.get(&table).map(|columns| columns.join("\n")).unwrap_or_default();
            return answer(200, columns);
        }
        if sql.contains("system.tables") {
            return answer(200, "MergeTree ORDER BY x SETTINGS index_granularity = 8192");
        }
        self.statements.push(sql.to_owned());
        let names: Vec<String> = sql.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        if sql.starts_with("CREATE TABLE") {
            self.columns.insert(names[1].clone(), names[2..].to_vec());
        } else if sql.contains("ADD COLUMN") {
            self.columns.entry(names[1].clone()).or_default().extend_from_slice(&names[2..]);
        }
        answer(200, "")
    }

    fn insert(&mut self, sql: &str, asked: &Asked) -> Response<Body> {
        let names: Vec<&str> = sql.split('`').skip(1).step_by(2).collect();
        let Some(there) = self.columns.get(names[1]) else {
            return answer(404, "Code: 60. DB::Exception: no such table");
        };
        let stranger = names[2..].iter().find(|name| !there.iter().any(|column| column.as_str() == **name));
        if let Some(stranger) = stranger {
            return answer(404, format!("Code: 16. DB::Exception: no such column {stranger}"));
        }
        let batches: Vec<_> = StreamReader::try_new(&asked.body[..], None).expect("it is Arrow").collect();
        let rows: usize = batches.into_iter().map(|batch| batch.expect("it is whole").num_rows()).sum();
        let token = asked.parameter("insert_deduplication_token").expect("every insert has a token");
        if !self.tokens.contains(&token) {
            self.tokens.push(token);
            *self.rows.entry(names[1].to_owned()).or_default() += rows;
        }
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return answer(500, "Code: 210. DB::NetException: nobody hears this");
        }
        answer(200, "")
    }
}

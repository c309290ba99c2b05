//! A merchant and a mail server of the test: they keep everything, and refuse as often as they are told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What arrived, oldest first, and how many more are refused.
#[derive(Clone)]
struct Desk<T>(Arc<Mutex<(Vec<T>, u32)>>);

impl<T: Clone> Desk<T> {
    fn new(refusals: u32) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), refusals))))
    }

    fn refuses(&self) -> bool {
        let (_, refusals) = &mut *self.0.lock().unwrap();
        let refused = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        refused
    }

    fn keep(&self, thing: T) {
        self.0.lock().unwrap().0.push(thing);
    }

    fn kept(&self) -> Vec<T> {
        self.0.lock().unwrap().0.clone()
    }
}

#[derive(Clone)]
pub(crate) struct Webhook {
    pub(crate) key: String,
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// Takes webhooks.
pub(crate) struct Merchant {
    pub(crate) url: String,
    desk: Desk<Webhook>,
}

impl Merchant {
    pub(crate) async fn start(refusals: u32) -> Merchant {
        let desk = Desk::new(refusals);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/webhooks", post(take_webhook)).with_state(desk.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Merchant { url, desk }
    }

    pub(crate) fn webhooks(&self) -> Vec<Webhook> {
        self.desk.kept()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.desk.kept().into_iter().map(|webhook| webhook.key).collect()
    }
}

async fn take_webhook(State(desk): State<Desk<Webhook>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    if desk.refuses() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    desk.keep(Webhook { key: header("idempotency-key"), signature: header("webhook-signature"), body });
    StatusCode::OK
}

/// A letter as it came over the wire.
#[derive(Clone)]
pub(crate) struct Mail(pub(crate) String);

impl Mail {
    /// The value of a header that stands on one line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.0.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Takes mail, by as much of SMTP as that needs.
pub(crate) struct Postman {
    pub(crate) address: String,
    desk: Desk<Mail>,
}

impl Postman {
    pub(crate) async fn start(refusals: u32) -> Postman {
        let desk = Desk::new(refusals);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let behind = desk.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, behind.clone()));
            }
        });
        Postman { address, desk }
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.desk.kept()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.desk.kept().iter().map(|mail| mail.header("message-id").unwrap().to_owned()).collect()
    }
}

async fn converse(stream: TcpStream, desk: Desk<Mail>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 postman\r\n").await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = match line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "MAIL" if desk.refuses() => "451 later\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && stream.read_line(&mut mail).await? > 0 {}
                desk.keep(Mail(mail));
                "250 taken\r\n"
            }
            "QUIT" => "221 good day\r\n",
            _ => "250 yes\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

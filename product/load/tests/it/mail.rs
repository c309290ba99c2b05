//! SMTP as bytes on a socket, and by a client that knows nothing of us.

use std::net::SocketAddr;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, header};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport, Message, Tokio1Executor};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::http::{effects, send};
use crate::receiver::with_receiver;

const EVENT: &str = "00000000-0000-7000-8000-00000000000e";
const PAYMENT: &str = "00000000-0000-7000-8000-000000000001";

/// A connection that speaks bytes.
struct Wire(BufStream<TcpStream>);

impl Wire {
    /// Connected, greeted, with EHLO said.
    async fn open(address: SocketAddr) -> Wire {
        let mut wire = Wire(BufStream::new(TcpStream::connect(address).await.unwrap()));
        assert!(wire.line().await.starts_with("220 "));
        wire.send("EHLO tester\r\n").await;
        while wire.line().await.starts_with("250-") {}
        wire
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next line of the other side; empty when it has closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line
    }

    /// Sends and returns the code of the answer.
    async fn says(&mut self, text: &str) -> String {
        self.send(text).await;
        self.line().await.get(..3).unwrap_or_default().to_owned()
    }

    /// Sends a whole mail and returns the code of the last answer.
    async fn mail(&mut self, text: &str) -> String {
        assert_eq!(self.says("MAIL FROM:<shop@example.com>\r\n").await, "250");
        assert_eq!(self.says("RCPT TO:<ada@example.com>\r\n").await, "250");
        assert_eq!(self.says("DATA\r\n").await, "354");
        self.says(text).await
    }
}

/// What a new connection hears first.
pub(crate) async fn greeting(address: SocketAddr) -> String {
    Wire(BufStream::new(TcpStream::connect(address).await.unwrap())).line().await
}

/// Headers that say which mail it is, and the end of them.
fn headers(message_id: &str) -> String {
    format!(
        "Message-ID: <{message_id}>\r\nX-Event-Id: {EVENT}\r\nX-Event-Type: payment.captured\r\n\
         X-Payment-Id: {PAYMENT}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_session_takes_mail_after_mail_and_counts_a_repeat_as_a_delivery() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let mut wire = Wire::open(address).await;
        assert_eq!(wire.says("NOOP\r\n").await, "250");
        let mail = format!("{}Thank you.\r\n.\r\n", headers("a"));
        for _ in 0..2 {
            assert_eq!(wire.mail(&mail).await, "250");
        }
        assert_eq!(wire.mail(&format!("{}Thanks.\r\n.\r\n", headers("b"))).await, "250");
        assert_eq!(wire.says("QUIT\r\n").await, "221");
        assert_eq!(wire.line().await, "", "it closes");
        expect_test::expect![[r#"
            {"count":2,"deliveries":3,"effect":"mail","event_type":"payment.captured","payment_id":"00000000-0000-7000-8000-000000000001"}"#]]
        .assert_eq(&effects(&base).await.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn a_mail_about_no_payment_has_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let mut wire = Wire::open(address).await;
        let welcome = format!("Message-ID: <w>\r\nX-Event-Id: {EVENT}\r\nX-Event-Type: user.registered\r\n\r\n.\r\n");
        assert_eq!(wire.mail(&welcome).await, "250");
        expect_test::expect![[r#"
            {"count":1,"deliveries":1,"effect":"mail","event_id":"00000000-0000-7000-8000-00000000000e","event_type":"user.registered"}"#]]
        .assert_eq(&effects(&base).await.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn only_a_dot_alone_between_two_line_ends_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let mut wire = Wire::open(address).await;
        // A stuffed dot; a dot after a bare line feed with a whole session behind it; a dot before one.
        let smuggled = format!("MAIL FROM:<x>\r\nRCPT TO:<y>\r\nDATA\r\n{}", headers("smuggled"));
        let body = format!("..\r\n\n.\r\n{smuggled}\r\n.\n{smuggled}\r\n.\r\n");
        assert_eq!(wire.mail(&format!("{}{body}", headers("a"))).await, "250");
        assert_eq!(wire.says("NOOP\r\n").await, "250", "what came after was text, not commands");
        assert_eq!(effects(&base).await.len(), 1);
        assert!(effects(&base).await[0].contains(r#""count":1"#));
    })
    .await;
}

#[tokio::test]
async fn commands_come_in_order_and_several_in_one_packet() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let mut wire = Wire(BufStream::new(TcpStream::connect(address).await.unwrap()));
        wire.line().await;
        assert_eq!(wire.says("MAIL FROM:<a@b>\r\n").await, "503", "nobody has said hello");
        assert_eq!(wire.says("HELO tester\r\n").await, "250");
        assert_eq!(wire.says("RCPT TO:<a@b>\r\n").await, "503");
        assert_eq!(wire.says("MAIL TO:<a@b>\r\n").await, "501");
        assert_eq!(wire.says("mail from:<>\r\n").await, "250", "a bounce has no sender, and case does not matter");
        assert_eq!(wire.says("DATA\r\n").await, "503", "to whom?");
        assert_eq!(wire.says("RSET\r\n").await, "250");
        assert_eq!(wire.says("MAIL FROM:<a@b> BODY=8BITMIME SIZE=9999999\r\n").await, "552");
        assert_eq!(wire.says("XYZZY\r\n").await, "500");
        let mail = format!("MAIL FROM:<a@b> SIZE=100\r\nRCPT TO:<c@d>\r\nDATA\r\n{}.\r\nQUIT\r\n", headers("a"));
        wire.send(&mail).await;
        let mut answers = String::new();
        wire.0.read_to_string(&mut answers).await.unwrap();
        let codes: Vec<&str> = answers.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes, ["250", "250", "354", "250", "221"]);
        assert_eq!(effects(&base).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_the_next_mail_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let mut wire = Wire::open(address).await;
        let long_line = format!("{}{}\r\n.\r\n", headers("long"), "x".repeat(2_000));
        assert_eq!(wire.mail(&long_line).await, "500");
        let much = format!("{}{}.\r\n", headers("much"), format!("{}\r\n", "x".repeat(900)).repeat(1_300));
        assert_eq!(wire.mail(&much).await, "552");
        let many_headers = format!("{}{}.\r\n", "X-Much: more\r\n".repeat(2_000), headers("headers"));
        assert_eq!(wire.mail(&many_headers).await, "552");
        assert_eq!(wire.says(&format!("NOOP {}\r\n", "x".repeat(5_000))).await, "500");
        assert_eq!(wire.mail("Subject: who am I?\r\n\r\n.\r\n").await, "554");
        assert!(effects(&base).await.is_empty());
        assert_eq!(wire.mail(&format!("{}.\r\n", headers("a"))).await, "250");
        assert_eq!(effects(&base).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_only_makes_mistakes_is_shown_out() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |_, address| {
        let mut wire = Wire::open(address).await;
        wire.send(&"GET / HTTP/1.1\r\n".repeat(16)).await;
        let mut answers = String::new();
        wire.0.read_to_string(&mut answers).await.unwrap();
        assert!(answers.lines().count() == 17 && answers.lines().last().unwrap().starts_with("421 "), "{answers}");
    })
    .await;
}

#[tokio::test]
async fn faults_of_mail_are_answers_of_smtp() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let faults = format!("{base}/internal/faults");
        let mut wire = Wire::open(address).await;
        let mail = format!("{}.\r\n", headers("a"));
        assert_eq!(send("POST", faults.clone(), &json!({"kind": "failing", "target": "mail", "for_s": 60})).await, 200);
        assert_eq!(wire.mail(&mail).await, "451");
        assert_eq!(
            send("POST", faults.clone(), &json!({"kind": "refusing", "target": "mail", "for_s": 60})).await,
            200
        );
        assert_eq!(wire.says("MAIL FROM:<a@b>\r\n").await, "421", "the open connection ends");
        assert!(greeting(address).await.starts_with("421 "), "and no other begins");
        assert_eq!(send("DELETE", faults, &Value::Null).await, 204);
        assert_eq!(Wire::open(address).await.mail(&mail).await, "250");
        assert_eq!(effects(&base).await.len(), 1);
    })
    .await;
}

/// Sets a header that is ours.
fn with(message: MessageBuilder, name: &'static str, value: &str) -> MessageBuilder {
    message.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()))
}

#[tokio::test]
async fn a_mail_client_delivers() {
    let folder = tempfile::tempdir().unwrap();
    with_receiver(folder.path(), async |base, address| {
        let client = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string());
        let client = client.port(address.port()).build();
        let somebody: Mailbox = "Zoë <zoe@example.com>".parse().unwrap();
        let mut message = Message::builder()
            .from(somebody.clone())
            .to(somebody)
            .subject("Quittung für Dünen & Kaffee – danke!")
            .message_id(Some(format!("<{EVENT}.receipt.{}@faultline>", "long".repeat(10))));
        for (name, value) in [("X-Event-Id", EVENT), ("X-Event-Type", "payment.captured"), ("X-Payment-Id", PAYMENT)] {
            message = with(message, name, value);
        }
        let body = ".\n..\n.hidden\n".to_owned() + &"Grüße ".repeat(500);
        let message = message.header(ContentType::TEXT_HTML).header(header::MIME_VERSION_1_0).body(body).unwrap();
        for _ in 0..2 {
            client.send(message.clone()).await.unwrap();
        }
        let lines = effects(&base).await;
        assert!(lines.len() == 1 && lines[0].contains(r#""count":1,"deliveries":2"#), "{lines:?}");
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut wire = None;
    with_receiver(folder.path(), async |_, address| wire = Some(Wire::open(address).await)).await;
    assert!(wire.unwrap().line().await.starts_with("421 "), "it was told to go");
}

//! SMTP, the receiving half (RFC 5321): as much of it as taking mail without accounts needs.
//!
//! Says what it offers, takes one mail after the other over a connection, and gives each one's headers to the mailbox.
//! A body is read to its end, counted and forgotten line by line. Only CRLF ends a line and only CRLF.CRLF a mail, so
//! that nobody smuggles one mail in another.

mod line;
mod reply;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::line::{Line, next_line};
use self::reply::Reply;
use super::mails::{Mailbox, Refusal};

/// Senders pool a handful of connections each; there are only two senders.
const CONNECTIONS_MAX: usize = 128;
/// A receipt is a few kilobytes; with it attached as HTML, some tens.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// A dozen headers of some hundred bytes, with room.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// What the RFC wants a receiver to take at least.
const RECIPIENTS_MAX: usize = 100;
/// Commands that made no sense before the connection is given up.
const MISTAKES_MAX: u32 = 16;
/// Between two commands: what the RFC asks of a receiver; senders keep idle connections for about a minute.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// For a whole mail. It is a megabyte at most, over a wire that is ours.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(60);
/// For a reply: they are lines, so only a sender that reads nothing meets it.
const REPLY_TIME_MAX: Duration = Duration::from_secs(10);
/// After `stop`, for mails that are on their way in.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// After a failed accept, until connections have been closed.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Takes mail until `stop` is cancelled and the mails on their way in are kept.
pub(super) async fn listen(listener: TcpListener, mailbox: Mailbox, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let sessions = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => stream,
            Err(error) => {
                warn!(exception.message = %error, "could not accept a connection for mail: {error}");
                let _ = timeout(ACCEPT_WAIT, stop.cancelled()).await;
                continue;
            }
        };
        let place = places.clone().try_acquire_owned().ok();
        let (mailbox, stop) = (mailbox.clone(), stop.clone());
        sessions.spawn(async move {
            let mut session = Session::new(stream, mailbox);
            let ended = if place.is_some() { session.run(&stop).await } else { session.reply(Reply::FULL).await };
            if let Err(error) = ended {
                debug!(exception.message = %error, "a connection for mail broke: {error}");
            }
        });
    }
    sessions.close();
    if timeout(DRAIN_MAX, sessions.wait()).await.is_err() {
        info!("gave up {} connections for mail that did not end", sessions.len());
    }
}

/// How a mail's text ended.
enum Text {
    /// Its headers, a line feed after each line.
    Headers(Vec<u8>),
    Malformed(Reply),
    End,
}

struct Session<S> {
    stream: BufReader<S>,
    mailbox: Mailbox,
    line: Vec<u8>,
    greeted: bool,
    /// Recipients of the mail that has begun. None before MAIL.
    recipients: Option<usize>,
    mistakes: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S, mailbox: Mailbox) -> Session<S> {
        Session {
            stream: BufReader::new(stream),
            mailbox,
            line: Vec::new(),
            greeted: false,
            recipients: None,
            mistakes: 0,
        }
    }

    async fn run(&mut self, stop: &CancellationToken) -> io::Result<()> {
        if self.mailbox.refuses() {
            return self.reply(Reply::REFUSING).await;
        }
        self.reply(Reply::GREETING).await?;
        loop {
            let line = tokio::select! {
                // Nothing is under way between two commands, so nobody is left in doubt.
                () = stop.cancelled() => return self.reply(Reply::STOPPING).await,
                line = timeout(IDLE_MAX, next_line(&mut self.stream, &mut self.line)) => line,
            };
            let reply = match line {
                Err(_elapsed) => Reply::TOO_SLOW,
                Ok(line) => match line? {
                    Line::End => return Ok(()),
                    Line::TooLong => Reply::LINE_TOO_LONG,
                    Line::Whole => match self.command().await? {
                        Some(reply) => reply,
                        None => return Ok(()),
                    },
                },
            };
            self.mistakes += u32::from(reply.mistake);
            self.reply(reply).await?;
            if reply.ends {
                return Ok(());
            }
            if self.mistakes >= MISTAKES_MAX {
                return self.reply(Reply::TOO_MANY_MISTAKES).await;
            }
        }
    }

    /// Does what the line says; none when the other side closed over it.
    async fn command(&mut self) -> io::Result<Option<Reply>> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let reply = match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" if rest.trim().is_empty() => Reply::mistake("501 5.5.4 who are you?\r\n"),
            "EHLO" => {
                self.greeted = true;
                self.recipients = None;
                Reply::ok(
                    "250-faultline\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 1048576\r\n",
                )
            }
            "HELO" => {
                self.greeted = true;
                self.recipients = None;
                Reply::ok("250 faultline\r\n")
            }
            "MAIL" => self.mail(rest),
            "RCPT" => self.recipient(rest),
            "DATA" => return self.data().await,
            "RSET" => {
                self.recipients = None;
                Reply::ok("250 2.0.0 forgotten\r\n")
            }
            "NOOP" => Reply::ok("250 2.0.0 still here\r\n"),
            "VRFY" => Reply::ok("252 2.0.0 send it and see\r\n"),
            "QUIT" => Reply::end("221 2.0.0 goodbye\r\n"),
            _ => Reply::mistake("500 5.5.1 unknown command\r\n"),
        };
        Ok(Some(reply))
    }

    fn mail(&mut self, rest: &str) -> Reply {
        if self.mailbox.refuses() {
            return Reply::REFUSING;
        }
        if !self.greeted {
            return Reply::mistake("503 5.5.1 say EHLO first\r\n");
        }
        if self.recipients.is_some() {
            return Reply::mistake("503 5.5.1 one mail at a time\r\n");
        }
        let Some(parameters) = after_path(rest, "FROM:") else {
            return Reply::mistake("501 5.5.4 MAIL FROM:<address>\r\n");
        };
        let sizes = parameters
            .split(' ')
            .filter_map(|parameter| parameter.to_ascii_uppercase().strip_prefix("SIZE=")?.parse().ok());
        if sizes.into_iter().any(|bytes: usize| bytes > MESSAGE_BYTES_MAX) {
            return Reply::TOO_LARGE;
        }
        self.recipients = Some(0);
        Reply::ok("250 2.1.0 go on\r\n")
    }

    fn recipient(&mut self, rest: &str) -> Reply {
        let Some(recipients) = &mut self.recipients else {
            return Reply::mistake("503 5.5.1 say MAIL first\r\n");
        };
        if after_path(rest, "TO:").is_none() {
            return Reply::mistake("501 5.5.4 RCPT TO:<address>\r\n");
        }
        if *recipients == RECIPIENTS_MAX {
            return Reply::ok("452 4.5.3 too many recipients\r\n");
        }
        *recipients += 1;
        Reply::ok("250 2.1.5 go on\r\n")
    }

    async fn data(&mut self) -> io::Result<Option<Reply>> {
        match self.recipients {
            None => return Ok(Some(Reply::mistake("503 5.5.1 say MAIL first\r\n"))),
            Some(0) => return Ok(Some(Reply::mistake("503 5.5.1 to whom?\r\n"))),
            Some(_) => {}
        }
        self.reply(Reply::ok("354 end with a dot on a line of its own\r\n")).await?;
        let Ok(text) = timeout(MESSAGE_TIME_MAX, self.text()).await else {
            return Ok(Some(Reply::TOO_SLOW));
        };
        self.recipients = None;
        Ok(match text? {
            Text::End => None,
            Text::Malformed(reply) => Some(reply),
            Text::Headers(headers) => Some(match self.mailbox.take(&headers).await {
                Ok(()) => Reply::ok("250 2.0.0 kept\r\n"),
                Err(Refusal::Failing) => Reply::ok("451 4.3.0 could not keep it, try again later\r\n"),
                Err(Refusal::Refusing) => Reply::REFUSING,
                Err(Refusal::Senseless(_)) => Reply::ok("554 5.6.0 it lacks what it is recognised by\r\n"),
            }),
        })
    }

    /// Reads a mail to its end and keeps its headers.
    async fn text(&mut self) -> io::Result<Text> {
        let (mut headers, mut in_headers) = (Vec::new(), true);
        let mut bytes = 0;
        let mut wrong = None;
        loop {
            match next_line(&mut self.stream, &mut self.line).await? {
                Line::End => return Ok(Text::End),
                Line::TooLong => {
                    wrong = wrong.or(Some(Reply::LINE_TOO_LONG));
                    continue;
                }
                Line::Whole => {}
            }
            if self.line == b"." {
                return Ok(wrong.map_or(Text::Headers(headers), Text::Malformed));
            }
            // A dot in front of a line that begins with one was put there on the way.
            let line = self.line.strip_prefix(b".").unwrap_or(&self.line);
            bytes += line.len() + 2;
            if bytes > MESSAGE_BYTES_MAX {
                wrong = wrong.or(Some(Reply::TOO_LARGE));
            }
            in_headers &= !line.is_empty();
            if in_headers && wrong.is_none() {
                if headers.len() + line.len() >= HEADER_BYTES_MAX {
                    wrong = Some(Reply::TOO_LARGE);
                }
                headers.extend_from_slice(line);
                headers.push(b'\n');
            }
        }
    }

    async fn reply(&mut self, reply: Reply) -> io::Result<()> {
        let written = timeout(REPLY_TIME_MAX, self.stream.write_all(reply.text.as_bytes())).await;
        written.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What follows `FROM:<path>`; none when that is not what is there. Whose address it is does not matter here.
fn after_path<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let head = rest.get(..keyword.len())?;
    let path = head.eq_ignore_ascii_case(keyword).then(|| rest[keyword.len()..].trim_start())?;
    let (_, parameters) = path.strip_prefix('<')?.split_once('>')?;
    Some(parameters.trim())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::super::kept::{self, Kept};
    use super::*;
    use crate::database::Database;
    use crate::faults::Faults;
    use crate::latency::Latency;

    /// Runs `story` at the other end of a session, on a paused clock.
    async fn with_session(story: impl AsyncFnOnce(&mut DuplexStream)) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), "receiver.db", kept::SCHEMA).await.expect("a database");
        let latency = Latency::new(1, 0.0, 0.0, "mail receiver").expect("settings");
        let mailbox = Mailbox::new(Kept::new(database), latency, Faults::none(&[]));
        let (mut near, far) = duplex(1024);
        let session = tokio::spawn(async move { Session::new(far, mailbox).run(&CancellationToken::new()).await });
        tokio::time::pause();
        story(&mut near).await;
        session.await.expect("no panic").expect("it ended in peace");
    }

    async fn last_line(near: &mut DuplexStream) -> String {
        let mut text = String::new();
        near.read_to_string(&mut text).await.expect("text");
        text.lines().last().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn who_says_nothing_is_shown_out() {
        with_session(async |near| {
            let begun = Instant::now();
            assert!(last_line(near).await.starts_with("421 4.4.2"));
            assert_eq!(begun.elapsed().as_secs(), IDLE_MAX.as_secs());
        })
        .await;
    }

    #[tokio::test]
    async fn who_never_comes_to_the_end_of_a_mail_is_too() {
        with_session(async |near| {
            let begun = Instant::now();
            near.write_all(b"EHLO a\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nSubject: wait").await.expect("sent");
            assert!(last_line(near).await.starts_with("421 4.4.2"));
            assert_eq!(begun.elapsed().as_secs(), MESSAGE_TIME_MAX.as_secs());
        })
        .await;
    }

    #[tokio::test]
    async fn the_size_it_offers_is_the_size_it_takes() {
        with_session(async |near| {
            near.write_all(b"EHLO a\r\nQUIT\r\n").await.expect("sent");
            let mut text = String::new();
            near.read_to_string(&mut text).await.expect("text");
            assert!(text.contains(&format!("SIZE {MESSAGE_BYTES_MAX}\r\n")), "{text}");
        })
        .await;
    }
}

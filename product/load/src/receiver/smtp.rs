//! SMTP, the receiving half (RFC 5321): as much of it as taking mail without accounts needs.
//!
//! Says what it offers, takes one mail after the other over a connection, and gives each one's headers to the mailbox.
//! A body is read to its end, counted and forgotten line by line. Only CRLF ends a line and only CRLF.CRLF a mail, so
//! that nobody smuggles one mail in another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::mails::{Mailbox, Refusal};

/// Senders pool a handful of connections each; there are only two senders.
const CONNECTIONS_MAX: usize = 128;
/// The RFC's limit of a line of text, CRLF included. Commands may be half as long; one limit is simpler.
const LINE_BYTES_MAX: usize = 1_000;
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
                warn!(error = %error, "could not accept a connection for mail: {error}");
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
                debug!(error = %error, "a connection for mail broke: {error}");
            }
        });
    }
    sessions.close();
    if timeout(DRAIN_MAX, sessions.wait()).await.is_err() {
        info!("gave up {} connections for mail that did not end", sessions.len());
    }
}

/// An answer: the lines of it, and whether the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reply {
    text: &'static str,
    ends: bool,
    mistake: bool,
}

impl Reply {
    const fn ok(text: &'static str) -> Reply {
        Reply { text, ends: false, mistake: false }
    }

    const fn mistake(text: &'static str) -> Reply {
        Reply { text, ends: false, mistake: true }
    }

    const fn end(text: &'static str) -> Reply {
        Reply { text, ends: true, mistake: false }
    }

    const GREETING: Reply = Reply::ok("220 faultline ESMTP, for tests\r\n");
    const FULL: Reply = Reply::end("421 4.3.2 too many connections, try again later\r\n");
    const REFUSING: Reply = Reply::end("421 4.3.2 not taking mail, try again later\r\n");
    const STOPPING: Reply = Reply::end("421 4.3.2 shutting down\r\n");
    const TOO_SLOW: Reply = Reply::end("421 4.4.2 waited too long\r\n");
    const TOO_MANY_MISTAKES: Reply = Reply::end("421 4.7.0 too many mistakes\r\n");
    const LINE_TOO_LONG: Reply = Reply::mistake("500 5.5.2 the line is too long\r\n");
    const TOO_LARGE: Reply = Reply::ok("552 5.3.4 the message is too large\r\n");
}

/// A line that came, without its CRLF.
enum Line {
    /// It is in the buffer.
    Whole,
    /// It was longer than `LINE_BYTES_MAX` and is gone.
    TooLong,
    /// The other side has closed.
    End,
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
                // SIZE is MESSAGE_BYTES_MAX.
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

/// Reads up to the next CRLF. Of a line that is too long nothing is kept.
async fn next_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    let mut after_cr = false;
    loop {
        let buffer = stream.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(Line::End);
        }
        let line_feed = buffer.iter().position(|&byte| byte == b'\n');
        let taken = line_feed.map_or(buffer.len(), |at| at + 1);
        let ended = match line_feed {
            Some(0) => after_cr,
            Some(at) => buffer[at - 1] == b'\r',
            None => false,
        };
        after_cr = buffer[taken - 1] == b'\r';
        too_long |= line.len() + taken > LINE_BYTES_MAX;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(&buffer[..taken]);
        }
        stream.consume(taken);
        if ended {
            line.truncate(line.len().saturating_sub(2));
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

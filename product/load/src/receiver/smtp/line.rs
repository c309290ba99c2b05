//! Lines, as SMTP has them: they end with CRLF and with nothing else.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The RFC's limit of a line of text, CRLF included. Commands may be half as long; one limit is simpler.
pub(super) const LINE_BYTES_MAX: usize = 1_000;
/// A line that came, without its CRLF.
pub(super) enum Line {
    /// It is in the buffer.
    Whole,
    /// It was longer than `LINE_BYTES_MAX` and is gone.
    TooLong,
    /// The other side has closed.
    End,
}

/// Reads up to the next CRLF. Of a line that is too long nothing is kept.
pub(super) async fn next_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Line> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, BufReader, duplex};

    use super::*;

    /// The lines of `text`, however it is cut into pieces on its way.
    async fn check(text: &[u8], expected: &[&[u8]]) {
        for piece in [1, 2, 3, text.len()] {
            let (mut near, far) = duplex(piece);
            let sent = text.to_vec();
            tokio::spawn(async move { near.write_all(&sent).await });
            // As small as the pieces, so that the buffer ends everywhere.
            let (mut stream, mut line, mut lines) = (BufReader::with_capacity(piece, far), Vec::new(), Vec::new());
            loop {
                match next_line(&mut stream, &mut line).await.expect("read") {
                    Line::Whole => lines.push(line.clone()),
                    Line::TooLong => lines.push(b"too long".to_vec()),
                    Line::End => break,
                }
            }
            assert_eq!(lines, expected, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn only_both_together_end_a_line() {
        check(b"NOOP\r\n\r\n.\r\n", &[b"NOOP", b"", b"."]).await;
        check(b"a\nb\rc\r\r\nd\r\n", &[b"a\nb\rc\r", b"d"]).await;
        check(b"\n\r\n", &[b"\n"]).await;
        check(b"half a line", &[]).await;
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_gone_and_the_next_is_whole() {
        let fits = [b"x".repeat(LINE_BYTES_MAX - 2), b"\r\n".to_vec()].concat();
        let long = [b"x".repeat(LINE_BYTES_MAX - 1), b"\r\n".to_vec()].concat();
        check(&[&fits[..], &long, b"y\r\n"].concat(), &[&fits[..LINE_BYTES_MAX - 2], b"too long", b"y"]).await;
        let longer = [b"x\n".repeat(LINE_BYTES_MAX * 5), b"\r\ny\r\n".to_vec()].concat();
        check(&longer, &[b"too long", b"y"]).await;
    }
}

//! What a receiver says.

/// An answer: the lines of it, and whether the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: &'static str,
    pub(super) ends: bool,
    pub(super) mistake: bool,
}

impl Reply {
    pub(super) const fn ok(text: &'static str) -> Reply {
        Reply { text, ends: false, mistake: false }
    }

    pub(super) const fn mistake(text: &'static str) -> Reply {
        Reply { text, ends: false, mistake: true }
    }

    pub(super) const fn end(text: &'static str) -> Reply {
        Reply { text, ends: true, mistake: false }
    }

    pub(super) const GREETING: Reply = Reply::ok("220 faultline ESMTP, for tests\r\n");
    pub(super) const FULL: Reply = Reply::end("421 4.3.2 too many connections, try again later\r\n");
    pub(super) const REFUSING: Reply = Reply::end("421 4.3.2 not taking mail, try again later\r\n");
    pub(super) const STOPPING: Reply = Reply::end("421 4.3.2 shutting down\r\n");
    pub(super) const TOO_SLOW: Reply = Reply::end("421 4.4.2 waited too long\r\n");
    pub(super) const TOO_MANY_MISTAKES: Reply = Reply::end("421 4.7.0 too many mistakes\r\n");
    pub(super) const LINE_TOO_LONG: Reply = Reply::mistake("500 5.5.2 the line is too long\r\n");
    pub(super) const TOO_LARGE: Reply = Reply::ok("552 5.3.4 the message is too large\r\n");
}

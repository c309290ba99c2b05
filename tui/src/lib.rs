//! SHOWS: the terminal UI. It talks only to a query node, in SQL, and draws the Arrow that comes back.
//!
//! | module | |
//! |---|---|
//! | `conn` | asks: SQL out, Arrow back, one request in flight per panel |
//! | `panel`, `sql/` | what is asked: the SQL of every panel, each in its file |
//! | `rows` | one answer, its columns checked once |
//! | `state` | what the user looks at; pure |
//! | `input` | keys to actions |
//! | `view` | draws a snapshot of the state, one file per screen |
//! | `terminal` | takes the terminal and gives it back |
//!
//! One loop selects, one call draws, and only after something happened.

mod args;
mod conn;
#[cfg(test)]
mod fixtures;
mod format;
mod input;
mod panel;
mod rows;
mod state;
mod terminal;
mod view;

use anyhow::Context;
use crossterm::event::EventStream;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::conn::Conn;
use crate::state::{Effect, Event, State};
use crate::terminal::Terminal;
use crate::view::Theme;

pub use args::Args;

/// Runs the UI in the terminal until the user quits, the terminal hangs up or `stop` is cancelled; it is restored either way.
pub async fn run(args: Args, stop: CancellationToken) -> anyhow::Result<()> {
    let mut conn = Conn::new(&args.query_url, args.refresh)?;
    let theme = Theme::new(std::env::var_os("NO_COLOR").as_deref().and_then(|value| value.to_str()));
    let mut terminal = Terminal::take()?;
    let (width, height) = terminal.size()?;
    let mut state = State::new(&args.query_url, args.window, width, height);
    let mut hangup = signal(SignalKind::hangup()).context("could not listen for SIGHUP")?;
    let lost = terminal.lost();
    let mut keys = EventStream::new();
    let mut is_stale = true;
    loop {
        conn.ask(state.questions(), Instant::now());
        if std::mem::take(&mut is_stale) {
            terminal.draw(|buffer| view::draw(&state, theme, buffer))?;
        }
        let next_due = conn.next_due();
        let event = tokio::select! {
            _ = stop.cancelled() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = lost.cancelled() => anyhow::bail!("something panicked while the screen was shown; its message is above"),
            key = keys.next() => match key.context("the terminal sends no more keys")?.context("could not read keys")? {
                crossterm::event::Event::Key(key) => Event::Key(key),
                crossterm::event::Event::Resize(width, height) => Event::Resized { width, height },
                _ => continue,
            },
            answer = conn.answer() => Event::Answered(answer),
            () = due(next_due) => continue,
        };
        match state.apply(event) {
            Effect::Quit => return Ok(()),
            Effect::Hurry => conn.hurry(Instant::now()),
            Effect::Nothing => {}
        }
        is_stale = true;
    }
}

/// Pends when nothing is due.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

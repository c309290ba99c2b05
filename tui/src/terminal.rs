//! The terminal is taken once and given back always: on return, on error, on a signal that becomes `stop`, on panic.

use std::io::{self, IsTerminal, Stdout};

use anyhow::Context;
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use tokio_util::sync::CancellationToken;

/// Raw mode and the alternate screen, until it is dropped or something panics.
pub(crate) struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
    lost: CancellationToken,
}

impl Terminal {
    /// Also sets a panic hook that gives the terminal back before the message is printed, on whatever thread it happens.
    pub(crate) fn take() -> anyhow::Result<Terminal> {
        anyhow::ensure!(
            io::stdout().is_terminal() && io::stdin().is_terminal(),
            "the terminal UI needs a terminal on stdin and stdout; without one ask in SQL: faultline sql \"…\""
        );
        let inner = ratatui::try_init().context("could not take the terminal")?;
        let lost = CancellationToken::new();
        let (give_back, panicked) = (std::panic::take_hook(), lost.clone());
        std::panic::set_hook(Box::new(move |panic| {
            panicked.cancel();
            give_back(panic);
        }));
        Ok(Terminal { inner, lost })
    }

    /// Cancelled once a panic has given the terminal back: nothing may be drawn from then on.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> anyhow::Result<(u16, u16)> {
        let size = self.inner.size().context("could not ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    /// Sends what differs from the last drawing, in one piece where the terminal can.
    pub(crate) fn draw(&mut self, paint: impl FnOnce(&mut Buffer)) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.lost.is_cancelled(),
            "something panicked while the screen was shown; its message is above"
        );
        execute!(io::stdout(), BeginSynchronizedUpdate).context("could not write to the terminal")?;
        let drawn = self.inner.draw(|frame| paint(frame.buffer_mut())).map(|_| ());
        execute!(io::stdout(), EndSynchronizedUpdate).context("could not write to the terminal")?;
        drawn.context("could not draw on the terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // After a panic it is given back already, and the message stands where a second time would wipe it.
        if !self.lost.is_cancelled() {
            ratatui::restore();
        }
    }
}

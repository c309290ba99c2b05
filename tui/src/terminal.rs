//! The terminal is taken once and given back always: on return, on error, on a signal that becomes `stop`, on panic.

use std::io::{self, IsTerminal, Stdout};

use anyhow::Context;
use crossterm::execute;
use crossterm::terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;

/// Raw mode and the alternate screen, until it is dropped.
pub(crate) struct Terminal {
    inner: ratatui::Terminal<CrosstermBackend<Stdout>>,
}

impl Terminal {
    /// Also sets a panic hook that gives the terminal back before the message is printed.
    pub(crate) fn take() -> anyhow::Result<Terminal> {
        anyhow::ensure!(
            io::stdout().is_terminal() && io::stdin().is_terminal(),
            "the terminal UI needs a terminal on stdin and stdout; without one ask in SQL: faultline sql \"…\""
        );
        let inner = ratatui::try_init().context("could not take the terminal")?;
        Ok(Terminal { inner })
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> anyhow::Result<(u16, u16)> {
        let size = self.inner.size().context("could not ask the terminal for its size")?;
        Ok((size.width, size.height))
    }

    /// Sends what differs from the last drawing, in one piece where the terminal can.
    pub(crate) fn draw(&mut self, paint: impl FnOnce(&mut Buffer)) -> anyhow::Result<()> {
        execute!(io::stdout(), BeginSynchronizedUpdate).context("could not write to the terminal")?;
        let drawn = self.inner.draw(|frame| paint(frame.buffer_mut())).map(|_| ());
        execute!(io::stdout(), EndSynchronizedUpdate).context("could not write to the terminal")?;
        drawn.context("could not draw on the terminal")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

//! Colours, chosen from the middle of the scale so that they read on dark and on light backgrounds.
//!
//! Text stays in the terminal's own colour. With `NO_COLOR` weight and shape say the same things.

use ratatui::style::{Color, Modifier, Style};

const GREY: u8 = 244;
const BLUE: u8 = 32;
const GREEN: u8 = 29;
const AMBER: u8 = 172;
const RED: u8 = 160;
const TEAL: u8 = 30;
const PURPLE: u8 = 133;

/// Services are told apart by these, in the order in which a trace meets them.
const SERVICES: [u8; 8] = [32, 172, 29, 133, 37, 167, 99, 101];

/// From few to many; each step is also darker or lighter than the last, for eyes that see no hue.
const HEAT: [u8; 9] = [60, 61, 62, 97, 133, 169, 204, 209, 215];
/// The same without colour.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    colour: bool,
}

impl Theme {
    /// Any value of `NO_COLOR` but the empty one turns colours off; see no-color.org.
    pub(crate) fn new(no_color: Option<&str>) -> Theme {
        Theme { colour: no_color.is_none_or(str::is_empty) }
    }

    pub(crate) fn has_colour(self) -> bool {
        self.colour
    }

    pub(crate) fn text(self) -> Style {
        Style::new()
    }

    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn dim(self) -> Style {
        self.or(GREY, Modifier::DIM)
    }

    pub(crate) fn accent(self) -> Style {
        self.or(BLUE, Modifier::empty())
    }

    /// Beside the accent, where two things are told apart.
    pub(crate) fn second(self) -> Style {
        self.or(TEAL, Modifier::empty())
    }

    /// What travels as a message rather than as a call.
    pub(crate) fn message(self) -> Style {
        self.or(PURPLE, Modifier::ITALIC)
    }

    pub(crate) fn good(self) -> Style {
        self.or(GREEN, Modifier::empty())
    }

    pub(crate) fn warn(self) -> Style {
        self.or(AMBER, Modifier::BOLD)
    }

    pub(crate) fn bad(self) -> Style {
        self.or(RED, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// A line over the heatmap: bold in the terminal's own colour, which stands out from every heat.
    pub(crate) fn line(self) -> Style {
        self.strong()
    }

    pub(crate) fn service(self, index: usize) -> Style {
        self.or(SERVICES[index % SERVICES.len()], Modifier::empty())
    }

    /// By how much it should worry: no errors are quiet, few are amber, many are red.
    pub(crate) fn errors(self, errors: f64, requests: f64) -> Style {
        match errors / requests {
            share if share >= 0.05 => self.bad(),
            share if share > 0.0 => self.warn(),
            _ => self.dim(),
        }
    }

    /// `level` from 0 (one) to 1 (the most on the screen).
    pub(crate) fn heat(self, level: f64) -> Color {
        let last = HEAT.len() - 1;
        Color::Indexed(HEAT[((level * last as f64).round() as usize).min(last)])
    }

    pub(crate) fn shade(self, level: f64) -> char {
        let last = SHADES.len() - 1;
        SHADES[((level * last as f64).round() as usize).min(last)]
    }

    fn or(self, colour: u8, without: Modifier) -> Style {
        if self.colour { Style::new().fg(Color::Indexed(colour)) } else { Style::new().add_modifier(without) }
    }
}

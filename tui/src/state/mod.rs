//! What the user looks at, as plain data: `apply` takes what happened, `questions` says what the screen wants to know.
//!
//! Nothing here touches a terminal, a socket or a clock, so that every path is a unit test.

mod cursor;
mod dependencies;
mod latency;
mod red;
mod services;
mod steps;
mod traces;
mod tree;
mod waterfall;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crossterm::event::KeyEvent;

use crate::conn::{Answer, Failure};
use crate::input::{self, Action, Step};
use crate::panel::{Panel, Question};
use crate::rows::Rows;

pub(crate) use dependencies::{Dependencies, Edge, Sort as EdgeSort};
pub(crate) use latency::{AXIS_COLUMNS, Latency};
pub(crate) use red::Sort as RedSort;
pub(crate) use services::{Services, sparkline_columns};
pub(crate) use steps::starts_ns;
pub(crate) use traces::{Order, Traces};
pub(crate) use tree::{Node, Tree};
pub(crate) use waterfall::Waterfall;

/// The windows `t` goes through; the one given at the start joins them.
const WINDOWS_S: [u64; 8] = [60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_592_000];

/// Longest filter: what a line can show.
const FILTER_CHARS_MAX: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    Services,
    Latency,
    Dependencies,
    Traces,
    Waterfall,
}

impl Screen {
    /// The ones with a number; a waterfall is reached through a trace.
    pub(crate) const TABS: [Screen; 4] = [Screen::Services, Screen::Latency, Screen::Dependencies, Screen::Traces];
}

/// Something that happened to the UI.
#[derive(Debug)]
pub(crate) enum Event {
    Key(KeyEvent),
    Resized { width: u16, height: u16 },
    Answered(Answer),
}

/// What the loop has to do beyond drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Ask again now what is on the screen.
    Hurry,
    Quit,
}

/// Drawn over the screen; holds how far it is scrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    Help,
    Sql { scroll: u16 },
}

/// The newest good answer of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) question: Question,
    pub(crate) at_ns: i64,
    pub(crate) rows: Rows,
}

/// How it stands with the query node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link<'a> {
    Connecting,
    Live,
    /// The node answers, but not this.
    Refused(&'a Failure),
    Lost(&'a Failure),
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) screen: Screen,
    pub(crate) query_url: String,
    pub(crate) window: Duration,
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) paused: bool,
    pub(crate) typing: bool,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) services: Services,
    pub(crate) latency: Latency,
    pub(crate) dependencies: Dependencies,
    pub(crate) traces: Traces,
    pub(crate) waterfall: Waterfall,
    back: Vec<Screen>,
    windows: Vec<Duration>,
    shown: BTreeMap<Panel, Shown>,
    /// The last failure of a panel with the SQL that failed.
    failures: BTreeMap<Panel, (String, Failure)>,
}

impl State {
    pub(crate) fn new(query_url: &str, window: Duration, width: u16, height: u16) -> State {
        let mut windows: Vec<Duration> = WINDOWS_S.map(Duration::from_secs).to_vec();
        windows.push(window);
        windows.sort();
        windows.dedup();
        State {
            screen: Screen::Services,
            query_url: query_url.trim_end_matches('/').to_owned(),
            window,
            width,
            height,
            paused: false,
            typing: false,
            overlay: None,
            services: Services::default(),
            latency: Latency::default(),
            dependencies: Dependencies::default(),
            traces: Traces::default(),
            waterfall: Waterfall::default(),
            back: Vec::new(),
            windows,
            shown: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, event: Event) -> Effect {
        match event {
            Event::Key(key) => match input::action(key, self.typing) {
                Some(action) => self.act(action),
                None => Effect::Nothing,
            },
            Event::Resized { width, height } => {
                (self.width, self.height) = (width, height);
                Effect::Nothing
            }
            Event::Answered(answer) => {
                self.take(answer);
                Effect::Nothing
            }
        }
    }

    /// What the screen in front wants to know.
    pub(crate) fn questions(&self) -> Vec<Question> {
        let mut questions = match self.screen {
            Screen::Services => self.ask_services(),
            Screen::Latency => self.ask_latency(),
            Screen::Dependencies => self.ask_dependencies(),
            Screen::Traces => self.ask_traces(),
            Screen::Waterfall => self.ask_waterfall(),
        };
        for question in &mut questions {
            question.live &= !self.paused;
        }
        questions
    }

    /// The rows of a panel, if they are about what is selected now.
    pub(crate) fn shown(&self, panel: Panel) -> Option<&Shown> {
        self.shown.get(&panel).filter(|shown| shown.question.subject == self.subject(panel))
    }

    /// When the newest answer of this screen came, nanoseconds since the Unix epoch.
    pub(crate) fn refreshed_ns(&self) -> Option<i64> {
        self.questions().iter().filter_map(|question| self.shown(question.panel)).map(|shown| shown.at_ns).max()
    }

    pub(crate) fn link(&self) -> Link<'_> {
        let questions = self.questions();
        let failure = questions.iter().find_map(|question| {
            let (sql, failure) = self.failures.get(&question.panel)?;
            (*sql == question.sql).then_some(failure)
        });
        match failure {
            Some(failure) if failure.unreachable => Link::Lost(failure),
            Some(failure) => Link::Refused(failure),
            None if questions.iter().any(|question| self.shown(question.panel).is_some()) => Link::Live,
            None => Link::Connecting,
        }
    }

    /// What is typed behind `/` on this screen.
    pub(crate) fn filter(&self) -> &str {
        match self.screen {
            Screen::Services => &self.services.filter,
            Screen::Latency => &self.latency.filter,
            Screen::Dependencies => &self.dependencies.filter,
            Screen::Traces => &self.traces.filter,
            Screen::Waterfall => &self.waterfall.filter,
        }
    }

    fn filter_mut(&mut self) -> &mut String {
        match self.screen {
            Screen::Services => &mut self.services.filter,
            Screen::Latency => &mut self.latency.filter,
            Screen::Dependencies => &mut self.dependencies.filter,
            Screen::Traces => &mut self.traces.filter,
            Screen::Waterfall => &mut self.waterfall.filter,
        }
    }

    fn take(&mut self, answer: Answer) {
        let panel = answer.question.panel;
        match answer.result {
            Ok(rows) => {
                self.failures.remove(&panel);
                if panel == Panel::Trace {
                    self.waterfall.grow(Tree::new(&rows, &answer.question.subject));
                }
                self.shown.insert(panel, Shown { question: answer.question, at_ns: answer.at_ns, rows });
            }
            Err(failure) => {
                self.failures.insert(panel, (answer.question.sql, failure));
            }
        }
    }

    fn act(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => return Effect::Quit,
            Action::Refresh => return Effect::Hurry,
            Action::Help => self.overlay = toggled(self.overlay, Overlay::Help),
            Action::Sql => self.overlay = toggled(self.overlay, Overlay::Sql { scroll: 0 }),
            Action::Back => self.go_back(),
            Action::Enter if self.typing => self.typing = false,
            Action::Type(letter) => self.type_letter(letter),
            Action::Erase => _ = self.filter_mut().pop(),
            Action::EraseAll => self.filter_mut().clear(),
            Action::Pause => self.paused = !self.paused,
            Action::LongerWindow => self.change_window(1),
            Action::ShorterWindow => self.change_window(-1),
            Action::Move(step) if self.overlay.is_some() => self.scroll(step),
            action => {
                self.overlay = None;
                self.act_on_screen(action);
            }
        }
        Effect::Nothing
    }

    fn act_on_screen(&mut self, action: Action) {
        match action {
            Action::Show(screen) => self.show_tab(screen),
            Action::NextScreen => self.show_tab(self.tab(1)),
            Action::PreviousScreen => self.show_tab(self.tab(3)),
            Action::Filter => self.typing = true,
            Action::NextService => self.change_service(1),
            Action::PreviousService => self.change_service(-1),
            action => match self.screen {
                Screen::Services => self.act_on_services(action),
                Screen::Latency => self.act_on_latency(action),
                Screen::Dependencies => self.act_on_dependencies(action),
                Screen::Traces => self.act_on_traces(action),
                Screen::Waterfall => self.act_on_waterfall(action),
            },
        }
    }

    /// One step out: an overlay, the typing, the filter, what the screen itself can undo, then the screen.
    fn go_back(&mut self) {
        if self.overlay.take().is_some() || std::mem::take(&mut self.typing) {
            return;
        }
        if !self.filter().is_empty() {
            self.filter_mut().clear();
            return;
        }
        let undone = match self.screen {
            Screen::Latency => self.latency.leave_column(),
            Screen::Waterfall => self.waterfall.leave_details(),
            Screen::Traces if self.back.is_empty() => self.traces.widen(),
            _ => false,
        };
        if !undone && let Some(screen) = self.back.pop() {
            self.screen = screen;
        }
    }

    fn drill(&mut self, into: Screen) {
        if self.screen != into {
            self.back.push(self.screen);
            self.screen = into;
        }
    }

    fn show_tab(&mut self, screen: Screen) {
        self.back.clear();
        self.screen = screen;
    }

    fn tab(&self, by: usize) -> Screen {
        let tabs = Screen::TABS;
        let here = tabs.iter().position(|tab| *tab == self.screen).unwrap_or(tabs.len() - 1);
        tabs[(here + by) % tabs.len()]
    }

    fn type_letter(&mut self, letter: char) {
        let filter = self.filter_mut();
        if filter.chars().count() < FILTER_CHARS_MAX {
            filter.push(letter);
        }
    }

    fn change_window(&mut self, by: isize) {
        let here = self.windows.iter().position(|window| *window == self.window).unwrap_or(0);
        let count = self.windows.len();
        self.window = self.windows[here.wrapping_add_signed(by).wrapping_add(count) % count];
        self.latency.leave_column();
    }

    fn scroll(&mut self, step: Step) {
        let Some(Overlay::Sql { scroll }) = &mut self.overlay else { return };
        *scroll = match step {
            Step::Up => scroll.saturating_sub(1),
            Step::Down => scroll.saturating_add(1),
            Step::PageUp => scroll.saturating_sub(10),
            Step::PageDown => scroll.saturating_add(10),
            Step::Top => 0,
            Step::Bottom | Step::Left | Step::Right => *scroll,
        }
    }

    /// `[` and `]`: the same screen for the neighbouring service.
    fn change_service(&mut self, by: isize) {
        let Some(shown) = self.shown(Panel::Services) else { return };
        let mut names: Vec<String> =
            (0..shown.rows.len()).map(|row| shown.rows.text("service", row).to_owned()).collect();
        names.sort();
        if names.is_empty() {
            return;
        }
        let current = match self.screen {
            Screen::Traces => self.traces.service.clone(),
            _ => self.service(),
        };
        let here = names.iter().position(|name| *name == current);
        let next = match here {
            Some(here) => (here + names.len()).wrapping_add_signed(by) % names.len(),
            None => 0,
        };
        match self.screen {
            Screen::Latency => self.latency.look_at(&names[next]),
            Screen::Traces => self.traces.look_at(&names[next], "", None),
            _ => {}
        }
    }

    fn subject(&self, panel: Panel) -> String {
        match panel {
            Panel::Services | Panel::ServicesOverTime | Panel::Dependencies | Panel::ConsumerLag => String::new(),
            Panel::Operations => self.service(),
            Panel::Heatmap | Panel::Percentiles => format!("{}\n{}", self.service(), self.operation()),
            Panel::Traces => self.traces.subject(),
            Panel::Trace | Panel::LinkedTraces | Panel::TraceLogs => self.waterfall.trace_id.clone(),
        }
    }

    fn question(&self, panel: Panel, sql: String, window: Duration, step: Duration) -> Question {
        Question { panel, sql, subject: self.subject(panel), window, step, live: true }
    }
}

fn toggled(overlay: Option<Overlay>, to: Overlay) -> Option<Overlay> {
    match (overlay, to) {
        (Some(Overlay::Help), Overlay::Help) | (Some(Overlay::Sql { .. }), Overlay::Sql { .. }) => None,
        _ => Some(to),
    }
}

/// Whether a row's texts contain what is typed, in any case.
fn matches(filter: &str, texts: &[&str]) -> bool {
    if filter.is_empty() {
        return true;
    }
    let filter = filter.to_lowercase();
    texts.iter().any(|text| text.to_lowercase().contains(&filter))
}

//! Keys become actions; what an action does to the screen in front is decided by `state`.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::state::Screen;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Show(Screen),
    NextScreen,
    PreviousScreen,
    Enter,
    Back,
    Move(Step),
    NextService,
    PreviousService,
    /// Starts to type a filter.
    Filter,
    Type(char),
    Erase,
    EraseAll,
    LongerWindow,
    ShorterWindow,
    Sort,
    Sql,
    Help,
    Pause,
    Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Up,
    Down,
    Left,
    Right,
    Top,
    Bottom,
    PageUp,
    PageDown,
}

/// The meaning of a key; while a filter is typed, letters are letters.
pub(crate) fn action(key: KeyEvent, typing: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return control(key.code);
    }
    if typing { typed(key.code) } else { pressed(key.code) }
}

fn control(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char('c') => Some(Action::Quit),
        KeyCode::Char('d' | 'f') => Some(Action::Move(Step::PageDown)),
        KeyCode::Char('u') => Some(Action::EraseAll),
        KeyCode::Char('b') => Some(Action::Move(Step::PageUp)),
        _ => None,
    }
}

fn typed(code: KeyCode) -> Option<Action> {
    match code {
        KeyCode::Char(letter) => Some(Action::Type(letter)),
        KeyCode::Backspace => Some(Action::Erase),
        KeyCode::Enter => Some(Action::Enter),
        KeyCode::Esc => Some(Action::Back),
        KeyCode::Up => Some(Action::Move(Step::Up)),
        KeyCode::Down => Some(Action::Move(Step::Down)),
        _ => None,
    }
}

fn pressed(code: KeyCode) -> Option<Action> {
    let action = match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('1') => Action::Show(Screen::Services),
        KeyCode::Char('2') => Action::Show(Screen::Latency),
        KeyCode::Char('3') => Action::Show(Screen::Dependencies),
        KeyCode::Char('4') => Action::Show(Screen::Traces),
        KeyCode::Tab => Action::NextScreen,
        KeyCode::BackTab => Action::PreviousScreen,
        KeyCode::Enter => Action::Enter,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Char('k') | KeyCode::Up => Action::Move(Step::Up),
        KeyCode::Char('j') | KeyCode::Down => Action::Move(Step::Down),
        KeyCode::Char('h') | KeyCode::Left => Action::Move(Step::Left),
        KeyCode::Char('l') | KeyCode::Right => Action::Move(Step::Right),
        KeyCode::Char('g') | KeyCode::Home => Action::Move(Step::Top),
        KeyCode::Char('G') | KeyCode::End => Action::Move(Step::Bottom),
        KeyCode::PageUp => Action::Move(Step::PageUp),
        KeyCode::PageDown => Action::Move(Step::PageDown),
        KeyCode::Char(']') => Action::NextService,
        KeyCode::Char('[') => Action::PreviousService,
        KeyCode::Char('/') => Action::Filter,
        KeyCode::Char('t') => Action::LongerWindow,
        KeyCode::Char('T') => Action::ShorterWindow,
        KeyCode::Char('o') => Action::Sort,
        KeyCode::Char('s') => Action::Sql,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Char(' ') => Action::Pause,
        KeyCode::Char('r') => Action::Refresh,
        _ => return None,
    };
    Some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_move_until_a_filter_is_typed() {
        assert_eq!(action(key(KeyCode::Char('j')), false), Some(Action::Move(Step::Down)));
        assert_eq!(action(key(KeyCode::Char('j')), true), Some(Action::Type('j')));
        assert_eq!(action(key(KeyCode::Char('q')), true), Some(Action::Type('q')));
        assert_eq!(action(key(KeyCode::Esc), true), Some(Action::Back));
    }

    #[test]
    fn control_c_quits_even_while_typing_and_releases_mean_nothing() {
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(action(control_c, true), Some(Action::Quit));
        let release = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(release, false), None);
    }
}

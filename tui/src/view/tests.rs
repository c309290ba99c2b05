//! Whole screens as text, at the smallest size we promise and at a large one.

use expect_test::expect_file;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use crate::conn::Failure;
use crate::fixtures::{fail, press, settle_empty, state};
use crate::state::State;
use crate::view::{Theme, draw};

const SIZES: [(u16, u16); 2] = [(80, 24), (200, 60)];

/// Draws what is seen after these keys, at both sizes, and compares it with `snapshots/<name>_<size>.txt`.
fn check(name: &str, keys: &str) {
    for (width, height) in SIZES {
        let mut state = state(width, height);
        press(&mut state, keys);
        compare(name, &state);
    }
}

fn compare(name: &str, state: &State) {
    let size = format!("{}x{}", state.width, state.height);
    let lines = text(&screen(state, Theme::new(None)));
    expect_file![format!("{}/src/view/snapshots/{name}_{size}.txt", env!("CARGO_MANIFEST_DIR"))].assert_eq(&lines);
}

fn screen(state: &State, theme: Theme) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(state.width, state.height)).expect("a terminal in memory");
    terminal.draw(|frame| draw(state, theme, frame.buffer_mut())).expect("a drawing");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let line = |y| {
        let cells: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        format!("{}\n", cells.trim_end())
    };
    (0..buffer.area.height).map(line).collect()
}

#[test]
fn services() {
    check("services", "j j");
}

#[test]
fn services_filtered_and_sorted() {
    check("services_filtered", "o o / c enter");
}

#[test]
fn latency() {
    check("latency", "2");
}

#[test]
fn latency_of_an_operation_at_a_moment() {
    check("latency_moment", "j j enter j h h h h h h");
}

#[test]
fn dependencies() {
    check("dependencies", "3 j j j j");
}

#[test]
fn traces() {
    check("traces", "j j enter enter j");
}

#[test]
fn waterfall() {
    check("waterfall", "4 enter j");
}

#[test]
fn waterfall_folded_with_an_error_in_the_details() {
    check("waterfall_error", "4 enter j j j h G k enter");
}

#[test]
fn help() {
    check("help", "?");
}

#[test]
fn the_sql_behind_a_screen() {
    check("sql", "3 s");
}

#[test]
fn an_empty_store_says_what_to_do() {
    let mut state = state(80, 24);
    settle_empty(&mut state);
    compare("nothing", &state);
}

#[test]
fn without_a_query_node_the_next_step_is_on_the_screen() {
    let failure = Failure {
        unreachable: true,
        what: "no query node at http://127.0.0.1:7317".to_owned(),
        next_step: "start `faultline query` or choose another with --query-url; trying again".to_owned(),
    };
    let mut state = state(80, 24);
    fail(&mut state, &failure);
    compare("no_connection", &state);
}

#[test]
fn every_screen_fits_every_size() {
    for (width, height) in [(1, 1), (20, 5), (40, 10), (60, 12), (79, 23), (110, 33), (141, 31), (300, 90)] {
        for keys in ["1", "2 h", "3", "4", "4 enter", "4 enter enter", "?", "s", "3 s"] {
            let mut state = state(width, height);
            press(&mut state, keys);
            screen(&state, Theme::new(None));
        }
    }
}

#[test]
fn no_color_means_none() {
    for keys in ["1", "2 h", "3", "4", "4 enter", "?", "3 s"] {
        let mut state = state(200, 60);
        press(&mut state, keys);
        let buffer = screen(&state, Theme::new(Some("1")));
        let coloured = buffer
            .content
            .iter()
            .filter(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset);
        assert_eq!(coloured.count(), 0, "after {keys}");
    }
}

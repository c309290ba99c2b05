//! What keys and answers do to the state, without a terminal, a socket or a clock.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::conn::{Answer, Failure};
use crate::fixtures::{NOW_NS, TRACE, fail, press, settle, settle_empty, state};
use crate::panel::Panel;
use crate::state::{Effect, Event, Link, Order, Overlay, Screen, State};

fn after(keys: &str) -> State {
    let mut state = state(80, 24);
    press(&mut state, keys);
    state
}

fn sql(state: &State, panel: Panel) -> String {
    let question = state.questions().into_iter().find(|question| question.panel == panel);
    question.expect("the panel is asked").sql
}

fn failure(unreachable: bool) -> Failure {
    Failure { unreachable, what: "it broke".to_owned(), next_step: "look".to_owned() }
}

#[test]
fn enter_drills_from_a_service_to_a_span_and_esc_comes_back() {
    let mut state = after("j j enter");
    assert_eq!((state.screen, state.service().as_str()), (Screen::Latency, "core"));
    press(&mut state, "j enter");
    assert_eq!(state.screen, Screen::Traces);
    assert_eq!((state.traces.service.as_str(), state.traces.operation.as_str()), ("core", "POST /v1/payments"));
    press(&mut state, "enter");
    assert_eq!((state.screen, state.waterfall.trace_id.as_str()), (Screen::Waterfall, TRACE));
    press(&mut state, "enter");
    assert!(state.waterfall.in_details);
    for screen in [Screen::Waterfall, Screen::Traces, Screen::Latency, Screen::Services, Screen::Services] {
        press(&mut state, "esc");
        assert_eq!(state.screen, screen);
    }
}

#[test]
fn a_moment_of_the_heatmap_opens_its_slowest_traces() {
    let mut state = after("j j enter h h");
    let column_ns = state.latency.column_ns.expect("a column");
    press(&mut state, "enter");
    assert_eq!(state.traces.order, Order::Slowest);
    assert_eq!(state.traces.between, Some((column_ns / 1_000_000, column_ns / 1_000_000 + 5_000)));
    assert!(sql(&state, Panel::Traces).contains(&format!("to_timestamp_millis({})", column_ns / 1_000_000)));
    press(&mut state, "esc esc");
    assert_eq!((state.screen, state.latency.column_ns), (Screen::Latency, None));
}

#[test]
fn tabs_go_round_and_numbers_go_there() {
    assert_eq!(after("tab").screen, Screen::Latency);
    assert_eq!(after("tab tab tab tab").screen, Screen::Services);
    assert_eq!(after("3").screen, Screen::Dependencies);
    assert_eq!(after("4 enter tab").screen, Screen::Services);
}

#[test]
fn a_filter_narrows_the_list_and_esc_clears_it() {
    let mut state = after("/ j o b");
    assert!(state.typing);
    assert_eq!(state.services_listed().1, ["jobs"]);
    press(&mut state, "enter");
    assert_eq!((state.typing, state.filter()), (false, "job"));
    press(&mut state, "esc");
    assert_eq!(state.services_listed().1.len(), 5);
}

#[test]
fn sorting_keeps_the_selected_service() {
    let mut state = after("j j");
    assert_eq!(state.selected_service(), "core");
    press(&mut state, "o o");
    assert_eq!(state.services_listed().1[0], "jobs", "the most errors come first");
    assert_eq!(state.selected_service(), "core");
}

#[test]
fn the_window_is_in_the_sql_and_goes_round() {
    let mut state = after("");
    assert!(sql(&state, Panel::Services).contains("interval '300 seconds'"));
    press(&mut state, "t");
    assert!(sql(&state, Panel::Services).contains("interval '900 seconds'"));
    press(&mut state, "T T T");
    assert_eq!(state.window, Duration::from_secs(2_592_000));
}

#[test]
fn a_pause_asks_nothing_twice() {
    let mut state = after("space");
    assert!(state.questions().iter().all(|question| !question.live));
    press(&mut state, "space");
    assert!(state.questions().iter().all(|question| question.live));
}

#[test]
fn quitting_and_hurrying_are_left_to_the_loop() {
    let mut state = after("");
    assert_eq!(press(&mut state, "q"), Effect::Quit);
    assert_eq!(press(&mut state, "r"), Effect::Hurry);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.apply(Event::Key(control_c)), Effect::Quit);
}

#[test]
fn overlays_open_and_close_by_the_same_key() {
    assert_eq!(after("?").overlay, Some(Overlay::Help));
    assert_eq!(after("? ?").overlay, None);
    assert_eq!(after("? s j").overlay, Some(Overlay::Sql { scroll: 1 }));
    assert_eq!(after("s esc").overlay, None);
}

#[test]
fn an_answer_about_something_else_is_not_shown() {
    let mut state = after("j j enter");
    assert!(state.shown(Panel::Heatmap).is_some());
    press(&mut state, "esc j");
    let core_is_gone = state.latency.column_ns.is_none();
    state.screen = Screen::Latency;
    state.latency.look_at("jobs");
    assert!(core_is_gone && state.shown(Panel::Heatmap).is_none());
}

#[test]
fn a_failure_keeps_what_is_on_the_screen() {
    let mut state = after("");
    fail(&mut state, &failure(true));
    assert_eq!(state.link(), Link::Lost(&failure(true)));
    assert_eq!(state.services_listed().1.len(), 5);
    for question in state.questions() {
        state.apply(Event::Answered(Answer { question, at_ns: NOW_NS, result: Err(failure(false)) }));
    }
    assert_eq!(state.link(), Link::Refused(&failure(false)));
    settle_empty(&mut state);
    assert_eq!(state.link(), Link::Live);
}

#[test]
fn folding_hides_what_is_below_and_unfolding_steps_in() {
    let mut state = after("4 enter");
    let all = state.spans_listed().0.len();
    press(&mut state, "j h");
    assert_eq!(state.spans_listed().0.len(), 2, "the root and what was folded");
    press(&mut state, "l");
    assert_eq!(state.spans_listed().0.len(), all);
    press(&mut state, "l h");
    assert_eq!(state.spans_listed().2, 1, "a leaf goes to its parent");
}

#[test]
fn a_trace_that_is_opened_again_is_there_at_once() {
    let mut state = after("4 enter esc");
    let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
    state.apply(Event::Key(enter));
    assert_eq!(state.spans_listed().0.len(), 13);
}

#[test]
fn the_trees_story_runs_through_the_message() {
    let state = after("4 enter");
    let tree = &state.waterfall.tree;
    assert_eq!(tree.services, ["load", "core", "acquirer", "analytics", "jobs", "receiver", "mailer"]);
    assert_eq!(tree.nodes.iter().filter(|node| node.is_linked).count(), 3);
    assert_eq!(
        tree.nodes.iter().filter(|node| node.parent.is_none()).count(),
        1,
        "the other trace hangs under its producer"
    );
    assert_eq!((tree.errors, tree.duration_ns), (2, 73e6));
}

#[test]
fn a_filter_in_a_trace_keeps_the_way_to_the_match() {
    let state = after("4 enter / w e b h");
    let (visible, keys, _) = state.spans_listed();
    assert_eq!(keys, ["a1", "a2", "b1", "b2", "b4", "b5"]);
    assert_eq!(visible.len(), 6);
}

#[test]
fn a_whole_trace_id_as_filter_opens_that_trace() {
    let id = "ffffffffffffffffffffffffffffffff";
    let mut state = after("4 /");
    for letter in id.chars() {
        press(&mut state, &letter.to_string());
    }
    press(&mut state, "enter enter");
    assert_eq!((state.screen, state.waterfall.trace_id.as_str()), (Screen::Waterfall, id));
    assert!(!sql(&state, Panel::Trace).contains("to_timestamp_millis(0)"), "its time is known from its spans");
}

#[test]
fn h_and_l_walk_along_the_arrows() {
    let selected = |state: &State| {
        let (edges, selected) = state.edges_listed();
        format!("{}>{}", edges[selected].source, edges[selected].target)
    };
    let mut state = after("3 G");
    assert_eq!(selected(&state), "load>core");
    press(&mut state, "l");
    assert_eq!(selected(&state), "core>acquirer");
    press(&mut state, "h");
    assert_eq!(selected(&state), "load>core");
}

#[test]
fn a_resize_changes_the_steps_that_are_asked() {
    let mut state = after("2");
    assert!(sql(&state, Panel::Heatmap).contains("interval '5 seconds'"));
    state.apply(Event::Resized { width: 200, height: 60 });
    settle(&mut state);
    assert!(sql(&state, Panel::Heatmap).contains("interval '2 seconds'"));
}

//! The command line as it is typed.

use std::process::{Command, Output};

fn faultline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_faultline"))
        .args(arguments)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the binary starts")
}

fn stdout(arguments: &[&str]) -> String {
    let output = faultline(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn stderr(arguments: &[&str]) -> String {
    let output = faultline(arguments);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn help_names_every_verb() {
    let help = stdout(&["--help"]);
    let verbs =
        ["up", "collector", "query", "tui", "sql", "trace", "export", "bench", "experiment", "product", "config"];
    for verb in verbs {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} in:\n{help}");
    }
}

#[test]
fn the_short_help_of_up_is_one_screen_and_the_long_one_has_every_setting() {
    let short = stdout(&["up", "-h"]);
    assert!(short.lines().count() <= 40, "{short}");
    let long = stdout(&["up", "--help"]);
    for setting in ["--otlp-grpc", "--core-listen", "--query-listen", "--segment-age-max-ms", "--bootstrap-servers"] {
        assert!(long.contains(setting), "{setting} in:\n{long}");
    }
}

#[test]
fn an_offset_moves_every_default_address() {
    let help = stdout(&["--port-offset", "10000", "up", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("127.0.0.1:14317") && help.contains("127.0.0.1:17001"), "{help}");
    assert!(!help.contains("[default: 127.0.0.1:4317]"), "{help}");
}

#[test]
fn a_file_gives_defaults_and_a_flag_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faultline.toml");
    std::fs::write(&file, "[collector]\notlp-grpc = \"127.0.0.1:9999\"\n").expect("written");
    let file = file.display().to_string();
    let help = stdout(&["--config", &file, "collector", "--help"]);
    let unwrapped = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unwrapped.contains("[default: 127.0.0.1:9999]"), "{help}");
}

#[test]
fn a_misspelt_setting_or_a_missing_file_is_said_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faultline.toml");
    std::fs::write(&file, "otlp-grcp = \"127.0.0.1:9999\"\n").expect("written");
    let error = stderr(&["--config", &file.display().to_string(), "config"]);
    assert!(error.contains("otlp-grcp") && error.lines().count() == 1, "{error}");
    let error = stderr(&["--config", "/nowhere/faultline.toml", "config"]);
    assert!(error.contains("/nowhere/faultline.toml") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_query_node_that_is_not_there_is_said_with_the_next_step() {
    let error = stderr(&["sql", "--url", "http://127.0.0.1:1", "SELECT 1"]);
    assert!(error.contains("127.0.0.1:1"), "{error}");
}

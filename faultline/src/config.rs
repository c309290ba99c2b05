//! From the file, the environment and the command line to one `Command`. A flag wins over a variable, a variable over the file,
//! the file over the built-in default. The only place that reads the environment by hand.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};

/// The file read when neither `--config` nor `FAULTLINE_CONFIG` names one; it may be absent.
const FILE_DEFAULT: &str = "faultline.toml";

/// Settings of the process that decide how the others are read, so a file cannot hold them.
const NOT_IN_FILE: [&str; 3] = ["config", "help", "version"];

/// Tables that a part reads for itself, because their rules do not fit flags: the setting of that name gets this file's path.
const TABLES: [&str; 2] = ["processors", "tail-sampling"];

pub(crate) fn command_line() -> anyhow::Result<Command> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let file = File::find(&arguments)?;
    let mut command = Cli::command();
    file.check(&command)?;
    let offset = match early(&arguments, "port-offset", "FAULTLINE_PORT_OFFSET").or(file.value("port-offset")) {
        Some(text) => text.parse().with_context(|| format!("--port-offset wants a number of ports, not {text:?}"))?,
        None => 0,
    };
    command = with_defaults(command, &file, offset)?;
    parse(command, arguments)
}

fn parse(command: clap::Command, mut arguments: Vec<OsString>) -> anyhow::Result<Command> {
    let mut matches = command.clone().get_matches_from(&arguments);
    if matches.subcommand().is_none() {
        arguments.push("up".into());
        matches = command.get_matches_from(&arguments);
    }
    let cli = Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
    cli.command.context("a command was expected")
}

/// A value needed before everything else can be parsed.
fn early(arguments: &[OsString], flag: &str, variable: &str) -> Option<String> {
    let flag = format!("--{flag}");
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if *argument == flag {
            return arguments.next().map(Into::into);
        }
        if let Some(value) = argument.strip_prefix(&flag).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    std::env::var(variable).ok()
}

/// `faultline.toml`, flattened: sections group settings for the reader and have no meaning.
struct File {
    path: PathBuf,
    values: Vec<(String, String)>,
}

impl File {
    fn find(arguments: &[OsString]) -> anyhow::Result<File> {
        let named = early(arguments, "config", "FAULTLINE_CONFIG").map(PathBuf::from);
        let path = named.clone().unwrap_or_else(|| FILE_DEFAULT.into());
        if named.is_none() && !path.exists() {
            return Ok(File { path, values: Vec::new() });
        }
        File::read(&path)
    }

    fn read(path: &Path) -> anyhow::Result<File> {
        let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        let table: toml::Table =
            toml::from_str(&text).with_context(|| format!("{} is not valid TOML", path.display()))?;
        File::of(path, table)
    }

    fn of(path: &Path, mut table: toml::Table) -> anyhow::Result<File> {
        let mut values = Vec::new();
        for name in TABLES {
            if table.get(name).is_some_and(toml::Value::is_table) {
                table.remove(name);
                // Whole, as it is handed to processes that may work elsewhere.
                let path = std::path::absolute(path).context("could not tell the current folder")?;
                values.push((name.to_owned(), path.display().to_string()));
            }
        }
        flatten(&table, &mut values);
        Ok(File { path: path.to_owned(), values })
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// A misspelt setting must not be silently without effect.
    fn check(&self, command: &clap::Command) -> anyhow::Result<()> {
        let mut known = Vec::new();
        long_names(command, &mut known);
        for (key, _) in &self.values {
            if NOT_IN_FILE.contains(&key.as_str()) || !known.contains(key) {
                bail!(
                    "{} has a setting {key:?} that does not exist; `faultline config` lists them all",
                    self.path.display()
                );
            }
        }
        Ok(())
    }
}

fn flatten(table: &toml::Table, values: &mut Vec<(String, String)>) {
    for (key, value) in table {
        match value {
            toml::Value::Table(section) => flatten(section, values),
            toml::Value::String(text) => values.push((key.clone(), text.clone())),
            other => values.push((key.clone(), other.to_string())),
        }
    }
}

fn long_names(command: &clap::Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned));
    command.get_subcommands().for_each(|sub| long_names(sub, names));
}

/// The command with the file's values as defaults, and every default address moved by the offset.
fn with_defaults(command: clap::Command, file: &File, offset: u16) -> anyhow::Result<clap::Command> {
    let mut problem = None;
    let command = command.mut_args(|arg| {
        let default = arg.get_long().and_then(|long| file.value(long)).or_else(|| {
            let built_in = arg.get_default_values().first()?;
            Some(built_in.to_string_lossy().into_owned())
        });
        let Some(default) = default.filter(|_| arg.get_action().takes_values()) else { return arg };
        match moved(&default, offset) {
            Ok(default) => arg.default_value(default),
            Err(error) => {
                problem.get_or_insert(error);
                arg
            }
        }
    });
    if let Some(error) = problem {
        return Err(error);
    }
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().try_fold(command, |command, name| {
        let sub = command.find_subcommand(&name).expect("the name was just listed").clone();
        let sub = with_defaults(sub, file, offset)?;
        Ok(command.mut_subcommand(name, |_| sub))
    })
}

/// `127.0.0.1:4317` and `http://127.0.0.1:4317` with the offset added to the port; anything else as it is.
fn moved(value: &str, offset: u16) -> anyhow::Result<String> {
    if offset == 0 {
        return Ok(value.to_owned());
    }
    let address = value.strip_prefix("http://").unwrap_or(value);
    let Ok(address) = address.parse::<std::net::SocketAddr>() else { return Ok(value.to_owned()) };
    let port = address
        .port()
        .checked_add(offset)
        .with_context(|| format!("--port-offset {offset} moves {value} beyond port 65535"))?;
    Ok(value.replace(&format!(":{}", address.port()), &format!(":{port}")))
}

/// Every setting as a TOML document: a section per command, each setting with its help above and its default as the value.
pub(crate) fn document() -> String {
    let mut text = String::from(
        "# faultline.toml: every setting with its default. A flag wins over a variable, a variable over this file.\n",
    );
    section(&Cli::command(), "", &mut Vec::new(), &mut text);
    for table in [collector::PROCESSORS_EXAMPLE, collector::TAIL_SAMPLING_EXAMPLE] {
        text.push('\n');
        // Examples and not defaults: none of it is on.
        text.extend(table.lines().map(|line| match line.is_empty() || line.starts_with('#') {
            true => format!("{line}\n"),
            false => format!("# {line}\n"),
        }));
    }
    text
}

fn section(command: &clap::Command, path: &str, seen: &mut Vec<String>, text: &mut String) {
    let settings: Vec<_> = command
        .get_arguments()
        .filter(|arg| arg.get_action().takes_values() && arg.get_env().is_some())
        // `up` shows the parts' settings under headings; they are documented with their part.
        .filter(|arg| arg.get_help_heading().is_none())
        .filter_map(|arg| Some((arg.get_long()?, arg)))
        .filter(|(long, _)| !NOT_IN_FILE.contains(long) && !seen.iter().any(|known| known == long))
        .collect();
    if !settings.is_empty() && !path.is_empty() {
        text.push_str(&format!("\n[{path}]\n"));
    }
    for (long, arg) in settings {
        seen.push(long.to_owned());
        for line in arg.get_help().map(ToString::to_string).unwrap_or_default().lines() {
            text.push_str(&format!("# {line}\n"));
        }
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        match default {
            Some(value) if value.parse::<f64>().is_ok() || value == "true" || value == "false" => {
                text.push_str(&format!("{long} = {value}\n"));
            }
            Some(value) => text.push_str(&format!("{long} = {value:?}\n")),
            None => text.push_str(&format!("# {long} = \"\"\n")),
        }
    }
    for sub in command.get_subcommands() {
        let path = if path.is_empty() { sub.get_name().to_owned() } else { format!("{path}.{}", sub.get_name()) };
        section(sub, &path, seen, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_offset_moves_addresses_and_urls_and_nothing_else() {
        let check = |value: &str, expected: &str| assert_eq!(moved(value, 10_000).expect("in range"), expected);
        check("127.0.0.1:4317", "127.0.0.1:14317");
        check("http://127.0.0.1:7317", "http://127.0.0.1:17317");
        check("[::1]:4317", "[::1]:14317");
        check("./data", "./data");
        check("50", "50");
        assert!(moved("127.0.0.1:60000", 10_000).is_err());
    }

    #[test]
    fn the_document_of_all_settings_can_be_read_back() {
        let mut values = Vec::new();
        flatten(&toml::from_str(&document()).expect("valid TOML"), &mut values);
        let file = File { path: FILE_DEFAULT.into(), values };
        file.check(&Cli::command()).expect("only settings that exist");
        assert_eq!(file.value("data-dir").as_deref(), Some("./data"));
    }

    #[test]
    fn a_table_of_rules_names_its_file_as_their_setting() {
        let sampling = "[tail-sampling]\npolicies = [{ name = \"all\", keep = \"always\" }]";
        let file = File::of(Path::new("f.toml"), toml::from_str(sampling).expect("valid TOML")).expect("a folder");
        file.check(&Cli::command()).expect("only settings that exist");
        assert!(file.value("tail-sampling").is_some_and(|path| path.ends_with("/f.toml")));

        let table = "data-dir = \"d\"\n[processors]\n[[processors.filter]]\ndrop = { service = \"a\" }";
        let file = File::of(Path::new("f.toml"), toml::from_str(table).expect("valid TOML")).expect("a folder");
        file.check(&Cli::command()).expect("only settings that exist");
        let path = file.value("processors").expect("the path of the file");
        assert!(Path::new(&path).is_absolute() && path.ends_with("/f.toml"), "{path}");
        assert_eq!(file.value("data-dir").as_deref(), Some("d"));
        let command = with_defaults(Cli::command(), &file, 0).expect("no address moves");
        for line in [&["faultline", "collector"], &["faultline", "up"]] {
            let matches = command.clone().get_matches_from(line);
            let (_, of) = matches.subcommand().expect("there is one");
            assert_eq!(of.get_raw("processors").expect("it is set").collect::<Vec<_>>(), [path.as_str()], "{line:?}");
        }

        let elsewhere = toml::from_str("processors = \"p.toml\"").expect("valid TOML");
        let file = File::of(Path::new("f.toml"), elsewhere).expect("a folder");
        assert_eq!(file.value("processors").as_deref(), Some("p.toml"), "a file of their own is a setting like others");
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let file = File { path: "f.toml".into(), values: vec![("data-dri".into(), "x".into())] };
        let error = file.check(&Cli::command()).expect_err("it does not exist");
        assert!(error.to_string().contains("data-dri"), "{error}");
    }
}

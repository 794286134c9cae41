//! File, environment and flags laid over one another, in that order; the last one wins.
//!
//! An environment variable `SALLYPORT_GATEWAY__LISTEN` and a flag `--set gateway.listen=…` both set `gateway.listen`.
//! Their values are text; the reader turns text into whatever type the setting has.

use toml::{Table, Value};

use super::reader::Problems;

/// Prefix of environment variables that set something. Those of the client program (`SALLYPORT_TOKEN_FILE`, …) have no
/// double underscore and are not ours.
const PREFIX: &str = "SALLYPORT_";

/// The process's environment, as far as it is text: what is not cannot be a setting, and is nobody's reason to stop.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Lays the environment's settings over `table`.
pub(super) fn overlay_environment(
    table: &mut Table,
    environment: impl Iterator<Item = (String, String)>,
    problems: &mut Problems,
) {
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else { continue };
        let path = path.to_ascii_lowercase().replace("__", ".");
        insert(table, &path, value, &format!("environment variable {name}"), problems);
    }
}

/// Lays `--set key=value` flags over `table`.
pub(super) fn overlay_flags(table: &mut Table, flags: &[String], problems: &mut Problems) {
    for flag in flags {
        match flag.split_once('=') {
            Some((path, value)) => {
                insert(table, path.trim(), value.to_owned(), &format!("flag --set {path}"), problems);
            }
            None => problems.add("--set", format!("`{flag}` is not of the form key=value")),
        }
    }
}

fn insert(table: &mut Table, path: &str, value: String, source: &str, problems: &mut Problems) {
    let Some((section, name)) = path.split_once('.') else {
        problems.add(path, format!("{source} names no section; write section.key"));
        return;
    };
    let section_value = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    match section_value.as_table_mut() {
        Some(section) => {
            section.insert(name.to_owned(), Value::String(value));
        }
        None => problems.add(section, format!("{source} needs this to be a section")),
    }
}

//! `sallyport log-level`: what the gateway logs, seen and changed while it runs.

use clap::Args;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;

/// Show what the gateway logs, or change it while it runs
#[derive(Debug, Args)]
pub(super) struct LogLevel {
    /// error, warn, info, debug, trace, or a filter such as `info,sallyport::edge=debug`; shown if it is not given
    pub level: Option<String>,
    /// For so many minutes; until the next start, if it is not given
    #[arg(long, requires = "level", value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: Option<u32>,
}

/// Runs `sallyport log-level`.
pub(super) async fn run(connection: &Connection, command: &LogLevel) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let answer: Value = match &command.level {
        None => api.get("/api/v1/log-level").await?,
        Some(level) => {
            let order = json!({ "level": level, "minutes": command.minutes });
            api.post("/api/v1/log-level", &order).await?
        }
    };
    if connection.json {
        return print_json(&answer);
    }
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let until = if text("until").is_empty() { String::new() } else { format!(" until {}", text("until")) };
    say(format_args!("{}{until}; the configuration says {}", text("level"), text("usual")));
    Ok(())
}

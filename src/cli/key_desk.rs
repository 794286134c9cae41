//! `sallyport keys …`: an admin's way to the keys of a gateway that serves.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::failure::Failure;
use super::keys::What;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;
use super::table::{moment, table};

/// The gateway's keys
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List the keys: role, algorithm, home, what the token attests, age, last use, when due
    List,
    /// Replace keys while the gateway serves; the old ones are destroyed
    Rotate {
        /// Which
        what: What,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        /// token-signing: end all tokens that the old key signed, at once, yours too
        #[arg(long)]
        now: bool,
    },
}

/// Runs `sallyport keys …`.
pub(super) async fn run(connection: &Connection, command: &Keys) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Keys::List => {
            let keys: Vec<Value> = api.list("/api/v1/keys").await?;
            if connection.json {
                return print_json(&keys);
            }
            list(&keys);
            Ok(())
        }
        Keys::Rotate { what, reason, now } => {
            let path = format!("/api/v1/keys/{}/rotate", what.rotated().name());
            let answer: Value = api.post(&path, &json!({ "reason": reason, "now": now })).await?;
            if connection.json {
                return print_json(&answer);
            }
            let steps = answer.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for step in steps.iter().filter_map(Value::as_str) {
                say(format_args!("{step}"));
            }
            Ok(())
        }
    }
}

fn list(keys: &[Value]) {
    let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
    let time = |key: &Value, name: &str, unknown: &str| {
        text(key, name).map_or_else(|| unknown.to_owned(), |time| moment(&time))
    };
    let rows = keys.iter().map(|key| {
        vec![
            text(key, "role").unwrap_or_default(),
            text(key, "algorithm").unwrap_or_default(),
            home(key.get("home").unwrap_or(&Value::Null)),
            attested(key.get("attestation").unwrap_or(&Value::Null)),
            time(key, "created", "not known"),
            time(key, "last_used", "not since the start"),
            time(key, "due", "-"),
        ]
    });
    say(table(&["ROLE", "ALGORITHM", "LIVES IN", "ATTESTED BY THE TOKEN", "MADE", "LAST USED", "DUE"], rows));
    for warning in keys.iter().filter_map(|key| text(key, "warning")) {
        say(format_args!("WARNING: {warning}"));
    }
}

fn home(home: &Value) -> String {
    let text = |name: &str| home.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("kind") {
        "token" => format!("token {} (serial {})", text("label"), text("serial")),
        "wrapped-by-token" => "file, wrapped by a key in the token".to_owned(),
        "software" => "SOFTWARE, sealed file (no token)".to_owned(),
        other => other.to_owned(),
    }
}

fn attested(said: &Value) -> String {
    let Value::Object(said) = said else { return "-".to_owned() };
    let words = said.iter().map(|(name, value)| match value.as_bool() {
        Some(true) => name.to_uppercase(),
        Some(false) => format!("not {}", name.to_uppercase()),
        None => format!("{}?", name.to_uppercase()),
    });
    words.collect::<Vec<_>>().join(", ")
}

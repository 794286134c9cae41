//! `sallyport tunnels`, `sallyport whoami`, `sallyport status`: what there is.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// See published tunnels, describe one, or take one away
#[derive(Debug, Args)]
pub(super) struct Tunnels {
    #[command(subcommand)]
    command: Option<Deed>,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Write the words that describe a tunnel
    Describe {
        /// Its name
        name: String,
        /// One line
        description: String,
    },
    /// End a tunnel, its sessions, its shares and the grants for it; its publisher is told to go (to keep it away, lock the tunnel)
    Delete {
        /// Its name
        name: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Tunnel {
    name: String,
    kind: String,
    state: String,
    owner: String,
    since: String,
    #[serde(default)]
    transport: String,
    #[serde(default)]
    connections: usize,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport tunnels …`.
pub(super) async fn run(connection: &Connection, tunnels: &Tunnels) -> Result<(), Failure> {
    let (name, reason) = match &tunnels.command {
        None => return list(connection).await,
        Some(Deed::Describe { name, description }) => return describe(connection, name, description).await,
        Some(Deed::Delete { name, reason }) => (name, reason),
    };
    let profile = connection.profile()?;
    let path = format!("/api/v1/tunnels/{}/delete", segment(name)?);
    let answer: Value = Api::new(&profile).post(&path, &json!({ "reason": reason })).await?;
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!("{name}: deleted; its sessions are cut"));
    Ok(())
}

async fn describe(connection: &Connection, name: &str, description: &str) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let path = format!("/api/v1/tunnels/{}/describe", segment(name)?);
    let answer: Value = Api::new(&profile).post(&path, &json!({ "description": description })).await?;
    if connection.json {
        return print_json(&answer);
    }
    say(format_args!("{name}: {description}"));
    Ok(())
}

async fn list(connection: &Connection) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let tunnels: Vec<Tunnel> = Api::new(&profile).list("/api/v1/tunnels").await?;
    if connection.json {
        return print_json(&tunnels);
    }
    if tunnels.is_empty() {
        say(format_args!("no tunnels are published"));
        return Ok(());
    }
    let rows = tunnels.iter().map(|tunnel| {
        vec![
            tunnel.name.clone(),
            tunnel.kind.clone(),
            tunnel.state.clone(),
            tunnel.owner.clone(),
            moment(&tunnel.since),
            over(tunnel),
            tunnel.description.clone().unwrap_or_default(),
        ]
    });
    say(format_args!("{}", table(&["NAME", "KIND", "STATE", "OWNER", "SINCE", "OVER", "WHAT IT IS"], rows)));
    Ok(())
}

/// What carries a tunnel, and how often if more than once.
fn over(tunnel: &Tunnel) -> String {
    match tunnel.connections {
        0 | 1 => tunnel.transport.clone(),
        several => format!("{} ×{several}", tunnel.transport),
    }
}

/// Runs `sallyport status` and `sallyport whoami`: a document, printed as it comes.
pub(super) async fn document(connection: &Connection, path: &str) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let value: Value = Api::new(&profile).get(path).await?;
    if connection.json {
        return print_json(&value);
    }
    print_fields("", &value);
    Ok(())
}

/// Prints a document as lines `path: value`.
pub(super) fn print_fields(prefix: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                print_fields(&path, value);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                print_fields(&format!("{prefix}[{index}]"), item);
            }
        }
        Value::String(text) => say(format_args!("{prefix}: {text}")),
        other => say(format_args!("{prefix}: {other}")),
    }
}

//! `sallyport request`, `sallyport requests`: asking for leave, and giving it.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::Connection;
use super::table::{moment, table};

/// Ask for leave to use a tunnel
#[derive(Debug, Args)]
pub(super) struct Ask {
    /// Name of the tunnel
    pub tunnel: String,
    /// Why you need it; the approver reads this
    #[arg(long)]
    pub reason: String,
    /// For how long, in minutes
    #[arg(long, default_value_t = 60)]
    pub minutes: u32,
    /// Id of the ticket that it belongs to, where the workflow wants one
    #[arg(long)]
    pub ticket: Option<String>,
    /// Id of a grant of yours that this one is to take the place of, grant-…
    #[arg(long, value_name = "GRANT")]
    pub renew: Option<String>,
    /// For one session and no other
    #[arg(long)]
    pub once: bool,
    /// Wait until somebody has decided
    #[arg(long)]
    pub wait: bool,
}

/// See and decide requests
#[derive(Debug, Subcommand)]
pub(super) enum Requests {
    /// Show requests, newest last
    List {
        /// Only those that wait for a decision
        #[arg(long)]
        pending: bool,
    },
    /// Show one request: what it waits for, and who can decide on it
    Show {
        /// Id, req-…
        id: String,
    },
    /// Approve a request
    Approve {
        /// Id, req-…
        id: String,
        /// For how long, in minutes; at most what was asked for
        #[arg(long)]
        minutes: Option<u32>,
        /// Only while this condition of the policy holds (`!` before it: while it doesn't); can be given again
        #[arg(long = "only-if", value_name = "CONDITION")]
        conditions: Vec<String>,
        /// For one session and no other
        #[arg(long)]
        once: bool,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Deny a request
    Deny {
        /// Id, req-…
        id: String,
        /// Why; the requester reads this
        #[arg(long)]
        reason: String,
    },
    /// Take back a request of your own
    Withdraw {
        /// Id, req-…
        id: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    id: String,
    subject: String,
    object: String,
    state: String,
    reason: String,
    minutes: u32,
    asked: String,
    #[serde(default)]
    grant: Option<String>,
    /// Who can decide on it now.
    #[serde(default)]
    eligible: Vec<String>,
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
}

/// Runs `sallyport request`.
pub(super) async fn ask(connection: &Connection, ask: &Ask) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let body = json!({
        "tunnel": ask.tunnel,
        "reason": ask.reason,
        "minutes": ask.minutes,
        "ticket": ask.ticket,
        "renews": ask.renew,
        "once": ask.once,
    });
    let mut request: Request = api.post("/api/v1/requests", &body).await?;
    if !connection.json {
        say(format_args!("asked: {} for {} ({} min)", request.id, request.object, request.minutes));
    }
    if ask.wait {
        request = wait(&api, request).await?;
    }
    if connection.json {
        print_json(&request)?;
    } else if ask.wait {
        say(format_args!("{}: {}", request.id, request.state));
    } else {
        say(format_args!("an approver decides with: sallyport requests approve {}", request.id));
    }
    match request.state.as_str() {
        "rejected" | "withdrawn" | "expired" | "lapsed" => Err(Failure::new(
            ExitCode::Refused,
            format!("{} was {}", request.id, request.state),
            "ask the approvers why, or ask again with a better reason",
        )),
        _ => Ok(()),
    }
}

async fn wait(api: &Api<'_>, mut request: Request) -> Result<Request, Failure> {
    while request.state == "pending" {
        tokio::time::sleep(Duration::from_secs(1)).await;
        request = api.get(&format!("/api/v1/requests/{}", request.id)).await?;
    }
    Ok(request)
}

/// Runs `sallyport requests …`.
pub(super) async fn run(connection: &Connection, command: &Requests) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let decided: Request = match command {
        Requests::List { pending } => {
            let query = if *pending { "?state=pending" } else { "" };
            let requests: Vec<Request> = api.list(&format!("/api/v1/requests{query}")).await?;
            return list(connection, &requests);
        }
        Requests::Show { id } => {
            let request: Value = api.get(&format!("/api/v1/requests/{}", segment(id)?)).await?;
            if connection.json {
                return print_json(&request);
            }
            super::tunnels::print_fields("", &request);
            return Ok(());
        }
        Requests::Approve { id, minutes, conditions, once, reason } => {
            let body =
                json!({ "minutes": minutes, "conditions": conditions, "once": once, "reason": reason });
            api.post(&format!("/api/v1/requests/{}/approve", segment(id)?), &body).await?
        }
        Requests::Deny { id, reason } => {
            api.post(&format!("/api/v1/requests/{}/deny", segment(id)?), &json!({ "reason": reason })).await?
        }
        Requests::Withdraw { id } => {
            api.post(&format!("/api/v1/requests/{}/withdraw", segment(id)?), &json!({})).await?
        }
    };
    if connection.json {
        print_json(&decided)
    } else {
        let grant = decided.grant.as_deref().map(|grant| format!(", {grant}")).unwrap_or_default();
        say(format_args!("{}: {}{grant}", decided.id, decided.state));
        Ok(())
    }
}

fn list(connection: &Connection, requests: &[Request]) -> Result<(), Failure> {
    if connection.json {
        return print_json(&requests);
    }
    if requests.is_empty() {
        say(format_args!("no requests"));
        return Ok(());
    }
    let rows = requests.iter().map(|request| {
        vec![
            request.id.clone(),
            request.state.clone(),
            request.subject.clone(),
            request.object.clone(),
            format!("{} min", request.minutes),
            moment(&request.asked),
            deciders(&request.eligible),
            request.reason.clone(),
        ]
    });
    say(format_args!("{}", table(&["ID", "STATE", "WHO", "WHAT", "FOR", "ASKED", "DECIDERS", "WHY"], rows)));
    Ok(())
}

/// Who can decide, as far as a column has room.
fn deciders(people: &[String]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<&str> = people.iter().take(SHOWN).map(|name| name.trim_start_matches("user:")).collect();
    match people.len().saturating_sub(SHOWN) {
        0 if people.is_empty() => "-".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// An id that may stand in a path; whatever else was typed is refused here, not sent.
pub(super) fn segment(id: &str) -> Result<&str, Failure> {
    if !id.is_empty()
        && id.len() <= 128
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        Ok(id)
    } else {
        Err(Failure::new(ExitCode::Usage, format!("`{id}` is not an id"), "copy it from the list"))
    }
}

/// Prints a value as one JSON document.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(ExitCode::Failed, format!("cannot print the answer: {error}"), ""))?;
    say(format_args!("{text}"));
    Ok(())
}

//! `sallyport tokens`: making and revoking the tokens by which people and publishers are known.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::init::write_secret;
use super::out::say;
use super::profile::Connection;
use super::requests::print_json;
use super::revocable::{list, revoke};
use super::table::moment;

/// Make, list and revoke tokens
#[derive(Debug, Subcommand)]
pub(super) enum Tokens {
    /// Make a token for somebody
    Issue {
        /// Whose token, user:NAME
        #[arg(long)]
        subject: String,
        /// How long it is valid, in hours
        #[arg(long)]
        hours: Option<u32>,
        /// Narrow it to a tunnel (tunnel:NAME, one `*` allowed) or an action (connect, publish, …); may be repeated
        #[arg(long, value_name = "WHAT")]
        only: Vec<String>,
        /// File to write it to (mode 0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a token by which somebody enrolls one device, once
    Join {
        /// Whose device, user:NAME
        #[arg(long)]
        subject: String,
        /// How long it can be used, in hours
        #[arg(long, default_value_t = 24)]
        hours: u32,
        /// File to write it to (mode 0600)
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show tokens that were issued
    List,
    /// Revoke a token; what stands on it is cut
    Revoke {
        /// Id, tok-…
        id: String,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
        /// It is of another issuer; records call it by this id
        #[arg(long)]
        outside: bool,
    },
}

#[derive(Debug, Deserialize)]
struct Issued {
    id: String,
    token: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Token {
    id: String,
    subject: String,
    state: String,
    expires: String,
    #[serde(default)]
    scope: Vec<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

const PATH: &str = "/api/v1/tokens";

/// Runs `sallyport tokens …`.
pub(super) async fn run(connection: &Connection, command: &Tokens) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    match command {
        Tokens::Issue { subject, hours, only, out } => {
            let body = json!({ "subject": subject, "hours": hours, "scope": only });
            let issued: Issued = api.post(PATH, &body).await?;
            keep(connection, &issued, subject, out)
        }
        Tokens::Join { subject, hours, out } => {
            let issued: Issued =
                api.post("/api/v1/tokens/join", &json!({ "subject": subject, "hours": hours })).await?;
            keep(connection, &issued, subject, out)
        }
        Tokens::List => {
            let row = |token: &Token| {
                let scope = if token.scope.is_empty() { "all".to_owned() } else { token.scope.join(" ") };
                vec![
                    token.id.clone(),
                    token.state.clone(),
                    token.subject.clone(),
                    moment(&token.expires),
                    scope,
                ]
            };
            list(connection, PATH, &["ID", "STATE", "WHOSE", "UNTIL", "COVERS"], row).await
        }
        Tokens::Revoke { id, reason, outside } => {
            revoke(connection, PATH, id, &json!({ "reason": reason, "outside": outside })).await
        }
    }
}

/// Writes a token that was made to its file, for nobody else to read.
fn keep(connection: &Connection, issued: &Issued, subject: &str, out: &Path) -> Result<(), Failure> {
    write_secret(out, issued.token.as_bytes()).map_err(|error| {
        Failure::new(
            ExitCode::Failed,
            format!("cannot write {}: {error}", out.display()),
            format!("the token was made and is lost: revoke it with `sallyport tokens revoke {}`", issued.id),
        )
    })?;
    if connection.json {
        return print_json(&json!({ "id": issued.id, "file": out }));
    }
    say(format_args!("{} for {subject} is in {}", issued.id, out.display()));
    Ok(())
}

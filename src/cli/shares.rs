//! `sallyport share`, `unshare`, `accept`, `shares`, `activity`: a role on one tunnel for another person.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::{Api, PAGE, Page};
use super::failure::Failure;
use super::log::line;
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};

/// Offer a person a role on a tunnel; it counts once they have accepted it
#[derive(Debug, Args)]
pub(super) struct Offer {
    /// Name of the tunnel
    pub tunnel: String,
    /// The word `with`
    #[arg(value_parser = ["with"], value_name = "with")]
    pub with: String,
    /// Who, such as user:bob
    pub who: String,
    /// What they are to be on it
    #[arg(long, value_parser = ["owner", "admin", "editor", "viewer"], default_value = "viewer")]
    pub role: String,
    /// Until when, such as 2027-01-31T18:00:00Z; without it, until it is taken back
    #[arg(long)]
    pub until: Option<String>,
}

/// End a share or its offer: taken back, declined or given back; open sessions that rest on it are cut
#[derive(Debug, Args)]
pub(super) struct Unshare {
    /// Id, share-…
    pub id: String,
    /// Why; it is recorded
    #[arg(long)]
    pub reason: Option<String>,
}

/// Accept a role on a tunnel that you were offered
#[derive(Debug, Args)]
pub(super) struct Accept {
    /// Id, share-…
    pub id: String,
}

/// Show with whom a tunnel is shared, or all shares that you may see
#[derive(Debug, Args)]
pub(super) struct Shares {
    /// Name of the tunnel
    pub tunnel: Option<String>,
    /// Also those that have ended
    #[arg(long)]
    pub all: bool,
}

/// Show what happened on a tunnel, newest first
#[derive(Debug, Args)]
pub(super) struct Activity {
    /// Name of the tunnel
    pub tunnel: String,
    /// How many records at most
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Share {
    id: String,
    state: String,
    object: String,
    who: String,
    role: String,
    by: Option<String>,
    accept_by: String,
    until: Option<String>,
    backed: bool,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport share`.
pub(super) async fn offer(connection: &Connection, offer: &Offer) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let body = json!({ "tunnel": offer.tunnel, "who": offer.who, "role": offer.role, "until": offer.until });
    let share: Share = Api::new(&profile).post("/api/v1/shares", &body).await?;
    if connection.json {
        return print_json(&share);
    }
    say(format_args!("offered: {} ({} on {})", share.id, share.role, share.object));
    say(format_args!("{} accepts it with: sallyport accept {}", share.who, share.id));
    Ok(())
}

/// Runs `sallyport accept`.
pub(super) async fn accept(connection: &Connection, accept: &Accept) -> Result<(), Failure> {
    let path = format!("/api/v1/shares/{}/accept", segment(&accept.id)?);
    changed(connection, &path, &json!({})).await
}

/// Runs `sallyport unshare`.
pub(super) async fn unshare(connection: &Connection, unshare: &Unshare) -> Result<(), Failure> {
    let path = format!("/api/v1/shares/{}/end", segment(&unshare.id)?);
    changed(connection, &path, &json!({ "reason": unshare.reason })).await
}

async fn changed(connection: &Connection, path: &str, body: &Value) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let share: Value = Api::new(&profile).post(path, body).await?;
    if connection.json {
        return print_json(&share);
    }
    let text = |name: &str| share.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    say(format_args!("{}: {}", text("id"), text("state")));
    Ok(())
}

/// Runs `sallyport shares`.
pub(super) async fn list(connection: &Connection, shares: &Shares) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let mut query = format!("?all={}", shares.all);
    if let Some(tunnel) = &shares.tunnel {
        query.push_str(&format!("&tunnel={}", segment(tunnel)?));
    }
    let found: Vec<Share> = Api::new(&profile).list(&format!("/api/v1/shares{query}")).await?;
    if connection.json {
        return print_json(&found);
    }
    if found.is_empty() {
        say(format_args!("no shares that you may see"));
        return Ok(());
    }
    let rows = found.iter().map(|share| {
        // Whoever gave it may have lost what it gives.
        let state =
            if share.state == "active" && !share.backed { "active, without effect" } else { &share.state };
        let end = if share.state == "offered" { Some(&share.accept_by) } else { share.until.as_ref() };
        vec![
            share.id.clone(),
            state.to_owned(),
            share.object.clone(),
            share.who.clone(),
            share.role.clone(),
            share.by.clone().unwrap_or_else(|| "operator".to_owned()),
            end.map_or_else(|| "-".to_owned(), |end| moment(end)),
        ]
    });
    say(format_args!("{}", table(&["ID", "STATE", "WHAT", "WHO", "ROLE", "BY", "UNTIL"], rows)));
    Ok(())
}

/// Runs `sallyport activity`.
pub(super) async fn activity(connection: &Connection, activity: &Activity) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let path = format!(
        "/api/v1/tunnels/{}/activity?limit={}",
        segment(&activity.tunnel)?,
        activity.limit.clamp(1, PAGE)
    );
    let Page { items, next }: Page<Value> = Api::new(&profile).get(&path).await?;
    if connection.json {
        return print_json(&json!({ "records": items, "cursor": next }));
    }
    for record in &items {
        say(format_args!("{}", line(record)));
    }
    Ok(())
}

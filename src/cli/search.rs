//! `sallyport search`: finds records through the gateway, by who did it, too.
//!
//! `auditctl search` finds the same records offline, by all but people: in the ledger those are sealed.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::api::{Api, PAGE, Page};
use super::failure::{ExitCode, Failure};
use super::log::line;
use super::out::say;
use super::profile::Connection;

/// Find records of the ledger, by who did it, too; each search is itself recorded
#[derive(Debug, Args, Serialize)]
pub(super) struct Search {
    /// Who did it, such as user:alice
    #[arg(long)]
    subject: Option<String>,
    /// To whom it was done
    #[arg(long)]
    target: Option<String>,
    /// A kind, such as session.opened, or a family of kinds, such as session
    #[arg(long)]
    kind: Option<String>,
    /// success, denied or failure
    #[arg(long)]
    result: Option<String>,
    /// What was done, such as connect
    #[arg(long)]
    action: Option<String>,
    /// To what it was done, such as tunnel:demo
    #[arg(long)]
    object: Option<String>,
    /// In which session
    #[arg(long)]
    session: Option<String>,
    /// Under which grant
    #[arg(long)]
    grant: Option<String>,
    /// With which correlation id
    #[arg(long)]
    correlation: Option<String>,
    /// A text that stands somewhere in the record
    #[arg(long)]
    text: Option<String>,
    /// First sequence number
    #[arg(long)]
    from: Option<u64>,
    /// Last sequence number
    #[arg(long)]
    to: Option<u64>,
    /// From this day or instant on, in UTC
    #[arg(long)]
    from_time: Option<String>,
    /// Up to this day, included, or before this instant, in UTC
    #[arg(long)]
    to_time: Option<String>,
    /// Show the oldest first; usually the newest come first
    #[arg(long)]
    #[serde(skip)]
    oldest: bool,
    /// Show at most so many
    #[arg(long, default_value_t = 100)]
    #[serde(skip)]
    limit: usize,
}

/// Runs `sallyport search`.
pub(super) async fn run(connection: &Connection, search: &Search) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let asked = serde_urlencoded::to_string(search)
        .map_err(|error| Failure::new(ExitCode::Usage, format!("cannot ask for this: {error}"), ""))?;
    let order = if search.oldest { "oldest" } else { "newest" };
    let (mut left, mut cursor) = (search.limit, String::new());
    while left > 0 {
        let limit = left.min(PAGE);
        let path = format!("/api/v1/audit/records?order={order}&limit={limit}{cursor}&{asked}");
        let page: Page<Value> = api.get(path.trim_end_matches('&')).await?;
        left = left.saturating_sub(page.items.len());
        for record in &page.items {
            say(if connection.json { record.to_string() } else { line(record) });
        }
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(())
}

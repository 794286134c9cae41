//! `sallyport log`: the gateway's records with their personal values, for those who may audit.
//!
//! `auditctl log` shows the same records offline, with commitments in place of personal values.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::api::{Api, PAGE, Page};
use super::failure::Failure;
use super::out::say;
use super::profile::Connection;

/// Show records of the ledger, with who and whence
#[derive(Debug, Args)]
pub(super) struct Log {
    /// First sequence number; by default the last 20 records are shown
    #[arg(long)]
    pub from: Option<u64>,
    /// Only records of this kind, such as session.opened
    #[arg(long)]
    pub kind: Option<String>,
    /// Go on showing records as they come
    #[arg(long, short)]
    pub follow: bool,
}

/// Runs `sallyport log`.
pub(super) async fn run(connection: &Connection, log: &Log) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let mut next = match log.from {
        Some(from) => from,
        None => {
            let status: Value = api.get("/api/v1/status").await?;
            let size = status.pointer("/ledger/records").and_then(Value::as_u64).unwrap_or(0);
            size.saturating_sub(20)
        }
    };
    loop {
        let page: Page<Value> = api.get(&format!("/api/v1/records?from={next}&limit={PAGE}")).await?;
        let records = page.items;
        next = onward(next, &records);
        let wanted = |record: &&Value| match &log.kind {
            Some(kind) => record.get("kind").and_then(Value::as_str) == Some(kind),
            None => true,
        };
        for record in records.iter().filter(wanted) {
            say(if connection.json { record.to_string() } else { line(record) });
        }
        if page.next.is_none() {
            if !log.follow {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Where to go on: behind the last record. Of a pruned ledger, numbers are away.
fn onward(from: u64, records: &[Value]) -> u64 {
    records.last().and_then(|last| last.get("seq")).and_then(Value::as_u64).map_or(from, |last| last + 1)
}

pub(super) fn line(record: &Value) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!(
        "{:>6}  {}  {:<20} {:<8}",
        record.get("seq").map(Value::to_string).unwrap_or_default(),
        text("time"),
        text("kind"),
        text("result"),
    );
    for name in ["object", "session", "grant"] {
        if !text(name).is_empty() {
            line.push_str(&format!(" {}", text(name)));
        }
    }
    for part in ["values", "details"] {
        if let Some(fields) = record.get(part).and_then(Value::as_object) {
            for (name, value) in fields {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line.push_str(&format!(" {name}={value}"));
            }
        }
    }
    for field in record.get("erased").and_then(Value::as_array).into_iter().flatten() {
        line.push_str(&format!(" {}=(erased)", field.as_str().unwrap_or_default()));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_goes_on_behind_the_last_record_and_shows_none_twice_where_some_were_pruned() {
        let page = [json!({ "seq": 0 }), json!({ "seq": 10 }), json!({ "seq": 20 })];
        assert_eq!(onward(0, &page), 21);
        assert_eq!(onward(21, &[]), 21, "none yet: asked for again");
    }
}

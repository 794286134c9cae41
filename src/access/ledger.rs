//! The audit ledger as the log of access.

use std::net::{IpAddr, SocketAddr};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sallyport_audit::Reader;
use sallyport_audit::{Entry, Ledger, Personal, Seq, Value as Known};
use serde_json::Value;

use super::fact::{Fact, Stamp};
use super::log::{LogError, RecordLog};
use super::names::Subject;
use super::policy::Policy;
use super::record::{Parts, draft_of, fact_of, tells};
use super::replay::{Decided, Replay, Report};

/// Records read at a time while replaying: a few megabytes at most.
const BATCH: usize = 1024;

impl RecordLog for Ledger {
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        async move {
            let receipt = Self::append(self, draft_of(&fact)).await;
            let receipt = receipt.map_err(|error| LogError(format!("didn't take the record: {error}")))?;
            Ok(Stamp { seq: receipt.seq.get(), time: receipt.time })
        }
        .boxed()
    }

    fn replay(&self, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<(), LogError> {
        let reader = self.reader();
        let mut from = Seq::ZERO;
        loop {
            let batch =
                reader.range(from, BATCH).map_err(|error| LogError(format!("can't be read: {error}")))?;
            let Some(last) = batch.last() else { return Ok(()) };
            from = last.record.seq.next();
            for entry in &batch {
                let fact = read(entry)
                    .map_err(|why| LogError(format!("holds record {} of access: {why}", entry.record.seq)))?;
                if let Some(fact) = fact {
                    visit(Stamp { seq: entry.record.seq.get(), time: entry.record.time }, fact);
                }
            }
        }
    }
}

/// Decides again what the ledger holds, under another policy. Blocks: reads the whole ledger.
///
/// # Errors
///
/// A record of access that can't be read.
pub fn replay(reader: &Reader, policy: &Policy, since: Option<Timestamp>) -> Result<Report, LogError> {
    let mut replay = Replay::new(policy, since);
    let mut from = Seq::ZERO;
    loop {
        let batch = reader.range(from, BATCH).map_err(|error| LogError(format!("can't be read: {error}")))?;
        let Some(last) = batch.last() else { return Ok(replay.finish()) };
        from = last.record.seq.next();
        for entry in &batch {
            let seq = entry.record.seq;
            let fact = read(entry).map_err(|why| LogError(format!("holds record {seq} of access: {why}")))?;
            if let Some(fact) = fact {
                replay.happened(Stamp { seq: seq.get(), time: entry.record.time }, &fact);
            } else if entry.record.details.contains_key("decision") {
                match decided(entry) {
                    Some(decided) => replay.decided(&decided),
                    None => replay.skip("the record doesn't tell who or what"),
                }
            }
        }
    }
}

/// A record that an [`super::Explanation`] wrote.
fn decided(entry: &Entry) -> Option<Decided> {
    let record = &entry.record;
    let detail = |key: &str| record.details.get(key).and_then(Value::as_str);
    let subject = match entry.personal.get(Personal::Subject)? {
        Known::Readable { text, .. } => text.parse().ok()?,
        Known::Erased { key } => Subject::erased(*key),
        Known::Unreadable { .. } => return None,
    };
    // An address with a port, or without one.
    let source = entry.personal.text(Personal::Source).and_then(|text| {
        text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse::<IpAddr>()).ok()
    });
    let list = |key: &str| record.details.get(key).and_then(Value::as_array).into_iter().flatten();
    Some(Decided {
        seq: record.seq.get(),
        time: record.time,
        kind: record.kind.as_str(),
        subject,
        roles: list("claimed_roles").filter_map(|name| name.as_str()?.parse().ok()).collect(),
        tenant: detail("tenant")?.parse().ok()?,
        action: record.action.as_deref()?.parse().ok()?,
        object: record.object.as_deref()?.parse().ok()?,
        source,
        code: detail("decision")?.to_owned(),
        workflows: list("workflows").filter_map(|name| name.as_str()?.parse().ok()).collect(),
        policy: record.policy.as_deref()?.parse().ok()?,
    })
}

fn read(entry: &Entry) -> Result<Option<Fact>, String> {
    let record = &entry.record;
    if !tells(record.kind) {
        return Ok(None);
    }
    fact_of(&Parts {
        kind: record.kind,
        result: record.result,
        action: record.action.as_deref(),
        object: record.object.as_deref(),
        grant: record.grant.as_deref(),
        policy: record.policy.as_deref(),
        correlation: record.correlation.as_deref(),
        details: &record.details,
        personal: &entry.personal,
    })
}

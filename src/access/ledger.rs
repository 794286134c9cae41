//! The audit ledger as the log of access.
//!
//! At start what tells of access is read and folded: the records that a signed index names, if the ledger agrees with it
//! (`index.rs`), and everything after them; else the whole ledger. Records of other kinds are passed over as soon as their kind
//! is known, and several threads read ahead; the facts are folded in the order of the records.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::thread;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use sallyport_audit::{AppendError, Digest, Entry, Ledger, Personal, Reader, Receipt, Seq, Value as Known};
use serde_json::Value;

use super::fact::{Fact, Stamp};
use super::log::{LogError, RecordLog};
use super::names::Subject;
use super::policy::Policy;
use super::policy::conditions::Transport;
use super::record::{Parts, draft_of, fact_of, tells};
use super::replay::{Decided, Replay, Report};

/// Records that one thread reads at a time: a few megabytes at most.
const BATCH: usize = 4_096;

/// Records between two of access that are read over rather than looked for anew.
const GAP: u64 = 32;

/// Threads that read at the same time, at most.
const MOST_THREADS: usize = 4;

impl RecordLog for Ledger {
    fn append(&self, fact: Fact) -> BoxFuture<'_, Result<Stamp, LogError>> {
        async move { stamped(Self::append(self, draft_of(&fact)).await) }.boxed()
    }

    fn append_all<'a>(&'a self, facts: &'a [Fact]) -> BoxStream<'a, Result<Stamp, LogError>> {
        // Begun one after the other, which is their order in the ledger whatever each waits for; then waited for together.
        let begun = stream::iter(facts).then(|fact| self.begin(draft_of(fact)));
        let durable = begun.map(|begun| async {
            match begun {
                Ok(begun) => stamped(begun.durable().await),
                Err(error) => stamped(Err(error)),
            }
        });
        durable.buffered(facts.len().max(1)).boxed()
    }

    fn replay(&self, from: u64, visit: &mut dyn FnMut(Stamp, Fact)) -> Result<u64, LogError> {
        let reader = self.reader();
        let mut from = Seq::new(from);
        // What is appended meanwhile is read as well.
        while from.get() < reader.len() {
            let spans = (from.get()..reader.len()).step_by(BATCH).map(|from| Span { from, records: BATCH });
            from = ahead(&reader, spans, visit)?.unwrap_or(from);
        }
        Ok(from.get())
    }

    fn replay_these(&self, records: &[u64], visit: &mut dyn FnMut(Stamp, Fact)) -> Result<(), LogError> {
        let reader = self.reader();
        let mut wanted = records.iter().copied().peekable();
        let mut only = |stamp: Stamp, fact: Fact| {
            while wanted.next_if(|next| *next < stamp.seq).is_some() {}
            if wanted.next_if_eq(&stamp.seq).is_some() {
                visit(stamp, fact);
            }
        };
        ahead(&reader, spans(records), &mut only)?;
        Ok(())
    }

    fn digest(&self, record: u64) -> Result<Option<Digest>, LogError> {
        let found = self.reader().get(Seq::new(record));
        let found = found.map_err(|error| LogError(format!("can't be read: {error}")))?;
        Ok(found.map(|entry| entry.digest()))
    }
}

fn stamped(receipt: Result<Receipt, AppendError>) -> Result<Stamp, LogError> {
    let receipt = receipt.map_err(|error| LogError(format!("didn't take the record: {error}")))?;
    Ok(Stamp { seq: receipt.seq.get(), time: receipt.time, digest: receipt.digest })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).clamp(1, MOST_THREADS)
}

/// Records that one thread reads.
struct Span {
    from: u64,
    records: usize,
}

/// As few spans as hold all of these records, with small gaps read over.
fn spans(records: &[u64]) -> impl Iterator<Item = Span> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let from = *rest.first()?;
        let near = rest.windows(2).take_while(|pair| match pair {
            [one, next] => next - one <= GAP && next - from < BATCH as u64,
            _ => false,
        });
        let (these, after) = rest.split_at(near.count() + 1);
        rest = after;
        let last = these.last().copied().unwrap_or(from);
        Some(Span { from, records: usize::try_from(last - from + 1).unwrap_or(BATCH) })
    })
}

/// Shows the facts of these spans one after the other, while threads read the spans that follow; where the last one ended.
fn ahead(
    reader: &Reader,
    mut spans: impl Iterator<Item = Span>,
    visit: &mut dyn FnMut(Stamp, Fact),
) -> Result<Option<Seq>, LogError> {
    let lost = || Err(LogError("couldn't be read: a thread of its reading panicked".to_owned()));
    thread::scope(|scope| {
        let read = |span: Span| scope.spawn(move || facts(reader, &span));
        let mut reading: VecDeque<_> = spans.by_ref().take(threads()).map(read).collect();
        let mut end = None;
        while let Some(first) = reading.pop_front() {
            let (facts, next) = first.join().unwrap_or_else(|_panic| lost())?;
            reading.extend(spans.next().map(read));
            for (stamp, fact) in facts {
                visit(stamp, fact);
            }
            end = Some(next);
        }
        Ok(end)
    })
}

/// What some records tell, and where the next ones begin.
type Facts = (Vec<(Stamp, Fact)>, Seq);

fn facts(reader: &Reader, span: &Span) -> Result<Facts, LogError> {
    let found = reader.of_kinds(Seq::new(span.from), span.records, tells);
    let (entries, next) = found.map_err(|error| LogError(format!("can't be read: {error}")))?;
    let mut facts = Vec::with_capacity(entries.len());
    for entry in &entries {
        let seq = entry.record.seq;
        let fact = read(entry).map_err(|why| LogError(format!("holds record {seq} of access: {why}")))?;
        facts.extend(fact.map(|fact| (stamp(entry), fact)));
    }
    Ok((facts, next))
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
                replay.happened(stamp(entry), &fact);
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
        transport: detail("tls_group").zip(detail("tls_suite")).map(|(group, suite)| Transport {
            group: group.to_owned().into(),
            suite: suite.to_owned().into(),
        }),
        code: detail("decision")?.to_owned(),
        workflows: list("workflows").filter_map(|name| name.as_str()?.parse().ok()).collect(),
        grant: record.grant.as_deref().and_then(|grant| grant.parse().ok()),
        policy: record.policy.as_deref()?.parse().ok()?,
    })
}

fn stamp(entry: &Entry) -> Stamp {
    Stamp { seq: entry.record.seq.get(), time: entry.record.time, digest: entry.digest() }
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

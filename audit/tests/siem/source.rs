//! Records to send, made by hand: what a ledger would give, without its files.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
};

use sallyport_audit::{
    Digest, Draft, Entry, Kind, Outcome, Record, Seq, Values,
    sink::{Feed, FeedError, Notice},
};
use tokio::sync::watch;

pub(crate) const ORIGIN: &str = "sallyport.example/ledger";

/// A ledger's worth of records in memory. As a [`Notice`] it appends what it is told.
#[derive(Clone)]
pub(crate) struct Source {
    entries: Arc<Mutex<Vec<Entry>>>,
    heads: watch::Sender<u64>,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self { entries: Arc::default(), heads: watch::Sender::new(0) }
    }

    pub(crate) fn append(&self, draft: Draft) -> u64 {
        self.append_after(0, draft)
    }

    /// So many seconds after the day of which all is otherwise.
    pub(crate) fn append_after(&self, seconds: i64, draft: Draft) -> u64 {
        let mut entries = self.entries.lock().unwrap();
        let seq = entries.len() as u64;
        let time = 1_790_000_000_123_456_789 + i128::from(seq) + i128::from(seconds) * 1_000_000_000;
        let prev = entries.last().map_or(Digest::ZERO, |entry| Digest::leaf(&entry.bytes));
        let record = Record {
            v: 1,
            seq: Seq::new(seq),
            time: jiff::Timestamp::from_nanosecond(time).unwrap(),
            prev,
            kind: draft.kind,
            result: draft.result,
            action: draft.action,
            object: draft.object,
            session: draft.session,
            grant: draft.grant,
            policy: draft.policy,
            correlation: draft.correlation,
            node: "node-1".to_owned(),
            personal: draft
                .personal
                .iter()
                .map(|(&field, value)| (field, Digest::of(&[value.as_bytes()])))
                .collect(),
            details: draft.details,
        };
        let bytes = record.to_bytes().unwrap();
        entries.push(Entry::new(record, bytes, Values::readable(draft.personal)));
        self.heads.send_replace(seq + 1);
        seq
    }

    /// Appends `count` sessions; every few are nasty.
    pub(crate) fn sessions(&self, count: usize) {
        for n in 0..count {
            let (path, note) = NASTY[n % NASTY.len()];
            self.append(
                Draft::new(Kind::SessionOpened, Outcome::Success)
                    .subject("user:alice")
                    .source("203.0.113.7:443")
                    .path(path)
                    .object("tunnel:demo")
                    .detail("note", note),
            );
        }
    }

    pub(crate) fn entry(&self, seq: u64) -> Entry {
        self.entries.lock().unwrap()[usize::try_from(seq).unwrap()].clone()
    }

    pub(crate) fn len(&self) -> u64 {
        *self.heads.borrow()
    }

    pub(crate) fn kinds(&self) -> Vec<Kind> {
        self.entries.lock().unwrap().iter().map(|entry| entry.record.kind).collect()
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.kinds().into_iter().filter(|found| *found == kind).count()
    }
}

/// Personal values and details that break careless formats.
pub(crate) const NASTY: [(&str, &str); 7] = [
    ("/plain", "plain"),
    ("/a\nb", "line one\nline two\r\n<13>1 - forged - - - -"),
    ("/\"quoted\"", "says \"no\""),
    ("/back\\slash", "C:\\temp\\new \\\" \\]"),
    ("/brackets][who@32473 subject=\"user:root\"]", "]["),
    ("/\u{fc}\u{6f22}\u{1f6e1}", "\u{fc}\u{6f22}\u{1f6e1}\u{202e}rtl"),
    ("/tab\tnul\u{0}del\u{7f}\u{85}\u{2028}", "12 <110>1 2026"),
];

impl Feed for Source {
    fn origin(&self) -> String {
        ORIGIN.to_owned()
    }

    fn range(&self, from: u64, limit: usize) -> Result<Vec<Entry>, FeedError> {
        let entries = self.entries.lock().unwrap();
        let from = usize::try_from(from).unwrap();
        Ok(entries.iter().skip(from).take(limit).cloned().collect())
    }

    fn heads(&self) -> watch::Receiver<u64> {
        self.heads.subscribe()
    }
}

impl Notice for Source {
    fn record(&self, draft: Draft) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.append(draft);
        })
    }
}

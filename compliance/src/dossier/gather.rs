//! Finds what belongs to a grant, a request or a session.
//!
//! Backwards by ids (a session names its grant, a grant its request), then forwards to all that names those. A ledger is
//! read a few times from end to end and need not fit into memory.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_audit::record::RecordReader;
use sallyport_audit::{Kind, Record, Seq};

use super::{Dossier, FORMAT, Item, Story, is_of_policy, is_of_request, is_of_session, part};
use crate::reel::{Reel, ReelError};

/// More records than this are no dossier.
pub const MOST_ITEMS: usize = 10_000;

/// No dossier can be made.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Of nothing.
    #[error("no record names {0} as a grant, request or session")]
    Unknown(String),
    /// Too large.
    #[error("more than {MOST_ITEMS} records belong to {0}")]
    TooMany(String),
    /// The records.
    #[error(transparent)]
    Reel(#[from] ReelError),
}

impl GatherError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "give an id as `auditctl log` shows it; a pack has only the records of its period"
            }
            Self::TooMany(_) => "ask for one of its sessions",
            Self::Reel(error) => error.hint(),
        }
    }
}

/// The ids that belong to it.
#[derive(Default)]
struct Threads {
    request: Option<String>,
    grant: Option<String>,
    session: Option<String>,
    /// The policies that decided, with the first record that names them.
    policies: BTreeMap<String, Seq>,
}

impl Threads {
    /// Whether the record belongs to it; policies apart.
    fn hold(&self, record: &Record) -> bool {
        let same = |own: &Option<String>, other: &Option<String>| own.is_some() && own == other;
        if is_of_session(record.kind) {
            return match &self.session {
                Some(session) => record.session.as_ref() == Some(session),
                None => same(&self.grant, &record.grant),
            };
        }
        is_of_request(record.kind)
            && (same(&self.request, &record.correlation) || same(&self.grant, &record.grant))
    }

    /// Follows a record back to what it rests on; true if that was not known.
    fn follow(&mut self, record: &Record, about: &str) -> bool {
        let before = (self.request.is_some(), self.grant.is_some(), self.session.is_some());
        if record.session.as_deref() == Some(about)
            && matches!(record.kind, Kind::SessionOpened | Kind::SessionClosed)
        {
            self.session.clone_from(&record.session);
            self.grant = self.grant.take().or_else(|| record.grant.clone());
        }
        if is_of_request(record.kind) {
            let named =
                record.grant.as_deref() == Some(about) || record.correlation.as_deref() == Some(about);
            if named || (self.grant.is_some() && self.grant == record.grant) {
                self.request = self.request.take().or_else(|| record.correlation.clone());
                self.grant = self.grant.take().or_else(|| record.grant.clone());
            }
        }
        before != (self.request.is_some(), self.grant.is_some(), self.session.is_some())
    }
}

/// Makes the dossier of a grant, a request or a session.
pub fn gather(reel: &mut Reel, about: &str) -> Result<Dossier, GatherError> {
    let mut threads = Threads::default();
    // A session's grant may be known only when the grant has gone by, so once more until nothing new is found.
    while each(reel, &mut |record| threads.follow(record, about))? {}
    if threads.request.is_none() && threads.grant.is_none() && threads.session.is_none() {
        return Err(GatherError::Unknown(about.to_owned()));
    }
    let mut wanted = BTreeSet::new();
    each(reel, &mut |record| {
        if wanted.len() <= MOST_ITEMS && threads.hold(record) {
            wanted.insert(record.seq.get());
            if let Some(policy) = &record.policy {
                threads.policies.entry(policy.clone()).or_insert(record.seq);
            }
        }
        false
    })?;
    if wanted.len() > MOST_ITEMS {
        return Err(GatherError::TooMany(about.to_owned()));
    }
    // Of a policy that was in use several times, what made it so last before it decided.
    let mut policies = BTreeMap::<(String, Kind), u64>::new();
    each(reel, &mut |record| {
        if is_of_policy(record.kind)
            && let Some(policy) = &record.policy
            && threads.policies.get(policy).is_some_and(|used| record.seq < *used)
        {
            policies.insert((policy.clone(), record.kind), record.seq.get());
        }
        false
    })?;
    wanted.extend(policies.into_values());
    let mut items = Vec::new();
    let mut records = Vec::new();
    for (seq, (bytes, path)) in reel.prove(&wanted)? {
        let (Ok(record), Ok(text)) = (Record::parse(&bytes), String::from_utf8(bytes)) else { continue };
        items.push(Item { part: part(&record).to_owned(), seq: Seq::new(seq), record: text, path });
        records.push(record);
    }
    Ok(Dossier {
        format: FORMAT.to_owned(),
        about: about.to_owned(),
        story: Story::of(&records),
        checkpoint: reel.note().to_owned(),
        items,
    })
}

/// Shows every record that could belong to a dossier; whether `take` was true of one.
fn each(reel: &mut Reel, take: &mut dyn FnMut(&Record) -> bool) -> Result<bool, ReelError> {
    let mut reader = RecordReader::default();
    let mut any = false;
    reel.records(&mut |_, bytes, _| {
        if let Ok(view) = reader.read(bytes)
            && !matches!(view.kind, Kind::HttpRequest | Kind::GatewayHeartbeat | Kind::AccessDecided)
        {
            any |= take(&view.to_record());
        }
    })?;
    Ok(any)
}

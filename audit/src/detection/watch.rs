//! Rules over records, one after the other. Pure: the records' own times are the only clock.
//!
//! Whoever shows no identity is nobody in particular: what such visitors do is put together by where it came from, and no rule about
//! people who slept finds them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::Value;

use super::rule::{By, Rule, Rules};
use crate::{
    commitment::Personal,
    kind::Kind,
    ledger::Entry,
    record::{Draft, Outcome, Record},
    sidecar::ANONYMOUS,
};

/// Of each rule, so many people (addresses, objects) are kept in mind; whoever was quiet longest is forgotten first.
const MOST_KEYS: usize = 10_000;
/// So many records are named in a detection.
const MOST_NAMED: usize = 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The rule's name.
    pub rule: String,
    /// How grave it is.
    pub severity: &'static str,
    /// What it means.
    pub says: String,
    /// The records, the newest last.
    pub records: Vec<u64>,
    /// How many they are.
    pub count: usize,
    /// Whom it is about, as far as that may be known.
    pub subject: Option<String>,
    /// From where.
    pub source: Option<String>,
    /// What it is about.
    pub object: Option<String>,
    /// The session that it is about.
    pub session: Option<String>,
}

impl Raised {
    /// The record of it.
    pub fn draft(&self) -> Draft {
        let mut draft = Draft::new(Kind::DetectionRaised, Outcome::Success)
            .detail("rule", self.rule.as_str())
            .detail("severity", self.severity)
            .detail("says", self.says.as_str())
            .detail("count", self.count)
            .detail("records", self.records.clone());
        if let Some(subject) = &self.subject {
            draft = draft.subject(subject);
        }
        if let Some(source) = &self.source {
            draft = draft.source(source);
        }
        if let Some(object) = &self.object {
            draft = draft.object(object);
        }
        if let Some(session) = &self.session {
            draft = draft.session(session);
        }
        draft
    }
}

/// Rules, and what is kept in mind between records.
pub struct Watch {
    rules: Vec<(Rule, Memory)>,
}

#[derive(Default)]
struct Memory {
    keys: HashMap<String, Kept>,
    /// The number of `grew` in the record before.
    last: Option<i64>,
    /// The time of the first record that was looked at.
    since: Option<i64>,
}

#[derive(Default)]
struct Kept {
    seen: VecDeque<(i64, u64, Option<String>)>,
    active: i64,
    raised: Option<i64>,
}

impl Watch {
    /// With these rules, and nothing in mind.
    pub fn new(rules: &Rules) -> Self {
        Self { rules: rules.0.iter().map(|rule| (rule.clone(), Memory::default())).collect() }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.rules.iter().map(|(_, memory)| memory.keys.len()).max().unwrap_or_default()
    }

    /// Of which kinds are the records that any rule looks at; others need not be shown to it.
    pub fn kinds(&self) -> BTreeSet<Kind> {
        self.rules.iter().flat_map(|(rule, _)| rule.kinds.iter().copied()).collect()
    }

    /// The first record was made at `time`, in seconds since 1970, whatever its kind.
    pub fn begin(&mut self, time: i64) {
        for (_, memory) in &mut self.rules {
            memory.since.get_or_insert(time);
        }
    }

    /// How far back lies what rules about dormant people have to know, in seconds, and of which kinds it is; nothing if there is no
    /// such rule.
    pub fn memory(&self) -> Option<(i64, BTreeSet<Kind>)> {
        let dormant = self.rules.iter().filter_map(|(rule, _)| Some((rule.dormant_secs?, &rule.kinds)));
        dormant.fold(None, |known, (secs, kinds)| {
            let (most, mut all) = known.unwrap_or_default();
            all.extend(kinds.iter().copied());
            Some((secs.max(most), all))
        })
    }

    /// All is known since `since`, in seconds since 1970, that rules about dormant people ask for; what follows are the records of
    /// that time, for [`Self::recall`].
    pub fn recall_since(&mut self, since: i64) {
        for (rule, memory) in &mut self.rules {
            if rule.dormant_secs.is_some() {
                memory.since = Some(since);
            }
        }
    }

    /// Keeps in mind who was active, and raises nothing.
    pub fn recall(&mut self, entry: &Entry) {
        for (rule, memory) in &mut self.rules {
            if rule.dormant_secs.is_some() && rule.takes(&entry.record) && rule.fits(&entry.record) {
                memory.active(rule, entry);
            }
        }
    }

    /// Looks at the next record; those of other kinds than [`Self::kinds`] may be passed over.
    pub fn see(&mut self, entry: &Entry) -> Vec<Raised> {
        if is_about_a_detection(&entry.record) {
            return Vec::new();
        }
        self.rules.iter_mut().filter_map(|(rule, memory)| memory.see(rule, entry)).collect()
    }
}

/// The record of one, or of a message that told of one: what such a record raised would raise the next, without end.
fn is_about_a_detection(record: &Record) -> bool {
    match record.kind {
        Kind::DetectionRaised => true,
        Kind::NotificationSent | Kind::NotificationFailed => {
            record.details.get("event").and_then(Value::as_str) == Some("detection")
        }
        _ => false,
    }
}

impl Rule {
    /// Whether it looks at records of this kind and result.
    fn takes(&self, record: &Record) -> bool {
        self.kinds.contains(&record.kind)
            && (self.results.is_empty() || self.results.contains(&record.result))
    }

    /// Whether its conditions on one record hold.
    fn fits(&self, record: &Record) -> bool {
        let says = |(name, wanted): (&String, &Value)| {
            record.details.get(name).is_some_and(|found| match wanted {
                Value::Array(any) => any.contains(found),
                one => one == found,
            })
        };
        let details = self.details.iter().all(says) && !self.except.iter().any(says);
        let number = |name: &str| record.details.get(name).and_then(Value::as_i64);
        let above = self
            .above
            .as_ref()
            .is_none_or(|above| number(&above.detail).is_some_and(|found| found > above.value));
        details && above && self.outside.as_ref().is_none_or(|hours| !hours.holds(record.time))
    }
}

impl Memory {
    fn see(&mut self, rule: &Rule, entry: &Entry) -> Option<Raised> {
        let record = &entry.record;
        let now = record.time.as_second();
        let since = *self.since.get_or_insert(now);
        if !rule.takes(record) {
            return None;
        }
        let number = |name: &str| record.details.get(name).and_then(Value::as_i64);
        if let Some(name) = &rule.grew {
            let (before, found) = (self.last, number(name));
            self.last = found.or(before);
            if before.zip(found).is_none_or(|(before, found)| found <= before) {
                return None;
            }
        }
        if !rule.fits(record) {
            return None;
        }
        let (kept, before) = self.active(rule, entry)?;
        if let Some(dormant) = rule.dormant_secs {
            let slept = now - before.unwrap_or(since);
            if slept < dormant {
                return None;
            }
        }
        let distinct = match rule.distinct {
            None => None,
            Some(by) => Some(value(entry, by)?),
        };
        while kept.seen.front().is_some_and(|(time, ..)| now - time > rule.within_secs) {
            kept.seen.pop_front();
        }
        if distinct.is_some() {
            kept.seen.retain(|(_, _, other)| *other != distinct);
        }
        kept.seen.push_back((now, record.seq.get(), distinct));
        if kept.seen.len() < rule.count {
            return None;
        }
        let quiet = kept.raised.is_some_and(|raised| rule.quiet_secs > 0 && now - raised < rule.quiet_secs);
        let records: Vec<u64> = kept.seen.iter().map(|(_, seq, _)| *seq).collect();
        kept.seen.clear();
        if quiet {
            return None;
        }
        kept.raised = Some(now);
        let readable = |field| entry.personal.text(field).map(str::to_owned);
        Some(Raised {
            rule: rule.name.clone(),
            severity: rule.grade.as_str(),
            says: rule.says.clone(),
            count: records.len(),
            records: records.get(records.len().saturating_sub(MOST_NAMED)..).unwrap_or_default().to_vec(),
            subject: readable(Personal::Subject),
            source: readable(Personal::Source),
            object: record.object.clone(),
            session: record.session.clone(),
        })
    }

    /// Notes that whoever this is about was active, and says when they were before, as far as that is known.
    fn active(&mut self, rule: &Rule, entry: &Entry) -> Option<(&mut Kept, Option<i64>)> {
        let key = match rule.by {
            Some(By::Subject) if rule.dormant_secs.is_some() && is_anonymous(entry) => return None,
            None => String::new(),
            // Of nobody nothing can be put together.
            Some(by) => value(entry, by)?,
        };
        if self.keys.len() >= MOST_KEYS && !self.keys.contains_key(&key) {
            self.forget();
        }
        let is_known = self.keys.contains_key(&key);
        let kept = self.keys.entry(key).or_default();
        let before = std::mem::replace(&mut kept.active, entry.record.time.as_second());
        Some((kept, is_known.then_some(before)))
    }

    /// Half of those who were quiet longest.
    fn forget(&mut self) {
        let mut times: Vec<i64> = self.keys.values().map(|kept| kept.active).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        self.keys.retain(|_, kept| kept.active > middle);
    }
}

/// Whoever acts on the gateway's own host has no name there. The word is no subject's: those have a colon.
fn by_the_operator(record: &Record) -> Option<String> {
    let is_operator = record.details.get("by").and_then(Value::as_str) == Some("operator");
    (is_operator && !record.personal.contains_key(&Personal::Subject)).then(|| "operator".to_owned())
}

fn is_anonymous(entry: &Entry) -> bool {
    entry.personal.text(Personal::Subject) == Some(ANONYMOUS)
}

/// What counts as one address: of IPv6 a whole /64, for that is what one subscriber has.
fn network(source: &str) -> String {
    let address = source.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| source.parse());
    match address.map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        Err(_) => source.to_owned(),
    }
}

fn value(entry: &Entry, by: By) -> Option<String> {
    let text = |field| entry.personal.text(field).map(str::to_owned);
    match by {
        By::Subject if is_anonymous(entry) => Some(format!("{ANONYMOUS} {}", value(entry, By::Source)?)),
        By::Subject => text(Personal::Subject).or_else(|| by_the_operator(&entry.record)),
        By::Target => text(Personal::Target),
        By::Source => entry.personal.text(Personal::Source).map(network),
        By::Object => entry.record.object.clone(),
        By::Session => entry.record.session.clone(),
    }
}

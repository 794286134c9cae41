//! Making facts durable, folding them in, and ending what they end.
//!
//! Facts that stand alone go to the disk together, in their order and a bounded number at a time. All others are recorded one after
//! the other, so that none is without the one before it.
//!
//! A revocation doesn't depend on the ledger's health. If it isn't durable within [`PATIENCE`], or the ledger refuses it, the
//! sessions that it is about are cut all the same; until it is recorded nobody is let in, no order is carried out that gives
//! something, and whom it is about is nobody; its giver is told if it failed, and it is tried again every second.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;

use super::Owner;
use super::ending::revokes;
use crate::access::error::AccessError;
use crate::access::fact::{Fact, Stamp};

/// How long a revocation may wait to be durable before it is carried out anyway: half of the aim of 100 ms.
const PATIENCE: Duration = Duration::from_millis(50);

/// Facts that are given to the ledger at a time. A group is a few milliseconds of work for it, which is what an urgent order waits.
const TOGETHER: usize = 256;

impl Owner {
    /// Makes facts durable in order, folds them in, and ends what they end. The first that fails is the last.
    pub(super) async fn record(&mut self, facts: &[Fact], decided_at: Instant) -> Result<(), AccessError> {
        let mut rest = facts;
        while !rest.is_empty() {
            let recorded = self.record_first(rest, decided_at).await?;
            rest = rest.get(recorded..).unwrap_or_default();
        }
        Ok(())
    }

    /// The same with as many of the first as go to the disk together. How many these are.
    pub(super) async fn record_first(
        &mut self,
        facts: &[Fact],
        decided_at: Instant,
    ) -> Result<usize, AccessError> {
        let alone = facts.iter().take(TOGETHER).take_while(|fact| stands_alone(fact)).count();
        let (these, after) = facts.split_at(alone.max(1).min(facts.len()));
        self.commit_together(these, after, decided_at).await?;
        Ok(these.len())
    }

    /// Makes a fact durable, folds it in, and ends what it ends.
    pub(super) async fn commit(&mut self, fact: &Fact, decided_at: Instant) -> Result<(), AccessError> {
        self.commit_together(std::slice::from_ref(fact), &[], decided_at).await
    }

    /// The same for several that stand alone, and that `rest` of one order comes after: what that takes away waits for the ledger
    /// no longer than what these do.
    async fn commit_together(
        &mut self,
        facts: &[Fact],
        rest: &[Fact],
        decided_at: Instant,
    ) -> Result<(), AccessError> {
        let log = self.log.clone();
        let mut appends = log.append_all(facts);
        let (mut cut, mut carried_out, mut failure) = (0, false, None);
        let mut unrecorded = Vec::new();
        for (number, fact) in facts.iter().enumerate() {
            let patience = if carried_out { Duration::MAX } else { PATIENCE };
            let appended = if let Ok(appended) = tokio::time::timeout(patience, appends.next()).await {
                appended
            } else {
                carried_out = true;
                let waiting = facts.get(number..).unwrap_or_default();
                cut += self.carry_out(waiting.iter().chain(rest), decided_at);
                appends.next().await
            };
            let Some(appended) = appended else { break };
            self.index.note(fact, &appended);
            match appended {
                Ok(stamp) => self.fold(stamp, fact, decided_at)?,
                Err(error) => {
                    failure.get_or_insert(error);
                    unrecorded.push(fact);
                }
            }
        }
        let Some(error) = failure else { return Ok(()) };
        cut += self.carry_out(unrecorded.into_iter().chain(rest), decided_at);
        self.give_up_on_keys();
        Err(AccessError::NotRecorded { error, cut })
    }

    /// Folds in what is durable, and ends what it ends.
    fn fold(&self, stamp: Stamp, fact: &Fact, decided_at: Instant) -> Result<(), AccessError> {
        {
            let mut standing = self.standing.write().map_err(|_| AccessError::Stopped)?;
            standing.state.apply(stamp, fact);
            if let Some(at) = standing.unrecorded.iter().position(|other| other == fact) {
                standing.unrecorded.remove(at);
            }
        }
        self.end_permits(fact, decided_at);
        if matches!(fact, Fact::Locked { .. }) {
            self.end_what_rests_on_others(decided_at);
        }
        Ok(())
    }

    /// Carries out revocations that the ledger hasn't taken. How many permits ended.
    fn carry_out<'a>(&self, facts: impl Iterator<Item = &'a Fact>, decided_at: Instant) -> usize {
        let revocations: Vec<&Fact> = facts.filter(|fact| revokes(fact)).collect();
        self.keep_trying(&revocations);
        let ended =
            |fact: &&Fact| self.end_permits(fact, decided_at) + self.end_what_they_gave(fact, decided_at);
        revocations.iter().map(ended).sum()
    }

    /// Remembers revocations that the ledger hasn't taken, and keeps everybody out until it has. None is dropped: each was ordered by
    /// somebody who was told that it holds, and an order is of a bounded number.
    fn keep_trying(&self, facts: &[&Fact]) {
        let Ok(mut standing) = self.standing.write() else { return };
        let known = standing.unrecorded.len();
        for fact in facts {
            // Those of one order are not each other's.
            if !standing.unrecorded.iter().take(known).any(|other| other == *fact) {
                standing.unrecorded.push_back((*fact).clone());
            }
        }
    }

    /// Another key is in use once it is recorded, and whoever ordered that was told that it isn't: that is not tried again.
    fn give_up_on_keys(&self) {
        if let Ok(mut standing) = self.standing.write() {
            standing.unrecorded.retain(|fact| !matches!(fact, Fact::TokenKeyReplaced { .. }));
        }
    }

    /// Tries again what the ledger didn't take. False when it still doesn't.
    pub(super) async fn record_the_unrecorded(&mut self, decided_at: Instant) -> bool {
        loop {
            let facts: Vec<Fact> = match self.standing.read() {
                Ok(standing) => standing.unrecorded.iter().take(TOGETHER).cloned().collect(),
                Err(_) => return false,
            };
            if facts.is_empty() {
                return true;
            }
            if self.record_first(&facts, decided_at).await.is_err() {
                return false;
            }
        }
    }
}

/// Whether it means the same without those of its kind beside it.
fn stands_alone(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::GrantExpired { .. }
            | Fact::GrantRevoked { .. }
            | Fact::ShareEnded { .. }
            | Fact::Expired { .. }
            | Fact::GlassTold { .. }
            | Fact::ReviewItem { .. }
    )
}

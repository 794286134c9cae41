//! What is kept of a breaking of the glass until it is reviewed, and after.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use super::{Grant, GrantStatus, RequestStatus, State};
use crate::access::fact::{Fact, Stamp};
use crate::access::names::{NameError, Subject, Tenant};
use crate::access::reason::Reason;

/// What a reviewer says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was right.
    Justified,
    /// It was wrong; what is left of the grant ends.
    Unjustified,
}

impl Verdict {
    /// The word that records use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::Unjustified => "unjustified",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verdict {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = [Self::Justified, Self::Unjustified].into_iter().find(|verdict| verdict.as_str() == text);
        known.ok_or_else(|| NameError::new(text, "a verdict", "it is `justified` or `unjustified`"))
    }
}

/// A review by somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GlassReview {
    /// Who reviewed.
    pub by: Subject,
    /// When.
    pub at: Timestamp,
    /// What they say.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// That a grant came of breaking the glass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Glass {
    /// Why, in the words of whoever broke it.
    pub reason: Reason,
    /// How many could have been asked and were not.
    pub skipped: u32,
    /// The review, once there is one.
    pub review: Option<GlassReview>,
}

impl State {
    pub(super) fn glass_told(&mut self, fact: &Fact) {
        let Fact::GlassTold { request, approver, .. } = fact else { return };
        if let Some(request) = self.pending_mut(*request)
            && !request.told.contains(approver)
        {
            request.told.push(approver.clone());
        }
    }

    pub(super) fn glass_broken(&mut self, fact: &Fact) {
        let Fact::GlassBroken {
            grant,
            request,
            subject,
            tenant,
            object,
            action,
            workflows,
            skipped,
            starts,
            ends,
            policy,
            reason,
        } = fact
        else {
            return;
        };
        let given = Grant {
            id: *grant,
            request: *request,
            subject: subject.clone(),
            tenant: tenant.clone(),
            object: object.clone(),
            action: *action,
            workflows: workflows.iter().cloned().collect(),
            starts: *starts,
            ends: *ends,
            from_first_use: None,
            once: false,
            begun: None,
            conditions: std::collections::BTreeSet::new(),
            glass: Some(Glass { reason: reason.clone(), skipped: *skipped, review: None }),
            policy: *policy,
            status: GrantStatus::Live,
        };
        if self.give(given) {
            self.unreviewed.insert(*grant);
        }
    }

    pub(super) fn glass_reviewed(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::GlassReviewed { grant: id, by, verdict, reason, .. } = fact else { return };
        let Some(grant) = self.grants.get_mut(id).filter(|grant| grant.subject != *by) else { return };
        let Some(glass) = grant.glass.as_mut() else { return };
        glass.review.get_or_insert_with(|| GlassReview {
            by: by.clone(),
            at: stamp.time,
            verdict: *verdict,
            reason: reason.clone(),
        });
        self.unreviewed.remove(id);
    }

    /// Gives a grant to whose request waits for just this; false if none does.
    pub(super) fn give(&mut self, given: Grant) -> bool {
        let asked = self.pending_mut(given.request).is_some_and(|asked| {
            asked.subject == given.subject
                && asked.tenant == given.tenant
                && asked.object == given.object
                && asked.action == given.action
        });
        if !asked || self.grants.contains_key(&given.id) {
            return false;
        }
        self.settle(given.request, RequestStatus::Granted { grant: given.id });
        self.live.entry((given.tenant.clone(), given.subject.clone())).or_default().insert(given.id);
        self.ends.insert((given.ends, given.id));
        self.grants.insert(given.id, given);
        true
    }

    /// Breakings of the glass by this person that nobody has reviewed, oldest first.
    pub fn unreviewed_of(&self, tenant: &Tenant, subject: &Subject) -> impl Iterator<Item = &Grant> {
        self.unreviewed().filter(move |grant| grant.tenant == *tenant && grant.subject == *subject)
    }

    /// All breakings of the glass that nobody has reviewed, oldest first.
    pub fn unreviewed(&self) -> impl Iterator<Item = &Grant> {
        self.unreviewed.iter().filter_map(|id| self.grants.get(id))
    }
}

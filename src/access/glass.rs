//! Breaking the glass, as the rest of the gateway orders and sees it.

use serde::Serialize;

use super::decide::{Command, was_told};
use super::error::AccessError;
use super::handle::Access;
use super::identity::{Caller, Identity};
use super::ids::{GrantId, RequestId, random};
use super::object::{Action, Object};
use super::reason::Reason;
use super::state::{Grant, Verdict};

/// A breaking of the glass, and whether the caller was told of it when it happened.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// The grant that came of it.
    #[serde(flatten)]
    pub grant: Grant,
    /// Whether the caller could have been asked and was told instead.
    pub told: bool,
}

impl Access {
    /// Goes in without the approval that policy demands, where the workflow lets the caller. Loud, and once: the next time
    /// needs a review of this one.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it: then nobody is let in.
    pub async fn break_glass(
        &self,
        by: &Identity,
        object: Object,
        minutes: u32,
        reason: Reason,
    ) -> Result<GrantId, AccessError> {
        let (id, grant) = (RequestId::new(self.now(), random()), GrantId::new(self.now(), random()));
        let action = Action::Connect;
        let shown = object.clone();
        self.run(by, Command::BreakGlass { id, grant, object, action, minutes, reason }).await?;
        tracing::warn!(%grant, object = %shown, "somebody broke the glass: leave without the approval that policy demands");
        Ok(grant)
    }

    /// Says whether somebody else was right to break the glass; if not, what is left of the grant ends.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it.
    pub async fn review_glass(
        &self,
        by: &Identity,
        grant: GrantId,
        verdict: Verdict,
        reason: Reason,
    ) -> Result<(), AccessError> {
        self.run(by, Command::ReviewGlass { grant, verdict, reason }).await.map(drop)
    }

    /// Breakings of the glass that the caller may see, newest first: their own, those that they were told of, and those on
    /// objects that they approve or audit.
    pub fn broken_glass(&self, by: impl Into<Caller>, unreviewed: bool) -> Vec<Broken> {
        let by = by.into();
        let found: Vec<GrantId> = self.look(|standing| {
            let wanted = |grant: &&Grant| {
                grant.glass.as_ref().is_some_and(|glass| !unreviewed || glass.review.is_none())
                    && by.person().is_none_or(|who| who.tenant == grant.tenant)
            };
            standing.state.grants().rev().filter(wanted).map(|grant| grant.id).collect()
        });
        let now = self.now();
        let told = |id: GrantId| {
            self.look(|standing| {
                let grant = standing.state.grant(id)?;
                let request = standing.state.request(grant.request);
                let told = by.person().is_some_and(|who| was_told(request, &who.subject));
                told.then(|| grant.clone())
            })
        };
        let one = |id: GrantId| match told(id) {
            Some(grant) => Some(Broken { grant, told: true }),
            None => self.see_grant(&by, id, now).map(|grant| Broken { grant, told: false }),
        };
        found.into_iter().filter_map(one).collect()
    }
}

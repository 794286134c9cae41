//! Letting somebody in whose grant waits for its first use, because its time runs from then or it is good for one session: the
//! use is recorded before anything rests on it.
//!
//! Promised: on a grant that is good once no second session ever begins, not after a crash between the record and the session
//! either; then it is spent for nothing.

use super::decide::Command;
use super::decision::{Decision, denied};
use super::error::AccessError;
use super::handle::Access;
use super::identity::Identity;
use super::ids::GrantId;
use super::judge::{Context, Explanation};
use super::limits;
use super::object::{Action, Object};
use super::state::Grant;

impl Access {
    /// As [`Self::authorize`], for somebody who goes in on the answer: if they have a grant that waits for its first use,
    /// this is it. What can't be recorded lets nobody in.
    pub async fn admit(
        &self,
        who: &Identity,
        object: &Object,
        action: Action,
        context: &Context,
    ) -> Decision {
        let decision = self.authorize(who, object, action, context);
        let Decision::NeedsApproval { explanation, .. } = &decision else { return decision };
        let Some(grant) = self.waits_for_first_use(who, explanation, context) else { return decision };
        match self.run(who, Command::Begin { grant }).await {
            Ok(_) => self.authorize_on(who, object, action, Some(grant), context),
            // Another session of theirs may have been first, or it was revoked: policy is asked again.
            Err(AccessError::Refused(_)) => self.authorize(who, object, action, context),
            Err(error) => {
                let why = format!("the first use of {grant} couldn't be recorded: {error}");
                denied(who, object, action, self.policy_digest(), &why)
            }
        }
    }

    /// Why [`Self::admit`] would not let them in now, as far as can be said without letting them in: nothing is used up.
    pub fn would_refuse(
        &self,
        who: &Identity,
        object: &Object,
        action: Action,
        context: &Context,
    ) -> Option<Decision> {
        let decision = self.authorize(who, object, action, context);
        let may = match &decision {
            Decision::Allowed(_) => true,
            Decision::NeedsApproval { explanation, .. } => {
                self.waits_for_first_use(who, explanation, context).is_some()
            }
            Decision::Denied { .. } => false,
        };
        (!may).then_some(decision)
    }

    /// The grant that would satisfy the workflows once it is used first; of several the one that must be used soonest.
    fn waits_for_first_use(&self, who: &Identity, asked: &Explanation, context: &Context) -> Option<GrantId> {
        let at = who.met(context).circumstances(context.now);
        self.look(|standing| {
            let waits = |grant: &&Grant| {
                grant.object == asked.object
                    && grant.action == asked.action
                    && grant.end_from(context.now).is_some()
                    && asked.workflows.iter().all(|name| grant.workflows.contains(name))
                    && limits::met(&standing.policy, &grant.conditions, &at)
            };
            let grants = standing.state.live_grants_of(&asked.tenant, &asked.subject);
            grants.filter(waits).min_by_key(|grant| grant.ends).map(|grant| grant.id)
        })
    }
}

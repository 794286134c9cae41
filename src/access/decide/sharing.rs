//! Sharing a tunnel: who may give what, who accepts it, who ends it; and deleting a tunnel.

use jiff::{SignedDuration, Timestamp};

use super::{Case, Command, Refusal, actor};
use crate::access::backing::role_rules;
use crate::access::fact::Fact;
use crate::access::identity::{Caller, Identity};
use crate::access::ids::ShareId;
use crate::access::judge::{Judgement, judge};
use crate::access::names::Tenant;
use crate::access::object::{Action, Object};
use crate::access::policy::Ruling;
use crate::access::reason::Reason;
use crate::access::share::{ShareEnd, ShareRole};
use crate::access::state::{Share, ShareStatus};

/// How long an offer waits for the person: 7 days.
const OFFER_HOURS: i64 = 7 * 24;
/// Longest share with an end of its own, in days, as of tokens.
const MOST_DAYS: i64 = 400;
/// Most shares that stand on one tunnel.
const MAX_SHARES: usize = 1_000;

impl Case<'_> {
    pub(super) fn share(&self, by: &Caller, command: &Command) -> Result<Vec<Fact>, Refusal> {
        let Command::Share { share, object, tenant, role, to, until } = command else {
            return Ok(Vec::new());
        };
        self.may_hand_out(by, tenant, object, *role)?;
        if to.is_anonymous() {
            return Err(Refusal::NoTokenFor { subject: to.clone() });
        }
        if by.person().is_some_and(|who| who.subject == *to) {
            return Err(Refusal::OwnShare);
        }
        if let Some(until) = until {
            let life = until.duration_since(self.now);
            if !life.is_positive() || life > SignedDuration::from_hours(24 * MOST_DAYS) {
                return Err(Refusal::ShareTime { most: MOST_DAYS });
            }
        }
        if let Some(other) = self.state.share_of(tenant, to, object) {
            return Err(Refusal::ShareExists { share: other.id });
        }
        let standing = self.state.shares_on(tenant, object).count();
        if standing >= MAX_SHARES {
            return Err(Refusal::TooManyShares { standing });
        }
        let accept_by =
            self.now.saturating_add(SignedDuration::from_hours(OFFER_HOURS)).unwrap_or(Timestamp::MAX);
        Ok(vec![Fact::ShareOffered {
            share: *share,
            tenant: tenant.clone(),
            object: object.clone(),
            role: *role,
            to: to.clone(),
            by: actor(by),
            until: *until,
            accept_by,
        }])
    }

    /// Whoever shares holds `share` on the tunnel, and everything that the role may do there, without anybody's approval.
    fn may_hand_out(
        &self,
        by: &Caller,
        tenant: &Tenant,
        object: &Object,
        role: ShareRole,
    ) -> Result<(), Refusal> {
        let named = role.in_policy().ok_or(Refusal::EmptyRole { role })?;
        let allows = |action: &Action| {
            matches!(role_rules(self.policy, &named, tenant, object, *action), Ruling::Allow { .. })
        };
        let actions: Vec<Action> = Action::ALL.into_iter().filter(allows).collect();
        if actions.is_empty() {
            return Err(Refusal::EmptyRole { role });
        }
        let Caller::Person(who) = by else { return Ok(()) };
        if who.tenant != *tenant {
            return Err(Refusal::OtherTenant { own: who.tenant.clone(), other: tenant.clone() });
        }
        self.may(who, object, Action::Share)?;
        for action in actions {
            // Not by a grant: that was given to its holder, for a time.
            let outright = match judge(self.state, self.policy, who, object, action, self.now) {
                Judgement::Allowed { explanation, .. } => explanation.grant.is_none(),
                Judgement::NeedsApproval { .. } | Judgement::Denied { .. } => false,
            };
            if !outright {
                return Err(Refusal::MoreThanOwn { role, action });
            }
        }
        Ok(())
    }

    /// The person alone accepts, and in time.
    pub(super) fn accept_share(&self, who: &Identity, id: ShareId) -> Result<Vec<Fact>, Refusal> {
        let share = self.own_share(who, id)?;
        let in_time = share.ends().is_none_or(|end| self.now < end);
        if share.status != ShareStatus::Offered || !in_time {
            return Err(Refusal::NotOffered { share: id });
        }
        Ok(vec![Fact::ShareAccepted {
            share: id,
            tenant: share.tenant.clone(),
            object: share.object.clone(),
            by: who.subject.clone(),
        }])
    }

    fn own_share(&self, who: &Identity, id: ShareId) -> Result<&Share, Refusal> {
        let own = self.state.share(id).filter(|share| share.to == who.subject && share.tenant == who.tenant);
        let own = own.filter(|share| who.scope.reaches(&share.object, Action::Connect));
        own.ok_or(Refusal::NoSuchShare { share: id })
    }

    pub(super) fn end_share(
        &self,
        by: &Caller,
        id: ShareId,
        reason: Option<&Reason>,
    ) -> Result<Vec<Fact>, Refusal> {
        let missing = Refusal::NoSuchShare { share: id };
        let share = self.state.share(id).ok_or_else(|| missing.clone())?;
        let mut cause = ShareEnd::Unshared;
        if let Caller::Person(who) = by {
            if share.tenant != who.tenant {
                return Err(missing);
            }
            if share.to == who.subject && who.scope.reaches(&share.object, Action::Connect) {
                // Giving back what is one's own needs nobody's leave.
                cause = ShareEnd::Declined;
            } else if share.by.as_ref() != Some(&who.subject)
                || !who.scope.reaches(&share.object, Action::Share)
            {
                self.may_hand_out(by, &share.tenant, &share.object, share.role)?;
            }
        }
        if !share.is_standing() {
            return Err(Refusal::ShareEnded { share: id });
        }
        Ok(vec![ended(share, cause, by, reason)])
    }

    /// A tunnel is deleted: what stands on its name ends, each by a record of its own.
    pub(super) fn delete_tunnel(
        &self,
        who: &Identity,
        object: &Object,
        reason: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        self.may(who, object, Action::Delete)?;
        let by = Caller::Person(who.clone());
        let shares = self.state.shares_on(&who.tenant, object);
        let mut facts: Vec<Fact> =
            shares.map(|share| ended(share, ShareEnd::TunnelDeleted, &by, None)).collect();
        let grants = self.state.live_grants();
        let grants = grants.filter(|grant| grant.tenant == who.tenant && grant.object == *object);
        facts.extend(grants.map(|grant| Fact::GrantRevoked {
            grant: grant.id,
            request: grant.request,
            tenant: grant.tenant.clone(),
            object: grant.object.clone(),
            subject: grant.subject.clone(),
            by: actor(&by),
            reason: Some(reason.clone()),
        }));
        // Nobody can be given what is gone.
        let waiting = self.state.pending();
        let waiting = waiting.filter(|request| request.tenant == who.tenant && request.object == *object);
        facts.extend(waiting.map(|request| {
            let (request, requester) = (request.id, request.subject.clone());
            let (tenant, object, by) = (who.tenant.clone(), object.clone(), who.subject.clone());
            let reason = Some(reason.clone());
            if requester == by {
                Fact::Withdrawn { request, tenant, object, by, reason }
            } else {
                Fact::Rejected { request, tenant, object, requester, by, wanted: 1, reason }
            }
        }));
        facts.push(Fact::TunnelDeleted {
            tenant: who.tenant.clone(),
            object: object.clone(),
            by: who.subject.clone(),
            reason: reason.clone(),
        });
        Ok(facts)
    }

    pub(super) fn describe(
        &self,
        who: &Identity,
        object: &Object,
        words: &Reason,
    ) -> Result<Vec<Fact>, Refusal> {
        self.may(who, object, Action::Write)?;
        Ok(vec![Fact::TunnelDescribed {
            tenant: who.tenant.clone(),
            object: object.clone(),
            by: who.subject.clone(),
            words: words.clone(),
        }])
    }
}

pub(super) fn ended(share: &Share, cause: ShareEnd, by: &Caller, reason: Option<&Reason>) -> Fact {
    Fact::ShareEnded {
        share: share.id,
        tenant: share.tenant.clone(),
        object: share.object.clone(),
        to: share.to.clone(),
        cause,
        by: Some(actor(by)),
        reason: reason.cloned(),
    }
}

//! Sharing, as the rest of the gateway orders and sees it.

use jiff::Timestamp;
use serde::Serialize;

use super::decide::Command;
use super::error::AccessError;
use super::handle::Access;
use super::identity::{Caller, Identity};
use super::ids::{ShareId, random};
use super::judge::{Judgement, judge};
use super::names::{Subject, Tenant};
use super::object::{Action, Object};
use super::reason::Reason;
use super::share::ShareRole;
use super::state::Share;

/// A share, and whether it gives anything now.
#[derive(Debug, Clone, Serialize)]
pub struct ShareView {
    /// The share.
    #[serde(flatten)]
    pub share: Share,
    /// Whether whoever gave it still holds what it gives: seeing the tunnel, at the least.
    pub backed: bool,
}

impl Access {
    /// Offers a person a role on a tunnel. It gives nothing before they have accepted it.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it; so with all orders below.
    pub async fn share(
        &self,
        by: impl Into<Caller>,
        (tenant, object): (Tenant, Object),
        to: Subject,
        role: ShareRole,
        until: Option<Timestamp>,
    ) -> Result<ShareId, AccessError> {
        let share = ShareId::new(self.now(), random());
        self.run(by, Command::Share { share, object, tenant, role, to, until }).await?;
        Ok(share)
    }

    /// Accepts what one was offered.
    pub async fn accept_share(&self, by: &Identity, share: ShareId) -> Result<(), AccessError> {
        self.run(by, Command::AcceptShare { share }).await.map(drop)
    }

    /// Makes the owner of a tunnel out of whoever publishes it first: nobody has, or had, a share of it. The operator gives
    /// it, so it rests on nobody else; what is left half done by a crash is an offer, which the person can accept.
    ///
    /// # Errors
    ///
    /// As of all orders: a refusal, or the ledger couldn't record it.
    pub async fn own_if_first(&self, who: &Identity, object: Object) -> Result<bool, AccessError> {
        let known = |share: &Share| share.tenant == who.tenant && share.object == object;
        if self.look(|standing| standing.state.shares().any(known)) {
            return Ok(false);
        }
        let place = (who.tenant.clone(), object);
        let id = self.share(Caller::Operator, place, who.subject.clone(), ShareRole::Owner, None).await?;
        self.accept_share(who, id).await?;
        Ok(true)
    }

    /// Ends a share or its offer: taken back, declined or given back. Live sessions that rest on it end at once.
    pub async fn end_share(
        &self,
        by: impl Into<Caller>,
        share: ShareId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::EndShare { share, reason }).await.map(drop)
    }

    /// Changes the words that describe a tunnel.
    pub async fn describe_tunnel(
        &self,
        by: &Identity,
        object: Object,
        words: Reason,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Describe { object, words }).await.map(drop)
    }

    /// Deletes a tunnel: its publication, its sessions, its shares and all grants for it end.
    pub async fn delete_tunnel(
        &self,
        by: &Identity,
        object: Object,
        reason: Reason,
    ) -> Result<(), AccessError> {
        self.run(by, Command::DeleteTunnel { object, reason }).await.map(drop)
    }

    /// Whether anything stands on a tunnel's name: a share, a grant, a request that waits, words that describe it. For
    /// whoever may delete it.
    pub fn stands_on(&self, tenant: &Tenant, object: &Object) -> bool {
        self.look(|standing| {
            let state = &standing.state;
            let of_it = |of: &Tenant, on: &Object| of == tenant && on == object;
            state.shares_on(tenant, object).next().is_some()
                || state.live_grants().any(|grant| of_it(&grant.tenant, &grant.object))
                || state.pending().any(|request| of_it(&request.tenant, &request.object))
                || state.description(tenant, object).is_some()
        })
    }

    /// The words that describe a tunnel, if somebody has written any.
    pub fn tunnel_description(&self, tenant: &Tenant, object: &Object) -> Option<String> {
        self.look(|standing| {
            standing.state.description(tenant, object).map(|words| words.as_str().to_owned())
        })
    }

    /// Shares that the caller may see, newest first: those that they gave or were given, and all of a tunnel that they may
    /// share or audit.
    pub fn shares(&self, by: impl Into<Caller>, object: Option<&Object>, ended: bool) -> Vec<ShareView> {
        let by = by.into();
        let now = self.now();
        let meant = |share: &&Share| {
            (ended || share.is_standing())
                && object.is_none_or(|object| share.object == *object)
                && by.person().is_none_or(|who| who.tenant == share.tenant)
        };
        let ids: Vec<ShareId> =
            self.look(|standing| standing.state.shares().rev().filter(meant).map(|share| share.id).collect());
        // One at a time: who looks through many must not keep a revocation waiting.
        ids.into_iter().filter_map(|id| self.share_seen(&by, id, now)).collect()
    }

    fn share_seen(&self, by: &Caller, id: ShareId, now: Timestamp) -> Option<ShareView> {
        self.look(|standing| {
            let (state, policy) = (&standing.state, &*standing.policy);
            let may = |who: &Identity, object: &Object, action| {
                matches!(judge(state, policy, who, object, action, now), Judgement::Allowed { .. })
            };
            let sees = |share: &&Share| {
                by.person().is_none_or(|who| {
                    who.tenant == share.tenant
                        && (share.to == who.subject
                            || share.by.as_ref() == Some(&who.subject)
                            || may(who, &share.object, Action::Share)
                            || may(who, &share.object, Action::Audit))
                })
            };
            let view = |share: &Share| {
                let asked = super::backing::Asked {
                    state,
                    policy,
                    tenant: &share.tenant,
                    object: &share.object,
                    now,
                };
                let backed = asked.backing(&share.to, Action::Read, None).is_some();
                ShareView { share: share.clone(), backed }
            };
            state.share(id).filter(sees).map(view)
        })
    }
}

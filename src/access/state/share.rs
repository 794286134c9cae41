//! Shares: offered, accepted, ended.

use jiff::Timestamp;
use serde::Serialize;

use super::State;
use crate::access::fact::{Fact, Stamp};
use crate::access::ids::ShareId;
use crate::access::names::{Subject, Tenant};
use crate::access::object::Object;
use crate::access::reason::Reason;
use crate::access::share::{ShareEnd, ShareRole};

/// What became of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ShareStatus {
    /// Waits for the person.
    Offered,
    /// In force.
    Active {
        /// Since when.
        since: Timestamp,
    },
    /// Over.
    Ended {
        /// When.
        at: Timestamp,
        /// Why.
        cause: ShareEnd,
        /// By whom; `None` for the operator and for time.
        by: Option<Subject>,
        /// In their words.
        reason: Option<Reason>,
    },
}

/// A role on a tunnel, given to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Its id.
    pub id: ShareId,
    /// In which tenant.
    pub tenant: Tenant,
    /// Which tunnel.
    pub object: Object,
    /// What they are on it.
    pub role: ShareRole,
    /// Who.
    pub to: Subject,
    /// Who gave it; `None` for the operator.
    pub by: Option<Subject>,
    /// When it was offered.
    pub offered: Timestamp,
    /// Until when it must be accepted.
    pub accept_by: Timestamp,
    /// Until when it lasts; `None`: no end of its own.
    pub until: Option<Timestamp>,
    /// What became of it.
    pub status: ShareStatus,
}

impl Share {
    /// Whether it is in force now, as far as it goes by itself.
    pub fn is_active(&self, now: Timestamp) -> bool {
        matches!(self.status, ShareStatus::Active { .. }) && self.until.is_none_or(|until| now < until)
    }

    /// Whether it is neither over nor ended.
    pub fn is_standing(&self) -> bool {
        !matches!(self.status, ShareStatus::Ended { .. })
    }

    /// When time ends it.
    pub fn ends(&self) -> Option<Timestamp> {
        match self.status {
            ShareStatus::Offered => {
                Some(self.until.map_or(self.accept_by, |until| until.min(self.accept_by)))
            }
            ShareStatus::Active { .. } => self.until,
            ShareStatus::Ended { .. } => None,
        }
    }

    /// One word for its state.
    pub fn state(&self) -> &'static str {
        match self.status {
            ShareStatus::Offered => "offered",
            ShareStatus::Active { .. } => "active",
            ShareStatus::Ended { .. } => "ended",
        }
    }
}

impl State {
    pub(super) fn share_offered(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::ShareOffered { share: id, tenant, object, role, to, by, until, accept_by } = fact else {
            return;
        };
        if self.shares.contains_key(id) || self.share_of(tenant, to, object).is_some() {
            return;
        }
        let share = Share {
            id: *id,
            tenant: tenant.clone(),
            object: object.clone(),
            role: *role,
            to: to.clone(),
            by: by.person().cloned(),
            offered: stamp.time,
            accept_by: *accept_by,
            until: *until,
            status: ShareStatus::Offered,
        };
        self.shared.entry((tenant.clone(), to.clone())).or_default().insert(*id);
        self.share_ends.extend(share.ends().map(|at| (at, *id)));
        self.shares.insert(*id, share);
    }

    pub(super) fn share_accepted(&mut self, stamp: Stamp, id: ShareId, by: &Subject) {
        let waits = |share: &&mut Share| share.status == ShareStatus::Offered && share.to == *by;
        let Some(share) = self.shares.get_mut(&id).filter(waits) else { return };
        if let Some(at) = share.ends() {
            self.share_ends.remove(&(at, id));
        }
        share.status = ShareStatus::Active { since: stamp.time };
        self.share_ends.extend(share.ends().map(|at| (at, id)));
    }

    pub(super) fn share_ended(&mut self, stamp: Stamp, fact: &Fact) {
        let Fact::ShareEnded { share, cause, by, reason, .. } = fact else { return };
        let by = by.as_ref().and_then(|by| by.person().cloned());
        self.end_share(
            *share,
            ShareStatus::Ended { at: stamp.time, cause: *cause, by, reason: reason.clone() },
        );
    }

    /// Records were lost that may have ended it.
    pub(super) fn share_lost(&mut self, stamp: Stamp, id: ShareId) {
        let cause = ShareEnd::Lapsed;
        self.end_share(id, ShareStatus::Ended { at: stamp.time, cause, by: None, reason: None });
    }

    pub(super) fn end_share(&mut self, id: ShareId, status: ShareStatus) {
        let Some(share) = self.shares.get_mut(&id).filter(|share| share.is_standing()) else { return };
        if let Some(at) = share.ends() {
            self.share_ends.remove(&(at, id));
        }
        share.status = status;
        let key = (share.tenant.clone(), share.to.clone());
        if let Some(held) = self.shared.get_mut(&key) {
            held.remove(&id);
            if held.is_empty() {
                self.shared.remove(&key);
            }
        }
    }

    /// A share by its id.
    pub fn share(&self, id: ShareId) -> Option<&Share> {
        self.shares.get(&id)
    }

    /// All shares, oldest first.
    pub fn shares(&self) -> impl DoubleEndedIterator<Item = &Share> {
        self.shares.values()
    }

    /// What stands for a person on a tunnel, offered or in force: at most one.
    pub fn share_of(&self, tenant: &Tenant, person: &Subject, object: &Object) -> Option<&Share> {
        if self.shared.is_empty() {
            return None;
        }
        let ids = self.shared.get(&(tenant.clone(), person.clone()))?;
        ids.iter().filter_map(|id| self.shares.get(id)).find(|share| share.object == *object)
    }

    /// All that stand on a tunnel.
    pub fn shares_on<'a>(
        &'a self,
        tenant: &'a Tenant,
        object: &'a Object,
    ) -> impl Iterator<Item = &'a Share> {
        self.shares.values().filter(move |s| s.is_standing() && s.tenant == *tenant && s.object == *object)
    }

    /// Shares and offers whose time is over, and whose end isn't recorded yet.
    pub fn overdue_shares(&self, now: Timestamp) -> impl Iterator<Item = &Share> {
        let due = self.share_ends.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, id)| self.shares.get(id))
    }
}

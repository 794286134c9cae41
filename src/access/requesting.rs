//! Asking for leave, and answering: the orders by which a request comes to be and is decided.

use super::decide::Command;
use super::error::AccessError;
use super::handle::Access;
use super::identity::Identity;
use super::ids::{GrantId, RequestId, random};
use super::limits::Limits;
use super::object::{Action, Object};
use super::reason::{Reason, Ticket};

/// What asking for access needs.
#[derive(Debug, Clone)]
pub struct Ask {
    /// For what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// For how many minutes from the approval.
    pub minutes: u32,
    /// Why.
    pub reason: Reason,
    /// The ticket it belongs to.
    pub ticket: Option<Ticket>,
    /// The grant of the same person that it is to take the place of.
    pub renews: Option<GrantId>,
    /// For one session and no other.
    pub once: bool,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approved {
    /// It counts, and others are still needed.
    Counted,
    /// It was the last one needed.
    Granted(GrantId),
}

impl Access {
    /// Asks for access.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or the ledger couldn't record it; so with all orders below.
    pub async fn request(&self, by: &Identity, ask: Ask) -> Result<RequestId, AccessError> {
        let id = RequestId::new(self.now(), random());
        let Ask { object, action, minutes, reason, ticket, renews, once } = ask;
        self.run(by, Command::Request { id, object, action, minutes, reason, ticket, renews, once }).await?;
        Ok(id)
    }

    /// Agrees to a request, for at most so many minutes (`None`: as asked).
    pub async fn approve(
        &self,
        by: &Identity,
        request: RequestId,
        minutes: Option<u32>,
        reason: Option<Reason>,
    ) -> Result<Approved, AccessError> {
        self.approve_within(by, request, Limits::minutes(minutes), reason).await
    }

    /// Agrees to a request within limits: fewer minutes, and conditions of the policy that the grant is bound to.
    ///
    /// # Errors
    ///
    /// A refusal, or the ledger couldn't record it.
    pub async fn approve_within(
        &self,
        by: &Identity,
        request: RequestId,
        limits: Limits,
        reason: Option<Reason>,
    ) -> Result<Approved, AccessError> {
        self.approve_signed(by, request, limits, reason, None).await
    }

    /// Says no to a request.
    pub async fn reject(
        &self,
        by: &Identity,
        request: RequestId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Reject { request, reason }).await.map(drop)
    }

    /// Takes one's own request back.
    pub async fn withdraw(
        &self,
        by: &Identity,
        request: RequestId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::Withdraw { request, reason }).await.map(drop)
    }
}

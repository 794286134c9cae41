//! Devices from outside: enrolling one, knowing it again, revoking it.

use jiff::Timestamp;

use super::decide::Command;
use super::device::{Device, DeviceId, DeviceKeys};
use super::error::AccessError;
use super::fact::Fact;
use super::handle::Access;
use super::identity::{Caller, Identity, Proof};
use super::judge::Judgement;
use super::judge::judge;
use super::object::{Action, Object, Part};
use super::reason::Reason;
use super::token::{self, AuthError, Purpose};

/// Why a device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum NotEnrolled {
    /// The join token doesn't prove anybody.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Refused, or not recorded.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl Access {
    /// Enrolls a device for the person whom a join token names. The caller has seen that whoever shows these keys holds
    /// their private halves.
    ///
    /// # Errors
    ///
    /// A join token that is no good, or was used before; a ledger that doesn't take the record.
    pub async fn enroll(
        &self,
        join: &str,
        device: DeviceId,
        keys: DeviceKeys,
        now: Timestamp,
    ) -> Result<Device, NotEnrolled> {
        let claims = self.verifier().verify(join, Purpose::Join, now)?;
        let expires = token::with_leeway(claims.expires);
        let who = Identity::proved(claims.subject, claims.tenant, Proof::Join(claims.token), expires);
        let facts = self.run(&who, Command::EnrollDevice { device, keys }).await?;
        debug_assert!(matches!(facts.as_slice(), [Fact::DeviceEnrolled { .. }]));
        self.look(|standing| standing.state.device(device).cloned())
            .ok_or(NotEnrolled::Access(AccessError::Stopped))
    }

    /// Who a device speaks for. `proves` says whether its keys have signed what only a present holder can have signed.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]; so with [`Self::authenticate`].
    pub fn authenticate_device(
        &self,
        id: DeviceId,
        proves: impl FnOnce(&DeviceKeys) -> bool,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let device =
            self.look(|standing| standing.state.device(id).cloned()).ok_or(AuthError::UnknownDevice)?;
        if !proves(&device.keys) {
            return Err(AuthError::Possession);
        }
        let expires = token::with_leeway(device.expires);
        self.standing(Identity::proved(device.subject, device.tenant, Proof::Device(id), expires), now)
    }

    /// Revokes a device; what stands on it ends at once.
    ///
    /// # Errors
    ///
    /// As with [`Self::revoke_token`].
    pub async fn revoke_device(
        &self,
        by: impl Into<Caller>,
        device: DeviceId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokeDevice { device, reason }).await.map(drop)
    }

    /// Devices that the caller may see, oldest first: their own, or for an admin of tokens the tenant's.
    pub fn devices(&self, by: impl Into<Caller>) -> Vec<Device> {
        let (by, now) = (by.into(), self.now());
        let mut devices: Vec<Device> = self.look(|standing| {
            let all = by.person().is_none_or(|who| {
                let object = Object::gateway(Part::Tokens);
                let judged = judge(&standing.state, &standing.policy, who, &object, Action::Admin, now);
                matches!(judged, Judgement::Allowed { .. })
            });
            let sees = |device: &&Device| {
                by.person()
                    .is_none_or(|who| who.tenant == device.tenant && (all || who.subject == device.subject))
            };
            standing.state.devices().filter(sees).cloned().collect()
        });
        devices.sort_by_key(|device| (device.enrolled, device.id));
        devices
    }
}

//! Enrolling a device at `wss://…/connect`: inside the handshake, because TLS may end at an ingress that must neither read
//! the join token nor put keys of its own in the place of the device's.

use secrecy::ExposeSecret as _;
use tracing::info;

use super::admission::note;
use super::publication::Wish;
use crate::access::{AccessError, AuthError, DeviceId, DeviceKeys, NotEnrolled};
use crate::clock;
use crate::tunnel::transport::MessageSocket;
use crate::tunnel::{Enrolled, Proof, Refusal, RefusalCode, Registration};

impl Wish<'_> {
    /// Answers a registration that wants its device enrolled; gives any other back.
    pub(super) async fn enroll<M: MessageSocket>(
        &self,
        registration: Registration<M>,
    ) -> Option<Registration<M>> {
        let Proof::Join { token, keys } = registration.proof().clone() else { return Some(registration) };
        let device = DeviceId::from_bytes(keys.id());
        let keys = DeviceKeys { ed25519: keys.ed25519.into(), ml_dsa: keys.ml_dsa.as_slice().into() };
        let enrolled = self.edge.access.enroll(token.expose_secret(), device, keys, clock::now()).await;
        match enrolled {
            Ok(enrolled) => {
                info!(peer = %self.connection.peer, %device, "device enrolled");
                let told = Enrolled {
                    subject: enrolled.subject.to_string(),
                    expires: u64::try_from(enrolled.expires.as_second()).unwrap_or(0),
                };
                registration.enrolled(&told).await;
            }
            Err(error) => {
                info!(peer = %self.connection.peer, %device, %error, "device not enrolled");
                registration.refuse(self.not_enrolled(&error).await).await;
            }
        }
        None
    }

    async fn not_enrolled(&self, error: &NotEnrolled) -> Refusal {
        let hint = match error {
            NotEnrolled::Auth(error) => return self.join_refused(error).await,
            NotEnrolled::Access(AccessError::Refused(refusal)) => refusal.hint(),
            NotEnrolled::Access(_) => {
                return Refusal::new(RefusalCode::Unavailable, "the gateway cannot enroll a device now");
            }
        };
        // Access has recorded it.
        self.edge.attempts.failed(self.connection.peer.ip());
        Refusal { code: RefusalCode::BadToken, reason: error.to_string(), hint: hint.to_owned() }
    }

    async fn join_refused(&self, error: &AuthError) -> Refusal {
        let (draft, refusal) = *self.not_authenticated(error);
        note(self.edge, draft).await;
        refusal
    }
}

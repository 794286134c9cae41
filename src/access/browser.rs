//! Sessions in browsers: tokens for one tunnel and a short time, which the person's own credential begins and ends.

use jiff::{SignedDuration, Timestamp};

use super::decide::{Command, Refusal};
use super::error::AccessError;
use super::handle::Access;
use super::identity::{Identity, Proof};
use super::ids::{TokenId, random};
use super::object::Object;
use super::token::{AuthError, Claims, LEEWAY, Purpose};

impl Access {
    /// Begins a session at one tunnel for whoever has just shown who they are: its id, its token, and its end. A session
    /// that a token of the gateway's begins ends with that at the latest.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or the ledger couldn't record it.
    pub async fn sign_in(
        &self,
        who: &Identity,
        object: Object,
        life: SignedDuration,
    ) -> Result<(TokenId, String, Timestamp), AccessError> {
        let now = self.now();
        let token = TokenId::new(now, random());
        let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let mut expires = not_before.saturating_add(life).map_err(|_| Refusal::TokenLife)?;
        if let (Proof::Token(_), Some(end)) = (who.proof, who.expires) {
            expires = expires.min(end.saturating_sub(LEEWAY).unwrap_or(end));
        }
        let expires = Timestamp::from_second(expires.as_second()).map_err(|_| Refusal::TokenLife)?;
        let (subject, tenant) = (who.subject.clone(), who.tenant.clone());
        let claims = Claims { purpose: Purpose::Session, subject, tenant, token, not_before, expires };
        // Signed first: a signature that fails leaves no token in the ledger that nobody holds.
        let (text, _held) = self.write_token(&claims).await?;
        self.run(who, Command::SignIn { token, object, expires }).await?;
        Ok((token, text, expires))
    }

    /// Who a session in a browser speaks for.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`].
    pub fn authenticate_session(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        self.of_purpose(token, Purpose::Session, now)
    }

    /// Ends the session that an identity is of; nothing else can be ended by it.
    ///
    /// # Errors
    ///
    /// As [`Self::revoke_token`].
    pub async fn sign_out(&self, who: &Identity) -> Result<(), AccessError> {
        match who.proof {
            Proof::Token(token) => self.revoke_token(who, token, None).await,
            _ => Ok(()),
        }
    }
}

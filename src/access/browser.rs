//! Sessions in browsers: tokens for one tunnel, or for the console, and a short time, which the person's own credential
//! begins and ends.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::decide::{Command, Refusal};
use super::error::AccessError;
use super::handle::Access;
use super::home_network::HomeNetwork;
use super::identity::{Identity, Proof};
use super::ids::{TokenId, random};
use super::object::{Action, Object};
use super::scope::Scope;
use super::token::{AuthError, Claims, LEEWAY, Purpose};

/// What a session in a browser is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Using one tunnel.
    Tunnel(Object),
    /// The console.
    Console,
}

impl Place {
    /// What it covers.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Tunnel(object) => Scope::only(object, Action::Connect),
            Self::Console => Scope::console(),
        }
    }

    /// Whether a credential that reaches so far may begin it.
    pub fn is_within(&self, scope: &Scope) -> bool {
        match self {
            Self::Tunnel(object) => scope.covers(object, Action::Connect),
            Self::Console => scope.is_whole(),
        }
    }

    /// The tunnel.
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Tunnel(object) => Some(object),
            Self::Console => None,
        }
    }
}

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
        self.begin_session(who, Place::Tunnel(object), life, None).await
    }

    /// Begins a session at the console, as [`Self::sign_in`] does at a tunnel; good in `network` alone, if there is one. Needs a
    /// credential that nothing narrows.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], or the ledger couldn't record it.
    pub async fn sign_in_to_console(
        &self,
        who: &Identity,
        life: SignedDuration,
        network: Option<HomeNetwork>,
    ) -> Result<(TokenId, String, Timestamp), AccessError> {
        self.begin_session(who, Place::Console, life, network).await
    }

    async fn begin_session(
        &self,
        who: &Identity,
        place: Place,
        life: SignedDuration,
        network: Option<HomeNetwork>,
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
        let claims =
            Claims { purpose: Purpose::Session, subject, tenant, token, not_before, expires, network };
        // Signed first: a signature that fails leaves no token in the ledger that nobody holds.
        let (text, _held) = self.write_token(&claims).await?;
        self.run(who, Command::SignIn { token, place, expires }).await?;
        Ok((token, text, expires))
    }

    /// Who a session in a browser, at a tunnel, speaks for.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`].
    pub fn authenticate_session(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let identity = self.of_purpose(token, Purpose::Session, now)?;
        if identity.scope == Scope::console() {
            return Err(AuthError::Malformed("it is a session at the console"));
        }
        Ok(identity)
    }

    /// Who a session at the console speaks for, that is shown from an address; `None` where it doesn't matter from where.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`], and that it began elsewhere and is good there alone.
    pub fn authenticate_console(
        &self,
        token: &str,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Identity, AuthError> {
        let claims = self.verifier().verify(token, Purpose::Session, now)?;
        let is_home = |address| claims.network.is_none_or(|network| network.holds(address));
        if !from.is_none_or(is_home) {
            return Err(AuthError::OtherNetwork);
        }
        let identity = self.of_claims(claims, now)?;
        if identity.scope != Scope::console() {
            return Err(AuthError::Malformed("it is a session at a tunnel"));
        }
        Ok(identity)
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

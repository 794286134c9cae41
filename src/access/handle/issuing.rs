//! Tokens of the gateway's own: issuing and revoking them, and replacing the key that signs them.

use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Access;
use crate::access::decide::{Command, Refusal};
use crate::access::error::AccessError;
use crate::access::fact::Fact;
use crate::access::identity::Caller;
use crate::access::ids::{TokenId, random};
use crate::access::names::{Subject, Tenant};
use crate::access::reason::Reason;
use crate::access::scope::Scope;
use crate::access::token::{Claims, Purpose, SignError, TokenKeys, TokenVerifier};
use crate::access::token_key::{StandingTokenKey, TokenKey};

impl Access {
    /// Issues a token for a person, which covers `scope` of what they may do. It is recorded before it exists outside: a token that the ledger doesn't know is
    /// never accepted. Show it once, in a file or an answer's body, never in a URL or a log.
    pub async fn issue_token(
        &self,
        by: impl Into<Caller>,
        subject: Subject,
        tenant: Tenant,
        life: SignedDuration,
        scope: Scope,
    ) -> Result<(TokenId, String), AccessError> {
        self.issue(by.into(), Purpose::Access, subject, tenant, life, scope).await
    }

    /// Issues a join token, by which the person enrolls one device; otherwise as [`Self::issue_token`].
    pub async fn issue_join_token(
        &self,
        by: impl Into<Caller>,
        subject: Subject,
        tenant: Tenant,
        life: SignedDuration,
    ) -> Result<(TokenId, String), AccessError> {
        self.issue(by.into(), Purpose::Join, subject, tenant, life, Scope::whole()).await
    }

    async fn issue(
        &self,
        by: Caller,
        purpose: Purpose,
        subject: Subject,
        tenant: Tenant,
        life: SignedDuration,
        scope: Scope,
    ) -> Result<(TokenId, String), AccessError> {
        // Or the token would be somebody else's for whom an issuer vouches.
        if let Some(issuer) = self.vouchers().and_then(|vouchers| vouchers.owner_of(&subject)) {
            return Err(Refusal::OutsideName { subject, issuer: issuer.to_string() }.into());
        }
        let now = self.inner.clock.now();
        let token = TokenId::new(now, random());
        let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expires = not_before.saturating_add(life).map_err(|_| Refusal::TokenLife)?;
        let expires = Timestamp::from_second(expires.as_second()).map_err(|_| Refusal::TokenLife)?;
        let claims = Claims {
            purpose,
            subject: subject.clone(),
            tenant: tenant.clone(),
            token,
            not_before,
            expires,
            network: None,
        };
        // Signed first: a signature that fails leaves no token in the ledger that nobody holds.
        let (text, _held) = self.write_token(&claims).await?;
        self.run(by, Command::IssueToken { token, purpose, subject, tenant, expires, scope }).await?;
        Ok((token, text))
    }

    /// What signs tokens now.
    pub(in crate::access) async fn token_signer(&self) -> Arc<dyn TokenKeys> {
        self.inner.keys.read().await.clone()
    }

    /// To be held until the token is recorded: then the ledger knows of it before its key is replaced.
    pub(in crate::access) async fn write_token(
        &self,
        claims: &Claims,
    ) -> Result<(String, tokio::sync::RwLockReadGuard<'_, Arc<dyn TokenKeys>>), AccessError> {
        let keys = self.inner.keys.read().await;
        let text = self.verifier().sign(&**keys, claims).await?;
        Ok((text, keys))
    }

    /// Revokes a token; sessions that were opened with it end at once.
    pub async fn revoke_token(
        &self,
        by: impl Into<Caller>,
        token: TokenId,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokeToken { token, outside: None, reason }).await.map(drop)
    }

    pub(in crate::access) fn verifier(&self) -> TokenVerifier {
        self.inner.verifier.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys by which a token is good now, first the one that signs.
    pub fn token_keys(&self) -> Vec<StandingTokenKey> {
        self.verifier().standing(self.now())
    }

    /// Has tokens signed by `next` from now on. What the key before it signed stands until the last of it has ended, or,
    /// if not `tokens_kept`, ends now, with all that stands on it. Gives until when.
    ///
    /// # Errors
    ///
    /// Whoever may not; a ledger that doesn't take the record: then the key before it stays.
    pub async fn replace_token_key(
        &self,
        by: impl Into<Caller>,
        next: Arc<dyn TokenKeys>,
        tokens_kept: bool,
        reason: Option<Reason>,
    ) -> Result<Timestamp, AccessError> {
        let new = TokenKey::from_point(&next.public_key_p256())
            .ok_or_else(|| SignError("its public key isn't a point on P-256".to_owned()))?;
        // Waits for tokens that are being made, and no other is begun.
        let mut keys = self.inner.keys.write().await;
        let old = TokenKey::from_point(&keys.public_key_p256())
            .ok_or_else(|| SignError("its public key isn't a point on P-256".to_owned()))?;
        let facts = self.run(by, Command::ReplaceTokenKey { old, new, tokens_kept, reason }).await?;
        let before = self.look(|standing| standing.state.token_keys().clone());
        let verifier = TokenVerifier::new(&*next, &before, &self.inner.issuer)?;
        *keys = next;
        *self.inner.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
        match facts.as_slice() {
            [Fact::TokenKeyReplaced { until, .. }] => Ok(*until),
            _ => Ok(self.now()),
        }
    }
}

//! People for whom somebody outside vouches: knowing them, and what ends it.
//!
//! Who asks whom, and how keys come here, is the business of whoever implements [`Vouchers`].

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::decide::Command;
use super::error::AccessError;
use super::fact::Renewal;
use super::handle::Access;
use super::identity::{Caller, Identity, Proof};
use super::ids::TokenId;
use super::issuer::{IssuerName, KeyPrint, Vouched};
use super::names::{Subject, Tenant};
use super::reason::Reason;
use super::token::{AuthError, is_typed_as_ours};

/// Whoever vouches for credentials that aren't the gateway's own.
pub trait Vouchers: Send + Sync + 'static {
    /// Who shows this. Bounded in time.
    fn vouch<'a>(&'a self, credential: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Vouched, AuthError>>;
    /// The issuer whose people alone have names like this one.
    fn owner_of(&self, subject: &Subject) -> Option<IssuerName>;
}

impl Access {
    /// Who a credential speaks for: a token of the gateway's own, or one for which somebody outside vouches.
    ///
    /// # Errors
    ///
    /// As [`Self::authenticate`].
    pub async fn recognize(&self, credential: &str, now: Timestamp) -> Result<Identity, AuthError> {
        match self.vouchers() {
            Some(vouchers) if !credential.is_empty() && !is_typed_as_ours(credential) => {
                self.vouched(vouchers.vouch(credential, now).await?, now)
            }
            _ => self.authenticate(credential, now),
        }
    }

    /// The person for whom somebody outside vouches, if nothing here stands against it.
    ///
    /// # Errors
    ///
    /// See [`AuthError`]; so with [`Self::authenticate`].
    pub fn vouched(&self, vouched: Vouched, now: Timestamp) -> Result<Identity, AuthError> {
        let distrusted = self.look(|standing| standing.state.distrusted_until());
        let is_token = vouched.proof.key.is_some();
        if is_token && distrusted.is_some_and(|until| vouched.issued.is_none_or(|issued| issued <= until)) {
            return Err(AuthError::TokenTooOld);
        }
        let proof = Proof::Outside(vouched.proof);
        let mut identity = Identity::proved(vouched.subject, vouched.tenant, proof, vouched.expires);
        identity.roles = vouched.roles.into();
        self.standing(identity, now)
    }

    /// Tells which keys of an issuer count from now on. What rests on one that doesn't any more ends at once.
    ///
    /// # Errors
    ///
    /// The ledger didn't take the record; the sessions are cut all the same.
    pub async fn issuer_keys(
        &self,
        issuer: IssuerName,
        keys: Vec<KeyPrint>,
        why: Renewal,
    ) -> Result<(), AccessError> {
        self.run(Caller::Operator, Command::IssuerKeys { issuer, keys, why }).await.map(drop)
    }

    /// Withdraws the keys of issuers that are not among these: the operator took them out.
    ///
    /// # Errors
    ///
    /// As [`Self::issuer_keys`].
    pub async fn only_issuers(&self, kept: &BTreeSet<IssuerName>) -> Result<(), AccessError> {
        let gone: Vec<IssuerName> = self.look(|standing| {
            let has_keys = |name: &&IssuerName| {
                !kept.contains(*name)
                    && standing.state.issuers_keys(name).is_some_and(|keys| !keys.is_empty())
            };
            standing.state.issuers().filter(has_keys).cloned().collect()
        });
        for issuer in gone {
            self.issuer_keys(issuer, Vec::new(), Renewal::Removed).await?;
        }
        Ok(())
    }

    /// Revokes a token of another issuer, by its id here: nothing more rests on it.
    ///
    /// # Errors
    ///
    /// As [`Self::revoke_token`].
    pub async fn revoke_outside_token(
        &self,
        by: impl Into<Caller>,
        token: TokenId,
        tenant: Tenant,
        reason: Option<Reason>,
    ) -> Result<(), AccessError> {
        self.run(by, Command::RevokeToken { token, outside: Some(tenant), reason }).await.map(drop)
    }
}

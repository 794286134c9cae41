//! What signing in needs of an identity provider; `gateway/issuers` asks the real ones.

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::access::{AuthError, Vouched};

/// What one sign-in is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'c> {
    /// Comes back with the code.
    pub state: &'c str,
    /// Stands in the identity token.
    pub nonce: &'c str,
    /// SHA-256 of the verifier (RFC 7636 section 4.2), base64url.
    pub code_challenge: &'c str,
}

/// Identity providers where people sign in with a browser (OpenID Connect, authorization code with PKCE).
pub trait Providers: Send + Sync + 'static {
    /// What each is called.
    fn names(&self) -> Vec<String>;
    /// The `iss` of one.
    fn issuer(&self, name: &str) -> Option<&str>;
    /// Where the browser is to go. Bounded in time.
    fn begin<'a>(
        &'a self,
        name: &'a str,
        challenge: Challenge<'a>,
    ) -> BoxFuture<'a, Result<String, AuthError>>;
    /// Who came back with this code. Bounded in time.
    fn finish<'a>(
        &'a self,
        name: &'a str,
        code: &'a str,
        verifier: &'a str,
        nonce: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vouched, AuthError>>;
}

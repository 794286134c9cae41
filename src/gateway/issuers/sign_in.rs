//! Signing in at an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636).
//!
//! Written on the verifier that every token of an issuer passes, and on the gateway's own bounded HTTP: a client library
//! would bring a second verifier beside it, and a second way to the network.
//!
//! The secret by which the provider knows the gateway goes to the token endpoint alone, in a header; the code too, in a body.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tracing::warn;

use super::discovery::{Discovered, MOST, PATIENCE, discover};
use super::keys::Keeper;
use crate::access::{AuthError, Issuer, Issuers, Vouched};
use crate::edge::{Challenge, Providers};
use crate::gateway::config::{IssuerSettings, ServerUrl, SignInSettings};
use crate::gateway::exchange::{Question, ask};
use crate::gateway::parts::GatewayError;
use crate::gateway::server::Server;

/// Providers that were configured for signing in.
pub(in crate::gateway) struct SignInDesk {
    pub(super) issuers: Issuers,
    pub(super) providers: Vec<Provider>,
}

/// One of them.
pub(super) struct Provider {
    /// With what it calls us as the audience.
    issuer: Issuer,
    settings: SignInSettings,
    root_file: Option<std::path::PathBuf>,
    secret: Option<SecretString>,
    server: Server,
    keeper: Arc<Keeper>,
    /// Where people come back to.
    redirect: String,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: SecretString,
}

impl Provider {
    pub(super) fn open(
        keeper: &Arc<Keeper>,
        all: &IssuerSettings,
        settings: &SignInSettings,
        redirect: &str,
    ) -> Result<Self, GatewayError> {
        let mut issuer = keeper.issuer().clone();
        issuer.audience.clone_from(&settings.client_id);
        let read = |file: &std::path::PathBuf| {
            let text = std::fs::read_to_string(file).map_err(|source| GatewayError::File {
                what: "read",
                path: file.clone(),
                source,
            })?;
            Ok::<_, GatewayError>(SecretString::from(text.trim().to_owned()))
        };
        let secret = settings.client_secret_file.as_ref().map(read).transpose()?;
        let server = Server::new(settings.url.clone(), all.root_file.as_deref())
            .map_err(|error| GatewayError::Stopped(format!("identity.issuer {}: {error}", issuer.name)))?;
        Ok(Self {
            issuer,
            settings: settings.clone(),
            root_file: all.root_file.clone(),
            secret,
            server,
            keeper: Arc::clone(keeper),
            redirect: redirect.to_owned(),
        })
    }

    async fn discovered(&self) -> Result<Discovered, AuthError> {
        discover(&self.server, &self.issuer.issuer).await.map_err(|why| self.away(&why))
    }

    fn away(&self, why: &dyn std::fmt::Display) -> AuthError {
        warn!(issuer = %self.issuer.name, %why, "nobody can sign in there");
        AuthError::VoucherAway
    }

    async fn begin(&self, challenge: Challenge<'_>) -> Result<String, AuthError> {
        let found = self.discovered().await?;
        let scope = std::iter::once("openid").chain(self.settings.scopes.iter().map(String::as_str));
        let query = serde_urlencoded::to_string([
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &self.redirect),
            ("scope", &scope.collect::<Vec<_>>().join(" ")),
            ("state", challenge.state),
            ("nonce", challenge.nonce),
            ("code_challenge", challenge.code_challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(format!("{}?{}", found.authorization_endpoint, query.map_err(|error| self.away(&error))?))
    }

    async fn finish(
        &self,
        issuers: &Issuers,
        code: &str,
        verifier: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Vouched, AuthError> {
        let endpoint = self.discovered().await?.token_endpoint;
        let tokens = self.redeem(&endpoint, code, verifier).await?;
        self.keeper.verify_as(&self.issuer, issuers, tokens.id_token.expose_secret(), Some(nonce), now).await
    }

    async fn redeem(&self, endpoint: &ServerUrl, code: &str, verifier: &str) -> Result<Tokens, AuthError> {
        let server =
            Server::new(endpoint.clone(), self.root_file.as_deref()).map_err(|error| self.away(&error))?;
        let body = serde_urlencoded::to_string([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("client_id", &self.settings.client_id),
            ("code_verifier", verifier),
        ]);
        let body = Bytes::from(body.map_err(|error| self.away(&error))?);
        let headers = match &self.secret {
            None => Vec::new(),
            Some(secret) => vec![(AUTHORIZATION, self.basic(secret)?)],
        };
        let question = Question {
            method: Method::POST,
            path: &endpoint.path,
            headers,
            body: Some(("application/x-www-form-urlencoded", body)),
        };
        match ask(&server, &question, MOST, PATIENCE).await.map_err(|error| self.away(&error))? {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).map_err(|_| self.away(&"its token answer can't be read"))
            }
            (StatusCode::BAD_REQUEST, _) => Err(AuthError::NotVouched),
            (status, _) => Err(self.away(&status)),
        }
    }

    /// RFC 6749 section 2.3.1: each half is form-encoded before it is joined.
    fn basic(&self, secret: &SecretString) -> Result<HeaderValue, AuthError> {
        let encoded = |text: &str| {
            let pair = serde_urlencoded::to_string([("", text)]).map_err(|error| self.away(&error))?;
            Ok::<_, AuthError>(pair.trim_start_matches('=').to_owned())
        };
        let pair = format!("{}:{}", encoded(&self.settings.client_id)?, encoded(secret.expose_secret())?);
        let pair = zeroize::Zeroizing::new(pair);
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))
            .map_err(|error| self.away(&error))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl SignInDesk {
    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.issuer.name.as_str() == name)
    }
}

impl Providers for SignInDesk {
    fn names(&self) -> Vec<String> {
        self.providers.iter().map(|provider| provider.issuer.name.to_string()).collect()
    }

    fn issuer(&self, name: &str) -> Option<&str> {
        self.provider(name).map(|provider| provider.issuer.issuer.as_str())
    }

    fn begin<'a>(
        &'a self,
        name: &'a str,
        challenge: Challenge<'a>,
    ) -> BoxFuture<'a, Result<String, AuthError>> {
        async move { self.provider(name).ok_or(AuthError::UnknownIssuer)?.begin(challenge).await }.boxed()
    }

    fn finish<'a>(
        &'a self,
        name: &'a str,
        code: &'a str,
        verifier: &'a str,
        nonce: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vouched, AuthError>> {
        async move {
            let provider = self.provider(name).ok_or(AuthError::UnknownIssuer)?;
            provider.finish(&self.issuers, code, verifier, nonce, now).await
        }
        .boxed()
    }
}

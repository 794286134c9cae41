//! What an OpenID provider says of itself (OpenID Connect Discovery 1.0): where its keys are, and where people sign in.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use crate::gateway::config::ServerUrl;
use crate::gateway::exchange::{Question, ask};
use crate::gateway::server::Server;

/// How long an issuer may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Longest document, in bytes.
pub(super) const MOST: usize = 256 << 10;

/// What of it is of use here.
#[derive(Debug, Clone)]
pub(super) struct Discovered {
    pub(super) jwks_uri: ServerUrl,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: ServerUrl,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// Asks for the discovery document, which must be of exactly this issuer (section 4.3).
pub(super) async fn discover(server: &Server, issuer: &str) -> Result<Discovered, String> {
    let path = format!("{}/.well-known/openid-configuration", server.url().path);
    let body = document(server, &path).await?;
    let said: Document =
        serde_json::from_slice(&body).map_err(|_| "its discovery document can't be read".to_owned())?;
    if said.issuer != issuer {
        return Err("its discovery document is of another issuer".to_owned());
    }
    // Held against the same rule as the others: a browser is sent there.
    ServerUrl::parse(&said.authorization_endpoint)?;
    Ok(Discovered {
        jwks_uri: ServerUrl::parse(&said.jwks_uri)?,
        authorization_endpoint: said.authorization_endpoint,
        token_endpoint: ServerUrl::parse(&said.token_endpoint)?,
    })
}

/// One document.
pub(super) async fn document(server: &Server, path: &str) -> Result<Bytes, String> {
    let answer = ask(server, &Question::get(path), MOST, PATIENCE).await;
    match answer.map_err(|error| error.to_string())? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(format!("it answered with {status}")),
    }
}

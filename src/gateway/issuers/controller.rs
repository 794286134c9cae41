//! A controller: the operator's own service, which says who a credential speaks for.
//!
//! It is asked with the credential in a POST, never in a URL, and answers with a name, a tenant, groups and an end. What it
//! said counts for a stated short time, also when it said no; if it can't be reached nobody is let in by it. A session that
//! it let in ends when its answer does, at the latest.
//!
//! Trusted: the controller, for everybody of its tenant; the roots that were configured, for the way.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use crate::access::{AuthError, Outside, Role, Subject, Tenant, TokenId, Vouched};
use crate::clock;
use crate::gateway::config::ControllerSettings;
use crate::gateway::exchange::{Question, ask};
use crate::gateway::parts::GatewayError;
use crate::gateway::server::Server;

/// Longest credential that is passed on, and longest answer, in bytes.
const LONGEST: usize = 8_192;
const MOST: usize = 64 << 10;
/// Most answers that are remembered.
const MANY: usize = 10_000;
/// Most groups in an answer.
const MAX_GROUPS: usize = 64;
/// Longest time that one answer lets anybody in.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// See the module.
pub(super) struct Controller {
    server: Server,
    path: String,
    /// By which the controller knows us.
    credential: Option<HeaderValue>,
    tenant: Tenant,
    timeout: Duration,
    remember: Duration,
    known: Mutex<Known>,
}

/// What was answered, until when, by the digest of the token.
type Known = HashMap<[u8; 32], (Instant, Result<Vouched, AuthError>)>;

#[derive(Deserialize)]
struct Answer {
    subject: String,
    tenant: String,
    #[serde(default)]
    groups: Vec<String>,
    expires: Timestamp,
}

impl Controller {
    pub(super) fn open(settings: &ControllerSettings, tenant: &Tenant) -> Result<Self, GatewayError> {
        let stopped =
            |error: &dyn std::fmt::Display| GatewayError::Stopped(format!("identity.controller: {error}"));
        let server = Server::new(settings.url.clone(), settings.root_file.as_deref())
            .map_err(|error| stopped(&error))?;
        let credential = settings.token_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).map_err(|source| GatewayError::File {
                what: "read",
                path: file.clone(),
                source,
            })?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
                .map_err(|_| stopped(&"the token in its file can't be sent in a header"))?;
            value.set_sensitive(true);
            Ok::<_, GatewayError>(value)
        });
        Ok(Self {
            server,
            path: settings.url.path.clone(),
            credential: credential.transpose()?,
            tenant: tenant.clone(),
            timeout: settings.timeout,
            remember: settings.remember,
            known: Mutex::default(),
        })
    }

    /// Who shows this, as the controller says now or said a short time ago.
    pub(super) async fn ask(&self, credential: &str, now: Timestamp) -> Result<Vouched, AuthError> {
        if credential.len() > LONGEST {
            return Err(AuthError::TooLong { length: credential.len() });
        }
        let digest: [u8; 32] = Sha256::digest(credential).into();
        let said = |said: Result<Vouched, AuthError>| match said {
            Ok(vouched) if now >= vouched.expires => Err(AuthError::Expired { at: vouched.expires }),
            said => said,
        };
        let at = clock::monotonic();
        if let Some((until, known)) = self.known().get(&digest)
            && at < *until
        {
            return said(known.clone());
        }
        // What can't be reached says nothing, and is not remembered.
        let answer = match self.question(credential).await {
            Err(AuthError::VoucherAway) => return Err(AuthError::VoucherAway),
            Ok(answer) => self.read(&answer, digest, now),
            Err(error) => Err(error),
        };
        let mut known = self.known();
        if known.len() >= MANY {
            known.retain(|_, (until, _)| at < *until);
        }
        if known.len() < MANY {
            known.insert(digest, (at + self.remember, answer.clone()));
        }
        drop(known);
        said(answer)
    }

    async fn question(&self, credential: &str) -> Result<Answer, AuthError> {
        let body = json!({ "token": credential }).to_string();
        let headers = self.credential.iter().map(|value| (AUTHORIZATION, value.clone())).collect();
        let question = Question {
            method: Method::POST,
            path: &self.path,
            headers,
            body: Some(("application/json", Bytes::from(body))),
        };
        let away = |why: &dyn std::fmt::Display| {
            warn!(%why, "the controller can't be asked");
            AuthError::VoucherAway
        };
        let answered = ask(&self.server, &question, MOST, self.timeout).await;
        let (status, body) = answered.map_err(|error| away(&error))?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|_| away(&"its answer can't be read")),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Err(AuthError::NotVouched)
            }
            status => Err(away(&status)),
        }
    }

    fn read(&self, answer: &Answer, digest: [u8; 32], now: Timestamp) -> Result<Vouched, AuthError> {
        let subject: Subject = answer
            .subject
            .parse()
            .map_err(|_| AuthError::Unnamed("the controller's name can't be one here"))?;
        if subject.is_anonymous() || answer.groups.len() > MAX_GROUPS {
            return Err(AuthError::Unnamed("the controller's answer can't be used"));
        }
        if answer.tenant.parse::<Tenant>().ok().as_ref() != Some(&self.tenant) {
            return Err(AuthError::OtherGateway);
        }
        let role = |group: &String| format!("role:{group}").parse::<Role>();
        let roles = answer.groups.iter().map(role).collect::<Result<_, _>>();
        let roles =
            roles.map_err(|_| AuthError::Unnamed("a group of the controller's can't be a role here"))?;
        let latest = now.saturating_add(LONGEST_LIFE).unwrap_or(now);
        let proof = Outside { token: TokenId::of_controllers(&digest), key: None };
        let expires = answer.expires.min(latest);
        Ok(Vouched { subject, tenant: self.tenant.clone(), roles, proof, issued: None, expires })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Only inserted into and removed from: a panic elsewhere leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

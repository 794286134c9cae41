//! What a publisher tells whoever shows its state: status lines, `--json`, tests.

use std::time::Duration;

use serde::Serialize;

use super::{DialError, Transport, Trust};
use crate::tunnel::handshake::{AcceptedTunnel, Fingerprint, Mode, SessionId, Suite};

/// One step in a publisher's life.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An attempt begins.
    Connecting {
        /// `host:port`.
        gateway: String,
    },
    /// A transport did not come up; the next one is tried.
    Fallback {
        /// `quic`, `tls` or `websocket`.
        from: &'static str,
        /// What and why.
        reason: String,
        /// What to do if it should come up.
        hint: String,
    },
    /// The gateway has proved who it is.
    Connected {
        /// `host:port`.
        gateway: String,
        /// Its organisation and name.
        identity: String,
        /// Its keys.
        #[serde(serialize_with = "show_display")]
        fingerprint: Fingerprint,
        /// Why it is trusted.
        #[serde(serialize_with = "show_trust")]
        trust: Trust,
        /// The algorithms.
        #[serde(serialize_with = "show_suite")]
        suite: Suite,
        /// Whether frames are sealed end to end because something ends the TLS in between.
        #[serde(serialize_with = "show_sealed", rename = "sealed")]
        mode: Mode,
        /// Whether the gateway knew this client again by its ticket, so that no identity had to be shown.
        resumed: bool,
        /// `quic`, `tls` or `websocket`: what carries the messages.
        transport: &'static str,
        /// The proxy on the way, without credentials.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
    },
    /// One more of several connections is up.
    Widened {
        /// `quic`, `tls` or `websocket`.
        transport: &'static str,
        /// How many there are now.
        connections: usize,
    },
    /// One more of several connections did not come up; it is tried again.
    NotWidened {
        /// What and why.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// One of several connections is gone; it is dialled again, and the others go on.
    Narrowed {
        /// Why.
        reason: String,
        /// How many are left.
        left: usize,
    },
    /// A tunnel is open.
    Registered {
        /// Its name.
        name: String,
        /// Where visitors reach it.
        url: String,
        /// This registration, `tun-…`.
        id: String,
        /// The connection, as in the gateway's log.
        #[serde(serialize_with = "show_display")]
        link: SessionId,
    },
    /// The gateway, or this client, refused; trying again would not help.
    Refused {
        /// What and why.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// An attempt failed.
    Failed {
        /// What and why.
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// The gateway's admin says that it will be away.
    Maintenance {
        /// From when on (RFC 3339).
        at: String,
        /// What the admin says of it.
        reason: String,
    },
    /// The gateway is going away for a while: what is under way may finish, and the connection ends then.
    Draining,
    /// A connection that was up is gone.
    Disconnected {
        /// Why.
        reason: String,
    },
    /// The next attempt comes after a while.
    Retrying {
        /// When.
        #[serde(serialize_with = "show_millis", rename = "in_ms")]
        after: Duration,
        /// Failures in a row so far.
        failures: u32,
    },
    /// A visitor's request or stream was served.
    Request {
        /// The tunnel.
        tunnel: String,
        /// `GET` …, `STREAM` for a byte stream, `RESUMED` for one that goes on over another connection, or `DATAGRAMS` for a flow that travels in datagrams of QUIC.
        method: String,
        /// The path without its query, which may hold secrets; empty for a byte stream.
        path: String,
        /// The status that the visitor's side got.
        status: u16,
        /// Until the head of the response.
        #[serde(serialize_with = "show_millis", rename = "took_ms")]
        took: Duration,
    },
    /// Something became of a connection to an app.
    AppConnection {
        /// The tunnel in front of it.
        tunnel: String,
        /// What.
        turn: AppConnectionTurn,
        /// Why, where there is more to say.
        #[serde(skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Too many failures in a row.
    GaveUp {
        /// How many.
        failures: u32,
        /// The last reason.
        reason: String,
    },
}

/// What can become of a connection to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppConnectionTurn {
    /// It was made for a request.
    Made,
    /// It was made before it is needed.
    MadeAhead,
    /// It could not be made.
    Failed,
    /// The app closed it while it rested.
    Closed,
    /// It rested, or was used, for as long as one may.
    Retired,
}

impl AppConnectionTurn {
    /// As in `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::MadeAhead => "made-ahead",
            Self::Failed => "failed",
            Self::Closed => "closed",
            Self::Retired => "retired",
        }
    }
}

impl Event {
    pub(super) fn fallback(from: Transport, reason: &DialError) -> Self {
        Self::Fallback { from: from.word(), reason: reason.to_string(), hint: reason.hint() }
    }

    pub(super) fn registered(tunnel: &AcceptedTunnel, link: SessionId) -> Self {
        Self::Registered {
            name: tunnel.name.to_string(),
            url: tunnel.url.clone(),
            id: tunnel.id.to_string(),
            link,
        }
    }
}

fn show_display<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn show_trust<S: serde::Serializer>(value: &Trust, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.word())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn show_suite<S: serde::Serializer>(value: &Suite, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.name())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn show_sealed<S: serde::Serializer>(value: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(*value == Mode::Sealed)
}

fn show_millis<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

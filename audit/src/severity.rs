//! How grave a record is, in syslog's numbers: what filters, formats and the event catalogue share.

use crate::{kind::Kind, record::Outcome};

/// Severity (RFC 5424 table 2): a refusal is a warning, a failure an error, a change of who may do what a notice.
pub fn severity(kind: Kind, result: Outcome) -> u8 {
    const CRITICAL: u8 = 2;
    const ERROR: u8 = 3;
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    const INFORMATIONAL: u8 = 6;
    match (kind, result) {
        // The last is a control that did not hold.
        (Kind::HsmDown | Kind::LedgerResumed | Kind::GlassBroken, _)
        | (Kind::CanaryTried, Outcome::Failure) => CRITICAL,
        (_, Outcome::Failure) => ERROR,
        (_, Outcome::Denied)
        | (
            Kind::LedgerRecovered
            | Kind::LedgerRebuilt
            | Kind::ClockJumped
            | Kind::SinkFailed
            | Kind::SinkQuarantined
            | Kind::SinkLate
            | Kind::DetectionRaised
            | Kind::KeyDue
            | Kind::TunnelLost
            | Kind::GlassTold,
            Outcome::Success,
        ) => WARNING,
        (
            Kind::GatewayHeartbeat
            | Kind::LedgerWitnessed
            | Kind::LedgerScrubbed
            | Kind::HandshakeAccepted
            | Kind::AccessDecided
            | Kind::SessionOpened
            | Kind::SessionClosed
            | Kind::HttpRequest
            | Kind::AdminCalled
            | Kind::SinkDelivered
            | Kind::NotificationSent
            | Kind::CanaryTried,
            Outcome::Success,
        ) => INFORMATIONAL,
        (_, Outcome::Success) => NOTICE,
    }
}

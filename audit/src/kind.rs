//! What can be recorded: a closed set.
//!
//! A verifier that meets a kind it does not know refuses the record instead of showing something it cannot
//! explain; a new kind therefore comes with a new format version or a new program, never by accident.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal),+ $(,)?) => {
        /// What a record says happened. Written as text such as `session.opened`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[doc = $doc])+ $variant),+ }

        impl Kind {
            /// Every kind, in the order of the specification.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            /// The text that stands in the record.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $text),+ }
            }

            /// What the kind means, in a sentence; the source of the event catalogue.
            pub const fn meaning(self) -> &'static str {
                match self { $(Kind::$variant => concat!($($doc),+)),+ }
            }

            /// Reads the text of a record; `None` for a kind which this program does not know.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Kind::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// The gateway began to run; details name its version and configuration.
    GatewayStarted = "gateway.started",
    /// The gateway drained and ended on purpose.
    GatewayStopped = "gateway.stopped",
    /// The gateway was alive and had nothing else to say.
    GatewayHeartbeat = "gateway.heartbeat",
    /// The first record of every ledger: its origin, key and format.
    LedgerCreated = "ledger.created",
    /// An end of the journal that was never acknowledged was set aside: unfinished when the ledger was opened, or not written or synced; details say why and when.
    LedgerRecovered = "ledger.recovered",
    /// The query store was made anew from the journal.
    LedgerRebuilt = "ledger.rebuilt",
    /// Records were lost, and the ledger goes on in a new epoch: details say why, under which name and what is missing.
    LedgerResumed = "ledger.resumed",
    /// Witnesses were asked to cosign the ledger's head; details name who did, who did not, and why.
    LedgerWitnessed = "ledger.witnessed",
    /// Journal and query store were read again from end to end; details name what was found and mended.
    LedgerScrubbed = "ledger.scrubbed",
    /// The wall clock went backwards, or away from the monotonic clock.
    ClockJumped = "clock.jumped",
    /// A configuration was taken into use.
    ConfigLoaded = "config.loaded",
    /// A key was made.
    KeyCreated = "key.created",
    /// A key was found in its provider at start.
    KeyLoaded = "key.loaded",
    /// A key was replaced by a newer one.
    KeyRotated = "key.rotated",
    /// A key is due to be replaced, or will be soon; details say which and when.
    KeyDue = "key.due",
    /// A key is no longer used.
    KeyRetired = "key.retired",
    /// The ledger's key lent signing to a short-lived one, for a time and a number of heads.
    KeyDelegated = "key.delegated",
    /// The key provider stopped answering.
    HsmDown = "hsm.down",
    /// The key provider answers again.
    HsmUp = "hsm.up",
    /// An access policy was taken into use; details say which way it went from the one before, and what became wider.
    PolicyLoaded = "policy.loaded",
    /// An access policy was refused and the one before it kept.
    PolicyRefused = "policy.refused",
    /// A person proposed an access policy; it is used once another person has approved it.
    PolicyProposed = "policy.proposed",
    /// A second person approved the access policy that was proposed.
    PolicyApproved = "policy.approved",
    /// A token was made for a subject.
    TokenIssued = "token.issued",
    /// A token was declared invalid before its end.
    TokenRevoked = "token.revoked",
    /// The keys of another issuer that count are others than before; details name them, and those that were withdrawn.
    IssuerKeys = "issuer.keys",
    /// A device was enrolled for a person: from now on its keys prove who they are.
    DeviceEnrolled = "device.enrolled",
    /// A device was declared lost or unwanted: its keys prove nobody any more.
    DeviceRevoked = "device.revoked",
    /// A person enrolled a passkey of their own, by which they sign what they approve.
    PasskeyEnrolled = "passkey.enrolled",
    /// A passkey was revoked: what it signs counts no more.
    PasskeyRevoked = "passkey.revoked",
    /// A client certificate was revoked here: it proves nobody any more, whatever its issuer says.
    CertificateRevoked = "certificate.revoked",
    /// Certificates that the gateway shows or gives out were exchanged while it ran; or the files were of no use, and those before stayed.
    CertificateLoaded = "certificate.loaded",
    /// A credential was not accepted.
    AuthFailed = "auth.failed",
    /// A publisher and the gateway agreed on keys.
    HandshakeAccepted = "handshake.accepted",
    /// A tunnel handshake was broken off.
    HandshakeRefused = "handshake.refused",
    /// A publisher registered a tunnel name.
    TunnelRegistered = "tunnel.registered",
    /// A publisher was refused a tunnel name.
    TunnelRefused = "tunnel.refused",
    /// The connection to a publisher broke; the name is kept for the grace period.
    TunnelLost = "tunnel.lost",
    /// An app is not well, or is again, as its publisher's checks found or the gateway's circuit breaker; details say which, and why.
    TunnelHealth = "tunnel.health",
    /// A tunnel name was given up.
    TunnelClosed = "tunnel.closed",
    /// Somebody changed the words that describe a tunnel.
    TunnelDescribed = "tunnel.described",
    /// Somebody deleted a tunnel: its publication, its shares and all leave to use it end.
    TunnelDeleted = "tunnel.deleted",
    /// Policy was asked, and answered.
    AccessDecided = "access.decided",
    /// Somebody asked for access.
    AccessRequested = "access.requested",
    /// Somebody agreed to a request.
    AccessApproved = "access.approved",
    /// Somebody refused a request.
    AccessRejected = "access.rejected",
    /// A request was put before further people, because nobody had answered it.
    AccessEscalated = "access.escalated",
    /// A request was not answered in time.
    AccessExpired = "access.expired",
    /// A requester took a request back.
    AccessWithdrawn = "access.withdrawn",
    /// A subject was locked out.
    AccessLocked = "access.locked",
    /// A subject's lock was lifted.
    AccessUnlocked = "access.unlocked",
    /// Leave to use a tunnel for a time was given.
    GrantIssued = "grant.issued",
    /// A grant was used first: its time began to run, or it is used up.
    GrantBegun = "grant.begun",
    /// A grant was ended before its time.
    GrantRevoked = "grant.revoked",
    /// A grant reached its end.
    GrantExpired = "grant.expired",
    /// Somebody who would have had to approve was told that the glass is being broken.
    GlassTold = "glass.told",
    /// Somebody broke the glass: took leave without the approval that policy demands.
    GlassBroken = "glass.broken",
    /// Somebody else reviewed a breaking of the glass.
    GlassReviewed = "glass.reviewed",
    /// Somebody offered a person a role on a tunnel.
    ShareOffered = "share.offered",
    /// The person accepted the role that was offered.
    ShareAccepted = "share.accepted",
    /// A share or its offer ended: taken back, declined, or by its time.
    ShareEnded = "share.ended",
    /// One item of an access review's population that stands in no record of its own.
    ReviewItem = "review.item",
    /// An access review began, over a population that is frozen from then on; details give its digest.
    ReviewStarted = "review.started",
    /// A reviewer decided on one item of an access review.
    ReviewDecided = "review.decided",
    /// An access review ended; what nobody had decided on was ended.
    ReviewClosed = "review.closed",
    /// What must be refused was tried on purpose: success is that it was refused, failure that it was not.
    CanaryTried = "canary.tried",
    /// A visitor's session began; durable before its first payload byte.
    SessionOpened = "session.opened",
    /// A visitor's session ended, with counts and cause.
    SessionClosed = "session.closed",
    /// A visitor's session did not begin.
    SessionRefused = "session.refused",
    /// One HTTP request within a session.
    HttpRequest = "http.request",
    /// A connection was refused before a session could be thought of.
    ConnectionRefused = "connection.refused",
    /// The admin interface was used.
    AdminCalled = "admin.called",
    /// An evidence pack was made of a period, or could not be made; details give its digest.
    ReportMade = "report.made",
    /// A person's data key was destroyed: what was sealed under it can never be read again.
    PersonalErased = "personal.erased",
    /// One personal value of a record was opened for somebody, such as an auditor.
    PersonalDisclosed = "personal.disclosed",
    /// A sink's receiver was reached.
    SinkConnected = "sink.connected",
    /// A sink's receiver could not be reached or refused.
    SinkFailed = "sink.failed",
    /// A sink delivered a range of records.
    SinkDelivered = "sink.delivered",
    /// A sink set a record aside which its receiver would not take, or sent a pointer in the place of one that was too large; the detail `pointer` says which.
    SinkQuarantined = "sink.quarantined",
    /// Records wait for a sink for longer than they may: soon its receiver would refuse them for their age.
    SinkLate = "sink.late",
    /// A rule found something in the records that somebody should look at; details name the rule, the person it is about and the records.
    DetectionRaised = "detection.raised",
    /// Somebody was told of something; details say of which record, by which way, and how many people.
    NotificationSent = "notification.sent",
    /// Somebody could not be told of something; details say of which record, by which way, and why.
    NotificationFailed = "notification.failed",
    /// Records were taken out of the ledger, after a copy of them was archived; details say which, under which rules, and the digest of what is left in their place.
    RetentionPruned = "retention.pruned",
    /// Records were put under legal hold: none that it selects may be pruned.
    RetentionHeld = "retention.held",
    /// A legal hold was lifted.
    RetentionReleased = "retention.released",
}

impl Kind {
    /// The kind of this name, or all of a family such as `session`.
    pub fn named(text: &str) -> Vec<Self> {
        let named = |kind: &&Self| {
            kind.as_str() == text || kind.as_str().split_once('.').is_some_and(|(family, _)| family == text)
        };
        Self::ALL.iter().filter(named).copied().collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a known record kind")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Kind, E> {
                Kind::parse(text)
                    .ok_or_else(|| E::custom(format_args!("the kind {text:?} is not known to this program")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn every_kind_reads_back_from_its_own_text() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(Kind::parse("session.imagined"), None);
        assert_eq!(Kind::ALL.len(), 86);
    }
}

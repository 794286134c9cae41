//! One record as one syslog message (RFC 5424): a pure function of the record.
//!
//! Why: a SIEM must be able to search the records, and an auditor must be able to check later that what the SIEM
//! holds is what the ledger holds. So the MSG is the record's canonical JSON, byte for byte, and the structured
//! data beside it carries the ledger's origin, the record's number, its leaf digest and the digest before it:
//! SHA-256(0x00 ‖ MSG) is the leaf digest, without any other help.
//!
//! Promised: the header's fields are printable US-ASCII of the lengths of RFC 5424 section 6; parameter values are
//! escaped as section 6.3.3 demands and hold no control character; the same record gives the same message each
//! time it is sent. Not promised: a size. A record may be 65,535 bytes; [`super::SyslogOptions::max_message`] is
//! the bound, and what exceeds it goes as [`Format::pointer`].
//!
//! The MSG has no byte order mark. RFC 5424 section 6.4 asks for one before UTF-8; receivers (rsyslog among them)
//! keep it as part of the text, which breaks JSON parsing and the digest. Without it the MSG is MSG-ANY, which is valid.

use std::fmt::Write as _;

use crate::{kind::Kind, ledger::Entry, record::Outcome, sidecar::Value};

use super::options::{Facility, PersonalView, SinkName};

/// APP-NAME of every message.
pub const APP_NAME: &str = "sallyport";

/// What the messages of one sink have in common.
#[derive(Clone, Debug)]
pub struct Format {
    /// The ledger's origin (the name on its checkpoints): which log a record belongs to.
    pub origin: String,
    /// The sink's name: whose sequence the messages count.
    pub sink: SinkName,
    /// Syslog facility.
    pub facility: Facility,
    /// Private enterprise number after the `@` of the structured data's ids (RFC 5424 section 7.2.2).
    pub enterprise: u32,
    /// PROCID: the sending process. A change tells the reader of a restart.
    pub process: Option<u32>,
    /// Whether readable personal values go along.
    pub personal: PersonalView,
}

impl Format {
    /// The whole message, without framing. `sequence` counts what this sink has sent, from 1.
    pub fn message(&self, entry: &Entry, sequence: u64) -> Vec<u8> {
        let mut head = self.head(entry);
        self.place(&mut head, entry, sequence);
        head.push(']');
        self.people(&mut head, entry);
        head.push(' ');
        let mut message = head.into_bytes();
        message.extend_from_slice(&entry.bytes);
        message
    }

    /// The same header and place in the ledger, but no content: what is sent for a record too large for the
    /// receiver, so that the SIEM sees no gap and knows what to fetch. `octets` is the refused message's size.
    pub fn pointer(&self, entry: &Entry, sequence: u64, octets: usize) -> Vec<u8> {
        let mut head = self.head(entry);
        self.place(&mut head, entry, sequence);
        param(&mut head, "oversize", &octets.to_string());
        head.push(']');
        head.into_bytes()
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID `
    fn head(&self, entry: &Entry) -> String {
        let record = &entry.record;
        let priority = u16::from(self.facility.code()) * 8 + u16::from(severity(record.kind, record.result));
        let process = self.process.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut head = String::with_capacity(512 + entry.bytes.len());
        // TIME-SECFRAC has at most six digits; jiff cuts the ledger's nanoseconds, it doesn't round them.
        let _ = write!(
            head,
            "<{priority}>1 {time:.6} {host} {APP_NAME} {process} {msgid} ",
            time = record.time,
            host = printable(&record.node, 255),
            msgid = printable(record.kind.as_str(), 32),
        );
        head
    }

    /// The element that says where the record stands, left open for one more parameter.
    fn place(&self, out: &mut String, entry: &Entry, sequence: u64) {
        let _ = write!(out, "[sallyport@{}", self.enterprise);
        param(out, "origin", &self.origin);
        param(out, "seq", &entry.record.seq.to_string());
        param(out, "leaf", &entry.digest().to_string());
        param(out, "prev", &entry.record.prev.to_string());
        param(out, "sink", self.sink.as_str());
        param(out, "sinkseq", &sequence.to_string());
        param(out, "result", entry.record.result.as_str());
    }

    /// The element with personal values: apart from the MSG, which holds only commitments to them.
    fn people(&self, out: &mut String, entry: &Entry) {
        if self.personal == PersonalView::Commitments || entry.record.personal.is_empty() {
            return;
        }
        let _ = write!(out, "[who@{}", self.enterprise);
        let (mut erased, mut withheld) = (Vec::new(), Vec::new());
        for (field, value) in entry.personal.iter() {
            match value {
                Value::Readable { text, .. } => param(out, field.as_str(), text),
                Value::Erased { .. } => erased.push(field.as_str()),
                Value::Unreadable { .. } => withheld.push(field.as_str()),
            }
        }
        // The reader must not take it for "nobody": erased for good, or not readable while the provider is away.
        for (name, fields) in [("erased", erased), ("withheld", withheld)] {
            if !fields.is_empty() {
                param(out, name, &fields.join(","));
            }
        }
        out.push(']');
    }
}

/// Appends `message` to `out` as one octet-counted frame (RFC 5425 section 4.3, RFC 6587 section 3.4.1).
pub fn frame(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(message);
}

/// Severity (RFC 5424 table 2): a refusal is a warning, a failure an error, a change of who may do what a notice.
pub fn severity(kind: Kind, result: Outcome) -> u8 {
    const CRITICAL: u8 = 2;
    const ERROR: u8 = 3;
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    const INFORMATIONAL: u8 = 6;
    match (kind, result) {
        (Kind::HsmDown | Kind::LedgerResumed | Kind::GlassBroken, _) => CRITICAL,
        // A control that did not hold.
        (Kind::CanaryTried, Outcome::Failure) => CRITICAL,
        (_, Outcome::Failure) => ERROR,
        (_, Outcome::Denied)
        | (
            Kind::LedgerRecovered
            | Kind::LedgerRebuilt
            | Kind::ClockJumped
            | Kind::SinkFailed
            | Kind::SinkQuarantined
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

/// ` name="value"` with the three escapes of RFC 5424 section 6.3.3.
fn param(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, " {name}=\"");
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => {
                out.push('\\');
                out.push(character);
            }
            // Allowed by the grammar, but a line break inside a value lets whoever chose it write lines of their
            // own into a file that the receiver keeps. Shown as JSON would show it.
            control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// A header field: PRINTUSASCII, `1..=most` characters, `-` when there is nothing to say.
fn printable(text: &str, most: usize) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;

//! What a publisher says of its apps' health: a line of JSON for each change, in the answer to one request of the gateway's own.
//!
//! Trusted by the gateway: nothing. Lines are short, words are words, and a publisher speaks of its own tunnels only (whoever
//! reads this sees to that). A publisher of an older version, or with nothing to tell, ends the answer at once.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};

use super::TunnelName;
use super::arriving::Arriving;

/// Longest line.
const LINE: usize = 512;
/// Longest reason.
const WORD: usize = 40;

/// How an app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReport {
    /// The tunnel in front of it.
    pub tunnel: TunnelName,
    /// Whether visitors should be sent to it.
    pub well: bool,
    /// Why not, as a word: `unreachable`, `late`, `broken` or `status-503`.
    pub why: String,
}

/// Reports as they come.
pub struct AppReports {
    body: Arriving,
    line: BytesMut,
}

impl AppReports {
    pub(super) fn new(body: Arriving) -> Self {
        Self { body, line: BytesMut::new() }
    }

    /// The next one; `None` when there are no more, or what comes is none.
    pub async fn next(&mut self) -> Option<AppReport> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line = self.line.split_to(end);
                self.line.advance(1);
                return parse(&line);
            }
            if self.line.len() > LINE {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            self.line.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}

fn parse(line: &[u8]) -> Option<AppReport> {
    let report: AppReport = serde_json::from_slice(line.get(..LINE).unwrap_or(line)).ok()?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (report.why.len() <= WORD && report.why.bytes().all(plain)).then_some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_short_line_with_a_plain_word() {
        let good = br#"{"tunnel":"shop","well":false,"why":"status-503"}"#;
        let report = parse(good).unwrap();
        assert_eq!((report.tunnel.as_str(), report.well, report.why.as_str()), ("shop", false, "status-503"));
        for bad in [
            &br#"{"tunnel":"shop","well":false,"why":"<script>"}"#[..],
            br#"{"tunnel":"no name","well":false,"why":""}"#,
            br#"{"tunnel":"shop","well":"no","why":""}"#,
            b"",
        ] {
            assert_eq!(parse(bad), None);
        }
        let long = format!(r#"{{"tunnel":"shop","well":false,"why":"{}"}}"#, "x".repeat(41));
        assert_eq!(parse(long.as_bytes()), None);
    }
}

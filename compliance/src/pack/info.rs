//! `pack.json`: what a report was asked for, and what the maker found when they checked the whole ledger.

use sallyport_audit::selection::Selection;
use sallyport_audit::verify::Verdict;
use serde::{Deserialize, Serialize};

use crate::period::Period;
use crate::report::{Head, Report};
use crate::reporter::TOOL;
use crate::scope::Scope;

/// The form of a pack, with its version.
pub const PACK_FORMAT: &str = "sallyport-pack/1";

/// What a pack is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// [`PACK_FORMAT`].
    pub format: String,
    /// The program that made it; another version may draw another page from the same records.
    pub tool: String,
    /// The framework's short name.
    pub framework: String,
    /// SHA-256 of the mapping, which is packed as `framework.toml`.
    pub framework_digest: String,
    /// The time it is about.
    pub period: Period,
    /// The time zone in which days begin.
    pub time_zone: String,
    /// The records that are packed.
    pub scope: Scope,
    /// The head that they lead to.
    pub head: Head,
    /// The public key under whose signature the pack stands, if under any.
    pub signer: Option<String>,
    /// The command that makes the same pack from the ledger.
    pub again: String,
    /// What the maker's verifier said of the whole ledger.
    pub verdict: Verdict,
}

impl Info {
    /// Of a report; `None` if its period holds no record.
    pub fn of(report: &Report, signer: Option<String>) -> Option<Self> {
        let zone = match report.time_zone.as_str() {
            "UTC" => String::new(),
            zone => format!(" --timezone {zone}"),
        };
        Some(Self {
            format: PACK_FORMAT.to_owned(),
            tool: report.tool.to_owned(),
            framework: report.framework.clone(),
            framework_digest: report.framework_digest.clone(),
            period: report.period,
            time_zone: report.time_zone.clone(),
            scope: report.scope?,
            head: report.head.clone(),
            signer,
            again: format!(
                "auditctl report {} LEDGER --key-file KEYS --from {} --to {}{zone} --out PACK",
                report.framework, report.period.from, report.period.to
            ),
            verdict: report.verdict.clone(),
        })
    }

    /// Whether records of the time before that were chosen by `packed` are those that it must hold. Which kinds leave something
    /// behind the version decides that made it; all else is the same in each.
    pub(crate) fn is_history(&self, packed: &Selection) -> bool {
        let Some(own) = self.scope.history() else { return false };
        let kinds = if self.tool == TOOL { &own.kinds } else { &packed.kinds }.clone();
        *packed == Selection { kinds, ..own }
    }
}

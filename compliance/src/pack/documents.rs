//! The files of a pack that follow from its report: maker and checker make them by the same code.

use crate::framework::Framework;
use crate::report::Report;
use crate::{csv_file, html, oscal};

use super::readme::readme;
use super::{INFO, Info};

/// A document could not be made.
pub(super) type DocumentError = Box<dyn std::error::Error + Send + Sync>;

/// Each document with its name.
pub(super) fn documents(
    report: &Report,
    framework: &Framework,
    info: &Info,
) -> Result<Vec<(String, Vec<u8>)>, DocumentError> {
    let json = |value: &serde_json::Value| -> Result<Vec<u8>, DocumentError> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        Ok(text.into_bytes())
    };
    let mut all = vec![
        (INFO.to_owned(), json(&serde_json::to_value(info)?)?),
        ("README.txt".to_owned(), readme(info).into_bytes()),
        ("framework.toml".to_owned(), framework.source.clone().into_bytes()),
        ("oscal/assessment-plan.json".to_owned(), json(&oscal::plan(report))?),
        ("oscal/assessment-results.json".to_owned(), json(&oscal::results(report))?),
        ("report.html".to_owned(), html(report)?.into_bytes()),
        ("report.json".to_owned(), report.json()?.into_bytes()),
        ("tables/controls.csv".to_owned(), csv_file::of_controls(report)),
        ("tables/exceptions.csv".to_owned(), csv_file::of_exceptions(report)),
        ("tables/key-changes.csv".to_owned(), csv_file::of_key_changes(&report.cryptography)),
        ("tables/keys.csv".to_owned(), csv_file::of_keys(&report.cryptography)),
        ("tables/not-hybrid.csv".to_owned(), csv_file::of_not_hybrid(&report.cryptography)),
        ("tables/protection.csv".to_owned(), csv_file::of_protection(&report.cryptography)),
    ];
    for sheet in &report.sheets {
        all.push((format!("tables/{}.csv", sheet.id), csv_file::of_sheet(sheet)));
    }
    Ok(all)
}

/// The name of the proof of one record.
pub(super) fn proof_name(seq: u64) -> String {
    format!("proofs/{seq:020}.tlog-proof")
}

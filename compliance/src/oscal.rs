//! The report in OSCAL (NIST's Open Security Controls Assessment Language), version 1.2.1: assessment results, and the
//! assessment plan that they must point to.
//!
//! Observations only, each with its method. A finding would say that a control is met or not; that is the auditor's word.
//! Ids are UUIDs of version 5, made of the report itself: the same report gives the same file.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::framework::Method;
use crate::report::{ControlReport, Report, Standing, Table};

/// The version of OSCAL that is written.
pub(crate) const OSCAL_VERSION: &str = "1.2.1";

/// Ids within one report.
struct Ids {
    space: Uuid,
}

impl Ids {
    fn new(report: &Report) -> Self {
        let name = format!(
            "sallyport-report {} {} {} {} {}",
            report.framework_digest, report.period.from, report.period.to, report.time_zone, report.head.root
        );
        Self { space: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()) }
    }

    fn of(&self, name: &str) -> String {
        Uuid::new_v5(&self.space, name.as_bytes()).to_string()
    }
}

/// `assessment-results.json`.
pub(crate) fn results(report: &Report) -> Value {
    let ids = Ids::new(report);
    let mut observations = Vec::new();
    for control in &report.controls {
        observations.extend(of_control(&ids, report, control));
    }
    let result = json!({
        "uuid": ids.of("result"),
        "title": report.title,
        "description": format!(
            "What {} records of the ledger {} say about controls. Observations, no findings: whether a control is met is for the assessor to judge.",
            report.population.sum.count, report.head.origin
        ),
        "start": report.period.from.to_string(),
        "end": report.period.to.to_string(),
        "props": props(&[
            ("ledger-origin", &report.head.origin),
            ("ledger-size", &report.head.size.to_string()),
            ("ledger-root", &report.head.root.to_string()),
            ("population-records", &report.population.sum.count.to_string()),
            ("population-checksum", &report.population.sum.checksum),
            ("mapping-sha256", &report.framework_digest),
        ]),
        "reviewed-controls": reviewed(report),
        "observations": observations,
        "remarks": format!("Not proved: {}.", report.not_proved.join("; ")),
    });
    json!({ "assessment-results": {
        "uuid": ids.of("assessment-results"),
        "metadata": metadata(report, "Evidence from a tunnel gateway's ledger"),
        "import-ap": { "href": "assessment-plan.json" },
        "results": [result],
        "back-matter": { "resources": resources(&ids) },
    }})
}

/// `assessment-plan.json`: the little that there was of a plan.
pub(crate) fn plan(report: &Report) -> Value {
    let ids = Ids::new(report);
    json!({ "assessment-plan": {
        "uuid": ids.of("assessment-plan"),
        "metadata": metadata(report, "Reading the ledger of a tunnel gateway for a period"),
        "import-ssp": { "href": format!("#{}", ids.of("system-security-plan")) },
        "reviewed-controls": reviewed(report),
        "back-matter": { "resources": [{
            "uuid": ids.of("system-security-plan"),
            "title": "The organisation's own system security plan",
            "description": "Not part of this pack: a gateway does not have it.",
        }]},
    }})
}

fn metadata(report: &Report, title: &str) -> Value {
    // Not the hour at which it was made, which would change the bytes: the last record that was checked.
    let modified = report.verdict.ledger.last_time.unwrap_or(report.period.to);
    json!({
        "title": title,
        "last-modified": modified.to_string(),
        "version": report.framework_digest.get(..16).unwrap_or_default(),
        "oscal-version": OSCAL_VERSION,
        "props": props(&[("tool", report.tool)]),
    })
}

fn props(pairs: &[(&str, &str)]) -> Value {
    let prop = |(name, value): &(&str, &str)| json!({ "name": name, "ns": "https://sallyport.invalid/ns/oscal", "value": value });
    pairs.iter().map(prop).collect()
}

fn reviewed(report: &Report) -> Value {
    let ids = report.controls.iter().flat_map(|control| tokens(report, &control.id));
    let controls: Vec<Value> = ids.map(|id| json!({ "control-id": id })).collect();
    json!({ "control-selections": [{
        "description": format!("{}, {}", report.title, report.edition),
        "include-controls": controls,
    }]})
}

/// One observation for each query, and one that says what is not evaluated.
fn of_control(ids: &Ids, report: &Report, control: &ControlReport) -> Vec<Value> {
    let method = match control.method {
        Method::Examine => "EXAMINE",
        Method::Test => "TEST",
    };
    let state = match &control.state {
        Standing::Evidence => "evidence",
        Standing::Exceptions { .. } => "to-explain",
        Standing::NotEvaluated { .. } => "not-evaluated",
    };
    let collected = report.verdict.ledger.last_time.unwrap_or(report.period.to).to_string();
    let observation = |part: &str, nth: usize, description: String, table: Option<&Table>| {
        let mut props: Vec<(&str, String)> =
            tokens(report, &control.id).into_iter().map(|id| ("control-id", id)).collect();
        props.push(("part", part.to_owned()));
        props.push(("state", state.to_owned()));
        if let Some(table) = table {
            props.push(("records", table.sum.count.to_string()));
            props.push(("checksum", table.sum.checksum.clone()));
        }
        let props: Vec<_> = props.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut value = json!({
            "uuid": ids.of(&format!("{} {part} {nth}", control.id)),
            "title": format!("{}: {}", control.id, control.about),
            "description": description,
            "props": self::props(&props),
            "methods": [method],
            "collected": collected,
        });
        if let (Some(table), Some(object)) = (table, value.as_object_mut())
            && table.sum.count > 0
        {
            let evidence = json!([{
                "href": format!("#{}", ids.of("records")),
                "description": format!("{}; records {} to {}", table.query, shown(table.sum.first), shown(table.sum.last)),
            }]);
            object.insert("relevant-evidence".to_owned(), evidence);
        }
        value
    };
    let mut all = Vec::new();
    for (nth, table) in control.evidence.iter().enumerate() {
        let description = format!("{}: {} records.", table.shows, table.sum.count);
        all.push(observation("evidence", nth, description, Some(table)));
    }
    for (nth, listing) in control.exceptions.iter().enumerate() {
        let description = format!(
            "To be explained if there are any. {}: {} records.",
            listing.table.shows, listing.table.sum.count
        );
        all.push(observation("exception", nth, description, Some(&listing.table)));
    }
    for (nth, found) in control.tables.iter().enumerate() {
        let description = format!(
            "To be explained if there are any. {}: {} found by the table {}.",
            found.what, found.count, found.table
        );
        all.push(observation("table", nth, description, None));
    }
    let mut left: Vec<String> =
        control.not_evaluated.iter().map(|limit| format!("{}: {}", limit.what, limit.why)).collect();
    if let Standing::NotEvaluated { reason } = &control.state {
        left.insert(0, format!("the control as a whole: {reason}"));
    }
    if !left.is_empty() {
        all.push(observation("not-evaluated", 0, format!("Not evaluated: {}.", left.join("; ")), None));
    }
    all
}

fn shown(number: Option<u64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

fn resources(ids: &Ids) -> Value {
    let resource = |name: &str, title: &str, href: &str, media: &str| json!({ "uuid": ids.of(name), "title": title, "rlinks": [{ "href": href, "media-type": media }] });
    json!([
        resource(
            "records",
            "The records of the period, which lead to the signed head",
            "../records.jsonl",
            "application/x-ndjson"
        ),
        resource("report", "The report for people", "../report.html", "text/html"),
        resource("checkpoint", "The signed head of the ledger", "../checkpoint", "text/plain"),
        resource("sums", "SHA-256 of every file of this pack", "../SHA256SUMS", "text/plain"),
    ])
}

/// A control's ids as OSCAL takes them: NIST's own as in NIST's catalogue (`ac-2.1`), others with the framework before
/// them. One entry of a mapping may speak of several controls.
fn tokens(report: &Report, id: &str) -> Vec<String> {
    let own = report.framework == "nist";
    let plain = |id: &str| -> String {
        let id = if own { id.replace('(', ".").replace(')', "") } else { id.to_owned() };
        let tame = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        id.chars().map(tame).collect::<String>().to_lowercase()
    };
    let one = |id: &str| if own { plain(id) } else { format!("{}_{}", report.framework, plain(id)) };
    id.split(", ").map(one).collect()
}

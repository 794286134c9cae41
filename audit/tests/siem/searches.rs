//! The saved searches and alerts in `docs/siem`: each file is read, and every word in its queries is one of the language, one that the
//! query itself makes, or a field that a sink really sends. No Splunk, Elastic or Sentinel runs here.

use std::{collections::BTreeSet, fs, path::Path};

use sallyport_audit::{
    Draft, Kind, Outcome,
    detection::{BUILT_IN, Rules},
    sink::{PersonalView, Shape},
};
use serde_json::{Value, json};

use crate::formats::{entry, foreign, format, full, item};

fn read(below: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/siem").join(below)).unwrap()
}

/// One search, in whichever language.
struct Search {
    name: String,
    says: String,
    severity: String,
    query: String,
}

/// What a detection's record holds beside what every record may.
fn detected() -> Draft {
    let draft = full(Kind::DetectionRaised, Outcome::Success, 0);
    let draft =
        draft.detail("rule", "break-glass").detail("severity", "critical").detail("says", "it was broken");
    draft.detail("count", 1).detail("records", vec![7])
}

/// Every field of every kind in this format, as the SIEM names it.
fn fields(shape: Shape, others: &[&str]) -> BTreeSet<String> {
    fn flatten(path: &str, value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(inner) => {
                for (name, value) in inner {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    flatten(&path, value, into);
                }
            }
            // Splunk puts braces behind a list's name.
            Value::Array(_) => into.extend([path.to_owned(), format!("{path}{{}}")]),
            _ => {
                into.insert(path.to_owned());
            }
        }
    }
    let mut found: BTreeSet<String> = others.iter().map(|&name| name.to_owned()).collect();
    let drafts = Kind::ALL.iter().map(|kind| full(*kind, Outcome::Success, 0)).chain([detected()]);
    for draft in drafts {
        let text = format(shape, PersonalView::Values).write(&entry(7, draft), 3, None, false);
        flatten("", &serde_json::from_slice(&text).unwrap(), &mut found);
    }
    found
}

/// A query language, as far as these files use it.
struct Language {
    words: &'static [&'static str],
    fields: BTreeSet<String>,
}

/// What nobody sends and the language doesn't have, and what is said to be a kind or a rule and is none.
fn unknown(language: &Language, query: &str) -> Vec<String> {
    let (mut bare, mut texts) = (String::new(), Vec::new());
    for (at, part) in query.split('"').enumerate() {
        if at % 2 == 0 { bare.push_str(part) } else { texts.push(part) }
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.@{}".contains(c);
    let mut words: Vec<(String, bool)> = Vec::new();
    let mut rest = bare.as_str();
    while let Some(start) = rest.find(is_part) {
        let found = &rest[start..];
        let end = found.find(|c| !is_part(c)).unwrap_or(found.len());
        let behind = found[end..].trim_start();
        // `name = …` makes a name; `name == …` and `name=value` ask for one.
        let makes = behind.starts_with("= ") && found[end..].starts_with(' ');
        words.push((found[..end].to_owned(), makes));
        rest = &found[end..];
    }
    let mut made: BTreeSet<String> =
        words.iter().filter(|(_, makes)| *makes).map(|(word, _)| word.clone()).collect();
    for pair in words.windows(2) {
        if pair[0].0 == "as" {
            made.insert(pair[1].0.clone());
        }
    }
    let is_known = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            || language.words.contains(&word)
            || made.contains(word)
            || language.fields.contains(word)
            || language
                .fields
                .iter()
                .any(|field| field.starts_with(word) && field[word.len()..].starts_with('.'))
    };
    let mut unknown: Vec<String> =
        words.iter().map(|(word, _)| word.clone()).filter(|word| !is_known(word)).collect();
    let rules = Rules::parse(BUILT_IN).unwrap();
    for text in texts {
        let is_kind = text.contains('.') && Kind::named(text).len() == 1;
        let is_rule = rules.names().any(|(name, _)| name == text);
        if !is_kind && !is_rule && text != "sallyport:json" && text != "-15m" {
            unknown.push(text.to_owned());
        }
    }
    unknown
}

fn splunk() -> (Vec<Search>, Language) {
    let text = read("splunk/savedsearches.conf").replace("\\\n", "\n\t");
    let mut searches: Vec<Search> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.strip_suffix(']').unwrap().to_owned();
            searches.push(Search {
                name,
                says: String::new(),
                severity: String::new(),
                query: String::new(),
            });
            continue;
        }
        let search = searches.last_mut().expect("a setting stands under a name");
        if let Some(more) = line.strip_prefix('\t') {
            search.query.push_str(more);
            continue;
        }
        let (key, value) = line.split_once(" = ").unwrap();
        match key {
            "description" => value.clone_into(&mut search.says),
            "search" => value.clone_into(&mut search.query),
            "alert.severity" => {
                let words = ["low", "medium", "high", "critical"];
                words[value.parse::<usize>().unwrap() - 2].clone_into(&mut search.severity);
            }
            "cron_schedule" => assert_eq!(value.split(' ').count(), 5, "{value}"),
            "enableSched" | "alert.track" => assert_eq!(value, "1"),
            "counttype" | "relation" | "quantity" | "dispatch.earliest_time" | "dispatch.latest_time" => {}
            other => panic!("{other} is no setting that these files need"),
        }
    }
    let words = &[
        "_index_earliest",
        "_index_latest",
        "m",
        "m@m",
        "table",
        "dedup",
        "sort",
        "streamstats",
        "current",
        "f",
        "last",
        "as",
        "by",
        "where",
        "isnotnull",
        "AND",
        "eval",
        "tstats",
        "latest",
        "relative_time",
        "now",
        "5m@m",
        "121m@m",
        "@m",
    ];
    let others = ["_time", "sourcetype", "host", "source", "index"];
    (searches, Language { words, fields: fields(Shape::Json, &others) })
}

fn elastic() -> (Vec<Search>, Language) {
    let searches = read("elastic/rules.ndjson")
        .lines()
        .map(|line| {
            let rule: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| rule[name].as_str().unwrap().to_owned();
            let language = if rule["type"] == "esql" { "esql" } else { "kuery" };
            assert_eq!(rule["language"], language, "{rule}");
            assert_eq!(rule["index"].is_array(), language == "kuery", "{rule}");
            assert!(rule["risk_score"].as_u64().unwrap() <= 100 && text("rule_id").len() == 36, "{rule}");
            let query = text("query").replace("FROM logs-sallyport.audit-*", "");
            Search { name: text("name"), says: text("description"), severity: text("severity"), query }
        })
        .collect();
    let words = &["and", "STATS", "COUNT", "MIN", "MAX", "BY", "EVAL", "WHERE", "NOW", "minutes"];
    (searches, Language { words, fields: fields(Shape::Ecs, &[]) })
}

fn sentinel() -> (Vec<Search>, Language) {
    let template: Value = serde_json::from_str(&read("sentinel/rules.json")).unwrap();
    assert!(template["$schema"].as_str().unwrap().ends_with("deploymentTemplate.json#"));
    let resources = template["resources"].as_array().unwrap();
    let ids: BTreeSet<&str> = resources.iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), resources.len(), "each has an id of its own");
    let searches = resources
        .iter()
        .map(|rule| {
            let text = |name: &str| rule["properties"][name].as_str().unwrap().to_owned();
            assert_eq!(rule["kind"], "Scheduled");
            Search {
                name: text("displayName"),
                says: text("description"),
                severity: text("severity").to_lowercase(),
                query: text("query").replace("Sallyport_CL", ""),
            }
        })
        .collect();
    let words = &[
        "where",
        "ingestion_time",
        "ago",
        "and",
        "tostring",
        "tolong",
        "project",
        "extend",
        "distinct",
        "summarize",
        "count",
        "min",
        "max",
        "by",
    ];
    (searches, Language { words, fields: fields(Shape::Ocsf, &["TimeGenerated"]) })
}

#[test]
fn every_alert_for_a_siem_is_read_and_asks_for_nothing_that_no_sink_sends() {
    for (siem, (searches, language)) in
        [("Splunk", splunk()), ("Elastic", elastic()), ("Sentinel", sentinel())]
    {
        assert!(searches.len() > 15, "{siem}");
        for search in searches {
            let unknown = unknown(&language, &search.query);
            assert!(unknown.is_empty(), "{siem}, {}: {unknown:?} in {}", search.name, search.query);
        }
    }
}

#[test]
fn every_built_in_detection_has_an_alert_in_each_siem_and_so_have_missing_numbers_and_silence() {
    let rules: Value = serde_json::to_value(toml_rules()).unwrap();
    for (siem, searches) in [("Splunk", splunk().0), ("Elastic", elastic().0), ("Sentinel", sentinel().0)] {
        let mut left: BTreeSet<&str> = searches.iter().map(|search| search.name.as_str()).collect();
        for rule in rules.as_array().unwrap() {
            let name = rule["name"].as_str().unwrap();
            let titled = format!("Sallyport: {name}");
            let alert = searches.iter().find(|search| search.name == titled);
            let alert = alert.unwrap_or_else(|| panic!("{siem} has no alert for {name}"));
            assert!(left.remove(titled.as_str()), "{siem}: {name}");
            assert_eq!(alert.says, rule["says"].as_str().unwrap(), "{siem}: {name}");
            let severity = rule["severity"].as_str().unwrap();
            // Sentinel has nothing above high.
            let severity = if siem == "Sentinel" && severity == "critical" { "high" } else { severity };
            assert_eq!(alert.severity, severity, "{siem}: {name}");
            assert!(alert.query.contains(&format!("\"{name}\"")), "{siem}: {name}");
        }
        let others = BTreeSet::from(["Sallyport: numbers that are missing", "Sallyport: silence"]);
        assert_eq!(left, others, "{siem}");
    }
}

/// The built-in rules as they stand in their file.
fn toml_rules() -> Vec<Value> {
    let file: Value = toml::from_str(BUILT_IN).unwrap();
    file["rule"].as_array().unwrap().clone()
}

#[test]
fn a_field_a_kind_or_a_rule_that_there_is_not_is_found() {
    for ((searches, language), good, bad) in [
        (splunk(), "record.details.rule", "record.details.rul"),
        (splunk(), "who.subject", "who.subjct"),
        (splunk(), "detection.raised", "detection.razed"),
        (elastic(), "rule.name", "rule.title"),
        (elastic(), "sallyport.sinkseq", "sallyport.sequence"),
        (elastic(), "break-glass", "broken-glass"),
        (sentinel(), "finding_info.title", "finding_info.name"),
        (sentinel(), "unmapped.who", "unmapped.whom"),
    ] {
        let search = searches.iter().find(|search| search.query.contains(good)).unwrap();
        assert!(unknown(&language, &search.query).is_empty());
        assert!(!unknown(&language, &search.query.replace(good, bad)).is_empty(), "{bad}");
    }
}

#[test]
fn the_record_of_a_detection_names_its_rule_in_the_fields_that_ecs_has_for_one() {
    let detected = entry(7, detected());
    let ecs = format(Shape::Ecs, PersonalView::Values);
    assert_eq!(foreign(&[item(&ecs, &detected, None)]), "");
    let event: Value = serde_json::from_slice(&ecs.write(&detected, 3, None, false)).unwrap();
    assert_eq!(
        event["rule"],
        json!({ "name": "break-glass", "description": "it was broken", "ruleset": "sallyport" })
    );
}

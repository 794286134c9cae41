//! Dashboard and alerts: promtool reads them and tries the alerts on figures, and they ask for nothing but what is listed.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken fixture must fail its test loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn deploy(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(below)
}

fn promtool(arguments: &[&str], folder: &Path) {
    let run = Command::new("promtool").args(arguments).current_dir(folder).output();
    let run = run.unwrap_or_else(|error| panic!("promtool cannot be run ({error}): scripts/prepare test"));
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "promtool {arguments:?}: {said}");
}

/// Every expression of the dashboard, with something in the place of its variables.
fn expressions() -> Vec<String> {
    let board: Value =
        serde_json::from_str(&std::fs::read_to_string(deploy("grafana/sallyport.json")).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "5m").replace('$', ""))
        .collect()
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("sallyport_"));
    words.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn promtool_accepts_the_alerts_and_each_comes_when_it_should_and_not_before() {
    let folder = deploy("prometheus");
    promtool(&["check", "rules", "alerts.yml"], &folder);
    promtool(&["test", "rules", "alerts.test.yml"], &folder);
}

/// Of each alert that a file of tries names: whether it is expected to come somewhere, and not to come somewhere else.
fn tries(text: &str) -> BTreeMap<String, (bool, bool)> {
    let mut tried: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for one in text.split("eval_time:").skip(1) {
        let name = one.split_once("alertname: ").unwrap().1;
        let name = name.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap();
        let (comes, stays_away) = tried.entry(name.to_owned()).or_default();
        let expected = one.contains("exp_labels:");
        *comes |= expected;
        *stays_away |= !expected;
    }
    tried
}

#[test]
fn every_alert_is_tried_where_it_comes_and_where_it_does_not() {
    let read = |file: &str| std::fs::read_to_string(deploy("prometheus").join(file)).unwrap();
    let alerts = read("alerts.yml");
    let named: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let tried = tries(&read("alerts.test.yml"));
    assert!(named.len() > 10, "{named:?}");
    let half: Vec<_> = named.iter().filter(|name| tried.get(**name) != Some(&(true, true))).collect();
    assert!(
        half.is_empty(),
        "alerts.test.yml does not say both when these come and when they do not: {half:?}"
    );
}

#[test]
fn promtool_accepts_every_expression_of_the_dashboard() {
    let folder = tempfile::tempdir().unwrap();
    let rules: Vec<Value> = expressions()
        .iter()
        .enumerate()
        .map(|(at, expr)| serde_json::json!({ "record": format!("panel:{at}"), "expr": expr }))
        .collect();
    assert!(rules.len() > 15, "{}", rules.len());
    // JSON is YAML.
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(folder.path().join("dashboard.yml"), file.to_string()).unwrap();
    promtool(&["check", "rules", "dashboard.yml"], folder.path());
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_but_the_metrics_that_are_listed() {
    let guide = std::fs::read_to_string(deploy("README.md")).unwrap();
    let told = metrics(&guide);
    let alerts = std::fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let rules =
        alerts.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let asked = metrics(&(expressions().join("\n") + &rules));
    assert!(asked.len() > 8, "{asked:?}");
    let unknown: Vec<_> = asked.difference(&told).collect();
    assert!(unknown.is_empty(), "deploy/README.md lists no such metric: {unknown:?}");
}

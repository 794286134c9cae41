//! What Prometheus is told, beside what dashboard, alerts and their guide ask for.

use std::collections::BTreeSet;
use std::path::Path;

use super::patience::eventually;
use super::world::World;

/// The metrics that a text names.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter)).filter(|word| word.starts_with("sallyport_"));
    words.map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count").to_owned()).collect()
}

/// Lines that begin with a number sign say nothing that is measured, here as there.
fn without_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    lines.join("\n")
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_but_what_a_gateway_really_tells() {
    let mut world = World::with().prepare();
    world.configure(
        "[[sinks]]\nname = \"archive\"\ntransport = \"file\"\npath = \"siem.jsonl\"\nformat = \"json\"\n",
    );
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    assert_eq!(world.visit("none", "/").args(&["--insecure"]).by(&world, "visitor").run().status, 404);

    // One that goes on: of a tunnel without open sessions nothing is told.
    let _download = world.visit("open-demo", "/stream").by(&world, "visitor").start();

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let read = |below: &str| std::fs::read_to_string(deploy.join(below)).unwrap();
    let alerts = without_comments(&read("prometheus/alerts.yml"));
    let asked =
        names(&[read("grafana/sallyport.json"), alerts, without_comments(&read("README.md"))].concat());
    assert!(asked.len() > 12, "{asked:?}");
    let told = eventually("the request is counted", || {
        let told = names(&without_comments(&world.curl("/metrics").by(&world, "admin").run().text()));
        [
            "sallyport_requests_total",
            "sallyport_bytes_total",
            "sallyport_refusals_total",
            "sallyport_sessions",
        ]
        .iter()
        .all(|name| told.contains(*name))
        .then_some(told)
    });
    let missing: Vec<_> = asked.difference(&told).collect();
    assert!(missing.is_empty(), "no gateway tells {missing:?}; it tells {told:?}");
}

//! Forms of the console that say too little, or that somebody has filled in looking at something else: nothing is guessed.

use serde_json::Value;

use super::sign_in::{Browser, Seen};
use super::world::World;

fn refused(seen: &Seen, status: u16, code: &str) {
    assert_eq!(seen.status, status, "{}", seen.body);
    assert!(seen.body.contains(code), "{code}: {}", seen.body);
}

#[test]
fn an_order_of_a_review_that_says_too_little_is_refused_and_nothing_is_kept_or_taken_away() {
    let world = World::start();
    let admin = Browser::at_the_console(&world, "admin");
    let mark = admin.mark();
    let gateway = format!("https://localhost:{}", world.port());
    let begin = |days: &[(&str, &str)]| {
        let form = [&[("csrf", &*mark), ("reviewers", "role:admin")][..], days].concat();
        admin.post(&format!("{gateway}/console/reviews"), &form)
    };
    for days in [&[][..], &[("days", "soon")], &[("days", "0")], &[("days", "91")], &[("days", "-3")]] {
        let seen = begin(days);
        refused(&seen, 422, "unusable-value");
        assert!(seen.body.contains("a whole number from 1 to 90"), "{}", seen.body);
    }
    assert!(world.records_of("review.started").is_empty());
    let review = begin(&[("days", "3")]);
    assert_eq!(review.status, 200, "{}", review.body);
    let id = review.url.rsplit('/').next().unwrap().to_owned();

    let review = || world.ask("admin", &["reviews", "show", &id]);
    let items = review()["items"].as_array().unwrap().clone();
    let others = |item: &&Value| item["subject"] == "user:visitor";
    let item = items.iter().find(others).unwrap_or_else(|| panic!("{items:?}"))["number"].to_string();
    let decide = |fields: &[(&str, &str)]| {
        let form = [&[("csrf", &*mark), ("reason", "as ever")][..], fields].concat();
        admin.post(&format!("{gateway}/console/reviews/{id}/decide"), &form)
    };
    for (fields, words) in [
        (&[("item", &*item)][..], "`keep` or `revoke`"),
        (&[("item", &*item), ("verdict", "perhaps")][..], "`keep` or `revoke`"),
        (&[("verdict", "keep")][..], "by its number"),
        (&[("item", "the first"), ("verdict", "revoke")][..], "by its number"),
        (&[("item", "-1"), ("verdict", "revoke")][..], "by its number"),
    ] {
        let seen = decide(fields);
        refused(&seen, 422, "unusable-value");
        assert!(seen.body.contains(words), "{fields:?}: {}", seen.body);
    }
    assert!(world.records_of("review.decided").is_empty());
    assert_eq!(review()["decided"], 0);
    assert_eq!(decide(&[("item", &item), ("verdict", "keep")]).status, 200);
    assert_eq!(world.records_of("review.decided").len(), 1);
}

/// The digest that the page's forms carry.
fn compared(admin: &Browser<'_>, gateway: &str) -> String {
    let page = admin.open(&format!("{gateway}/console/policy?compare=1"));
    let digest = page.body.split("name=\"digest\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    digest.unwrap_or_else(|| panic!("{}", page.body)).to_owned()
}

#[test]
fn files_that_change_after_somebody_compared_them_are_neither_loaded_nor_proposed_by_their_form() {
    let world = World::start();
    let admin = Browser::at_the_console(&world, "admin");
    let mark = admin.mark();
    let gateway = format!("https://localhost:{}", world.port());
    let file = world.state().join("policies/policy.csv");
    let write = |row: &str| {
        let rows = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{rows}{row}\n")).unwrap();
    };
    let order = |what: &str, digest: &str| {
        let form = [("csrf", &*mark), ("reason", "as compared"), ("digest", digest)];
        admin.post(&format!("{gateway}/console/policy/{what}"), &form)
    };
    let loaded = || world.records_of("policy.loaded").len();
    let before = loaded();
    write("g, user:newcomer, role:visitor, main");
    let seen = compared(&admin, &gateway);
    // Somebody else writes to the folder meanwhile.
    write("g, user:mallory, role:admin, main");
    for what in ["reload", "propose"] {
        refused(&order(what, &seen), 409, "policy-files-changed");
        refused(&order(what, ""), 422, "unusable-value");
    }
    assert_eq!(loaded(), before);
    assert!(world.records_of("policy.proposed").is_empty());
    let found = compared(&admin, &gateway);
    assert_ne!(found, seen);
    let page = order("reload", &found);
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("user:mallory"), "{}", page.body);
    assert_eq!(loaded(), before + 1);
}

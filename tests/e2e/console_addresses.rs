//! Every address of the console, one after the other, without a browser's help: who is shown what, who may order what, that no
//! page can be put into a frame, and that whoever looks is recorded. The addresses are read out of the source: none is left out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::patience::eventually;
use super::process::Process;
use super::sign_in::{Browser, Seen};
use super::world::World;

/// Where pages and edge say which paths there are.
const SOURCES: [&str; 2] =
    [include_str!("../../src/console/web/mod.rs"), include_str!("../../src/edge/mod.rs")];

/// Orders that everybody may give about what is their own: signing in and out, and passkeys.
const OWN: [&str; 4] =
    ["/console/sign-in", "/console/sign-out", "/console/passkeys", "/console/passkeys/begin"];

/// Pages that everybody may open: what they show is another thing.
const OPEN: [&str; 4] = ["/console/requests", "/console/grants", "/console/reviews", "/console/passkeys"];

/// A path, and what can be done with it.
struct Route {
    path: String,
    gets: bool,
    posts: bool,
}

impl Route {
    /// A stream of news, which has no end; the page around it shows the same.
    fn is_live(&self) -> bool {
        self.path.ends_with("/live")
    }

    fn is_page(&self) -> bool {
        let others = ["/console/assets/", "/console/sign-in"];
        self.gets && !self.is_live() && !others.iter().any(|other| self.path.starts_with(other))
    }
}

fn routes() -> Vec<Route> {
    let lines = SOURCES.iter().flat_map(|source| source.lines());
    let of = |line: &str| {
        let (path, rest) = line.trim().strip_prefix(".route(\"")?.split_once('"')?;
        let (gets, posts) = (rest.contains("get("), rest.contains("post("));
        path.starts_with("/console").then(|| Route { path: path.to_owned(), gets, posts })
    };
    let found: Vec<Route> = lines.filter_map(of).collect();
    assert!(found.len() > 35 && found.iter().all(|route| route.gets || route.posts), "{}", found.len());
    found
}

/// A gateway where there is one of everything that a page can show, and what each is called.
struct House {
    things: BTreeMap<&'static str, String>,
    _running: Vec<Process>,
    world: World,
}

impl House {
    fn furnished() -> Self {
        let world = World::with()
            .policy("p, role:visitor, main, tunnel:other, connect, allow, owner-approves")
            .start();
        let mut running = vec![world.publish_demo("demo"), world.publish_demo("other")];
        let grant = world.grant("demo");
        let ask = ["request", "other", "--reason", "a secret wish", "--minutes", "5"];
        let request = world.ask("visitor", &ask);
        running.push(world.visit("demo", "/stream").by(&world, "visitor").start());
        let session = eventually("a session is open", || {
            let open = world.ask("admin", &["sessions", "list"]);
            Some(open.as_array()?.first()?["id"].as_str()?.to_owned())
        });
        let review = world.ask("admin", &["reviews", "start", "--reviewers", "role:admin", "--days", "3"]);
        let day = world.records()[0]["time"].as_str().unwrap()[..10].to_owned();
        world.ask("admin", &["reports", "make", "soc2", "--from", &day, "--to", &day]);
        let pack = eventually("a pack is made", || {
            let packs = world.ask("admin", &["reports", "list"]);
            let pack = packs.as_array()?.first()?.clone();
            assert_ne!(pack["state"], "failed", "{pack}");
            (pack["state"] == "made").then(|| pack["name"].as_str().unwrap().to_owned())
        });
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let things = BTreeMap::from([
            ("requests", id(&request)),
            ("grants", grant),
            ("sessions", session),
            ("reviews", id(&review)),
            ("reports", pack),
            ("ledger", "1".to_owned()),
            ("keys", "tls".to_owned()),
            ("passkeys", format!("passkey-{}", "0".repeat(32))),
            ("assets", "console.css".to_owned()),
            ("sign-in", "nobody".to_owned()),
        ]);
        Self { things, _running: running, world }
    }

    /// The address of a path, with the id of something that there is.
    fn address(&self, path: &str) -> String {
        let family = path.split('/').nth(2).unwrap_or_default();
        let filled: Vec<&str> = path
            .split('/')
            .map(|part| match part {
                "{form}" => "csv",
                "{name}" if path.contains("/tunnel/") => "demo",
                part if part.starts_with('{') => self.things[family].as_str(),
                part => part,
            })
            .collect();
        let query = if path.ends_with("/challenge") { "?minutes=5" } else { "" };
        format!("https://localhost:{}{}{query}", self.world.port(), filled.join("/"))
    }

    /// What an order can change, as an admin sees it.
    fn state(&self) -> BTreeMap<&'static str, Value> {
        let seen = |path: &'static str| {
            let answer = self.world.curl(path).by(&self.world, "admin").run();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            answer.json()
        };
        let ids = |list: &Value| {
            list["items"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Value>()
        };
        let review = format!("/api/v1/reviews/{}", self.things["reviews"]);
        let review = self.world.curl(&review).by(&self.world, "admin").run().json();
        let mut state: BTreeMap<&str, Value> = [
            "/api/v1/requests",
            "/api/v1/grants?all=true",
            "/api/v1/reviews",
            "/api/v1/reports",
            "/api/v1/passkeys",
            "/api/v1/policy/proposal",
        ]
        .into_iter()
        .map(|path| (path, seen(path)))
        .collect();
        // Their figures move by themselves.
        for path in ["/api/v1/sessions", "/api/v1/keys"] {
            state.insert(path, ids(&seen(path)));
        }
        state.insert("review", review);
        state
    }
}

fn is_html(seen: &Seen) -> bool {
    seen.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
}

/// That no page of anybody's can show this one in a frame.
fn assert_unframed(path: &str, seen: &Seen) {
    let policy = seen.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.split(';').any(|part| part.trim() == "frame-ancestors 'none'"),
        "{path}: {policy:?} {}",
        seen.status
    );
    assert_eq!(seen.header("x-frame-options").as_deref(), Some("DENY"), "{path}");
}

#[test]
fn no_page_of_the_console_can_be_put_into_a_frame_and_none_is_kept_by_anybody() {
    let house = House::furnished();
    let (admin, rival) =
        (Browser::at_the_console(&house.world, "admin"), Browser::at_the_console(&house.world, "rival"));
    let stranger = Browser::new(&house.world);
    let mut pages = 0;
    for route in routes().iter().filter(|route| route.gets && !route.is_live()) {
        for browser in [&admin, &rival, &stranger] {
            let seen = browser.send(&house.address(&route.path), &[]);
            if is_html(&seen) {
                pages += 1;
                assert_unframed(&route.path, &seen);
                assert_eq!(seen.header("cache-control").as_deref(), Some("no-store"), "{}", route.path);
            } else {
                let leads_on = (300..400).contains(&seen.status);
                let nosniff = seen.header("x-content-type-options").as_deref() == Some("nosniff");
                let is_problem = seen.header("content-type").as_deref() == Some("application/problem+json");
                assert!(leads_on || nosniff || is_problem, "{} {}: {}", route.path, seen.status, seen.heads);
            }
        }
    }
    // An order that is refused answers with a page, too.
    let refused = admin.post(&house.address("/console/policy/reload"), &[]);
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_unframed("a refused order", &refused);
    assert!(pages > 25, "{pages}");
}

#[test]
fn whoever_may_nothing_is_shown_nothing_of_others_and_changes_nothing_at_whichever_address() {
    let house = House::furnished();
    let before = house.state();
    let rival = Browser::at_the_console(&house.world, "rival");
    let stranger = Browser::new(&house.world);
    let mark = rival.mark();
    let secrets = ["user:visitor", "user:admin", "a secret wish", "to look at it"];
    let assert_silent = |path: &str, seen: &Seen| {
        let told = secrets.iter().find(|secret| seen.body.contains(**secret));
        assert!(told.is_none(), "{path} tells {told:?}: {}", seen.body);
    };
    let in_force = before["/api/v1/policy/proposal"]["in_force"].as_str().unwrap().to_owned();
    // Filled in as well as can be: what is refused is who asks, and not what.
    let form = [
        ("csrf", mark.as_str()),
        ("reason", "I want to"),
        ("minutes", "5"),
        ("item", "1"),
        ("verdict", "revoke"),
        ("reviewers", "role:publisher"),
        ("days", "3"),
        ("digest", &in_force),
        ("framework", "soc2"),
        ("from", "2020-01-01"),
        ("to", "2020-01-02"),
    ];
    let (mut looked, mut ordered) = (0, 0);
    for route in routes() {
        let (path, address) = (route.path.as_str(), house.address(&route.path));
        if route.is_page() {
            looked += 1;
            let seen = rival.send(&address, &[]);
            let wanted = match path {
                "/console" | "/console/" => 300..400,
                path if OPEN.contains(&path) => 200..201,
                _ => 403..405,
            };
            assert!(wanted.contains(&seen.status), "{path}: {} {}", seen.status, seen.body);
            assert_silent(path, &seen);
            let sent_on = stranger.send(&address, &[]);
            assert!(
                (300..400).contains(&sent_on.status) && sent_on.body.is_empty(),
                "{path}: {}",
                sent_on.status
            );
        }
        if route.posts && !OWN.contains(&path) {
            ordered += 1;
            let seen = rival.post(&address, &form);
            assert!(matches!(seen.status, 403 | 404), "{path}: {} {}", seen.status, seen.body);
            assert!(!seen.body.contains("foreign-form"), "{path}: it is the person who is refused");
            assert_silent(path, &seen);
            let sent_on = stranger.send(&address, &["--data", "reason=x"]);
            assert!(
                sent_on.header("location").is_some_and(|to| to.starts_with("/console/sign-in")),
                "{path}"
            );
        }
    }
    // Parts that are kept up to date end at once.
    for path in ["/console/sessions/live", "/console/ledger/scrub/live"] {
        let seen = rival.send(&house.address(path), &[]);
        assert_eq!((seen.status, seen.body.as_str()), (200, ""), "{path}");
    }
    assert!(looked > 15 && ordered > 15, "{looked} pages, {ordered} orders");
    assert_eq!(house.state(), before);
    // What of it succeeded was looking, and signing in.
    let done = house.world.records().into_iter().filter(|record| {
        record["values"]["subject"] == "user:rival"
            && record["result"] == "success"
            && record["details"]["page"].is_null()
    });
    // What is noticed about them, out of hours for one, they didn't do.
    let others = ["token.issued", "detection.raised"];
    let done: Vec<Value> = done.filter(|record| !others.iter().any(|kind| record["kind"] == *kind)).collect();
    assert!(done.is_empty(), "{done:?}");
}

#[test]
fn whoever_opens_a_page_of_the_console_or_takes_a_file_from_it_is_recorded_with_what_they_looked_at() {
    let house = House::furnished();
    let world = &house.world;
    let mut opened = Vec::new();
    for person in ["admin", "visitor", "publisher"] {
        let browser = Browser::at_the_console(world, person);
        for route in routes().iter().filter(|route| route.is_page()) {
            let seen = browser.send(&house.address(&route.path), &[]);
            if seen.status == 200 {
                let reference = seen.header("sallyport-reference").unwrap();
                opened.push((person, route.path.clone(), reference));
            }
        }
    }
    let many = |person: &str| opened.iter().filter(|(who, _, _)| *who == person).count();
    // The visitor's own grant is one more than what everybody may open.
    assert!(many("admin") > 15 && many("visitor") == OPEN.len() + 1, "{opened:?}");
    let records = world.records();
    let looked = |(person, path, reference): &(&str, String, String)| {
        let of = records.iter().filter(|record| {
            record["kind"] == "admin.called"
                && record["result"] == "success"
                && record["correlation"] == **reference
                && record["values"]["subject"] == format!("user:{person}")
        });
        let of: Vec<&Value> = of.collect();
        assert!(!of.is_empty(), "{person} opened {path}, and nothing is recorded of it");
        of
    };
    for one in &opened {
        let found = looked(one);
        let says = |wanted: &dyn Fn(&Value) -> bool| found.iter().copied().any(wanted);
        let (_, path, _) = one;
        let is_said = match path.as_str() {
            "/console/requests" => says(&|record| record["details"]["page"] == "requests"),
            "/console/grants" => says(&|record| record["details"]["page"] == "grants"),
            "/console/grants/{id}" => says(&|record| record["grant"] == *house.things["grants"]),
            "/console/reviews/{id}" => {
                says(&|record| record["details"]["review"] == *house.things["reviews"])
            }
            "/console/sessions/{id}" => says(&|record| {
                record["session"] == *house.things["sessions"] && record["object"] == "gateway:sessions"
            }),
            "/console/ledger/{seq}" => says(&|record| record["details"]["record"] == 1),
            // It shows figures of the ledger's records: that they are read is a look of its own.
            "/console/sessions" => says(&|record| {
                let search = &record["details"]["search"];
                record["object"] == "gateway:ledger"
                    && search["kind"] == "http.request"
                    && search["from_time"].is_string()
                    && search["to_time"].is_string()
            }),
            _ => true,
        };
        assert!(is_said, "{path}: {found:?}");
    }
}

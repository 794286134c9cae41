//! What a visitor sees: asked to sign in, refused with a way to ask, led to the app, told that there is nothing.

use super::app::App;
use super::approval::with_movable_clock;
use super::patience::eventually;
use super::sign_in::Browser;
use super::world::World;

#[test]
fn a_visit_without_a_token_is_asked_to_sign_in() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");

    let program = world.visit("demo", "/").run();
    assert_eq!((program.status, program.problem().as_str()), (401, "not-signed-in"));

    let person = world.visit("demo", "/").page().run();
    assert_eq!(person.status, 401);
    assert!(person.text().contains("href=\"/.sallyport/sign-in?to="), "{}", person.text());

    let record = world.record("access.decided", |record| record["result"] == "denied");
    assert_eq!(record["values"]["subject"], "user:anonymous");
    assert_eq!(record["object"], "tunnel:demo");
}

#[test]
fn a_visit_without_leave_is_refused_with_the_page_on_which_to_ask_for_it() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");

    let program = world.visit("demo", "/").by(&world, "visitor").run();
    assert_eq!((program.status, program.problem().as_str()), (403, "approval-needed"));
    assert!(program.json()["hint"].as_str().unwrap().contains("sallyport request demo"));

    // The way of a browser: sign in by the form, ask by the form, wait, go on.
    let jar = world.path("cookies").to_string_lossy().into_owned();
    let browser =
        |path: &str| world.visit("demo", path).page().args(&["--cookie", &jar, "--cookie-jar", &jar]);
    let visitor = Browser::with_jar(&world, &jar);
    let desk = visitor.to_the_desk("demo", "/");
    assert_eq!(visitor.show(&desk, &world.token("visitor")).status, 403);

    let refused = browser("/").run();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("action=\"/.sallyport/request\""), "{}", refused.text());
    assert!(refused.text().contains("user:visitor"));

    let form = ["--data-urlencode", "reason=to read the <b>manual</b>", "--data", "minutes=15"];
    assert_eq!(browser("/.sallyport/request").args(&form).run().status, 303);
    let waiting = browser("/").run();
    assert_eq!(waiting.status, 403);
    assert!(waiting.text().contains("Waiting for an approver"), "{}", waiting.text());
    assert!(waiting.text().contains("http-equiv=\"refresh\""), "the page must go on by itself");

    let requests = world.ask("admin", &["requests", "list", "--pending"]);
    assert_eq!(requests[0]["reason"], "to read the <b>manual</b>");
    assert_eq!(requests[0]["minutes"], 15);
    let id = requests[0]["id"].as_str().unwrap();
    assert!(waiting.text().contains(id), "the page names the request");
    world.ask("admin", &["requests", "approve", id]);
    let through = browser("/").run();
    assert_eq!(through.status, 200);
    assert!(through.text().contains("You are through"));
}

#[test]
fn a_visitor_who_waits_leaves_one_record_however_often_the_page_loads_itself_again() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let load = || world.visit("demo", "/").by(&world, "visitor").page();
    assert_eq!(load().run().status, 403, "there is nothing to wait for yet");
    let asked = world.ask("visitor", &["request", "demo", "--reason", "to wait", "--minutes", "5"]);
    for _ in 0..25 {
        let waiting = load().run();
        assert!(waiting.text().contains("Waiting for an approver"), "{}", waiting.text());
    }
    let elsewhere = load().args(&["--interface", "127.1.0.7"]).run();
    assert_eq!(elsewhere.status, 403);
    world.ask("admin", &["requests", "approve", asked["id"].as_str().unwrap()]);
    assert_eq!(load().run().status, 200);

    // It comes behind all that was recorded of the waiting.
    world.record("session.opened", |record| record["object"] == "tunnel:demo");
    let refused: Vec<_> = world
        .records_of("access.decided")
        .into_iter()
        .filter(|record| record["result"] == "denied" && record["values"]["subject"] == "user:visitor")
        .collect();
    let from = |record: &serde_json::Value| {
        record["values"]["source"].as_str().unwrap().split(':').next().unwrap().to_owned()
    };
    assert_eq!(refused.iter().map(from).collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.1", "127.1.0.7"]);
    assert!(refused.iter().all(|record| record["details"]["needs_approval"] == true));
}

#[test]
fn whoever_asks_for_leave_goes_on_to_the_page_they_came_for_and_nowhere_else() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let page = |path: &str| world.visit("demo", path).by(&world, "visitor").page().run().text();
    assert!(page("/deep?x=1").contains("name=\"to\" value=\"/deep?x=1\""), "{}", page("/deep?x=1"));
    assert!(page("//evil.example/").contains("name=\"to\" value=\"/\""), "{}", page("//evil.example/"));
    for (to, place) in [
        ("/deep?x=1", "/deep?x=1"),
        ("//evil.example/", "/"),
        ("\\\\evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/a\r\nset-cookie: b=c", "/"),
        ("/a\tb", "/"),
        ("", "/"),
    ] {
        let form = ["--data-urlencode", &format!("to={to}"), "--data", "reason=to+look&minutes=5"];
        let sent = world.visit("demo", "/.sallyport/request").by(&world, "visitor").args(&form).run();
        assert_eq!((sent.status, sent.header("location").as_deref()), (303, Some(place)), "{to:?}");
        assert_eq!(sent.header("set-cookie"), None, "{to:?}");
        let waiting = world.ask("visitor", &["requests", "list", "--pending"]);
        world.ask("visitor", &["requests", "withdraw", waiting[0]["id"].as_str().unwrap()]);
    }
}

#[test]
fn a_visitor_is_told_that_nobody_answered_and_that_leave_has_ended() {
    let (plan, clock) = with_movable_clock();
    let mut world = plan.prepare();
    let file = world.state().join("policies/approvals.toml");
    let workflows = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        workflows.replace("ticket = \"optional\"", "ticket = \"optional\"\nanswer_within_minutes = 20"),
    )
    .unwrap();
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let told = |sentence: &str| {
        eventually(sentence, || {
            let page = world.visit("demo", "/").by(&world, "visitor").page().run();
            (page.status == 403 && page.text().contains(sentence)).then(|| page.text())
        })
    };
    world.ask("visitor", &["request", "demo", "--reason", "is anybody there", "--minutes", "5"]);
    told("Waiting for an approver");
    clock.set("+21m");
    let page = told("Nobody answered your request until 20");
    assert!(page.contains("action=\"/.sallyport/request\""), "they can ask anew: {page}");

    let grant = world.grant("demo");
    assert_eq!(world.visit("demo", "/").by(&world, "visitor").run().status, 200);
    clock.set("+52m");
    world.record("grant.expired", |record| record["grant"] == grant.as_str());
    let page = told("Your leave ended at 20");
    assert!(page.contains("action=\"/.sallyport/request\""), "they can ask anew: {page}");
}

#[test]
fn where_a_ticket_is_wanted_a_browser_can_name_it() {
    let mut world =
        World::with().policy("p, role:visitor, main, tunnel:paid, connect, allow, paid").prepare();
    let workflow = "\n[workflow.paid]\nmax_minutes = 60\nticket = \"required\"\n[[workflow.paid.step]]\nrole = \"role:admin\"\npeople = 1\n";
    let file = world.state().join("policies/approvals.toml");
    let workflows = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{workflows}{workflow}")).unwrap();
    world.start_gateway();
    let _publisher = world.publish_demo("paid");
    let page = world.visit("paid", "/").page().by(&world, "visitor").run();
    assert!(page.text().contains("name=\"ticket\""), "{}", page.text());
    let send = |data: &str| {
        world.visit("paid", "/.sallyport/request").by(&world, "visitor").args(&["--data", data]).run()
    };
    let without = send("reason=to+see+it&minutes=10&ticket=+");
    assert_eq!(without.status, 422);
    assert!(without.text().contains("ticket"), "{}", without.text());
    assert_eq!(send("reason=to+see+it&minutes=10&ticket=a%0Ab").status, 422);
    assert_eq!(send("reason=to+see+it&minutes=10&ticket=OPS-7").status, 303);
    let requests = world.ask("admin", &["requests", "list", "--pending"]);
    assert_eq!(requests[0]["ticket"], "OPS-7");
}

#[test]
fn a_form_that_another_site_sends_in_a_visitors_name_is_refused() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let forged = world
        .visit("demo", "/.sallyport/request")
        .by(&world, "visitor")
        .header("Origin: https://evil.example")
        .args(&["--data", "reason=x&minutes=600"])
        .run();
    assert_eq!((forged.status, forged.problem().as_str()), (403, "foreign-form"));
    assert_eq!(world.ask("admin", &["requests", "list"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_form_without_a_reason_or_a_number_of_minutes_is_refused_and_nothing_is_asked() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let send = |data: &str| {
        world.visit("demo", "/.sallyport/request").by(&world, "visitor").args(&["--data", data]).run()
    };
    assert_eq!(send("reason=&minutes=10").status, 422);
    assert_eq!(send("reason=hello&minutes=soon").status, 400);
    assert_eq!(send("reason=hello&minutes=0").status, 422);
    assert_eq!(send("minutes=10").status, 400);
    assert_eq!(send(&format!("reason={}&minutes=10", "x".repeat(40_000))).status, 400);
    assert_eq!(world.ask("admin", &["requests", "list"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_name_that_nobody_publishes_is_not_found() {
    let world = World::start();
    // Clients take no wildcard certificate right below `localhost`, and a name that is not published has none of its own.
    let visit = || world.visit("nobody", "/").args(&["--insecure"]).by(&world, "visitor");
    let unknown = visit().run();
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "unknown-name"));
    let page = visit().page().run();
    assert_eq!(page.status, 404);
    assert!(page.text().contains("no tunnel is published as `nobody`"), "{}", page.text());
    // Not even a name.
    let strange = world.curl("/").header("Host: a.b.localhost").run();
    assert_eq!((strange.status, strange.problem().as_str()), (404, "unknown-name"));
    let elsewhere = world.curl("/api/v1/nothing").by(&world, "admin").run();
    assert_eq!((elsewhere.status, elsewhere.problem().as_str()), (404, "unknown-path"));
}

#[test]
fn visitors_may_speak_http_1_and_http_2_and_know_the_reference_under_which_the_ledger_speaks_of_them() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let answer = world.visit("open-demo", "/").by(&world, "visitor").args(&[flag]).run();
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{}", answer.complaint);
        assert!(answer.text().contains("You are through"));
        let reference = answer.header("sallyport-reference").unwrap();
        let record = world.record("http.request", |record| record["correlation"] == reference.as_str());
        assert_eq!(record["details"]["status"], 200);
        assert_eq!(record["values"]["path"], "/");
        assert_eq!(record["details"]["bytes_down"], answer.body.len());
    }
}

#[test]
fn the_app_sees_the_address_in_use_but_neither_the_visitors_token_nor_headers_that_a_visitor_made_up() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    for flag in ["--http1.1", "--http2"] {
        let answer = world
            .visit("open-demo", "/headers")
            .by(&world, "visitor")
            .header("X-Forwarded-For: 10.9.8.7")
            .header("X-Real-IP: 10.9.8.7")
            .header("Sallyport-Tunnel: other")
            .header("X-Kept: yes")
            .args(&[flag])
            .run();
        assert_eq!(answer.status, 200);
        let seen = answer.text();
        assert!(!seen.contains(&world.token("visitor")), "the token reached the app");
        assert!(!seen.contains("10.9.8.7") && !seen.contains("sallyport-tunnel"), "{seen}");
        assert!(seen.contains("x-forwarded-for: 127.0.0.1") && seen.contains("x-kept: yes"), "{seen}");
        assert!(seen.contains(&format!("\nhost: open-demo.localhost:{}\n", world.port())), "{flag}: {seen}");
    }
}

#[test]
fn an_app_that_is_down_breaks_off_or_stalls_is_told_apart_from_a_tunnel_that_is_gone() {
    let world = World::with().set("limits.request_secs=1").set("tunnels.max_per_user=5").start();
    let down = {
        let app = App::that_stalls();
        app.address()
    };
    let (breaking, stalling) = (App::that_breaks_off(), App::that_stalls());
    let _publishers = [
        world.publish_http("open-down", down),
        world.publish_http("open-breaking", breaking.address()),
        world.publish_http("open-stalling", stalling.address()),
    ];
    let visit = |name: &str| {
        let answer = world.visit(name, "/").by(&world, "visitor").run();
        (answer.status, answer.problem())
    };
    assert_eq!(visit("open-down"), (502, "app-unreachable".to_owned()));
    assert_eq!(visit("open-breaking"), (502, "app-unreachable".to_owned()));
    assert_eq!(visit("open-stalling"), (504, "publisher-timeout".to_owned()));
    assert_eq!(
        world.record("http.request", |record| record["details"]["status"] == 504)["object"],
        "tunnel:open-stalling"
    );
}

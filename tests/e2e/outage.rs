//! What the gateway stands on fails while it serves: the disk, the HSM. New sessions are refused and say why; the gateway
//! lives, and what was acknowledged is kept.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::app::RUNTIME;
use super::crowd::Stage;
use super::mounts::{can_mount, inside};
use super::patience::eventually;
use super::socket::tls;
use super::world::World;

#[test]
fn a_token_that_is_taken_away_refuses_new_sessions_until_it_is_back() {
    let world = World::with().set("limits.header_secs=60").start();
    let _publisher = world.publish_demo("open-demo");
    // Connected while the token was there: a TLS handshake needs its key.
    let mut early: Vec<_> = RUNTIME.block_on(async {
        vec![
            tls(&world, "open-demo.localhost").await,
            tls(&world, "localhost").await,
            tls(&world, "localhost").await,
        ]
    });
    let (token, away) = (world.path("softhsm"), world.path("softhsm-away"));
    std::fs::rename(&token, &away).unwrap();
    eventually("the outage is noticed", || {
        // Whether the probe itself gets through or not: the token is asked.
        world.curl("/readyz").run();
        world.gateway_log().contains("key provider is down").then_some(())
    });

    let mut ask = |host: &str, path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            world.port(),
            world.token("visitor")
        );
        let mut stream = early.remove(0);
        RUNTIME.block_on(async {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        })
    };
    let refused = ask("open-demo.localhost", "/");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("\"code\":\"hsm-down\""), "{refused}");
    assert!(refused.contains("retry-after: ") && refused.contains("\"hint\":"), "{refused}");
    let ready = ask("localhost", "/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("hsm-down\n"), "{ready}");
    assert!(ask("localhost", "/healthz").starts_with("HTTP/1.1 200"), "the gateway lives");

    std::fs::rename(&away, &token).unwrap();
    eventually("new sessions are served again, without a restart", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
    let down = world.record("hsm.down", |_| true);
    assert!(!down["details"]["reason"].as_str().unwrap().is_empty());
    world.record("hsm.up", |record| record["seq"].as_u64() > down["seq"].as_u64());
}

#[test]
fn an_admin_still_cuts_sessions_and_tunnels_while_the_token_is_away_and_it_is_recorded_afterwards() {
    let deletes = "p, role:admin, main, tunnel:*, delete, allow, -";
    let world = World::with().set("limits.header_secs=60").policy(deletes).start();
    let stage = Stage::open(&world, "open-web", "open-tcp");
    let crowd = stage.fill(&world, &world.token("visitor"), 1);
    let sessions = world.ask("admin", &["sessions", "list"]);
    let over_tcp = sessions.as_array().unwrap().iter().find(|open| open["tunnel"] == "open-tcp").unwrap();
    let id = over_tcp["id"].as_str().unwrap();
    let mut early: Vec<_> =
        RUNTIME.block_on(async { vec![tls(&world, "localhost").await, tls(&world, "localhost").await] });
    let (token, away) = (world.path("softhsm"), world.path("softhsm-away"));
    std::fs::rename(&token, &away).unwrap();
    eventually("the outage is noticed", || {
        world.curl("/readyz").run();
        world.gateway_log().contains("key provider is down").then_some(())
    });

    let mut order = |path: &str| {
        let body = r#"{"reason":"stolen"}"#;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            world.port(),
            world.token("admin"),
            body.len(),
        );
        let mut stream = early.remove(0);
        RUNTIME.block_on(async {
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        })
    };
    let killed = order(&format!("/api/v1/sessions/{id}/kill"));
    assert!(killed.starts_with("HTTP/1.1 200"), "{killed}");
    let answer = order("/api/v1/tunnels/open-web/delete");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("ledger-down"), "{answer}");
    assert_eq!(crowd.ended().len(), 3);

    std::fs::rename(&away, &token).unwrap();
    eventually("the gateway serves again", || (world.cli("admin", &["status"]).code == 0).then_some(()));
    let kill = world.record("admin.called", |record| record["session"] == id);
    assert_eq!(kill["values"]["subject"], "user:admin");
    let delete = world.record("admin.called", |record| record["object"] == "tunnel:open-web");
    assert_eq!(delete["values"]["reason"], "stolen");
    world.record("tunnel.deleted", |record| record["object"] == "tunnel:open-web");
}

#[test]
fn a_full_disk_refuses_new_sessions_until_there_is_room_and_keeps_what_was_acknowledged() {
    if !can_mount() {
        return;
    }
    let disk =
        "mkdir $STATE/disk; mount -t tmpfs -o size=24m none $STATE/disk; cp -a $STATE/ledger/. $STATE/disk";
    let mut world = World::with().in_own_mounts(disk).set("ledger.directory=disk").start();
    let _publisher = world.publish_demo("open-demo");
    assert_eq!(world.visit("open-demo", "/").by(&world, "visitor").run().status, 200);
    let known = world.records().len();

    let state = world.state();
    let disk = inside(world.gateway(), &state.join("disk"));
    fill(&disk.join("filler"));
    let refused = eventually("a session is refused for want of room", || {
        let answer = world.visit("open-demo", "/").by(&world, "visitor").run();
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.problem(), "ledger-down");
    assert!(refused.header("retry-after").is_some());
    let later = world.visit("open-demo", "/").by(&world, "visitor").run().text();
    assert!(
        !refused.text().contains("No space") && !later.contains("journal"),
        "a visitor is told too much: {later}"
    );
    assert_eq!(world.curl("/healthz").run().status, 200, "the gateway lives");
    let ready = world.curl("/readyz").run();
    assert_eq!((ready.status, ready.text().trim()), (503, "ledger-down"));
    let publish = world.cli("publisher", &["publish", "demo", "--name", "other", "--give-up-after", "1"]);
    assert_eq!(publish.code, 3, "{}", publish.err);
    // Who may see the gateway's state is told why, and so is who reads its log.
    let status = world.cli("admin", &["status"]);
    assert_eq!(status.code, 1, "{}", status.err);
    assert!(
        status.err.contains("No space left on device") && status.err.contains("hint: make room"),
        "{}",
        status.err
    );
    let log = world.gateway_log();
    assert!(log.contains("No space left on device") && log.contains("goes on by itself"), "{log}");

    // Room again, and nothing else: the same process goes on.
    std::fs::remove_file(disk.join("filler")).unwrap();
    eventually("new sessions are served again, without a restart", || {
        (world.visit("open-demo", "/").by(&world, "visitor").run().status == 200).then_some(())
    });
    assert_eq!(world.curl("/readyz").run().status, 200);
    assert_eq!(world.cli("admin", &["status"]).code, 0);
    let copy = world.path("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&disk).arg(&copy).status().unwrap();
    assert!(copied.success());
    let verdict = world.verify(&copy);
    assert_eq!(verdict.code, 0, "{}{}", verdict.out, verdict.err);
    world.kill_gateway();
    std::fs::remove_dir_all(state.join("ledger")).unwrap();
    std::fs::rename(&copy, state.join("ledger")).unwrap();
    let mut world = world.moved_to_plain_disk();
    world.start_gateway();
    assert!(world.records().len() > known, "acknowledged records are lost");
    let told = world.record("ledger.recovered", |_| true);
    let cause = told["details"]["cause"].as_str().unwrap();
    assert!(cause.contains("No space left on device"), "{cause}");
    world.stop_gateway();
}

/// Takes all the room there is.
fn fill(file: &std::path::Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(file).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![0; size]).is_err() {
            size /= 2;
        }
    }
}

#[test]
fn a_ledger_on_a_read_only_disk_is_told_at_the_start() {
    if !can_mount() {
        return;
    }
    // Permission bits do not bind root, a read-only mount does.
    let read_only = "mount --bind $STATE/ledger $STATE/ledger; mount -o remount,bind,ro $STATE/ledger";
    let world = World::with().in_own_mounts(read_only).prepare();
    let refused = world.refuses_to_start(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(
        refused.err.contains("ledger") && refused.err.contains("Read-only file system"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("hint: let the gateway's user write there"), "{}", refused.err);
}

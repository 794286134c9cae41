//! What happened, what was turned away, what was tried on purpose, and whether the log was kept.

use sallyport_audit::{Draft, Kind};

use super::made::{Made, denied, done, failed};

fn session(kind: Kind, id: &str, tunnel: &str) -> Draft {
    done(kind).session(id).object(tunnel)
}

#[test]
fn every_day_of_the_period_has_its_row_also_one_on_which_nothing_happened() {
    let made = Made::ledger()
        .at("01-31T23:59:59")
        .then(done(Kind::GatewayHeartbeat))
        .at("02-01T00:00:00")
        .then(session(Kind::SessionOpened, "s-1", "tunnel:demo").policy("p1"))
        .then(denied(Kind::SessionRefused).object("tunnel:demo"))
        .at("02-28T23:00:00")
        .then(failed(Kind::HsmDown))
        .then(done(Kind::GatewayHeartbeat))
        .at("03-01T00:00:00")
        .then(done(Kind::GatewayHeartbeat));
    let activity = made.table("activity");
    assert_eq!(activity.column("day").len(), 28);
    let columns = ["success", "denied", "failure", "sessions opened"];
    assert_eq!(activity.row("2026-02-01", columns), ["1", "1", "0", "1"]);
    assert_eq!(activity.row("2026-02-02", columns), ["0", "0", "0", "0"]);
    assert_eq!(activity.row("2026-02-28", columns), ["1", "0", "1", "0"]);
    assert_eq!(activity.figure("days without a record"), "26");
    assert!(activity.0.chart.is_some());
}

#[test]
fn refusals_are_counted_by_day_and_by_what_is_common_to_their_reasons() {
    let made = Made::ledger()
        .at("01-20T10:00:00")
        .then(denied(Kind::AuthFailed).detail("reason", "expired"))
        .at("02-03T10:00:00")
        .then(denied(Kind::AuthFailed).detail("reason", "expired"))
        .then(denied(Kind::AuthFailed).detail("reason", "expired: by a word of the peer"))
        .then(failed(Kind::HandshakeRefused).detail("reason", "version"))
        .then(denied(Kind::AccessDecided).detail("decision", "no-rule"))
        .then(done(Kind::AccessDecided))
        .at("02-04T10:00:00")
        .then(denied(Kind::AuthFailed));
    let refusals = made.table("refusals");
    assert_eq!(refusals.figure("credentials refused"), "3");
    assert_eq!(refusals.figure("refusals of all kinds"), "5");
    assert_eq!(
        [
            refusals.column("day"),
            refusals.column("kind"),
            refusals.column("reason"),
            refusals.column("records")
        ],
        [
            ["2026-02-03", "2026-02-03", "2026-02-03", "2026-02-04"],
            ["access.decided", "auth.failed", "handshake.refused", "auth.failed"],
            ["no-rule", "expired", "version", "unnamed"],
            ["1", "2", "1", "1"],
        ]
    );
}

#[test]
fn sessions_are_counted_by_tunnel_with_their_bytes_in_the_period_in_which_they_ended() {
    let opened = |id: &str, tunnel: &str| session(Kind::SessionOpened, id, tunnel);
    let closed = |id: &str, tunnel: &str, up: u64, down: u64| {
        session(Kind::SessionClosed, id, tunnel)
            .detail("bytes_up", up)
            .detail("bytes_down", down)
            .detail("requests", 2)
            .detail("duration_ms", up * 1_000)
    };
    let made = Made::ledger()
        .at("01-31T23:00:00")
        .then(opened("s-0", "tunnel:demo").policy("p1"))
        .at("02-01T10:00:00")
        .then(closed("s-0", "tunnel:demo", 9, 90))
        .then(opened("s-1", "tunnel:demo").policy("p1").grant("grant-1"))
        .then(closed("s-1", "tunnel:demo", 1, 10))
        .then(denied(Kind::SessionRefused).object("tunnel:demo"))
        .then(opened("s-2", "tunnel:wiki"));
    let sessions = made.table("sessions");
    let names = ["opened", "under a grant", "closed", "refused", "HTTP requests", "bytes up", "bytes down"];
    assert_eq!(sessions.row("tunnel:demo", names), ["1", "1", "2", "1", "4", "10", "100"]);
    assert_eq!(sessions.row("tunnel:demo", ["longest, seconds"]), ["9"]);
    assert_eq!(sessions.row("tunnel:wiki", names), ["1", "0", "0", "0", "0", "0", "0"]);
    assert_eq!(sessions.figure("sessions opened"), "2");
    assert_eq!(sessions.found(), [("without-policy", 1)]);
}

#[test]
fn the_time_to_the_last_byte_is_ranked_by_cause_and_more_than_a_second_is_to_be_explained() {
    let closed = |draft: Draft, cause: &str, micros: u64| {
        draft.object("tunnel:demo").detail("cause", cause).detail("last_byte_after_us", micros)
    };
    let ended = |cause: &str, micros: u64| closed(done(Kind::SessionClosed), cause, micros);
    let mut made = Made::ledger().at("02-03T10:00:00");
    for micros in 1..=100 {
        made = made.then(ended("grant-revoked", micros * 10));
    }
    let made = made
        .then(ended("locked", 1_000_000))
        .then(ended("locked", 1_000_001))
        .then(closed(failed(Kind::SessionClosed), "locked", 5_000_000))
        .then(done(Kind::SessionClosed).detail("cause", "visitor"));
    let kills = made.table("kills");
    let ranks = ["sessions", "middle", "99 of 100", "longest", "not let go of"];
    assert_eq!(kills.row("grant-revoked", ranks), ["100", "500", "990", "1000", "0"]);
    assert_eq!(kills.row("locked", ranks), ["3", "1000001", "5000000", "5000000", "1"]);
    assert_eq!(kills.figure("sessions"), "103", "one ended by itself");
    assert_eq!(kills.found(), [("late", 2), ("held-on", 1)]);
}

const DAY: u64 = 86_400;

fn tried(draft: Draft, control: &str, every: u64) -> Draft {
    draft.detail("control", control).detail("answer", "refused").detail("every_secs", every)
}

#[test]
fn a_canary_that_is_silent_at_the_periods_beginning_or_end_or_in_between_is_an_exception() {
    let held = |control: &str, every: u64| tried(done(Kind::CanaryTried), control, every);
    let month = 31 * DAY;
    let made = Made::ledger()
        .at("02-14T00:00:00")
        .then(held("self-approval", month))
        .at("02-14T00:00:00")
        .then(held("expired-grant", 6 * DAY))
        .at("02-14T00:00:00")
        .then(tried(failed(Kind::CanaryTried), "revoked-token", month))
        .at("02-28T23:59:00")
        .then(done(Kind::GatewayHeartbeat));
    let canaries = made.table("canaries");
    assert_eq!(canaries.figure("tried"), "yes");
    assert_eq!(canaries.found(), [("failed", 1), ("silent", 1), ("never", 1)]);
    let columns = ["held", "not held", "longest pause, seconds"];
    let pause = (15 * DAY).to_string();
    assert_eq!(canaries.row("expired-grant", columns), ["1", "0", &pause], "from the 14th to the end");
    assert_eq!(canaries.row("revoked-token", columns), ["0", "1", &pause]);
    assert_eq!(canaries.row("altered-record", columns), ["0", "0", "0"]);

    let late = Made::ledger().at("02-27T00:00:00").then(held("self-approval", 6 * DAY));
    assert_eq!(late.table("canaries").row("self-approval", columns), ["1", "0", &(26 * DAY).to_string()]);
    // Behind the ledger's last record nobody knows.
    let ended = Made::ledger().at("02-14T00:00:00").then(held("self-approval", 7 * DAY));
    assert_eq!(ended.table("canaries").found(), [("never", 3)]);
    let none = Made::ledger().at("02-14T00:00:00").then(done(Kind::GatewayHeartbeat));
    assert!(none.table("canaries").figure("tried").starts_with("not evaluated"));
    assert_eq!(none.table("canaries").found(), []);
}

#[test]
fn controls_that_were_tried_before_the_period_and_no_more_in_it_are_silent() {
    let held = |control: &str| tried(done(Kind::CanaryTried), control, DAY);
    let made = Made::ledger()
        .at("01-30T00:00:00")
        .then(held("self-approval"))
        .then(held("expired-grant"))
        .at("02-10T00:00:00")
        .then(held("expired-grant"))
        .at("02-28T23:59:00")
        .then(done(Kind::GatewayHeartbeat));
    let canaries = made.table("canaries");
    assert_eq!(canaries.found(), [("silent", 2), ("never", 2)]);
    let columns = ["held", "last", "longest pause, seconds"];
    assert_eq!(canaries.row("self-approval", columns), ["0", "01-30T00:00:00", &(30 * DAY).to_string()]);
    let quiet = Made::ledger()
        .at("01-30T00:00:00")
        .then(held("self-approval"))
        .at("02-28T23:59:00")
        .then(done(Kind::GatewayHeartbeat))
        .table("canaries");
    assert_eq!(quiet.figure("tried"), "no, but before the period");
    assert_eq!(quiet.found(), [("silent", 1), ("never", 3)]);
}

#[test]
fn a_pause_is_judged_by_the_interval_that_the_try_before_it_stated() {
    let held = |control: &str, every: u64| tried(done(Kind::CanaryTried), control, every);
    let made = Made::ledger()
        .at("01-31T00:00:00")
        // Ten days of pause where each day was promised, and a longer interval only afterwards.
        .then(held("self-approval", DAY))
        // And the other way round.
        .then(held("expired-grant", 10 * DAY))
        .at("02-10T00:00:00")
        .then(held("self-approval", 30 * DAY))
        .then(held("expired-grant", DAY))
        .at("02-11T00:00:00")
        .then(held("expired-grant", 30 * DAY));
    assert_eq!(made.table("canaries").found(), [("silent", 1), ("never", 2)]);
}

#[test]
fn what_became_of_the_log_is_counted_by_kind_and_damage_is_to_be_explained() {
    let mut made = Made::ledger();
    // Every quarter of an hour of February but for one day.
    for day in 1..=28 {
        for tick in 0..96 {
            let time = format!("02-{day:02}T{:02}:{:02}:00", tick / 4, tick % 4 * 15);
            if day != 10 {
                made = made.at(&time).then(done(Kind::GatewayHeartbeat));
            }
        }
    }
    let made = made
        .then(done(Kind::ClockJumped))
        .then(done(Kind::LedgerRecovered))
        .then(done(Kind::LedgerScrubbed))
        .then(failed(Kind::LedgerScrubbed))
        .then(done(Kind::LedgerWitnessed))
        .then(failed(Kind::LedgerWitnessed))
        .then(failed(Kind::LedgerWitnessed))
        .then(failed(Kind::HsmDown))
        .then(done(Kind::HsmUp));
    let integrity = made.table("integrity");
    assert_eq!(integrity.figure("heartbeats"), (27 * 96).to_string());
    // From the last heartbeat of the 9th to the first of the 11th.
    assert_eq!(integrity.figure("seconds of silence"), (DAY + 900).to_string());
    assert_eq!(integrity.figure("time covered by records"), "96.3 %");
    assert_eq!(
        integrity.found(),
        [("clock", 1), ("repaired", 1), ("damaged", 1), ("unwitnessed", 2), ("provider", 1)]
    );
    let columns = ["success", "denied or failure"];
    assert_eq!(integrity.row("ledger.scrubbed", columns), ["1", "1"]);
    assert_eq!(integrity.row("ledger.created", columns), ["0", "0"], "that was in January");
}

fn sink(draft: Draft, name: &str) -> Draft {
    draft.object(format!("sink:{name}"))
}

#[test]
fn a_receiver_that_was_lost_before_the_period_is_away_in_it_until_its_sink_says_otherwise() {
    let lost = |name: &str| sink(failed(Kind::SinkFailed), name);
    let back = |name: &str| sink(done(Kind::SinkConnected), name);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(lost("a-removed"))
        .then(done(Kind::GatewayStarted))
        .at("01-20T10:00:00")
        .then(lost("b-back-before"))
        .then(back("b-back-before"))
        .then(lost("c-never-back"))
        .then(lost("d-back-in-it"))
        .at("02-01T01:00:00")
        .then(back("d-back-in-it"))
        .at("02-10T10:00:00")
        .then(lost("e-short"))
        .at("02-10T10:00:30")
        .then(sink(done(Kind::SinkDelivered), "e-short"));
    let sinks = made.table("sinks");
    assert_eq!(sinks.column("sink"), ["sink:c-never-back", "sink:d-back-in-it", "sink:e-short"]);
    assert_eq!(sinks.column("seconds away"), [(28 * DAY).to_string(), "3600".to_owned(), "30".to_owned()]);
    assert_eq!(sinks.found(), [("lost", 1)]);
    assert_eq!(sinks.row("sink:e-short", ["connected", "receipts", "lost"]), ["0", "1", "1"]);
}

#[test]
fn a_sink_that_a_start_does_not_bring_back_is_away_no_longer() {
    let lost = |name: &str| sink(failed(Kind::SinkFailed), name);
    let made = Made::ledger()
        .at("01-31T00:00:00")
        .then(lost("a-removed"))
        .then(lost("b-still-there"))
        .at("02-02T00:00:00")
        .then(lost("c-removed"))
        .at("02-03T00:00:00")
        .then(done(Kind::GatewayStarted))
        .at("02-03T00:00:05")
        .then(lost("b-still-there"));
    let sinks = made.table("sinks");
    assert_eq!(sinks.found(), [("lost", 1)]);
    let away = [2 * DAY, 28 * DAY - 5, DAY];
    assert_eq!(sinks.column("seconds away"), away.map(|seconds| seconds.to_string()));
}

#[test]
fn records_that_waited_too_long_or_were_not_taken_are_to_be_explained() {
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(sink(failed(Kind::SinkLate), "splunk"))
        .at("02-10T10:00:00")
        .then(sink(done(Kind::SinkConnected), "splunk"))
        .then(sink(failed(Kind::SinkQuarantined), "splunk"))
        .then(sink(failed(Kind::SinkLate), "splunk"))
        .then(sink(failed(Kind::SinkLate), "splunk"));
    let sinks = made.table("sinks");
    assert_eq!(sinks.found(), [("quarantined", 1), ("late", 2)]);
    assert_eq!(sinks.row("sink:splunk", ["quarantined", "late", "seconds away"]), ["1", "2", "0"]);
}

#[test]
fn retention_says_how_far_back_the_ledger_reaches_and_which_holds_are_in_force() {
    let hold = |kind, name: &str| done(kind).detail("hold", name);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(hold(Kind::RetentionHeld, "h-old"))
        .then(hold(Kind::RetentionHeld, "h-lifted"))
        .at("02-10T10:00:00")
        .then(hold(Kind::RetentionReleased, "h-lifted"))
        .then(hold(Kind::RetentionHeld, "h-new"))
        .then(denied(Kind::RetentionHeld).detail("hold", "h-refused"))
        .then(done(Kind::RetentionPruned).detail("size", 2).detail("omitted", 1).detail("archive", "a.tar"));
    let retention = made.table("retention");
    assert_eq!(retention.figure("holds in force at the period's end"), "2");
    assert_eq!(retention.figure("days from the ledger's first record to the period's end"), "59");
    assert_eq!(retention.figure("records below this number may be in the archive alone"), "2");
    assert_eq!(
        retention.column("kind"),
        ["retention.released", "retention.held", "retention.held", "retention.pruned"]
    );
    assert_eq!(retention.column("result"), ["success", "success", "denied", "success"]);
    assert_eq!(retention.column("left out"), ["", "", "", "1"]);
}

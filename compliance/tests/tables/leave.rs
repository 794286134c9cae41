//! Who has leave, who came and who went, and what reviews said of it.

use sallyport_audit::{Draft, Kind};

use super::made::{Made, denied, done};

fn token(id: &str, purpose: &str, expires: &str) -> Draft {
    done(Kind::TokenIssued)
        .target("user:alice")
        .detail("token", id)
        .detail("purpose", purpose)
        .detail("tenant", "main")
        .detail("expires", expires)
}

fn grant(kind: Kind, id: &str) -> Draft {
    done(kind).grant(id).target("user:alice").object("tunnel:demo").action("connect")
}

const LATER: &str = "2026-06-01T00:00:00Z";

#[test]
fn the_access_list_has_what_was_given_at_any_time_and_had_not_ended_at_the_periods_end() {
    let device = |kind, id: &str| done(kind).subject("user:alice").detail("device", id);
    let share = |kind, id: &str| done(kind).target("user:bob").object("tunnel:demo").detail("share", id);
    let passkey = |kind, id: &str| done(kind).subject("user:alice").detail("passkey", id);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(token("tok-old", "access", LATER))
        .then(token("tok-over", "access", "2026-02-20T00:00:00Z"))
        .then(token("tok-gone", "access", LATER))
        .then(grant(Kind::GrantIssued, "grant-held").detail("ends", "2026-02-10T00:00:00Z"))
        .then(grant(Kind::GrantBegun, "grant-held").detail("ends", LATER))
        .then(passkey(Kind::PasskeyEnrolled, "pk-held"))
        .then(passkey(Kind::PasskeyEnrolled, "pk-gone"))
        .at("02-10T10:00:00")
        .then(done(Kind::TokenRevoked).detail("token", "tok-gone"))
        .then(passkey(Kind::PasskeyRevoked, "pk-gone"))
        .then(device(Kind::DeviceEnrolled, "dev-held").detail("expires", LATER))
        .then(grant(Kind::GrantIssued, "grant-gone").detail("ends", LATER))
        .then(grant(Kind::GrantRevoked, "grant-gone"))
        .then(grant(Kind::GlassBroken, "grant-glass").detail("ends", LATER))
        .then(share(Kind::ShareOffered, "share-held").detail("role", "viewer"))
        .then(share(Kind::ShareAccepted, "share-held"))
        .then(share(Kind::ShareOffered, "share-offer").detail("role", "viewer"))
        .at("03-02T10:00:00")
        .then(token("tok-new", "access", LATER));
    let access = made.table("access");
    let ids = access.column("id");
    assert_eq!(ids, ["dev-held", "grant-glass", "grant-held", "pk-held", "share-held", "tok-old"]);
    for (what, count) in
        [("grants", "2"), ("shares", "1"), ("tokens", "1"), ("devices", "1"), ("passkeys", "1")]
    {
        assert_eq!(access.figure(what), count, "{what}");
    }
    assert_eq!(
        access.figure("without an end"),
        "1",
        "a share; that a passkey has none is nothing to look at"
    );
    assert_eq!(access.row("grant-glass", ["leave", "until"]), ["connect (break-glass)", "06-01T00:00:00"]);
    assert_eq!(access.row("pk-held", ["what", "leave"]), ["passkey", "signs approvals"]);
}

#[test]
fn what_one_record_ends_of_everybody_is_not_in_the_access_list() {
    let device = || done(Kind::DeviceEnrolled).subject("user:alice").detail("device", "dev-1");
    let passkey = || done(Kind::PasskeyEnrolled).subject("user:alice").detail("passkey", "pk-1");
    let share = |kind| {
        done(kind)
            .target("user:bob")
            .object("tunnel:demo")
            .detail("share", "share-1")
            .detail("role", "viewer")
    };
    let given = || {
        Made::ledger()
            .at("01-10T10:00:00")
            .then(token("tok-1", "access", LATER))
            .then(device())
            .then(passkey())
            .then(grant(Kind::GrantIssued, "grant-1").detail("ends", LATER))
            .then(share(Kind::ShareOffered))
            .then(share(Kind::ShareAccepted))
    };
    let rotated =
        |role: &str, tokens: &str| done(Kind::KeyRotated).detail("role", role).detail("tokens", tokens);
    let resumed = |tokens: &str| done(Kind::LedgerResumed).detail("tokens", tokens);
    let all = ["dev-1", "grant-1", "pk-1", "share-1", "tok-1"];
    for (ends, left) in [
        (rotated("token-signing", "kept"), &all[..]),
        (rotated("tls", "ended"), &all),
        (rotated("token-signing", "ended"), &["dev-1", "grant-1", "pk-1", "share-1"]),
        (resumed("kept"), &["dev-1", "pk-1", "tok-1"]),
        (resumed("ended"), &[]),
    ] {
        for time in ["01-20T10:00:00", "02-10T10:00:00"] {
            let made = given().at(time).then(ends.clone()).then(grant(Kind::GrantIssued, "grant-2"));
            let made = made.at("02-11T10:00:00").then(done(Kind::GatewayHeartbeat));
            let mut left = left.to_vec();
            left.push("grant-2");
            left.sort_by_key(|id| (!id.starts_with("dev"), !id.starts_with("grant"), *id));
            assert_eq!(made.table("access").column("id"), left, "{ends:?}");
        }
    }
}

#[test]
fn the_person_of_a_leaver_is_who_had_the_credential_and_not_who_took_it_back() {
    let by_bob = |kind| done(kind).subject("user:bob");
    let locked = || by_bob(Kind::AccessLocked);
    let made = Made::ledger()
        .at("01-10T10:00:00")
        .then(token("tok-before", "access", LATER))
        .then(done(Kind::DeviceEnrolled).subject("user:alice").detail("device", "dev-before"))
        .at("02-10T10:00:00")
        .then(by_bob(Kind::TokenRevoked).detail("token", "tok-before"))
        .then(by_bob(Kind::DeviceRevoked).detail("device", "dev-before"))
        .then(by_bob(Kind::CertificateRevoked).detail("certificate", "cert-1"))
        .then(by_bob(Kind::TokenRevoked).detail("token", "tok-of-another-issuer").detail("outside", true))
        .then(locked().target("user:alice"))
        .then(locked().detail("device", "dev-before"))
        .then(locked().detail("role", "role:ops"))
        .then(locked().object("tunnel:demo"))
        .then(locked().detail("locked_tenant", "main"))
        .then(by_bob(Kind::AccessUnlocked).object("tunnel:demo"))
        .then(by_bob(Kind::AccessUnlocked).target("user:alice"));
    let people = made.table("people");
    assert_eq!(people.column("id").len(), 8, "tunnels and tenants are nobody");
    assert_eq!([people.figure("left"), people.figure("moved")], ["7", "1"]);
    let who = people.column("person");
    let of = |field: &'static str, record: u64| {
        move |person: &String| person.starts_with(field) && person.ends_with(&format!(", record {record}"))
    };
    assert!(of("target", 1)(&who[0]) && of("subject", 2)(&who[1]), "{who:?}");
    assert_eq!([&who[2], &who[3], &who[6]], ["", "", ""], "no record names them");
    assert!(of("target", 7)(&who[4]) && of("subject", 2)(&who[5]) && of("target", 13)(&who[7]), "{who:?}");
}

#[test]
fn sign_ins_at_a_browser_and_tokens_of_canaries_make_nobody_a_joiner_nor_their_end_a_leaver() {
    let revoked = |id: &str| done(Kind::TokenRevoked).detail("token", id);
    let made = Made::ledger()
        .at("01-31T10:00:00")
        .then(token("tok-before", "access", LATER))
        .then(token("tok-signed-in-before", "session", LATER))
        .at("02-10T10:00:00")
        .then(token("tok-joiner", "access", LATER))
        .then(token("tok-signed-in", "session", LATER))
        .then(token("tok-invitation", "join", LATER))
        .then(done(Kind::DeviceEnrolled).subject("user:alice").detail("device", "dev-1"))
        .then(token("tok-canary", "access", "2026-02-10T10:05:00Z").detail("canary", true))
        .then(token("tok-marked-for-long", "access", LATER).detail("canary", true))
        .then(revoked("tok-canary"))
        .then(revoked("tok-signed-in"))
        .then(revoked("tok-signed-in-before"))
        .then(revoked("tok-invitation"))
        .then(revoked("tok-of-another-issuer").detail("outside", true))
        .then(denied(Kind::TokenIssued).detail("purpose", "access"))
        .then(revoked("tok-before"));
    let people = made.table("people");
    assert_eq!([people.figure("joined"), people.figure("moved"), people.figure("left")], ["3", "0", "2"]);
    assert_eq!(
        people.column("id"),
        ["tok-joiner", "dev-1", "tok-marked-for-long", "tok-of-another-issuer", "tok-before"]
    );
    assert_eq!(people.figure("sign-ins at a browser, not listed"), "1");
    assert_eq!(people.figure("tokens of canaries, not listed"), "1");
}

#[test]
fn how_long_sessions_outlived_a_revoked_credential_is_counted_from_its_revocation() {
    let session = |kind, id: &str| done(kind).session(id).object("tunnel:demo");
    let made = Made::ledger()
        .at("02-10T10:00:00")
        .then(token("tok-1", "access", LATER))
        .then(session(Kind::SessionOpened, "s-1").detail("credential", "tok-1"))
        .then(token("tok-signed-in", "session", LATER).detail("with", "tok-1"))
        .then(session(Kind::SessionOpened, "s-2").detail("credential", "tok-signed-in"))
        .then(session(Kind::SessionOpened, "s-3").detail("credential", "tok-2"))
        .then(session(Kind::SessionOpened, "s-4").detail("credential", "tok-1"))
        .at("02-10T10:01:00")
        .then(session(Kind::SessionClosed, "s-4"))
        .at("02-10T11:00:00")
        .then(done(Kind::TokenRevoked).detail("token", "tok-1"))
        .at("02-10T11:00:02")
        .then(session(Kind::SessionClosed, "s-1"))
        .at("02-10T11:00:07")
        .then(session(Kind::SessionClosed, "s-2"))
        .at("02-10T11:09:00")
        .then(session(Kind::SessionClosed, "s-3"));
    let people = made.table("people");
    assert_eq!(people.figure("longest from leaving to the last session's end"), "7 s");
    let row = &people.column("sessions ended after")[1..];
    assert_eq!(row, ["2"]);
    assert_eq!(people.column("seconds to the last session's end"), ["", "7"]);
}

#[test]
fn a_review_that_began_before_the_period_is_shown_until_it_is_closed() {
    let review = |kind, id: &str| done(kind).detail("review", id);
    let started = |id: &str, deadline: &str| {
        review(Kind::ReviewStarted, id).detail("items", 3).detail("deadline", deadline).detail("digest", "d")
    };
    let decided =
        |id: &str, took: u64| review(Kind::ReviewDecided, id).detail("verdict", "keep").detail("took", took);
    let closed = |id: &str, unreviewed: u64| {
        review(Kind::ReviewClosed, id).detail("kept", 1).detail("revoked", 1).detail("unreviewed", unreviewed)
    };
    let made = Made::ledger()
        .at("01-05T10:00:00")
        .then(started("rev-over", "2026-01-20T00:00:00Z"))
        .then(decided("rev-over", 1))
        .then(closed("rev-over", 2))
        .at("01-31T10:00:00")
        .then(started("rev-across", "2026-02-05T00:00:00Z"))
        .then(decided("rev-across", 30))
        .then(started("rev-late", "2026-02-05T00:00:00Z"))
        .at("02-03T10:00:00")
        .then(decided("rev-across", 1))
        .then(closed("rev-across", 1))
        .then(started("rev-new", "2026-03-20T00:00:00Z"))
        .then(decided("rev-new", 40))
        .at("03-02T10:00:00")
        .then(closed("rev-late", 3));
    let reviews = made.table("reviews");
    assert_eq!(reviews.column("review"), ["rev-across", "rev-late", "rev-new"]);
    assert_eq!(reviews.figure("reviews begun"), "1");
    assert_eq!(reviews.figure("from before the period, not closed when it began"), "2");
    assert_eq!(
        [reviews.figure("decisions"), reviews.figure("decisions in less than two seconds")],
        ["2", "1"]
    );
    assert_eq!(reviews.found(), [("overdue", 1), ("unreviewed", 1)]);
    assert_eq!(reviews.row("rev-across", ["decided", "kept", "closed"]), ["2", "1", "02-03T10:00:00"]);
    assert_eq!(reviews.row("rev-late", ["decided", "closed"]), ["0", ""]);
}

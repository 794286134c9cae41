//! Reports over a ledger made in memory: what they claim, and above all what they do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use jiff::tz::TimeZone;
use sallyport_audit::{
    Checkpoint, Digest, Draft, Kind, Outcome, Record, Seq,
    snapshot::Shown,
    testing::{JournalBuilder, SoftwareSigner},
    verify::{Segment, Trust, Verdict, verify},
};
use sallyport_compliance::{
    Builtin, Cause, ControlReport, Framework, KeyState, Period, Report, Reporter, Standing, Survey, html,
};

const ORIGIN: &str = "sallyport.example/ledger";
/// The test journal's first record is of 2026-01-01T00:00:00Z, each later one a millisecond after.
const JANUARY: (&str, &str) = ("2026-01-01", "2026-01-31");

fn journal() -> JournalBuilder {
    JournalBuilder::new(ORIGIN, SoftwareSigner::new(ORIGIN, [7; 32]))
}

fn created(journal: &JournalBuilder) -> Draft {
    Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", journal.signer.verifier().to_string())
}

/// A ledger in which access worked as it should.
fn ordinary() -> JournalBuilder {
    let mut journal = journal();
    let first = created(&journal);
    journal.group([
        first,
        Draft::new(Kind::GatewayStarted, Outcome::Success),
        Draft::new(Kind::PolicyLoaded, Outcome::Success),
        Draft::new(Kind::AccessRequested, Outcome::Success).subject("user:alice").object("tunnel:demo"),
        Draft::new(Kind::AccessApproved, Outcome::Success).subject("user:bob"),
        Draft::new(Kind::GrantIssued, Outcome::Success).grant("grant-1"),
        Draft::new(Kind::AccessDecided, Outcome::Success).policy("p1"),
        Draft::new(Kind::SessionOpened, Outcome::Success)
            .session("sess-1")
            .policy("p1")
            .object("tunnel:demo"),
        Draft::new(Kind::SessionClosed, Outcome::Success).session("sess-1"),
        Draft::new(Kind::GatewayStopped, Outcome::Success),
    ]);
    journal
}

fn verdict(journal: &JournalBuilder) -> Verdict {
    let segments =
        journal.segments.iter().map(|(name, bytes)| Ok(Segment { name: name.clone(), bytes: bytes.clone() }));
    let trust = Trust { keys: vec![journal.signer.verifier()], ..Trust::default() };
    verify(segments, Some(&journal.head_file()), &trust)
}

/// The report over these records under the journal's head.
fn report(
    framework: &Framework,
    period: (&str, &str),
    journal: &JournalBuilder,
    records: &[Vec<u8>],
    verdict: Verdict,
) -> Report {
    let period = Period::parse(period.0, period.1).unwrap();
    let head = Checkpoint::from_note(&journal.note).unwrap().0;
    let mut survey = Survey::new(period);
    for bytes in records {
        let record = Record::parse(bytes).unwrap();
        survey.take(record.seq, record.time);
    }
    let mut reporter = Reporter::new(framework, period, &TimeZone::UTC, survey.finish());
    for (seq, bytes) in (0..).zip(records) {
        reporter.take(Shown::Record { seq: Seq::new(seq), bytes, leaf: Digest::leaf(bytes) }).unwrap();
    }
    reporter.finish(verdict, &head)
}

fn soc2(journal: &JournalBuilder) -> Report {
    report(&Builtin::Soc2.load().unwrap(), JANUARY, journal, &journal.records(), verdict(journal))
}

fn control<'a>(report: &'a Report, id: &str) -> &'a ControlReport {
    report.controls.iter().find(|control| control.id == id).unwrap()
}

#[test]
fn the_frameworks_that_come_with_the_program_can_be_read() {
    for builtin in Builtin::ALL {
        let framework = builtin.load().unwrap();
        assert_eq!(framework.id, builtin.as_str());
        assert_eq!(builtin.as_str().parse(), Ok(builtin));
        assert!(framework.controls.len() >= 10, "{builtin}");
    }
    assert!("cobit".parse::<Builtin>().unwrap_err().contains("soc2, iso27001, hipaa, pci, nist"));
}

#[test]
fn every_kind_of_record_is_evidence_or_an_exception_for_some_control() {
    let frameworks = Builtin::ALL.map(|builtin| builtin.load().unwrap());
    let controls = || frameworks.iter().flat_map(|framework| &framework.controls);
    let queries = controls().flat_map(|control| {
        control
            .evidence
            .iter()
            .map(|shown| &shown.query)
            .chain(control.exception.iter().map(|rule| &rule.query))
    });
    let used: Vec<Kind> = queries.flat_map(|query| query.kinds.iter().copied()).collect();
    let idle: Vec<_> = Kind::ALL.iter().filter(|kind| !used.contains(kind)).collect();
    assert_eq!(idle, [] as [&Kind; 0]);
}

#[test]
fn an_unknown_kind_in_a_framework_file_is_refused() {
    let source = Builtin::Soc2.source().replace("\"session.closed\"", "\"session.imagined\"");
    let refused = Framework::parse(&source).unwrap_err().to_string();
    assert!(refused.contains("session.imagined"), "{refused}");
}

#[test]
fn what_a_framework_file_cannot_mean_is_refused() {
    let good = "id='x'\ntitle='x'\nedition='x'\nnotice='x'\n[[control]]\nid='A'\nabout='x'\nclaim='x'\nmethod='examine'\n";
    let evidence = "[[control.evidence]]\nshows='x'\nquery={kinds=['session.opened']}\n";
    assert!(Framework::parse(&format!("{good}{evidence}")).is_ok());
    for (text, expected) in [
        (good.to_owned(), "names no evidence"),
        (format!("{good}{evidence}surprise=1\n"), "surprise"),
        (format!("{good}severity='high'\n{evidence}"), "severity"),
        (good.replace("examine", "interview"), "interview"),
        (format!("{good}{}", evidence.replace("'session.opened'", "")), "no kind"),
        (format!("{good}{}", evidence.replace("]}", "],results=['maybe']}")), "maybe"),
        (format!("{good}{evidence}{}{evidence}", &good[good.find("[[").unwrap()..]), "given twice"),
    ] {
        let refused = Framework::parse(&text).unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

#[test]
fn records_are_evidence_for_their_control() {
    let report = soc2(&ordinary());
    assert_eq!(report.unproved, None);
    assert_eq!(
        (report.population.sum.count, report.population.sum.first, report.population.sum.last),
        (10, Some(0), Some(9))
    );
    assert_eq!(control(&report, "CC6.1").state, Standing::Evidence);
    assert_eq!(control(&report, "CC6.1").evidence[2].sum.count, 1);
    assert_eq!(control(&report, "CC6.1").evidence[2].sum.first, Some(7));
    assert!(report.gaps.is_empty());
}

#[test]
fn the_same_ledger_and_parameters_give_the_same_bytes() {
    let (first, second) = (soc2(&ordinary()), soc2(&ordinary()));
    assert_eq!(first.json().unwrap(), second.json().unwrap());
    assert_eq!(html(&first).unwrap(), html(&second).unwrap());
}

#[test]
fn an_empty_period_is_not_evaluated_rather_than_green() {
    let journal = ordinary();
    let framework = Builtin::Soc2.load().unwrap();
    let period = ("2020-01-01", "2020-12-31");
    let report = report(&framework, period, &journal, &journal.records(), verdict(&journal));
    assert!(!report.is_evaluated());
    assert!(report.controls.iter().all(|control| matches!(control.state, Standing::NotEvaluated { .. })));
    assert_eq!(report.silences[0].cause, Cause::NoRecord);
    let page = html(&report).unwrap();
    assert!(page.contains("not evaluated") && !page.contains("stamp good\">evidence"));
}

#[test]
fn a_control_without_a_single_record_is_not_evaluated() {
    let mut journal = journal();
    let first = created(&journal);
    journal.group([first]);
    let report = soc2(&journal);
    assert_eq!(report.unproved, None);
    assert!(matches!(control(&report, "CC6.1").state, Standing::NotEvaluated { .. }));
    assert!(matches!(control(&report, "CC9.2").state, Standing::NotEvaluated { .. }));
}

#[test]
fn a_session_without_its_policy_is_an_exception_that_names_the_record() {
    let mut journal = ordinary();
    journal
        .group([Draft::new(Kind::SessionOpened, Outcome::Success).session("sess-2").object("tunnel:demo")]);
    let report = soc2(&journal);
    let control = control(&report, "CC6.1");
    assert_eq!(control.state, Standing::Exceptions { count: 1 });
    let row = &control.exceptions[0].rows[0];
    assert_eq!((row.seq, row.reference.as_deref()), (10, Some("sess-2")));
}

#[test]
fn exceptions_are_counted_in_full_however_many_are_listed() {
    let mut journal = ordinary();
    journal.group((0..1_500).map(|_| Draft::new(Kind::TunnelLost, Outcome::Failure).object("tunnel:demo")));
    let report = soc2(&journal);
    let listing = &control(&report, "A1.2").exceptions[0];
    assert_eq!((listing.table.sum.count, listing.rows.len(), listing.more), (1_500, 1_000, 500));
    assert!(html(&report).unwrap().contains("And 500 more"));
}

#[test]
fn what_is_to_be_explained_counts_a_record_once_and_what_tables_found_beside_it() {
    let mut journal = ordinary();
    journal.group([
        Draft::new(Kind::HsmDown, Outcome::Failure),
        Draft::new(Kind::SessionOpened, Outcome::Success).session("sess-2").object("tunnel:demo"),
    ]);
    let framework = Builtin::Nist.load().unwrap();
    let report = report(&framework, JANUARY, &journal, &journal.records(), verdict(&journal));
    let rows =
        report.controls.iter().flat_map(|control| &control.exceptions).flat_map(|listing| &listing.rows);
    let numbers: Vec<u64> = rows.map(|row| row.seq).collect();
    let once: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert!(numbers.len() > once.len(), "one is an exception of several controls: {numbers:?}");
    assert_eq!(report.to_explain.records, once.len() as u64);
    let found: u64 = report.sheets.iter().flat_map(|sheet| &sheet.exceptions).map(|found| found.count).sum();
    assert!(found > 0 && report.to_explain.findings == found);
    let page = html(&report).unwrap();
    assert!(page.contains(&format!("<strong>{found}</strong>findings of tables to explain")));
}

#[test]
fn a_time_before_the_first_record_that_is_left_is_said_to_be_pruned() {
    let journal = ordinary();
    let framework = Builtin::Soc2.load().unwrap();
    let period = Period::parse("2025-12-01", "2026-01-31").unwrap();
    let shown = |first: usize| {
        let mut survey = Survey::new(period);
        let records: Vec<_> = journal.records().into_iter().skip(first).collect();
        for bytes in &records {
            let record = Record::parse(bytes).unwrap();
            survey.take(record.seq, record.time);
        }
        let mut reporter = Reporter::new(&framework, period, &TimeZone::UTC, survey.finish());
        for (seq, bytes) in (first as u64..).zip(&records) {
            reporter.take(Shown::Record { seq: Seq::new(seq), bytes, leaf: Digest::leaf(bytes) }).unwrap();
        }
        let head = Checkpoint::from_note(&journal.note).unwrap().0;
        reporter.finish(verdict(&journal), &head).silences[0].cause
    };
    assert_eq!([shown(0), shown(4)], [Cause::BeforeFirst, Cause::Pruned]);
}

#[test]
fn a_ledger_that_does_not_verify_is_evidence_for_nothing() {
    let journal = ordinary();
    let framework = Builtin::Soc2.load().unwrap();
    let records = journal.records();
    // Signed by somebody else.
    let trust = Trust { keys: vec![SoftwareSigner::new(ORIGIN, [8; 32]).verifier()], ..Trust::default() };
    let segments =
        journal.segments.iter().map(|(name, bytes)| Ok(Segment { name: name.clone(), bytes: bytes.clone() }));
    let foreign = verify(segments, Some(&journal.head_file()), &trust);
    // The records read for the report are fewer than those that were verified.
    let fewer = &records[..records.len() - 1];
    for report in [
        report(&framework, JANUARY, &journal, &records, foreign),
        report(&framework, JANUARY, &journal, fewer, verdict(&journal)),
    ] {
        assert!(report.unproved.is_some());
        assert!(report.controls.iter().all(|control| matches!(control.state, Standing::NotEvaluated { .. })));
        assert!(html(&report).unwrap().contains("Nothing may be concluded"));
    }
}

#[test]
fn silence_is_shown_with_what_the_records_around_it_say() {
    let hours = |journal: &mut JournalBuilder, hours: i64| {
        journal.time = journal.time.checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
    };
    let mut journal = ordinary();
    hours(&mut journal, 1);
    journal.group([Draft::new(Kind::GatewayStarted, Outcome::Success)]);
    hours(&mut journal, 2);
    journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]);
    hours(&mut journal, 3);
    journal.group([Draft::new(Kind::GatewayStarted, Outcome::Success)]);
    let report = soc2(&journal);
    let causes: Vec<_> =
        report.silences.iter().map(|silence| (silence.seconds / 3600, silence.cause)).collect();
    let rest = 31 * 24 - 7;
    assert_eq!(
        causes,
        [(1, Cause::Stopped), (2, Cause::Unexplained), (3, Cause::Interrupted), (rest, Cause::AfterLast)]
    );
}

#[test]
fn records_outside_the_period_leave_a_gap_that_is_shown() {
    let mut journal = ordinary();
    let then = journal.time;
    journal.time = "2027-01-01T00:00:00Z".parse().unwrap();
    journal.group([Draft::new(Kind::GatewayHeartbeat, Outcome::Success)]);
    journal.time = then;
    journal.group([Draft::new(Kind::ClockJumped, Outcome::Success)]);
    let report = soc2(&journal);
    assert_eq!((report.gaps[0].after, report.gaps[0].before, report.gaps[0].outside_by_time), (9, 11, true));
}

#[test]
fn names_chosen_by_others_cannot_become_markup() {
    let hostile = "</td><script>alert(1)</script>\" onload=\"x' &amp;";
    let mut journal = ordinary();
    journal.group([Draft::new(Kind::TunnelLost, Outcome::Failure).object(hostile).session(hostile)]);
    let page = html(&soc2(&journal)).unwrap();
    assert!(!page.contains("<script") && !page.contains("\" onload"), "it must be escaped");
    assert!(page.contains("&#60;script&#62;"));
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched from elsewhere");
}

#[test]
fn no_text_claims_more_than_evidence() {
    let page = html(&soc2(&ordinary())).unwrap().to_lowercase();
    for word in ["compliant", "certified", "tamper-proof"] {
        assert!(!page.contains(word), "{word}");
    }
}

/// A record about a key, as a gateway writes it.
fn key(kind: Kind, role: &str, fingerprint: &str) -> Draft {
    let home = serde_json::json!({ "kind": "token", "label": "t1", "serial": "77" });
    let said = serde_json::json!({ "sensitive": true, "extractable": false, "never_extractable": true, "local": null });
    Draft::new(kind, Outcome::Success)
        .object(format!("key:{role}"))
        .detail("role", role)
        .detail("algorithm", "Ed25519")
        .detail("id", "00")
        .detail("fingerprint", fingerprint)
        .detail("home", home)
        .detail("attestation", said)
}

#[test]
fn the_inventory_is_that_of_the_last_records_before_the_periods_end() {
    let mut journal = journal();
    let first = created(&journal);
    let started = || Draft::new(Kind::GatewayStarted, Outcome::Success);
    journal.group([
        first,
        key(Kind::KeyCreated, "tls", "old"),
        key(Kind::KeyCreated, "ledger", "gone"),
        started(),
        key(Kind::KeyLoaded, "tls", "old").detail("due", "2027-01-01T00:00:00Z"),
        key(Kind::KeyLoaded, "ledger", "gone"),
        key(Kind::KeyCreated, "tls", "new"),
        Draft::new(Kind::KeyRotated, Outcome::Success)
            .detail("role", "tls")
            .detail("old", "old")
            .detail("new", "new")
            .detail("by", "schedule"),
        key(Kind::KeyRetired, "tls", "old"),
        key(Kind::KeyCreated, "identity", "waits"),
        started(),
        key(Kind::KeyLoaded, "tls", "new"),
    ]);
    let crypto = soc2(&journal).cryptography;
    let listed: Vec<_> =
        crypto.inventory.keys.iter().map(|key| (key.role.as_str(), key.name.as_str(), key.state)).collect();
    assert_eq!(
        listed,
        [
            ("identity", "waits", KeyState::Made),
            ("ledger", "gone", KeyState::NotFound),
            ("tls", "new", KeyState::InUse)
        ]
    );
    let tls = crypto.inventory.keys.last().unwrap();
    assert_eq!(tls.home, "token t1 (serial 77)");
    assert_eq!(tls.extractable, "no, as the token attests; never was; it does not say more");
    assert_eq!((crypto.changes.rotations, crypto.changes.sum.count), (1, 6));
    let rotated = crypto.changes.rows.iter().find(|change| change.kind == "key.rotated").unwrap();
    assert_eq!(
        (rotated.old.as_deref(), rotated.new.as_deref(), rotated.by),
        (Some("old"), Some("new"), "schedule")
    );
    // Before any of it there is nothing.
    let framework = Builtin::Soc2.load().unwrap();
    let before =
        report(&framework, ("2020-01-01", "2020-12-31"), &journal, &journal.records(), verdict(&journal));
    assert_eq!(before.cryptography.inventory.keys, []);
    assert_eq!(before.cryptography.sessions.sentence, "not evaluated: the period holds no record");
}

#[test]
fn a_session_counts_as_hybrid_only_if_its_record_says_so_of_both_sides() {
    let session = |visitor: Option<bool>, tunnel: Option<bool>| {
        let mut draft = Draft::new(Kind::SessionOpened, Outcome::Success).session("sess-7").policy("p1");
        if let Some(hybrid) = visitor {
            let group = if hybrid { "X25519MLKEM768" } else { "X25519" };
            draft =
                draft.detail("tls_hybrid", hybrid).detail("tls_version", "1.3").detail("tls_group", group);
        }
        match tunnel {
            Some(hybrid) => draft.detail("tunnel_post_quantum", hybrid).detail("tunnel_suite", "x/y/z"),
            None => draft,
        }
    };
    let (yes, no) = (Some(true), Some(false));
    let mut journal = journal();
    let first = created(&journal);
    journal.group([first, session(yes, yes), session(yes, yes)]);
    assert_eq!(soc2(&journal).cryptography.sessions.sentence, "2 of 2 sessions hybrid post-quantum");
    journal.group([
        session(no, yes),
        session(yes, no),
        session(yes, None),
        session(None, None),
        session(None, no),
    ]);
    let sessions = soc2(&journal).cryptography.sessions;
    assert_eq!(sessions.sentence, "2 of 7 sessions hybrid post-quantum; 3 not; 2 whose records do not say");
    assert_eq!((sessions.others.len(), sessions.more), (5, 0));
    assert_eq!((sessions.ways[0].tls.as_str(), sessions.ways[0].count), ("TLS 1.3, X25519MLKEM768", 3));
    // A ledger that does not verify counts nothing.
    let framework = Builtin::Soc2.load().unwrap();
    let mut records = journal.records();
    records.pop();
    let report = report(&framework, JANUARY, &journal, &records, verdict(&journal));
    assert!(
        report.cryptography.sessions.sentence.starts_with("not evaluated: "),
        "{:?}",
        report.cryptography
    );
}

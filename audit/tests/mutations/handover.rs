//! Ledgers whose key changes hands, as they should be and as nobody may write them.
//!
//! The builder signs with whatever keys a case says, so each case is a whole ledger with right numbers, links,
//! roots and checksums; wrong is only who signed what.

use jiff::SignedDuration;
use sallyport_audit::note::PublicKey;
use sallyport_audit::signers::{Delegation, Rotation};
use sallyport_audit::testing::{JournalBuilder, SoftwareSigner};
use sallyport_audit::verify::{Overall, Trust};
use sallyport_audit::{Draft, Kind, Outcome};

use crate::Score;
use crate::ledger::{ORIGIN, Sample, genuine, overall, stranger};

fn key(seed: u8) -> SoftwareSigner {
    SoftwareSigner::new(ORIGIN, [seed; 32])
}

fn lent(seed: u8) -> SoftwareSigner {
    SoftwareSigner::new(&format!("{ORIGIN}/delegate"), [seed; 32])
}

fn plain() -> Draft {
    Draft::new(Kind::GatewayHeartbeat, Outcome::Success)
}

fn begun() -> JournalBuilder {
    let mut journal = JournalBuilder::new(ORIGIN, genuine());
    journal.group([Draft::new(Kind::LedgerCreated, Outcome::Success)
        .detail("origin", ORIGIN)
        .detail("key", genuine().verifier().to_string())
        .detail("format", 1)]);
    journal.group([plain(), plain()]);
    journal
}

fn handed_over() -> JournalBuilder {
    let mut journal = begun();
    journal.hand_over(key(21)).group([plain()]).rotate();
    journal.group([plain()]);
    journal.hand_over(key(22)).group([plain()]);
    journal
}

fn delegation(journal: &JournalBuilder, to: &SoftwareSigner, heads: u64) -> Delegation {
    Delegation { key: to.verifier(), not_after: journal.time + SignedDuration::from_secs(10), heads }
}

fn lent_out(heads: u64) -> JournalBuilder {
    let mut journal = begun();
    let delegation = delegation(&journal, &lent(31), heads);
    journal.group([delegation.draft(), plain()]);
    journal
}

/// Ledgers that must pass for holders of these keys.
fn good() -> Vec<(&'static str, JournalBuilder, Vec<SoftwareSigner>)> {
    let mut lending = lent_out(2);
    lending.group_by([plain()], &[&lent(31)]).group_by([plain()], &[&lent(31)]).group([plain()]);
    let mut renewed = lent_out(2);
    let next = delegation(&renewed, &lent(32), 1);
    renewed.group([next.draft()]).group_by([plain()], &[&lent(32)]);
    let mut both = lent_out(5);
    both.group_by([plain()], &[&lent(31)]).hand_over(key(21)).group([plain()]);
    vec![
        ("handed over twice, the first key given", handed_over(), vec![genuine()]),
        ("handed over twice, the second key given", handed_over(), vec![key(21)]),
        ("handed over twice, the last key given", handed_over(), vec![key(22)]),
        ("handed over twice, first and last given", handed_over(), vec![genuine(), key(22)]),
        ("lent and taken back", lending, vec![genuine()]),
        ("lent anew before the end", renewed, vec![genuine()]),
        ("lent, then handed over", both, vec![key(21)]),
    ]
}

/// Ledgers that nobody may believe.
fn bad() -> Vec<(&'static str, JournalBuilder, Vec<SoftwareSigner>)> {
    let (old, new, forger) = (genuine(), key(21), stranger());
    let rotation = |to: &SoftwareSigner| Rotation { old: old.verifier(), new: to.verifier() }.draft();
    let mut cases = Vec::new();
    let mut case = |what, journal: JournalBuilder, given: &[&SoftwareSigner]| {
        cases.push((what, journal, given.iter().map(|key| (*key).clone()).collect()));
    };
    case("handed over, neither key given", handed_over(), &[&forger]);
    for by in [&old, &new] {
        let mut journal = handed_over();
        journal.group_by([plain()], &[by]);
        case("a head by a retired key, all keys given", journal.clone(), &[&old, &new, &key(22)]);
        case("a head by a retired key, the first given", journal.clone(), &[&old]);
        case("a head by a retired key, the last given", journal, &[&key(22)]);
    }
    for (what, hands) in [
        ("a rotation that the forger alone signed", vec![&forger]),
        ("a rotation that the old key alone signed", vec![&old]),
        ("a rotation that another key signed in the place of the old one", vec![&forger, &new]),
    ] {
        let mut journal = begun();
        journal.group_by([rotation(&forger)], &hands);
        journal.group_by([plain()], &[&forger]);
        case(what, journal.clone(), &[&old]);
        case(what, journal, &[&old, &forger]);
    }
    let mut followed = begun();
    followed.group_by([rotation(&new), plain()], &[&old, &new]).group_by([plain()], &[&new]);
    case("a record behind the rotation in its group", followed, &[&old, &new]);
    let mut not_old = begun();
    let wrong = Rotation { old: forger.verifier(), new: new.verifier() };
    not_old.group_by([wrong.draft()], &[&old, &new]).group_by([plain()], &[&new]);
    case("a rotation of a key that is not the ledger's", not_old, &[&old, &new]);
    let mut back = begun();
    back.hand_over(new.clone());
    let again = Rotation { old: new.verifier(), new: old.verifier() };
    back.group_by([again.draft()], &[&new, &old]).group_by([plain()], &[&old]);
    case("a rotation back to the first key", back, &[&old, &new]);
    let mut nameless = begun();
    let draft = Draft::new(Kind::KeyRotated, Outcome::Success).detail("role", "ledger").detail("old", "x");
    nameless.group([draft]);
    case("a rotation that names no keys", nameless, &[&old]);
    let mut early = begun();
    early.group_by([plain()], &[&new]);
    case("a head by a key that has not come into office", early, &[&old, &new]);

    let mut overused = lent_out(1);
    overused.group_by([plain()], &[&lent(31)]).group_by([plain()], &[&lent(31)]);
    case("one head more than was lent", overused, &[&old]);
    let mut expired = lent_out(5);
    expired.time += SignedDuration::from_secs(11);
    expired.group_by([plain()], &[&lent(31)]);
    case("a lent key after its end", expired, &[&old]);
    let mut unlent = begun();
    unlent.group_by([plain()], &[&lent(31)]);
    case("a key that was never lent to", unlent, &[&old]);
    let mut itself = begun();
    let draft = delegation(&itself, &lent(31), 5).draft();
    itself.group_by([draft], &[&lent(31)]);
    case("a delegation under its own key", itself, &[&old]);
    let mut on = lent_out(5);
    let draft = delegation(&on, &lent(32), 5).draft();
    on.group_by([draft], &[&lent(31)]).group_by([plain()], &[&lent(32)]);
    case("a delegation under a lent key", on, &[&old]);
    let mut named = begun();
    let draft = delegation(&named, &new, 5).draft();
    named.group([draft]).group_by([plain()], &[&new]);
    case("a lent key under the ledger's own name", named, &[&old]);
    for (what, change) in [
        ("a delegation for more than a day", ("not_after", "2026-01-02T01:00:00.000000000Z")),
        ("a delegation that ended before it began", ("not_after", "2025-12-31T00:00:00.000000000Z")),
        ("a delegation without an end", ("not_after", "never")),
        ("a delegation of a number that is none", ("heads", "5")),
    ] {
        let mut journal = begun();
        let draft = delegation(&journal, &lent(31), 5).draft().detail(change.0, change.1);
        journal.group([draft]);
        case(what, journal, &[&old]);
    }
    cases
}

pub(crate) fn run(score: &mut Score) {
    for (what, journal, given) in good() {
        let said = ask(score, what, &journal, &given);
        assert_eq!(said, Overall::Verified, "{what}");
    }
    for (what, journal, given) in bad() {
        let said = ask(score, what, &journal, &given);
        score.count("keys that change hands or are lent", || what.to_owned(), said == Overall::Broken);
    }
}

fn ask(score: &mut Score, what: &str, journal: &JournalBuilder, given: &[SoftwareSigner]) -> Overall {
    let keys: Vec<PublicKey> = given.iter().map(SoftwareSigner::verifier).collect();
    let sample = Sample::of(journal);
    let (segments, head) = (sample.bind(), sample.head.as_deref());
    let said = overall(&segments, head, &Trust { keys: keys.clone(), ..Trust::default() });
    score.second.keep_for(&keys, what.to_owned(), &segments, head, said);
    said
}

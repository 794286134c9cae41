//! A search with an index finds what a search without one finds, whatever the ledger, the query and the damage.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use proptest::prelude::*;

use super::check::check;
use super::make::{MakeError, Maker};
use super::query::People;
use super::search::{Order, Searched, go_on, search};
use super::statistics::{Summary, statistics};
use super::{Directories, IndexFault, Query};
use crate::journal::Files;
use crate::journal::scan::ScanEnd;
use crate::keys::Owner;
use crate::kind::Kind;
use crate::record::{Draft, Outcome, Record, Seq};
use crate::selection::Selection;
use crate::sidecar::ANONYMOUS;
use crate::testing::{ErasingVault, JournalBuilder, PlainVault, SoftwareSigner};

/// Records in one index file of these tests.
const SPAN: u64 = 16;

struct World {
    directory: tempfile::TempDir,
    files: Files,
    journal: JournalBuilder,
}

#[derive(Clone, Debug)]
struct Sketch {
    kind: usize,
    result: usize,
    session: Option<u8>,
    grant: Option<u8>,
    subject: u8,
    back: bool,
}

fn draft(sketch: &Sketch) -> Draft {
    let kinds = [Kind::SessionOpened, Kind::SessionClosed, Kind::HttpRequest, Kind::AccessDecided];
    let results = [Outcome::Success, Outcome::Denied, Outcome::Failure];
    let mut draft = Draft::new(kinds[sketch.kind], results[sketch.result])
        .object(format!("tunnel:{}", sketch.subject % 3))
        .action(if sketch.kind == 2 { "GET" } else { "connect" })
        .correlation(format!("cause \"{}\"\u{1}", sketch.subject))
        .detail("note", format!("grüße {}", sketch.subject % 5));
    if sketch.subject > 2 {
        draft = draft.subject(format!("user:{}", sketch.subject % 4)).source("203.0.113.7:1");
    }
    draft.session = sketch.session.map(|session| format!("sess-{session}"));
    draft.grant = sketch.grant.map(|grant| format!("grant-{grant}"));
    draft
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let ids = (proptest::option::of(0_u8..6), proptest::option::of(0_u8..4));
    (0_usize..4, 0_usize..3, ids, 0_u8..9, proptest::bool::weighted(0.02)).prop_map(
        |(kind, result, (session, grant), subject, back)| Sketch {
            kind,
            result,
            session,
            grant,
            subject,
            back,
        },
    )
}

/// Groups of records; a segment ends behind every third group.
fn groups() -> impl Strategy<Value = Vec<Vec<Sketch>>> {
    proptest::collection::vec(proptest::collection::vec(sketch(), 1..24), 1..14)
}

impl World {
    fn new(groups: &[Vec<Sketch>]) -> Self {
        let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
        for (number, group) in groups.iter().enumerate() {
            if group.iter().any(|sketch| sketch.back) {
                journal.time = journal.time.checked_sub(jiff::SignedDuration::from_secs(90_000)).unwrap();
            }
            journal.group(group.iter().map(draft));
            if number % 3 == 2 {
                journal.rotate();
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        fs::create_dir(files.journal()).unwrap();
        let world = Self { directory, files, journal };
        world.write();
        world
    }

    /// Three hundred records of all sorts.
    fn large() -> Self {
        let sketch = |n: u16| Sketch {
            kind: usize::from(n % 4),
            result: usize::from(n / 4 % 3),
            session: u8::try_from(n / 40).ok().filter(|_| !n.is_multiple_of(5)),
            grant: None,
            subject: u8::try_from(n % 9).unwrap(),
            back: false,
        };
        let all: Vec<_> = (0..300).map(sketch).collect();
        Self::new(&all.chunks(7).map(<[Sketch]>::to_vec).collect::<Vec<_>>())
    }

    fn write(&self) {
        for (name, bytes) in &self.journal.segments {
            fs::write(self.files.journal().join(name), bytes).unwrap();
        }
    }

    fn make(&self) -> u64 {
        let target = || self.files.index();
        let mut maker = Maker::new(&self.files, &target, SPAN);
        let mut made = 0;
        maker.make(&self.indexes(), self.journal.chain.size(), &|| false, &mut |_| made += 1).unwrap();
        made
    }

    fn indexes(&self) -> Directories {
        Directories::of(&self.files, [])
    }

    fn span(&self, number: u64) -> PathBuf {
        self.files.index().join(format!("{:020}.idx", number * SPAN))
    }

    fn ask(&self, indexes: &Directories, query: &Query, order: Order, limit: Option<u64>) -> Answer {
        let mut found = Vec::new();
        let searched = search(&self.files, indexes, query, order, limit, &mut |hit| {
            found.push((hit.record.seq, hit.bytes.to_vec(), hit.sealed.to_vec()));
            ControlFlow::Continue(())
        });
        (found, searched.unwrap())
    }

    fn numbers(&self, query: &Query) -> (Vec<u64>, Searched) {
        let (found, searched) = self.ask(&self.indexes(), query, Order::OldestFirst, None);
        (found.into_iter().map(|(seq, ..)| seq.get()).collect(), searched)
    }

    /// What a plain look at every record finds.
    fn expected(&self, query: &Query) -> Vec<u64> {
        let records = self.journal.records();
        let parsed = records.iter().map(|bytes| (Record::parse(bytes).unwrap(), bytes));
        parsed
            .filter(|(record, bytes)| query.matches(record, bytes))
            .map(|(record, _)| record.seq.get())
            .collect()
    }
}

type Answer = (Vec<(Seq, Vec<u8>, Vec<u8>)>, Searched);

fn session(number: u8) -> Query {
    Query::new(Selection { sessions: vec![format!("sess-{number}")], ..Selection::default() })
}

prop_compose! {
    fn query()(
        from in 0_u64..200, to in proptest::option::of(0_u64..260),
        kinds in proptest::collection::vec(0_usize..3, 0..2), result in proptest::option::of(0_usize..3),
        session in proptest::option::of(0_u8..7), grant in proptest::option::of(0_u8..5),
        cause in proptest::option::of(0_u8..9), text in proptest::option::of(0_u8..6),
        times in (proptest::option::of(-100_000_i64..300), proptest::option::of(-100_000_i64..300)),
        ranged: bool,
    ) -> Query {
        let start = jiff::Timestamp::from_second(1_767_225_600).unwrap();
        let time = |millis: i64| start.checked_add(jiff::SignedDuration::from_millis(millis)).unwrap();
        let all = [Kind::SessionOpened, Kind::HttpRequest, Kind::GrantIssued];
        let results = [Outcome::Success, Outcome::Denied, Outcome::Failure];
        let selection = Selection {
            from: Seq::new(if ranged { from } else { 0 }),
            to: to.filter(|_| ranged).map(Seq::new),
            kinds: kinds.into_iter().map(|kind| all[kind]).collect(),
            results: result.map(|result| results[result]).into_iter().collect(),
            sessions: session.map(|session| format!("sess-{session}")).into_iter().collect(),
            grants: grant.map(|grant| format!("grant-{grant}")).into_iter().collect(),
            correlations: cause.map(|cause| format!("cause \"{cause}\"\u{1}")).into_iter().collect(),
            from_time: times.0.map(time),
            to_time: times.1.map(time),
            ..Selection::default()
        };
        Query { texts: text.map(|text| format!("grüße {text}")).into_iter().collect(), ..Query::new(selection) }
    }
}

fn sums(summary: &Summary) -> Vec<(i64, &str, &str, u64, u64, u64)> {
    let row = |(group, amount): (&'_ super::statistics::Group, &super::statistics::Amount)| {
        (group.day, amount.records, amount.bytes, amount.sealed_bytes)
    };
    summary
        .iter()
        .map(|entry| {
            let (day, records, bytes, sealed) = row(entry);
            (day, entry.0.kind.as_str(), entry.0.result.as_str(), records, bytes, sealed)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_search_with_an_index_finds_what_a_search_without_one_finds(
        groups in groups(), queries in proptest::collection::vec(query(), 1..6), limit in proptest::option::of(0_u64..20)
    ) {
        let world = World::new(&groups);
        world.make();
        for query in queries {
            let expected = world.expected(&query);
            let (found, searched) = world.numbers(&query);
            prop_assert!(searched.faults.is_empty(), "{:?}", searched.faults);
            prop_assert_eq!(&found, &expected);
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let (with, _) = world.ask(&world.indexes(), &query, order, limit);
                let (without, _) = world.ask(&Directories::none(), &query, order, limit);
                prop_assert_eq!(&with, &without);
                let mut wanted = expected.clone();
                if order == Order::NewestFirst {
                    wanted.reverse();
                }
                wanted.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
                let numbers: Vec<_> = with.iter().map(|(seq, ..)| seq.get()).collect();
                prop_assert_eq!(numbers, wanted);
            }
            let counted = statistics(&world.files, &world.indexes(), &query).unwrap();
            let read = statistics(&world.files, &Directories::none(), &query).unwrap();
            prop_assert_eq!(sums(&counted.summary), sums(&read.summary));
            prop_assert_eq!(read.from_index, 0);
            let total: u64 = counted.summary.values().map(|amount| amount.records).sum();
            prop_assert_eq!(total, expected.len() as u64);
        }
    }

    #[test]
    fn whatever_is_done_to_an_index_file_no_hit_is_invented_and_damage_loses_none(
        groups in groups(), query in query(), at in 0_usize..4000, to: u8, cut: bool, number in 0_u64..8
    ) {
        let world = World::new(&groups);
        world.make();
        if let Ok(mut bytes) = fs::read(world.span(number)) {
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = to }
            fs::write(world.span(number), bytes).unwrap();
        }
        let expected = world.expected(&query);
        prop_assert_eq!(world.numbers(&query).0, expected);
    }
}

#[test]
fn only_the_records_that_an_index_names_are_read() {
    let world = World::large();
    assert_eq!(world.make(), 300 / SPAN);
    let (found, searched) = world.numbers(&session(3));
    assert_eq!(found, world.expected(&session(3)));
    assert!(!found.is_empty());
    // Of the spans that are full of them everything is read, and of the others nothing.
    assert!(searched.indexed >= 200, "{searched:?}");
    assert_eq!(world.make(), 0, "what is there is not made again");
}

#[test]
fn an_index_of_another_ledger_is_not_used() {
    let (world, mut other) = (World::large(), World::large());
    other.journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    other.journal.time = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    for n in 0..43 {
        let sketch =
            |k| Sketch { kind: k, result: 0, session: Some(n), grant: None, subject: 5, back: false };
        other.journal.group((0..7).map(|k| draft(&sketch(k % 4))));
        if n % 3 == 2 {
            other.journal.rotate();
        }
    }
    fs::remove_dir_all(other.files.journal()).unwrap();
    fs::create_dir(other.files.journal()).unwrap();
    other.write();
    assert!(other.make() > 10);
    let foreign = Directories::of(&other.files, []);
    let (found, searched) = world.ask(&foreign, &session(3), Order::OldestFirst, None);
    let found: Vec<_> = found.into_iter().map(|(seq, ..)| seq.get()).collect();
    assert_eq!(found, world.expected(&session(3)));
    assert!(searched.faults.iter().all(|(_, fault)| *fault == IndexFault::Foreign), "{searched:?}");
    assert_eq!((searched.faults.len() as u64, searched.indexed), (300 / SPAN, 0));
}

#[test]
fn a_ledger_that_went_another_way_after_a_recovery_uses_no_index_of_what_it_was() {
    let mut world = World::large();
    world.make();
    // The last groups were lost, and others were written in their place.
    let kept = World::large();
    let mut journal = JournalBuilder::new("o", SoftwareSigner::new("o", [1; 32]));
    let records = kept.journal.records();
    let count = 100;
    for _ in 0..count / 7 {
        journal.group((0..7).map(|_| Draft::new(Kind::GatewayHeartbeat, Outcome::Success)));
    }
    assert!(records.len() > 200);
    world.journal = journal;
    fs::remove_dir_all(world.files.journal()).unwrap();
    fs::create_dir(world.files.journal()).unwrap();
    world.write();
    let query = Query::new(Selection { kinds: vec![Kind::GatewayHeartbeat], ..Selection::default() });
    let (found, searched) = world.numbers(&query);
    assert_eq!(found.len(), 98);
    assert!(searched.faults.iter().all(|(_, fault)| *fault == IndexFault::Foreign));
    // They are made again for what is there now.
    assert_eq!(world.make(), 98 / SPAN);
    fs::remove_file(world.span(9)).unwrap();
}

#[test]
fn an_index_of_a_newer_format_costs_a_scan_and_no_hit() {
    let world = World::large();
    world.make();
    let mut bytes = fs::read(world.span(2)).unwrap();
    bytes[3] = b'2';
    let check = crc32c::crc32c(&bytes[..12]).to_le_bytes();
    bytes[12..16].copy_from_slice(&check);
    fs::write(world.span(2), bytes).unwrap();
    let (found, searched) = world.numbers(&session(1));
    assert_eq!(found, world.expected(&session(1)));
    assert!(matches!(&searched.faults[..], [(path, IndexFault::Version)] if *path == world.span(2)));
    let mut wrong = Vec::new();
    check_all(&world, &mut wrong);
    assert_eq!(wrong, [2 * SPAN]);
}

fn check_all(world: &World, wrong: &mut Vec<u64>) {
    let mut files = 0;
    check(&world.files, &world.indexes(), &mut |checked| {
        files += 1;
        if checked.fault.is_some() {
            wrong.push(checked.first.get());
        }
    })
    .unwrap();
    assert_eq!(files, 300 / SPAN);
}

/// An index file with sound checksums that says what is not so.
fn lying(world: &World, number: u64, change: impl Fn(&mut super::header::Header, &mut Vec<u8>)) {
    use super::header::{FRONT_BYTES, Header};
    let bytes = fs::read(world.span(number)).unwrap();
    let front = bytes.first_chunk::<FRONT_BYTES>().unwrap();
    let pages_at = FRONT_BYTES + Header::announced(front).unwrap();
    let mut pages = bytes[pages_at..].to_vec();
    let mut header = Header::parse(front, &bytes[FRONT_BYTES..pages_at], pages.len() as u64).unwrap();
    change(&mut header, &mut pages);
    for page in
        header.places.iter_mut().chain([&mut header.summary]).chain(header.terms.iter_mut().map(|t| &mut t.1))
    {
        let start = page.offset as usize;
        page.crc = crc32c::crc32c(&pages[start..start + page.length as usize]);
    }
    fs::write(world.span(number), [header.to_bytes().unwrap(), pages].concat()).unwrap();
}

#[test]
fn an_index_that_lies_about_places_and_groups_invents_no_hit() {
    let world = World::large();
    world.make();
    // Every place is that of the first record, except the last, by which the file is known.
    lying(&world, 3, |header, pages| {
        let start = header.places[0].offset as usize;
        let first: [u8; 4] = pages[start..start + 4].try_into().unwrap();
        for ordinal in 1..15 {
            pages[start + ordinal * 4..start + ordinal * 4 + 4].copy_from_slice(&first);
        }
    });
    lying(&world, 5, |header, _| header.groups.iter_mut().for_each(|group| group.offset += 3));
    for query in [session(0), session(1), session(2), session(3)] {
        assert_eq!(world.numbers(&query).0, world.expected(&query));
        let (found, _) = world.ask(&world.indexes(), &query, Order::NewestFirst, None);
        let found: Vec<_> = found.iter().rev().map(|(seq, ..)| seq.get()).collect();
        assert_eq!(found, world.expected(&query));
    }
    let mut wrong = Vec::new();
    check_all(&world, &mut wrong);
    assert_eq!(wrong, [3 * SPAN, 5 * SPAN]);
}

#[test]
fn an_index_whose_postings_were_emptied_loses_hits_and_is_found_by_the_check() {
    let world = World::large();
    world.make();
    lying(&world, 4, |header, _| header.terms.clear());
    let inside = Query::new(Selection {
        from: Seq::new(4 * SPAN),
        to: Some(Seq::new(5 * SPAN - 1)),
        ..session(1).selection
    });
    assert!(!world.expected(&inside).is_empty());
    assert!(world.numbers(&inside).0.is_empty());
    let mut wrong = Vec::new();
    check_all(&world, &mut wrong);
    assert_eq!(wrong, [4 * SPAN]);
}

#[test]
fn a_record_changed_in_the_journal_is_not_shown_as_a_hit() {
    let world = World::large();
    world.make();
    let query = Query::new(Selection { from: Seq::new(40), to: Some(Seq::new(40)), ..Selection::default() });
    let first = world.files.segment(Seq::new(21));
    let mut bytes = fs::read(&first).unwrap();
    let at = bytes.windows(8).position(|window| window == b"\"seq\":40").unwrap();
    let from = bytes[..at].iter().rposition(|byte| *byte == b'{').unwrap();
    let object =
        bytes[from..at].windows(7).position(|window| window == b"tunnel:").map(|inside| from + inside);
    bytes[object.unwrap_or(at - 3)] ^= 1;
    fs::write(&first, bytes).unwrap();
    let (found, searched) = world.numbers(&query);
    assert!(found.is_empty());
    assert!(matches!(searched.end, Some(ScanEnd::Damaged { .. })), "{searched:?}");
}

#[test]
fn people_are_found_by_the_name_of_their_data_key_until_it_is_erased() {
    let world = World::large();
    world.make();
    let people =
        |name: &str| Query { people: People::new(&PlainVault, &[name.to_owned()], &[]), ..Query::default() };
    let candidates = |query: &Query| world.numbers(query).0;
    let of = |name: &str| -> Vec<u64> {
        (0..300_u64).filter(|n| n % 9 > 2 && format!("user:{}", n % 9 % 4) == name).collect()
    };
    // Spans with many are read whole, and whoever asks compares the joined value: nobody is left out.
    for name in ["user:0", "user:1", "user:2", "user:3"] {
        let found = candidates(&people(name));
        assert!(of(name).iter().all(|seq| found.contains(seq)), "{name}");
    }
    assert!(candidates(&people("user:9")).iter().all(|seq| *seq >= 288), "only what has no index is read");
    assert_eq!(candidates(&people(ANONYMOUS)).len(), 300, "whom no name is known of may be anywhere");

    let vault = ErasingVault::default();
    vault.erase(&Owner::Person("user:1".to_owned()));
    let gone = Query { people: People::new(&vault, &["user:1".to_owned()], &[]), ..Query::default() };
    assert!(candidates(&gone).iter().all(|seq| *seq >= 288), "who was erased leads nowhere");
}

#[test]
fn what_was_begun_is_gone_on_with_and_what_is_spoilt_is_made_again() {
    let world = World::large();
    let target = || world.files.index();
    let mut maker = Maker::new(&world.files, &target, SPAN);
    maker.make(&world.indexes(), 100, &|| false, &mut |_| ()).unwrap();
    assert_eq!(maker.next(), Seq::new(96));
    maker.make(&world.indexes(), 300, &|| false, &mut |_| ()).unwrap();
    assert_eq!(maker.next(), Seq::new(288));
    assert_eq!(world.make(), 0);
    fs::write(world.span(3), "spoilt").unwrap();
    fs::remove_file(world.span(7)).unwrap();
    fs::remove_file(world.span(8)).unwrap();
    assert_eq!(world.make(), 3);
    let mut wrong = Vec::new();
    check_all(&world, &mut wrong);
    assert!(wrong.is_empty());
    assert_eq!(Maker::new(&world.files, &target, SPAN).next(), Seq::ZERO);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named_and_leaves_nothing_half_made() {
    let world = World::large();
    let blocked = world.directory.path().join("file");
    fs::write(&blocked, "").unwrap();
    let target = || blocked.clone();
    let mut maker = Maker::new(&world.files, &target, SPAN);
    let error = maker.make(&world.indexes(), 300, &|| false, &mut |_| ()).unwrap_err();
    assert!(matches!(&error, MakeError::Write { directory, .. } if *directory == blocked), "{error}");
}

#[test]
fn whoever_follows_goes_on_where_the_last_look_ended() {
    let mut world = World::large();
    world.make();
    let (_, searched) = world.numbers(&session(1));
    let from = Seq::new(world.journal.chain.size());
    world.journal.group([draft(&Sketch {
        kind: 0,
        result: 0,
        session: Some(1),
        grant: None,
        subject: 1,
        back: false,
    })]);
    world.write();
    let query = Query::new(Selection { from, ..session(1).selection });
    let mut found = Vec::new();
    let (_, newest) = world.ask(&world.indexes(), &session(1), Order::NewestFirst, Some(2));
    assert_eq!(
        (newest.next, searched.next),
        (from.next(), from),
        "the last records can be shown and then followed"
    );
    let again = go_on(&world.files, searched.place, &query, None, &mut |hit| {
        found.push(hit.record.seq);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, [from]);
    assert!(again.place > searched.place);
}

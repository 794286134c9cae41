use super::replay::{Expected, Replayed, Visitor, replay};
use super::*;
use crate::chain::Chain;
use crate::journal::{Files, Group};

/// A ledger of three records as it was before the last group was written, and the segment with that group.
async fn interrupted() -> (tempfile::TempDir, Vec<u8>) {
    let directory = filled(2).await;
    let before = tempfile::tempdir().unwrap();
    copy(directory.path(), before.path());
    let (ledger, _) = open(directory.path());
    ledger.append(draft(3)).await.unwrap();
    ledger.close().await.unwrap();
    (before, std::fs::read(first_segment(directory.path())).unwrap())
}

struct Ignore;

impl Visitor for Ignore {
    fn record(&mut self, _: &Chain) {}
    fn group(&mut self, _: &Group<&[u8]>, _: &Chain) {}
}

fn read_back(directory: &Path) -> Result<Replayed, LedgerError> {
    let key = signer().verifier();
    let files = Files::new(directory);
    let segments = files.segments().unwrap();
    replay(&files, &segments, Replayed::genesis(&key), &Expected { origin: ORIGIN, key: &key }, &mut Ignore)
}

#[tokio::test]
async fn a_last_group_cut_at_any_byte_is_an_unfinished_end() {
    let (before, whole) = interrupted().await;
    let good = std::fs::read(first_segment(before.path())).unwrap().len();
    assert!(whole.len() > good + 300);
    for cut in good..whole.len() {
        std::fs::write(first_segment(before.path()), &whole[..cut]).unwrap();
        let found = read_back(before.path()).unwrap();
        assert_eq!(found.chain.size(), 3, "cut at {cut}");
        let torn = found.torn.map(|torn| (torn.offset, torn.bytes));
        assert_eq!(torn, (cut > good).then(|| (good, whole[good..cut].to_vec())), "cut at {cut}");
    }
    std::fs::write(first_segment(before.path()), &whole).unwrap();
    assert_eq!(read_back(before.path()).unwrap().chain.size(), 4);
}

#[tokio::test]
async fn an_unfinished_end_is_set_aside_recorded_and_the_ledger_goes_on() {
    let (before, whole) = interrupted().await;
    let good = std::fs::read(first_segment(before.path())).unwrap().len();
    let cuts: Vec<_> = (good + 1..whole.len()).step_by(151).chain([whole.len() - 1]).collect();
    for cut in cuts {
        let directory = tempfile::tempdir().unwrap();
        copy(before.path(), directory.path());
        std::fs::write(first_segment(directory.path()), &whole[..cut]).unwrap();
        let (ledger, opened) = open(directory.path());
        let torn = opened.torn.unwrap();
        assert_eq!(std::fs::read(&torn.file).unwrap(), &whole[good..cut], "not a byte is thrown away");
        assert_eq!(ledger.append(draft(9)).await.unwrap().seq, Seq::new(4));
        let note = ledger.reader().get(Seq::new(3)).unwrap().unwrap().record;
        assert_eq!(note.kind, Kind::LedgerRecovered);
        assert_eq!(note.details["bytes"], torn.bytes);
        assert_eq!(numbers(&ledger), [1, 2, 9]);
        ledger.close().await.unwrap();
        assert_verified(directory.path());
    }
}

#[tokio::test]
async fn a_last_group_that_a_power_cut_left_half_written_is_set_aside_only_if_nobody_was_told_of_it() {
    let (before, mut whole) = interrupted().await;
    let good = std::fs::read(first_segment(before.path())).unwrap().len();
    // All of its length is there, and a part of it never reached the disk.
    let middle = good + (whole.len() - good) / 2;
    whole[middle..].fill(0);
    let acknowledged = filled(3).await;
    std::fs::write(first_segment(before.path()), &whole).unwrap();
    let (ledger, opened) = open(before.path());
    assert_eq!((opened.records, opened.torn.map(|torn| torn.bytes)), (3, Some((whole.len() - good) as u64)));
    ledger.close().await.unwrap();
    assert_verified(before.path());

    let path = first_segment(acknowledged.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[length - 50..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(options(acknowledged.path()));
    assert!(error.to_string().contains("acknowledged"), "{error}");
}

#[tokio::test]
async fn a_complete_group_that_was_not_yet_noted_apart_is_part_of_the_ledger() {
    let (before, whole) = interrupted().await;
    std::fs::write(first_segment(before.path()), &whole).unwrap();
    let (ledger, opened) = open(before.path());
    assert_eq!((opened.records, opened.torn), (4, None));
    assert_eq!(opened.store, StoreState::CaughtUp { records: 1 });
    assert_eq!(numbers(&ledger), [1, 2, 3]);
    ledger.close().await.unwrap();
    assert_verified(before.path());
}

#[tokio::test]
async fn a_segment_whose_header_was_not_finished_is_moved_away() {
    for length in [0, 5, 40] {
        let directory = filled(2).await;
        let files = Files::new(directory.path());
        let chain = read_back(directory.path()).unwrap().chain;
        let header = crate::journal::SegmentHeader::new(ORIGIN, &chain, "").to_frame().unwrap();
        std::fs::write(files.segment(chain.next()), &header[..length]).unwrap();
        let (ledger, opened) = open(directory.path());
        assert_eq!(opened.torn.unwrap().bytes, length as u64);
        ledger.append(draft(3)).await.unwrap();
        ledger.close().await.unwrap();
        assert_verified(directory.path());
    }
}

#[tokio::test]
async fn a_lost_or_damaged_store_is_made_anew_and_that_is_recorded() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 5] = [
        ("removed", |store| std::fs::remove_dir_all(store).unwrap()),
        ("db emptied", |store| std::fs::write(store.join("db"), "").unwrap()),
        ("db is garbage", |store| {
            let length = std::fs::metadata(store.join("db")).unwrap().len();
            std::fs::write(store.join("db"), vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        }),
        ("conf is garbage", |store| std::fs::write(store.join("conf"), "garbage").unwrap()),
        ("a file in its place", |store| {
            std::fs::remove_dir_all(store).unwrap();
            std::fs::write(store, "not a store").unwrap();
        }),
    ];
    for (name, damage) in damages {
        let directory = filled(4).await;
        damage(&directory.path().join("store"));
        let (ledger, opened) = open(directory.path());
        // sled does without its settings file, but not without its data.
        assert_eq!(opened.store == StoreState::Current, name == "conf is garbage", "{name}: {opened:?}");
        assert_eq!(numbers(&ledger), [1, 2, 3, 4], "{name}");
        if let StoreState::Rebuilt { records, .. } = opened.store {
            assert_eq!(records, 5, "{name}");
            let said = ledger.reader().get(Seq::new(5)).unwrap().unwrap().record;
            assert_eq!(said.kind, Kind::LedgerRebuilt, "{name}");
        }
        ledger.close().await.unwrap();
        let (ledger, opened) = open(directory.path());
        assert_eq!(opened.store, StoreState::Current, "{name}");
        ledger.close().await.unwrap();
        assert_verified(directory.path());
    }
}

#[tokio::test]
async fn one_flipped_bit_anywhere_in_the_store_loses_nothing() {
    let directory = filled(4).await;
    let db = directory.path().join("store/db");
    let whole = std::fs::read(&db).unwrap();
    // sled fills its file with zeros far beyond what it uses.
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap();
    for at in (0..used).step_by(used / 24) {
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let mut bytes = whole.clone();
        bytes[at] ^= 0x04;
        std::fs::write(copied.path().join("store/db"), bytes).unwrap();
        let (ledger, opened) = open(copied.path());
        assert_eq!(numbers(&ledger), [1, 2, 3, 4], "byte {at}: {opened:?}");
        ledger.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_was_never_finished_does_not_keep_the_store_shut() {
    let directory = filled(3).await;
    std::fs::write(directory.path().join("store/snap.0000000000000001.generating"), "half").unwrap();
    let (ledger, opened) = open(directory.path());
    assert_eq!(opened.store, StoreState::Current);
    ledger.close().await.unwrap();
}

#[tokio::test]
async fn a_store_of_another_ledger_is_set_aside_whichever_is_longer() {
    for records in [2, 9] {
        let (directory, other) = (filled(4).await, tempfile::tempdir().unwrap());
        let elsewhere = LedgerOptions { origin: "other.example.org".to_owned(), ..options(other.path()) };
        let (ledger, _) = try_open(elsewhere).unwrap();
        for n in 0..records {
            ledger.append(draft(n)).await.unwrap();
        }
        ledger.close().await.unwrap();
        std::fs::remove_dir_all(directory.path().join("store")).unwrap();
        copy(&other.path().join("store"), &directory.path().join("store"));
        let (ledger, opened) = open(directory.path());
        let StoreState::Rebuilt { records: 5, set_aside: Some(aside), .. } = opened.store else {
            panic!("{opened:?}");
        };
        assert!(aside.join("db").exists());
        assert_eq!(numbers(&ledger), [1, 2, 3, 4]);
        ledger.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_of_another_history_of_the_same_ledger_is_set_aside() {
    let (directory, other) = (filled(4).await, filled(2).await);
    std::fs::remove_dir_all(directory.path().join("store")).unwrap();
    copy(&other.path().join("store"), &directory.path().join("store"));
    let (ledger, opened) = open(directory.path());
    assert!(matches!(opened.store, StoreState::Rebuilt { records: 5, .. }), "{opened:?}");
    assert_eq!(numbers(&ledger), [1, 2, 3, 4]);
    ledger.close().await.unwrap();
}

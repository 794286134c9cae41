//! Does the verifier catch everything? A sample ledger is changed in every way that is listed in these files, by
//! forgers who can do more and more, and each change must be caught.
//!
//! A forger here can write every file, makes lengths and checksums right, links the records after his change to
//! it, writes heads with the right numbers and roots, and signs them with any key but the ledger's own. What
//! needs that key (a writer that breaks the rules) is tried for the rules that the verifier states.
//!
//! With `--full` every case is tried, otherwise an even share of them. The last line of text is `N of N caught`;
//! then one line of JSON.
#![cfg(feature = "testing")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

mod cases;
mod epochs;
mod handover;
mod ledger;
mod pruned;
mod records;
mod second;
mod signatures;

use std::collections::BTreeMap;
use std::process::ExitCode;

use ledger::{Sample, overall};
use sallyport_audit::verify::{Overall, Trust};
use second::Second;

/// The share of the cases that is tried without `--full`.
const SHORT_SHARE: usize = 23;

/// Segment files: name and bytes.
type Segments = Vec<(String, Vec<u8>)>;

/// Counts what was caught, and names what was not.
struct Score {
    share: usize,
    seen: usize,
    original: (Segments, Option<Vec<u8>>),
    tried: BTreeMap<&'static str, usize>,
    survivors: Vec<String>,
    caught: usize,
    second: Second,
    for_second: usize,
}

impl Score {
    fn new(share: usize) -> Self {
        let sample = Sample::genuine();
        let original = (sample.bind(), sample.head);
        Self {
            share,
            seen: 0,
            original,
            tried: BTreeMap::new(),
            survivors: Vec::new(),
            caught: 0,
            second: Second::new(),
            for_second: if share == 1 { 101 } else { 17 },
        }
    }

    /// One case of `class`, which must be caught.
    fn case(&mut self, class: &'static str, what: impl FnOnce() -> String, sample: &Sample, trust: &Trust) {
        if self.skip() {
            return;
        }
        self.files(class, what, &sample.bind(), sample.head.as_deref(), trust);
    }

    /// One case that is always tried, and always shown to the second verifier.
    fn always(&mut self, class: &'static str, what: &str, sample: &Sample) {
        let (segments, head) = (sample.bind(), sample.head.as_deref());
        let overall = overall(&segments, head, &ledger::trust());
        self.second.keep(format!("{class}: {what}"), &segments, head, overall);
        self.count(class, || what.to_owned(), overall != Overall::Verified);
    }

    fn skip(&mut self) -> bool {
        self.seen += 1;
        !self.seen.is_multiple_of(self.share)
    }

    /// The same for the many cases of single bits and cuts.
    fn skip_byte(&mut self) -> bool {
        self.seen += 1;
        !self.seen.is_multiple_of(if self.share == 1 { 1 } else { self.share * 7 })
    }

    fn files(
        &mut self,
        class: &'static str,
        what: impl FnOnce() -> String,
        segments: &[(String, Vec<u8>)],
        head: Option<&[u8]>,
        trust: &Trust,
    ) {
        let (files, old_head) = &self.original;
        if segments == files
            && head == old_head.as_deref()
            && trust.checkpoint.is_none()
            && trust.keys == ledger::trust().keys
        {
            return; // The forger's work led back to the very same ledger.
        }
        let overall = overall(segments, head, trust);
        let tried: usize = self.tried.values().sum();
        let usual = trust.checkpoint.is_none()
            && trust.keys == ledger::trust().keys
            && trust.accept_epoch == ledger::trust().accept_epoch;
        let what = what();
        if usual && tried.is_multiple_of(self.for_second) {
            self.second.keep(format!("{class}: {what}"), segments, head, overall);
        }
        self.count(class, || what, overall != Overall::Verified);
    }

    fn count(&mut self, class: &'static str, what: impl FnOnce() -> String, caught: bool) {
        *self.tried.entry(class).or_default() += 1;
        if caught {
            self.caught += 1;
        } else {
            self.survivors.push(format!("{class}: {}", what()));
        }
    }
}

fn main() -> ExitCode {
    let full = std::env::args().any(|argument| argument == "--full");
    let mut score = Score::new(if full { 1 } else { SHORT_SHARE });
    let sample = Sample::genuine();
    let unchanged = overall(&sample.bind(), sample.head.as_deref(), &ledger::trust());
    assert_eq!(unchanged, Overall::Verified, "the unchanged ledger passes");
    score.second.keep("unchanged".to_owned(), &sample.bind(), sample.head.as_deref(), unchanged);
    for (what, sample) in cases::good().into_iter().chain(epochs::good()).chain(signatures::good()) {
        let overall = overall(&sample.bind(), sample.head.as_deref(), &ledger::trust());
        assert_eq!(overall, Overall::Verified, "{what}");
        score.second.keep(what.to_owned(), &sample.bind(), sample.head.as_deref(), overall);
    }
    let (segments, head) = pruned::good();
    for key in [ledger::genuine(), pruned::successor()] {
        let keys = vec![key.verifier()];
        let overall = overall(&segments, Some(&head), &Trust { keys: keys.clone(), ..ledger::trust() });
        assert_eq!(overall, Overall::Verified, "a pruned ledger passes for {keys:?}");
        score.second.keep_for(&keys, "a pruned ledger".to_owned(), &segments, Some(&head), overall);
    }
    cases::run(&mut score);
    pruned::run(&mut score);
    epochs::run(&mut score);
    handover::run(&mut score);
    signatures::run(&mut score);
    for (class, tried) in &score.tried {
        println!("{tried:>7}  {class}");
    }
    println!("Passes, as specified, and is not counted:");
    for (what, passed) in cases::outside_the_claim() {
        println!("         {what}");
        assert!(passed, "it does not pass, so the list is out of date: {what}");
    }
    for survivor in &score.survivors {
        println!("SURVIVED {survivor}");
    }
    let (alike, others) = score.second.compare();
    println!("The second verifier said the same of {alike} of {} ledgers", alike + others.len());
    for other in &others {
        println!("DISAGREED {other}");
    }
    let tried: usize = score.tried.values().sum();
    println!("{} of {tried} caught", score.caught);
    let figures = serde_json::json!({
        "bench": "verifier-mutations", "full": full, "tried": tried, "caught": score.caught,
        "survivors": score.survivors.len(), "classes": score.tried,
        "second_verifier": { "alike": alike, "other": others.len() },
    });
    println!("{figures}");
    if score.survivors.is_empty() && others.is_empty() && tried > 1000 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

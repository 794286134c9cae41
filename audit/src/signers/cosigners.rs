//! Who may cosign in the ledger's own name: the post-quantum key, and those that follow it.
//!
//! An auditor keeps one cosigner's key for as long as records are kept, and the ledger replaces it meanwhile. So a record
//! names the next one. It stands under heads of the ledger's own key, and carries a signature of the key that goes:
//! whoever can only break Ed25519 makes no successor.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::note::CosignerKey;
use crate::record::{Draft, Outcome};

/// The role that a rotation of the cosigning key names.
pub const COSIGNER_ROLE: &str = "ledger-pq";

/// What the old key signs begins with this, so that it means nothing elsewhere.
const LABEL: &str = "sallyport/1 ledger cosigner handover";

/// One cosigning key takes the place of another.
#[derive(Clone, Debug)]
pub struct CosignerHandover {
    /// The key that goes.
    pub old: CosignerKey,
    /// The key that comes.
    pub new: CosignerKey,
}

/// A handover as the ledger tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    old: String,
    new: String,
    /// How many records there were with the one that says so.
    size: u64,
}

/// All handovers that the ledger tells of, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CosignerHandovers(Vec<Told>);

impl CosignerHandover {
    /// What the key that goes signs.
    pub fn message(&self) -> Vec<u8> {
        format!("{LABEL}\n{}\n{}\n", self.old, self.new).into_bytes()
    }

    /// The record that says so, with the old key's signature over [`CosignerHandover::message`].
    pub fn draft(&self, signature: &[u8]) -> Draft {
        Draft::new(Kind::KeyRotated, Outcome::Success)
            .object(format!("key:{COSIGNER_ROLE}"))
            .detail("role", COSIGNER_ROLE)
            .detail("old", self.old.to_string())
            .detail("new", self.new.to_string())
            .detail("signature", STANDARD.encode(signature))
    }

    /// Reads it back; `None` if the old key has not signed it.
    fn read(details: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| details.get(name)?.as_str();
        let (old, new) = (CosignerKey::parse(text("old")?).ok()?, CosignerKey::parse(text("new")?).ok()?);
        let handover = Self { old, new };
        let signature = STANDARD.decode(text("signature")?).ok()?;
        handover.old.has_signed(&handover.message(), &signature).then_some(handover)
    }
}

impl CosignerHandovers {
    /// Takes in a successful rotation of role [`COSIGNER_ROLE`], the last of `size` records. One that does not hold names
    /// nobody.
    pub(super) fn read(details: &Map<String, Value>, size: u64) -> Option<Told> {
        let CosignerHandover { old, new } = CosignerHandover::read(details)?;
        Some(Told { old: old.to_string(), new: new.to_string(), size })
    }

    pub(super) fn extend(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            // Said again by a start that finishes what was broken off: the first time counts.
            if !self.0.iter().any(|known| known.old == told.old && known.new == told.new) {
                self.0.push(told);
            }
        }
    }

    /// The keys that speak for `given`, itself first, each with the smallest and the largest head that it may cosign.
    ///
    /// A key that took another's place counts from the record that names it; one whose place was taken, up to that.
    pub fn speaking_for(&self, given: &CosignerKey) -> Vec<(CosignerKey, u64, u64)> {
        let (mut key, mut speaking) = (given.clone(), Vec::new());
        // Each handover is followed once: a circle ends.
        for _ in 0..=self.0.len() {
            let text = key.to_string();
            let named = self.0.iter().find(|told| told.new == text).map_or(0, |told| told.size);
            let taken = self.0.iter().find(|told| told.old == text);
            speaking.push((key, named, taken.map_or(u64::MAX, |told| told.size)));
            let Some(next) = taken.and_then(|told| CosignerKey::parse(&told.new).ok()) else { break };
            key = next;
        }
        speaking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Cosigner as _;
    use crate::testing::SoftwareCosigner;

    const NAME: &str = "example.org/ledger";

    fn details(draft: &Draft) -> Map<String, Value> {
        draft.details.clone()
    }

    fn handover(from: u8, to: u8) -> Map<String, Value> {
        let mut old = SoftwareCosigner::new(NAME, [from; 32]);
        let new = SoftwareCosigner::new(NAME, [to; 32]).verifier();
        let handover = CosignerHandover { old: old.verifier(), new };
        let signature = old.sign(&handover.message()).unwrap();
        details(&handover.draft(&signature))
    }

    fn key(seed: u8) -> CosignerKey {
        SoftwareCosigner::new(NAME, [seed; 32]).verifier()
    }

    fn terms(handovers: &CosignerHandovers, given: u8) -> Vec<(String, u64, u64)> {
        let speaking = handovers.speaking_for(&key(given));
        speaking.into_iter().map(|(key, from, to)| (key.to_string(), from, to)).collect()
    }

    #[test]
    fn a_key_is_followed_to_those_that_took_its_place_and_each_counts_in_its_time() {
        let mut handovers = CosignerHandovers::default();
        assert_eq!(terms(&handovers, 1), [(key(1).to_string(), 0, u64::MAX)]);
        handovers.extend(CosignerHandovers::read(&handover(1, 2), 10));
        handovers.extend(CosignerHandovers::read(&handover(2, 3), 20));
        handovers.extend(CosignerHandovers::read(&handover(2, 3), 25));
        let [first, second, third] = [1, 2, 3].map(|seed| key(seed).to_string());
        let all = [(first, 0, 10), (second, 10, 20), (third, 20, u64::MAX)];
        assert_eq!(terms(&handovers, 1), all);
        assert_eq!(terms(&handovers, 2), all[1..]);
        assert_eq!(terms(&handovers, 3), all[2..], "the new one counts only from the record that names it");
        assert_eq!(terms(&handovers, 4), [(key(4).to_string(), 0, u64::MAX)], "a stranger follows nobody");
    }

    #[test]
    fn a_handover_that_the_old_key_has_not_signed_names_nobody() {
        let good = handover(1, 2);
        assert!(CosignerHandovers::read(&good, 10).is_some());
        for (name, value) in [
            ("new", Value::from(key(3).to_string())),
            ("old", Value::from(key(3).to_string())),
            ("signature", Value::from("AAAA")),
            ("signature", Value::Null),
            ("new", Value::from("0".repeat(64))),
        ] {
            let mut altered = good.clone();
            altered.insert(name.to_owned(), value);
            assert!(CosignerHandovers::read(&altered, 10).is_none(), "{name}");
        }
    }

    #[test]
    fn a_circle_of_handovers_ends() {
        let mut handovers = CosignerHandovers::default();
        handovers.extend(CosignerHandovers::read(&handover(1, 2), 10));
        handovers.extend(CosignerHandovers::read(&handover(2, 1), 20));
        assert!(terms(&handovers, 1).len() <= 3);
    }
}

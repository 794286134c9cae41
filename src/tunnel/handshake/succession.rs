//! A gateway's identity names the one after it.
//!
//! Whoever has the organisation's root needs nothing of this: the root certifies the new keys. Whoever wrote down a
//! gateway's keys at the first meeting has only those, and other keys look to them like an impostor. So the keys that go
//! sign a statement of those that come; both kinds must sign, for either may have been broken by then. A client takes
//! other keys in no other way.
//!
//! What this cannot show: whoever stole the old keys can make such a statement, too. After a theft people compare
//! fingerprints, as at the first meeting.
//!
//! Pure. Not trusted: the bytes, which come from whoever answers at the gateway's address.

use aws_lc_rs::digest::{SHA256, digest};

use super::identity::{
    ED25519_PUBLIC, Fingerprint, IdentitySignatures, ML_DSA_PUBLIC, ML_DSA_SIGNATURE, ToSign, check_both,
    fingerprint,
};
use crate::tunnel::wire::{DecodeError, Reader, Writer};

/// The most statements that a gateway gives and a client follows: years of rotations.
const MAX_SUCCESSIONS: usize = 16;
/// The largest encoded chain of statements in bytes.
pub const MAX_SUCCESSION_BYTES: usize = 128 * 1024;
/// Version of the encoding.
const SUCCESSION_VERSION: u8 = 1;
/// What is signed begins with this.
const LABEL: &[u8] = b"sallyport/1 identity succession\0";

/// The two public keys of an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityKeys {
    /// The Ed25519 public key.
    pub ed25519: [u8; ED25519_PUBLIC],
    /// The ML-DSA-65 public key.
    pub ml_dsa: Box<[u8; ML_DSA_PUBLIC]>,
}

impl IdentityKeys {
    /// What people compare, and what a client writes down.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.ed25519, self.ml_dsa.as_slice())
    }
}

/// What the keys that go say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuccessionBody {
    /// The keys that go.
    pub old: IdentityKeys,
    /// The keys that come.
    pub new: IdentityKeys,
    /// First second in which it counts, Unix time.
    pub not_before: u64,
    /// Last second in which it counts, Unix time.
    pub not_after: u64,
}

impl SuccessionBody {
    /// What both old keys sign.
    pub fn to_sign(&self) -> ToSign {
        let signed = [LABEL, &self.encode()].concat();
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest(&SHA256, &signed).as_ref()).for_each(|(to, from)| *to = *from);
        ToSign::succession(hash)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2 * (ED25519_PUBLIC + ML_DSA_PUBLIC) + 16);
        for keys in [&self.old, &self.new] {
            writer.array(&keys.ed25519).array(keys.ml_dsa.as_slice());
        }
        writer.u64(self.not_before).u64(self.not_after);
        writer.finish()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut keys = || {
            Ok::<_, DecodeError>(IdentityKeys {
                ed25519: reader.array("ed25519 key")?,
                ml_dsa: Box::new(reader.array("ml-dsa key")?),
            })
        };
        let (old, new) = (keys()?, keys()?);
        Ok(Self { old, new, not_before: reader.u64("not before")?, not_after: reader.u64("not after")? })
    }
}

/// One statement, signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Succession {
    body: SuccessionBody,
    signatures: IdentitySignatures,
}

impl Succession {
    /// A statement out of its body and the old keys' signatures over [`SuccessionBody::to_sign`]; `None` if they are not
    /// those.
    pub fn new(body: SuccessionBody, signatures: IdentitySignatures) -> Option<Self> {
        let succession = Self { body, signatures };
        succession.is_signed().then_some(succession)
    }

    /// What it says.
    pub fn body(&self) -> &SuccessionBody {
        &self.body
    }

    fn is_signed(&self) -> bool {
        let SuccessionBody { old, .. } = &self.body;
        check_both(&old.ed25519, old.ml_dsa.as_slice(), &self.body.to_sign(), &self.signatures).is_ok()
    }

    fn counts_at(&self, now: u64) -> bool {
        (self.body.not_before..=self.body.not_after).contains(&now) && self.is_signed()
    }
}

/// Statements of one gateway, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Successions(Vec<Succession>);

impl Successions {
    /// Adds one, in the place of an earlier one of the same old keys; those that do not count any more at `now` go, and
    /// then the oldest, if there are too many.
    pub fn push(&mut self, succession: Succession, now: u64) {
        self.0.retain(|other| other.body.old != succession.body.old && other.body.not_after >= now);
        self.0.push(succession);
        let surplus = self.0.len().saturating_sub(MAX_SUCCESSIONS);
        self.0.drain(..surplus);
    }

    /// Whether the keys of `known` have been followed, statement by statement, by those of `shown`. Every signature on
    /// the way is checked, and none is if the two are not connected.
    pub fn lead(&self, known: Fingerprint, shown: Fingerprint, now: u64) -> bool {
        let (mut at, mut way) = (known, Vec::new());
        while at != shown && way.len() < self.0.len() {
            let Some(next) = self.0.iter().find(|one| one.body.old.fingerprint() == at) else { return false };
            way.push(next);
            at = next.body.new.fingerprint();
        }
        at == shown && !way.is_empty() && way.iter().all(|one| one.counts_at(now))
    }

    /// The bytes that are given out.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1 + self.0.len() * 8192);
        writer.u8(SUCCESSION_VERSION).u8(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for Succession { body, signatures } in &self.0 {
            writer.array(&body.encode()).array(&signatures.ed25519).array(signatures.ml_dsa.as_slice());
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote; proves nothing about who wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("succession version")? != SUCCESSION_VERSION {
            return Err(DecodeError::BadValue { field: "succession version" });
        }
        let count = usize::from(reader.u8("number of statements")?);
        if count > MAX_SUCCESSIONS {
            return Err(DecodeError::BadValue { field: "number of statements" });
        }
        let mut all = Vec::new();
        for _ in 0..count {
            let body = SuccessionBody::decode(&mut reader)?;
            let ed25519 = reader.array("ed25519 signature")?;
            let ml_dsa = Box::new(reader.array::<ML_DSA_SIGNATURE>("ml-dsa signature")?);
            all.push(Succession { body, signatures: IdentitySignatures { ed25519, ml_dsa } });
        }
        reader.finish()?;
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};

    use super::*;

    struct Keys(Ed25519KeyPair, PqdsaKeyPair);

    impl Keys {
        fn new(seed: u8) -> Self {
            let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
            Self(ed25519, PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &[seed; 32]).unwrap())
        }

        fn public(&self) -> IdentityKeys {
            IdentityKeys {
                ed25519: self.0.public_key().as_ref().try_into().unwrap(),
                ml_dsa: Box::new(self.1.public_key().as_ref().try_into().unwrap()),
            }
        }

        fn sign(&self, to_sign: &ToSign) -> IdentitySignatures {
            let mut ml_dsa = Box::new([0; ML_DSA_SIGNATURE]);
            self.1.sign(&to_sign.ml_dsa(), ml_dsa.as_mut_slice()).unwrap();
            IdentitySignatures {
                ed25519: self.0.sign(&to_sign.ed25519()).as_ref().try_into().unwrap(),
                ml_dsa,
            }
        }
    }

    fn statement(old: u8, new: u8) -> Succession {
        let (old, new) = (Keys::new(old), Keys::new(new));
        let body = SuccessionBody { old: old.public(), new: new.public(), not_before: 100, not_after: 200 };
        let signatures = old.sign(&body.to_sign());
        Succession::new(body, signatures).unwrap()
    }

    fn print(seed: u8) -> Fingerprint {
        Keys::new(seed).public().fingerprint()
    }

    #[test]
    fn a_client_that_missed_several_rotations_is_led_from_the_keys_it_knows_to_those_it_is_shown() {
        let mut all = Successions::default();
        for (old, new) in [(1, 2), (2, 3), (3, 4)] {
            all.push(statement(old, new), 150);
        }
        let all = Successions::decode(&all.encode()).unwrap();
        assert!(all.lead(print(1), print(4), 150) && all.lead(print(2), print(3), 150));
        assert!(!all.lead(print(4), print(1), 150), "never back");
        assert!(!all.lead(print(1), print(9), 150) && !all.lead(print(9), print(4), 150));
        assert!(!all.lead(print(1), print(1), 150), "nothing to be led to");
        assert!(!all.lead(print(1), print(4), 99) && !all.lead(print(1), print(4), 201), "only in its time");
    }

    #[test]
    fn a_statement_that_is_not_signed_by_both_old_keys_leads_nowhere() {
        let (old, new, thief) = (Keys::new(1), Keys::new(2), Keys::new(3));
        let body = SuccessionBody { old: old.public(), new: new.public(), not_before: 100, not_after: 200 };
        let (good, bad) = (old.sign(&body.to_sign()), thief.sign(&body.to_sign()));
        let mixed = [
            IdentitySignatures { ed25519: bad.ed25519, ml_dsa: good.ml_dsa.clone() },
            IdentitySignatures { ed25519: good.ed25519, ml_dsa: bad.ml_dsa.clone() },
            bad,
            new.sign(&body.to_sign()),
            old.sign(&SuccessionBody { not_after: 201, ..body.clone() }.to_sign()),
            // What a handshake would have them sign.
            old.sign(&ToSign::new([0; 32])),
        ];
        for signatures in mixed {
            assert_eq!(Succession::new(body.clone(), signatures.clone()), None);
            let forged = Successions(vec![Succession { body: body.clone(), signatures }]);
            assert!(!forged.lead(print(1), print(2), 150));
        }
        assert!(Successions(vec![statement(1, 2)]).lead(print(1), print(2), 150));
    }

    #[test]
    fn a_chain_cut_anywhere_too_long_or_of_another_version_is_refused_and_a_circle_ends() {
        let bytes = Successions(vec![statement(1, 2)]).encode();
        assert!(bytes.len() * MAX_SUCCESSIONS <= MAX_SUCCESSION_BYTES);
        for length in 0..bytes.len() {
            assert!(Successions::decode(&bytes[..length]).is_err(), "{length}");
        }
        for (place, value) in [(0, 2), (1, 17), (1, 2), (1, 0)] {
            let mut other = bytes.clone();
            other[place] = value;
            assert!(Successions::decode(&other).is_err(), "{place}: {value}");
        }
        let circle = Successions(vec![statement(1, 2), statement(2, 1)]);
        assert!(!circle.lead(print(1), print(5), 150));
    }

    #[test]
    fn only_so_many_are_kept_and_none_that_does_not_count_any_more() {
        let mut all = Successions::default();
        for old in 0..20 {
            all.push(statement(old, old + 1), 150);
        }
        assert_eq!(all.0.len(), MAX_SUCCESSIONS);
        all.push(statement(19, 30), 150);
        assert_eq!(all.0.len(), MAX_SUCCESSIONS, "the same keys have one that follows");
        assert!(all.lead(print(19), print(30), 150) && !all.lead(print(19), print(20), 150));
        all.push(statement(40, 41), 201);
        assert_eq!(all.0.len(), 1);
    }
}

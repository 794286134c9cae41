//! Who answers for a pack, and under whose signature its records stand.

use sallyport_audit::Checkpoint;
use sallyport_audit::note::{PublicKey, SignedNote};
use sallyport_audit::verify::State;

use super::super::sums::note_text;
use super::super::{CHECKPOINT, INFO, Info, KEYS, SIGNATURE, SUMS, StoreError};
use super::Check;
use crate::report::Head;

impl Check<'_> {
    /// Does somebody answer for the pack as a whole?
    pub(super) fn signature(&mut self, info: &Info, sums: &str) -> Result<(), StoreError> {
        let note = self.text(SIGNATURE)?;
        let expected = match (&self.trust.signer, &info.signer) {
            (Some(wanted), Some(named)) if wanted.to_string() == *named => wanted.clone(),
            (Some(wanted), _) => {
                self.fail(
                    "signature",
                    format!("The pack is not signed by {}, who was to answer for it.", wanted.name()),
                );
                return Ok(());
            }
            (None, None) if note.is_none() => {
                self.say("signature", State::Pass, "The pack is not signed, and says so: its maker is not known. Its records are under the ledger's signature.");
                return Ok(());
            }
            (None, None) => {
                self.fail(
                    "signature",
                    format!("{SIGNATURE} is there, and the pack says that it is not signed."),
                );
                return Ok(());
            }
            (None, Some(named)) => match PublicKey::parse(named) {
                Ok(key) => key,
                Err(error) => {
                    self.fail("signature", format!("The key that the pack names is none: {error}."));
                    return Ok(());
                }
            },
        };
        let signed = note.as_deref().and_then(|note| SignedNote::parse(note).ok());
        match signed.filter(|note| note.text() == note_text(&info.head.origin, sums)) {
            None => self.fail("signature", format!("{SIGNATURE} is missing, or not over this {SUMS}.")),
            Some(note) => match note.verify(&expected) {
                Err(error) => self.fail("signature", format!("{error}.")),
                Ok(()) if self.trust.signer.is_some() => {
                    self.say("signature", State::Pass, format!("The given key ({}) signed the list of files.", expected.name()));
                }
                Ok(()) => self.say(
                    "signature",
                    State::Pass,
                    format!("The key that the pack names ({expected}) signed the list of files; whose it is must be known from elsewhere (--signer)."),
                ),
            },
        }
        Ok(())
    }

    /// The keys to check with.
    pub(super) fn keys(&mut self) -> Result<Option<Vec<PublicKey>>, StoreError> {
        let listed = self.text(KEYS)?.unwrap_or_default();
        let listed: Result<Vec<PublicKey>, _> = listed.lines().map(PublicKey::parse).collect();
        let Ok(listed) = listed else {
            self.fail("key trust", format!("{KEYS} holds something that is no key."));
            return Ok(None);
        };
        let given = &self.trust.keys;
        if given.is_empty() {
            self.say("key trust", State::NotEvaluated, "No key was given: those that came with the pack were used. Give the ledger's key, known from elsewhere, with --key-file.");
            return Ok((!listed.is_empty()).then_some(listed));
        }
        self.say("key trust", State::Pass, "The given keys were used, and not those in the pack.");
        Ok(Some(given.clone()))
    }

    /// Is the head signed by the ledger?
    pub(super) fn head(
        &mut self,
        info: &Info,
        keys: &[PublicKey],
    ) -> Result<Option<(String, Checkpoint)>, StoreError> {
        let note = self.text(CHECKPOINT)?.unwrap_or_default();
        let read = Checkpoint::from_note(&note);
        let (head, signed) = match read {
            Ok(read) => read,
            Err(error) => {
                self.fail("head", format!("{CHECKPOINT} cannot be used: {error}."));
                return Ok(None);
            }
        };
        if let Err(error) = signed.verify_any(keys) {
            self.fail("head", format!("{CHECKPOINT}: {error}."));
            return Ok(None);
        }
        if Head::from(&head) != info.head {
            self.fail("head", format!("{CHECKPOINT} is not the head that {INFO} names."));
            return Ok(None);
        }
        let sentence =
            format!("The head over {} records of {} is signed by a used key.", head.size, head.origin);
        self.say("head", State::Pass, sentence);
        Ok(Some((note, head)))
    }
}

//! What is said about who signed: by which keys, handed over where, and how much by lent ones.

use super::Statement;
use super::assess::Assessment;
use crate::note::PublicKey;
use crate::signers::Tenure;

impl Assessment<'_> {
    /// Who signed the heads.
    pub(super) fn signatures(&self) -> String {
        let (heads, signers) = (self.walk.tally.heads, &self.walk.hands.signers);
        let whole = if self.stop.is_some() { "checked so far " } else { "" };
        let mut sentence = if signers.own().len() < 2 {
            let names: Vec<_> = self.trust.keys.iter().map(PublicKey::name).collect();
            format!("All {heads} heads {whole}are signed by the given key ({}).", names.join(", "))
        } else {
            format!(
                "All {heads} heads {whole}are signed by the key that was the ledger's at the time ({}), of \
                 which one that was given vouches for the others.",
                signers.own().iter().map(|tenure| short(&tenure.key)).collect::<Vec<_>>().join(", ")
            )
        };
        if signers.share().delegated > 0 {
            sentence = format!("{sentence} {}", signers.share());
        }
        sentence
    }

    /// Which key the ledger began with, and to which it was handed over.
    pub(super) fn keys_in_words(&self) -> String {
        let signers = &self.walk.hands.signers;
        let mut sentence = if let [_, later @ ..] = signers.own()
            && !later.is_empty()
        {
            let handed = later.iter().map(handed_over).collect::<Vec<_>>().join(", ");
            format!(
                "The given key is strong, and is one of those that the ledger names: it began with the key of \
                 record 0 and was handed over {handed}, each time under a head of both keys."
            )
        } else {
            "The given key is strong, and is the one with which the ledger began by its own record 0."
                .to_owned()
        };
        let epochs = self.walk.origin.epochs().all().iter();
        for resumed in epochs.filter_map(|epoch| epoch.resumed.as_ref()) {
            if let Some(key) = &resumed.key {
                sentence = format!(
                    "{sentence} But no head of both keys shows the handover to {}: its record is declared as lost, and \
                     only that this key, or a later one, was given speaks for it.",
                    short(key)
                );
            }
        }
        let origin = self.walk.origin.get();
        for key in signers.unused().filter(|key| Some(key.name()) == origin) {
            sentence = format!(
                "{sentence} The given key {} is not among them: if this ledger was handed over to it, this is \
                 not its present end.",
                short(key)
            );
        }
        sentence
    }

    /// Whether the ledger's own key signed over all records itself, in the journal or beside it.
    pub(super) fn ends_under_own_key(&self) -> Result<(), String> {
        let signers = &self.walk.hands.signers;
        let Some(own) = signers.own().last().filter(|_| signers.share().behind > 0) else { return Ok(()) };
        // A head of as many records that a declared gap explains away is not over these records.
        let whole = self.walk.chain.checkpoint(self.walk.origin.get().unwrap_or_default());
        let covers_all = |statement: &Statement| matches!(statement, Statement::Usable(head, note) if *head == whole && note.names(&own.key));
        if self.known.all().iter().any(|(_, statement)| covers_all(statement)) {
            return Ok(());
        }
        Err(format!(
            "The last {} heads are signed by a delegated key alone, and only the ledger's own key was to be \
             believed.",
            signers.share().behind
        ))
    }
}

fn handed_over(tenure: &Tenure) -> String {
    format!("to {} by record {}", short(&tenure.key), tenure.after)
}

fn short(key: &PublicKey) -> String {
    format!("{}+{}", key.name(), const_hex::encode(key.id()))
}

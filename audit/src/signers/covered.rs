//! Keys under one head: where only the last head is there, as in a tree of files, and stands for all before it.

use super::{DELEGATE_SUFFIX, Delegation, Lent, News, Rotation, Signers, Tenure};
use crate::note::{NoteError, SignedNote};
use crate::record::RecordView;

impl Signers {
    /// Takes in what a record says about the ledger's own keys when only one head, over it and all that
    /// follow, vouches for it.
    pub fn covered(&mut self, record: &RecordView<'_>) {
        let mut news = News::default();
        news.read(record);
        let size = record.seq.next().get();
        self.cosigners.extend(std::mem::take(&mut news.cosigners));
        if let Some(key) = news.began_with {
            self.own = vec![Tenure { key, after: 0, until: None }];
        }
        if let (Some(Rotation { old, new }), Some(tenure)) = (news.rotation, self.own.last_mut())
            && tenure.key == old
        {
            tenure.until = Some(size);
            self.own.push(Tenure { key: new, after: size.saturating_sub(1), until: None });
            self.end_delegate(size);
        }
        if let (Some((key, kept)), Some(tenure)) = (news.goes_on_under, self.own.last_mut()) {
            tenure.until = Some(kept);
            self.own.push(Tenure { key, after: kept, until: None });
            self.end_delegate(kept);
        }
        // Which heads it signed stands nowhere here; that it was lent to is what makes them heads of this ledger.
        let office = self.own.last().map(|tenure| format!("{}{DELEGATE_SUFFIX}", tenure.key.name()));
        if let Some(Delegation { key, not_after, heads }) = news.delegation
            && office.is_some_and(|name| key.name() == name)
        {
            self.end_delegate(size);
            self.delegates.push(Tenure { key: key.clone(), after: size, until: None });
            self.lent = Some(Lent { key, not_after, heads_left: heads });
        } else if self.lent.as_ref().is_some_and(|lent| record.time > lent.not_after) {
            self.end_delegate(size);
        }
    }

    /// Judges the one head over records that were taken in with [`Signers::covered`]. A given key must have
    /// signed it, and be the one in office: nothing shows that an earlier one agreed.
    ///
    /// # Errors
    ///
    /// Why this head must not be believed.
    pub fn head_over_all(&mut self, note: &SignedNote) -> Result<(), NoteError> {
        let office = self.own.last().map(|tenure| &tenure.key).filter(|key| self.given.contains(key));
        match office {
            Some(key) => note.verify(key).map(|()| self.anchored = true),
            None => note.verify_any(&self.given),
        }
    }
}

//! Says which of two records is the changed one when the link between them is broken.
//!
//! A record that names a `prev` which the record before it does not have: either that record was changed,
//! or this one was. What follows and the signed root tell which.

use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::digest::Digest;
use crate::journal::Group;
use crate::record::{Record, Seq};

/// The changed record and what to say of it. Record `seq` names `prev`, which does not fit; `before`
/// is the chain before the group.
pub(super) fn broken_link(
    group: &Group<&[u8]>,
    seq: Seq,
    prev: Digest,
    before: &Chain,
    head: Option<&Checkpoint>,
) -> (Seq, String) {
    let this = (seq, "its `prev` is not the digest of the record before it".to_owned());
    if seq == group.first() {
        // The record before it stands under a head that was already found right.
        return this;
    }
    let earlier = Seq::new(seq.get().saturating_sub(1));
    let changed = (earlier, format!("it was changed: record {seq} links to another one in its place"));
    if followed_by_its_own(group, seq) || fits_when_restored(group, earlier, prev, before, head) {
        changed
    } else {
        this
    }
}

/// Whether the record after `seq` in its group links to `seq` as it stands.
fn followed_by_its_own(group: &Group<&[u8]>, seq: Seq) -> bool {
    let (Some((bytes, _)), Some((next, _))) = (group.record(seq), group.record(seq.next())) else {
        return false;
    };
    Record::parse(next).is_ok_and(|next| next.prev == Digest::leaf(bytes))
}

/// Whether the signed root comes out when record `changed` has the digest that its successor names.
fn fits_when_restored(
    group: &Group<&[u8]>,
    changed: Seq,
    digest: Digest,
    before: &Chain,
    head: Option<&Checkpoint>,
) -> bool {
    let Some(head) = head else { return false };
    let mut chain = before.clone();
    for (seq, bytes, _) in group.records() {
        chain.extend(if seq == changed { digest } else { Digest::leaf(bytes) });
    }
    *head == chain.checkpoint(&head.origin)
}

//! Receivers that say what became of each parcel: HTTP, a file, and UDP (which says nothing and is asked nothing).
//!
//! Promised: a parcel is sent only when the one before it was taken; the cursor moves over a record when the receiver took
//! it for good (Splunk with acknowledgement: when it is indexed), or when it was set aside in sight. A receiver that refuses a
//! parcel without saying what in it is wrong gets smaller ones until the record that it won't take stands alone.
//! A receiver that refuses record after record is taken to be the one that is wrong: nothing more is set aside.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    delivery::{Delivery, Fault, Stop, asked, stopping},
    link::{Answer, Link, LinkError},
    parcel::Item,
    window::Position,
};

/// So many records in a row may be set aside; a receiver that refuses even more refuses everything.
const REFUSED_IN_A_ROW: usize = 32;
/// So many parcels may be received and not yet indexed.
const UNCONFIRMED: usize = 32;
/// How often a receiver is asked what it has indexed, while something is not.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);

/// What was received and is not indexed yet, in order.
#[derive(Default)]
struct Unconfirmed {
    parcels: VecDeque<(u64, Position, Instant)>,
}

impl Unconfirmed {
    /// Takes what has been indexed from the front; says up to where that is.
    fn confirmed(&mut self, indexed: &[u64]) -> Option<Position> {
        let mut upto = None;
        while let Some((id, position, _)) = self.parcels.front()
            && indexed.contains(id)
        {
            upto = Some(*position);
            self.parcels.pop_front();
        }
        upto
    }
}

impl Delivery {
    /// Sends until something goes wrong (an error) or all is delivered after the request to stop.
    pub(super) async fn deliver_answered(&mut self, mut link: Link, stop: &mut Stop) -> Result<(), Fault> {
        let mut heads = self.feed.heads();
        let mut more_may_come = true;
        let mut position = self.window.rewind();
        let (most, octets) = link.parcel_bounds();
        let mut limit = most;
        let mut unconfirmed = Unconfirmed::default();
        // Indexed out of order, it waits for those before it.
        let mut indexed = Vec::new();
        let mut tick = interval(CONFIRM_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let head = *heads.borrow_and_update();
            if position.next < head && unconfirmed.parcels.len() < UNCONFIRMED {
                // What is sent again has the bounds that it had, so that a receiver may know it by its name.
                let again = self.last_sent.filter(|(begin, _)| *begin == position);
                let records = again.map_or(limit, |(_, read)| read.min(limit));
                let parcel = self.parcel(position, records, octets).await?;
                self.last_sent = Some((position, usize::try_from(parcel.read).unwrap_or(records).max(1)));
                self.weigh(&parcel);
                let answer = if parcel.items.is_empty() { Answer::Taken } else { link.send(&parcel).await? };
                match answer {
                    Answer::Taken => {
                        position = parcel.upto;
                        if unconfirmed.parcels.is_empty() {
                            self.window.confirmed(position);
                        } else if let Some(last) = unconfirmed.parcels.back_mut() {
                            last.1 = position;
                        }
                        if !parcel.items.is_empty() {
                            self.refused_in_a_row = 0;
                        }
                        limit = limit.saturating_mul(2).min(most);
                        self.account(&parcel.items).await;
                    }
                    Answer::Received { acknowledgement } => {
                        position = parcel.upto;
                        unconfirmed.parcels.push_back((acknowledgement, position, Instant::now()));
                        self.refused_in_a_row = 0;
                        limit = limit.saturating_mul(2).min(most);
                        self.account(&parcel.items).await;
                    }
                    Answer::Partly { refused, again } => {
                        let decided = again.unwrap_or(parcel.items.len());
                        let mut refused = refused.into_iter().peekable();
                        for (place, item) in parcel.items.iter().enumerate().take(decided) {
                            match refused.next_if(|(at, _)| *at == place) {
                                Some((_, reason)) => self.set_aside(item, &reason).await?,
                                None => {
                                    self.refused_in_a_row = 0;
                                    self.account(std::slice::from_ref(item)).await;
                                }
                            }
                            position = item.after;
                            self.window.confirmed(position);
                        }
                        if again.is_some() {
                            return Err(
                                LinkError::Busy { said: "it took a part".to_owned(), pause: None }.into()
                            );
                        }
                        position = parcel.upto;
                        self.window.confirmed(position);
                    }
                    Answer::Refused { .. } if parcel.items.len() > 1 => {
                        // Somewhere in it: halves until it stands alone.
                        limit = (usize::try_from(parcel.read).unwrap_or(most) / 2).max(1);
                        continue;
                    }
                    Answer::Refused { reason } => {
                        if let Some(item) = parcel.items.first() {
                            self.set_aside(item, &reason).await?;
                        }
                        position = parcel.upto;
                        if let Some(last) = unconfirmed.parcels.back_mut() {
                            last.1 = position;
                        } else {
                            self.window.confirmed(position);
                        }
                    }
                }
                if !parcel.items.is_empty() {
                    self.announcer.answered(Instant::now().into_std());
                }
                self.show(position, position, head);
            } else if stopping(stop) && unconfirmed.parcels.is_empty() {
                return Ok(());
            } else {
                tokio::select! {
                    biased;
                    () = asked(stop), if !stopping(stop) => {}
                    changed = heads.changed(), if more_may_come && unconfirmed.parcels.len() < UNCONFIRMED => {
                        more_may_come = changed.is_ok();
                    }
                    _ = tick.tick() => {}
                }
            }
            if !unconfirmed.parcels.is_empty() {
                let asked: Vec<u64> = unconfirmed.parcels.iter().map(|(id, ..)| *id).collect();
                indexed.extend(link.indexed(&asked, CONFIRM_EVERY).await?);
                if let Some(upto) = unconfirmed.confirmed(&indexed) {
                    self.window.confirmed(upto);
                    indexed.retain(|id| unconfirmed.parcels.iter().any(|(waiting, ..)| waiting == id));
                    self.show(position, position, head);
                }
                let patience = link.acknowledge_within();
                if let Some((_, _, since)) = unconfirmed.parcels.front()
                    && since.elapsed() >= patience
                {
                    return Err(LinkError::NotIndexed { waited: patience }.into());
                }
            }
            self.holds(position).await;
        }
    }

    /// Sets one record aside, unless the receiver refuses everything.
    async fn set_aside(&mut self, item: &Item, reason: &str) -> Result<(), Fault> {
        if self.refused_in_a_row >= REFUSED_IN_A_ROW {
            return Err(LinkError::RefusesAll { reason: reason.to_owned() }.into());
        }
        self.refused_in_a_row += 1;
        self.quarantine(item, Some(reason)).await;
        Ok(())
    }
}

//! The way to the owner, whose thread is woken for many drafts at once.
//!
//! A thousand callers send a draft each within a millisecond. Waking the owner for every one would cost more than
//! the work that it is woken for; so it says for how many messages it wants to be woken, and until when. What is
//! not a draft wakes it at once.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::Thread;
use std::time::Duration;

use super::owner::Message;

/// The way to the owner.
#[derive(Clone)]
pub(super) struct Messages {
    sender: Sender<Message>,
    // Behind the sender: the last one to go rings after it is gone.
    bell: Ringing,
}

/// Where the owner finds them.
pub(super) struct Inbox {
    receiver: Receiver<Message>,
    bell: Arc<Bell>,
}

/// The owner is gone.
pub(super) struct Gone;

struct Bell {
    /// What was sent and not taken, each message by its weight.
    sent: AtomicUsize,
    /// The owner sleeps until there is so much; while it is awake, more than there can be.
    wanted: AtomicUsize,
    /// The owner's thread, once it has slept.
    owner: OnceLock<Thread>,
}

#[derive(Clone)]
struct Ringing(Arc<Bell>);

impl Drop for Ringing {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl Bell {
    fn ring(&self) {
        if let Some(owner) = self.owner.get() {
            owner.unpark();
        }
    }
}

/// A draft that nobody waits for weighs least; what has to be acted on at once weighs more than the owner ever waits for.
fn weight(message: &Message) -> usize {
    match message {
        Message::Record(pending) if pending.reply.is_none() => 1,
        Message::Record(_) | Message::Free | Message::Answered(_) => AWAITED,
        _ => URGENT,
    }
}

/// What a draft weighs that somebody waits for.
pub(super) const AWAITED: usize = 64;

const URGENT: usize = 1 << 24;

/// Both ends of a new way.
pub(super) fn inbox() -> (Messages, Inbox) {
    let (sender, receiver) = mpsc::channel();
    let bell =
        Arc::new(Bell { sent: AtomicUsize::new(0), wanted: AtomicUsize::new(1), owner: OnceLock::new() });
    (Messages { sender, bell: Ringing(Arc::clone(&bell)) }, Inbox { receiver, bell })
}

impl Messages {
    /// Sends a message.
    pub(super) fn send(&self, message: Message) -> Result<(), Gone> {
        let weight = weight(&message);
        self.sender.send(message).map_err(|_| Gone)?;
        let bell = &self.bell.0;
        // Either the owner sees this before it sleeps, or what it wants is seen here: all four steps are in one order.
        let sent = bell.sent.fetch_add(weight, Ordering::SeqCst).saturating_add(weight);
        if sent >= bell.wanted.load(Ordering::SeqCst) {
            bell.ring();
        }
        Ok(())
    }

    /// Tells the owner, unless it is gone: then nobody needs to know.
    pub(super) fn tell(&self, message: Message) {
        let _ = self.send(message);
    }
}

impl Inbox {
    /// The next message, if there is one. `Err` when nobody is left who could send one.
    pub(super) fn take(&self) -> Result<Option<Message>, Gone> {
        match self.receiver.try_recv() {
            Ok(message) => {
                self.bell.sent.fetch_sub(weight(&message), Ordering::SeqCst);
                Ok(Some(message))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }

    /// Waits for the next message. `Err` when nobody is left who could send one.
    pub(super) fn next(&self) -> Result<Message, Gone> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.sleep(1, None);
        }
    }

    /// Sleeps until messages of so much weight are there, or one that is not a draft, or the time is over; or less long:
    /// whoever waits looks again.
    pub(super) fn sleep(&self, wanted: usize, time: Option<Duration>) {
        let bell = &*self.bell;
        // Only the owner's thread sleeps here.
        bell.owner.get_or_init(std::thread::current);
        let wanted = wanted.clamp(1, URGENT);
        bell.wanted.store(wanted, Ordering::SeqCst);
        if bell.sent.load(Ordering::SeqCst) < wanted {
            match time {
                Some(time) => std::thread::park_timeout(time),
                None => std::thread::park(),
            }
        }
        bell.wanted.store(usize::MAX, Ordering::SeqCst);
    }
}

//! Notifications: whoever can do something about a thing is told of it, where they look.
//!
//! The ledger is the queue. Each way (a webhook, a chat, a mail server) reads it on from a durable cursor, asks access whom a
//! record concerns now, and sends; so nothing is lost over a crash, and something may be told twice (the message's id is the
//! same both times). What was told, and what couldn't be, is itself a record.
//!
//! Promised: a request is put before those alone who can decide on it; each attempt is bounded in time, and tried again with
//! growing pauses for a bounded time; a way that is down holds up neither access, nor the ledger, nor another way. Not promised:
//! that anybody reads it. Trusted: the ledger, policy, the operator's templates. Not trusted: the words that people typed, and
//! whatever a receiver answers.

mod courier;
mod event;
mod news;
mod recorded;
mod set_aside;
mod wants;
mod way;
mod words;

pub use courier::{Courier, Desk};
pub use event::Event;
pub use news::News;
pub use wants::{Detected, Wants};
pub use way::{Message, Unsent, Way};
pub use words::{FACTS, Text, Words, WordsError};

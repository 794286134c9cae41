//! A way by which people are told, behind a seam: how a message leaves the host is the gateway's matter.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::Event;
use crate::access::Subject;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// The same each time that this is sent: a receiver knows a repetition by it. Holds no dot.
    pub id: String,
    /// What it is about.
    pub event: Event,
    /// When that happened.
    pub time: Timestamp,
    /// For whom it is.
    pub to: Vec<Subject>,
    /// One line.
    pub title: String,
    /// The rest, in plain text.
    pub body: String,
    /// Where to go on.
    pub link: String,
    /// What the templates knew, by name; without what is empty.
    pub facts: BTreeMap<&'static str, String>,
}

/// A message didn't get out. The words go into a record and the log: no address, no secret, nothing that the other side said
/// but its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// Trying again won't help.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Away(String),
}

/// One way that the operator configured.
pub trait Way: Send + Sync + 'static {
    /// What the operator calls it.
    fn name(&self) -> &str;

    /// `webhook`, `chat` or `mail`.
    fn kind(&self) -> &'static str;

    /// Whether each person gets a message of their own.
    fn is_personal(&self) -> bool;

    /// Sends once. `to` is the person, for a way that is personal.
    fn send<'a>(&'a self, message: &'a Message, to: Option<&'a Subject>)
    -> BoxFuture<'a, Result<(), Unsent>>;
}

//! The session path: permit → durable record → bytes → closing record.
//!
//! Promised: no session without a [`Permit`](crate::access::Permit), which only policy makes; no payload byte in either
//! direction before the opening record is durable and signed; when the permit dies, the code that moves the bytes stops
//! moving them, and the closing record says how long that took.
//!
//! Start with [`Broker::open`]; [`Routes`] says who publishes which name.

mod backlog;
#[cfg(test)]
mod bed;
mod body;
mod breaker;
mod broker;
mod copy;
mod datagrams;
mod handle;
mod heir;
mod lasting;
mod live;
mod naming;
mod readers;
mod readiness;
mod reservation;
mod route;
mod routes;
mod slot;
mod subscriber;
mod totals;
mod user_seats;
#[cfg(test)]
mod waiting;

pub use backlog::Recording;
pub use body::{BodyError, Counted, Direction, SessionBody};
pub use breaker::{Admitted, Breaker, BreakerRules, Turn, Went};
pub use broker::{Broker, OpenError, Opening};
pub use copy::{Copied, Passed, copy_and_count, copy_both_ways};
pub use datagrams::pass_datagrams;
pub use handle::{Session, Unanswered};
pub use heir::Heir;
pub use lasting::LastingStream;
pub use live::{Ending, LiveSession, Protocol, SessionId};
pub use naming::Naming;
pub use readiness::{Deaths, Readiness, Unready};
pub use reservation::{Doubted, NotReserved, Reservation, Wanted};
pub use route::{AppHealth, Busy, Route, RouteView};
pub use routes::{Lookup, Routes};
pub use subscriber::subscriber;
pub use totals::Totals;

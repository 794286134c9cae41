//! The session path: permit → durable record → bytes → closing record.
//!
//! Promised: no session without a [`Permit`](crate::access::Permit), which only policy makes; no payload byte in either
//! direction before the opening record is durable and signed; when the permit dies, the code that moves the bytes stops
//! moving them, and the closing record says how long that took.
//!
//! Start with [`Broker::open`]; [`Routes`] says who publishes which name.

mod body;
mod broker;
mod copy;
mod live;
mod readiness;
mod routes;

pub use body::{BodyError, Counted, Direction, SessionBody};
pub use broker::{Broker, OpenError, Opening};
pub use copy::copy_both_ways;
pub use live::{Ending, LiveSession, Protocol, Session, SessionId};
pub use readiness::{Readiness, Unready};
pub use routes::{Lookup, NotReserved, Reservation, Route, RouteView, Routes, Wanted};

//! Which control each kind of record is evidence for, and reports over a period that can be run again.
//!
//! Why: an auditor asks "show me that this control worked from January to June", and must be able to check the answer.
//! A framework is a file of data (`frameworks/*.toml`): per control, what is claimed, which records are evidence for
//! it, which records are exceptions, and what a gateway's ledger cannot show, with the reason. A report is a pure
//! function of framework, records, period and the verifier's verdict: the same input gives the same bytes.
//!
//! Promised: a control never comes out better than its evidence. No records, a ledger that does not verify, records
//! other than the verified ones: "not evaluated". Exceptions are counted in full, however many are listed.
//! Not promised: that a control is met. A report is evidence for an auditor's judgement, and says what it doesn't prove.
//!
//! Trusted: the framework file, and the verdict handed in. Not trusted: what stands in records; it is escaped.
//!
//! A report can be handed over as a [`pack`]: one folder or zip file from which a stranger makes the same report again.
//!
//! Start with [`Framework`], [`Survey`] and [`Reporter`].

mod basis;
mod chart;
mod coverage;
mod cryptography;
mod csv_file;
pub mod dossier;
mod framework;
mod html;
mod oscal;
pub mod pack;
mod period;
mod query;
mod reel;
mod report;
mod reporter;
pub mod sample;
mod scope;
mod sections;
mod tally;

pub use basis::{Basis, BasisError};
pub use coverage::{Cause, Gap, Silence};
pub use cryptography::{Change, Changes, Cryptography, Inventory, Key, KeyState, Protection, Way};
pub use csv_file::harmless;
pub use framework::{Builtin, Control, Framework, FrameworkError, Limit, Method, Rule, Shown};
pub use html::html;
pub use period::{Period, PeriodError};
pub use query::{Field, Query};
pub use reel::{Proved, Reel, ReelError};
pub use report::{
    ControlReport, FromTable, Head, Listing, Population, Report, Row, Standing, Table, ToExplain,
};
pub use reporter::Reporter;
pub use scope::{HISTORY, Scope, Survey};
pub use sections::{Cell, Exception, Figure, Sheet, TableRule};
pub use tally::Sum;

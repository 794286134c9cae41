//! The filters that listing and exporting share.

use clap::Args;
use jiff::Timestamp;
use sallyport_audit::selection::{Selection, beginning, end};
use sallyport_audit::{Kind, Outcome, Seq};

use crate::Failure;

#[derive(Args)]
pub(crate) struct Filter {
    /// The number of the first record.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,
    /// The number of the last record.
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
    /// Only records of this kind, such as `session.opened`, or of this family, such as `session`. May be
    /// given again, like all that follow.
    #[arg(long, value_name = "KIND", value_parser = kinds)]
    kind: Vec<Family>,
    /// Only records with this result: success, denied or failure.
    #[arg(long, value_name = "RESULT", value_parser = outcome)]
    result: Vec<Outcome>,
    /// Only records of this action, such as `connect`.
    #[arg(long, value_name = "ACTION")]
    action: Vec<String>,
    /// Only records about this object, such as `tunnel:demo`.
    #[arg(long, value_name = "OBJECT")]
    object: Vec<String>,
    /// Only records of this session.
    #[arg(long, value_name = "SESSION")]
    session: Vec<String>,
    /// Only records under this grant.
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// Only records with this correlation id.
    #[arg(long, value_name = "ID")]
    correlation: Vec<String>,
    /// Only records from this day (2026-01-31) or instant (2026-01-31T12:00:00Z) on. UTC.
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    from_time: Option<Timestamp>,
    /// Only records up to this day, included, or before this instant. UTC.
    #[arg(long, value_name = "TIME", value_parser = end)]
    to_time: Option<Timestamp>,
}

impl Filter {
    /// The selection, if anything can fit it.
    pub(crate) fn checked(&self) -> Result<Selection, Failure> {
        if self.to.is_some_and(|to| to < self.from) {
            let message =
                format!("no record has a number from {} to {}", self.from, self.to.unwrap_or_default());
            return Err(Failure::usage(message, "give --to a number that is not below that of --from"));
        }
        if self.from_time.zip(self.to_time).is_some_and(|(from, to)| to <= from) {
            return Err(Failure::usage(
                "no time lies between --from-time and --to-time",
                "give --to-time a day or an instant behind --from-time; both are in UTC",
            ));
        }
        Ok(self.selection())
    }

    pub(crate) fn selection(&self) -> Selection {
        let mut kinds: Vec<_> = self.kind.iter().flat_map(|family| family.0.iter().copied()).collect();
        kinds.sort_by_key(|kind| kind.as_str());
        kinds.dedup();
        Selection {
            from: Seq::new(self.from),
            to: self.to.map(Seq::new),
            kinds,
            results: self.result.clone(),
            actions: self.action.clone(),
            objects: self.object.clone(),
            sessions: self.session.clone(),
            grants: self.grant.clone(),
            correlations: self.correlation.clone(),
            from_time: self.from_time,
            to_time: self.to_time,
        }
    }
}

/// One kind, or all whose names begin alike.
#[derive(Clone)]
struct Family(Vec<Kind>);

fn kinds(text: &str) -> Result<Family, String> {
    let found = Kind::named(text);
    if found.is_empty() {
        let all: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        return Err(format!("there is no such kind; there are {}", all.join(", ")));
    }
    Ok(Family(found))
}

fn outcome(text: &str) -> Result<Outcome, String> {
    [Outcome::Success, Outcome::Denied, Outcome::Failure]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| "there are success, denied and failure".to_owned())
}

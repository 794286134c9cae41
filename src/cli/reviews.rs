//! `sallyport reviews`: going through what everybody holds, and ending what nobody vouches for.

use clap::{Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::failure::{ExitCode, Failure};
use super::out::say;
use super::profile::Connection;
use super::requests::{print_json, segment};
use super::table::{moment, table};
use crate::clock;

/// Review what everybody holds; grants and shares that nobody vouches for end at the deadline
#[derive(Debug, Subcommand)]
pub(super) enum Reviews {
    /// Begin a review over what is live now
    Start {
        /// Whose decisions count, such as role:auditor
        #[arg(long)]
        reviewers: String,
        /// In how many days it ends
        #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(i64).range(1..=90))]
        days: i64,
    },
    /// Show reviews, newest last
    List,
    /// Show one review with its items
    Show {
        /// Id, review-…
        id: String,
    },
    /// Decide on one item; what isn't kept ends at once
    Decide {
        /// Id, review-…
        id: String,
        /// Number of the item
        item: u32,
        /// Whether it stays
        verdict: Verdict,
        /// Why; it is recorded
        #[arg(long)]
        reason: String,
    },
    /// End a review now; grants and shares that nobody has decided on end with it
    Close {
        /// Id, review-…
        id: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Verdict {
    /// They keep it
    Keep,
    /// It is taken away
    Revoke,
}

#[derive(Debug, Serialize, Deserialize)]
struct Review {
    id: String,
    state: String,
    reviewers: String,
    started: String,
    deadline: String,
    digest: String,
    population: u64,
    decided: u64,
    #[serde(default)]
    items: Vec<Item>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    number: u32,
    subject: String,
    what: String,
    held: bool,
    decision: Option<Decision>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Decision {
    by: String,
    keep: bool,
    took: u64,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs `sallyport reviews …`.
pub(super) async fn run(connection: &Connection, command: &Reviews) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let api = Api::new(&profile);
    let review: Review = match command {
        Reviews::List => {
            let reviews: Vec<Review> = api.list("/api/v1/reviews").await?;
            return list(connection, &reviews);
        }
        Reviews::Start { reviewers, days } => {
            let deadline = in_days(*days)?.to_string();
            api.post("/api/v1/reviews", &json!({ "reviewers": reviewers, "deadline": deadline })).await?
        }
        Reviews::Show { id } => {
            let review: Review = api.get(&format!("/api/v1/reviews/{}", segment(id)?)).await?;
            return show(connection, &review);
        }
        Reviews::Decide { id, item, verdict, reason } => {
            let verdict = match verdict {
                Verdict::Keep => "keep",
                Verdict::Revoke => "revoke",
            };
            let body = json!({ "item": item, "verdict": verdict, "reason": reason });
            api.post(&format!("/api/v1/reviews/{}/decide", segment(id)?), &body).await?
        }
        Reviews::Close { id } => {
            api.post(&format!("/api/v1/reviews/{}/close", segment(id)?), &json!({})).await?
        }
    };
    if connection.json {
        return print_json(&review);
    }
    say(format_args!("{}: {}, {} of {} decided", review.id, review.state, review.decided, review.population));
    Ok(())
}

fn in_days(days: i64) -> Result<Timestamp, Failure> {
    let far = |_| Failure::new(ExitCode::Usage, "that is too far ahead", "choose fewer days");
    clock::now().checked_add(SignedDuration::from_hours(24 * days)).map_err(far)
}

fn list(connection: &Connection, reviews: &[Review]) -> Result<(), Failure> {
    if connection.json {
        return print_json(&reviews);
    }
    if reviews.is_empty() {
        say(format_args!("no reviews that you may see"));
        return Ok(());
    }
    let rows = reviews.iter().map(|review| {
        vec![
            review.id.clone(),
            review.state.clone(),
            review.reviewers.clone(),
            format!("{} of {}", review.decided, review.population),
            moment(&review.started),
            moment(&review.deadline),
        ]
    });
    say(format_args!("{}", table(&["ID", "STATE", "REVIEWERS", "DECIDED", "BEGAN", "DEADLINE"], rows)));
    Ok(())
}

fn show(connection: &Connection, review: &Review) -> Result<(), Failure> {
    if connection.json {
        return print_json(review);
    }
    say(format_args!("{}: {}, until {}", review.id, review.state, moment(&review.deadline)));
    say(format_args!("population: {} items, digest {}", review.population, review.digest));
    let rows = review.items.iter().map(|item| {
        let decided = item.decision.as_ref().map_or_else(
            || "-".to_owned(),
            |decision| {
                let word = if decision.keep { "keep" } else { "revoke" };
                format!("{word} by {} after {} s", decision.by, decision.took)
            },
        );
        let held = if item.held { "yes" } else { "no" };
        vec![item.number.to_string(), item.subject.clone(), item.what.clone(), held.to_owned(), decided]
    });
    say(format_args!("{}", table(&["ITEM", "WHO", "WHAT", "HELD", "DECISION"], rows)));
    Ok(())
}

//! Access reviews: a frozen population, item by item, each kept or taken away with a reason.

use askama::Template;
use axum::Json;
use axum::extract::State;
use jiff::SignedDuration;

use super::requests::minute;
use super::viewer::{Chrome, Form, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Holding, Object, Part, ReviewView};
use crate::clock;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::extract::{Body, Path};
use crate::console::reviews::{self as api, Decision, Start, Verdict, WholeReview};

/// For how many days a review can be open, as `access` has it.
const DAYS: std::ops::RangeInclusive<i64> = 1..=90;

#[derive(Template)]
#[template(path = "console/reviews.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    reviews: Vec<Head>,
    roles: Vec<String>,
    may_start: bool,
}

struct Head {
    id: String,
    open: bool,
    by: String,
    reviewers: String,
    started: String,
    deadline: String,
    digest: String,
    population: usize,
    decided: usize,
}

#[derive(Template)]
#[template(path = "console/review.html")]
struct One<'a> {
    chrome: &'a Chrome,
    review: Head,
    items: Vec<Item>,
}

struct Item {
    number: u32,
    subject: String,
    what: String,
    kind: &'static str,
    held: bool,
    own: bool,
    decision: Option<Decided>,
}

struct Decided {
    verdict: &'static str,
    by: String,
    at: String,
    took: u64,
    reason: String,
}

fn head(view: &ReviewView) -> Head {
    let review = &view.review;
    Head {
        id: review.id.to_string(),
        open: review.end.is_none(),
        by: review.by.as_ref().map_or_else(|| "the operator".to_owned(), ToString::to_string),
        reviewers: review.reviewers.to_string(),
        started: minute(review.started),
        deadline: minute(review.deadline),
        digest: review.digest.to_string(),
        population: review.items.len(),
        decided: review.items.iter().filter(|item| item.decision.is_some()).count(),
    }
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer) -> Answer {
    if let Err(problem) = viewer.caller.looks("reviews", |draft| draft).await {
        return page::refuse(&viewer.chrome, &problem);
    }
    let reviews = shared.access.reviews(&viewer.caller.identity);
    let may_start = viewer.caller.could(Action::Admin, &Object::gateway(Part::People));
    let tenant = viewer.caller.identity.tenant();
    let mut roles: Vec<String> = if may_start {
        shared.access.policy().memberships(tenant).into_iter().map(|(_, role)| role.to_string()).collect()
    } else {
        Vec::new()
    };
    roles.sort();
    roles.dedup();
    page::show(&Page {
        chrome: &viewer.chrome,
        reviews: reviews.iter().rev().map(head).collect(),
        roles,
        may_start,
    })
}

pub(super) async fn one(State(shared): State<Shared>, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let reviews = shared.access.reviews(&viewer.caller.identity);
    let Some(view) = reviews.iter().find(|view| view.review.id.to_string() == id) else {
        let problem = Problem::bad_id(&viewer.caller.correlation, "review that you may see", &id);
        return page::refuse(&viewer.chrome, &problem);
    };
    let which = view.review.id.to_string();
    if let Err(problem) = viewer.caller.looks("review", |draft| draft.detail("review", which)).await {
        return page::refuse(&viewer.chrome, &problem);
    }
    let me = viewer.caller.identity.subject();
    let items = view.items.iter().map(|view| {
        let item = &view.item;
        Item {
            number: item.number,
            subject: item.subject.to_string(),
            what: view.what.clone(),
            kind: kind(&item.holding),
            held: view.held,
            own: item.subject == *me,
            decision: item.decision.as_ref().map(|decision| Decided {
                verdict: if decision.keep { "keep" } else { "revoked" },
                by: decision.by.to_string(),
                at: minute(decision.at),
                took: decision.took,
                reason: decision.reason.to_string(),
            }),
        }
    });
    page::show(&One { chrome: &viewer.chrome, review: head(view), items: items.collect() })
}

/// What somebody holds, in a word.
fn kind(holding: &Holding) -> &'static str {
    match holding {
        Holding::Grant(_) => "grant",
        Holding::Share(_) => "share",
        Holding::Role(_) => "role",
    }
}

pub(super) async fn start(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let Some(days) =
        form.get("days").and_then(|days| days.parse::<i64>().ok()).filter(|days| DAYS.contains(days))
    else {
        let why = "say for how many days the review is to be open: a whole number from 1 to 90";
        return page::refuse(&chrome, &caller.unusable(&why));
    };
    let deadline = clock::now().saturating_add(SignedDuration::from_hours(24 * days));
    let deadline = deadline.map(|deadline| deadline.to_string()).unwrap_or_default();
    let body = Start { reviewers: form.get("reviewers").unwrap_or_default(), deadline };
    match api::start(State(shared), caller, Body(body)).await {
        Ok((_, Json(made))) => on(&made),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

pub(super) async fn decide(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let body = match decision(&form) {
        Ok(body) => body,
        Err(why) => return page::refuse(&chrome, &caller.unusable(&why)),
    };
    match api::decide(State(shared), caller, Path(id), Body(body)).await {
        Ok(Json(made)) => on(&made),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

/// What a form decides. Nothing is guessed: what can't be read takes nothing away, and keeps nothing.
fn decision(form: &Form) -> Result<Decision, &'static str> {
    let item = form.get("item").and_then(|item| item.parse().ok());
    let verdict = match form.get("verdict").as_deref() {
        Some("keep") => Verdict::Keep,
        Some("revoke") => Verdict::Revoke,
        _ => return Err("say what becomes of the item: `keep` or `revoke`"),
    };
    let item = item.ok_or("name the item by its number")?;
    Ok(Decision { item, verdict, reason: form.get("reason").unwrap_or_default() })
}

pub(super) async fn close(State(shared): State<Shared>, Path(id): Path<String>, order: Order) -> Answer {
    let Viewer { caller, chrome } = order.viewer;
    match api::close(State(shared), caller, Path(id)).await {
        Ok(Json(made)) => on(&made),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

fn on(review: &WholeReview) -> Answer {
    page::see_other(&format!("/console/reviews/{}", review.id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_role_whatever_it_is_called() {
        for name in ["role:grant-approvers", "role:share-owners", "role:visitor"] {
            assert_eq!(kind(&Holding::Role(name.parse().unwrap())), "role", "{name}");
        }
        let grant = format!("grant-{:032x}", 7).parse().unwrap();
        assert_eq!(kind(&Holding::Grant(grant)), "grant");
    }
}

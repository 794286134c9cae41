//! Evidence packs: having one made, and taking it away. The gateway makes them as it does for the API, and signs them.

use askama::Template;
use axum::extract::State;

use super::viewer::{Chrome, Order, Viewer};
use super::{Answer, page};
use crate::access::{Action, Object, Part};
use crate::clock;
use crate::console::Shared;
use crate::console::extract::{Body, Path};
use crate::console::reports::{self as api, ReportOrder, ReportSchedule, ReportView, ScheduleOrder};
use crate::console::sessions::Why;

/// What there are reports for, as the API calls them.
const FRAMEWORKS: [&str; 5] = ["soc2", "iso27001", "hipaa", "pci", "nist"];

#[derive(Template)]
#[template(path = "console/reports.html")]
struct Page<'a> {
    chrome: &'a Chrome,
    packs: Vec<ReportView>,
    frameworks: [&'static str; 5],
    from: String,
    to: String,
    /// What is made by itself; or why that can't be told.
    schedule: Result<ReportSchedule, String>,
    /// All frameworks, and whether this is one of them.
    monthly: Vec<(&'static str, bool)>,
    may_delete: bool,
}

pub(super) async fn page(State(shared): State<Shared>, viewer: Viewer) -> Answer {
    let Viewer { caller, chrome } = viewer;
    let packs = match api::all(&shared, &caller).await {
        Ok(packs) => packs,
        Err(problem) => return page::refuse(&chrome, &problem),
    };
    let schedule = api::scheduled(&shared, &caller).await.map_err(|problem| problem.refusal.detail);
    let made = |framework: &str| {
        schedule.as_ref().is_ok_and(|schedule| schedule.frameworks.iter().any(|made| made == framework))
    };
    let monthly = FRAMEWORKS.into_iter().map(|framework| (framework, made(framework))).collect();
    let day = |days: i64| {
        let at = clock::now().saturating_sub(jiff::SignedDuration::from_hours(24 * days));
        at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    };
    let may_delete = caller.could(Action::Admin, &Object::gateway(Part::Ledger));
    page::show(&Page {
        chrome: &chrome,
        packs,
        frameworks: FRAMEWORKS,
        from: day(90),
        to: day(0),
        schedule,
        monthly,
        may_delete,
    })
}

pub(super) async fn make(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let wanted = ReportOrder {
        framework: form.get("framework").unwrap_or_default(),
        from: form.get("from").unwrap_or_default(),
        to: form.get("to").unwrap_or_default(),
        timezone: form.get("timezone"),
    };
    match api::begin(State(shared), caller, Body(wanted)).await {
        Ok(_) => page::see_other("/console/reports"),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

pub(super) async fn schedule(State(shared): State<Shared>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let wanted =
        ScheduleOrder { frameworks: form.all("framework"), reason: form.get("reason").unwrap_or_default() };
    match api::decide(State(shared), caller, Body(wanted)).await {
        Ok(_) => page::see_other("/console/reports"),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

pub(super) async fn pack(State(shared): State<Shared>, viewer: Viewer, Path(name): Path<String>) -> Answer {
    let Viewer { caller, chrome } = viewer;
    match api::pack(State(shared), caller, Path(name)).await {
        Ok(mut file) => {
            page::protect(file.headers_mut());
            file
        }
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

pub(super) async fn delete(State(shared): State<Shared>, Path(name): Path<String>, order: Order) -> Answer {
    let Order { viewer: Viewer { caller, chrome }, form } = order;
    let why = Why { reason: form.get("reason").unwrap_or_default() };
    match api::delete(State(shared), caller, Path(name), Body(why)).await {
        Ok(_) => page::see_other("/console/reports"),
        Err(problem) => page::refuse(&chrome, &problem),
    }
}

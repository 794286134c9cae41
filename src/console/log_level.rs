//! What the gateway logs, seen and changed while it runs.
//!
//! A change is an admin call, recorded with the level before it is carried out. It lasts until the next start, or for as many
//! minutes as the call says: what is wanted for a search should not fill a disk for a year.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::changes::seen;
use super::errors::Problem;
use super::extract::Body;
use crate::access::{Action, Object, Part};
use crate::clock;

/// Longest filter.
const LONGEST: usize = 256;
/// A day.
const MOST_MINUTES: u32 = 24 * 60;

/// Filters the log of this process.
pub trait LogDesk: Send + Sync {
    /// Puts a filter in force; says what is wrong with it.
    fn set(&self, filter: &str) -> Result<(), String>;
}

/// The level in force.
pub struct LogControl {
    desk: Arc<dyn LogDesk>,
    usual: String,
    now: Mutex<Now>,
}

struct Now {
    level: String,
    until: Option<Timestamp>,
    /// Counts changes: one that ends by itself must not end a later one.
    turn: u64,
}

impl LogControl {
    /// `usual` is what the configuration says, and is in force.
    pub fn new(desk: Arc<dyn LogDesk>, usual: String) -> Self {
        let now = Mutex::new(Now { level: usual.clone(), until: None, turn: 0 });
        Self { desk, usual, now }
    }

    fn shown(&self) -> LogLevel {
        let now = self.now();
        LogLevel { level: now.level.clone(), until: now.until, usual: self.usual.clone() }
    }

    /// Puts `level` in force, and returns the turn that it is.
    fn set(&self, level: &str, until: Option<Timestamp>) -> Result<u64, String> {
        let mut now = self.now();
        self.desk.set(level)?;
        *now = Now { level: level.to_owned(), until, turn: now.turn + 1 };
        Ok(now.turn)
    }

    /// Puts back what is usual, unless somebody changed it since.
    fn end(&self, turn: u64) {
        let same = self.now().turn == turn;
        // Whoever comes in between has the last word, and it is as good.
        if same && self.set(&self.usual, None).is_ok() {
            info!(level = self.usual, "the log level is the usual one again");
        }
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is logged.
#[derive(Serialize, ToSchema)]
pub(super) struct LogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter.
    level: String,
    /// When the usual level is in force again, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// What the configuration says (`log.level`).
    usual: String,
}

/// What should be logged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetLogLevel {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,sallyport::edge=debug`.
    #[schema(min_length = 1, max_length = 256)]
    level: String,
    /// For so many minutes; until the next start, if it is not given.
    #[schema(minimum = 1, maximum = 1440)]
    minutes: Option<u32>,
}

/// What the gateway logs
#[utoipa::path(get, path = "/api/v1/log-level", tag = "status", operation_id = "log_level",
    responses((status = 200, description = "The level in force", body = LogLevel)))]
pub(super) async fn show(State(shared): State<Shared>, caller: Caller) -> Result<Json<LogLevel>, Problem> {
    caller.may(Action::Read, &Object::gateway(Part::Log)).await?;
    Ok(Json(shared.log.shown()))
}

/// Change what the gateway logs, for a time or until the next start
#[utoipa::path(post, path = "/api/v1/log-level", tag = "status", operation_id = "set_log_level",
    request_body = SetLogLevel, responses((status = 200, description = "The level in force", body = LogLevel)))]
pub(super) async fn set(
    State(shared): State<Shared>,
    caller: Caller,
    Body(body): Body<SetLogLevel>,
) -> Result<Json<LogLevel>, Problem> {
    let SetLogLevel { level, minutes } = body;
    if level.trim().is_empty() || level.len() > LONGEST {
        return Err(caller.unusable(&format!("a log level has 1 to {LONGEST} bytes")));
    }
    if minutes.is_some_and(|minutes| minutes == 0 || minutes > MOST_MINUTES) {
        return Err(caller.unusable(&format!("the minutes must be from 1 to {MOST_MINUTES}")));
    }
    let admin = Object::gateway(Part::Log);
    let words = level.clone();
    caller.may_with(Action::Admin, &admin, |draft| draft.detail("level", words)).await?;
    let end = |minutes: u32| clock::now().checked_add(SignedDuration::from_mins(i64::from(minutes)));
    let until = minutes.map(end).transpose().map_err(|error| caller.unusable(&error))?;
    let before = seen(&shared.log.shown());
    let turn = shared.log.set(&level, until).map_err(|error| caller.unusable(&error))?;
    if let Some(minutes) = minutes {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let over = tokio::time::sleep(Duration::from_secs(u64::from(minutes) * 60));
            tokio::select! {
                () = over => shared.log.end(turn),
                () = shared.stop.cancelled() => {}
            }
        });
    }
    let after = shared.log.shown();
    caller.changed("set_log_level", Some(before), &after).await;
    Ok(Json(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Any;

    impl LogDesk for Any {
        fn set(&self, filter: &str) -> Result<(), String> {
            if filter == "bad" { Err("no".to_owned()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_change_that_ends_by_itself_does_not_end_a_later_one() {
        let control = LogControl::new(Arc::new(Any), "info".to_owned());
        let first = control.set("debug", None).unwrap();
        let second = control.set("trace", None).unwrap();
        control.end(first);
        assert_eq!(control.shown().level, "trace");
        control.end(second);
        assert_eq!(control.shown().level, "info");
    }

    #[test]
    fn a_filter_that_is_none_changes_nothing() {
        let control = LogControl::new(Arc::new(Any), "info".to_owned());
        assert!(control.set("bad", None).is_err());
        assert_eq!(control.shown().level, "info");
    }
}

//! Who read what of late.
//!
//! Why: of lists whose every line policy judges for itself nothing is asked for the whole, so that no permission tells who read
//! them; and whoever reads evidence is to be seen. Programs ask for the same list again and again, which would fill the ledger
//! with one sentence: whoever reads on is recorded once in a while, as a page that stays open is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who reads the same again within this time is not recorded again.
const A_WHILE: Duration = Duration::from_mins(5);

/// So many are kept in mind. Beyond that more is recorded, never less.
const MOST: usize = 10_000;

/// One person, and what they read.
type Look = (String, String);

/// What was recorded within a while.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<Look, Instant>>);

impl Looks {
    /// Whether it is recorded already that they read this.
    pub(super) fn are_told(&self, who: &str, what: &str, now: Instant) -> bool {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = looks.get(&(who.to_owned(), what.to_owned()));
        told.is_some_and(|at| now.saturating_duration_since(*at) < A_WHILE)
    }

    /// It is recorded now.
    pub(super) fn told(&self, who: &str, what: &str, now: Instant) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MOST {
            looks.retain(|_, at| now.saturating_duration_since(*at) < A_WHILE);
        }
        if looks.len() < MOST {
            looks.insert((who.to_owned(), what.to_owned()), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_on_is_told_of_again_after_a_while_and_each_for_themselves() {
        let (looks, now) = (Looks::default(), Instant::now());
        assert!(!looks.are_told("user:vic", "list_grants", now));
        looks.told("user:vic", "list_grants", now);
        assert!(looks.are_told(
            "user:vic",
            "list_grants",
            now + A_WHILE.saturating_sub(Duration::from_millis(1))
        ));
        for (who, what, at) in [
            ("user:vic", "list_grants", now + A_WHILE),
            ("user:val", "list_grants", now),
            ("user:vic", "list_requests", now),
        ] {
            assert!(!looks.are_told(who, what, at), "{who} {what}");
        }
    }

    #[test]
    fn more_readers_than_are_kept_in_mind_are_each_told_of() {
        let (looks, now) = (Looks::default(), Instant::now());
        for n in 0..=MOST {
            looks.told(&format!("user:{n}"), "list_grants", now);
        }
        assert!(looks.are_told("user:0", "list_grants", now));
        assert!(!looks.are_told(&format!("user:{MOST}"), "list_grants", now), "recorded, and recorded again");
        let later = now + A_WHILE;
        looks.told("user:late", "list_grants", later);
        assert!(looks.are_told("user:late", "list_grants", later), "those of before have made room");
    }
}

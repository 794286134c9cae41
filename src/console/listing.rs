//! Lists, a page at a time. Each list is in the order of its entries' own keys (ids, which grow with time, or names), and a
//! cursor is the key of the last entry that was shown: nothing is shown twice or left out because something else came or went.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::errors::Problem;

/// Entries of a page, unless the caller asks otherwise.
const USUAL: usize = 100;

/// The most entries of one page.
pub(super) const MOST: usize = 1_000;

/// No key of an entry is longer.
const LONGEST_KEY: usize = 256;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// The entries, in the order of their ids, the oldest first, or of their names.
    pub(super) items: Vec<T>,
    /// The `cursor` of the page that follows; null if this is the last.
    pub(super) next: Option<String>,
}

/// Which page of a list.
#[derive(Debug)]
pub(super) struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// Reads what a caller asks for.
    pub(super) fn asked(
        caller: &Caller,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> Result<Self, Problem> {
        Self::read(limit, cursor).map_err(|fault| caller.unusable(&fault))
    }

    fn read(limit: Option<usize>, cursor: Option<&str>) -> Result<Self, String> {
        let limit = limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(format!("`limit` is 1 to {MOST}"));
        }
        let after =
            cursor.map(|cursor| open(cursor).ok_or("`cursor` is not the `next` of a page of this list"));
        Ok(Self { after: after.transpose()?, limit })
    }

    /// The most entries.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The entries to look for: one more than are shown, to know whether there is another page.
    pub(super) fn wanted(&self) -> usize {
        self.limit + 1
    }

    /// Behind which entry the page begins.
    pub(super) fn after<K: FromStr>(&self, caller: &Caller) -> Result<Option<K>, Problem>
    where
        K::Err: Display,
    {
        self.after.as_deref().map(|key| caller.parse(key)).transpose()
    }

    /// Where a list of numbered entries goes on.
    pub(super) fn number(&self, caller: &Caller) -> Result<Option<u64>, Problem> {
        self.after(caller)
    }

    /// This page of `entries`.
    pub(super) fn of<T, V>(
        &self,
        mut entries: Vec<T>,
        key: impl Fn(&T) -> String,
        show: impl FnMut(T) -> V,
    ) -> List<V> {
        if let Some(after) = &self.after {
            entries.retain(|entry| key(entry) > *after);
        }
        entries.sort_by_cached_key(&key);
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        let next = entries.last().filter(|_| more).map(|last| cursor(&key(last)));
        List { items: entries.into_iter().map(show).collect(), next }
    }
}

/// What leads on behind `key`.
pub(super) fn cursor(key: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key)
}

fn open(cursor: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().filter(|bytes| bytes.len() <= LONGEST_KEY)?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pages_join_to_the_whole_list_whatever_comes_or_goes_between_them() {
        let first =
            Page::read(Some(2), None).unwrap().of(keys(&["c", "a", "d", "b"]), Clone::clone, |name| name);
        assert_eq!(first.items, ["a", "b"]);
        let next = first.next.unwrap();
        // `b`, where the cursor stands, is gone, and `aa` came before it.
        let second = Page::read(Some(2), Some(&next)).unwrap().of(
            keys(&["aa", "c", "d", "a"]),
            Clone::clone,
            |name| name,
        );
        assert_eq!((second.items, second.next), (keys(&["c", "d"]), None));
    }

    #[test]
    fn a_limit_and_a_cursor_that_were_made_up_are_refused() {
        for (limit, cursor) in
            [(Some(0), None), (Some(MOST + 1), None), (None, Some("not base64!")), (None, Some("gIA"))]
        {
            assert!(Page::read(limit, cursor).is_err(), "{limit:?} {cursor:?}");
        }
        assert!(Page::read(None, Some(&cursor(&"x".repeat(LONGEST_KEY + 1)))).is_err());
    }
}

//! Who came back: the registration that took the place of one whose publisher was lost.
//!
//! A byte stream that outlives its connection asks the registration that it is on, and goes on over the next. Only the same
//! publisher's is one, protected as the one before was, and it is named in the same step that gives it the name
//! ([`super::Reservation::succeed`]): so nothing comes between.

use std::sync::Arc;

use tokio::sync::watch;

use super::route::Route;

/// The registration after this one; clones share it.
#[derive(Clone)]
pub struct Heir(Arc<watch::Sender<Option<Arc<Route>>>>);

impl Default for Heir {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Heir {
    /// Names it.
    pub fn is(&self, heir: &Arc<Route>) {
        self.0.send_replace(Some(Arc::clone(heir)));
    }

    /// Waits for it.
    pub async fn named(&self) -> Option<Arc<Route>> {
        let mut told = self.0.subscribe();
        let named = told.wait_for(Option::is_some).await;
        named.ok().and_then(|heir| heir.clone())
    }
}

/// A publisher that comes back again and again leaves a long line of them: taken apart one by one, and not one inside of the other.
impl Drop for Heir {
    fn drop(&mut self) {
        let taken = |heir: &mut Heir| Arc::get_mut(&mut heir.0).and_then(|told| told.send_replace(None));
        let mut next = taken(self);
        while let Some(route) = next {
            next = Arc::try_unwrap(route).ok().and_then(|mut route| taken(&mut route.heir));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    use super::super::reservation::Wanted;
    use super::super::routes::Routes;
    use super::super::waiting::{link, route};
    use super::*;
    use crate::access::TunnelFacts;
    use crate::tunnel::tests::bed::http;

    /// What is told to follow what when `publisher` takes the place of `first`, which was lost.
    async fn told(shows: Option<&str>, change: impl FnOnce(&mut Route)) -> Vec<(String, String)> {
        let (link, _door, _publisher) = link().await;
        let (routes, demo) = (Routes::new(Duration::from_mins(1)), [http("demo")]);
        let wanted =
            |publisher| Wanted { owner: "user:a", publisher, fresh: "fresh", offers: &demo, most: 1 };
        let first = Wanted { fresh: "first", ..wanted(None) };
        let first = routes.reserve(&first, Instant::now()).ok().unwrap();
        let told = Mutex::new(Vec::new());
        let follows =
            |old: &Route, new: &Arc<Route>| told.lock().unwrap().push((old.id.clone(), new.id.clone()));
        assert_eq!(first.succeed(route("tun-1", &link), follows).len(), 0);
        drop(first);
        assert!(routes.lost(&demo[0].name, "tun-1", Instant::now()));
        let mut second = route("tun-2", &link);
        change(&mut second);
        let reservation = routes.reserve(&wanted(shows), Instant::now()).ok().unwrap();
        assert_eq!(reservation.succeed(second, follows).len(), 1, "the first is gone either way");
        told.into_inner().unwrap()
    }

    #[tokio::test]
    async fn who_comes_back_for_its_name_follows_itself_and_nobody_else_does() {
        assert_eq!(told(Some("first"), |_| {}).await, [("tun-1".to_owned(), "tun-2".to_owned())]);
        assert_eq!(told(None, |_| {}).await, [], "another publisher of the same user");
        assert_eq!(told(Some("made up"), |_| {}).await, [], "a ticket that nobody was given");
        let otherwise = TunnelFacts { suite: "", post_quantum: true, sealed: true };
        assert_eq!(told(Some("first"), |route| route.protection = otherwise).await, [], "another protection");
    }
}

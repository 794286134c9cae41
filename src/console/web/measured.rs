//! Which tunnels, sessions and time the page of sessions is asked for, and what the ledger says of them: requests that were answered, and
//! sessions that have ended. Page, figures and exports read the same [`Filter`] by the same functions.

use jiff::{SignedDuration, Timestamp};
use sallyport_audit::index::search::Order as Direction;
use sallyport_audit::selection::{self, Selection};
use sallyport_audit::{Kind, Search};
use serde::Deserialize;

use super::figures::{self, Figures};
use super::panel::unless_busy;
use super::viewer::Viewer;
use crate::access::Object;
use crate::console::Shared;
use crate::console::errors::Problem;
use crate::console::search::{self as searching, Asked};
use crate::session::{LiveSession, RouteView};

/// The most requests from which figures are made; so many records are read at once.
pub(super) const SAMPLE: usize = 5_000;

#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    pub(super) tunnel: String,
    pub(super) subject: String,
    /// Whose tunnels, with the sessions at them.
    pub(super) publisher: String,
    pub(super) minutes: Option<u32>,
    /// Day or instant; with either of these `minutes` says nothing.
    pub(super) from_time: String,
    pub(super) to_time: String,
}

impl Filter {
    /// The same without blanks around what was written, and with people under their whole names.
    pub(super) fn read(self) -> Self {
        let plain = |text: &str| text.trim().to_owned();
        let person = |text: &str| match plain(text) {
            name if name.is_empty() || name.contains(':') => name,
            name => format!("user:{name}"),
        };
        Self {
            tunnel: plain(&self.tunnel),
            subject: person(&self.subject),
            publisher: person(&self.publisher),
            minutes: self.minutes,
            from_time: plain(&self.from_time),
            to_time: plain(&self.to_time),
        }
    }

    pub(super) fn minutes(&self) -> u32 {
        self.minutes.unwrap_or(60).clamp(1, 24 * 60)
    }

    /// What of the page's query says which tunnels and sessions are shown.
    pub(super) fn query(&self) -> String {
        let fields = [("tunnel", &self.tunnel), ("subject", &self.subject), ("publisher", &self.publisher)];
        serde_urlencoded::to_string(fields).unwrap_or_default()
    }

    /// The page's whole query.
    pub(super) fn whole_query(&self) -> String {
        let minutes = self.minutes().to_string();
        let times = [("minutes", &minutes), ("from_time", &self.from_time), ("to_time", &self.to_time)];
        format!("{}&{}", self.query(), serde_urlencoded::to_string(times).unwrap_or_default())
    }

    /// The time that was asked for, or why there is none.
    pub(super) fn span(&self, now: Timestamp) -> Result<Span, String> {
        // A name that no tunnel can have is no way to ask for all of them.
        if !self.tunnel.is_empty() {
            Object::tunnel(&self.tunnel).map_err(|error| error.to_string())?;
        }
        Span::of(self, self.minutes(), now)
    }

    /// Of these tunnels and sessions those that were asked for.
    pub(super) fn chosen(&self, views: &mut Vec<RouteView>, live: &mut Vec<LiveSession>) {
        let fits = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        views.retain(|view| fits(&self.tunnel, &view.name) && fits(&self.publisher, &view.owner));
        live.retain(|session| {
            fits(&self.tunnel, &session.tunnel)
                && fits(&self.subject, &session.subject)
                && (self.publisher.is_empty() || views.iter().any(|view| view.name == session.tunnel))
        });
    }

    /// The objects of the records that were asked for: none named is all, and nothing is none at all. What a publisher's tunnels are is
    /// known of those that are published.
    fn objects(&self, views: &[RouteView]) -> Option<Vec<String>> {
        if self.publisher.is_empty() && self.tunnel.is_empty() {
            return Some(Vec::new());
        }
        if self.publisher.is_empty() {
            return Object::tunnel(&self.tunnel).ok().map(|object| vec![object.as_str().to_owned()]);
        }
        let theirs = views.iter().filter(|view| view.owner == self.publisher);
        let wanted = theirs.filter(|view| self.tunnel.is_empty() || view.name == self.tunnel);
        let objects: Vec<String> = wanted.map(|view| format!("tunnel:{}", view.name)).collect();
        Some(objects).filter(|objects| !objects.is_empty())
    }
}

/// The time of which figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    pub(super) fn last(minutes: u32, now: Timestamp) -> Self {
        let from = now.saturating_sub(SignedDuration::from_mins(i64::from(minutes)));
        Self { from: from.unwrap_or(Timestamp::UNIX_EPOCH), to: now }
    }

    /// What was asked for: from a time on, up to one, or both; a day is taken whole.
    fn of(filter: &Filter, minutes: u32, now: Timestamp) -> Result<Self, String> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (from, to) = (given(&filter.from_time), given(&filter.to_time));
        if from.is_none() && to.is_none() {
            return Ok(Self::last(minutes, now));
        }
        let to = to.map_or(Ok(now), |text| selection::end(&text))?.min(now);
        let from = from.map_or(Ok(Self::last(minutes, to).from), |text| selection::beginning(&text))?;
        if from >= to {
            return Err("the time that was asked for ends before it begins".to_owned());
        }
        Ok(Self { from, to })
    }

    fn minutes(self) -> u32 {
        let minutes = self.to.duration_since(self.from).as_mins().max(1);
        u32::try_from(minutes).unwrap_or(u32::MAX)
    }
}

/// Latencies and errors of the time that was asked for, from the records of requests; nothing if others read the ledger already.
pub(super) async fn figures(
    shared: &Shared,
    viewer: &Viewer,
    filter: &Filter,
    span: Span,
) -> Result<Option<Figures>, Problem> {
    let (mut entries, mut more) = (Vec::new(), false);
    if let Some(search) = recorded(shared, viewer, filter, span, Kind::HttpRequest).await? {
        let search = Search { limit: SAMPLE + 1, ..search };
        let found = unless_busy(searching::found(shared, &viewer.caller, search).await)?;
        let Some(page) = found else { return Ok(None) };
        more = page.entries.len() > SAMPLE || page.next.is_some();
        entries = page.entries;
        entries.truncate(SAMPLE);
    }
    let bytes = entries.iter().map(|entry| entry.bytes.as_ref());
    Ok(Some(figures::of(bytes, more, span.minutes(), span.to)))
}

/// The search for the records of one kind that were asked for, the newest first; none if nothing is. That it is made is recorded, as
/// with every search.
pub(super) async fn recorded(
    shared: &Shared,
    viewer: &Viewer,
    filter: &Filter,
    span: Span,
    kind: Kind,
) -> Result<Option<Search>, Problem> {
    let Some(objects) = filter.objects(&shared.routes.views()) else { return Ok(None) };
    let subjects: Vec<String> =
        Some(filter.subject.clone()).filter(|who| !who.is_empty()).into_iter().collect();
    let selection = Selection {
        kinds: vec![kind],
        objects,
        from_time: Some(span.from),
        to_time: Some(span.to),
        ..Selection::default()
    };
    let asked = Asked {
        subject: subjects.first().cloned(),
        kind: Some(kind.as_str().to_owned()),
        object: Some(filter.tunnel.as_str())
            .filter(|name| !name.is_empty())
            .map(|name| format!("tunnel:{name}")),
        ..Asked::default()
    };
    searching::recorded(shared, &viewer.caller, &asked, &selection, None).await?;
    Ok(Some(Search { selection, subjects, order: Direction::NewestFirst, ..Search::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, owner: &str) -> RouteView {
        RouteView {
            name: name.to_owned(),
            kind: "http",
            owner: owner.to_owned(),
            id: format!("tun-{name}"),
            since: Timestamp::UNIX_EPOCH,
            state: "live",
            transport: "tls",
            connections: 1,
            streams: (0, 1008),
            windows: (2 << 20, None),
            resting: false,
        }
    }

    fn session(tunnel: &str, subject: &str) -> LiveSession {
        LiveSession {
            id: format!("sess-{tunnel}-{subject}"),
            subject: subject.to_owned(),
            tunnel: tunnel.to_owned(),
            protocol: "http",
            grant: None,
            source: "203.0.113.7:1".to_owned(),
            opened: Timestamp::UNIX_EPOCH,
            bytes_up: 0,
            bytes_down: 0,
            requests: 0,
        }
    }

    fn filter(tunnel: &str, subject: &str, publisher: &str) -> Filter {
        let [tunnel, subject, publisher] = [tunnel, subject, publisher].map(str::to_owned);
        Filter { tunnel, subject, publisher, ..Filter::default() }.read()
    }

    #[test]
    fn blanks_are_no_name_and_a_name_that_no_tunnel_can_have_is_not_all_of_them() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(9);
        let views = [view("a", "user:p"), view("b", "user:q")];
        assert_eq!(filter("  ", "", "").objects(&views), Some(Vec::new()), "all");
        assert_eq!(filter(" a ", "", "").objects(&views), Some(vec!["tunnel:a".to_owned()]));
        for wrong in ["A", "a.b", "a b", "-a", "tunnel:a"] {
            assert_eq!(filter(wrong, "", "").objects(&views), None, "{wrong}");
            assert!(filter(wrong, "", "").span(now).unwrap_err().contains("tunnel"), "{wrong}");
        }
        assert!(filter(" a ", "", "").span(now).is_ok());
    }

    #[test]
    fn a_publishers_figures_are_those_of_their_tunnels_and_of_nobody_elses() {
        let views = [view("a", "user:p"), view("b", "user:q"), view("c", "user:p")];
        let of = |tunnel, publisher| filter(tunnel, "", publisher).objects(&views);
        assert_eq!(of("", "p"), Some(vec!["tunnel:a".to_owned(), "tunnel:c".to_owned()]));
        assert_eq!(of("c", "user:p"), Some(vec!["tunnel:c".to_owned()]));
        assert_eq!(of("b", "user:p"), None, "somebody else's");
        assert_eq!(of("", "user:nobody"), None, "whoever publishes nothing is not everybody");
    }

    #[test]
    fn tunnels_and_sessions_are_chosen_by_whole_names() {
        let chosen = |tunnel, subject, publisher| {
            let mut views = vec![view("a", "user:p"), view("b", "user:q")];
            let mut live =
                vec![session("a", "user:vic"), session("b", "user:vic"), session("b", "user:victor")];
            filter(tunnel, subject, publisher).chosen(&mut views, &mut live);
            (views.len(), live.len())
        };
        assert_eq!(chosen("", "", ""), (2, 3));
        assert_eq!(chosen("", "vic", ""), (2, 2), "and not user:victor");
        assert_eq!(chosen("b", "user:vic", ""), (1, 1));
        assert_eq!(chosen("", "", "q"), (1, 2));
        assert_eq!(chosen("", "", "user:nobody"), (0, 0));
    }

    #[test]
    fn an_export_asks_for_what_the_page_shows() {
        let filter = Filter { from_time: "2026-03-01".into(), ..filter("a", "vic", "") };
        let back: Filter = serde_urlencoded::from_str(&filter.whole_query()).unwrap();
        assert_eq!((back.tunnel.as_str(), back.subject.as_str()), ("a", "user:vic"));
        assert_eq!((back.from_time.as_str(), back.minutes), ("2026-03-01", Some(60)));
    }

    #[test]
    fn figures_are_of_the_minutes_before_now_or_of_the_days_that_were_asked_for() {
        let now: Timestamp = "2026-03-04T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let of = |from: &str, to: &str| {
            let filter = Filter { from_time: from.into(), to_time: to.into(), ..Filter::default() };
            filter.read().span(now)
        };
        assert_eq!(of("", " ").unwrap(), Span { from: at("2026-03-04T11:00:00Z"), to: now });
        let days = of("2026-03-01", "2026-03-02").unwrap();
        assert_eq!(days, Span { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-03T00:00:00Z") });
        assert_eq!(days.minutes(), 2 * 24 * 60);
        assert_eq!(of("2026-03-04", "").unwrap().to, now, "not beyond now");
        assert_eq!(of("", "2026-03-02").unwrap().from, at("2026-03-02T23:00:00Z"), "as many minutes before");
        assert!(of("2026-03-03", "2026-03-01").unwrap_err().contains("ends before it begins"));
        assert!(of("yesterday", "").unwrap_err().contains("2026-01-31"));
    }
}

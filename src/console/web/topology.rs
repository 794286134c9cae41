//! Who publishes what to whom, as a drawing: publishers, the gateway's tunnels, visitors, and the lines between them.
//!
//! Pure: of the routes and the open sessions it makes places. Across, they are hundredths of the page's width, so that letters keep
//! their size on a phone; down, they are pixels. Bounded: a column shows [`MOST`] entries, and the last of more stands for the rest
//! with their number. Everything drawn also stands in the tables of the same page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::session::RouteView;

/// Most entries of a column.
const MOST: usize = 12;

/// From one entry to the next, and the entry itself, in pixels.
const STEP: usize = 80;
const TALL: usize = 70;

/// Room for the columns' names.
const HEAD: usize = 34;

/// What is drawn.
pub(super) struct Drawing {
    pub(super) publishers: Vec<Spot>,
    pub(super) tunnels: Vec<Spot>,
    pub(super) visitors: Vec<Spot>,
    pub(super) lines: Vec<Line>,
    /// Of an entry, and of all.
    pub(super) tall: usize,
    pub(super) height: usize,
}

/// One entry: a link to what the page shows of it alone.
pub(super) struct Spot {
    pub(super) name: String,
    pub(super) note: String,
    /// A tunnel's state; nothing for others.
    pub(super) state: &'static str,
    pub(super) to: String,
    pub(super) y: usize,
}

/// From the right side of one entry to the left side of another.
pub(super) struct Line {
    /// Whether it leads from a tunnel to a visitor, rather than from a publisher to a tunnel.
    pub(super) visit: bool,
    pub(super) y1: usize,
    pub(super) y2: usize,
    /// Class of its width.
    pub(super) weight: &'static str,
}

/// What is known of one tunnel by all who publish it.
#[derive(Default)]
struct Tunnel<'a> {
    state: &'static str,
    owners: BTreeSet<&'a str>,
    visitors: BTreeMap<&'a str, usize>,
}

impl Tunnel<'_> {
    fn sessions(&self) -> usize {
        self.visitors.values().sum()
    }
}

/// Draws these routes and sessions, each of the latter by its tunnel and its subject. A session whose tunnel is no longer published
/// has no line to hang on, and stands in the table alone.
pub(super) fn draw<'a>(
    routes: &'a [RouteView],
    sessions: impl Iterator<Item = (&'a str, &'a str)>,
) -> Drawing {
    let tunnels = joined(routes, sessions);
    let mut busy: [BTreeMap<&str, usize>; 3] = Default::default();
    let [publishing, passing, visiting] = &mut busy;
    for (name, tunnel) in &tunnels {
        passing.insert(name, tunnel.sessions());
        for owner in &tunnel.owners {
            *publishing.entry(owner).or_default() += tunnel.sessions();
        }
        for (subject, sessions) in &tunnel.visitors {
            *visiting.entry(subject).or_default() += sessions;
        }
    }
    let middle = Column::of(passing, |_| 0);
    // A neighbour stands at the mean of those that it is joined to: fewer lines cross.
    let beside = |is_joined: &dyn Fn(&Tunnel<'_>) -> bool| {
        let joined = tunnels.iter().filter(|(_, tunnel)| is_joined(tunnel));
        let (count, sum) =
            joined.fold((0, 0), |(count, sum), (name, _)| (count + 1, sum + middle.place(name)));
        sum * 64 / count.max(1)
    };
    let left = Column::of(publishing, |owner| beside(&|tunnel| tunnel.owners.contains(owner)));
    let right = Column::of(visiting, |subject| beside(&|tunnel| tunnel.visitors.contains_key(subject)));

    let rows = [&left, &middle, &right].into_iter().map(Column::len).max().unwrap_or_default().max(1);
    let top = |column: &Column<'_>, place: usize| {
        HEAD + (rows - column.len()) * STEP / 2 + place * STEP + (STEP - TALL) / 2
    };
    let mut joints: BTreeMap<(bool, usize, usize), usize> = BTreeMap::new();
    for (name, tunnel) in &tunnels {
        let y = top(&middle, middle.place(name)) + TALL / 2;
        for owner in &tunnel.owners {
            let from = top(&left, left.place(owner)) + TALL / 2;
            *joints.entry((false, from, y)).or_default() += tunnel.sessions();
        }
        for (subject, sessions) in &tunnel.visitors {
            let to = top(&right, right.place(subject)) + TALL / 2;
            *joints.entry((true, y, to)).or_default() += sessions;
        }
    }
    let lines = joints.into_iter().map(|((visit, y1, y2), sessions)| Line {
        visit,
        y1,
        y2,
        weight: weight(sessions),
    });
    let note = |name: &str| {
        let tunnel = tunnels.get(name)?;
        Some((tunnel.state, format!("{}, {}", tunnel.state, counted(tunnel.sessions()))))
    };
    let plain = |sessions: usize| ("", counted(sessions));
    Drawing {
        publishers: left.spots("publisher", "publishers", "#tunnels", top, |_, open| plain(open)),
        tunnels: middle.spots("tunnel", "tunnels", "#tunnels", top, |name, open| {
            note(name).unwrap_or_else(|| plain(open))
        }),
        visitors: right.spots("subject", "visitors", "#live", top, |_, open| plain(open)),
        lines: lines.collect(),
        tall: TALL,
        height: HEAD + rows * STEP,
    }
}

fn joined<'a>(
    routes: &'a [RouteView],
    sessions: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<&'a str, Tunnel<'a>> {
    let mut tunnels: BTreeMap<&str, Tunnel<'_>> = BTreeMap::new();
    for route in routes {
        let tunnel = tunnels.entry(&route.name).or_default();
        tunnel.owners.insert(&route.owner);
        // One of several publishers that serves is enough.
        if tunnel.state != "live" {
            tunnel.state = route.state;
        }
    }
    for (tunnel, subject) in sessions {
        if let Some(tunnel) = tunnels.get_mut(tunnel) {
            *tunnel.visitors.entry(subject).or_default() += 1;
        }
    }
    tunnels
}

/// Who stands where in a column: those with most sessions by name, and behind them one entry for the rest.
struct Column<'a> {
    shown: Vec<(&'a str, usize)>,
    places: HashMap<&'a str, usize>,
    /// How many stand in the last entry, and how many sessions they have.
    rest: Option<(usize, usize)>,
}

impl<'a> Column<'a> {
    /// Of all with their sessions; those that are shown stand in the order of `wanted`.
    fn of(all: &BTreeMap<&'a str, usize>, wanted: impl Fn(&str) -> usize) -> Self {
        let mut shown: Vec<(&str, usize)> = all.iter().map(|(name, sessions)| (*name, *sessions)).collect();
        let mut rest = None;
        if shown.len() > MOST {
            shown.sort_by_key(|(name, sessions)| (Reverse(*sessions), *name));
            let others = shown.split_off(MOST - 1);
            rest = Some((others.len(), others.iter().map(|(_, sessions)| sessions).sum()));
        }
        shown.sort_by_key(|(name, _)| (wanted(name), *name));
        let places = shown.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
        Self { shown, places, rest }
    }

    fn len(&self) -> usize {
        self.shown.len() + usize::from(self.rest.is_some())
    }

    /// The place of one of them, which may be that of the rest.
    fn place(&self, name: &str) -> usize {
        self.places.get(name).copied().unwrap_or(self.shown.len())
    }

    /// The entries. Each leads to the page with `field` set to its name; the rest to the place where all stand.
    fn spots(
        &self,
        field: &str,
        plural: &str,
        all: &str,
        top: impl Fn(&Self, usize) -> usize,
        note: impl Fn(&str, usize) -> (&'static str, String),
    ) -> Vec<Spot> {
        let one = |(place, (name, sessions)): (usize, &(&str, usize))| {
            let (state, note) = note(name, *sessions);
            let query = serde_urlencoded::to_string([(field, name)]).unwrap_or_default();
            let to = format!("/console/sessions?{query}");
            Spot { name: (*name).to_owned(), note, state, to, y: top(self, place) }
        };
        let mut spots: Vec<Spot> = self.shown.iter().enumerate().map(one).collect();
        spots.extend(self.rest.map(|(count, sessions)| Spot {
            name: format!("{count} more {plural}"),
            note: counted(sessions),
            state: "",
            to: all.to_owned(),
            y: top(self, self.shown.len()),
        }));
        spots
    }
}

fn counted(sessions: usize) -> String {
    format!("{sessions} session{}", if sessions == 1 { "" } else { "s" })
}

/// Ten times the sessions is one step wider.
fn weight(sessions: usize) -> &'static str {
    match sessions {
        0 => "idle",
        1 => "one",
        2..=9 => "few",
        10..=99 => "many",
        _ => "crowd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, owner: &str, state: &'static str) -> RouteView {
        RouteView {
            name: name.to_owned(),
            kind: "http",
            owner: owner.to_owned(),
            id: format!("tun-{name}-{owner}"),
            since: jiff::Timestamp::UNIX_EPOCH,
            state,
            transport: "quic",
            connections: 1,
            streams: (0, 1008),
            windows: (2 << 20, None),
            resting: false,
        }
    }

    fn names(spots: &[Spot]) -> Vec<&str> {
        spots.iter().map(|spot| spot.name.as_str()).collect()
    }

    #[test]
    fn a_line_leads_from_each_publisher_to_its_tunnel_and_from_a_tunnel_to_each_of_its_visitors() {
        let routes =
            [route("a", "user:p", "away"), route("a", "user:q", "live"), route("b", "user:p", "unwell")];
        let sessions = [("a", "user:v"), ("a", "user:v"), ("a", "user:w"), ("gone", "user:x")];
        let drawn = draw(&routes, sessions.into_iter());
        assert_eq!(names(&drawn.publishers), ["user:q", "user:p"], "beside what they publish");
        assert_eq!(names(&drawn.tunnels), ["a", "b"]);
        assert_eq!(names(&drawn.visitors), ["user:v", "user:w"], "nobody at a tunnel that is gone");
        let notes: Vec<_> = drawn.tunnels.iter().map(|spot| (spot.state, spot.note.as_str())).collect();
        assert_eq!(notes, [("live", "live, 3 sessions"), ("unwell", "unwell, 0 sessions")]);
        let weights: Vec<_> = drawn.lines.iter().map(|line| (line.visit, line.weight)).collect();
        assert_eq!(weights, [(false, "few"), (false, "few"), (false, "idle"), (true, "few"), (true, "one")]);
        let [first, second] = [&drawn.tunnels[0], &drawn.visitors[1]];
        assert!(
            drawn.lines.iter().any(|line| (line.y1, line.y2) == (first.y + TALL / 2, second.y + TALL / 2)),
            "between the middles of two entries"
        );
    }

    #[test]
    fn of_many_the_busiest_are_shown_and_the_rest_are_one_entry_that_counts_them() {
        let routes: Vec<_> = (0..40).map(|at| route(&format!("t{at:02}"), "user:p", "live")).collect();
        let visitors: Vec<String> = (0..1_000).map(|at| format!("user:v{at:03}")).collect();
        let tunnel = |at: usize| routes[at % 40].name.as_str();
        let thrice = std::iter::repeat_n(("t39", "user:v999"), 3);
        let all = visitors.iter().enumerate().map(|(at, who)| (tunnel(at), who.as_str())).chain(thrice);
        let drawn = draw(&routes, all);
        assert_eq!((drawn.publishers.len(), drawn.tunnels.len(), drawn.visitors.len()), (1, MOST, MOST));
        assert!(names(&drawn.tunnels).contains(&"t39") && names(&drawn.visitors).contains(&"user:v999"));
        let rest = drawn.visitors.last().unwrap();
        assert_eq!((rest.name.as_str(), rest.to.as_str()), ("989 more visitors", "#live"));
        assert_eq!(rest.note, "989 sessions");
        assert!(drawn.lines.len() <= MOST + MOST * MOST);
        assert_eq!(drawn.height, HEAD + MOST * STEP);
    }

    #[test]
    fn a_name_full_of_markup_stays_a_name_in_its_link() {
        let routes = [route("a", "user:<b>&x=\"y\"", "live")];
        let drawn = draw(&routes, std::iter::empty());
        assert_eq!(drawn.publishers[0].to, "/console/sessions?publisher=user%3A%3Cb%3E%26x%3D%22y%22");
        assert!(drawn.visitors.is_empty());
    }
}

//! Sessions by tunnel: how many, how long, how much.

use std::collections::BTreeMap;

use sallyport_audit::Kind;

use super::{Book, End, Section, Seen, Sheet};

const KINDS: &[Kind] = &[Kind::SessionOpened, Kind::SessionClosed, Kind::SessionRefused];

#[derive(Default)]
struct Tunnel {
    opened: u64,
    with_grant: u64,
    without_policy: u64,
    closed: u64,
    refused: u64,
    up: u64,
    down: u64,
    requests: u64,
    longest_ms: u64,
}

pub(super) struct Sessions {
    book: Book,
    tunnels: BTreeMap<String, Tunnel>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { book: Book::of(KINDS), tunnels: BTreeMap::new() }
    }
}

impl Section for Sessions {
    fn take(&mut self, seen: &Seen<'_>) {
        if !self.book.takes(seen) {
            return;
        }
        let tunnel = self.tunnels.entry(seen.object()).or_default();
        let number = |key| seen.number(key).unwrap_or(0);
        match seen.record.kind {
            Kind::SessionOpened if seen.done() => {
                tunnel.opened += 1;
                tunnel.with_grant += u64::from(seen.record.grant.is_some());
                tunnel.without_policy += u64::from(seen.record.policy.is_none());
            }
            Kind::SessionClosed => {
                tunnel.closed += 1;
                tunnel.up = tunnel.up.saturating_add(number("bytes_up"));
                tunnel.down = tunnel.down.saturating_add(number("bytes_down"));
                tunnel.requests = tunnel.requests.saturating_add(number("requests"));
                tunnel.longest_ms = tunnel.longest_ms.max(number("duration_ms"));
            }
            _ => tunnel.refused += 1,
        }
    }

    fn finish(self: Box<Self>, _: &End<'_>) -> Sheet {
        let Self { book, tunnels } = *self;
        let sum = |of: fn(&Tunnel) -> u64| tunnels.values().map(of).sum::<u64>();
        let sheet = book
            .sheet(
                "sessions",
                "Sessions by tunnel",
                "Sessions that began and ended in the period. Bytes are those of sessions that ended in it; up is from the \
                 visitor to the service.",
            )
            .figure("sessions opened", sum(|tunnel| tunnel.opened))
            .figure("of them under a grant", sum(|tunnel| tunnel.with_grant))
            .figure("sessions refused", sum(|tunnel| tunnel.refused))
            .exception("without-policy", sum(|tunnel| tunnel.without_policy));
        let rows = tunnels.into_iter().map(|(name, tunnel)| {
            vec![
                name.into(),
                tunnel.opened.into(),
                tunnel.with_grant.into(),
                tunnel.closed.into(),
                tunnel.refused.into(),
                tunnel.requests.into(),
                tunnel.up.into(),
                tunnel.down.into(),
                (tunnel.longest_ms / 1000).into(),
            ]
        });
        let columns = [
            "tunnel",
            "opened",
            "under a grant",
            "closed",
            "refused",
            "HTTP requests",
            "bytes up",
            "bytes down",
            "longest, seconds",
        ];
        sheet.rows(&columns, rows.collect::<Vec<_>>())
    }
}

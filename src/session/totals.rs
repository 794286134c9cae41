//! What passed through each tunnel since the gateway started: the sessions that are over, and those that are not.

use std::collections::BTreeMap;

use crate::tunnel::TunnelName;

/// Tunnels that are told apart. Whoever may publish chooses names: the rest is counted together.
const MOST: usize = 1000;

/// Sums over the sessions of one tunnel; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Bytes from visitors to the publisher.
    pub bytes_up: u64,
    /// Bytes from the publisher to visitors.
    pub bytes_down: u64,
}

impl Totals {
    pub(super) fn add(&mut self, (up, down): (u64, u64)) {
        self.sessions += 1;
        self.bytes_up += up;
        self.bytes_down += down;
    }
}

/// By tunnel; `None` is the rest.
#[derive(Default, Clone)]
pub(super) struct ByTunnel(BTreeMap<Option<TunnelName>, Totals>);

impl ByTunnel {
    pub(super) fn add(&mut self, tunnel: &TunnelName, bytes: (u64, u64)) {
        let known = self.0.len() < MOST || self.0.contains_key(&Some(tunnel.clone()));
        self.0.entry(known.then(|| tunnel.clone())).or_default().add(bytes);
    }

    pub(super) fn all(self) -> Vec<(Option<TunnelName>, Totals)> {
        self.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tunnels_than_the_bound_are_summed_together() {
        let mut sums = ByTunnel::default();
        for number in 0..MOST + 2 {
            sums.add(&TunnelName::parse(&format!("t{number}")).unwrap(), (1, 2));
        }
        let all = sums.all();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!(all[0], (None, Totals { sessions: 2, bytes_up: 2, bytes_down: 4 }));
    }
}

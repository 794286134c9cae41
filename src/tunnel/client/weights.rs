//! Which of several gateways that may all serve is the first: drawn anew by each publisher, by weight.
//!
//! So many publishers spread over the gateways as the weights say, and each stays with its own: with the others behind it, in an order
//! that is drawn too, so that those of a gateway that is lost spread over what is left. As RFC 2782 does it for servers of one
//! priority, but that a weight of 0 is for when no other is there.

/// Draws an order; `random` gives a number below the one that it is given.
pub(super) fn drawn<T>(mut from: Vec<(T, u32)>, mut random: impl FnMut(u64) -> u64) -> Vec<T> {
    let mut order = Vec::with_capacity(from.len());
    while !from.is_empty() {
        let total: u64 = from.iter().map(|(_, weight)| u64::from(*weight)).sum();
        // With no weight left they follow as they were named.
        let mut left = if total == 0 { 0 } else { random(total) };
        let at = from.iter().position(|(_, weight)| {
            let weight = u64::from(*weight);
            let found = left < weight || total == 0;
            left = left.saturating_sub(weight);
            found
        });
        order.push(from.remove(at.unwrap_or_default()).0);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_is_the_first_as_often_as_its_weight_says() {
        let gateways = || vec![("a", 1), ("b", 3), ("c", 0), ("d", 2)];
        let first = |number| drawn(gateways(), |below| number % below)[0];
        let firsts: Vec<&str> = (0..6).map(first).collect();
        assert_eq!(firsts, ["a", "b", "b", "b", "d", "d"]);
    }

    #[test]
    fn who_has_no_weight_comes_behind_all_who_have_in_the_order_given() {
        let order = drawn(vec![("x", 0), ("a", 1), ("y", 0), ("b", 1)], |below| below - 1);
        assert_eq!(order, ["b", "a", "x", "y"]);
    }

    proptest! {
        #[test]
        fn every_one_is_drawn_once(weights in prop::collection::vec(0_u32.., 0..8), numbers in prop::collection::vec(any::<u64>(), 8)) {
            let mut numbers = numbers.into_iter();
            let all: Vec<(usize, u32)> = weights.into_iter().enumerate().collect();
            let mut order = drawn(all.clone(), |below| numbers.next().unwrap() % below);
            order.sort_unstable();
            prop_assert_eq!(order, (0..all.len()).collect::<Vec<_>>());
        }
    }
}

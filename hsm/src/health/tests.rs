//! Rules that hold after any order of events.

use proptest::prelude::*;

use super::*;

fn causes() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::TokenAbsent,
        Cause::TokenExchanged,
        Cause::PinRefused,
        Cause::PinLocked,
        Cause::PinUnreadable,
        Cause::NotAnswering,
        Cause::KeyMissing,
        Cause::ModuleRefuses,
        Cause::Fault,
    ])
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Doubted),
        Just(Event::Cleared),
        Just(Event::Trying),
        Just(Event::Resumed),
        Just(Event::Recovered),
        (causes(), "[ab]").prop_map(|(cause, reason)| Event::Failed(cause, reason)),
    ]
}

fn at(second: usize) -> Timestamp {
    Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
}

proptest! {
    #[test]
    fn an_outage_ends_only_by_recovery_and_a_wrong_pin_waits_for_a_person(
        events in prop::collection::vec(events(), 0..64)
    ) {
        let mut health = Health::Up;
        for (second, event) in events.iter().enumerate() {
            let Some(next) = health.after(event, at(second)) else { continue };
            prop_assert_ne!(&next, &health, "a change that is none wakes people for nothing");
            if health.outage().is_some() && next.outage().is_none() {
                prop_assert!(matches!(event, Event::Recovered), "{:?} ended an outage", event);
            }
            if let Health::NeedsOperator(_) = health {
                prop_assert!(matches!(event, Event::Resumed | Event::Recovered), "{:?} tried a PIN", event);
            }
            match (health.outage(), next.outage()) {
                (None, Some(begun)) => prop_assert_eq!((begun.since, begun.attempts), (at(second), 0)),
                (Some(known), Some(now)) => {
                    prop_assert_eq!(known.since, now.since, "an outage begins once");
                    prop_assert!(known.attempts <= now.attempts);
                }
                _ => {}
            }
            if let Some(outage) = next.outage() {
                let waits = matches!(next, Health::NeedsOperator(_));
                let tries = matches!(next, Health::Recovering(_));
                prop_assert!(tries || waits == outage.cause.needs_operator());
            }
            health = next;
        }
        prop_assert_eq!(health.after(&Event::Recovered, at(99)).unwrap_or(Health::Up), Health::Up);
    }
}

#[test]
fn a_doubt_that_is_cleared_is_no_outage_and_one_that_is_confirmed_is() {
    let suspect = Health::Up.after(&Event::Doubted, at(1)).unwrap();
    assert_eq!((suspect.as_str(), suspect.outage()), ("suspect", None));
    assert_eq!(suspect.after(&Event::Cleared, at(2)), Some(Health::Up));
    let down = suspect.after(&Event::Failed(Cause::Fault, "CKR_DEVICE_ERROR".to_owned()), at(3)).unwrap();
    assert_eq!(down.outage().unwrap().since, at(3));
    // Somebody who asked before it went down knows nothing of now.
    assert_eq!(down.after(&Event::Cleared, at(4)), None);
    let trying = down.after(&Event::Trying, at(5)).unwrap();
    assert_eq!((trying.as_str(), trying.outage().unwrap().attempts), ("recovering", 1));
    let json = serde_json::to_value(&trying).unwrap();
    assert_eq!((&json["state"], &json["cause"]), (&"recovering".into(), &"fault".into()));
}

#[test]
fn every_cause_has_the_word_that_its_json_has() {
    proptest!(|(cause in causes())| {
        prop_assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
    });
}

//! Coming back by a ticket: what it saves, and what a thief of one gains.

use std::time::{Duration, Instant};

use super::*;
use crate::tunnel::tickets::{TICKET_LIFE, Tickets};

const ID: TicketId = [5; 16];

/// What both ends keep of a finished handshake.
fn kept(scene: &Scene) -> (Ticket, Known) {
    let (credential, _, client, gateway) = scene.run(honest).unwrap();
    let Credential { proof, wishes, .. } = credential;
    (
        client.ticket(ID),
        Known { suite: gateway.suite, proof, wishes, secret: gateway.resume, round_trip: None },
    )
}

fn again(scene: &Scene, ticket: Ticket) -> (ClientHandshake, Vec<u8>) {
    let key = DecapsulationKey::generate().unwrap();
    ClientHandshake::resume(key, [1; 32], scene.client_exporter, &scene.client_suites, Some(ticket)).unwrap()
}

/// The gateway's side of a hello with a ticket, if the ticket is good.
fn answer(scene: &Scene, hello: &[u8], known: Known) -> Option<(Credential, Session, Vec<u8>)> {
    let hello = Hello::read(hello).ok()?;
    if hello.ticket() != Some(&ID) || !hello.fits(&known, Suite::ALL) {
        return None;
    }
    let (credential, answering) = hello.resume(known, scene.gateway_exporter.as_ref(), [2; 32]).unwrap();
    let (session, message) = answering.accept(&accepted()).unwrap();
    Some((credential, session, message))
}

/// The same as it was kept, for another try.
fn copy(known: &Known) -> Known {
    let Known { suite, proof, wishes, secret, round_trip } = known;
    Known {
        suite: *suite,
        proof: proof.clone(),
        wishes: wishes.clone(),
        secret: secret.clone(),
        round_trip: *round_trip,
    }
}

#[test]
fn a_client_comes_back_in_one_round_trip_to_what_it_was_with_keys_that_are_new() {
    for scene in [Scene::bound(), Scene::sealed()] {
        let (ticket, known) = kept(&scene);
        let (client, hello) = again(&scene, ticket);
        let (credential, gateway, message) = answer(&scene, &hello, copy(&known)).unwrap();
        assert_eq!(credential.wishes, known.wishes);
        let Welcome::Resumed(told, session) = client.receive(&message).unwrap() else {
            panic!("not resumed")
        };
        assert_eq!((told.ticket, session.id), (accepted().ticket, gateway.id));
        assert_eq!(session.mode, if scene.client_exporter.is_some() { Mode::Bound } else { Mode::Sealed });
        assert_ne!(*session.resume, *known.secret, "the next ticket has a secret of its own");
        assert_eq!(*session.resume, *gateway.resume);
    }
}

#[test]
fn a_gateway_that_knows_no_such_ticket_goes_on_with_the_whole_handshake() {
    let scene = Scene::bound();
    let (client, hello) = again(&scene, kept(&scene).0);
    let (_, hello) = scene.gateway(&hello).unwrap();
    assert!(matches!(client.receive(&hello).unwrap(), Welcome::Presented(_)));
}

#[test]
fn a_hello_with_a_ticket_and_any_byte_flipped_is_not_resumed() {
    let scene = Scene::bound();
    let (ticket, known) = kept(&scene);
    let (_, hello) = again(&scene, ticket);
    for position in 0..hello.len() {
        let mut altered = hello.clone();
        altered[position] ^= 1 << (position % 8);
        assert!(answer(&scene, &altered, copy(&known)).is_none(), "byte {position}");
    }
}

#[test]
fn an_answer_to_a_ticket_with_any_byte_flipped_is_refused() {
    let scene = Scene::sealed();
    let (ticket, known) = kept(&scene);
    let secret = ticket.secret.clone();
    let (client, hello) = again(&scene, ticket);
    let (_, _, message) = answer(&scene, &hello, copy(&known)).unwrap();
    drop(client);
    for position in 0..message.len() {
        let mut altered = message.clone();
        altered[position] ^= 1 << (position % 8);
        // A key of its own each time: what must refuse is the seal, under the secret and the transcript.
        let ticket = Ticket { id: ID, suite: known.suite, secret: secret.clone() };
        let (client, _) = again(&scene, ticket);
        assert!(client.having_sent(hello.clone()).receive(&altered).is_err(), "byte {position}");
    }
}

#[test]
fn a_ticket_without_its_secret_is_worth_nothing_and_is_not_used_up_by_a_thief() {
    let scene = Scene::sealed();
    let (ticket, known) = kept(&scene);
    let stolen = Ticket { secret: zeroize::Zeroizing::new([0; 32]), ..kept(&scene).0 };
    let (tickets, now) = (Tickets::default(), Instant::now());
    tickets.keep(ID, known, now);
    let (_, forged) = again(&scene, stolen);
    let forged = Hello::read(&forged).unwrap();
    assert!(tickets.redeem(&ID, now, |known| forged.fits(known, Suite::ALL)).is_none());
    let (_, hello) = again(&scene, ticket);
    let hello = Hello::read(&hello).unwrap();
    assert!(tickets.redeem(&ID, now, |known| hello.fits(known, Suite::ALL)).is_some());
}

#[test]
fn a_ticket_works_once_so_a_replayed_hello_leads_to_the_whole_handshake() {
    let scene = Scene::sealed();
    let (ticket, known) = kept(&scene);
    let (tickets, now) = (Tickets::default(), Instant::now());
    tickets.keep(ID, known, now);
    let (_, hello) = again(&scene, ticket);
    let hello = Hello::read(&hello).unwrap();
    let redeem = || tickets.redeem(&ID, now, |known| hello.fits(known, Suite::ALL));
    assert!(redeem().is_some());
    assert!(redeem().is_none());
    // A gateway that was started anew knows none at all.
    assert!(Tickets::default().redeem(&ID, now, |_| true).is_none());
}

#[test]
fn a_ticket_ends() {
    let scene = Scene::sealed();
    let (_, known) = kept(&scene);
    let (tickets, now) = (Tickets::default(), Instant::now());
    tickets.keep(ID, copy(&known), now);
    assert!(tickets.redeem(&ID, now + TICKET_LIFE, |_| true).is_none());
    assert!(
        tickets.redeem(&ID, now + TICKET_LIFE.saturating_sub(Duration::from_secs(1)), |_| true).is_some()
    );
}

#[test]
fn a_suite_that_is_not_allowed_any_more_is_not_resumed() {
    let scene = Scene::sealed();
    let (ticket, known) = kept(&scene);
    let (_, hello) = again(&scene, ticket);
    assert!(!Hello::read(&hello).unwrap().fits(&known, &[]));
}

#[test]
fn a_relay_cannot_answer_for_a_gateway_whose_secret_it_does_not_know() {
    let scene = Scene::sealed();
    let (ticket, known) = kept(&scene);
    let (client, hello) = again(&scene, ticket);
    // It accepts any binder, and answers under a secret of its own.
    let forged = Known { secret: zeroize::Zeroizing::new([9; 32]), ..copy(&known) };
    let (_, answering) = Hello::read(&hello).unwrap().resume(forged, None, [2; 32]).unwrap();
    let (_, message) = answering.accept(&accepted()).unwrap();
    assert!(matches!(
        error(client.receive(&message)),
        HandshakeError::Unopenable { message: "ResumedHello" }
    ));
    // Nor to a client that came without a ticket.
    let (client, _) = scene.client();
    assert!(matches!(
        error(client.receive(&message)),
        HandshakeError::Unopenable { message: "ResumedHello" }
    ));
}

#[test]
fn a_relay_that_takes_the_ticket_out_of_the_hello_is_caught_by_the_signatures() {
    let scene = Scene::bound();
    let (client, hello) = again(&scene, kept(&scene).0);
    let stripped = ClientHello { resume: None, ..ClientHello::decode(&hello).unwrap() }.encode().unwrap();
    let (_, answer) = scene.gateway(&stripped).unwrap();
    assert!(matches!(error(client.receive(&answer)), HandshakeError::WrongSignature(_)));
}

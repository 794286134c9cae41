//! A publisher that comes back over real TLS: by its ticket, once; and what is left when the ticket is no good.

use std::time::Duration;

use super::bed::{Door, Organisation, Running, http, publication, soon};
use crate::tunnel::client::Event;
use crate::tunnel::{Farewell, FarewellCode, Limits, Link};

fn cut(link: &Link) {
    link.close(Farewell { code: FarewellCode::Draining, grace: Duration::ZERO });
}

async fn resumed(publisher: &mut Running) -> bool {
    let event = publisher.event(|event| matches!(event, Event::Connected { .. })).await;
    matches!(event, Event::Connected { resumed: true, .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_link_is_cut_comes_back_by_its_ticket_again_and_again() {
    for behind_ingress in [false, true] {
        let identity = Organisation::new().gateway(1);
        let mut door = if behind_ingress {
            Door::open_behind_ingress(identity, Limits::default()).await
        } else {
            Door::open(identity, Limits::default()).await
        };
        let offer = publication(http("demo"), door.address);
        let mut publisher = Running::start(door.options(vec![offer]));
        let link = door.link().await;
        assert!(!resumed(&mut publisher).await);
        cut(&link);
        for _ in 0..2 {
            let registration = door.registration().await;
            assert!(registration.is_resumed());
            assert_eq!(registration.offers(), [http("demo")]);
            assert_eq!(registration.resume(), b"ticket", "it is the same publisher");
            let acceptance = super::bed::everything(&registration);
            let link = soon(registration.accept(acceptance)).await.unwrap();
            assert!(resumed(&mut publisher).await);
            cut(&link);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_trusted_any_more_is_not_gone_back_to_by_a_ticket() {
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let offer = publication(http("demo"), door.address);
    let mut publisher = Running::start(door.options(vec![offer]));
    let link = door.link().await;
    assert!(!resumed(&mut publisher).await);
    // Its line now names other keys: somebody has learned that these were stolen.
    let other = Organisation::new().gateway(2).certificate.fingerprint();
    std::fs::write(door.known_gateways(), format!("{} {other} other\n", door.gateway())).unwrap();
    cut(&link);
    assert!(soon(publisher.ended()).await.is_err());
}

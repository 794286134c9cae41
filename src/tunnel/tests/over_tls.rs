//! Publisher and gateway over real TLS on loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::net::TcpListener;

use super::bed::{Door, Organisation, Running, http, name, publication, soon};
use crate::tunnel::Limits;

/// A local app of the publisher; ends with the test's runtime.
pub(super) async fn app(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_local_app_and_its_answer_comes_back() {
    let app = app(Router::new().route("/hello", get(async || "hello from the app"))).await;
    let mut door = Door::open(Organisation::new().gateway(1), Limits::default()).await;
    let _publisher = Running::start(door.options(vec![publication(http("demo"), app)]));
    let registration = door.registration().await;
    assert_eq!(registration.credential(), "a token");
    assert_eq!(registration.offers(), [http("demo")]);
    assert!(!registration.sealed(), "both ends share one TLS connection");
    let acceptance = super::bed::everything(&registration);
    let link = soon(registration.accept(acceptance)).await.unwrap();

    let request = Request::get("https://demo.localhost/hello").body(Empty::<Bytes>::new()).unwrap();
    let response = soon(link.request(&name("demo"), request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, "hello from the app");
    assert_eq!(link.counters().requests, 1);
}

//! Apps that have TLS of their own towards the publisher: their certificate is looked at, and no request goes to one that is not theirs.

use axum::Router;
use axum::http::Request;
use axum::routing::any;

use super::app::App;
use super::world::World;

/// Says which HTTP it was asked in.
fn router() -> Router {
    let told = async |request: Request<axum::body::Body>| format!("{:?}", request.version());
    Router::new().route("/", any(told))
}

#[test]
fn an_app_with_a_certificate_that_leads_to_the_named_root_is_visited_by_the_http_that_was_named() {
    let world = World::start();
    let ca = world.path("app.pem");
    let app = App::web_by_tls(router(), "localhost", &ca);
    let ca = ca.to_string_lossy().into_owned();
    for (scheme, spoken) in [("https", "HTTP/1.1"), ("h2", "HTTP/2.0")] {
        let target = format!("{scheme}://localhost:{}", app.address().port());
        let mut publisher =
            world.publish_as("publisher", "open-app", &["http", &target, "--app-ca-file", &ca]);
        for version in ["--http1.1", "--http2"] {
            let answer = world
                .visit("open-app", "/")
                .by(&world, "visitor")
                .args(&[version, "--request", "POST", "--data", "hello"])
                .run();
            assert_eq!((answer.status, answer.text().as_str()), (200, spoken), "{version}");
        }
        assert!(publisher.stop().success());
    }
}

#[test]
fn an_app_whose_certificate_is_not_trusted_or_is_for_another_host_gets_no_request() {
    let world = World::start();
    let (own, other) = (world.path("app.pem"), world.path("other.pem"));
    let foreign = App::web_by_tls(router(), "localhost", &world.path("foreign.pem"));
    let misnamed = App::web_by_tls(router(), "other.example", &other);
    let _own = App::web_by_tls(router(), "localhost", &own);
    for scheme in ["https", "h2"] {
        for (app, ca) in [(&foreign, Some(&own)), (&foreign, None), (&misnamed, Some(&other))] {
            let target = format!("{scheme}://localhost:{}", app.address().port());
            let ca = ca.map(|ca| ca.to_string_lossy().into_owned());
            let named = ca.as_ref().map_or_else(Vec::new, |ca| vec!["--app-ca-file", ca.as_str()]);
            let what = [&["http", target.as_str()], named.as_slice()].concat();
            let mut publisher = world.publish_as("publisher", "open-app", &what);
            let refused = world.visit("open-app", "/").by(&world, "visitor").run();
            assert_eq!((refused.status, refused.problem().as_str()), (502, "app-unreachable"), "{what:?}");
            assert!(publisher.stop().success());
        }
    }
}

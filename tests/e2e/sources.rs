//! From where a tunnel may be visited, and the port at which it is.

use std::io::{Read as _, Write as _};

use super::app::App;
use super::curl::Curl;
use super::process::Process;
use super::world::World;

#[test]
fn a_tunnel_is_visited_from_where_the_operator_says_and_refusals_are_recorded() {
    let mut world = World::with().prepare();
    world.configure(
        "[[tunnel]]\nname = \"open-demo\"\nallow_from = \"127.0.0.8/30\"\ndeny_from = \"127.0.0.10\"\n\
         [[tunnel]]\nname = \"public-echo\"\ndeny_from = \"127.0.0.0/8\"\n",
    );
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");
    let url = format!("https://open-demo.localhost:{}/", world.port());
    let visit = |from: &str| Curl::to(&world, &url).by(&world, "visitor").args(&["--interface", from]).run();
    assert_eq!(visit("127.0.0.9").status, 200);
    for outside in ["127.0.0.10", "127.0.0.1"] {
        let refused = visit(outside);
        assert_eq!((refused.status, refused.problem().as_str()), (403, "source-denied"), "{outside}");
    }
    let refused = world.record("connection.refused", |record| record["details"]["reason"] == "source-denied");
    assert_eq!(refused["object"], "tunnel:open-demo");

    let app = App::that_echoes();
    let port = world.tcp_ports().0;
    let _echo = world.publish_as(
        "publisher",
        "public-echo",
        &["tcp", &app.address().to_string(), "--port", &port.to_string()],
    );
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _refused_already = socket.write_all(b"hello");
    let mut got = Vec::new();
    let _reset = socket.read_to_end(&mut got);
    assert_eq!(got, b"", "a denied visitor got bytes");
    world.record("connection.refused", |record| record["object"] == "tunnel:public-echo");
}

fn port_of(publisher: &mut Process) -> u16 {
    publisher.line("its port", |line| {
        let rest = line.split_once("tcp://localhost:")?.1;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    })
}

#[test]
fn a_tunnel_that_asks_for_no_port_has_the_same_again_also_from_a_gateway_that_was_away() {
    let mut world = World::start();
    let app = App::that_echoes();
    let address = app.address().to_string();
    let mut publisher = world.publish_as("publisher", "open-db", &["tcp", &address]);
    let port = port_of(&mut publisher);
    let (first, last) = world.tcp_ports();
    assert!((first..=last).contains(&port));
    assert!(publisher.stop().success());
    world.stop_gateway();
    world.start_gateway();
    let mut again = world.publish_as("publisher", "open-db", &["tcp", &address]);
    assert_eq!(port_of(&mut again), port);
    // Somebody who wants it is told that it is taken.
    let rival =
        world.cli("rival", &["publish", "tcp", &address, "--name", "open-dc", "--port", &port.to_string()]);
    assert_eq!(rival.code, 4, "{}", rival.err);
    assert!(rival.err.contains(&format!("port {port} is in use")), "{}", rival.err);
    world.record("tunnel.refused", |record| record["details"]["reason"] == "port-taken");
}

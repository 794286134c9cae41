//! How connections are protected: what is agreed on, what is refused, and what the records say of it.

use super::app::{App, RUNTIME, exchange};
use super::process::Process;
use super::world::World;

#[test]
fn the_records_of_sessions_and_tunnels_say_what_each_side_agreed_on() {
    let world = World::start();
    let _publisher = world.publish_demo("open-web");
    let app = App::that_answers_at_the_end(b"!".to_vec());
    let _tcp = world.publish_as("publisher", "open-db", &["tcp", &app.address().to_string()]);

    // Debian's curl doesn't know hybrid groups; our own client does.
    assert_eq!(world.visit("open-web", "/").by(&world, "visitor").run().status, 200);
    let mut command = world.client("visitor");
    command.args(["connect", "open-db"]);
    let mut connect = Process::start("connect", world.directory(), &mut command);
    let address: std::net::SocketAddr = connect.line("where the tunnel is", |line| {
        line.split(' ').find_map(|word| word.trim_end_matches(';').parse().ok())
    });
    RUNTIME.block_on(async { exchange(tokio::net::TcpStream::connect(address).await.unwrap(), b"?").await });

    let classical = world.record("session.opened", |record| record["object"] == "tunnel:open-web");
    let hybrid = world.record("session.opened", |record| record["object"] == "tunnel:open-db");
    let said = |record: &serde_json::Value| {
        let of = |name: &str| record["details"][name].clone();
        (of("tls_version"), of("tls_group"), of("tls_hybrid"), of("tunnel_post_quantum"))
    };
    assert_eq!(said(&classical), ("1.3".into(), "X25519".into(), false.into(), true.into()));
    assert_eq!(said(&hybrid), ("1.3".into(), "X25519MLKEM768".into(), true.into(), true.into()));
    for kind in ["tunnel.registered", "session.opened"] {
        let record = world.record(kind, |_| true);
        assert!(record["details"]["tls_suite"].as_str().unwrap().starts_with("TLS13_"), "{record}");
        let suite = record["details"]["tunnel_suite"].as_str().unwrap().to_owned();
        assert!(suite.contains("mldsa65") || suite.contains("ml-dsa-65"), "{suite}");
    }
    assert_eq!(world.record("tunnel.registered", |_| true)["details"]["tls_hybrid"], true);
}

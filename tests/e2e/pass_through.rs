//! TLS tunnels: the visitor's TLS is the app's own; a real nginx ends it.

use std::process::Command;

use super::curl::{Answer, Curl};
use super::fronts::free_port;
use super::patience::eventually;
use super::process::Process;
use super::world::{World, finish};

/// An nginx with a certificate for `host` that its own root signed, and a PROXY header expected of everybody.
struct Nginx {
    _process: Process,
    port: u16,
    certificate: std::path::PathBuf,
}

impl Nginx {
    fn start(world: &World, host: &str) -> Self {
        let (home, port) = (world.path("nginx"), free_port());
        std::fs::create_dir_all(&home).unwrap();
        let (certificate, key) = (home.join("own.pem"), home.join("own.key"));
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=the app's own", "-addext", &format!("subjectAltName=DNS:{host}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        let made = finish(&mut openssl);
        assert_eq!(made.code, 0, "{}", made.err);
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c;\n\
             uwsgi_temp_path {0}/d; scgi_temp_path {0}/e;\n\
             server {{ listen 127.0.0.1:{port} ssl proxy_protocol; ssl_certificate {0}/own.pem;\n\
             ssl_certificate_key {0}/own.key;\n\
             location / {{ return 200 \"$ssl_server_name from $proxy_protocol_addr\"; }} }} }}\n",
            home.display()
        );
        std::fs::write(home.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command
            .arg("-p")
            .arg(&home)
            .arg("-e")
            .arg(home.join("error.log"))
            .arg("-c")
            .arg(home.join("nginx.conf"));
        let process = Process::start("nginx", world.directory(), &mut command);
        eventually("nginx listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { _process: process, port, certificate }
    }

    fn publish(&self, world: &World, name: &str) -> Process {
        world.publish_as("publisher", name, &["tls", &self.port.to_string(), "--proxy-protocol", "v2"])
    }

    /// A visit by somebody who trusts this app's certificate alone.
    fn visit(&self, world: &World, host: &str) -> Answer {
        Curl::to(world, &format!("https://{host}:{}/", world.port()))
            .args(&["--cacert", &self.certificate.to_string_lossy(), "--interface", "127.0.0.9"])
            .run()
    }
}

#[test]
fn tls_goes_through_to_the_app_that_ends_it() {
    let world = World::with().set("tunnels.pass_through=allow").start();
    let nginx = Nginx::start(&world, "public-web.localhost");
    let mut publisher = nginx.publish(&world, "public-web");
    publisher.line("its address", |line| {
        line.contains(&format!("tls://public-web.localhost:{}", world.port())).then_some(())
    });
    let answer = nginx.visit(&world, "public-web.localhost");
    assert_eq!(answer.text(), "public-web.localhost from 127.0.0.9", "{}", answer.complaint);
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["details"]["protocol"], "tls");
    assert_eq!(opened["values"]["subject"], "user:anonymous");
    let closed = world.record("session.closed", |_| true);
    assert!(closed["details"]["bytes_down"].as_u64().unwrap() > 500, "{closed}");
    assert_eq!(world.records_of("http.request").len(), 0, "nobody can know of a request");
    // Every other name is the gateway's own TLS, as ever.
    assert_eq!(world.curl("/healthz").run().status, 200);
    let wrong = nginx.visit(&world, "other.localhost");
    assert!(wrong.complaint.contains("certificate"), "{}", wrong.complaint);
    // Also for whoever asks for one name outside and another inside, as a browser does that finds one certificate good for both: it is
    // told to make a connection of its own for the other.
    for version in ["--http1.1", "--http2"] {
        let host = format!("Host: public-web.localhost:{}", world.port());
        let inside = world.curl("/").header(&host).args(&[version]).run();
        assert_eq!((inside.status, inside.problem().as_str()), (421, "not-http"), "{version}");
    }
}

#[test]
fn policy_decides_about_a_tls_tunnel_as_about_a_port() {
    let world = World::with().set("tunnels.pass_through=allow").start();
    let nginx = Nginx::start(&world, "open-web.localhost");
    let _publisher = nginx.publish(&world, "open-web");
    let stranger = nginx.visit(&world, "open-web.localhost");
    assert_eq!(stranger.status, 0, "{}", stranger.text());
    let decided = world.record("access.decided", |record| record["object"] == "tunnel:open-web");
    assert_eq!(decided["result"], "denied");
    assert_eq!(world.records_of("session.opened").len(), 0);
    // Whoever is known goes in by `connect`, as into any TCP tunnel.
    let (_connect, address) = super::tcp::connect(&world, "visitor", "open-web");
    let answer = Curl::to(&world, &format!("https://open-web.localhost:{}/", address.port()))
        .args(&["--cacert", &nginx.certificate.to_string_lossy()])
        .run();
    assert!(answer.text().starts_with("open-web.localhost from 127."), "{}", answer.complaint);
    assert_eq!(world.record("session.opened", |_| true)["values"]["subject"], "user:visitor");
}

#[test]
fn a_gateway_that_passes_nothing_through_says_so_to_the_publisher() {
    let world = World::start();
    let refused = world.cli("publisher", &["publish", "tls", "1", "--name", "public-web"]);
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert!(refused.err.contains("tunnels.pass_through"), "{}", refused.err);
    world.record("tunnel.refused", |record| record["details"]["reason"] == "pass-through-off");
}

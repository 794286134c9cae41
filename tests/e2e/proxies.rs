//! Through the proxies of other people's networks: tinyproxy for HTTP CONNECT, microsocks for SOCKS5.

use std::process::Command;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::app::{App, RUNTIME, exchange, random, sha256};
use super::patience::eventually;
use super::process::Process;
use super::tcp::connect_by;
use super::world::{World, finish, next};

const USER: &str = "ann";
const PASSWORD: &str = "opensesame";

struct Proxy {
    process: Process,
    port: u16,
}

/// A port that nobody has now. The proxies cannot take one themselves and tell which.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Proxy {
    fn started(world: &World, port: u16, command: &mut Command) -> Self {
        let process = Process::start(&format!("proxy-{}", next()), world.directory(), command);
        eventually("the proxy listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port }
    }

    /// HTTP CONNECT, to `allowed` alone, for [`USER`] alone.
    fn http(world: &World, allowed: u16) -> Self {
        let port = free_port();
        let file = world.path(&format!("tinyproxy-{}.conf", next()));
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Connect\nBasicAuth {USER} {PASSWORD}\nConnectPort {allowed}\n"
        );
        std::fs::write(&file, text).unwrap();
        Self::started(world, port, Command::new("tinyproxy").arg("-d").arg("-c").arg(file))
    }

    /// SOCKS5, for [`USER`] alone.
    fn socks(world: &World) -> Self {
        let port = free_port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", USER, "-P", PASSWORD]);
        Self::started(world, port, &mut command)
    }
}

fn credentials(world: &World, password: &str) -> String {
    let file = world.path(&format!("credentials-{}", next()));
    std::fs::write(&file, format!("{USER}:{password}\n")).unwrap();
    file.to_string_lossy().into_owned()
}

fn told(process: &mut Process, name: &str) -> Value {
    process.line(name, |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == name).then_some(event)
    })
}

#[test]
fn publisher_visitor_and_calls_go_through_a_proxy_and_quic_says_that_it_cannot() {
    let world = World::with().set("gateway.quic=on").start();
    let proxies = [
        ("http", Proxy::http(&world, world.port())),
        ("socks5h", Proxy::socks(&world)),
        ("socks5", Proxy::socks(&world)),
    ];
    for (scheme, mut proxy) in proxies {
        let address = format!("{scheme}://127.0.0.1:{}", proxy.port);
        let file = credentials(&world, PASSWORD);
        let way = ["--proxy", address.as_str(), "--proxy-credentials-file", file.as_str()];
        let (up, down) = (random(1 << 20), random(1 << 20));
        let app = App::that_answers_at_the_end(down.clone());
        let what = ["tcp", &app.address().to_string(), "--transport", "quic,tls"];
        let mut publisher = world.publish_as("publisher", "open-db", &[&what[..], &way].concat());
        let fallback = told(&mut publisher, "fallback");
        assert!(fallback["reason"].as_str().unwrap().contains("passes TCP alone"), "{fallback}");
        let connected = told(&mut publisher, "connected");
        assert_eq!((&connected["transport"], &connected["proxy"]), (&"tls".into(), &address.as_str().into()));
        assert_eq!(connected["sealed"], false, "a proxy passes TLS as it is");
        let (_connect, local) = connect_by(&world, "visitor", &[&["open-db"], &way[..]].concat());
        let (hash, rest) =
            RUNTIME.block_on(async { exchange(TcpStream::connect(local).await.unwrap(), &up).await });
        assert_eq!(hash, sha256(&up));
        assert!(rest == down);
        world.ask("publisher", &[&["whoami"], &way[..]].concat());
        let doctor = world.cli("publisher", &[&["doctor"], &way[..]].concat());
        assert!(doctor.out.contains("ok     proxy"), "{}{}", doctor.out, doctor.err);
        // What the proxy carried it has told of, in its own words or by its end.
        proxy.process.kill();
        told(&mut publisher, "disconnected");
        assert!(publisher.stop().success());
        for text in [publisher.out(), publisher.err(), doctor.out, world.gateway_log()] {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        eventually("the name is free", || {
            (world.ask("admin", &["tunnels"]) == serde_json::json!([])).then_some(())
        });
    }
}

#[test]
fn the_environment_names_proxies_and_hosts_that_need_none() {
    let world = World::start();
    let proxy = Proxy::http(&world, world.port());
    let named = format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", proxy.port);
    let asked = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = world.client("publisher");
        command.args(["whoami"]).args(arguments).envs(variables.iter().copied());
        finish(&mut command)
    };
    let dead = "http://127.0.0.1:9";
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let well = asked(&[(variable, &named)], &[]);
        assert_eq!(well.code, 0, "{variable}: {}", well.err);
        let gone = asked(&[(variable, dead)], &[]);
        assert_eq!(gone.code, 3, "{variable}: {}", gone.err);
        assert!(gone.err.contains("the proxy http://127.0.0.1:9"), "{}", gone.err);
    }
    assert_eq!(asked(&[("HTTPS_PROXY", dead), ("NO_PROXY", "localhost")], &[]).code, 0);
    assert_eq!(asked(&[("HTTPS_PROXY", dead)], &["--proxy", "none"]).code, 0);
    assert_eq!(asked(&[("HTTP_PROXY", dead)], &[]).code, 0, "the gateway is not reached by plain HTTP");
}

#[test]
fn a_proxy_that_refuses_is_named_with_what_to_do_and_without_its_password() {
    let world = World::start();
    let away = free_port();
    let (http, elsewhere, socks) =
        (Proxy::http(&world, world.port()), Proxy::http(&world, away), Proxy::socks(&world));
    let (good, bad) = (credentials(&world, PASSWORD), credentials(&world, "wrong-secret"));
    let cases = [
        (format!("http://127.0.0.1:{}", http.port), Some(&bad), "unsuccessful"),
        (format!("http://127.0.0.1:{}", http.port), None, "proxy authorization required"),
        (format!("http://127.0.0.1:{}", elsewhere.port), Some(&good), "unsuccessful"),
        (format!("socks5h://127.0.0.1:{}", socks.port), Some(&bad), "SOCKS"),
        (format!("socks5h://127.0.0.1:{}", socks.port), None, "SOCKS"),
        (format!("http://127.0.0.1:{away}"), None, "underlying connection"),
    ];
    for (proxy, credentials, why) in cases {
        let mut command = world.client("publisher");
        command.args(["publish", "demo", "--name", "open-demo", "--give-up-after", "1", "--proxy", &proxy]);
        command.args(credentials.iter().flat_map(|file| ["--proxy-credentials-file", file]));
        let run = finish(&mut command);
        assert_eq!(run.code, 3, "{proxy}: {}{}", run.out, run.err);
        assert!(run.err.contains(why) && run.err.contains(&proxy), "{proxy}: {}", run.err);
        assert!(run.out.contains("--proxy-credentials-file"), "{}", run.out);
        assert!(!run.out.contains("secret") && !run.err.contains("secret"), "{}{}", run.out, run.err);
    }
    let told = world.cli("publisher", &["whoami", "--proxy", "http://ann:secret@127.0.0.1:1"]);
    assert_eq!(told.code, 2, "{}", told.err);
    assert!(told.err.contains("--proxy-credentials-file") && !told.err.contains("secret"), "{}", told.err);
}

#[test]
fn a_proxy_that_never_answers_is_given_up_in_time() {
    let world = World::start();
    let hole = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let proxy = format!("http://{}", hole.local_addr().unwrap());
    let mut command = world.client("publisher");
    command.args(["publish", "demo", "--name", "open-demo", "--give-up-after", "1", "--proxy", &proxy]);
    let run = finish(&mut command);
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.err.contains("did not finish connecting"), "{}", run.err);
}

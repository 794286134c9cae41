//! Large heads in a tunnel: what may be sent goes through whole, what may not is told so by the gateway, and neither costs anybody else
//! anything.

use super::app::{App, RUNTIME};
use super::process::Process;
use super::socket::said;
use super::world::World;

/// Tells how long a head was, sends one as long as is asked for, or holds its visitor.
fn app() -> App {
    App::that_answers_heads(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let long = path
            .strip_prefix("/send/")
            .and_then(|length| length.parse().ok())
            .map_or_else(String::new, |length: usize| format!("X-Long: {}\r\n", "y".repeat(length)));
        match path {
            "/hold" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nheld\n\r\n".to_owned(),
            _ => {
                let told = head.matches('x').count().to_string();
                let length = told.len();
                format!(
                    "HTTP/1.1 200 OK\r\n{long}Content-Length: {length}\r\nConnection: close\r\n\r\n{told}"
                )
            }
        }
    })
}

/// The answer to a request whose head has so many bytes, as the gateway counts them.
fn ask(world: &World, name: &str, bytes: usize) -> String {
    let (host, token) = (format!("{name}.localhost"), world.token("visitor"));
    let fields =
        [("Host", host.as_str()), ("Sallyport-Token", &token), ("Connection", "close"), ("X-Long", "")];
    let others: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let head: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let head = head.join("\r\n").trim_end().to_owned();
    let long = "x".repeat(bytes - others - "/".len());
    RUNTIME.block_on(said(world, &host, format!("GET / HTTP/1.1\r\n{head} {long}\r\n\r\n").as_bytes()))
}

/// Somebody whose answer is under way.
fn held(world: &World, name: &str) -> Process {
    let mut visit = world.visit(name, "/hold").by(world, "visitor").args(&["--no-buffer"]).start();
    visit.line("what it is held with", |line| (line == "held").then_some(()));
    visit
}

fn is_told(answer: &str, status: &str, code: &str) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("\"code\":\"{code}\""))
}

#[test]
fn a_head_as_large_as_may_be_goes_through_a_tunnel_and_one_that_is_larger_is_told_so() {
    for most in [65_536, 1 << 20] {
        let world = World::with().set(&format!("limits.header_bytes={most}")).start();
        let app = app();
        let _publisher = world.publish_http("open-app", app.address());
        let mut other = held(&world, "open-app");
        for bytes in [most / 4, most / 2, most] {
            let answer = ask(&world, "open-app", bytes);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{bytes} of {most}: {answer}");
            let xs: usize = answer.rsplit("\r\n").next().unwrap().parse().unwrap();
            assert!(xs >= bytes - 2000, "{xs} came of {bytes}");
        }
        let beyond = ask(&world, "open-app", most + 1);
        assert!(is_told(&beyond, "431", "head-too-large"), "{beyond}");
        assert!(other.ended().is_none(), "somebody else lost the tunnel: {}", other.out());
    }
}

#[test]
fn a_head_that_is_too_large_for_a_tunnel_with_what_its_rules_add_is_told_so() {
    let mut world = World::with().set("limits.header_bytes=1048576").prepare();
    let much = "z".repeat(70_000);
    world.configure(&format!("[[tunnel]]\nname = \"open-app\"\nrequest_headers = \"X-Much: {much}\"\n"));
    world.start_gateway();
    let app = app();
    let _publisher = world.publish_http("open-app", app.address());
    let mut other = held(&world, "open-app");
    assert!(ask(&world, "open-app", 500_000).starts_with("HTTP/1.1 200 "));
    let beyond = ask(&world, "open-app", 1 << 20);
    assert!(is_told(&beyond, "431", "head-too-large"), "{beyond}");
    assert!(other.ended().is_none(), "somebody else lost the tunnel: {}", other.out());
    let record = world.record("http.request", |record| record["details"]["status"] == 431);
    assert_eq!(record["object"], "tunnel:open-app");
}

#[test]
fn the_head_of_an_answer_goes_through_a_tunnel_as_large_as_the_publisher_reads_one() {
    let world = World::start();
    let app = app();
    let _publisher = world.publish_http("open-app", app.address());
    let mut other = held(&world, "open-app");
    let send = |bytes: usize| {
        let path = format!("/send/{bytes}");
        world.visit("open-app", &path).by(&world, "visitor").args(&["--http1.1"]).run()
    };
    // No more than curl reads in a line.
    for bytes in [50_000, 70_000, 95_000] {
        let answer = send(bytes);
        let long = answer.header("x-long").unwrap_or_default().len();
        assert_eq!((answer.status, long), (200, bytes), "{}", answer.complaint);
    }
    let refused = send(300_000);
    assert_eq!((refused.status, refused.problem().as_str()), (502, "app-unreachable"));
    assert!(other.ended().is_none(), "somebody else lost the tunnel: {}", other.out());
}

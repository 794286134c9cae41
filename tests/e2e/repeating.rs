//! An order whose answer is lost on the way is given again by `sallyport`, and carried out once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::patience::eventually;
use super::process::Process;
use super::world::{World, finish};

/// Stands between a client and the gateway. Of the first connection it keeps to itself whatever the gateway says once TLS
/// stands, until it is told to cut it.
struct Relay {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Relay {
    fn before(gateway: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, cut) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&cut);
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", gateway))) else {
                    return;
                };
                pass(&client, &server, (number == 0).then(|| Arc::clone(&told)));
            }
        });
        Self { port, cut }
    }
}

fn pass(client: &TcpStream, server: &TcpStream, cut: Option<Arc<AtomicBool>>) {
    let (keeps, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (keeping, begun, lossy) = (Arc::clone(&keeps), Arc::clone(&answered), cut.is_some());
    thread::spawn(move || {
        let mut buffer = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            keeping.store(lossy && begun.load(Ordering::SeqCst), Ordering::SeqCst);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if keeps.load(Ordering::SeqCst) {
                continue;
            }
            answered.store(true, Ordering::SeqCst);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    if let Some(cut) = cut {
        let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            eventually("the first connection is cut", || cut.load(Ordering::SeqCst).then_some(()));
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }
}

#[test]
fn an_order_whose_answer_was_lost_is_given_again_and_carried_out_once() {
    let world = World::start();
    let _publisher = world.publish_demo("demo");
    let relay = Relay::before(world.port());
    let mut command = world.client("visitor");
    command.env("SALLYPORT_GATEWAY", format!("https://localhost:{}", relay.port));
    command.args(["request", "demo", "--reason", "to look at it", "--minutes", "30", "--json"]);
    let mut asking = Process::start("asking", world.directory(), &mut command);
    // The gateway has done it, and the answer is kept back.
    let asked = world.record("access.requested", |_| true);
    relay.cut.store(true, Ordering::SeqCst);
    let ended = asking.wait();
    assert!(ended.success(), "{}", asking.err());
    assert!(
        asking.out().contains(asked["correlation"].as_str().unwrap()),
        "the answer of the first attempt: {}",
        asking.out()
    );
    assert_eq!(world.records_of("access.requested").len(), 1, "carried out once");
    let begun = world.records_of("admin.called");
    let begun = begun.iter().filter(|record| record["details"]["idempotency"] == "begun");
    assert_eq!(begun.count(), 1);
}

#[test]
fn an_order_that_never_left_is_told_at_once() {
    let world = World::start();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = world.client("visitor");
    command.env("SALLYPORT_GATEWAY", format!("https://localhost:{nobody}"));
    let run = finish(command.args(["request", "demo", "--reason", "to look at it"]));
    assert!(run.code != 0 && run.err.contains("cannot reach"), "{}", run.err);
    assert!(!run.err.contains("not known"), "nothing was sent: {}", run.err);
}

//! What must not be readable where it does not belong: tokens and PINs nowhere but in their own files, personal values not in
//! the ledger's.

use std::path::Path;

use super::world::World;

/// Files below `folder` that hold `text`.
pub(crate) fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path)
                && bytes.windows(text.len()).any(|window| window == text.as_bytes())
            {
                found.push(path.strip_prefix(&folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn tokens_and_pins_are_in_their_own_files_and_nowhere_else() {
    let mut world = World::with().set("log.level=trace").start();
    let publisher = world.publish_demo("demo");
    world.grant("demo");
    assert_eq!(world.visit("demo", "/?q=1").by(&world, "visitor").run().status, 200);
    assert_eq!(world.cli("visitor", &["login"]).code, 0);
    // Tokens that are refused are not written down either.
    let altered = world.token("visitor").replace('.', "-");
    world.visit("demo", "/").header(&format!("Authorization: Bearer {altered}")).run();
    drop(publisher);
    world.stop_gateway();
    for person in ["admin", "publisher", "visitor"] {
        let token = world.token(person);
        // The signature is what nobody else can make; the whole token is found by it.
        let signature = token.rsplit_once('.').unwrap().1;
        assert_eq!(holding(world.directory(), signature), [format!("{person}.token")]);
    }
    let altered_signature = altered.rsplit_once('-').unwrap().1;
    assert_eq!(holding(world.directory(), altered_signature), ["visitor.token"]);
    for name in ["user.pin", "so.pin"] {
        let pin = std::fs::read_to_string(world.state().join("secrets").join(name)).unwrap();
        assert_eq!(holding(world.directory(), pin.trim()), [name]);
    }
}

#[test]
fn who_asked_why_and_from_where_is_not_readable_in_the_ledgers_files() {
    let mut world = World::start();
    let publisher = world.publish_demo("demo");
    let asked = world.ask("visitor", &["request", "demo", "--reason", "the-reason-in-person"]);
    world.ask("admin", &["requests", "approve", asked["id"].as_str().unwrap()]);
    let visit = world
        .visit("demo", "/a-personal-path")
        .by(&world, "visitor")
        .header("User-Agent: agent-of-a-person")
        .run();
    assert_eq!(visit.status, 404);
    // A request's record is written behind it. An admin may read all of it.
    world.record("http.request", |_| true);
    let records = serde_json::to_string(&world.records()).unwrap();
    let personal =
        ["user:visitor", "the-reason-in-person", "/a-personal-path", "agent-of-a-person", "127.0.0.1:"];
    for value in personal {
        assert!(records.contains(value), "{value} is not recorded");
    }
    drop(publisher);
    world.stop_gateway();
    for value in personal {
        assert_eq!(
            holding(&world.state().join("ledger"), value),
            Vec::<String>::new(),
            "`{value}` is in clear"
        );
    }
}

#[test]
fn files_with_secrets_can_be_read_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::start();
    for file in ["secrets/user.pin", "secrets/so.pin", "tokens/admin.token", "sallyport.toml"] {
        let mode = std::fs::metadata(world.state().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    for folder in ["secrets", "keys", "tokens", "ledger"] {
        let mode = std::fs::metadata(world.state().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{folder} has mode {mode:o}");
    }
}

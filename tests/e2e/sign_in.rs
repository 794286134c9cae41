//! Signing in with a browser: the person's own credential never meets the tunnel's host, and what comes of it is short, bound
//! to one tunnel and one browser, and ends at once. Curl with a cookie jar is the browser; the provider is a real one.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::app::App;
use super::process::Process;
use super::world::{World, finish, next};

/// A browser with cookies of its own.
pub(crate) struct Browser<'w> {
    world: &'w World,
    jar: PathBuf,
}

/// Where a browser ended up.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) url: String,
    pub(crate) body: String,
    pub(crate) heads: String,
}

impl<'w> Browser<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, jar: world.path(&format!("jar-{}", next())) }
    }

    /// With the cookies that curl keeps in this file.
    pub(crate) fn with_jar(world: &'w World, jar: &str) -> Self {
        Self { world, jar: jar.into() }
    }

    /// The cookie of the session at a tunnel.
    pub(crate) fn session(&self, tunnel: &str) -> String {
        let jar = std::fs::read_to_string(&self.jar).unwrap();
        let host = format!("{tunnel}.localhost");
        let line = jar.lines().find(|line| line.contains(&host) && line.contains("__Host-sallyport\t"));
        line.unwrap_or_else(|| panic!("{jar}")).rsplit('\t').next().unwrap().to_owned()
    }

    /// Somebody who has signed in to the console with their token.
    pub(crate) fn at_the_console(world: &'w World, person: &str) -> Self {
        let browser = Self::new(world);
        let desk = format!("https://localhost:{}/console/sign-in", world.port());
        let arrived = browser.post(&desk, &[("token", &world.token(person))]);
        assert_eq!(
            (arrived.status, arrived.url.ends_with("/console/requests")),
            (200, true),
            "{}",
            arrived.body
        );
        browser
    }

    /// The mark of the forms of this session at the console.
    pub(crate) fn mark(&self) -> String {
        let page = self.open(&format!("https://localhost:{}/console/requests", self.world.port()));
        let mark = page.body.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        mark.unwrap_or_else(|| panic!("{}", page.body)).to_owned()
    }

    pub(crate) fn open(&self, url: &str) -> Seen {
        self.send(url, &["--location"])
    }

    /// One request, whatever it is answered.
    pub(crate) fn send(&self, url: &str, arguments: &[&str]) -> Seen {
        let heads = self.world.path(&format!("heads-{}", next()));
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--header", "Accept: text/html"]);
        command.arg("--cacert").arg(self.world.root()).arg("--dump-header").arg(&heads);
        command.arg("--cookie").arg(&self.jar).arg("--cookie-jar").arg(&self.jar);
        command.args(["--write-out", "\n%{http_code} %{url_effective}"]).args(arguments).arg(url);
        let run = finish(&mut command);
        let (body, end) = run.out.rsplit_once('\n').unwrap_or_else(|| panic!("{url}: {}", run.err));
        let (status, url) = end.split_once(' ').unwrap();
        let heads = std::fs::read_to_string(heads).unwrap_or_default();
        Seen { status: status.parse().unwrap(), url: url.to_owned(), body: body.to_owned(), heads }
    }

    pub(crate) fn post(&self, url: &str, form: &[(&str, &str)]) -> Seen {
        let form = serde_urlencoded::to_string(form).unwrap();
        let origin: String = url.split('/').take(3).collect::<Vec<_>>().join("/");
        self.send(url, &["--location", "--header", &format!("Origin: {origin}"), "--data", &form])
    }

    /// Opens a page of a tunnel without being known, and follows its link to the gateway's own page.
    pub(crate) fn to_the_desk(&self, tunnel: &str, path: &str) -> Seen {
        let origin = format!("https://{tunnel}.localhost:{}", self.world.port());
        let page = self.open(&format!("{origin}{path}"));
        assert_eq!(page.status, 401, "{}", page.body);
        assert!(!page.body.contains("<input"), "no page on the tunnel's host takes a token: {}", page.body);
        let desk = self.open(&format!("{origin}{}", page.link("/.sallyport/sign-in")));
        assert_eq!(desk.status, 200, "{}", desk.body);
        assert!(
            desk.url.starts_with(&format!("https://localhost:{}/sign-in/", self.world.port())),
            "{}",
            desk.url
        );
        desk
    }

    /// Shows a token at the desk.
    pub(crate) fn show(&self, desk: &Seen, token: &str) -> Seen {
        let action = format!("https://localhost:{}{}", self.world.port(), desk.link("/sign-in/"));
        self.post(&action, &[("token", token)])
    }
}

impl Seen {
    /// A header of the first answer that has it.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.heads.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// The first address in the page that begins so.
    fn link(&self, beginning: &str) -> String {
        let mut places = self.body.split('"').filter(|text| text.starts_with(beginning));
        let last = places.next_back().unwrap_or_else(|| panic!("no link {beginning}: {}", self.body));
        last.replace("&amp;", "&").replace("&#38;", "&")
    }
}

#[test]
fn a_token_is_shown_to_the_gateway_alone_and_becomes_a_session_of_one_tunnel() {
    let world = World::start();
    let app = App::for_answers();
    let _publisher = world.publish_http("open-demo", app.address());
    let _other = world.publish_demo("open-other");
    let browser = Browser::new(&world);
    let desk = browser.to_the_desk("open-demo", "/answer/200?x=1");
    let wrong = browser.show(&desk, "nonsense");
    assert_eq!(wrong.status, 401, "{}", wrong.body);
    let arrived = browser.show(&desk, &world.token("visitor"));
    assert_eq!(arrived.status, 200, "{}", arrived.body);
    let origin = format!("https://open-demo.localhost:{}", world.port());
    assert_eq!(arrived.url, format!("{origin}/answer/200?x=1"), "back where the visitor wanted to go");
    let set =
        arrived.heads.lines().find(|line| line.to_lowercase().starts_with("set-cookie: __host-sallyport="));
    let set = set.unwrap_or_else(|| panic!("{}", arrived.heads)).to_owned();
    for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    assert!(!set.contains(&world.token("visitor")), "the session is not the person's token");

    let cookie = set.split_once('=').unwrap().1.split(';').next().unwrap().to_owned();
    let with = |url: &str| {
        let header = format!("Cookie: __Host-sallyport={cookie}");
        Browser::new(&world).send(url, &["--header", &header]).status
    };
    assert_eq!(with(&format!("{origin}/answer/200")), 200);
    assert_eq!(with(&format!("https://open-other.localhost:{}/", world.port())), 403, "it is of one tunnel");
    let api = world.curl("/api/v1/whoami").header(&format!("Authorization: Bearer {cookie}")).run();
    assert_eq!(api.status, 401, "nor does it open the API");
    let person = world.token("visitor");
    let jar =
        Browser::new(&world).send(&origin, &["--header", &format!("Cookie: __Host-sallyport={person}")]);
    assert_eq!(jar.status, 401, "a person's own token is no cookie");

    let issued = world.record("token.issued", |record| record["details"]["purpose"] == "session");
    assert_eq!(issued["details"]["scope"], json!(["tunnel:open-demo", "connect"]));
    let signed_out = browser.post(&format!("{origin}/.sallyport/sign-out"), &[]);
    assert_eq!(signed_out.status, 401, "{}", signed_out.body);
    assert_eq!(with(&format!("{origin}/answer/200")), 401, "signing out ends it everywhere");
}

#[test]
fn a_code_works_once_in_the_browser_that_set_out_and_leads_nowhere_else() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let mallory = Browser::new(&world);
    let desk = mallory.to_the_desk("open-demo", "/");
    let action = format!("https://localhost:{}{}", world.port(), desk.link("/sign-in/"));
    let form = format!("token={}", world.token("visitor"));
    let origin = format!("Origin: https://localhost:{}", world.port());
    let send = || {
        let seen = mallory.send(&action, &["--header", &origin, "--data", &form]);
        let place = seen
            .heads
            .lines()
            .find_map(|line| line.strip_prefix("location: ").or_else(|| line.strip_prefix("Location: ")));
        place.unwrap_or_else(|| panic!("{}", seen.heads)).trim().to_owned()
    };
    // Mallory's own code, in somebody else's browser: nobody is signed in as Mallory unknowingly.
    let victim = Browser::new(&world);
    let _known = victim.to_the_desk("open-demo", "/");
    let crossed = victim.open(&send());
    assert_eq!(crossed.status, 400, "{}", crossed.body);
    let code = send();
    assert_eq!(mallory.open(&code).status, 200);
    let again = Browser { world: &world, jar: mallory.jar.clone() }.open(&code);
    assert_eq!(again.status, 400, "a second time");
    let foreign = mallory.send(&action, &["--header", "Origin: https://evil.example", "--data", &form]);
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    // Where to go afterwards is a path of the tunnel's own host, whatever was asked.
    let wild = mallory.open(&format!(
        "https://open-demo.localhost:{}/.sallyport/sign-in?to=https%3A%2F%2Fevil.example%2F",
        world.port()
    ));
    assert!(!wild.body.contains("evil.example") && !wild.url.contains("evil.example"), "{}", wild.url);
}

#[test]
fn a_session_in_a_browser_ends_with_the_token_that_began_it() {
    let world = World::start();
    let _publisher = world.publish_demo("open-demo");
    let browser = Browser::new(&world);
    let desk = browser.to_the_desk("open-demo", "/");
    assert_eq!(browser.show(&desk, &world.token("visitor")).status, 200);
    let url = format!("https://open-demo.localhost:{}", world.port());
    assert_eq!(browser.open(&url).status, 200);
    let tokens = world.ask("admin", &["tokens", "list"]);
    let own = |token: &&Value| token["subject"] == "user:visitor" && token["purpose"] == "access";
    let id = tokens.as_array().unwrap().iter().find(own).unwrap()["id"].as_str().unwrap().to_owned();
    world.ask("admin", &["tokens", "revoke", &id, "--reason", "laptop lost"]);
    assert_eq!(browser.open(&url).status, 401);
}

/// A certified provider, which `scripts/prepare test` has fetched.
fn provider(world: &World) -> (Process, String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oidc");
    assert!(
        folder.join("node_modules").exists(),
        "no provider in {}: run scripts/prepare test",
        folder.display()
    );
    let mut command = Command::new("node");
    command.current_dir(&folder).arg("provider.mjs");
    command.arg(format!("https://localhost:{}/oidc/callback", world.port()));
    let mut process = Process::start("provider", world.directory(), &mut command);
    let issuer =
        process.line("that the provider serves", |line| line.strip_prefix("ready ").map(str::to_owned));
    (process, issuer)
}

/// A gateway that knows this provider by the name `corp`, not yet started, and the provider.
fn with_provider() -> (World, Process, String) {
    let world = World::with().set("identity.session_minutes=7").prepare();
    let (provider, issuer) = provider(&world);
    let secret = world.path("client.secret");
    std::fs::write(&secret, "a secret: of the test/\n").unwrap();
    world.configure(&format!(
        "[[identity.issuer]]\nname = \"corp\"\nissuer = \"{issuer}\"\naudience = \"sallyport-api\"\n\
         roles = [\"eng=role:visitor\"]\nclient_id = \"sallyport\"\nclient_secret_file = \"{}\"\nscopes = \"\"\n",
        secret.display()
    ));
    (world, provider, issuer)
}

/// From the link at a desk through the provider's own pages, and back.
fn through_provider(browser: &Browser<'_>, issuer: &str, link: &str, who: &str) -> Seen {
    let login = browser.open(&format!("https://localhost:{}{link}", browser.world.port()));
    assert!(login.url.starts_with(issuer), "{} {}", login.status, login.url);
    let action = |seen: &Seen| {
        let action = seen.body.split('"').find(|text| text.contains("/interaction/")).unwrap().to_owned();
        if action.starts_with("http") { action } else { format!("{issuer}{action}") }
    };
    let consent = browser.post(&action(&login), &[("prompt", "login"), ("login", who), ("password", "any")]);
    assert!(consent.url.starts_with(issuer), "{} {}", consent.status, consent.url);
    browser.post(&action(&consent), &[("prompt", "consent")])
}

#[test]
fn somebody_signs_in_at_a_real_provider_and_the_session_ends_with_a_lock() {
    let (mut world, _provider, issuer) = with_provider();
    world.start_gateway();
    let _publisher = world.publish_demo("open-demo");

    let sign_in = |browser: &Browser<'_>, who: &str| {
        let desk = browser.to_the_desk("open-demo", "/");
        through_provider(browser, &issuer, &desk.link("/sign-in/open-demo/corp"), who)
    };

    let browser = Browser::new(&world);
    let arrived = sign_in(&browser, "eng-eve");
    assert_eq!(arrived.status, 200, "{} {}", arrived.url, arrived.body);
    let origin = format!("https://open-demo.localhost:{}/", world.port());
    assert_eq!(arrived.url, origin);
    let opened = world.record("session.opened", |_| true);
    assert_eq!(opened["values"]["subject"], "user:corp+eng-eve");
    assert_eq!(opened["details"]["claimed_roles"], json!(["role:visitor"]));
    let session = world.record("token.issued", |record| record["details"]["purpose"] == "session");
    assert!(session["details"]["with_key"].as_str().is_some_and(|key| key.len() == 32), "{session}");

    // Somebody whom the provider knows, but whose groups give nothing here.
    let other = Browser::new(&world);
    let refused = sign_in(&other, "max");
    assert_eq!(refused.status, 403, "{} {}", refused.url, refused.body);

    // An answer that belongs to no sign-in of this browser.
    for query in ["state=guess&code=x", "", "error=access_denied&state=guess"] {
        let callback = format!("https://localhost:{}/oidc/callback?{query}", world.port());
        assert_eq!(other.open(&callback).status, 400, "{query}");
    }
    world.ask("admin", &["lock", "user:corp+eng-eve", "--reason", "left"]);
    assert_eq!(browser.open(&origin).status, 401);
    let log = world.gateway_log();
    assert!(!log.contains("a secret: of the test/") && !log.contains("a+secret"), "no secret in the log");
}

#[test]
fn somebody_signs_in_to_the_console_at_a_real_provider_and_the_cookie_is_the_hosts_own_and_short_lived() {
    let (mut world, _provider, issuer) = with_provider();
    world.start_gateway();
    let _publisher = world.publish_demo("demo");
    let gateway = format!("https://localhost:{}", world.port());
    let browser = Browser::new(&world);
    let desk = browser.open(&format!("{gateway}/console/grants"));
    assert!(desk.url.starts_with(&format!("{gateway}/console/sign-in?")), "{}", desk.url);
    let arrived = through_provider(&browser, &issuer, &desk.link("/console/sign-in/corp"), "eng-eve");
    assert_eq!((arrived.status, arrived.url.as_str()), (200, &*format!("{gateway}/console/grants")));
    assert!(arrived.body.contains("user:corp+eng-eve"), "{}", arrived.body);

    let mut cookies = arrived.heads.lines().filter(|line| line.to_lowercase().starts_with("set-cookie: "));
    let cookie = cookies.find(|line| line.contains("__Host-sallyport-console=")).unwrap().to_owned();
    let (pair, rest) = cookie.split_once(": ").unwrap().1.split_once("; ").unwrap();
    let parts: Vec<&str> = rest.trim().split("; ").collect();
    for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(parts.contains(&part), "{part}: {cookie}");
    }
    assert!(!rest.contains("Domain"), "{cookie}");
    let life = parts.iter().find_map(|part| part.strip_prefix("Max-Age=")).unwrap();
    let life: i64 = life.parse().unwrap();
    assert!(
        (1..=7 * 60).contains(&life),
        "the browser keeps it no longer than the session is good: {cookie}"
    );
    // And if a browser kept it longer: the gateway itself knows when it ends.
    let token = world.record("token.issued", |record| record["values"]["target"] == "user:corp+eng-eve");
    let time = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let whole = time(&token["details"]["expires"]).duration_since(time(&token["time"])).as_secs();
    assert!((1..=7 * 60).contains(&whole), "{token}");
    assert_eq!(token["details"]["purpose"], "session");
    assert!(token["details"]["with_key"].as_str().is_some_and(|key| key.len() == 32), "{token}");

    // What the provider vouched for is what policy knows of them.
    assert_eq!(browser.open(&format!("{gateway}/console/ledger")).status, 403);
    let value = pair.split_once('=').unwrap().1;
    let api = world.curl("/api/v1/whoami").header(&format!("Authorization: Bearer {value}")).run();
    assert_eq!(api.status, 401, "it is no token of the API");
    let tunnel = format!("https://demo.localhost:{}/", world.port());
    let header = format!("Cookie: __Host-sallyport={value}");
    let at_tunnel = Browser::new(&world).send(&tunnel, &["--header", &header]);
    assert_eq!(at_tunnel.status, 401, "nor of a tunnel");

    // Only in the browser that set out, and only for who comes from the provider that was asked.
    let other = Browser::new(&world);
    let begun = other.send(&format!("{gateway}/console/sign-in/corp"), &[]);
    let state = begun.header("location").unwrap();
    let state = state.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let stolen = browser.open(&format!("{gateway}/oidc/callback?state={state}&code=x"));
    assert_eq!(stolen.status, 400, "{}", stolen.body);
    assert_eq!(other.send(&format!("{gateway}/console/sign-in/nobody"), &[]).status, 400);

    world.ask("admin", &["lock", "user:corp+eng-eve", "--reason", "left"]);
    let locked = browser.open(&format!("{gateway}/console/grants"));
    assert!(locked.url.starts_with(&format!("{gateway}/console/sign-in?")), "{}", locked.url);
}

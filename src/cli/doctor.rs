//! `sallyport doctor`: the way to a gateway, one step after another, so that the first that fails is the one to mend.
//!
//! Each step uses what the other commands use, and is told with how long it took. The last two publish the demo app under a
//! name of your choice and visit it through the gateway; what the steps do is recorded there like everything else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::api::Api;
use super::demo_app;
use super::failure::{ExitCode, Failure, chain};
use super::out::say;
use super::profile::{Connection, Profile};
use super::publish::{dial_failure, gateway, publish_failure, publisher, roots};
use crate::clock;
use crate::tunnel::client::{
    Backoff, Event, Publication, PublishError, Target, reach_by_quic, reach_by_websocket, tls_config_showing,
};
use crate::tunnel::{Offer, Secret, TunnelKind, TunnelName};

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is read of an answer.
const LARGEST_ANSWER: usize = 1 << 20;

/// Test the way to the gateway step by step, and say what to do
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Also publish the demo app under this name, and visit it through the gateway
    #[arg(long)]
    pub name: Option<String>,
}

/// Runs it.
pub(super) async fn run(connection: &Connection, doctor: &Doctor) -> Result<(), Failure> {
    let profile = connection.profile()?;
    let name = doctor.name.as_deref().map(TunnelName::parse).transpose();
    let name = name.map_err(|error| Failure::new(ExitCode::Usage, error.to_string(), error.hint()))?;
    let told = Told { json: connection.json };
    if let Some(proxy) = profile.proxies.shown(&gateway(&profile)?) {
        // The gateway's name and address are the proxy's business.
        told.step("proxy", through_proxy(&profile, &proxy)).await?;
    } else {
        let addresses = told.step("name", resolve(&profile)).await?;
        told.step("connect", reach(&profile, &addresses)).await?;
    }
    let stream = told.step("tls", secure(&profile)).await?;
    told.step("quic", by_quic(&profile)).await?;
    told.step("gateway", ask_readiness(&profile, stream)).await?;
    told.step("websocket", by_websocket(&profile)).await?;
    told.step("authentication", who_am_i(&profile)).await?;
    if let Some(name) = name {
        let (mut publishing, refused) = told.step("handshake", shake_hands(&profile, &name)).await?;
        let visited = told.step("tunnel", through(&profile, &mut publishing, refused)).await;
        publishing.end().await;
        visited?;
    }
    Ok(())
}

/// Something to go on with, and a word on it.
type Step<T> = Result<(T, String), Failure>;

struct Told {
    json: bool,
}

impl Told {
    /// Takes a step and tells of it. The first that fails is the last.
    async fn step<T>(&self, what: &'static str, step: impl Future<Output = Step<T>>) -> Result<T, Failure> {
        let began = clock::monotonic();
        let outcome = tokio::time::timeout(PATIENCE, step).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Failure::new(
                ExitCode::Unreachable,
                message,
                "is something on the way that swallows what it should pass or refuse?",
            ))
        });
        self.tell(what, began, &outcome);
        outcome
            .map(|(value, _)| value)
            .map_err(|failure| Failure { message: format!("{what}: {}", failure.message), ..failure })
    }

    fn tell<T>(&self, what: &'static str, began: Instant, outcome: &Step<T>) {
        let took = began.elapsed().as_millis();
        let word = outcome.as_ref().map_or("failed", |(_, word)| word.as_str());
        if self.json {
            let line = json!({ "step": what, "ok": outcome.is_ok(), "took_ms": u64::try_from(took).unwrap_or(u64::MAX), "detail": word });
            say(format_args!("{line}"));
        } else {
            say(format_args!(
                "{} {what:<15}{took:>6} ms  {word}",
                if outcome.is_ok() { "ok    " } else { "FAILED" }
            ));
        }
    }
}

async fn resolve(profile: &Profile) -> Step<Vec<SocketAddr>> {
    let host = (profile.host.as_str(), profile.port);
    let hint = "check the name in the gateway's address, and this machine's name server";
    let found: Vec<SocketAddr> = tokio::net::lookup_host(host)
        .await
        .map_err(|error| {
            Failure::new(ExitCode::Unreachable, format!("`{}` has no address: {error}", profile.host), hint)
        })?
        .collect();
    let listed: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    Ok((found, format!("{} is {}", profile.host, listed.join(", "))))
}

/// Tries each address: one of several that is dead makes every connection slow.
async fn reach(profile: &Profile, addresses: &[SocketAddr]) -> Step<()> {
    let (good, bad) = try_each(addresses, PATIENCE / 4).await;
    if good.is_empty() {
        let message = format!("port {} cannot be reached: {}", profile.port, bad.join("; "));
        return Err(Failure::new(
            ExitCode::Unreachable,
            message,
            "does the gateway run, and may this network reach that port?",
        ));
    }
    Ok(((), good.into_iter().chain(bad).collect::<Vec<_>>().join("; ")))
}

/// What is to be said of those that answer within `patience`, and of the others. All at once: however many are dead, there is time for
/// the last.
async fn try_each(addresses: &[SocketAddr], patience: Duration) -> (Vec<String>, Vec<String>) {
    let trying = addresses.iter().map(async |address| {
        let began = clock::monotonic();
        match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(format!("{address} in {} ms", began.elapsed().as_millis())),
            Ok(Err(error)) => Err(format!("{address} does not answer: {error}")),
            Err(_) => Err(format!("{address} does not answer")),
        }
    });
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for outcome in join_all(trying).await {
        match outcome {
            Ok(word) => good.push(word),
            Err(word) => bad.push(word),
        }
    }
    (good, bad)
}

async fn through_proxy(profile: &Profile, proxy: &str) -> Step<()> {
    profile.proxies.connect(&gateway(profile)?, PATIENCE).await.map_err(|error| dial_failure(&error))?;
    Ok(((), format!("{proxy} leads to {}", profile.authority())))
}

async fn secure(profile: &Profile) -> Step<TlsStream<TcpStream>> {
    let stream = tls(profile, &profile.host).await?;
    let session = stream.get_ref().1;
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("?");
    let group = session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    let group = group.unwrap_or_else(|| "?".to_owned());
    Ok((stream, format!("{version} with {group}, the certificate is good")))
}

/// No failure where it does not pass: publishers fall back to TCP, and this says what they would say.
async fn by_quic(profile: &Profile) -> Step<()> {
    let config = tls_config_showing(&roots(profile), profile.certificate.as_ref())
        .map_err(|error| dial_failure(&error))?;
    let word = match reach_by_quic(&gateway(profile)?, (&config, &profile.proxies), PATIENCE / 5).await {
        Ok(address) => format!("UDP passes to {address}: --transport quic,tls,websocket may be used"),
        Err(error) => format!("not here, so publishers use TCP ({error})"),
    };
    Ok(((), word))
}

async fn by_websocket(profile: &Profile) -> Step<()> {
    let config = tls_config_showing(&roots(profile), profile.certificate.as_ref())
        .map_err(|error| dial_failure(&error))?;
    let way = (&config, &profile.proxies);
    reach_by_websocket(&gateway(profile)?, way, PATIENCE).await.map_err(|error| dial_failure(&error))?;
    Ok(((), "it passes, should nothing else do so".to_owned()))
}

async fn tls(profile: &Profile, host: &str) -> Result<TlsStream<TcpStream>, Failure> {
    let failed = |message: String, hint: &str| Failure::new(ExitCode::Unreachable, message, hint);
    let config = tls_config_showing(&roots(profile), profile.certificate.as_ref())
        .map_err(|error| dial_failure(&error))?;
    let tcp =
        profile.proxies.connect(&gateway(profile)?, PATIENCE).await.map_err(|error| dial_failure(&error))?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| failed(format!("`{host}` is no host name"), "check the gateway's address"))?;
    tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(|error| {
        let why = chain(&error);
        let hint = if why.contains("UnknownIssuer") {
            "who signed the certificate is not known here: give the gateway's root with --ca-file; if it is a public gateway, something on the way opens TLS"
        } else if why.contains("NotValidForName") {
            "the certificate is another host's: check the gateway's address"
        } else if why.contains("Expired") {
            "the certificate's time is over: is this machine's clock right? then the operator must renew it"
        } else {
            "is this port a gateway's, and does something on the way open TLS or refuse TLS 1.3?"
        };
        failed(format!("TLS with {host} failed: {why}"), hint)
    })
}

async fn ask_readiness(profile: &Profile, stream: TlsStream<TcpStream>) -> Step<()> {
    let request = Request::builder().uri("/readyz").header(HOST, profile.authority());
    let (status, body) = exchange(stream, request).await?;
    let text = String::from_utf8_lossy(&body).trim().replace('\n', ", ");
    match status {
        StatusCode::OK => Ok(((), text)),
        StatusCode::SERVICE_UNAVAILABLE => Err(Failure::new(
            ExitCode::Failed,
            format!("the gateway opens no sessions: {text}"),
            "its operator finds the reason in its log",
        )),
        other => Err(Failure::new(
            ExitCode::Unreachable,
            format!("this is no gateway: it answered {other} to /readyz"),
            "check host and port of the gateway's address",
        )),
    }
}

async fn exchange(
    stream: TlsStream<TcpStream>,
    request: http::request::Builder,
) -> Result<(StatusCode, Bytes), Failure> {
    let failed = |why: String| {
        let hint = "does something on the way speak for the gateway?";
        Failure::new(ExitCode::Unreachable, format!("no HTTP answer: {why}"), hint)
    };
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(chain(&error)))?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| failed(chain(&error)))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    driver.abort();
    Ok((status, body.map_err(|error| failed(error.to_string()))?.to_bytes()))
}

async fn who_am_i(profile: &Profile) -> Step<()> {
    let told: Value = Api::new(profile).get("/api/v1/whoami").await?;
    let text = |name: &str| told.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    Ok(((), format!("{} of {}, until {}", text("subject"), text("tenant"), text("expires"))))
}

/// A publisher of the demo app at work; it ends with this.
struct Publishing {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<Result<(), PublishError>>,
    stop: DropGuard,
}

impl Publishing {
    async fn start(profile: &Profile, name: &TunnelName) -> Result<Self, Failure> {
        let failed = |message: String| Failure::new(ExitCode::Failed, message, "");
        let app =
            demo_app::start().await.map_err(|error| failed(format!("the demo app cannot start: {error}")))?;
        let target =
            Target::parse(&app.to_string()).ok_or_else(|| failed(format!("`{app}` is no target")))?;
        let offer = Offer { name: name.clone(), kind: TunnelKind::Http, join: false };
        let secret = profile.token_if_needed()?.map_or(Secret::Certificate, Secret::Token);
        let publication = Publication { offer, target, health: None };
        let publisher = publisher(profile, secret, vec![publication], |options| {
            options.backoff = Backoff { give_up_after: Some(1), ..Backoff::default() };
        })?;
        let (sender, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { Box::pin(publisher.run(sender, stopped)).await });
        Ok(Self { events, task, stop: stop.drop_guard() })
    }

    /// Says goodbye, so that the name is free at once: it is kept for a publisher that just vanishes.
    async fn end(self) {
        drop(self.stop);
        // It may have ended by itself, and have been heard.
        if self.task.is_finished() {
            return;
        }
        let _said = tokio::time::timeout(PATIENCE / 5, self.task).await;
    }

    /// The first event that says something to `wanted`, or why there is none.
    async fn event<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Option<PublishError>> {
        while let Some(event) = self.events.recv().await {
            if let Some(found) = wanted(event) {
                return Ok(found);
            }
        }
        // The publisher says why, better than this could.
        Err((&mut self.task).await.ok().and_then(Result::err))
    }
}

fn ended(error: Option<&PublishError>) -> Failure {
    let unsaid = || Failure::new(ExitCode::Failed, "the publisher ended", "");
    error.map_or_else(unsaid, publish_failure)
}

/// The handshake of a publisher of the demo app. If it went well and the gateway refuses to publish, that is for the next step to say.
async fn shake_hands(profile: &Profile, name: &TunnelName) -> Step<(Publishing, Option<Failure>)> {
    let mut publishing = Publishing::start(profile, name).await?;
    let connected = publishing.event(|event| match event {
        Event::Connected { identity, suite, mode, transport, .. } => {
            let sealed = mode == crate::tunnel::handshake::Mode::Sealed;
            let between = if sealed { ", sealed: something on the way ends TLS" } else { "" };
            Some(format!("{identity} by {transport} ({}{between})", suite.name()))
        }
        _ => None,
    });
    match connected.await {
        Ok(word) => Ok(((publishing, None), word)),
        Err(Some(PublishError::Refused(error))) if error.refusal().is_some() => {
            let word = "the gateway has shown who it is, and answered under seal".to_owned();
            Ok(((publishing, Some(dial_failure(&error))), word))
        }
        Err(error) => Err(ended(error.as_ref())),
    }
}

/// Waits for its tunnel, and visits it.
async fn through(profile: &Profile, publishing: &mut Publishing, refused: Option<Failure>) -> Step<()> {
    if let Some(refused) = refused {
        return Err(refused);
    }
    let registered = publishing.event(|event| match event {
        Event::Registered { url, .. } => Some(url),
        _ => None,
    });
    let url = registered.await.map_err(|error| ended(error.as_ref()))?;
    let status = visit(profile, &url).await?;
    Ok(((), format!("{url} answered {status}")))
}

async fn visit(profile: &Profile, url: &str) -> Result<StatusCode, Failure> {
    let authority = url.trim_start_matches("https://");
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let mut request = Request::builder().uri("/").header(HOST, authority);
    if let Some(token) = profile.token_if_needed()? {
        request = request.header("sallyport-token", token.expose_secret());
    }
    let (status, body) = exchange(tls(profile, host).await?, request).await?;
    judge(url, status, &body)
}

/// Whatever the app or policy answers shows that the way is open; what the gateway says of the tunnel itself does not.
fn judge(url: &str, status: StatusCode, body: &[u8]) -> Result<StatusCode, Failure> {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of_gateway = text("type").starts_with("urn:sallyport:error:");
    let of_policy = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if status.is_server_error() || of_gateway && !of_policy {
        return Err(Failure::new(
            ExitCode::Failed,
            format!("{url} answered {status}: {}", text("detail")),
            text("hint"),
        ));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn an_address_that_answers_is_found_however_many_before_it_are_dead() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let dead = full.local_addr().unwrap();
        // Whoever comes to a queue that is full is dropped by the system.
        let mut waiting = Vec::new();
        while let Ok(taken) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(dead)).await
        {
            waiting.push(taken.unwrap());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let patience = Duration::from_millis(500);
        let began = clock::monotonic();
        let addresses = [dead, dead, dead, dead, listener.local_addr().unwrap()];
        let (good, bad) = try_each(&addresses, patience).await;
        assert_eq!((good.len(), bad.len()), (1, 4), "{good:?} {bad:?}");
        assert!(began.elapsed() < patience * 3, "one waited for the other: {:?}", began.elapsed());
    }

    #[test]
    fn the_way_is_open_if_app_or_policy_answers_and_not_if_the_gateway_knows_no_tunnel_or_has_enough() {
        let own =
            |code: &str| format!(r#"{{"type":"urn:sallyport:error:{code}","detail":"no","hint":"try"}}"#);
        let is_open = |status: u16, body: &str| {
            judge("https://x", StatusCode::from_u16(status).unwrap(), body.as_bytes()).is_ok()
        };
        assert!(
            is_open(200, "") && is_open(404, "no such page") && is_open(429, r#"{"type":"about:blank"}"#)
        );
        assert!(is_open(401, &own("not-signed-in")) && is_open(403, &own("not-allowed")));
        assert!(!is_open(404, &own("unknown-name")) && !is_open(429, &own("too-many-requests")));
        assert!(!is_open(503, "") && !is_open(502, &own("app-unreachable")));
    }
}

//! Looks whether the local apps are well, and tells the gateway, which then sends visitors elsewhere or tells them at once.
//!
//! What decides is a pure count of good and bad looks; the looking is a connection, or a request that must be answered with 2xx
//! or 3xx. An app counts as well until it has failed often enough.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::uri::PathAndQuery;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::origin::{Publication, ResponseBody};
use super::reach::reach;
use super::target::Target;
use crate::tunnel::health::AppReport;
use crate::tunnel::{FarewellCode, TunnelName};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// That it takes a connection.
    Connect,
    /// That it answers this path with 2xx or 3xx.
    Get(PathAndQuery),
}

/// How an app is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What to look at.
    pub probe: Probe,
    /// How often; also how long one look may take.
    pub every: Duration,
    /// Bad looks in a row until it counts as unwell.
    pub failures: u32,
    /// Good ones until it counts as well again.
    pub successes: u32,
}

/// Counts looks.
struct Judgement {
    failures: u32,
    successes: u32,
    well: bool,
    against: u32,
}

impl Judgement {
    fn new(check: &HealthCheck) -> Self {
        Self { failures: check.failures.max(1), successes: check.successes.max(1), well: true, against: 0 }
    }

    /// Hears of one look. `true` if the app counts as something else from now on.
    fn hear(&mut self, good: bool) -> bool {
        if good == self.well {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let changes = self.against >= if self.well { self.failures } else { self.successes };
        if changes {
            (self.well, self.against) = (good, 0);
        }
        changes
    }
}

/// What is known of all apps.
type Known = BTreeMap<TunnelName, AppReport>;

/// Looks after apps until it is dropped.
pub(super) struct Watch {
    known: watch::Receiver<Known>,
    looking: JoinSet<()>,
}

impl Watch {
    /// Begins to look after those that have a check.
    pub(super) fn start(publications: &[Publication], tls: &rustls::ClientConfig) -> Self {
        let well = |one: &Publication| {
            let name = one.offer.name.clone();
            (name.clone(), AppReport { tunnel: name, well: true, why: String::new() })
        };
        let checked = || publications.iter().filter_map(|one| Some((one, one.health.clone()?)));
        let (tell, known) = watch::channel(checked().map(|(one, _)| well(one)).collect::<Known>());
        let tell = Arc::new(tell);
        let mut looking = JoinSet::new();
        for (one, check) in checked() {
            let (name, target, tell) = (one.offer.name.clone(), one.target.clone(), Arc::clone(&tell));
            let mut tls = tls.clone();
            tls.alpn_protocols =
                vec![if target.protocol.is_http2() { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
            looking.spawn(look_after(name, target, check, TlsConnector::from(Arc::new(tls)), tell));
        }
        Self { known, looking }
    }

    /// Whether any is looked after.
    pub(super) fn is_idle(&self) -> bool {
        self.looking.is_empty()
    }

    /// A line for each app, and for each change that follows, until either end says goodbye: a stream that is open would hold
    /// up a connection that is to end.
    pub(super) fn lines(
        &self,
        ends: (watch::Receiver<Option<FarewellCode>>, CancellationToken),
    ) -> ResponseBody {
        let start = (self.known.clone(), Known::new(), ends);
        let lines = unfold(start, |(mut known, told, (mut farewell, leaving))| async move {
            loop {
                let now = known.borrow_and_update().clone();
                let mut text = String::new();
                for report in now.values().filter(|report| told.get(&report.tunnel) != Some(report)) {
                    text.push_str(&serde_json::to_string(report).ok()?);
                    text.push('\n');
                }
                if !text.is_empty() {
                    let line = Ok(Frame::data(Bytes::from(text)));
                    return Some((line, (known, now, (farewell, leaving))));
                }
                tokio::select! {
                    changed = known.changed() => changed.ok()?,
                    () = leaving.cancelled() => return None,
                    _ = farewell.changed() => return None,
                }
            }
        });
        StreamBody::new(lines).boxed_unsync()
    }
}

async fn look_after(
    name: TunnelName,
    target: Target,
    check: HealthCheck,
    tls: TlsConnector,
    tell: Arc<watch::Sender<Known>>,
) {
    let mut judgement = Judgement::new(&check);
    loop {
        let look = tokio::time::timeout(check.every, look((&target, &tls), &check.probe, check.every)).await;
        let seen = look.unwrap_or_else(|_| Err("late".to_owned()));
        if judgement.hear(seen.is_ok()) {
            let why = seen.err().unwrap_or_default();
            tracing::info!(tunnel = %name, well = judgement.well, why, "the local app's health changed");
            let report = AppReport { tunnel: name.clone(), well: judgement.well, why };
            tell.send_modify(|known| drop(known.insert(name.clone(), report)));
        }
        tokio::time::sleep(check.every).await;
    }
}

/// One look; the word says what was wrong.
async fn look(
    (target, tls): (&Target, &TlsConnector),
    probe: &Probe,
    patience: Duration,
) -> Result<(), String> {
    let unreachable = |error: std::io::Error| match error.kind() {
        ErrorKind::TimedOut => "late".to_owned(),
        _ => "unreachable".to_owned(),
    };
    let tcp = reach(target.authority.as_str(), patience).await.map_err(unreachable)?;
    let Probe::Get(path) = probe else { return Ok(()) };
    if !target.protocol.is_tls() {
        return get(target, path, tcp).await;
    }
    let host = target.authority.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| "broken".to_owned())?;
    let stream = tls.connect(name, tcp).await.map_err(|_| "broken".to_owned())?;
    get(target, path, stream).await
}

async fn get(
    target: &Target,
    path: &PathAndQuery,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let broken = |_: hyper::Error| "broken".to_owned();
    let scheme = if target.protocol.is_tls() { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(target.authority.clone()).path_and_query(path.clone());
    let unfit = |_: http::Error| "broken".to_owned();
    let mut request = Request::builder().body(Empty::<Bytes>::new()).map_err(unfit)?;
    // Dropped with this look: nothing is kept of it.
    let mut driving = JoinSet::new();
    let status = if target.protocol.is_http2() {
        *request.uri_mut() = uri.build().map_err(unfit)?;
        let (mut sender, driver) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
        driving.spawn(async move { drop(driver.await) });
        sender.send_request(request).await.map_err(broken)?.status()
    } else {
        *request.uri_mut() = Uri::from(path.clone());
        let host = target.authority.as_str().parse().map_err(|_| "broken".to_owned())?;
        request.headers_mut().insert(header::HOST, host);
        let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        driving.spawn(async move { drop(driver.await) });
        sender.send_request(request).await.map_err(broken)?.status()
    };
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("status-{}", status.as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(failures: u32, successes: u32, looks: &[bool]) -> Vec<bool> {
        let every = Duration::from_secs(1);
        let mut judgement =
            Judgement::new(&HealthCheck { probe: Probe::Connect, every, failures, successes });
        looks.iter().filter_map(|good| judgement.hear(*good).then_some(judgement.well)).collect()
    }

    #[test]
    fn an_app_is_unwell_after_bad_looks_in_a_row_and_well_after_good_ones() {
        assert_eq!(changes(3, 2, &[true, false, false, true, false, false]), Vec::<bool>::new());
        assert_eq!(changes(3, 2, &[false, false, false]), [false]);
        assert_eq!(changes(3, 2, &[false, false, false, true, false, true, true]), [false, true]);
        assert_eq!(changes(1, 1, &[false, true, false]), [false, true, false]);
    }
}

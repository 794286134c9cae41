//! The publisher's side of each stream: from HTTP/2 to the local app.
//!
//! Requests go to the app over pooled HTTP/1.1 connections or a few of HTTP/2, bodies streamed both ways; byte streams are copied
//! to a TCP connection, inside TLS if the app wants that. When the app does not answer, the publisher answers for it with 502 and a header that says why, so
//! that the gateway can show a page that helps.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::app::{AppError, HttpApp};
use super::event::Event;
use super::has_room_for_requests;
use super::health::{HealthCheck, Watch};
use super::http2_app::Http2App;
use super::pool::AppPool;
use super::reach::reach;
use super::resuming::{Streams, asked};
use super::target::Target;
use super::to_app::to_app;
use super::upload::{Answer, UploadBody, UploadStream, Uploads};
use super::warm::Told;
use crate::traces::{StreamSpan, Traces};
use crate::tunnel::datagram::{Connected, pass};
use crate::tunnel::flow::{DatagramPath, Place, flow};
use crate::tunnel::gather::{Answers, gathered};
use crate::tunnel::link::FarewellCode;
use crate::tunnel::protocol::{
    APP_CONNECTION, AppConnection, BYTES, CONTROL, Ends, FAREWELL, FAREWELL_CODE, FLOW, HEALTH, MAINTENANCE,
    MAINTENANCE_AT, MAINTENANCE_REASON, ORIGIN_ERROR, OriginFault, RESUME, STREAM, TUNNEL, strip_hop_by_hop,
    strip_internal,
};
use crate::tunnel::resumable::end::PIECE;
use crate::tunnel::resumable::{Ask, Carrier};
use crate::tunnel::stream::{Coming, outgoing};
use crate::tunnel::{Breakable, Offer, TunnelKind, TunnelName, TunnelStream};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// How long the local app may take to accept a connection.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a byte stream copies at once, in each direction: what it sends at once.
const COPY_BUFFER: usize = PIECE;

/// One service that is published: what the gateway sees and where it really is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Name and kind.
    pub offer: Offer,
    /// The local app.
    pub target: Target,
    /// How it is looked after, if it is.
    pub health: Option<HealthCheck>,
}

/// Serves the streams of one publisher; shared by its connections.
pub(super) struct Origin {
    apps: HashMap<TunnelName, App>,
    tls: TlsConnector,
    /// Where requests are told, if somebody shows them.
    told: Option<mpsc::Sender<Event>>,
    /// Where all else is, as long as the publisher runs.
    events: mpsc::WeakSender<Event>,
    traces: Traces,
    health: Watch,
    /// Those that outlive a connection, of the gateway that it was last.
    streams: Mutex<Streams>,
    uploads: Uploads,
}

struct App {
    target: Target,
    /// Whether it speaks UDP.
    datagrams: bool,
    http: HttpApp,
}

impl Origin {
    /// `tls` is what an app's certificate must stand up to, where an app has one. To web apps so many connections are made before they
    /// are needed.
    pub(super) fn new(
        (publications, warm): (&[Publication], usize),
        tls: &rustls::ClientConfig,
        (events, tells_requests): (mpsc::Sender<Event>, bool),
        traces: Traces,
    ) -> Self {
        let told = tells_requests.then(|| events.clone());
        let with_alpn = |protocol: &[u8]| {
            let mut tls = tls.clone();
            tls.alpn_protocols = vec![protocol.to_vec()];
            tls
        };
        let byte_tls = TlsConnector::from(Arc::new(with_alpn(b"http/1.1")));
        let app = |one: &Publication| {
            let target = one.target.clone();
            let is_tls = target.protocol.is_tls();
            let warm = if matches!(one.offer.kind, TunnelKind::Http) { warm } else { 0 };
            let pooled = Told {
                tunnel: one.offer.name.to_string(),
                events: told.as_ref().map(mpsc::Sender::downgrade),
            };
            let http = if target.protocol.is_http2() {
                let tls = is_tls.then(|| Arc::new(with_alpn(b"h2")));
                HttpApp::Two(Http2App::new(target.clone(), tls))
            } else {
                HttpApp::One(AppPool::new(target.clone(), is_tls.then(|| byte_tls.clone()), (warm, pooled)))
            };
            let datagrams = matches!(one.offer.kind, TunnelKind::Udp { .. });
            (one.offer.name.clone(), App { target, datagrams, http })
        };
        let apps = publications.iter().map(app).collect();
        let health = Watch::start(publications, tls);
        let (events, streams, uploads) = (events.downgrade(), Mutex::default(), Uploads::start());
        Self { apps, tls: byte_tls, told, events, traces, health, streams, uploads }
    }

    /// What looks after the uploads of a further connection.
    pub(super) fn further_uploads(&self) -> Uploads {
        self.uploads.further()
    }

    /// Those that outlive a connection, while the gateway knows this publisher again.
    pub(super) fn streams(&self) -> Streams {
        self.current().clone()
    }

    /// The gateway that comes is another one, or does not know this publisher again: none of the streams go on there.
    pub(super) fn begin_anew(&self) {
        let before = std::mem::take(&mut *self.current());
        before.retire();
    }

    fn current(&self) -> MutexGuard<'_, Streams> {
        // Replaced as a whole.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one stream of the gateway. `farewell` hears the gateway's goodbye, and `leaving` is the publisher's own; datagrams
    /// travel `beside` it, where they can. What visitors send is looked after among `uploads`, those of the connection.
    pub(super) async fn serve(
        &self,
        mut request: Request<Incoming>,
        (farewell, leaving): (&watch::Sender<Option<FarewellCode>>, CancellationToken),
        (beside, uploads, streams): (Option<&DatagramPath>, &Uploads, &Streams),
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let Some(name) = tunnel(request.headers()) else {
            return self.control(&request, farewell, leaving);
        };
        let Some(app) = self.apps.get(&name) else { return fault(OriginFault::UnknownTunnel) };
        let is_stream = request.headers().get(STREAM) == Some(&BYTES);
        let goes_on = is_stream && matches!(asked(&request), Some(Ask::Again { .. }));
        let method = request.method().clone();
        let path = self.told.is_some().then(|| request.uri().path().to_owned());
        let traced = self.traces.follow(request.headers_mut());
        let number = request.headers().get(FLOW).and_then(|number| number.to_str().ok()?.parse().ok());
        let place = app.datagrams.then(|| beside.zip(number)).flatten();
        let place = place.map(|(path, number)| path.enter(number));
        let aside = place.is_some();
        let response = if is_stream {
            let protocol = if app.datagrams { "udp" } else { "tcp" };
            let span = traced.map(|traced| traced.stream(name.to_string(), protocol));
            if app.datagrams {
                datagrams(request, &app.target, place, span).await
            } else if app.target.protocol().is_http2() {
                // What comes on such a stream is an upgrade of HTTP/1.1, which this app would take for noise.
                fault(OriginFault::NoUpgrade)
            } else {
                let (told, leaving) = (farewell.subscribe(), leaving.clone());
                let parted = Box::new(move || leaving.is_cancelled() || told.borrow().is_some());
                let carrier = Carrier { number: uploads.connection(), parted };
                match asked(&request) {
                    Some(Ask::Again { id, received, attempt }) => {
                        streams.again((id, received, attempt), &name, (request, carrier))
                    }
                    ask => {
                        let stream = Asked { name: &name, target: &app.target, ask, carrier, span };
                        self.stream(request, stream, (uploads, streams)).await
                    }
                }
            }
        } else {
            // Sent also if this is dropped on the way: the visitor may leave.
            let span = traced.map(|traced| traced.request(name.to_string(), method.to_string()));
            let response = self.forward(request, app, uploads).await;
            if let Some(span) = span {
                span.answered(response.status().as_u16());
            }
            response
        };
        let told = self.told.as_ref().filter(|told| has_room_for_requests(told));
        if let Some((told, path)) = told.zip(path) {
            let seen = Event::Request {
                tunnel: name.to_string(),
                method: match (aside, is_stream) {
                    (true, _) => "DATAGRAMS".to_owned(),
                    (false, true) if goes_on => "RESUMED".to_owned(),
                    (false, true) => "STREAM".to_owned(),
                    (false, false) => method.to_string(),
                },
                path: if is_stream { String::new() } else { path },
                status: response.status().as_u16(),
                took: started.elapsed(),
            };
            // Whoever shows events may be slow; visitors do not wait for it.
            let _shown = told.try_send(seen);
        }
        response
    }

    /// A message of the gateway itself.
    fn control(
        &self,
        request: &Request<Incoming>,
        farewell: &watch::Sender<Option<FarewellCode>>,
        leaving: CancellationToken,
    ) -> Response<ResponseBody> {
        match request.headers().get(CONTROL) {
            Some(control) if control == HEALTH && self.health.is_idle() => {
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            Some(control) if control == HEALTH => {
                Response::new(self.health.lines((farewell.subscribe(), leaving)))
            }
            Some(control) if control == MAINTENANCE => self.hear_of_maintenance(request.headers()),
            _ => hear_farewell(request, farewell),
        }
    }

    /// What the gateway's admin says is shown on a terminal, so it must be plain text.
    fn hear_of_maintenance(&self, headers: &HeaderMap) -> Response<ResponseBody> {
        let text = |name: HeaderName, most: usize| {
            let text = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?;
            (text.chars().count() <= most && !text.contains(char::is_control)).then(|| text.to_owned())
        };
        let Some((at, reason)) = text(MAINTENANCE_AT, 40).zip(text(MAINTENANCE_REASON, 500)) else {
            return fault(OriginFault::UnknownTunnel);
        };
        // Whoever shows events may be slow; the gateway does not wait for it.
        if let Some(events) = self.events.upgrade() {
            let _shown = events.try_send(Event::Maintenance { at, reason });
        }
        Response::new(empty())
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        app: &App,
        uploads: &Uploads,
    ) -> Response<ResponseBody> {
        let Ok(request) = to_app(request, &app.target) else { return fault(OriginFault::BadAnswer) };
        let (parts, body) = request.into_parts();
        let asked = Answers::default();
        let (body, upload) = UploadBody::watch(body, uploads, asked.clone());
        let request = Request::from_parts(parts, body);
        let answering = app.http.request(request);
        let answer = match &upload {
            None => answering.await,
            Some(upload) => tokio::select! {
                biased;
                () = upload.stalled() => return fault(OriginFault::Stalled),
                answer = answering => answer,
            },
        };
        match answer {
            // HTTP/2 has no words for it (RFC 9113 section 8.6), and nobody asked for it.
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                tracing::debug!(target = %app.target, "the local app switches protocols, unasked");
                fault(OriginFault::BadAnswer)
            }
            Ok(mut response) => {
                strip_hop_by_hop(response.headers_mut());
                strip_internal(response.headers_mut());
                if let Some(by) = response.extensions().get::<AppConnection>().copied() {
                    response.headers_mut().insert(APP_CONNECTION, HeaderValue::from_static(by.word()));
                }
                response.map(|body| gathered(Answer::beside(upload.as_deref(), body), asked))
            }
            Err(AppError::Unreachable(error)) => {
                tracing::debug!(error, target = %app.target, "the local app is not there");
                fault(OriginFault::Unreachable)
            }
            Err(AppError::Busy) => {
                tracing::debug!(target = %app.target, "the local app takes no more requests");
                fault(OriginFault::Busy)
            }
            Err(AppError::Broken(error) | AppError::Closed(error)) => {
                tracing::debug!(error, target = %app.target, "the local app failed");
                fault(OriginFault::BadAnswer)
            }
        }
    }

    /// Connects to the app first, so that the gateway learns whether there is one, and then copies.
    async fn stream(
        &self,
        request: Request<Incoming>,
        Asked { name, target, ask, carrier, mut span }: Asked<'_>,
        (uploads, streams): (&Uploads, &Streams),
    ) -> Response<ResponseBody> {
        let ends = Ends::read(request.headers());
        let connecting = async {
            let mut app = reach(target.authority.as_str(), CONNECT_TIMEOUT).await?;
            if let Some(version) = target.proxy {
                app.write_all(&version.header(ends)?).await?;
            }
            if !target.protocol.is_tls() {
                return Ok(AppStream::Plain(app));
            }
            let name = target.server_name().map_err(std::io::Error::other)?;
            self.tls.connect(name, app).await.map(|app| AppStream::Tls(Box::new(app)))
        };
        let Ok(Ok(app)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
            return fault(OriginFault::Unreachable);
        };
        let (outgoing, body) = outgoing();
        let visitor = TunnelStream::join(Coming::Question(request.into_body()), outgoing);
        let (visitor, lasts) = streams.begin(ask, name, (visitor, carrier));
        let broken = visitor.broken();
        // Ends by itself: when both directions are done, or when the connection to the gateway is, and no other takes its place.
        let (visitor, upload) = UploadStream::watch(visitor, uploads);
        tokio::spawn(async move {
            let copying = async {
                match app {
                    AppStream::Plain(app) => copy(visitor, app).await,
                    AppStream::Tls(app) => copy(visitor, app).await,
                }
            };
            tokio::select! {
                () = upload.stalled() => {}
                // Also while the app takes nothing, and nobody looks at the stream.
                () = broken.cancelled() => {}
                in_order = copying => if in_order { span.iter_mut().for_each(StreamSpan::ended) },
            }
        });
        let mut response = Response::new(body);
        if let Some(lasts) = lasts {
            response.headers_mut().insert(RESUME, lasts);
        }
        response
    }
}

/// A byte stream that the gateway asks for.
struct Asked<'a> {
    name: &'a TunnelName,
    target: &'a Target,
    /// How it outlives its connection, if it is to.
    ask: Option<Ask>,
    carrier: Carrier,
    span: Option<StreamSpan>,
}

/// Opens a socket of its own towards the app, so that the app tells flows apart, and passes datagrams both ways. The flow ends with
/// the gateway's stream: UDP itself has no end.
async fn datagrams(
    request: Request<Incoming>,
    target: &Target,
    place: Option<(Place, mpsc::Receiver<Bytes>)>,
    mut span: Option<StreamSpan>,
) -> Response<ResponseBody> {
    let connecting = async {
        let peers = tokio::net::lookup_host(target.authority.as_str()).await?;
        let mut last = std::io::Error::other("the app's host has no address");
        for peer in peers {
            let any: IpAddr =
                if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0)).await?;
            match socket.connect(peer).await {
                Ok(()) => return Ok(Arc::new(socket)),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let Ok(Ok(socket)) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
        return fault(OriginFault::Unreachable);
    };
    let (outgoing, body) = outgoing();
    let (source, drain) = flow(TunnelStream::join(Coming::Question(request.into_body()), outgoing), place);
    tokio::spawn(async move {
        let up = pass(source, Connected::new(Arc::clone(&socket)), |_| {});
        let down = pass(Connected::new(socket), drain, |_| {});
        let ended = tokio::select! {
            ended = up => ended,
            ended = down => ended,
        };
        if ended.is_ok() {
            span.iter_mut().for_each(StreamSpan::ended);
        }
    });
    Response::new(body)
}

enum AppStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

fn tunnel(headers: &HeaderMap) -> Option<TunnelName> {
    headers.get(TUNNEL).and_then(|value| value.to_str().ok()).and_then(|name| TunnelName::parse(name).ok())
}

fn hear_farewell(
    request: &Request<Incoming>,
    farewell: &watch::Sender<Option<FarewellCode>>,
) -> Response<ResponseBody> {
    if request.headers().get(CONTROL) != Some(&FAREWELL) {
        return fault(OriginFault::UnknownTunnel);
    }
    let word = request.headers().get(FAREWELL_CODE).map(HeaderValue::as_bytes);
    let code = FarewellCode::ALL.into_iter().find(|code| Some(code.word().as_bytes()) == word);
    // An unknown reason is the mildest: come back later.
    farewell.send_replace(Some(code.unwrap_or(FarewellCode::Draining)));
    Response::new(empty())
}

/// Copies until both directions have ended in order, or one of them broke: then the other end sees it break, too.
/// Tells whether they ended in order.
async fn copy(mut visitor: UploadStream, mut app: impl Breakable) -> bool {
    app.breaks();
    match tokio::io::copy_bidirectional_with_sizes(&mut visitor, &mut app, COPY_BUFFER, COPY_BUFFER).await {
        Ok(_) => {
            app.ended();
            true
        }
        Err(error) => {
            tracing::debug!(%error, "a byte stream broke off");
            false
        }
    }
}

pub(super) fn empty() -> ResponseBody {
    Full::default().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn fault(fault: OriginFault) -> Response<ResponseBody> {
    let text = Full::from(format!("{fault}\n")).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(text);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response.headers_mut().insert(ORIGIN_ERROR, HeaderValue::from_static(fault.word()));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

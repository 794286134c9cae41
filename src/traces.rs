//! Traces of requests through gateway and publisher, for whoever collects them (OTLP over HTTP). Off unless a receiver is named.
//!
//! Promised: a request's trace has the number of its correlation id, so that the app's traces, the log and the ledger speak of
//! it under the same one; nothing waits for the receiver, and what it does not take in time is dropped; no person, address or
//! path is in a span. Trusted: nothing; the receiver learns names of tunnels, methods and statuses.
//! A trace is evidence of nothing: records are.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};

use crate::clock;

/// The header that carries a trace on (W3C Trace Context).
const PARENT: &str = "traceparent";
/// Time for one delivery.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a receiver may answer.
const ANSWER: usize = 64 * 1024;

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// Not an address that spans can be sent to.
    #[error("`{0}` is not the address of a receiver of traces")]
    Address(String),
    /// The exporter.
    #[error("traces cannot be sent: {0}")]
    Exporter(String),
}

impl TracesError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        "write the whole URL, such as http://127.0.0.1:4318/v1/traces"
    }
}

/// Makes spans; clones share the way to the receiver. The default makes none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// What one span says.
pub struct Said {
    /// The tunnel.
    pub tunnel: String,
    /// What passed through it.
    pub what: What,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// What passed.
pub enum What {
    /// A request and its answer.
    Request {
        /// The request's method.
        method: String,
        /// The answer's status; `None` if there was none.
        status: Option<u16>,
    },
    /// A byte stream, or a flow of datagrams.
    Stream {
        /// `tcp`, `tls` or `udp`.
        protocol: &'static str,
        /// Whether it came to an end of its own.
        whole: bool,
    },
}

impl Traces {
    /// Spans of `service`, sent to the receiver at `address`. `tls` is what its certificate must stand up to.
    pub fn to(address: &str, service: &'static str, tls: rustls::ClientConfig) -> Result<Self, TracesError> {
        let unfit = || TracesError::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| unfit())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(unfit());
        }
        let client = Carrier::new(tls);
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(address)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_id_generator(Ids::default())
            .with_resource(Resource::builder_empty().with_service_name(service).build())
            .build();
        let tracer = provider.tracer("sallyport");
        Ok(Self(Some(Arc::new(Inner { provider, tracer }))))
    }

    /// Whether anybody hears of spans.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request whose trace begins here, under the number of its correlation id (`cor-` and 32 digits): the one
    /// that `traceparent` has named to the next already.
    pub fn root(&self, correlation: &str, said: Said) {
        let Some(inner) = &self.0 else { return };
        let Some(ids) = ids(correlation) else { return };
        NEXT.set(Some(ids));
        inner.emit(said, SpanKind::Server, &Context::new());
        NEXT.set(None);
    }

    /// The same for a stream that begins now: its span is sent when what this gives is dropped. `None` if nobody hears of it.
    pub fn root_stream(&self, correlation: &str, tunnel: &str, protocol: &'static str) -> Option<StreamSpan> {
        let inner = Arc::clone(self.0.as_ref()?);
        let followed =
            Followed { inner, parent: Context::new(), ids: ids(correlation)?, began: clock::now().into() };
        Some(StreamSpan {
            followed,
            kind: SpanKind::Server,
            tunnel: tunnel.to_owned(),
            protocol,
            whole: false,
        })
    }

    /// Begins what follows on the span that `headers` name, and names itself there to the next. `None` if nobody hears of it.
    pub fn follow(&self, headers: &mut HeaderMap) -> Option<Followed> {
        let inner = self.0.as_ref()?;
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let trace = parent.span().span_context().trace_id();
        if !parent.span().span_context().is_valid() {
            return None;
        }
        let span = RandomIdGenerator::default().new_span_id();
        let value = HeaderValue::from_str(&format!("00-{trace}-{span}-01")).ok()?;
        headers.insert(PARENT, value);
        Some(Followed { inner: Arc::clone(inner), parent, ids: (trace, span), began: clock::now().into() })
    }

    /// Sends what is left. Blocks, for as long as one delivery may take.
    pub fn finish(&self) {
        if let Some(inner) = &self.0 {
            // A receiver that is away has been told of in the log.
            let _late = inner.provider.shutdown_with_timeout(PATIENCE);
        }
    }
}

impl Inner {
    fn emit(&self, said: Said, kind: SpanKind, parent: &Context) {
        let mut attributes = vec![KeyValue::new("sallyport.tunnel", said.tunnel)];
        let (name, failed) = match said.what {
            What::Request { method, status } => {
                attributes.push(KeyValue::new("http.request.method", method.clone()));
                attributes.extend(
                    status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))),
                );
                let failed = match status {
                    None => Some("there was no answer"),
                    Some(500..) => Some(""),
                    Some(_) => None,
                };
                (method, failed)
            }
            What::Stream { protocol, whole } => {
                attributes.push(KeyValue::new("network.protocol.name", protocol));
                (protocol.to_owned(), (!whole).then_some("it broke off"))
            }
        };
        let mut span = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(said.began)
            .with_attributes(attributes)
            .start_with_context(&self.tracer, parent);
        if let Some(failed) = failed {
            span.set_status(Status::error(failed));
        }
        span.end_with_timestamp(said.began + said.took);
    }
}

/// Something under way that follows on another's span.
pub struct Followed {
    inner: Arc<Inner>,
    parent: Context,
    ids: (TraceId, SpanId),
    began: SystemTime,
}

impl Followed {
    /// It is a request, which whoever made it may give up.
    pub fn request(self, tunnel: String, method: String) -> RequestSpan {
        RequestSpan { followed: self, tunnel, method, status: None }
    }

    /// It is a stream, which may outlive whoever began it.
    pub fn stream(self, tunnel: String, protocol: &'static str) -> StreamSpan {
        StreamSpan { followed: self, kind: SpanKind::Client, tunnel, protocol, whole: false }
    }

    fn emit(&self, tunnel: String, what: What, kind: SpanKind) {
        let took = self.began.elapsed().unwrap_or_default();
        NEXT.set(Some(self.ids));
        self.inner.emit(Said { tunnel, what, began: self.began, took }, kind, &self.parent);
        NEXT.set(None);
    }
}

/// The span of a request: sent when this is dropped.
pub struct RequestSpan {
    followed: Followed,
    tunnel: String,
    method: String,
    status: Option<u16>,
}

impl RequestSpan {
    /// It is over, with an answer of this status.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let what = What::Request { method: std::mem::take(&mut self.method), status: self.status };
        self.followed.emit(std::mem::take(&mut self.tunnel), what, SpanKind::Client);
    }
}

/// The span of a stream: sent when this is dropped.
pub struct StreamSpan {
    followed: Followed,
    kind: SpanKind,
    tunnel: String,
    protocol: &'static str,
    whole: bool,
}

impl StreamSpan {
    /// It came to an end of its own.
    pub fn ended(&mut self) {
        self.whole = true;
    }
}

impl Drop for StreamSpan {
    fn drop(&mut self) {
        let what = What::Stream { protocol: self.protocol, whole: self.whole };
        self.followed.emit(std::mem::take(&mut self.tunnel), what, self.kind.clone());
    }
}

/// Trace and span of a correlation id: its number, and the random half of it.
fn ids(correlation: &str) -> Option<(TraceId, SpanId)> {
    let trace = correlation.strip_prefix("cor-").filter(|id| id.len() == 32)?;
    Some((TraceId::from_hex(trace).ok()?, SpanId::from_hex(trace.get(16..)?).ok()?))
}

thread_local! {
    /// The ids of the span that this thread is making: making one asks for them at once, on the same thread.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives a span the ids that were named to others already.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Carries deliveries; the exporter runs on a thread of its own, and this on the program's runtime.
struct Carrier {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: tokio::runtime::Handle,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carrier")
    }
}

impl Carrier {
    fn new(mut tls: rustls::ClientConfig) -> Self {
        // The connector names what it speaks.
        tls.alpn_protocols.clear();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, runtime: tokio::runtime::Handle::current() }
    }
}

impl HttpClient for Carrier {
    fn send_bytes<'life, 'end>(
        &'life self,
        request: Request<Bytes>,
    ) -> BoxFuture<'end, Result<Response<Bytes>, HttpError>>
    where
        'life: 'end,
        Self: 'end,
    {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let exchange = async {
                let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            };
            tokio::time::timeout(PATIENCE, exchange).await?
        });
        Box::pin(async move { sending.await? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};

    use super::*;

    #[test]
    fn a_trace_has_the_number_of_its_correlation_id() {
        let (trace, span) = ids("cor-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b").unwrap();
        assert_eq!(trace.to_string(), "0198a1b2c3d47e5f8a6b7c8d9e0f1a2b");
        assert_eq!(span.to_string(), "8a6b7c8d9e0f1a2b");
        for bad in ["", "cor-", "0198a1b2c3d47e5f8a6b7c8d9e0f1a2b", "cor-zz98a1b2c3d47e5f8a6b7c8d9e0f1a2b"] {
            assert!(ids(bad).is_none(), "{bad}");
        }
    }

    /// Takes spans here.
    #[derive(Debug, Clone, Default)]
    struct Taken(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Taken {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    #[test]
    fn a_request_that_is_given_up_has_a_span_that_says_so() {
        let taken = Taken::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(taken.clone())
            .with_id_generator(Ids::default());
        let provider = provider.build();
        let inner = Inner { tracer: provider.tracer("sallyport"), provider };
        let traces = Traces(Some(Arc::new(inner)));
        let follow = || {
            let mut headers = HeaderMap::new();
            let parent = "00-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b-8a6b7c8d9e0f1a2b-01";
            headers.insert(PARENT, HeaderValue::from_static(parent));
            traces.follow(&mut headers).unwrap().request("demo".to_owned(), "GET".to_owned())
        };
        follow().answered(200);
        drop(follow());
        let spans = taken.0.lock().unwrap();
        let statuses: Vec<&Status> = spans.iter().map(|span| &span.status).collect();
        assert_eq!(statuses, [&Status::Unset, &Status::error("there was no answer")]);
        let trace = TraceId::from_hex("0198a1b2c3d47e5f8a6b7c8d9e0f1a2b").unwrap();
        assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    }

    #[test]
    fn without_a_receiver_nothing_is_made_and_no_header_changes() {
        let mut headers = HeaderMap::new();
        headers.insert(
            PARENT,
            HeaderValue::from_static("00-0198a1b2c3d47e5f8a6b7c8d9e0f1a2b-8a6b7c8d9e0f1a2b-01"),
        );
        let before = headers.clone();
        assert!(Traces::default().follow(&mut headers).is_none());
        assert_eq!(headers, before);
    }
}

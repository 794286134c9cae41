//! Ways to receivers that are asked parcel by parcel, and what they answer.
//!
//! Not trusted: the receiver. Its answers are bounded in time and size, no redirect is followed, and what it says of itself
//! reaches a log or a record only cut short and without control characters.

mod credential;
mod elastic;
mod file;
mod http;
mod otlp;
mod signature;
mod splunk;
mod udp;
mod webhook;

use std::{io, path::PathBuf, time::Duration};

use crate::SignError;

use super::{
    options::{SinkOptions, Transport},
    parcel::Parcel,
    target::{Protocol, Target},
    transport::TransportError,
};

use self::{
    elastic::Elastic, file::FileLink, http::Client, otlp::Otlp, splunk::Splunk, udp::UdpLink,
    webhook::Webhook,
};

pub use self::signature::RequestSigner;

/// What became of a parcel.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was taken for good.
    Taken,
    /// It was received, and will be indexed under this number.
    Received { acknowledgement: u64 },
    /// All but some of its items, each with why. `again`: from this item on nothing is certain, and all is to be sent again.
    Partly { refused: Vec<(usize, String)>, again: Option<usize> },
    /// Something in it is refused, and it isn't said what.
    Refused { reason: String },
}

/// Why a parcel could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The way to the receiver.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A file with what proves who we are cannot be used.
    #[error("credential file {} {what}", path.display())]
    Credential {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Nothing is sent that should be signed and is not.
    #[error("the request could not be signed")]
    Unsigned {
        /// What the key provider said.
        source: SignError,
    },
    /// It refuses who we are.
    #[error("the receiver does not accept our credential (status {status})")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
    },
    /// It sends us elsewhere.
    #[error("the receiver answered with a redirect (status {status}), and none is followed")]
    Redirect {
        /// 3xx.
        status: u16,
    },
    /// It cannot take more now.
    #[error("the receiver is busy: {said}")]
    Busy {
        /// What it said.
        said: String,
        /// How long it asks to be left alone.
        pause: Option<Duration>,
    },
    /// It said something else.
    #[error("the receiver answered with status {status}: {said}")]
    Status {
        /// The status.
        status: u16,
        /// Its words, cut short.
        said: String,
    },
    /// Its answer is not of the protocol.
    #[error("the receiver's answer cannot be understood: {what}")]
    Answer {
        /// What is missing in it.
        what: String,
    },
    /// No answer in time.
    #[error("the receiver did not answer within {waited:?}")]
    Late {
        /// How long was waited.
        waited: Duration,
    },
    /// The connection broke under a request.
    #[error("the connection broke: {what}")]
    Broken {
        /// How.
        what: String,
    },
    /// It has what was sent and does not index it.
    #[error("the receiver did not index what it received within {waited:?}")]
    NotIndexed {
        /// How long was waited.
        waited: Duration,
    },
    /// It refuses one record after the other.
    #[error("the receiver refuses every record; the last one for: {reason}")]
    RefusesAll {
        /// Its last reason.
        reason: String,
    },
    /// A file cannot be written.
    #[error("{} could not be {doing}", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A datagram could not be sent.
    #[error("no datagram could be sent")]
    Datagram {
        /// The cause.
        source: io::Error,
    },
}

impl LinkError {
    /// What the operator can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.hint(),
            Self::Credential { .. } => {
                "put the token (Elastic: an API key or user:password; webhook: whsec_ and base64) into the file that \
                 `credential_file` names; it is read again at the next attempt"
            }
            Self::Unsigned { .. } => {
                "see what `sallyport status` says of the key provider; records wait in the ledger and are sent when it signs"
            }
            Self::Unauthorized { .. } => {
                "replace the token in the file that `credential_file` names; it is read again at the next attempt"
            }
            Self::Redirect { .. } => "set `url` to where the receiver really is",
            Self::Busy { .. } | Self::Late { .. } | Self::Broken { .. } => {
                "see the receiver's own load and log; records wait in the ledger and are sent again"
            }
            Self::Status { .. } | Self::Answer { .. } => {
                "check that `url` and `transport` name the right kind of receiver, and see its own log; records wait in the \
                 ledger"
            }
            Self::NotIndexed { .. } => {
                "see the receiver's indexers; turn `acknowledge` off if the token has no indexer acknowledgement"
            }
            Self::RefusesAll { .. } => {
                "the receiver seems to expect another format, or its index has other field types: see its own log; \
                 records wait in the ledger"
            }
            Self::File { .. } => {
                "check that the directory exists, has room and may be written by the gateway"
            }
            Self::Datagram { .. } => "check name and network; records wait in the ledger",
        }
    }
}

/// Something to send parcels through.
pub(super) enum Link {
    Udp(UdpLink),
    File(FileLink),
    Splunk(Splunk),
    Elastic(Elastic),
    Otlp(Otlp),
    Webhook(Webhook),
}

impl Link {
    /// Nothing need be sent for it: an HTTP receiver is first talked to when there is something to say.
    pub(super) async fn open(options: &SinkOptions, origin: &str) -> Result<Self, LinkError> {
        Ok(match &options.target {
            Target::Syslog { address, .. } => {
                Self::Udp(UdpLink::open(address, options.connect_timeout).await?)
            }
            Target::File(target) => Self::File(FileLink::open(target.clone()).await?),
            Target::Http(target) => {
                let client = Client::new(target, options);
                match &target.protocol {
                    Protocol::SplunkHec { acknowledge, index } => Self::Splunk(Splunk::new(
                        client,
                        target.credential.clone(),
                        (origin, options.name.as_str()),
                        *acknowledge,
                        index.clone(),
                        options.shape,
                    )),
                    Protocol::ElasticBulk { index } => {
                        Self::Elastic(Elastic::new(client, target.credential.clone(), index, origin))
                    }
                    Protocol::OtlpHttp => Self::Otlp(Otlp::new(
                        client,
                        target.credential.clone(),
                        origin,
                        options.name.as_str(),
                    )),
                    Protocol::Webhook => Self::Webhook(Webhook::new(
                        client,
                        (target.credential.clone(), options.signer.clone()),
                        origin,
                        options.name.as_str(),
                    )),
                }
            }
        })
    }

    /// Most records and octets of a parcel.
    pub(super) fn parcel_bounds(&self) -> (usize, usize) {
        match self {
            Self::Udp(_) => (256, 1 << 20),
            Self::File(_) => (1024, 4 << 20),
            Self::Splunk(link) => link.client.bounds,
            Self::Elastic(link) => link.client.bounds,
            Self::Otlp(link) => link.client.bounds,
            Self::Webhook(link) => link.client.bounds,
        }
    }

    pub(super) async fn send(&mut self, parcel: &Parcel) -> Result<Answer, LinkError> {
        match self {
            Self::Udp(link) => link.send(parcel).await,
            Self::File(link) => link.send(parcel).await,
            Self::Splunk(link) => link.send(parcel).await,
            Self::Elastic(link) => link.send(parcel).await,
            Self::Otlp(link) => link.send(parcel).await,
            Self::Webhook(link) => link.send(parcel).await,
        }
    }

    /// Which of these have been indexed; asks at most once in `every`.
    pub(super) async fn indexed(&mut self, ids: &[u64], every: Duration) -> Result<Vec<u64>, LinkError> {
        match self {
            Self::Splunk(link) => link.indexed(ids, every).await,
            _ => Ok(Vec::new()),
        }
    }

    /// How long a receiver may take to index.
    pub(super) fn acknowledge_within(&self) -> Duration {
        match self {
            Self::Splunk(link) => link.acknowledge.unwrap_or(Duration::MAX),
            _ => Duration::MAX,
        }
    }
}

/// Looks at what the options name, so that a wrong file shows at start.
pub(super) fn check(options: &SinkOptions) -> Result<(), LinkError> {
    match &options.target {
        Target::Http(target) => {
            if let Some(path) = &target.credential {
                credential::read(path)?;
            }
            Ok(super::transport::check(&http::route(target, options))?)
        }
        Target::File(target) => file::check(target),
        Target::Syslog { transport: Transport::Udp | Transport::Tcp | Transport::Tls(_), .. } => Ok(()),
    }
}

/// What a receiver said, fit for a log: short, one line.
pub(super) fn said(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body.get(..512).unwrap_or(body)).chars().take(200).collect();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().is_empty() { "nothing".to_owned() } else { text.trim().to_owned() }
}

//! What goes wrong with an S3 service, as an operator would tell it apart.

use std::path::PathBuf;

use http::StatusCode;

use super::exchange::Answer;
use crate::gateway::config::S3Place;

/// Why a request did not do what it was to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum S3Fault {
    /// No credentials.
    #[error("there are no credentials for S3: {why} [{}]", self.code())]
    NoCredentials {
        /// What is missing.
        why: String,
    },
    /// The file of credentials.
    #[error("the S3 credentials in {path} cannot be used: {why} [{}]", self.code())]
    CredentialsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never what stands in it.
        why: String,
    },
    /// No connection.
    #[error("the service cannot be reached [{}]", self.code())]
    Unreachable(#[source] std::io::Error),
    /// A connection that ended, or something that is not HTTP.
    #[error("the connection to the service broke off [{}]", self.code())]
    Broken(#[source] hyper::Error),
    /// No answer in time.
    #[error("the service did not answer in time [{}]", self.code())]
    Silent,
    /// 5xx, 429 and their like.
    #[error("the service is busy or ill: it answered {said} [{}]", self.code())]
    Busy {
        /// Status and code.
        said: String,
    },
    /// The content arrived as something else.
    #[error("what the service received was not what was sent: it answered {said} [{}]", self.code())]
    Garbled {
        /// Status and code.
        said: String,
    },
    /// Credentials that it does not know or take.
    #[error("the service does not accept the credentials: it answered {said} [{}]", self.code())]
    BadCredentials {
        /// Status and code.
        said: String,
    },
    /// Clocks that differ.
    #[error("the service's clock and this host's differ too much: it answered {said} [{}]", self.code())]
    Clock {
        /// Status and code.
        said: String,
    },
    /// Known, but not allowed.
    #[error("the service forbids it: it answered {said} [{}]", self.code())]
    Denied {
        /// Status and code.
        said: String,
    },
    /// No such bucket.
    #[error("the service has no bucket `{bucket}` [{}]", self.code())]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// A redirect, or the wrong region.
    #[error("the bucket is elsewhere: the service answered {said}, and no redirect is followed [{}]", self.code())]
    Elsewhere {
        /// Status and code.
        said: String,
    },
    /// The service cannot do something that is needed.
    #[error("the service cannot do what is asked of it: it answered {said} [{}]", self.code())]
    Unable {
        /// Status and code.
        said: String,
    },
    /// No lock on an object that should have one.
    #[error("the object is there, but not locked as `retention.s3_lock` asks [{}]", self.code())]
    NotLocked,
    /// More than this program ever puts there.
    #[error("the service's answer is longer than anything that is put into an archive [{}]", self.code())]
    TooLong,
    /// A request that cannot be put into HTTP: an endpoint that nobody has thought of.
    #[error("no request can be made for this object at this endpoint [{}]", self.code())]
    Unsendable,
    /// Anything else.
    #[error("the service refused: it answered {said} [{}]", self.code())]
    Refused {
        /// Status and code.
        said: String,
    },
}

impl S3Fault {
    /// What an answer that is no success means.
    pub(super) fn of(answer: &Answer, place: &S3Place) -> Self {
        let code = answer.code();
        let said = match &code {
            Some(code) => format!("{} {code}", answer.status.as_u16()),
            None => answer.status.as_u16().to_string(),
        };
        match (code.as_deref().unwrap_or_default(), answer.status) {
            ("NoSuchBucket", _) => Self::NoBucket { bucket: place.bucket.name().to_owned() },
            (
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "ExpiredToken"
                | "NotSignedUp",
                _,
            )
            | (_, StatusCode::UNAUTHORIZED) => Self::BadCredentials { said },
            ("RequestTimeTooSkewed" | "RequestExpired", _) => Self::Clock { said },
            ("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => {
                Self::Elsewhere { said }
            }
            ("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch", _) => Self::Garbled { said },
            ("ObjectLockConfigurationNotFoundError" | "InvalidBucketState", _)
            | (_, StatusCode::NOT_IMPLEMENTED) => Self::Unable { said },
            ("InvalidRequest", _) if place.lock.is_some() => Self::Unable { said },
            ("SlowDown" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict", _)
            | (_, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => Self::Busy { said },
            (_, StatusCode::FORBIDDEN) => Self::Denied { said },
            (_, status) if status.is_redirection() => Self::Elsewhere { said },
            (_, status) if status.is_server_error() => Self::Busy { said },
            _ => Self::Refused { said },
        }
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Broken(_) | Self::Silent | Self::Busy { .. } | Self::Garbled { .. }
        )
    }

    /// Stable; `docs/errors.md` lists them.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoCredentials { .. } => "archive-no-credentials",
            Self::CredentialsFile { .. } => "archive-credentials-file",
            Self::Unreachable(_) => "archive-unreachable",
            Self::Broken(_) => "archive-broke-off",
            Self::Silent => "archive-silent",
            Self::Busy { .. } => "archive-busy",
            Self::Garbled { .. } => "archive-garbled",
            Self::BadCredentials { .. } => "archive-bad-credentials",
            Self::Clock { .. } => "archive-clock",
            Self::Denied { .. } => "archive-denied",
            Self::NoBucket { .. } => "archive-no-bucket",
            Self::Elsewhere { .. } => "archive-elsewhere",
            Self::Unable { .. } => "archive-unable",
            Self::NotLocked => "archive-not-locked",
            Self::TooLong => "archive-too-long",
            Self::Unsendable => "archive-unsendable",
            Self::Refused { .. } => "archive-refused",
        }
    }

    /// What to do next. What had been put there stays, and a later run goes on behind it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoCredentials { .. } => {
                "set `retention.s3_credentials_file`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; nothing was pruned"
            }
            Self::CredentialsFile { .. } => {
                "write `access_key_id = \"…\"` and `secret_access_key = \"…\"` into that file, mode 0600; nothing was pruned"
            }
            Self::Unreachable(_) | Self::Broken(_) => {
                "check `retention.s3_endpoint`, `retention.s3_root_file` and the way there, then run again; nothing was pruned"
            }
            Self::Silent | Self::Busy { .. } => {
                "see how the service is, or raise `retention.s3_timeout_secs`, then run again: it goes on where it stopped; nothing was pruned"
            }
            Self::Garbled { .. } => {
                "run again; if it stays, something on the way changes data; nothing was pruned"
            }
            Self::BadCredentials { .. } => {
                "check the credentials and whether they are still valid; nothing was pruned"
            }
            Self::Clock { .. } => "set the clock of this host; nothing was pruned",
            Self::Denied { .. } => {
                "let these credentials put, get and list in the bucket (docs/operator.md, Retention); nothing was pruned"
            }
            Self::NoBucket { .. } => {
                "make the bucket, or correct `retention.archive` and `retention.s3_endpoint`; nothing was pruned"
            }
            Self::Elsewhere { .. } => {
                "set `retention.s3_region` and `retention.s3_endpoint` to where the bucket is; nothing was pruned"
            }
            Self::Unable { .. } => {
                "use a service that knows `If-None-Match` on PUT and, with `retention.s3_lock`, a bucket made with object locks; nothing was pruned"
            }
            Self::NotLocked => {
                "make the bucket with object locks, let these credentials put and get retention, and use a new prefix; nothing was pruned"
            }
            Self::TooLong | Self::Unsendable | Self::Refused { .. } => {
                "check `retention.s3_endpoint`: does an S3-compatible service answer there? nothing was pruned"
            }
        }
    }
}

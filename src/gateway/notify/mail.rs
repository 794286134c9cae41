//! Mail, one message for each person, over SMTP with TLS.
//!
//! The server's certificate is checked against the configured roots; without TLS a server is used only on this host. A name
//! leads to an address by the operator's list, or because it is one, as names from an identity provider's verified `email`
//! claim are; whoever has neither gets nothing, which is recorded.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lettre::address::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Letter};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::{NotifyError, secret};
use crate::access::Subject;
use crate::clock;
use crate::gateway::config::{MailProtection, MailSettings};
use crate::notify::{Message, Unsent, Way};
use crate::tunnel::client::{TlsRoots, root_certificates};

/// How long the server may take over each step.
const STEP: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Mail {
    name: String,
    from: Mailbox,
    addresses: BTreeMap<Subject, Address>,
    domains: Vec<String>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    /// The part behind the at sign of message ids.
    host: String,
}

/// `Auto-Submitted: auto-generated` (RFC 3834): no out-of-office note comes back.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mail {
    pub(super) fn open(name: &str, settings: &MailSettings) -> Result<Self, NotifyError> {
        let fault = |why: String| NotifyError::Mail { way: name.to_owned(), why };
        let tls = || {
            let roots = settings.root_file.clone().map_or(TlsRoots::System, TlsRoots::File);
            let roots = root_certificates(&roots)
                .map_err(|source| NotifyError::Dial { way: name.to_owned(), source: Box::new(source) })?;
            let mut builder =
                TlsParameters::builder(settings.host.clone()).certificate_store(CertificateStore::None);
            for root in roots {
                let root = Certificate::from_der(root.to_vec()).map_err(|error| fault(error.to_string()))?;
                builder = builder.add_root_certificate(root);
            }
            builder.build_rustls().map_err(|error| fault(error.to_string()))
        };
        let protection = match settings.protection {
            MailProtection::Tls => Tls::Wrapper(tls()?),
            MailProtection::StartTls => Tls::Required(tls()?),
            MailProtection::None => Tls::None,
        };
        let host = settings.from.email.domain().to_owned();
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .tls(protection)
            .hello_name(ClientId::Domain(settings.hello.clone()))
            .timeout(Some(STEP));
        if let Some((user, file)) = &settings.login {
            let password = secret::read(name, file)?;
            transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        Ok(Self {
            name: name.to_owned(),
            from: settings.from.clone(),
            addresses: settings.addresses.clone(),
            domains: settings.domains.clone(),
            transport: transport.build(),
            host,
        })
    }

    /// Where the person reads mail.
    fn address(&self, person: &Subject) -> Option<Address> {
        if let Some(address) = self.addresses.get(person) {
            return Some(address.clone());
        }
        let name = person.as_str().strip_prefix("user:")?;
        let address: Address = name.parse().ok()?;
        self.domains.iter().any(|domain| address.domain() == domain).then_some(address)
    }

    async fn post(&self, message: &Message, person: &Subject) -> Result<(), Unsent> {
        let address = self
            .address(person)
            .ok_or_else(|| Unsent::Refused("no mail address of theirs is known".to_owned()))?;
        let letter = self
            .letter(message, address)
            .map_err(|_| Unsent::Refused("it can't be put into a letter".to_owned()))?;
        match self.transport.send(letter).await {
            Ok(_) => Ok(()),
            Err(error) => Err(judge(&error)),
        }
    }

    fn letter(&self, message: &Message, to: Address) -> Result<Letter, lettre::error::Error> {
        Letter::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(message.title.clone())
            .date(SystemTime::from(clock::now()))
            .message_id(Some(format!("<{}@{}>", message.id, self.host)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\n", message.body))
    }
}

/// What went wrong, without the server's own words: they hold addresses.
fn judge(error: &lettre::transport::smtp::Error) -> Unsent {
    let code = error.status().map(|code| format!(" ({code})")).unwrap_or_default();
    if error.is_permanent() {
        Unsent::Refused(format!("the mail server refused it{code}"))
    } else if error.is_transient() {
        Unsent::Away(format!("the mail server wants it later{code}"))
    } else if error.is_timeout() {
        Unsent::Away("the mail server did not answer in time".to_owned())
    } else if error.is_tls() {
        Unsent::Away("the mail server's TLS can't be trusted or used".to_owned())
    } else {
        Unsent::Away("the mail server can't be reached or broke off".to_owned())
    }
}

impl Way for Mail {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "mail"
    }

    fn is_personal(&self) -> bool {
        true
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        to: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<(), Unsent>> {
        async move {
            match to {
                Some(person) => self.post(message, person).await,
                None => Err(Unsent::Refused("it is for nobody".to_owned())),
            }
        }
        .boxed()
    }
}

//! A syslog sink as it stands in the configuration file, before it is checked.
//!
//! Unknown keys are refused; every fault is reported, each with the path of its key.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::options::{
    Address, ClientIdentity, Facility, LEAST_MAX_MESSAGE, PersonalView, SinkName, SyslogOptions, TlsOptions,
    Transport,
};

/// One `[[sink.syslog]]` table. What is absent takes the default of [`SyslogOptions`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSettings {
    /// Name of the sink: a-z, 0-9, inner dashes.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// `tls` (default) or `tcp`.
    #[serde(default)]
    pub transport: Carrier,
    /// PEM file of roots for the receiver's certificate; needed for TLS.
    pub ca_file: Option<PathBuf>,
    /// Name in the receiver's certificate, if it isn't the host of the address.
    pub server_name: Option<String>,
    /// PEM file of our certificate, where the receiver asks for one.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key_file: Option<PathBuf>,
    /// Syslog facility, 0 to 23; default 13.
    pub facility: Option<u8>,
    /// Private enterprise number in the structured data; default 32473 (documentation).
    pub enterprise: Option<NonZeroU32>,
    /// `values` (default) or `commitments`.
    #[serde(default)]
    pub personal: PersonalView,
    /// Most octets of one message, at least 2048.
    pub max_message_bytes: Option<usize>,
    /// Name lookup, connect and TLS handshake together, 1 to 300.
    pub connect_timeout_secs: Option<u64>,
    /// Patience with a receiver that takes nothing, 1 to 300.
    pub write_timeout_secs: Option<u64>,
    /// How long after a write a healthy connection counts as receipt, 1 to 3600.
    pub settle_secs: Option<u64>,
    /// Longest pause between attempts, 1 to 3600.
    pub retry_most_secs: Option<u64>,
}

/// `tls` or `tcp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carrier {
    /// RFC 5425.
    #[default]
    Tls,
    /// RFC 6587, octet counting.
    Tcp,
}

impl SyslogSettings {
    /// Checks everything. `at` is the path of this table (`sink.syslog[0]`); each fault is pushed to `problems` as
    /// `path: what is wrong`. `None` when there was any.
    pub fn parse(
        self,
        at: &str,
        cursor_directory: PathBuf,
        problems: &mut Vec<String>,
    ) -> Option<SyslogOptions> {
        let found_before = problems.len();
        let name = keep(at, "name", SinkName::parse(&self.name), problems);
        let address = keep(at, "address", Address::parse(&self.address), problems);
        let facility = self.facility.map(Facility::parse);
        let facility = facility.and_then(|facility| keep(at, "facility", facility, problems));
        let transport = self.transport(at, problems);
        let connect = seconds(at, "connect_timeout_secs", self.connect_timeout_secs, 300, problems);
        let write = seconds(at, "write_timeout_secs", self.write_timeout_secs, 300, problems);
        let settle = seconds(at, "settle_secs", self.settle_secs, 3600, problems);
        let retry = seconds(at, "retry_most_secs", self.retry_most_secs, 3600, problems);
        if self.max_message_bytes.is_some_and(|most| most < LEAST_MAX_MESSAGE) {
            problems.push(format!("{at}.max_message_bytes: at least {LEAST_MAX_MESSAGE} is needed"));
        }
        let mut options = SyslogOptions::new(name?, address?, transport?, cursor_directory);
        options.facility = facility.unwrap_or(options.facility);
        options.enterprise = self.enterprise.map_or(options.enterprise, NonZeroU32::get);
        options.personal = self.personal;
        options.max_message = self.max_message_bytes.unwrap_or(options.max_message);
        options.connect_timeout = connect.unwrap_or(options.connect_timeout);
        options.write_timeout = write.unwrap_or(options.write_timeout);
        options.settle = settle.unwrap_or(options.settle);
        options.retry_most = retry.unwrap_or(options.retry_most);
        (problems.len() == found_before).then_some(options)
    }

    fn transport(&self, at: &str, problems: &mut Vec<String>) -> Option<Transport> {
        let client = match (&self.client_certificate_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                Some(ClientIdentity { certificate: certificate.clone(), key: key.clone() })
            }
            (None, None) => None,
            _ => {
                problems.push(format!("{at}: client_certificate_file and client_key_file go together"));
                None
            }
        };
        match (self.transport, &self.ca_file) {
            (Carrier::Tls, Some(roots)) => Some(Transport::Tls(TlsOptions {
                roots: roots.clone(),
                server_name: self.server_name.clone(),
                client,
            })),
            (Carrier::Tls, None) => {
                problems.push(format!("{at}.ca_file: TLS needs the PEM file of the receiver's root"));
                None
            }
            (Carrier::Tcp, None) if self.server_name.is_none() && client.is_none() => Some(Transport::Tcp),
            // Keys that would be ignored are refused: the operator believes that this connection is encrypted.
            (Carrier::Tcp, _) => {
                problems.push(format!(
                    "{at}.transport: is \"tcp\", so nothing is encrypted, yet keys for TLS are set"
                ));
                None
            }
        }
    }
}

fn keep<T>(
    at: &str,
    key: &str,
    parsed: Result<T, super::options::NotAllowed>,
    problems: &mut Vec<String>,
) -> Option<T> {
    parsed.map_err(|error| problems.push(format!("{at}.{key}: {error}"))).ok()
}

fn seconds(
    at: &str,
    key: &str,
    given: Option<u64>,
    most: u64,
    problems: &mut Vec<String>,
) -> Option<Duration> {
    let given = given?;
    if given == 0 || given > most {
        problems.push(format!("{at}.{key}: {given} is not 1 to {most}"));
    }
    Some(Duration::from_secs(given))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(settings: Value) -> (Option<SyslogOptions>, Vec<String>) {
        let mut problems = Vec::new();
        let settings: SyslogSettings = serde_json::from_value(settings).unwrap();
        (settings.parse("sink.syslog[0]", PathBuf::from("sinks"), &mut problems), problems)
    }

    #[test]
    fn a_short_table_is_enough_and_the_rest_has_defaults() {
        let (options, problems) =
            parse(json!({"name": "siem", "address": "siem.example:6514", "ca_file": "root.pem"}));
        let options = options.unwrap();
        assert!(problems.is_empty());
        assert_eq!((options.facility, options.personal), (Facility::LOG_AUDIT, PersonalView::Values));
        assert_eq!(options.transport.as_str(), "tls");
    }

    #[test]
    fn all_faults_are_reported_at_once_each_with_its_key() {
        let (options, problems) = parse(json!({
            "name": "../siem", "address": "siem", "transport": "tcp", "ca_file": "root.pem", "facility": 24,
            "settle_secs": 0, "max_message_bytes": 100, "client_key_file": "key.pem",
        }));
        assert!(options.is_none());
        for key in [
            "name",
            "address",
            "transport",
            "facility",
            "settle_secs",
            "max_message_bytes",
            "client_key_file",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(key)), "{key} in {problems:?}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let settings = json!({"name": "siem", "address": "siem.example:6514", "adress": "x"});
        assert!(serde_json::from_value::<SyslogSettings>(settings).is_err());
    }

    #[test]
    fn tls_without_a_root_is_refused_rather_than_trusting_the_world() {
        let (options, problems) = parse(json!({"name": "siem", "address": "siem.example:6514"}));
        assert!(options.is_none());
        assert!(problems[0].contains("ca_file"), "{problems:?}");
    }
}

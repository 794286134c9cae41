//! The settings of `[tls]`, read and checked together: what connections must be, which certificates are shown, and whether clients show one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::CERTIFICATE_KEYS;
use super::reader::{Problems, Reader};
use crate::edge::NamedBy;

/// Section `[tls]`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Chain for the key with role `tls`.
    pub certificate_file: PathBuf,
    /// The organisation's root.
    pub root_file: PathBuf,
    /// Whether TLS 1.2 is spoken beside 1.3.
    pub with_1_2: bool,
    /// Whether a key exchange without a post-quantum half is refused.
    pub only_post_quantum: bool,
    /// Whether clients that know ML-DSA are shown a certificate with such a key.
    pub with_ml_dsa: bool,
    /// For how long certificates of the private root are issued.
    pub leaf: Duration,
    /// Certificates for names of their own.
    pub certificates: Vec<NamedCertificate>,
    /// Whose certificates clients may show; `None`: nobody is asked for one.
    pub clients: Option<Clients>,
}

/// A block `[[tls.certificate]]`.
#[derive(Debug, Clone)]
pub struct NamedCertificate {
    /// The chain, leaf first.
    pub certificate_file: PathBuf,
    /// Its private key; `None`: the provider's `tls` key.
    pub key_file: Option<PathBuf>,
    /// For which names; those in the certificate, if none are given.
    pub names: Vec<String>,
}

/// How clients prove themselves by certificate.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Whether a client without one is refused.
    pub required: bool,
    /// Authorities that may name people.
    pub roots_file: PathBuf,
    /// Their revocation lists.
    pub crl_file: Option<PathBuf>,
    /// Where the person stands in a certificate.
    pub named_by: NamedBy,
}

/// Reads the section; `certificates` are the blocks, which stand apart.
pub(super) fn read_tls(
    reader: &mut Reader<'_>,
    state: &Path,
    certificates: Vec<NamedCertificate>,
) -> Option<Tls> {
    let certificate_file = super::read::path(reader, "tls.certificate_file", state);
    let root_file = super::read::path(reader, "tls.root_file", state);
    let with_1_2 = reader.word("tls.minimum", &[("1.3", false), ("1.2", true)]);
    let only_post_quantum = reader.word("tls.post_quantum", &[("preferred", false), ("required", true)]);
    let with_ml_dsa = reader.word("tls.certificate_algorithm", &[("ecdsa-p256", false), ("ml-dsa-65", true)]);
    let leaf = reader.number("tls.leaf_days", 1, 397).map(|days| Duration::from_secs(days * 86_400));
    let asked =
        reader.word("tls.clients", &[("none", None), ("accept", Some(false)), ("require", Some(true))]);
    let vouching = super::read::path(reader, "tls.clients_file", state);
    let lists_path = super::read::path(reader, "tls.clients_crl_file", state);
    let rules = [("uri", NamedBy::Uri), ("email", NamedBy::Email), ("common-name", NamedBy::CommonName)];
    let naming = reader.word("tls.clients_named_by", &rules);

    let (certificate_file, root_file) = (certificate_file?, root_file?);
    let (with_1_2, only_post_quantum) = (with_1_2?, only_post_quantum?);
    if with_1_2 && only_post_quantum {
        reader.fault(
            "tls.minimum",
            "TLS 1.2 knows no post-quantum key exchange: with tls.post_quantum = \"required\" leave it at \"1.3\"",
        );
    }
    let asked = asked?;
    if asked.is_none() {
        for (key, given) in [("tls.clients_file", &vouching), ("tls.clients_crl_file", &lists_path)] {
            if given.is_some() {
                reader.fault(key, "has no effect while tls.clients is \"none\"");
            }
        }
    }
    let clients = match asked {
        None => None,
        Some(required) => Some(Clients {
            required,
            roots_file: vouching.unwrap_or_else(|| root_file.clone()),
            crl_file: lists_path,
            named_by: naming?,
        }),
    };
    Some(Tls {
        certificate_file,
        root_file,
        with_1_2,
        only_post_quantum,
        with_ml_dsa: with_ml_dsa?,
        leaf: leaf?,
        certificates,
        clients,
    })
}

/// Takes the `[[tls.certificate]]` blocks out of the table and reads them.
pub(super) fn read_certificates(
    table: &mut toml::Table,
    state: &Path,
    problems: &mut Problems,
) -> Vec<NamedCertificate> {
    let section = table.get_mut("tls").and_then(toml::Value::as_table_mut);
    let entries = match section.and_then(|section| section.remove("certificate")) {
        None => return Vec::new(),
        Some(toml::Value::Array(entries)) if entries.len() <= 256 => entries,
        Some(_) => {
            let message = "write each certificate as a block [[tls.certificate]], at most 256 of them";
            problems.add("tls.certificate", message);
            return Vec::new();
        }
    };
    let mut certificates: Vec<NamedCertificate> = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let prefix = format!("tls.certificate[{index}].");
        let toml::Value::Table(block) = entry else {
            problems.add(&prefix, "write each certificate as a block [[tls.certificate]]");
            continue;
        };
        let mut reader = Reader::new(block, CERTIFICATE_KEYS, &prefix, problems);
        let certificate_file =
            super::read::required(&mut reader, "certificate_file", |text| match text.as_str() {
                "" => Err("must not be empty".to_owned()),
                text => Ok(state.join(text)),
            });
        let key_file = super::read::path(&mut reader, "key_file", state);
        let names = reader.parse("names", parse_names).unwrap_or_default();
        if let Some(twice) = names.iter().find(|name| certificates.iter().any(|one| one.names.contains(name)))
        {
            reader.fault("names", format!("`{twice}` has another certificate already"));
        }
        if let Some(certificate_file) = certificate_file {
            certificates.push(NamedCertificate { certificate_file, key_file, names });
        }
    }
    certificates
}

#[expect(clippy::needless_pass_by_value, reason = "the reader hands over what it has read")]
fn parse_names(text: String) -> Result<Vec<String>, String> {
    let names: Vec<String> =
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    match names
        .iter()
        .find(|name| super::read::parse_domain(name.trim_start_matches("*.").to_owned()).is_err())
    {
        Some(wrong) => {
            Err(format!("`{wrong}` is not a host name in lower case, with or without `*.` before it"))
        }
        None => Ok(names),
    }
}

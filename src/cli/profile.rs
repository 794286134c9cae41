//! Which gateway, which token, which root: from flags, from the environment, or from what `sallyport login` remembered.
//!
//! A token is read from a file or from the environment, never taken as an argument (other users see those) and never put
//! into a URL.

use std::path::{Path, PathBuf};

use clap::Args;
use hyper::Uri;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::failure::{ExitCode, Failure};
use crate::tunnel::Fingerprint;
use crate::tunnel::client::{CertificateFiles, Proxies};

/// A token is a few hundred bytes; what is much longer is not one.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Flags of every command that talks to a gateway.
#[derive(Debug, Clone, Args)]
pub(super) struct Connection {
    /// Address of the gateway, such as <https://tunnels.example.com>
    #[arg(long, env = "SALLYPORT_GATEWAY", global = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// File that holds your token
    #[arg(long, env = "SALLYPORT_TOKEN_FILE", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Your certificate (PEM), for a gateway that knows people by certificate
    #[arg(long, env = "SALLYPORT_CERT_FILE", global = true, value_name = "FILE", requires = "cert_key_file")]
    pub cert_file: Option<PathBuf>,
    /// The private key (PEM) of your certificate
    #[arg(long, env = "SALLYPORT_CERT_KEY_FILE", global = true, value_name = "FILE", requires = "cert_file")]
    pub cert_key_file: Option<PathBuf>,
    /// Root certificate (PEM) of the organisation that runs the gateway
    #[arg(long, env = "SALLYPORT_CA_FILE", global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The gateway's fingerprint, as `sallyportd keys list` prints it: publish and enroll towards no other identity
    #[arg(long, env = "SALLYPORT_PIN", global = true, value_name = "FINGERPRINT", value_parser = parse_pin)]
    pub pin: Option<Fingerprint>,
    /// The proxy on the way to the gateway: `http://HOST:PORT`, `socks5://HOST:PORT`, `socks5h://HOST:PORT`, or `none`; if not
    /// given, what `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say
    #[arg(long, env = "SALLYPORT_PROXY", global = true, value_name = "URL")]
    pub proxy: Option<String>,
    /// File with USER:PASSWORD for that proxy
    #[arg(
        long,
        env = "SALLYPORT_PROXY_CREDENTIALS_FILE",
        global = true,
        value_name = "FILE",
        requires = "proxy"
    )]
    pub proxy_credentials_file: Option<PathBuf>,
    /// Folder with your settings and the gateways you know
    #[arg(long, env = "SALLYPORT_HOME", global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// What `sallyport login` remembers.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    /// Address of the gateway.
    pub gateway: Option<String>,
    /// File that holds the token.
    pub token_file: Option<PathBuf>,
    /// Certificate to show in TLS.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub cert_key_file: Option<PathBuf>,
    /// Root certificate.
    pub ca_file: Option<PathBuf>,
}

/// A gateway that is known well enough to be called.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// Host name, for TLS and for the Host header.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Where the organisation's root is, if it is a private one.
    pub ca_file: Option<PathBuf>,
    /// What to show in TLS.
    pub certificate: Option<CertificateFiles>,
    /// The identity that the gateway must show.
    pub pin: Option<Fingerprint>,
    /// Folder of settings and known gateways.
    pub home: PathBuf,
    /// Proxies on the way.
    pub proxies: Proxies,
    token_file: Option<PathBuf>,
}

fn parse_pin(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(text).ok_or_else(|| {
        "this is no fingerprint: write `SHA256:` and 43 characters, as `sallyportd keys list` prints it"
            .to_owned()
    })
}

impl Connection {
    /// Joins flags, environment and what was remembered.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let home = self.home()?;
        let remembered = Remembered::read(&home)?;
        let gateway = self.gateway.clone().or(remembered.gateway).ok_or_else(|| {
            Failure::new(
                ExitCode::Usage,
                "no gateway is named",
                "give --gateway URL, set SALLYPORT_GATEWAY, or run `sallyport login` once",
            )
        })?;
        let (host, port) = split_url(&gateway)?;
        let chain = self.cert_file.clone().or(remembered.cert_file);
        let certificate = chain.zip(self.cert_key_file.clone().or(remembered.cert_key_file));
        Ok(Profile {
            host,
            port,
            ca_file: self.ca_file.clone().or(remembered.ca_file),
            token_file: self.token_file.clone().or(remembered.token_file),
            certificate: certificate.map(|(chain, key)| CertificateFiles { chain, key }),
            pin: self.pin,
            proxies: self.proxies()?,
            home,
        })
    }

    fn proxies(&self) -> Result<Proxies, Failure> {
        let credentials = self.proxy_credentials_file.as_deref().map(read_credentials).transpose()?;
        match self.proxy.as_deref() {
            None => Ok(Proxies::of_environment()),
            Some("none") => Ok(Proxies::none()),
            Some(address) => Proxies::at(address, credentials.as_ref())
                .map_err(|error| Failure::new(ExitCode::Usage, error.to_string(), error.hint())),
        }
    }

    /// The folder with settings and known gateways.
    pub(super) fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        std::env::home_dir().map(|home| home.join(".config").join("sallyport")).ok_or_else(|| {
            Failure::new(
                ExitCode::Usage,
                "your home folder is not known",
                "set SALLYPORT_HOME or give --home DIR",
            )
        })
    }
}

impl Remembered {
    fn file(home: &Path) -> PathBuf {
        home.join("client.toml")
    }

    /// What was remembered in `home`; nothing, if nothing was.
    pub(super) fn read(home: &Path) -> Result<Self, Failure> {
        let file = Self::file(home);
        match std::fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Failure::new(
                    ExitCode::Usage,
                    format!("{} is not valid: {error}", file.display()),
                    "mend it, or run `sallyport login` again",
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::new(
                ExitCode::Failed,
                format!("cannot read {}: {error}", file.display()),
                "check who may read it",
            )),
        }
    }

    /// Remembers it in `home`.
    pub(super) fn write(&self, home: &Path) -> Result<PathBuf, Failure> {
        let file = Self::file(home);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(home)?;
            let text = toml::to_string(self).map_err(std::io::Error::other)?;
            std::fs::write(&file, text)
        };
        write().map_err(|error| {
            Failure::new(
                ExitCode::Failed,
                format!("cannot write {}: {error}", file.display()),
                "check who may write there, or give --home DIR",
            )
        })?;
        Ok(file)
    }
}

impl Profile {
    /// `host:port`
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The token, if one is named, or if there is no certificate that says who this is.
    pub(super) fn token_if_needed(&self) -> Result<Option<SecretString>, Failure> {
        let named = self.token_file.is_some() || std::env::var_os("SALLYPORT_TOKEN").is_some();
        if named || self.certificate.is_none() { self.token().map(Some) } else { Ok(None) }
    }

    /// The token: `SALLYPORT_TOKEN`, or the content of the token file.
    pub(super) fn token(&self) -> Result<SecretString, Failure> {
        if let Ok(token) = std::env::var("SALLYPORT_TOKEN") {
            return Ok(SecretString::from(token.trim().to_owned()));
        }
        let Some(file) = &self.token_file else {
            return Err(Failure::new(
                ExitCode::Usage,
                "no token is named",
                "give --token-file FILE, set SALLYPORT_TOKEN_FILE, or run `sallyport login` once",
            ));
        };
        read_token(file)
    }
}

/// A proxy's credentials in a file.
fn read_credentials(file: &Path) -> Result<SecretString, Failure> {
    read_secret(file, "the proxy's credentials", "check the path and who may read it; it holds USER:PASSWORD")
}

/// The token in a file.
pub(super) fn read_token(file: &Path) -> Result<SecretString, Failure> {
    let hint = "check the path and who may read it; an admin makes tokens with `sallyport tokens issue`";
    read_secret(file, "the token", hint)
}

fn read_secret(file: &Path, what: &str, hint: &str) -> Result<SecretString, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(ExitCode::Usage, format!("cannot read {what} in {}: {error}", file.display()), hint)
    };
    let length = std::fs::metadata(file).map_err(|error| unreadable(&error))?.len();
    if length > LONGEST_TOKEN {
        return Err(unreadable(&format_args!("the file is too long for {what}")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn split_url(text: &str) -> Result<(String, u16), Failure> {
    let wrong = || {
        Failure::new(
            ExitCode::Usage,
            format!("`{text}` is not the address of a gateway"),
            "write it as https://HOST or https://HOST:PORT",
        )
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    if !matches!(uri.scheme_str(), Some("https" | "wss")) || uri.path().len() > 1 || uri.query().is_some() {
        return Err(wrong());
    }
    let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_https_address_without_a_path_names_a_gateway() {
        assert_eq!(split_url("https://localhost:8443").unwrap(), ("localhost".to_owned(), 8443));
        assert_eq!(split_url("https://gate.example/").unwrap(), ("gate.example".to_owned(), 443));
        assert_eq!(split_url("https://[::1]:1").unwrap(), ("::1".to_owned(), 1));
        for wrong in ["http://localhost", "localhost:8443", "https://a/b", "https://a?token=b", ""] {
            assert!(split_url(wrong).is_err(), "{wrong}");
        }
    }
}

//! Certificates and the TLS settings that every front door shares.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Names of the self-signed pair in the data folder.
const CERTIFICATE_FILE: &str = "tls-certificate.pem";
const KEY_FILE: &str = "tls-key.pem";

/// Whether clients may, must or cannot encrypt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    Off,
    #[default]
    Allow,
    Require,
}

impl std::str::FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(TlsMode::Off),
            "allow" => Ok(TlsMode::Allow),
            "require" => Ok(TlsMode::Require),
            other => Err(format!("tls must be off, allow or require, not {other:?}")),
        }
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// PEM files: the certificate with its chain, and its key.
    Files { certificate: PathBuf, key: PathBuf },
    /// A certificate of our own, made once and kept in this folder. It encrypts, but clients that
    /// check who they talk to must be given it first.
    SelfSigned { folder: PathBuf },
}

/// What is wrong with TLS settings; the server must not start without what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("certificate and key do not serve: {0}")]
    Unfit(#[from] rustls::Error),
}

/// Settings for servers, TLS 1.2 and 1.3, without client certificates. None where TLS is off.
///
/// # Errors
/// Unreadable, missing or mismatched files; a folder that cannot be written.
pub fn server_config(
    mode: TlsMode,
    source: &CertificateSource,
) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    if mode == TlsMode::Off {
        return Ok(None);
    }
    let (certificate, key) = match source {
        CertificateSource::Files { certificate, key } => (certificate.clone(), key.clone()),
        CertificateSource::SelfSigned { folder } => self_signed(folder)?,
    };
    let chain = read_chain(&certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .map_err(|source| TlsError::Pem { path: key.clone(), source })?;
    // The provider is named here, so that a second one in the program cannot make this ambiguous.
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(Arc::new(config)))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Pem { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(chain)
}

/// The pair in `folder`, made where one of the two is missing.
fn self_signed(folder: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Millrace self-signed");
    let pair = KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    // The key goes first: without its certificate it is made anew, never the other way round.
    write_secret(folder, &key, &pair.serialize_pem())?;
    write_secret(folder, &certificate, &made.pem())?;
    Ok((certificate, key))
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_secret(folder: &Path, path: &Path, text: &str) -> Result<(), TlsError> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let part = path.with_extension("part");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;

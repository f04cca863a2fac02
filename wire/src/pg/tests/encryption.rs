//! TLS: asked for and given, asked for and not there, required and not asked for.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::{CertificateSource, TlsMode, server_config};

pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate of our own, and a client's settings that trust it alone.
pub fn settings() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let folder = tempfile::tempdir().unwrap();
    let source = CertificateSource::SelfSigned { folder: folder.path().to_owned() };
    let server = server_config(TlsMode::Allow, &source).unwrap().unwrap();
    let mut roots = RootCertStore::empty();
    let file = folder.path().join("tls-certificate.pem");
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, Arc::new(client))
}

async fn handshake(
    shared: &Arc<Shared<Fake>>,
    config: Arc<ClientConfig>,
) -> TlsStream<DuplexStream> {
    let (mut near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(converse(far, HERE, Arc::clone(shared), false));
    near.write_all(&SSL_REQUEST).await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'S');
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, near).await.unwrap()
}

fn required() -> PgOptions {
    PgOptions { tls_required: true, ..PgOptions::default() }
}

#[tokio::test]
async fn conversations_under_tls() {
    let (server, config) = settings();
    let shared = door(required(), Some(server));
    let mut client = Client::new(handshake(&shared, config).await);
    client.log_in("ann", "right").await;
    assert_eq!(client.ask(&[simple("SELECT 1")]).await, "T(n:20) D(0) C(SELECT 1) Z(I)");
    // More than the socket's buffers hold, so that writes wait within TLS.
    let answer = client.ask(&[simple("SELECT 100000")]).await;
    assert!(answer.ends_with("D(99999) C(SELECT 100000) Z(I)"));
}

#[tokio::test]
async fn plaintext_where_tls_is_required_is_refused() {
    let (server, _) = settings();
    let refused = dial(&door(required(), Some(server))).try_log_in("ann", "right").await;
    assert_eq!(refused.unwrap_err(), "E(28000) \"connection requires TLS\" closed");
}

#[tokio::test]
async fn without_a_certificate_the_answer_is_no() {
    let mut client = dial(&usual());
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.read_byte().await, b'N');
    client.log_in("ann", "right").await;
}

#[tokio::test]
async fn a_failed_handshake_closes_the_connection() {
    let (server, _) = settings();
    let mut client = dial(&door(required(), Some(server)));
    client.write(&SSL_REQUEST).await;
    assert_eq!(client.read_byte().await, b'S');
    client.write(b"this is no handshake").await;
    client.hang_up().await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"R"));
}

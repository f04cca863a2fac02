//! Certificates are made once, kept private, and refused where they do not fit.

use super::*;

fn own(folder: &Path) -> CertificateSource {
    CertificateSource::SelfSigned { folder: folder.to_owned() }
}

#[test]
fn off_needs_no_certificate() {
    let nowhere = own(Path::new("/nowhere/at/all"));
    assert!(server_config(TlsMode::Off, &nowhere).unwrap().is_none());
}

#[test]
fn own_certificate_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let make = || server_config(TlsMode::Allow, &own(folder.path())).unwrap().is_some();
    assert!(make());
    let first = fs::read(folder.path().join(CERTIFICATE_FILE)).unwrap();
    assert!(make());
    assert_eq!(first, fs::read(folder.path().join(CERTIFICATE_FILE)).unwrap());
}

#[cfg(unix)]
#[test]
fn own_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    server_config(TlsMode::Require, &own(folder.path())).unwrap();
    let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn bad_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    server_config(TlsMode::Allow, &own(folder.path())).unwrap();
    server_config(TlsMode::Allow, &own(other.path())).unwrap();
    let files = |certificate: PathBuf, key: PathBuf| {
        let source = CertificateSource::Files { certificate, key };
        server_config(TlsMode::Allow, &source).map(|config| config.is_some())
    };
    let (certificate, key) = (folder.path().join(CERTIFICATE_FILE), folder.path().join(KEY_FILE));
    assert!(files(certificate.clone(), key.clone()).unwrap());
    // A key of another certificate.
    assert!(files(certificate.clone(), other.path().join(KEY_FILE)).is_err());
    // A key where the certificate should be, a missing file, and the other way round.
    assert!(files(key.clone(), key.clone()).is_err());
    assert!(files(certificate.clone(), folder.path().join("none.pem")).is_err());
    assert!(files(certificate.clone(), certificate).is_err());
}

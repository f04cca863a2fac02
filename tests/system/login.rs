//! Who may come in: passwords, users, encryption.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::server::{TestServer, block_on, first_row};

async fn refused(server: &TestServer, user: &str, password: &str) -> (String, String) {
    let mut connection = server.connection();
    connection.user = user.into();
    let mut config = tokio_postgres::Config::new();
    let config = config
        .host("127.0.0.1")
        .port(server.server.pg.port())
        .user(user)
        .password(password)
        .dbname("millrace");
    let error = config.connect(tokio_postgres::NoTls).await.err().expect("must be refused");
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().code().to_owned(), error.message().replace(user, "USER"))
}

#[test]
fn wrong_passwords_and_unknown_users_get_the_same_words() {
    let server = TestServer::start();
    block_on(async {
        let wrong = refused(&server, "admin", "wrong").await;
        let unknown = refused(&server, "nobody", "wrong").await;
        assert_eq!(wrong.0, "28P01");
        assert_eq!(wrong, unknown);
        assert_eq!(first_row(&server.sql().await, "SELECT current_user").await, "admin");
    });
    let mut answers = Vec::new();
    for (user, password) in [("admin", "wrong"), ("nobody", "wrong"), ("", "")] {
        let response = server.http_as(user, password).post("/write", "text/plain", b"m v=1 1");
        let response = response.unwrap();
        assert_eq!(response.status, 401, "{user}: {}", response.text());
        answers.push(response.text());
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(block_on(server.one("SELECT count(*) FROM sys.tables")), "0");
}

#[test]
#[cfg(target_os = "linux")]
fn a_stranger_does_not_lock_a_user_out() {
    let server = TestServer::start();
    block_on(async {
        // All of 127.0.0.0/8 is this machine; the server listens on 127.0.0.1.
        for _ in 0..12 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let stream = socket.connect(server.server.pg).await.unwrap();
            let mut config = tokio_postgres::Config::new();
            config.user("admin").password("guessed").dbname("millrace");
            let refused = config.connect_raw(stream, tokio_postgres::NoTls).await;
            let error = refused.err().expect("must be refused");
            assert_eq!(error.as_db_error().unwrap().code().code(), "28P01");
        }
        assert_eq!(first_row(&server.sql().await, "SELECT current_user").await, "admin");
    });
}

#[test]
fn influx_ways_to_log_in() {
    let server = TestServer::start();
    let password = server.server.password.clone();
    let raw = |path: &str, header: &str| -> u16 {
        let mut stream = TcpStream::connect(server.server.http).unwrap();
        let body = "m v=1 1704067200000000000";
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\
             {header}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let token = format!("Authorization: Token admin:{password}\r\n");
    assert_eq!(raw("/api/v2/write", &token), 204);
    let encoded = password.replace(' ', "%20");
    assert_eq!(raw(&format!("/write?u=admin&p={encoded}"), ""), 204);
    assert_eq!(raw("/write?u=admin&p=wrong", ""), 401);
    assert_eq!(raw("/write", ""), 401);
    assert_eq!(raw("/write", "Authorization: Token admin:wrong\r\n"), 401);
}

#[test]
fn rights_hold() {
    let server = TestServer::start();
    server.write("m v=1 1704067200000000000");
    block_on(async {
        let admin = server.sql().await;
        admin.batch_execute("CREATE USER reader PASSWORD 'only reading' READ").await.unwrap();
        let mut connection = server.connection();
        connection.user = "reader".into();
        connection.password = Some("only reading".into());
        let reader = connection.postgres().await.unwrap();
        assert_eq!(first_row(&reader, "SELECT count(*) FROM m").await, "1");
        for sql in ["INSERT INTO m (time, v) VALUES (now(), 2)", "DROP TABLE m", "DROP USER admin"]
        {
            let error = reader.simple_query(sql).await.expect_err(sql);
            assert_eq!(error.as_db_error().unwrap().code().code(), "42501", "{sql}");
        }
    });
    let mut reader = server.http_as("reader", "only reading");
    assert_eq!(reader.post("/write", "text/plain", b"m v=2 5").unwrap().status, 403);
}

#[test]
fn plaintext_is_refused_where_encryption_is_required() {
    let server = TestServer::with(&["--tls=require"]);
    let (code, message) = block_on(refused(&server, "admin", &server.server.password));
    assert_eq!(code, "28000");
    assert!(message.contains("TLS"), "{message}");
    // HTTP without TLS is no HTTP there.
    assert!(server.http().get("/health").is_err());
}

#[test]
fn http_over_tls() {
    let server = TestServer::with(&["--tls=require"]);
    let certificate = server.options.folder.join("tls-certificate.pem");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&certificate).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(server.server.http).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, socket);
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn the_network_needs_encryption_or_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::server::program())
        .args(["serve", "--listen-pg", "0.0.0.0:0", "--listen-http", "off"])
        .args(["--listen-grpc", "off", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--insecure"));
}

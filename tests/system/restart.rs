//! Stops and starts: nothing is lost, and a folder has one server.

use std::time::Duration;

use crate::server::{TestServer, block_on};

const T: i64 = 1_704_067_200_000_000_000;

#[test]
fn a_graceful_stop_keeps_everything() {
    let mut server = TestServer::start();
    for round in 1..=3 {
        let lines: String = (0..1000)
            .map(|n| format!("m,host=h{} v={n}i {}\n", n % 5, T + (round * 1000 + n) * 1_000_000))
            .collect();
        server.write(&lines);
        block_on(async {
            let client = server.sql().await;
            client.batch_execute(&format!("CREATE USER user{round} PASSWORD 'long enough'")).await
        })
        .unwrap();
        let code = server.server.terminate(Duration::from_secs(60)).unwrap();
        assert_eq!(code, 0, "{}", server.log());
        server.restart();
        let expected = (round * 1000).to_string();
        assert_eq!(block_on(server.one("SELECT count(*) FROM m")), expected);
        let users = block_on(server.one("SELECT count(*) FROM pg_catalog.pg_roles"));
        assert!(users.parse::<i64>().unwrap() > round, "{users} users");
        // The password was made at the first start and is not told again.
        assert!(!server.server.welcome.contains("First start"), "{}", server.server.welcome);
    }
}

#[test]
fn a_stop_lets_running_requests_finish() {
    let mut server = TestServer::start();
    let connection = server.connection();
    // The table is there however slow the writers are.
    let first = connection.http().unwrap().post("/write", "text/plain", b"m,writer=first n=1i 1");
    assert_eq!(first.unwrap().status, 204);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let connection = connection.clone();
            std::thread::spawn(move || {
                let mut http = connection.http().unwrap();
                let mut acknowledged = 0i64;
                for n in 0i64.. {
                    let line = format!("m,writer=w{writer} n={n}i {}", T + n);
                    match http.post("/write", "text/plain", line.as_bytes()) {
                        Ok(response) if response.status == 204 => acknowledged = n + 1,
                        // Refused or cut off: the server is going.
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(server.server.terminate(Duration::from_secs(60)).unwrap(), 0);
    let acknowledged: Vec<i64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    server.restart();
    for (writer, count) in acknowledged.iter().enumerate() {
        let sql = format!("SELECT count(*) FROM m WHERE writer = 'w{writer}'");
        let found: i64 = block_on(server.one(&sql)).parse().unwrap();
        // One more may have been written whose answer was cut off.
        assert!((*count..=count + 1).contains(&found), "{found} rows, {count} acknowledged");
    }
}

#[test]
fn a_second_server_is_refused() {
    let server = TestServer::start();
    let output = std::process::Command::new(crate::server::program())
        .args(["serve", "--listen-pg=127.0.0.1:0", "--listen-http=127.0.0.1:0"])
        .args(["--listen-grpc=off", "--data-dir"])
        .arg(&server.options.folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&server.server.pid().to_string()), "{errors}");
    assert!(errors.contains("locked"), "{errors}");
    // The same with the ports of the first one.
    let (pg, http) = (server.server.pg.to_string(), server.server.http.to_string());
    let output = std::process::Command::new(crate::server::program())
        .args(["serve", "--listen-pg", &pg, "--listen-http", &http])
        .args(["--listen-grpc=off", "--data-dir"])
        .arg(&server.options.folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("locked"));
    assert_eq!(block_on(server.one("SELECT 1")), "1");
}

#[test]
fn the_first_start_shows_a_password_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut options =
        tools::process::ServerOptions::new(crate::server::program(), &folder.path().join("data"));
    // An empty variable is as good as none.
    options.password = String::new();
    options.log = Some(folder.path().join("log"));
    let mut server = tools::process::Server::start(&options).unwrap();
    let line = server.welcome.lines().find(|line| line.contains("First start"));
    let password = line.unwrap().split_whitespace().last().unwrap().to_owned();
    assert!(password.len() >= 16, "{password}");
    assert!(!std::fs::read_to_string(folder.path().join("log")).unwrap().contains(&password));
    let connection = tools::client::Connection {
        url: format!("http://{}", server.http),
        pg: server.pg.to_string(),
        user: "admin".into(),
        password: Some(password),
    };
    let response = connection.http().unwrap().post("/write", "text/plain", b"m v=1 1").unwrap();
    assert_eq!(response.status, 204, "{}", response.text());
    assert_eq!(server.terminate(Duration::from_secs(60)).unwrap(), 0);
    let server = tools::process::Server::start(&options).unwrap();
    assert!(!server.welcome.contains("First start"), "{}", server.welcome);
}

//! Commands as a user types them.

use std::io::Write;

use crate::server::{TestServer, block_on, check};

const T: i64 = 1_704_067_200_000_000_000;

#[test]
fn csv_files_are_imported() {
    let server = TestServer::start();
    let plain = server.folder().join("valve.csv");
    std::fs::write(
        &plain,
        "datetime;Current;Volume Flow RateRMS;state\n\
         2020-03-09 10:14:33;1.5;32.0;on\n2020-03-09 10:14:34;;31.5;off\n\
         not a time;1;1;on\n2020-03-09 10:14:35;2.5;33;on\n",
    )
    .unwrap();
    let packed = server.folder().join("valve.csv.gz");
    let file = std::fs::File::create(&packed).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(b"datetime;Current;Volume Flow RateRMS;state\n2020-03-09 10:15:00;7;8;on\n")
        .unwrap();
    gzip.finish().unwrap();
    let (plain, packed) = (plain.to_str().unwrap(), packed.to_str().unwrap());
    let output = server.command(&["import", "--tag", "run=one", plain, packed]).output().unwrap();
    check(&output, 1, "4 rows", "valve.csv line 4: `not a time`");
    let sql = "SELECT count(*), sum(\"Current\"), count(\"Current\") FROM valve WHERE run = 'one'";
    assert_eq!(block_on(server.one(sql)), "4|11|3");
    let sql = "SELECT \"Volume Flow RateRMS\" FROM valve ORDER BY time LIMIT 1";
    assert_eq!(block_on(server.one(sql)), "32");
}

#[test]
fn line_protocol_files_are_imported() {
    let server = TestServer::start();
    let path = server.folder().join("lines.lp.zst");
    let lines: String = (0..5000)
        .map(|n| format!("m,host=h{} v={n}i,note=\"two\nlines\" {}\n", n % 5, T + n))
        .collect();
    std::fs::write(&path, zstd::encode_all(lines.as_bytes(), 1).unwrap()).unwrap();
    let arguments = ["import", "--workers=2", "--chunk-bytes=8192", path.to_str().unwrap()];
    let output = server.command(&arguments).output().unwrap();
    check(&output, 0, "rows/s", "");
    assert_eq!(block_on(server.one("SELECT count(*), sum(v) FROM m")), "5000|12497500");
}

#[test]
fn simulated_data_is_streamed() {
    let server = TestServer::start();
    let arguments = ["simulate", "cpu-only", "--scale=5", "--hours=0.5", "--stream", "--workers=2"];
    check(&server.command(&arguments).output().unwrap(), 0, "", "900 rows");
    assert_eq!(block_on(server.one("SELECT count(*) FROM cpu")), "900");
    let file = server.folder().join("iot.lp.gz");
    let file = file.to_str().unwrap();
    let arguments = ["simulate", "iot", "--scale=3", "--hours=1", "--output", file];
    check(&server.command(&arguments).output().unwrap(), 0, "", "rows");
    check(&server.command(&["import", file]).output().unwrap(), 0, "rows/s", "");
}

#[test]
fn sql_prints_tables_and_csv() {
    let server = TestServer::start();
    server.write(&format!("m,host=a n=1i {T}\nm,host=b n=20i {T}"));
    let sql = "SELECT host, n FROM m ORDER BY host";
    let output = server.command(&["sql", sql]).output().unwrap();
    check(&output, 0, " host | n\n", "");
    check(&output, 0, "(2 rows)", "");
    let output = server.command(&["sql", "--csv", sql]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "host,n\na,1\nb,20\n");
    let output = server.command(&["sql", "SELECT * FROM nowhere"]).output().unwrap();
    check(&output, 1, "", "42P01");
    let output = server.command(&["sql", "--user", "nobody", "SELECT 1"]).output().unwrap();
    check(&output, 1, "", "28P01");
}

#[test]
fn a_folder_is_read_without_a_server() {
    let mut server = TestServer::start();
    server.write(&format!("m,host=a n=1i {T}\nm,host=b n=20i {T}"));
    let folder = server.options.folder.to_str().unwrap().to_owned();
    let sql = ["sql", "--csv", "--data-dir", &folder, "SELECT sum(n) AS s, min(time) AS t FROM m"];
    // Not while a server has it.
    check(&server.command(&sql).output().unwrap(), 1, "", "locked");
    server.server.terminate(std::time::Duration::from_secs(60)).unwrap();
    check(&server.command(&sql).output().unwrap(), 0, "s,t\n21,2024-01-01 00:00:00", "");
    let file = server.folder().join("more.lp");
    std::fs::write(&file, format!("m,host=c n=300i {T}\n")).unwrap();
    let import = ["import", "--data-dir", &folder, file.to_str().unwrap()];
    check(&server.command(&import).output().unwrap(), 0, "1 rows", "");
    check(&server.command(&sql).output().unwrap(), 0, "321,", "");
}

#[test]
fn settings_come_from_file_variables_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("millrace.toml");
    std::fs::write(&file, "listen_pg = \"127.0.0.1:1\"\nlog = \"debug\"\ntls = \"require\"\n")
        .unwrap();
    let mut command = std::process::Command::new(crate::server::program());
    command
        .args(["serve", "--print-settings", "--tls", "allow", "--config"])
        .arg(&file)
        .env("MILLRACE_LOG", "warn")
        .env("MILLRACE_ADMIN_PASSWORD", "not to be shown");
    let output = command.output().unwrap();
    check(&output, 0, "listen_pg = \"127.0.0.1:1\"", "");
    check(&output, 0, "log = \"warn\"", "");
    check(&output, 0, "tls = \"allow\"", "");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("not to be shown"));
    let output = command.env("MILLRACE_LISTEN_GP", "x").output().unwrap();
    check(&output, 2, "", "no option `listen_gp`; known: data_dir");
}

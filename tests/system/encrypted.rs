//! An encrypted folder as its operator meets it: no text on the disk, another key while the server
//! runs, refusal without the key.

use std::path::Path;

use crate::server::{TestServer, block_on};

const T: i64 = 1_704_067_200_000_000_000;

/// Whether a text stands in any file below a folder.
fn stands_in(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| match path.is_dir() {
        true => stands_in(&path, text),
        false => {
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}

#[test]
fn an_encrypted_folder_is_served_and_its_key_changed() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("key");
    let (first, second) = ("5a".repeat(32), "c3".repeat(32));
    std::fs::write(&file, &first).unwrap();
    let file = file.to_str().unwrap();
    let mut server =
        TestServer::with(&["--encryption-key-file", file, "--encryption-key-seconds", "1"]);
    server.write(&format!("hushed,host=whisperer note=\"murmured\",v=1 {T}"));
    block_on(async { server.sql().await.batch_execute("CHECKPOINT").await }).unwrap();
    server.write(&format!("hushed,host=whisperer note=\"murmured\",v=2 {}", T + 1));
    assert_eq!(block_on(server.one("SELECT count(*) FROM sys.keys WHERE current")), "1");

    // A whole new file takes the place of the old one, as is said in the README.
    let new = keys.path().join("new");
    std::fs::write(&new, format!("{second}\n{first}\n")).unwrap();
    std::fs::rename(&new, file).unwrap();
    server.wait_for("SELECT count(*), sum(files) FROM sys.keys WHERE NOT current", "1|0");
    server.write(&format!("hushed,host=whisperer note=\"murmured\",v=3 {}", T + 2));
    server.server.kill().unwrap();

    let data = server.folder().join("data");
    for text in ["hushed", "whisperer", "murmured"] {
        assert!(!stands_in(&data, text), "{text} can be read");
    }
    for key in [&first, &second] {
        assert!(!server.log().contains(key.as_str()), "a key in the log");
    }
    let verify = |arguments: &[&str]| {
        let folder = data.to_str().unwrap();
        let mut command = server.command(&["verify", "--data-dir", folder]);
        let output = command.args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (fine, why) = verify(&[]);
    assert!(!fine && why.contains("is encrypted and no key is given"), "{why}");
    std::fs::write(file, &first).unwrap();
    let (fine, why) = verify(&["--encryption-key-file", file]);
    assert!(!fine && why.contains("not among the keys given"), "{why}");
    std::fs::write(file, &second).unwrap();
    let (fine, why) = verify(&["--encryption-key-file", file]);
    assert!(fine, "{why}");
    server.restart();
    assert_eq!(block_on(server.one("SELECT count(*), sum(v) FROM hushed")), "3|6");
}

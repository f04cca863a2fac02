//! Tests of stores of the cloud.

use std::io::ErrorKind;

use tsdb::tier::check_conformance;

use super::*;

/// Against a real server that speaks S3, named by `MILLRACE_TEST_S3` (the URL of a bucket)
/// and the AWS variables; skipped without.
#[test]
fn s3_check_conformance() {
    let Ok(bucket) = std::env::var("MILLRACE_TEST_S3") else {
        eprintln!("skipped: MILLRACE_TEST_S3 names no S3 bucket");
        return;
    };
    let connector = CloudConnector::default();
    // A place of its own: other tests may use the bucket at the same time.
    let bucket = format!("{bucket}/tier-{}", std::process::id());
    check_conformance(connector.connect(&bucket).unwrap().as_ref());
    let below = connector.connect(&format!("{bucket}/some/folder")).unwrap();
    check_conformance(below.as_ref());
    // Long enough to go up in parts, and each of them its own.
    let long: Vec<u8> = (0..20u64 << 20).map(|i| (i >> 12) as u8).collect();
    below.put("long", &mut long.as_slice()).unwrap();
    assert_eq!(below.size("long").unwrap(), long.len() as u64);
    let range = (8 << 20) - 10..(16 << 20) + 10;
    assert_eq!(
        below.get("long", range.clone()).unwrap(),
        long[8 * 1_048_576 - 10..][..range.count()]
    );
    below.delete("long").unwrap();
    let other = connector.connect("s3://no-such-bucket/x").unwrap();
    let error = other.put("a", &mut b"x".as_slice()).unwrap_err().to_string();
    assert!(error.contains("s3://no-such-bucket/x/a"), "{error}");
}

/// A blocking call from within a runtime must neither panic nor wait for ever.
#[tokio::test]
async fn clouds_may_be_asked_from_a_runtime() {
    let impatient = CloudConnector { retries_max: 0, patience: std::time::Duration::from_secs(2) };
    // No bucket is there: the call fails, and it fails as an error.
    let nowhere = impatient.connect("s3://bucket.invalid/x").unwrap();
    assert!(nowhere.size("a").is_err());
}

#[test]
fn urls_without_sense_are_refused() {
    let connector = CloudConnector::default();
    for (url, says) in [
        ("/srv/archive", "not the URL"),
        ("ftp://host/x", "file, s3, az, gs"),
        ("s3://key:secret@bucket/x", "variables"),
        ("s3://bucket/x?key=1", "variables"),
        ("s3://bucket/a//b", "not a name"),
        ("file://relative", "not the URL"),
    ] {
        let refused = connector.connect(url).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(refused.to_string().contains(says), "{url}: {refused}");
        assert!(!refused.to_string().contains("secret"), "{url}: {refused}");
    }
}

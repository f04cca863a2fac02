//! What every object store must do.

use std::io::ErrorKind;

use super::*;

fn behaves(objects: &dyn Objects) {
    assert_eq!(objects.list("").unwrap(), []);
    assert_eq!(objects.size("a/b").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects.get("a/b", 0..1).unwrap_err().kind(), ErrorKind::NotFound);
    objects.put("a/b", &mut b"hello".as_slice()).unwrap();
    objects.put("a/bc", &mut b"".as_slice()).unwrap();
    objects.put("z", &mut vec![7; 3 << 20].as_slice()).unwrap();
    assert_eq!(objects.get("a/b", 1..4).unwrap(), b"ell");
    assert_eq!(objects.get("a/b", 5..5).unwrap(), b"");
    assert_eq!(objects.get("z", 0..3 << 20).unwrap(), vec![7; 3 << 20]);
    assert_eq!(objects.get("a/b", 4..6).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(objects.get("a/b", 4..u64::MAX).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
    let reversed = objects.get("a/b", 4..2);
    assert_eq!(reversed.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(objects.size("a/b").unwrap(), 5);
    assert_eq!(objects.list("a/b").unwrap(), [("a/b".into(), 5), ("a/bc".into(), 0)]);
    assert_eq!(objects.list("a/").unwrap().len(), 2);
    assert_eq!(objects.list("a/bc").unwrap(), [("a/bc".into(), 0)]);
    assert_eq!(objects.list("").unwrap().len(), 3);
    assert_eq!(objects.list("b").unwrap(), []);
    objects.put("a/b", &mut b"new".as_slice()).unwrap();
    assert_eq!(objects.get("a/b", 0..3).unwrap(), b"new");
    objects.delete("a/b").unwrap();
    objects.delete("a/b").unwrap();
    assert_eq!(objects.size("a/b").unwrap_err().kind(), ErrorKind::NotFound);
    for name in ["", "/", "a//b", "../a", "a/./b", "a\0", "a\\b", "/etc/passwd"] {
        let refused = objects.put(name, &mut b"x".as_slice()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(objects.delete(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(objects.list("").unwrap().len(), 2);
}

#[test]
fn folders_behave() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/below/it", folder.path().display());
    behaves(FolderConnector.connect(&url).unwrap().as_ref());
}

#[test]
fn memory_behaves() {
    behaves(&MemoryObjects::default());
}

#[test]
fn what_cannot_be_read_leaves_no_object() {
    struct Broken;
    impl Source for Broken {
        fn len(&self) -> u64 {
            3 << 20
        }
        fn read_at(&mut self, offset: u64, _: &mut [u8]) -> io::Result<()> {
            if offset == 0 { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let objects = FolderObjects::new(folder.path().into());
    assert_eq!(objects.put("a", &mut Broken).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(objects.list("").unwrap(), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn told_failures_happen() {
    let objects = MemoryObjects::default();
    objects.fail_after(Some(1));
    objects.put("a", &mut b"x".as_slice()).unwrap();
    assert_eq!(objects.size("a").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    objects.fail_after(None);
    assert_eq!(objects.size("a").unwrap(), 1);
}

/// Against a real server that speaks S3, named by `MILLRACE_TEST_S3` (the URL of an empty bucket)
/// and the AWS variables; skipped without.
#[test]
fn s3_behaves() {
    let Ok(bucket) = std::env::var("MILLRACE_TEST_S3") else {
        eprintln!("skipped: MILLRACE_TEST_S3 names no S3 bucket");
        return;
    };
    let connector = CloudConnector::default();
    behaves(connector.connect(&bucket).unwrap().as_ref());
    let below = connector.connect(&format!("{bucket}/some/folder")).unwrap();
    behaves(below.as_ref());
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

#[test]
fn urls_of_other_stores_are_refused() {
    for url in ["s3://bucket/x", "file://relative", "/srv/archive", ""] {
        let refused = FolderConnector.connect(url).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

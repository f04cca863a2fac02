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

#[test]
fn urls_of_other_stores_are_refused() {
    for url in ["s3://bucket/x", "file://relative", "/srv/archive", ""] {
        let refused = FolderConnector.connect(url).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

//! What every object store must do.

use std::io::ErrorKind;

use super::*;

#[test]
fn folders_behave() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/below/it", folder.path().display());
    check_conformance(FolderConnector.connect(&url).unwrap().as_ref());
}

#[test]
fn memory_check_conformance() {
    check_conformance(&MemoryObjects::default());
}

#[test]
fn what_cannot_be_read_leaves_no_object() {
    struct Broken(u64);
    impl Source for Broken {
        fn len(&self) -> u64 {
            self.0
        }
        fn read_at(&mut self, offset: u64, _: &mut [u8]) -> io::Result<()> {
            if offset == 0 { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let objects = FolderObjects::new(folder.path().into());
    let memory = MemoryObjects::default();
    // A file that cannot tell its length says the greatest.
    for len in [3 << 20, u64::MAX] {
        for objects in [&objects as &dyn Objects, &memory] {
            let refused = objects.put("a", &mut Broken(len)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionReset);
            assert_eq!(objects.list("").unwrap(), []);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
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

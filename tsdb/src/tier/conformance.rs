//! What every object store must do, as a check for the tests of those that implement one.

use std::io::ErrorKind;

use super::Objects;

/// Checks an empty store against what [`Objects`] promises, and leaves two objects in it.
///
/// # Panics
/// If a promise is not kept: this is for tests.
pub fn check_conformance(objects: &dyn Objects) {
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

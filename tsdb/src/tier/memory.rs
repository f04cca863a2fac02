//! An object store in memory, which can be told to fail.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Objects, Source, check_name, span};

/// What is read of a source at once, bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Objects in memory, for tests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryObjects {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    /// Calls made so far.
    calls: u64,
    /// Calls from this number on fail.
    fails_from: Option<u64>,
}

impl MemoryObjects {
    /// Calls made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.inner.lock().calls
    }

    /// Every call after the next `calls` ones fails, as if the network were gone; `None` mends it.
    pub fn fail_after(&self, calls: Option<u64>) {
        let mut inner = self.inner.lock();
        inner.fails_from = calls.map(|calls| inner.calls + calls);
    }

    /// Changes bytes of an object behind the back of its user; false if there is none.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.inner.lock().objects.get_mut(name).map(change).is_some()
    }

    fn call<T>(&self, run: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.inner.lock();
        let number = inner.calls;
        inner.calls += 1;
        if inner.fails_from.is_some_and(|from| number >= from) {
            let why = "the object store cannot be reached (as told)";
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, why));
        }
        run(&mut inner)
    }
}

impl Objects for MemoryObjects {
    fn put(&self, name: &str, data: &mut dyn Source) -> io::Result<()> {
        check_name(name)?;
        let (len, mut bytes) = (data.len(), Vec::new());
        // In pieces: a source that cannot tell its length says a great one and fails when read.
        while (bytes.len() as u64) < len {
            let at = bytes.len();
            let left = usize::try_from(len - at as u64).unwrap_or(usize::MAX);
            bytes.resize(at + left.min(PIECE_BYTES), 0);
            data.read_at(at as u64, &mut bytes[at..])?;
        }
        self.call(|inner| {
            inner.objects.insert(name.to_owned(), bytes);
            Ok(())
        })
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        check_name(name)?;
        span(&range)?;
        self.call(|inner| {
            let bytes = inner.objects.get(name).ok_or(io::ErrorKind::NotFound)?;
            let start = usize::try_from(range.start).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let end = usize::try_from(range.end).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            Ok(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
        })
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        check_name(name)?;
        self.call(|inner| {
            let bytes = inner.objects.get(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(bytes.len() as u64)
        })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        self.call(|inner| {
            let from = inner.objects.range(prefix.to_owned()..);
            let below = from.take_while(|(name, _)| name.starts_with(prefix));
            Ok(below.map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect())
        })
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.call(|inner| {
            inner.objects.remove(name);
            Ok(())
        })
    }
}

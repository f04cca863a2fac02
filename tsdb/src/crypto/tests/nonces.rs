//! Every text that a test seals is noted: a (key, nonce) that comes again with another text fails
//! the test, wherever it happens. The same text sealed again gives the same bytes and tells
//! nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex};

type Seen = HashMap<([u8; 16], [u8; 12]), u64>;

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

/// What a key is known by here.
pub fn mark(secret: &[u8; 32]) -> [u8; 16] {
    let mut mark = [0; 16];
    for (half, bytes) in mark.chunks_exact_mut(8).zip(secret.chunks_exact(16)) {
        half.copy_from_slice(&hash(bytes).to_le_bytes());
    }
    mark
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Notes a text about to be sealed.
pub fn note(mark: [u8; 16], nonce: [u8; 12], additional: &[u8], plain: &[u8]) {
    let text = hash((additional, plain));
    let before = SEEN.lock().unwrap_or_else(|e| e.into_inner()).insert((mark, nonce), text);
    assert!(before.is_none_or(|before| before == text), "a nonce has come again: {nonce:?}");
}

#[test]
#[should_panic(expected = "a nonce has come again")]
fn a_nonce_that_comes_again_is_noticed() {
    let cipher = crate::crypto::cipher::Cipher::new(&[9; 32]).unwrap();
    for text in [b"one", b"one", b"two"] {
        let mut sealed = *text;
        cipher.seal_in_place([7; 12], b"", &mut sealed).unwrap();
    }
}

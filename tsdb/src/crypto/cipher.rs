//! AES-256-GCM and HKDF-SHA256 in the shapes that the files need, and the sessions of files that
//! are written on.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::TAG_BYTES;

/// Length of a key, bytes.
pub(super) const KEY_BYTES: usize = 32;
/// Length of a session's name, bytes.
pub(super) const SESSION_BYTES: usize = 16;
/// What stands behind a text sealed in a session: tag, session, counter.
pub(super) const SESSION_TRAILER_BYTES: usize = TAG_BYTES + SESSION_BYTES + 8;
/// Keys of other sessions kept ready by a file.
const SESSIONS_KEPT: usize = 32;

const SESSION_INFO: &[u8] = b"millrace session 1";

/// A secret of 32 bytes, wiped when dropped.
pub(super) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Length of the output of a derivation.
struct OutBytes(usize);

impl hkdf::KeyType for OutBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256 of a secret into `out`.
///
/// # Errors
/// Of the cryptographic library, which has none for these lengths.
pub(super) fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> io::Result<()> {
    let failed = |_| io::Error::other("deriving a key failed");
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(&[info], OutBytes(out.len())).map_err(failed)?.fill(out).map_err(failed)
}

/// Random bytes from the operating system's generator by way of the library's.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let failed = |_| io::Error::other("the machine gives no random numbers");
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The nonce of a number.
pub(super) fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    nonce
}

/// A key ready for use.
pub(super) struct Cipher {
    key: LessSafeKey,
    #[cfg(test)]
    mark: [u8; 16],
}

impl Cipher {
    pub fn new(secret: &[u8; KEY_BYTES]) -> io::Result<Cipher> {
        let failed = |_| io::Error::other("the cipher refused a key");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).map_err(failed)?);
        #[cfg(test)]
        let mark = super::tests::nonces::mark(secret);
        Ok(Cipher {
            key,
            #[cfg(test)]
            mark,
        })
    }

    /// Seals `plain` to `out`, which has the length of it and of a tag behind.
    pub fn seal(
        &self,
        nonce: [u8; 12],
        additional: &[u8],
        plain: &[u8],
        out: &mut [u8],
    ) -> io::Result<()> {
        #[cfg(test)]
        super::tests::nonces::note(self.mark, nonce, additional, plain);
        let failed = |_| io::Error::other("sealing failed");
        let Some((text, tag)) = out.split_at_mut_checked(plain.len()) else {
            return Err(io::Error::other("no room for what is sealed"));
        };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_out_of_place_scatter(nonce, Aad::from(additional), plain, text, &[], tag)
            .map_err(failed)
    }

    /// As [`Cipher::seal`], in place; gives the tag.
    pub fn seal_in_place(
        &self,
        nonce: [u8; 12],
        additional: &[u8],
        text: &mut [u8],
    ) -> io::Result<[u8; TAG_BYTES]> {
        #[cfg(test)]
        super::tests::nonces::note(self.mark, nonce, additional, text);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(additional), text)
            .map_err(|_| io::Error::other("sealing failed"))?;
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }

    /// Opens `sealed` (text and tag) into `out`; whether it is what was sealed. `out` has the
    /// length of the text and holds nothing to be used if it is not.
    #[must_use]
    pub fn open(&self, nonce: [u8; 12], additional: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        let Some((text, tag)) = sealed.split_at_checked(out.len()) else { return false };
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_separate_gather(nonce, Aad::from(additional), text, tag, out).is_ok()
    }

    /// Opens text and tag in place; whether it is what was sealed.
    #[must_use]
    pub fn open_in_place(&self, nonce: [u8; 12], additional: &[u8], sealed: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place(nonce, Aad::from(additional), sealed).is_ok()
    }
}

/// The sessions of one file: its own, in which it seals, and those it reads of others.
pub(super) struct Sessions {
    secret: Secret,
    /// Drawn at the first sealing: readers need none.
    own: std::sync::OnceLock<([u8; SESSION_BYTES], Cipher)>,
    counter: AtomicU64,
    others: Mutex<Vec<([u8; SESSION_BYTES], std::sync::Arc<Cipher>)>>,
}

impl Sessions {
    pub fn new(secret: Secret) -> Sessions {
        let (own, counter) = (std::sync::OnceLock::new(), AtomicU64::new(0));
        Sessions { secret, own, counter, others: Mutex::default() }
    }

    fn cipher(&self, session: &[u8; SESSION_BYTES]) -> io::Result<Cipher> {
        let mut key = Secret::default();
        derive(session, &*self.secret, SESSION_INFO, &mut *key)?;
        Cipher::new(&key)
    }

    /// Seals `plain` and appends text, tag, session and counter.
    pub fn seal(&self, additional: &[u8], plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.own.get().is_none() {
            let session = random()?;
            let cipher = self.cipher(&session)?;
            // Of two threads one wins; both count in the winner's session.
            let _lost = self.own.set((session, cipher));
        }
        let Some((session, cipher)) = self.own.get() else {
            return Err(io::Error::other("a session is missing"));
        };
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let start = out.len();
        out.resize(start + plain.len() + TAG_BYTES, 0);
        cipher.seal(nonce(counter), additional, plain, &mut out[start..])?;
        out.extend_from_slice(session);
        out.extend_from_slice(&counter.to_le_bytes());
        Ok(())
    }

    /// Opens what [`Sessions::seal`] made into `out`, whose length is the text's; whether it is
    /// what was sealed.
    pub fn open(&self, additional: &[u8], sealed: &[u8], out: &mut [u8]) -> io::Result<bool> {
        let tagged = out.len() + TAG_BYTES;
        let Some((text, behind)) = sealed.split_at_checked(tagged) else { return Ok(false) };
        let session: [u8; SESSION_BYTES] = super::take(behind, 0);
        let nonce = nonce(u64::from_le_bytes(super::take(behind, SESSION_BYTES)));
        if let Some((own, cipher)) = self.own.get()
            && *own == session
        {
            return Ok(cipher.open(nonce, additional, text, out));
        }
        let known = self.others.lock().iter().find(|(name, _)| *name == session).cloned();
        if let Some((_, cipher)) = known {
            return Ok(cipher.open(nonce, additional, text, out));
        }
        let cipher = std::sync::Arc::new(self.cipher(&session)?);
        let opened = cipher.open(nonce, additional, text, out);
        // A damaged page names a session that never was: not worth keeping.
        if opened {
            let mut others = self.others.lock();
            if others.len() >= SESSIONS_KEPT {
                others.remove(0);
            }
            others.push((session, cipher));
        }
        Ok(opened)
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}

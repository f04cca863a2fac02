//! Tests of encryption at rest: the files one by one here, the log in its own tests, the engine in
//! `engine/tests`.

use std::io;
use std::sync::Arc;

use super::*;
use crate::engine::tests::random::Random;
use crate::io::{File, MemoryStorage, Storage};
use shape::{key, keys};

mod files;
mod golden;
pub mod nonces;
mod rewritten;
mod rotate;
pub mod shape;

/// Storage sealed with the key of this number.
fn sealed(memory: &MemoryStorage, number: u8) -> SealedStorage {
    SealedStorage::new(Arc::new(memory.clone()), keys(number))
}

/// A memory with the folders of a database.
fn folders() -> MemoryStorage {
    let memory = MemoryStorage::new();
    for folder in ["parts", "version", "rows", "log", "series"] {
        memory.create_dir(folder).unwrap();
    }
    memory
}

fn read_all(storage: &dyn Storage, path: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

fn bytes(random: &mut Random, len: u64) -> Vec<u8> {
    (0..len).map(|_| random.below(256) as u8).collect()
}

#[test]
fn keys_are_read_from_text_and_never_shown() {
    let (one, two) = ("0f".repeat(32), "A0".repeat(32));
    let ring = KeyRing::parse(&format!("# today's\n{one}\n\n  {two}\r\n")).unwrap();
    assert_eq!(ring.ids().len(), 2);
    assert_eq!(ring.current(), MasterKey::new(&[0x0f; 32]).unwrap().id());
    let shown = format!("{ring:?} {:?}", MasterKey::new(&[0x0f; 32]).unwrap());
    assert!(!shown.contains("0f0f") && shown.contains(&ring.current().to_string()), "{shown}");
    let bad = [
        String::new(),
        "# nothing\n".into(),
        one[1..].to_owned(),
        format!("{one}0"),
        format!("{}g", &one[1..]),
        format!("{one}\n{one}"),
    ];
    for text in bad {
        let Err(crate::Error::Invalid(why)) = KeyRing::parse(&text) else { panic!("{text}") };
        assert!(!why.contains("0f0f"), "{why}");
    }
}

/// The derivations of FORMAT.md, against values from another implementation.
#[test]
fn derivations_are_those_of_the_format() {
    assert_eq!(key(1).id().to_string(), "7952352d08046714");
}

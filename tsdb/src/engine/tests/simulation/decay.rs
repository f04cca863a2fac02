//! A medium that rots: one bit of one file of a closed database is another. Whatever is read then
//! is told to be damaged, or right.

use std::sync::Arc;

use crate::io::Storage;
use crate::{Error, Options};

use super::super::model::read;
use super::super::workload::maintain;
use super::World;

const FOLDERS: [&str; 6] = ["", "log", "parts", "rows", "series", "version"];

impl World {
    /// Flips a bit in a copy of the folder, and works on it.
    pub fn decay(&mut self) {
        let disk = self.disk.copy();
        let mut paths: Vec<String> = Vec::new();
        for folder in FOLDERS {
            let named = |name: String| match folder {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            paths.extend(disk.list(folder).unwrap().into_iter().map(named));
        }
        let path = self.random.pick_of(paths.iter()).cloned().expect("a database has files");
        let bit = self.random.next();
        disk.flip(&path, bit).unwrap();
        let context = format!("{}, bit {bit} of {path} flipped", self.context());
        let told = |error: &Error| {
            // A version log whose last edit is no more may name files that went by it: no such file.
            let told = matches!(
                error,
                Error::Corrupt(_) | Error::ReadOnly(_) | Error::Invalid(_) | Error::Io(_)
            );
            assert!(told, "{context}: {error}");
        };
        // The archiver of the copy must not write into the store of the original.
        let options = Options { log_archive: None, background: false, ..self.options.clone() };
        let db = match crate::Db::open(self.seals.shape(Arc::new(disk)), options) {
            Ok(db) => db,
            Err(error) => return told(&error),
        };
        for _ in 0..3 {
            match read(&db.snapshot()) {
                Ok(mut found) => {
                    found.next_table = self.model.next_table;
                    assert!(found == self.model, "{context}: wrong rows are served");
                }
                Err(error) => told(&error),
            }
            if let Err(error) = maintain(&db, &mut self.random) {
                told(&error);
            }
        }
    }
}

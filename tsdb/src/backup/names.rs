//! Names of objects in a backup store, and of the files a backup makes (FORMAT.md, "Backups").

use crate::error::{Error, Result};

use super::sum::Sum;

/// Folder of files that a backup makes to copy them; emptied at every open.
pub const SCRATCH: &str = "backup";
/// The version as a backup takes it, a version log of one snapshot.
pub const VERSION_COPY: &str = "backup/version";
/// The rows of the row store as a backup takes them.
pub const ROWS_COPY: &str = "backup/rows";
/// In a folder that a restore has not finished: no database is opened there.
pub const UNFINISHED_RESTORE: &str = "restore.unfinished";

/// Who wrote a backup: one life of a database. A restore begins a new one, so that the restored
/// database and the one it comes from never take each other's objects for their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage(pub [u8; 16]);

impl std::fmt::Display for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Lineage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Lineage> {
        let wrong = || Error::Invalid(format!("{text:?} is not 32 hexadecimal digits"));
        if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| wrong())?;
        Ok(Lineage(number.to_be_bytes()))
    }
}

/// Prefix of the manifests.
pub fn manifests(lineage: Lineage) -> String {
    format!("{lineage}/backups/")
}

/// A manifest.
pub fn manifest(lineage: Lineage, number: u64) -> String {
    format!("{lineage}/backups/{number:016}.manifest")
}

/// Lineage and number of a manifest's name.
pub fn manifest_number(name: &str) -> Option<(Lineage, u64)> {
    let (lineage, number) = name.split_once("/backups/")?;
    let number = number.strip_suffix(".manifest")?;
    (number.len() == 16).then_some(())?;
    Some((lineage.parse().ok()?, number.parse().ok()?))
}

/// Prefix of copied files.
pub fn objects(lineage: Lineage) -> String {
    format!("{lineage}/objects/")
}

/// A copied file. `generation` is the number of the full backup that it was copied for.
pub fn object(lineage: Lineage, generation: u64, path: &str, sum: Sum) -> String {
    format!("{lineage}/objects/{generation:016}/{path}.{sum}")
}

/// Prefix of log segments.
pub fn logs(lineage: Lineage) -> String {
    format!("{lineage}/log/")
}

/// A segment of the log, or log that was given up, as its name tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName {
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// Checksums of the segment's bytes; `None`: these positions were given up.
    pub sum: Option<Sum>,
}

impl LogName {
    /// The object's name.
    pub fn object(&self, lineage: Lineage) -> String {
        let (first, last) = (self.first, self.last);
        match self.sum {
            Some(sum) => format!("{lineage}/log/{first:020}-{last:020}.{sum}"),
            None => format!("{lineage}/log/{first:020}-{last:020}.gap"),
        }
    }

    /// Reads a name; `None` for any other object.
    pub fn read(name: &str) -> Option<LogName> {
        let (_, name) = name.split_once("/log/")?;
        let (span, end) = name.split_once('.')?;
        let (first, last) = span.split_once('-')?;
        let sum = match end {
            "gap" => None,
            sum => Some(Sum::read(sum)?),
        };
        let found = LogName { first: first.parse().ok()?, last: last.parse().ok()?, sum };
        (found.first > 0 && found.first <= found.last).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let lineage = Lineage(*b"0123456789abcdef");
        assert_eq!(lineage.to_string().parse::<Lineage>().unwrap(), lineage);
        assert!("30".parse::<Lineage>().is_err());
        assert_eq!(manifest_number(&manifest(lineage, 7)), Some((lineage, 7)));
        for other in ["x/backups/0000000000000001.manifest", "backups/1", &objects(lineage)] {
            assert_eq!(manifest_number(other), None);
        }
        for sum in [Some(Sum::of(b"a")), None] {
            let name = LogName { first: 3, last: 9, sum };
            assert_eq!(LogName::read(&name.object(lineage)), Some(name));
        }
        for other in ["a/log/9-3.gap", "a/log/0-3.gap", "a/log/1-3.12", "a/log/1-3", "1-3.gap"] {
            assert_eq!(LogName::read(other), None, "{other}");
        }
    }
}

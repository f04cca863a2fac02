//! What may go from a store: backups beyond their time, and then what no backup names.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::tier::Objects;

use super::manifest::{self, Manifest};
use super::names::{self, Lineage, LogName};

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups.
    pub backups: u64,
    /// Objects, manifests left out.
    pub objects: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Removes what is not needed to restore any moment since `keep` before `now` (ns). Nobody takes
/// a backup of the lineage meanwhile.
pub(super) fn prune(
    objects: &dyn Objects,
    lineage: Lineage,
    now: i64,
    keep: Duration,
) -> Result<Pruned> {
    let numbers = manifest::numbers(objects, lineage)?;
    // All of them are read first: what a damaged one names must stay, and nobody knows it.
    let manifests: Vec<Manifest> = numbers
        .iter()
        .map(|number| Manifest::read(objects, lineage, *number))
        .collect::<Result<_>>()?;
    let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
    let horizon = now.saturating_sub(keep);
    // The newest of the old ones is where the moments right behind the horizon begin.
    let old = manifests.iter().take_while(|manifest| manifest.finished < horizon).count();
    let (gone, kept) = manifests.split_at(old.saturating_sub(1));
    let mut pruned = Pruned::default();
    let io = |e: std::io::Error| Error::io("removing old backups", &e);
    for manifest in gone {
        objects.delete(&names::manifest(lineage, manifest.number)).map_err(io)?;
        pruned.backups += 1;
    }
    if kept.is_empty() {
        // Without any backup nothing here is old: it may be of one that is being taken.
        return Ok(pruned);
    }
    let files = kept.iter().flat_map(|manifest| &manifest.files);
    let named: HashSet<&str> = files.map(|file| file.object.as_str()).collect();
    let log_first = kept.iter().map(|manifest| manifest.log_first).min().unwrap_or(0);
    for (name, bytes) in objects.list(&names::objects(lineage)).map_err(io)? {
        if !named.contains(name.as_str()) {
            remove(objects, &name, bytes, &mut pruned)?;
        }
    }
    for (name, bytes) in objects.list(&names::logs(lineage)).map_err(io)? {
        let old = LogName::read(&name).is_some_and(|log| log.last < log_first);
        if old && !named.contains(name.as_str()) {
            remove(objects, &name, bytes, &mut pruned)?;
        }
    }
    Ok(pruned)
}

fn remove(objects: &dyn Objects, name: &str, bytes: u64, pruned: &mut Pruned) -> Result<()> {
    let removed = objects.delete(name);
    removed.map_err(|e| Error::io(format_args!("removing {name}"), &e))?;
    pruned.objects += 1;
    pruned.bytes += bytes;
    Ok(())
}

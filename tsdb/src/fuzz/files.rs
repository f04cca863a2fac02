//! Parts and series files.

use crate::io::MemoryStorage;
use crate::part::Part;
use crate::series::SeriesIndex;
use crate::types::{ColumnId, PhysicalType, TimeRange};
use crate::{Error, Result};

/// Opens a part and reads all it says: directory, statistics, keys, cells, whole and by range;
/// then verifies it, which must not find sound what could not be read.
pub fn part(bytes: &[u8]) -> bool {
    let storage = MemoryStorage::new();
    storage.put("p", bytes.to_vec());
    let Ok(part) = Part::open(&storage, "p") else { return false };
    let read = read_part(&part);
    let verified = part.verify();
    assert!(
        read.is_ok() || verified.is_err(),
        "a part verifies that cannot be read: {:?}",
        read.err()
    );
    verified.is_ok()
}

fn read_part(part: &Part) -> Result<()> {
    part.read_index()?;
    let columns = part.column_types();
    let mut wrong = None;
    for group in part.groups_for(0..=u32::MAX, TimeRange::ALL)? {
        // One damaged group must not hide the next from the fuzzer.
        if let Err(error) = read_group(part, &group, &columns) {
            wrong.get_or_insert(error);
        }
    }
    wrong.map_or(Ok(()), Err)
}

fn read_group(
    part: &Part,
    group: &crate::part::GroupRef,
    columns: &[(ColumnId, PhysicalType)],
) -> Result<()> {
    let keys = part.read_keys(group);
    let zones = part.zones(group)?;
    for (id, _) in columns {
        part.text_range(group, *id)?;
        if let Some(stats) = part.zone_stats(group, *id)? {
            assert_eq!(stats.len(), zones.len(), "statistics of other zones");
        }
    }
    for column in columns {
        for column in part.read_columns(group, &[*column])?.into_iter().flatten() {
            assert_eq!(column.len(), group.rows as usize, "cells of other rows");
        }
        let (from, to) = (group.rows / 3, group.rows / 3 * 2);
        for column in part.read_columns_range(group, &[*column], from..to)?.into_iter().flatten() {
            assert_eq!(column.len(), (to - from) as usize, "cells of other rows");
        }
    }
    let keys = keys?;
    assert_eq!(keys.times.len(), group.rows as usize, "times of other rows");
    if group.own_series && group.rows > 1 {
        let range = 1..group.rows;
        let times = part.read_times_range(group, range.clone())?;
        assert_eq!(times, keys.times[1..], "times by range differ from all of them");
    }
    Ok(())
}

/// Loads a series file of table 7 into an empty index; what is taken must find itself, and be
/// written and loaded again the same.
pub fn series(bytes: &[u8]) -> bool {
    let index = SeriesIndex::new(7);
    match index.load(bytes) {
        Ok(()) => {}
        Err(Error::Corrupt(_) | Error::Newer(_)) => {
            assert!(index.is_empty(), "some series of a damaged file were taken");
            return false;
        }
        Err(error) => panic!("damage is told as {error}"),
    }
    let count = index.len();
    // Every one of few, some of many: a run of millions takes a moment otherwise.
    let step = (count / 1_000 + 1) as usize;
    for series in (0..count).step_by(step) {
        let key = index.key(series).expect("a key for every series");
        assert_eq!(index.lookup(&key), Some(series), "a key finds another series");
    }
    if count <= 100_000 {
        let again = SeriesIndex::new(7);
        again.load(&index.encode_range(0, count)).expect("what is written is read");
        assert_eq!(again.len(), count);
        for series in (0..count).step_by(step) {
            assert_eq!(again.key(series), index.key(series), "a key changed");
        }
    }
    true
}

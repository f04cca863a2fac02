//! Tables partitioned by key columns: what lies in which part, and what need not be read for it. That
//! nothing else changes is for the model to say: `random` partitions its tables by keys as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::engine::core::each_batch;
use crate::engine::groups::KeyGroup;
use crate::io::MemoryStorage;
use crate::scan::Source;
use crate::series::KeyTest;
use crate::tier::MemoryObjects;
use crate::types::*;
use crate::{Command, Db, NewColumn, NewTable, Options, Outcome, ScanRequest, Selection};

const HOUR: i64 = 3_600_000_000_000;
const SITE: ColumnId = 1;
const DEVICE: ColumnId = 2;

/// Whether the rows of every hot part are of the part's key group and of the series that it is said
/// to have.
pub fn check(db: &Db, context: &str) -> crate::Result<()> {
    let snapshot = db.snapshot();
    for schema in snapshot.tables() {
        let table = snapshot.table_by_id(schema.id).expect("a table that is listed");
        let state = table.table_state();
        let hot = |part: &&Arc<_>| {
            let part: &crate::scan::PartHandle = part;
            part.entry.group != 0 && part.entry.object.is_none() && !part.is_bad()
        };
        for part in state.parts.iter().filter(hot) {
            let (id, number) = (part.entry.id, part.entry.group);
            assert!(part.entry.level > 0, "{context}: part {id} is of a group");
            let group = state.groups.get(number).expect("a group of the table");
            let source = [Source::Part(Arc::clone(part), None)];
            each_batch(&source, &schema, None, TimeRange::ALL, |rows| {
                for run in &rows.series {
                    let key = table.series().key(run.series).expect("a series of the table");
                    let takes = |group: &KeyGroup| group.values == Some(values(&key, group));
                    let others = || state.groups.iter().filter(|(other, _)| *other < number);
                    let right = match &group.values {
                        Some(_) => takes(group),
                        None => !others().any(|(_, g)| g.columns == group.columns && takes(g)),
                    };
                    assert!(right, "{context}: part {id} of group {number} has {key:?}");
                    let known = part.members().is_none_or(|set| set.contains(run.series));
                    assert!(known, "{context}: group {number} is said not to have {key:?}");
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// The values of a key in the columns of a group.
fn values(key: &Key, group: &KeyGroup) -> Vec<Vec<u8>> {
    let pairs: BTreeMap<ColumnId, &[u8]> = key.pairs().collect();
    let of = |column: &ColumnId| pairs.get(column).copied().unwrap_or_default().to_vec();
    group.columns.iter().map(of).collect()
}

fn options() -> Options {
    Options { merge_fan_in: 2, background: false, shards: 2, ..Options::default() }
}

/// A table of three fields' worth of nothing: site, device, heat.
fn create(db: &Db, partition_columns: Vec<ColumnId>) -> TableId {
    let column =
        |name: &str, kind, key| NewColumn { name: name.into(), kind, key, not_null: false };
    let new = NewTable {
        name: "press".into(),
        time_name: "time".into(),
        columns: vec![
            column("site", ColumnType::Text, true),
            column("device", ColumnType::Text, true),
            column("heat", ColumnType::Float64, false),
        ],
        options: TableOptions { partition_ns: HOUR, partition_columns, ..TableOptions::default() },
        if_not_exists: false,
    };
    match db.execute(Command::CreateTable(new)).unwrap() {
        Outcome::Table(id) => id,
        other => panic!("{other:?}"),
    }
}

/// A row of each of three devices of some sites, one a minute of an hour.
fn write(db: &Db, id: TableId, sites: &[&str], hour: i64) {
    let key = |site: &str, device: usize| {
        let device = format!("d{device}");
        Key::new([(SITE, site.as_bytes()), (DEVICE, device.as_bytes())])
    };
    // Devices of all sites in turn, so that series of a site do not follow each other.
    let keys = (0..3).flat_map(|device| sites.iter().map(move |site| key(site, device)));
    let series: Vec<SeriesRef> = keys.map(SeriesRef::Key).collect();
    let rows: Vec<(u32, i64)> = (0..series.len() as u32)
        .flat_map(|key| (0..60).map(move |minute| (key, hour * HOUR + minute * HOUR / 60)))
        .collect();
    let (key_of_row, times): (Vec<u32>, Vec<i64>) = rows.into_iter().unzip();
    let heat = times.iter().map(|time| (time % 977) as f64).collect();
    let columns = vec![(3, Column::good(Values::Float(heat)))];
    let batch = WriteBatch { table: id, series, key_of_row, times, columns };
    db.execute(Command::Write(batch)).unwrap();
    db.checkpoint().unwrap();
}

/// Parts by the values of their groups, in the order of these, times and numbers.
fn parts(db: &Db, id: TableId) -> Vec<String> {
    let table = db.snapshot().table_by_id(id).unwrap();
    let mut shown: Vec<String> = table
        .parts()
        .iter()
        .map(|part| {
            let keys = part.keys.as_ref().map_or("any".to_owned(), |group| match &group.values {
                None => "rest".to_owned(),
                Some(values) => {
                    let texts = values.iter().map(|value| String::from_utf8_lossy(value));
                    texts.collect::<Vec<_>>().join("/")
                }
            });
            format!("{keys} {} {}", part.level, part.times.min / HOUR)
        })
        .collect();
    shown.sort();
    shown
}

fn site(db: &Db, id: TableId, name: &str) -> croaring::Bitmap {
    let table = db.snapshot().table_by_id(id).unwrap();
    let test = match name {
        "" => KeyTest::Missing,
        name => KeyTest::Equals(name.as_bytes().to_vec()),
    };
    table.series().select(SITE, &test, table.series_count())
}

/// Rows of a site, and how many parts were passed over for it.
fn rows_of(db: &Db, id: TableId, name: &str) -> (usize, u64) {
    let table = db.snapshot().table_by_id(id).unwrap();
    let series = Some(site(db, id, name));
    let mut scan = table.scan(ScanRequest { series, ..ScanRequest::all(vec![3]) }).unwrap();
    let mut count = 0;
    for stream in &mut scan.streams {
        while let Some(rows) = stream.next_rows().unwrap() {
            count += rows.len();
        }
    }
    (count, scan.stats.parts_pruned.load(Ordering::Relaxed))
}

fn open(storage: &MemoryStorage, options: Options) -> Arc<Db> {
    Db::open(Arc::new(storage.clone()), options).unwrap()
}

#[test]
fn merging_splits_by_key() {
    let storage = MemoryStorage::new();
    let mut db = open(&storage, options());
    let id = create(&db, vec![SITE]);
    write(&db, id, &["a", "b", ""], 0);
    assert_eq!(parts(&db, id), ["any flushed 0"]);
    write(&db, id, &["a", "b", "c"], 0);
    db.merge_due().unwrap();
    let light = ["", "a", "b", "c"].map(|site| format!("{site} light 0"));
    assert_eq!(parts(&db, id), light);
    for reopened in [false, true] {
        if reopened {
            db.close().unwrap();
            db = open(&storage, options());
        }
        // Three parts of other sites are not looked into.
        assert_eq!(rows_of(&db, id, "a"), (180, 3));
        assert_eq!(rows_of(&db, id, ""), (180, 3));
        let stats = db.snapshot().table_by_id(id).unwrap().stats();
        assert_eq!((stats.rows, stats.exact), (12 * 60, true));
        check(&db, "split").unwrap();
    }
    db.merge_full(None).unwrap();
    let dense = ["", "a", "b", "c"].map(|site| format!("{site} dense 0"));
    assert_eq!(parts(&db, id), dense);
    // A late row of one site leaves the parts of the others alone.
    let others: Vec<u64> = numbers(&db, id, &["", "b", "c"]);
    write(&db, id, &["a"], 0);
    write(&db, id, &["a"], 0);
    db.merge_due().unwrap();
    db.merge_full(None).unwrap();
    assert_eq!((parts(&db, id), numbers(&db, id, &["", "b", "c"])), (dense.to_vec(), others));
}

/// Numbers of the parts of some sites.
fn numbers(db: &Db, id: TableId, sites: &[&str]) -> Vec<u64> {
    let of = |part: &crate::PartInfo| {
        let values = part.keys.as_ref().and_then(|group| group.values.clone());
        values.is_some_and(|values| sites.iter().any(|site| values[0] == site.as_bytes()))
    };
    let parts = db.snapshot().table_by_id(id).unwrap().parts();
    parts.iter().filter(|part| of(part)).map(|part| part.id).collect()
}

#[test]
fn a_site_goes_without_being_read() {
    let storage = MemoryStorage::new();
    for reopened in [false, true] {
        let storage = storage.copy();
        let mut db = open(&storage, options());
        let id = create(&db, vec![SITE]);
        for hour in 0..4 {
            write(&db, id, &["a", "b"], hour);
        }
        db.merge_full(None).unwrap();
        let before = parts(&db, id);
        assert!(before.iter().any(|part| part.starts_with("a ")), "{before:?}");
        if reopened {
            db.close().unwrap();
            db = open(&storage, options());
        }
        let kept = numbers(&db, id, &["b"]);
        let series = Some(site(&db, id, "a"));
        let selections = vec![Selection::Range { series, times: TimeRange::ALL }];
        db.execute(Command::Delete { table: id, selections }).unwrap();
        assert_eq!(rows_of(&db, id, "a").0, 0);
        let merges = db.stats().merges;
        db.merge_due().unwrap();
        let left = parts(&db, id);
        assert!(left.iter().all(|part| part.starts_with("b ")), "{left:?}");
        assert_eq!((numbers(&db, id, &["b"]), db.stats().merges), (kept, merges));
        // Parts of other sites have nothing to do with the delete.
        db.checkpoint().unwrap();
        let table = db.snapshot().table_by_id(id).unwrap();
        assert!(table.table_state().tombstones.is_empty() && !table.stats().hidden);
        assert_eq!(rows_of(&db, id, "b").0, 4 * 180);
    }
}

#[test]
fn values_beyond_the_most_share_parts() {
    let storage = MemoryStorage::new();
    let few = Options { partition_groups_max: 2, ..options() };
    let db = open(&storage, few);
    let id = create(&db, vec![SITE]);
    write(&db, id, &["a", "b", "c", "d"], 0);
    db.merge_full(None).unwrap();
    // Which ones come first is no matter.
    let shown = parts(&db, id);
    assert!(shown.len() == 3 && shown[2] == "rest dense 0", "{shown:?}");
    for site in ["a", "b", "c", "d"] {
        assert_eq!(rows_of(&db, id, site), (180, 2));
    }
    db.close().unwrap();
    // With a higher limit rows leave the rest where they are merged with others.
    let db = open(&storage, options());
    write(&db, id, &["c", "d", "e"], 0);
    db.merge_full(None).unwrap();
    let all = ["a", "b", "c", "d", "e"].map(|site| format!("{site} dense 0"));
    assert_eq!(parts(&db, id), all);
    check(&db, "raised").unwrap();
    assert_eq!(rows_of(&db, id, "c"), (180, 4));
}

#[test]
fn columns_can_change() {
    let db = open(&MemoryStorage::new(), options());
    let id = create(&db, vec![]);
    write(&db, id, &["a", "b"], 0);
    db.merge_full(None).unwrap();
    assert_eq!(parts(&db, id), ["any dense 0"]);
    let columns = |partition_columns: &[ColumnId]| {
        let partition_columns = partition_columns.to_vec();
        let options =
            TableOptions { partition_ns: HOUR, partition_columns, ..TableOptions::default() };
        db.execute(Command::SetOptions { table: id, options })
    };
    let steps: [(&[ColumnId], &[&str]); 4] = [
        (&[SITE], &["a dense 0", "b dense 0"]),
        (&[DEVICE], &["d0 dense 0", "d1 dense 0", "d2 dense 0"]),
        (&[DEVICE, SITE], &["d0/a", "d0/b", "d1/a", "d1/b", "d2/a", "d2/b"]),
        (&[], &["any dense 0"]),
    ];
    for (chosen, expect) in steps {
        columns(chosen).unwrap();
        write(&db, id, &["a", "b"], 0);
        db.merge_full(None).unwrap();
        let expect: Vec<String> =
            expect
                .iter()
                .map(|part| {
                    if part.contains(' ') { (*part).to_owned() } else { format!("{part} dense 0") }
                })
                .collect();
        assert_eq!(parts(&db, id), expect);
        check(&db, "changed").unwrap();
        assert_eq!((rows_of(&db, id, "a").0, rows_of(&db, id, "b").0), (180, 180));
    }
    for wrong in [&[3][..], &[9], &[SITE, SITE], &[1, 2, 1, 2, 1]] {
        assert!(columns(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn groups_move_to_the_archive_and_back() {
    let (storage, store) = (MemoryStorage::new(), MemoryObjects::default());
    let options = super::archive::with_store(options(), &store);
    let db = open(&storage, options.clone());
    let id = create(&db, vec![SITE]);
    write(&db, id, &["a", "b"], 0);
    write(&db, id, &["a", "b"], 9);
    db.merge_full(None).unwrap();
    let ages = TableOptions {
        partition_ns: HOUR,
        partition_columns: vec![SITE],
        archive_after_ns: Some(HOUR),
        ..TableOptions::default()
    };
    db.execute(Command::SetOptions { table: id, options: ages }).unwrap();
    db.merge_full(None).unwrap();
    // A light part of one site keeps no other one.
    write(&db, id, &["b"], 0);
    write(&db, id, &["b"], 0);
    db.merge_due().unwrap();
    db.tend(5 * HOUR).unwrap();
    let archived = |db: &Db| {
        let parts = db.snapshot().table_by_id(id).unwrap().parts();
        parts.iter().filter(|part| part.object.is_some()).count()
    };
    assert!(archived(&db) >= 1, "{:?}", parts(&db, id));
    db.close().unwrap();
    let db = open(&storage, options);
    assert_eq!((rows_of(&db, id, "a").0, rows_of(&db, id, "b").0), (360, 360));
    db.restore(id, TimeRange::ALL, i64::MAX - 1).unwrap();
    assert_eq!(archived(&db), 0);
    db.merge_full(None).unwrap();
    check(&db, "restored").unwrap();
    assert_eq!((rows_of(&db, id, "a").0, rows_of(&db, id, "b").0), (360, 360));
}

#[test]
fn partitions_are_shown_by_key() {
    let db = open(&MemoryStorage::new(), options());
    let id = create(&db, vec![SITE]);
    write(&db, id, &["a", "b"], 0);
    db.merge_full(None).unwrap();
    write(&db, id, &["a"], 0);
    let shown: Vec<(bool, u64, u64)> = db
        .snapshot()
        .table_by_id(id)
        .unwrap()
        .partitions()
        .iter()
        .map(|partition| (partition.keys.is_some(), partition.parts, partition.rows))
        .collect();
    assert_eq!(shown, [(false, 1, 180), (true, 1, 180), (true, 1, 180)]);
}

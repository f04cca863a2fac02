//! Key groups: what the keys of a part's rows have in common, in tables that are partitioned by key
//! columns besides time (FORMAT.md, "Version log").
//!
//! Invariants: which keys a group takes never changes, so that a part stays in its group for ever,
//! whatever becomes of the table's settings; two groups that do not overlap share no series; 0 is no
//! group and overlaps all. Numbers rise: a rest says something of lower ones only.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::series::{Bitmap, SeriesIndex};
use crate::types::ColumnId;

/// Bytes of the values of one group at most; longer ones are of the rest. They are in the version.
const VALUE_BYTES_MAX: usize = 1024;

/// What the keys of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    /// Key columns, as the table's settings had them.
    pub columns: Vec<ColumnId>,
    /// Their values, an empty one where the key has none; `None` for the rest: the keys that no
    /// group of a lower number with just these columns takes.
    pub values: Option<Vec<Vec<u8>>>,
}

/// The key groups of a table by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups(BTreeMap<u32, KeyGroup>);

impl Groups {
    /// No groups.
    pub const fn new() -> Groups {
        Groups(BTreeMap::new())
    }

    /// Adds a group.
    pub fn insert(&mut self, number: u32, group: KeyGroup) {
        self.0.insert(number, group);
    }

    /// The group of this number; none for 0.
    pub fn get(&self, number: u32) -> Option<&KeyGroup> {
        self.0.get(&number)
    }

    /// All of them in the order of numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &KeyGroup)> {
        self.0.iter().map(|(number, group)| (*number, group))
    }

    /// Whether parts of two groups may have rows of one series.
    pub fn overlap(&self, a: u32, b: u32) -> bool {
        if a == b {
            return true;
        }
        let (Some(first), Some(second)) = (self.get(a), self.get(b)) else { return true };
        match (&first.values, &second.values) {
            (Some(x), Some(y)) => {
                let differ = |(column, value): (&ColumnId, &Vec<u8>)| {
                    let at = second.columns.iter().position(|other| other == column);
                    at.is_some_and(|at| y.get(at) != Some(value))
                };
                !first.columns.iter().zip(x).any(differ)
            }
            (None, None) => true,
            (None, Some(_)) => first.columns != second.columns || b > a,
            (Some(_), None) => first.columns != second.columns || a > b,
        }
    }

    /// Whether a group is none of a table that is partitioned by `columns`.
    pub fn is_stale(&self, number: u32, columns: &[ColumnId]) -> bool {
        self.get(number).map_or(&[][..], |group| &group.columns) != columns
    }

    /// Splits the series of `all` by their groups for `columns`, at most `most` groups of values; what
    /// is beyond that is of the rest. Groups that are new are in the answer and not here yet.
    pub fn split(
        &self,
        index: &SeriesIndex,
        columns: &[ColumnId],
        all: &Bitmap,
        most: usize,
    ) -> Split {
        let own = || self.iter().filter(|(_, group)| group.columns == columns);
        let mut known: HashMap<&[Vec<u8>], u32> = HashMap::new();
        known.extend(
            own().filter_map(|(number, group)| Some((&group.values.as_ref()?[..], number))),
        );
        let mut next = self.0.keys().next_back().map_or(1, |last| last + 1);
        let mut newest = known.values().copied().max().unwrap_or(0);
        let mut count = known.len();
        let mut split = Split::default();
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut of_rest: Vec<u32> = Vec::new();
        let (values, series) = keyed(index, columns, all);
        for (values, series) in values.into_iter().zip(series) {
            let short = values.iter().map(Vec::len).sum::<usize>() <= VALUE_BYTES_MAX;
            let number = match known.get(&values[..]) {
                Some(number) => *number,
                None if short && count < most => {
                    let number = next;
                    (next, newest, count) = (next + 1, next, count + 1);
                    let group = KeyGroup { columns: columns.to_vec(), values: Some(values) };
                    split.fresh.push((number, group));
                    number
                }
                None => {
                    of_rest.extend(series);
                    continue;
                }
            };
            members.insert(number, series);
        }
        if !of_rest.is_empty() {
            // A rest knows nothing of groups that came after it.
            let rest = own().filter(|(number, group)| group.values.is_none() && *number > newest);
            let number = rest.map(|(number, _)| number).last().unwrap_or(next);
            if self.get(number).is_none() {
                split.fresh.push((number, KeyGroup { columns: columns.to_vec(), values: None }));
            }
            members.insert(number, of_rest);
        }
        split.members = members
            .into_iter()
            .map(|(number, series)| (number, Arc::new(Bitmap::of(&series))))
            .collect();
        split
    }

    /// The series of each group of values; only the series are looked at that the index has now.
    pub fn members(&self, index: &SeriesIndex) -> BTreeMap<u32, Arc<Bitmap>> {
        let mut out = BTreeMap::new();
        let mut sets: Vec<&[ColumnId]> = self.0.values().map(|group| &group.columns[..]).collect();
        sets.sort_unstable();
        sets.dedup();
        let all = index.all(u32::MAX);
        for columns in sets {
            let (values, series) = keyed(index, columns, &all);
            let mut found: HashMap<Vec<Vec<u8>>, Vec<u32>> =
                values.into_iter().zip(series).collect();
            for (number, group) in self.iter().filter(|(_, group)| group.columns == columns) {
                let Some(values) = &group.values else { continue };
                let series = found.remove(values).unwrap_or_default();
                out.insert(number, Arc::new(Bitmap::of(&series)));
            }
        }
        out
    }
}

/// Series by their groups.
#[derive(Debug, Default)]
pub struct Split {
    /// The series of each group that takes some.
    pub members: BTreeMap<u32, Arc<Bitmap>>,
    /// Groups that are new, in the order of numbers.
    pub fresh: Vec<(u32, KeyGroup)>,
}

/// The distinct values of key columns among some series, in order of their first, and the series of
/// each.
fn keyed(
    index: &SeriesIndex,
    columns: &[ColumnId],
    all: &Bitmap,
) -> (Vec<Vec<Vec<u8>>>, Vec<Vec<u32>>) {
    let groups = index.groups(columns, all);
    let count = groups.count as usize;
    let mut values = vec![Vec::with_capacity(columns.len()); count];
    for column in 0..columns.len() {
        let (codes, dictionary) = groups.values(index, column);
        for (values, code) in values.iter_mut().zip(codes) {
            values.push(dictionary.get(code as usize).cloned().unwrap_or_default());
        }
    }
    let mut series = vec![Vec::new(); count];
    for (number, group) in all.iter().zip(&groups.of) {
        if let Some(of) = series.get_mut(*group as usize) {
            of.push(number);
        }
    }
    (values, series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Key;

    fn values(columns: &[ColumnId], values: &[&str]) -> KeyGroup {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        KeyGroup { columns: columns.to_vec(), values: Some(values) }
    }

    fn rest(columns: &[ColumnId]) -> KeyGroup {
        KeyGroup { columns: columns.to_vec(), values: None }
    }

    fn table(groups: &[KeyGroup]) -> Groups {
        Groups((1..).zip(groups.iter().cloned()).collect())
    }

    #[test]
    fn groups_overlap_unless_no_key_can_be_of_both() {
        let groups = table(&[
            values(&[1], &["a"]),
            values(&[1], &["b"]),
            rest(&[1]),
            values(&[1], &["c"]),
            values(&[1, 2], &["a", "x"]),
            values(&[2], &["y"]),
            values(&[2, 1], &["x", ""]),
            rest(&[1]),
        ]);
        let apart =
            [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (2, 5), (4, 5), (5, 6), (1, 7), (2, 7)];
        let apart = [&apart[..], &[(4, 7), (5, 7), (6, 7), (1, 8), (2, 8), (4, 8)]].concat();
        for a in 0..10 {
            for b in 0..10 {
                let expected = !apart.contains(&(a.min(b), a.max(b)));
                assert_eq!(groups.overlap(a, b), expected, "{a} and {b}");
            }
        }
        assert!(!groups.is_stale(1, &[1]) && groups.is_stale(1, &[]) && groups.is_stale(1, &[2]));
        assert!(groups.is_stale(0, &[1]) && !groups.is_stale(0, &[]) && !groups.is_stale(3, &[1]));
    }

    fn index(keys: &[&str]) -> SeriesIndex {
        let index = SeriesIndex::new(1);
        for (at, key) in keys.iter().enumerate() {
            let device = format!("d{at}");
            index.get_or_insert(&Key::new([(1, key.as_bytes()), (9, device.as_bytes())]));
        }
        index
    }

    /// Groups as they are split off, with the series of each: every series once, and none in a group
    /// that overlaps another one of a series.
    fn check(groups: &mut Groups, index: &SeriesIndex, most: usize, expect: &[(u32, &[u32])]) {
        let split = groups.split(index, &[1], &index.all(u32::MAX), most);
        let found: Vec<(u32, Vec<u32>)> =
            split.members.iter().map(|(number, set)| (*number, set.to_vec())).collect();
        let expect: Vec<_> = expect.iter().map(|(number, set)| (*number, set.to_vec())).collect();
        assert_eq!(found, expect);
        for (number, group) in split.fresh {
            assert!(groups.get(number).is_none());
            groups.insert(number, group);
        }
        for (a, _) in &found {
            assert!(found.iter().all(|(b, _)| a == b || !groups.overlap(*a, *b)));
        }
        for (number, members) in groups.members(index) {
            assert_eq!(groups.get(number).unwrap().columns, [1]);
            if let Some(set) = split.members.get(&number) {
                assert_eq!(*set, members);
            }
        }
    }

    #[test]
    fn keys_beyond_the_most_share_the_rest() {
        let mut groups = Groups::default();
        let few = index(&["a", "b", "a", ""]);
        check(&mut groups, &few, 3, &[(1, &[0, 2]), (2, &[1]), (3, &[3])]);
        check(&mut groups, &few, 0, &[(1, &[0, 2]), (2, &[1]), (3, &[3])]);
        let more = index(&["a", "b", "a", "", "c", "d", "c"]);
        let rest = [4, 5, 6];
        check(&mut groups, &more, 3, &[(1, &[0, 2]), (2, &[1]), (3, &[3]), (4, &rest)]);
        check(&mut groups, &more, 3, &[(1, &[0, 2]), (2, &[1]), (3, &[3]), (4, &rest)]);
        // With a higher limit keys leave the rest, and what is left is another one.
        let raised: [(u32, &[u32]); 5] =
            [(1, &[0, 2]), (2, &[1]), (3, &[3]), (5, &[4, 6]), (6, &[5])];
        check(&mut groups, &more, 4, &raised);
        assert!(groups.overlap(4, 5) && groups.overlap(4, 6) && !groups.overlap(5, 6));
        check(&mut groups, &more, 9, &[raised[0], raised[1], raised[2], raised[3], (7, &[5])]);
        assert!(groups.overlap(6, 7));
    }

    #[test]
    fn long_values_are_of_the_rest() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let mut groups = Groups::default();
        check(&mut groups, &index(&[&long, "a"]), 9, &[(1, &[1]), (2, &[0])]);
    }
}

//! Which groups of an aggregate have changed: a late row of one series changes the groups that the
//! series belongs to, and no others.

use std::collections::BTreeSet;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use tsdb::Table;
use tsdb::series::{Bitmap, KeyTest};
use tsdb::types::{ColumnId, ColumnType, Key, Value};

use super::super::View;
use super::check;
use super::standing::Span;
use crate::error::{QueryError, QueryResult};

/// Groups of a span that are told apart; where more have changed, all are computed.
const GROUPS_MAX: usize = 128;

/// Values of the keys of a group as keys hold them, in the order of [`GroupKeys`]; empty where one
/// is missing.
pub(super) type Group = Vec<Vec<u8>>;

/// Groups that have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    All,
    Some(BTreeSet<Group>),
}

impl Groups {
    fn add(&mut self, other: &Groups) {
        let all = match (&mut *self, other) {
            (Groups::Some(own), Groups::Some(more)) => {
                own.extend(more.iter().cloned());
                own.len() > GROUPS_MAX
            }
            _ => true,
        };
        if all {
            *self = Groups::All;
        }
    }
}

/// A span of buckets of which groups have changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    pub(super) span: Span,
    pub(super) groups: Groups,
}

/// The changes in disjoint ascending spans, in at most so many: beyond, near ones become one.
pub(super) fn disjoint(found: &[Changed], most: usize) -> Vec<Changed> {
    let mut cuts: Vec<i64> = found.iter().flat_map(|of| [of.span.0, of.span.1]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut out: Vec<Changed> = Vec::new();
    for pair in cuts.windows(2) {
        let span = (pair[0], pair[1]);
        let mut groups: Option<Groups> = None;
        for of in found.iter().filter(|of| of.span.0 <= span.0 && of.span.1 >= span.1) {
            match &mut groups {
                None => groups = Some(of.groups.clone()),
                Some(Groups::All) => break,
                Some(groups) => groups.add(&of.groups),
            }
        }
        let Some(groups) = groups else { continue };
        match out.last_mut() {
            Some(last) if last.span.1 == span.0 && last.groups == groups => last.span.1 = span.1,
            _ => out.push(Changed { span, groups }),
        }
    }
    reduce(&mut out, most.max(1));
    out
}

/// Joins those neighbours first whose joining computes least beyond what has changed.
fn reduce(list: &mut Vec<Changed>, most: usize) {
    let length = |of: &Changed| of.span.1.abs_diff(of.span.0);
    let cost = |list: &[Changed], at: usize| {
        let (a, b) = (&list[at], &list[at + 1]);
        let gap = b.span.0.abs_diff(a.span.1);
        match a.groups == b.groups {
            true => gap,
            false => gap.saturating_add(length(a)).saturating_add(length(b)),
        }
    };
    let mut costs: Vec<u64> = (1..list.len()).map(|at| cost(list, at - 1)).collect();
    while list.len() > most {
        let Some(at) = (0..costs.len()).min_by_key(|at| costs[*at]) else { return };
        let next = list.remove(at + 1);
        costs.remove(at);
        list[at].span.1 = next.span.1;
        list[at].groups.add(&next.groups);
        if at > 0 {
            costs[at - 1] = cost(list, at - 1);
        }
        if at < costs.len() {
            costs[at] = cost(list, at);
        }
    }
}

/// A key that an aggregate groups its table by.
#[derive(Clone, Debug)]
pub(super) struct GroupKey {
    /// Its name in the table.
    name: String,
    /// Its name in the aggregate.
    shown: String,
    kind: ColumnType,
    of_root: ColumnId,
    of_store: ColumnId,
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct GroupKeys(Vec<GroupKey>);

/// Some groups.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) keys: &'a GroupKeys,
    pub(super) groups: &'a BTreeSet<Group>,
}

impl GroupKeys {
    /// The keys of an aggregate over a table, of its bound query; `None` where groups cannot be
    /// told apart by them.
    pub(super) fn of(
        plan: &LogicalPlan,
        view: &View,
        root: &Table,
        store: &Table,
    ) -> QueryResult<Option<GroupKeys>> {
        let mut keys = Vec::new();
        for (place, name) in check::key_columns(plan)? {
            let Some(shown) = view.columns.get(place).map(|column| column.name.clone()) else {
                return Ok(None);
            };
            let of = |table: &Table, name: &str| {
                let column = table.schema().column(name).filter(|column| column.key)?;
                Some((column.id, column.kind))
            };
            let (Some(in_root), Some(in_store)) = (of(root, &name), of(store, &shown)) else {
                return Ok(None);
            };
            use ColumnType as T;
            let kind = in_root.1;
            let told = matches!(kind, T::Text | T::Bool | T::Int16 | T::Int32 | T::Int64);
            if !told || kind != in_store.1 {
                return Ok(None);
            }
            keys.push(GroupKey { name, shown, kind, of_root: in_root.0, of_store: in_store.0 });
        }
        Ok((!keys.is_empty()).then_some(GroupKeys(keys)))
    }

    /// The group that a series of the table belongs to.
    pub(super) fn group(&self, root: &Table, series: u32) -> Option<Group> {
        let key: Key = root.series().key(series)?;
        let value = |of: &GroupKey| key.get(of.of_root).map(<[u8]>::to_vec).unwrap_or_default();
        Some(self.0.iter().map(value).collect())
    }
}

impl Of<'_> {
    /// Series of the stored rows.
    pub(super) fn stored(&self, store: &Table) -> Bitmap {
        let (index, limit) = (store.series(), store.series_count());
        let mut all = Bitmap::new();
        for group in self.groups {
            let mut found = index.all(limit);
            for (key, value) in self.keys.0.iter().zip(group) {
                let test = match value.is_empty() {
                    true => KeyTest::Missing,
                    false => KeyTest::Equals(value.clone()),
                };
                found = found.and(&index.select(key.of_store, &test, limit));
            }
            all.or_inplace(&found);
        }
        all
    }

    /// That a row of the table, whose keys `column` gives by name, belongs to one of them.
    pub(super) fn of_table(&self, column: impl Fn(&str) -> Option<Column>) -> QueryResult<Expr> {
        self.condition(|key| column(&key.name))
    }

    /// That a stored row belongs to one of them.
    pub(super) fn of_stored(&self, column: impl Fn(&str) -> Column) -> QueryResult<Expr> {
        self.condition(|key| Some(column(&key.shown)))
    }

    fn condition(&self, column: impl Fn(&GroupKey) -> Option<Column>) -> QueryResult<Expr> {
        let none = || QueryError::internal("a continuous aggregate without its key");
        let mut columns = Vec::with_capacity(self.keys.0.len());
        for key in &self.keys.0 {
            columns.push((Expr::Column(column(key).ok_or_else(none)?), key.kind));
        }
        if let [(column, kind)] = &columns[..] {
            // One column: a list, and whether it is missing.
            let values = self.groups.iter().filter_map(|group| group.first());
            let values = values.filter(|value| !value.is_empty());
            let list =
                values.map(|value| literal(*kind, value)).collect::<QueryResult<Vec<_>>>()?;
            let missing = self.groups.iter().any(|group| group.iter().all(Vec::is_empty));
            let listed = (!list.is_empty()).then(|| column.clone().in_list(list, false));
            let missing = missing.then(|| column.clone().is_null());
            return disjunction(listed.into_iter().chain(missing)).ok_or_else(none);
        }
        let mut any = Vec::with_capacity(self.groups.len());
        for group in self.groups {
            let mut all = Vec::with_capacity(columns.len());
            for ((column, kind), value) in columns.iter().zip(group) {
                all.push(match value.is_empty() {
                    true => column.clone().is_null(),
                    false => column.clone().eq(literal(*kind, value)?),
                });
            }
            any.extend(conjunction(all));
        }
        disjunction(any).ok_or_else(none)
    }
}

/// A value of a key.
fn literal(kind: ColumnType, bytes: &[u8]) -> QueryResult<Expr> {
    let value = Key::decode_value(kind, bytes);
    let scalar = match (kind, value) {
        (ColumnType::Text, Some(Value::Bytes(text))) => {
            String::from_utf8(text).ok().map(|text| ScalarValue::Utf8View(Some(text)))
        }
        (ColumnType::Bool, Some(Value::Bool(v))) => Some(ScalarValue::Boolean(Some(v))),
        (ColumnType::Int16, Some(Value::Int(v))) => {
            i16::try_from(v).ok().map(|v| ScalarValue::Int16(Some(v)))
        }
        (ColumnType::Int32, Some(Value::Int(v))) => {
            i32::try_from(v).ok().map(|v| ScalarValue::Int32(Some(v)))
        }
        (ColumnType::Int64, Some(Value::Int(v))) => Some(ScalarValue::Int64(Some(v))),
        _ => None,
    };
    match scalar {
        Some(scalar) => Ok(lit(scalar)),
        None => Err(QueryError::internal("a key that is no value of its column")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(span: Span, groups: &[&str]) -> Changed {
        let groups = groups.iter().map(|name| vec![name.as_bytes().to_vec()]).collect();
        Changed { span, groups: Groups::Some(groups) }
    }

    fn all(span: Span) -> Changed {
        Changed { span, groups: Groups::All }
    }

    #[test]
    fn spans_become_disjoint() {
        let found =
            [of((0, 30), &["a"]), of((10, 20), &["b"]), all((15, 20)), of((40, 50), &["b"])];
        let apart = [
            of((0, 10), &["a"]),
            of((10, 15), &["a", "b"]),
            all((15, 20)),
            of((20, 30), &["a"]),
            of((40, 50), &["b"]),
        ];
        assert_eq!(disjoint(&found, 9), apart);
        // What is joined first is near, short or of the same groups.
        let joined = [of((0, 10), &["a"]), all((10, 20)), of((20, 30), &["a"]), apart[4].clone()];
        assert_eq!(disjoint(&found, 4), joined);
        assert_eq!(disjoint(&found, 1), [all((0, 50))]);
        assert_eq!(disjoint(&[], 4), []);
    }

    #[test]
    fn too_many_groups_are_all() {
        let names: Vec<String> = (0..=GROUPS_MAX).map(|n| n.to_string()).collect();
        let found: Vec<Changed> = names.iter().map(|name| of((0, 10), &[name.as_str()])).collect();
        assert_eq!(disjoint(&found, 4), [all((0, 10))]);
        assert!(disjoint(&found[1..], 4)[0].groups != Groups::All);
    }
}

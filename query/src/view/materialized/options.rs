//! `WITH (…)` of a continuous aggregate: how it is refreshed, and the life of its stored rows.

use datafusion::sql::sqlparser::ast::{Expr, Ident, SqlOption, Value};
use tsdb::types::{ColumnId, MergeMode, TableOptions};

use crate::ddl::options as table;
use crate::error::{QueryError, QueryResult};

const DAY_NS: i64 = 86_400_000_000_000;
/// How often it is refreshed where nothing is said.
pub(super) const REFRESH_EVERY_NS: i64 = 60_000_000_000;
/// Buckets that a partition has room for, at least.
const PARTITION_BUCKETS: i64 = 500;

/// What the options say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// `None`: only when it is told to.
    pub(super) every_ns: Option<i64>,
    pub(super) lag_ns: i64,
    /// Of the table with the stored rows.
    pub(super) store: TableOptions,
}

impl Options {
    /// Where nothing is said, for buckets of a length.
    pub(super) fn new(bucket_ns: i64) -> Options {
        let wanted = bucket_ns.saturating_mul(PARTITION_BUCKETS);
        let days = [1, 7, 30, 365, 3_650].into_iter().find(|days| days * DAY_NS >= wanted);
        let store = TableOptions {
            merge: MergeMode::LastRow,
            partition_ns: days.unwrap_or(36_500) * DAY_NS,
            ..TableOptions::default()
        };
        Options { every_ns: Some(REFRESH_EVERY_NS), lag_ns: 0, store }
    }

    /// Takes over options of a CREATE; false in front where `continuous` is not among them.
    pub(super) fn create(
        mut self,
        given: &[SqlOption],
        number_of: &dyn Fn(&str) -> QueryResult<ColumnId>,
    ) -> QueryResult<(bool, Options)> {
        let mut continuous = false;
        for option in given {
            match option {
                SqlOption::KeyValue { key, value } if is_continuous(key) => {
                    continuous = match value {
                        Expr::Value(value) => matches!(value.value, Value::Boolean(true)),
                        _ => false,
                    };
                    if !continuous {
                        let message = "continuous must be true or left out";
                        return Err(QueryError::new("22023", message));
                    }
                }
                SqlOption::KeyValue { key, value } => {
                    let name = key.value.to_lowercase();
                    let text = table::text(value).ok_or_else(|| {
                        QueryError::new("22023", format!("the value of {name} must be a text"))
                    })?;
                    self.set(&name, Some(&text), number_of)?;
                }
                other => {
                    let message = format!("unrecognized parameter {other}");
                    return Err(QueryError::new("42601", message));
                }
            }
        }
        Ok((continuous, self))
    }

    /// Sets one option; `None` is its default.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
        number_of: &dyn Fn(&str) -> QueryResult<ColumnId>,
    ) -> QueryResult<()> {
        let never = |text: &str| {
            let text = text.trim().to_lowercase();
            matches!(text.as_str(), "none" | "never" | "" | "0")
        };
        match (name, value) {
            ("refresh_every", None) => self.every_ns = Some(REFRESH_EVERY_NS),
            ("refresh_every", Some(text)) if never(text) => self.every_ns = None,
            ("refresh_every", Some(text)) => self.every_ns = Some(table::span_ns(text, name)?),
            ("refresh_lag", None) => self.lag_ns = 0,
            ("refresh_lag", Some(text)) if never(text) => self.lag_ns = 0,
            ("refresh_lag", Some(text)) => self.lag_ns = table::span_ns(text, name)?,
            ("retention" | "archive_after" | "archive" | "partition_by", Some(text)) => {
                let value = Value::SingleQuotedString(text.to_string());
                let option = SqlOption::KeyValue {
                    key: Ident::new(name),
                    value: Expr::Value(value.with_empty_span()),
                };
                self.store = table::read(&[option], self.store.clone(), number_of)?;
            }
            ("retention" | "archive_after" | "archive", None) => {
                self.store = table::reset(&[name.to_string()], self.store.clone())?;
            }
            _ => {
                let message = format!("unrecognized parameter \"{name}\"");
                return Err(QueryError::new("22023", message).with_hint(
                    "Known are continuous, refresh_every, refresh_lag, retention, archive_after, \
                     archive and partition_by.",
                ));
            }
        }
        Ok(())
    }
}

fn is_continuous(word: &Ident) -> bool {
    word.value.eq_ignore_ascii_case("continuous")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_room_for_buckets() {
        let days = |ns: i64| Options::new(ns).store.partition_ns / DAY_NS;
        let minute = 60_000_000_000;
        assert_eq!([days(1), days(minute), days(60 * minute)], [1, 1, 30]);
        assert_eq!([days(DAY_NS), days(30 * DAY_NS), days(365 * DAY_NS)], [3_650, 36_500, 36_500]);
    }

    #[test]
    fn options_are_set_and_reset() {
        let mut options = Options::new(1);
        let none = |name: &str| Err(QueryError::no_column(name, "t"));
        let mut set = |name: &str, value| options.set(name, value, &none).map(|()| options.clone());
        assert_eq!(set("refresh_every", Some("5 min")).unwrap().every_ns, Some(300_000_000_000));
        assert_eq!(set("refresh_every", Some("none")).unwrap().every_ns, None);
        assert_eq!(set("refresh_every", None).unwrap().every_ns, Some(REFRESH_EVERY_NS));
        assert_eq!(set("refresh_lag", Some("2 days")).unwrap().lag_ns, 2 * DAY_NS);
        assert_eq!(set("refresh_lag", None).unwrap().lag_ns, 0);
        assert_eq!(set("retention", Some("3 days")).unwrap().store.retention_ns, Some(3 * DAY_NS));
        assert_eq!(set("retention", None).unwrap().store.retention_ns, None);
        for (name, value) in [("merge", "last_row"), ("x", "1"), ("refresh_lag", "soon")] {
            let error = set(name, Some(value)).unwrap_err();
            assert!(["22023", "22007"].contains(&error.code), "{error:?}");
        }
    }
}

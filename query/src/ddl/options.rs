//! `WITH (…)` of a table: partition length, retention, archive, merge.

use datafusion::sql::sqlparser::ast::{Expr, SqlOption, Value};
use tsdb::types::{MergeMode, TableOptions};

use crate::error::{QueryError, QueryResult};

/// Settings over given ones.
pub(super) fn read(options: &[SqlOption], mut out: TableOptions) -> QueryResult<TableOptions> {
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(QueryError::new("42601", format!("unrecognized parameter {option}")));
        };
        let name = key.value.to_lowercase();
        let text = text(value).ok_or_else(|| {
            QueryError::new("22023", format!("the value of {name} must be a text"))
        })?;
        match name.as_str() {
            "partition_by" => out.partition_ns = partition(&text)?,
            "retention" => out.retention_ns = forever(&text, &name)?,
            "archive_after" => out.archive_after_ns = forever(&text, &name)?,
            "archive" => out.archive = place(&text),
            "merge" => {
                let message =
                    format!("merge must be last_non_null, last_row or append, not {text}");
                out.merge = MergeMode::from_name(&text.to_lowercase())
                    .ok_or_else(|| QueryError::new("22023", message))?;
            }
            _ => return Err(unknown(&name)),
        }
    }
    Ok(out)
}

/// Settings with some back at their defaults.
pub(super) fn reset(names: &[String], mut out: TableOptions) -> QueryResult<TableOptions> {
    let default = TableOptions::default();
    for name in names {
        match name.as_str() {
            "partition_by" => out.partition_ns = default.partition_ns,
            "retention" => out.retention_ns = default.retention_ns,
            "archive_after" => out.archive_after_ns = default.archive_after_ns,
            "archive" => out.archive = default.archive.clone(),
            "merge" => out.merge = default.merge,
            _ => return Err(unknown(name)),
        }
    }
    Ok(out)
}

fn unknown(name: &str) -> QueryError {
    QueryError::new("22023", format!("unrecognized parameter \"{name}\""))
        .with_hint("Known are partition_by, retention, archive_after, archive and merge.")
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Null => Some("none".into()),
            _ => None,
        },
        Expr::Identifier(word) => Some(word.value.clone()),
        _ => None,
    }
}

fn partition(text: &str) -> QueryResult<i64> {
    if text.contains(',') {
        return Err(QueryError::unsupported("partitioning by more than time"));
    }
    let ns = span_ns(text, "partition_by")?;
    let (minute, century) = (60_000_000_000, 100 * 365 * DAY_NS);
    if !(minute..=century).contains(&ns) {
        let message = format!("partition_by must be between a minute and 100 years, not {text}");
        return Err(QueryError::new("22023", message));
    }
    Ok(ns)
}

/// URL of an object store; `None` for that of the server.
fn place(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !text.eq_ignore_ascii_case("none")).then(|| text.to_owned())
}

fn forever(text: &str, name: &str) -> QueryResult<Option<i64>> {
    match text.trim().to_lowercase().as_str() {
        "none" | "forever" | "infinity" | "never" | "" => Ok(None),
        _ => span_ns(text, name).map(Some),
    }
}

pub(super) const DAY_NS: i64 = 86_400_000_000_000;

/// `'1 day'`, `'2 years 6 months'`, ns. A month is 30 days, a year 365.
pub(super) fn span_ns(text: &str, name: &str) -> QueryResult<i64> {
    let bad = || QueryError::new("22007", format!("{name}: invalid time span \"{text}\""));
    let mut words = text.split_whitespace();
    let mut total = 0i64;
    let mut any = false;
    while let Some(number) = words.next() {
        let number: i64 = number.parse().map_err(|_| bad())?;
        let unit = words.next().ok_or_else(bad)?.to_lowercase();
        let unit_ns = match unit.trim_end_matches('s') {
            "second" | "sec" => 1_000_000_000,
            "minute" | "min" => 60_000_000_000,
            "hour" | "h" => 3_600_000_000_000,
            "day" | "d" => DAY_NS,
            "week" | "w" => 7 * DAY_NS,
            "month" | "mon" => 30 * DAY_NS,
            "year" | "y" => 365 * DAY_NS,
            _ => return Err(bad()),
        };
        let part = number.checked_mul(unit_ns).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        any = true;
    }
    if !any || total <= 0 {
        return Err(bad());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span_ns("1 day", "x").unwrap(), DAY_NS);
        assert_eq!(span_ns("2 years 6 months", "x").unwrap(), 910 * DAY_NS);
        assert_eq!(span_ns("90 minutes", "x").unwrap(), 5_400_000_000_000);
        for bad in ["", "day", "1", "-1 day", "1 fortnight", "9999999 years", "1day"] {
            assert_eq!(span_ns(bad, "x").unwrap_err().code, "22007", "{bad}");
        }
    }
}

//! `WITH (…)` of a table: partitions, retention, archive, merge.

use datafusion::sql::sqlparser::ast::{Expr, SqlOption, Value};
use tsdb::types::{ColumnId, MergeMode, PARTITION_COLUMNS_MAX, TableOptions};

use crate::error::{QueryError, QueryResult};

/// Settings over given ones; `number_of` gives the number of a key column, or why there is none.
pub(crate) fn read(
    options: &[SqlOption],
    mut out: TableOptions,
    number_of: &dyn Fn(&str) -> QueryResult<ColumnId>,
) -> QueryResult<TableOptions> {
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(QueryError::new("42601", format!("unrecognized parameter {option}")));
        };
        let name = key.value.to_lowercase();
        let text = text(value).ok_or_else(|| {
            QueryError::new("22023", format!("the value of {name} must be a text"))
        })?;
        match name.as_str() {
            "partition_by" => {
                let (span, names) = partition(&text)?;
                out.partition_ns = span;
                out.partition_columns =
                    names.iter().map(|name| number_of(name)).collect::<QueryResult<_>>()?;
            }
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
pub(crate) fn reset(names: &[String], mut out: TableOptions) -> QueryResult<TableOptions> {
    let default = TableOptions::default();
    for name in names {
        match name.as_str() {
            "partition_by" => {
                out.partition_ns = default.partition_ns;
                out.partition_columns.clear();
            }
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

pub(crate) fn text(value: &Expr) -> Option<String> {
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

/// Length of a partition, ns, and names of key columns: `'1 day'` or `'1 day, site, "Line"'`.
fn partition(text: &str) -> QueryResult<(i64, Vec<String>)> {
    let (text, names) = match text.split_once(',') {
        None => (text, Vec::new()),
        Some((span, names)) => (span, names_of(names)?),
    };
    let ns = span_ns(text, "partition_by")?;
    let (minute, century) = (60_000_000_000, 100 * 365 * DAY_NS);
    if !(minute..=century).contains(&ns) {
        let message = format!("partition_by must be between a minute and 100 years, not {text}");
        return Err(QueryError::new("22023", message));
    }
    if names.len() > PARTITION_COLUMNS_MAX {
        let message = format!("partition_by takes at most {PARTITION_COLUMNS_MAX} key columns");
        return Err(QueryError::new("22023", message));
    }
    if let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
        let message = format!("partition_by names column \"{}\" twice", names[twice]);
        return Err(QueryError::new("42701", message));
    }
    Ok((ns, names))
}

/// Names between commas, folded unless they are quoted.
fn names_of(text: &str) -> QueryResult<Vec<String>> {
    let bad = || {
        let message = format!("partition_by: \"{}\" is no list of columns", text.trim());
        QueryError::new("22023", message)
            .with_hint("Say partition_by = '1 day, site': a time span, then columns of the key.")
    };
    let mut names = Vec::new();
    let mut rest = text.trim();
    loop {
        let name = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let name = rest[..end].trim();
                rest = &rest[end..];
                if name.is_empty() || name.contains('"') {
                    return Err(bad());
                }
                name.to_lowercase()
            }
            Some(mut quoted) => {
                let mut name = String::new();
                loop {
                    let end = quoted.find('"').ok_or_else(bad)?;
                    name.push_str(&quoted[..end]);
                    quoted = &quoted[end + 1..];
                    match quoted.strip_prefix('"') {
                        Some(more) => {
                            name.push('"');
                            quoted = more;
                        }
                        None => break,
                    }
                }
                rest = quoted.trim_start();
                name
            }
        };
        names.push(name);
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => return Ok(names),
            None => return Err(bad()),
        }
    }
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
pub(crate) fn span_ns(text: &str, name: &str) -> QueryResult<i64> {
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
    fn partitions() {
        let of = |text| partition(text).unwrap();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(of("1 day"), (DAY_NS, vec![]));
        assert_eq!(of("1 day, Site"), (DAY_NS, names(&["site"])));
        assert_eq!(of("2 days,\"a, \"\"B\"\"\" , c"), (2 * DAY_NS, names(&["a, \"B\"", "c"])));
        for (bad, code) in [
            ("1 day,", "22023"),
            ("1 day, a,", "22023"),
            ("1 day, \"a", "22023"),
            ("1 day, a\"b", "22023"),
            ("1 day, \"a\" b", "22023"),
            ("1 day, a, b, c, d, e", "22023"),
            ("1 day, a, A", "42701"),
            ("site, 1 day", "22007"),
        ] {
            assert_eq!(partition(bad).unwrap_err().code, code, "{bad}");
        }
    }

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

//! Sets of labels: what names a series.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// The label that holds the name of a metric.
pub const METRIC_NAME: &str = "__name__";

static NAME: LazyLock<Arc<str>> = LazyLock::new(|| METRIC_NAME.into());

/// A label: name and value.
pub(crate) type Label = (Arc<str>, Arc<str>);

/// Labels in ascending order of their names, none with an empty value. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// Labels in any order; those without a value are left out, of two with one name the last counts.
    pub(crate) fn new(mut labels: Vec<Label>) -> Labels {
        labels.sort_by(|a, b| a.0.cmp(&b.0));
        labels.reverse();
        labels.dedup_by(|a, b| a.0 == b.0);
        labels.reverse();
        labels.retain(|(_, value)| !value.is_empty());
        Labels(labels.into())
    }

    /// Labels of pairs.
    pub fn of(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    /// The metric's name as a label.
    pub(crate) fn metric(name: &Arc<str>) -> Label {
        (Arc::clone(&NAME), Arc::clone(name))
    }

    /// Value of a label; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name));
        at.map_or("", |at| &self.0[at].1)
    }

    /// Names and values in ascending order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Only those with these names.
    pub(crate) fn only(&self, names: &[String]) -> Labels {
        self.filter(|name| names.iter().any(|other| other == name))
    }

    /// Those without these names and the metric's name.
    pub(crate) fn without(&self, names: &[String]) -> Labels {
        self.filter(|name| name != METRIC_NAME && !names.iter().any(|other| other == name))
    }

    /// Those without the metric's name.
    pub(crate) fn nameless(&self) -> Labels {
        if self.get(METRIC_NAME).is_empty() {
            return self.clone();
        }
        self.filter(|name| name != METRIC_NAME)
    }

    /// Those without these names.
    pub(crate) fn minus(&self, names: &[String]) -> Labels {
        self.filter(|name| !names.iter().any(|other| other == name))
    }

    /// With one label set; an empty value takes it away.
    pub(crate) fn with(&self, name: &str, value: &str) -> Labels {
        let others = self.0.iter().filter(|(other, _)| **other != *name).cloned();
        Labels::new(others.chain([(name.into(), value.into())]).collect())
    }

    fn filter(&self, keep: impl Fn(&str) -> bool) -> Labels {
        Labels(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// Bytes that it holds, texts counted as if nobody shared them.
    pub(crate) fn memory(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 64).sum()
    }
}

impl fmt::Display for Labels {
    /// As Prometheus writes series: `name{a="x", b="y"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(METRIC_NAME))?;
        let labels: Vec<String> = self
            .iter()
            .filter(|(name, _)| *name != METRIC_NAME)
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        write!(f, "{{{}}}", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_have_values() {
        let all = Labels::of(&[("b", "2"), ("a", "1"), ("c", ""), ("__name__", "m"), ("a", "3")]);
        assert_eq!(all.to_string(), r#"m{a="3", b="2"}"#);
        assert_eq!((all.get("b"), all.get("c"), all.get("x")), ("2", "", ""));
        assert_eq!(all.nameless().to_string(), r#"{a="3", b="2"}"#);
        assert_eq!(all.only(&["b".into()]), Labels::of(&[("b", "2")]));
        assert_eq!(all.without(&["b".into()]), Labels::of(&[("a", "3")]));
        assert_eq!(all.with("a", "").to_string(), r#"m{b="2"}"#);
        assert_eq!(all.with("d", "4").get("d"), "4");
    }
}

//! The functions of PromQL: what they take and give.

use super::ast::Kind;
use super::elements;
use super::window::Window;

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) args: &'static [Kind],
    /// How many of the last arguments may be left out.
    pub(crate) optional: usize,
    /// Whether the last argument may come any number of times.
    pub(crate) variadic: bool,
    pub(crate) returns: Kind,
    pub(crate) body: Body,
}

/// How a function works.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// On each number by itself.
    Number(fn(f64) -> f64),
    /// On each number by itself, which is a time in s since 1970; on the time of evaluation where no
    /// argument is given.
    Clock(fn(f64) -> f64),
    /// On the samples of a window.
    Over(Window),
    AbsentOver,
    Absent,
    Clamp,
    ClampMin,
    ClampMax,
    HistogramQuantile,
    LabelJoin,
    LabelReplace,
    Pi,
    Round,
    Scalar,
    Sort {
        descending: bool,
    },
    SortByLabel {
        descending: bool,
    },
    Time,
    Timestamp,
    Vector,
}

const fn function(
    name: &'static str,
    args: &'static [Kind],
    returns: Kind,
    body: Body,
) -> Function {
    Function { name, args, optional: 0, variadic: false, returns, body }
}

const fn number(name: &'static str, f: fn(f64) -> f64) -> Function {
    function(name, &[Kind::Vector], Kind::Vector, Body::Number(f))
}

const fn clock(name: &'static str, f: fn(f64) -> f64) -> Function {
    let plain = function(name, &[Kind::Vector], Kind::Vector, Body::Clock(f));
    Function { optional: 1, ..plain }
}

const fn over(name: &'static str, window: Window) -> Function {
    function(name, &[Kind::Matrix], Kind::Vector, Body::Over(window))
}

const fn by_label(name: &'static str, descending: bool) -> Function {
    let args = &[Kind::Vector, Kind::Text];
    let plain = function(name, args, Kind::Vector, Body::SortByLabel { descending });
    Function { optional: 1, variadic: true, ..plain }
}

const V: Kind = Kind::Vector;
const S: Kind = Kind::Scalar;
const M: Kind = Kind::Matrix;
const T: Kind = Kind::Text;

/// All of them, sorted by name.
static FUNCTIONS: &[Function] = &[
    number("abs", f64::abs),
    function("absent", &[V], V, Body::Absent),
    function("absent_over_time", &[M], V, Body::AbsentOver),
    number("acos", f64::acos),
    number("acosh", f64::acosh),
    number("asin", f64::asin),
    number("asinh", f64::asinh),
    number("atan", f64::atan),
    number("atanh", f64::atanh),
    over("avg_over_time", Window::Avg),
    number("ceil", f64::ceil),
    over("changes", Window::Changes),
    function("clamp", &[V, S, S], V, Body::Clamp),
    function("clamp_max", &[V, S], V, Body::ClampMax),
    function("clamp_min", &[V, S], V, Body::ClampMin),
    number("cos", f64::cos),
    number("cosh", f64::cosh),
    over("count_over_time", Window::Count),
    clock("day_of_month", elements::day_of_month),
    clock("day_of_week", elements::day_of_week),
    clock("day_of_year", elements::day_of_year),
    clock("days_in_month", elements::days_in_month),
    number("deg", f64::to_degrees),
    over("delta", Window::Delta),
    over("deriv", Window::Deriv),
    function("double_exponential_smoothing", &[M, S, S], V, Body::Over(Window::Smooth)),
    number("exp", f64::exp),
    over("first_over_time", Window::First),
    number("floor", f64::floor),
    function("histogram_quantile", &[S, V], V, Body::HistogramQuantile),
    function("holt_winters", &[M, S, S], V, Body::Over(Window::Smooth)),
    clock("hour", elements::hour),
    over("idelta", Window::Idelta),
    over("increase", Window::Increase),
    over("irate", Window::Irate),
    Function { variadic: true, ..function("label_join", &[V, T, T, T], V, Body::LabelJoin) },
    function("label_replace", &[V, T, T, T, T], V, Body::LabelReplace),
    over("last_over_time", Window::Last),
    number("ln", f64::ln),
    number("log10", f64::log10),
    number("log2", f64::log2),
    over("mad_over_time", Window::Mad),
    over("max_over_time", Window::Max),
    over("min_over_time", Window::Min),
    clock("minute", elements::minute),
    clock("month", elements::month),
    function("pi", &[], S, Body::Pi),
    function("predict_linear", &[M, S], V, Body::Over(Window::Predict)),
    over("present_over_time", Window::Present),
    function("quantile_over_time", &[S, M], V, Body::Over(Window::Quantile)),
    number("rad", f64::to_radians),
    over("rate", Window::Rate),
    over("resets", Window::Resets),
    Function { optional: 1, ..function("round", &[V, S], V, Body::Round) },
    function("scalar", &[V], S, Body::Scalar),
    number("sgn", elements::sgn),
    number("sin", f64::sin),
    number("sinh", f64::sinh),
    function("sort", &[V], V, Body::Sort { descending: false }),
    by_label("sort_by_label", false),
    by_label("sort_by_label_desc", true),
    function("sort_desc", &[V], V, Body::Sort { descending: true }),
    number("sqrt", f64::sqrt),
    over("stddev_over_time", Window::Stddev),
    over("stdvar_over_time", Window::Stdvar),
    over("sum_over_time", Window::Sum),
    number("tan", f64::tan),
    number("tanh", f64::tanh),
    function("time", &[], S, Body::Time),
    function("timestamp", &[V], V, Body::Timestamp),
    over("ts_of_first_over_time", Window::TimeOfFirst),
    over("ts_of_last_over_time", Window::TimeOfLast),
    over("ts_of_max_over_time", Window::TimeOfMax),
    over("ts_of_min_over_time", Window::TimeOfMin),
    function("vector", &[S], V, Body::Vector),
    clock("year", elements::year),
];

/// Functions that Prometheus has and Millrace has not.
const ABSENT: &[&str] = &[
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_quantiles",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
    "info",
    "end",
    "range",
    "start",
    "step",
];

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    let at = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
    Some(&FUNCTIONS[at])
}

/// Whether it is a function of Prometheus that is not there.
pub(crate) fn is_known_elsewhere(name: &str) -> bool {
    ABSENT.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(FUNCTIONS.is_sorted_by_key(|function| function.name));
        for function in FUNCTIONS {
            assert!(find(function.name).is_some_and(|found| found.name == function.name));
            assert!(!is_known_elsewhere(function.name), "{}", function.name);
        }
    }
}

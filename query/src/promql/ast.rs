//! Expressions as they are evaluated: checked, names resolved, spans in ns.

use super::functions::Function;
use super::matcher::Matcher;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Kind {
    /// As Prometheus' documentation calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Scalar => "scalar",
            Kind::Vector => "instant vector",
            Kind::Matrix => "range vector",
            Kind::Text => "string",
        }
    }
}

/// An expression.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Number(f64),
    Text(String),
    Vector(Selector),
    /// A selector and its range, ns.
    Matrix(Selector, i64),
    Subquery(Box<Subquery>),
    Call(Box<Call>),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Negate(Box<Expr>),
    Paren(Box<Expr>),
}

/// Series by their labels, at some time.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) when: When,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct When {
    pub(crate) offset_ns: i64,
    pub(crate) at: Option<At>,
}

/// What stands behind `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A time, ns.
    Time(i64),
    Start,
    End,
}

/// `inner[range:step]`.
#[derive(Clone, Debug)]
pub(crate) struct Subquery {
    pub(crate) inner: Expr,
    pub(crate) range_ns: i64,
    pub(crate) step_ns: Option<i64>,
    pub(crate) when: When,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    pub(crate) args: Vec<Expr>,
}

/// An aggregation over series.
#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) inner: Expr,
    pub(crate) param: Option<Expr>,
    pub(crate) labels: Vec<String>,
    /// Whether `labels` are those that go.
    pub(crate) without: bool,
}

/// Aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
}

impl AggregateOp {
    /// By its name in lower case.
    pub(crate) fn from_name(name: &str) -> Option<AggregateOp> {
        Some(match name {
            "sum" => AggregateOp::Sum,
            "avg" => AggregateOp::Avg,
            "min" => AggregateOp::Min,
            "max" => AggregateOp::Max,
            "count" => AggregateOp::Count,
            "group" => AggregateOp::Group,
            "stddev" => AggregateOp::Stddev,
            "stdvar" => AggregateOp::Stdvar,
            "topk" => AggregateOp::Topk,
            "bottomk" => AggregateOp::Bottomk,
            "quantile" => AggregateOp::Quantile,
            "count_values" => AggregateOp::CountValues,
            _ => return None,
        })
    }

    /// What its first argument must be, where it takes two.
    pub(crate) fn param(self) -> Option<Kind> {
        match self {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Quantile => Some(Kind::Scalar),
            AggregateOp::CountValues => Some(Kind::Text),
            _ => None,
        }
    }
}

/// Two sides and an operator.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    /// Comparisons give 0 and 1 instead of filtering.
    pub(crate) bool: bool,
    pub(crate) matching: Matching,
}

/// How series of two sides find each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matching {
    /// Whether `labels` are those that count; else those that do not.
    pub(crate) on: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) group: Option<Side>,
    /// Labels of the one side that the result takes.
    pub(crate) include: Vec<String>,
}

/// Which side has many series for one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Operators of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Or,
    And,
    Unless,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Atan2,
    Pow,
}

impl BinaryOp {
    /// How strongly it binds.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            _ if self.is_comparison() => 3,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Pow => 6,
            _ => 5,
        }
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless)
    }

    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Less
                | BinaryOp::LessEqual
                | BinaryOp::Greater
                | BinaryOp::GreaterEqual
        )
    }
}

impl Expr {
    /// What it gives.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Expr::Number(_) => Kind::Scalar,
            Expr::Text(_) => Kind::Text,
            Expr::Vector(_) | Expr::Aggregate(_) => Kind::Vector,
            Expr::Matrix(..) | Expr::Subquery(_) => Kind::Matrix,
            Expr::Call(call) => call.function.returns,
            Expr::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Expr::Negate(inner) | Expr::Paren(inner) => inner.kind(),
        }
    }

    /// Without the parentheses around it.
    pub(crate) fn bare(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(inner) = expr {
            expr = inner;
        }
        expr
    }
}

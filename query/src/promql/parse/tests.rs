//! Tests of the grammar: how expressions are grouped, and what is refused with which words.

use super::*;

/// An expression with all its parentheses.
fn shown(expr: &Expr) -> String {
    let when = |when: &When| {
        let mut text = String::new();
        if let Some(at) = when.at {
            text += &match at {
                At::Time(ns) => format!(" @ {}", text::timestamp(ns)),
                At::Start => " @ start()".to_owned(),
                At::End => " @ end()".to_owned(),
            };
        }
        if when.offset_ns != 0 {
            text += &format!(" offset {}s", text::timestamp(when.offset_ns));
        }
        text
    };
    let selector = |selector: &Selector| {
        let matchers: Vec<String> = selector
            .matchers
            .iter()
            .map(|m| {
                let op = match m.op {
                    MatchOp::Equal => "=",
                    MatchOp::NotEqual => "!=",
                    MatchOp::Matches => "=~",
                    MatchOp::NotMatches => "!~",
                };
                format!("{}{op}{}", m.name.replace(METRIC_NAME, ""), m.value)
            })
            .collect();
        format!("{{{}}}", matchers.join(","))
    };
    let list = |all: &[Expr]| all.iter().map(shown).collect::<Vec<_>>().join(", ");
    match expr {
        Expr::Number(value) => text::number(*value),
        Expr::Text(text) => format!("{text:?}"),
        Expr::Vector(s) => format!("{}{}", selector(s), when(&s.when)),
        Expr::Matrix(s, range) => {
            format!("{}[{}s]{}", selector(s), text::timestamp(*range), when(&s.when))
        }
        Expr::Subquery(s) => {
            let step = s.step_ns.map(|step| text::timestamp(step) + "s").unwrap_or_default();
            let range = text::timestamp(s.range_ns);
            format!("{}[{range}s:{step}]{}", shown(&s.inner), when(&s.when))
        }
        Expr::Call(call) => format!("{}({})", call.function.name, list(&call.args)),
        Expr::Aggregate(a) => {
            let word = if a.without { "without" } else { "by" };
            let param = a.param.as_ref().map(|p| shown(p) + ", ").unwrap_or_default();
            format!("{:?} {word}({})({param}{})", a.op, a.labels.join(","), shown(&a.inner))
        }
        Expr::Binary(b) => {
            let m = &b.matching;
            let mut with = String::new();
            if b.bool {
                with += " bool";
            }
            if m.on || !m.labels.is_empty() {
                let word = if m.on { "on" } else { "ignoring" };
                with += &format!(" {word}({})", m.labels.join(","));
            }
            if let Some(side) = m.group {
                with += &format!(" group_{side:?}({})", m.include.join(","));
            }
            format!("({} {:?}{with} {})", shown(&b.left), b.op, shown(&b.right))
        }
        Expr::Negate(inner) => format!("-{}", shown(inner)),
        Expr::Paren(inner) => shown(inner),
    }
}

fn check(source: &str, expected: &str) {
    let expr = parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(shown(&expr), expected, "{source}");
}

fn refused(source: &str, code: &str, words: &str) {
    let error = parse(source).expect_err(source);
    assert!(error.code == code && error.message.contains(words), "{source}: {error}");
}

#[test]
fn operators_bind_as_in_prometheus() {
    check("1 + 2 * 3", "(1 Add (2 Mul 3))");
    check("1 - 2 - 3", "((1 Sub 2) Sub 3)");
    check("2 ^ 3 ^ 2", "(2 Pow (3 Pow 2))");
    check("-a ^ 2", "-({=a} Pow 2)");
    check("-a * 2", "(-{=a} Mul 2)");
    check("2 ^ -1 * 3", "((2 Pow -1) Mul 3)");
    check("-1 ^ 2 + +a", "(-(1 Pow 2) Add {=a})");
    check("a or b and c unless d", "({=a} Or (({=b} And {=c}) Unless {=d}))");
    check("a == bool b + 1 > 2", "(({=a} Equal bool ({=b} Add 1)) Greater 2)");
    check("a % b atan2 c", "(({=a} Mod {=b}) Atan2 {=c})");
    check("(a + b) * c", "(({=a} Add {=b}) Mul {=c})");
    check("SUM(a) OR b", "(Sum by()({=a}) Or {=b})");
}

#[test]
fn selectors_ranges_and_modifiers() {
    check(r#"a{b="c",d!~"e.*",}"#, "{=a,b=c,d!~e.*}");
    check(r#"{"a.b", 'l.m'="x"}"#, "{=a.b,l.m=x}");
    check(r#"{__name__=~"a.*"}"#, "{=~a.*}");
    check("a[5m] offset 1h @ 10", "{=a}[300s] @ 10 offset 3600s");
    check("a offset -5s", "{=a} offset -5s");
    check("a @ start() offset 1m", "{=a} @ start() offset 60s");
    check("a[300]", "{=a}[300s]");
    check("a[1h:5m] @ end()", "{=a}[3600s:300s] @ end()");
    check("rate(a[1m])[10m:]", "rate({=a}[60s])[600s:]");
    check(
        "max_over_time((a+b)[1h30m:1m] offset 2d)",
        "max_over_time(({=a} Add {=b})[5400s:60s] offset 172800s)",
    );
    check("sum offset 5m", "{=sum} offset 300s");
    check("a:b:c + by", "({=a:b:c} Add {=by})");
    check("5m", "300");
    check("Inf - nan", "(+Inf Sub NaN)");
}

#[test]
fn aggregations_calls_and_matching() {
    check("sum by (a, \"b.c\") (x)", "Sum by(a,b.c)({=x})");
    check("sum(x) without (a,)", "Sum without(a)({=x})");
    check("topk(3, x) by (on)", "Topk by(on)(3, {=x})");
    check("count_values('v', x)", "CountValues by()(\"v\", {=x})");
    check("a * on(x, y) group_left(z) b", "({=a} Mul on(x,y) group_Left(z) {=b})");
    check("a / ignoring(x) group_right b", "({=a} Div ignoring(x) group_Right() {=b})");
    check("a > bool on() b", "({=a} Greater bool on() {=b})");
    check("hour() + hour(a)", "(hour() Add hour({=a}))");
    check("round(a) - round(a, 5)", "(round({=a}) Sub round({=a}, 5))");
    check("label_join(a, 'd', ',', 'x', 'y')", r#"label_join({=a}, "d", ",", "x", "y")"#);
    check("label_join(a, 'd', ',')", r#"label_join({=a}, "d", ",")"#);
    check("sort_by_label(a, 'x', 'y')", r#"sort_by_label({=a}, "x", "y")"#);
    check("quantile_over_time(0.9, a[1m])", "quantile_over_time(0.9, {=a}[60s])");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    refused("", "42601", "1:1: parse error: no expression found in input");
    refused("a b", "42601", "1:3: parse error: unexpected \"b\"");
    refused("sum(", "42601", "1:5: parse error: unexpected end of input");
    refused(
        "a{b=c}",
        "42601",
        "1:5: parse error: unexpected \"c\" in label matching, expected string",
    );
    refused("{}", "42601", "at least one non-empty matcher");
    refused("{a=~\".*\"}", "42601", "at least one non-empty matcher");
    refused("a{b=~\"(\"}", "42601", "1:6: parse error: bad regular expression");
    refused("a{__name__=\"b\"}", "42601", "must not be set twice");
    refused(
        "rate(a)",
        "42601",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    refused("abs(1)", "42601", "expected type instant vector");
    refused("rate(a[5m], 1)", "42601", "expected 1 argument(s)");
    refused("label_join(a, 'b')", "42601", "expected at least 3 argument(s)");
    refused(
        "sum(1)",
        "42601",
        "expected type instant vector in aggregation expression, got scalar",
    );
    refused("topk(a)", "42601", "wrong number of arguments");
    refused("1 == 1", "42601", "comparisons between scalars must use BOOL modifier");
    refused("1 and a", "42601", "set operator and not allowed");
    refused("a + bool b", "42601", "bool modifier");
    refused("a and on(x) group_left b", "42601", "no grouping allowed for and operation");
    refused("a * on(x) group_left(x) b", "42601", "must not occur in ON and GROUP clause");
    refused("1 + on(x) a", "42601", "vector matching only allowed between instant vectors");
    refused("a[5m][5m]", "42601", "ranges only allowed for vector selectors");
    refused("a offset 1m[5m]", "42601", "before range");
    refused("(a) offset 1m", "42601", "must be preceded by");
    refused("a offset 1m offset 2m", "42601", "multiple times");
    refused("a @ 1 @ 2", "42601", "multiple times");
    refused("a[5m] + 1", "42601", "binary expression must contain only scalar and instant vector");
    refused("-a[5m]", "42601", "unary expression only allowed");
    refused("a[0s]", "42601", "greater than 0");
    refused("a[1e300]", "42601", "out of range");
    refused("a[Inf]", "42601", "expected duration");
    refused("a @ 1e300", "42601", "out of range");
    refused("nope(a)", "42601", "unknown function with name \"nope\"");
    refused("abs(a,)", "42601", "trailing commas");
    refused("histogram_avg(a)", "0A000", "the function histogram_avg is not supported");
    refused("limitk(1, a)", "0A000", "limitk");
    refused("a + fill(0) b", "0A000", "fill");
    refused("{a=\"b\" or c=\"d\"}", "0A000", "or");
}

#[test]
fn selectors_by_themselves() {
    let names = |text: &str| {
        let all = parse_selector(text, &mut RegexBudget::default()).expect(text);
        all.into_iter().map(|m| m.name).collect::<Vec<_>>().join(",")
    };
    assert_eq!(names("up"), "__name__");
    assert_eq!(names(r#"up{job=~"a.*",x!="y"}"#), "__name__,job,x");
    assert_eq!(names(r#"{"a.b"}"#), "__name__");
    for bad in ["", "up[5m]", "up offset 5m", "up + 1", "(up)", "rate(up[1m])", "{}", "5"] {
        assert_eq!(parse_selector(bad, &mut RegexBudget::default()).expect_err(bad).code, "42601");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    // Queries are read on threads with large stacks (`engine.rs`).
    let large = std::thread::Builder::new().stack_size(64 << 20);
    large.spawn(bounded).expect("a thread").join().expect("no panic");
}

fn bounded() {
    check(&format!("{}1{}", "(".repeat(150), ")".repeat(150)), "1");
    for deep in [
        format!("{}1{}", "(".repeat(30_000), ")".repeat(30_000)),
        "-".repeat(60_000) + "a",
        "2^".repeat(30_000) + "2",
        "1+".repeat(30_000) + "1",
        format!("{}a{}", "abs(".repeat(10_000), ")".repeat(10_000)),
        "a".repeat(70_000),
    ] {
        assert_eq!(parse(&deep).expect_err("too much").code, "54001");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let whole = r#"sum by (a) (rate(x{b=~"c|d", e!="\u00e9"}[5m] offset 1h @ 10)) / on(a) group_left(z) -y[1h:5m] ^ 0x1F # é"#;
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        let _ = parse(&whole[..end]);
    }
    for at in 0..whole.len() {
        for with in [b'(', b'"', b'\\', b'[', b'0', b'{', b'@', b'\n', 0xff] {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[at] = with;
            let _ = parse(&String::from_utf8_lossy(&bytes));
        }
    }
}

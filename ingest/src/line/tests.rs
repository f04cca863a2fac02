//! Line protocol: a table of cases, and the fast parser against its slow twin.

use proptest::prelude::*;
use tsdb::types::Value;

use super::cache::SeriesCache;
use super::compare::{NOW, Row, both, parse_with, tables};
use super::scan::complete_lines;

/// `expect` is one row as `table{tags} fields @time`, or `!words` that the refusal must hold.
#[track_caller]
fn check(line: &str, expect: &str) {
    if let Some(words) = expect.strip_prefix('!') {
        let tables = tables();
        let parsed = parse_with(line.as_bytes(), &tables, &SeriesCache::new(1 << 20), 1 << 20);
        let reason = parsed.refusals.told.values().next().expect("the line is refused");
        assert!(reason.contains(words), "{reason}");
        assert!(parsed.tables.is_empty(), "a refused line leaves nothing");
        both(line.as_bytes());
        return;
    }
    let (rows, refused) = both(line.as_bytes());
    assert!(refused.is_empty(), "{line} is refused");
    let shown: Vec<String> = rows.iter().map(show).collect();
    assert_eq!(shown.join("; "), expect);
}

fn show((table, tags, fields, time): &Row) -> String {
    let tags: Vec<String> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let fields = fields.iter().map(|(name, value)| match value {
        Value::Int(v) => format!("{name}={v}i"),
        Value::Float(v) => format!("{name}={v:?}"),
        Value::Bool(v) => format!("{name}={v}"),
        Value::Bytes(v) => format!("{name}={:?}", String::from_utf8_lossy(v)),
    });
    let fields: Vec<String> = fields.collect();
    let time = if *time == NOW { "now".to_string() } else { time.to_string() };
    format!("{table}{{{}}} {} @{time}", tags.join(","), fields.join(","))
}

#[test]
fn values_and_times() {
    check("m a=1i 5", "m{} a=1i @5");
    check("m a=1u 5", "m{} a=1i @5");
    check("m a=9223372036854775807u 5", "m{} a=9223372036854775807i @5");
    check("m a=9223372036854775808u 5", "!does not fit");
    check("m a=-9223372036854775808i 5", "m{} a=-9223372036854775808i @5");
    check("m a=-1u 5", "!negative");
    check("m a=1 5", "m{} a=1.0 @5");
    check("m a=-0 5", "m{} a=-0.0 @5");
    check("m a=1.5e3,b=.5,c=5.,d=+1e-2 5", "m{} a=1500.0,b=0.5,c=5.0,d=0.01 @5");
    check("m a=1e999 5", "!beyond");
    check("m a=nan 5", "!no value");
    check("m a=1.5i 5", "!goes on");
    check("m a=0x10 5", "!goes on");
    check("m a=- 5", "!without digits");
    check("m a=1e 5", "!exponent");
    check("m a=t,b=T,c=true,d=True,e=TRUE", "m{} a=true,b=true,c=true,d=true,e=true @now");
    check("m a=f,b=F,c=false,d=False,e=FALSE", "m{} a=false,b=false,c=false,d=false,e=false @now");
    check("m a=tRUE", "!no value");
    check("m a=1i -5", "m{} a=1i @-5");
    check("m a=1i", "m{} a=1i @now");
    check("m a=1i   ", "m{} a=1i @now");
    check("m a=1i 5  \t", "m{} a=1i @5");
    check("m  a=1i  5", "m{} a=1i @5");
    check("m a=1i 5 6", "!whole number");
    check("m a=1i 5.5", "!whole number");
    check("m a=1i 5s", "!whole number");
    check("m a=1i 9223372036854775808", "!does not fit");
    check("m a=1i 4000000000000000001", "!lies outside");
    check("m a=1i -1000000000001", "!lies outside");
}

#[test]
fn text_values() {
    check(r#"m a="x y,z=1" 5"#, r#"m{} a="x y,z=1" @5"#);
    check(r#"m a="" 5"#, r#"m{} a="" @5"#);
    check(r#"m a="say \"hi\"" 5"#, r#"m{} a="say \"hi\"" @5"#);
    check(r#"m a="back\\slash\n\" 5"#, "!closing quote");
    check(r#"m a="c:\\dir\x\\" 5"#, r#"m{} a="c:\\dir\\x\\" @5"#);
    check(
        "m a=\"two\nlines\",b=1i 5\nm a=\"x\" 6",
        "m{} a=\"two\\nlines\",b=1i @5; m{} a=\"x\" @6",
    );
    check(r#"m a="open 5"#, "!closing quote");
    check(r#"m a="x"y 5"#, "!goes on");
    check(r#"m a="ü☃" 5"#, r#"m{} a="ü☃" @5"#);
    check(r#"m a=b"x" 5"#, "!no value");
}

#[test]
fn names_and_escapes() {
    check(r"my\ m\,x,tag\ k\=1=v\,a\ l\=u f\ 1\=\,=1i 5", "my m,x{tag k=1=v,a l=u} f 1=,=1i @5");
    check(r"m\=x a=1i 5", r"m\=x{} a=1i @5");
    check(r"m=x a=1i 5", "m=x{} a=1i @5");
    check(r"m,k=a\b a\c=1i 5", r"m{k=a\b} a\c=1i @5");
    check(r"m,k=a\\,b=c x=1i 5", "!holds an =");
    check(r"m,k=a\\\,b x=1i 5", r"m{k=a\\,b} x=1i @5");
    check("größe,ort=köln wärme=1 5", "größe{ort=köln} wärme=1.0 @5");
    check("m,k=\"q\" a=1i 5", "m{k=\"q\"} a=1i @5");
    check("m \"a\"=1i 5", "m{} \"a\"=1i @5");
    check("M A=1i,a=2i 5", "M{} A=1i,a=2i @5");
    check("m time=1i 5", "!reserved");
    check("m,time=1 a=1i 5", "!reserved");
    check("known at=1i 5", "!reserved");
    check("m a\0=1i 5", "!NUL");
    check(&format!("m {}=1i 5", "x".repeat(255)), &format!("m{{}} {}=1i @5", "x".repeat(255)));
    check(&format!("m {}=1i 5", "x".repeat(256)), "!longer than 255");
    check(&format!("{} a=1i 5", "x".repeat(256)), "!longer than 255");
    check(&format!("m,{}=1 a=1i 5", "x".repeat(256)), "!longer than 255");
    check(&format!("m,k={} a=1i 5", "x".repeat(65_536)), "!longer than 65535");
}

#[test]
fn broken_lines() {
    check("m", "!without fields");
    check("m,a=b", "!without fields");
    check("m ", "!without a value");
    check("m a", "!without a value");
    check("m a= 5", "!without a value");
    check("m a=,b=1 5", "!without a value");
    check("m =1i 5", "!without a name");
    check("m a=1i, 5", "!without a value");
    check("m a=1i,,b=2i 5", "!without a value");
    check(",a=b c=1i 5", "!without a name");
    check("m, c=1i 5", "!no value");
    check("m,a c=1i 5", "!no value");
    check("m,a= c=1i 5", "!no value");
    check("m,=a c=1i 5", "!without a name");
    check("m,a=1,,b=2 c=1i 5", "!no value");
    check("m,a=1=2 c=1i 5", "!holds an =");
    check("m,a=1,a=2 c=1i 5", "!twice");
    check("m,a=1 a=1i 5", "!both");
    check("m b=1i c=2i 5", "!whole number");
}

#[test]
fn lines_apart() {
    check("", "");
    check("\n\n \t\n# a comment, with=all \"signs\n  # another\nm a=1i 5\n", "m{} a=1i @5");
    let (rows, refused) = both(b"m a=1i 5\r\nm a=2i\r\n\r\nm a=\"x\"");
    assert_eq!((rows.len(), refused), (2, vec![4]));
    check("m a=1i 5\r\nm a=2i 6\r\n", "m{} a=1i @5; m{} a=2i @6");
    check("m a=1i 5\r", "m{} a=1i @5");
    check("m a=t\r\n", "m{} a=true @now");
    check("  m a=1i 5", "m{} a=1i @5");
    let (rows, refused) = both(b"m a=1i 5\nbad\nm a=2i 6\nm a=\"open\nm a=3i 7\n");
    assert_eq!((rows.len(), refused), (3, vec![2, 4]));
    let (rows, refused) = both(b"m a=\"1\n2\n3\" x\nm b=1 5\nx");
    assert_eq!((rows.len(), refused), (1, vec![1, 5]));
}

#[test]
fn fields_given_twice_and_types() {
    check("m a=1i,b=2i,a=3i 5", "m{} a=3i,b=2i @5");
    check("m a=\"x\",a=3i 5", "m{} a=3i @5");
    // A column of this request becomes a float with the first float; the ints before it too.
    check("m a=1i 1\nm a=2.5 2\nm a=3i 3", "m{} a=1.0 @1; m{} a=2.5 @2; m{} a=3.0 @3");
    let (rows, refused) = both(b"m a=1i 1\nm a=2.5,b=x 2\nm a=3i 3");
    assert_eq!((show(&rows[1]).as_str(), refused), ("m{} a=3i @3", vec![2]));
    check("known,host=a double=1i 5", "known{host=a} double=1.0 @5");
    check("known,host=a big=1.0 5", "!\"big\" is bigint, the value is double precision");
    check("known,host=a big=t 5", "!bigint");
    check("known,host=a note=1i 5", "!text");
    check("known,host=a flag=1i 5", "!boolean");
    check("known,host=a raw=\"x\" 5", "!bytea");
    check("known,host=a seen=1i 5", "!timestamptz");
    check(
        "known,host=a small=32767i,int=-2147483648i 5",
        "known{host=a} int=-2147483648i,small=32767i @5",
    );
    check("known,host=a small=32768i 5", "!does not fit");
    check("known,host=a int=2147483648i 5", "!does not fit");
    check("known,host=a real=0.1 5", "known{host=a} real=0.10000000149011612 @5");
    check("known,host=a real=1e300 5", "!real");
    check(&format!("m a=\"{}\" 5", "x".repeat(201)), "!exceeds 200 bytes");
}

#[test]
fn tags_and_fields_keep_apart() {
    check("known,host=b,slot=-7,up=true big=1i 5", "known{host=b,slot=-7,up=true} big=1i @5");
    check("known,slot=x big=1i 5", "!smallint");
    check("known,slot=40000 big=1i 5", "!smallint");
    check("known,up=yes big=1i 5", "!boolean");
    check("known host=1i 5", "!is a tag");
    check("known,big=1 double=1 5", "!is a field");
    check("known,host=a,new=x big=1i 5", "known{host=a,new=x} big=1i @5");
    let (rows, refused) = both(b"m,t=1 a=1i 1\nm t=1i 2\nm,a=1 b=1i 3\nm,u=1 b=1i 4");
    assert_eq!((rows.len(), refused), (2, vec![2, 3]));
    // What only refused lines name is free for the others.
    let (rows, refused) = both(b"m,t=1 a=x 1\nm t=1i 2\nm,a=1 t=1i 3\nm b=1i,t=x 4\nm,b=1 t=1i 5");
    assert_eq!((rows.len(), refused), (3, vec![1, 4]));
    // The same tags in another order are the same series.
    let tables = tables();
    let body = b"m,a=1,b=2 x=1i 1\nm,b=2,a=1 x=1i 2\nknown,slot=7,host=z big=1i 1\n\
        known,host=z,slot=07 big=1i 2\nknown,slot=+7,n=1 big=1i 3\nknown,n=1,slot=7 big=1i 3";
    let parsed = parse_with(body, &tables, &SeriesCache::new(1 << 20), 1 << 20);
    assert_eq!(parsed.tables[0].sealed[0].series.len(), 1);
    assert_eq!(parsed.tables[1].sealed[0].series.len(), 2);
}

#[test]
fn limits() {
    let fields = |from: usize, to: usize| {
        (from..to).map(|n| format!("f{n}=1i")).collect::<Vec<_>>().join(",")
    };
    check(&format!("m {} 5", fields(0, 25)), "!more than 24 columns");
    let (rows, refused) =
        both(format!("m,t=1 {} 5\nm,t=1,u=2 f0=1i\nm f23=1i", fields(0, 23)).as_bytes());
    assert_eq!((rows.len(), refused), (1, vec![2, 3]));
    // A refused line takes no room.
    let (rows, refused) =
        both(format!("m {},x=no 5\nm {} 5", fields(0, 23), fields(30, 54)).as_bytes());
    assert_eq!((rows.len(), refused), (1, vec![1]));
    let tables = tables();
    let long = format!("m a=1i 1\nm a=\"{}\" 2\nm a=3i 3", "x".repeat(100));
    let parsed = parse_with(long.as_bytes(), &tables, &SeriesCache::new(1 << 20), 50);
    assert_eq!((parsed.rows, parsed.refusals.lines), (2, vec![2]));
}

#[test]
fn sparse_rows_stay_bounded_and_in_order() {
    let mut body = String::new();
    for round in 0..2000 {
        body.push_str(&format!("m,t={} f{}={}i {round}\n", round % 7, round * 13 % 23, round));
    }
    let (rows, refused) = both(body.as_bytes());
    assert_eq!((rows.len(), refused.len()), (2000, 0));
    let tables = tables();
    let parsed = parse_with(body.as_bytes(), &tables, &SeriesCache::new(1 << 20), 1 << 20);
    let padded: usize = parsed.tables.iter().map(|t| t.cells_sealed).sum();
    assert!(parsed.tables[0].sealed.len() > 1);
    assert!(padded <= 8 * 2000 + 1100 * parsed.tables[0].sealed.len(), "{padded}");
}

#[test]
fn complete_lines_end_where_the_parser_ends_them() {
    let cut = |text: &str| complete_lines(text.as_bytes());
    assert_eq!(cut("m a=1\nm b"), 6);
    assert_eq!(cut("m a=1"), 0);
    assert_eq!(cut("m a=\"x\ny\""), 0);
    assert_eq!(cut("m a=\"x\ny\" 5\nrest"), 12);
    assert_eq!(cut("m a=\"x\\\"\ny\" 5\nrest"), 14);
    assert_eq!(cut("# \"\nm a=1\n"), 10);
    assert_eq!(cut("m,t=\" a=1\nrest"), 10);
    assert_eq!(cut("m a\\=\"x=1\nrest"), 10);
    assert_eq!(cut(""), 0);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-e]", r"[a-zA-Z_ ,=.äß\-]{1,6}",]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::Int),
        (-100i64..100).prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::Float),
        (0..100_000i64).prop_map(|v| Value::Float(v as f64 / 100.0)),
        any::<bool>().prop_map(Value::Bool),
        "[a-z\"\\\\ ,=\n#ü]{0,12}".prop_map(|text| Value::Bytes(text.into_bytes())),
    ]
}

fn escaped(name: &str, special: &str) -> String {
    name.chars().flat_map(|c| special.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Text of a row, with types in the names so that columns never disagree.
fn write_line(row: &Row) -> String {
    let (table, tags, fields, time) = row;
    let mut line = escaped(table, ", ");
    for (name, value) in tags {
        line.push_str(&format!(",{}={}", escaped(name, ",= "), escaped(value, ",= ")));
    }
    for (number, (name, value)) in fields.iter().enumerate() {
        line.push(if number == 0 { ' ' } else { ',' });
        line.push_str(&escaped(name, ",= "));
        line.push('=');
        match value {
            Value::Int(v) => line.push_str(&format!("{v}i")),
            Value::Float(v) => line.push_str(&format!("{v:?}")),
            Value::Bool(v) => line.push_str(if *v { "t" } else { "F" }),
            Value::Bytes(v) => {
                let text = String::from_utf8_lossy(v);
                line.push_str(&format!("\"{}\"", escaped(&text, "\"\\")));
            }
        }
    }
    line.push_str(&format!(" {time}"));
    line
}

fn row() -> impl Strategy<Value = Row> {
    let tags = proptest::collection::btree_map(name(), "[a-zA-Z ,=ü]{1,4}", 0..3);
    let fields = proptest::collection::vec((name(), value()), 1..5);
    let time = -1_000_000_000_000i64..4_000_000_000_000_000_000;
    ("[mn]|m [xyz],", tags, fields, time).prop_map(|(table, tags, fields, time)| {
        let tags = tags.into_iter().map(|(name, v)| (format!("t{name}"), v)).collect();
        let fields = fields.into_iter().map(|(name, value)| {
            let mark = match value {
                Value::Int(_) => 'i',
                Value::Float(_) => 'f',
                Value::Bool(_) => 'b',
                Value::Bytes(_) => 's',
            };
            (format!("{mark}{}", &name[..name.chars().next().map_or(0, char::len_utf8)]), value)
        });
        (table, tags, fields.collect(), time)
    })
}

/// Words that a mutation puts into a line.
const WORDS: [&str; 20] = [
    " ",
    ",",
    "=",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "#",
    "1i",
    "1.5",
    "t",
    "\\\"",
    "\0",
    "=1i",
    ",x=1",
    " 5",
    "é",
    "time",
    "-",
    "18446744073709551615u",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_come_back(rows in proptest::collection::vec(row(), 1..20)) {
        let body: String = rows.iter().map(|row| write_line(row) + "\n").collect();
        let (read, refused) = both(body.as_bytes());
        // More columns than the limit are the only reason for a refusal here.
        if refused.is_empty() {
            let mut read: Vec<String> = read.iter().map(|row| format!("{row:?}")).collect();
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            read.sort();
            rows.sort();
            prop_assert_eq!(read, rows);
        } else {
            prop_assert!(rows.len() > 3);
        }
    }

    #[test]
    fn mutated_lines_are_read_as_by_the_twin(
        rows in proptest::collection::vec(row(), 1..8),
        edits in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0..20usize, 0..4usize),
            0..6,
        ),
    ) {
        let text: String = rows.iter().map(|row| write_line(row) + "\n").collect();
        let mut body = text.into_bytes();
        for (place, word, cut) in edits {
            let at = place.index(body.len() + 1);
            let end = (at + cut).min(body.len());
            body.splice(at..end, WORDS[word].bytes());
        }
        both(&body);
    }

    #[test]
    fn small_alphabets_are_read_as_by_the_twin(text in "[ab,= \"\\\\\n1i.#t]{0,60}") {
        both(text.as_bytes());
    }

    #[test]
    fn random_bytes_are_read_as_by_the_twin(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        both(&bytes);
    }

    #[test]
    fn no_truncation_panics(rows in proptest::collection::vec(row(), 1..3)) {
        let body: String = rows.iter().map(|row| write_line(row) + "\n").collect();
        for end in 0..body.len() {
            both(&body.as_bytes()[..end]);
        }
    }

    #[test]
    fn a_body_cut_at_complete_lines_reads_the_same(
        rows in proptest::collection::vec(row(), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let body: String = rows.iter().map(|row| write_line(row) + "\n").collect();
        let body = body.as_bytes();
        let end = complete_lines(&body[..cut.index(body.len() + 1)]);
        let (first, second) = (both(&body[..end]), both(&body[end..]));
        let whole = both(body);
        if whole.1.is_empty() {
            prop_assert_eq!(first.0.len() + second.0.len(), whole.0.len());
            prop_assert!(first.1.is_empty() && second.1.is_empty());
        }
    }
}

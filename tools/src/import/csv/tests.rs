//! Tests of reading CSV files.

use super::*;

fn options() -> CsvOptions {
    CsvOptions {
        table: "rig".into(),
        time_column: None,
        time_format: TimeFormat::Auto,
        keys: vec![],
        tags: BTreeMap::new(),
        delimiter: None,
        chunk_bytes: 1 << 20,
    }
}

fn check(text: &str, options: &CsvOptions, lines: &str, bad: &[(u64, &str)]) {
    let mut chunks = CsvChunks::new(text.as_bytes(), options).unwrap();
    let (mut body, mut found) = (Vec::new(), Vec::new());
    while let Some((chunk, rows)) = chunks.next_chunk().unwrap() {
        body.extend(chunk.body);
        found.extend(rows);
    }
    assert_eq!(String::from_utf8(body).unwrap(), lines);
    let found: Vec<(u64, &str)> = found.iter().map(|b| (b.line, b.reason.as_str())).collect();
    assert_eq!(found, bad);
}

#[test]
fn names_with_blanks_stay() {
    let mut options = options();
    options.tags.insert("run".into(), "valve1 0".into());
    check(
        "datetime;Current;Volume Flow RateRMS;anomaly\n\
         2020-03-09 10:14:33;1.3302;32.0;0.0\n2020-03-09 10:14:34;;32;1\n",
        &options,
        "rig,run=valve1\\ 0 Current=1.3302,Volume\\ Flow\\ RateRMS=32.0,anomaly=0.0 \
         1583748873000000000\n\
         rig,run=valve1\\ 0 Volume\\ Flow\\ RateRMS=32,anomaly=1 1583748874000000000\n",
        &[],
    );
}

#[test]
fn types_and_keys() {
    let options = CsvOptions { keys: vec!["site".into()], ..options() };
    check(
        "time,site,n,x,on,note\n1,a b,5,5,true,\"say \"\"hi\"\"\"\n2,,-6,1e3,F,plain\n",
        &options,
        "rig,site=a\\ b n=5i,x=5,on=t,note=\"say \\\"hi\\\"\" 1000000000\n\
         rig n=-6i,x=1e3,on=f,note=\"plain\" 2000000000\n",
        &[],
    );
}

#[test]
fn rows_that_do_not_fit_are_told() {
    let many = "2,1\n".repeat(SAMPLE_ROWS);
    let text = format!("time,n\n{many}3,1.5\nx,1\n4,1,1\n5,\n6,7\n");
    let mut chunks = CsvChunks::new(text.as_bytes(), &options()).unwrap();
    let (mut rows, mut bad) = (0, Vec::new());
    while let Some((chunk, found)) = chunks.next_chunk().unwrap() {
        assert_eq!(chunk.lines.len(), chunk.body.iter().filter(|b| **b == b'\n').count());
        rows += chunk.lines.len();
        bad.extend(found.into_iter().map(|b| b.reason));
    }
    assert_eq!(rows, SAMPLE_ROWS + 1);
    assert_eq!(
        bad,
        [
            "`1.5` in n is no int",
            "`x` in time is no time",
            "3 columns instead of 2",
            "it has no value in any field"
        ]
    );
}

#[test]
fn wrong_headers_are_refused() {
    let fails = |text: &str, options: &CsvOptions| {
        CsvChunks::new(text.as_bytes(), options).err().unwrap().to_string()
    };
    assert!(fails("time,a,a\n", &options()).contains("two columns"));
    assert!(fails("time,,a\n", &options()).contains("no name"));
    let keys = CsvOptions { keys: vec!["b".into()], ..options() };
    assert!(fails("time,a\n", &keys).contains("no key column `b`"));
    let time = CsvOptions { time_column: Some("when".into()), ..options() };
    assert!(fails("time,a\n", &time).contains("no column `when`"));
}

#[test]
fn delimiters_are_guessed() {
    assert_eq!(guess_delimiter(b"a;b,c;d\n1,2,3,4,5"), b';');
    assert_eq!(guess_delimiter(b"a,b"), b',');
    assert_eq!(guess_delimiter(b"a\tb\tc"), b'\t');
    assert_eq!(guess_delimiter(b"a"), b',');
}

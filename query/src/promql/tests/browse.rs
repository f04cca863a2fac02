//! What query builders ask, and remote read.

use super::*;

fn world() -> World {
    let world = World::new();
    load(&world, "up", &[("job", "a"), ("instance", "1")], &[(10 * SECOND, 1.0)]);
    load(&world, "up", &[("job", "b"), ("instance", "2")], &[(1000 * SECOND, 1.0)]);
    load(&world, "load", &[("job", "a"), ("time", "t")], &[(10 * SECOND, 1.0)]);
    load(&world, "empty", &[("nobody", "x")], &[]);
    world.run(
        "CREATE TABLE cpu (time timestamptz, host text, usage double precision, note text, \
         PRIMARY KEY (host, time))",
    );
    world.run("INSERT INTO cpu VALUES ('1970-01-01 00:16:40Z', 'h', 5, 'x')");
    world
}

fn asked(selectors: &[&str], start: i64, end: i64) -> PromBrowse {
    let selectors = selectors
        .iter()
        .map(|text| parse_selector(text, &mut RegexBudget::default()).expect("a selector"));
    let times = TimeRange::new(start * SECOND, end * SECOND);
    PromBrowse { selectors: selectors.collect(), times, limit: 0 }
}

fn everything() -> PromBrowse {
    PromBrowse { selectors: Vec::new(), times: TimeRange::ALL, limit: 0 }
}

#[test]
fn names_and_values_of_labels() {
    let world = world();
    let labels = |asked| block_on(world.session.prom_labels(asked)).expect("labels").all;
    assert_eq!(labels(everything()), ["__name__", "host", "instance", "job", "time"]);
    assert_eq!(labels(asked(&["up"], 0, 2000)), ["__name__", "instance", "job"]);
    assert_eq!(labels(asked(&["cpu_usage", "load"], 0, 2000)), ["__name__", "host", "job", "time"]);
    assert_eq!(labels(asked(&["up"], 2000, 3000)), Vec::<String>::new());
    assert_eq!(labels(asked(&[], 0, 100)), ["__name__", "instance", "job", "time"]);
    let values = |label: &str, asked| {
        block_on(world.session.prom_label_values(label.into(), asked)).expect("values").all
    };
    assert_eq!(values("__name__", everything()), ["cpu_usage", "load", "up"]);
    assert_eq!(values("__name__", asked(&["{job=\"a\"}"], 0, 100)), ["load", "up"]);
    assert_eq!(values("job", everything()), ["a", "b"]);
    assert_eq!(values("job", asked(&["up"], 0, 100)), ["a"]);
    assert_eq!(values("job", asked(&["up"], 500, 1500)), ["b"]);
    assert_eq!(values("time", everything()), ["t"]);
    assert_eq!(values("nope", everything()), Vec::<String>::new());
    let two = PromBrowse { limit: 2, ..everything() };
    let found = block_on(world.session.prom_labels(two)).expect("labels");
    assert_eq!((found.all.len(), found.cut), (2, true));
}

#[test]
fn series_with_samples_in_a_time() {
    let world = world();
    let found = |asked| {
        let found = block_on(world.session.prom_series(asked)).expect("series");
        found.all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (one, two) = (r#"up{instance="1", job="a"}"#, r#"up{instance="2", job="b"}"#);
    assert_eq!(found(asked(&["up"], 0, 2000)), [one, two]);
    assert_eq!(found(asked(&["up"], 0, 999)), [one]);
    assert_eq!(found(asked(&["up"], 11, 1000)), [two]);
    assert_eq!(found(asked(&["up"], 11, 999)), Vec::<String>::new());
    let both = asked(&["up{job=\"a\"}", "{__name__=~\"l.*\"}"], 0, 2000);
    assert_eq!(found(both), [r#"load{job="a", time="t"}"#, one]);
}

#[test]
fn remote_read_gives_samples_in_the_order_of_labels() {
    let world = world();
    let stale = elements::NONE;
    load(
        &world,
        "up",
        &[("job", "0"), ("instance", "9")],
        &[(20 * SECOND, 5.0), (21 * SECOND, stale)],
    );
    let question = |text: &str, start: i64, end: i64| PromRead {
        matchers: parse_selector(text, &mut RegexBudget::default()).expect("a selector"),
        times: TimeRange::new(start * SECOND, end * SECOND),
    };
    let questions = vec![question("up", 0, 30), question("{job=\"a\"}", 0, 2000)];
    let found = block_on(async {
        let mut series = world.session.prom_read(questions).await.expect("a read");
        let mut all = Vec::new();
        while let Some(found) = series.recv().await {
            let PromReadSeries { question, labels, points } = found.expect("series");
            let points: Vec<String> = points
                .iter()
                .map(|p| format!("{}@{}", p.value.to_bits() == STALE_BITS, p.time / SECOND))
                .collect();
            all.push(format!("{question} {labels} {}", points.join(" ")));
        }
        all
    });
    assert_eq!(
        found,
        [
            r#"0 up{instance="1", job="a"} false@10"#,
            r#"0 up{instance="9", job="0"} false@20 true@21"#,
            r#"1 load{job="a", time="t"} false@10"#,
            r#"1 up{instance="1", job="a"} false@10"#,
        ]
    );
}

#[test]
fn a_reader_that_leaves_ends_the_read() {
    let world = world();
    let question = PromRead {
        matchers: parse_selector("{__name__=~\".+\"}", &mut RegexBudget::default())
            .expect("a selector"),
        times: TimeRange::ALL,
    };
    let series = block_on(world.session.prom_read(vec![question; 100])).expect("a read");
    drop(series);
    let started = std::time::Instant::now();
    while world.engine.queries_running() > 0 {
        assert!(started.elapsed().as_secs() < 60, "it still reads");
        std::thread::yield_now();
    }
}

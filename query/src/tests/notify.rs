//! LISTEN, NOTIFY, UNLISTEN.

use futures::FutureExt;
use futures::executor::block_on;

use super::harness::*;
use crate::Session;

fn taken(session: &Session) -> Vec<String> {
    let all = session.take_notifications();
    all.iter().map(|n| format!("{} {} {}", n.process, n.channel, n.payload)).collect()
}

#[test]
fn those_who_listen_are_told() {
    let world = World::new();
    let other = world.engine.session(identity("o", true), &[]);
    world.session.set_process(1);
    other.set_process(2);
    assert_eq!(run(&other, "LISTEN alarms"), "LISTEN");
    assert!(other.notified().now_or_never().is_none());
    assert_eq!(world.run("NOTIFY alarms, 'pump 3'"), "NOTIFY");
    world.run("NOTIFY Alarms");
    world.run("NOTIFY \"Alarms\", 'another'");
    block_on(other.notified());
    assert_eq!(taken(&other), ["1 alarms pump 3", "1 alarms "]);
    assert!(other.notified().now_or_never().is_none());
    assert_eq!(taken(&world.session), Vec::<String>::new());
    // Oneself, too.
    run(&other, "NOTIFY alarms, 'own'");
    assert_eq!(taken(&other), ["2 alarms own"]);
    assert_eq!(run(&other, "UNLISTEN alarms"), "UNLISTEN");
    world.run("NOTIFY alarms");
    assert_eq!(taken(&other), Vec::<String>::new());
    run(&other, "LISTEN a; LISTEN b; UNLISTEN *");
    world.run("NOTIFY a; NOTIFY b");
    assert_eq!(taken(&other), Vec::<String>::new());
    run(&other, "LISTEN a");
    run(&other, "DISCARD ALL");
    world.run("NOTIFY a");
    assert_eq!(taken(&other), Vec::<String>::new());
}

#[test]
fn transactions_notify_when_they_commit() {
    let world = World::with_presses();
    let other = world.engine.session(identity("o", true), &[]);
    world.session.set_process(0);
    other.set_process(0);
    run(&other, "LISTEN c");
    world.run("BEGIN");
    world.run("NOTIFY c, 'one'");
    world.run("SAVEPOINT s");
    world.run("NOTIFY c, 'undone'");
    world.run("ROLLBACK TO s");
    world.run("NOTIFY c, 'two'");
    world.run("NOTIFY c, 'one'");
    assert_eq!(taken(&other), Vec::<String>::new());
    world.run("COMMIT");
    assert_eq!(taken(&other), ["0 c one", "0 c two"]);
    world.run("BEGIN");
    world.run("NOTIFY c, 'never'");
    world.run("LISTEN c");
    world.run("ROLLBACK");
    run(&other, "NOTIFY c");
    assert_eq!((taken(&other), taken(&world.session)), (vec!["0 c ".to_string()], vec![]));
    // Whoever listens in the transaction hears it.
    world.run("BEGIN");
    world.run("NOTIFY d, 'x'");
    world.run("LISTEN d");
    world.run("COMMIT");
    assert_eq!(taken(&world.session), ["0 d x"]);
    world.session.begin_implicit();
    world.run("NOTIFY c, 'implicit'");
    assert_eq!(taken(&other), Vec::<String>::new());
    block_on(world.session.end_implicit()).unwrap();
    assert_eq!(taken(&other), ["0 c implicit"]);
}

#[test]
fn limits_are_told() {
    let world = World::new();
    let long = "c".repeat(64);
    assert_eq!(world.fails(&format!("LISTEN {long}")).code, "22023");
    assert_eq!(world.fails(&format!("NOTIFY c, '{}'", "x".repeat(8000))).code, "22023");
    assert_eq!(world.session.parse("NOTIFY c, x").unwrap_err().code, "42601");
    assert_eq!(world.session.parse("LISTEN").unwrap_err().code, "42601");
    for n in 0..1_000 {
        world.run(&format!("LISTEN c{n}"));
    }
    assert_eq!(world.fails("LISTEN more").code, "54000");
    let other = world.engine.session(identity("o", true), &[]);
    run(&other, "LISTEN full");
    for n in 0..10_000 {
        world.run(&format!("NOTIFY full, '{n}'"));
    }
    assert_eq!(world.fails("NOTIFY full").code, "54000");
    assert_eq!(taken(&other).len(), 10_000);
    world.run("NOTIFY full");
    // Who has left fills nothing.
    drop(other);
    world.run("NOTIFY full");
}

#[test]
fn pg_notify_is_told_when_its_transaction_commits() {
    let world = World::new();
    let other = world.engine.session(identity("o", true), &[]);
    run(&other, "LISTEN a; LISTEN \"B\"");
    let heard = |session: &Session| -> Vec<(String, String)> {
        session.take_notifications().into_iter().map(|n| (n.channel, n.payload)).collect()
    };
    let pair = |channel: &str, payload: &str| (channel.to_string(), payload.to_string());
    assert_eq!(rows(&other, "SELECT pg_listening_channels()", &[]), ["B", "a"]);
    assert_eq!(rows(&other, "SELECT * FROM pg_listening_channels()", &[]), ["B", "a"]);
    assert_eq!(rows(&world.session, "SELECT pg_listening_channels()", &[]).len(), 0);
    world.check("SELECT pg_notify('a', 'x')", &[""]);
    assert_eq!(heard(&other), [pair("a", "x")]);
    // Once for each row, and the same pair once.
    world.run("SELECT pg_notify('B', (value % 2)::text) FROM generate_series(1, 5) AS value");
    let mut both = heard(&other);
    both.sort();
    assert_eq!(both, [pair("B", "0"), pair("B", "1")]);
    world.run("BEGIN");
    world.run("SELECT pg_notify('a', '1')");
    world.run("SAVEPOINT s");
    world.run("SELECT pg_notify('a', '2')");
    world.run("ROLLBACK TO s");
    world.run("SELECT pg_notify('a', NULL)");
    world.run("NOTIFY a, '4'");
    assert_eq!(heard(&other), []);
    world.run("COMMIT");
    assert_eq!(heard(&other), [pair("a", "1"), pair("a", ""), pair("a", "4")]);
    world.run("BEGIN");
    world.run("SELECT pg_notify('a', 'never')");
    world.run("ROLLBACK");
    // A statement that fails has told nothing.
    let failing = "SELECT pg_notify('a', x::text), 1 / (x - 3) FROM (VALUES (1), (2), (3)) AS v(x)";
    assert_eq!(world.fails(failing).code, "22012");
    world.run("SELECT 1");
    assert_eq!(heard(&other), []);
    for (call, code) in [
        ("pg_notify('', 'x')", "22023"),
        ("pg_notify(NULL, 'x')", "22023"),
        ("pg_notify('a', repeat('x', 8000))", "22023"),
        ("pg_notify(repeat('x', 64), 'x')", "22023"),
        ("pg_notify('a')", "42883"),
    ] {
        assert_eq!(world.fails(&format!("SELECT {call}")).code, code, "{call}");
    }
    run(&other, "UNLISTEN *");
    world.run("SELECT pg_notify('a', 'x')");
    assert_eq!(heard(&other), []);
}

//! Conversations of COPY.

use super::*;

fn data(bytes: &[u8]) -> Front {
    plain(b'd', bytes)
}

fn done() -> Front {
    plain(b'c', b"")
}

/// Sends messages and compares the answers up to one ReadyForQuery.
async fn check_one(messages: &[Front], expected: &str) {
    let mut client = logged_in(&usual()).await;
    client.send(messages).await;
    assert_eq!(client.answer(1).await, expected);
    // Whatever happened, the connection still serves, and nothing more is told before that.
    assert_eq!(client.ask(&[simple("SELECT 1")]).await, "T(n:20) D(0) C(SELECT 1) Z(I)");
}

#[tokio::test]
async fn rows_come_in() {
    let copied = [simple("COPYIN"), data(b"abc"), data(b""), data(b"de"), done()];
    check_one(&copied, "G(0,0) C(COPY 5) Z(I)").await;
    let among = [simple("SELECT 0; COPYIN; SELECT 0"), data(b"abc"), done()];
    let expected = "T(n:20) C(SELECT 0) G(0,0) C(COPY 3) T(n:20) C(SELECT 0) Z(I)";
    check_one(&among, expected).await;
    let begin = [parse("", "COPYIN", &[]), bind("", "", &[], &[]), execute("", 0)];
    // A Sync sent before the rows is passed over, as in Postgres.
    let ahead = [&begin[..], &[sync(), data(b"abc"), done(), sync()]].concat_messages();
    check_one(&ahead, "1 2 G(0,0) C(COPY 3) Z(I)").await;
    let plainly = [&begin[..], &[data(b"abc"), done(), sync()]].concat_messages();
    check_one(&plainly, "1 2 G(0,0) C(COPY 3) Z(I)").await;
}

#[tokio::test]
async fn rows_that_fail() {
    let failed = [simple("COPYIN"), data(b"abc"), plain(b'f', b"no more\0")];
    check_one(&failed, "G(0,0) E(57014) Z(I)").await;
    // What is still on its way after an error is passed over.
    let bad = [simple("COPYIN"), data(b"abc"), data(b"!"), data(b"more"), done()];
    check_one(&bad, "G(0,0) E(22P02) Z(I)").await;
    let begin = [parse("", "COPYIN", &[]), bind("", "", &[], &[]), execute("", 0), sync()];
    let bad = [&begin[..], &[data(b"!"), data(b"more"), done(), sync()]].concat_messages();
    check_one(&bad, "1 2 G(0,0) E(22P02) Z(I)").await;
    let other = [simple("COPYIN"), data(b"abc"), simple("SELECT 1")];
    check_one(&other, "G(0,0) E(08P01) Z(I)").await;
    let malformed = [simple("COPYIN"), plain(b'f', b"no end")];
    check_one(&malformed, "G(0,0) E(08P01) Z(I)").await;
    let long = [simple("COPYIN"), plain(b'c', b"x")];
    check_one(&long, "G(0,0) E(08P01) Z(I)").await;
    // Outside of a COPY they mean nothing.
    check(&[data(b"data"), done(), plain(b'f', b"\0"), sync()], "Z(I)").await;
}

#[tokio::test]
async fn a_cancel_ends_a_copy() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    client.send(&[simple("COPYIN"), data(b"abc")]).await;
    shared.backend.sleeping.notified().await;
    shared.cancels.cancel(client.key.0, client.key.1);
    assert_eq!(client.answer(1).await, "G(0,0) E(57014) Z(I)");
    client.send(&[data(b"more"), done()]).await;
    assert_eq!(client.ask(&[simple("SELECT 0")]).await, "T(n:20) C(SELECT 0) Z(I)");
}

#[tokio::test]
async fn a_client_that_leaves_a_copy() {
    let shared = usual();
    let mut client = logged_in(&shared).await;
    client.send(&[simple("COPYIN"), data(b"abc")]).await;
    client.hang_up().await;
    assert_eq!(client.rest().await, "G(0,0) closed");
    let mut client = logged_in(&shared).await;
    client.send(&[simple("COPYIN"), data(b"abc"), plain(b'X', b"")]).await;
    assert_eq!(client.rest().await, "G(0,0) closed");
}

#[tokio::test]
async fn rows_go_out() {
    check(&[simple("COPYOUT text")], "H(0) d(0) d(1) c C(COPY 2) Z(I)").await;
    let begin = [parse("", "COPYOUT csv", &[]), bind("", "", &[], &[]), describe(b'P', "")];
    let all = [&begin[..], &[execute("", 0), sync()]].concat_messages();
    check(&all, "1 2 n H(0) d(0) d(1) c C(COPY 2) Z(I)").await;
    let header = "\\x5047434f50590aff0d0a000000000000000000";
    let row = |n: u8| format!("0001000000080000000000000{n:03}");
    let expected =
        format!("H(1) d({header}{}) d(\\x{}) d(\\xffff) c C(COPY 2) Z(I)", row(0), row(1));
    check(&[simple("COPYOUT binary")], &expected).await;
}

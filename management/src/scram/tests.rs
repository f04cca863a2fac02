//! RFC 7677's example, honest and dishonest clients, and bad input of every kind.

use super::*;
use crate::UsersOptions;
use crate::rows::SPACE_USERS;
use crate::store::memory::MemoryRows;
use crate::users::{Users, put};
use proptest::prelude::*;
use query::{Directory, NewRole};
use tsdb::rows::RowCommand;

const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn quick() -> UsersOptions {
    UsersOptions { argon2_memory_kib: 16, argon2_passes: 1, ..UsersOptions::default() }
}

fn users() -> (MemoryRows, Arc<Users>) {
    let rows = MemoryRows::default();
    let (users, _) =
        Users::open_with(Box::new(rows.clone()), quick(), Some("correct horse".to_owned()))
            .expect("opens");
    (rows, users)
}

/// A user `user` whose secret is that of RFC 7677's example.
fn users_of_rfc() -> Arc<Users> {
    let (rows, users) = users();
    let mut row = users.inner.user("admin").expect("reads").expect("there");
    row.name = "user".to_owned();
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
    row.scram = Some(ScramSecret::new("pencil", &salt, 4096));
    let changes = vec![put(SPACE_USERS, b"user".to_vec(), row.encode())];
    let command = RowCommand { expects: vec![], changes };
    crate::RowStore::apply(&rows, command).expect("applies");
    users
}

fn challenged(users: &Users) -> ScramExchange {
    let mut exchange = users.scram("user");
    let first = format!("n,,n=user,r={CLIENT_NONCE}");
    let answer = exchange.first_with_nonce(first.as_bytes(), SERVER_NONCE).expect("a challenge");
    let expected = format!("r={CLIENT_NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(String::from_utf8(answer).expect("text"), expected);
    exchange
}

/// What a client does: the proof for a password and the signature it expects.
fn client_final(header: &str, bare: &str, server_first: &str, password: &str) -> (String, String) {
    let part = |name| server_first.split(',').find_map(|a| a.strip_prefix(name)).expect("there");
    let (nonce, salt, rounds) = (part("r="), part("s="), part("i="));
    let salt = BASE64.decode(salt).expect("base64");
    let mut salted = [0; 32];
    let rounds = rounds.parse().expect("a number above zero");
    let algorithm = aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256;
    aws_lc_rs::pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut salted);
    let client_key = hmac_sha256(&salted, b"Client Key");
    let without = format!("c={},r={nonce}", BASE64.encode(header));
    let message = format!("{bare},{server_first},{without}");
    let mut proof = hmac_sha256(&sha256(&client_key), message.as_bytes());
    proof.iter_mut().zip(client_key).for_each(|(p, k)| *p ^= k);
    let server_key = hmac_sha256(&salted, b"Server Key");
    let signature = BASE64.encode(hmac_sha256(&server_key, message.as_bytes()));
    (format!("{without},p={}", BASE64.encode(proof)), format!("v={signature}"))
}

fn log_in(users: &Users, user: &str, password: &str) -> Result<Identity, LoginFailed> {
    let mut exchange = users.scram(user);
    let bare = "n=,r=fyko+d2lbbFgONRv9qkxdawL";
    let first = exchange.first(format!("y,,{bare}").as_bytes())?;
    let first = String::from_utf8(first).expect("text");
    let (last, expected) = client_final("y,,", bare, &first, password);
    let (answer, identity) = exchange.last(last.as_bytes())?;
    assert_eq!(String::from_utf8(answer).expect("text"), expected);
    Ok(identity)
}

#[test]
fn the_example_of_rfc_7677() {
    let users = users_of_rfc();
    let mut exchange = challenged(&users);
    let (answer, identity) = exchange.last(CLIENT_FINAL.as_bytes()).expect("the right password");
    assert_eq!(answer, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(identity.user, "user");
    assert!(exchange.last(CLIENT_FINAL.as_bytes()).is_err(), "an exchange is used once");
    assert!(exchange.first(b"n,,n=,r=x").is_err(), "an exchange is used once");
}

#[test]
fn right_and_wrong_passwords() {
    let (_, users) = users();
    let identity = log_in(&users, "admin", "correct horse").expect("the right password");
    assert!(identity.superuser);
    for (user, password) in [("admin", "wrong horse"), ("nobody", "correct horse"), ("", "")] {
        assert!(log_in(&users, user, password).is_err(), "{user}");
    }
}

#[test]
fn an_unknown_user_is_challenged_alike_each_time() {
    let (_, users) = users();
    let challenge = |user: &str| {
        let answer = users.scram(user).first(b"n,,n=,r=abc").expect("a challenge");
        let answer = String::from_utf8(answer).expect("text");
        let (_, rest) = answer.split_once(',').expect("attributes");
        rest.to_owned()
    };
    assert_eq!(challenge("nobody"), challenge("nobody"));
    assert_ne!(challenge("nobody"), challenge("somebody"));
    assert_eq!(challenge("nobody").len(), challenge("admin").len());
}

#[test]
fn a_role_without_login_or_password_fails_at_the_end() {
    let (_, users) = users();
    let admin = log_in(&users, "admin", "correct horse").expect("the right password");
    let role = |name: &str, password: Option<&str>, can_login| NewRole {
        name: name.to_owned(),
        password: password.map(str::to_owned),
        can_login: Some(can_login),
        ..NewRole::default()
    };
    users.create(&admin, role("group", Some("correct horse"), false)).expect("creates");
    users.create(&admin, role("bare", None, true)).expect("creates");
    let why = |user| log_in(&users, user, "correct horse").map_err(|e| e.reason_for_log);
    assert_eq!(why("group").unwrap_err(), "the role may not log in");
    assert_eq!(why("bare").unwrap_err(), "the user has no password");
}

#[test]
fn a_password_changed_meanwhile_ends_the_exchange() {
    let (_, users) = users();
    let admin = log_in(&users, "admin", "correct horse").expect("the right password");
    let mut exchange = users.scram("admin");
    let first = exchange.first(b"n,,n=,r=abc").expect("a challenge");
    let first = String::from_utf8(first).expect("text");
    let password = Some("another horse".to_owned());
    let role = NewRole { name: "admin".to_owned(), password, ..NewRole::default() };
    users.alter(&admin, role).expect("alters");
    let (last, _) = client_final("n,,", "n=,r=abc", &first, "correct horse");
    let failed = exchange.last(last.as_bytes()).expect_err("changed meanwhile");
    assert!(failed.reason_for_log.contains("changed"), "{failed}");
    log_in(&users, "admin", "another horse").expect("the new password");
}

#[test]
fn failures_delay_and_name_no_secret() {
    let (_, users) = users();
    for _ in 0..10 {
        let failed = log_in(&users, "admin", "wrong horse").expect_err("wrong");
        assert_eq!(failed.reason_for_log, "wrong password");
    }
    let failed = log_in(&users, "admin", "correct horse").expect_err("delayed");
    assert!(failed.reason_for_log.contains("delayed"), "{failed}");
    let source = Some("192.0.2.1".parse().expect("an address"));
    users.scram_from("admin", source).first(b"n,,n=,r=abc").expect("another source may");
}

#[test]
fn bad_first_messages() {
    let users = users_of_rfc();
    let long = format!("n,,n=,r={}", "x".repeat(NONCE_BYTES_MAX + 1));
    let longer = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let cases: &[&[u8]] = &[
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"n,,n=user",
        b"n,,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=\x7f",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2c,r=abc",
        b"n,,n=user=,r=abc",
        b"n,,m=x,n=user,r=abc",
        b"n,,n=user,r=abc,m=x",
        b"n,,n=user,r=abc,junk",
        b"n,,n=user,r=abc,",
        b"n,a=admin,n=user,r=abc",
        b"p=tls-server-end-point,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=us\0er,r=abc",
        long.as_bytes(),
        longer.as_bytes(),
    ];
    for case in cases {
        let mut exchange = users.scram("user");
        assert!(exchange.first(case).is_err(), "{}", String::from_utf8_lossy(case));
        assert!(exchange.first(b"n,,n=user,r=abc").is_err(), "over after an error");
    }
    let fine: [&[u8]; 4] =
        [b"n,,n=,r=abc", b"y,,n=*,r=abc", b"n,,n=a=2Cb=3Dc,r=abc", b"n,,n=u,r=abc,x=1"];
    for case in fine {
        users.scram("user").first(case).expect("a good first message");
    }
}

#[test]
fn bad_final_messages() {
    let users = users_of_rfc();
    for end in 0..CLIENT_FINAL.len() {
        let prefix = &CLIENT_FINAL.as_bytes()[..end];
        assert!(challenged(&users).last(prefix).is_err(), "prefix of {end} bytes");
    }
    let replace = |from, to| CLIENT_FINAL.replace(from, to);
    let cases = [
        replace("c=biws", "c=eSws"),
        replace("c=biws", "c="),
        replace("c=biws", "d=biws"),
        replace("hNlF$k0", "hNlF$k1"),
        replace("r=rOpr", "s=rOpr"),
        replace(",p=", ",x=1,p="),
        replace(",p=", ",junk,p="),
        replace(",p=", ",m=1,p="),
        replace("p=dHzb", "p=eHzb"),
        replace("p=dHzb", "p=dHzbdHzb"),
        replace("ndVQ=", "ndVQ=,x=1"),
        replace("ndVQ=", "ndV!="),
    ];
    for case in cases {
        assert!(challenged(&users).last(case.as_bytes()).is_err(), "{case}");
    }
    assert!(users.scram("user").last(CLIENT_FINAL.as_bytes()).is_err(), "without a first message");
}

#[test]
fn every_flipped_bit_of_the_final_message_fails() {
    let users = users_of_rfc();
    // The delay after failures would hide what each flip does.
    for bit in 0..CLIENT_FINAL.len() * 8 {
        let mut bytes = CLIENT_FINAL.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let mut exchange = challenged(&users);
        users.inner.throttle.succeeded("user", None);
        assert!(exchange.last(&bytes).is_err(), "bit {bit}");
        users.inner.throttle.succeeded("user", None);
    }
}

proptest! {
    #[test]
    fn random_messages_never_panic(first in any::<Vec<u8>>(), last in ".{0,80}") {
        let first_text = String::from_utf8_lossy(&first).into_owned();
        let _ = ClientFirst::decode(&first).is_ok();
        let _ = ClientFirst::decode(format!("n,,n={last},r={first_text}").as_bytes()).is_ok();
        let _ = ClientFinal::decode(last.as_bytes()).is_ok();
        let _ = ClientFinal::decode(format!("c=biws,r={last},p={first_text}").as_bytes()).is_ok();
    }
}

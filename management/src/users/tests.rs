//! Log-in, tokens and the rules of changing users, over rows in memory.

use super::*;
use crate::store::memory::MemoryRows;
use query::{Directory, NewRole};
use std::time::Duration;

const PASSWORD: &str = "correct horse";

fn quick() -> UsersOptions {
    UsersOptions { argon2_memory_kib: 16, argon2_passes: 1, ..UsersOptions::default() }
}

struct World {
    rows: MemoryRows,
    users: Arc<Users>,
    admin: Identity,
}

fn world() -> World {
    world_with(quick())
}

fn world_with(options: UsersOptions) -> World {
    let rows = MemoryRows::default();
    let first = Some(PASSWORD.to_owned());
    let (users, shown) = Users::open_with(Box::new(rows.clone()), options, first).expect("opens");
    assert_eq!(shown, None, "a given password is not shown");
    let admin = users.verify("admin", PASSWORD).expect("the first user");
    World { rows, users, admin }
}

fn role(name: &str) -> NewRole {
    NewRole {
        name: name.to_owned(),
        password: Some(PASSWORD.to_owned()),
        can_login: Some(true),
        ..NewRole::default()
    }
}

fn flags(name: &str) -> NewRole {
    NewRole { name: name.to_owned(), ..NewRole::default() }
}

/// Spelt out: on an `Arc`, `.drop` means its destructor.
fn drop_role(users: &Users, by: &Identity, name: &str, if_exists: bool) -> QueryResult<()> {
    Directory::drop(users, by, name, if_exists)
}

fn code(result: QueryResult<()>) -> &'static str {
    result.expect_err("refused").code
}

#[test]
fn the_first_password_is_made_once_and_kept_nowhere() {
    let rows = MemoryRows::default();
    let open = |first: Option<&str>| {
        Users::open_with(Box::new(rows.clone()), quick(), first.map(str::to_owned))
    };
    assert_eq!(open(Some("short")).expect_err("too short").code, "22023");
    let (users, shown) = open(None).expect("opens");
    let password = shown.expect("made up and shown");
    let admin = users.verify("admin", &password).expect("logs in");
    assert!(admin.superuser && admin.can_write && admin.can_define);
    let (users, shown) = open(Some("another password")).expect("opens again");
    assert_eq!(shown, None);
    users.verify("admin", &password).expect("still the first password");
    users.verify("admin", "another password").expect_err("only the first start sets it");
    for (key, value) in rows.map.lock().iter() {
        let text = String::from_utf8_lossy(value);
        assert!(!text.contains(&password), "row {key:?} holds the password");
    }
}

#[test]
fn wrong_unknown_and_locked_users() {
    let World { users, admin, .. } = world();
    let locked = NewRole { can_login: Some(false), ..role("locked") };
    users.create(&admin, locked).expect("creates");
    users.create(&admin, NewRole { password: None, ..role("bare") }).expect("creates");
    let why = |user: &str, password: &str| {
        users.verify(user, password).expect_err("refused").reason_for_log
    };
    assert_eq!(why("admin", "wrong"), "wrong password");
    assert_eq!(why("nobody", PASSWORD), "unknown user");
    assert_eq!(why("Admin", PASSWORD), "unknown user");
    assert_eq!(why("locked", PASSWORD), "the role may not log in");
    assert_eq!(why("bare", ""), "the user has no password");
    assert_eq!(why("admin", ""), "wrong password");
    assert_eq!(why("admin", &"x".repeat(2000)), "the password is too long");
}

#[test]
fn a_new_password_counts_at_once() {
    let World { users, admin, .. } = world();
    users.create(&admin, role("ann")).expect("creates");
    users.verify("ann", PASSWORD).expect("logs in, and is remembered");
    let new = NewRole { password: Some("another horse".to_owned()), ..flags("ann") };
    users.alter(&admin, new).expect("alters");
    users.verify("ann", PASSWORD).expect_err("forgotten at once");
    users.verify("ann", "another horse").expect("the new password");
    users.alter(&admin, NewRole { can_login: Some(false), ..flags("ann") }).expect("alters");
    users.verify("ann", "another horse").expect_err("may not log in any more");
    drop_role(&users, &admin, "ann", false).expect("drops");
    users.create(&admin, role("ann")).expect("creates again");
    users.verify("ann", "another horse").expect_err("a new user of that name");
}

#[test]
fn failures_delay_by_source_but_spare_the_remembered_password() {
    let World { users, .. } = world();
    for _ in 0..10 {
        users.verify("admin", "wrong").expect_err("wrong");
    }
    let delayed = users.verify("admin", "other").expect_err("delayed");
    assert!(delayed.reason_for_log.contains("delayed"), "{delayed}");
    users.verify("admin", PASSWORD).expect("was right a moment ago");
    for _ in 0..10 {
        users.verify("nobody", "wrong").expect_err("wrong");
    }
    let unknown = users.verify("nobody", "wrong").expect_err("delayed");
    assert!(unknown.reason_for_log.contains("delayed"), "unknown users are treated alike");

    let World { users, .. } = world_with(UsersOptions { verified_for: Duration::ZERO, ..quick() });
    let [near, far] = ["192.0.2.1", "192.0.2.2"].map(|ip| Some(ip.parse().expect("address")));
    for _ in 0..10 {
        users.verify_from("admin", "wrong", far).expect_err("wrong");
    }
    users.verify_from("admin", PASSWORD, far).expect_err("delayed");
    users.verify_from("admin", PASSWORD, near).expect("another source");
}

#[test]
fn tokens_live_as_long_as_their_user() {
    let World { rows, users, admin } = world();
    users.create(&admin, NewRole { can_write: Some(true), ..role("ann") }).expect("creates");
    let token = users.create_token("ann").expect("makes a token");
    assert!(token.starts_with("mr_") && token.len() == 46, "{token}");
    let ann = users.verify_token(&token).expect("logs in");
    assert!(ann.user == "ann" && ann.can_write && !ann.superuser);
    for bad in ["", "mr_", &token[..45], &format!("{token}x"), &"mr_x".repeat(100)] {
        users.verify_token(bad).expect_err("not a token");
    }
    let kept = rows.map.lock().values().any(|v| String::from_utf8_lossy(v).contains(&token[3..]));
    assert!(!kept, "the token itself is kept");
    users.alter(&admin, NewRole { can_login: Some(false), ..flags("ann") }).expect("alters");
    users.verify_token(&token).expect_err("may not log in");
    drop_role(&users, &admin, "ann", false).expect("drops");
    users.create(&admin, role("ann")).expect("creates again");
    users.verify_token(&token).expect_err("another ann");
    assert!(users.inner.store.scan(SPACE_TOKENS).expect("reads").is_empty());
    let second = users.create_token("ann").expect("makes a token");
    users.create_token("admin").expect("makes a token");
    assert_eq!(users.drop_tokens("ann").expect("drops"), 1);
    users.verify_token(&second).expect_err("dropped");
    assert_eq!(users.create_token("nobody").expect_err("unknown").code, "42704");
}

#[test]
fn tokens_are_limited() {
    let World { users, .. } = world_with(UsersOptions { tokens_max: 2, ..quick() });
    users.create_token("admin").expect("first");
    users.create_token("admin").expect("second");
    assert_eq!(users.create_token("admin").expect_err("third").code, "54000");
}

#[test]
fn the_last_superuser_stays() {
    let World { users, admin, .. } = world();
    let demote = || NewRole { superuser: Some(false), ..flags("admin") };
    let lock = || NewRole { can_login: Some(false), ..flags("admin") };
    assert_eq!(code(users.alter(&admin, demote())), "2BP01");
    assert_eq!(code(users.alter(&admin, lock())), "2BP01");
    assert_eq!(code(drop_role(&users, &admin, "admin", false)), "2BP01");
    // A superuser that cannot log in does not count.
    let ghost = NewRole { superuser: Some(true), can_login: Some(false), ..role("ghost") };
    users.create(&admin, ghost).expect("creates");
    assert_eq!(code(users.alter(&admin, demote())), "2BP01");
    users.create(&admin, NewRole { superuser: Some(true), ..role("eve") }).expect("creates");
    assert_eq!(code(drop_role(&users, &admin, "admin", false)), "55006");
    users.alter(&admin, demote()).expect("eve is left");
    assert_eq!(code(users.create(&admin, role("bob"))), "42501");
    let eve = users.verify("eve", PASSWORD).expect("logs in");
    drop_role(&users, &eve, "admin", false).expect("eve is left");
    assert_eq!(code(drop_role(&users, &eve, "eve", false)), "2BP01");
}

#[test]
fn two_superusers_cannot_drop_each_other_at_once() {
    let World { rows, users, admin } = world();
    users.create(&admin, NewRole { superuser: Some(true), ..role("eve") }).expect("creates");
    let eve = users.verify("eve", PASSWORD).expect("logs in");
    let other = users.clone();
    let by_admin = admin.clone();
    *rows.before.lock() = Some(Box::new(move || {
        drop_role(&other, &by_admin, "eve", false).expect("comes first");
    }));
    assert_eq!(code(drop_role(&users, &eve, "admin", false)), "42501", "eve is no more");
    users.verify("admin", PASSWORD).expect("still there");
}

#[test]
fn rights_to_change_users() {
    let World { users, admin, .. } = world();
    users.create(&admin, role("ann")).expect("creates");
    users.create(&admin, role("bob")).expect("creates");
    let ann = users.verify("ann", PASSWORD).expect("logs in");
    let password =
        |name: &str| NewRole { password: Some("another horse".to_owned()), ..flags(name) };
    assert_eq!(code(users.create(&ann, role("carl"))), "42501");
    assert_eq!(code(drop_role(&users, &ann, "bob", false)), "42501");
    assert_eq!(code(drop_role(&users, &ann, "nobody", true)), "42501");
    assert_eq!(code(users.alter(&ann, password("bob"))), "42501");
    assert_eq!(code(users.alter(&ann, password("nobody"))), "42501");
    let more = NewRole { superuser: Some(true), ..password("ann") };
    assert_eq!(code(users.alter(&ann, more)), "42501");
    assert_eq!(code(users.alter(&ann, flags("ann"))), "42501");
    users.alter(&ann, password("ann")).expect("the own password");
    users.verify("ann", "another horse").expect("changed");
    // What a session once was is not enough.
    let forged = Identity { superuser: true, ..ann };
    assert_eq!(code(users.create(&forged, role("carl"))), "42501");
}

#[test]
fn names_and_errors() {
    let World { users, admin, .. } = world();
    for (name, expected) in [
        ("", "42602"),
        ("a\nb", "42602"),
        ("a:b", "42602"),
        ("pg_monitor", "42939"),
        ("public", "42939"),
        ("admin", "42710"),
    ] {
        assert_eq!(code(users.create(&admin, role(name))), expected, "{name:?}");
    }
    assert_eq!(code(users.create(&admin, role(&"x".repeat(64)))), "42602");
    users.create(&admin, role(&"x".repeat(63))).expect("63 bytes are fine");
    assert_eq!(code(users.alter(&admin, role("nobody"))), "42704");
    assert_eq!(code(drop_role(&users, &admin, "nobody", false)), "42704");
    drop_role(&users, &admin, "nobody", true).expect("IF EXISTS");
}

#[test]
fn roles_keep_their_oids() {
    let World { rows, users, admin } = world();
    users.create(&admin, NewRole { can_write: Some(true), ..role("bob") }).expect("creates");
    users.create(&admin, role("ann")).expect("creates");
    drop_role(&users, &admin, "bob", false).expect("drops");
    users.create(&admin, role("bob")).expect("creates");
    let list = |users: &Users| -> Vec<(String, u32, bool)> {
        let roles = users.roles().expect("reads");
        roles.iter().map(|r| (r.name.clone(), r.oid, r.can_write)).collect()
    };
    let expected = [("admin", 10, true), ("ann", 16_385, false), ("bob", 16_386, false)]
        .map(|(name, oid, write)| (name.to_owned(), oid, write));
    assert_eq!(list(&users), expected);
    let (again, _) = Users::open_with(Box::new(rows), quick(), None).expect("opens again");
    assert_eq!(list(&again), expected);
}

#[test]
fn a_secret_of_psql_works_over_both_roads() {
    let World { users, admin, .. } = world();
    // The secret of "pencil" with RFC 7677's salt, as psql's \password would send it.
    let secret = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                  WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                  wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    users
        .create(&admin, NewRole { password: Some(secret.to_owned()), ..role("ann") })
        .expect("creates");
    users.verify("ann", "pencil").expect("logs in");
    users.verify("ann", "pencils").expect_err("wrong");
    users.verify("ann", secret).expect_err("the secret is no password");
}

#[test]
fn damaged_rows_fail_closed() {
    let World { rows, users, .. } = world();
    let key = (SPACE_USERS, b"admin".to_vec());
    rows.map.lock().insert(key, b"{}".to_vec());
    let failed = users.verify("admin", PASSWORD).expect_err("unreadable");
    assert!(failed.reason_for_log.contains("cannot be read"), "{failed}");
    assert_eq!(users.roles().expect_err("unreadable").code, "XX001");
}

/// They are read anew when anything has changed, by whomever, and only then.
#[test]
fn roles_are_those_of_now() {
    let World { rows, users, admin } = world();
    let first = users.roles().expect("reads");
    assert!(Arc::ptr_eq(&first, &users.roles().expect("reads")));
    users.create(&admin, role("ann")).expect("creates");
    let second = users.roles().expect("reads");
    assert_eq!((first.len(), second.len()), (1, 2));
    users.alter(&admin, NewRole { can_write: Some(true), ..role("ann") }).expect("alters");
    assert!(users.roles().expect("reads")[1].can_write);
    let (other, _) = Users::open_with(Box::new(rows), quick(), None).expect("opens");
    drop_role(&other, &admin, "ann", false).expect("drops");
    assert_eq!(users.roles().expect("reads").len(), 1);
}

#[test]
fn log_ins_from_many_threads() {
    let options = UsersOptions { verified_for: Duration::ZERO, ..quick() };
    let World { users, .. } = world_with(options);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| users.verify("admin", PASSWORD).expect("logs in"));
        }
    });
}

#[test]
fn users_survive_a_power_cut_of_a_real_database() {
    use tsdb::io::MemoryStorage;
    let options = || tsdb::Options { background: false, shards: 1, ..tsdb::Options::default() };
    let open = |storage: &MemoryStorage| {
        let db = Db::open(Arc::new(storage.clone()), options()).expect("opens");
        let first = Some(PASSWORD.to_owned());
        let (users, _) = Users::open_with(Box::new(db.clone()), quick(), first).expect("opens");
        (db, users)
    };
    let storage = MemoryStorage::new();
    let (db, users) = open(&storage);
    let admin = users.verify("admin", PASSWORD).expect("the first user");
    users.create(&admin, NewRole { can_write: Some(true), ..role("ann") }).expect("creates");
    let token = users.create_token("ann").expect("makes a token");
    assert_eq!(code(users.create(&admin, role("ann"))), "42710");
    // Nothing is closed in order: what was answered is on the disk already.
    let image = storage.crash_hard();
    let (_again, users) = open(&image);
    assert!(users.verify("ann", PASSWORD).expect("logs in").can_write);
    users.verify_token(&token).expect("the token lives");
    assert_eq!(users.roles().expect("reads").len(), 2);
    let admin = users.verify("admin", PASSWORD).expect("logs in");
    drop_role(&users, &admin, "ann", false).expect("drops");
    users.verify_token(&token).expect_err("gone with its user");
    drop(db);
}

#[test]
fn a_standing_holds_until_the_password_changes() {
    let World { users, admin, .. } = world();
    users.create(&admin, role("ann")).unwrap();
    let (_, standing) = users.verify_standing("ann", PASSWORD, None).unwrap();
    users.verify_standing("ann", "wrong", None).expect_err("wrong");
    assert!(!users.identity_of(&standing).unwrap().can_write);
    // Rights are those of the moment.
    users.alter(&admin, NewRole { can_write: Some(true), ..flags("ann") }).unwrap();
    assert!(users.identity_of(&standing).unwrap().can_write);
    users.alter(&admin, NewRole { can_login: Some(false), ..flags("ann") }).unwrap();
    users.identity_of(&standing).expect_err("may not log in");
    users.alter(&admin, NewRole { can_login: Some(true), ..flags("ann") }).unwrap();
    users.identity_of(&standing).expect("may log in again");
    // The same password set again is another secret.
    let again = NewRole { password: Some(PASSWORD.into()), ..flags("ann") };
    users.alter(&admin, again).unwrap();
    users.identity_of(&standing).expect_err("another password");
    let (_, standing) = users.verify_standing("ann", PASSWORD, None).unwrap();
    drop_role(&users, &admin, "ann", false).unwrap();
    users.identity_of(&standing).expect_err("gone");
    users.create(&admin, role("ann")).unwrap();
    users.identity_of(&standing).expect_err("another of that name");
    assert!(!format!("{standing:?}").contains("secret"));
}

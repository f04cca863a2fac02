//! Roles in roles.

use super::{denied, world};
use crate::tests::harness::{World, fails, rows, run};

/// `ann` in `crew` in `staff`; `bob` in `crew`.
fn groups() -> World {
    let world = world();
    world.run("CREATE ROLE crew NOLOGIN; CREATE ROLE staff NOLOGIN");
    world.run("GRANT crew TO ann, bob; GRANT staff TO crew");
    world
}

#[test]
fn members_have_what_their_roles_have() {
    let world = groups();
    let (ann, eve) = (world.session_as("ann"), world.session_as("eve"));
    world.run("GRANT SELECT ON press TO staff; GRANT SELECT (name), INSERT ON plants TO crew");
    assert_eq!(run(&ann, "SELECT * FROM press"), "SELECT 6");
    assert_eq!(rows(&ann, "SELECT max(strokes) FROM press", &[]), ["100"]);
    assert_eq!(rows(&ann, "SELECT count(name) FROM plants", &[]), ["2"]);
    denied(&ann, "SELECT secret FROM plants", "table plants");
    run(&ann, "INSERT INTO plants VALUES (3, 'west', 'c')");
    denied(&eve, "SELECT * FROM press", "table press");
    world.check(
        "SELECT has_table_privilege('ann', 'press', 'SELECT'), pg_has_role('ann', 'staff', 'MEMBER'),
         pg_has_role('eve', 'staff', 'USAGE'), pg_has_role('staff', 'ann', 'MEMBER'),
         pg_has_role('ann', 'crew', 'MEMBER WITH ADMIN OPTION'), pg_has_role('admin', 'crew', 'MEMBER')",
        &["true | true | false | false | false | true"],
    );
    // It ends when the membership does, whatever was prepared.
    let statement = ann.parse("SELECT device FROM press WHERE strokes > 0").unwrap().pop().unwrap();
    let again = || futures::executor::block_on(ann.execute(&statement, &[])).is_ok();
    assert!(again() && again());
    world.run("REVOKE staff FROM crew");
    assert!(!again());
    denied(&ann, "SELECT * FROM press", "table press");
    world.run("GRANT staff TO crew");
    assert!(again());
    world.run("REVOKE crew FROM ann CASCADE");
    assert!(!again());
    assert_eq!(run(&world.session_as("bob"), "SELECT * FROM press"), "SELECT 6");
}

#[test]
fn attributes_stay_each_role_s_own() {
    let world = groups();
    world.run("ALTER ROLE crew READ WRITE DEFINE");
    let ann = world.session_as("ann");
    denied(&ann, "SELECT * FROM press", "table press");
    denied(&ann, "DELETE FROM press", "table press");
    denied(&ann, "CREATE TABLE t (id int PRIMARY KEY)", "schema public");
    // Nor does one become a superuser.
    assert_eq!(world.fails("GRANT admin TO ann").code, "0A000");
    assert_eq!(world.fails("ALTER ROLE crew SUPERUSER").code, "0A000");
    assert_eq!(fails(&ann, "GRANT ann TO eve").code, "42501");
    assert_eq!(fails(&ann, "SET ROLE crew").code, "0A000");
    assert_eq!(world.fails("CREATE ROLE x NOINHERIT").code, "0A000");
}

#[test]
fn a_role_may_own_for_its_members() {
    let world = groups();
    let (ann, eve) = (world.session_as("ann"), world.session_as("eve"));
    world.run("ALTER TABLE plants OWNER TO staff");
    assert_eq!(run(&ann, "SELECT secret FROM plants"), "SELECT 2");
    run(&ann, "ALTER TABLE plants ADD COLUMN y int; GRANT SELECT ON plants TO eve");
    assert_eq!(run(&eve, "SELECT * FROM plants"), "SELECT 2");
    world.check(
        "SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 'plants'",
        &["staff=arwdDxt/staff eve=r/staff"],
    );
    // Views read as their owner does, with the roles that it is in.
    world.run("GRANT CREATE ON SCHEMA public TO crew; GRANT SELECT ON press TO staff");
    run(&ann, "CREATE VIEW mine AS SELECT device FROM press; GRANT SELECT ON mine TO eve");
    assert_eq!(run(&eve, "SELECT * FROM mine"), "SELECT 6");
    world.run("REVOKE staff FROM crew");
    denied(&eve, "SELECT * FROM mine", "table press");
    world.run("GRANT staff TO crew; CREATE SCHEMA hall AUTHORIZATION crew");
    run(&ann, "CREATE TABLE hall.t (id int PRIMARY KEY)");
    // A right that a role may give is given by it.
    world.run("GRANT SELECT ON press TO crew WITH GRANT OPTION");
    run(&ann, "GRANT SELECT ON press TO eve");
    assert_eq!(run(&eve, "SELECT * FROM press"), "SELECT 6");
    world.run("REVOKE SELECT ON press FROM crew CASCADE");
    denied(&eve, "SELECT * FROM press", "table press");
    assert_eq!(world.fails("DROP ROLE staff").code, "2BP01");
}

#[test]
fn policies_of_a_role_are_those_of_its_members() {
    let world = groups();
    world.run("GRANT SELECT ON press TO staff, eve; ALTER TABLE press ENABLE ROW LEVEL SECURITY");
    world.run("CREATE POLICY p ON press TO staff USING (device = 'p1')");
    world.run("CREATE POLICY q ON press USING (device = 'p2' AND pg_has_role('crew', 'MEMBER'))");
    let count = |user: &str| rows(&world.session_as(user), "SELECT count(*) FROM press", &[]);
    assert_eq!((count("ann"), count("eve")), (vec!["5".into()], vec!["0".to_string()]));
    world.run("REVOKE staff FROM crew");
    denied(&world.session_as("ann"), "SELECT count(*) FROM press", "table press");
    world.run("GRANT SELECT ON press TO ann");
    assert_eq!(count("ann"), ["2"]);
    world.run("ALTER TABLE press OWNER TO crew");
    assert_eq!(count("ann"), ["6"]);
}

#[test]
fn grants_of_roles_are_checked() {
    let world = groups();
    for (sql, code) in [
        ("GRANT crew TO staff", "0LP01"),
        ("GRANT ann TO staff", "0LP01"),
        ("GRANT crew TO crew", "0LP01"),
        ("GRANT nobody TO ann", "42704"),
        ("GRANT crew TO nobody", "42704"),
        ("GRANT crew TO PUBLIC", "42704"),
        ("GRANT crew TO eve WITH INHERIT FALSE", "0A000"),
        ("GRANT crew TO eve GRANTED BY admin", "0A000"),
        ("GRANT crew TO", "42601"),
        ("GRANT crew ON press TO ann", "0A000"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    let (ann, bob) = (world.session_as("ann"), world.session_as("bob"));
    for sql in ["GRANT crew TO eve", "REVOKE crew FROM bob"] {
        let error = fails(&ann, sql);
        let told = (error.code, error.message.as_str());
        assert_eq!(told, ("42501", "must have admin option on role \"crew\""), "{sql}");
    }
    assert_eq!(world.run("GRANT crew TO ann WITH ADMIN OPTION"), "GRANT ROLE");
    run(&ann, "GRANT crew TO eve");
    world.run("GRANT SELECT ON press TO crew");
    assert_eq!(run(&world.session_as("eve"), "SELECT * FROM press"), "SELECT 6");
    assert_eq!(run(&ann, "REVOKE crew FROM eve, bob"), "REVOKE ROLE");
    denied(&bob, "SELECT * FROM press", "table press");
    world.check(
        "SELECT r.rolname, m.rolname, g.rolname, admin_option FROM pg_auth_members a
         JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
         JOIN pg_roles g ON g.oid = a.grantor ORDER BY 1, 2",
        &["crew | ann | admin | true", "staff | crew | admin | false"],
    );
    world.run("REVOKE ADMIN OPTION FOR crew FROM ann");
    assert_eq!(fails(&ann, "GRANT crew TO eve").code, "42501");
    assert_eq!(run(&ann, "SELECT * FROM press"), "SELECT 6");
    // A role that comes later in the place of one has no members and is in nothing.
    world.run("REVOKE ALL ON press FROM crew; DROP ROLE crew; CREATE ROLE crew NOLOGIN");
    world.check("SELECT count(*) FROM pg_auth_members", &["0"]);
}

//! COMMENT ON, and what shows comments.

use super::harness::*;

#[test]
fn comments_are_kept_and_shown() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device, note FROM press");
    for sql in [
        "COMMENT ON TABLE press IS 'Presses of hall 1'",
        "COMMENT ON COLUMN press.temperature IS 'Oil, °C'",
        "COMMENT ON COLUMN public.press.time IS 'When'",
        "COMMENT ON VIEW v IS 'Notes'",
        "COMMENT ON COLUMN v.note IS 'It''s a note'",
    ] {
        assert_eq!(world.run(sql), "COMMENT", "{sql}");
    }
    let all = "SELECT c.relname, d.objsubid, d.description FROM pg_description d
               JOIN pg_class c ON c.oid = d.objoid WHERE d.classoid = 'pg_class'::regclass ORDER BY 1, 2";
    world.check(
        all,
        &[
            "press | 0 | Presses of hall 1",
            "press | 1 | When",
            "press | 4 | Oil, °C",
            "v | 0 | Notes",
            "v | 2 | It's a note",
        ],
    );
    world.check(
        "SELECT obj_description('press'::regclass), obj_description('press'::regclass, 'pg_class'),
         obj_description('press'::regclass, 'pg_type'), col_description('press'::regclass, 4), col_description('press'::regclass, 3)",
        &["Presses of hall 1 | Presses of hall 1 | ∅ | Oil, °C | ∅"],
    );
}

#[test]
fn comments_follow_what_they_are_about() {
    let world = World::with_presses();
    world.run("COMMENT ON COLUMN press.strokes IS 'Count'");
    world.run("COMMENT ON COLUMN press.note IS 'Free'");
    world.run("ALTER TABLE press RENAME TO machine");
    world.run("ALTER TABLE machine DROP COLUMN temperature");
    world.check(
        "SELECT objsubid, description FROM pg_description WHERE objsubid > 0 ORDER BY 1",
        &["4 | Count", "6 | Free"],
    );
    world.run("ALTER TABLE machine DROP COLUMN strokes");
    world.run("COMMENT ON COLUMN machine.note IS NULL");
    world
        .check("SELECT count(*) FROM pg_description WHERE classoid = 'pg_class'::regclass", &["0"]);
    world.run("COMMENT ON TABLE machine IS 'x'");
    world.run("COMMENT ON TABLE machine IS ''");
    world
        .check("SELECT count(*) FROM pg_description WHERE classoid = 'pg_class'::regclass", &["0"]);
    world.run("COMMENT ON TABLE machine IS 'x'");
    world.run("CREATE VIEW v AS SELECT device FROM machine");
    world.run("COMMENT ON COLUMN v.device IS 'y'");
    world.run("DROP TABLE machine CASCADE");
    world
        .check("SELECT count(*) FROM pg_description WHERE classoid = 'pg_class'::regclass", &["0"]);
    // But for the row that counts changes.
    let left = world.engine.db().snapshot().rows().scan(17, &[]).unwrap();
    assert!(left.iter().all(|(key, _)| *key == [0]), "{left:?}");
}

#[test]
fn what_has_no_comment_is_refused() {
    let world = World::with_presses();
    world.run("CREATE VIEW v AS SELECT device FROM press");
    for (sql, code) in [
        ("COMMENT ON TABLE nothing IS 'x'", "42P01"),
        ("COMMENT ON COLUMN press.nothing IS 'x'", "42703"),
        ("COMMENT ON COLUMN v.nothing IS 'x'", "42703"),
        ("COMMENT ON TABLE v IS 'x'", "42809"),
        ("COMMENT ON VIEW press IS 'x'", "42809"),
        ("COMMENT ON DATABASE millrace IS 'x'", "0A000"),
        ("COMMENT ON TABLE sys.tables IS 'x'", "42P01"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
    for sql in
        ["COMMENT ON TABLE press", "COMMENT ON TABLE press IS x", "COMMENT ON COLUMN press IS 'x'"]
    {
        assert_eq!(world.session.parse(sql).unwrap_err().code, "42601", "{sql}");
    }
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(world.fails(&format!("COMMENT ON TABLE press IS '{long}'")).code, "54000");
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, "COMMENT ON TABLE press IS 'x'").code, "42501");
}

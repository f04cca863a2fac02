//! Schemas: names in statements, where things lie, what the catalogue shows, and what is refused.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use futures::executor::block_on;
use tsdb::io::MemoryStorage;
use tsdb::{Command, Db, NewTable, Options};

use super::harness::*;

const METERS: &str = "CREATE TABLE plant.meter (time timestamptz NOT NULL, device text NOT NULL,
    watts double precision, PRIMARY KEY (device, time))";

fn world() -> World {
    let world = World::with_presses();
    world.run("CREATE SCHEMA plant");
    world.run(METERS);
    world.run(
        "INSERT INTO plant.meter (time, device, watts) VALUES
         ('2026-01-01 00:00:00+00', 'a', 1), ('2026-01-01 00:10:00+00', 'a', 3),
         ('2026-01-01 01:00:00+00', 'b', 5)",
    );
    world
}

#[test]
fn time_series_lie_in_schemas() {
    let world = world();
    world.check(
        "SELECT device, sum(watts) FROM plant.meter GROUP BY device ORDER BY 1",
        &["a | 4.0", "b | 5.0"],
    );
    world.check(
        "SELECT meter.device, plant.meter.watts FROM plant.meter WHERE meter.watts > 1 ORDER BY 2",
        &["a | 3.0", "b | 5.0"],
    );
    world
        .check("SELECT count(*) FROM plant.meter m JOIN public.press p ON p.time = m.time", &["2"]);
    assert_eq!(world.fails("SELECT * FROM meter").code, "42P01");
    let error = world.fails("SELECT * FROM plant.other");
    assert_eq!(error.message, "relation \"plant.other\" does not exist");
    // The engine's own streams answer as for any table.
    assert!(
        world
            .plan("SELECT device, sum(watts) FROM plant.meter GROUP BY device", &[])
            .contains("Aggregate: table=")
    );
    world.run("UPDATE plant.meter SET watts = watts + 1 WHERE meter.device = 'b'");
    world.run("DELETE FROM plant.meter m WHERE m.device = 'a' AND m.watts = 1");
    world.check("SELECT device, watts FROM plant.meter ORDER BY 1", &["a | 3.0", "b | 6.0"]);
    world.run("ALTER TABLE plant.meter ADD COLUMN volts double precision");
    world.run("ALTER TABLE plant.meter RENAME TO gauge");
    world.check("SELECT count(volts) FROM plant.gauge", &["0"]);
    world.run("ALTER TABLE plant.gauge RESET (retention)");
    world.run("COMMENT ON COLUMN plant.gauge.volts IS 'of the line'");
    world.check("SELECT col_description('plant.gauge'::regclass, 4)", &["of the line"]);
    world.run("TRUNCATE plant.gauge");
    world.check("SELECT count(*) FROM plant.gauge", &["0"]);
    world.run("VACUUM plant.gauge");
    world.run("DROP TABLE plant.gauge");
    assert_eq!(world.fails("SELECT * FROM plant.gauge").code, "42P01");
}

#[test]
fn a_path_is_honoured() {
    let world = world();
    world.run("CREATE TABLE plant.press (id int PRIMARY KEY)");
    let prepared = world.session.parse("SELECT count(*) FROM press").unwrap();
    let count = || text_of(block_on(world.session.execute(&prepared[0], &[])).unwrap());
    assert_eq!(count(), ["6"]);
    world.run("SET search_path = plant, public");
    assert_eq!(count(), ["0"]);
    world.check("SELECT count(*) FROM meter", &["3"]);
    world.check("SELECT current_schema", &["plant"]);
    world.run("CREATE TABLE made (id int PRIMARY KEY)");
    world.run("INSERT INTO made VALUES (1); INSERT INTO press VALUES (1)");
    assert_eq!(count(), ["1"]);
    world.run("SET search_path TO DEFAULT");
    assert_eq!(count(), ["6"]);
    world.check("SELECT id FROM plant.made", &["1"]);
    let of = |sql: &str| rows(&world.session, sql, &[ScalarValue::from("a")]);
    assert_eq!(of("SELECT count(*) FROM plant.meter WHERE device = $1"), ["2"]);
    // A schema of the user's name is first.
    world.run("CREATE SCHEMA admin; CREATE TABLE admin.press (id int)");
    assert_eq!(count(), ["0"]);
    world.run("CREATE TABLE mine (id int)");
    world.check("SELECT count(*) FROM admin.mine", &["0"]);
}

#[test]
fn views_and_aggregates_lie_in_schemas() {
    let world = world();
    world.run("CREATE VIEW plant.v AS SELECT device, watts FROM plant.meter");
    world.run("CREATE VIEW above AS SELECT * FROM plant.v");
    world.run(
        "CREATE MATERIALIZED VIEW plant.hourly WITH (continuous) AS
        SELECT time_bucket('1 hour', time) AS hour, device, sum(watts) AS watts
        FROM plant.meter GROUP BY hour, device",
    );
    world.run("CREATE MATERIALIZED VIEW plant.m AS SELECT count(*) AS n FROM plant.hourly");
    world.run("REFRESH MATERIALIZED VIEW plant.hourly; REFRESH MATERIALIZED VIEW plant.m");
    world.check("SELECT device, watts FROM above ORDER BY 2", &["a | 1.0", "a | 3.0", "b | 5.0"]);
    world.check("SELECT device, watts FROM plant.hourly ORDER BY 1", &["a | 4.0", "b | 5.0"]);
    world.check("SELECT n FROM plant.m", &["2"]);
    world.run("SET search_path = public");
    world.run("ALTER MATERIALIZED VIEW plant.hourly SET (refresh_lag = '1 hour')");
    world.check(
        "SELECT name, \"table\" FROM sys.continuous_aggregates",
        &["plant.hourly | plant.meter"],
    );
    world.check(
        "SELECT definition FROM pg_views WHERE viewname = 'v'",
        &[" SELECT device, watts FROM plant.meter AS meter;"],
    );
    world.check(
        "SELECT pg_get_viewdef('plant.v'::regclass)",
        &[" SELECT device, watts FROM plant.meter AS meter;"],
    );
    assert_eq!(world.fails("DROP TABLE plant.meter").code, "2BP01");
    assert_eq!(world.fails("DROP VIEW plant.v").code, "2BP01");
    world.run("DROP VIEW above");
    world.run("ALTER VIEW plant.v RENAME TO w");
    world.check("SELECT count(*) FROM plant.w", &["3"]);
    world.run("ALTER SCHEMA plant RENAME TO \"Plant 2\"");
    world.check("SELECT count(*) FROM \"Plant 2\".w", &["3"]);
    world.check(
        "SELECT pg_get_viewdef('\"Plant 2\".w'::regclass)",
        &[" SELECT device, watts FROM \"Plant 2\".meter AS meter;"],
    );
    world.check("SELECT '\"Plant 2\".w'::regclass::text", &["\"Plant 2\".w"]);
    world.run("DROP SCHEMA \"Plant 2\" CASCADE");
    world.check(
        "SELECT count(*) FROM pg_class WHERE relname IN ('meter', 'w', 'hourly', 'm')",
        &["0"],
    );
    world.check("SELECT count(*) FROM sys.tables WHERE name <> 'press'", &["0"]);
}

#[test]
fn the_catalogue_shows_schemas() {
    let world = world();
    world.run("CREATE TABLE plant.site (id serial PRIMARY KEY, name text DEFAULT 'x')");
    world.check(
        "SELECT nspname, relname, relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname = 'plant' ORDER BY 2",
        &[
            "plant | meter | r", "plant | meter_pkey | i", "plant | site | r",
            "plant | site_id_seq | S", "plant | site_pkey | i",
        ],
    );
    world.check(
        "SELECT table_schema, table_name, is_insertable_into FROM information_schema.tables
         WHERE table_schema IN ('plant', 'public') ORDER BY 2",
        &["plant | meter | YES", "public | press | YES", "plant | site | YES"],
    );
    world.check("SELECT name FROM sys.tables ORDER BY 1", &["plant.meter", "press"]);
    world.check(
        "SELECT oid::regclass::text FROM pg_class WHERE relname IN ('meter', 'press') ORDER BY 1",
        &["plant.meter", "press"],
    );
    world.check("SELECT to_regclass('meter'), to_regclass('plant.press')", &["∅ | ∅"]);
    world.check("SELECT 'plant'::regnamespace::text", &["plant"]);
    world.check(
        "SELECT column_default FROM information_schema.columns WHERE table_name = 'site' AND column_name = 'id'",
        &["nextval('plant.site_id_seq'::regclass)"],
    );
    world.check(
        "SELECT relname FROM pg_class c WHERE relkind = 'r' AND pg_table_is_visible(oid)
        AND relnamespace = 'plant'::regnamespace",
        &[],
    );
    world.check(
        "SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY 2",
        &["plant | meter", "public | press", "plant | site"],
    );
}

#[test]
fn tables_move_with_their_indexes() {
    let world = world();
    world.run("ALTER TABLE plant.meter SET SCHEMA public");
    world.check("SELECT count(*) FROM meter", &["3"]);
    world.run("CREATE TABLE t (id int PRIMARY KEY, x text UNIQUE, CHECK (id > 0))");
    world.run("CREATE TABLE u (id int REFERENCES t)");
    world.run("INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1)");
    assert_eq!(world.run("ALTER TABLE t SET SCHEMA plant"), "ALTER TABLE");
    world.check("SELECT x FROM plant.t WHERE id = 1", &["a"]);
    world.check(
        "SELECT schemaname, indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 2",
        &["plant | t_pkey", "plant | t_x_key"],
    );
    assert_eq!(world.fails("INSERT INTO plant.t VALUES (1, 'b')").code, "23505");
    assert_eq!(world.fails("DELETE FROM plant.t").code, "23503");
    assert_eq!(world.fails("INSERT INTO plant.t VALUES (0, 'b')").code, "23514");
    world.run("CREATE TABLE t (id int PRIMARY KEY)");
    assert_eq!(world.fails("ALTER TABLE plant.t SET SCHEMA public").code, "42P07");
    world.run("DROP TABLE t; ALTER TABLE plant.t SET SCHEMA public; DROP SCHEMA plant");
    world.check("SELECT count(*) FROM t JOIN u USING (id)", &["1"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let world = world();
    for (sql, code) in [
        ("CREATE SCHEMA plant", "42P06"),
        ("CREATE SCHEMA sys", "42P06"),
        ("CREATE SCHEMA pg_mine", "42939"),
        ("CREATE SCHEMA x AUTHORIZATION nobody", "42704"),
        ("CREATE SCHEMA AUTHORIZATION CURRENT_USER", "0A000"),
        ("ALTER SCHEMA plant OWNER TO nobody", "42704"),
        ("ALTER SCHEMA plant RENAME TO public", "42P06"),
        ("ALTER SCHEMA nothing RENAME TO x", "3F000"),
        ("ALTER TABLE plant.meter SET SCHEMA nothing", "3F000"),
        ("ALTER TABLE plant.meter SET SCHEMA sys", "0A000"),
        ("DROP SCHEMA plant", "2BP01"),
        ("DROP SCHEMA public", "0A000"),
        ("DROP SCHEMA nothing", "3F000"),
        ("CREATE TABLE nothing.t (a int)", "3F000"),
        ("CREATE VIEW nothing.v AS SELECT 1 AS a", "3F000"),
        ("CREATE TABLE plant.meter (a int)", "42P07"),
        ("CREATE TEMP TABLE plant.t (a int)", "42P16"),
        ("CREATE TABLE _schema_0_x (a int)", "42939"),
        ("SELECT * FROM nothing.t", "42P01"),
        ("INSERT INTO nothing.t VALUES (1)", "42P01"),
        ("COPY plant.nothing FROM STDIN", "42P01"),
    ] {
        let error = world.fails(sql);
        assert_eq!(error.code, code, "{sql}: {error:?}");
        assert!(!error.message.contains("_schema_0_m"), "{error:?}");
    }
    let reader = world.engine.session(identity("r", false), &[]);
    assert_eq!(fails(&reader, "CREATE SCHEMA x").code, "42501");
    assert_eq!(fails(&reader, "DROP SCHEMA plant").code, "42501");
    assert_eq!(rows(&reader, "SELECT count(*) FROM plant.meter", &[]), ["3"]);
    world.run("BEGIN");
    assert_eq!(world.fails("CREATE SCHEMA x").code, "25001");
    world.run("ROLLBACK");
    // Before the first schema they are told as well.
    let empty = World::new();
    assert_eq!(empty.fails("CREATE TABLE nothing.t (a int)").code, "3F000");
    assert_eq!(empty.fails("SELECT * FROM nothing.t").code, "42P01");
    assert_eq!(
        empty.fails("REFRESH MATERIALIZED VIEW a.b").message,
        "materialized view \"a.b\" does not exist"
    );
}

#[test]
fn schemas_outlive_the_process_and_numbers_are_not_taken() {
    let storage = Arc::new(MemoryStorage::new());
    let open = || {
        let options = Options { background: false, shards: 2, ..Options::default() };
        World::over(Db::open(storage.clone(), options).unwrap())
    };
    {
        let world = open();
        // A measurement that was called so before there were schemas.
        let old = NewTable {
            name: "_schema_0_old".into(),
            time_name: "time".into(),
            columns: Vec::new(),
            options: Default::default(),
            if_not_exists: false,
        };
        world.engine.db().commit(vec![Command::CreateTable(old)]).unwrap().all().unwrap();
        world.run("CREATE SCHEMA a; CREATE SCHEMA b");
        world.run("CREATE TABLE a.t (id int PRIMARY KEY); INSERT INTO a.t VALUES (1)");
        world.run(
            "CREATE TABLE b.t (id int PRIMARY KEY REFERENCES a.t); INSERT INTO b.t VALUES (1)",
        );
        // A name with a dot is no schema.
        world.run("CREATE TABLE \"a.t\" (id int PRIMARY KEY)");
        world.check("SELECT count(*) FROM _schema_0_old", &["0"]);
        world.check("SELECT count(*) FROM \"a.t\"", &["0"]);
        world.engine.db().close().unwrap();
    }
    let world = open();
    world.check("SELECT id FROM a.t", &["1"]);
    world.check("SELECT schemaname, tablename FROM pg_tables WHERE schemaname <> 'pg_catalog' ORDER BY 1, 2", &[
        "a | t", "b | t", "public | _schema_0_old", "public | a.t",
    ]);
    assert_eq!(world.fails("DELETE FROM a.t").code, "23503");
    world.run("DROP SCHEMA a CASCADE");
    world.run("CREATE SCHEMA a");
    assert_eq!(world.fails("SELECT * FROM a.t").code, "42P01");
    world.run("INSERT INTO b.t VALUES (7)");
    world.check("SELECT count(*) FROM b.t", &["2"]);
}

#[test]
fn names_of_public_do_not_follow_the_path() {
    let world = World::new();
    // Without a schema of users the names are plain ones.
    world.run("CREATE TABLE public.twin (id int PRIMARY KEY); CREATE SEQUENCE public.counting");
    world.run("COMMENT ON TABLE public.twin IS 'first'; VACUUM public.twin");
    world.run("ALTER SEQUENCE public.counting RESTART 5");
    world.check("SELECT nextval('counting')", &["5"]);
    world.run("CREATE VIEW seen AS SELECT 1 AS one; ALTER VIEW public.seen RENAME TO shown");
    world.run("CREATE SCHEMA other; CREATE SCHEMA third; CREATE TABLE other.twin (n int)");
    world.run("SET search_path = other, public");
    world.run("COMMENT ON TABLE public.twin IS 'second'");
    let comments =
        "SELECT obj_description('public.twin'::regclass), obj_description('other.twin'::regclass)";
    world.check(comments, &["second | ∅"]);
    world.run("COMMENT ON TABLE twin IS 'third'");
    world.check(comments, &["second | third"]);
    assert_eq!(world.run("VACUUM public.twin"), "VACUUM");
    world.run("ALTER TABLE public.twin SET SCHEMA third");
    world.check("SELECT count(*) FROM third.twin", &["0"]);
    world.check("SELECT count(n) FROM twin", &["0"]);
    assert_eq!(world.fails("COMMENT ON TABLE public.twin IS 'gone'").code, "42P01");
    assert_eq!(world.fails("VACUUM public.twin").code, "42P01");
    world.run("ALTER SEQUENCE public.counting RESTART 7; DROP SEQUENCE public.counting");
}

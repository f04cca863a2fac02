//! What psql and tools ask the catalogue: psql 15's own statements, as `psql -E` shows them.

use arrow::datatypes::{DataType, Field, SchemaRef};
use futures::executor::block_on;

use super::harness::*;
use crate::{Outcome, Session};

/// Columns of a query, as described and as they come.
fn describe(session: &Session, sql: &str) -> SchemaRef {
    let statements = session.parse(sql).unwrap();
    let described = block_on(session.describe(&statements[0], &[])).unwrap().fields.unwrap();
    let Outcome::Rows { schema, .. } = block_on(session.execute(&statements[0], &[])).unwrap()
    else {
        panic!("{sql} gives no rows")
    };
    let shown = |schema: &SchemaRef| -> Vec<(DataType, Option<String>)> {
        let shown = |f: &std::sync::Arc<Field>| {
            (f.data_type().clone(), f.metadata().get(crate::PG_TYPE).cloned())
        };
        schema.fields().iter().map(shown).collect()
    };
    assert_eq!(shown(&described), shown(&schema), "{sql}");
    schema
}

fn world() -> World {
    let world = World::with_presses();
    world.run("CREATE USER bob PASSWORD 'long enough' WRITE");
    world
}

fn oid(world: &World) -> String {
    rows(&world.session, "SELECT oid FROM pg_class WHERE relname = 'press'", &[]).remove(0)
}

#[test]
fn psql_dt() {
    let list = r#"SELECT n.nspname as "Schema",
  c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN (KINDS)
      AND n.nspname <> 'pg_catalog'
      AND n.nspname !~ '^pg_toast'
      AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2;"#;
    let world = world();
    world.check(&list.replace("KINDS", "'r','p',''"), &["public | press | table | admin"]);
    world.check(
        &list.replace("KINDS", "'r','p','v','m','S','f',''"),
        &["public | press | table | admin"],
    );
    world.check(&list.replace("KINDS", "'i','I',''"), &["public | press_pkey | index | admin"]);
    assert_eq!(
        columns(&world.session, &list.replace("KINDS", "'r'")),
        ["Schema", "Name", "Type", "Owner"]
    );
}

#[test]
fn psql_d_table() {
    let world = world();
    let oid = oid(&world);
    world.check(
        r#"SELECT c.oid,
  n.nspname,
  c.relname
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.~) '^(press)$' COLLATE pg_catalog.default
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 2, 3;"#,
        &[&format!("{oid} | public | press")],
    );
    world.check(&format!("SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity, false AS relhasoids, c.relispartition, '', c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' ELSE c.reloftype::pg_catalog.regtype::pg_catalog.text END, c.relpersistence, c.relreplident, am.amname
FROM pg_catalog.pg_class c
 LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid)
LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
WHERE c.oid = '{oid}';"),
        &["0 | r | true | false | false | false | false | false | false |  | 0 |  | p | d | millrace"]);
    world.check(&format!("SELECT a.attname,
  pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
   FROM pg_catalog.pg_attrdef d
   WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
  a.attnotnull,
  (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
   WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
  a.attidentity,
  a.attgenerated
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum;"), &[
        "time | timestamp with time zone | ∅ | true | ∅ |  | ",
        "device | text | ∅ | false | ∅ |  | ",
        "site | text | ∅ | false | ∅ |  | ",
        "temperature | double precision | ∅ | false | ∅ |  | ",
        "strokes | bigint | ∅ | false | ∅ |  | ",
        "running | boolean | ∅ | false | ∅ |  | ",
        "note | text | ∅ | false | ∅ |  | ",
    ]);
    world.check(&format!("SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
  pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred, i.indisreplident, c2.reltablespace
FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
  LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
WHERE c.oid = '{oid}' AND c.oid = i.indrelid AND i.indexrelid = c2.oid
ORDER BY i.indisprimary DESC, c2.relname;"), &["press_pkey | true | true | false | true | \
CREATE UNIQUE INDEX press_pkey ON public.press USING btree (device, site, \"time\") | \
PRIMARY KEY (device, site, \"time\") | p | false | false | false | 0".replace("\"time\"", "time").as_str()]);
}

#[test]
fn psql_d_table_what_there_is_not() {
    let world = world();
    let oid = oid(&world);
    let none: [&str; 0] = [];
    world.check(&format!("SELECT pol.polname, pol.polpermissive,
  CASE WHEN pol.polroles = '{{0}}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,
  pg_catalog.pg_get_expr(pol.polqual, pol.polrelid),
  pg_catalog.pg_get_expr(pol.polwithcheck, pol.polrelid),
  CASE pol.polcmd
    WHEN 'r' THEN 'SELECT'
    WHEN 'a' THEN 'INSERT'
    END AS cmd
FROM pg_catalog.pg_policy pol
WHERE pol.polrelid = '{oid}' ORDER BY 1;"), &none);
    world.check(&format!("SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,
pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns,
  'd' = any(stxkind) AS ndist_enabled,
  'f' = any(stxkind) AS deps_enabled,
  'm' = any(stxkind) AS mcv_enabled,
stxstattarget
FROM pg_catalog.pg_statistic_ext
WHERE stxrelid = '{oid}'
ORDER BY nsp, stxname;"), &none);
    world.check(&format!("SELECT pubname
     , NULL
     , NULL
FROM pg_catalog.pg_publication p
     JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid
     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid
WHERE pc.oid ='{oid}' and pg_catalog.pg_relation_is_publishable('{oid}')
UNION
SELECT pubname
     , pg_get_expr(pr.prqual, c.oid)
     , (CASE WHEN pr.prattrs IS NOT NULL THEN
         (SELECT string_agg(attname, ', ')
           FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s,
                pg_catalog.pg_attribute
          WHERE attrelid = pr.prrelid AND attnum = prattrs[s])
        ELSE NULL END) FROM pg_catalog.pg_publication p
     JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid
     JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid
WHERE pr.prrelid = '{oid}'
UNION
SELECT pubname
     , NULL
     , NULL
FROM pg_catalog.pg_publication p
WHERE p.puballtables AND pg_catalog.pg_relation_is_publishable('{oid}')
ORDER BY 1;"), &none);
    world.check(
        &format!(
            "SELECT c.oid::pg_catalog.regclass
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhparent AND i.inhrelid = '{oid}'
  AND c.relkind != 'p' AND c.relkind != 'I'
ORDER BY inhseqno;"
        ),
        &none,
    );
    world.check(&format!("SELECT c.oid::pg_catalog.regclass, c.relkind, inhdetachpending, pg_catalog.pg_get_expr(c.relpartbound, c.oid)
FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
WHERE c.oid = i.inhrelid AND i.inhparent = '{oid}'
ORDER BY pg_catalog.pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT', c.oid::pg_catalog.regclass::pg_catalog.text;"), &none);
}

#[test]
fn psql_l_du_dn_df() {
    let world = world();
    world.check(
        r#"SELECT d.datname as "Name",
       pg_catalog.pg_get_userbyid(d.datdba) as "Owner",
       pg_catalog.pg_encoding_to_char(d.encoding) as "Encoding",
       d.datcollate as "Collate",
       d.datctype as "Ctype",
       d.daticulocale as "ICU Locale",
       CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS "Locale Provider",
       pg_catalog.array_to_string(d.datacl, E'\n') AS "Access privileges"
FROM pg_catalog.pg_database d
ORDER BY 1;"#,
        &["millrace | admin | UTF8 | C | C.UTF-8 | ∅ | libc | ∅"],
    );
    world.check(
        "SELECT r.rolname, r.rolsuper, r.rolinherit,
  r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
  r.rolconnlimit, r.rolvaliduntil,
  ARRAY(SELECT b.rolname
        FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid) as memberof
, r.rolreplication
, r.rolbypassrls
FROM pg_catalog.pg_roles r
WHERE r.rolname !~ '^pg_'
ORDER BY 1;",
        &[
            "admin | true | true | true | true | true | -1 | ∅ | [] | false | true",
            "bob | false | true | false | false | true | -1 | ∅ | [] | false | false",
        ],
    );
    world.check(
        r#"SELECT n.nspname AS "Name",
  pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner"
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 1;"#,
        &["public | admin", "sys | admin"],
    );
    let functions = rows(
        &world.session,
        r#"SELECT n.nspname as "Schema",
  p.proname as "Name",
  pg_catalog.pg_get_function_result(p.oid) as "Result data type",
  pg_catalog.pg_get_function_arguments(p.oid) as "Argument data types",
 CASE p.prokind
  WHEN 'a' THEN 'agg'
  WHEN 'w' THEN 'window'
  WHEN 'p' THEN 'proc'
  ELSE 'func'
 END as "Type"
FROM pg_catalog.pg_proc p
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE pg_catalog.pg_function_is_visible(p.oid)
      AND n.nspname <> 'pg_catalog'
      AND n.nspname <> 'information_schema'
ORDER BY 1, 2, 4;"#,
        &[],
    );
    for function in [
        "public | time_bucket | timestamp with time zone | width",
        "public | rate | double precision | value double precision",
        "public | count_window | bigint[] | rows bigint, slide bigint | window",
    ] {
        assert!(functions.iter().any(|f| f.starts_with(function)), "{function} in {functions:#?}");
    }
}

#[test]
fn names_and_numbers() {
    let world = world();
    let oid = oid(&world);
    world.check(
        "SELECT 'press'::regclass::oid, 'public.press'::regclass::text, to_regclass('nope')",
        &[&format!("{oid} | press | ∅")],
    );
    world.check("SELECT relname FROM pg_class WHERE oid = 'press'::regclass", &["press"]);
    assert_eq!(world.fails("SELECT 'nope'::regclass").code, "42P01");
    world.check(
        "SELECT attrelid::regclass, atttypid::regtype FROM pg_attribute
        WHERE attrelid = 'press'::regclass AND attnum = 1",
        &["press | timestamp with time zone"],
    );
    world.check("SELECT typname FROM pg_type WHERE oid = 'timestamptz'::regtype", &["timestamptz"]);
    // Numbers stay when other tables come and go.
    world.run("CREATE TABLE aaa (time timestamptz PRIMARY KEY); DROP TABLE aaa");
    world.run("CREATE TABLE aab (time timestamptz PRIMARY KEY)");
    assert_eq!(super::catalog::oid(&world), oid);
    world.check("SELECT count(DISTINCT oid) = count(*) FROM pg_class", &["true"]);
    world.check("SELECT count(DISTINCT oid) = count(*) FROM pg_type", &["true"]);
}

#[test]
fn information_schema() {
    let world = world();
    world.check(
        "SELECT table_name, table_type FROM information_schema.tables
        WHERE table_schema = 'public'",
        &["press | BASE TABLE"],
    );
    world.check(
        "SELECT column_name, ordinal_position, is_nullable, data_type
        FROM information_schema.columns WHERE table_name = 'press' ORDER BY 2 LIMIT 2",
        &["time | 1 | NO | timestamp with time zone", "device | 2 | YES | text"],
    );
    world.check(
        "SELECT k.column_name FROM information_schema.table_constraints c
        JOIN information_schema.key_column_usage k USING (constraint_name)
        WHERE c.table_name = 'press' AND c.constraint_type = 'PRIMARY KEY'
        ORDER BY k.ordinal_position",
        &["device", "site", "time"],
    );
}

#[test]
fn every_system_table_can_be_read() {
    let world = world();
    let names = rows(
        &world.session,
        "SELECT table_schema || '.' || table_name FROM information_schema.tables
         WHERE table_schema <> 'public'",
        &[],
    );
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        rows(&world.session, &format!("SELECT * FROM {name}"), &[]);
        rows(&world.session, &format!("SELECT count(*) FROM {name}"), &[]);
    }
    world.check("SELECT name, series, rows FROM sys.tables", &["press | 3 | 6"]);
    world.check("SELECT count(*) > 10 FROM sys.stats", &["true"]);
}

#[test]
fn columns_are_shown_as_in_postgres() {
    let world = world();
    let shown = |sql: &str| -> Vec<String> {
        let schema = describe(&world.session, sql);
        let name = |field: &Field| field.metadata().get(crate::PG_TYPE).cloned();
        schema.fields().iter().map(|field| name(field).unwrap_or_default()).collect()
    };
    assert_eq!(
        shown("SELECT relname, relkind, oid, relacl, oid::int, relname::text FROM pg_class"),
        ["name", "char", "oid", "", "int4", "text"]
    );
    assert_eq!(
        shown(
            "SELECT indkey, indrelid::regclass, (SELECT relname FROM pg_class WHERE oid = indrelid) FROM pg_index"
        ),
        ["int2vector", "regclass", "name"]
    );
    assert_eq!(shown("SELECT current_user, current_schema(), 1::oid"), ["name", "name", "oid"]);
    let wide = describe(&world.session, "SELECT 1, 3000000000 FROM pg_class");
    let kinds: Vec<&DataType> = wide.fields().iter().map(|field| field.data_type()).collect();
    assert_eq!(kinds, [&DataType::Int32, &DataType::Int64]);
}

#[test]
fn names_of_objects_join_sort_and_read_as_in_postgres() {
    let world = world();
    world.run("CREATE VIEW all_presses AS SELECT * FROM press");
    world.check(
        "SELECT i.indrelid::regclass::text || '!', c.relname FROM pg_index i JOIN pg_class c
        ON c.oid = i.indrelid::regclass WHERE i.indrelid = 'public.press'::regclass",
        &["press! | press"],
    );
    world.check("SELECT 'x' || indrelid::regclass FROM pg_index", &["xpress"]);
    world.check("SELECT indrelid::regclass = 'press' FROM pg_index", &["true"]);
    world.check(
        "SELECT (quote_ident(nspname) || '.' || quote_ident(relname))::regclass
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'press'",
        &["press"],
    );
    world.check(
        "SELECT typinput, typinput::oid, typinput = 'array_in'::regproc FROM pg_type
        WHERE typname = '_text'",
        &["array_in | 750 | true"],
    );
    world.check(
        "SELECT 'integer'::regtype, 'int4[]'::regtype::oid, to_regtype('nothing'), 'press'::regtype",
        &["integer | 1007 | ∅ | press"],
    );
    world.check("SELECT 'admin'::regrole, 'public'::regnamespace", &["admin | public"]);
    world.check("SELECT tableoid::regclass FROM press LIMIT 1", &["press"]);
    world.check("SELECT count(*) FROM pg_class c WHERE c.tableoid = 'pg_class'::regclass AND relname = 'press'", &["1"]);
    for (sql, code) in [
        ("SELECT 'nope'::regtype", "42704"),
        ("SELECT 'nope'::regrole", "42704"),
        ("SELECT 'nope'::regnamespace", "3F000"),
        ("SELECT 'nope'::regproc", "42883"),
        ("SELECT ('no' || relname)::regclass FROM pg_class", "42P01"),
    ] {
        assert_eq!(world.fails(sql).code, code, "{sql}");
    }
}

#[test]
fn arrays_and_subqueries_of_drivers() {
    let world = world();
    world.check(
        "SELECT unnest(indkey), generate_subscripts(indkey, 1), indkey[0] FROM pg_index",
        &["2 | 0 | 2", "3 | 1 | 2", "1 | 2 | 2"],
    );
    world.check(
        "SELECT (keys).x, (keys).n FROM
        (SELECT information_schema._pg_expandarray(indkey) AS keys FROM pg_index) k",
        &["2 | 1", "3 | 2", "1 | 3"],
    );
    world.check(
        "SELECT (information_schema._pg_expandarray(indkey)).n FROM pg_index",
        &["1", "2", "3"],
    );
    world.check(
        "SELECT indkey::text, conkey::text FROM pg_index, pg_constraint",
        &["2 3 1 | {2,3,1}"],
    );
    world.check(
        "SELECT relname, ARRAY(SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid
        AND attnum > 2 ORDER BY attnum DESC) FROM pg_class c WHERE relname IN ('press_pkey', 'pg_am')
        ORDER BY 1",
        &["pg_am | [amtype, amhandler]", "press_pkey | [time]"],
    );
    world.check(
        "SELECT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = c.oid) FROM pg_class c
        WHERE relname IN ('press', 'pg_am') ORDER BY relname",
        &["false", "true"],
    );
    let many =
        "SELECT (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid) FROM pg_class c";
    assert_eq!(world.fails(many).code, "21000");
    world.check("SELECT count(*) FROM pg_type WHERE typname = ANY ('{text,int4}')", &["2"]);
    world.check("SELECT '{a,\"b c\"}'::text[]", &["[a, b c]"]);
    world.check("SELECT count(*) FROM pg_class WHERE relname LIKE 'pre#_%' ESCAPE '#'", &["0"]);
    world.check(
        "SELECT format('%I.%s %L', 'Mixed Case', 1, 'it''s')",
        &["\"Mixed Case\".1 'it''s'"],
    );
}

#[test]
fn privileges_tell_the_truth() {
    let world = world();
    world.run("CREATE USER eve PASSWORD 'long enough' READ; CREATE VIEW v AS SELECT * FROM press");
    for (call, truth) in [
        ("has_table_privilege('bob', 'press', 'INSERT')", "true"),
        ("has_table_privilege('bob', 'v', 'INSERT')", "false"),
        ("has_table_privilege('eve', 'press', 'INSERT')", "false"),
        ("has_table_privilege('eve', 'press', 'DELETE, SELECT')", "true"),
        ("has_table_privilege('eve', 'press'::regclass, 'SELECT WITH GRANT OPTION')", "false"),
        ("has_table_privilege('press', 'TRIGGER')", "true"),
        ("has_table_privilege(0, 'SELECT')", "∅"),
        ("has_column_privilege('eve', 'press', 'note', 'UPDATE')", "false"),
        ("has_any_column_privilege('bob', 'press', 'UPDATE')", "true"),
        ("has_schema_privilege('eve', 'public', 'USAGE')", "true"),
        ("has_schema_privilege('eve', 'public', 'CREATE')", "false"),
        ("has_schema_privilege('public', 'CREATE')", "true"),
        ("has_database_privilege('eve', 'millrace', 'CONNECT')", "true"),
        ("has_database_privilege('eve', 'millrace', 'CREATE')", "false"),
        ("pg_has_role('eve', 'bob', 'MEMBER')", "false"),
        ("pg_has_role('bob', 'bob', 'USAGE')", "true"),
        ("has_function_privilege('eve', 'time_bucket', 'EXECUTE')", "true"),
    ] {
        world.check(&format!("SELECT {call}"), &[truth]);
    }
    for (call, code) in [
        ("has_table_privilege('nobody', 'press', 'SELECT')", "42704"),
        ("has_table_privilege('nowhere', 'SELECT')", "42P01"),
        ("has_table_privilege('press', 'FLY')", "22023"),
        ("has_column_privilege('press', 'nothing', 'SELECT')", "42703"),
        ("has_schema_privilege('nowhere', 'USAGE')", "3F000"),
        ("has_database_privilege('nowhere', 'CONNECT')", "3D000"),
    ] {
        assert_eq!(world.fails(&format!("SELECT {call}")).code, code, "{call}");
    }
}

#[test]
fn settings_beside_other_columns() {
    let world = world();
    world.check(
        "SELECT current_setting('jit') AS cur, set_config('jit', 'on', false) AS new",
        &["off | on"],
    );
    world.check("SHOW jit", &["on"]);
    assert_eq!(world.fails("SELECT 1, set_config('jit', 'maybe', false)").code, "22023");
    world.check("SHOW jit", &["on"]);
    world.check(
        "SELECT setting, unit, vartype, boot_val FROM pg_settings WHERE name = 'statement_timeout'",
        &["0 | ms | integer | 0"],
    );
}

-- psql 15: what completion by TAB asks.

--: case SELECT * FROM <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| hot | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case SELECT * FROM pr<TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'pr%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'pr%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| press | ∅

--: case SELECT * FROM public.<TAB>
SELECT c.relname, n.nspname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE '%' AND n.nspname = 'public'
LIMIT 1000
--: columns name relname | name nspname
--| Mixed Case | public
--| hot | public
--| press | public

--: case SELECT * FROM pg_catalog.pg_cl<TAB>
SELECT c.relname, n.nspname FROM pg_catalog.pg_class c, pg_catalog.pg_namespace n WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'pg\_cl%' AND n.nspname = 'pg_catalog'
LIMIT 1000
--: columns name relname | name nspname
--| pg_class | pg_catalog

--: case SELECT * FROM press WHERE <TAB>
SELECT a.attname, NULL::pg_catalog.text FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped AND (a.attname) LIKE '%' AND c.relname = 'press' AND pg_catalog.pg_table_is_visible(c.oid)
LIMIT 1000
--: columns name attname | text text
--| device | ∅
--| note | ∅
--| running | ∅
--| site | ∅
--| strokes | ∅
--| temperature | ∅
--| time | ∅

--: case INSERT INTO <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'f', 'v', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| hot | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case ALTER TABLE <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case ALTER TABLE press DROP CONSTRAINT <TAB>
SELECT con.conname, NULL::pg_catalog.text FROM pg_catalog.pg_constraint con, pg_catalog.pg_class c1 WHERE con.conrelid=c1.oid AND (con.conname) LIKE '%' AND c1.relname = 'press' AND pg_catalog.pg_table_is_visible(c1.oid)
LIMIT 1000
--: columns name conname | text text
--| press_pkey | ∅

--: case DROP VIEW <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('v') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| hot | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case DROP INDEX <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('i', 'I') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case_pkey | ∅
--| press_pkey | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case DROP ROLE <TAB>
SELECT rolname    FROM pg_catalog.pg_roles   WHERE rolname LIKE '%'
LIMIT 1000
--: columns name rolname
--| admin

--: case CREATE INDEX i ON <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case SET <TAB>
SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE context IN ('user', 'superuser')    AND pg_catalog.lower(name) LIKE pg_catalog.lower('%')
LIMIT 1000
--: varies
--: columns text lower

--: case SHOW <TAB>
SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings  WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('%')
LIMIT 1000
--: varies
--: columns text lower

--: case SET TimeZone TO <TAB>
SELECT pg_catalog.quote_literal(name) AS name   FROM pg_catalog.pg_timezone_names()  WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('%')
LIMIT 1000
--: varies
--: columns text name

--: case SET search_path TO <TAB>
SELECT nspname FROM pg_catalog.pg_namespace  WHERE nspname LIKE '%' AND nspname NOT LIKE E'pg\\_toast%' AND nspname NOT LIKE E'pg\\_temp%'
LIMIT 1000
--: columns name nspname
--| information_schema
--| pg_catalog
--| public
--| sys

--: case \d <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| Mixed Case_pkey | ∅
--| hot | ∅
--| press | ∅
--| press_pkey | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case \dn <TAB>
SELECT nspname FROM pg_catalog.pg_namespace  WHERE nspname LIKE '%'
LIMIT 1000
--: columns name nspname
--| information_schema
--| pg_catalog
--| public
--| sys

--: case \df <TAB>
SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.prokind != 'p' AND (p.proname) LIKE '%' AND pg_catalog.pg_function_is_visible(p.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name proname | text text
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| aclitemin | ∅
--| aclitemout | ∅
--| acos | ∅
--| acosh | ∅
--| age | ∅
--| age | ∅
--| … 794 rows

--: case \dT <TAB>
SELECT t.typname, NULL::pg_catalog.text FROM pg_catalog.pg_type t WHERE (t.typrelid = 0  OR (SELECT c.relkind = 'c'     FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)) AND t.typname !~ '^_' AND (t.typname) LIKE '%' AND pg_catalog.pg_type_is_visible(t.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name typname | text text
--| aclitem | ∅
--| any | ∅
--| anyarray | ∅
--| anycompatible | ∅
--| anycompatiblearray | ∅
--| anyelement | ∅
--| anynonarray | ∅
--| bool | ∅
--| bpchar | ∅
--| bytea | ∅
--| char | ∅
--| cid | ∅
--| … 58 rows

--: case \c <TAB>
SELECT datname FROM pg_catalog.pg_database  WHERE datname LIKE '%'
LIMIT 1000
--: columns name datname
--| millrace

--: case \sf <TAB>
SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE (p.proname) LIKE '%' AND pg_catalog.pg_function_is_visible(p.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name proname | text text
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| abs | ∅
--| aclitemin | ∅
--| aclitemout | ∅
--| acos | ∅
--| acosh | ∅
--| age | ∅
--| age | ∅
--| … 794 rows

--: case \dx <TAB>
SELECT extname    FROM pg_catalog.pg_extension   WHERE extname LIKE '%'
LIMIT 1000
--: columns name extname

--: case \db <TAB>
SELECT spcname FROM pg_catalog.pg_tablespace  WHERE spcname LIKE '%'
LIMIT 1000
--: columns name spcname
--| pg_default

--: case \db <TAB> (2)
SELECT spcname FROM pg_catalog.pg_tablespace  WHERE spcname LIKE 'pg\_%'
LIMIT 1000
--: columns name spcname
--| pg_default

--: case ANALYZE <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'm', 'f') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case TRUNCATE <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'f', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| Mixed Case | ∅
--| press | ∅
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case REFRESH MATERIALIZED VIEW <TAB>
SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('m') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name relname | text text
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case CREATE TABLE x OF <TAB>
SELECT t.typname, NULL::pg_catalog.text FROM pg_catalog.pg_type t WHERE (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid) AND t.typname !~ '^_' AND (t.typname) LIKE '%' AND pg_catalog.pg_type_is_visible(t.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name typname | text text
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

--: case NOTIFY <TAB>
SELECT channel    FROM pg_catalog.pg_listening_channels() AS channel   WHERE channel LIKE '%'
LIMIT 1000
--: columns text channel

--: case DEALLOCATE <TAB>
SELECT name    FROM pg_catalog.pg_prepared_statements   WHERE name LIKE '%'
LIMIT 1000
--: columns text name

--: case CLOSE <TAB>
SELECT name    FROM pg_catalog.pg_cursors   WHERE name LIKE '%'
LIMIT 1000
--: columns text name

--: case CALL <TAB>
SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.prokind = 'p' AND (p.proname) LIKE '%' AND pg_catalog.pg_function_is_visible(p.oid)
UNION ALL
SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\_%'
LIMIT 1000
--: columns name proname | text text
--| ∅ | information_schema
--| ∅ | public
--| ∅ | sys

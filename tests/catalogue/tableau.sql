-- Tableau, over JDBC and ODBC.

--: case connect
SELECT 1
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns int8 ?column?
--| 1

--: case identity
select current_user, current_database()
--: columns name current_user | name current_database
--| admin | millrace

--: case ODBC tables
select relname, nspname, relkind from pg_catalog.pg_class c, pg_catalog.pg_namespace n where relkind in ('r', 'v', 'm', 'f', 'p') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pg_temp_1') and n.oid = relnamespace order by nspname, relname
--: columns name relname | name nspname | char relkind
--| Mixed Case | public | r
--| hot | public | v
--| press | public | r
--| backups | sys | v
--| continuous_aggregates | sys | v
--| cursors | sys | v
--| job_history | sys | v
--| jobs | sys | v
--| keys | sys | v
--| log | sys | v
--| memory | sys | v
--| partitions | sys | v
--| … 19 rows

--: case ODBC columns
select n.nspname, c.relname, a.attname, a.atttypid, t.typname, a.attnum, a.attlen, a.atttypmod, a.attnotnull, c.relhasrules, c.relkind, c.oid, pg_get_expr(d.adbin, d.adrelid), case t.typtype when 'd' then t.typbasetype else 0 end, t.typtypmod, 0, attidentity, c.relhassubclass from (((pg_catalog.pg_class c inner join pg_catalog.pg_namespace n on n.oid = c.relnamespace and c.relname = E'press' and n.nspname = E'public') inner join pg_catalog.pg_attribute a on (not a.attisdropped) and a.attnum > 0 and a.attrelid = c.oid) inner join pg_catalog.pg_type t on t.oid = a.atttypid) left outer join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum order by n.nspname, c.relname, attnum
--: differs int4 case here is oid case there
--: columns name nspname | name relname | name attname | oid atttypid | name typname | int2 attnum | int2 attlen | int4 atttypmod | bool attnotnull | bool relhasrules | char relkind | oid oid | text pg_get_expr | int4 case | int4 typtypmod | int4 ?column? | char attidentity | bool relhassubclass
--| public | press | time | 1184 | timestamptz | 1 | 8 | -1 | t | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | device | 25 | text | 2 | -1 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | site | 25 | text | 3 | -1 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | temperature | 701 | float8 | 4 | 8 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | strokes | 20 | int8 | 5 | 8 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | running | 16 | bool | 6 | 1 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f
--| public | press | note | 25 | text | 7 | -1 | -1 | f | f | r | {press} | ∅ | 0 | -1 | 0 |  | f

--: case ODBC primary keys
select ta.attname, ia.attnum, ic.relname, n.nspname, tc.relname from pg_catalog.pg_attribute ta, pg_catalog.pg_attribute ia, pg_catalog.pg_class tc, pg_catalog.pg_index i, pg_catalog.pg_namespace n, pg_catalog.pg_class ic where tc.relname = 'press' AND n.nspname = 'public' AND tc.oid = i.indrelid AND n.oid = tc.relnamespace AND i.indisprimary = 't' AND ia.attrelid = i.indexrelid AND ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum-1] AND (NOT ta.attisdropped) AND (NOT ia.attisdropped) AND ic.oid = i.indexrelid order by ia.attnum
--: columns name attname | int2 attnum | name relname | name nspname | name relname
--| device | 2 | press_pkey | public | press
--| site | 3 | press_pkey | public | press

--: case ODBC statistics
select c.relname, i.indkey, i.indisunique, i.indisclustered, a.amname, c.relhasrules, n.nspname, c.oid, 0, i.indoption from pg_catalog.pg_index i, pg_catalog.pg_class c, pg_catalog.pg_class d, pg_catalog.pg_am a, pg_catalog.pg_namespace n where d.relname = E'press' and n.nspname = E'public' and n.oid = d.relnamespace and d.oid = i.indrelid and i.indexrelid = c.oid and c.relam = a.oid order by i.indisprimary desc, i.indisunique, n.nspname, c.relname
--: columns name relname | int2vector indkey | bool indisunique | bool indisclustered | name amname | bool relhasrules | name nspname | oid oid | int4 ?column? | int2vector indoption
--| press_pkey | 2 3 1 | t | f | btree | f | public | {press_pkey} | 0 | 0 0 0

--: case sample
SELECT * FROM "public"."press" "press" LIMIT 1
--: columns timestamptz time | text device | text site | float8 temperature | int8 strokes | bool running | text note
--| 2024-01-01 00:00:00+00 | p1 | north | 71.5 | 12 | t | ∅

--: case aggregate
SELECT "press"."device" AS "device", SUM("press"."strokes") AS "sum:strokes:ok" FROM "public"."press" "press" GROUP BY 1
--: differs int8 sum:strokes:ok here is numeric sum:strokes:ok there
--: columns text device | int8 sum:strokes:ok
--| p1 | 25
--| p2 | 0

--: case date part
SELECT DATE_TRUNC( 'DAY', CAST("press"."time" AS TIMESTAMP) ) AS "tdy:time:ok", COUNT(1) AS "cnt" FROM "public"."press" "press" GROUP BY 1
--: columns timestamp tdy:time:ok | int8 cnt
--| 2024-01-01 00:00:00 | 3

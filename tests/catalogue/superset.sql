-- Apache Superset, beside what SQLAlchemy asks.

--: case current schema
select current_schema()
--: columns name current_schema
--| public

--: case schemas
SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY nspname
--: columns name nspname
--| information_schema
--| public
--| sys

--: case catalogs
SELECT datname FROM pg_database
WHERE NOT datistemplate AND datname = current_database()
--: columns name datname
--| millrace

--: case views
SELECT pg_catalog.pg_class.relname 
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['v', 'm']) AND pg_catalog.pg_namespace.nspname = 'public'
--: columns name relname
--| hot

--: case chart
SELECT DATE_TRUNC('minute', time) AS time,
       device AS device,
       AVG(temperature) AS "AVG(temperature)"
FROM public.press
WHERE time >= TO_TIMESTAMP('2024-01-01 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')
  AND time < TO_TIMESTAMP('2024-01-02 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')
GROUP BY DATE_TRUNC('minute', time),
         device
ORDER BY "AVG(temperature)" DESC
LIMIT 10000
--: columns timestamptz time | text device | float8 AVG(temperature)
--| 2024-01-01 00:01:00+00 | p1 | 84.25
--| 2024-01-01 00:00:00+00 | p1 | 71.5
--| 2024-01-01 00:00:00+00 | p2 | 20

--: case explain-free count
SELECT COUNT(*) AS count FROM (SELECT * FROM public.press) AS virtual_table LIMIT 50000
--: columns int8 count
--| 3

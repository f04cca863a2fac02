-- Grafana: its query editor, variables and panels.

--: case version
SELECT current_setting('server_version_num')::int/100 as version
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns int8 version
--| 1500

--: case TimescaleDB
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'
--: columns text extversion

--: case schemas
SELECT schema_name AS "name"
    FROM information_schema.schemata
    WHERE schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_toast', '_timescaledb_cache', '_timescaledb_catalog',
      '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental')
    ORDER BY schema_name
--: columns name name
--| public
--| sys

--: case tables
SELECT
    CASE WHEN quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
    ORDER BY CASE WHEN quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          ) THEN 0 ELSE 1 END, 1
--: columns text table
--| "Mixed Case"
--| hot
--| press
--| sys.backups
--| sys.continuous_aggregates
--| sys.cursors
--| sys.job_history
--| sys.jobs
--| sys.keys
--| sys.log
--| sys.memory
--| sys.partitions
--| … 19 rows

--: case tables of a schema
SELECT quote_ident(table_name) AS "table"
      FROM information_schema.tables
      WHERE quote_ident(table_schema) = 'public'
      ORDER BY 1
--: columns text table
--| "Mixed Case"
--| hot
--| press

--: case columns
SELECT quote_ident(column_name) AS "column", data_type AS "type"
    FROM information_schema.columns
    WHERE
      CASE WHEN array_length(parse_ident('press'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('press'))[1]
          AND quote_ident(table_name) = (parse_ident('press'))[2]
        ELSE quote_ident(table_name) = 'press'
          AND quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )
      END
--: columns text column | varchar type
--| device | text
--| note | text
--| running | boolean
--| site | text
--| strokes | bigint
--| temperature | double precision
--| time | timestamp with time zone

--: case time series
SELECT
  time AS "time", temperature
FROM press
WHERE time BETWEEN '2023-12-31T23:00:00Z' AND '2024-01-01T23:00:00Z'
ORDER BY 1
--: columns timestamptz time | float8 temperature
--| 2024-01-01 00:00:00+00 | 71.5
--| 2024-01-01 00:00:00+00 | 20
--| 2024-01-01 00:01:00+00 | 84.25

--: case grouped
SELECT
  floor(extract(epoch from time)/300)*300 AS "time", device AS metric, avg(temperature) AS "temperature"
FROM press
WHERE time BETWEEN '2023-12-31T23:00:00Z' AND '2024-01-01T23:00:00Z'
GROUP BY 1, 2
ORDER BY 1, 2
--: differs extract gives double precision
--: columns float8 time | text metric | float8 temperature
--| 1704067200 | p1 | 77.875
--| 1704067200 | p2 | 20

--: case variable
SELECT DISTINCT device FROM press ORDER BY device
--: columns text device
--| p1
--| p2

--: case health
SELECT 1
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns int8 ?column?
--| 1

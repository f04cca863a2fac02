-- Npgsql: types at the start, GetSchema; Power BI on top of it.

--: case types
SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
FROM (
    SELECT
        typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, typ.relkind,
        elemtyp.oid AS elemtypoid, elemtyp.typname AS elemtypname, elemcls.relkind AS elemrelkind,
        CASE WHEN elemproc.proname='array_recv' THEN 'a' ELSE elemtyp.typtype END AS elemtyptype
    FROM (
        SELECT typ.oid, typnamespace, typname, typrelid, typnotnull, relkind, typelem AS elemoid,
            CASE WHEN proc.proname='array_recv' THEN 'a' ELSE typ.typtype END AS typtype,
            CASE
                WHEN proc.proname='array_recv' THEN typ.typelem
                WHEN typ.typtype='r' THEN rngsubtype
                WHEN typ.typtype='m' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = typ.oid)
                WHEN typ.typtype='d' THEN typ.typbasetype
            END AS elemtypoid
        FROM pg_type AS typ
        LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
        LEFT JOIN pg_proc AS proc ON proc.oid = typ.typreceive
        LEFT JOIN pg_range ON (pg_range.rngtypid = typ.oid)
    ) AS typ
    LEFT JOIN pg_type AS elemtyp ON elemtyp.oid = elemtypoid
    LEFT JOIN pg_class AS elemcls ON (elemcls.oid = elemtyp.typrelid)
    LEFT JOIN pg_proc AS elemproc ON elemproc.oid = elemtyp.typreceive
) AS t
JOIN pg_namespace AS ns ON (ns.oid = typnamespace)
WHERE
    typtype IN ('b', 'r', 'm', 'e', 'd') OR
    (typtype = 'c' AND relkind='c') OR
    (typtype = 'p' AND typname IN ('record', 'void')) OR
    (typtype = 'a' AND (
        elemtyptype IN ('b', 'r', 'm', 'e', 'd') OR
        (elemtyptype = 'p' AND elemtypname IN ('record', 'void')) OR
        (elemtyptype = 'c' AND elemrelkind='c')
    ))
ORDER BY CASE
       WHEN typtype IN ('b', 'e', 'p') THEN 0
       WHEN typtype = 'r' THEN 1
       WHEN typtype = 'm' THEN 2
       WHEN typtype = 'c' THEN 3
       WHEN typtype = 'd' AND elemtyptype <> 'a' THEN 4
       WHEN typtype = 'a' THEN 5
       WHEN typtype = 'd' AND elemtyptype = 'a' THEN 6
END
--: differs text typtype here is char typtype there
--: columns name nspname | oid oid | name typname | text typtype | bool typnotnull | oid elemtypoid
--| pg_catalog | 2249 | record | p | f | ∅
--| pg_catalog | 1033 | aclitem | b | f | ∅
--| pg_catalog | 194 | pg_node_tree | b | f | ∅
--| pg_catalog | 114 | json | b | f | ∅
--| pg_catalog | 23 | int4 | b | f | ∅
--| pg_catalog | 20 | int8 | b | f | ∅
--| pg_catalog | 22 | int2vector | b | f | ∅
--| pg_catalog | 17 | bytea | b | f | ∅
--| pg_catalog | 25 | text | b | f | ∅
--| pg_catalog | 26 | oid | b | f | ∅
--| pg_catalog | 30 | oidvector | b | f | ∅
--| pg_catalog | 19 | name | b | f | ∅
--| … 87 rows

--: case composites
SELECT typ.oid, att.attname, att.atttypid
FROM pg_type AS typ
JOIN pg_namespace AS ns ON (ns.oid = typ.typnamespace)
JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
JOIN pg_attribute AS att ON (att.attrelid = typ.typrelid)
WHERE
  (typ.typtype = 'c' AND cls.relkind='c') AND
  attnum > 0 AND
  NOT attisdropped
ORDER BY typ.oid, att.attnum
--: columns oid oid | name attname | oid atttypid

--: case enums
SELECT pg_type.oid, enumlabel
FROM pg_enum
JOIN pg_type ON pg_type.oid=enumtypid
ORDER BY oid, enumsortorder
--: columns oid oid | name enumlabel

--: case databases
SELECT d.datname AS database_name, u.usename AS owner, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_user u ON d.datdba = u.usesysid WHERE d.datname = current_database()
--: columns name database_name | name owner | name encoding
--| millrace | admin | UTF8

--: case schemata
SELECT * FROM (SELECT catalog_name, schema_name, schema_owner FROM information_schema.schemata WHERE schema_name = 'public') tmp
--: columns name catalog_name | name schema_name | name schema_owner
--| millrace | public | admin

--: case tables
SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables WHERE table_type IN ('BASE TABLE', 'FOREIGN', 'FOREIGN TABLE') AND table_schema NOT IN ('pg_catalog', 'information_schema')
--: columns name table_catalog | name table_schema | name table_name | varchar table_type
--| millrace | public | Mixed Case | BASE TABLE
--| millrace | public | press | BASE TABLE

--: case columns
SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, udt_name::regtype::text AS data_type, character_maximum_length, character_octet_length, numeric_precision, numeric_precision_radix, numeric_scale, datetime_precision, character_set_catalog, character_set_schema, character_set_name, collation_catalog FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'press'
--: columns name table_catalog | name table_schema | name table_name | name column_name | int4 ordinal_position | varchar column_default | varchar is_nullable | text data_type | int4 character_maximum_length | int4 character_octet_length | int4 numeric_precision | int4 numeric_precision_radix | int4 numeric_scale | int4 datetime_precision | name character_set_catalog | name character_set_schema | name character_set_name | name collation_catalog
--| millrace | public | press | device | 2 | ∅ | YES | text | ∅ | 1073741824 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | note | 7 | ∅ | YES | text | ∅ | 1073741824 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | running | 6 | ∅ | YES | boolean | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | site | 3 | ∅ | YES | text | ∅ | 1073741824 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | strokes | 5 | ∅ | YES | bigint | ∅ | ∅ | 64 | 2 | 0 | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | temperature | 4 | ∅ | YES | double precision | ∅ | ∅ | 53 | 2 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| millrace | public | press | time | 1 | ∅ | NO | timestamp with time zone | ∅ | ∅ | ∅ | ∅ | ∅ | 6 | ∅ | ∅ | ∅ | ∅

--: case views
SELECT table_catalog, table_schema, table_name, check_option, is_updatable FROM information_schema.views WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
--: columns name table_catalog | name table_schema | name table_name | varchar check_option | varchar is_updatable
--| millrace | public | hot | NONE | NO

--: case users
SELECT usename as user_name, usesysid as user_sysid FROM pg_catalog.pg_user WHERE usename = 'nobody'
--: columns name user_name | oid user_sysid

--: case indexes
SELECT current_database() AS table_catalog,
    n.nspname AS table_schema,
    t.relname AS table_name,
    i.relname AS index_name,
    '' AS type_desc
FROM
    pg_catalog.pg_class i
    JOIN pg_catalog.pg_index ix ON ix.indexrelid = i.oid
    JOIN pg_catalog.pg_class t ON ix.indrelid = t.oid
    LEFT JOIN pg_catalog.pg_user u ON u.usesysid = i.relowner
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
WHERE
    i.relkind = 'i' AND
    n.nspname NOT IN ('pg_catalog', 'pg_toast') AND
    t.relkind = 'r'
ORDER BY 3
--: columns name table_catalog | name table_schema | name table_name | name index_name | text type_desc
--| millrace | public | Mixed Case | Mixed Case_pkey |
--| millrace | public | press | press_pkey |

--: case index columns
SELECT
    current_database() AS constraint_catalog,
    t_ns.nspname AS constraint_schema,
    ix_cls.relname AS constraint_name,
    current_database() AS table_catalog,
    ix_ns.nspname AS table_schema,
    t.relname AS table_name,
    a.attname AS column_name,
    a.attnum AS ordinal_position,
    ix_cls.relname AS index_name
FROM
    pg_class t
    JOIN pg_index ix ON t.oid = ix.indrelid
    JOIN pg_class ix_cls ON ix.indexrelid = ix_cls.oid
    JOIN pg_attribute a ON t.oid = a.attrelid
    LEFT JOIN pg_namespace t_ns ON t.relnamespace = t_ns.oid
    LEFT JOIN pg_namespace ix_ns ON ix_cls.relnamespace = ix_ns.oid
WHERE
    ix_cls.relkind = 'i' AND
    t_ns.nspname NOT IN ('pg_catalog', 'pg_toast') AND
    a.attnum = ANY(ix.indkey) AND
    t.relkind = 'r'
ORDER BY 6, 8
--: columns name constraint_catalog | name constraint_schema | name constraint_name | name table_catalog | name table_schema | name table_name | name column_name | int2 ordinal_position | name index_name
--| millrace | public | Mixed Case_pkey | millrace | public | Mixed Case | Time | 1 | Mixed Case_pkey
--| millrace | public | Mixed Case_pkey | millrace | public | Mixed Case | Key | 2 | Mixed Case_pkey
--| millrace | public | press_pkey | millrace | public | press | time | 1 | press_pkey
--| millrace | public | press_pkey | millrace | public | press | device | 2 | press_pkey
--| millrace | public | press_pkey | millrace | public | press | site | 3 | press_pkey

--: case constraints
SELECT
    current_database() AS "CONSTRAINT_CATALOG",
    pgn.nspname AS "CONSTRAINT_SCHEMA",
    pgc.conname AS "CONSTRAINT_NAME",
    current_database() AS "TABLE_CATALOG",
    pgtn.nspname AS "TABLE_SCHEMA",
    pgt.relname AS "TABLE_NAME",
    CASE pgc.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'f' THEN 'FOREIGN KEY' ELSE 'UNIQUE KEY' END AS "CONSTRAINT_TYPE",
    pgc.condeferrable AS "IS_DEFERRABLE",
    pgc.condeferred AS "INITIALLY_DEFERRED"
FROM
    pg_catalog.pg_constraint pgc
    JOIN pg_catalog.pg_namespace pgn ON pgc.connamespace = pgn.oid
    JOIN pg_catalog.pg_class pgt ON pgc.conrelid = pgt.oid
    JOIN pg_catalog.pg_namespace pgtn ON pgt.relnamespace = pgtn.oid
WHERE pgtn.nspname = 'public' ORDER BY 3
--: columns name CONSTRAINT_CATALOG | name CONSTRAINT_SCHEMA | name CONSTRAINT_NAME | name TABLE_CATALOG | name TABLE_SCHEMA | name TABLE_NAME | text CONSTRAINT_TYPE | bool IS_DEFERRABLE | bool INITIALLY_DEFERRED
--| millrace | public | Mixed Case_pkey | millrace | public | Mixed Case | PRIMARY KEY | f | f
--| millrace | public | press_pkey | millrace | public | press | PRIMARY KEY | f | f

--: case Power BI tables
select TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE
from INFORMATION_SCHEMA.tables
where TABLE_SCHEMA not in ('information_schema', 'pg_catalog')
order by TABLE_SCHEMA, TABLE_NAME
--: columns name table_schema | name table_name | varchar table_type
--| public | Mixed Case | BASE TABLE
--| public | hot | VIEW
--| public | press | BASE TABLE
--| sys | backups | VIEW
--| sys | continuous_aggregates | VIEW
--| sys | cursors | VIEW
--| sys | job_history | VIEW
--| sys | jobs | VIEW
--| sys | keys | VIEW
--| sys | log | VIEW
--| sys | memory | VIEW
--| sys | partitions | VIEW
--| … 19 rows

--: case Power BI columns
select COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, case when (data_type like '%unsigned%') then DATA_TYPE || ' unsigned' else DATA_TYPE end as DATA_TYPE from INFORMATION_SCHEMA.columns where TABLE_SCHEMA = 'public' and TABLE_NAME = 'press' order by TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION
--: differs text data_type here is varchar data_type there
--: columns name column_name | int4 ordinal_position | varchar is_nullable | text data_type
--| time | 1 | NO | timestamp with time zone
--| device | 2 | YES | text
--| site | 3 | YES | text
--| temperature | 4 | YES | double precision
--| strokes | 5 | YES | bigint
--| running | 6 | YES | boolean
--| note | 7 | YES | text

--: case Power BI encoding
select character_set_name from INFORMATION_SCHEMA.character_sets
--: columns name character_set_name
--| UTF8

--: case Power BI foreign keys
select
    pkcol.COLUMN_NAME as PK_COLUMN_NAME,
    fkcol.TABLE_SCHEMA AS FK_TABLE_SCHEMA,
    fkcol.TABLE_NAME AS FK_TABLE_NAME,
    fkcol.COLUMN_NAME as FK_COLUMN_NAME,
    fkcol.ORDINAL_POSITION as ORDINAL,
    fkcon.CONSTRAINT_SCHEMA || '_' || fkcol.TABLE_NAME || '_' || 'press' || '_' || fkcon.CONSTRAINT_NAME as FK_NAME
from
    (select distinct constraint_catalog, constraint_schema, unique_constraint_schema, constraint_name, unique_constraint_name
        from INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS) fkcon
        inner join
    INFORMATION_SCHEMA.KEY_COLUMN_USAGE fkcol
        on fkcon.CONSTRAINT_SCHEMA = fkcol.CONSTRAINT_SCHEMA
        and fkcon.CONSTRAINT_NAME = fkcol.CONSTRAINT_NAME
        inner join
    INFORMATION_SCHEMA.KEY_COLUMN_USAGE pkcol
        on fkcon.UNIQUE_CONSTRAINT_SCHEMA = pkcol.CONSTRAINT_SCHEMA
        and fkcon.UNIQUE_CONSTRAINT_NAME = pkcol.CONSTRAINT_NAME
where pkcol.TABLE_SCHEMA = 'public' and pkcol.TABLE_NAME = 'press'
        and pkcol.ORDINAL_POSITION = fkcol.ORDINAL_POSITION
order by FK_NAME, fkcol.ORDINAL_POSITION
--: columns name pk_column_name | name fk_table_schema | name fk_table_name | name fk_column_name | int4 ordinal | text fk_name

--: case Power BI keys
select i.CONSTRAINT_SCHEMA || '_' || i.CONSTRAINT_NAME as INDEX_NAME, ii.COLUMN_NAME, ii.ORDINAL_POSITION, case when i.CONSTRAINT_TYPE = 'PRIMARY KEY' then 'Y' else 'N' end as PRIMARY_KEY
from INFORMATION_SCHEMA.table_constraints i inner join INFORMATION_SCHEMA.key_column_usage ii on i.CONSTRAINT_SCHEMA = ii.CONSTRAINT_SCHEMA and i.CONSTRAINT_NAME = ii.CONSTRAINT_NAME and i.TABLE_SCHEMA = ii.TABLE_SCHEMA and i.TABLE_NAME = ii.TABLE_NAME
where i.TABLE_SCHEMA = 'public' and i.TABLE_NAME = 'press'
and i.CONSTRAINT_TYPE in ('PRIMARY KEY', 'UNIQUE')
order by i.CONSTRAINT_SCHEMA || '_' || i.CONSTRAINT_NAME, ii.TABLE_SCHEMA, ii.TABLE_NAME, ii.ORDINAL_POSITION
--: columns text index_name | name column_name | int4 ordinal_position | text primary_key
--| public_press_pkey | device | 1 | Y
--| public_press_pkey | site | 2 | Y
--| public_press_pkey | time | 3 | Y

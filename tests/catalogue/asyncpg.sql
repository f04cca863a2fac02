-- asyncpg: introspection of types, and SQLAlchemy over it.

--: case sqlalchemy asyncpg
select pg_catalog.version()
--: varies
--: columns text version

--: case sqlalchemy asyncpg (2)
select current_schema()
--: columns name current_schema
--| public

--: case sqlalchemy asyncpg (3)
SELECT pg_catalog.pg_class.relname 
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR, $2::VARCHAR]) AND pg_catalog.pg_class.relpersistence != $3::CHAR AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $4::VARCHAR
--: param 'r'
--: param 'p'
--: param 't'
--: param 'pg_catalog'
--: columns name relname
--| Mixed Case
--| press

--: case sqlalchemy asyncpg (4)
SELECT pg_catalog.pg_class.relname 
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR]) AND pg_catalog.pg_class.relpersistence != $2::CHAR AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $3::VARCHAR
--: param 'v'
--: param 't'
--: param 'pg_catalog'
--: columns name relname
--| hot

--: case sqlalchemy asyncpg (5)
SELECT pg_catalog.pg_attribute.attname AS name, pg_catalog.format_type(pg_catalog.pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type, CASE WHEN pg_catalog.pg_attribute.atthasdef THEN (SELECT pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS pg_get_expr_1 
FROM pg_catalog.pg_attrdef 
WHERE pg_catalog.pg_attribute.atthasdef AND pg_catalog.pg_attrdef.adrelid = pg_catalog.pg_attribute.attrelid AND pg_catalog.pg_attrdef.adnum = pg_catalog.pg_attribute.attnum) ELSE NULL END AS "default", pg_catalog.pg_attribute.attnotnull AS not_null, pg_catalog.pg_class.relname AS table_name, pg_catalog.pg_description.description AS comment, pg_catalog.pg_attribute.attgenerated AS generated, CASE WHEN (pg_catalog.pg_attribute.attidentity != $1::CHAR) THEN (SELECT json_build_object($2::VARCHAR, pg_catalog.pg_attribute.attidentity = $3::CHAR, $4::VARCHAR, pg_catalog.pg_sequence.seqstart, $5::VARCHAR, pg_catalog.pg_sequence.seqincrement, $6::VARCHAR, pg_catalog.pg_sequence.seqmin, $7::VARCHAR, pg_catalog.pg_sequence.seqmax, $8::VARCHAR, pg_catalog.pg_sequence.seqcache, $9::VARCHAR, pg_catalog.pg_sequence.seqcycle) AS json_build_object_1 
FROM pg_catalog.pg_sequence 
WHERE pg_catalog.pg_attribute.attidentity != $10::CHAR AND pg_catalog.pg_sequence.seqrelid = CAST(CAST(pg_catalog.pg_get_serial_sequence(CAST(CAST(pg_catalog.pg_attribute.attrelid AS REGCLASS) AS TEXT), pg_catalog.pg_attribute.attname) AS REGCLASS) AS OID)) ELSE NULL END AS identity_options, CASE WHEN (pg_catalog.pg_attribute.attcollation != $11::INTEGER AND (SELECT pg_catalog.pg_type.typcollation 
FROM pg_catalog.pg_type 
WHERE pg_catalog.pg_type.oid = pg_catalog.pg_attribute.atttypid) != pg_catalog.pg_attribute.attcollation) THEN (SELECT json_build_object($12::VARCHAR, pg_catalog.pg_collation.collname, $13::VARCHAR, CASE WHEN pg_catalog.pg_collation_is_visible(pg_catalog.pg_collation.oid) THEN NULL ELSE pg_catalog.pg_namespace.nspname END) AS json_build_object_9 
FROM pg_catalog.pg_collation JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_collation.collnamespace 
WHERE pg_catalog.pg_collation.oid = pg_catalog.pg_attribute.attcollation) ELSE NULL END AS collation 
FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_class.oid = pg_catalog.pg_attribute.attrelid AND pg_catalog.pg_attribute.attnum > $14::SMALLINT AND NOT pg_catalog.pg_attribute.attisdropped LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_attribute.attrelid AND pg_catalog.pg_description.objsubid = pg_catalog.pg_attribute.attnum JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$15::VARCHAR, $16::VARCHAR, $17::VARCHAR, $18::VARCHAR, $19::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $20::VARCHAR AND pg_catalog.pg_class.relname IN ($21::VARCHAR, $22::VARCHAR, $23::VARCHAR) ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_attribute.attnum
--: param ''
--: param 'always'
--: param 'a'
--: param 'start'
--: param 'increment'
--: param 'minvalue'
--: param 'maxvalue'
--: param 'cache'
--: param 'cycle'
--: param ''
--: param '0'
--: param 'name'
--: param 'schema'
--: param '0'
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: differs text identity_options here is json identity_options there; text collation here is json collation there
--: columns name name | text format_type | text default | bool not_null | name table_name | text comment | char generated | json identity_options | text collation
--| Time | timestamp with time zone | ∅ | t | Mixed Case | ∅ |  | ∅ | ∅
--| Key | text | ∅ | f | Mixed Case | ∅ |  | ∅ | ∅
--| small | smallint | ∅ | f | Mixed Case | ∅ |  | ∅ | ∅
--| number | integer | ∅ | f | Mixed Case | ∅ |  | ∅ | ∅
--| ratio | real | ∅ | f | Mixed Case | ∅ |  | ∅ | ∅
--| time | timestamp with time zone | ∅ | f | hot | ∅ |  | ∅ | ∅
--| device | text | ∅ | f | hot | ∅ |  | ∅ | ∅
--| temperature | double precision | ∅ | f | hot | ∅ |  | ∅ | ∅
--| time | timestamp with time zone | ∅ | t | press | ∅ |  | ∅ | ∅
--| device | text | ∅ | f | press | ∅ |  | ∅ | ∅
--| site | text | ∅ | f | press | ∅ |  | ∅ | ∅
--| temperature | double precision | ∅ | f | press | Degrees Celsius |  | ∅ | ∅
--| … 15 rows

--: case sqlalchemy asyncpg (6)
SELECT pg_catalog.pg_class.oid, pg_catalog.pg_class.relname 
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$1::VARCHAR, $2::VARCHAR, $3::VARCHAR, $4::VARCHAR, $5::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $6::VARCHAR AND pg_catalog.pg_class.relname IN ($7::VARCHAR, $8::VARCHAR, $9::VARCHAR)
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: columns oid oid | name relname
--| {Mixed Case} | Mixed Case
--| {hot} | hot
--| {press} | press

--: case sqlalchemy asyncpg (7)
SELECT attr.conrelid, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord) AS cols, attr.conname, min(attr.description) AS description, min(attr.indnkeyatts) AS indnkeyatts, bool_and(attr.indnullsnotdistinct) AS indnullsnotdistinct 
FROM (SELECT con.conrelid AS conrelid, con.conname AS conname, con.description AS description, con.ord AS ord, con.indnkeyatts AS indnkeyatts, con.indnullsnotdistinct AS indnullsnotdistinct, pg_catalog.pg_attribute.attname AS attname 
FROM pg_catalog.pg_attribute JOIN (SELECT pg_catalog.pg_constraint.conrelid AS conrelid, pg_catalog.pg_constraint.conname AS conname, unnest(pg_catalog.pg_index.indkey) AS attnum, generate_subscripts(pg_catalog.pg_index.indkey, $1::INTEGER) AS ord, pg_catalog.pg_index.indnkeyatts AS indnkeyatts, pg_catalog.pg_index.indnullsnotdistinct AS indnullsnotdistinct, pg_catalog.pg_description.description AS description 
FROM pg_catalog.pg_constraint JOIN pg_catalog.pg_index ON pg_catalog.pg_constraint.conindid = pg_catalog.pg_index.indexrelid LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid AND pg_catalog.pg_description.classoid = CAST($2::REGCLASS AS REGCLASS) 
WHERE pg_catalog.pg_constraint.contype = $3::CHAR AND pg_catalog.pg_constraint.conrelid IN ($4::OID, $5::OID, $6::OID)) AS con ON pg_catalog.pg_attribute.attnum = con.attnum AND pg_catalog.pg_attribute.attrelid = con.conrelid 
WHERE con.conrelid IN ($4::OID, $5::OID, $6::OID)) AS attr GROUP BY attr.conrelid, attr.conname ORDER BY attr.conrelid, attr.conname
--: param '1'
--: param 'pg_constraint'
--: param 'p'
--: param '{press}'
--: param '{Mixed Case}'
--: param '{hot}'
--: columns oid conrelid | _text cols | name conname | text description | int2 indnkeyatts | bool indnullsnotdistinct
--| {press} | {device,site,time} | press_pkey | ∅ | 3 | f
--| {Mixed Case} | {Key,Time} | Mixed Case_pkey | ∅ | 2 | f

--: case sqlalchemy asyncpg (8)
SELECT pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname, CASE WHEN (pg_catalog.pg_constraint.oid IS NOT NULL) THEN pg_catalog.pg_get_constraintdef(pg_catalog.pg_constraint.oid, $1::BOOLEAN) END AS anon_1, nsp_ref.nspname, pg_catalog.pg_description.description 
FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_class.oid = pg_catalog.pg_constraint.conrelid AND pg_catalog.pg_constraint.contype = $2::CHAR LEFT OUTER JOIN pg_catalog.pg_class AS cls_ref ON cls_ref.oid = pg_catalog.pg_constraint.confrelid LEFT OUTER JOIN pg_catalog.pg_namespace AS nsp_ref ON cls_ref.relnamespace = nsp_ref.oid LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid AND pg_catalog.pg_description.classoid = CAST($3::REGCLASS AS REGCLASS) JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$4::VARCHAR, $5::VARCHAR, $6::VARCHAR, $7::VARCHAR, $8::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $9::VARCHAR AND pg_catalog.pg_class.relname IN ($10::VARCHAR, $11::VARCHAR, $12::VARCHAR) ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname
--: param 't'
--: param 'f'
--: param 'pg_constraint'
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: columns name relname | name conname | text anon_1 | name nspname | text description
--| Mixed Case | ∅ | ∅ | ∅ | ∅
--| hot | ∅ | ∅ | ∅ | ∅
--| press | ∅ | ∅ | ∅ | ∅

--: case sqlalchemy asyncpg (9)
SELECT pg_catalog.pg_am.oid, pg_catalog.pg_am.amname 
FROM pg_catalog.pg_am 
WHERE pg_catalog.pg_am.amname = $1::VARCHAR
--: param 'btree'
--: columns oid oid | name amname
--| 403 | btree

--: case sqlalchemy asyncpg (10)
SELECT pg_catalog.pg_opclass.oid, pg_catalog.pg_opclass.opcname 
FROM pg_catalog.pg_opclass 
WHERE NOT pg_catalog.pg_opclass.opcdefault
--: columns oid oid | name opcname

--: case sqlalchemy asyncpg (11)
SELECT
                        current_setting('jit') AS cur,
                        set_config('jit', 'off', false) AS new
--: columns text cur | text new
--| off | off

--: case sqlalchemy asyncpg (12)
WITH RECURSIVE typeinfo_tree(
    oid, ns, name, kind, basetype, elemtype, elemdelim,
    range_subtype, attrtypoids, attrnames, depth)
AS (
    SELECT
        ti.oid, ti.ns, ti.name, ti.kind, ti.basetype,
        ti.elemtype, ti.elemdelim, ti.range_subtype,
        ti.attrtypoids, ti.attrnames, 0
    FROM
            (
        SELECT
            t.oid                           AS oid,
            ns.nspname                      AS ns,
            t.typname                       AS name,
            t.typtype                       AS kind,
            (CASE WHEN t.typtype = 'd' THEN
                (WITH RECURSIVE typebases(oid, depth) AS (
                    SELECT
                        t2.typbasetype      AS oid,
                        0                   AS depth
                    FROM
                        pg_type t2
                    WHERE
                        t2.oid = t.oid
                    UNION ALL
                    SELECT
                        t2.typbasetype      AS oid,
                        tb.depth + 1        AS depth
                    FROM
                        pg_type t2,
                        typebases tb
                    WHERE
                       tb.oid = t2.oid
                       AND t2.typbasetype != 0
               ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1)
               ELSE NULL
            END)                            AS basetype,
            t.typelem                       AS elemtype,
            elem_t.typdelim                 AS elemdelim,
            COALESCE(
                range_t.rngsubtype,
                multirange_t.rngsubtype)    AS range_subtype,
            (CASE WHEN t.typtype = 'c' THEN
                (SELECT
                    array_agg(ia.atttypid ORDER BY ia.attnum)
                FROM
                    pg_attribute ia
                    INNER JOIN pg_class c
                        ON (ia.attrelid = c.oid)
                WHERE
                    ia.attnum > 0 AND NOT ia.attisdropped
                    AND c.reltype = t.oid)
                ELSE NULL
            END)                            AS attrtypoids,
            (CASE WHEN t.typtype = 'c' THEN
                (SELECT
                    array_agg(ia.attname::text ORDER BY ia.attnum)
                FROM
                    pg_attribute ia
                    INNER JOIN pg_class c
                        ON (ia.attrelid = c.oid)
                WHERE
                    ia.attnum > 0 AND NOT ia.attisdropped
                    AND c.reltype = t.oid)
                ELSE NULL
            END)                            AS attrnames
        FROM
            pg_catalog.pg_type AS t
            INNER JOIN pg_catalog.pg_namespace ns ON (
                ns.oid = t.typnamespace)
            LEFT JOIN pg_type elem_t ON (
                t.typlen = -1 AND
                t.typelem != 0 AND
                t.typelem = elem_t.oid
            )
            LEFT JOIN pg_range range_t ON (
                t.oid = range_t.rngtypid
            )
            LEFT JOIN pg_range multirange_t ON (
                t.oid = multirange_t.rngmultitypid
            )
    )
 AS ti
    WHERE
        ti.oid = any($1::oid[])
    UNION ALL
    SELECT
        ti.oid, ti.ns, ti.name, ti.kind, ti.basetype,
        ti.elemtype, ti.elemdelim, ti.range_subtype,
        ti.attrtypoids, ti.attrnames, tt.depth + 1
    FROM
            (
        SELECT
            t.oid                           AS oid,
            ns.nspname                      AS ns,
            t.typname                       AS name,
            t.typtype                       AS kind,
            (CASE WHEN t.typtype = 'd' THEN
                (WITH RECURSIVE typebases(oid, depth) AS (
                    SELECT
                        t2.typbasetype      AS oid,
                        0                   AS depth
                    FROM
                        pg_type t2
                    WHERE
                        t2.oid = t.oid
                    UNION ALL
                    SELECT
                        t2.typbasetype      AS oid,
                        tb.depth + 1        AS depth
                    FROM
                        pg_type t2,
                        typebases tb
                    WHERE
                       tb.oid = t2.oid
                       AND t2.typbasetype != 0
               ) SELECT oid FROM typebases ORDER BY depth DESC LIMIT 1)
               ELSE NULL
            END)                            AS basetype,
            t.typelem                       AS elemtype,
            elem_t.typdelim                 AS elemdelim,
            COALESCE(
                range_t.rngsubtype,
                multirange_t.rngsubtype)    AS range_subtype,
            (CASE WHEN t.typtype = 'c' THEN
                (SELECT
                    array_agg(ia.atttypid ORDER BY ia.attnum)
                FROM
                    pg_attribute ia
                    INNER JOIN pg_class c
                        ON (ia.attrelid = c.oid)
                WHERE
                    ia.attnum > 0 AND NOT ia.attisdropped
                    AND c.reltype = t.oid)
                ELSE NULL
            END)                            AS attrtypoids,
            (CASE WHEN t.typtype = 'c' THEN
                (SELECT
                    array_agg(ia.attname::text ORDER BY ia.attnum)
                FROM
                    pg_attribute ia
                    INNER JOIN pg_class c
                        ON (ia.attrelid = c.oid)
                WHERE
                    ia.attnum > 0 AND NOT ia.attisdropped
                    AND c.reltype = t.oid)
                ELSE NULL
            END)                            AS attrnames
        FROM
            pg_catalog.pg_type AS t
            INNER JOIN pg_catalog.pg_namespace ns ON (
                ns.oid = t.typnamespace)
            LEFT JOIN pg_type elem_t ON (
                t.typlen = -1 AND
                t.typelem != 0 AND
                t.typelem = elem_t.oid
            )
            LEFT JOIN pg_range range_t ON (
                t.oid = range_t.rngtypid
            )
            LEFT JOIN pg_range multirange_t ON (
                t.oid = multirange_t.rngmultitypid
            )
    )
 ti,
        typeinfo_tree tt
    WHERE
        (tt.elemtype IS NOT NULL AND ti.oid = tt.elemtype)
        OR (tt.attrtypoids IS NOT NULL AND ti.oid = any(tt.attrtypoids))
        OR (tt.range_subtype IS NOT NULL AND ti.oid = tt.range_subtype)
        OR (tt.basetype IS NOT NULL AND ti.oid = tt.basetype)
)
SELECT DISTINCT
    *,
    basetype::regtype::text AS basetype_name,
    elemtype::regtype::text AS elemtype_name,
    range_subtype::regtype::text AS range_subtype_name
FROM
    typeinfo_tree
ORDER BY
    depth DESC
--: param '{1000,1016,22}'
--: differs text basetype here is oid basetype there; int4 range_subtype here is oid range_subtype there; whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns oid oid | name ns | name name | char kind | text basetype | oid elemtype | char elemdelim | int4 range_subtype | _oid attrtypoids | _text attrnames | int8 depth | text basetype_name | text elemtype_name | text range_subtype_name
--| 16 | pg_catalog | bool | b | ∅ | 0 | ∅ | ∅ | ∅ | ∅ | 1 | ∅ | - | ∅
--| 20 | pg_catalog | int8 | b | ∅ | 0 | ∅ | ∅ | ∅ | ∅ | 1 | ∅ | - | ∅
--| 21 | pg_catalog | int2 | b | ∅ | 0 | ∅ | ∅ | ∅ | ∅ | 1 | ∅ | - | ∅
--| 1000 | pg_catalog | _bool | b | ∅ | 16 | , | ∅ | ∅ | ∅ | 0 | ∅ | boolean | ∅
--| 1016 | pg_catalog | _int8 | b | ∅ | 20 | , | ∅ | ∅ | ∅ | 0 | ∅ | bigint | ∅
--| 22 | pg_catalog | int2vector | b | ∅ | 21 | , | ∅ | ∅ | ∅ | 0 | ∅ | smallint | ∅

--: case sqlalchemy asyncpg (13)
SELECT
                    set_config('jit', $1, false)
--: param 'on'
--: columns text set_config
--| on

--: case sqlalchemy asyncpg (14)
SELECT pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname, pg_catalog.pg_index.indisunique, pg_catalog.pg_index.indisvalid, pg_catalog.pg_constraint.conrelid IS NOT NULL AS has_constraint, pg_catalog.pg_index.indoption, pg_catalog.pg_class.reloptions, pg_catalog.pg_class.relam, CASE WHEN (pg_catalog.pg_index.indpred IS NOT NULL) THEN pg_catalog.pg_get_expr(pg_catalog.pg_index.indpred, pg_catalog.pg_index.indrelid) END AS filter_definition, pg_catalog.pg_index.indnkeyatts, pg_catalog.pg_index.indnullsnotdistinct, idx_cols.elements, idx_cols.elements_is_expr, idx_cols.elements_opclass 
FROM pg_catalog.pg_index JOIN pg_catalog.pg_class ON pg_catalog.pg_index.indexrelid = pg_catalog.pg_class.oid LEFT OUTER JOIN (SELECT idx_attr.indexrelid AS indexrelid, min(idx_attr.indrelid) AS min_1, array_agg(idx_attr.element ORDER BY idx_attr.ord) AS elements, array_agg(idx_attr.is_expr ORDER BY idx_attr.ord) AS elements_is_expr, array_agg(idx_attr.att_opclass ORDER BY idx_attr.ord) AS elements_opclass 
FROM (SELECT idx.indexrelid AS indexrelid, idx.indrelid AS indrelid, idx.ord AS ord, CASE WHEN (idx.attnum = $1::INTEGER) THEN pg_catalog.pg_get_indexdef(idx.indexrelid, idx.ord + $2::INTEGER, $3::BOOLEAN) ELSE CAST(pg_catalog.pg_attribute.attname AS TEXT) END AS element, idx.attnum = $4::INTEGER AS is_expr, CAST(idx.att_opclass AS BIGINT) AS att_opclass 
FROM (SELECT pg_catalog.pg_index.indexrelid AS indexrelid, pg_catalog.pg_index.indrelid AS indrelid, unnest(pg_catalog.pg_index.indkey) AS attnum, unnest(pg_catalog.pg_index.indclass) AS att_opclass, generate_subscripts(pg_catalog.pg_index.indkey, $5::INTEGER) AS ord 
FROM pg_catalog.pg_index 
WHERE NOT pg_catalog.pg_index.indisprimary AND pg_catalog.pg_index.indrelid IN ($9::OID, $10::OID, $11::OID)) AS idx LEFT OUTER JOIN pg_catalog.pg_attribute ON pg_catalog.pg_attribute.attnum = idx.attnum AND pg_catalog.pg_attribute.attrelid = idx.indrelid 
WHERE idx.indrelid IN ($9::OID, $10::OID, $11::OID)) AS idx_attr GROUP BY idx_attr.indexrelid) AS idx_cols ON pg_catalog.pg_index.indexrelid = idx_cols.indexrelid LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_index.indrelid = pg_catalog.pg_constraint.conrelid AND pg_catalog.pg_index.indexrelid = pg_catalog.pg_constraint.conindid AND pg_catalog.pg_constraint.contype = ANY (ARRAY[$6::VARCHAR, $7::VARCHAR, $8::VARCHAR]) 
WHERE pg_catalog.pg_index.indrelid IN ($9::OID, $10::OID, $11::OID) AND NOT pg_catalog.pg_index.indisprimary ORDER BY pg_catalog.pg_index.indrelid, pg_catalog.pg_class.relname
--: param '0'
--: param '1'
--: param 't'
--: param '0'
--: param '1'
--: param 'p'
--: param 'u'
--: param 'x'
--: param '{press}'
--: param '{Mixed Case}'
--: param '{hot}'
--: columns oid indrelid | name relname | bool indisunique | bool indisvalid | bool has_constraint | int2vector indoption | _text reloptions | oid relam | text filter_definition | int2 indnkeyatts | bool indnullsnotdistinct | _text elements | _bool elements_is_expr | _int8 elements_opclass

--: case sqlalchemy asyncpg (15)
SELECT pg_catalog.pg_class.relname, pg_catalog.pg_description.description 
FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_class.oid = pg_catalog.pg_description.objoid AND pg_catalog.pg_description.objsubid = $1::INTEGER AND pg_catalog.pg_description.classoid = CAST($2::REGCLASS AS REGCLASS) JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$3::VARCHAR, $4::VARCHAR, $5::VARCHAR, $6::VARCHAR, $7::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $8::VARCHAR AND pg_catalog.pg_class.relname IN ($9::VARCHAR, $10::VARCHAR, $11::VARCHAR)
--: param '0'
--: param 'pg_class'
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: columns name relname | text description
--| Mixed Case | ∅
--| hot | Presses that are too hot
--| press | Presses of hall one

--: case sqlalchemy asyncpg (16)
SELECT pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname, CASE WHEN (pg_catalog.pg_constraint.oid IS NOT NULL) THEN pg_catalog.pg_get_constraintdef(pg_catalog.pg_constraint.oid, $1::BOOLEAN) END AS anon_1, pg_catalog.pg_description.description 
FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_constraint ON pg_catalog.pg_class.oid = pg_catalog.pg_constraint.conrelid AND pg_catalog.pg_constraint.contype = $2::CHAR LEFT OUTER JOIN pg_catalog.pg_description ON pg_catalog.pg_description.objoid = pg_catalog.pg_constraint.oid AND pg_catalog.pg_description.classoid = CAST($3::REGCLASS AS REGCLASS) JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$4::VARCHAR, $5::VARCHAR, $6::VARCHAR, $7::VARCHAR, $8::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $9::VARCHAR AND pg_catalog.pg_class.relname IN ($10::VARCHAR, $11::VARCHAR, $12::VARCHAR) ORDER BY pg_catalog.pg_class.relname, pg_catalog.pg_constraint.conname
--: param 't'
--: param 'c'
--: param 'pg_constraint'
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: columns name relname | name conname | text anon_1 | text description
--| Mixed Case | ∅ | ∅ | ∅
--| hot | ∅ | ∅ | ∅
--| press | ∅ | ∅ | ∅

--: case sqlalchemy asyncpg (17)
SELECT pg_catalog.pg_class.oid, pg_catalog.pg_class.relname, pg_catalog.pg_class.reloptions, NULL AS relhasoids, CASE WHEN (pg_catalog.pg_am.amname IS NOT NULL AND pg_catalog.pg_am.amname != current_setting($1::VARCHAR)) THEN pg_catalog.pg_am.amname ELSE NULL END AS access_method_name, pg_catalog.pg_tablespace.spcname AS tablespace_name, inherits.parent_table_names 
FROM pg_catalog.pg_class LEFT OUTER JOIN pg_catalog.pg_am ON pg_catalog.pg_class.relam = pg_catalog.pg_am.oid LEFT OUTER JOIN (SELECT pg_catalog.pg_inherits.inhrelid AS inhrelid, array_agg(pg_catalog.pg_class.relname ORDER BY pg_catalog.pg_inherits.inhseqno) AS parent_table_names 
FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class ON pg_catalog.pg_inherits.inhparent = pg_catalog.pg_class.oid GROUP BY pg_catalog.pg_inherits.inhrelid) AS inherits ON pg_catalog.pg_class.oid = inherits.inhrelid LEFT OUTER JOIN pg_catalog.pg_tablespace ON pg_catalog.pg_tablespace.oid = pg_catalog.pg_class.reltablespace JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace 
WHERE pg_catalog.pg_class.relkind = ANY (ARRAY[$2::VARCHAR, $3::VARCHAR, $4::VARCHAR, $5::VARCHAR, $6::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != $7::VARCHAR AND pg_catalog.pg_class.relname IN ($8::VARCHAR, $9::VARCHAR, $10::VARCHAR)
--: param 'default_table_access_method'
--: param 'r'
--: param 'p'
--: param 'f'
--: param 'v'
--: param 'm'
--: param 'pg_catalog'
--: param 'press'
--: param 'Mixed Case'
--: param 'hot'
--: differs arrays of names are arrays of texts
--: columns oid oid | name relname | _text reloptions | text relhasoids | name access_method_name | name tablespace_name | _text parent_table_names
--| {Mixed Case} | Mixed Case | {"partition_by=86400 seconds",merge=last_non_null} | ∅ | ∅ | ∅ | ∅
--| {press} | press | {"partition_by=86400 seconds",merge=last_non_null} | ∅ | ∅ | ∅ | ∅
--| {hot} | hot | ∅ | ∅ | ∅ | ∅ | ∅

--: case asyncpg
SELECT * FROM press WHERE time > $1
--: param '2020-01-01 00:00:00+00'
--: columns timestamptz time | text device | text site | float8 temperature | int8 strokes | bool running | text note
--| 2024-01-01 00:00:00+00 | p1 | north | 71.5 | 12 | t | ∅
--| 2024-01-01 00:00:00+00 | p2 | south | 20 | 0 | f | ∅
--| 2024-01-01 00:01:00+00 | p1 | north | 84.25 | 13 | t | hot

--: case asyncpg (2)
SELECT $1::text[], $2::timestamptz[], array_agg(device) FROM press
--: param '{a}'
--: param '{}'
--: columns _text text | _timestamptz timestamptz | _text array_agg
--| {a} | {} | {p1,p1,p2}

--: case asyncpg (3)
SELECT '5'::regclass, 1::oid, relkind, relacl FROM pg_class
--: columns regclass regclass | oid oid | char relkind | _aclitem relacl
--| 5 | 1 | i | ∅
--| 5 | 1 | i | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| 5 | 1 | r | ∅
--| … 229 rows

--: case asyncpg (4)
SELECT indkey, indoption FROM pg_index
--: columns int2vector indkey | int2vector indoption
--| 2 1 | 0 0
--| 2 3 1 | 0 0 0

--: case asyncpg (5)
SELECT * FROM pg_type limit 3
--: columns oid oid | name typname | oid typnamespace | oid typowner | int2 typlen | bool typbyval | char typtype | char typcategory | bool typispreferred | bool typisdefined | char typdelim | oid typrelid | regproc typsubscript | oid typelem | oid typarray | regproc typinput | regproc typoutput | regproc typreceive | regproc typsend | regproc typmodin | regproc typmodout | regproc typanalyze | char typalign | char typstorage | bool typnotnull | oid typbasetype | int4 typtypmod | int4 typndims | oid typcollation | pg_node_tree typdefaultbin | text typdefault | _aclitem typacl
--| 16 | bool | 11 | 10 | 1 | t | b | B | t | t | , | 0 | - | 0 | 1000 | boolin | boolout | boolrecv | boolsend | - | - | - | c | p | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅
--| 17 | bytea | 11 | 10 | -1 | f | b | U | f | t | , | 0 | - | 0 | 1001 | byteain | byteaout | bytearecv | byteasend | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅
--| 18 | char | 11 | 10 | 1 | t | b | Z | f | t | , | 0 | - | 0 | 1002 | charin | charout | charrecv | charsend | - | - | - | c | p | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅

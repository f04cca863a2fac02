-- pgjdbc 42.5: DatabaseMetaData, and what results ask.

--: case getTables
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME,  CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema'  WHEN true THEN CASE  WHEN n.nspname = 'pg_catalog' OR n.nspname = 'information_schema' THEN CASE c.relkind   WHEN 'r' THEN 'SYSTEM TABLE'   WHEN 'v' THEN 'SYSTEM VIEW'   WHEN 'i' THEN 'SYSTEM INDEX'   ELSE NULL   END  WHEN n.nspname = 'pg_toast' THEN CASE c.relkind   WHEN 'r' THEN 'SYSTEM TOAST TABLE'   WHEN 'i' THEN 'SYSTEM TOAST INDEX'   ELSE NULL   END  ELSE CASE c.relkind   WHEN 'r' THEN 'TEMPORARY TABLE'   WHEN 'p' THEN 'TEMPORARY TABLE'   WHEN 'i' THEN 'TEMPORARY INDEX'   WHEN 'S' THEN 'TEMPORARY SEQUENCE'   WHEN 'v' THEN 'TEMPORARY VIEW'   ELSE NULL   END  END  WHEN false THEN CASE c.relkind  WHEN 'r' THEN 'TABLE'  WHEN 'p' THEN 'PARTITIONED TABLE'  WHEN 'i' THEN 'INDEX'  WHEN 'P' then 'PARTITIONED INDEX'  WHEN 'S' THEN 'SEQUENCE'  WHEN 'v' THEN 'VIEW'  WHEN 'c' THEN 'TYPE'  WHEN 'f' THEN 'FOREIGN TABLE'  WHEN 'm' THEN 'MATERIALIZED VIEW'  ELSE NULL  END  ELSE NULL  END  AS TABLE_TYPE, d.description AS REMARKS,  '' as TYPE_CAT, '' as TYPE_SCHEM, '' as TYPE_NAME, '' AS SELF_REFERENCING_COL_NAME, '' AS REF_GENERATION  FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c  LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0  and d.classoid = 'pg_class'::regclass)  WHERE c.relnamespace = n.oid  AND c.relname LIKE '%' ORDER BY TABLE_TYPE,TABLE_SCHEM,TABLE_NAME
--: columns text table_cat | name table_schem | name table_name | text table_type | text remarks | text type_cat | text type_schem | text type_name | text self_referencing_col_name | text ref_generation
--| ∅ | public | Mixed Case_pkey | INDEX | ∅ |  |  |  |  |
--| ∅ | public | press_pkey | INDEX | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_aggregate | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_am | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_amop | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_amproc | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_attrdef | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_attribute | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_auth_members | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_authid | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_cast | SYSTEM TABLE | ∅ |  |  |  |  |
--| ∅ | pg_catalog | pg_class | SYSTEM TABLE | ∅ |  |  |  |  |
--| … 229 rows

--: case getTables TABLE VIEW
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME,  CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema'  WHEN true THEN CASE  WHEN n.nspname = 'pg_catalog' OR n.nspname = 'information_schema' THEN CASE c.relkind   WHEN 'r' THEN 'SYSTEM TABLE'   WHEN 'v' THEN 'SYSTEM VIEW'   WHEN 'i' THEN 'SYSTEM INDEX'   ELSE NULL   END  WHEN n.nspname = 'pg_toast' THEN CASE c.relkind   WHEN 'r' THEN 'SYSTEM TOAST TABLE'   WHEN 'i' THEN 'SYSTEM TOAST INDEX'   ELSE NULL   END  ELSE CASE c.relkind   WHEN 'r' THEN 'TEMPORARY TABLE'   WHEN 'p' THEN 'TEMPORARY TABLE'   WHEN 'i' THEN 'TEMPORARY INDEX'   WHEN 'S' THEN 'TEMPORARY SEQUENCE'   WHEN 'v' THEN 'TEMPORARY VIEW'   ELSE NULL   END  END  WHEN false THEN CASE c.relkind  WHEN 'r' THEN 'TABLE'  WHEN 'p' THEN 'PARTITIONED TABLE'  WHEN 'i' THEN 'INDEX'  WHEN 'P' then 'PARTITIONED INDEX'  WHEN 'S' THEN 'SEQUENCE'  WHEN 'v' THEN 'VIEW'  WHEN 'c' THEN 'TYPE'  WHEN 'f' THEN 'FOREIGN TABLE'  WHEN 'm' THEN 'MATERIALIZED VIEW'  ELSE NULL  END  ELSE NULL  END  AS TABLE_TYPE, d.description AS REMARKS,  '' as TYPE_CAT, '' as TYPE_SCHEM, '' as TYPE_NAME, '' AS SELF_REFERENCING_COL_NAME, '' AS REF_GENERATION  FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c  LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0  and d.classoid = 'pg_class'::regclass)  WHERE c.relnamespace = n.oid  AND n.nspname LIKE 'public' AND c.relname LIKE 'press' AND (false  OR ( c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' )  OR ( c.relkind = 'v' AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ) )  ORDER BY TABLE_TYPE,TABLE_SCHEM,TABLE_NAME
--: columns text table_cat | name table_schem | name table_name | text table_type | text remarks | text type_cat | text type_schem | text type_name | text self_referencing_col_name | text ref_generation
--| ∅ | public | press | TABLE | Presses of hall one |  |  |  |  |

--: case getColumns
SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype  FROM pg_catalog.pg_namespace n  JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)  JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid)  JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)  LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)  LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)  LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class')  LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog')  WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped  AND n.nspname LIKE 'public' AND c.relname LIKE 'press') c WHERE true  AND attname LIKE '%' ORDER BY nspname,c.relname,attnum
--: columns name nspname | name relname | name attname | oid atttypid | bool attnotnull | int4 atttypmod | int2 attlen | int4 typtypmod | int8 attnum | char attidentity | char attgenerated | text adsrc | text description | oid typbasetype | char typtype
--| public | press | time | 1184 | t | -1 | 8 | -1 | 1 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| public | press | device | 25 | f | -1 | -1 | -1 | 2 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| public | press | site | 25 | f | -1 | -1 | -1 | 3 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| public | press | temperature | 701 | f | -1 | 8 | -1 | 4 | ∅ | ∅ | ∅ | Degrees Celsius | 0 | b
--| public | press | strokes | 20 | f | -1 | 8 | -1 | 5 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| public | press | running | 16 | f | -1 | 1 | -1 | 6 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| public | press | note | 25 | f | -1 | -1 | -1 | 7 | ∅ | ∅ | ∅ | ∅ | 0 | b

--: case getColumns all
SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype  FROM pg_catalog.pg_namespace n  JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)  JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid)  JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)  LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)  LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)  LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class')  LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog')  WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped  AND c.relname LIKE '%') c WHERE true  ORDER BY nspname,c.relname,attnum
--: columns name nspname | name relname | name attname | oid atttypid | bool attnotnull | int4 atttypmod | int2 attlen | int4 typtypmod | int8 attnum | char attidentity | char attgenerated | text adsrc | text description | oid typbasetype | char typtype
--| information_schema | _pg_foreign_data_wrappers | oid | 26 | f | -1 | 4 | -1 | 1 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | fdwowner | 26 | f | -1 | 4 | -1 | 2 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | fdwoptions | 1009 | f | -1 | -1 | -1 | 3 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | foreign_data_wrapper_catalog | 19 | f | -1 | 64 | -1 | 4 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | foreign_data_wrapper_name | 19 | f | -1 | 64 | -1 | 5 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | authorization_identifier | 19 | f | -1 | 64 | -1 | 6 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_data_wrappers | foreign_data_wrapper_language | 1043 | f | -1 | -1 | -1 | 7 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_servers | oid | 26 | f | -1 | 4 | -1 | 1 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_servers | srvoptions | 1009 | f | -1 | -1 | -1 | 2 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_servers | foreign_server_catalog | 19 | f | -1 | 64 | -1 | 3 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_servers | foreign_server_name | 19 | f | -1 | 64 | -1 | 4 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| information_schema | _pg_foreign_servers | foreign_data_wrapper_catalog | 19 | f | -1 | 64 | -1 | 5 | ∅ | ∅ | ∅ | ∅ | 0 | b
--| … 2204 rows

--: case getColumns all (2)
SELECT n.nspname = ANY(current_schemas(true)), n.nspname, t.typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1
--: param '13226'
--: columns bool ?column? | name nspname | name typname

--: case getColumns all (3)
SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid   FROM pg_catalog.pg_type   LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r           from pg_namespace as ns           join ( select s.r, (current_schemas(false))[s.r] as nspname                    from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) as r          using ( nspname )        ) as sp     ON sp.nspoid = typnamespace  WHERE pg_type.oid = $1  ORDER BY sp.r, pg_type.oid DESC
--: param '24'
--: columns bool is_array | char typtype | name typname | oid oid
--| f | b | regproc | 24

--: case getPrimaryKeys
SELECT        result.TABLE_CAT,        result.TABLE_SCHEM,        result.TABLE_NAME,        result.COLUMN_NAME,        result.KEY_SEQ,        result.PK_NAME FROM      (SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME,   (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME,   information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid)   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid)   JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE true  AND n.nspname = 'public' AND ct.relname = 'press' AND i.indisprimary  ) result where  result.A_ATTNUM = (result.KEYS).x  ORDER BY result.table_name, result.pk_name, result.key_seq
--: columns text table_cat | name table_schem | name table_name | name column_name | int4 key_seq | name pk_name
--| ∅ | public | press | device | 1 | press_pkey
--| ∅ | public | press | site | 2 | press_pkey
--| ∅ | public | press | time | 3 | press_pkey

--: case getIndexInfo
SELECT     tmp.TABLE_CAT,     tmp.TABLE_SCHEM,     tmp.TABLE_NAME,     tmp.NON_UNIQUE,     tmp.INDEX_QUALIFIER,     tmp.INDEX_NAME,     tmp.TYPE,     tmp.ORDINAL_POSITION,     trim(both '"' from pg_catalog.pg_get_indexdef(tmp.CI_OID, tmp.ORDINAL_POSITION, false)) AS COLUMN_NAME,   CASE tmp.AM_NAME     WHEN 'btree' THEN CASE tmp.I_INDOPTION[tmp.ORDINAL_POSITION - 1] & 1::smallint       WHEN 1 THEN 'D'       ELSE 'A'     END     ELSE NULL   END AS ASC_OR_DESC,     tmp.CARDINALITY,     tmp.PAGES,     tmp.FILTER_CONDITION FROM (SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, NOT i.indisunique AS NON_UNIQUE,   NULL AS INDEX_QUALIFIER, ci.relname AS INDEX_NAME,   CASE i.indisclustered     WHEN true THEN 1    ELSE CASE am.amname       WHEN 'hash' THEN 2      ELSE 3    END   END AS TYPE,   (information_schema._pg_expandarray(i.indkey)).n AS ORDINAL_POSITION,   ci.reltuples AS CARDINALITY,   ci.relpages AS PAGES,   pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS FILTER_CONDITION,   ci.oid AS CI_OID,   i.indoption AS I_INDOPTION,   am.amname AS AM_NAME FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN pg_catalog.pg_index i ON (ct.oid = i.indrelid)   JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid)   JOIN pg_catalog.pg_am am ON (ci.relam = am.oid) WHERE true  AND n.nspname = 'public' AND ct.relname = 'press') AS tmp ORDER BY NON_UNIQUE, TYPE, INDEX_NAME, ORDINAL_POSITION
--: varies
--: columns text table_cat | name table_schem | name table_name | bool non_unique | text index_qualifier | name index_name | int4 type | int4 ordinal_position | text column_name | text asc_or_desc | float4 cardinality | int4 pages | text filter_condition

--: case getIndexInfo unique
SELECT     tmp.TABLE_CAT,     tmp.TABLE_SCHEM,     tmp.TABLE_NAME,     tmp.NON_UNIQUE,     tmp.INDEX_QUALIFIER,     tmp.INDEX_NAME,     tmp.TYPE,     tmp.ORDINAL_POSITION,     trim(both '"' from pg_catalog.pg_get_indexdef(tmp.CI_OID, tmp.ORDINAL_POSITION, false)) AS COLUMN_NAME,   CASE tmp.AM_NAME     WHEN 'btree' THEN CASE tmp.I_INDOPTION[tmp.ORDINAL_POSITION - 1] & 1::smallint       WHEN 1 THEN 'D'       ELSE 'A'     END     ELSE NULL   END AS ASC_OR_DESC,     tmp.CARDINALITY,     tmp.PAGES,     tmp.FILTER_CONDITION FROM (SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, NOT i.indisunique AS NON_UNIQUE,   NULL AS INDEX_QUALIFIER, ci.relname AS INDEX_NAME,   CASE i.indisclustered     WHEN true THEN 1    ELSE CASE am.amname       WHEN 'hash' THEN 2      ELSE 3    END   END AS TYPE,   (information_schema._pg_expandarray(i.indkey)).n AS ORDINAL_POSITION,   ci.reltuples AS CARDINALITY,   ci.relpages AS PAGES,   pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS FILTER_CONDITION,   ci.oid AS CI_OID,   i.indoption AS I_INDOPTION,   am.amname AS AM_NAME FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN pg_catalog.pg_index i ON (ct.oid = i.indrelid)   JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid)   JOIN pg_catalog.pg_am am ON (ci.relam = am.oid) WHERE true  AND ct.relname = 'press' AND i.indisunique ) AS tmp ORDER BY NON_UNIQUE, TYPE, INDEX_NAME, ORDINAL_POSITION
--: varies
--: columns text table_cat | name table_schem | name table_name | bool non_unique | text index_qualifier | name index_name | int4 type | int4 ordinal_position | text column_name | text asc_or_desc | float4 cardinality | int4 pages | text filter_condition

--: case getTypeInfo
SELECT t.typname,t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON (t.typnamespace = n.oid)  WHERE n.nspname  != 'pg_toast' AND  (t.typrelid = 0 OR (SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid))
--: columns name typname | oid oid
--| _aclitem | 1034
--| _bool | 1000
--| _bpchar | 1014
--| _bytea | 1001
--| _char | 1002
--| _cid | 1012
--| _cstring | 1263
--| _date | 1182
--| _float4 | 1021
--| _float8 | 1022
--| _inet | 1041
--| _int2 | 1005
--| … 98 rows

--: case getTypeInfo (2)
SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid   FROM pg_catalog.pg_type   LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r           from pg_namespace as ns           join ( select s.r, (current_schemas(false))[s.r] as nspname                    from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) as r          using ( nspname )        ) as sp     ON sp.nspoid = typnamespace  ORDER BY sp.r, pg_type.oid DESC
--: columns bool is_array | char typtype | name typname | oid oid
--| f | c | Mixed Case | {Mixed Case row}
--| f | c | press | {press row}
--| f | c | hot | {hot row}
--| f | p | anycompatiblearray | 5078
--| f | p | anycompatible | 5077
--| f | b | xid8 | 5069
--| t | b | _regcollation | 4192
--| f | b | regcollation | 4191
--| t | b | _regrole | 4097
--| f | b | regrole | 4096
--| t | b | _regnamespace | 4090
--| f | b | regnamespace | 4089
--| … 101 rows

--: case getSchemas
SELECT nspname AS TABLE_SCHEM, NULL AS TABLE_CATALOG FROM pg_catalog.pg_namespace  WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_'  OR nspname = (pg_catalog.current_schemas(true))[1]) AND (nspname !~ '^pg_toast_temp_'  OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_'))  ORDER BY TABLE_SCHEM
--: columns name table_schem | text table_catalog
--| information_schema | ∅
--| pg_catalog | ∅
--| public | ∅
--| sys | ∅

--: case getSchemas pattern
SELECT nspname AS TABLE_SCHEM, NULL AS TABLE_CATALOG FROM pg_catalog.pg_namespace  WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_'  OR nspname = (pg_catalog.current_schemas(true))[1]) AND (nspname !~ '^pg_toast_temp_'  OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_'))  AND nspname LIKE 'pub%' ORDER BY TABLE_SCHEM
--: columns name table_schem | text table_catalog
--| public | ∅

--: case getImportedKeys
SELECT setting FROM pg_catalog.pg_settings WHERE name='max_index_keys'
--: varies
--: columns text setting

--: case getImportedKeys (2)
SELECT NULL::text AS PKTABLE_CAT, pkn.nspname AS PKTABLE_SCHEM, pkc.relname AS PKTABLE_NAME, pka.attname AS PKCOLUMN_NAME, NULL::text AS FKTABLE_CAT, fkn.nspname AS FKTABLE_SCHEM, fkc.relname AS FKTABLE_NAME, fka.attname AS FKCOLUMN_NAME, pos.n AS KEY_SEQ, CASE con.confupdtype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS UPDATE_RULE, CASE con.confdeltype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS DELETE_RULE, con.conname AS FK_NAME, pkic.relname AS PK_NAME, CASE  WHEN con.condeferrable AND con.condeferred THEN 5 WHEN con.condeferrable THEN 6 ELSE 7 END AS DEFERRABILITY  FROM  pg_catalog.pg_namespace pkn, pg_catalog.pg_class pkc, pg_catalog.pg_attribute pka,  pg_catalog.pg_namespace fkn, pg_catalog.pg_class fkc, pg_catalog.pg_attribute fka,  pg_catalog.pg_constraint con,  pg_catalog.generate_series(1, 32) pos(n),  pg_catalog.pg_class pkic WHERE pkn.oid = pkc.relnamespace AND pkc.oid = pka.attrelid AND pka.attnum = con.confkey[pos.n] AND con.confrelid = pkc.oid  AND fkn.oid = fkc.relnamespace AND fkc.oid = fka.attrelid AND fka.attnum = con.conkey[pos.n] AND con.conrelid = fkc.oid  AND con.contype = 'f' AND (pkic.relkind = 'i' OR pkic.relkind = 'I') AND pkic.oid = con.conindid  AND fkn.nspname = 'public' AND fkc.relname = 'press' ORDER BY pkn.nspname,pkc.relname, con.conname,pos.n
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns text pktable_cat | name pktable_schem | name pktable_name | name pkcolumn_name | text fktable_cat | name fktable_schem | name fktable_name | name fkcolumn_name | int8 key_seq | int4 update_rule | int4 delete_rule | name fk_name | name pk_name | int4 deferrability

--: case getExportedKeys
SELECT NULL::text AS PKTABLE_CAT, pkn.nspname AS PKTABLE_SCHEM, pkc.relname AS PKTABLE_NAME, pka.attname AS PKCOLUMN_NAME, NULL::text AS FKTABLE_CAT, fkn.nspname AS FKTABLE_SCHEM, fkc.relname AS FKTABLE_NAME, fka.attname AS FKCOLUMN_NAME, pos.n AS KEY_SEQ, CASE con.confupdtype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS UPDATE_RULE, CASE con.confdeltype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS DELETE_RULE, con.conname AS FK_NAME, pkic.relname AS PK_NAME, CASE  WHEN con.condeferrable AND con.condeferred THEN 5 WHEN con.condeferrable THEN 6 ELSE 7 END AS DEFERRABILITY  FROM  pg_catalog.pg_namespace pkn, pg_catalog.pg_class pkc, pg_catalog.pg_attribute pka,  pg_catalog.pg_namespace fkn, pg_catalog.pg_class fkc, pg_catalog.pg_attribute fka,  pg_catalog.pg_constraint con,  pg_catalog.generate_series(1, 32) pos(n),  pg_catalog.pg_class pkic WHERE pkn.oid = pkc.relnamespace AND pkc.oid = pka.attrelid AND pka.attnum = con.confkey[pos.n] AND con.confrelid = pkc.oid  AND fkn.oid = fkc.relnamespace AND fkc.oid = fka.attrelid AND fka.attnum = con.conkey[pos.n] AND con.conrelid = fkc.oid  AND con.contype = 'f' AND (pkic.relkind = 'i' OR pkic.relkind = 'I') AND pkic.oid = con.conindid  AND pkn.nspname = 'public' AND pkc.relname = 'press' ORDER BY fkn.nspname,fkc.relname,con.conname,pos.n
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns text pktable_cat | name pktable_schem | name pktable_name | name pkcolumn_name | text fktable_cat | name fktable_schem | name fktable_name | name fkcolumn_name | int8 key_seq | int4 update_rule | int4 delete_rule | name fk_name | name pk_name | int4 deferrability

--: case getCrossReference
SELECT NULL::text AS PKTABLE_CAT, pkn.nspname AS PKTABLE_SCHEM, pkc.relname AS PKTABLE_NAME, pka.attname AS PKCOLUMN_NAME, NULL::text AS FKTABLE_CAT, fkn.nspname AS FKTABLE_SCHEM, fkc.relname AS FKTABLE_NAME, fka.attname AS FKCOLUMN_NAME, pos.n AS KEY_SEQ, CASE con.confupdtype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS UPDATE_RULE, CASE con.confdeltype  WHEN 'c' THEN 0 WHEN 'n' THEN 2 WHEN 'd' THEN 4 WHEN 'r' THEN 1 WHEN 'p' THEN 1 WHEN 'a' THEN 3 ELSE NULL END AS DELETE_RULE, con.conname AS FK_NAME, pkic.relname AS PK_NAME, CASE  WHEN con.condeferrable AND con.condeferred THEN 5 WHEN con.condeferrable THEN 6 ELSE 7 END AS DEFERRABILITY  FROM  pg_catalog.pg_namespace pkn, pg_catalog.pg_class pkc, pg_catalog.pg_attribute pka,  pg_catalog.pg_namespace fkn, pg_catalog.pg_class fkc, pg_catalog.pg_attribute fka,  pg_catalog.pg_constraint con,  pg_catalog.generate_series(1, 32) pos(n),  pg_catalog.pg_class pkic WHERE pkn.oid = pkc.relnamespace AND pkc.oid = pka.attrelid AND pka.attnum = con.confkey[pos.n] AND con.confrelid = pkc.oid  AND fkn.oid = fkc.relnamespace AND fkc.oid = fka.attrelid AND fka.attnum = con.conkey[pos.n] AND con.conrelid = fkc.oid  AND con.contype = 'f' AND (pkic.relkind = 'i' OR pkic.relkind = 'I') AND pkic.oid = con.conindid  AND pkn.nspname = 'public' AND fkn.nspname = 'public' AND pkc.relname = 'press' AND fkc.relname = 'Mixed Case' ORDER BY fkn.nspname,fkc.relname,con.conname,pos.n
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns text pktable_cat | name pktable_schem | name pktable_name | name pkcolumn_name | text fktable_cat | name fktable_schem | name fktable_name | name fkcolumn_name | int8 key_seq | int4 update_rule | int4 delete_rule | name fk_name | name pk_name | int4 deferrability

--: case getBestRowIdentifier
SELECT a.attname, a.atttypid, atttypmod FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid)   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN (SELECT i.indexrelid, i.indrelid, i.indisprimary,              information_schema._pg_expandarray(i.indkey) AS keys         FROM pg_catalog.pg_index i) i     ON (a.attnum = (i.keys).x AND a.attrelid = i.indrelid) WHERE true  AND n.nspname = 'public' AND ct.relname = 'press' AND i.indisprimary  ORDER BY a.attnum
--: columns name attname | oid atttypid | int4 atttypmod
--| time | 1184 | -1
--| device | 25 | -1
--| site | 25 | -1

--: case getTablePrivileges
SELECT n.nspname,c.relname,r.rolname,c.relacl  FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c, pg_catalog.pg_roles r  WHERE c.relnamespace = n.oid  AND c.relowner = r.oid  AND c.relkind IN ('r','p','v','m','f')  AND n.nspname LIKE 'public' AND c.relname LIKE 'press' ORDER BY nspname, relname
--: columns name nspname | name relname | name rolname | _aclitem relacl
--| public | press | admin | ∅

--: case getColumnPrivileges
SELECT n.nspname,c.relname,r.rolname,c.relacl, a.attacl,  a.attname  FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c,  pg_catalog.pg_roles r, pg_catalog.pg_attribute a  WHERE c.relnamespace = n.oid  AND c.relowner = r.oid  AND c.oid = a.attrelid  AND c.relkind = 'r'  AND a.attnum > 0 AND NOT a.attisdropped  AND n.nspname = 'public' AND c.relname = 'press' AND a.attname LIKE '%' ORDER BY attname
--: columns name nspname | name relname | name rolname | _aclitem relacl | _aclitem attacl | name attname
--| public | press | admin | ∅ | ∅ | device
--| public | press | admin | ∅ | ∅ | note
--| public | press | admin | ∅ | ∅ | running
--| public | press | admin | ∅ | ∅ | site
--| public | press | admin | ∅ | ∅ | strokes
--| public | press | admin | ∅ | ∅ | temperature
--| public | press | admin | ∅ | ∅ | time

--: case getProcedures
SELECT NULL AS PROCEDURE_CAT, n.nspname AS PROCEDURE_SCHEM, p.proname AS PROCEDURE_NAME, NULL, NULL, NULL, d.description AS REMARKS, 2 AS PROCEDURE_TYPE,  p.proname || '_' || p.oid AS SPECIFIC_NAME  FROM pg_catalog.pg_namespace n, pg_catalog.pg_proc p  LEFT JOIN pg_catalog.pg_description d ON (p.oid=d.objoid)  LEFT JOIN pg_catalog.pg_class c ON (d.classoid=c.oid AND c.relname='pg_proc')  LEFT JOIN pg_catalog.pg_namespace pn ON (c.relnamespace=pn.oid AND pn.nspname='pg_catalog')  WHERE p.pronamespace=n.oid  AND p.prokind='p' AND n.nspname LIKE 'public' AND p.proname LIKE '%' ORDER BY PROCEDURE_SCHEM, PROCEDURE_NAME, p.oid::text
--: columns text procedure_cat | name procedure_schem | name procedure_name | text ?column? | text ?column? | text ?column? | text remarks | int4 procedure_type | text specific_name

--: case getProcedureColumns
SELECT n.nspname,p.proname,p.prorettype,p.proargtypes, t.typtype,t.typrelid,  p.proargnames, p.proargmodes, p.proallargtypes, p.oid  FROM pg_catalog.pg_proc p, pg_catalog.pg_namespace n, pg_catalog.pg_type t  WHERE p.pronamespace=n.oid AND p.prorettype=t.oid  AND n.nspname LIKE 'public' AND p.proname LIKE '%' ORDER BY n.nspname, p.proname, p.oid::text
--: columns name nspname | name proname | oid prorettype | oidvector proargtypes | char typtype | oid typrelid | _text proargnames | _char proargmodes | _oid proallargtypes | oid oid
--| public | approx_percentile | 701 | 701 701 | b | 0 | {value,share} | ∅ | ∅ | 15016
--| public | count_window | 20 | 20 | b | 0 | {rows} | ∅ | ∅ | 15022
--| public | count_window | 1016 | 20 20 | b | 0 | {rows,slide} | ∅ | ∅ | 15023
--| public | delta | 701 | 701 1184 | b | 0 | {value,time} | ∅ | ∅ | 15007
--| public | derivative | 701 | 701 1184 | b | 0 | {value,time} | ∅ | ∅ | 15011
--| public | ema | 701 | 701 701 | b | 0 | {value,alpha} | ∅ | ∅ | 15024
--| public | event_window | 20 | 16 16 1184 1186 | b | 0 | {starts,ends,time,duration} | ∅ | ∅ | 15021
--| public | fill_value | 2283 | 2283 2283 | p | 0 | {value,constant} | ∅ | ∅ | 15006
--| public | first | 2283 | 2283 1184 | p | 0 | {value,time} | ∅ | ∅ | 15000
--| public | histogram | 1016 | 701 701 701 20 | b | 0 | {value,min,max,buckets} | ∅ | ∅ | 15017
--| public | increase | 701 | 701 1184 | b | 0 | {value,time} | ∅ | ∅ | 15008
--| public | integral | 701 | 701 1184 25 | b | 0 | {value,time,method} | ∅ | ∅ | 15015
--| … 27 rows

--: case getFunctions
SELECT current_database() AS FUNCTION_CAT, n.nspname AS FUNCTION_SCHEM, p.proname AS FUNCTION_NAME,  d.description AS REMARKS,  CASE    WHEN (format_type(p.prorettype, null) = 'unknown') THEN 0   WHEN      (substring(pg_get_function_result(p.oid) from 0 for 6) = 'TABLE') OR      (substring(pg_get_function_result(p.oid) from 0 for 6) = 'SETOF') THEN 2   ELSE 1 END  AS FUNCTION_TYPE,  p.proname || '_' || p.oid AS SPECIFIC_NAME FROM pg_catalog.pg_proc p INNER JOIN pg_catalog.pg_namespace n ON p.pronamespace=n.oid LEFT JOIN pg_catalog.pg_description d ON p.oid=d.objoid WHERE true   AND p.prokind='f' AND n.nspname LIKE 'public' AND p.proname LIKE '%' ORDER BY FUNCTION_SCHEM, FUNCTION_NAME, p.oid::text
--: columns name function_cat | name function_schem | name function_name | text remarks | int4 function_type | text specific_name
--| millrace | public | fill_value | ∅ | 1 | fill_value_15006
--| millrace | public | interpolate | ∅ | 1 | interpolate_15005
--| millrace | public | locf | ∅ | 1 | locf_15004
--| millrace | public | time_bucket | ∅ | 1 | time_bucket_15002
--| millrace | public | time_bucket_gapfill | ∅ | 1 | time_bucket_gapfill_15003

--: case getUDTs
select null as type_cat, n.nspname as type_schem, t.typname as type_name,  null as class_name, CASE WHEN t.typtype='c' then 2002 else 2001 end as data_type, pg_catalog.obj_description(t.oid, 'pg_type')  as remarks, CASE WHEN t.typtype = 'd' then  (select CASE when base_type.oid = 16 then -7 when base_type.oid = 17 then -2 when base_type.oid = 20 then -5 when base_type.oid = 23 then 4 when base_type.oid = 25 then 12 when base_type.oid = 1184 then 93 when base_type.oid = 701 then 8 else 1111 end from pg_type base_type where base_type.oid=t.typbasetype) else null end as base_type from pg_catalog.pg_type t, pg_catalog.pg_namespace n where t.typnamespace = n.oid and n.nspname != 'pg_catalog' and n.nspname != 'pg_toast' and t.typtype IN ('c','d')  and t.typname like '%' and n.nspname like 'public' order by data_type, type_schem, type_name
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns text type_cat | name type_schem | name type_name | text class_name | int4 data_type | text remarks | int8 base_type
--| ∅ | public | Mixed Case | ∅ | 2002 | ∅ | ∅
--| ∅ | public | hot | ∅ | 2002 | ∅ | ∅
--| ∅ | public | press | ∅ | 2002 | ∅ | ∅

--: case getClientInfoProperties
SELECT t.typlen FROM pg_catalog.pg_type t, pg_catalog.pg_namespace n WHERE t.typnamespace=n.oid AND t.typname='name' AND n.nspname='pg_catalog'
--: columns int2 typlen
--| 64

--: case limits
select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{a,abs,absolute,action,ada,add,admin,after,all,allocate,alter,always,and,any,are,array,as,asc,asensitive,assertion,assignment,asymmetric,at,atomic,attribute,attributes,authorization,avg,before,begin,bernoulli,between,bigint,binary,blob,boolean,both,breadth,by,c,call,called,cardinality,cascade,cascaded,case,cast,catalog,catalog_name,ceil,ceiling,chain,char,char_length,character,character_length,character_set_catalog,character_set_name,character_set_schema,characteristics,characters,check,checked,class_origin,clob,close,coalesce,cobol,code_units,collate,collation,collation_catalog,collation_name,collation_schema,collect,column,column_name,command_function,command_function_code,commit,committed,condition,condition_number,connect,connection_name,constraint,constraint_catalog,constraint_name,constraint_schema,constraints,constructors,contains,continue,convert,corr,corresponding,count,covar_pop,covar_samp,create,cross,cube,cume_dist,current,current_collation,current_date,current_default_transform_group,current_path,current_role,current_time,current_timestamp,current_transform_group_for_type,current_user,cursor,cursor_name,cycle,data,date,datetime_interval_code,datetime_interval_precision,day,deallocate,dec,decimal,declare,default,defaults,deferrable,deferred,defined,definer,degree,delete,dense_rank,depth,deref,derived,desc,describe,descriptor,deterministic,diagnostics,disconnect,dispatch,distinct,domain,double,drop,dynamic,dynamic_function,dynamic_function_code,each,element,else,end,end-exec,equals,escape,every,except,exception,exclude,excluding,exec,execute,exists,exp,external,extract,false,fetch,filter,final,first,float,floor,following,for,foreign,fortran,found,free,from,full,function,fusion,g,general,get,global,go,goto,grant,granted,group,grouping,having,hierarchy,hold,hour,identity,immediate,implementation,in,including,increment,indicator,initially,inner,inout,input,insensitive,insert,instance,instantiable,int,integer,intersect,intersection,interval,into,invoker,is,isolation,join,k,key,key_member,key_type,language,large,last,lateral,leading,left,length,level,like,ln,local,localtime,localtimestamp,locator,lower,m,map,match,matched,max,maxvalue,member,merge,message_length,message_octet_length,message_text,method,min,minute,minvalue,mod,modifies,module,month,more,multiset,mumps,name,names,national,natural,nchar,nclob,nesting,new,next,no,none,normalize,normalized,not,"null",nullable,nullif,nulls,number,numeric,object,octet_length,octets,of,old,on,only,open,option,options,or,order,ordering,ordinality,others,out,outer,output,over,overlaps,overlay,overriding,pad,parameter,parameter_mode,parameter_name,parameter_ordinal_position,parameter_specific_catalog,parameter_specific_name,parameter_specific_schema,partial,partition,pascal,path,percent_rank,percentile_cont,percentile_disc,placing,pli,position,power,preceding,precision,prepare,preserve,primary,prior,privileges,procedure,public,range,rank,read,reads,real,recursive,ref,references,referencing,regr_avgx,regr_avgy,regr_count,regr_intercept,regr_r2,regr_slope,regr_sxx,regr_sxy,regr_syy,relative,release,repeatable,restart,result,return,returned_cardinality,returned_length,returned_octet_length,returned_sqlstate,returns,revoke,right,role,rollback,rollup,routine,routine_catalog,routine_name,routine_schema,row,row_count,row_number,rows,savepoint,scale,schema,schema_name,scope_catalog,scope_name,scope_schema,scroll,search,second,section,security,select,self,sensitive,sequence,serializable,server_name,session,session_user,set,sets,similar,simple,size,smallint,some,source,space,specific,specific_name,specifictype,sql,sqlexception,sqlstate,sqlwarning,sqrt,start,state,statement,static,stddev_pop,stddev_samp,structure,style,subclass_origin,submultiset,substring,sum,symmetric,system,system_user,table,table_name,tablesample,temporary,then,ties,time,timestamp,timezone_hour,timezone_minute,to,top_level_count,trailing,transaction,transaction_active,transactions_committed,transactions_rolled_back,transform,transforms,translate,translation,treat,trigger,trigger_catalog,trigger_name,trigger_schema,trim,true,type,uescape,unbounded,uncommitted,under,union,unique,unknown,unnamed,unnest,update,upper,usage,user,user_defined_type_catalog,user_defined_type_code,user_defined_type_name,user_defined_type_schema,using,value,values,var_pop,var_samp,varchar,varying,view,when,whenever,where,width_bucket,window,with,within,without,work,write,year,zone}'::text[])
--: columns text string_agg
--| analyse,analyze,do,limit,offset,returning,variadic,concurrently,freeze,ilike,isnull,notnull,verbose

--: case types
SELECT 'press'::regclass, 'text'::regtype, 1::oid, 'a'::name, ARRAY['a']::text[], ARRAY[1,2], now(), current_date, interval '1 day', 1.5::numeric, null::bytea
--: varies
--: differs whole numbers of generate_series, subqueries and lists of literals are bigint
--: columns regclass regclass | regtype regtype | oid oid | name name | _text array | _int8 array | timestamptz now | date current_date | interval interval | numeric numeric | bytea bytea

--: case cursor
SELECT * FROM press
--: columns timestamptz time | text device | text site | float8 temperature | int8 strokes | bool running | text note
--| 2024-01-01 00:00:00+00 | p1 | north | 71.5 | 12 | t | ∅
--| 2024-01-01 00:00:00+00 | p2 | south | 20 | 0 | f | ∅
--| 2024-01-01 00:01:00+00 | p1 | north | 84.25 | 13 | t | hot

--: case schema
select current_schema()
--: columns name current_schema
--| public

-- DBeaver: the navigator tree.

--: case schema and user
SELECT current_schema(),session_user
--: columns name current_schema | name session_user
--| public | admin

--: case version
SELECT version()
--: varies
--: columns text version

--: case database
SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname=$1
--: param 'millrace'
--: columns oid oid | oid oid | name datname | oid datdba | int4 encoding | char datlocprovider | bool datistemplate | bool datallowconn | int4 datconnlimit | xid datfrozenxid | xid datminmxid | oid dattablespace | text datcollate | text datctype | text daticulocale | text datcollversion | _aclitem datacl
--| 5 | 5 | millrace | 10 | 6 | c | f | t | -1 | 0 | 0 | 1663 | C | C.UTF-8 | ∅ | ∅ | ∅

--: case encoding names
SELECT DISTINCT typname FROM pg_catalog.pg_type WHERE typname = 'text'
--: columns name typname
--| text

--: case settings
select * from pg_catalog.pg_settings where name=$1
--: param 'standard_conforming_strings'
--: varies
--: columns text name | text setting | text unit | text category | text short_desc | text extra_desc | text context | text vartype | text source | text min_val | text max_val | _text enumvals | text boot_val | text reset_val | text sourcefile | int4 sourceline | bool pending_restart

--: case event triggers
SELECT EXISTS(SELECT * FROM pg_catalog.pg_class WHERE relname = 'pg_event_trigger')
--: columns bool exists
--| t

--: case types
SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description
FROM pg_catalog.pg_type t
LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem
LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid
LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid
WHERE t.typname IS NOT NULL
AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')
--: columns oid oid | oid oid | name typname | oid typnamespace | oid typowner | int2 typlen | bool typbyval | char typtype | char typcategory | bool typispreferred | bool typisdefined | char typdelim | oid typrelid | regproc typsubscript | oid typelem | oid typarray | regproc typinput | regproc typoutput | regproc typreceive | regproc typsend | regproc typmodin | regproc typmodout | regproc typanalyze | char typalign | char typstorage | bool typnotnull | oid typbasetype | int4 typtypmod | int4 typndims | oid typcollation | pg_node_tree typdefaultbin | text typdefault | _aclitem typacl | char relkind | text base_type_name | text description
--| 1000 | 1000 | _bool | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 16 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1001 | 1001 | _bytea | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 17 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1002 | 1002 | _char | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 18 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1003 | 1003 | _name | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 19 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 950 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1005 | 1005 | _int2 | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 21 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1006 | 1006 | _int2vector | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 22 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1007 | 1007 | _int4 | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 23 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1008 | 1008 | _regproc | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 24 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1009 | 1009 | _text | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 25 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1010 | 1010 | _tid | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 27 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1011 | 1011 | _xid | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 28 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| 1012 | 1012 | _cid | 11 | 10 | -1 | f | b | A | f | t | , | 0 | - | 29 | 0 | array_in | array_out | array_recv | array_send | - | - | - | i | x | f | 0 | -1 | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| … 98 rows

--: case schemas
SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass
 ORDER BY nspname
--: columns oid oid | oid oid | name nspname | oid nspowner | _aclitem nspacl | text description
--| 13000 | 13000 | information_schema | 10 | ∅ | ∅
--| 11 | 11 | pg_catalog | 10 | ∅ | system catalog schema
--| 2200 | 2200 | public | 10 | ∅ | standard public schema
--| 13001 | 13001 | sys | 10 | ∅ | ∅

--: case tables
SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr,  pg_catalog.pg_get_partkeydef(c.oid) as partition_key 
FROM pg_catalog.pg_class c
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass
WHERE c.relnamespace=$1 AND c.relkind not in ('i','I','c')
--: param '2200'
--: columns oid oid | oid oid | name relname | oid relnamespace | oid reltype | oid reloftype | oid relowner | oid relam | oid relfilenode | oid reltablespace | int4 relpages | float4 reltuples | int4 relallvisible | oid reltoastrelid | bool relhasindex | bool relisshared | char relpersistence | char relkind | int2 relnatts | int2 relchecks | bool relhasrules | bool relhastriggers | bool relhassubclass | bool relrowsecurity | bool relforcerowsecurity | bool relispopulated | char relreplident | bool relispartition | oid relrewrite | xid relfrozenxid | xid relminmxid | _aclitem relacl | _text reloptions | pg_node_tree relpartbound | text description | text partition_expr | text partition_key
--| {Mixed Case} | {Mixed Case} | Mixed Case | 2200 | {Mixed Case row} | 0 | 10 | 15900 | 0 | 0 | 0 | 0 | 0 | 0 | t | f | p | r | 5 | 0 | f | f | f | f | f | t | d | f | 0 | 0 | 0 | ∅ | {"partition_by=86400 seconds",merge=last_non_null} | ∅ | ∅ | ∅ | ∅
--| {hot} | {hot} | hot | 2200 | {hot row} | 0 | 10 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | f | f | p | v | 3 | 0 | f | f | f | f | f | t | n | f | 0 | 0 | 0 | ∅ | ∅ | ∅ | Presses that are too hot | ∅ | ∅
--| {press} | {press} | press | 2200 | {press row} | 0 | 10 | 15900 | 0 | 0 | 0 | 3 | 0 | 0 | t | f | p | r | 7 | 0 | f | f | f | f | f | t | d | f | 0 | 0 | 0 | ∅ | {"partition_by=86400 seconds",merge=last_non_null} | ∅ | Presses of hall one | ∅ | ∅

--: case columns
SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid
FROM pg_catalog.pg_attribute a
INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid)
LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum)
LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid
WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.oid=$1
ORDER BY a.attnum
--: param '{press}'
--: columns name relname | oid attrelid | name attname | oid atttypid | int4 attstattarget | int2 attlen | int2 attnum | int4 attndims | int4 attcacheoff | int4 atttypmod | bool attbyval | char attalign | char attstorage | char attcompression | bool attnotnull | bool atthasdef | bool atthasmissing | char attidentity | char attgenerated | bool attisdropped | bool attislocal | int4 attinhcount | oid attcollation | _aclitem attacl | _text attoptions | _text attfdwoptions | anyarray attmissingval | text def_value | text description | oid objid
--| press | {press} | time | 1184 | -1 | 8 | 1 | 0 | -1 | -1 | t | d | p |  | t | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | device | 25 | -1 | -1 | 2 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | site | 25 | -1 | -1 | 3 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | temperature | 701 | -1 | 8 | 4 | 0 | -1 | -1 | t | d | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | Degrees Celsius | ∅
--| press | {press} | strokes | 20 | -1 | 8 | 5 | 0 | -1 | -1 | t | d | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | running | 16 | -1 | 1 | 6 | 0 | -1 | -1 | t | c | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | note | 25 | -1 | -1 | 7 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅

--: case columns of a schema
SELECT c.relname,a.*,ad.oid as attr_id,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description
FROM pg_catalog.pg_attribute a
INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid)
LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum)
LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
WHERE NOT a.attisdropped AND c.relkind not in ('i','I','c') AND c.relnamespace=$1
ORDER BY a.attnum
--: param '2200'
--: columns name relname | oid attrelid | name attname | oid atttypid | int4 attstattarget | int2 attlen | int2 attnum | int4 attndims | int4 attcacheoff | int4 atttypmod | bool attbyval | char attalign | char attstorage | char attcompression | bool attnotnull | bool atthasdef | bool atthasmissing | char attidentity | char attgenerated | bool attisdropped | bool attislocal | int4 attinhcount | oid attcollation | _aclitem attacl | _text attoptions | _text attfdwoptions | anyarray attmissingval | oid attr_id | text def_value | text description
--| Mixed Case | {Mixed Case} | Time | 1184 | -1 | 8 | 1 | 0 | -1 | -1 | t | d | p |  | t | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | time | 1184 | -1 | 8 | 1 | 0 | -1 | -1 | t | d | p |  | t | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| hot | {hot} | time | 1184 | -1 | 8 | 1 | 0 | -1 | -1 | t | d | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| Mixed Case | {Mixed Case} | Key | 25 | -1 | -1 | 2 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | device | 25 | -1 | -1 | 2 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| hot | {hot} | device | 25 | -1 | -1 | 2 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| Mixed Case | {Mixed Case} | small | 21 | -1 | 2 | 3 | 0 | -1 | -1 | t | s | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | site | 25 | -1 | -1 | 3 | 0 | -1 | -1 | f | i | x |  | f | f | f |  |  | f | t | 0 | 100 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| hot | {hot} | temperature | 701 | -1 | 8 | 3 | 0 | -1 | -1 | t | d | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| press | {press} | temperature | 701 | -1 | 8 | 4 | 0 | -1 | -1 | t | d | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | Degrees Celsius
--| Mixed Case | {Mixed Case} | number | 23 | -1 | 4 | 4 | 0 | -1 | -1 | t | i | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| Mixed Case | {Mixed Case} | ratio | 700 | -1 | 4 | 5 | 0 | -1 | -1 | t | i | p |  | f | f | f |  |  | f | t | 0 | 0 | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅
--| … 15 rows

--: case constraints
SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description, case when c.contype='c' then "substring"(pg_get_constraintdef(c.oid), 7) else null end consrc_copy
FROM pg_catalog.pg_constraint c
INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid
LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass
WHERE c.conrelid=$1
ORDER BY c.oid
--: param '{press}'
--: columns oid oid | oid oid | name conname | oid connamespace | char contype | bool condeferrable | bool condeferred | bool convalidated | oid conrelid | oid contypid | oid conindid | oid conparentid | oid confrelid | char confupdtype | char confdeltype | char confmatchtype | bool conislocal | int4 coninhcount | bool connoinherit | _int2 conkey | _int2 confkey | _oid conpfeqop | _oid conppeqop | _oid conffeqop | _int2 confdelsetcols | _oid conexclop | pg_node_tree conbin | name tabrelname | oid refnamespace | text description | text consrc_copy
--| 16394 | 16394 | press_pkey | 2200 | p | f | f | t | {press} | 0 | {press_pkey} | 0 | 0 |   |   |   | t | 0 | t | {2,3,1} | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | ∅ | press | ∅ | ∅ | ∅

--: case indexes
SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,c.relam,c.reltablespace,tc.relname as tabrelname,dsc.description,pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) as expr,pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size,pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans
FROM pg_catalog.pg_index i
INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid
INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid
LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid
WHERE i.indrelid=$1 ORDER BY tabrelname, c.relname
--: param '{press}'
--: varies
--: columns oid indexrelid | oid indrelid | int2 indnatts | int2 indnkeyatts | bool indisunique | bool indnullsnotdistinct | bool indisprimary | bool indisexclusion | bool indimmediate | bool indisclustered | bool indisvalid | bool indcheckxmin | bool indisready | bool indislive | bool indisreplident | int2vector indkey | oidvector indcollation | oidvector indclass | int2vector indoption | pg_node_tree indexprs | pg_node_tree indpred | int2vector keys | name relname | oid relnamespace | oid relam | oid reltablespace | name tabrelname | text description | text pred_expr | text expr | int8 index_rel_size | int8 index_num_scans

--: case roles
SELECT a.oid,a.*,pd.description FROM pg_catalog.pg_roles a 
left join pg_catalog.pg_shdescription pd on a.oid = pd.objoid
WHERE a.rolname = 'nobody' ORDER BY a.rolname
--: columns oid oid | name rolname | bool rolsuper | bool rolinherit | bool rolcreaterole | bool rolcreatedb | bool rolcanlogin | bool rolreplication | int4 rolconnlimit | text rolpassword | timestamptz rolvaliduntil | bool rolbypassrls | _text rolconfig | oid oid | text description

--: case tablespaces
SELECT t.oid,t.*,pg_tablespace_location(t.oid) loc FROM pg_catalog.pg_tablespace t WHERE t.spcname='pg_default' ORDER BY t.oid
--: columns oid oid | oid oid | name spcname | oid spcowner | _aclitem spcacl | _text spcoptions | text loc
--| 1663 | 1663 | pg_default | 10 | ∅ | ∅ | ∅

--: case languages
SELECT l.oid,l.* FROM pg_catalog.pg_language l WHERE l.oid = 12 ORDER BY l.oid
--: columns oid oid | oid oid | name lanname | oid lanowner | bool lanispl | bool lanpltrusted | oid lanplcallfoid | oid laninline | oid lanvalidator | _aclitem lanacl
--| 12 | 12 | internal | 10 | f | f | 0 | 0 | 0 | ∅

--: case access methods
SELECT am.oid,am.* FROM pg_catalog.pg_am am ORDER BY am.oid
--: columns oid oid | oid oid | name amname | regproc amhandler | char amtype
--| 2 | 2 | heap | - | t
--| 403 | 403 | btree | - | i
--| 15900 | 15900 | millrace | - | t

--: case extensions
SELECT
 e.oid,
 e.extname,
 e.extversion,
 n.nspname as schema_name,
 n.oid as schema_oid
FROM
 pg_extension e
 join pg_namespace n on e.extnamespace = n.oid
WHERE e.extname = 'none'
--: columns oid oid | name extname | text extversion | name schema_name | oid schema_oid

--: case functions
SELECT p.oid,p.*,pg_catalog.pg_get_expr(p.proargdefaults, 0) as arg_defaults,d.description
FROM pg_catalog.pg_proc p
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=p.oid AND d.objsubid = 0
LEFT OUTER JOIN pg_catalog.pg_language l on l.oid = p.prolang
WHERE p.pronamespace=$1 AND p.proname = 'none'
ORDER BY p.proname
--: param '2200'
--: columns oid oid | oid oid | name proname | oid pronamespace | oid proowner | oid prolang | float4 procost | float4 prorows | oid provariadic | regproc prosupport | char prokind | bool prosecdef | bool proleakproof | bool proisstrict | bool proretset | char provolatile | char proparallel | int2 pronargs | int2 pronargdefaults | oid prorettype | oidvector proargtypes | _oid proallargtypes | _char proargmodes | _text proargnames | pg_node_tree proargdefaults | _oid protrftypes | text prosrc | text probin | pg_node_tree prosqlbody | _text proconfig | _aclitem proacl | text arg_defaults | text description

--: case rules
SELECT r.oid,r.* FROM pg_catalog.pg_rewrite r WHERE r.ev_class=$1 AND r.rulename <> '_RETURN'::name
--: param '{press}'
--: columns oid oid | oid oid | name rulename | oid ev_class | char ev_type | char ev_enabled | bool is_instead | pg_node_tree ev_qual | pg_node_tree ev_action

--: case view definition
SELECT pg_catalog.pg_get_viewdef($1, true)
--: param '{hot}'
--: columns text pg_get_viewdef
--|  SELECT time, device, temperature FROM press WHERE temperature > 80;

--: case triggers
SELECT x.oid,x.*,p.pronamespace as func_schema_id,d.description
FROM pg_catalog.pg_trigger x
LEFT OUTER JOIN pg_catalog.pg_proc p ON p.oid=x.tgfoid 
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=x.oid AND d.objsubid=0 
WHERE x.tgrelid=$1 AND NOT x.tgisinternal
--: param '{press}'
--: columns oid oid | oid oid | oid tgrelid | oid tgparentid | name tgname | oid tgfoid | int2 tgtype | char tgenabled | bool tgisinternal | oid tgconstrrelid | oid tgconstrindid | oid tgconstraint | bool tgdeferrable | bool tginitdeferred | int2 tgnargs | int2vector tgattr | bytea tgargs | pg_node_tree tgqual | name tgoldtable | name tgnewtable | oid func_schema_id | text description

--: case sizes
select pg_catalog.pg_table_size(c.oid) as rel_size, pg_catalog.pg_total_relation_size(c.oid) as total_rel_size FROM pg_class c WHERE c.relnamespace=$1 and c.relkind = 'z'
--: param '2200'
--: varies
--: columns int8 rel_size | int8 total_rel_size

--: case inherited
SELECT i.*,c.relnamespace,c.relkind FROM pg_catalog.pg_inherits i,pg_catalog.pg_class c WHERE i.inhrelid=$1 AND c.oid=i.inhparent ORDER BY i.inhseqno
--: param '{press}'
--: columns oid inhrelid | oid inhparent | int4 inhseqno | bool inhdetachpending | oid relnamespace | char relkind

--: case sessions
SELECT sa.* FROM pg_catalog.pg_stat_activity sa WHERE sa.pid = -1
--: varies
--: columns oid datid | name datname | int4 pid | int4 leader_pid | oid usesysid | name usename | text application_name | inet client_addr | text client_hostname | int4 client_port | timestamptz backend_start | timestamptz xact_start | timestamptz query_start | timestamptz state_change | text wait_event_type | text wait_event | text state | xid backend_xid | xid backend_xmin | int8 query_id | text query | text backend_type

--: case locks
SELECT l.locktype, l.mode, l.granted, l.pid FROM pg_catalog.pg_locks l WHERE l.pid = -1
--: columns text locktype | text mode | bool granted | int4 pid

--: case default privileges
SELECT defaclrole, defaclnamespace, defaclobjtype, defaclacl FROM pg_catalog.pg_default_acl WHERE defaclnamespace = 0
--: columns oid defaclrole | oid defaclnamespace | char defaclobjtype | _aclitem defaclacl

--: case keywords
select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word = 'nothing of that kind'
--: columns text string_agg
--| ∅

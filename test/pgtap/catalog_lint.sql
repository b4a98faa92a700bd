-- Rules that every object of the extension keeps, checked in the catalogs: nothing is granted to PUBLIC, everything is
-- commented, search paths are pinned, what must come back from a dump is registered. A failing test names the offenders.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(22);

------------------------------------------------------------------------------------------------------------------
-- The members
------------------------------------------------------------------------------------------------------------------

-- Without what PostgreSQL makes by itself beside a type or table and counts as a member from 16 on: array types and row
-- types, which can carry no rights or have those of their table.
CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid
	  FROM pg_catalog.pg_depend AS d
	  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
	 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
	   AND d.deptype = 'e'
	   AND e.extname = 'crm_marketing'
	   AND NOT EXISTS (SELECT
						 FROM pg_catalog.pg_type AS t
						 LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
						WHERE d.classid = 'pg_catalog.pg_type'::regclass
						  AND t.oid = d.objid
						  AND (t.typcategory = 'A' OR t.typtype = 'm' OR c.relkind <> 'c'));

CREATE TEMP VIEW member_function AS
	SELECT p.*, l.lanname, p.oid::regprocedure::text AS name
	  FROM member AS m
	  JOIN pg_catalog.pg_proc AS p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
	  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang;

CREATE TEMP VIEW member_relation AS
	SELECT c.*, c.oid::regclass::text AS name
	  FROM member AS m
	  JOIN pg_catalog.pg_class AS c ON m.classid = 'pg_catalog.pg_class'::regclass AND c.oid = m.objid;

CREATE TEMP VIEW member_type AS
	SELECT t.*, t.oid::regtype::text AS name
	  FROM member AS m
	  JOIN pg_catalog.pg_type AS t ON m.classid = 'pg_catalog.pg_type'::regclass AND t.oid = m.objid;

-- What need not come back from a dump: positions in a log, leases, and what is computed anew
CREATE TEMP TABLE not_dumped (name text PRIMARY KEY, why text NOT NULL);
INSERT INTO not_dumped VALUES
	('crm.change_cursor', 'a position means something in one cluster only'),
	('crm.change_log_0', 'as the positions in it'),
	('crm.change_log_1', 'as the positions in it'),
	('crm.change_log_2', 'as the positions in it'),
	('crm.change_log_current', 'has its one row from the script'),
	('crm.change_log_lost', 'a transaction means something in one cluster only'),
	('crm.slot', 'a position'),
	('crm.pending', 'follows from the log'),
	('crm.pending_seq', 'the order of crm.pending'),
	('crm.deadline', 'follows from facts: the first refresh of a tick computes it'),
	('crm.heard', 'the first refresh of a tick puts everybody into it'),
	('crm.follower', 'has its rows from the script'),
	('crm.segment_reference', 'likewise'),
	('crm.listener_queue', 'with the first tick everybody is told'),
	('crm.listener_queue_seq', 'the order of it'),
	('crm.handed', 'the rate of the last seconds'),
	('crm.tick_error', 'errors of this server'),
	('crm.tick_error_id_seq', 'their ids');

-- Functions that may be PARALLEL UNSAFE: they write, or they are triggers
CREATE TEMP VIEW may_be_unsafe AS
	SELECT f.oid
	  FROM member_function AS f
	 WHERE f.provolatile = 'v';

SELECT cmp_ok((SELECT count(*) FROM member_function), '>=', 3::bigint, 'the extension has functions');
SELECT cmp_ok((SELECT count(*) FROM member_relation), '>=', 1::bigint, 'the extension has tables');

SELECT is_empty($$
	SELECT m.classid::regclass, pg_catalog.pg_describe_object(m.classid, m.objid, 0)
	  FROM member AS m
	 WHERE m.classid NOT IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass,
							 'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_namespace'::regclass,
							 'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_cast'::regclass,
							 'pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_opfamily'::regclass)
$$, 'no member is of a kind that is not meant to be there (triggers, policies, event triggers ...)');

SELECT is_empty($$
	SELECT pg_catalog.pg_describe_object(m.classid, m.objid, 0)
	  FROM member AS m
	  LEFT JOIN LATERAL pg_catalog.pg_identify_object(m.classid, m.objid, 0) AS o ON true
	 WHERE o.schema NOT IN ('crm', 'crm_feed')
$$, 'every member lies in the schemas of the extension');

SELECT is_empty($$
	SELECT r.name FROM member_relation AS r JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
	 WHERE n.nspname = 'crm_feed' AND r.relname NOT IN (SELECT s.kind FROM crm.source AS s WHERE s.own)
$$, 'no feed of the shop is a member: it would vanish from a dump');

SELECT is_empty($$
	SELECT r.name FROM member_relation AS r WHERE r.relispartition
$$, 'no partition is a member: it would vanish from a dump');

SELECT is_empty($$
	SELECT r.name, pg_catalog.pg_get_indexdef(i.indexrelid)
	  FROM member_relation AS r
	  JOIN pg_catalog.pg_index AS i ON i.indrelid = r.oid
	 WHERE r.relkind = 'p'
$$, 'a partitioned table has no key and no index itself: restore would make those of its partitions twice');

------------------------------------------------------------------------------------------------------------------
-- Comments
------------------------------------------------------------------------------------------------------------------

SELECT is_empty($$
	SELECT pg_catalog.pg_describe_object(m.classid, m.objid, 0)
	  FROM member AS m
	 WHERE m.classid NOT IN ('pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_opfamily'::regclass)
	   AND pg_catalog.obj_description(m.objid, m.classid::regclass::text::name) IS NULL
	 ORDER BY 1
$$, 'every function, table, sequence, type, operator, cast and schema has a comment');

SELECT is_empty($$
	SELECT pg_catalog.pg_describe_object(m.classid, m.objid, 0)
	  FROM member AS m
	 WHERE m.classid IN ('pg_catalog.pg_opclass'::regclass)
	   AND pg_catalog.obj_description(m.objid, m.classid::regclass::text::name) IS NULL
	 ORDER BY 1
$$, 'every operator class has a comment');

SELECT is_empty($$
	SELECT r.name, a.attname
	  FROM member_relation AS r
	  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	 WHERE r.relkind IN ('r', 'p', 'v', 'm', 'c')
	   AND pg_catalog.col_description(r.oid, a.attnum) IS NULL
	 ORDER BY 1, 2
$$, 'every column has a comment');

------------------------------------------------------------------------------------------------------------------
-- Rights
------------------------------------------------------------------------------------------------------------------

SELECT is_empty($$
	SELECT f.name, a.privilege_type
	  FROM member_function AS f
	  CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) AS a
	 WHERE a.grantee = 0
$$, 'no function is granted to PUBLIC');

SELECT is_empty($$
	SELECT r.name, a.privilege_type
	  FROM member_relation AS r
	  CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(r.relacl,
			pg_catalog.acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))) AS a
	 WHERE a.grantee = 0
	UNION ALL
	SELECT r.name || '.' || t.attname, a.privilege_type
	  FROM member_relation AS r
	  JOIN pg_catalog.pg_attribute AS t ON t.attrelid = r.oid
	  CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
	 WHERE a.grantee = 0
$$, 'no table, view, sequence or column is granted to PUBLIC');

SELECT is_empty($$
	SELECT t.name, a.privilege_type
	  FROM member_type AS t
	  CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner))) AS a
	 WHERE a.grantee = 0
$$, 'no type is granted to PUBLIC');

SELECT is_empty($$
	SELECT n.nspname, a.privilege_type
	  FROM member AS m
	  JOIN pg_catalog.pg_namespace AS n ON m.classid = 'pg_catalog.pg_namespace'::regclass AND n.oid = m.objid
	  CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) AS a
	 WHERE a.grantee = 0
$$, 'no schema is granted to PUBLIC');

------------------------------------------------------------------------------------------------------------------
-- Functions
------------------------------------------------------------------------------------------------------------------

-- A body that was parsed when the function was made (RETURN, BEGIN ATOMIC) looks nothing up by name any more; it may go
-- without, and must where it is to be inlined. A body kept as text may not.
SELECT is_empty($$
	SELECT f.name
	  FROM member_function AS f
	 WHERE f.lanname NOT IN ('c', 'internal')
	   AND f.prosqlbody IS NULL
	   AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) AS s WHERE s LIKE 'search\_path=%')
	 ORDER BY 1
$$, 'every function written in SQL or PL/pgSQL pins its search path, or has a body that was parsed when it was made');

SELECT is_empty($$
	SELECT f.name, s
	  FROM member_function AS f
	  CROSS JOIN LATERAL pg_catalog.unnest(f.proconfig) AS s
	 WHERE s LIKE 'search\_path=%'
	   AND s !~ '[=, ]"?pg_temp"?$'
$$, 'a pinned search path ends with pg_temp');

SELECT is_empty($$
	SELECT f.name, s
	  FROM member_function AS f
	  CROSS JOIN LATERAL pg_catalog.unnest(f.proconfig) AS s
	 WHERE s LIKE 'search\_path=%'
	   AND s ~ '"?\$user"?|[=, ]public\M'
$$, 'a pinned search path names no schema in which others create objects');

SELECT is_empty($$
	SELECT f.name
	  FROM member_function AS f
	 WHERE f.prosecdef
	   AND NOT EXISTS (SELECT FROM pg_catalog.unnest(f.proconfig) AS s WHERE s LIKE 'search\_path=%')
$$, 'a SECURITY DEFINER function pins its search path');

SELECT is_empty($$
	SELECT f.name, f.proparallel, f.provolatile
	  FROM member_function AS f
	 WHERE f.lanname = 'c'
	   AND f.proparallel = 'u'
	   AND f.oid NOT IN (SELECT u.oid FROM may_be_unsafe AS u)
	 ORDER BY 1
$$, 'a C function that writes nothing may run in a parallel plan');

-- Names with an empty pair of brackets are those in messages; what is called without arguments writes nothing and reads no feed.
SELECT is_empty($$
	SELECT f.name, f.proparallel, c.name, c.proparallel
	  FROM member_function AS f
	  JOIN member_function AS c
		ON (f.prosrc || coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), '')) ~ ('\mcrm\.' || c.proname || '\([^)]')
	 WHERE f.lanname NOT IN ('c', 'internal')
	   AND f.oid <> c.oid
	   AND (f.proparallel = 's' AND c.proparallel <> 's' OR f.proparallel = 'r' AND c.proparallel = 'u')
	 ORDER BY 1, 3
$$, 'no function is said to be safer in a parallel plan than one that it calls');

SELECT is_empty($$
	SELECT f.name, f.prosrc
	  FROM member_function AS f
	 WHERE f.lanname = 'c'
	   AND (f.prosrc !~ '^crm_[a-z]+_[a-z_0-9]+$'
			OR f.probin <> CASE WHEN f.prosrc LIKE 'crm\_address\_%' THEN '$libdir/crm_marketing_address'
								ELSE '$libdir/crm_marketing' END)
$$, 'C symbols are called crm_slice_verb, and come from the extension''s library; those of addresses from one of their own');

------------------------------------------------------------------------------------------------------------------
-- Dump
------------------------------------------------------------------------------------------------------------------

-- A partitioned table has no rows of its own; its partitions are made at run time and dumped as the shop's own tables.
SELECT is_empty($$
	SELECT r.name
	  FROM member_relation AS r
	 WHERE r.relkind IN ('r', 'S')
	   AND r.name NOT IN (SELECT n.name FROM not_dumped AS n)
	   AND r.oid NOT IN (SELECT pg_catalog.unnest(e.extconfig)
						   FROM pg_catalog.pg_extension AS e
						  WHERE e.extname = 'crm_marketing' AND e.extconfig IS NOT NULL)
	 ORDER BY 1
$$, 'every table and sequence is dumped with its rows, or is named here as one that need not be');

SELECT * FROM finish();

ROLLBACK;

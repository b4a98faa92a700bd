-- Nothing is granted to PUBLIC: crm.grant_access gives each role what it needs. Last of all the scripts, because
-- it goes through the members of the extension.

DO $do$
DECLARE
	member record;
BEGIN
	FOR member IN
		SELECT d.classid, d.objid
		  FROM pg_catalog.pg_depend AS d
		  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
		 WHERE e.extname = 'crm_marketing'
		   AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
		   AND d.deptype = 'e'
		   AND d.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)
		   -- Array types have no rights of their own, and row types are members only from PostgreSQL 16 on
		   AND NOT EXISTS (SELECT
							 FROM pg_catalog.pg_type AS t
							 LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
							WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
							  AND t.oid = d.objid
							  AND (t.typcategory = 'A' OR t.typtype = 'm' OR c.relkind <> 'c'))
		 ORDER BY d.classid, d.objid
	LOOP
		IF member.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN
			EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC',
									  member.objid::pg_catalog.regprocedure);
		ELSE
			EXECUTE pg_catalog.format('REVOKE ALL ON TYPE %s FROM PUBLIC',
									  member.objid::pg_catalog.regtype);
		END IF;
	END LOOP;
END
$do$;

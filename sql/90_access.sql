-- Rights for the roles that work with the extension: each level is a list of what a kind of user does.

CREATE FUNCTION crm.grant_access(role regrole, level text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	-- Everybody but the sender may call all that is not volatile, what the views call, and these, which write nothing
	readers CONSTANT text[] := ARRAY['is_member', 'members', 'preview', 'profile_of', 'segment_size', 'verify_segments'];
	-- and these at one's own level
	writers CONSTANT jsonb := '{
		"analyst":  [],
		"backend":  ["track", "identify"],
		"sender":   ["claim_messages", "ack", "nack", "record_delivery"],
		"marketer": ["create_segment", "create_static_segment", "alter_segment", "rename_segment", "drop_segment",
					 "add_to_segment", "remove_from_segment", "refresh_segments", "refresh_scores"]
	}';
	reads CONSTANT boolean := level <> 'sender';
	owner oid;
	statement text;
	foreign_feeds text;
BEGIN
	IF role IS NULL OR level IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'role and level must not be null';
	END IF;
	IF NOT writers ? level THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized level "%s"', level),
			HINT = 'Levels are: analyst, backend, sender, marketer.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = role) THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role %s does not exist', role);
	END IF;
	SELECT e.extowner INTO STRICT owner FROM pg_extension AS e WHERE e.extname = 'crm_marketing';
	IF NOT pg_has_role(current_user, owner, 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = 'must be owner of extension crm_marketing';
	END IF;

	FOR statement IN
		WITH member AS (
			SELECT d.classid, d.objid
			  FROM pg_depend AS d
			  JOIN pg_extension AS e ON e.oid = d.refobjid
			 WHERE e.extname = 'crm_marketing' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		)
		SELECT format('GRANT USAGE ON SCHEMA %s TO %s', m.objid::regnamespace, role)
		  FROM member AS m
		 WHERE m.classid = 'pg_namespace'::regclass
		UNION ALL
		SELECT format('GRANT USAGE ON TYPE %s TO %s', t.oid::regtype, role)
		  FROM member AS m
		  JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		  LEFT JOIN pg_class AS c ON c.oid = t.typrelid
		 WHERE t.typcategory <> 'A' AND t.typtype <> 'm' AND coalesce(c.relkind, 'c') = 'c'
		UNION ALL
		SELECT format('GRANT EXECUTE ON ROUTINE %s TO %s', p.oid::regprocedure, role)
		  FROM member AS m
		  JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		 WHERE writers -> level ? p.proname::text
			OR reads AND (p.provolatile <> 'v' OR p.proname = ANY (readers)
						  OR EXISTS (SELECT
									   FROM pg_depend AS u
									   JOIN pg_rewrite AS r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
									   JOIN member AS v ON v.classid = 'pg_class'::regclass AND v.objid = r.ev_class
									  WHERE u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid))
		UNION ALL
		SELECT format('GRANT SELECT ON TABLE %s TO %s', c.oid::regclass, role)
		  FROM member AS m
		  JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		 WHERE reads AND c.relkind IN ('r', 'p', 'v', 'm')
		UNION ALL
		SELECT format('GRANT SELECT ON TABLE %s TO %s', c.oid::regclass, role)
		  FROM pg_class AS c
		 WHERE reads
		   AND c.relnamespace = 'crm_feed'::regnamespace
		   AND c.relkind = 'v'
		   AND pg_has_role(current_user, c.relowner, 'USAGE')
	LOOP
		EXECUTE statement;
	END LOOP;

	IF reads THEN
		-- Feeds that will be defined, by whomever: views are made as the owner, and then given away with these rights
		EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA crm_feed GRANT SELECT ON TABLES TO %s',
					   owner::regrole, role);

		SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname) INTO foreign_feeds
		  FROM pg_class AS c
		 WHERE c.relnamespace = 'crm_feed'::regnamespace
		   AND c.relkind = 'v'
		   AND NOT pg_has_role(current_user, c.relowner, 'USAGE');
		IF foreign_feeds IS NOT NULL THEN
			RAISE NOTICE USING
				MESSAGE = format('these feeds belong to others and were not granted: %s', foreign_feeds),
				HINT = 'Their owners can grant SELECT on them.';
		END IF;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.grant_access(regrole, text) IS
'grants a role what it needs: level analyst reads everything and calls every function that only reads; backend does that and tracks events; marketer does that and makes segments; sender claims and acknowledges messages, and reads no table. Feeds that are defined later are granted too; call it again after ALTER EXTENSION ... UPDATE, and for a second level. Errors: 22023 unknown level, 22004 NULL, 42501 when the caller does not own the extension';

CREATE FUNCTION crm.revoke_access(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	owner oid;
	statement text;
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'role must not be null';
	END IF;
	SELECT e.extowner INTO STRICT owner FROM pg_extension AS e WHERE e.extname = 'crm_marketing';
	IF NOT pg_has_role(current_user, owner, 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = 'must be owner of extension crm_marketing';
	END IF;
	IF role = owner THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('role %s owns the extension', role);
	END IF;

	FOR statement IN
		WITH member AS (
			SELECT d.classid, d.objid
			  FROM pg_depend AS d
			  JOIN pg_extension AS e ON e.oid = d.refobjid
			 WHERE e.extname = 'crm_marketing' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		)
		SELECT format('REVOKE ALL ON SCHEMA %s FROM %s', m.objid::regnamespace, role)
		  FROM member AS m
		 WHERE m.classid = 'pg_namespace'::regclass
		UNION ALL
		SELECT format('REVOKE ALL ON TYPE %s FROM %s', t.oid::regtype, role)
		  FROM member AS m
		  JOIN pg_type AS t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		  LEFT JOIN pg_class AS c ON c.oid = t.typrelid
		 WHERE t.typcategory <> 'A' AND t.typtype <> 'm' AND coalesce(c.relkind, 'c') = 'c'
		UNION ALL
		SELECT format('REVOKE ALL ON ROUTINE %s FROM %s', m.objid::regprocedure, role)
		  FROM member AS m
		 WHERE m.classid = 'pg_proc'::regclass
		UNION ALL
		SELECT format('REVOKE ALL ON %s %s FROM %s',
					  CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, role)
		  FROM member AS m
		  JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S')
		UNION ALL
		SELECT format('REVOKE ALL ON TABLE %s FROM %s', c.oid::regclass, role)
		  FROM pg_class AS c
		 WHERE c.relnamespace = 'crm_feed'::regnamespace
		   AND c.relkind = 'v'
		   AND pg_has_role(current_user, c.relowner, 'USAGE')
	LOOP
		EXECUTE statement;
	END LOOP;
	EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA crm_feed REVOKE ALL ON TABLES FROM %s',
				   owner::regrole, role);
END
$function$;
COMMENT ON FUNCTION crm.revoke_access(regrole) IS
'takes back all that crm.grant_access has given to a role, of every level. Errors: 22004 NULL, 22023 the role owns the extension, 42501 when the caller does not own it';

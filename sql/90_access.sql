-- Rights for the roles that work with the extension: each level is a list of what a kind of user does.

CREATE FUNCTION crm.address_columns(relation regclass) RETURNS name[]
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN ARRAY(
	SELECT a.attname
	  FROM pg_attribute AS a
	  JOIN pg_class AS c ON c.oid = a.attrelid
	 WHERE a.attrelid = relation
	   AND a.attnum > 0
	   AND NOT a.attisdropped
	   AND CASE c.relnamespace::regnamespace::text
			   WHEN 'crm_feed' THEN a.attname IN (SELECT h.kind FROM crm.channel AS h)
			   WHEN 'crm' THEN (c.relname, a.attname) IN (
					('identity', 'value'), ('identity', 'raw'), ('shared_identity', 'value'), ('contact', 'address'),
					('suppression', 'address_hash'), ('erased', 'address_hash'), ('consent', 'proof'), ('event_key', 'event_key'),
					('watch', 'error'), ('promo_code', 'code'), ('customer_code', 'code'), ('message', 'code'), ('message', 'data'),
					('run', 'code'), ('run', 'event'), ('run', 'error'), ('task', 'note'), ('delivery', 'detail'),
					('audience_link', 'hash'), ('audience_ledger', 'hash'), ('audience_ledger', 'error'),
					('change_log_0', 'key'), ('change_log_1', 'key'), ('change_log_2', 'key'),
					('tick_error', 'message'), ('tick_error', 'detail'), ('tick_error', 'hint'), ('tick_error', 'context'))
		   END
	 ORDER BY a.attnum);
COMMENT ON FUNCTION crm.address_columns(regclass) IS
'the columns of a feed''s view that have addresses, which are those called as a kind of crm.channel (email, phone, telegram, push and others); and the columns of a table of ours that have addresses, their hashes, or what may tell one, or promo codes, which are worth money. NULL gives NULL';

CREATE FUNCTION crm.hide_addresses(feed regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	hidden CONSTANT name[] := crm.address_columns(feed);
	role regrole;
BEGIN
	IF cardinality(hidden) = 0 THEN
		RETURN;
	END IF;
	-- Whoever gets all feeds by crm.grant_access(), and reads no addresses elsewhere
	FOR role IN
		SELECT DISTINCT a.grantee
		  FROM pg_extension AS e
		  JOIN pg_default_acl AS d ON d.defaclrole = e.extowner AND d.defaclobjtype = 'r'
		 CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
		 WHERE e.extname = 'crm_marketing'
		   AND d.defaclnamespace = 'crm_feed'::regnamespace
		   AND a.privilege_type = 'SELECT'
		   AND a.grantee <> 0
		   AND NOT has_table_privilege(a.grantee, 'crm.identity', 'SELECT')
	LOOP
		EXECUTE format('REVOKE SELECT ON TABLE %s FROM %s', feed, role);
		EXECUTE (SELECT format('GRANT SELECT (%s) ON TABLE %s TO %s', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), feed, role)
				   FROM pg_attribute AS a
				  WHERE a.attrelid = feed AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (hidden));
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.hide_addresses(regclass) IS
'takes the columns with addresses of a new feed from the roles that get all feeds by crm.grant_access() and may not read crm.identity. For crm.define_customers(), crm.define_event() and crm.rebuild_feeds(), which call it';

CREATE FUNCTION crm.grant_access(role regrole, level text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	-- Who reads may call all that is not volatile, what the views call, and these, which write nothing
	readers CONSTANT text[] := ARRAY['is_member', 'members', 'preview', 'profile_of', 'segment_size', 'verify_segments'];
	-- save those that give or recognise addresses, if that is not one's work
	addresses CONSTANT text[] := ARRAY['audience_wanted', 'contact_for', 'contact_rows', 'contacts_of', 'customer_card', 'decide', 'duplicates',
									   'export_customer',
									   'find_customer', 'find_customers', 'is_erased', 'names_of_ids', 'read_attributes', 'refuse_erased'];
	-- and these at one's own level
	writers CONSTANT jsonb := '{
		"analyst":  [],
		"backend":  ["track", "identify", "link_identity", "unlink_identity", "set_contact", "reset_contact", "record_consent",
					 "unsubscribe", "suppress_address", "set_attributes", "add_tag", "remove_tag", "take_code", "redeem_code",
					 "release_code", "send_message", "record_delivery"],
		"operator": ["find_customer", "find_customers", "customer_card", "set_contact", "reset_contact", "record_consent",
					 "unsubscribe", "set_attributes", "add_tag", "remove_tag", "code_is_valid", "next_task", "finish_task", "now"],
		"sender":   ["claim_messages", "ack_messages", "nack_message", "release_messages", "record_delivery", "expire_leases", "unknown_messages",
					 "redrive_messages", "redrive", "claim_audience", "ack_audience", "nack_audience", "reconcile_audience", "now"],
		"marketer": ["create_segment", "create_static_segment", "alter_segment", "rename_segment", "drop_segment",
					 "add_to_segment", "remove_from_segment", "refresh_segments", "refresh_scores", "define_code_pool", "add_codes",
					 "withdraw_code", "drop_code_pool", "set_template", "drop_template", "create_campaign", "add_step",
					 "campaign_from_json", "start_campaign", "pause_campaign", "stop_campaign", "drop_campaign", "migrate_runs",
					 "create_broadcast", "set_cap", "drop_cap", "set_channel_rule", "create_audience", "drop_audience",
					 "add_to_audience", "remove_from_audience", "sync_audience", "retry_audience"]
	}';
	reads CONSTANT boolean := level IN ('analyst', 'backend', 'marketer');
	reads_addresses CONSTANT boolean := level = 'backend';
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
			HINT = 'Levels are: analyst, backend, marketer, operator, sender.';
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
		), readable AS (
			SELECT c.oid
			  FROM member AS m
			  JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
			 WHERE reads AND c.relkind IN ('r', 'p', 'v', 'm')
			 UNION
			SELECT c.oid
			  FROM pg_class AS c
			 WHERE reads
			   AND c.relnamespace = 'crm_feed'::regnamespace
			   AND c.relkind = 'v'
			   AND pg_has_role(current_user, c.relowner, 'USAGE')
		), hiding AS (
			SELECT r.oid, CASE WHEN reads_addresses THEN '{}'::name[] ELSE crm.address_columns(r.oid::regclass) END AS hidden
			  FROM readable AS r
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
			OR reads AND (reads_addresses OR p.proname <> ALL (addresses))
			   AND (p.provolatile <> 'v' OR p.proname = ANY (readers)
					OR EXISTS (SELECT
								 FROM pg_depend AS u
								 JOIN pg_rewrite AS r ON u.classid = 'pg_rewrite'::regclass AND r.oid = u.objid
								 JOIN member AS v ON v.classid = 'pg_class'::regclass AND v.objid = r.ev_class
								WHERE u.refclassid = 'pg_proc'::regclass AND u.refobjid = p.oid))
		UNION ALL
		-- What was no address when it was granted, as before crm.define_channel(), is taken back
		SELECT CASE WHEN cardinality(h.hidden) > 0 AND NOT has_table_privilege(role, 'crm.identity', 'SELECT')
					THEN format('REVOKE SELECT ON TABLE %s FROM %s; ', h.oid::regclass, role) ELSE '' END
			   || format('GRANT SELECT %s ON TABLE %s TO %s',
					  CASE WHEN cardinality(h.hidden) > 0
						   THEN (SELECT format('(%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
								   FROM pg_attribute AS a
								  WHERE a.attrelid = h.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (h.hidden)) END,
					  h.oid::regclass, role)
		  FROM hiding AS h
	LOOP
		EXECUTE statement;
	END LOOP;

	IF reads THEN
		-- Feeds that will be defined, by whomever: views are made as the owner, and then given away with these rights; what
		-- is too much, crm.hide_addresses() takes back at once
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
'grants a role what it needs. Level analyst reads everything and calls every function that only reads, save for addresses: columns that have them (crm.address_columns()) and functions that give them (crm.find_customer(), crm.customer_card(), crm.export_customer(), crm.contacts_of() and their like) are not granted, crm.profile_of() and crm.explain() show none, crm.identity_masked and crm.contact_masked have them masked; promo codes are not granted either. marketer does that, makes segments, code pools, templates, campaigns, caps, channel rules and ad audiences. backend reads addresses too, tracks events, stores identities, contacts, consents, attributes and tags, and takes, redeems and releases promo codes, sends messages and records deliveries. operator, in a call centre, reads no table: finds a customer, sees his card, sets contacts, consents, attributes and tags, and asks whether a promo code is valid, takes up and finishes tasks. sender claims and acknowledges messages and what is to be told to ad networks, and reads no table. Merging, erasing and retention are the owner''s. Feeds that are defined later are granted too, to analyst and marketer without the columns called as a kind of address; call it again after ALTER EXTENSION ... UPDATE or crm.define_channel(), and for a second level. Errors: 22023 unknown level, 22004 NULL, 42501 when the caller does not own the extension';

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

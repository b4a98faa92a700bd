-- The decision as it was before it was C: plain functions over arrays of messages, each verdict by a statement that says why. The
-- facts and the rows of contacts are asked of the extension, which other oracles are for.
CREATE SCHEMA oracle;

CREATE TYPE oracle.cap_room AS (
	person		bigint,
	max			int,
	channels	text[],
	purposes	text[],
	frees		timestamptz[],
	waiting		bigint[],
	taken		int
);

CREATE FUNCTION oracle.decide_by_facts(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	question record;
	answer record;
BEGIN
	-- Each predicate is asked of all together
	FOR question IN
		SELECT q.predicate, q.reason, q.forbids, array_agg(i.n ORDER BY i.n) AS numbers, array_agg(i.person ORDER BY i.n) AS persons,
			   array_agg(CASE WHEN q.reason = 'void' THEN i.entry ELSE decide_by_facts.at END ORDER BY i.n) AS instants,
			   array_agg(i.entry ORDER BY i.n) AS entries,
			   array_agg(CASE WHEN q.reason = 'void' THEN i.event_kind END ORDER BY i.n) AS kinds,
			   array_agg(CASE WHEN q.reason = 'void' THEN i.event_at END ORDER BY i.n) AS events
		  FROM (SELECT o.*, row_number() OVER () AS n FROM unnest(decide_by_facts.items) AS o) AS i
		  LEFT JOIN crm.guard AS g ON g.guard_id = i.guard_id
		 CROSS JOIN LATERAL (VALUES (1, g.trigger, 'void', false), (2, g.goal, 'goal', true), (3, i.condition, 'condition', false))
			AS q(o, predicate, reason, forbids)
		 WHERE i.verdict IS NULL AND q.predicate IS NOT NULL AND (q.reason <> 'void' OR i.event_kind IS NOT NULL)
		 GROUP BY q.o, q.predicate, q.reason, q.forbids
		 ORDER BY q.o
	LOOP
		FOR answer IN
			SELECT question.numbers[n.n] AS n, a.truth
			  FROM generate_subscripts(question.numbers, 1) AS n(n)
			  LEFT JOIN crm.ask_customers(question.predicate, question.persons, question.instants, question.entries, question.kinds, question.events)
						AS a ON a.number = n.n
		LOOP
			IF items[answer.n].verdict IS NULL AND answer.truth IS NOT DISTINCT FROM question.forbids THEN
				items[answer.n].verdict := question.reason;
			ELSIF items[answer.n].verdict IS NULL AND answer.truth IS NULL THEN
				items[answer.n].verdict := 'gone';
			END IF;
		END LOOP;
	END LOOP;
	RETURN items;
END
$function$;

CREATE FUNCTION oracle.cap_rooms(persons bigint[], at timestamptz) RETURNS SETOF oracle.cap_room
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	own bigint[] := '{}';							-- who has a time zone of his own
	zones text[] := '{}';
BEGIN
	IF EXISTS (SELECT FROM crm.cap AS c WHERE c.calendar IS NOT NULL) THEN
		SELECT coalesce(array_agg(z.customer_id), '{}'), coalesce(array_agg(z.zone), '{}') INTO own, zones FROM crm.zones_of(cap_rooms.persons) AS z;
	END IF;
	RETURN QUERY
		SELECT p.id, c.max, c.channels, c.purposes, coalesce(f.frees, '{}'), coalesce(f.waiting, '{}'), 0
		  FROM (SELECT u.id, u.id || ARRAY(SELECT a.alias FROM crm.alias AS a WHERE a.customer_id = u.id) AS ids, coalesce(zones[array_position(own, u.id)], crm.timezone()) AS zone
				  FROM unnest(cap_rooms.persons) AS u(id) OFFSET 0) AS p
		 CROSS JOIN crm.cap AS c
		 CROSS JOIN LATERAL (
			SELECT date_trunc(c.calendar, cap_rooms.at AT TIME ZONE p.zone) AT TIME ZONE p.zone AS begins,
				   (date_trunc(c.calendar, cap_rooms.at AT TIME ZONE p.zone) + ('1 ' || c.calendar)::interval) AT TIME ZONE p.zone AS ends) AS s
		 CROSS JOIN LATERAL (
			SELECT array_agg(e.ends ORDER BY e.ends) AS frees, array_agg(e.waiting) FILTER (WHERE e.waiting IS NOT NULL) AS waiting
			  FROM (SELECT CASE WHEN c.per IS NOT NULL THEN h.handed_at + c.per ELSE s.ends END AS ends, h.waiting
					  FROM (SELECT m.channel, m.purpose, m.handed_at, NULL::bigint AS waiting
							  FROM crm.message AS m
							 WHERE m.customer_id = ANY (p.ids) AND m.state NOT IN ('queued', 'unknown') AND m.handed_at IS NOT NULL
							   AND NOT m.transactional
							 UNION ALL
							SELECT m.channel, m.purpose, o.handed_at, CASE WHEN o.token IS NULL THEN o.message_id END
							  FROM crm.outbox AS o
							  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
							 WHERE o.customer_id = ANY (p.ids) AND o.handed_at IS NOT NULL AND NOT m.transactional) AS h
					 WHERE (c.channels IS NULL OR h.channel = ANY (c.channels)) AND (c.purposes IS NULL OR h.purpose = ANY (c.purposes))
					   AND CASE WHEN c.per IS NOT NULL THEN h.handed_at + c.per > cap_rooms.at ELSE h.handed_at >= s.begins END) AS e) AS f;
END
$function$;

CREATE FUNCTION oracle.decide_by_caps(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	rooms oracle.cap_room[] := ARRAY(SELECT r FROM oracle.cap_rooms(ARRAY(SELECT DISTINCT i.person FROM unnest(decide_by_caps.items) AS i
																	 WHERE i.verdict IS NULL), decide_by_caps.at) AS r);
	n int;
	r int;
	binding int[];
	full_at timestamptz;
BEGIN
	-- An auction: by priority, each takes a place under every cap that binds it, or none. What may have been sent already and is
	-- tried again has its place.
	FOR n, binding IN
		SELECT i.n, array_agg(o.n)
		  FROM (SELECT o.*, row_number() OVER () AS n FROM unnest(items) AS o) AS i
		  JOIN unnest(rooms) WITH ORDINALITY AS o(person, max, channels, purposes, frees, waiting, taken, n)
			   ON o.person = i.person AND (o.channels IS NULL OR i.channel = ANY (o.channels)) AND (o.purposes IS NULL OR i.purpose = ANY (o.purposes))
		 WHERE i.verdict IS NULL AND NOT i.transactional
		 GROUP BY i.n, i.priority, i.due_at, i.message_id
		 ORDER BY i.priority DESC, i.due_at, i.message_id
	LOOP
		full_at := NULL;
		FOREACH r IN ARRAY binding LOOP
			IF items[n].message_id <> ALL (rooms[r].waiting) AND cardinality(rooms[r].frees) + rooms[r].taken >= rooms[r].max THEN
				-- there is room when enough of what was had counts no more; if others only go first now, soon; if there never is,
				-- it may be thought better of
				full_at := greatest(full_at, CASE WHEN cardinality(rooms[r].frees) >= rooms[r].max
												  THEN coalesce(rooms[r].frees[cardinality(rooms[r].frees) - rooms[r].max + 1],
																 decide_by_caps.at + interval '1 day')
												  ELSE decide_by_caps.at + interval '1 minute' END);
			END IF;
		END LOOP;
		IF full_at IS NOT NULL THEN
			items[n].verdict := 'cap';
			items[n].until := full_at;
			CONTINUE;
		END IF;
		FOREACH r IN ARRAY binding LOOP
			rooms[r].taken := rooms[r].taken + CASE WHEN items[n].message_id = ANY (rooms[r].waiting) THEN 0 ELSE 1 END;
		END LOOP;
	END LOOP;
	RETURN items;
END
$function$;

CREATE FUNCTION oracle.decide(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	decided crm.claim_item[];
	item crm.claim_item;
	plain boolean := true;
	global_holdout CONSTANT int := (SELECT s.value::int FROM crm.setting AS s WHERE s.name = 'holdout');
BEGIN
	-- What the message itself and where it goes say; the address as crm.contact_for() finds it
	SELECT array_agg(ROW(i.message_id, i.customer_id, i.person, i.mine, i.channel, i.purpose, i.transactional, i.priority, i.due_at, i.useful_until,
						 i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, 
						 CASE WHEN g.state = 'stopped' THEN 'stopped'
							  WHEN i.useful_until < decide.at THEN 'late'
							  WHEN g.state = 'paused' THEN 'paused'
							  WHEN i.found IS NULL THEN 'no address'
							  WHEN NOT i.transactional AND NOT i.purpose = ANY (i.purposes) THEN 'no consent'
							  WHEN i.suppressed THEN 'suppressed'
							  WHEN NOT i.transactional AND (g.holdout > 0 AND crm.in_holdout(i.person, g.salt, g.holdout)
															OR global_holdout > 0 AND crm.in_holdout(i.person, 'global', global_holdout))
							  THEN 'holdout'
							  WHEN i.code IS NOT NULL AND NOT crm.code_is_valid(i.code, decide.at) THEN 'code' END,
						 -- as long as it is of use, the pause may end in time
						 CASE WHEN g.state = 'paused' AND coalesce(i.useful_until > decide.at, true)
							  THEN least(decide.at + interval '1 hour', i.useful_until) END,
						 i.found)::crm.claim_item ORDER BY i.n) INTO decided
	  FROM (SELECT DISTINCT ON (o.n) o.*, r.address AS found, r.purposes, r.suppressed
			  FROM (SELECT o.*, row_number() OVER () AS n FROM unnest(decide.items) AS o) AS o
			  LEFT JOIN crm.contact_rows(ARRAY(SELECT DISTINCT o.person FROM unnest(decide.items) AS o)) AS r
						ON r.customer_id = o.person AND r.channel = o.channel
			 ORDER BY o.n, o.transactional OR o.purpose = ANY (r.purposes) DESC, r.suppressed, r.id <> o.person, r.id) AS i
	  LEFT JOIN crm.guard AS g ON g.guard_id = i.guard_id;
	-- A message of the shop's own about an order asks for nothing more
	FOREACH item IN ARRAY decided LOOP
		plain := plain AND item.transactional AND item.guard_id IS NULL AND item.condition IS NULL;
	END LOOP;
	IF plain THEN
		RETURN decided;
	END IF;
	decided := oracle.decide_by_facts(decided, decide.at);

	-- What is put off only
	IF EXISTS (SELECT FROM crm.channel_rule AS r WHERE r.quiet_from IS NOT NULL AND r.channel IN (SELECT i.channel FROM unnest(decided) AS i)) THEN
		SELECT array_agg(ROW(i.message_id, i.customer_id, i.person, i.mine, i.channel, i.purpose, i.transactional, i.priority, i.due_at, i.useful_until,
							 i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, 
							 CASE WHEN q.until IS NOT NULL THEN 'quiet hours' ELSE i.verdict END, coalesce(q.until, i.until),
							 i.address)::crm.claim_item ORDER BY i.n) INTO decided
		  FROM (SELECT o.*, row_number() OVER () AS n FROM unnest(decided) AS o) AS i
		  LEFT JOIN crm.channel_rule AS r ON r.channel = i.channel
		  LEFT JOIN crm.zones_of(ARRAY(SELECT DISTINCT o.person FROM unnest(decided) AS o WHERE o.verdict IS NULL)) AS z ON z.customer_id = i.person
		  LEFT JOIN LATERAL (SELECT crm.quiet_until(decide.at, r.quiet_from, r.quiet_to, coalesce(z.zone, crm.timezone())) AS until) AS q
					ON i.verdict IS NULL AND NOT i.transactional;
	END IF;
	IF EXISTS (SELECT FROM crm.cap) THEN
		decided := oracle.decide_by_caps(decided, decide.at);
	END IF;
	RETURN decided;
END
$function$;

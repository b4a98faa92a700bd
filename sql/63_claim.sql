-- Handing out: crm.claim_messages(), where everything is decided.
--
-- Customers are locked first, and then a new snapshot is taken, which each statement below does by itself: what has committed
-- before, an order, a refusal, another message, is seen. What commits later is the one race that is left, and is seen as such in
-- the report. Two sessions never decide of one person at the same time, so caps are exact.

CREATE SEQUENCE crm.claim_token_seq;
COMMENT ON SEQUENCE crm.claim_token_seq IS 'tokens of hand-outs';

SELECT pg_catalog.pg_extension_config_dump('crm.claim_token_seq', '');

CREATE TYPE crm.claim_item AS (
	message_id		bigint,
	customer_id		bigint,
	person			bigint,
	mine			boolean,
	channel			text,
	purpose			text,
	transactional	boolean,
	priority		int,
	due_at			timestamptz,
	useful_until	timestamptz,
	guard_id		int,
	entry			timestamptz,
	event_kind		text,
	event_at		timestamptz,
	condition		crm.predicate,
	code			text,
	attempts		int,
	verdict			text,
	until			timestamptz,
	address			text
);
COMMENT ON TYPE crm.claim_item IS 'a message that is being decided: what it is, and the verdict (NULL: it may go; a reason, and until when it is put off, NULL: for good)';

CREATE FUNCTION crm.decide_by_facts(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
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
COMMENT ON FUNCTION crm.decide_by_facts(crm.claim_item[], timestamptz) IS
'decides messages by the facts of their customers: void, their deciding event decides nothing any more; goal, it is reached; condition, it is not true; gone, nothing is known of the customer';

CREATE TYPE crm.cap_room AS (
	person		bigint,
	max			int,
	channels	text[],
	purposes	text[],
	frees		timestamptz[],
	waiting		bigint[],
	taken		int
);
COMMENT ON TYPE crm.cap_room IS
'the room that a cap leaves a person: when what he has had so far is no longer counted, ascending, which messages of that wait to be handed out again, and how much of the room was given away since';

CREATE FUNCTION crm.cap_rooms(persons bigint[], at timestamptz) RETURNS SETOF crm.cap_room
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
							SELECT m.channel, m.purpose, o.handed_at, CASE WHEN o.lane >= 0 THEN o.message_id END
							  FROM crm.outbox AS o
							  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
							 WHERE o.customer_id = ANY (p.ids) AND o.handed_at IS NOT NULL AND NOT m.transactional) AS h
					 WHERE (c.channels IS NULL OR h.channel = ANY (c.channels)) AND (c.purposes IS NULL OR h.purpose = ANY (c.purposes))
					   AND CASE WHEN c.per IS NOT NULL THEN h.handed_at + c.per > cap_rooms.at ELSE h.handed_at >= s.begins END) AS e) AS f;
END
$function$;
COMMENT ON FUNCTION crm.cap_rooms(bigint[], timestamptz) IS
'the room that each cap leaves each of some people, who are no aliases, at an instant; whatever may have been sent is counted';

CREATE FUNCTION crm.decide_by_caps(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	rooms crm.cap_room[] := ARRAY(SELECT r FROM crm.cap_rooms(ARRAY(SELECT DISTINCT i.person FROM unnest(decide_by_caps.items) AS i
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
COMMENT ON FUNCTION crm.decide_by_caps(crm.claim_item[], timestamptz) IS
'decides which of the messages that may go otherwise the caps have room for: those of the highest priority, then those that were due first';

CREATE FUNCTION crm.decide(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
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
						 i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, i.attempts,
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
	decided := crm.decide_by_facts(decided, decide.at);

	-- What is put off only
	IF EXISTS (SELECT FROM crm.channel_rule AS r WHERE r.quiet_from IS NOT NULL AND r.channel IN (SELECT i.channel FROM unnest(decided) AS i)) THEN
		SELECT array_agg(ROW(i.message_id, i.customer_id, i.person, i.mine, i.channel, i.purpose, i.transactional, i.priority, i.due_at, i.useful_until,
							 i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, i.attempts,
							 CASE WHEN q.until IS NOT NULL THEN 'quiet hours' ELSE i.verdict END, coalesce(q.until, i.until),
							 i.address)::crm.claim_item ORDER BY i.n) INTO decided
		  FROM (SELECT o.*, row_number() OVER () AS n FROM unnest(decided) AS o) AS i
		  LEFT JOIN crm.channel_rule AS r ON r.channel = i.channel
		  LEFT JOIN crm.zones_of(ARRAY(SELECT DISTINCT o.person FROM unnest(decided) AS o WHERE o.verdict IS NULL)) AS z ON z.customer_id = i.person
		  LEFT JOIN LATERAL (SELECT crm.quiet_until(decide.at, r.quiet_from, r.quiet_to, coalesce(z.zone, crm.timezone())) AS until) AS q
					ON i.verdict IS NULL AND NOT i.transactional;
	END IF;
	IF EXISTS (SELECT FROM crm.cap) THEN
		decided := crm.decide_by_caps(decided, decide.at);
	END IF;
	RETURN decided;
END
$function$;
COMMENT ON FUNCTION crm.decide(crm.claim_item[], timestamptz) IS
'decides messages of people who are no aliases, all that are due of each where a cap binds them: the verdict of each (NULL: it may go, at the address), and until when it is put off. Writes nothing';

CREATE FUNCTION crm.claim_messages(channel text, worker text DEFAULT NULL, max int DEFAULT 100, lease interval DEFAULT NULL,
								   at timestamptz DEFAULT crm.now())
	RETURNS TABLE (message_id bigint, token bigint, customer_id bigint, address text, content jsonb, campaign text, step text, purpose text,
				   attempt int)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
	SET plan_cache_mode = force_generic_plan		-- planning would take longer than all the rest
AS $function$
DECLARE
	rule crm.channel_rule;
	positions record;
	candidates record;
	items crm.claim_item[];
	handed bigint[];
	parts jsonb[];
	contents jsonb[];
	contexts jsonb[];
	room int := claim_messages.max;
	refused boolean;
	looked_at int := 0;
	item crm.claim_item;
	number bigint;
	n int;
	message text;
BEGIN
	IF claim_messages.channel IS NULL OR claim_messages.max IS NULL OR claim_messages.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'channel, number and instant of a claim must not be null';
	ELSIF claim_messages.max NOT BETWEEN 1 AND 500 OR NOT isfinite(claim_messages.at) OR claim_messages.lease < interval '1 second'
		OR claim_messages.lease > interval '1 day' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'invalid claim',
			DETAIL = 'It is of 1 to 500 messages, at a finite instant, for a second to a day.';
	ELSIF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'active_sql_transaction',
			MESSAGE = 'messages cannot be claimed in a repeatable read or serializable transaction',
			DETAIL = 'What was committed before they are handed out must be seen.',
			HINT = 'Use the isolation level READ COMMITTED.';
	END IF;
	SELECT r.* INTO rule FROM crm.channel_rule AS r WHERE r.channel = claim_messages.channel;
	IF NOT FOUND THEN
		PERFORM crm.channel_kind(claim_messages.channel);
		rule.lease := '5 minutes';
	END IF;
	IF rule.rate IS NOT NULL THEN
		PERFORM pg_advisory_xact_lock(hashtext('crm.handed'), hashtext(claim_messages.channel));
		room := least(room, rule.rate - coalesce((SELECT sum(h.count) FROM crm.handed AS h
												   WHERE h.channel = claim_messages.channel AND h.at > claim_messages.at - rule.rate_per), 0));
		IF room <= 0 THEN
			RETURN;
		END IF;
	END IF;

	-- Leases that have run out, then what is due: the highest priority first, and nobody whom another session has in hand
	positions := crm.queue_positions(claim_messages.channel);
	IF EXISTS (SELECT FROM crm.outbox AS o
				WHERE o.channel = claim_messages.channel AND o.lane = -1 AND o.due_at <= claim_messages.at
				  AND (o.due_at, o.message_id) >= (positions.due[1], positions.message[1])) THEN
		PERFORM crm.expire_leases(claim_messages.at, claim_messages.channel);
	END IF;
	LOOP
		WITH found AS MATERIALIZED (
			SELECT f.message_id, f.customer_id, f.lane, f.due_at, row_number() OVER () AS n
			  FROM generate_series(9, 0, -1) AS l(lane)
			 CROSS JOIN LATERAL (
				SELECT o.message_id, o.customer_id, o.lane, o.due_at
				  FROM crm.outbox AS o
				 WHERE o.channel = claim_messages.channel AND o.lane = l.lane AND o.due_at <= claim_messages.at
				   AND (o.due_at, o.message_id) >= (positions.due[l.lane + 2], positions.message[l.lane + 2])
				 ORDER BY o.due_at, o.message_id
				 LIMIT room
				   FOR UPDATE SKIP LOCKED) AS f
			 LIMIT room
		), locked AS MATERIALIZED (
			SELECT p.person, pg_try_advisory_xact_lock(hashtext('crm.message'), hashint8(p.person))
							 AND pg_try_advisory_xact_lock_shared(hashtext('crm.alias'), hashint8(p.person) & 1023) AS locked
			  FROM (SELECT DISTINCT coalesce(a.customer_id, f.customer_id) AS person
					  FROM found AS f LEFT JOIN crm.alias AS a ON a.alias = f.customer_id) AS p
		)
		SELECT array_agg(f.message_id ORDER BY f.n) AS ids, (SELECT array_agg(l.person) FROM locked AS l WHERE l.locked) AS persons,
			   array_agg(f.lane::int ORDER BY f.n) AS lanes, array_agg(f.due_at ORDER BY f.n) AS due
		  INTO candidates
		  FROM found AS f;
		IF candidates.ids IS NULL THEN
			RETURN;
		END IF;
		looked_at := looked_at + cardinality(candidates.ids);
		PERFORM crm.remember_positions(claim_messages.channel, candidates.lanes, candidates.due, candidates.ids);
		IF candidates.persons IS NULL THEN
			RETURN;
		END IF;

		-- From here on with what is committed now
		SELECT array_agg(ROW(m.message_id, m.customer_id, p.person, true, m.channel, m.purpose, m.transactional, m.priority, o.due_at,
							 m.useful_until, m.guard_id, m.entry, m.event_kind, m.event_at, m.condition, m.code, o.attempts,
							 NULL, NULL, NULL)::crm.claim_item ORDER BY m.message_id) INTO items
		  FROM unnest(candidates.ids) AS c(id)
		  JOIN crm.outbox AS o ON o.message_id = c.id AND o.lane >= 0
		  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
		  LEFT JOIN crm.alias AS a ON a.alias = o.customer_id
		 CROSS JOIN LATERAL (SELECT coalesce(a.customer_id, o.customer_id) AS person) AS p
		 WHERE p.person = ANY (candidates.persons);			-- he may have been merged just before he was locked
		IF items IS NULL THEN
			RETURN;
		END IF;
		-- Under a cap, what else is due of these people counts that goes before any of it
		IF EXISTS (SELECT FROM crm.cap) THEN
			items := items || ARRAY(
				SELECT ROW(m.message_id, m.customer_id, p.person, false, m.channel, m.purpose, m.transactional, m.priority, o.due_at,
						   m.useful_until, m.guard_id, m.entry, m.event_kind, m.event_at, m.condition, m.code, o.attempts,
						   NULL, NULL, NULL)::crm.claim_item
				  FROM (SELECT DISTINCT ON (i.person) i.person, i.priority, i.due_at, i.message_id
						  FROM unnest(items) AS i
						 WHERE NOT i.transactional
						 ORDER BY i.person, i.priority, i.due_at DESC, i.message_id DESC) AS p
				 CROSS JOIN LATERAL (SELECT p.person UNION ALL SELECT a.alias FROM crm.alias AS a WHERE a.customer_id = p.person) AS i(id)
				  JOIN crm.outbox AS o ON o.customer_id = i.id AND o.lane >= p.priority AND o.due_at <= claim_messages.at
									   AND (o.lane > p.priority OR (o.due_at, o.message_id) < (p.due_at, p.message_id))
				  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
				 WHERE NOT m.transactional AND m.message_id <> ALL (candidates.ids));
		END IF;
		items := crm.decide(items, claim_messages.at);

		-- What is not to go, with its reason; where it is put off beyond its use, too
		refused := false;
		FOREACH item IN ARRAY items LOOP
			refused := refused OR item.mine AND item.verdict IS NOT NULL;
		END LOOP;
		IF refused THEN
			WITH refused AS MATERIALIZED (
				SELECT i.message_id, i.customer_id, i.verdict
				  FROM unnest(items) AS i
				 WHERE i.mine AND i.verdict IS NOT NULL AND (i.until IS NULL OR i.until > i.useful_until)
			), gone AS (
				DELETE FROM crm.outbox AS o USING refused AS r WHERE o.message_id = r.message_id
				RETURNING o.message_id, o.customer_id, o.handed_at, r.verdict
			)
			UPDATE crm.message AS m
			   SET state = 'suppressed', reason = g.verdict, handed_at = g.handed_at, finished_at = claim_messages.at
			  FROM gone AS g
			 WHERE m.customer_id = g.customer_id AND m.message_id = g.message_id;
			UPDATE crm.outbox AS o
			   SET due_at = i.until, reason = i.verdict
			  FROM unnest(items) AS i
			 WHERE o.message_id = i.message_id AND i.mine AND i.verdict IS NOT NULL AND i.until IS NOT NULL
			   AND (i.useful_until IS NULL OR i.until <= i.useful_until);
		END IF;

		-- What goes: each template is looked up once, and all are filled together; only when one has an error each by itself
		WITH going AS MATERIALIZED (
			SELECT i.message_id, i.customer_id, i.person, i.priority, i.due_at, m.template, m.channel, m.language, m.code, m.campaign, m.step, m.data
			  FROM unnest(items) AS i
			  JOIN crm.message AS m ON m.customer_id = i.customer_id AND m.message_id = i.message_id
			 WHERE i.mine AND i.verdict IS NULL
		), template AS MATERIALIZED (
			SELECT d.template, d.channel, d.language, (crm.newest_template(d.template, d.channel, d.language)).parts
			  FROM (SELECT DISTINCT g.template, g.channel, g.language FROM going AS g) AS d
		)
		SELECT array_agg(g.message_id ORDER BY g.priority DESC, g.due_at, g.message_id),
			   array_agg(t.parts ORDER BY g.priority DESC, g.due_at, g.message_id),
			   array_agg(jsonb_build_object('customer', CASE WHEN strpos(t.parts::text, 'customer') > 0
															 THEN (SELECT jsonb_object_agg(a.name, a.value) FROM crm.attributes_of(crm.profile_of(g.person)) AS a) END,
											'code', g.code, 'message', jsonb_build_object('id', g.message_id, 'campaign', g.campaign, 'step', g.step))
						 || coalesce(g.data, '{}') ORDER BY g.priority DESC, g.due_at, g.message_id)
		  INTO handed, parts, contexts
		  FROM going AS g
		  JOIN template AS t ON t.template = g.template AND t.channel = g.channel AND t.language = g.language;
		IF handed IS NULL THEN
			-- what is not to go must not keep others waiting that are
			CONTINUE WHEN refused AND looked_at < 1000;
			RETURN;
		END IF;
		BEGIN
			SELECT array_agg(crm.render_parts(h.parts, h.context) ORDER BY h.n) INTO contents
			  FROM unnest(parts, contexts) WITH ORDINALITY AS h(parts, context, n);
		EXCEPTION WHEN OTHERS THEN
			contents := array_fill(NULL::jsonb, ARRAY[cardinality(handed)]);
			FOR n IN 1 .. cardinality(handed) LOOP
				BEGIN
					contents[n] := crm.render_parts(parts[n], contexts[n]);
				EXCEPTION WHEN OTHERS THEN
					GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
					PERFORM crm.bury_message(handed[n], message, claim_messages.at);
				END;
			END LOOP;
		END;
		IF array_position(parts, NULL) IS NOT NULL THEN
			PERFORM crm.bury_message(h.id, 'there is no such template', claim_messages.at)
			   FROM unnest(handed, parts) AS h(id, parts) WHERE h.parts IS NULL;
		END IF;

		-- What is handed out is sent before long: a crash must not forget it
		IF current_setting('synchronous_commit') = 'off' THEN
			PERFORM set_config('synchronous_commit', 'on', true);
		END IF;
		number := nextval('crm.claim_token_seq');
		IF rule.rate IS NOT NULL THEN
			DELETE FROM crm.handed AS h WHERE h.channel = claim_messages.channel AND h.at < claim_messages.at - rule.rate_per - interval '1 minute';
			INSERT INTO crm.handed (channel, at, count) VALUES (claim_messages.channel, claim_messages.at, cardinality(handed));
		END IF;
		RETURN QUERY
			WITH taken AS (
				UPDATE crm.outbox AS o
				   SET lane = -1, due_at = claim_messages.at + coalesce(claim_messages.lease, rule.lease), attempts = o.attempts + 1,
					   token = number, worker = claim_messages.worker, handed_at = claim_messages.at, reason = NULL
				  FROM unnest(handed) WITH ORDINALITY AS h(id, n)
				 WHERE o.message_id = h.id AND contents[h.n] IS NOT NULL
				RETURNING o.message_id, o.attempts, h.n
			)
			SELECT t.message_id, number, i.person, i.address, contents[t.n], m.campaign, m.step, m.purpose, t.attempts::int
			  FROM taken AS t
			  JOIN unnest(items) AS i ON i.message_id = t.message_id
			  JOIN crm.message AS m ON m.customer_id = i.customer_id AND m.message_id = i.message_id
			 ORDER BY t.n;
		RETURN;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.claim_messages(text, text, int, interval, timestamptz) IS
'hands out messages of a channel that are due, at most max (1 to 500), the highest priority first, to a sender who calls himself worker: each with the id that the provider is to be given as key, a token for crm.ack_messages() and crm.nack_message(), the customer, the address, and the rendered content by part. Whether each may go is decided now, with what has committed by now: stopped, late, address, consent, suppression, holdout, code, deciding event, goal, condition, quiet hours, caps. What may not is finished with the reason, or put off. Commit before sending; the commit waits for the disk, whatever synchronous_commit says. Who says nothing until the lease ends (default: the channel''s rule, else 5 minutes) may have sent them: unknown. Customers whom another claim has in hand are left to the next call. Errors: 22004 NULL channel, max or instant, 22023 an invalid number, instant or lease, 42704 unknown channel, 25001 in a repeatable read or serializable transaction';

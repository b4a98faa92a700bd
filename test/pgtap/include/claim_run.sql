-- A claim by the oracle, which writes nothing, beside the real one.

-- What became of messages that wait: handed, with the place among them; suppressed, dead, with the reason; or put off to when
CREATE TYPE oracle.fate AS (
	message_id	bigint,
	what		text,
	reason		text,
	until		timestamptz,
	address		text,
	n			bigint
);

CREATE FUNCTION oracle.items(at timestamptz, channel text, max int, but bigint[]) RETURNS crm.claim_item[]
	LANGUAGE sql STABLE
AS $f$
	SELECT array_agg(ROW(m.message_id, m.customer_id, crm.resolve_customer(m.customer_id), true, m.channel, m.purpose, m.transactional, m.priority,
						 o.due_at, m.useful_until, m.guard_id, m.entry, m.event_kind, m.event_at, m.condition, m.code, NULL, NULL, NULL)::crm.claim_item
					 ORDER BY o.lane DESC, o.due_at, o.message_id)
	  FROM (SELECT o.* FROM crm.outbox AS o
			 WHERE o.lane >= 0 AND o.token IS NULL AND o.due_at <= items.at AND (items.channel IS NULL OR o.channel = items.channel)
			   AND o.message_id <> ALL (but)
			 ORDER BY o.lane DESC, o.due_at, o.message_id LIMIT max) AS o
	  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
$f$;

CREATE FUNCTION oracle.claim(channel text, max int, at timestamptz) RETURNS SETOF oracle.fate
	LANGUAGE plpgsql STABLE
AS $f$
DECLARE
	rule crm.channel_rule;
	room int := max;
	items crm.claim_item[];
	mine bigint[];
	seen bigint[] := '{}';
	item crm.claim_item;
	message crm.message;
	handed bigint := 0;
	refused boolean;
BEGIN
	SELECT r.* INTO rule FROM crm.channel_rule AS r WHERE r.channel = claim.channel;
	IF rule.rate IS NOT NULL THEN
		room := least(room, rule.rate - (SELECT coalesce(sum(h.count), 0) FROM crm.handed AS h WHERE h.channel = claim.channel AND h.at > claim.at - rule.rate_per));
	END IF;
	WHILE room > 0 LOOP
		items := oracle.items(at, channel, room, seen);
		EXIT WHEN items IS NULL;
		mine := ARRAY(SELECT i.message_id FROM unnest(items) AS i);
		seen := seen || mine;
		-- all else that is due of these people, whatever its priority: that is the plain rule
		SELECT items || array_agg(ROW(i.message_id, i.customer_id, i.person, false, i.channel, i.purpose, i.transactional, i.priority, i.due_at,
									  i.useful_until, i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, NULL, NULL, NULL)::crm.claim_item)
		  INTO items
		  FROM unnest(oracle.items(at, NULL, NULL, seen)) AS i WHERE i.person IN (SELECT o.person FROM unnest(items) AS o);
		items := oracle.decide(items, at);
		refused := false;
		FOR item IN SELECT * FROM unnest(items) AS i WHERE i.mine ORDER BY i.priority DESC, i.due_at, i.message_id LOOP
			SELECT m.* INTO message FROM crm.message AS m WHERE m.message_id = item.message_id;
			IF item.verdict IS NULL AND message.template = 'hello' THEN
				handed := handed + 1;
				RETURN NEXT ROW(item.message_id, 'handed', NULL, NULL, item.address, handed)::oracle.fate;
				CONTINUE;
			END IF;
			refused := true;
			IF item.verdict IS NULL THEN
				RETURN NEXT ROW(item.message_id, 'dead', CASE message.template WHEN 'bad' THEN 'bad' ELSE 'there is no such template' END, NULL, NULL, NULL)::oracle.fate;
			ELSIF item.until IS NULL OR item.until > item.useful_until THEN
				RETURN NEXT ROW(item.message_id, 'suppressed', item.verdict, NULL, NULL, NULL)::oracle.fate;
			ELSE
				RETURN NEXT ROW(item.message_id, 'put off', item.verdict, item.until, NULL, NULL)::oracle.fate;
			END IF;
		END LOOP;
		EXIT WHEN handed > 0 OR NOT refused OR cardinality(seen) >= 1000;
	END LOOP;
END
$f$;

CREATE TABLE oracle.waited (message_id bigint, due_at timestamptz, reason text);
CREATE TABLE oracle.claimed (message_id bigint, token bigint, customer_id bigint, address text, content jsonb, campaign text, step text, purpose text, attempt int,
							 ordinality bigint);

-- The same, as the real one has it done
CREATE FUNCTION oracle.real_claim(channel text, max int, at timestamptz) RETURNS SETOF oracle.fate
	LANGUAGE plpgsql VOLATILE
AS $f$
BEGIN
	DELETE FROM oracle.waited;
	DELETE FROM oracle.claimed;
	INSERT INTO oracle.waited SELECT o.message_id, o.due_at, o.reason FROM crm.outbox AS o WHERE o.token IS NULL;
	PERFORM crm.forget_positions();
	INSERT INTO oracle.claimed SELECT * FROM crm.claim_messages(channel, 'me', max, at => at) WITH ORDINALITY AS c;
	RETURN QUERY
		SELECT c.message_id, 'handed', CASE WHEN c.content ->> 'text' NOT LIKE c.message_id || '%' OR o.token IS DISTINCT FROM c.token
											  OR c.attempt <> o.attempts OR o.handed_at <> real_claim.at OR c.customer_id <> crm.resolve_customer(o.customer_id)
											THEN 'wrong row' END, NULL::timestamptz, c.address, c.ordinality
		  FROM oracle.claimed AS c
		  LEFT JOIN crm.outbox AS o ON o.message_id = c.message_id;
	RETURN QUERY
		SELECT w.message_id, CASE WHEN o.message_id IS NOT NULL THEN 'put off' ELSE m.state END,
			   CASE WHEN o.message_id IS NOT NULL THEN o.reason WHEN m.template = 'bad' AND m.state = 'dead' THEN 'bad' ELSE m.reason END,
			   o.due_at, NULL, NULL::bigint
		  FROM oracle.waited AS w
		  JOIN crm.message AS m USING (message_id)
		  LEFT JOIN crm.outbox AS o USING (message_id)
		 WHERE o.message_id IS NULL OR o.token IS NULL AND (o.due_at, o.reason) IS DISTINCT FROM (w.due_at, w.reason);
END
$f$;

CREATE TABLE oracle.difference (seed float, what text, detail text);
CREATE TABLE oracle.seen (what text);
CREATE TABLE oracle.handed (n bigint);

-- What may happen between two claims
CREATE FUNCTION oracle.go_on(now timestamptz) RETURNS void
	LANGUAGE plpgsql
AS $f$
DECLARE
	handed record;
BEGIN
	FOR handed IN SELECT o.token, array_agg(o.message_id) AS ids FROM crm.outbox AS o WHERE o.token IS NOT NULL AND oracle.chance(0.6) GROUP BY 1, o.message_id % 3 LOOP
		CASE floor(random() * 4)
			WHEN 0, 1 THEN PERFORM crm.ack_messages(handed.ids, handed.token, at => now);
			WHEN 2 THEN PERFORM crm.nack_message(i, handed.token, 'busy', oracle.one_of(NULL, '0', '1 hour')::interval, oracle.chance(0.1), now) FROM unnest(handed.ids) AS i;
			ELSE PERFORM crm.release_messages(handed.ids, handed.token);
		END CASE;
	END LOOP;
	PERFORM crm.expire_leases(now);
	IF oracle.chance(0.2) THEN
		PERFORM crm.redrive(oracle.one_of('email', 'sms'), oracle.one_of('dead', 'unknown'), at => now);
	END IF;
	PERFORM crm.set_guard_state(g.guard_id, oracle.one_of('on', 'on', 'paused')) FROM (SELECT g.guard_id FROM crm.guard AS g WHERE oracle.chance(0.2)) AS g;
	INSERT INTO orders SELECT 1 + floor(random() * 30), oracle.instant(now, 1, 0) FROM generate_series(1, 2);
	PERFORM oracle.add_messages(now, 10);
END
$f$;

CREATE FUNCTION oracle.compare(seed float, claims int) RETURNS void
	LANGUAGE plpgsql
AS $f$
DECLARE
	now timestamptz;
	channel text;
	max int;
	items crm.claim_item[];
	wanted crm.claim_item[];
	expected oracle.fate[];
	real oracle.fate[];
BEGIN
	PERFORM setseed(seed);
	now := '2026-03-28 00:00Z'::timestamptz + interval '1 hour' * floor(random() * 100);
	PERFORM oracle.make_people(now);
	PERFORM oracle.make_outbox(now);
	FOR claim IN 1 .. claims LOOP
		PERFORM set_config('crm_marketing.now', now::text, false);
		items := oracle.items(now, NULL, NULL, '{}');
		wanted := oracle.decide(items, now);
		items := crm.decide(items, now);
		INSERT INTO oracle.difference
		SELECT seed, format('decision of claim %s at %s', claim, now), format('%s: is %s %s %s, should be %s %s %s', i.message_id, i.verdict, i.until, i.address, w.verdict, w.until, w.address)
		  FROM unnest(items) WITH ORDINALITY AS i FULL JOIN unnest(wanted) WITH ORDINALITY AS w USING (ordinality)
		 WHERE (i.message_id, i.verdict, i.until, i.address) IS DISTINCT FROM (w.message_id, w.verdict, w.until, w.address);
		INSERT INTO oracle.seen SELECT coalesce(w.verdict, 'goes') || CASE WHEN w.until IS NOT NULL THEN ' until' ELSE '' END FROM unnest(wanted) AS w;

		channel := oracle.one_of('email', 'email', 'sms', 'whatsapp');
		max := oracle.one_of('1', '3', '10', '40', '500')::int;
		PERFORM crm.expire_leases(now, channel);
		expected := ARRAY(SELECT f FROM oracle.claim(channel, max, now) AS f ORDER BY f.message_id);
		real := ARRAY(SELECT f FROM oracle.real_claim(channel, max, now) AS f ORDER BY f.message_id);
		INSERT INTO oracle.difference
		SELECT seed, format('claim %s of %s %s at %s', claim, max, channel, now), format('is %s, should be %s', r, e)
		  FROM unnest(real) AS r FULL JOIN unnest(expected) AS e ON e.message_id = r.message_id
		 WHERE r IS DISTINCT FROM e;
		INSERT INTO oracle.handed SELECT count(*) FROM unnest(expected) AS e WHERE e.what = 'handed';
		now := now + oracle.one_of('1 minute', '7 minutes', '1 hour', '6 hours')::interval;
		PERFORM set_config('crm_marketing.now', now::text, false);
		PERFORM oracle.go_on(now);
	END LOOP;
END
$f$;

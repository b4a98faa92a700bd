-- Stored scores: what refresh_scores() has found out of each customer, offered to predicates as attributes and events.

CREATE TABLE crm.customer_score (
	customer_id		bigint NOT NULL PRIMARY KEY,
	rfm				crm.rfm,
	rfm_segment		text,
	ltv				numeric,
	p_alive			numeric,
	abc				text,
	xyz				text,
	next_order		timestamptz
);
COMMENT ON TABLE crm.customer_score IS
'scores of the customers who have ordered, as stored by the last crm.refresh_scores(); predicates see them as attributes';
COMMENT ON COLUMN crm.customer_score.customer_id IS 'customer';
COMMENT ON COLUMN crm.customer_score.rfm IS 'scores for recency, frequency and monetary, as crm.rfm_scores()';
COMMENT ON COLUMN crm.customer_score.rfm_segment IS 'what the map names for rfm, as crm.rfm_segment()';
COMMENT ON COLUMN crm.customer_score.ltv IS
'what is to be expected of the customer in the months to come, as clv of crm.clv(), to two digits; NULL where the model did not converge';
COMMENT ON COLUMN crm.customer_score.p_alive IS 'probability that he is still a customer, as crm.clv(), to four digits';
COMMENT ON COLUMN crm.customer_score.abc IS 'class by revenue, as crm.customer_abc_xyz(); NULL without an order in its periods';
COMMENT ON COLUMN crm.customer_score.xyz IS 'class by evenness, as crm.customer_abc_xyz()';
COMMENT ON COLUMN crm.customer_score.next_order IS 'when the next order is expected, as crm.next_orders(); may have passed';

CREATE TABLE crm.item_due (
	customer_id		bigint NOT NULL,
	item			text NOT NULL,
	at				timestamptz NOT NULL,
	PRIMARY KEY (customer_id, item)
);
COMMENT ON TABLE crm.item_due IS
'when customers are expected to buy their cyclic items again, as stored by the last crm.refresh_scores() from crm.customer_cycles(); predicates see events of kind "due"';
COMMENT ON COLUMN crm.item_due.customer_id IS 'customer';
COMMENT ON COLUMN crm.item_due.item IS 'what';
COMMENT ON COLUMN crm.item_due.at IS 'when; may have passed, then he is late';

CREATE SEQUENCE crm.score_change_id_seq;
COMMENT ON SEQUENCE crm.score_change_id_seq IS 'ids of entries in crm.score_change';

CREATE TABLE crm.score_change (
	change_id		bigint NOT NULL DEFAULT pg_catalog.nextval('crm.score_change_id_seq'),
	customer_id		bigint NOT NULL,
	at				timestamptz NOT NULL,
	name			text NOT NULL,
	old				text,
	new				text,
	PRIMARY KEY (customer_id, change_id)
);
CREATE INDEX score_change_at_idx ON crm.score_change (at);
COMMENT ON TABLE crm.score_change IS
'log of the classes that customers came to by crm.refresh_scores(): rfm, rfm_segment, abc, xyz. Its first call logs nothing. Predicates see events of kind "score": has score[name = ''rfm_segment'' and old = ''Champions''] in last 7 days';
COMMENT ON COLUMN crm.score_change.change_id IS 'number of the entry';
COMMENT ON COLUMN crm.score_change.customer_id IS 'who';
COMMENT ON COLUMN crm.score_change.at IS 'the instant that the scores were computed for';
COMMENT ON COLUMN crm.score_change.name IS 'which score';
COMMENT ON COLUMN crm.score_change.old IS 'what it was; NULL for somebody new';
COMMENT ON COLUMN crm.score_change.new IS 'what it is; NULL for somebody who has it no more';

SELECT pg_catalog.pg_extension_config_dump('crm.customer_score', '');
SELECT pg_catalog.pg_extension_config_dump('crm.item_due', '');
SELECT pg_catalog.pg_extension_config_dump('crm.score_change_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.score_change', '');

------------------------------------------------------------------------------------------------------------------
-- What the profile sees of them: feeds of our own, as a shop would define them
------------------------------------------------------------------------------------------------------------------

CREATE VIEW crm_feed."customer.score" AS
	SELECT s.customer_id, s.rfm::text AS rfm, crm.rfm_r(s.rfm) AS rfm_r, crm.rfm_f(s.rfm) AS rfm_f,
		   crm.rfm_m(s.rfm) AS rfm_m, s.rfm_segment, s.ltv, s.p_alive, s.abc, s.xyz, s.next_order
	  FROM crm.customer_score AS s;
COMMENT ON VIEW crm_feed."customer.score" IS 'stored scores as attributes of customers; see crm.customer_score';
COMMENT ON COLUMN crm_feed."customer.score".customer_id IS 'customer';
COMMENT ON COLUMN crm_feed."customer.score".rfm IS 'as 5-4-3';
COMMENT ON COLUMN crm_feed."customer.score".rfm_r IS 'score for recency';
COMMENT ON COLUMN crm_feed."customer.score".rfm_f IS 'score for frequency';
COMMENT ON COLUMN crm_feed."customer.score".rfm_m IS 'score for monetary';
COMMENT ON COLUMN crm_feed."customer.score".rfm_segment IS 'segment by rfm';
COMMENT ON COLUMN crm_feed."customer.score".ltv IS 'expected value';
COMMENT ON COLUMN crm_feed."customer.score".p_alive IS 'probability that he is still a customer';
COMMENT ON COLUMN crm_feed."customer.score".abc IS 'class by revenue';
COMMENT ON COLUMN crm_feed."customer.score".xyz IS 'class by evenness';
COMMENT ON COLUMN crm_feed."customer.score".next_order IS 'when the next order is expected';

CREATE VIEW crm_feed.score AS
	SELECT c.customer_id, c.at, c.name, c.old, c.new
	  FROM crm.score_change AS c;
COMMENT ON VIEW crm_feed.score IS 'changes of stored scores as events; see crm.score_change';
COMMENT ON COLUMN crm_feed.score.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.score.at IS 'when';
COMMENT ON COLUMN crm_feed.score.name IS 'which score: rfm, rfm_segment, abc or xyz';
COMMENT ON COLUMN crm_feed.score.old IS 'what it was';
COMMENT ON COLUMN crm_feed.score.new IS 'what it is';

CREATE VIEW crm_feed.due AS
	SELECT d.customer_id, d.at, d.item
	  FROM crm.item_due AS d;
COMMENT ON VIEW crm_feed.due IS 'expected purchases as events, mostly ahead; see crm.item_due';
COMMENT ON COLUMN crm_feed.due.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.due.at IS 'when it is expected';
COMMENT ON COLUMN crm_feed.due.item IS 'what';

INSERT INTO crm.source (kind, indexed, own) VALUES ('customer.score', true, true), ('score', true, true), ('due', true, true);

------------------------------------------------------------------------------------------------------------------
-- Refreshing
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.refresh_scores(
	at timestamptz DEFAULT crm.now(),
	method text DEFAULT 'quantile',
	bins integer DEFAULT 5,
	map text DEFAULT 'rf_grid',
	months integer DEFAULT 12,
	discount double precision DEFAULT 0.1,
	margin double precision DEFAULT 1,
	period text DEFAULT 'month',
	periods integer DEFAULT 12,
	OUT customers bigint, OUT changes bigint, OUT due bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	first boolean;
BEGIN
	IF refresh_scores.at IS NULL OR method IS NULL OR bins IS NULL OR map IS NULL OR months IS NULL OR discount IS NULL
		OR margin IS NULL OR period IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'arguments other than periods must not be null';
	END IF;
	-- Locks in the order in which a refresh of the segments takes its own, which comes at the end
	PERFORM crm.lock_segments();
	LOCK TABLE crm.customer_score IN SHARE ROW EXCLUSIVE MODE;
	first := NOT EXISTS (SELECT FROM crm.customer_score);

	RAISE NOTICE 'scoring customers by their orders';
	WITH fresh AS MATERIALIZED (
		SELECT coalesce(r.customer, c.customer, a.customer, n.customer) AS customer_id, r.score AS rfm,
			   crm.rfm_segment(r.score, map) AS rfm_segment, round(c.clv::numeric, 2) AS ltv,
			   round(c.p_alive::numeric, 4) AS p_alive, a.abc, a.xyz, n.next AS next_order
		  FROM crm.rfm_scores(refresh_scores.at, method => method, bins => bins) AS r
		  FULL JOIN crm.clv(refresh_scores.at, months => months, discount => discount, margin => margin) AS c
			   ON c.customer = r.customer
		  FULL JOIN crm.customer_abc_xyz(period, periods, refresh_scores.at) AS a
			   ON a.customer = coalesce(r.customer, c.customer)
		  FULL JOIN crm.next_orders(until => refresh_scores.at) AS n
			   ON n.customer = coalesce(r.customer, c.customer, a.customer)
	), stored AS (
		INSERT INTO crm.customer_score AS s (customer_id, rfm, rfm_segment, ltv, p_alive, abc, xyz, next_order)
		SELECT f.customer_id, f.rfm, f.rfm_segment, f.ltv, f.p_alive, f.abc, f.xyz, f.next_order FROM fresh AS f
		ON CONFLICT ON CONSTRAINT customer_score_pkey DO UPDATE
			SET rfm = excluded.rfm, rfm_segment = excluded.rfm_segment, ltv = excluded.ltv, p_alive = excluded.p_alive,
				abc = excluded.abc, xyz = excluded.xyz, next_order = excluded.next_order
		  WHERE (s.rfm::text, s.rfm_segment, s.ltv, s.p_alive, s.abc, s.xyz, s.next_order) IS DISTINCT FROM
				(excluded.rfm::text, excluded.rfm_segment, excluded.ltv, excluded.p_alive, excluded.abc, excluded.xyz,
				 excluded.next_order)
	), gone AS (
		DELETE FROM crm.customer_score AS s
		 WHERE NOT EXISTS (SELECT FROM fresh AS f WHERE f.customer_id = s.customer_id)
	), logged AS (
		INSERT INTO crm.score_change (customer_id, at, name, old, new)
		SELECT coalesce(f.customer_id, s.customer_id), refresh_scores.at, v.name, v.old, v.new
		  FROM crm.customer_score AS s
		  FULL JOIN fresh AS f ON f.customer_id = s.customer_id
		 CROSS JOIN LATERAL (VALUES ('rfm', s.rfm::text, f.rfm::text), ('rfm_segment', s.rfm_segment, f.rfm_segment),
									('abc', s.abc, f.abc), ('xyz', s.xyz, f.xyz)) AS v(name, old, new)
		 WHERE v.old IS DISTINCT FROM v.new AND NOT first
		RETURNING 1
	)
	SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM logged) INTO customers, changes;

	due := 0;
	IF EXISTS (SELECT FROM crm.source AS s WHERE s.kind = 'purchase') THEN
		RAISE NOTICE 'looking for what is bought in cycles';
		WITH fresh AS MATERIALIZED (
			SELECT c.customer AS customer_id, c.item, c.next AS at
			  FROM crm.customer_cycles(until => refresh_scores.at) AS c
			 WHERE c.next IS NOT NULL AND isfinite(c.next)
		), stored AS (
			INSERT INTO crm.item_due AS d (customer_id, item, at)
			SELECT f.customer_id, f.item, f.at FROM fresh AS f
			ON CONFLICT ON CONSTRAINT item_due_pkey DO UPDATE SET at = excluded.at WHERE d.at <> excluded.at
		), gone AS (
			DELETE FROM crm.item_due AS d
			 WHERE NOT EXISTS (SELECT FROM fresh AS f WHERE f.customer_id = d.customer_id AND f.item = d.item)
		)
		SELECT count(*) INTO due FROM fresh;
	ELSE
		DELETE FROM crm.item_due;
	END IF;

	RAISE NOTICE 'refreshing segments';
	PERFORM crm.refresh_segments(refresh_scores.at);
END
$function$;
COMMENT ON FUNCTION crm.refresh_scores(timestamptz, text, integer, text, integer, double precision, double precision, text, integer) IS
'scores all customers by the feed of orders at an instant, stores what is different, logs the classes that changed, and refreshes the segments once. Attributes that predicates can name then: rfm, rfm_r, rfm_f, rfm_m, rfm_segment (crm.rfm_scores with method and bins, crm.rfm_segment with map), ltv and p_alive (clv and p_alive of crm.clv with months, discount and margin), abc and xyz (crm.customer_abc_xyz with period and periods), next_order (crm.next_orders). Events: score (name, old, new), a change of rfm, rfm_segment, abc or xyz, and due (item), when a cyclic item of the feed "purchase", where there is one, is expected to be bought again. An attribute of that name in the shop''s own feed of customers goes before ours. Returns how many customers were scored, how many changes were logged (none at first), and how many items are due. Errors: 22004 NULL, those of the functions named and of crm.refresh_segments; 25001 in a repeatable read or serializable transaction';

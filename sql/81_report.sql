-- What came of a campaign.

CREATE FUNCTION crm.uplift(goals bigint, people bigint, held_goals bigint, held_people bigint,
						   OUT uplift float8, OUT low float8, OUT high float8)
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (SELECT ROW(CASE WHEN people > 0 AND held_people > 0 THEN goals::float8 / people - held_goals::float8 / held_people END,
				   CASE WHEN people > 0 AND held_people > 0 THEN p.a - p.b - 1.959963984540054 * sqrt(p.a * (1 - p.a) / (people + 2) + p.b * (1 - p.b) / (held_people + 2)) END,
				   CASE WHEN people > 0 AND held_people > 0 THEN p.a - p.b + 1.959963984540054 * sqrt(p.a * (1 - p.a) / (people + 2) + p.b * (1 - p.b) / (held_people + 2)) END)
		  FROM (SELECT (goals + 1)::float8 / (people + 2) AS a, (held_goals + 1)::float8 / (held_people + 2) AS b) AS p);
COMMENT ON FUNCTION crm.uplift(bigint, bigint, bigint, bigint) IS
'how much greater the share of goals is among people than among those held out, and the ends of its 95 percent interval, by Agresti and Caffo: one goal and one without is added to each group (The American Statistician 54, 2000). NULL where a group is empty, and for NULL';

CREATE FUNCTION crm.campaign_report(campaign text, since timestamptz DEFAULT '-infinity', at timestamptz DEFAULT crm.now())
	RETURNS TABLE (step text, arm text, runs bigint, messages bigint, sent bigint, not_sent jsonb, delivered bigint, opened bigint, clicked bigint,
				   raced bigint, goals bigint, revenue numeric, conversion float8, uplift float8, uplift_low float8, uplift_high float8)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
	target CONSTANT crm.campaign := crm.campaign_named(campaign_report.campaign);
	definition CONSTANT jsonb := coalesce((SELECT v.definition FROM crm.campaign_version AS v
											WHERE v.campaign_id = target.campaign_id AND v.version = target.version), target.draft);
	goal CONSTANT crm.predicate := (definition ->> 'goal')::crm.predicate;
BEGIN
	RETURN QUERY
		WITH run AS MATERIALIZED (
			SELECT r.customer_id, r.run_id, r.held, r.goal_at, r.entry, crm.resolve_customer(r.customer_id) AS person, crm.arms_text(r.arms) AS arm,
				   least(campaign_report.at, r.entry + (definition ->> 'window')::interval) AS until, row_number() OVER (ORDER BY r.run_id) AS n
			  FROM crm.run AS r
			 WHERE r.campaign_id = target.campaign_id AND r.state <> 'skipped' AND r.entry >= campaign_report.since AND r.entry <= campaign_report.at
		), asked AS MATERIALIZED (
			SELECT a.number, a.truth
			  FROM crm.ask_customers(goal, (SELECT array_agg(r.person ORDER BY r.n) FROM run AS r), (SELECT array_agg(r.until ORDER BY r.n) FROM run AS r),
									 (SELECT array_agg(r.entry ORDER BY r.n) FROM run AS r), (SELECT array_agg(NULL::text) FROM run AS r),
									 (SELECT array_agg(NULL::timestamptz) FROM run AS r)) AS a
			 WHERE goal IS NOT NULL
		), outcome AS MATERIALIZED (
			SELECT r.*, r.goal_at IS NOT NULL OR coalesce(a.truth, false) AS reached,
				   (SELECT sum((e.properties ->> 'amount')::numeric)
					  FROM crm.events_of(crm.profile_of_kinds(r.person, '{order}')) AS e
					 WHERE e.kind = 'order' AND e.at > r.entry AND e.at <= r.until) AS revenue
			  FROM run AS r
			  LEFT JOIN asked AS a ON a.number = r.n
		), message AS MATERIALIZED (
			SELECT m.customer_id, m.run_id, m.step, m.arm, m.state, m.reason, m.handed_at, m.message_id, r.person, r.entry, row_number() OVER (ORDER BY m.message_id) AS n
			  FROM crm.message AS m
			  JOIN run AS r ON r.customer_id = m.customer_id AND r.run_id = m.run_id
		), raced AS MATERIALIZED (
			-- what is known now, asked of the instant of the hand-out: an order that committed too late to be seen
			SELECT a.number, a.truth
			  FROM crm.ask_customers(goal, (SELECT array_agg(m.person ORDER BY m.n) FROM message AS m),
									 (SELECT array_agg(coalesce(m.handed_at, campaign_report.at) ORDER BY m.n) FROM message AS m),
									 (SELECT array_agg(m.entry ORDER BY m.n) FROM message AS m), (SELECT array_agg(NULL::text) FROM message AS m),
									 (SELECT array_agg(NULL::timestamptz) FROM message AS m)) AS a
			 WHERE goal IS NOT NULL
		), said AS MATERIALIZED (
			SELECT m.*, coalesce(c.truth, false) AND m.state = 'sent' AS raced,
				   EXISTS (SELECT FROM crm.delivery AS d WHERE d.customer_id = m.customer_id AND d.message_id = m.message_id AND d.kind = 'delivered') AS delivered,
				   EXISTS (SELECT FROM crm.delivery AS d WHERE d.customer_id = m.customer_id AND d.message_id = m.message_id AND d.kind = 'open') AS opened,
				   EXISTS (SELECT FROM crm.delivery AS d WHERE d.customer_id = m.customer_id AND d.message_id = m.message_id AND d.kind = 'click') AS clicked
			  FROM message AS m
			  LEFT JOIN raced AS c ON c.number = m.n
		), total AS (
			SELECT o.held, count(*) AS runs, count(*) FILTER (WHERE o.reached) AS goals, sum(o.revenue) AS revenue FROM outcome AS o GROUP BY o.held
		), line AS (
			-- all, who was held out, and step by step and arm by arm those who came there
			SELECT 1 AS part, 0::bigint AS place, ''::text AS step, 'all'::text AS arm, o.customer_id, o.run_id, o.reached, o.revenue, NULL::text AS only_step
			  FROM outcome AS o WHERE NOT o.held
			UNION ALL
			SELECT 2, 0, '', 'held out', o.customer_id, o.run_id, o.reached, o.revenue, NULL FROM outcome AS o WHERE o.held
			UNION ALL
			SELECT 3, coalesce(n.o, 1000), s.step, s.arm, o.customer_id, o.run_id, o.reached, o.revenue, s.step
			  FROM (SELECT DISTINCT s.customer_id, s.run_id, s.step, s.arm FROM crm.run_step AS s WHERE s.campaign_id = target.campaign_id AND s.step <> '') AS s
			  JOIN outcome AS o ON o.customer_id = s.customer_id AND o.run_id = s.run_id AND NOT o.held
			  LEFT JOIN LATERAL (SELECT e.o FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY AS e(e, o) WHERE e.e ->> 'step' = s.step) AS n ON true
		), counted AS (
			SELECT l.part, l.place, l.step, l.arm, count(*) AS runs, count(*) FILTER (WHERE l.reached) AS goals, coalesce(sum(l.revenue), 0) AS revenue,
				   sum(m.messages)::bigint AS messages, sum(m.sent)::bigint AS sent, sum(m.delivered)::bigint AS delivered, sum(m.opened)::bigint AS opened,
				   sum(m.clicked)::bigint AS clicked, sum(m.raced)::bigint AS raced
			  FROM line AS l
			  LEFT JOIN LATERAL (
				SELECT count(*) AS messages, count(*) FILTER (WHERE s.state = 'sent') AS sent, count(*) FILTER (WHERE s.delivered) AS delivered,
					   count(*) FILTER (WHERE s.opened) AS opened, count(*) FILTER (WHERE s.clicked) AS clicked, count(*) FILTER (WHERE s.raced) AS raced
				  FROM said AS s
				 WHERE s.customer_id = l.customer_id AND s.run_id = l.run_id AND (l.only_step IS NULL OR s.step = l.only_step)) AS m ON true
			 GROUP BY l.part, l.place, l.step, l.arm
		)
		SELECT c.step, c.arm, c.runs, c.messages, c.sent,
			   (SELECT jsonb_object_agg(r.why, r.n)
				  FROM (SELECT coalesce(s.reason, s.state) AS why, count(*) AS n
						  FROM said AS s
						 WHERE c.part <> 2 AND s.state <> 'sent' AND (c.part = 1 OR s.step = c.step AND s.arm = c.arm)
						 GROUP BY 1) AS r),
			   c.delivered, c.opened, c.clicked, c.raced, c.goals, c.revenue, c.goals::float8 / c.runs,
			   CASE WHEN c.part <> 2 THEN u.uplift END, CASE WHEN c.part <> 2 THEN u.low END, CASE WHEN c.part <> 2 THEN u.high END
		  FROM counted AS c
		  LEFT JOIN total AS h ON h.held
		  LEFT JOIN LATERAL crm.uplift(c.goals, c.runs, h.goals, h.runs) AS u ON true
		 ORDER BY c.part, c.place, c.step, c.arm;
END
$function$;
COMMENT ON FUNCTION crm.campaign_report(text, timestamptz, timestamptz) IS
'what came of the runs of a campaign since an instant, as seen at another one: all that were not held out, those held out, and by step and arm those who came there: runs, messages, how many were sent, why not (by reason), delivered, opened, clicked; raced: sent although the goal was reached by then, because the order committed only after the hand-out; goals within the campaign''s window, revenue (events of kind order, their property amount), the share of goals, and its uplift over those held out with the 95 percent interval of crm.uplift(). Reads the facts of each run''s customer. Errors: 22004, 42704 unknown campaign';

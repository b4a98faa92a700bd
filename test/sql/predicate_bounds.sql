-- Where windows of months and days begin and end among many events, against PostgreSQL's own arithmetic. Events stand
-- ten minutes apart, so that a bound that is wrong anywhere counts one too many or too few. What is added in steps passes
-- clock changes that lie neither at the event nor at the instant: each step has its own clocks.
SET search_path = crm, public;
SET DateStyle = ISO;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- Instants (every 35 minutes for a day) at which the count over events (every ten minutes for four days) is wrong
CREATE FUNCTION public.wrong_counts(zone text, events_from text, instants_from text, direction text, span interval, text_of_span text)
	RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
	result bigint;
BEGIN
	PERFORM set_config('TimeZone', zone, true);
	WITH event AS MATERIALIZED (
		SELECT events_from::timestamptz + i * interval '10 minutes' AS at FROM generate_series(0, 576) i
	), facts AS MATERIALIZED (
		SELECT crm.profile_agg('x', at, NULL::jsonb) AS profile FROM event
	), instant AS (
		SELECT instants_from::timestamptz + i * interval '35 minutes' AS t FROM generate_series(0, 82) i
	)
	SELECT count(*) INTO result FROM facts, instant,
		LATERAL (SELECT count(*) FROM event
				 WHERE CASE direction WHEN 'in last' THEN at <= t AND t < at + span
					WHEN 'before' THEN at + span <= t
					ELSE at - span <= t AND t < at END) want
	WHERE NOT crm.matches(profile, format('count(x %s %s%s) = %s', direction, text_of_span,
										  CASE direction WHEN 'before' THEN ' ago' ELSE '' END, want.count)::crm.predicate, t, NULL, zone);
	RETURN result;
END
$function$;

-- The clocks of Berlin go forward on 28 March 2027, at the end of the month only, and back on 31 October.
SELECT label, public.wrong_counts('Europe/Berlin', events_from, instants_from, direction, span::interval, span)
FROM (VALUES
	('forward after the months', '2027-02-26', '2027-04-26 20:00', 'in last', '1 month 30 days'),
	('forward after the months', '2027-02-26', '2027-04-26 20:00', 'before', '1 month 30 days'),
	('back after the months', '2027-09-29', '2027-11-27 20:00', 'in last', '1 month 28 days'),
	('forward after the days', '2027-03-25', '2027-04-08 06:00', 'in last', '2 days 260 hours'),
	('forward before the hours', '2027-04-16', '2027-03-19 00:00', 'in next', '20 days 200 hours'),
	('forward before the days', '2027-05-26', '2027-03-30 20:00', 'in next', '2 months 28 days'),
	('month ends', '2027-01-28', '2027-02-27 12:00', 'in last', '1 month'),
	('month ends and days', '2027-01-28', '2027-03-10 12:00', 'in last', '1 month 10 days'),
	('month ends backwards', '2027-03-28', '2027-02-27 12:00', 'in next', '1 month')) c (label, events_from, instants_from, direction, span);

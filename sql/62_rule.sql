-- What holds messages back whoever has made them: caps, quiet hours, rates, holdouts. 63_claim.sql asks it of each message.

CREATE TABLE crm.cap (
	cap			text NOT NULL PRIMARY KEY,
	max			int NOT NULL,
	per			interval,
	calendar	text CHECK (calendar IN ('day', 'week', 'month')),
	channels	text[],
	purposes	text[],
	CONSTRAINT cap_span CHECK ((per IS NULL) <> (calendar IS NULL))
);
COMMENT ON TABLE crm.cap IS 'how many messages a person gets at the most, as crm.set_cap() was told';
COMMENT ON COLUMN crm.cap.cap IS 'its name';
COMMENT ON COLUMN crm.cap.max IS 'so many';
COMMENT ON COLUMN crm.cap.per IS 'within any span of time of this length; NULL where the calendar counts';
COMMENT ON COLUMN crm.cap.calendar IS 'within each day, week (from Monday) or month of the customer''s zone';
COMMENT ON COLUMN crm.cap.channels IS 'of these channels; NULL: of all';
COMMENT ON COLUMN crm.cap.purposes IS 'for these purposes; NULL: for all';

CREATE TABLE crm.channel_rule (
	channel			text NOT NULL PRIMARY KEY,
	quiet_from		time,
	quiet_to		time,
	rate			int,
	rate_per		interval NOT NULL DEFAULT '1 second',
	lease			interval NOT NULL DEFAULT '5 minutes',
	max_attempts	int NOT NULL DEFAULT 8,
	retry_after		interval NOT NULL DEFAULT '1 minute',
	on_expiry		text NOT NULL DEFAULT 'unknown' CHECK (on_expiry IN ('unknown', 'retry'))
);
COMMENT ON TABLE crm.channel_rule IS 'how messages of a channel are handed out, as crm.set_channel_rule() was told';
COMMENT ON COLUMN crm.channel_rule.channel IS 'channel';
COMMENT ON COLUMN crm.channel_rule.quiet_from IS 'from this local time of the customer''s';
COMMENT ON COLUMN crm.channel_rule.quiet_to IS 'to this one nothing goes but what is transactional';
COMMENT ON COLUMN crm.channel_rule.rate IS 'so many at the most';
COMMENT ON COLUMN crm.channel_rule.rate_per IS 'in any such span of time';
COMMENT ON COLUMN crm.channel_rule.lease IS 'how long a sender has to say what became of a message';
COMMENT ON COLUMN crm.channel_rule.max_attempts IS 'how often one is handed out before it is given up';
COMMENT ON COLUMN crm.channel_rule.retry_after IS 'how long after the first failure; twice as long after each further one';
COMMENT ON COLUMN crm.channel_rule.on_expiry IS
'what becomes of a message whose lease runs out: unknown, for somebody to look; or retry, where the provider drops a second one of the same id';

CREATE TABLE crm.handed (
	channel		text NOT NULL,
	at			timestamptz NOT NULL,
	count		int NOT NULL
);
CREATE INDEX handed_channel_at_idx ON crm.handed (channel, at);
COMMENT ON TABLE crm.handed IS 'how many messages were handed out when, of channels that have a rate';
COMMENT ON COLUMN crm.handed.channel IS 'channel';
COMMENT ON COLUMN crm.handed.at IS 'when';
COMMENT ON COLUMN crm.handed.count IS 'how many';
COMMENT ON INDEX crm.handed_channel_at_idx IS 'what was handed out last';

SELECT pg_catalog.pg_extension_config_dump('crm.cap', '');
SELECT pg_catalog.pg_extension_config_dump('crm.channel_rule', '');

CREATE FUNCTION crm.set_cap(cap text, max int, per interval DEFAULT NULL, calendar text DEFAULT NULL, channels text[] DEFAULT NULL,
							purposes text[] DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF set_cap.cap IS NULL OR set_cap.max IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name and number of a cap must not be null';
	END IF;
	IF set_cap.max < 0 OR (set_cap.per IS NULL) = (set_cap.calendar IS NULL) OR set_cap.per <= interval '0'
		OR set_cap.per > interval '1 year' OR set_cap.calendar NOT IN ('day', 'week', 'month')
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid cap "%s"', set_cap.cap),
			DETAIL = 'It is for a span of time of at most a year, per, or for each day, week or month, calendar; and not negative.',
			HINT = 'For example crm.set_cap(''weekly'', 3, per => ''7 days'').';
	END IF;
	PERFORM crm.channel_kind(c) FROM unnest(set_cap.channels) AS c;
	INSERT INTO crm.cap AS c (cap, max, per, calendar, channels, purposes)
	VALUES (set_cap.cap, set_cap.max, set_cap.per, set_cap.calendar, set_cap.channels, set_cap.purposes)
	ON CONFLICT ON CONSTRAINT cap_pkey DO UPDATE
		SET max = excluded.max, per = excluded.per, calendar = excluded.calendar, channels = excluded.channels, purposes = excluded.purposes;
END
$function$;
COMMENT ON FUNCTION crm.set_cap(text, int, interval, text, text[], text[]) IS
'a person gets at most so many messages in any span of time (per), or in each day, week or month of his zone (calendar), of some channels and purposes or of all; transactional ones are not counted and not held back. What goes beyond waits while it is useful; the room goes to the highest priority. A cap of the same name is replaced. Errors: 22004 NULL, 22023 an invalid cap, 42704 unknown channel';

CREATE FUNCTION crm.drop_cap(cap text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM crm.cap AS c WHERE c.cap = drop_cap.cap;
	RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION crm.drop_cap(text) IS 'ends a cap; false if there is none of this name. What waits for it goes at the instant it was put off to';

CREATE FUNCTION crm.set_channel_rule(channel text, quiet_from time DEFAULT NULL, quiet_to time DEFAULT NULL, rate int DEFAULT NULL,
									 rate_per interval DEFAULT '1 second', lease interval DEFAULT '5 minutes', max_attempts int DEFAULT 8,
									 retry_after interval DEFAULT '1 minute', on_expiry text DEFAULT 'unknown') RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	PERFORM crm.channel_kind(set_channel_rule.channel);
	IF (set_channel_rule.quiet_from IS NULL) <> (set_channel_rule.quiet_to IS NULL) OR set_channel_rule.quiet_from = set_channel_rule.quiet_to
		OR set_channel_rule.rate < 1 OR coalesce(set_channel_rule.rate_per <= interval '0' OR set_channel_rule.rate_per > interval '1 day', true)
		OR coalesce(set_channel_rule.lease < interval '1 second' OR set_channel_rule.lease > interval '1 day', true)
		OR coalesce(set_channel_rule.max_attempts NOT BETWEEN 1 AND 100, true)
		OR coalesce(set_channel_rule.retry_after < interval '0' OR set_channel_rule.retry_after > interval '1 day', true)
		OR coalesce(set_channel_rule.on_expiry NOT IN ('unknown', 'retry'), true)
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid rule for channel "%s"', set_channel_rule.channel),
			DETAIL = 'Quiet hours have two different ends or none; the rate is positive, per at most a day; a lease is a second to a day; attempts are 1 to 100; on_expiry is unknown or retry.';
	END IF;
	INSERT INTO crm.channel_rule AS r (channel, quiet_from, quiet_to, rate, rate_per, lease, max_attempts, retry_after, on_expiry)
	VALUES (set_channel_rule.channel, set_channel_rule.quiet_from, set_channel_rule.quiet_to, set_channel_rule.rate, set_channel_rule.rate_per,
			set_channel_rule.lease, set_channel_rule.max_attempts, set_channel_rule.retry_after, set_channel_rule.on_expiry)
	ON CONFLICT ON CONSTRAINT channel_rule_pkey DO UPDATE
		SET quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to, rate = excluded.rate, rate_per = excluded.rate_per,
			lease = excluded.lease, max_attempts = excluded.max_attempts, retry_after = excluded.retry_after, on_expiry = excluded.on_expiry;
END
$function$;
COMMENT ON FUNCTION crm.set_channel_rule(text, time, time, int, interval, interval, int, interval, text) IS
'how messages of a channel are handed out: quiet hours in the customer''s zone (they may go over midnight), at most rate per span of time, how long a lease is, how often and when a failed one is tried again, and what becomes of one whose lease runs out. Replaces the rule that there was. Errors: 22004 NULL channel, 42704 unknown channel, 22023 an invalid rule';

CREATE FUNCTION crm.percent_of(key text) RETURNS int
	LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	hash CONSTANT bytea := sha256(convert_to(percent_of.key, 'UTF8'));
BEGIN
	RETURN (get_byte(hash, 0) * 65536 + get_byte(hash, 1) * 256 + get_byte(hash, 2)) * 100::bigint / 16777216;
END
$function$;
COMMENT ON FUNCTION crm.percent_of(text) IS
'a number from 0 to 99 for a key, the same each time and on every machine, by its SHA-256: what falls below a share of percent belongs to it. NULL gives NULL';

CREATE FUNCTION crm.in_holdout(customer_id bigint, salt text, percent int) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN percent > 0 AND EXISTS (
	SELECT
	  FROM unnest(crm.ids_of(crm.resolve_customer(customer_id))) AS i
	 WHERE crm.percent_of(format('holdout:%s:%s', salt, i)) < percent);
COMMENT ON FUNCTION crm.in_holdout(bigint, text, int) IS
'whether a customer is one of so many percent who are held out for comparison: the same each time, by a hash of his id and the salt; a merged person is if any of his ids is. NULL gives NULL';

CREATE FUNCTION crm.in_global_holdout(customer_id bigint) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN coalesce(crm.in_holdout(customer_id, 'global', (SELECT s.value::int FROM crm.setting AS s WHERE s.name = 'holdout')), false);
COMMENT ON FUNCTION crm.in_global_holdout(bigint) IS
'whether a customer is held out of all marketing: crm.configure(''holdout'', ...) says how many percent are. NULL gives NULL';

CREATE FUNCTION crm.quiet_until(at timestamptz, quiet_from time, quiet_to time, zone text) RETURNS timestamptz
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	day CONSTANT date := (at AT TIME ZONE zone)::date;
	d int;
	begins timestamptz;
	ends timestamptz;
BEGIN
	-- Those that began yesterday or today
	FOR d IN -1 .. 0 LOOP
		begins := (day + d + quiet_from) AT TIME ZONE zone;
		ends := (day + d + CASE WHEN quiet_to <= quiet_from THEN 1 ELSE 0 END + quiet_to) AT TIME ZONE zone;
		IF at >= begins AND at < ends THEN
			RETURN ends;
		END IF;
	END LOOP;
	RETURN NULL;
END
$function$;
COMMENT ON FUNCTION crm.quiet_until(timestamptz, time, time, text) IS
'when the quiet hours end in which an instant is; NULL if it is in none, and for NULL. Both ends are local times of the zone, of two days where they go over midnight';

CREATE FUNCTION crm.is_timezone(zone text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_calendar_is_timezone'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.is_timezone(text) IS 'whether PostgreSQL knows a time zone by this name. NULL gives NULL';

CREATE FUNCTION crm.zones_of(customers bigint[]) RETURNS TABLE (customer_id bigint, zone text)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN QUERY
		SELECT z.customer_id, z.zone
		  FROM (SELECT a.customer_id, min(a.value) AS zone
				  FROM crm.read_attributes('{timezone,time_zone}', zones_of.customers) AS a
				 GROUP BY a.customer_id) AS z
		 WHERE crm.is_timezone(z.zone);
END
$function$;
COMMENT ON FUNCTION crm.zones_of(bigint[]) IS 'the time zones of customers who have one of their own, the attribute timezone (or time_zone) of their feed';

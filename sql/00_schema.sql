-- The two schemas, the settings of an installation, and the clock.

CREATE SCHEMA crm;
COMMENT ON SCHEMA crm IS 'crm_marketing: types, functions and tables';

CREATE SCHEMA crm_feed;
COMMENT ON SCHEMA crm_feed IS
'crm_marketing: a view for each feed, made by crm.define_customers and crm.define_event';

CREATE TABLE crm.setting (
	name	text NOT NULL PRIMARY KEY,
	value	text NOT NULL
);
COMMENT ON TABLE crm.setting IS 'what crm.configure has set; a setting without a row has its default';
COMMENT ON COLUMN crm.setting.name IS 'name of the setting';
COMMENT ON COLUMN crm.setting.value IS 'its value, as text';

-- No rows of our own are in it, so all of it is dumped.
SELECT pg_catalog.pg_extension_config_dump('crm.setting', '');

CREATE FUNCTION crm.now() RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'crm_clock_now'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.now() IS
'the instant that answers are given for: the start of the transaction, or crm_marketing.now where a superuser has set it';

CREATE FUNCTION crm.timezone() RETURNS text
	AS 'MODULE_PATHNAME', 'crm_clock_timezone'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.timezone() IS
'the time zone of the shop, set by crm.configure(''timezone'', ...); UTC when it is not set. The session''s TimeZone does not matter';

CREATE FUNCTION crm.country() RETURNS text
	AS 'MODULE_PATHNAME', 'crm_setting_country'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.country() IS
'the country in which the shop''s phone numbers without + are, two letters of ISO 3166, set by crm.configure(''country'', ...); NULL when it is not set';

CREATE FUNCTION crm.configure(name text, value text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'							-- what is tried below ends with the function
AS $function$
DECLARE
	known CONSTANT text[] := ARRAY['timezone', 'country', 'holdout'];
	checked text := configure.value;
	zone CONSTANT text := crm.timezone();
BEGIN
	IF configure.name IS NULL OR configure.name <> ALL (known) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = CASE WHEN configure.name IS NULL THEN 'name of the setting must not be null'
						   ELSE format('unrecognized setting "%s"', configure.name) END,
			HINT = format('Settings are: %s.', array_to_string(known, ', '));
	END IF;

	IF configure.value IS NULL THEN
		DELETE FROM crm.setting AS s WHERE s.name = configure.name;
	ELSIF configure.name = 'timezone' THEN
		-- Tried as the session's own, which also gives its customary spelling. pg_timezone_names would read hundreds of
		-- files, and fails where one of them cannot be read.
		BEGIN
			checked := set_config('TimeZone', configure.value, true);
		EXCEPTION WHEN invalid_parameter_value THEN
			checked := NULL;
		END;
		-- A name with a digit is mostly no name but a rule ('MSK-3', '+03'), which knows nothing of the past; the other
		-- two say something else on each machine.
		IF checked IS NULL
			OR checked ~ '[0-9]' AND checked !~ '^(Etc/)?GMT[-+]?0$|^Etc/GMT([+]([0-9]|1[0-2])|-([0-9]|1[0-4]))$'
				AND checked <> ALL (ARRAY['EST5EDT', 'CST6CDT', 'MST7MDT', 'PST8PDT'])
			OR checked ~* '(^|/)(localtime|posixrules)$'
		THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('unrecognized time zone "%s"', configure.value),
				HINT = 'Give the full name of a zone, such as Europe/Moscow; pg_timezone_names lists them.';
		END IF;
	ELSIF configure.name = 'country' THEN
		-- Whether it exists is for the library to say that knows the countries' phone numbers
		IF configure.value !~ '^[A-Za-z]{2}$' THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('unrecognized country "%s"', configure.value),
				HINT = 'Give the two letters of ISO 3166, such as RU or GB.';
		END IF;
		checked := upper(configure.value COLLATE "C");
	ELSIF configure.name = 'holdout' THEN
		IF configure.value !~ '^([0-9]{1,2}|100)$' THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('invalid holdout "%s"', configure.value),
				HINT = 'Give a whole number of percent, such as 5.';
		END IF;
	END IF;

	IF configure.value IS NOT NULL THEN
		INSERT INTO crm.setting AS s (name, value)
		VALUES (configure.name, checked)
		ON CONFLICT ON CONSTRAINT setting_pkey DO UPDATE SET value = excluded.value;
	END IF;

	-- Numbers without + are others now: they are read anew with the customers' feed
	IF configure.name = 'country' THEN
		UPDATE crm.identity AS i SET raw = NULL WHERE i.namespace = 'phone';
	END IF;

	-- Days begin at other instants now, and literals in the texts of feeds mean others
	IF crm.timezone() <> zone THEN
		UPDATE crm.source AS s SET stale_reason = 'time zone changed' WHERE NOT (s.tracked OR s.own OR s.released);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.configure(text, text) IS
'sets a setting of this database''s crm_marketing; a NULL value sets it back to its default. Settings: timezone, the full name of the zone in which the shop''s days begin (default UTC); when it changes, all feeds are stale until crm.refresh_segments(), and crm.rebuild_feeds() is to be called first if a feed''s text has an instant without zone; country, the two letters of ISO 3166 of the country in which phone numbers without + are (default none), in any case of letters; the customers'' phones are read anew by the next crm.refresh_identities() or refresh; holdout, how many percent of people get no marketing at all, for comparison (default 0). Error 22023 for an unknown setting or zone, a country that is not two letters, and a holdout that is no percentage';

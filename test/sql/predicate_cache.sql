-- What a call site keeps between calls (a compiled predicate, the zone, the columns of a row type) must never be what an
-- earlier call needed and this one does not.
SET search_path = crm, public;
SET DateStyle = ISO;
SET TimeZone = 'UTC';
SET crm_marketing.now = '2026-01-05 12:00:00+00';
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- A long predicate after a short one, and back: the zone that was read for the first serves the others
SELECT '{"attributes": {"city": "Moscow"}, "events": []}'::profile @@ p, length(p::text)
FROM (VALUES ('true'::predicate), (('city in (' || repeat('''Moscow-on-the-Hudson'', ', 200) || '''Moscow'')')::predicate), ('false'),
	(('city in (' || repeat('''Moscow-on-the-Hudson'', ', 900) || '''Tver'')')::predicate), ('city = ''Moscow''')) v (p);

-- An error of one call is not the next one's
CREATE FUNCTION public.ask_all(profile profile, VARIADIC predicates predicate[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	p predicate;
BEGIN
	FOREACH p IN ARRAY predicates LOOP
		BEGIN
			RETURN NEXT concat(profile @@ p, ' ', p);
		EXCEPTION WHEN invalid_parameter_value THEN
			RETURN NEXT concat(SQLERRM, ' ', p);
		END;
	END LOOP;
END
$function$;
SELECT public.ask_all('{"attributes": {"n": 1}, "events": []}', 'n = 1', 'has x since entry', 'n = 1', 'in segment 1', 'n = 1', 'in segment 1', 'n <> 1');

-- The zone is that of the statement, also where the call site lives as long as the transaction
CREATE FUNCTION public.in_zones(profile profile, predicate predicate, VARIADIC zones text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	zone text;
BEGIN
	FOREACH zone IN ARRAY zones LOOP
		IF zone = 'undone' THEN
			BEGIN
				PERFORM configure('timezone', 'Asia/Tokyo');
				RAISE division_by_zero;
			EXCEPTION WHEN division_by_zero THEN
			END;
		ELSE
			PERFORM configure('timezone', zone);
		END IF;
		RETURN NEXT concat(profile @@ predicate, ' ', timezone());
	END LOOP;
END
$function$;
SELECT public.in_zones('{"attributes": {}, "events": [{"kind": "x", "at": "2026-01-04T21:30:00Z"}]}', 'has x today',
	'UTC', 'Europe/Moscow', 'undone', 'Europe/London', 'undone', 'Asia/Tokyo', NULL);

-- The columns are those that the row has now
CREATE TABLE public.fact (a bigint, b text);
INSERT INTO public.fact VALUES (1, 'one');
CREATE FUNCTION public.altered() RETURNS SETOF profile_state
	LANGUAGE plpgsql AS $function$
DECLARE
	command text;
	r record;
BEGIN
	FOREACH command IN ARRAY ARRAY['SELECT', 'ALTER TABLE public.fact ALTER a TYPE text USING repeat(''y'', 30), ALTER b TYPE bigint USING 2',
		'ALTER TABLE public.fact DROP a', 'ALTER TABLE public.fact ADD c date DEFAULT ''2026-01-05'', ADD d text[] DEFAULT ''{d}'''] LOOP
		EXECUTE command;
		FOR r IN EXECUTE 'SELECT fact AS whole FROM public.fact' LOOP
			RETURN NEXT profile_state_add(NULL::profile_state, 'fact', '2026-01-05 10:00Z', r.whole);
		END LOOP;
	END LOOP;
END
$function$;
SELECT public.altered();

DROP FUNCTION public.ask_all, public.in_zones, public.altered;
DROP TABLE public.fact;

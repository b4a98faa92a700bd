-- A network that is a table, and a worker who tells it all that is to be done.

CREATE TABLE public.regress_network (audience text, hash text, PRIMARY KEY (audience, hash));
CREATE TABLE public.regress_told (audience text, operation text, hash text);

CREATE FUNCTION pg_temp.mail(name text) RETURNS text LANGUAGE sql AS
	$$SELECT encode(sha256(convert_to(name || '@example.org', 'UTF8')), 'hex')$$;
CREATE FUNCTION pg_temp.phone(last int) RETURNS text LANGUAGE sql AS
	$$SELECT encode(sha256(convert_to(format('+7916000%s', lpad(last::text, 4, '0')), 'UTF8')), 'hex')$$;
CREATE FUNCTION pg_temp.later(by interval DEFAULT '1 hour') RETURNS timestamptz LANGUAGE sql AS
	$$SELECT set_config('crm_marketing.now', (crm.now() + by)::text, false)::timestamptz$$;

-- The network does what it is told
CREATE FUNCTION pg_temp.carry_out(whose text, what text, hashes text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF what = 'add' THEN
		INSERT INTO public.regress_network SELECT whose, h FROM unnest(hashes) AS h ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM public.regress_network AS n WHERE n.audience = whose AND n.hash = ANY (hashes);
	END IF;
END
$$;
-- A worker who does all that is to be done; what he has told the network is what is returned
CREATE FUNCTION pg_temp.work() RETURNS TABLE (audience text, operation text, hash text) LANGUAGE plpgsql AS $$
DECLARE
	a record;
	c record;
BEGIN
	FOR a IN SELECT x.audience FROM crm.audience AS x ORDER BY 1 LOOP
		FOR c IN SELECT x.operation, array_agg(x.entry_id) AS entries, array_agg(x.hash) AS hashes, min(x.token) AS token
				   FROM crm.claim_audience(a.audience) AS x GROUP BY 1 ORDER BY 1 DESC LOOP
			PERFORM pg_temp.carry_out(a.audience, c.operation, c.hashes);
			PERFORM crm.ack_audience(c.entries, c.token);
			RETURN QUERY SELECT a.audience, c.operation, h FROM unnest(c.hashes) AS h;
		END LOOP;
	END LOOP;
END
$$;
